-- What lists of escrows are read from: one row for each party. The SQLite side has the same shape.

CREATE TABLE escrow_list (
    user_id    BYTEA   NOT NULL REFERENCES users (id),
    escrow_id  BYTEA   NOT NULL REFERENCES escrows (id),
    -- 0 buyer, 1 seller, 2 arbiter.
    role       INTEGER NOT NULL CHECK (role BETWEEN 0 AND 2),
    -- Its place in an escrow's life: lists are sorted by it.
    status     INTEGER NOT NULL CHECK (status >= 0),
    amount     BIGINT  NOT NULL CHECK (amount >= 0),
    created_at BIGINT  NOT NULL,
    updated_at BIGINT  NOT NULL,
    -- The title's words between spaces; none until they were taken from an escrow that is older than this table.
    words      TEXT,
    PRIMARY KEY (user_id, escrow_id)
);

INSERT INTO escrow_list (user_id, escrow_id, role, status, amount, created_at, updated_at)
SELECT party, id, role, place, amount, created_at, updated_at
FROM (
    SELECT id, amount, created_at, updated_at, parties.role,
        CASE parties.role WHEN 0 THEN buyer_id WHEN 1 THEN seller_id ELSE arbiter_id END AS party,
        CASE status
            WHEN 'PENDING_FUNDING' THEN 0
            WHEN 'BUYER_FUNDED' THEN 1
            WHEN 'ACTIVE' THEN 2
            WHEN 'SELLER_CONFIRMED_ITEM' THEN 3
            WHEN 'DISPUTED' THEN 4
            WHEN 'TIMELOCK_DEFAULT_TRIGGERED' THEN 5
            WHEN 'SETTLING' THEN 6
            WHEN 'COMPLETED_RELEASED' THEN 7
            WHEN 'COMPLETED_REFUNDED' THEN 8
            WHEN 'COMPLETED_SPLIT' THEN 9
            WHEN 'EXPIRED' THEN 10
            WHEN 'CANCELLED' THEN 11
        END AS place
    FROM escrows
    CROSS JOIN (SELECT 0 AS role UNION ALL SELECT 1 UNION ALL SELECT 2) AS parties
) AS listed
ORDER BY party, id;

-- Every filter but words and participant is answered inside an index, in the order of the list.
CREATE INDEX escrow_list_created ON escrow_list (user_id, role, status, created_at, escrow_id, amount);
CREATE INDEX escrow_list_updated ON escrow_list (user_id, role, status, updated_at, created_at, escrow_id, amount);
CREATE INDEX escrow_list_amount ON escrow_list (user_id, role, status, amount, created_at, escrow_id);
CREATE INDEX escrow_list_wordless ON escrow_list (escrow_id) WHERE words IS NULL;

CREATE TABLE title_words (
    user_id   BYTEA NOT NULL,
    -- Compared byte by byte: words that begin alike stand together.
    word      TEXT COLLATE "C" NOT NULL,
    escrow_id BYTEA NOT NULL,
    PRIMARY KEY (user_id, word, escrow_id),
    FOREIGN KEY (user_id, escrow_id) REFERENCES escrow_list (user_id, escrow_id)
);

-- Who has which escrows with whom: each pair of parts stands in one of the three.
DROP INDEX escrows_buyer;
DROP INDEX escrows_seller;
DROP INDEX escrows_arbiter;
CREATE INDEX escrows_buyer ON escrows (buyer_id, seller_id, id);
CREATE INDEX escrows_seller ON escrows (seller_id, arbiter_id, id);
CREATE INDEX escrows_arbiter ON escrows (arbiter_id, buyer_id, id);
