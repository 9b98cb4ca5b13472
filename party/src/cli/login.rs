//! Logging in and out, and what the server has noted of it.

use aegis_common::ids::SessionId;
use aegis_common::wire::account::{AuditEntry, SessionView};
use clap::Subcommand;

use super::{Context, output};
use crate::engine::EngineError;

#[derive(Subcommand)]
pub enum SessionsCommand {
    /// End one.
    End {
        /// Its id.
        id: SessionId,
    },
    /// End all, this one too.
    EndAll,
}

pub async fn login(context: &Context) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let done = desk.client.login().await;
    desk.settle_password()?;
    done?;
    let username = desk.keys(|keys| keys.profile().username.clone());
    let document = serde_json::json!({"username": username, "loggedIn": true});
    output::result(context.json, &document, || format!("logged in as {username}"));
    Ok(())
}

pub async fn logout(context: &Context) -> Result<(), EngineError> {
    let was = context.desk()?.client.logout().await?;
    let text = || if was { "logged out" } else { "there was no session" }.to_owned();
    output::result(context.json, &serde_json::json!({"loggedOut": was}), text);
    Ok(())
}

pub async fn sessions(context: &Context, command: Option<SessionsCommand>) -> Result<(), EngineError> {
    let client = context.desk()?.client;
    match command {
        None => {
            let sessions = client.sessions().await?.sessions;
            output::result(context.json, &sessions, || output::lines(&sessions, session_line));
        }
        Some(SessionsCommand::End { id }) => {
            client.end_session(id).await?;
            output::result(context.json, &serde_json::json!({"ended": id}), || "ended".to_owned());
        }
        Some(SessionsCommand::EndAll) => {
            client.end_sessions().await?;
            output::result(context.json, &serde_json::json!({"ended": "all"}), || "all are ended".to_owned());
        }
    }
    Ok(())
}

fn session_line(view: &SessionView) -> String {
    let SessionView { id, device, network, used_at, .. } = view;
    let current = if view.current { "  (this one)" } else { "" };
    format!("{id}  {used_at}  {network}  {device}{current}")
}

pub async fn audit(context: &Context, before: Option<i64>, limit: u32) -> Result<(), EngineError> {
    let page = context.desk()?.client.audit(before, limit).await?;
    let line = |entry: &AuditEntry| {
        let AuditEntry { seq, at, kind, network, detail } = entry;
        format!("{seq}  {at}  {kind}  {}  {detail}", network.as_deref().unwrap_or("-"))
    };
    output::result(context.json, &page, || output::lines(&page.entries, line));
    Ok(())
}
