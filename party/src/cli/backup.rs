//! Copies of what must not be lost: in a folder, or sealed at the server. Never a wallet's cache, and never the session.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::time::{Timestamp, to_millis};
use aegis_common::username::is_username;
use aegis_common::wire::account::{BackupView, bounds};
use aegis_common::wire::list::EscrowItem;
use clap::{Args, Subcommand};

use super::{Context, output, secrets};
use crate::client::{Client, ClientError, MAX_ESCROWS};
use crate::engine::EngineError;
use crate::engine::desk::Desk;
use crate::files::{self, FileError};
use crate::keys::{Archive, ArchiveError, MAX_RECORD, Secret, is_kept};
use crate::wallet::{NonceGuard, WalletName};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Backup {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    /// A new folder, which the copy goes to.
    #[arg(long, required = true)]
    to: Option<PathBuf>,
}

/// The backup's own passphrase.
#[derive(Args)]
pub struct BackupPassphrase {
    /// File that holds the backup's own passphrase; else AEGIS_BACKUP_PASSPHRASE, else it is asked.
    #[arg(long)]
    backup_passphrase_file: Option<PathBuf>,
}

const PASSPHRASE: (&str, &str) = ("AEGIS_BACKUP_PASSPHRASE", "Passphrase of the backup: ");

#[derive(Subcommand)]
pub enum BackupCommand {
    /// Seal a copy under a passphrase of its own and keep it at the server.
    Push {
        #[command(flatten)]
        passphrase: BackupPassphrase,
        /// Leave the largest books out where all together are too large; those of escrows that are over never go along. A home
        /// that is restored without the book of an escrow that is not over does not know what it has said and signed in it,
        /// and a hostile server could have it contradict itself.
        #[arg(long)]
        without_books: bool,
    },
    /// Restore a home from the server, on a machine that has nothing; then aegis prekeys --replace. The server can give an old
    /// version as the newest: look at the time it was made at, or insist on one by --sha256.
    Pull(Pull),
    /// List what the server keeps.
    List,
    /// Delete a version.
    Delete {
        /// Its number.
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        version: i64,
    },
}

#[derive(Args)]
pub struct Pull {
    /// The server's address.
    #[arg(long)]
    server: String,
    /// The account's name.
    #[arg(long)]
    username: String,
    /// The newest where left out.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    version: Option<i64>,
    /// The SHA-256 that push has shown: nothing else is taken.
    #[arg(long)]
    sha256: Option<Hash32>,
    /// The new home.
    #[arg(long)]
    to: PathBuf,
    /// File that holds the account's password; else AEGIS_PASSWORD, else it is asked.
    #[arg(long)]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    passphrase: BackupPassphrase,
}

pub async fn backup(context: &Context, backup: Backup) -> Result<(), EngineError> {
    match (backup.command, backup.to) {
        (Some(BackupCommand::Push { passphrase, without_books }), _) => {
            push(context, &passphrase, without_books).await
        }
        (Some(BackupCommand::Pull(from)), _) => pull(context, from).await,
        (Some(BackupCommand::List), _) => list(context).await,
        (Some(BackupCommand::Delete { version }), _) => {
            context.desk()?.client.remove_backup(version).await?;
            let document = serde_json::json!({"deleted": version});
            output::result(context.json, &document, || "deleted".to_owned());
            Ok(())
        }
        (None, Some(to)) => copy(context, &to),
        (None, None) => Err(EngineError::Person("say --to FOLDER, or push".to_owned())),
    }
}

/// What a home has, as far as a backup is concerned.
struct Found {
    /// The files to keep, by their path in the home.
    paths: Vec<String>,
    /// The wallets whose signing data counts as used in a copy.
    ///
    /// Who restores the copy knows nothing of the nonces that were used since: the first signature waits for fresh ones.
    wallets: Vec<WalletName>,
    /// What the copy lacks, in words.
    lacking: Vec<String>,
    /// Escrows whose book shows that nothing is left to be signed.
    settled: BTreeSet<EscrowId>,
}

fn found(desk: &Desk) -> Result<Found, EngineError> {
    let paths = kept(desk.home())?;
    let (mut wallets, mut lacking, mut settled) = (Vec::new(), Vec::new(), BTreeSet::new());
    for id in desk.known()? {
        let book = match desk.stored(id) {
            Ok(Some(book)) => book,
            Ok(None) => continue,
            Err(error) => {
                lacking.push(format!("the book of {id} can't be read: {error}"));
                continue;
            }
        };
        if book.may_be_over() {
            settled.insert(id);
        }
        for (number, attempt) in &book.attempts {
            let wallet = WalletName::of(id, *number);
            let is_attested = attempt.addresses.is_some() && !book.is_signed();
            if is_attested && !paths.contains(&format!("{WALLETS}{wallet}.keys")) {
                lacking
                    .push(format!("the keys of wallet {wallet} are not in this home: copy its .keys file"));
            }
            wallets.push(wallet);
        }
    }
    // Of a book that can't be read, by the wallets that are there.
    let by_file =
        paths.iter().filter_map(|path| path.strip_prefix(WALLETS)?.strip_suffix(".keys")?.parse().ok());
    wallets.extend(by_file);
    Ok(Found { paths, wallets, lacking, settled })
}

