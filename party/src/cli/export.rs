//! Taking everything along: the record of an escrow, or all that the server keeps of this account.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use aegis_common::code::Code;
use aegis_common::escrow::event::Event;
use aegis_common::escrow::record::Record;
use aegis_common::escrow::returns::Returned;
use aegis_common::escrow::state::{Escrow, Phase};
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::wire::arbiter::AssignmentView;
use aegis_common::wire::escrow::EscrowView;
use aegis_common::wire::market::ReviewView;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Context, output};
use crate::client::{Client, ClientError, Listed, MAX_ESCROWS};
use crate::engine::EngineError;
use crate::files;

/// The largest file that is read as a record, in bytes.
const MAX_FILE: u64 = 256 * 1024 * 1024;

#[derive(Args)]
pub struct Export {
    /// Only this escrow, into one file.
    id: Option<EscrowId>,
    /// The new folder, or with an escrow's id the new file.
    #[arg(long)]
    to: PathBuf,
}

/// What is written of one escrow.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exported {
    /// What can be verified.
    record: Record,
    /// Why the server chose this arbiter; nothing of an escrow older than such choices.
    assignment: Option<AssignmentView>,
    /// Where the server said it stands.
    view: EscrowView,
    /// What its traders say of each other and of the arbiter.
    #[serde(default)]
    reviews: Vec<ReviewView>,
}

/// Every list that is written, with its path, the name of its items and of its cursor.
const LISTS: [(&str, &str, &str, &str); 8] = [
    ("events", "/events", "events", "after"),
    ("audit", "/me/audit", "entries", "before"),
    ("sessions", "/me/sessions", "sessions", "after"),
    ("api-keys", "/me/api-keys", "keys", "after"),
    ("passkeys", "/me/passkeys", "passkeys", "after"),
    ("backups", "/me/backups", "backups", "after"),
    ("webhooks", "/webhooks", "webhooks", "after"),
    ("orders", "/orders", "orders", "before"),
];

pub async fn export(context: &Context, Export { id, to }: Export) -> Result<(), EngineError> {
    let client = context.desk()?.client;
    if fs::exists(&to).map_err(|error| cannot(&to, &error))? {
        return Err(EngineError::Person(format!("{} exists already", to.display())));
    }
    let written = match id {
        Some(id) => {
            write(&to, &one(&client, id).await?)?;
            1
        }
        None => everything(&client, &to).await?,
    };
    let document = serde_json::json!({ "to": to, "files": written });
    output::result(context.json, &document, || format!("{written} files: {}", to.display()));
    Ok(())
}

async fn one(client: &Client, id: EscrowId) -> Result<Exported, EngineError> {
    let view = client.escrow(id).await?;
    let record = client.record(id).await?;
    let assignment = optional(client.assignment(id).await)?;
    if record.beginning.contract != view.contract {
        return Err(EngineError::Person("the server tells two contracts for one escrow".to_owned()));
    }
    let reviews = optional(client.reviews_in(id).await)?.map_or_else(Vec::new, |found| found.reviews);
    Ok(Exported { record, assignment, view, reviews })
}

async fn everything(client: &Client, to: &Path) -> Result<usize, EngineError> {
    let me = client.raw("/me").await?;
    let username = me.get("username").and_then(Value::as_str).unwrap_or_default().to_owned();
    files::private_dir(to).map_err(|error| cannot(to, &error))?;
    let escrows = to.join("escrows");
    files::private_dir(&escrows).map_err(|error| cannot(&escrows, &error))?;
    write(&to.join("account.json"), &me)?;
    let mut written = 1;
    for (name, path, items, cursor) in LISTS {
        write(&to.join(format!("{name}.json")), &client.raw_list(path, &[], items, cursor).await?)?;
        written += 1;
    }
    let mut listings = Vec::new();
    for status in ["active", "paused", "closed"] {
        let query = [("seller", &*username), ("status", status)];
        listings.extend(client.raw_list("/listings", &query, "listings", "after").await?);
    }
    write(&to.join("listings.json"), &listings)?;
    let reviews = client.raw_list(&format!("/users/{username}/reviews"), &[], "reviews", "before").await?;
    write(&to.join("reviews.json"), &reviews)?;
    written += 2;
    for (name, path) in [("wallet", "/me/wallet"), ("arbiter", &*format!("/arbiters/{username}"))] {
        if let Some(found) = optional(client.raw(path).await)? {
            write(&to.join(format!("{name}.json")), &found)?;
            written += 1;
        }
    }
    let Listed { escrows: all, unreadable } = client.escrows().await?;
    if let [id, ..] = unreadable[..] {
        return Err(EngineError::Person(format!(
            "the server can't read {} of the escrows, among them {id}: its operator has to look at them",
            unreadable.len()
        )));
    }
    if all.len() >= MAX_ESCROWS {
        return Err(EngineError::Person(format!(
            "there are more than {MAX_ESCROWS} escrows: export the rest one by one"
        )));
    }
    for item in all {
        write(&escrows.join(format!("{}.json", item.id)), &one(client, item.id).await?)?;
        written += 1;
    }
    Ok(written)
}

