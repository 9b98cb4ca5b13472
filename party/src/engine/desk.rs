//! Reading and speaking without a wallet: what the commands of a person and the running program share.
//!
//! One escrow's book is held by one process at a time, by a lock on a file beside it; so `aegis accept` and a running
//! `aegis run` take turns and an author's chain never forks.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};

use aegis_common::code::Code;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::statement::{Act, SignedStatement, Statement, StatementRef};
use aegis_common::hash::Key32;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::wire::escrow::{EscrowView, StatementReceipt, StatementRequest};

use super::EngineError;
use crate::book::{Book, Fault, Pending, is_decision};
use crate::client::{Client, ClientError};
use crate::files;
use crate::keys::{KeyStore, PinCheck, PinSource, PublicKeys, Secret, Vault};

/// A participant's desk: keys, books and the line to the server.
pub struct Desk {
    /// The server.
    pub client: Client,
    keys: RwLock<KeyStore>,
    keys_written: Mutex<(u64, i64, i64)>,
    passphrase: Secret,
    home: PathBuf,
    books: Vault,
}

fn keys_path(home: &Path) -> PathBuf {
    home.join("keys")
}

/// What changes with every write of a file: each replaces it by a new one.
fn written(path: &Path) -> Result<(u64, i64, i64), files::FileError> {
    let meta = std::fs::metadata(path);
    let meta = meta.map_err(|source| files::FileError::Io { path: path.to_owned(), source })?;
    Ok((meta.ino(), meta.mtime(), meta.mtime_nsec()))
}

impl Desk {
    /// Opens the desk in a home folder.
    pub fn open(home: &Path, passphrase: &str) -> Result<Self, EngineError> {
        let keys = KeyStore::open(&keys_path(home), passphrase)?;
        Self::with(home, passphrase, keys)
    }

    /// A desk for keys that were just made or opened.
    pub fn with(home: &Path, passphrase: &str, keys: KeyStore) -> Result<Self, EngineError> {
        let client = Client::of_home(home, &keys)?;
        let books = keys.vault(&home.join("escrows"))?;
        let passphrase = Secret::new(passphrase);
        let keys_written = Mutex::new(written(&keys_path(home))?);
        Ok(Self { client, keys: RwLock::new(keys), keys_written, passphrase, home: home.to_owned(), books })
    }

