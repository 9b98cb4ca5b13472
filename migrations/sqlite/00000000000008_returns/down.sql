DROP INDEX escrows_returning;
