-- Up to which of their events people have read, on any of their devices.
CREATE TABLE inbox (
    user_id    BLOB   NOT NULL PRIMARY KEY REFERENCES users (id),
    read_up_to BIGINT NOT NULL CHECK (read_up_to >= 0)
);

-- Operators look through what is not over, what has not changed for longest first.
CREATE INDEX escrows_open_updated ON escrows (updated_at, id)
    WHERE status NOT IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT', 'EXPIRED', 'CANCELLED');
CREATE INDEX escrows_behind ON escrows (id) WHERE behind_from IS NOT NULL;
CREATE INDEX webhooks_off ON webhooks (id) WHERE because IS NOT NULL;
