//! Starting the actors: the one place where configuration meets them.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr};
use aegis_common::chain::{BatchScanner, Engine, Path};
use aegis_common::escrow::deadline::Patience;
use anyhow::Context;
use zeroize::Zeroizing;

use super::Ground;
use crate::actors::sessions::Sessions;
use crate::actors::{ActorDeps, ActorHandles, Options, start};
use crate::chain;
use crate::config::{Config, Url};
use crate::node::{Login, NodeConfig, NodePool, PoolConfig};

/// Everything with a mailbox.
pub struct Actors {
    /// The actors that own escrows, and what follows the chain.
    pub handles: ActorHandles,
    /// Live sockets.
    pub sessions: Addr<Sessions>,
    /// The nodes.
    pub nodes: Arc<NodePool>,
}

/// Starts sessions, directory, timers, outbox and chain watcher.
pub fn start_actors(config: &Config, ground: &Ground) -> anyhow::Result<Actors> {
    let network = config.chain.network;
    let nodes = config.chain.nodes.iter().map(node).collect::<anyhow::Result<_>>()?;
    let mut nodes = PoolConfig { notices: config.chain.notices.clone(), ..PoolConfig::new(network, nodes) };
    if config.chain.nodes_agree > 0 {
        nodes.agree = config.chain.nodes_agree;
    }
    let nodes = Arc::new(NodePool::new(&nodes).context("AEGIS_NODES")?);
    let listening = Arc::clone(&nodes);
    actix::spawn(async move { listening.listen().await });
    let path = config.chain.scan_path.unwrap_or_else(Path::best);
    let engine = Engine::new(path, config.chain.scan_constant_time);
    let scanner = BatchScanner::new(engine, config.chain.scan_threads).context("the scanner's threads")?;
    tracing::info!(?path, threads = scanner.threads(), "scanning");
    let sessions = Sessions::new(config.http.sockets_per_user).start();
    let poll = Duration::from_millis(config.chain.poll_millis);
    let options = Options {
        idle: Duration::from_secs(config.actors.passivate_seconds),
        look_up: poll,
        watch_days: config.chain.watch_days,
        chain: chain::Config { poll, ..chain::Config::default() },
        patience: Patience {
            setup_seconds: config.people.answer_hours.saturating_mul(3_600),
            ruling_seconds: config.people.ruling_hours.saturating_mul(3_600),
            warning_seconds: config.people.warning_hours.map(|hours| hours.saturating_mul(3_600)),
        },
        ..Options::default()
    };
    let handles = start(ActorDeps {
        store: ground.store.clone(),
        nodes: Arc::clone(&nodes),
        scanner: Arc::new(scanner),
        clock: Arc::clone(&ground.clock),
        network,
        sessions: sessions.clone().recipient(),
        options,
    });
    Ok(Actors { handles, sessions, nodes })
}

/// A node with its login taken out of the URL.
fn node(url: &Url) -> anyhow::Result<NodeConfig> {
    let login = (!url.username().is_empty()).then(|| Login {
        username: url.username().to_owned(),
        password: Zeroizing::new(url.password().unwrap_or_default().to_owned()),
    });
    let mut bare = url.clone();
    let stripped = bare.set_username("").and_then(|()| bare.set_password(None));
    stripped.map_err(|()| anyhow::anyhow!("AEGIS_NODES: a URL has no host"))?;
    Ok(NodeConfig { url: bare.as_str().trim_end_matches('/').to_owned(), login })
}
