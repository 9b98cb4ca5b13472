//! What others have written works with this server: an authenticator (`pyotp`), a check of login tokens by the key set (PyJWT), and
//! a real browser's passkeys (Chromium, whose virtual authenticator stands in for the finger).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "peers/chromium.rs"]
mod chromium;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aegis_common::testing;
use chromium::Chromium;
use serde_json::{Value, json};

const PASSWORD: &str = "wombat kettle orbit plum";

/// The program, killed when the test ends.
struct Server {
    child: Child,
    url: String,
    _data: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://localhost:{port}");
        let mut program = Command::new(env!("CARGO_BIN_EXE_aegis-server"));
        program.env_clear().env("AEGIS_DATA_DIR", data.path()).env("AEGIS_BIND", format!("127.0.0.1:{port}"));
        program.env("AEGIS_PUBLIC_URL", &url).env("AEGIS_NODES", "http://127.0.0.1:1");
        let child = program.arg("run").stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, url, _data: data };
        let begun = Instant::now();
        while reqwest::get(format!("{}/health", server.url)).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    async fn register(&self, name: &str, seed: u8) {
        let account = json!({
            "username": name,
            "password": PASSWORD,
            "keys": testing::identity(seed),
            "payoutAddress": testing::address(seed.into()),
        });
        let url = format!("{}/api/v1/auth/register", self.url);
        let sent = reqwest::Client::new().post(url).json(&account).send().await.unwrap();
        assert_eq!(sent.status(), 201, "{}", sent.text().await.unwrap());
    }
}

#[tokio::test]
async fn an_authenticator_and_a_token_checker_made_by_others_work() {
    let server = Server::start().await;
    server.register("ann", 1).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/python.py");
    let mut python = Command::new("/usr/bin/python3");
    let done = python.arg(script).args([&server.url, "ann", PASSWORD]).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}{complained}");
    // Each line is something that was seen, so that a script that skips a step is noticed.
    let seen = [
        "enrolled",
        "refused twice",
        "logged in",
        "token holds",
        "forged token refused",
        "refreshed token holds",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), seen);
}

/// Calls the API from the page; afterwards `result` is what it made of it.
const CALL: &str = r"
    const call = async (method, path, token, body) => {
        const headers = {'content-type': 'application/json'};
        if (token) headers.authorization = 'Bearer ' + token;
        const sent = await fetch('/api/v1' + path, {method, headers, body: JSON.stringify(body)});
        return {status: sent.status, body: sent.status === 204 ? null : await sent.json()};
    };
    const assertion = async (options) => {
        const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
        return (await navigator.credentials.get({publicKey})).toJSON();
    };
";

#[tokio::test]
async fn a_passkey_of_a_real_browser_is_added_logs_in_once_steps_up_and_is_removed() {
    let server = Server::start().await;
    server.register("ann", 1).await;
    let mut browser = Chromium::start().await;
    browser.open(&format!("{}/docs/", server.url)).await;
    let login = json!({ "username": "ann", "password": PASSWORD });
    let added = browser
        .run(&format!(
            r"{CALL}
            const session = (await call('POST', '/auth/login', null, {login})).body;
            const challenge = await call('POST', '/me/passkey-challenge', session.token, {{}});
            const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(challenge.body.options);
            const made = (await navigator.credentials.create({{publicKey}})).toJSON();
            const added = await call('POST', '/me/passkeys', session.token, {{name: 'laptop', credential: made}});
            const again = await call('POST', '/me/passkeys', session.token, {{name: 'twice', credential: made}});
            return {{added, again, offered: challenge.body.options.pubKeyCredParams.map((a) => a.alg)}};"
        ))
        .await;
    assert_eq!(added["added"]["status"], 201, "{added}");
    assert_eq!(added["added"]["body"]["name"], "laptop");
    assert_eq!(added["again"]["body"]["code"], "bad_factor", "an answer works once");
    assert_eq!(added["offered"], json!([-7, -35]), "ES256 and ES384, no RSA");
    assert_eq!(browser.credentials().await, 1);

    let used = browser
        .run(&format!(
            r"{CALL}
            const needed = (await call('POST', '/auth/login', null, {login})).body;
            const other = (await call('POST', '/auth/login', null, {login})).body;
            const passkey = await assertion(needed.passkey);
            const wrong = await call('POST', '/auth/second-factor', null, {{token: other.token, factor: {{passkey}}}});
            const right = await call('POST', '/auth/second-factor', null, {{token: needed.token, factor: {{passkey}}}});
            const again = await call('POST', '/auth/second-factor', null, {{token: needed.token, factor: {{passkey}}}});
            const me = await call('GET', '/me', right.body.token);
            const challenge = await call('POST', '/auth/step-up/passkey', right.body.token, {{}});
            const proof = await assertion(challenge.body.options);
            const stepped = await call('POST', '/auth/step-up', right.body.token, {{factor: {{passkey: proof}}}});
            const twice = await call('POST', '/auth/step-up', right.body.token, {{factor: {{passkey: proof}}}});
            const listed = await call('GET', '/me/passkeys', stepped.body.token);
            const path = '/me/passkeys/' + listed.body.passkeys[0].id;
            const removed = await call('DELETE', path, stepped.body.token);
            const plain = (await call('POST', '/auth/login', null, {login})).body;
            return {{methods: needed.methods, wrong, right: right.status, again, me, stepped, twice, listed, removed,
                     plain: plain.status}};"
        ))
        .await;
    assert_eq!(used["methods"], json!(["passkey"]), "{used}");
    assert_eq!(used["wrong"]["body"]["code"], "bad_factor", "an answer to another login's challenge");
    assert_eq!(used["right"], 200, "{used}");
    assert_eq!(used["again"]["body"]["code"], "bad_factor");
    assert_eq!(
        (&used["me"]["body"]["username"], &used["me"]["body"]["passkeys"]),
        (&json!("ann"), &json!(1))
    );
    assert_eq!(used["stepped"]["status"], 200, "{used}");
    assert_eq!(used["twice"]["body"]["code"], "bad_factor");
    assert!(used["listed"]["body"]["passkeys"][0]["usedAt"].is_string());
    assert_eq!(used["removed"]["status"], 204);
    assert_eq!(used["plain"], json!("loggedIn"), "without a factor the password suffices again");
    let text = Value::to_string(&used);
    assert!(!text.contains("internal"), "{text}");
}
