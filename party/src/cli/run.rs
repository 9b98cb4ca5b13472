//! The commands that hold a wallet.

use std::path::PathBuf;
use std::time::Duration;

use aegis_common::code::Code;
use aegis_common::time::Clock;
use clap::{Args, Subcommand};

use super::{Context, Desk, Which, output};
use crate::client::Client;
use crate::daemon::Daemon;
use crate::engine::EngineError;
use crate::engine::payout::SystemClock;
use crate::engine::run::{Engine, Report};
use crate::keys::Secret;
use crate::policy::Policy;
use crate::wallet::{Login, MultisigWallet, ProcessOptions, WalletAccess, WalletName};

/// Which wallet program to use.
#[derive(Args)]
pub struct WalletArgs {
    /// Your Monero node, `host:port` or a URL.
    #[arg(long)]
    daemon: String,
    /// Its login, `user:password`, where it asks for one.
    #[arg(long, env = "AEGIS_DAEMON_LOGIN", hide_env_values = true, value_parser = parse_login)]
    daemon_login: Option<Login>,
    /// The wallet program to start.
    #[arg(long, default_value = "monero-wallet-rpc")]
    wallet_program: PathBuf,
    /// Use a running wallet program instead: its address.
    #[arg(long, requires = "wallet_login")]
    wallet_rpc: Option<String>,
    /// Its login, `user:password`.
    #[arg(long, env = "AEGIS_WALLET_LOGIN", hide_env_values = true, value_parser = parse_login)]
    wallet_login: Option<Login>,
}

fn parse_login(text: &str) -> Result<Login, String> {
    let (username, password) = text.split_once(':').ok_or("a login is user:password")?;
    Ok(Login { username: username.to_owned(), password: Secret::new(password) })
}

#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    wallet: WalletArgs,
    /// What may be done without asking; `policy.toml` in the home folder where left out.
    #[arg(long)]
    policy: Option<PathBuf>,
    /// Do what can be done now, then end.
    #[arg(long)]
    once: bool,
    /// How often everything is looked at without being woken by an event.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    poll_millis: u64,
}

#[derive(Subcommand)]
pub enum Expert {
    /// Export signing data without telling anybody, which makes what was sent stale.
    Export {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        wallet: WalletArgs,
    },
    /// List wallet files and their password, for audits of what the server must never have seen.
    Wallets,
}

/// A wallet file of an escrow.
#[derive(serde::Serialize)]
struct WalletFile {
    escrow: String,
    keys: PathBuf,
    password: String,
}

fn wallet_files(context: &Context) -> Result<Vec<WalletFile>, EngineError> {
    let desk = context.desk()?;
    let password = desk.keys(|keys| keys.wallet_password().expose().to_owned());
    let folder = context.home.join("wallet").join("wallets");
    let entries = std::fs::read_dir(&folder).map_err(|error| EngineError::Person(error.to_string()))?;
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let keys = entry.path();
        let name =
            keys.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".keys"));
        // `ESCROW-ATTEMPT.keys`
        if let Some((escrow, _attempt)) = name.and_then(|name| name.rsplit_once('-')) {
            files.push(WalletFile {
                escrow: escrow.to_owned(),
                keys: keys.clone(),
                password: password.clone(),
            });
        }
    }
    Ok(files)
}

async fn open_wallet(
    context: &Context,
    args: &WalletArgs,
    desk: Desk,
) -> Result<(Desk, MultisigWallet), EngineError> {
    let access = match (&args.wallet_rpc, &args.wallet_login) {
        (Some(url), Some(login)) => WalletAccess::Given { url: url.clone(), login: login.clone() },
        _ => WalletAccess::Own(ProcessOptions {
            program: args.wallet_program.clone(),
            folder: context.home.join("wallet"),
            daemon: args.daemon.clone(),
            daemon_login: args.daemon_login.clone(),
            network: desk.keys(|keys| keys.profile().network),
        }),
    };
    let password = desk.keys(|keys| keys.wallet_password().clone());
    let wallet = MultisigWallet::start(access, password, &context.home.join("nonces")).await?;
    Ok((desk, wallet))
}

