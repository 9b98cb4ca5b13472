//! A little HTTP server that answers by path and body, whatever it is asked.

#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use aegis::engine::desk::Desk;
use aegis::keys::{KeyStore, Profile, Secret};
use aegis_common::address::Network;
use aegis_common::escrow::contract::Contract;
use aegis_common::ids::SessionId;
use aegis_common::reputation::Tally;
use aegis_common::testing::{Cast, START, address, contract};
use aegis_common::wire::account::{AccountRole, LoggedIn, LoginAnswer, Reputation, UserView};
use uuid::Uuid;

pub const PASSPHRASE: &str = "a long passphrase";

/// The account of the home's owner.
pub fn user() -> UserView {
    let Cast { buyer, .. } = Cast::default();
    UserView {
        id: buyer.party.user_id,
        username: buyer.party.username,
        display_name: String::new(),
        role: AccountRole::User,
        identity_key: buyer.party.identity_key,
        fingerprint: buyer.party.fingerprint,
        signing_key: buyer.party.signing_key,
        reputation: Reputation::of(&Tally::default(), START),
    }
}

/// A session's tokens.
pub fn tokens(token: &str, refresh_token: &str) -> LoggedIn {
    LoggedIn {
        token: token.to_owned(),
        expires_at: START,
        refresh_token: refresh_token.to_owned(),
        refresh_expires_at: START,
        session: SessionId(Uuid::nil()),
        user: user(),
    }
}

/// What a login is answered with.
pub fn token() -> String {
    serde_json::to_string(&LoginAnswer::LoggedIn(Box::new(tokens("t", "r")))).unwrap()
}

/// What is asked.
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The token it comes with.
    pub bearer: Option<String>,
    pub body: Vec<u8>,
}

/// Answers until the test ends.
pub struct Liar {
    /// Its base address.
    pub url: String,
}

impl Liar {
    /// `answer` gives status and body for a path.
    pub fn start(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::reading(move |target, _| Some(answer(target.split('?').next().unwrap_or_default())))
    }

    /// `answer` gives status and body for a path with its query and a body; `None` closes the connection.
    pub fn reading(answer: impl Fn(&str, &[u8]) -> Option<(u16, String)> + Send + Sync + 'static) -> Self {
        Self::serving(move |request| {
            answer(&request.target, &request.body).map(|(status, body)| (status, body.into_bytes()))
        })
    }

    /// `answer` gives status and body; `None` closes the connection.
    pub fn serving(answer: impl Fn(&Request) -> Option<(u16, Vec<u8>)> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || serve(stream, &*answer));
            }
        });
        Self { url }
    }
}

fn serve(stream: TcpStream, answer: &impl Fn(&Request) -> Option<(u16, Vec<u8>)>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let mut words = line.split(' ').map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let (mut length, mut bearer) = (0, None);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            if header.trim().is_empty() {
                break;
            }
            let (name, value) = header.split_once(':')?;
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
            if name.eq_ignore_ascii_case("authorization") {
                bearer = value.trim().strip_prefix("Bearer ").map(str::to_owned);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (status, body) = answer(&Request { method, target, bearer, body })?;
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok()?;
    }
}

/// A home with keys.
pub fn home(server_url: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    aegis::files::private_dir(&home).unwrap();
    let profile = Profile {
        username: "buyer".to_owned(),
        server_url: server_url.to_owned(),
        account_password: Secret::new("a password"),
        new_password: None,
        network: Network::Regtest,
        payout_address: address(1),
        registered: true,
    };
    KeyStore::create(&home.join("keys"), PASSPHRASE, profile).unwrap();
    (folder, home)
}

/// A contract with the desk's owner as buyer.
pub fn contract_of(desk: &Desk) -> Contract {
    let keys = desk.keys(|keys| keys.identity().public());
    let mut contract = contract();
    contract.buyer.identity_key = keys.identity_key;
    contract.buyer.signing_key = keys.signing_key;
    contract.buyer.fingerprint = keys.fingerprint();
    contract.buyer.payout_address = address(1);
    contract
}

/// A good answer.
pub fn json<T: serde::Serialize>(value: T) -> Option<(u16, String)> {
    Some((200, serde_json::to_string(&value).unwrap()))
}
