//! A private Monero chain for development: up, down, mine, fund, reorg, status.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aegis_common::address::{Address, Network};
use aegis_common::amount::Piconero;
use aegis_harness::devnet::{Chain, Funds, State};
use aegis_harness::process::RunDir;
use anyhow::Result;
use clap::{Parser, Subcommand};

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

fn say(text: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        // Whoever listened has heard enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

async fn up(dir: &Path) -> Result<()> {
    if State::attach(dir).await.is_ok() {
        say("already running")?;
        return status(dir).await;
    }
    // Wallets want whole paths, whatever folder they run in.
    std::fs::create_dir_all(dir)?;
    let run = RunDir::open(&dir.canonicalize()?)?;
    let chain = Chain::start(&run).await?;
    let funds = Funds::start(&run, &chain).await?;
    funds.fill(&chain, 80).await?;
    State::leave(&run, &chain, &funds)?;
    status(dir).await
}

async fn status(dir: &Path) -> Result<()> {
    let (state, chain, funds) = State::attach(dir).await?;
    say(&format!("chain    regtest, height {}, mainnet address format", chain.height().await?))?;
    say(&format!("monerod  127.0.0.1:{} (RPC), {} (ZMQ)", state.node, state.zmq))?;
    say(&format!("wallet   127.0.0.1:{}; its login stands in {}", state.wallet, State::path(dir).display()))?;
    say(&format!("funds    {} XMR unlocked at {}", funds.unlocked().await?.xmr(), funds.address()))?;
    say(&format!(
        "use      AEGIS_NETWORK=regtest AEGIS_NODES=http://127.0.0.1:{} for the server,",
        state.node
    ))?;
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
            let _ = std::fs::remove_file(State::path(&dir));
            say(&format!(
                "ended: {}",
                if ended.is_empty() { "nothing was running".to_owned() } else { ended.join(", ") }
            ))
        }
        Command::Mine { blocks } => {
            let (_, chain, funds) = State::attach(&dir).await?;
            say(&format!("height {}", chain.mine(blocks, &funds.address().to_string()).await?))
        }
        Command::Fund { address, xmr } => {
            let (_, _, funds) = State::attach(&dir).await?;
            let address = Address::parse(&address, Network::Regtest)?;
            funds.refresh().await?;
            let paid = funds.pay(&[(address, Piconero::from_xmr(&xmr)?)]).await?;
            say(&format!("transaction {}", paid.txid))?;
            say(&format!("its keys    {}", paid.tx_keys))
        }
        Command::Reorg { depth } => {
            let (_, chain, funds) = State::attach(&dir).await?;
            let height = chain.reorganise(depth, &[], &funds.address().to_string()).await?;
            say(&format!("{depth} blocks undone; height {height}"))
        }
    }
}