pub async fn run(context: &Context, run: Run) -> Result<(), EngineError> {
    if context.code_file.is_some() {
        let why = "aegis run takes no code: nobody is there when one is asked; aegis login takes it";
        return Err(EngineError::Person(why.to_owned()));
    }
    let path = run.policy.clone().unwrap_or_else(|| context.home.join("policy.toml"));
    let policy = Policy::read(&path).map_err(|error| EngineError::Person(error.to_string()))?;
    let (desk, wallet) = open_wallet(context, &run.wallet, context.unattended_desk()?).await?;
    let engine = Engine {
        desk,
        wallet,
        daemon: Daemon::new(&run.wallet.daemon, run.wallet.daemon_login.clone())?,
        policy,
        clock: Box::new(SystemClock),
        poll: Duration::from_millis(run.poll_millis),
    };
    let clock = SystemClock;
    let json = context.json;
    let tell = move |report: &Report| {
        let document = Line { at: clock.now(), report };
        output::result(json, &document, || {
            let id = report.escrow.map(|id| id.to_string()).unwrap_or_default();
            let short = id.get(id.len().saturating_sub(6)..).unwrap_or_default();
            format!("{}  …{short}  {}", document.at, report.text)
        });
    };
    tokio::select! {
        () = engine.run(run.once, &tell) => {}
        () = beat(&engine.desk.client) => {}
        () = stopped() => {}
    }
    Ok(engine.wallet.stop().await?)
}

/// Between two signs of life of an arbiter's program.
const BEAT: Duration = Duration::from_secs(60);

/// Tells the server that an arbiter's program is there: one that is not heard is assigned nothing. Never ends.
async fn beat(client: &Client) {
    loop {
        // Whoever is no arbiter has nothing to tell, until it is made one: one small request an hour finds out.
        let pause = match client.heartbeat().await {
            Err(error) if matches!(error.code(), Some(Code::Forbidden | Code::NotFound)) => 60 * BEAT,
            // The engine tells of a server that is away.
            _ => BEAT,
        };
        tokio::time::sleep(pause).await;
    }
}

#[derive(serde::Serialize)]
struct Line<'a> {
    at: aegis_common::time::Timestamp,
    #[serde(flatten)]
    report: &'a Report,
}

/// SIGINT or SIGTERM.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

pub async fn restore_check(context: &Context, which: Which, args: WalletArgs) -> Result<(), EngineError> {
    let (desk, wallet) = open_wallet(context, &args, context.desk()?).await?;
    let held = desk.hold(which.id).await?;
    let [address, ..] = held
        .book
        .addresses()
        .ok_or_else(|| EngineError::Person("the escrow has no address yet".to_owned()))?;
    let name = WalletName::of(which.id, held.book.setup().rounds().attempt());
    let proven = wallet.session(&name).await?.prove_backup(&address).await;
    wallet.stop().await?;
    proven?;
    let document = serde_json::json!({"id": which.id, "restores": true});
    output::result(context.json, &document, || "the keys alone restore the escrow's wallet".to_owned());
    Ok(())
}

pub async fn expert(context: &Context, expert: Expert) -> Result<(), EngineError> {
    let (which, args) = match expert {
        Expert::Wallets => {
            let files = wallet_files(context)?;
            let lines =
                || files.iter().map(|file| file.keys.display().to_string()).collect::<Vec<_>>().join("\n");
            output::result(context.json, &files, lines);
            return Ok(());
        }
        Expert::Export { which, wallet } => (which, wallet),
    };
    let (desk, wallet) = open_wallet(context, &args, context.desk()?).await?;
    let held = desk.hold(which.id).await?;
    let name = WalletName::of(which.id, held.book.setup().rounds().attempt());
    let exported = async {
        let mut session = wallet.session(&name).await?;
        session.refresh().await?;
        session.export().await
    }
    .await;
    wallet.stop().await?;
    exported?;
    output::result(context.json, &serde_json::json!({"id": which.id}), || "exported".to_owned());
    Ok(())
}
