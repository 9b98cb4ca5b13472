//! Everything at once, for somebody who sees it for the first time.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use aegis_harness::process::RunDir;
use aegis_harness::programs::Programs;
use aegis_harness::scenario::{self, Report, Story};
use aegis_harness::world::World;
use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Starts a private chain, the server and eight participants, tells eight stories of escrows side by side, and
/// compares what everybody received with their contracts.
#[derive(Parser)]
struct Arguments {
    /// Leave everything running at the end.
    #[arg(long)]
    keep: bool,
    /// End what an earlier --keep left running, and nothing else.
    #[arg(long, conflicts_with = "keep")]
    stop: bool,
    /// Where data, logs and pid files go; emptied at the start.
    #[arg(long, default_value = "target/demo")]
    dir: PathBuf,
}

fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

fn conclude(world: &World, report: &Report) -> Result<()> {
    print(&format!("\n{}", scenario::table(&report.rows)))?;
    for (story, why) in &report.failures {
        print(&format!("FAILED  {}: {why}", story.name()))?;
    }
    let minutes = world.timeline.elapsed().as_secs_f64() / 60.0;
    let good = Story::ALL.len() - report.failures.len();
    print(&format!("{good} of {} stories ended as they must; {minutes:.1} minutes", Story::ALL.len()))?;
    if report.is_good() {
        print("every payee received its share to the piconero, as the chain tells it")
    } else {
        print(&format!("the logs are in {}", world.run.path().join("logs").display()))
    }
}

fn how_to_go_on(world: &World) -> Result<()> {
    print("\nleft running:")?;
    print(&format!("  server   {}", world.server.url()))?;
    print(&format!("  monerod  {} ", world.chain.daemon()))?;
    print(&format!(
        "  blocks   none come by themselves: scripts/devnet --dir {} mine N",
        world.run.path().display()
    ))?;
    let alice = &world.person("alice")?.program;
    let login = world.run.private_file(
        "alice.env",
        &format!(
            "export AEGIS_PASSPHRASE={}\nexport AEGIS_PASSWORD={}\n",
            alice.passphrase(),
            alice.password()
        ),
    )?;
    print(&format!("  to be alice:   . {}", login.display()))?;
    let aegis = Programs::locate()?.participant;
    print(&format!("                 {} --home {} list", aegis.display(), alice.home().display()))?;
    print("  to stop all:   scripts/demo --stop")
}

#[tokio::main]
async fn main() -> ExitCode {
    match act(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody listens where this fails.
            let _ = writeln!(std::io::stderr(), "demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well.
async fn act(arguments: Arguments) -> Result<bool> {
    if arguments.stop {
        for name in RunDir::at(&arguments.dir).end_all()? {
            print(&format!("ended {name}"))?;
        }
        return Ok(true);
    }
    // Ends what an earlier run left before its folder is emptied.
    drop(RunDir::open(&arguments.dir)?);
    std::fs::remove_dir_all(&arguments.dir).context("can't empty the demo's folder")?;
    std::fs::create_dir_all(&arguments.dir)?;
    let dir = arguments.dir.canonicalize()?;
    // Dropping the world half-way ends every program it started.
    tokio::select! {
        good = play(dir, arguments.keep) => good,
        interrupted = interruption() => {
            interrupted?;
            print("interrupted; ending everything")?;
            Ok(false)
        }
    }
}

async fn play(dir: PathBuf, keep: bool) -> Result<bool> {
    let world = World::start(&scenario::plan(dir, false)).await?;
    let report = scenario::tell(&world, &Story::ALL).await;
    conclude(&world, &report)?;
    if keep {
        how_to_go_on(&world)?;
        world.keep()?;
    } else {
        world.rest().await?;
    }
    Ok(report.is_good())
}

/// SIGINT, or SIGTERM as a build server sends it.
async fn interruption() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}