    /// The home folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Reads from the key store.
    pub fn keys<T>(&self, read: impl FnOnce(&KeyStore) -> T) -> T {
        // A poisoned lock only says that another reader panicked; the store behind it is whole.
        read(&self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn lock_path(&self, name: impl std::fmt::Display) -> PathBuf {
        self.home.join("escrows").join(format!("{name}.lock"))
    }

    /// Waits until no other process changes the account's password.
    pub async fn lock_password(&self) -> Result<File, EngineError> {
        Ok(files::wait_for_lock(&self.lock_path("password")).await?)
    }

    /// Changes the pins. What the server shows at first use never replaces what is known.
    pub fn pin(&self, username: &str, keys: PublicKeys, how: PinSource) -> Result<(), EngineError> {
        self.change_keys(|store| match store.check_pin(username, &keys) {
            PinCheck::Changed(_) if how == PinSource::FirstUse => {
                let why = format!("gives other keys for {username} than those you pinned");
                Err(Fault::Contract(why).into())
            }
            PinCheck::Same(_) if how == PinSource::FirstUse => Ok(()),
            _ => Ok::<_, EngineError>(store.set_pin(username, keys, how)?),
        })
    }

    /// Changes the key store: other processes may have done so since, so it is read again first.
    pub fn change_keys<E: Into<EngineError>>(
        &self,
        change: impl FnOnce(&mut KeyStore) -> Result<(), E>,
    ) -> Result<(), EngineError> {
        // Held for as long as this takes: nothing is waited for with it.
        let _lock = files::lock(&self.lock_path("pins"))?;
        let mut store = KeyStore::open(&keys_path(&self.home), self.passphrase.expose())?;
        change(&mut store).map_err(Into::into)?;
        self.hold_keys(store);
        Ok(())
    }

    fn hold_keys(&self, store: KeyStore) {
        self.client.set_passwords(store.profile().passwords());
        *self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner) = store;
    }

    /// Notes that the new password holds, once the server has taken it.
    pub fn settle_password(&self) -> Result<(), EngineError> {
        let Some(proven) = self.client.proven_password() else { return Ok(()) };
        if self.keys(|keys| keys.profile().new_password.as_ref() != Some(&proven)) {
            return Ok(());
        }
        self.change_keys(|keys| {
            keys.profile_mut().settle_password(&proven);
            keys.save()
        })
    }

    /// Reads the key store again where another process has written it: a pin that is added while `aegis run` is active
    /// counts at once, and so does another password.
    pub fn reread_keys(&self) -> Result<(), EngineError> {
        let path = keys_path(&self.home);
        let written = written(&path)?;
        let mut known = self.keys_written.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *known != written {
            self.hold_keys(KeyStore::open(&path, self.passphrase.expose())?);
            *known = written;
        }
        Ok(())
    }

    fn record(id: EscrowId) -> String {
        format!("book-{id}")
    }

    /// The escrows that have a book.
    pub fn known(&self) -> Result<Vec<EscrowId>, EngineError> {
        let names = self.books.names()?;
        Ok(names.iter().filter_map(|name| name.strip_prefix("book-")?.parse().ok()).collect())
    }

    /// The book as stored, without asking the server; for reading only.
    pub fn stored(&self, id: EscrowId) -> Result<Option<Book>, EngineError> {
        let bytes = self.books.open(&Self::record(id))?;
        let parse = |bytes: zeroize::Zeroizing<Vec<u8>>| {
            serde_json::from_slice(&bytes).map_err(|error| EngineError::Book(error.to_string()))
        };
        bytes.map(parse).transpose()
    }

    /// Changes a book that is known here without asking the server.
    pub async fn amend<T, E: Into<EngineError>>(
        &self,
        id: EscrowId,
        change: impl FnOnce(&mut Book) -> Result<T, E>,
    ) -> Result<T, EngineError> {
        let _lock = files::wait_for_lock(&self.lock_path(id)).await?;
        let unknown =
            || EngineError::Person("this escrow is not known here yet: only after aegis accept".to_owned());
        let mut book = self.stored(id)?.ok_or_else(unknown)?;
        let changed = change(&mut book).map_err(Into::into)?;
        let bytes = serde_json::to_vec(&book).map_err(|error| EngineError::Book(error.to_string()))?;
        self.books.seal(&Self::record(id), &bytes)?;
        Ok(changed)
    }

    /// Signs a dispute from what the book knows and keeps it, to be sent as soon as the server takes it: it must be there to
    /// be carried by another way when the server is away, hides it, or holds back the word before it.
    pub async fn sign_aside(&self, id: EscrowId, act: Act) -> Result<(), EngineError> {
        self.amend(id, |book| -> Result<(), EngineError> {
            let mut waiting = book.pending.iter().map(|pending| &pending.signed).chain(&book.aside);
            if waiting.any(|signed| signed.statement.act == act) {
                return Ok(());
            }
            no_other_waits(book, &act)?;
            let next = book.next(act)?;
            book.aside = Some(match book.take_unsaid(&next) {
                Some(same) => same,
                None => self.sign(next)?,
            });
            Ok(())
        })
        .await
    }

    fn sign(&self, statement: Statement) -> Result<SignedStatement, EngineError> {
        let signed = self.keys(|keys| statement.sign(keys.identity().signing_key()));
        signed.map_err(|error| EngineError::Book(error.to_string()))
    }

    /// Takes hold of one escrow: waits for its lock, brings the book up to date with the server, and sends what the
    /// transcript does not show.
    pub async fn hold(&self, id: EscrowId) -> Result<Held<'_>, EngineError> {
        // Another process may hold the lock through a slow wallet call, or while it waits for the session, which another future of
        // this task may hold.
        let lock = files::wait_for_lock(&self.lock_path(id)).await?;
        self.reread_keys()?;
        let view = self.client.escrow(id).await?;
        let stored = self.stored(id)?.filter(|book| !book.is_blank() || book.contract == view.contract);
        let book = match stored {
            Some(book) => book,
            None => self.new_book(id, &view)?,
        };
        let mut held = Held { desk: self, book, view, _lock: lock };
        held.sync().await?;
        Ok(held)
    }

