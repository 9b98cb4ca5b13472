//! One wallet file per escrow and setup attempt, many files in one process. Every step is on disk before its result
//! is handed out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_common::address::Address;
use aegis_common::hash::{Hash32, Key32};
use tokio::sync::{Mutex, MutexGuard};
use zeroize::Zeroizing;

use super::error::WalletError;
use super::fee::Priority;
use super::guard::NonceGuard;
use super::name::WalletName;
use super::process::{WalletAccess, WalletProcess, known_version};
use super::replies::{
    Balance, Described, Destination, IncomingTransfer, MadeTxset, MultisigStatus, SignedTxset,
};
use super::rpc::WalletRpc;
use crate::files;
use crate::keys::Secret;

/// What a setup round gives: a message for the others, and after the last round the escrow's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundOutput {
    /// To be stored, then sent. Of no use once the address is there.
    pub message: String,
    /// The final address, after the third round.
    pub address: Option<Address>,
}

pub(super) struct State {
    process: Option<WalletProcess>,
    pub(super) rpc: Arc<WalletRpc>,
    pub(super) open: Option<WalletName>,
    /// A call went unanswered: the process may be stuck, and what it holds is unknown.
    sick: bool,
}

/// All of a participant's escrow wallets. One [`Session`] at a time; others wait.
pub struct MultisigWallet {
    state: Mutex<State>,
    pub(super) password: Secret,
    pub(super) wallet_dir: Option<PathBuf>,
    guard: NonceGuard,
}

impl fmt::Debug for MultisigWallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MultisigWallet")
    }
}

impl MultisigWallet {
    /// Starts or reaches the wallet program. `password` is that of the wallet files; `marks` is the folder of the
    /// [`NonceGuard`].
    pub async fn start(access: WalletAccess, password: Secret, marks: &Path) -> Result<Self, WalletError> {
        let guard = NonceGuard::new(marks)?;
        let (process, rpc, wallet_dir) = match access {
            WalletAccess::Own(options) => {
                let wallet_dir = options.wallet_dir();
                let process = WalletProcess::start(options).await?;
                let rpc = Arc::clone(process.rpc());
                (Some(process), rpc, Some(wallet_dir))
            }
            WalletAccess::Given { url, login } => {
                let rpc = WalletRpc::new(&url, Some(login))?;
                known_version(rpc.get_version().await?)?;
                (None, Arc::new(rpc), None)
            }
        };
        let state = Mutex::new(State { process, rpc, open: None, sick: false });
        Ok(Self { state, password, wallet_dir, guard })
    }

    /// Whether the file exists; `None` where the wallet runs elsewhere.
    pub fn exists(&self, name: &WalletName) -> Option<bool> {
        self.wallet_dir.as_ref().map(|folder| folder.join(format!("{name}.keys")).exists())
    }

    /// A session on an existing wallet. Free when it is the open one; otherwise that one is saved and closed and this
    /// one opened, 0.6 to 3 s of one core. So finish with one escrow before turning to the next.
    pub async fn session(&self, name: &WalletName) -> Result<Session<'_>, WalletError> {
        let mut state = self.ready().await?;
        if state.open.as_ref() != Some(name) {
            let mut opened = self.open(&mut state, name).await;
            if matches!(opened, Err(WalletError::CannotOpen)) {
                // The wallet gives one answer to whatever went wrong, also to a file that it still holds itself. Only that of
                // a process that holds nothing says that the file is lost.
                state.sick = true;
                heal(&mut state).await?;
                opened = self.open(&mut state, name).await;
            }
            opened?;
        }
        Ok(Session { wallet: self, state, name: name.clone() })
    }

    /// The wallet opens a file beside the one that is open and drops that only when it succeeds; so that one is closed
    /// first, and what fails in saving it is an error of its own.
    async fn open(&self, state: &mut State, name: &WalletName) -> Result<(), WalletError> {
        close(state).await?;
        let opened = state.rpc.open_wallet(&name.to_string(), &self.password).await;
        settled(state, opened)?;
        state.open = Some(name.clone());
        Ok(())
    }

    /// Creates the wallet (1 to 5 s) and starts a session on it; [`WalletError::WalletExists`] if the name is taken.
    pub async fn create(&self, name: &WalletName) -> Result<Session<'_>, WalletError> {
        // Asking the wallet costs two seconds even for a name that is taken.
        if self.exists(name) == Some(true) {
            return Err(WalletError::WalletExists);
        }
        let mut state = self.ready().await?;
        close(&mut state).await?;
        let created = state.rpc.create_wallet(&name.to_string(), &self.password).await;
        settled(&mut state, created)?;
        state.open = Some(name.clone());
        let mut session = Session { wallet: self, state, name: name.clone() };
        session.make_durable().await?;
        Ok(session)
    }

    /// Saves the open wallet and ends our own process.
    pub async fn stop(self) -> Result<(), WalletError> {
        let state = self.state.into_inner();
        match state.process {
            Some(process) => process.stop().await,
            None if state.open.is_some() => state.rpc.close_wallet(true).await,
            None => Ok(()),
        }
    }

    async fn ready(&self) -> Result<MutexGuard<'_, State>, WalletError> {
        let mut state = self.state.lock().await;
        heal(&mut state).await?;
        Ok(state)
    }
}

