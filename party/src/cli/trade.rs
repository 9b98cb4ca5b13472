//! What a person decides.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::DefaultOutcome;
use aegis_common::escrow::outcome::Outcome;
use aegis_common::escrow::statement::{Act, SignedStatement};
use aegis_common::ids::EscrowId;
use aegis_common::time::{Clock, SignedDuration, Timestamp};
use aegis_common::wire::escrow::{CreateEscrowRequest, PayoutView};
use clap::{Args, ValueEnum};

use super::{Context, Trader, Which, output};
use crate::authority::authorised;
use crate::book::{Fault, GiveBack};
use crate::client::ClientError;
use crate::engine::desk::{Desk, Held};
use crate::engine::payout::SystemClock;
use crate::engine::{EngineError, setup, terms};

/// Times a lost request is sent, and the pause between: a server that is started anew is back within five seconds.
const CREATE_ATTEMPTS: u32 = 6;
const CREATE_PAUSE: std::time::Duration = std::time::Duration::from_secs(2);

#[derive(Args)]
pub struct Create {
    /// Your part.
    #[arg(long = "as", value_enum)]
    part: Trader,
    /// The other trader's username.
    #[arg(long)]
    with: String,
    /// An arbiter you both know; otherwise the server assigns one.
    #[arg(long)]
    arbiter: Option<String>,
    /// What is traded.
    #[arg(long)]
    title: String,
    /// In detail.
    #[arg(long, default_value = "")]
    description: String,
    /// The price in XMR.
    #[arg(long, value_parser = parse_xmr)]
    amount: Piconero,
    /// The buyer's security deposit in XMR.
    #[arg(long, value_parser = parse_xmr, default_value = "0")]
    buyer_deposit: Piconero,
    /// The seller's security deposit in XMR.
    #[arg(long, value_parser = parse_xmr, default_value = "0")]
    seller_deposit: Piconero,
    /// What happens at expiry.
    #[arg(long, value_enum)]
    default: AtExpiry,
    /// When it expires: `90s`, `30m`, `12h`, `3d` from now, or a time such as 2030-01-31T12:00:00Z.
    #[arg(long)]
    expires: String,
    /// Confirmations for finality.
    #[arg(long)]
    finality: Option<u32>,
    /// Seconds until a silent signer is replaced.
    #[arg(long)]
    cosign_seconds: Option<u32>,
    /// An escrow of yours that the other trader has not accepted: it is deleted, and this one takes its place.
    #[arg(long)]
    replaces: Option<EscrowId>,
}

/// The default outcome, by its name.
#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum AtExpiry {
    /// The seller is paid.
    Release,
    /// The buyer is paid back.
    Refund,
}

impl From<AtExpiry> for DefaultOutcome {
    fn from(default: AtExpiry) -> Self {
        match default {
            AtExpiry::Release => Self::Release,
            AtExpiry::Refund => Self::Refund,
        }
    }
}

/// Parts of the amount.
#[derive(Args)]
pub struct Split {
    /// The buyer's part in XMR.
    #[arg(long, value_parser = parse_xmr, requires = "seller")]
    buyer: Option<Piconero>,
    /// The seller's part in XMR.
    #[arg(long, value_parser = parse_xmr, requires = "buyer")]
    seller: Option<Piconero>,
}

#[derive(Args)]
pub struct Rule {
    #[command(flatten)]
    which: Which,
    /// The seller gets it all.
    #[arg(long, conflicts_with_all = ["refund", "buyer"])]
    release: bool,
    /// The buyer gets it all back.
    #[arg(long, conflicts_with = "buyer")]
    refund: bool,
    #[command(flatten)]
    split: Split,
    /// Your reasons.
    #[arg(long)]
    reason: String,
}

pub fn parse_xmr(text: &str) -> Result<Piconero, String> {
    Piconero::from_xmr(text).map_err(|error| error.to_string())
}