/// What need not be there.
fn optional<T>(answer: Result<T, ClientError>) -> Result<Option<T>, EngineError> {
    match answer {
        Err(error) if matches!(error.code(), Some(Code::NotFound | Code::WalletMissing)) => Ok(None),
        found => Ok(Some(found?)),
    }
}

fn write(path: &Path, document: &impl Serialize) -> Result<(), EngineError> {
    let text = serde_json::to_vec_pretty(document).map_err(|error| cannot(path, &error))?;
    files::write_atomic(path, &text).map_err(|error| cannot(path, &error))
}

fn cannot(path: &Path, error: &dyn std::fmt::Display) -> EngineError {
    EngineError::Person(format!("{}: {error}", path.display()))
}

/// Verifies a file that `aegis export` wrote. Needs neither keys nor a server.
pub fn verify(context: &Context, path: &Path) -> Result<(), EngineError> {
    let size = fs::metadata(path).map_err(|error| cannot(path, &error))?.len();
    if size > MAX_FILE {
        return Err(cannot(path, &format!("more than {MAX_FILE} bytes")));
    }
    let text = fs::read(path).map_err(|error| cannot(path, &error))?;
    let Exported { record, assignment, view, .. } =
        serde_json::from_slice(&text).map_err(|error| cannot(path, &error))?;
    let escrow = record.replay().map_err(|error| cannot(path, &error))?;
    if let Some(made) = &assignment {
        let chosen = made.choice.chosen().map(|chosen| chosen.user_id);
        if chosen != Some(escrow.contract.arbiter.user_id) || made.escrow_id != escrow.contract.escrow_id {
            return Err(cannot(path, &"another arbiter should have been chosen"));
        }
    }
    // It was told before the journal was read, which may have grown since.
    let told = usize::try_from(view.version - 1).ok().and_then(|entries| record.journal.get(..entries));
    let told = told.map(|journal| Record { journal: journal.to_vec(), ..record.clone() });
    let told = told.and_then(|record| record.replay().ok());
    if told.map(|escrow| EscrowView::of(&escrow, view.version, view.tip)).as_ref() != Some(&view) {
        return Err(cannot(path, &"the server told something else than its journal"));
    }
    let said = record.journal.iter().filter(|entry| matches!(entry.event, Event::Statement { .. }));
    let statements = said.count();
    let document = serde_json::json!({
        "escrowId": escrow.contract.escrow_id,
        "contractHash": escrow.contract_hash,
        "status": escrow.status(),
        "entries": record.journal.len(),
        "statements": statements,
        "assignment": assignment.is_some(),
        "returned": returned(&escrow),
    });
    output::result(context.json, &document, || {
        story(&escrow, (record.journal.len(), statements), assignment.is_some())
    });
    Ok(())
}

fn story(escrow: &Escrow, (entries, statements): (usize, usize), assignment: bool) -> String {
    let contract = &escrow.contract;
    let mut text = format!(
        "{}: {}, {} XMR on {}\n",
        contract.escrow_id,
        contract.title,
        contract.amount.xmr(),
        contract.network
    );
    for role in Role::ALL {
        let party = contract.party(role);
        let _ = writeln!(text, "  {:<8} {}  {}", role.to_string(), party.username, party.fingerprint);
    }
    let _ = writeln!(
        text,
        "{entries} entries follow from each other by the rules; {statements} signed statements verify"
    );
    if assignment {
        text += "the arbiter is the one whom the rule of assignment gives\n";
    }
    let _ = write!(text, "it stands at {}", escrow.status());
    if let Phase::Completed { settled, txid, height, .. } = &escrow.phase {
        let _ = write!(text, ", by {:?}: transaction {txid} in block {height}", settled.authority);
    }
    for Returned { txid, height, .. } in returned(escrow) {
        let _ = write!(text, "\nwhat came after that went back: transaction {txid} in block {height}");
    }
    text += "\nThe server's word alone: what the chain held, what the time was, and that nothing was said since.\n\
             Compare the fingerprints with those you know.";
    text
}

/// What came after the payout and has gone back.
fn returned(escrow: &Escrow) -> &[Returned] {
    match &escrow.phase {
        Phase::Completed { returns, .. } => &returns.done,
        _ => &[],
    }
}
