//! How to reach a chain and its wallet that were left running.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use super::{Chain, Funds};
use crate::process::RunDir;

/// Ports and login, in a private file of the run directory.
#[derive(Serialize, Deserialize)]
pub struct State {
    /// monerod's RPC port.
    pub node: u16,
    /// monerod's ZMQ port.
    pub zmq: u16,
    /// The wallet server's port.
    pub wallet: u16,
    login: (String, String),
}

impl State {
    const FILE: &str = "state.json";

    /// The file in a run directory.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(Self::FILE)
    }

    /// Leaves chain and wallet running and notes how to reach them.
    pub fn leave(run: &RunDir, chain: &Chain, funds: &Funds) -> Result<()> {
        let server = funds.server();
        let state = Self {
            node: chain.port(),
            zmq: chain.zmq_port(),
            wallet: server.port(),
            login: server.login().clone(),
        };
        run.private_file(Self::FILE, &serde_json::to_string_pretty(&state)?)?;
        chain.keep();
        server.keep();
        Ok(())
    }

    /// Reaches what was left running.
    pub async fn attach(dir: &Path) -> Result<(Self, Arc<Chain>, Funds)> {
        let text = std::fs::read_to_string(Self::path(dir))
            .map_err(|_| anyhow!("not running: scripts/devnet up"))?;
        let state: Self = serde_json::from_str(&text)?;
        let chain = Chain::attach(state.node, state.zmq)?;
        chain.height().await.context("monerod does not answer: scripts/devnet down, then up")?;
        let funds = Funds::attach(state.wallet, state.login.clone()).await?;
        Ok((state, chain, funds))
    }
}