const WALLETS: &str = "wallet/wallets/";

/// The files to keep, by their path in the home. Wallet caches are left out on purpose: restoring one from before a signature
/// would bring back used nonces. So are the copies that `aegis restore-check` makes and removes.
fn kept(home: &Path) -> Result<Vec<String>, FileError> {
    let mut paths = Vec::new();
    for folder in ["", "escrows/", WALLETS] {
        let path = home.join(folder);
        let entries = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(FileError::at(&path))?,
        };
        for entry in entries {
            let entry = entry.map_err(FileError::at(&path))?;
            let name = entry.file_name();
            let name = name.to_str().map(|name| format!("{folder}{name}"));
            let is_wanted = |path: &String| is_kept(path) && !path.ends_with("-scratch.keys");
            paths.extend(name.filter(|path| is_wanted(path) && entry.path().is_file()));
        }
    }
    Ok(paths)
}

/// What there is was copied: what is lacking is told all the same, and as a failure.
fn told_lacking(done: &str, lacking: &[String]) -> Result<(), EngineError> {
    match lacking {
        [] => Ok(()),
        lacking => Err(EngineError::Incomplete(format!("{done}, but: {}", lacking.join("; ")))),
    }
}

/// Copies the key store, the books and the wallets' keys files, and marks the nonces of each wallet as used. A book that can't
/// be read is copied as it is and named at the end.
fn copy(context: &Context, to: &Path) -> Result<(), EngineError> {
    let desk = context.desk()?;
    if to.exists() {
        return Err(EngineError::Person("the backup goes to a new folder".to_owned()));
    }
    let Found { paths, wallets, lacking, .. } = found(&desk)?;
    // The marks come first, so that nothing is ever in the folder without them.
    let marks = NonceGuard::new(&to.join("nonces"))?;
    for wallet in &wallets {
        if !marks.is_used(wallet) {
            marks.claim(wallet)?;
        }
    }
    for path in &paths {
        let into = to.join(path);
        files::private_dir(into.parent().unwrap_or(to))?;
        let bytes = files::read_private(&context.home.join(path), MAX_RECORD as u64 + 64)?;
        files::write_atomic(&into, &bytes)?;
    }
    let document = serde_json::json!({"files": paths.len(), "lacking": lacking});
    output::result(context.json, &document, || format!("copied {} files", paths.len()));
    told_lacking("copied", &lacking)
}

fn book_path(id: EscrowId) -> String {
    format!("escrows/book-{id}.sealed")
}

/// The books of escrows that are over: both the server and the home's own book say so.
async fn finished(desk: &Desk) -> Result<BTreeSet<String>, EngineError> {
    let settled = found(desk)?.settled;
    let known = desk.known()?;
    let mut over = BTreeSet::new();
    let listed = desk.client.escrows_where(&[("status", "over".to_owned())], MAX_ESCROWS).await?;
    let is_done = |view: &&EscrowItem| view.status.is_over() && !view.returning && known.contains(&view.id);
    for view in listed.escrows.iter().filter(is_done) {
        // It may have ended while nobody looked.
        if settled.contains(&view.id) || desk.hold(view.id).await.is_ok_and(|held| held.book.may_be_over()) {
            over.insert(book_path(view.id));
        }
    }
    Ok(over)
}

/// The same as one archive that fits the server, and what it lacks. Books of escrows that are over are not in it.
async fn archive(desk: &Desk) -> Result<(Archive, Vec<String>), EngineError> {
    let (mut files, mut left_out) = (BTreeMap::new(), Vec::new());
    let over = finished(desk).await?;
    for path in kept(desk.home())?.into_iter().filter(|path| !over.contains(path)) {
        match files::read_private(&desk.home().join(&path), bounds::BACKUP as u64) {
            Ok(bytes) => drop(files.insert(path, bytes)),
            Err(FileError::TooLarge { .. }) if path.starts_with("escrows/") => left_out.push(path),
            Err(error) => return Err(error.into()),
        }
    }
    // After the files: a wallet that was made meanwhile has its mark, too.
    let Found { wallets, lacking, .. } = found(desk)?;
    let marks = wallets.iter().map(|wallet| (NonceGuard::path(wallet), zeroize::Zeroizing::default()));
    files.extend(marks);
    let mut archive = Archive { made_at: to_millis(Timestamp::now()), files, left_out };
    archive.fit(bounds::BACKUP)?;
    Ok((archive, lacking))
}

