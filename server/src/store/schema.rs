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
    escrow_list (user_id, escrow_id) {
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
    inbox (user_id) {
        user_id -> Binary,
        read_up_to -> BigInt,
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

table! {
    arbiters (user_id) {
        user_id -> Binary,
        about -> Text,
        languages -> Text,
        fee_bps -> Nullable<Integer>,
        capacity -> Nullable<Integer>,
        accepting -> Bool,
        seen_at -> BigInt,
        assigned_at -> Nullable<BigInt>,
    }
}

table! {
    assignments (escrow_id) {
        escrow_id -> Binary,
        arbiter_id -> Binary,
        creator_id -> Binary,
        other_id -> Binary,
        at -> BigInt,
        replaces -> Nullable<Binary>,
        choice -> Text,
    }
}

table! {
    vacancies (escrow_id) {
        escrow_id -> Binary,
        try_at -> BigInt,
    }
}

table! {
    outages (began) {
        began -> BigInt,
        ended -> BigInt,
    }
}

table! {
    heartbeat (name) {
        name -> Text,
        at -> BigInt,
    }
}

table! {
    tallies (user_id) {
        user_id -> Binary,
        released -> BigInt,
        refunded -> BigInt,
        split -> BigInt,
        disputed -> BigInt,
        won -> BigInt,
        lost -> BigInt,
        volume -> BigInt,
        arbitrated -> BigInt,
        ruled -> BigInt,
    }
}

table! {
    webhooks (id) {
        id -> Binary,
        user_id -> Binary,
        url -> Text,
        kinds -> Nullable<Text>,
        secret -> Binary,
        description -> Text,
        enabled -> Bool,
        because -> Nullable<Text>,
        since -> BigInt,
        due_at -> Nullable<BigInt>,
        failures -> Integer,
        tried_at -> Nullable<BigInt>,
        lease -> BigInt,
        leased_until -> BigInt,
        created_at -> BigInt,
    }
}

table! {
    deliveries (seq) {
        seq -> BigInt,
        id -> Binary,
        webhook_id -> Binary,
        event_seq -> Nullable<BigInt>,
        kind -> Text,
        original_id -> Nullable<Binary>,
        status -> Text,
        created_at -> BigInt,
        attempts -> Integer,
        at -> Nullable<BigInt>,
        millis -> Nullable<Integer>,
        http_status -> Nullable<Integer>,
        error -> Nullable<Text>,
        excerpt -> Nullable<Text>,
    }
}

table! {
    own_wallets (user_id) {
        user_id -> Binary,
        connection -> Binary,
        created_at -> BigInt,
    }
}

table! {
    listings (id) {
        id -> Binary,
        seller_id -> Binary,
        version -> BigInt,
        status -> Text,
        title -> Text,
        description -> Text,
        price -> BigInt,
        stock -> BigInt,
        terms -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

table! {
    listing_words (word, listing_id) {
        word -> Binary,
        listing_id -> Binary,
    }
}

table! {
    orders (id) {
        id -> Binary,
        listing_id -> Binary,
        escrow_id -> Binary,
        buyer_id -> Binary,
        seller_id -> Binary,
        title -> Text,
        quantity -> BigInt,
        price -> BigInt,
        stage -> Text,
        status -> Nullable<Text>,
        contract -> Nullable<Text>,
        key -> Text,
        created_at -> BigInt,
    }
}

table! {
    ratings (user_id) {
        user_id -> Binary,
        reviews -> BigInt,
        stars -> BigInt,
    }
}

table! {
    reviews (id) {
        id -> Binary,
        escrow_id -> Binary,
        reviewer_id -> Binary,
        reviewer_role -> Text,
        subject_id -> Binary,
        subject_role -> Text,
        version -> BigInt,
        stars -> BigInt,
        body -> Text,
        answer -> Nullable<Text>,
        answered_at -> Nullable<BigInt>,
        hidden -> Nullable<Text>,
        created_at -> BigInt,
        edited_at -> Nullable<BigInt>,
    }
}

diesel::joinable!(escrow_list -> escrows (escrow_id));

diesel::allow_tables_to_appear_in_same_query!(
    arbiters,
    assignments,
    audit,
    backup_codes,
    budgets,
    chain_blocks,
    chain_progress,
    challenges,
    deliveries,
    disabled,
    escrow_list,
    escrows,
    events,
    heartbeat,
    idempotency,
    inbox,
    invitations,
    journal,
    listing_words,
    listings,
    orders,
    outages,
    outbox_cursor,
    own_wallets,
    passkeys,
    prekeys,
    profiles,
    ratings,
    reset_signatures,
    reviews,
    seal_keys,
    sessions,
    tallies,
    title_words,
    token_keys,
    totp,
    users,
    vacancies,
    wallet_backups,
    webhooks,
);
