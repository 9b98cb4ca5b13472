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
    listings (user_id, escrow_id) {
        user_id -> Binary,
        escrow_id -> Binary,
        role -> Integer,
        status -> Integer,
        amount -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
        words -> Nullable<Text>,
    }
}

table! {
    title_words (user_id, word, escrow_id) {
        user_id -> Binary,
        word -> Text,
        escrow_id -> Binary,
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

table! {
    profiles (user_id) {
        user_id -> Binary,
        display_name -> Text,
        settings -> Text,
        updated_at -> BigInt,
    }
}

table! {
    prekeys (user_id, kind, key_id) {
        user_id -> Binary,
        kind -> Text,
        key_id -> BigInt,
        public_key -> Binary,
        signature -> Binary,
        created_at -> BigInt,
    }
}

table! {
    sessions (id) {
        id -> Binary,
        user_id -> Binary,
        is_key -> Bool,
        name -> Text,
        scopes -> Text,
        secret_hash -> Binary,
        family_hash -> Binary,
        network -> Text,
        created_at -> BigInt,
        used_at -> Nullable<BigInt>,
        expires_at -> BigInt,
        strong -> Bool,
    }
}

table! {
    totp (user_id) {
        user_id -> Binary,
        secret -> Binary,
        confirmed -> Bool,
        last_step -> BigInt,
        created_at -> BigInt,
    }
}

table! {
    backup_codes (code_hash) {
        code_hash -> Binary,
        user_id -> Binary,
        used_at -> Nullable<BigInt>,
    }
}

table! {
    passkeys (id) {
        id -> Binary,
        user_id -> Binary,
        credential_id -> Binary,
        name -> Text,
        credential -> Text,
        created_at -> BigInt,
        used_at -> Nullable<BigInt>,
    }
}

table! {
    challenges (id) {
        id -> Binary,
        user_id -> Binary,
        origin -> Text,
        tries_left -> Integer,
        name -> Text,
        state -> Nullable<Text>,
        expires_at -> BigInt,
    }
}

table! {
    reset_signatures (hash) {
        hash -> Binary,
        at -> BigInt,
    }
}

table! {
    invitations (id) {
        id -> Binary,
        token_hash -> Binary,
        role -> Text,
        created_by -> Nullable<Binary>,
        created_at -> BigInt,
        expires_at -> BigInt,
        accepted_by -> Nullable<Binary>,
    }
}

table! {
    wallet_backups (user_id, version) {
        user_id -> Binary,
        version -> BigInt,
        sha256 -> Binary,
        bytes -> Binary,
        created_at -> BigInt,
    }
}

table! {
    audit (seq) {
        seq -> BigInt,
        user_id -> Nullable<Binary>,
        at -> BigInt,
        kind -> Text,
        network -> Nullable<Text>,
        detail -> Text,
    }
}

table! {
    budgets (key) {
        key -> Binary,
        ready_at -> BigInt,
    }
}

table! {
    token_keys (kid) {
        kid -> Text,
        seed -> Binary,
        created_at -> BigInt,
    }
}

table! {
    disabled (user_id) {
        user_id -> Binary,
        at -> BigInt,
    }
}

table! {
    seal_keys (key_id) {
        key_id -> Binary,
        created_at -> BigInt,
        retired_at -> Nullable<BigInt>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(disabled, sessions, users);
diesel::joinable!(listings -> escrows (escrow_id));
diesel::allow_tables_to_appear_in_same_query!(escrows, listings);