fn parse_expiry(text: &str, now: Timestamp) -> Result<Timestamp, EngineError> {
    let bad = || EngineError::Person("--expires takes 90s, 30m, 12h, 3d or a time in RFC 3339".to_owned());
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let unit = text.chars().last().ok_or_else(bad)?;
    let number: i64 = text.strip_suffix(unit).and_then(|digits| digits.parse().ok()).ok_or_else(bad)?;
    let seconds = match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    };
    let seconds = seconds.and_then(|unit: i64| unit.checked_mul(number)).ok_or_else(bad)?;
    now.checked_add(SignedDuration::from_secs(seconds)).map_err(|_| bad())
}

fn split_outcome(split: Split) -> Result<Outcome, EngineError> {
    match (split.buyer, split.seller) {
        (Some(buyer), Some(seller)) => Ok(Outcome::Split { buyer, seller }),
        _ => Err(EngineError::Person("name both parts: --buyer XMR --seller XMR".to_owned())),
    }
}

pub async fn create(context: &Context, create: Create) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let body = CreateEscrowRequest {
        title: create.title,
        description: create.description,
        role: create.part.into(),
        counterparty: create.with,
        arbiter: create.arbiter,
        amount: create.amount,
        buyer_deposit: create.buyer_deposit,
        seller_deposit: create.seller_deposit,
        default_outcome: create.default.into(),
        expires_at: aegis_common::time::to_millis(parse_expiry(&create.expires, Timestamp::now())?),
        finality_depth: create.finality,
        cosign_seconds: create.cosign_seconds,
        replaces: create.replaces,
    };
    let key = uuid::Uuid::now_v7().to_string();
    let view = repeated(|| desk.client.create(&body, &key)).await?;
    let mut held = desk.hold(view.id).await?;
    terms::asked_for(&body, &held.book.contract, held.book.role)?;
    // From now on the server can't show another contract for this escrow.
    held.book.asked_for = true;
    held.save()?;
    let document = serde_json::json!({"id": view.id, "arbiter": view.contract.arbiter.username});
    output::result(context.json, &document, || {
        let terms = terms_of(&desk, &held);
        format!(
            "created {}\narbiter {}\n{terms}\nnext: aegis accept {}",
            view.id, view.contract.arbiter.username, view.id
        )
    });
    Ok(())
}

pub fn terms_of(desk: &Desk, held: &Held<'_>) -> String {
    let peers: Vec<_> = desk.peers(&held.book).into_iter().map(|(name, _, check)| (name, check)).collect();
    terms::text(&held.book.contract, held.book.role, &peers)
}

/// Sends the same request, under the same key, until there is an answer: where one got lost what it makes may exist already,
/// and a person who gives the command again would make a second.
pub async fn repeated<T, F>(mut send: impl FnMut() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    for _ in 1..CREATE_ATTEMPTS {
        match send().await {
            Err(error) if error.is_transient() => tokio::time::sleep(CREATE_PAUSE).await,
            answer => return answer,
        }
    }
    send().await
}

pub async fn accept(
    context: &Context,
    which: Which,
    trust_first_use: bool,
    yes: bool,
) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let mut held = desk.hold(which.id).await?;
    // Said before, here or by the policy of the running program.
    let accepted = held.book.setup().has_accepted(held.book.role);
    if !accepted && !yes && !context.json {
        let (text, hash) = (terms_of(&desk, &held), held.book.contract_hash);
        // The person reads as long as they like; the escrow's lock is not held meanwhile.
        drop(held);
        let question = "Accept this contract?";
        if !tokio::task::block_in_place(|| output::agreed(&text, question)) {
            return Err(EngineError::Person("not accepted".to_owned()));
        }
        held = desk.hold(which.id).await?;
        if held.book.contract_hash != hash {
            return Err(Fault::Contract("is another one than a moment ago".to_owned()).into());
        }
    }
    if !held.book.setup().has_accepted(held.book.role) {
        setup::accept(&desk, &mut held, trust_first_use).await?;
    }
    let contract = &held.book.contract;
    let document = serde_json::json!({"id": which.id, "contractHash": held.book.contract_hash});
    output::result(context.json, &document, || {
        format!("accepted as {}: {}, {} XMR", held.book.role, contract.title, contract.amount.xmr())
    });
    Ok(())
}

pub fn confirm() -> Result<Act, EngineError> {
    Ok(Act::Confirm {})
}

pub fn refund() -> Result<Act, EngineError> {
    Ok(Act::Refund {})
}