    fn new_book(&self, id: EscrowId, view: &EscrowView) -> Result<Book, EngineError> {
        let contract = &view.contract;
        let wrong = |why: String| EngineError::Fault(Fault::Contract(why));
        contract.check().map_err(|error| wrong(format!("is not sound: {error}")))?;
        let hash = contract.hash().map_err(|error| wrong(error.to_string()))?;
        if contract.escrow_id != id {
            return Err(wrong("belongs to another escrow".to_owned()));
        }
        let role = self.own_role(contract)?;
        Ok(Book::new(contract.clone(), hash, role))
    }

    /// The role whose keys, name, network and payout address are this participant's own.
    fn own_role(&self, contract: &Contract) -> Result<Role, EngineError> {
        self.keys(|keys| {
            let (public, profile) = (keys.identity().public(), keys.profile());
            let is_me = |role: &Role| {
                let party = contract.party(*role);
                party.identity_key == public.identity_key && party.signing_key == public.signing_key
            };
            let wrong = |why: &str| EngineError::Fault(Fault::Contract(why.to_owned()));
            let role = Role::ALL.into_iter().find(is_me).ok_or_else(|| wrong("does not name your keys"))?;
            if contract.network != profile.network {
                return Err(wrong("is for another network than yours"));
            }
            if contract.party(role).payout_address != profile.payout_address {
                return Err(wrong("does not pay your payout address"));
            }
            Ok(role)
        })
    }

    /// How the keys the contract gives for the other two compare with what is known of them.
    pub fn peers(&self, book: &Book) -> Vec<(String, PublicKeys, PinCheck)> {
        let party = |role: Role| {
            let party = book.contract.party(role);
            let keys = PublicKeys { identity_key: party.identity_key, signing_key: party.signing_key };
            (party.username.clone(), keys, self.keys(|store| store.check_pin(&party.username, &keys)))
        };
        book.role.others().map(party).to_vec()
    }
}

/// One escrow in hand.
pub struct Held<'a> {
    desk: &'a Desk,
    /// Its book.
    pub book: Book,
    /// What the server says of it: believed for progress, never for money.
    pub view: EscrowView,
    _lock: File,
}