/// Starts our process anew where it died or may be stuck.
async fn heal(state: &mut State) -> Result<(), WalletError> {
    let State { process, rpc, open, sick } = state;
    if let Some(process) = process
        && (*sick || !process.is_running())
    {
        *open = None;
        process.restart().await?;
        *rpc = Arc::clone(process.rpc());
    }
    *sick = false;
    Ok(())
}

/// Saves and closes whatever wallet is open; one that somebody else runs may hold one that we know nothing of.
async fn close(state: &mut State) -> Result<(), WalletError> {
    state.open = None;
    let closed = state.rpc.close_wallet(true).await;
    match settled(state, closed) {
        Err(WalletError::NoWalletOpen) => Ok(()),
        other => other,
    }
}

/// After opening, making or closing a wallet: where that did not plainly succeed or plainly fail, what the process holds is
/// unknown, and the next session starts it anew.
fn settled<T>(state: &mut State, result: Result<T, WalletError>) -> Result<T, WalletError> {
    let plain = [WalletError::CannotOpen, WalletError::NoWalletOpen, WalletError::WalletExists];
    if let Err(error) = &result {
        state.sick |=
            plain.iter().all(|plain| std::mem::discriminant(plain) != std::mem::discriminant(error));
    }
    result
}

/// Remembers an unanswered call: the next session restarts our process and opens its wallet anew.
pub(super) fn note<T>(state: &mut State, result: Result<T, WalletError>) -> Result<T, WalletError> {
    if let Err(WalletError::Timeout { .. } | WalletError::Unreachable(_) | WalletError::NoWalletOpen) = result
    {
        state.sick = true;
        state.open = None;
    }
    result
}

/// Exclusive use of one open wallet. Drop it soon: other escrows wait. After an unanswered call start another.
pub struct Session<'a> {
    pub(super) wallet: &'a MultisigWallet,
    pub(super) state: MutexGuard<'a, State>,
    pub(super) name: WalletName,
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.name)
    }
}

/// Runs one call and notes whether it was answered.
macro_rules! ask {
    ($session:expr, $call:ident ( $($arg:expr),* )) => {{
        let result = $session.rpc()?.$call($($arg),*).await;
        note(&mut $session.state, result)
    }};
}

