//! What the account shows and chooses, and what it has at the server.

use aegis_common::address::Address;
use aegis_common::reputation::VolumeBand;
use aegis_common::username::is_username;
use aegis_common::wire::account::{
    MeView, PayoutAddressRequest, PrekeyStock, ProfileRequest, Settings, UserView, bounds,
};
use clap::{ArgAction, Args};

use super::{Context, output};
use crate::engine::{EngineError, prekeys};

#[derive(Args, Default)]
pub struct Changes {
    /// What you are called beside your name; empty for nothing.
    #[arg(long)]
    display_name: Option<String>,
    /// Language tag, e.g. `en`; empty for none.
    #[arg(long)]
    locale: Option<String>,
    /// Your own Monero node's URL; empty for none.
    #[arg(long)]
    node_url: Option<String>,
    /// Reach nodes over Tor: yes or no.
    #[arg(long, value_parser = parse_yes, action = ArgAction::Set)]
    tor: Option<bool>,
    /// Be told of changes of escrows: yes or no.
    #[arg(long, value_parser = parse_yes, action = ArgAction::Set)]
    notify_escrows: Option<bool>,
    /// Be told of messages: yes or no.
    #[arg(long, value_parser = parse_yes, action = ArgAction::Set)]
    notify_messages: Option<bool>,
    /// Be told of what happens to your credentials: yes or no.
    #[arg(long, value_parser = parse_yes, action = ArgAction::Set)]
    notify_security: Option<bool>,
}

fn parse_yes(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("yes or no".to_owned()),
    }
}

impl Changes {
    /// What to ask of the server; nothing where nothing changes.
    fn to(&self, settings: &Settings) -> Option<ProfileRequest> {
        let text = |new: &Option<String>, old: &Option<String>| match new {
            Some(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            None => old.clone(),
        };
        let mut changed = Settings {
            use_tor: self.tor.unwrap_or(settings.use_tor),
            monero_node_url: text(&self.node_url, &settings.monero_node_url),
            locale: text(&self.locale, &settings.locale),
            notifications: settings.notifications,
        };
        let told = &mut changed.notifications;
        for (choice, new) in [
            (&mut told.escrows, self.notify_escrows),
            (&mut told.messages, self.notify_messages),
            (&mut told.security, self.notify_security),
        ] {
            *choice = new.unwrap_or(*choice);
        }
        let settings = (changed != *settings).then_some(changed);
        let request = ProfileRequest { display_name: self.display_name.clone(), settings };
        (request.display_name.is_some() || request.settings.is_some()).then_some(request)
    }
}

pub async fn profile(context: &Context, changes: Changes) -> Result<(), EngineError> {
    let client = context.desk()?.client;
    let mut me = client.me().await?;
    if let Some(request) = changes.to(&me.settings) {
        me = client.change_profile(&request).await?;
    }
    output::result(context.json, &me, || profile_text(&me));
    Ok(())
}

fn profile_text(me: &MeView) -> String {
    let yes = |is: bool| if is { "yes" } else { "no" };
    let (user, settings, told) = (&me.user, &me.settings, &me.settings.notifications);
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    [
        ("username", user.username.clone()),
        ("display name", user.display_name.clone()),
        ("role", user.role.wire().to_owned()),
        ("fingerprint", user.fingerprint.to_string()),
        ("payout address", me.payout_address.to_string()),
        ("since", me.created_at.to_string()),
        ("reputation", reputation(user)),
        ("authenticator", yes(me.totp_enabled).to_owned()),
        ("backup codes", me.backup_codes.to_string()),
        ("passkeys", me.passkeys.to_string()),
        ("locale", or_none(&settings.locale)),
        ("node", or_none(&settings.monero_node_url)),
        ("tor", yes(settings.use_tor).to_owned()),
        (
            "told of",
            format!(
                "escrows {}, messages {}, security {}",
                yes(told.escrows),
                yes(told.messages),
                yes(told.security)
            ),
        ),
    ]
    .map(|(name, value)| format!("{name:<15} {value}"))
    .join("\n")
}

fn reputation(user: &UserView) -> String {
    let of = user.reputation;
    let disputes = format!("{} disputed ({} won, {} lost)", of.disputed, of.won, of.lost);
    let traded = match of.volume {
        VolumeBand::None => "nothing",
        VolumeBand::Under1 => "less than 1 XMR",
        VolumeBand::Under10 => "1 to 10 XMR",
        VolumeBand::Under100 => "10 to 100 XMR",
        VolumeBand::Under1000 => "100 to 1000 XMR",
        VolumeBand::From1000 => "1000 XMR or more",
    };
    let day = of.since.strftime("%F");
    let ended = format!("{} released, {} refunded, {} split", of.released, of.refunded, of.split);
    format!("{ended}, {disputes}, {traded} in all, since {day}")
}

pub async fn users(
    context: &Context,
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<(), EngineError> {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !bounds::PREFIX.contains(&prefix.len()) || !plain(prefix) || !after.is_none_or(is_username) {
        let why = "a search has 3 to 32 letters, digits, `_` or `-`";
        return Err(EngineError::Person(why.to_owned()));
    }
    let page = context.desk()?.client.users(prefix, after, limit).await?;
    let line = |user: &UserView| {
        format!(
            "{}  {}  {}  {}  {}",
            user.username,
            user.role.wire(),
            user.fingerprint,
            reputation(user),
            user.display_name
        )
    };
    output::result(context.json, &page, || output::lines(&page.users, line));
    Ok(())
}

pub async fn prekeys(context: &Context, refill: bool, replace: bool) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let stock = match (replace, refill) {
        (true, _) => prekeys::replace(&desk).await?,
        (false, true) => prekeys::refill(&desk, 1).await?,
        (false, false) => desk.client.prekeys().await?,
    };
    let PrekeyStock { one_time_prekeys, ml_kem_prekeys } = stock;
    output::result(context.json, &stock, || {
        format!("{one_time_prekeys} one-time prekeys, {ml_kem_prekeys} ML-KEM prekeys")
    });
    Ok(())
}

/// Where contracts that are made from now on pay.
pub async fn payout_address(context: &Context, address: Address) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let network = desk.keys(|keys| keys.profile().network);
    address.require(network).map_err(|error| EngineError::Person(error.to_string()))?;
    // The server's first: contracts with an address that this program does not know are refused by it, never signed.
    desk.client.set_payout_address(&PayoutAddressRequest { payout_address: address }).await?;
    desk.change_keys(|keys| {
        keys.profile_mut().payout_address = address;
        keys.save()
    })?;
    let document = serde_json::json!({"payoutAddress": address});
    output::result(context.json, &document, || {
        format!("new contracts pay {address}; those made before do not change")
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays_and_an_empty_text_takes_away() {
        let settings = Settings { use_tor: true, locale: Some("en".to_owned()), ..Settings::default() };
        assert!(Changes::default().to(&settings).is_none());
        assert!(Changes { tor: Some(true), ..Changes::default() }.to(&settings).is_none());
        let changes = Changes {
            locale: Some(String::new()),
            notify_messages: Some(false),
            display_name: Some("Al".to_owned()),
            ..Changes::default()
        };
        let request = changes.to(&settings).unwrap();
        let changed = request.settings.unwrap();
        assert_eq!((changed.use_tor, changed.locale), (true, None));
        assert!(changed.notifications.escrows && !changed.notifications.messages);
        assert_eq!(request.display_name.as_deref(), Some("Al"));
    }
}
