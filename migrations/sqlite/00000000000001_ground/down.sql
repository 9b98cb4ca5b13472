DROP TABLE outbox_cursor;
DROP TABLE chain_blocks;
DROP TABLE chain_progress;
DROP TABLE idempotency;
DROP TABLE events;
DROP TABLE journal;
DROP TABLE escrows;
DROP TABLE users;
