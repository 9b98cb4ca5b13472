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
use aegis_common::testing::{Cast, START, address, contract};
use aegis_common::wire::account::{AccountRole, LoginResponse, UserView};

pub const PASSPHRASE: &str = "a long passphrase";

/// What a login is answered with.
pub fn token() -> String {
    let Cast { buyer, .. } = Cast::default();
    let user = UserView {
        id: buyer.party.user_id,
        username: buyer.party.username,
        role: AccountRole::User,
        identity_key: buyer.party.identity_key,
        fingerprint: buyer.party.fingerprint,
        signing_key: buyer.party.signing_key,
    };
    let answer = LoginResponse { token: "t".to_owned(), expires_at: START, user };
    serde_json::to_string(&answer).unwrap()
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

fn serve(stream: TcpStream, answer: &impl Fn(&str, &[u8]) -> Option<(u16, String)>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let target = line.split(' ').nth(1)?.to_owned();
        let mut length = 0;
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
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (status, body) = answer(&target, &body)?;
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok()?;
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
