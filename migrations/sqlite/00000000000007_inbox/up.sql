-- Operators look through what is not over, what has not changed for longest first.
CREATE INDEX escrows_open_updated ON escrows (updated_at, id)
    WHERE status NOT IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT', 'EXPIRED', 'CANCELLED');
CREATE INDEX escrows_behind ON escrows (id) WHERE behind_from IS NOT NULL;
CREATE INDEX webhooks_off ON webhooks (id) WHERE because IS NOT NULL;
