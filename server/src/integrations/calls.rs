//! The calls of monero-wallet-rpc that are passed on: those that only read, and say nothing that can spend. Everything else is
//! refused before anything is sent.

use aegis_common::wire::wallet::bounds;
use serde_json::{Map, Value};

/// What a parameter may be.
#[derive(Debug, Clone, Copy)]
enum Sort {
    /// Of an account or a subaddress.
    Index,
    /// At most a hundred of them.
    Indices,
    /// Yes or no.
    Flag,
    /// Of a block.
    Height,
    /// 64 hexadecimal digits.
    Txid,
}

use Sort::{Flag, Height, Index, Indices, Txid};

/// Each method with its parameters, as monero-wallet-rpc names them.
const CALLS: &[(&str, &[(&str, Sort)])] = &[
    ("get_version", &[]),
    ("get_height", &[]),
    (
        "get_balance",
        &[("account_index", Index), ("address_indices", Indices), ("all_accounts", Flag), ("strict", Flag)],
    ),
    ("get_address", &[("account_index", Index), ("address_index", Indices)]),
    ("get_accounts", &[("strict_balances", Flag)]),
    (
        "get_transfers",
        &[
            ("in", Flag),
            ("out", Flag),
            ("pending", Flag),
            ("failed", Flag),
            ("pool", Flag),
            ("filter_by_height", Flag),
            ("min_height", Height),
            ("max_height", Height),
            ("account_index", Index),
            ("subaddr_indices", Indices),
            ("all_accounts", Flag),
        ],
    ),
    ("get_transfer_by_txid", &[("txid", Txid), ("account_index", Index)]),
];

impl Sort {
    fn fits(self, value: &Value) -> bool {
        let is_index = |value: &Value| value.as_u64().is_some_and(|index| u32::try_from(index).is_ok());
        match self {
            Self::Index => is_index(value),
            Self::Indices => {
                value.as_array().is_some_and(|all| all.len() <= bounds::INDICES && all.iter().all(is_index))
            }
            Self::Flag => value.is_boolean(),
            Self::Height => value.is_u64(),
            Self::Txid => value
                .as_str()
                .is_some_and(|text| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())),
        }
    }
}

/// The parameters as they are sent, or what is wrong with the call.
pub(super) fn check(method: &str, params: Value) -> Result<Map<String, Value>, String> {
    let Some((_, known)) = CALLS.iter().find(|(name, _)| *name == method) else {
        let all: Vec<&str> = CALLS.iter().map(|(name, _)| *name).collect();
        return Err(format!("method: must be one of {}", all.join(", ")));
    };
    let params = match params {
        Value::Null => Map::new(),
        Value::Object(params) => params,
        _ => return Err("params: must be an object".to_owned()),
    };
    for (name, value) in &params {
        match known.iter().find(|(known, _)| known == name) {
            Some((_, sort)) if sort.fits(value) => {}
            Some((known, _)) => return Err(format!("params.{known}: has a value that is not allowed")),
            None => return Err(format!("params: {method} is called with none but its own parameters")),
        }
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changes_a_wallet_or_tells_its_keys_is_refused_by_name() {
        for method in [
            "query_key",
            "transfer",
            "transfer_split",
            "sweep_all",
            "sweep_single",
            "submit_transfer",
            "sign_transfer",
            "relay_tx",
            "create_address",
            "create_account",
            "label_address",
            "store",
            "stop_wallet",
            "close_wallet",
            "open_wallet",
            "restore_deterministic_wallet",
            "rescan_blockchain",
            "refresh",
            "export_outputs",
            "export_key_images",
            "import_key_images",
            "get_tx_key",
            "get_tx_proof",
            "sign",
            "set_daemon",
            "change_wallet_password",
            "set_attribute",
            "get_attribute",
            "make_uri",
            "incoming_transfers",
            "",
            "GET_HEIGHT",
            "get_height ",
        ] {
            assert!(check(method, json!({})).unwrap_err().starts_with("method"), "{method}");
        }
    }

    #[test]
    fn parameters_are_those_of_the_method_and_bounded() {
        let many: Vec<u32> = (0..101).collect();
        for (method, params) in [
            ("get_height", json!([])),
            ("get_height", json!({ "account_index": 0 })),
            ("get_balance", json!({ "account_index": -1 })),
            ("get_balance", json!({ "account_index": 4_294_967_296_u64 })),
            ("get_balance", json!({ "account_index": "0" })),
            ("get_balance", json!({ "address_indices": many })),
            ("get_balance", json!({ "address_indices": [[0]] })),
            ("get_transfers", json!({ "in": 1 })),
            ("get_transfers", json!({ "min_height": 1.5 })),
            ("get_transfer_by_txid", json!({ "txid": "ab" })),
            ("get_transfer_by_txid", json!({ "txid": "zz".repeat(32) })),
        ] {
            assert!(check(method, params.clone()).unwrap_err().starts_with("params"), "{method} {params}");
        }
        let all = json!({ "in": true, "min_height": 5, "account_index": 1, "subaddr_indices": [0, 7] });
        assert_eq!(Value::from(check("get_transfers", all.clone()).unwrap()), all);
        assert!(check("get_version", Value::Null).unwrap().is_empty());
    }
}
