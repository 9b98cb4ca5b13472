//! What a person at the server's machine asks: how is it?

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;

use crate::config::Config;

/// An answer takes no longer, or the server does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    status: String,
    version: String,
    database: bool,
    tip: Option<u64>,
    catching_up: Option<CatchingUp>,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct CatchingUp {
    text: String,
}

#[derive(Deserialize)]
struct Node {
    reachable: bool,
    height: Option<u64>,
}

/// Asks the server that runs with this configuration, and puts its answer into words.
pub async fn status(config: &Config) -> anyhow::Result<String> {
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
    let url = format!("http://{}/health", here(config.http.bind));
    let answer = client.get(&url).send().await.context("the server does not answer")?;
    let health: Health = answer.json().await.context("another program answers")?;
    Ok(words(&health)?)
}

/// Where a server that listens there is reached from its own machine.
fn here(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

fn words(health: &Health) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "{}, version {}", health.status, health.version)?;
    writeln!(text, "database  {}", if health.database { "answers" } else { "does not answer" })?;
    match (&health.catching_up, health.tip) {
        (Some(progress), _) => writeln!(text, "chain     catching up: {}", progress.text)?,
        (None, Some(tip)) => writeln!(text, "chain     followed to block {tip}")?,
        (None, None) => writeln!(text, "chain     not followed yet")?,
    }
    for (number, node) in (1..).zip(&health.nodes) {
        let state = if node.reachable { "answers" } else { "does not answer" };
        let height = node.height.map(|height| format!(", at block {height}")).unwrap_or_default();
        writeln!(text, "node {number}    {state}{height}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_answer_is_put_into_words() {
        let text = r#"{"status": "degraded", "version": "0.1.0", "database": true, "tip": 5,
            "catchingUp": {"text": "block 5 of 9, 2 s left"},
            "nodes": [{"reachable": true, "height": 9}, {"reachable": false, "height": null}]}"#;
        let health: Health = serde_json::from_str(text).unwrap();
        let lines = [
            "degraded, version 0.1.0",
            "database  answers",
            "chain     catching up: block 5 of 9, 2 s left",
            "node 1    answers, at block 9",
            "node 2    does not answer",
        ];
        assert_eq!(words(&health).unwrap(), lines.join("\n") + "\n");
        for (bind, reached) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("10.0.0.1:3", "10.0.0.1:3")]
        {
            assert_eq!(here(bind.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
