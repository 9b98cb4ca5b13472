-- Listings, orders, reviews. Times are unix milliseconds, amounts piconero.

CREATE TABLE listings (
    id          BYTEA  NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    seller_id   BYTEA  NOT NULL REFERENCES users (id),
    -- Grows with each change of the seller's, not with orders.
    version     BIGINT NOT NULL CHECK (version > 0),
    status      TEXT   NOT NULL CHECK (status IN ('active', 'paused', 'closed')),
    title       TEXT   NOT NULL,
    description TEXT   NOT NULL,
    price       BIGINT NOT NULL CHECK (price > 0),
    -- Pieces that no order holds. Returned ones may lift it above what a seller can set.
    stock       BIGINT NOT NULL CHECK (stock >= 0),
    terms       TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX listings_new ON listings (status, id);
CREATE INDEX listings_price ON listings (status, price, id);
CREATE INDEX listings_closed ON listings (status, updated_at) WHERE status = 'closed';
CREATE INDEX listings_seller ON listings (seller_id, status, id);
CREATE INDEX listings_seller_price ON listings (seller_id, status, price, id);

-- Words of titles, as bytes: their order is the same on every database.
CREATE TABLE listing_words (
    word       BYTEA NOT NULL CHECK (length(word) BETWEEN 1 AND 128),
    listing_id BYTEA NOT NULL REFERENCES listings (id),
    PRIMARY KEY (word, listing_id)
);
CREATE INDEX listing_words_listing ON listing_words (listing_id, word);

-- An order holds pieces from `opening` on. Each step away from a stage is a compare-and-swap of it.
CREATE TABLE orders (
    id         BYTEA  NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    listing_id BYTEA  NOT NULL REFERENCES listings (id),
    -- Named before the escrow exists, so no reference.
    escrow_id  BYTEA  NOT NULL UNIQUE CHECK (length(escrow_id) = 16),
    buyer_id   BYTEA  NOT NULL REFERENCES users (id),
    seller_id  BYTEA  NOT NULL REFERENCES users (id),
    title      TEXT   NOT NULL,
    quantity   BIGINT NOT NULL CHECK (quantity > 0),
    price      BIGINT NOT NULL CHECK (price > 0),
    -- opening: its escrow is yet to be made; undone: it never will be; open; sold; returned: it ended without a sale.
    stage      TEXT   NOT NULL CHECK (stage IN ('opening', 'undone', 'open', 'sold', 'returned')),
    -- What people are told of it: as its escrow goes, but PENDING while another takes the place of one that was called off.
    -- NULL until it has an escrow.
    status     TEXT,
    -- The contract that the escrow is to be made of, and the key of the request, while it is opening.
    contract   TEXT,
    key        TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX orders_buyer ON orders (buyer_id, id);
CREATE INDEX orders_buyer_status ON orders (buyer_id, status, id);
CREATE INDEX orders_buyer_listing ON orders (buyer_id, listing_id, id);
CREATE INDEX orders_seller ON orders (seller_id, id);
CREATE INDEX orders_seller_status ON orders (seller_id, status, id);
CREATE INDEX orders_listing ON orders (listing_id, id);
CREATE INDEX orders_listing_status ON orders (listing_id, status, id);
CREATE INDEX orders_opening ON orders (created_at) WHERE stage = 'opening';
CREATE INDEX orders_held ON orders (buyer_id) WHERE stage IN ('opening', 'open');

CREATE TABLE reviews (
    id            BYTEA  NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    escrow_id     BYTEA  NOT NULL REFERENCES escrows (id),
    reviewer_id   BYTEA  NOT NULL REFERENCES users (id),
    reviewer_role TEXT   NOT NULL CHECK (reviewer_role IN ('buyer', 'seller')),
    subject_id    BYTEA  NOT NULL REFERENCES users (id),
    subject_role  TEXT   NOT NULL CHECK (subject_role IN ('buyer', 'seller', 'arbiter')),
    version       BIGINT NOT NULL CHECK (version > 0),
    stars         BIGINT NOT NULL CHECK (stars BETWEEN 1 AND 5),
    body          TEXT   NOT NULL,
    answer        TEXT,
    answered_at   BIGINT,
    -- Why an operator has hidden it.
    hidden        TEXT,
    created_at    BIGINT NOT NULL,
    edited_at     BIGINT,
    UNIQUE (escrow_id, reviewer_id, subject_id),
    CHECK ((answer IS NULL) = (answered_at IS NULL))
);
CREATE INDEX reviews_subject ON reviews (subject_id, id);

-- How many reviews of somebody are not hidden, and the sum of their stars.
CREATE TABLE ratings (
    user_id BYTEA  NOT NULL PRIMARY KEY REFERENCES users (id),
    reviews BIGINT NOT NULL CHECK (reviews >= 0),
    stars   BIGINT NOT NULL CHECK (stars >= 0)
);