pub fn dispute(reason: String) -> Result<Act, EngineError> {
    Ok(Act::Dispute { reason })
}

pub fn decline(reason: String) -> Result<Act, EngineError> {
    Ok(Act::Decline { reason })
}

pub fn cancel() -> Result<Act, EngineError> {
    Ok(Act::Cancel {})
}

pub fn settle(split: Split) -> Result<Act, EngineError> {
    split_outcome(split).map(|outcome| Act::Settle { outcome })
}

pub async fn rule(context: &Context, rule: Rule) -> Result<(), EngineError> {
    let outcome = match (rule.release, rule.refund) {
        (true, _) => Outcome::Release,
        (_, true) => Outcome::Refund,
        _ => split_outcome(rule.split)?,
    };
    say(context, rule.which, Ok(Act::Ruling { outcome, reason: rule.reason })).await
}

/// Says one thing in an escrow.
pub async fn say(context: &Context, which: Which, act: Result<Act, EngineError>) -> Result<(), EngineError> {
    let act = act?;
    let kind = act.kind();
    let desk = context.desk()?;
    let kept = || {
        let document = serde_json::json!({"id": which.id, "kept": kind});
        output::result(context.json, &document, || {
            format!(
                "{kind}: signed and kept; it is sent when the server takes it. To carry it yourself: aegis tell"
            )
        });
    };
    let mut held = desk.hold(which.id).await;
    if matches!(&held, Err(EngineError::NotTaken { error, .. }) if error.refuses_statement()) {
        // A word from before was refused just now: this one has its place.
        held = desk.hold(which.id).await;
    }
    let mut held = match held {
        // The word must not depend on a server that is away, shows what can't be, or does not take the word before it.
        Err(error) if matches!(act, Act::Dispute { .. }) && is_hindered(&error) => {
            desk.sign_aside(which.id, act).await?;
            kept();
            return Ok(());
        }
        held => held?,
    };
    // It was tried again just now, and is still too early.
    if held.book.aside.as_ref().is_some_and(|aside| aside.statement.act == act) {
        kept();
        return Ok(());
    }
    let receipt = match held.said(&act).await? {
        Some(receipt) => receipt,
        None => held.say(act, None).await?,
    };
    output::result(context.json, &receipt, || format!("{kind}: the escrow is {}", receipt.status));
    Ok(())
}

/// Whether a word could not be said for what is not its own fault: nothing was said yet, so what was not taken is another one.
fn is_hindered(error: &EngineError) -> bool {
    matches!(error, EngineError::Client(_) | EngineError::Fault(_) | EngineError::NotTaken { .. })
}

pub async fn delete(context: &Context, which: Which) -> Result<(), EngineError> {
    context.desk()?.client.delete(which.id).await?;
    output::result(context.json, &serde_json::json!({"id": which.id}), || format!("deleted {}", which.id));
    Ok(())
}