impl Held<'_> {
    /// Seals the book.
    pub fn save(&self) -> Result<(), EngineError> {
        let bytes = serde_json::to_vec(&self.book).map_err(|error| EngineError::Book(error.to_string()))?;
        Ok(self.desk.books.seal(&Desk::record(self.book.contract.escrow_id), &bytes)?)
    }

    /// Fetches and verifies what is new; sends again what the transcript does not show yet.
    pub async fn sync(&mut self) -> Result<(), EngineError> {
        if self.view.contract != self.book.contract || self.view.contract_hash != self.book.contract_hash {
            return Err(Fault::Contract("is not the one this program knows".to_owned()).into());
        }
        self.check_pins()?;
        let before = self.book.cursor;
        self.learn().await?;
        let tried = self.book.pending.as_ref().is_some_and(|pending| pending.waits);
        self.send_waiting().await?;
        // Not before its time, as far as the server says: it would have to be signed again for each place that is taken meanwhile.
        if !tried
            && self.book.pending.is_none()
            && self.view.status.is_funded()
            && let Some(aside) = self.book.aside.take()
        {
            self.resume(aside)?;
            self.send_waiting().await?;
        }
        // Until the own first word there is nothing to hold the server to: a false contract must not stay.
        if self.book.cursor != before && !self.book.is_blank() {
            self.save()?;
        }
        match &self.book.pending {
            Some(pending) => Err(Fault::Withheld((&pending.signed.statement).into()).into()),
            None => Ok(()),
        }
    }

    /// Sends what waits, and looks whether the transcript shows it.
    async fn send_waiting(&mut self) -> Result<(), EngineError> {
        if self.book.pending.is_none() {
            return Ok(());
        }
        let waits = self.book.pending.as_ref().is_some_and(|pending| pending.waits);
        match self.send().await {
            // Too early: it waits on.
            Err(_) if waits && self.book.pending.is_none() && self.book.aside.is_some() => return Ok(()),
            sent => sent?,
        };
        // It takes its place in the chain before anything else is said: the next statement follows it.
        self.view = self.desk.client.escrow(book_id(&self.book)).await?;
        self.follow().await?;
        if self.book.pending.is_some() {
            self.relearn().await?;
        }
        Ok(())
    }

    /// Signs a statement, or gives it as it was signed before.
    fn signed(&mut self, next: Statement) -> Result<SignedStatement, EngineError> {
        match self.book.take_unsaid(&next) {
            Some(same) => Ok(same),
            None => self.desk.sign(next),
        }
    }

    /// What was signed aside waits for the server now: as it was told to others, unless its place has been taken since.
    fn resume(&mut self, aside: SignedStatement) -> Result<(), EngineError> {
        let next = self.book.next(aside.statement.act.clone())?;
        let fits = (next.seq, next.prev) == (aside.statement.seq, aside.statement.prev);
        let signed = match fits {
            true => aside,
            false => self.signed(next)?,
        };
        self.book.pending = Some(Pending { signed, view_key: None, waits: true });
        self.save()
    }

    /// Follows the transcript. Where that can't be done, or leads elsewhere than the server says, a statement may have
    /// been withheld when its turn was: then the whole transcript is read again. No lie of a day stays in the book.
    async fn learn(&mut self) -> Result<(), EngineError> {
        let before = self.book.cursor;
        let followed = self.follow().await;
        if before == 0 {
            return followed;
        }
        let setup = self.book.setup();
        let elsewhere =
            (setup.stage(), setup.rounds().attempt()) != (self.view.setup.stage, self.view.setup.attempt);
        match followed {
            // Read from its beginning, the transcript names the statement that is wrong rather than one that misses it.
            Err(EngineError::Fault(fault)) => match self.relearn().await {
                // An entry that can't be read is named as well; where there is no answer the first fault is what is known.
                Err(EngineError::Client(error)) if !matches!(error, ClientError::BadAnswer(_)) => {
                    Err(fault.into())
                }
                learnt => learnt,
            },
            Err(other) => Err(other),
            // The server's version only grows: a position above that of the view was never a true one.
            Ok(()) if elsewhere || before > self.view.version => self.relearn().await,
            Ok(()) => Ok(()),
        }
    }

    async fn follow(&mut self) -> Result<(), EngineError> {
        follow(self.desk, &mut self.book).await
    }

    async fn relearn(&mut self) -> Result<(), EngineError> {
        let mut anew = self.book.anew();
        follow(self.desk, &mut anew).await?;
        Ok(self.book.adopt(anew)?)
    }

    fn check_pins(&self) -> Result<(), EngineError> {
        for (name, _, check) in self.desk.peers(&self.book) {
            if let PinCheck::Changed(_) = check {
                let why = format!("gives other keys for {name} than those you pinned");
                return Err(Fault::Contract(why).into());
            }
        }
        Ok(())
    }

    /// Says something: signed, sealed in the book, then sent until the server acknowledges or refuses it.
    pub async fn say(&mut self, act: Act, view_key: Option<Key32>) -> Result<StatementReceipt, EngineError> {
        if self.book.pending.is_some() {
            self.sync().await?;
        }
        let book = &self.book;
        if matches!(act, Act::Dispute { .. }) {
            no_other_waits(book, &act)?;
        }
        let statement = book.chains().next(&book.contract, book.contract_hash, book.role, act);
        let signed = self.signed(statement)?;
        self.book.pending = Some(Pending { signed, view_key, waits: false });
        self.save()?;
        let receipt = self.send().await?;
        // What was taken must appear in the transcript.
        self.view = self.desk.client.escrow(book_id(&self.book)).await?;
        Box::pin(self.sync()).await?;
        Ok(receipt)
    }

    /// The receipt of what this person said last, where it was this very thing: a command whose answer was lost is given
    /// again, and is then not said twice.
    pub async fn said(&mut self, act: &Act) -> Result<Option<StatementReceipt>, EngineError> {
        let newest =
            self.book.find(self.book.role, is_said_by_person).filter(|signed| signed.statement.act == *act);
        let Some(signed) = newest else { return Ok(None) };
        let hash = signed.statement.hash().map_err(|error| EngineError::Book(error.to_string()))?;
        self.view = self.desk.client.escrow(book_id(&self.book)).await?;
        Ok(Some(StatementReceipt { hash, version: self.view.version, status: self.view.status }))
    }

    async fn send(&mut self) -> Result<StatementReceipt, EngineError> {
        let Some(Pending { signed, view_key, waits }) = self.book.pending.clone() else {
            return Err(EngineError::Book("nothing to send".to_owned()));
        };
        let own = signed.statement.hash().map_err(|error| EngineError::Book(error.to_string()))?;
        let statement = StatementRef::from(&signed.statement);
        let body = StatementRequest { signed, view_key };
        match self.desk.client.post(book_id(&self.book), &body).await {
            Ok(receipt) if receipt.hash == own => Ok(receipt),
            Ok(_) => {
                let error = ClientError::BadAnswer("a receipt for another statement".to_owned());
                Err(EngineError::NotTaken { statement, error })
            }
            Err(error) => {
                if error.refuses_statement() {
                    // A dispute may have to wait for a payment to be final.
                    if waits && error.code() == Some(Code::WrongState) && !self.view.status.is_over() {
                        self.book.set_aside_again();
                    } else {
                        self.book.refuse();
                    }
                    self.save()?;
                }
                match error {
                    ClientError::Unreachable(_) => Err(error.into()),
                    error => Err(EngineError::NotTaken { statement, error }),
                }
            }
        }
    }
}

fn is_said_by_person(act: &Act) -> bool {
    is_decision(act) || matches!(act, Act::Evidence { .. })
}

/// One dispute waits at a time: another one would be a second word for its place.
fn no_other_waits(book: &Book, act: &Act) -> Result<(), EngineError> {
    let waiting = book.pending.iter().map(|pending| &pending.signed).chain(&book.aside);
    let mut acts = waiting.map(|signed| &signed.statement.act);
    if acts.any(|waiting| matches!(waiting, Act::Dispute { .. }) && waiting != act) {
        let why = "another dispute of yours waits for the server; aegis tell prints it";
        return Err(EngineError::Person(why.to_owned()));
    }
    Ok(())
}

/// Reads the transcript from where the book stands.
async fn follow(desk: &Desk, book: &mut Book) -> Result<(), EngineError> {
    loop {
        let page = desk.client.transcript(book_id(book), book.cursor).await?;
        let entries: Vec<_> = page.entries.into_iter().map(|entry| (entry.version, entry.signed)).collect();
        book.absorb(&entries)?;
        if page.next.is_none() || entries.is_empty() {
            return Ok(());
        }
    }
}

fn book_id(book: &Book) -> EscrowId {
    book.contract.escrow_id
}
