-- What arbiters say of themselves, and when their programs were last heard. Without a row an arbiter has never done either.
CREATE TABLE arbiters (
    user_id     BLOB    NOT NULL PRIMARY KEY REFERENCES users (id),
    about       TEXT    NOT NULL,
    languages   TEXT    NOT NULL,
    fee_bps     INTEGER CHECK (fee_bps BETWEEN 0 AND 2500),
    capacity    INTEGER CHECK (capacity BETWEEN 0 AND 10000),
    accepting   BOOLEAN NOT NULL CHECK (accepting IN (0, 1)),
    seen_at     BIGINT  NOT NULL,
    assigned_at BIGINT
);
CREATE INDEX arbiters_seen ON arbiters (seen_at);

-- For whom the server chose whom, and from what. A row may stand before its escrow does.
CREATE TABLE assignments (
    escrow_id  BLOB   NOT NULL PRIMARY KEY CHECK (length(escrow_id) = 16),
    arbiter_id BLOB   NOT NULL REFERENCES users (id),
    creator_id BLOB   NOT NULL REFERENCES users (id),
    other_id   BLOB   NOT NULL REFERENCES users (id),
    at         BIGINT NOT NULL,
    replaces   BLOB   UNIQUE REFERENCES escrows (id),
    choice     TEXT   NOT NULL
);
CREATE INDEX assignments_at ON assignments (at);

-- Escrows that were called off for want of an arbiter, until another takes their place.
CREATE TABLE vacancies (
    escrow_id BLOB   NOT NULL PRIMARY KEY REFERENCES escrows (id),
    try_at    BIGINT NOT NULL
);
CREATE INDEX vacancies_try ON vacancies (try_at);

-- Times in which no server ran: people had as much longer to answer.
CREATE TABLE outages (
    began BIGINT NOT NULL PRIMARY KEY,
    ended BIGINT NOT NULL CHECK (ended > began)
);

CREATE TABLE heartbeat (
    name TEXT   NOT NULL PRIMARY KEY,
    at   BIGINT NOT NULL
);

-- Disputes from before rulings had deadlines: they are due a week after they last changed.
UPDATE escrows SET wake_at = updated_at + 604800000 WHERE status = 'DISPUTED' AND wake_at IS NULL;

-- What somebody has begun and nobody has paid for.
CREATE INDEX escrows_unfunded ON escrows (creator_id) WHERE status = 'PENDING_FUNDING';
CREATE INDEX escrows_open_arbiter ON escrows (arbiter_id)
    WHERE status NOT IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT', 'EXPIRED', 'CANCELLED');
CREATE INDEX escrows_open_buyer ON escrows (buyer_id)
    WHERE status NOT IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT', 'EXPIRED', 'CANCELLED');
CREATE INDEX escrows_open_seller ON escrows (seller_id)
    WHERE status NOT IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT', 'EXPIRED', 'CANCELLED');
CREATE INDEX escrows_disputed ON escrows (wake_at, id) WHERE status = 'DISPUTED';
CREATE INDEX escrows_disputed_arbiter ON escrows (arbiter_id, wake_at, id) WHERE status = 'DISPUTED';

-- What finished escrows say of people: counted in the commit that ends an escrow, from this migration on. Of those before it, it
-- is not known in any column whether they were funded or disputed.
CREATE TABLE tallies (
    user_id    BLOB   NOT NULL PRIMARY KEY REFERENCES users (id),
    released   BIGINT NOT NULL,
    refunded   BIGINT NOT NULL,
    split      BIGINT NOT NULL,
    disputed   BIGINT NOT NULL,
    won        BIGINT NOT NULL,
    lost       BIGINT NOT NULL,
    volume     BIGINT NOT NULL,
    arbitrated BIGINT NOT NULL,
    ruled      BIGINT NOT NULL
);
