-- Times are unix milliseconds, amounts piconero, ids 16 bytes. The SQLite side has the same shape.

CREATE TABLE users (
    id             BYTEA  NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    username       TEXT   NOT NULL CHECK (length(username) BETWEEN 1 AND 64),
    username_lower TEXT   NOT NULL UNIQUE,
    password_hash  TEXT   NOT NULL,
    role           TEXT   NOT NULL CHECK (role IN ('user', 'arbiter', 'operator', 'admin')),
    identity_key   BYTEA  NOT NULL CHECK (length(identity_key) = 32),
    signing_key    BYTEA  NOT NULL CHECK (length(signing_key) = 32),
    payout_address TEXT   NOT NULL,
    created_at     BIGINT NOT NULL
);
CREATE INDEX users_role ON users (role, id);

CREATE TABLE escrows (
    id             BYTEA   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    version        BIGINT  NOT NULL CHECK (version >= 0),
    status         TEXT    NOT NULL CHECK (length(status) BETWEEN 1 AND 64),
    buyer_id       BYTEA   NOT NULL REFERENCES users (id),
    seller_id      BYTEA   NOT NULL REFERENCES users (id),
    arbiter_id     BYTEA   NOT NULL REFERENCES users (id),
    creator_id     BYTEA   NOT NULL REFERENCES users (id),
    amount         BIGINT  NOT NULL CHECK (amount >= 0),
    snapshot       TEXT    NOT NULL,
    view_key       BYTEA,
    wake_at        BIGINT,
    wake_height    BIGINT  CHECK (wake_height >= 0),
    unmined        INTEGER NOT NULL CHECK (unmined >= 0),
    watching       BOOLEAN NOT NULL,
    watch_from     BIGINT  CHECK (watch_from >= 0),
    -- The first block that may hold something the escrow was not told of; none once it was told everything.
    behind_from    BIGINT  CHECK (behind_from >= 0),
    highest_output BIGINT  CHECK (highest_output >= 0),
    created_at     BIGINT  NOT NULL,
    updated_at     BIGINT  NOT NULL,
    -- Nothing can be watched without its view key and a block to begin at.
    CHECK (NOT watching OR (view_key IS NOT NULL AND watch_from IS NOT NULL))
);
CREATE INDEX escrows_wake_at ON escrows (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX escrows_wake_height ON escrows (wake_height) WHERE wake_height IS NOT NULL;
CREATE INDEX escrows_unmined ON escrows (id) WHERE unmined > 0;
CREATE INDEX escrows_highest_output ON escrows (highest_output) WHERE highest_output IS NOT NULL;
CREATE INDEX escrows_watching ON escrows (id) WHERE watching;
CREATE INDEX escrows_buyer ON escrows (buyer_id, id);
CREATE INDEX escrows_seller ON escrows (seller_id, id);
CREATE INDEX escrows_arbiter ON escrows (arbiter_id, id);

CREATE TABLE journal (
    escrow_id      BYTEA  NOT NULL REFERENCES escrows (id),
    version        BIGINT NOT NULL CHECK (version >= 0),
    at             BIGINT NOT NULL,
    event          TEXT   NOT NULL,
    statement_hash BYTEA  CHECK (length(statement_hash) = 32),
    PRIMARY KEY (escrow_id, version)
);

-- Outbox and per-user feed at once; `seq` is the cursor of both.
CREATE TABLE events (
    seq        BIGSERIAL PRIMARY KEY,
    event_id   BYTEA   NOT NULL UNIQUE CHECK (length(event_id) = 16),
    user_id    BYTEA   NOT NULL REFERENCES users (id),
    escrow_id  BYTEA   REFERENCES escrows (id),
    kind       TEXT    NOT NULL CHECK (length(kind) BETWEEN 1 AND 64),
    payload    TEXT    NOT NULL,
    created_at BIGINT  NOT NULL
);
CREATE INDEX events_user ON events (user_id, seq);

CREATE TABLE idempotency (
    user_id      BYTEA   NOT NULL REFERENCES users (id),
    key          TEXT    NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request_hash BYTEA   NOT NULL CHECK (length(request_hash) = 32),
    status       INTEGER NOT NULL CHECK (status BETWEEN 100 AND 599),
    response     TEXT    NOT NULL,
    created_at   BIGINT  NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_age ON idempotency (created_at);

CREATE TABLE chain_progress (
    network TEXT   NOT NULL PRIMARY KEY,
    height  BIGINT NOT NULL CHECK (height >= 0),
    hash    BYTEA  NOT NULL CHECK (length(hash) = 32)
);

CREATE TABLE chain_blocks (
    network TEXT   NOT NULL,
    height  BIGINT NOT NULL CHECK (height >= 0),
    hash    BYTEA  NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (network, height)
);

CREATE TABLE outbox_cursor (
    name TEXT   NOT NULL PRIMARY KEY,
    seq  BIGINT NOT NULL CHECK (seq >= 0)
);
