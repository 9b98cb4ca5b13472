//! The command line. Every command has `--json`; what a person decides is said here, what the wallet does runs in
//! `aegis run`.

mod account;
mod fund;
mod output;
mod run;
mod show;
mod trade;

use std::path::PathBuf;
use std::process::ExitCode;

use aegis_common::address::{Address, Network};
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::engine::EngineError;
use crate::engine::desk::Desk;
use crate::keys::Secret;

/// Trade through an Aegis escrow with your own keys and your own wallet.
#[derive(Parser)]
#[command(name = "aegis", version)]
pub struct Cli {
    /// Folder of keys, books and wallets.
    #[arg(long, env = "AEGIS_HOME", global = true)]
    home: Option<PathBuf>,
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// File that holds the passphrase of the key store; else AEGIS_PASSPHRASE, else it is asked.
    #[arg(long, global = true)]
    passphrase_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make keys and an account.
    Init(account::Init),
    /// Show your name, fingerprint and the pin that others store.
    Id,
    /// Store or list the keys of others.
    #[command(subcommand)]
    Pin(account::PinCommand),
    /// Show the number to compare with another user out of band.
    Safety {
        /// Their username.
        name: String,
    },
    /// Make an escrow.
    Create(trade::Create),
    /// List your escrows.
    List,
    /// Show an escrow as the server tells it.
    Show(Which),
    /// Show in a few lines where an escrow stands. What waits for your word, aegis run says.
    Status {
        #[command(flatten)]
        which: Which,
        /// Go on until it is over.
        #[arg(long)]
        watch: bool,
    },
    /// List events after a position.
    Events {
        /// Position of the last one known.
        #[arg(long, default_value_t = 0)]
        after: i64,
    },
    /// Agree to the contract.
    Accept {
        #[command(flatten)]
        which: Which,
        /// Pin unknown keys as they come from the server. Compare safety numbers (aegis safety) before you pay or deliver.
        #[arg(long)]
        trust_first_use: bool,
    },
    /// Show what you have to pay and where: address from your own wallet, URI and QR code.
    Fund(Which),
    /// Buyer: all is well, pay the seller. Seller: I have delivered.
    Confirm(Which),
    /// Seller: give the money back.
    Refund(Which),
    /// Call the arbiter.
    Dispute {
        #[command(flatten)]
        which: Which,
        /// What went wrong.
        #[arg(long)]
        reason: String,
    },
    /// Offer to divide the amount; it holds when the other trader offers the same.
    Settle {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        split: trade::Split,
    },
    /// Offer to call it off and pay everybody back.
    Cancel(Which),
    /// Arbiter: decide a dispute.
    Rule(trade::Rule),
    /// Delete an escrow that you made, before money has come.
    Delete(Which),
    /// Agree to sign the payout that stands.
    Consent(Which),
    /// Print the signed statements.
    Transcript(Which),
    /// Verify the whole transcript, the contract and the address.
    Verify(Which),
    /// Print what you have decided in an escrow, signed, for others to hear by another way than the server.
    Tell(Which),
    /// Take note of a dispute that came by another way: the file that `aegis tell` made. The default is not signed any more
    /// without asking you.
    Hear {
        #[command(flatten)]
        which: Which,
        /// The file.
        file: PathBuf,
    },
    /// Copy keys and wallet key files (never caches) to a folder.
    Backup {
        /// A new folder.
        #[arg(long)]
        to: PathBuf,
    },
    /// Prove that an escrow's wallet can be restored from its keys alone. Not while `aegis run` is active.
    RestoreCheck {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        wallet: run::WalletArgs,
    },
    /// Take part: setup rounds, attestation and payouts, until stopped.
    Run(run::Run),
    /// For tests of recovery.
    #[command(hide = true, subcommand)]
    Expert(run::Expert),
}

/// Names an escrow.
#[derive(Args, Clone, Copy)]
pub struct Which {
    /// The escrow's id.
    id: EscrowId,
}

/// A trader's part.
#[derive(Clone, Copy, ValueEnum)]
enum Trader {
    /// Pays.
    Buyer,
    /// Delivers.
    Seller,
}

