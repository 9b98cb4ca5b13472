//! The command line. Every command has `--json`; what a person decides is said here, what the wallet does runs in
//! `aegis run`.

mod access;
mod account;
mod arbiter;
mod backup;
mod case;
mod evidence;
mod export;
mod factor;
mod fund;
mod identity;
mod init;
mod list;
mod listing;
mod login;
mod order;
mod output;
mod password;
mod profile;
mod review;
mod run;
mod secrets;
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
    /// File that holds a code of the account's second factor, which is used once; else AEGIS_CODE, else it is asked where it is
    /// needed. Not with run, which nobody attends.
    #[arg(long, global = true)]
    code_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make keys and an account.
    Init(init::Init),
    #[command(flatten)]
    Account(account::Command),
    /// Encrypt the key store with another passphrase.
    Passphrase {
        /// File that holds the new one; else AEGIS_NEW_PASSPHRASE, else it is asked.
        #[arg(long)]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Show your name, fingerprint and the pin that others store.
    Id,
    /// Store or list the keys of others.
    #[command(subcommand)]
    Pin(identity::PinCommand),
    /// Show the number to compare with another user out of band.
    Safety {
        /// Their username.
        name: String,
    },
    /// Offer things for sale, and find them.
    #[command(subcommand)]
    Listing(listing::ListingCommand),
    /// Order a listing: shows what will be paid, then opens the escrow.
    Order(order::Order),
    /// List your orders, as buyer and as seller.
    Orders(order::Orders),
    /// Review the other trader, or the arbiter, of an escrow that is paid out.
    Review(review::Review),
    /// Change a review of yours, within 14 days.
    ReviewEdit(review::Edit),
    /// Answer a review of you, once.
    ReviewAnswer(review::Answer),
    /// Hide a review, or show it again; for operators.
    ReviewHide(review::Hide),
    /// List the reviews of an account.
    Reviews(review::Reviews),
    /// Make an escrow.
    Create(trade::Create),
    /// List your escrows, or count them.
    List(list::List),
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
    /// List the events that you have not marked as read, on this device or another.
    Inbox {
        /// Mark what is listed as read.
        #[arg(long)]
        read: bool,
    },
    /// Agree to the contract.
    Accept {
        #[command(flatten)]
        which: Which,
        /// Pin unknown keys as they come from the server. Compare safety numbers (aegis safety) before you pay or deliver.
        #[arg(long)]
        trust_first_use: bool,
        /// Do not ask; needed where nobody sits at the terminal.
        #[arg(long)]
        yes: bool,
    },
    /// Say that you do not want it, before money can come. Where the arbiter does, the server looks for another, in another escrow.
    Decline {
        #[command(flatten)]
        which: Which,
        /// Why.
        #[arg(long)]
        reason: String,
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
    /// Put on record what you have to say or to show, before an outcome stands: the other two read it, and it can't be taken back.
    Evidence(evidence::Evidence),
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
    /// Agree to sign the payout that stands, or the return of what came after it: shows how it ends, by whose word, and what you get.
    Consent {
        #[command(flatten)]
        which: Which,
        /// Also leave so much of what your own wallet sees with the escrow, in XMR, undivided: `aegis run` says when this is
        /// needed, and how much. It can then be paid out by hand only, by two of the three wallets.
        #[arg(long, value_parser = trade::parse_xmr)]
        leave_behind: Option<aegis_common::amount::Piconero>,
        /// Agree to give back what came after the payout, and to nothing else: `aegis run` says when this is needed.
        #[arg(long, conflicts_with = "leave_behind")]
        give_back: bool,
        /// Do not ask; needed where nobody sits at the terminal.
        #[arg(long)]
        yes: bool,
    },
    /// Tell what happened to an escrow, in the server's words. Nothing is verified; see `aegis verify`.
    History(Which),
    /// Show a case: terms, deposits, and what each of the three said, with their reasons. All of it is verified first.
    Case(Which),
    /// Print the signed statements.
    Transcript(Which),
    /// Verify the whole transcript of an escrow, its contract and its address; or, of a file that `aegis export` wrote, that all
    /// that happened follows from what was signed and from the rules.
    Verify {
        /// The escrow's id, or the file.
        what: String,
    },
    /// Write all that the server keeps of you into a new folder; or the record of one escrow into a new file.
    Export(export::Export),
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
    /// Who can be asked to arbitrate; what you offer as one; what waits for your ruling.
    #[command(subcommand)]
    Arbiter(arbiter::Command),
    /// Copy keys and wallet key files (never caches) to a folder, or sealed to the server.
    Backup(backup::Backup),
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
    code_file: Option<PathBuf>,
}

impl Context {
    fn passphrase(&self) -> Result<Secret, EngineError> {
        secrets::secret(self.passphrase_file.as_deref(), "AEGIS_PASSPHRASE", "Passphrase: ")
    }

    fn new_passphrase(&self) -> Result<Secret, EngineError> {
        secrets::new_secret(self.passphrase_file.as_deref(), "AEGIS_PASSPHRASE", "Passphrase: ")
    }

    /// For commands; whoever is asked for a code is at the terminal.
    fn desk(&self) -> Result<Desk, EngineError> {
        let mut desk = self.unattended_desk()?;
        desk.client.set_codes(secrets::codes(self.code_file.as_deref())?);
        Ok(desk)
    }

    /// For what goes on when nobody is there.
    fn unattended_desk(&self) -> Result<Desk, EngineError> {
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
        code_file: cli.code_file,
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
        Command::Init(init) => init::init(context, init).await,
        Command::Account(command) => account::account(context, command).await,
        Command::Passphrase { new_passphrase_file } => {
            identity::passphrase(context, new_passphrase_file.as_deref())
        }
        Command::Id => identity::id(context),
        Command::Pin(command) => identity::pin(context, command),
        Command::Safety { name } => identity::safety(context, &name),
        Command::Listing(command) => listing::listing(context, command).await,
        Command::Order(order) => order::order(context, order).await,
        Command::Orders(orders) => order::orders(context, orders).await,
        Command::Review(review) => review::review(context, review).await,
        Command::ReviewEdit(edit) => review::edit(context, edit).await,
        Command::ReviewAnswer(answer) => review::answer(context, answer).await,
        Command::ReviewHide(hide) => review::hide(context, hide).await,
        Command::Reviews(reviews) => review::reviews(context, reviews).await,
        Command::Create(create) => trade::create(context, create).await,
        Command::List(list) => list::list(context, &list).await,
        Command::Show(which) => show::show(context, which).await,
        Command::Status { which, watch } => show::status(context, which, watch).await,
        Command::Events { after } => show::events(context, after).await,
        Command::Inbox { read } => show::inbox(context, read).await,
        Command::Accept { which, trust_first_use, yes } => {
            trade::accept(context, which, trust_first_use, yes).await
        }
        Command::Decline { which, reason } => trade::say(context, which, trade::decline(reason)).await,
        Command::Fund(which) => fund::fund(context, which).await,
        Command::Confirm(which) => trade::say(context, which, trade::confirm()).await,
        Command::Refund(which) => trade::say(context, which, trade::refund()).await,
        Command::Dispute { which, reason } => trade::say(context, which, trade::dispute(reason)).await,
        Command::Evidence(evidence) => evidence::put(context, evidence).await,
        Command::Settle { which, split } => trade::say(context, which, trade::settle(split)).await,
        Command::Cancel(which) => trade::say(context, which, trade::cancel()).await,
        Command::Rule(rule) => trade::rule(context, rule).await,
        Command::Delete(which) => trade::delete(context, which).await,
        Command::Consent { which, give_back: true, yes, .. } => trade::give_back(context, which, yes).await,
        Command::Consent { which, leave_behind, yes, .. } => {
            trade::consent(context, which, leave_behind, yes).await
        }
        Command::History(which) => show::history(context, which).await,
        Command::Case(which) => case::case(context, which).await,
        Command::Transcript(which) => show::transcript(context, which).await,
        Command::Verify { what } => match what.parse() {
            Ok(id) => show::verify(context, Which { id }).await,
            Err(_) => export::verify(context, std::path::Path::new(&what)),
        },
        Command::Export(export) => export::export(context, export).await,
        Command::Tell(which) => show::tell(context, which),
        Command::Hear { which, file } => trade::hear(context, which, &file).await,
        Command::Arbiter(command) => arbiter::arbiter(context, command).await,
        Command::Backup(backup) => backup::backup(context, backup).await,
        Command::RestoreCheck { which, wallet } => run::restore_check(context, which, wallet).await,
        Command::Run(run) => run::run(context, run).await,
        Command::Expert(expert) => run::expert(context, expert).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_told_in_a_way_that_holds_together() {
        Cli::command().debug_assert();
        let reads = |words: &str| Cli::try_parse_from(words.split(' ')).is_ok();
        assert!(reads("aegis backup --to x") && reads("aegis backup push --without-books"));
        assert!(!reads("aegis backup") && !reads("aegis backup --to x push"));
        assert!(reads("aegis backup pull --server s --username u --to x") && reads("aegis backup delete 3"));
        assert!(reads("aegis sessions") && reads("aegis sessions end-all") && reads("aegis passkeys"));
        assert!(reads("aegis invite --role arbiter --hours 1") && reads("aegis invite list"));
        assert!(!reads("aegis invite --role king") && !reads("aegis invite --hours 0"));
        assert!(reads("aegis api-key make --name n --scope read --scope trade --days 1"));
        assert!(
            !reads("aegis api-key make --name n --days 1")
                && !reads("aegis password change --random --new-password-file f")
        );
        assert!(reads(
            "aegis list --status open,DISPUTED --role buyer --with sam --text bike --sort amount --ascending"
        ));
        assert!(
            reads("aegis list --from 2026-01-31 --to 2026-02-01T12:00:00Z --min 0.5 --max 2")
                && reads("aegis list --counts")
        );
        assert!(
            !reads("aegis list --status lost")
                && !reads("aegis list --from yesterday")
                && !reads("aegis list --limit 0")
        );
        assert!(reads("aegis inbox --read") && !reads("aegis inbox 7"));
        assert!(reads("aegis login --code-file f") && reads("aegis profile --tor no --locale pt-BR"));
    }
}
