use super::*;

const MANIFEST: &str = "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n";

fn tree(files: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    violations(dir.path()).unwrap()
}

#[test]
fn an_upward_import_is_named_with_both_modules() {
    for import in [
        "use crate::actors::message::Tell;",
        "use crate::{\n    crypto::seal,\n    actors::{message, timers},\n};",
    ] {
        let found = tree(&[("server/src/store/mod.rs", import)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("store (floor 2) imports actors (floor 4)"), "{found:?}");
    }
}

#[test]
fn downward_imports_own_modules_comments_strings_and_tests_are_fine() {
    let text = "//! crate::actors\nuse crate::crypto::seal;\nuse crate::store::schema;\nconst A: &str = \"crate::api\";\n\
                #[cfg(test)]\nmod tests {\n    use crate::actors::message;\n}\n";
    assert_eq!(tree(&[("server/src/store/mod.rs", text)]), Vec::<String>::new());
}

#[test]
fn use_cases_of_one_floor_never_import_each_other() {
    assert_eq!(tree(&[("server/src/accounts/mod.rs", "use crate::arbiters::pick;")]).len(), 1);
}

#[test]
fn a_module_without_a_floor_is_reported() {
    let found = tree(&[("server/src/helpers.rs", "")]);
    assert!(found[0].contains("module helpers has no floor"), "{found:?}");
}

#[test]
fn every_outside_system_has_one_door() {
    for (path, text) in [
        ("server/src/api/escrows.rs", "use diesel::prelude::*;"),
        ("server/src/api/escrows.rs", "fn f() { actix_web_actors::ws::start(); }"),
        ("server/src/chain/mod.rs", "use monero_rpc::RpcClient;"),
        ("party/src/cli/mod.rs", "fn f() { call(\"sign_multisig\"); }"),
        ("server/src/node/mod.rs", "fn f() { call(\"export_multisig_info\"); }"),
        ("party/src/client/mod.rs", "use digest_auth::parse;"),
    ] {
        assert_eq!(tree(&[(path, text)]).len(), 1, "{path}: {text}");
    }
    let own = [
        ("server/src/store/users.rs", "use diesel::prelude::*;"),
        ("party/src/wallet/rpc.rs", "use digest_auth::parse;"),
    ];
    assert_eq!(tree(&own), Vec::<String>::new());
}

#[test]
fn a_crate_without_the_workspaces_lints_is_reported() {
    assert_eq!(tree(&[("party/Cargo.toml", MANIFEST)]), Vec::<String>::new());
    assert_eq!(
        tree(&[("party/Cargo.toml", "[package]\nname = \"x\"\n[lints]\n[x]\nworkspace = true\n")]).len(),
        1
    );
}

#[test]
fn unfinished_words_are_reported() {
    let text = format!("// {}{}: later\n", "TO", "DO");
    assert_eq!(tree(&[("common/src/time.rs", &text)]).len(), 1);
}

#[test]
fn a_document_names_only_paths_that_exist() {
    let readme = "See `common/src/time.rs:3`, `common/src/{time,gone}.rs`, `/api/v1`, `common/*/x` and `a b/c`.\n\
                  ```\ncommon/src/none.rs\n```\n";
    let found = tree(&[("README.md", readme), ("common/src/time.rs", "")]);
    assert_eq!(found, ["README.md:1: names common/src/gone.rs, which does not exist"]);
}

#[test]
fn a_column_that_only_one_side_knows_is_reported() {
    let schema = "table! {\n    users (id) {\n        id -> Binary,\n        name -> Text,\n    }\n}\n";
    let sqlite = "CREATE TABLE users (\n id BLOB NOT NULL CHECK (length(id) = 16), -- a, b\n name TEXT,\n PRIMARY KEY (id)\n);";
    let files = [
        ("server/src/store/schema.rs", schema),
        ("migrations/sqlite/1_ground/up.sql", sqlite),
        (
            "migrations/postgres/1_ground/up.sql",
            "CREATE TABLE users (id BYTEA PRIMARY KEY);\nALTER TABLE users ADD COLUMN name TEXT;",
        ),
    ];
    assert_eq!(tree(&files), Vec::<String>::new());
    let found = tree(&[
        files[0],
        files[1],
        ("migrations/postgres/1_ground/up.sql", "CREATE TABLE users (id BYTEA, nam TEXT);"),
    ]);
    assert_eq!(
        found,
        [
            "migrations/postgres/: users.nam is not in schema.rs",
            "migrations/postgres/: users.name is in schema.rs only"
        ]
    );
}
