-- Credentials and what belongs to them. Every secret is a SHA-256 of random bytes, or sealed.

CREATE TABLE profiles (
    user_id      BLOB   NOT NULL PRIMARY KEY REFERENCES users (id),
    display_name TEXT   NOT NULL,
    settings     TEXT   NOT NULL,
    updated_at   BIGINT NOT NULL
);

CREATE TABLE prekeys (
    user_id    BLOB   NOT NULL REFERENCES users (id),
    kind       TEXT   NOT NULL CHECK (kind IN ('identity', 'signedPrekey', 'oneTimePrekey', 'mlKemPrekey')),
    key_id     BIGINT NOT NULL CHECK (key_id >= 0),
    public_key BLOB   NOT NULL,
    signature  BLOB   NOT NULL CHECK (length(signature) = 64),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, kind, key_id)
) WITHOUT ROWID;

-- Logins and API keys. `secret_hash` is that of the refresh token that works next, or of the key.
CREATE TABLE sessions (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id     BLOB    NOT NULL REFERENCES users (id),
    is_key      BOOLEAN NOT NULL CHECK (is_key IN (0, 1)),
    name        TEXT    NOT NULL,
    scopes      TEXT    NOT NULL,
    secret_hash BLOB    NOT NULL CHECK (length(secret_hash) = 32),
    -- Of the part that all refresh tokens of the session share: one with it, but another secret, was used before.
    family_hash BLOB    NOT NULL CHECK (length(family_hash) = 32),
    network     TEXT    NOT NULL,
    created_at  BIGINT  NOT NULL,
    used_at     BIGINT,
    expires_at  BIGINT  NOT NULL,
    -- Whether a second factor was shown in it.
    strong      BOOLEAN NOT NULL CHECK (strong IN (0, 1))
);
CREATE INDEX sessions_user ON sessions (user_id, id);
CREATE INDEX sessions_expires ON sessions (expires_at);

CREATE TABLE totp (
    user_id    BLOB    NOT NULL PRIMARY KEY REFERENCES users (id),
    secret     BLOB    NOT NULL,
    confirmed  BOOLEAN NOT NULL CHECK (confirmed IN (0, 1)),
    -- The last step of which a code was accepted: none of it or before it works again.
    last_step  BIGINT  NOT NULL,
    created_at BIGINT  NOT NULL
);

CREATE TABLE backup_codes (
    code_hash BLOB   NOT NULL PRIMARY KEY CHECK (length(code_hash) = 32),
    user_id   BLOB   NOT NULL REFERENCES users (id),
    used_at   BIGINT
);
CREATE INDEX backup_codes_user ON backup_codes (user_id);

CREATE TABLE passkeys (
    id            BLOB   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id       BLOB   NOT NULL REFERENCES users (id),
    credential_id BLOB   NOT NULL UNIQUE,
    name          TEXT   NOT NULL,
    credential    TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    used_at       BIGINT
);
CREATE INDEX passkeys_user ON passkeys (user_id, id);

-- What was begun and must be gone on with in time: a login that waits for its second factor, a passkey's challenge.
CREATE TABLE challenges (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    user_id    BLOB    NOT NULL REFERENCES users (id),
    origin     TEXT    NOT NULL,
    tries_left INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    state      TEXT,
    expires_at BIGINT  NOT NULL
);
CREATE INDEX challenges_expires ON challenges (expires_at);

CREATE TABLE reset_signatures (
    hash BLOB   NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    at   BIGINT NOT NULL
);
CREATE INDEX reset_signatures_at ON reset_signatures (at);

CREATE TABLE invitations (
    id          BLOB   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    token_hash  BLOB   NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    role        TEXT   NOT NULL CHECK (role IN ('user', 'arbiter', 'operator', 'admin')),
    created_by  BLOB   REFERENCES users (id),
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    accepted_by BLOB   REFERENCES users (id)
);

-- Encrypted by their owners.
CREATE TABLE wallet_backups (
    user_id    BLOB   NOT NULL REFERENCES users (id),
    version    BIGINT NOT NULL CHECK (version > 0),
    sha256     BLOB   NOT NULL CHECK (length(sha256) = 32),
    bytes      BLOB   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, version)
);

-- What was done, or tried, with credentials; without a user where the name belongs to nobody.
CREATE TABLE audit (
    seq     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    user_id BLOB    REFERENCES users (id),
    at      BIGINT  NOT NULL,
    kind    TEXT    NOT NULL CHECK (length(kind) BETWEEN 1 AND 64),
    network TEXT,
    detail  TEXT    NOT NULL
);
CREATE INDEX audit_user ON audit (user_id, seq);
CREATE INDEX audit_at ON audit (at);

-- Rate limits on credentials: when the next attempt would be on time (GCRA's theoretical arrival time).
CREATE TABLE budgets (
    key      BLOB   NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    ready_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX budgets_ready ON budgets (ready_at);

CREATE TABLE token_keys (
    kid        TEXT   NOT NULL PRIMARY KEY,
    seed       BLOB   NOT NULL,
    created_at BIGINT NOT NULL
);

-- Accounts that can't be used for the time being.
CREATE TABLE disabled (
    user_id BLOB   NOT NULL PRIMARY KEY REFERENCES users (id),
    at      BIGINT NOT NULL
);

-- The sealing keys that may have sealed something: a server without one of them must not start. Nothing is stored any more
-- under one that was retired.
CREATE TABLE seal_keys (
    key_id     BLOB   NOT NULL PRIMARY KEY CHECK (length(key_id) = 4),
    created_at BIGINT NOT NULL,
    retired_at BIGINT
);

-- What told people of their credentials is forgotten in time.
CREATE INDEX events_notices ON events (created_at) WHERE kind = 'AccountNotice';
