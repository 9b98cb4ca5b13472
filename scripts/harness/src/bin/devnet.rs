//! A private Monero chain for development: up, down, mine, fund, reorg, status.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use aegis_common::address::{Address, Network};
use aegis_common::amount::Piconero;
use aegis_harness::devnet::{Chain, Funds};
use aegis_harness::process::RunDir;
use anyhow::{Context, Result, anyhow};
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};

/// A private Monero chain for development.
#[derive(Parser)]
struct Arguments {
    /// Where its data, logs and pid files are.
    #[arg(long, default_value = "target/devnet")]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts the chain and a funded wallet and leaves them running.
    Up,
    /// Ends them; the chain stays on disk.
    Down,
    /// Makes blocks.
    Mine {
        /// How many.
        #[arg(value_parser = clap::value_parser!(u64).range(1..=10_000))]
        blocks: u64,
    },
    /// Pays an address; mine a block to confirm it.
    Fund {
        /// A mainnet-format address, as regtest uses them.
        address: String,
        /// How much, e.g. 1.5.
        xmr: String,
    },
    /// Undoes the newest blocks and makes one more in their place. Their transactions are mined again.
    Reorg {
        /// How many.
        #[arg(value_parser = clap::value_parser!(u64).range(1..=100))]
        depth: u64,
    },
    /// Says what runs, and where.
    Status,
}

/// How to reach what runs.
#[derive(Serialize, Deserialize)]
struct State {
    node: u16,
    zmq: u16,
    wallet: u16,
    login: (String, String),
}

const STATE: &str = "state.json";

fn say(text: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        // Whoever listened has heard enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

async fn attach(dir: &Path) -> Result<(State, Arc<Chain>, Funds)> {
    let text =
        std::fs::read_to_string(dir.join(STATE)).map_err(|_| anyhow!("not running: scripts/devnet up"))?;
    let state: State = serde_json::from_str(&text)?;
    let chain = Chain::attach(state.node, state.zmq)?;
    chain.height().await.context("monerod does not answer: scripts/devnet down, then up")?;
    let funds = Funds::attach(state.wallet, state.login.clone()).await?;
    Ok((state, chain, funds))
}

async fn up(dir: &Path) -> Result<()> {
    if attach(dir).await.is_ok() {
        say("already running")?;
        return status(dir).await;
    }
    // Wallets want whole paths, whatever folder they run in.
    std::fs::create_dir_all(dir)?;
    let run = RunDir::open(&dir.canonicalize()?)?;
    let chain = Chain::start(&run).await?;
    let funds = Funds::start(&run, &chain).await?;
    funds.fill(&chain, 80).await?;
    let state = State {
        node: chain.port(),
        zmq: chain.zmq_port(),
        wallet: funds.port(),
        login: funds.login().clone(),
    };
    run.private_file(STATE, &serde_json::to_string_pretty(&state)?)?;
    chain.keep();
    funds.keep();
    status(dir).await
}

async fn status(dir: &Path) -> Result<()> {
    let (state, chain, funds) = attach(dir).await?;
    say(&format!("chain    regtest, height {}, mainnet address format", chain.height().await?))?;
    say(&format!("monerod  127.0.0.1:{} (RPC), {} (ZMQ)", state.node, state.zmq))?;
    say(&format!("wallet   127.0.0.1:{}; its login stands in {}", state.wallet, dir.join(STATE).display()))?;
    say(&format!("funds    {} XMR unlocked at {}", funds.unlocked().await?.xmr(), funds.address()))?;
    say("use      AEGIS_NETWORK=regtest AEGIS_NODES=http://127.0.0.1:PORT for the server,")?;
    say(&format!("         aegis run --daemon {} for a participant;", chain.daemon()))?;
    say("         scripts/devnet mine N | fund ADDRESS XMR | reorg DEPTH | down")
}

#[tokio::main]
async fn main() -> ExitCode {
    match act(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody listens where this fails.
            let _ = writeln!(std::io::stderr(), "devnet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn act(Arguments { dir, command }: Arguments) -> Result<()> {
    match command {
        Command::Up => up(&dir).await,
        Command::Status => status(&dir).await,
        Command::Down => {
            let ended = RunDir::at(&dir).end_all()?;
            let _ = std::fs::remove_file(dir.join(STATE));
            say(&format!(
                "ended: {}",
                if ended.is_empty() { "nothing was running".to_owned() } else { ended.join(", ") }
            ))
        }
        Command::Mine { blocks } => {
            let (_, chain, funds) = attach(&dir).await?;
            say(&format!("height {}", chain.mine(blocks, &funds.address().to_string()).await?))
        }
        Command::Fund { address, xmr } => {
            let (_, _, funds) = attach(&dir).await?;
            let address = Address::parse(&address, Network::Regtest)?;
            funds.refresh().await?;
            let paid = funds.pay(&[(address, Piconero::from_xmr(&xmr)?)]).await?;
            say(&format!("transaction {}", paid.txid))?;
            say(&format!("its keys    {}", paid.tx_keys))
        }
        Command::Reorg { depth } => {
            let (_, chain, funds) = attach(&dir).await?;
            let height = chain.reorganise(depth, &[], &funds.address().to_string()).await?;
            say(&format!("{depth} blocks undone; height {height}"))
        }
    }
}