impl From<Trader> for Role {
    fn from(trader: Trader) -> Self {
        match trader {
            Trader::Buyer => Self::Buyer,
            Trader::Seller => Self::Seller,
        }
    }
}

/// Monero network, by its name.
#[derive(Clone, Copy, ValueEnum)]
enum NetworkName {
    /// The real one.
    Mainnet,
    /// Real rules, worthless coins.
    Stagenet,
    /// Rules under development.
    Testnet,
    /// A private chain.
    Regtest,
}

impl From<NetworkName> for Network {
    fn from(name: NetworkName) -> Self {
        match name {
            NetworkName::Mainnet => Self::Mainnet,
            NetworkName::Stagenet => Self::Stagenet,
            NetworkName::Testnet => Self::Testnet,
            NetworkName::Regtest => Self::Regtest,
        }
    }
}

fn parse_address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|error: aegis_common::address::AddressError| error.to_string())
}

struct Context {
    home: PathBuf,
    json: bool,
    passphrase_file: Option<PathBuf>,
}

impl Context {
    fn passphrase(&self) -> Result<Secret, EngineError> {
        if let Some(path) = &self.passphrase_file {
            let bytes = crate::files::read_private(path, 4096)?;
            let text = String::from_utf8_lossy(&bytes);
            return Ok(Secret::new(text.trim_end_matches(['\r', '\n'])));
        }
        match std::env::var("AEGIS_PASSPHRASE") {
            Ok(text) => Ok(Secret::new(text)),
            Err(_) => rpassword::prompt_password("Passphrase: ")
                .map(Secret::new)
                .map_err(|error| EngineError::Person(format!("no passphrase: {error}"))),
        }
    }

    fn desk(&self) -> Result<Desk, EngineError> {
        Desk::open(&self.home, self.passphrase()?.expose())
    }
}

/// Runs a command; the exit code is 0 where it succeeded.
pub fn main(cli: Cli) -> ExitCode {
    let default = || {
        std::env::var_os("HOME")
            .map_or_else(|| PathBuf::from(".aegis"), |home| PathBuf::from(home).join(".aegis"))
    };
    let context = Context {
        home: cli.home.unwrap_or_else(default),
        json: cli.json,
        passphrase_file: cli.passphrase_file,
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("AEGIS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let done = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| EngineError::Person(format!("the runtime does not start: {error}")))
        .and_then(|runtime| runtime.block_on(dispatch(&context, cli.command)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::failure(context.json, &error);
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(context: &Context, command: Command) -> Result<(), EngineError> {
    match command {
        Command::Init(init) => account::init(context, init).await,
        Command::Id => account::id(context),
        Command::Pin(command) => account::pin(context, command),
        Command::Safety { name } => account::safety(context, &name),
        Command::Create(create) => trade::create(context, create).await,
        Command::List => show::list(context).await,
        Command::Show(which) => show::show(context, which).await,
        Command::Status { which, watch } => show::status(context, which, watch).await,
        Command::Events { after } => show::events(context, after).await,
        Command::Accept { which, trust_first_use } => trade::accept(context, which, trust_first_use).await,
        Command::Fund(which) => fund::fund(context, which).await,
        Command::Confirm(which) => trade::say(context, which, trade::confirm()).await,
        Command::Refund(which) => trade::say(context, which, trade::refund()).await,
        Command::Dispute { which, reason } => trade::say(context, which, trade::dispute(reason)).await,
        Command::Settle { which, split } => trade::say(context, which, trade::settle(split)).await,
        Command::Cancel(which) => trade::say(context, which, trade::cancel()).await,
        Command::Rule(rule) => trade::rule(context, rule).await,
        Command::Delete(which) => trade::delete(context, which).await,
        Command::Consent(which) => trade::consent(context, which).await,
        Command::Transcript(which) => show::transcript(context, which).await,
        Command::Verify(which) => show::verify(context, which).await,
        Command::Tell(which) => show::tell(context, which),
        Command::Hear { which, file } => trade::hear(context, which, &file),
        Command::Backup { to } => account::backup(context, &to),
        Command::RestoreCheck { which, wallet } => run::restore_check(context, which, wallet).await,
        Command::Run(run) => run::run(context, run).await,
        Command::Expert(expert) => run::expert(context, expert).await,
    }
}
