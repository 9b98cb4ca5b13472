//! Keys, account, pins, backup.

use std::path::{Path, PathBuf};

use aegis_common::address::Address;
use aegis_common::hash::{Hash32, Key32};
use aegis_common::username::is_username;
use aegis_common::wire::account::{PayoutAddressRequest, RegisterRequest};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Context, NetworkName, output, parse_address};
use crate::client::{Client, ClientError};
use crate::engine::EngineError;
use crate::files;
use crate::keys::{KeyStore, MAX_RECORD, PinSource, Profile, PublicKeys, Secret, safety_number};
use crate::wallet::{NonceGuard, WalletName};

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

fn account_password(file: Option<&Path>) -> Result<Option<Secret>, EngineError> {
    match file {
        Some(path) => super::secret_in(path).map(Some),
        None => Ok(std::env::var("AEGIS_PASSWORD").ok().map(Secret::new)),
    }
}

/// Makes the key store first and registers then, so that an account never exists whose keys were lost. A second call
/// after a failed registration goes on with the same keys, and with what it says of the rest.
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
    let passphrase = if path.exists() { context.passphrase() } else { context.new_passphrase() }?;
    let mut keys = if path.exists() {
        let mut keys = KeyStore::open(&path, passphrase.expose())?;
        let Profile { username, server_url, payout_address, .. } = keys.profile();
        let same_account = (username, server_url) == (&init.username, &init.server);
        // The answer to an earlier call may have been lost: then the account has exactly these keys.
        let registered = keys.profile().registered || (same_account && has_account(&keys).await?);
        if registered && (!same_account || *payout_address != init.payout_address) {
            let why = "to be paid elsewhere: aegis payout-address; for another account name another --home";
            let why = format!("this home is registered as {username} at {server_url}; {why}");
            return Err(EngineError::Person(why));
        }
        if !registered {
            let known = keys.profile().account_password.clone();
            *keys.profile_mut() = profile_of(&init, Some(known))?;
            keys.save()?;
        }
        keys
    } else {
        KeyStore::create(&path, passphrase.expose(), profile_of(&init, None)?)?
    };
    let (profile, public) = (keys.profile(), keys.identity().public());
    let request = RegisterRequest {
        username: profile.username.clone(),
        password: profile.account_password.expose().to_owned(),
        identity_key: public.identity_key,
        signing_key: public.signing_key,
        payout_address: profile.payout_address,
    };
    let client = client_of(profile)?;
    if let Err(error) = client.register(&request).await {
        if !has_account(&keys).await.unwrap_or(false) {
            return Err(error.into());
        }
        // An earlier call registered it, perhaps to be paid elsewhere.
        client.set_payout_address(&PayoutAddressRequest { payout_address: profile.payout_address }).await?;
    }
    keys.profile_mut().registered = true;
    keys.save()?;
    print_id(context, &id_view(&keys));
    Ok(())
}

fn client_of(profile: &Profile) -> Result<Client, ClientError> {
    Client::new(&profile.server_url, &profile.username, profile.account_password.clone())
}

/// Whether the server has the profile's account, with these keys; an error where it does not say.
async fn has_account(keys: &KeyStore) -> Result<bool, ClientError> {
    match client_of(keys.profile())?.me().await {
        Ok(me) => Ok(me.signing_key == keys.identity().public().signing_key),
        Err(ClientError::Problem(problem)) if problem.status == 401 => Ok(false),
        Err(error) => Err(error),
    }
}

/// A password that was given counts; otherwise the one from before, and a random one at first.
fn profile_of(init: &Init, known: Option<Secret>) -> Result<Profile, EngineError> {
    let given = account_password(init.password_file.as_deref())?;
    let password = given.or(known).map_or_else(Secret::random, Ok);
    Ok(Profile {
        username: init.username.clone(),
        server_url: init.server.clone(),
        account_password: password.map_err(|error| EngineError::Person(format!("no randomness: {error}")))?,
        network: init.network.into(),
        payout_address: init.payout_address,
        registered: false,
    })
}

/// Where contracts that are made from now on pay.
pub async fn payout_address(context: &Context, address: Address) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let network = desk.keys(|keys| keys.profile().network);
    address.require(network).map_err(|error| EngineError::Person(error.to_string()))?;
    // The server's first: contracts with an address that this program does not know are refused by it, never signed.
    desk.client.set_payout_address(&PayoutAddressRequest { payout_address: address }).await?;
    desk.change_keys(|keys| {
        keys.profile_mut().payout_address = address;
        keys.save()
    })?;
    let document = serde_json::json!({"payoutAddress": address});
    output::result(context.json, &document, || {
        format!("new contracts pay {address}; those made before do not change")
    });
    Ok(())
}

/// Encrypts the key store with another passphrase. The keys stay, and so do backups under the old one.
pub fn passphrase(context: &Context, file: Option<&Path>) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let new = super::new_secret(file, "AEGIS_NEW_PASSPHRASE", "New passphrase: ")?;
    desk.change_keys(|keys| keys.change_passphrase(new.expose()))?;
    let document = serde_json::json!({"changed": true});
    output::result(context.json, &document, || "changed; start aegis run again with it".to_owned());
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

/// Copies the key store, the books and the wallets' keys files, and marks the nonces of each wallet as used. Wallet caches
/// are left out on purpose: restoring one from before a signature would bring back used nonces. A book that can't be read is
/// copied as it is and named at the end.
pub fn backup(context: &Context, to: &Path) -> Result<(), EngineError> {
    let desk = context.desk()?;
    if to.exists() {
        return Err(EngineError::Person("the backup goes to a new folder".to_owned()));
    }
    let mut copied = 0;
    // Who restores this knows nothing of the nonces that were used since: the first signature waits for fresh ones. The marks
    // come first, so that nothing is ever in the folder without them.
    let marks = NonceGuard::new(&to.join("nonces"))?;
    let mut damaged = Vec::new();
    for id in desk.known()? {
        match desk.stored(id) {
            Ok(book) => {
                for attempt in book.iter().flat_map(|book| book.attempts.keys()) {
                    marks.claim(&WalletName::of(id, *attempt))?;
                }
            }
            Err(error) => damaged.push(format!("{id}: {error}")),
        }
    }
    // Of a book that can't be read, by the wallets that are there.
    for entry in std::fs::read_dir(context.home.join("wallet/wallets")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(".keys"));
        if let Some(name) = name.and_then(|name| name.parse::<WalletName>().ok())
            && !marks.is_used(&name)
        {
            marks.claim(&name)?;
        }
    }
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
    let document = serde_json::json!({"files": copied, "damaged": damaged});
    output::result(context.json, &document, || format!("copied {copied} files"));
    match damaged.as_slice() {
        [] => Ok(()),
        damaged => Err(EngineError::Book(format!("copied, but unreadable: {}", damaged.join("; ")))),
    }
}
