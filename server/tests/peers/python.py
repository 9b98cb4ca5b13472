"""Uses a server with software that others have written: pyotp makes the codes, PyJWT checks the tokens."""

import json
import sys
import time
import urllib.error
import urllib.request

import jwt
import pyotp

base, name, password = sys.argv[1:]


def call(path, body=None, token=None):
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = "Bearer " + token
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + "/api/v1" + path, data, headers)
    try:
        with urllib.request.urlopen(request) as sent:
            return json.load(sent)
    except urllib.error.HTTPError as refused:
        return json.load(refused)


def check(token):
    key = jwt.PyJWKClient(base + "/.well-known/jwks.json").get_signing_key_from_jwt(token)
    return jwt.decode(token, key.key, algorithms=["EdDSA"], audience="aegis-api", issuer="aegis")


login = {"username": name, "password": password}
session = call("/auth/login", login)
made = call("/me/totp", {}, session["token"])
totp = pyotp.parse_uri(made["uri"])
assert totp.secret == made["secret"] and totp.name == name and totp.issuer == "Aegis", made["uri"]
assert len(call("/me/totp/confirm", {"code": totp.now()}, session["token"])["codes"]) == 10
print("enrolled")

# The step of the first code is used up; the next one's counts already, for clocks that are fast.
code = totp.at(time.time() + 30)
needed = call("/auth/login", login)
used = call("/auth/second-factor", {"token": needed["token"], "factor": {"totp": code}})
needed = call("/auth/login", login)
again = call("/auth/second-factor", {"token": needed["token"], "factor": {"totp": code}})
assert again["code"] == "bad_factor", again
print("refused twice")
assert used["user"]["username"] == name, used
print("logged in")

claims = check(used["token"])
assert claims["sub"] == used["user"]["id"] and claims["sid"] == used["session"], claims
assert 0 < claims["exp"] - claims["iat"] <= 600, claims
print("token holds")
head, body, signature = used["token"].split(".")
try:
    check(".".join([head, body, signature[:-4] + ("AAAA" if signature[-4:] != "AAAA" else "BBBB")]))
except jwt.InvalidSignatureError:
    print("forged token refused")
fresh = call("/auth/refresh", {"refreshToken": used["refreshToken"]})
assert check(fresh["token"])["sid"] == used["session"]
print("refreshed token holds")
