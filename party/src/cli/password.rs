//! Another password for the account.
//!
//! The new one is kept beside the old one before the server is asked, so that whatever becomes of the answer one of the two
//! holds. That the old one is taken later proves nothing: what sets the new one may still be under way. So both stay until the
//! server takes the new one, or refuses to set it.

use aegis_common::code::Code;
use aegis_common::hash::Hash32;
use aegis_common::identity::{PasswordReset, origin_of};
use aegis_common::time::{Timestamp, to_millis};
use aegis_common::wire::account::{PasswordRequest, ResetRequest, bounds};
use clap::Subcommand;

use super::account::NewPassword;
use super::{Context, output, secrets};
use crate::client::ClientError;
use crate::engine::EngineError;
use crate::engine::desk::Desk;
use crate::keys::{KeyError, Secret};

#[derive(Subcommand)]
pub enum PasswordCommand {
    /// Change it. This home's session goes on; the others end.
    Change(NewPassword),
    /// Set it without the old one, on the word of your signing key. All sessions end.
    Reset(NewPassword),
}

/// How often the server is asked for the same where its answer does not tell.
const TRIES: usize = 3;

/// Whether this request has surely set nothing, and never will: it was not sent, or refused.
fn is_refused(error: &ClientError) -> bool {
    match error {
        ClientError::SecondFactorNeeded(_) | ClientError::Local(_) | ClientError::Locked(_) => true,
        // Whoever is busy may do it yet.
        ClientError::Problem(problem) => error.is_refusal() && problem.status < 500,
        ClientError::Unreachable(_) | ClientError::BadAnswer(_) => false,
    }
}

fn new_password(new: &NewPassword) -> Result<Secret, EngineError> {
    let secret = if new.random {
        Secret::random().map_err(|_| KeyError::NoRandomness)?
    } else {
        secrets::new_secret(new.new_password_file.as_deref(), "AEGIS_NEW_PASSWORD", "New password: ")?
    };
    let text = secret.expose();
    if text.chars().count() < bounds::PASSWORD || text.len() > bounds::PASSWORD_BYTES {
        return Err(EngineError::Person(
            "a password has 12 characters or more, in at most 256 bytes".to_owned(),
        ));
    }
    Ok(secret)
}

/// Once the server has it the store has it too, whatever other processes made of the store meanwhile.
fn keep(desk: &Desk, new: &Secret) -> Result<(), EngineError> {
    desk.change_keys(|keys| {
        keys.profile_mut().set_password(new);
        keys.save()
    })?;
    desk.reread_keys()?;
    match desk.keys(|keys| keys.profile().passwords().contains(new)) {
        true => Ok(()),
        false => Err(EngineError::Person(
            "the account has the new password and the key store has lost it: set another by aegis password reset"
                .to_owned(),
        )),
    }
}

fn drop_refused(desk: &Desk, new: &Secret) -> Result<(), EngineError> {
    desk.change_keys(|keys| {
        keys.profile_mut().drop_password(new);
        keys.save()
    })
}

async fn send(desk: &Desk, command: &PasswordCommand, new: &Secret) -> Result<(), EngineError> {
    match command {
        PasswordCommand::Change(_) => {
            let current = desk.keys(|keys| keys.profile().account_password.expose().to_owned());
            let request = PasswordRequest { current, new: new.expose().to_owned() };
            desk.client.change_password(&request).await?;
        }
        PasswordCommand::Reset(_) => desk.client.reset_password(&reset(desk, new)?).await?,
    }
    Ok(())
}

/// Sets a password that is kept beside the old one. Where it was, or may have been, sent `before`, a refusal says nothing of
/// what became of that: then only the new password itself does, by being taken.
async fn set(
    desk: &Desk,
    command: &PasswordCommand,
    new: &Secret,
    mut before: bool,
) -> Result<(), EngineError> {
    let mut tries = 1..TRIES;
    loop {
        let error = match send(desk, command, new).await {
            Ok(()) => return keep(desk, new),
            Err(EngineError::Client(error)) => error,
            Err(other) => return Err(other),
        };
        let refused = is_refused(&error);
        if before || !refused {
            if desk.client.is_password(new).await.unwrap_or(false) {
                return keep(desk, new);
            }
            // One that is too weak was not taken before either.
            let too_weak = refused && error.code() == Some(Code::WeakPassword);
            if !too_weak && (refused || tries.next().is_none()) {
                return Err(EngineError::PasswordInDoubt(error));
            }
        }
        if refused {
            drop_refused(desk, new)?;
            return Err(error.into());
        }
        before = true;
    }
}

pub async fn password(context: &Context, command: PasswordCommand) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let (PasswordCommand::Change(new) | PasswordCommand::Reset(new)) = &command;
    let new = new_password(new)?;
    let _lock = desk.lock_password().await?;
    desk.reread_keys()?;
    if matches!(command, PasswordCommand::Change(_)) {
        // Whoever can't get in leaves nothing in doubt.
        desk.client.me().await?;
    }
    if let Some(earlier) = desk.keys(|keys| keys.profile().new_password.clone()) {
        // An earlier change was cut off: a third password must not take the place of one that may hold.
        match set(&desk, &command, &earlier, true).await {
            Err(EngineError::Client(error)) if error.code() == Some(Code::WeakPassword) => {}
            done => done?,
        }
    }
    desk.change_keys(|keys| {
        keys.profile_mut().new_password = Some(new.clone());
        keys.save()
    })?;
    set(&desk, &command, &new, false).await?;
    let document = serde_json::json!({"changed": true});
    output::result(context.json, &document, || "changed; the key store has the new one".to_owned());
    Ok(())
}

/// The words that set it, signed now.
fn reset(desk: &Desk, new: &Secret) -> Result<ResetRequest, EngineError> {
    let server = desk.keys(|keys| origin_of(&keys.profile().server_url));
    let words = PasswordReset {
        server: server.ok_or_else(|| EngineError::Person("the server's address has no scheme".to_owned()))?,
        username: desk.keys(|keys| keys.profile().username.clone()),
        password_hash: Hash32::sha256(new.expose().as_bytes()),
        at: to_millis(Timestamp::now()),
    };
    let signature = desk.keys(|keys| words.sign(keys.identity().signing_key()));
    let signature = signature.map_err(|error| EngineError::Person(error.to_string()))?;
    let PasswordReset { server, username, at, .. } = words;
    Ok(ResetRequest { server, username, password: new.expose().to_owned(), at, signature })
}

#[cfg(test)]
mod tests {
    use aegis_common::wire::problem::Problem;

    use super::*;

    #[test]
    fn only_what_was_refused_or_never_sent_has_surely_set_nothing() {
        let problem =
            |status, code| ClientError::Problem(Box::new(Problem { status, ..Problem::new(code, "") }));
        for refused in [
            problem(422, Code::WeakPassword),
            problem(401, Code::BadCredentials),
            problem(401, Code::BadFactor),
            problem(403, Code::BadReset),
            problem(429, Code::RateLimited),
            ClientError::SecondFactorNeeded(""),
        ] {
            assert!(is_refused(&refused), "{refused}");
        }
        for unknown in [
            problem(500, Code::Internal),
            problem(502, Code::Internal),
            problem(503, Code::Busy),
            problem(404, Code::WeakPassword),
            ClientError::Unreachable(String::new()),
            ClientError::BadAnswer(String::new()),
        ] {
            assert!(!is_refused(&unknown), "{unknown}");
        }
    }
}