async fn push(
    context: &Context,
    passphrase: &BackupPassphrase,
    without_books: bool,
) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let (archive, lacking) = archive(&desk).await?;
    let left_out = &archive.left_out;
    if !left_out.is_empty() && !without_books {
        let why = "these books don't fit the server, and without them the restored home would not know what it has said and \
                   signed: copy to a folder (--to), or push --without-books";
        return Err(EngineError::Person(format!("{why}: {}", left_out.join(", "))));
    }
    let (variable, prompt) = PASSPHRASE;
    let passphrase = secrets::new_secret(passphrase.backup_passphrase_file.as_deref(), variable, prompt)?;
    let sealed = archive.seal(passphrase.expose())?;
    let sha256 = Hash32::sha256(&sealed);
    let view = desk.client.push_backup(sealed).await?;
    if view.sha256 != sha256 {
        let why = "the server has stored other bytes than those it was given".to_owned();
        return Err(ClientError::BadAnswer(why).into());
    }
    // Who has only the backup's passphrase can't log in to get it.
    let unknown = desk.keys(|keys| is_random(&keys.profile().account_password));
    let document = serde_json::json!({
        "version": view.version, "size": view.size, "sha256": sha256, "leftOut": left_out, "lacking": lacking,
        "passwordIsRandom": unknown,
    });
    output::result(context.json, &document, || {
        let BackupView { version, size, .. } = view;
        let left_out: String = left_out.iter().map(|path| format!("\nleft out: {path}")).collect();
        let hint = "\nTo pull it you need the account's password, and yours is a random one that only the key store holds: \
                    set one that you know by aegis password change";
        let hint = if unknown { hint } else { "" };
        format!("version {version}, {size} bytes, SHA-256 {sha256}{left_out}{hint}")
    });
    told_lacking("pushed", &lacking)
}

/// Whether it looks like one that this program made.
fn is_random(password: &Secret) -> bool {
    password.expose().len() == 64 && password.expose().bytes().all(|b| b.is_ascii_hexdigit())
}

async fn pull(context: &Context, from: Pull) -> Result<(), EngineError> {
    if !is_username(&from.username) {
        return Err(EngineError::Person("a username has 3 to 32 letters, digits, `_` or `-`".to_owned()));
    }
    if from.to.exists() {
        return Err(EngineError::Person("the home is restored to a new folder".to_owned()));
    }
    let password =
        secrets::secret(from.password_file.as_deref(), "AEGIS_PASSWORD", "Password of the account: ")?;
    let file = from.passphrase.backup_passphrase_file.as_deref();
    let (variable, prompt) = PASSPHRASE;
    let passphrase = secrets::secret(file, variable, prompt)?;
    let mut client = Client::new(&from.server, &from.username, vec![password])?;
    client.set_codes(secrets::codes(context.code_file.as_deref())?);
    let sealed = newest_or(&client, from.version).await;
    // Nothing of this login is kept; it ends by itself where this fails.
    let _ = client.logout().await;
    let (version, sealed) = sealed?;
    let sha256 = Hash32::sha256(&sealed);
    if from.sha256.is_some_and(|wanted| wanted != sha256) {
        let why = format!("version {version} has the SHA-256 {sha256}, and not the one you want");
        return Err(ClientError::BadAnswer(why).into());
    }
    let mut opened = Archive::open(&sealed, passphrase.expose());
    // One that was typed may be typed again.
    let mut more = if secrets::is_typed(file, variable) { 2 } else { 0 };
    while more > 0 && matches!(opened, Err(ArchiveError::WrongPassphrase)) {
        more -= 1;
        opened = Archive::open(&sealed, secrets::asked(&format!("That is not it. {prompt}"))?.expose());
    }
    let archive = opened?;
    output::note(&format!("version {version}, made at {}, SHA-256 {sha256}", archive.made_at));
    archive.restore(&from.to)?;
    let Archive { made_at, left_out, files } = archive;
    let document = serde_json::json!({
        "version": version, "madeAt": made_at, "sha256": sha256, "files": files.len(), "leftOut": left_out,
        "next": "aegis prekeys --replace",
    });
    output::result(context.json, &document, || {
        let without: String =
            left_out.iter().map(|path| format!("\nwithout {path}: see aegis backup push --help")).collect();
        let next = "next: aegis prekeys --replace, for private halves made since are lost";
        format!("restored version {version}, made at {made_at}: {} files{without}\n{next}", files.len())
    });
    Ok(())
}

async fn newest_or(client: &Client, version: Option<i64>) -> Result<(i64, Vec<u8>), EngineError> {
    let version = match version {
        Some(version) => version,
        None => {
            let newest = client.backups().await?.backups.iter().map(|view| view.version).max();
            newest
                .ok_or_else(|| EngineError::Person("the server keeps no backup of this account".to_owned()))?
        }
    };
    Ok((version, client.backup(version).await?))
}

async fn list(context: &Context) -> Result<(), EngineError> {
    let backups = context.desk()?.client.backups().await?.backups;
    let line = |view: &BackupView| {
        let BackupView { version, size, sha256, created_at } = view;
        format!("{version}  {created_at}  {size} bytes  {sha256}")
    };
    output::result(context.json, &backups, || output::lines(&backups, line));
    Ok(())
}
