DROP TABLE reviews;
DROP TABLE orders;
DROP TABLE listing_words;
DROP TABLE listings;
