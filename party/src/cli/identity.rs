//! Keys: the own ones, and those of others.

use std::path::Path;

use aegis_common::hash::{Hash32, Key32};
use aegis_common::username::is_username;
use clap::Subcommand;
use serde::Serialize;

use super::{Context, output, secrets};
use crate::engine::EngineError;
use crate::keys::{KeyStore, PinSource, PublicKeys, safety_number};

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
pub struct IdView {
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

pub fn id_view(keys: &KeyStore) -> IdView {
    let public = keys.identity().public();
    IdView {
        username: keys.profile().username.clone(),
        fingerprint: public.fingerprint(),
        pin: pin_text(&public),
    }
}

pub fn print_id(context: &Context, view: &IdView) {
    output::result(context.json, view, || {
        let IdView { username, fingerprint, pin } = view;
        format!("username     {username}\nfingerprint  {fingerprint}\npin          {pin}")
    });
}

/// Encrypts the key store with another passphrase. The keys stay, and so do backups under the old one.
pub fn passphrase(context: &Context, file: Option<&Path>) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let new = secrets::new_secret(file, "AEGIS_NEW_PASSPHRASE", "New passphrase: ")?;
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
