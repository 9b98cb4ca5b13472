DROP INDEX webhooks_off;
DROP INDEX escrows_behind;
DROP INDEX escrows_open_updated;
DROP TABLE inbox;
