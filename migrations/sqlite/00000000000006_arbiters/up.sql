-- What arbiters say of themselves, and when their programs were last heard. Without a row an arbiter has never done either.
CREATE TABLE arbiters (
    user_id     BLOB    NOT NULL PRIMARY KEY REFERENCES users (id),
    about       TEXT    NOT NULL,
    languages   TEXT    NOT NULL,
    fee_bps     INTEGER CHECK (fee_bps BETWEEN 0 AND 2500),
    capacity    INTEGER CHECK (capacity BETWEEN 0 AND 10000),
    accepting   BOOLEAN NOT NULL CHECK (accepting IN (0, 1)),
    seen_at     BIGINT  NOT NULL,
    assigned_at BIGINT,
    -- When people were told that nothing was heard since `seen_at`.
    alerted_at  BIGINT
);
CREATE INDEX arbiters_seen ON arbiters (seen_at);

-- Whom the server chose, and from what. A row may stand before its escrow does.
CREATE TABLE assignments (
    escrow_id  BLOB   NOT NULL PRIMARY KEY CHECK (length(escrow_id) = 16),
    arbiter_id BLOB   NOT NULL REFERENCES users (id),
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

CREATE INDEX escrows_open_arbiter ON escrows (arbiter_id)
    WHERE status NOT IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT', 'EXPIRED', 'CANCELLED');
CREATE INDEX escrows_open_buyer ON escrows (buyer_id)
    WHERE status NOT IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT', 'EXPIRED', 'CANCELLED');
CREATE INDEX escrows_open_seller ON escrows (seller_id)
    WHERE status NOT IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT', 'EXPIRED', 'CANCELLED');
CREATE INDEX escrows_disputed ON escrows (wake_at, id) WHERE status = 'DISPUTED';

-- What finished escrows say of people: counted in the commit that ends an escrow.
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
-- Of escrows that ended before it is not known any more whether they were disputed.
INSERT INTO tallies
SELECT user_id,
       SUM(CASE WHEN is_trader = 1 AND status = 'COMPLETED_RELEASED' THEN 1 ELSE 0 END),
       SUM(CASE WHEN is_trader = 1 AND status = 'COMPLETED_REFUNDED' THEN 1 ELSE 0 END),
       SUM(CASE WHEN is_trader = 1 AND status = 'COMPLETED_SPLIT' THEN 1 ELSE 0 END),
       0, 0, 0, SUM(CASE WHEN is_trader = 1 THEN amount ELSE 0 END),
       SUM(CASE WHEN is_trader = 1 THEN 0 ELSE 1 END), 0
FROM (SELECT buyer_id AS user_id, 1 AS is_trader, status, amount FROM escrows
      UNION ALL SELECT seller_id, 1, status, amount FROM escrows
      UNION ALL SELECT arbiter_id, 0, status, amount FROM escrows) AS parts
WHERE status IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT')
GROUP BY user_id;
