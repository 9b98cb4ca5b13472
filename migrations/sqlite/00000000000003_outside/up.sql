-- Where people's events are sent. `due_at` is when the first delivery that waits may be tried; NULL where none waits. One courier at
-- a time holds the lease; `lease` grows with each.
CREATE TABLE webhooks (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id      BLOB    NOT NULL REFERENCES users (id),
    url          TEXT    NOT NULL,
    kinds        TEXT,
    secret       BLOB    NOT NULL,
    description  TEXT    NOT NULL,
    enabled      BOOLEAN NOT NULL,
    because      TEXT    CHECK (because IN ('failing', 'gone')),
    since        BIGINT  NOT NULL,
    due_at       BIGINT,
    failures     INTEGER NOT NULL CHECK (failures >= 0),
    tried_at     BIGINT,
    lease        BIGINT  NOT NULL,
    leased_until BIGINT  NOT NULL,
    created_at   BIGINT  NOT NULL
);
CREATE INDEX webhooks_user ON webhooks (user_id);
CREATE INDEX webhooks_due ON webhooks (due_at) WHERE enabled AND due_at IS NOT NULL;

-- One call each, with its last attempt. `seq` is their order. An event has one delivery for each webhook beside those its owner
-- asked for; a ping has no event.
CREATE TABLE deliveries (
    seq         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id          BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    webhook_id  BLOB    NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event_seq   BIGINT,
    kind        TEXT    NOT NULL,
    original_id BLOB    CHECK (length(original_id) = 16),
    status      TEXT    NOT NULL CHECK (status IN ('waiting', 'delivered', 'expired')),
    created_at  BIGINT  NOT NULL,
    attempts    INTEGER NOT NULL,
    at          BIGINT,
    millis      INTEGER,
    http_status INTEGER,
    error       TEXT,
    excerpt     TEXT
);
CREATE UNIQUE INDEX deliveries_event ON deliveries (webhook_id, event_seq) WHERE original_id IS NULL;
CREATE INDEX deliveries_log ON deliveries (webhook_id, seq);
CREATE INDEX deliveries_waiting ON deliveries (webhook_id, status, seq);
CREATE INDEX deliveries_created ON deliveries (created_at);

-- People's own wallets: URL and login, sealed together.
CREATE TABLE own_wallets (
    user_id    BLOB   NOT NULL PRIMARY KEY REFERENCES users (id),
    connection BLOB   NOT NULL,
    created_at BIGINT NOT NULL
);
