//! Making keys and an account.

use std::path::{Path, PathBuf};

use aegis_common::address::Address;
use aegis_common::code::Code;
use aegis_common::username::is_username;
use aegis_common::wire::account::{PayoutAddressRequest, RegisterRequest};
use clap::Args;

use super::{Context, NetworkName, identity, parse_address, secrets};
use crate::client::{Client, ClientError};
use crate::engine::EngineError;
use crate::files;
use crate::keys::{KeyError, KeyStore, Profile, Secret};

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
    /// File that holds an invitation's token, where the server takes registrations by invitation only; else AEGIS_INVITATION.
    #[arg(long)]
    invitation_file: Option<PathBuf>,
    /// The token itself, which others on this machine see.
    #[arg(long, env = "AEGIS_INVITATION", hide_env_values = true)]
    invitation: Option<String>,
}

fn account_password(file: Option<&Path>) -> Result<Option<Secret>, EngineError> {
    match file {
        Some(path) => secrets::secret_in(path).map(Some),
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
    let invitation = match &init.invitation_file {
        Some(path) => Some(secrets::secret_in(path)?),
        None => init.invitation.as_deref().map(Secret::new),
    };
    files::private_dir(&context.home)?;
    let path = context.home.join("keys");
    let passphrase = if path.exists() { context.passphrase() } else { context.new_passphrase() }?;
    let mut keys = if path.exists() {
        let mut keys = KeyStore::open(&path, passphrase.expose())?;
        let Profile { username, server_url, payout_address, .. } = keys.profile();
        let same_account = (username, server_url) == (&init.username, &init.server);
        // The answer to an earlier call may have been lost: then the account has exactly these keys.
        let registered = keys.profile().registered
            || (same_account && has_account(&client_of(context, &keys)?, &keys).await?);
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
    let bundle = keys.bundle()?;
    let profile = keys.profile();
    let request = RegisterRequest {
        username: profile.username.clone(),
        password: profile.account_password.expose().to_owned(),
        keys: bundle,
        payout_address: profile.payout_address,
        invitation: invitation.map(|token| token.expose().to_owned()),
    };
    let client = client_of(context, &keys)?;
    if let Err(error) = client.register(&request).await {
        if !has_account(&client, &keys).await.unwrap_or(false) {
            return Err(error.into());
        }
        // An earlier call registered it, perhaps to be paid elsewhere.
        client.set_payout_address(&PayoutAddressRequest { payout_address: profile.payout_address }).await?;
    }
    keys.profile_mut().registered = true;
    keys.save()?;
    identity::print_id(context, &identity::id_view(&keys));
    Ok(())
}

/// All of them share the home's session, so that a code is used once.
fn client_of(context: &Context, keys: &KeyStore) -> Result<Client, EngineError> {
    let mut client = Client::of_home(&context.home, keys)?;
    client.set_codes(secrets::codes(context.code_file.as_deref())?);
    Ok(client)
}

/// Whether the server has the profile's account, with these keys; an error where it does not say.
async fn has_account(client: &Client, keys: &KeyStore) -> Result<bool, ClientError> {
    match client.me().await {
        Ok(me) => Ok(me.user.signing_key == keys.identity().public().signing_key),
        Err(error) if error.code() == Some(Code::BadFactor) => Err(error),
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
        account_password: password.map_err(|_| KeyError::NoRandomness)?,
        new_password: None,
        network: init.network.into(),
        payout_address: init.payout_address,
        registered: false,
    })
}
