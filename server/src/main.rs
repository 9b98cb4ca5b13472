//! `aegis-server`: serves, and manages what a person manages from a shell.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use aegis_common::wire::account::AccountRole;
use aegis_server::app::{self, Ground};
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
    /// Ask the running server how it is.
    Status,
    /// Manage accounts.
    User {
        #[command(subcommand)]
        command: UserCommand,
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
enum UserCommand {
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

fn act(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Openapi => return print(&(app::routes::openapi().to_pretty_json()? + "\n")),
        Command::Settings => return print(&env_example(SETTINGS)),
        Command::Run | Command::Status | Command::User { .. } | Command::Dump => {}
    }
    let config = Config::load().context("the configuration can't be used")?;
    if let Command::Status = command {
        return print(&actix::System::new().block_on(app::status::status(&config))?);
    }
    telemetry::init(&config.log)?;
    for name in &config.unknown {
        tracing::warn!(name, "there is no such setting; it has no effect");
    }
    let clock = Arc::new(SystemClock);
    let system = actix::System::new();
    match command {
        Command::User { command: UserCommand::Role { name, role } } => system.block_on(async {
            let ground = Ground::open(&config, clock)?;
            let user = ground.accounts.set_role(&name, role).await?;
            print(&format!("{} is {}\n", user.username, user.role.wire()))
        }),
        Command::Dump => system.block_on(async {
            let ground = Ground::open(&config, clock)?;
            let write =
                |line: &serde_json::Value| std::io::stdout().write_all(format!("{line}\n").as_bytes());
            Ok(ground.store.dump(write).await?)
        }),
        _ => system.block_on(app::run(&config, clock)),
    }
}

fn main() -> ExitCode {
    match act(Arguments::parse().command.unwrap_or(Command::Run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "aegis-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}
