//! Second factors.

use aegis_common::ids::PasskeyId;
use aegis_common::wire::account::{BackupCodes, PasskeyView, TotpCode, TotpEnrolment};
use clap::Subcommand;

use super::{Context, output, secrets};
use crate::client::{Client, ClientError};
use crate::engine::EngineError;
use crate::keys::Secret;

#[derive(Subcommand)]
pub enum TotpCommand {
    /// Show a new secret, then ask for a code of it. With --json, and where nobody is there to answer, only the secret:
    /// `aegis totp confirm` follows.
    Enable,
    /// Confirm the new secret with a code of it, and show ten backup codes, once.
    Confirm,
    /// Ask for no code any more. It takes a code, or a backup code.
    Disable,
}

#[derive(Subcommand)]
pub enum PasskeysCommand {
    /// Remove one.
    Remove {
        /// Its id.
        id: PasskeyId,
    },
}

const PROMPT: &str = "Code of the authenticator: ";

fn totp_code(code: &Secret) -> TotpCode {
    TotpCode { code: code.expose().split_whitespace().collect() }
}

/// A code for the command itself. The login comes first: it may need one, too, and each works once.
async fn code_of(client: &Client) -> Result<TotpCode, ClientError> {
    client.me().await?;
    Ok(totp_code(&client.code().await?))
}

/// A URI for authenticators, with the secret that is shown beside it: it may not lead anywhere else.
fn is_sound(enrolment: &TotpEnrolment) -> bool {
    let query = enrolment.uri.strip_prefix("otpauth://totp/").and_then(|rest| rest.split_once('?'));
    let secrets = query.map(|(_, query)| query.split('&').filter_map(|pair| pair.strip_prefix("secret=")));
    secrets.is_some_and(|mut secrets| secrets.next() == Some(&enrolment.secret) && secrets.next().is_none())
}

pub async fn totp(context: &Context, command: TotpCommand) -> Result<(), EngineError> {
    let client = context.desk()?.client;
    match command {
        TotpCommand::Enable => {
            let enrolment = client.enrol_totp().await?;
            if !is_sound(&enrolment) {
                return Err(ClientError::BadAnswer("not the URI of its secret".to_owned()).into());
            }
            let document = serde_json::json!({"secret": enrolment.secret, "uri": enrolment.uri});
            let attended = !context.json && output::is_attended();
            output::result(context.json, &document, || {
                let next = if attended { "" } else { "\nthen: aegis totp confirm" };
                format!(
                    "{}\nsecret  {}\n{}{next}",
                    output::qr(&enrolment.uri),
                    enrolment.secret,
                    enrolment.uri
                )
            });
            if attended {
                // One that was given proved who asks; it is not of the new secret.
                let code = totp_code(&secrets::asked(PROMPT)?);
                print_codes(context, &client.confirm_totp(&code).await?);
            }
        }
        TotpCommand::Confirm => {
            let code = code_of(&client).await?;
            print_codes(context, &client.confirm_totp(&code).await?);
        }
        TotpCommand::Disable => {
            let code = code_of(&client).await?;
            client.disable_totp(&code).await?;
            let document = serde_json::json!({"totp": false});
            output::result(context.json, &document, || "no code is asked any more".to_owned());
        }
    }
    Ok(())
}

pub async fn backup_codes(context: &Context) -> Result<(), EngineError> {
    let codes = context.desk()?.client.make_backup_codes().await?;
    print_codes(context, &codes);
    Ok(())
}

fn print_codes(context: &Context, codes: &BackupCodes) {
    output::result(context.json, codes, || {
        format!("Backup codes, shown this once; each works once:\n{}", codes.codes.join("\n"))
    });
}

pub async fn passkeys(context: &Context, command: Option<PasskeysCommand>) -> Result<(), EngineError> {
    let client = context.desk()?.client;
    match command {
        None => {
            let passkeys = client.passkeys().await?.passkeys;
            let line = |view: &PasskeyView| format!("{}  {}  {}", view.id, view.created_at, view.name);
            output::result(context.json, &passkeys, || match passkeys.as_slice() {
                [] => "There are none. Adding one needs a browser.".to_owned(),
                passkeys => output::lines(passkeys, line),
            });
        }
        Some(PasskeysCommand::Remove { id }) => {
            client.remove_passkey(id).await?;
            output::result(context.json, &serde_json::json!({"removed": id}), || "removed".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_for_an_authenticator_holds_the_secret_beside_it_and_nothing_else() {
        let sound = |uri: &str| {
            is_sound(&TotpEnrolment {
                secret: "ABC".to_owned(),
                uri: uri.to_owned(),
                svg: String::new(),
                png: String::new(),
            })
        };
        assert!(sound("otpauth://totp/Aegis:alice?secret=ABC&issuer=Aegis"));
        for bad in [
            "https://totp/x?secret=ABC",
            "otpauth://hotp/x?secret=ABC",
            "otpauth://totp/x?secret=ABCD",
            "otpauth://totp/x?secret=ABC&secret=D",
            "otpauth://totp/x?issuer=ABC",
            "otpauth://totp/secret=ABC",
        ] {
            assert!(!sound(bad), "{bad}");
        }
    }
}
