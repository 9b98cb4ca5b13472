//! What the server ever saw, and what it must not have seen.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{EarlyKeys, Share, mnemonic, of_plain_wallet, of_wallet};
use crate::devnet::WalletServer;
use crate::participant::Participant;
use crate::world::World;

/// Everything the server has: its database with every sealed column opened, its files as they lie on the disk, its logs,
/// and every byte that passed through the relays. Each piece with its name.
pub async fn seen_by_server(world: &World) -> Result<Vec<(String, Vec<u8>)>> {
    let mut pieces = vec![("the database, opened".to_owned(), world.server.dump().await?.into_bytes())];
    let mut files = vec![world.server.log()];
    collect(world.server.data(), &mut files)?;
    for file in files {
        let bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
        pieces.push((file.display().to_string(), bytes));
    }
    for (name, person) in &world.people {
        let relay = person.relay.as_ref().context("this world has no relays")?;
        let traffic = relay.record().pieces().into_iter();
        pieces.extend(traffic.map(|piece| (format!("{name}'s traffic"), piece)));
    }
    Ok(pieces)
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else {
            into.push(path);
        }
    }
    Ok(())
}

/// One line of `aegis expert wallets`.
#[derive(Deserialize)]
struct WalletFile {
    escrow: String,
    keys: PathBuf,
    password: String,
}

/// Every spend share of every participant's escrow wallets, with its mnemonic words, and what it came from. The participants'
/// programs must have ended: their wallet files are copied.
pub async fn shares(world: &World, early: &EarlyKeys) -> Result<Vec<Share>> {
    let scratch = WalletServer::start(&world.run, "scratch", &world.chain).await?;
    let mut all = Vec::new();
    for person in world.people.values() {
        all.extend(of_participant(&person.program, &scratch, early).await?);
    }
    ensure!(!all.is_empty(), "no participant has an escrow wallet");
    Ok(all)
}

async fn of_participant(
    program: &Participant,
    scratch: &WalletServer,
    early: &EarlyKeys,
) -> Result<Vec<Share>> {
    let listed = program.cmd(&["expert", "wallets"]).await?;
    let files: Vec<WalletFile> = serde_json::from_value(listed).context("reading the list of wallets")?;
    let mut all = Vec::new();
    for file in files {
        let name = crate::net::random_hex(8)?;
        std::fs::copy(&file.keys, scratch.folder().join(format!("{name}.keys")))?;
        let owner = format!("{}, escrow {}", program.name(), file.escrow);
        let mut shares = of_wallet(scratch.rpc(), &name, &file.password, &owner).await?;
        let name = crate::net::random_hex(8)?;
        let copy = early.of(program.name(), &file.keys)?;
        std::fs::copy(&copy, scratch.folder().join(format!("{name}.keys")))
            .with_context(|| copy.display().to_string())?;
        shares.push(of_plain_wallet(scratch.rpc(), &name, &file.password, &owner).await?);
        for share in &mut shares {
            share.words = Some(mnemonic(scratch.rpc(), &share.secret).await?);
        }
        all.extend(shares);
    }
    Ok(all)
}