/// Agrees to sign the outcome that stands. What is signed is still checked against the signed statements.
pub async fn consent(
    context: &Context,
    which: Which,
    leave_behind: Option<Piconero>,
    yes: bool,
) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let mut held = desk.hold(which.id).await?;
    if held.view.returning.is_some() {
        let why = "the payout is made, and something came after it: --give-back agrees to give that back";
        return Err(EngineError::Person(why.to_owned()));
    }
    let none = || EngineError::Person("no outcome stands yet".to_owned());
    let payout = held.view.payout.clone().ok_or_else(none)?;
    // What the person reads must follow from the signed statements: the server could name a friendlier word.
    let (book, now) = (&held.book, SystemClock.now());
    let found = [true, false].map(|funded| authorised(&book.contract, &book.transcript, funded, now));
    let stands = (payout.outcome, payout.authority);
    if !found.into_iter().flatten().any(|found| (found.outcome, found.authority) == stands) {
        let why = "the signed statements do not authorise what the server says stands; before the expiry nothing stands by it";
        return Err(EngineError::Person(why.to_owned()));
    }
    let doubts = held.book.doubts(payout.outcome, payout.authority);
    let heard = held.book.heard.len();
    if !yes && !context.json {
        let mut text = terms::payout(&held.book.contract, payout.outcome, payout.authority, &payout.shares);
        for doubt in &doubts {
            text.push_str(&format!("\nBeware: {doubt}."));
        }
        if let Some(left) = leave_behind {
            text.push_str(&format!("\n{} XMR that your wallet sees stays with the escrow.", left.xmr()));
        }
        drop(held);
        let question = "Sign this? The amounts are the server's word, and checked before anything is signed.";
        if !tokio::task::block_in_place(|| output::agreed(&text, question)) {
            return Err(EngineError::Person("not consented".to_owned()));
        }
        held = desk.hold(which.id).await?;
        let news =
            held.book.doubts(payout.outcome, payout.authority) != doubts || held.book.heard.len() != heard;
        if news || held.view.payout.as_ref().is_none_or(|now| now.shares != payout.shares) {
            let why = "it changed meanwhile, or something came up that speaks against it: read it again";
            return Err(EngineError::Person(why.to_owned()));
        }
    }
    held.book.consent = Some(stands);
    if let Some(most) = leave_behind {
        held.book.leave_behind = most;
    }
    held.save()?;
    let document = serde_json::json!({
        "id": which.id, "outcome": payout.outcome, "authority": payout.authority, "doubts": doubts,
    });
    output::result(context.json, &document, || {
        format!("consented: {}", terms::outcome(payout.outcome, payout.authority))
    });
    Ok(())
}

/// Agrees to give back what came after the payout. Before anything is signed the payout is proven all the same.
pub async fn give_back(context: &Context, which: Which, yes: bool) -> Result<(), EngineError> {
    let (desk, id) = (context.desk()?, which.id);
    let mut held = desk.hold(id).await?;
    let none = || EngineError::Person("nothing that came after the payout waits to go back".to_owned());
    let returning = held.view.returning.clone().ok_or_else(none)?;
    if !yes && !context.json {
        let mut text = terms::returned(&held.book.contract, &returning.shares);
        let paid = held.view.payout.as_ref();
        let doubts = paid.map(|paid| held.book.doubts(paid.outcome, paid.authority)).unwrap_or_default();
        for doubt in doubts {
            text.push_str(&format!("\nBeware: of the payout before this, {doubt}."));
        }
        if held.book.beside > Piconero::ZERO {
            let beside = held.book.beside.xmr();
            text.push_str(&format!(
                "\nBeware: {beside} XMR that your wallet sees beside it could be spent in its place."
            ));
        }
        drop(held);
        let question =
            "Give it back? The amounts are the server's word, and checked before anything is signed.";
        if !tokio::task::block_in_place(|| output::agreed(&text, question)) {
            return Err(EngineError::Person("not consented".to_owned()));
        }
        held = desk.hold(id).await?;
    }
    // Signed is only what was read: other amounts are asked about anew.
    let PayoutView { spends, shares, .. } = returning;
    let document = serde_json::json!({"id": id, "givenBack": spends, "shares": shares});
    held.book.give_back = Some(GiveBack { spends, shares, beside: held.book.beside });
    held.save()?;
    output::result(context.json, &document, || "consented: what came after the payout goes back".to_owned());
    Ok(())
}

/// Far more than an author's decisions can be.
const MAX_HEARD: u64 = 1 << 20;

/// Takes note of disputes that the server may not show.
pub async fn hear(context: &Context, which: Which, file: &Path) -> Result<(), EngineError> {
    let unusable = |why: String| EngineError::Person(format!("{}: {why}", file.display()));
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(MAX_HEARD).read_to_end(&mut bytes));
    read.map_err(|error| unusable(error.to_string()))?;
    let said: Vec<SignedStatement> =
        serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
    let desk = context.desk()?;
    let news = desk.amend(which.id, |book| {
        let mut news = 0;
        for signed in &said {
            news += usize::from(book.hear(signed)?);
        }
        Ok::<_, Fault>(news)
    });
    let news = news.await?;
    let document = serde_json::json!({"id": which.id, "news": news});
    output::result(context.json, &document, || match news {
        0 => "nothing that is not known here".to_owned(),
        _ => "a dispute that the server does not show: the default is not signed without your consent"
            .to_owned(),
    });
    Ok(())
}
