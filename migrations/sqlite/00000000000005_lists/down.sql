DROP TABLE title_words;
DROP TABLE escrow_list;
DROP INDEX escrows_buyer;
DROP INDEX escrows_seller;
DROP INDEX escrows_arbiter;
CREATE INDEX escrows_buyer ON escrows (buyer_id, id);
CREATE INDEX escrows_seller ON escrows (seller_id, id);
CREATE INDEX escrows_arbiter ON escrows (arbiter_id, id);
