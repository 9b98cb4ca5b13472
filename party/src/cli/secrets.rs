//! Secrets that a person gives: by a file, by the environment, or typed unseen.

use std::path::Path;

use super::output;
use crate::client::Codes;
use crate::engine::EngineError;
use crate::keys::Secret;

/// A secret from a file of its own.
pub fn secret_in(path: &Path) -> Result<Secret, EngineError> {
    let bytes = crate::files::read_private(path, 4096)?;
    Ok(Secret::new(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n'])))
}

/// A secret from a file, else the environment, else the person.
pub fn secret(file: Option<&Path>, variable: &str, prompt: &str) -> Result<Secret, EngineError> {
    match (file, std::env::var(variable)) {
        (Some(path), _) => secret_in(path),
        (None, Ok(text)) => Ok(Secret::new(text)),
        (None, Err(_)) => asked(prompt),
    }
}

/// Whether the person types it.
pub fn is_typed(file: Option<&Path>, variable: &str) -> bool {
    file.is_none() && std::env::var_os(variable).is_none()
}

/// A secret that the person types unseen.
pub fn asked(prompt: &str) -> Result<Secret, EngineError> {
    let answer = rpassword::prompt_password(prompt);
    answer.map(Secret::new).map_err(|error| EngineError::Person(format!("nothing was entered: {error}")))
}

/// A secret that is set: where it is typed unseen, twice.
pub fn new_secret(file: Option<&Path>, variable: &str, prompt: &str) -> Result<Secret, EngineError> {
    let secret = secret(file, variable, prompt)?;
    if is_typed(file, variable) && asked("The same again: ")? != secret {
        return Err(EngineError::Person("the two are not the same; nothing was changed".to_owned()));
    }
    Ok(secret)
}

/// Where codes of a second factor come from.
pub fn codes(file: Option<&Path>) -> Result<Codes, EngineError> {
    Ok(match (file, std::env::var("AEGIS_CODE")) {
        (Some(path), _) => Codes::Given(secret_in(path)?),
        (None, Ok(code)) => Codes::Given(Secret::new(code)),
        (None, Err(_)) if output::is_attended() => Codes::Ask(ask_code),
        (None, Err(_)) => Codes::Nobody,
    })
}

fn ask_code() -> Option<Secret> {
    asked("Code of your authenticator, or a backup code: ")
        .ok()
        .filter(|code| !code.expose().trim().is_empty())
}