impl Session<'_> {
    fn rpc(&self) -> Result<Arc<WalletRpc>, WalletError> {
        if self.state.open.as_ref() != Some(&self.name) {
            return Err(WalletError::NoWalletOpen);
        }
        Ok(Arc::clone(&self.state.rpc))
    }

    /// The wallet writes and renames but never syncs (`wallet2::store_to`), so we do.
    pub(super) async fn make_durable(&mut self) -> Result<(), WalletError> {
        ask!(self, store())?;
        if let Some(folder) = &self.wallet.wallet_dir {
            files::sync_file(&folder.join(self.name.to_string()))?;
            files::sync_file(&folder.join(format!("{}.keys", self.name)))?;
            files::sync_dir(folder)?;
        }
        Ok(())
    }

    /// How far the setup has come. Check threshold 2 and total 3.
    pub async fn status(&mut self) -> Result<MultisigStatus, WalletError> {
        ask!(self, is_multisig())
    }

    /// Round 1: repeatable until round 2 is made.
    pub async fn prepare(&mut self) -> Result<String, WalletError> {
        ask!(self, prepare_multisig())
    }

    /// Round 2 from the two others' first messages; once. A damaged message leaves the wallet as it was.
    ///
    /// The wallet writes its "multisig enabled" mark to disk only with this call, and as it stands in memory: a wallet
    /// that was closed after [`Session::prepare`] has forgotten it, makes its keys all the same, and refuses every later
    /// step with −48. So round 1, which sets the mark and can be repeated, is repeated here.
    pub async fn make(&mut self, others: &[&str; 2]) -> Result<String, WalletError> {
        self.prepare().await?;
        let message = ask!(self, make_multisig(others, &self.wallet.password))?;
        self.make_durable().await?;
        Ok(message)
    }

    /// Round 3, and the closing step with the others' third messages, which gives the address; each once.
    pub async fn exchange(&mut self, others: &[&str; 2]) -> Result<RoundOutput, WalletError> {
        let (message, address) = ask!(self, exchange_multisig_keys(others, &self.wallet.password))?;
        self.make_durable().await?;
        Ok(RoundOutput { message, address })
    }

    /// The escrow's three addresses: (0,0) payment, (0,1) seller's deposit, (0,2) buyer's deposit. Only when ready.
    pub async fn addresses(&mut self) -> Result<[Address; 3], WalletError> {
        if !self.status().await?.ready {
            return Err(WalletError::NotReady);
        }
        // Subaddresses exist for the wallet's calls only once they were created there (−15 "out of bound").
        for _ in 0..2 {
            let result = ask!(self, get_subaddresses(&[0, 1, 2]));
            match result {
                Err(WalletError::Rpc { code: -15, .. }) => {}
                other => return three(other?),
            }
            ask!(self, create_address("deposit"))?;
        }
        self.make_durable().await?;
        three(ask!(self, get_subaddresses(&[0, 1, 2]))?)
    }

    /// The shared private view key, which the server is given.
    pub async fn view_key(&mut self) -> Result<Zeroizing<[u8; 32]>, WalletError> {
        ask!(self, view_key())
    }

    /// Reads new blocks.
    pub async fn refresh(&mut self) -> Result<u64, WalletError> {
        ask!(self, refresh())
    }

    /// Blocks the wallet has read: the newest one's height plus one.
    pub async fn height(&mut self) -> Result<u64, WalletError> {
        ask!(self, get_height())
    }

    /// The balance as of the last refresh.
    pub async fn balance(&mut self) -> Result<Balance, WalletError> {
        ask!(self, get_balance())
    }

    /// Every output received, as of the last refresh.
    pub async fn incoming(&mut self) -> Result<Vec<IncomingTransfer>, WalletError> {
        ask!(self, incoming_transfers())
    }

    /// Lets the wallet spend these outputs and no others, until it is told otherwise. Without it a sweep takes everything,
    /// and anybody can send an escrow dust. Call it after [`Session::import`]: an output whose key image the wallet
    /// does not know it does not choose anyway. It binds what this wallet builds; what it signs
    /// for others, if at all, by key images that they can make up.
    pub async fn spend_only(
        &mut self,
        counts: impl Fn(&IncomingTransfer) -> bool,
    ) -> Result<(), WalletError> {
        for output in self.incoming().await? {
            let frozen = !counts(&output);
            if !output.spent && !output.key_image.is_empty() && output.frozen != frozen {
                ask!(self, set_frozen(&output.key_image, frozen))?;
            }
        }
        Ok(())
    }

    /// The key images of some outputs. Without those that several outputs have by the wallet's word: it takes them from the other
    /// signers, who can make one up.
    pub async fn images(
        &mut self,
        of: impl Fn(&IncomingTransfer) -> bool,
    ) -> Result<BTreeSet<String>, WalletError> {
        let outputs = self.incoming().await?;
        let (own, others): (Vec<_>, Vec<_>) = outputs.into_iter().partition(of);
        let others: BTreeSet<String> = others.into_iter().map(|output| output.key_image).collect();
        Ok(own.into_iter().map(|output| output.key_image).filter(|image| !others.contains(image)).collect())
    }

    /// The block times, in seconds since 1970, of the transactions that paid this wallet, as of the last refresh. Without
    /// miners' rewards and what was locked.
    pub async fn paid_at(&mut self) -> Result<BTreeMap<Hash32, u64>, WalletError> {
        let transfers = ask!(self, get_transfers())?;
        let ordinary = transfers.incoming.into_iter().filter(|t| t.kind == "in" && t.unlock_time == 0);
        Ok(ordinary.map(|transfer| (transfer.txid, transfer.timestamp)).collect())
    }

    /// Fresh nonces, durably; clears the mark of used ones. All earlier exports of this wallet are stale.
    pub async fn export(&mut self) -> Result<String, WalletError> {
        let info = ask!(self, export_multisig_info())?;
        self.make_durable().await?;
        self.wallet.guard.clear(&self.name)?;
        Ok(info)
    }

    /// Takes the cosigner's export (or both others'). The number of outputs known. Refresh before.
    pub async fn import(&mut self, infos: &[&str]) -> Result<u64, WalletError> {
        let outputs = ask!(self, import_multisig_info(infos))?;
        self.make_durable().await?;
        Ok(outputs)
    }

    /// Whether this wallet's nonces went into a transaction since its last export.
    pub fn nonces_used(&self) -> bool {
        self.wallet.guard.is_used(&self.name)
    }

    /// Builds a payout with change to the escrow; one build per export, else [`WalletError::NoncesUsed`]. Outputs for which
    /// no export was imported are left out without a word.
    pub async fn build_transfer(
        &mut self,
        to: &[Destination],
        priority: Priority,
    ) -> Result<MadeTxset, WalletError> {
        self.wallet.guard.claim(&self.name)?;
        let made = ask!(self, transfer_multisig(to, priority));
        self.settle(made).await
    }

    /// Adds this wallet's signature; once per export, else [`WalletError::NoncesUsed`]. The caller has compared
    /// [`Session::describe`] with the contract, and stores the result before it does anything else with it.
    pub async fn sign(&mut self, txset: &str) -> Result<SignedTxset, WalletError> {
        self.wallet.guard.claim(&self.name)?;
        let signed = ask!(self, sign_multisig(txset));
        self.settle(signed).await
    }

    /// The secret keys of a transaction that this wallet signed, as in [`MadeTxset`].
    pub async fn tx_keys(&mut self, txid: &Hash32) -> Result<Vec<Key32>, WalletError> {
        ask!(self, get_tx_key(txid))
    }

    /// After a build or signature: the wallet's own state durable, or the nonces free again if nothing came out.
    async fn settle<T>(&mut self, result: Result<T, WalletError>) -> Result<T, WalletError> {
        match &result {
            Ok(_) => self.make_durable().await?,
            Err(e) if e.is_refusal() && !e.needs_fresh_export() => self.wallet.guard.clear(&self.name)?,
            // Unknown outcome, or stale anyway: the mark stays, a fresh export is needed.
            Err(_) => {}
        }
        result
    }

    /// What each transaction of the set does. Recipients come in any order.
    pub async fn describe(&mut self, txset: &str) -> Result<Vec<Described>, WalletError> {
        ask!(self, describe_transfer(txset))
    }

    /// Broadcasts; harmless to repeat.
    pub async fn submit(&mut self, txset: &str) -> Result<Vec<Hash32>, WalletError> {
        ask!(self, submit_multisig(txset))
    }

    /// Broadcasts a set that another signer completed, and forgets it: the wallet takes the set's word for what it spends,
    /// and would hold the escrow's outputs for spent by any transaction.
    pub async fn submit_foreign(mut self, txset: &str) -> Result<Vec<Hash32>, WalletError> {
        self.make_durable().await?;
        let rpc = self.rpc()?;
        let sent = note(&mut self.state, rpc.submit_multisig(txset).await);
        // Also where no answer came: a wallet of somebody else's process would be saved with the next one that is opened.
        self.state.open = None;
        note(&mut self.state, rpc.close_wallet(false).await).and(sent)
    }
}

fn three(addresses: Vec<Address>) -> Result<[Address; 3], WalletError> {
    <[Address; 3]>::try_from(addresses).map_err(|_| WalletError::BadReply {
        method: "get_address",
        detail: "not three addresses".to_owned(),
    })
}
