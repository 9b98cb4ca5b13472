//! What lets others in: keys for programs, invitations for people.

use aegis_common::ids::{InvitationId, SessionId};
use aegis_common::wire::account::{
    AccountRole, ApiKeyRequest, ApiKeyView, Invitation, InvitationRequest, Scope, bounds,
};
use clap::{Args, Subcommand};

use super::{Context, output};
use crate::engine::EngineError;

#[derive(Subcommand)]
pub enum ApiKeyCommand {
    /// Make one. It is shown this once.
    Make {
        /// What it is for.
        #[arg(long)]
        name: String,
        /// What it may do: read, trade; may be given twice.
        #[arg(long = "scope", required = true, value_parser = parse_scope)]
        scopes: Vec<Scope>,
        /// Days for which it works.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(*bounds::API_KEY_DAYS.end())))]
        days: u32,
    },
    /// List them.
    List,
    /// Revoke one.
    Revoke {
        /// Its id.
        id: SessionId,
    },
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Invite {
    #[command(subcommand)]
    command: Option<InviteCommand>,
    /// What the new account may do: user, arbiter, operator, admin.
    #[arg(long, default_value = "user", value_parser = parse_role)]
    role: AccountRole,
    /// Hours for which it works.
    #[arg(long, default_value_t = 72, value_parser = clap::value_parser!(u32).range(1..=i64::from(*bounds::INVITATION_HOURS.end())))]
    hours: u32,
}

#[derive(Subcommand)]
pub enum InviteCommand {
    /// List those that you made.
    List,
    /// Withdraw one that is not used yet.
    Withdraw {
        /// Its id.
        id: InvitationId,
    },
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::from_wire(text).ok_or_else(|| "read or trade".to_owned())
}

fn parse_role(text: &str) -> Result<AccountRole, String> {
    AccountRole::from_wire(text).ok_or_else(|| "user, arbiter, operator or admin".to_owned())
}

pub async fn api_key(context: &Context, command: ApiKeyCommand) -> Result<(), EngineError> {
    let client = context.desk()?.client;
    match command {
        ApiKeyCommand::Make { name, scopes, days } => {
            let made = client.make_api_key(&ApiKeyRequest { name, scopes, days }).await?;
            output::result(context.json, &made, || {
                format!("{}\nfor `Authorization: Bearer`, until {}", made.key, made.view.expires_at)
            });
        }
        ApiKeyCommand::List => {
            let keys = client.api_keys().await?.keys;
            let line = |view: &ApiKeyView| {
                let scopes: Vec<_> = view.scopes.iter().map(|scope| scope.wire()).collect();
                format!("{}  until {}  {}  {}", view.id, view.expires_at, scopes.join("+"), view.name)
            };
            output::result(context.json, &keys, || output::lines(&keys, line));
        }
        ApiKeyCommand::Revoke { id } => {
            client.revoke_api_key(id).await?;
            output::result(context.json, &serde_json::json!({"revoked": id}), || "revoked".to_owned());
        }
    }
    Ok(())
}

pub async fn invite(context: &Context, invite: Invite) -> Result<(), EngineError> {
    let client = context.desk()?.client;
    match invite.command {
        None => {
            let made = client.invite(&InvitationRequest { role: invite.role, hours: invite.hours }).await?;
            output::result(context.json, &made, || {
                let (token, until) = (&made.token, made.invitation.expires_at);
                format!("{token}\nfor aegis init, by --invitation-file or AEGIS_INVITATION, until {until}")
            });
        }
        Some(InviteCommand::List) => {
            let invitations = client.invitations().await?.invitations;
            let line = |made: &Invitation| {
                let state = if made.accepted_by.is_some() { "used" } else { "open" };
                format!("{}  {}  until {}  {state}", made.id, made.role.wire(), made.expires_at)
            };
            output::result(context.json, &invitations, || output::lines(&invitations, line));
        }
        Some(InviteCommand::Withdraw { id }) => {
            client.withdraw_invitation(id).await?;
            output::result(context.json, &serde_json::json!({"withdrawn": id}), || "withdrawn".to_owned());
        }
    }
    Ok(())
}
