//! `aegis-server`: serves, and manages what a person manages from a shell.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use aegis_common::wire::account::{AccountRole, InvitationRequest};
use aegis_server::accounts::Origin;
use aegis_server::app::{self, Ground, keys};
use aegis_server::clock::SystemClock;
use aegis_server::config::{Config, SETTINGS, env_example};
use aegis_server::telemetry;
use anyhow::Context;
use clap::{Parser, Subcommand};

/// Self-hosted, non-custodial Monero escrow. Settings come from AEGIS_* variables; see `aegis-server settings`.
#[derive(Parser)]
#[command(name = "aegis-server", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (what happens without a command, too).
    Run,
    /// Show how the running server is, and what in its database does not go on. Fails where an operator has to look at something.
    Status {
        /// Print one JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Manage accounts.
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Manage the keys that seal secrets in the database, also beside a running server.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Print everything in the database, sealed columns opened, as lines of JSON: what this server holds. The output is as
    /// secret as the key file.
    Dump,
    /// Print the API's description (OpenAPI 3.1).
    Openapi,
    /// Print every setting with its documentation and default, as an environment file.
    Settings,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Show the ids of the keys.
    List,
    /// Add a fresh key and seal everything anew under it.
    Rotate,
    /// Seal anew what lies under older keys: goes on where a rotation was cut off, or after a key was added to AEGIS_KEYS.
    Reseal,
    /// Remove the keys under which nothing lies any more from the key file.
    Prune,
    /// Make a new key for login tokens before its time; it signs in five minutes.
    RotateTokens,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Invite somebody: print a token for `aegis init --invitation-file FILE`, or AEGIS_INVITATION. The first administrator begins
    /// with one.
    Invite {
        /// user, arbiter, operator or admin.
        #[arg(value_parser = role)]
        role: AccountRole,
        /// Hours for which it works, 1 to 720.
        #[arg(long, default_value_t = 72)]
        hours: u32,
    },
    /// Take every second factor of an account away, for somebody who has lost them all. They are told.
    ResetFactors {
        /// The account's name.
        name: String,
        /// How you know that it is them, for the audit: at most 64 characters.
        #[arg(long)]
        reason: String,
    },
    /// End all sessions of an account, at once; or everybody's. API keys go on.
    EndSessions {
        /// The account's name; everybody where left out.
        name: Option<String>,
    },
    /// Keep an account from being used, and end its sessions and API keys.
    Disable {
        /// The account's name.
        name: String,
    },
    /// Let an account be used again.
    Enable {
        /// The account's name.
        name: String,
    },
    /// Change what an account may do, at once.
    Role {
        /// The account's name.
        name: String,
        /// user, arbiter, operator or admin.
        #[arg(value_parser = role)]
        role: AccountRole,
    },
}

fn role(text: &str) -> Result<AccountRole, String> {
    AccountRole::from_wire(text).ok_or_else(|| "must be user, arbiter, operator or admin".to_owned())
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn act(command: Command) -> anyhow::Result<ExitCode> {
    if let Command::Status { json } = command {
        return status(json);
    }
    serve_or_manage(command).map(|()| ExitCode::SUCCESS)
}

fn status(json: bool) -> anyhow::Result<ExitCode> {
    let config = Config::load().context("the configuration can't be used")?;
    let report = actix::System::new().block_on(app::status::report(&config, Arc::new(SystemClock)))?;
    let text = if json { serde_json::to_string(&report)? + "\n" } else { report.text()? };
    print(&text)?;
    Ok(if report.needs_operator() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn serve_or_manage(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Openapi => return print(&(app::routes::openapi().to_pretty_json()? + "\n")),
        Command::Settings => return print(&env_example(SETTINGS)),
        _ => {}
    }
    let config = Config::load().context("the configuration can't be used")?;
    telemetry::init(&config.log)?;
    for name in &config.unknown {
        tracing::warn!(name, "there is no such setting; it has no effect");
    }
    let system = actix::System::new();
    if let Command::Run = command {
        return system.block_on(app::run(&config, Arc::new(SystemClock)));
    }
    system.block_on(async {
        let ground = Ground::open(&config, Arc::new(SystemClock))?;
        ground.ready().await?;
        manage(&ground, command).await
    })
}

async fn manage(ground: &Ground, command: Command) -> anyhow::Result<()> {
    let say = |line: String| drop(writeln!(std::io::stderr(), "{line}"));
    match command {
        Command::User { command } => manage_users(ground, command).await,
        Command::Keys { command } => match command {
            KeysCommand::List => print(&(keys::list(ground).join("\n") + "\n")),
            KeysCommand::Rotate => {
                keys::rotate(ground, say).await?;
                print("rotated; when every server has the new key: aegis-server keys prune\n")
            }
            KeysCommand::Reseal => keys::reseal(ground, say).await,
            KeysCommand::Prune => print(&format!("{} keys removed\n", keys::prune(ground).await?)),
            KeysCommand::RotateTokens => Ok(ground.accounts.rotate_token_key().await?),
        },
        Command::Dump => {
            let write =
                |line: &serde_json::Value| std::io::stdout().write_all(format!("{line}\n").as_bytes());
            Ok(ground.store.dump(write).await?)
        }
        Command::Run | Command::Status { .. } | Command::Openapi | Command::Settings => Ok(()),
    }
}

async fn manage_users(ground: &Ground, command: UserCommand) -> anyhow::Result<()> {
    match command {
        UserCommand::Role { name, role } => {
            let user = ground.accounts.set_role(&name, role, None, Origin::MACHINE).await?;
            print(&format!("{} is {}\n", user.username, user.role.wire()))
        }
        UserCommand::Invite { role, hours } => {
            let request = InvitationRequest { role, hours };
            let made = ground.accounts.invite(request, None, Origin::MACHINE).await?;
            print(&format!("{}\n", made.token))
        }
        UserCommand::EndSessions { name: Some(name) } => {
            Ok(ground.accounts.end_sessions_of(&name, None, Origin::MACHINE).await?)
        }
        UserCommand::EndSessions { name: None } => {
            print(&format!("{} sessions ended\n", ground.accounts.end_everybody().await?))
        }
        UserCommand::Disable { name } => {
            Ok(ground.accounts.set_disabled(&name, true, None, Origin::MACHINE).await?)
        }
        UserCommand::Enable { name } => {
            Ok(ground.accounts.set_disabled(&name, false, None, Origin::MACHINE).await?)
        }
        UserCommand::ResetFactors { name, reason } => {
            ground.accounts.remove_factors(&name, &reason).await?;
            print(&format!("{name} logs in with the password alone\n"))
        }
    }
}

fn main() -> ExitCode {
    match act(Arguments::parse().command.unwrap_or(Command::Run)) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "aegis-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}
