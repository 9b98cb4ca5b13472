//! The account: the commands, each told in a file of its own.

use std::path::PathBuf;

use aegis_common::address::Address;
use clap::{Args, Subcommand};

use super::{Context, access, factor, login, parse_address, password, profile};
use crate::engine::EngineError;

#[derive(Subcommand)]
pub enum Command {
    /// Log in anew. The session is kept in the home, sealed; all commands share it.
    Login,
    /// End this home's session. A running `aegis run` logs in again.
    Logout,
    /// List where the account is logged in, or end sessions.
    Sessions {
        #[command(subcommand)]
        command: Option<login::SessionsCommand>,
    },
    /// Ask for a code of an authenticator at each login, or no more.
    #[command(subcommand)]
    Totp(factor::TotpCommand),
    /// Make ten backup codes in place of those made before. Each works once, where an authenticator's code is asked.
    BackupCodes,
    /// List passkeys, or remove one. To add one open the server's page in a browser.
    Passkeys {
        #[command(subcommand)]
        command: Option<factor::PasskeysCommand>,
    },
    /// Keys for programs that read the account or trade, without its password.
    #[command(subcommand)]
    ApiKey(access::ApiKeyCommand),
    /// Set another password for the account. (The key store's is `aegis passphrase`.)
    #[command(subcommand)]
    Password(password::PasswordCommand),
    /// Show the account, or change what it shows and chooses.
    Profile(profile::Changes),
    /// List what was done, or tried, with the account's credentials, newest first.
    Audit(Audit),
    /// Find accounts by the beginning of their name.
    Users(Users),
    /// Invite somebody, or list or withdraw invitations.
    Invite(access::Invite),
    /// Show how many prekeys are left at the server, for messages that others begin while you are away.
    Prekeys {
        /// Make those that are missing.
        #[arg(long)]
        refill: bool,
        /// Make all but the signed one anew: after a home was restored from a backup.
        #[arg(long)]
        replace: bool,
    },
    /// Be paid elsewhere, in escrows that are made from now on.
    PayoutAddress {
        /// An address of a wallet of yours.
        #[arg(value_parser = parse_address)]
        address: Address,
    },
}

#[derive(Args)]
pub struct Audit {
    /// Only those before this position.
    #[arg(long)]
    before: Option<i64>,
    /// How many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
}

#[derive(Args)]
pub struct Users {
    /// 3 characters or more.
    prefix: String,
    /// Only those after this name.
    #[arg(long)]
    after: Option<String>,
    /// How many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
}

/// A new password.
#[derive(Args)]
pub struct NewPassword {
    /// File that holds the new one; else AEGIS_NEW_PASSWORD, else it is asked.
    #[arg(long)]
    pub new_password_file: Option<PathBuf>,
    /// Make one at random, kept in the key store.
    #[arg(long, conflicts_with = "new_password_file")]
    pub random: bool,
}

pub async fn account(context: &Context, command: Command) -> Result<(), EngineError> {
    match command {
        Command::Login => login::login(context).await,
        Command::Logout => login::logout(context).await,
        Command::Sessions { command } => login::sessions(context, command).await,
        Command::Totp(command) => factor::totp(context, command).await,
        Command::BackupCodes => factor::backup_codes(context).await,
        Command::Passkeys { command } => factor::passkeys(context, command).await,
        Command::ApiKey(command) => access::api_key(context, command).await,
        Command::Password(command) => password::password(context, command).await,
        Command::Profile(changes) => profile::profile(context, changes).await,
        Command::Audit(Audit { before, limit }) => login::audit(context, before, limit).await,
        Command::Users(Users { prefix, after, limit }) => {
            profile::users(context, &prefix, after.as_deref(), limit).await
        }
        Command::Invite(invite) => access::invite(context, invite).await,
        Command::Prekeys { refill, replace } => profile::prekeys(context, refill, replace).await,
        Command::PayoutAddress { address } => profile::payout_address(context, address).await,
    }
}
