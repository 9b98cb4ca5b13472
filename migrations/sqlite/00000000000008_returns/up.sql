-- Operators also look through what is paid out and has something on its way back that came after that.
CREATE INDEX escrows_returning ON escrows (updated_at, id)
    WHERE status IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT')
      AND (wake_at IS NOT NULL OR unmined > 0);
