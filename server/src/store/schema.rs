//! Tables as Diesel sees them, the same on both databases. `migrations/` is the source of the rules.

use diesel::table;

table! {
    users (id) {
        id -> Binary,
        username -> Text,
        username_lower -> Text,
        password_hash -> Text,
        role -> Text,
        identity_key -> Binary,
        signing_key -> Binary,
        payout_address -> Text,
        created_at -> BigInt,
    }
}

table! {
    escrows (id) {
        id -> Binary,
        version -> BigInt,
        status -> Text,
        buyer_id -> Binary,
        seller_id -> Binary,
        arbiter_id -> Binary,
        creator_id -> Binary,
        amount -> BigInt,
        snapshot -> Text,
        view_key -> Nullable<Binary>,
        wake_at -> Nullable<BigInt>,
        wake_height -> Nullable<BigInt>,
        unmined -> Integer,
        watching -> Bool,
        watch_from -> Nullable<BigInt>,
        behind_from -> Nullable<BigInt>,
        highest_output -> Nullable<BigInt>,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

table! {
    journal (escrow_id, version) {
        escrow_id -> Binary,
        version -> BigInt,
        at -> BigInt,
        event -> Text,
        statement_hash -> Nullable<Binary>,
    }
}

table! {
    events (seq) {
        seq -> BigInt,
        event_id -> Binary,
        user_id -> Binary,
        escrow_id -> Nullable<Binary>,
        kind -> Text,
        payload -> Text,
        created_at -> BigInt,
    }
}

table! {
    idempotency (user_id, key) {
        user_id -> Binary,
        key -> Text,
        request_hash -> Binary,
        status -> Integer,
        response -> Text,
        created_at -> BigInt,
    }
}

table! {
    chain_progress (network) {
        network -> Text,
        height -> BigInt,
        hash -> Binary,
    }
}

table! {
    chain_blocks (network, height) {
        network -> Text,
        height -> BigInt,
        hash -> Binary,
    }
}

table! {
    outbox_cursor (name) {
        name -> Text,
        seq -> BigInt,
    }
}
