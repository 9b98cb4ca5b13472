//! What people say of each other once an escrow is paid out.

use aegis_common::ids::{EscrowId, ReviewId};
use aegis_common::role::Role;
use aegis_common::username::is_username;
use aegis_common::wire::market::{AnswerRequest, HideRequest, ReviewChange, ReviewRequest, ReviewView};
use clap::{Args, ValueEnum};

use super::{Context, output};
use crate::engine::EngineError;

#[derive(Args)]
pub struct Review {
    /// The escrow.
    escrow: EscrowId,
    /// Whom to review: the other trader, or the arbiter.
    #[arg(value_enum)]
    role: Reviewed,
    /// 1 to 5.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=5))]
    stars: u8,
    /// What you have to say.
    #[arg(long, default_value = "")]
    text: String,
}

/// A part in an escrow.
#[derive(Clone, Copy, ValueEnum)]
pub enum Reviewed {
    /// Who paid.
    Buyer,
    /// Who delivered.
    Seller,
    /// Who could rule.
    Arbiter,
}

#[derive(Args)]
pub struct Edit {
    /// Its id, as `reviews` shows it.
    review: ReviewId,
    /// 1 to 5; as it was where left out.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=5), required_unless_present = "text")]
    stars: Option<u8>,
    /// What you have to say; as it was where left out.
    #[arg(long)]
    text: Option<String>,
}

#[derive(Args)]
pub struct Answer {
    /// Its id, as `reviews` shows it.
    review: ReviewId,
    /// What you have to say to it.
    #[arg(long)]
    text: String,
}

#[derive(Args)]
pub struct Hide {
    /// Its id, as `reviews` shows it.
    review: ReviewId,
    /// Why, for everybody to read in its place; without, it is shown again.
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Args)]
pub struct Reviews {
    /// The account's name.
    name: String,
    /// Only those older than this one.
    #[arg(long)]
    before: Option<ReviewId>,
    /// How many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
}

fn opinion(review: &ReviewView) -> String {
    let head = format!(
        "{}  {}  {}  {} of {} ({})",
        review.created_at,
        review.id,
        review.stars.map_or_else(|| "hidden".to_owned(), |stars| "*".repeat(stars.into())),
        review.reviewer,
        review.subject,
        review.subject_role
    );
    let hidden = review.hidden.as_ref().map(|reason| format!("hidden: {reason}"));
    let text = review.text.clone().filter(|text| !text.is_empty());
    let answer = review.answer.as_ref().map(|answer| format!("answer: {}", answer.text));
    [Some(head), hidden, text, answer].into_iter().flatten().collect::<Vec<_>>().join("\n  ")
}

pub async fn review(context: &Context, review: Review) -> Result<(), EngineError> {
    let subject = match review.role {
        Reviewed::Buyer => Role::Buyer,
        Reviewed::Seller => Role::Seller,
        Reviewed::Arbiter => Role::Arbiter,
    };
    let body = ReviewRequest { subject, stars: review.stars, text: review.text };
    let made = context.desk()?.client.review(review.escrow, &body).await?;
    show(context, &made);
    Ok(())
}

fn show(context: &Context, review: &ReviewView) {
    output::result(context.json, review, || opinion(review));
}

pub async fn edit(context: &Context, Edit { review, stars, text }: Edit) -> Result<(), EngineError> {
    show(context, &context.desk()?.client.change_review(review, &ReviewChange { stars, text }).await?);
    Ok(())
}

pub async fn answer(context: &Context, Answer { review, text }: Answer) -> Result<(), EngineError> {
    show(context, &context.desk()?.client.answer_review(review, &AnswerRequest { text }).await?);
    Ok(())
}

pub async fn hide(context: &Context, Hide { review, reason }: Hide) -> Result<(), EngineError> {
    let body = reason.map(|reason| HideRequest { reason });
    show(context, &context.desk()?.client.hide_review(review, body.as_ref()).await?);
    Ok(())
}

pub async fn reviews(context: &Context, asked: Reviews) -> Result<(), EngineError> {
    if !is_username(&asked.name) {
        return Err(EngineError::Person("that is no username".to_owned()));
    }
    let query = [("before", asked.before.map(|id| id.to_string())), ("limit", Some(asked.limit.to_string()))];
    let page = context.desk()?.client.reviews(&asked.name, &query).await?;
    output::result(context.json, &page, || {
        let average = page.average.as_deref().map(|average| format!(", {average} of 5 on average"));
        let head = format!("{} reviews{}", page.count, average.unwrap_or_default());
        let more = page.next.map(|next| format!("more: --before {next}"));
        [head].into_iter().chain(page.reviews.iter().map(opinion)).chain(more).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}
