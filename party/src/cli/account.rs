//! Keys, account, pins, backup.

use std::path::{Path, PathBuf};

use aegis_common::address::Address;
use aegis_common::hash::{Hash32, Key32};
use aegis_common::username::is_username;
use aegis_common::wire::account::RegisterRequest;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Context, NetworkName, output, parse_address};
use crate::client::Client;
use crate::engine::EngineError;
use crate::files;
use crate::keys::{KeyStore, MAX_RECORD, PinSource, Profile, PublicKeys, Secret, safety_number};

#[derive(Args)]
pub struct Init {
    /// The server's address, e.g. https://escrow.example
    #[arg(long)]
    server: String,
    /// 3 to 32 letters, digits, `_` or `-`.
    #[arg(long)]
    username: String,
    /// The network you trade on.
    #[arg(long, value_enum, default_value = "mainnet")]
    network: NetworkName,
    /// Where you are paid: an address of a wallet of yours.
    #[arg(long, value_parser = parse_address)]
    payout_address: Address,
    /// File that holds the account's password; else AEGIS_PASSWORD, else a random one is made and kept in the key store.
    #[arg(long)]
    password_file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum PinCommand {
    /// Store a user's keys, from the pin they gave you out of band.
    Add {
        /// Their username.
        name: String,
        /// What `aegis id` shows them.
        pin: String,
    },
    /// List stored keys.
    List,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IdView {
    username: String,
    fingerprint: Hash32,
    pin: String,
}

fn pin_text(keys: &PublicKeys) -> String {
    format!("{}:{}", keys.identity_key, keys.signing_key)
}

fn parse_pin(text: &str) -> Option<PublicKeys> {
    let (identity, signing) = text.split_once(':')?;
    let parse = |part: &str| part.parse::<Key32>().ok();
    Some(PublicKeys { identity_key: parse(identity)?, signing_key: parse(signing)? })
}

fn id_view(keys: &KeyStore) -> IdView {
    let public = keys.identity().public();
    IdView {
        username: keys.profile().username.clone(),
        fingerprint: public.fingerprint(),
        pin: pin_text(&public),
    }
}

fn print_id(context: &Context, view: &IdView) {
    output::result(context.json, view, || {
        let IdView { username, fingerprint, pin } = view;
        format!("username     {username}\nfingerprint  {fingerprint}\npin          {pin}")
    });
}

fn account_password(file: Option<&Path>) -> Result<Secret, EngineError> {
    match (file, std::env::var("AEGIS_PASSWORD")) {
        (Some(path), _) => {
            let bytes = files::read_private(path, 4096)?;
            Ok(Secret::new(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n'])))
        }
        (None, Ok(password)) => Ok(Secret::new(password)),
        (None, Err(_)) => {
            Secret::random().map_err(|error| EngineError::Person(format!("no randomness: {error}")))
        }
    }
}

/// Makes the key store first and registers then, so that an account never exists whose keys were lost. A second call
/// after a failed registration goes on with the same keys.
pub async fn init(context: &Context, init: Init) -> Result<(), EngineError> {
    if !is_username(&init.username) {
        return Err(EngineError::Person("a username has 3 to 32 letters, digits, `_` or `-`".to_owned()));
    }
    let network = init.network.into();
    init.payout_address
        .require(network)
        .map_err(|error| EngineError::Person(format!("--payout-address: {error}")))?;
    files::private_dir(&context.home)?;
    let path = context.home.join("keys");
    let passphrase = context.passphrase()?;
    let keys = if path.exists() {
        KeyStore::open(&path, passphrase.expose())?
    } else {
        let profile = Profile {
            username: init.username,
            server_url: init.server,
            account_password: account_password(init.password_file.as_deref())?,
            network,
            payout_address: Some(init.payout_address),
        };
        KeyStore::create(&path, passphrase.expose(), profile)?
    };
    let (profile, public) = (keys.profile(), keys.identity().public());
    let Some(payout_address) = profile.payout_address else {
        return Err(EngineError::Person("the key store names no payout address".to_owned()));
    };
    let client = Client::new(&profile.server_url, &profile.username, profile.account_password.clone())?;
    let request = RegisterRequest {
        username: profile.username.clone(),
        password: profile.account_password.expose().to_owned(),
        identity_key: public.identity_key,
        signing_key: public.signing_key,
        payout_address,
    };
    if let Err(error) = client.register(&request).await {
        // Registered by an earlier call whose answer was lost: the account then has exactly these keys.
        let mine = match client.me().await {
            Ok(me) => me.signing_key == public.signing_key,
            Err(_) => false,
        };
        if !mine {
            return Err(error.into());
        }
    }
    print_id(context, &id_view(&keys));
    Ok(())
}

pub fn id(context: &Context) -> Result<(), EngineError> {
    let view = context.desk()?.keys(id_view);
    print_id(context, &view);
    Ok(())
}

pub fn pin(context: &Context, command: PinCommand) -> Result<(), EngineError> {
    let desk = context.desk()?;
    match command {
        PinCommand::Add { name, pin } => {
            let keys = parse_pin(&pin).filter(|_| is_username(&name));
            let keys =
                keys.ok_or_else(|| EngineError::Person("that is not a pin of `aegis id`".to_owned()))?;
            desk.pin(&name, keys, PinSource::Compared)?;
            let document = serde_json::json!({"name": name, "fingerprint": keys.fingerprint()});
            output::result(context.json, &document, || format!("pinned {name}: {}", keys.fingerprint()));
        }
        PinCommand::List => {
            let pins: Vec<_> = desk.keys(|keys| {
                keys.pins().map(|(name, pin)| (name.to_owned(), pin.keys.fingerprint(), pin.how)).collect()
            });
            let line = |(name, fingerprint, how): &(String, Hash32, PinSource)| {
                format!(
                    "{name}  {fingerprint}  {}",
                    if *how == PinSource::Compared { "compared" } else { "first use" }
                )
            };
            output::result(context.json, &pins, || pins.iter().map(line).collect::<Vec<_>>().join("\n"));
        }
    }
    Ok(())
}

pub fn safety(context: &Context, name: &str) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let number =
        desk.keys(|keys| keys.pin(name).map(|pin| safety_number(&keys.identity().public(), &pin.keys)));
    let number = number.ok_or_else(|| EngineError::Person(format!("the keys of {name} are unknown here")))?;
    output::result(context.json, &serde_json::json!({"safetyNumber": number}), || number.clone());
    Ok(())
}

/// Copies the key store, the books and the wallets' keys files. Wallet caches are left out on purpose: restoring one
/// from before a signature would bring back used nonces.
pub fn backup(context: &Context, to: &Path) -> Result<(), EngineError> {
    // Opening proves that the passphrase is known.
    let _desk = context.desk()?;
    if to.exists() {
        return Err(EngineError::Person("the backup goes to a new folder".to_owned()));
    }
    let mut copied = 0;
    // Folder, and how the names of the files to keep end.
    for (folder, suffix) in [("", "keys"), ("escrows", ".sealed"), ("wallet/wallets", ".keys")] {
        let (from, into) = (context.home.join(folder), to.join(folder));
        let Ok(entries) = std::fs::read_dir(&from) else { continue };
        files::private_dir(&into)?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.ends_with(suffix)) && entry.path().is_file() {
                let bytes = files::read_private(&entry.path(), MAX_RECORD as u64 + 64)?;
                files::write_atomic(&into.join(name), &bytes)?;
                copied += 1;
            }
        }
    }
    output::result(context.json, &serde_json::json!({"files": copied}), || format!("copied {copied} files"));
    Ok(())
}
