//! The session of a home. All its processes share one, and each refresh token works once: so the record is read, used and
//! replaced under a lock. It is in no backup: a refresh token that comes back would end the session.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::login::Tokens;
use super::{Client, ClientError};
use crate::files::{self, FileError};
use crate::keys::{KeyStore, Secret, Vault, VaultError};

const RECORD: &str = "session";

/// A login that is under way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Session {
    /// The server that it is for: its tokens go nowhere else.
    pub(super) server: String,
    pub(super) username: String,
    /// Good until the server says that it is not: clocks differ.
    pub(super) token: Secret,
    /// None from the moment it is used: what becomes of the answer, it is not used again.
    pub(super) refresh_token: Option<Secret>,
}

/// The sealed record of a home's session, and the lock of whoever replaces it.
pub(super) struct SessionStore {
    vault: Vault,
    lock: PathBuf,
}

impl From<VaultError> for ClientError {
    fn from(error: VaultError) -> Self {
        Self::Local(error.to_string())
    }
}

impl From<FileError> for ClientError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Locked(_) => Self::Locked(error.to_string()),
            error => Self::Local(error.to_string()),
        }
    }
}

impl SessionStore {
    pub(super) fn new(home: &Path, keys: &KeyStore) -> Result<Self, ClientError> {
        let folder = home.join("session");
        Ok(Self { vault: keys.vault(&folder)?, lock: folder.join("session.lock") })
    }

    /// A record that can't be read is as good as none: a login makes another.
    fn load(&self) -> Result<Option<Session>, ClientError> {
        match self.vault.open(RECORD) {
            Ok(bytes) => Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok())),
            Err(VaultError::NotAuthentic(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn save(&self, session: &Session) -> Result<(), ClientError> {
        let bytes = serde_json::to_vec(session).map(zeroize::Zeroizing::new);
        Ok(self.vault.seal(RECORD, &bytes.map_err(|error| ClientError::Local(error.to_string()))?)?)
    }
}

impl Client {
    pub(super) fn session_of(&self, Tokens { token, refresh_token }: Tokens) -> Session {
        let (server, username) = (self.base.clone(), self.username.clone());
        Session { server, username, token, refresh_token: Some(refresh_token) }
    }

    /// Waits until no other process is at the session.
    pub(super) async fn lock(&self) -> Result<Option<File>, ClientError> {
        match &self.store {
            Some(store) => Ok(Some(files::wait_for_lock(&store.lock).await?)),
            None => Ok(None),
        }
    }

    /// The session as it stands: the home's, where there is one.
    pub(super) fn kept(&self, held: &Option<Session>) -> Result<Option<Session>, ClientError> {
        let kept = match &self.store {
            Some(store) => store.load()?,
            None => held.clone(),
        };
        Ok(kept.filter(|kept| (&kept.server, &kept.username) == (&self.base, &self.username)))
    }

    /// Durable before anything of it is used.
    pub(super) fn keep(&self, held: &mut Option<Session>, session: Session) -> Result<(), ClientError> {
        if let Some(store) = &self.store {
            store.save(&session)?;
        }
        *held = Some(session);
        Ok(())
    }

    pub(super) fn forget(&self, held: &mut Option<Session>) -> Result<(), ClientError> {
        *held = None;
        Ok(self.store.as_ref().map_or(Ok(()), |store| store.vault.remove(RECORD))?)
    }
}

#[cfg(test)]
mod tests {
    use aegis_common::address::Network;
    use aegis_common::testing::address;

    use super::*;
    use crate::keys::Profile;

    fn session(server: &str) -> Session {
        Session {
            server: server.to_owned(),
            username: "alice".to_owned(),
            token: Secret::new("access-token"),
            refresh_token: Some(Secret::new("refresh-token")),
        }
    }

    #[tokio::test]
    async fn a_session_is_sealed_in_its_home_and_goes_to_no_other_server() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        files::private_dir(&home).unwrap();
        let profile = Profile {
            username: "alice".to_owned(),
            server_url: "http://a/".to_owned(),
            account_password: Secret::new("p"),
            new_password: None,
            network: Network::Regtest,
            payout_address: address(1),
            registered: true,
        };
        let mut keys = KeyStore::create(&home.join("keys"), "a long passphrase", profile).unwrap();
        let client = Client::of_home(&home, &keys).unwrap();
        let mut held = None;
        client.keep(&mut held, session("http://a")).unwrap();
        let bytes = std::fs::read(home.join("session/session.sealed")).unwrap();
        assert!(!bytes.windows(5).any(|window| window == b"token"));
        client.forget_session(&Secret::new("another, which was used")).await.unwrap();
        let again = Client::of_home(&home, &keys).unwrap();
        assert!(again.kept(&None).unwrap() == Some(session("http://a")));

        keys.profile_mut().server_url = "http://b".to_owned();
        assert!(Client::of_home(&home, &keys).unwrap().kept(&None).unwrap().is_none());
        std::fs::write(home.join("session/session.sealed"), [0; 40]).unwrap();
        assert!(client.kept(&None).unwrap().is_none(), "a damaged record is as good as none");
        client.forget(&mut held).unwrap();
        assert!(held.is_none() && !home.join("session/session.sealed").exists());
    }
}
