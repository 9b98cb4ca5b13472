//! The composition root: from a configuration to a running server.

mod actors;
mod housekeeping;
pub mod keys;
pub mod routes;
pub mod status;
pub(crate) mod successors;

use std::fs::DirBuilder;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use actix_cors::Cors;
use actix_web::dev::Server;
use actix_web::middleware::{Compress, from_fn};
use actix_web::{App, HttpServer, web};
use aegis_common::address::Network;
use aegis_common::identity::origin_of;
use aegis_common::time::{Clock, SignedDuration};
use anyhow::{Context, bail};
use housekeeping::House;
use serde::Deserialize;
use successors::Successors;
use tokio::signal::unix::{SignalKind, signal};
use tracing_actix_web::TracingLogger;

use crate::accounts::{Accounts, Passkeys, Policy};
use crate::actors::ActorHandles;
use crate::actors::sessions::message::{CloseAll, SessionOver};
use crate::api::State;
use crate::api::asyncapi;
use crate::api::docs::{self, Description, FeedDescription};
use crate::api::envelope::envelope;
use crate::api::limits::RateLimits;
use crate::api::tickets::Tickets;
use crate::api::trace::RequestSpan;
use crate::arbiters::{Arbiters, Usual};
use crate::config::{Config, Http};
use crate::crypto::Keyring;
use crate::crypto::breached::Breached;
use crate::crypto::password::Passwords;
use crate::escrows::{ArbiterTerms, Drafts, Escrows, PlatformTerms, Terms};
use crate::integrations::{Courier, Integrations};
use crate::market::{self, Market};
use crate::outside::{Door, System};
use crate::store::{Store, StoreOptions};
use crate::ws::Timing;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// What stands before anything runs: files and database.
pub struct Ground {
    /// The database.
    pub store: Store,
    /// Accounts.
    pub accounts: Accounts,
    /// The keys that seal.
    pub keyring: Arc<Keyring>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Ground {
    /// Makes or opens the data directory, the secrets in it and the database. Blocks.
    pub fn open(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let dir = &config.data.dir;
        make_private_dir(dir).with_context(|| format!("AEGIS_DATA_DIR {}", dir.display()))?;
        let keyring = match config.data.keys.as_str() {
            "" => Keyring::load_or_create(&config.data.key_file)?,
            keys => Keyring::parse(keys).context("AEGIS_KEYS")?,
        };
        let keyring = Arc::new(keyring);
        let options = StoreOptions { readers: config.data.readers, ..StoreOptions::default() };
        let url = config.data.database_url.parse().context("AEGIS_DATABASE_URL")?;
        let store = Store::open(&url, Arc::clone(&keyring), options).context("opening the database")?;
        let breached = config.accounts.breached.as_deref().map(Breached::open).transpose();
        let breached = breached.context("AEGIS_BREACHED_PASSWORDS")?;
        let passwords = Passwords::new(config.limits.password_workers, breached)?;
        let passkeys = config.http.public_url.as_ref().map(Passkeys::new).transpose()?;
        let accounts = Accounts::new(store.clone(), passwords, passkeys, Arc::clone(&clock), policy(config));
        Ok(Self { store, accounts, keyring, clock })
    }

    /// Refuses a keyring without the keys that sealed what lies in the database, remembers the one that will seal from now on,
    /// and loads the keys of login tokens.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        if self.store.seal_keys().await?.is_empty() {
            // A database from before keys were noted.
            for id in self.store.sealed_under().await? {
                self.store.use_seal_key(id, now).await?;
            }
        }
        let needed = self.store.seal_keys().await?;
        // A rotation may have added one since the file was read.
        self.keyring.reload()?;
        let known = self.keyring.ids();
        if let Some(lost) = needed.into_iter().find(|id| !known.contains(id)) {
            bail!(
                "what lies in the database is sealed under key {lost}, which is not in the keyring: put the key file that \
                 belongs to this database back"
            );
        }
        self.store.use_seal_key(self.keyring.current_id(), now).await?;
        Ok(self.accounts.keep_token_keys().await?)
    }
}

fn policy(config: &Config) -> Policy {
    let days = |days: u32| SignedDuration::from_hours(24 * i64::from(days));
    Policy {
        network: config.chain.network,
        server: config.http.public_url.as_ref().and_then(|url| origin_of(url.as_str())),
        registration: config.accounts.registration,
        attempts_per_minute: config.limits.credentials_per_minute,
        logins_per_minute: config.limits.logins_per_minute,
        strong_staff: config.accounts.strong_staff,
        idle: days(config.accounts.idle_days),
        longest: days(config.accounts.session_days),
    }
}

/// Parents are made as usual, the directory itself with mode 0700.
fn make_private_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(0o700).create(dir)
}

/// A server that is ready to be awaited.
pub struct Running {
    /// Await it to serve; it ends by its handle.
    pub server: Server,
    /// The actors; stop them when the server has ended.
    pub actors: ActorHandles,
    /// What the handlers work with.
    pub state: web::Data<State>,
}

/// Starts the actors and the HTTP server on a bound listener. Must be called inside an actix system.
pub fn start(
    config: &Config,
    ground: Ground,
    listener: TcpListener,
    timing: Timing,
) -> anyhow::Result<Running> {
    let actors = actors::start_actors(config, &ground)?;
    let Ground { store, accounts, keyring: _, clock } = ground;
    let sessions = actors.sessions.clone();
    // Unbounded, but sent once for each session, and sessions are bounded. Must not be lost.
    accounts.on_ended(Box::new(move |session| sessions.do_send(SessionOver(session))));
    let door = Door::new(&config.outside, Arc::new(System)).context("the door to what users name")?;
    actix::spawn(Courier::new(store.clone(), door.clone(), Arc::clone(&clock)).run());
    let market = Market::new(store.clone(), Arc::clone(&clock));
    actix::spawn(market::run(market.clone()));
    let state = State {
        accounts,
        integrations: Integrations::new(store.clone(), door, Arc::clone(&clock)),
        drafts: Drafts::new(store.clone(), Arc::clone(&clock), terms(config)),
        arbiters: arbiters(config, store.clone(), Arc::clone(&clock)),
        escrows: Escrows::new(store.clone()),
        market,
        store,
        tip: actors.handles.tip.clone(),
        nodes: Box::new({
            let nodes = Arc::clone(&actors.nodes);
            move || nodes.status()
        }),
        agreed: Box::new({
            let nodes = Arc::clone(&actors.nodes);
            move || nodes.agreed()
        }),
        actors: Box::new({
            let handles = actors.handles.clone();
            move || handles.status()
        }),
        rescan: Box::new({
            let handles = actors.handles.clone();
            move |id, from| {
                let handles = handles.clone();
                Box::pin(async move { handles.rescan(id, from).await })
            }
        }),
        tell: actors.handles.tell.clone(),
        create: actors.handles.create.clone(),
        sessions: actors.sessions,
        tickets: Tickets::new(Arc::clone(&clock)),
        limits: RateLimits::new(&config.limits, config.http.trusted_proxies.clone()),
        clock,
    };
    let successors = Successors {
        store: state.store.clone(),
        drafts: state.drafts.clone(),
        clock: Arc::clone(&state.clock),
        create: state.create.clone(),
    };
    actix::spawn(successors.run());
    let state = web::Data::new(state);
    let server = serve(web::Data::clone(&state), &config.http, timing, listener)?;
    Ok(Running { server, actors: actors.handles, state })
}

fn terms(config: &Config) -> Terms {
    let terms = &config.terms;
    let platform = terms.platform_address.filter(|_| terms.platform_fee_bps > 0);
    Terms {
        network: config.chain.network,
        finality_depth: terms.finality_depth,
        cosign_seconds: terms.cosign_seconds,
        arbiter_fee_bps: terms.arbiter_fee_bps,
        platform: platform.map(|address| PlatformTerms { bps: terms.platform_fee_bps, address }),
        dust_limit: terms.dust_limit,
        max_network_fee: terms.max_network_fee,
        max_residue: terms.max_residue,
        arbiters: ArbiterTerms {
            capacity: config.people.arbiter_capacity,
            silent: silent(config),
            most_unfunded: config.people.unfunded,
        },
    }
}

fn silent(config: &Config) -> SignedDuration {
    SignedDuration::from_hours(i64::from(config.people.arbiter_silent_hours))
}

fn arbiters(config: &Config, store: Store, clock: Arc<dyn Clock>) -> Arbiters {
    let (terms, people) = (&config.terms, &config.people);
    let usual =
        Usual { fee_bps: terms.arbiter_fee_bps, capacity: people.arbiter_capacity, silent: silent(config) };
    Arbiters::new(store, clock, usual)
}

fn serve(
    state: web::Data<State>,
    http: &Http,
    timing: Timing,
    listener: TcpListener,
) -> anyhow::Result<Server> {
    let api = routes::openapi();
    let description = web::Data::new(Description(api.to_json()?.into()));
    let feed = web::Data::new(FeedDescription(asyncapi::document(&api)?.to_string().into()));
    let timing = web::Data::new(timing);
    let origins = http.cors_origins.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::clone(&state))
            .app_data(web::Data::clone(&description))
            .app_data(web::Data::clone(&feed))
            .app_data(web::Data::clone(&timing))
            .app_data(routes::path_config())
            .app_data(routes::query_config())
            .configure(routes::register)
            .service(docs::viewer())
            .default_service(web::to(routes::unmatched))
            .wrap(Compress::default())
            .wrap(cors(&origins))
            .wrap(from_fn(envelope))
            .wrap(TracingLogger::<RequestSpan>::new())
    });
    Ok(server
        .workers(http.workers)
        .disable_signals()
        .backlog(BACKLOG)
        .max_connections(http.max_connections.div_ceil(http.workers))
        .shutdown_timeout(http.shutdown_seconds)
        .listen(listener)?
        .run())
}

/// Which pages may call from a browser. Tokens travel in a header that no browser sends by itself, so no credentials of its
/// own are let through.
fn cors(origins: &[String]) -> Cors {
    let cors = origins.iter().fold(Cors::default(), |cors, origin| cors.allowed_origin(origin));
    cors.allowed_methods(["GET", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers(["authorization", "content-type", "idempotency-key", "if-match", "if-none-match"])
        .expose_headers(["etag", "retry-after", "x-request-id"])
        .block_on_origin_mismatch(false)
        .max_age(3600)
}

/// Serves until SIGTERM or SIGINT, then lets running requests end.
pub async fn run(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<()> {
    let ground = Ground::open(config, Arc::clone(&clock))?;
    ground.ready().await?;
    same_network(&ground.store, config.chain.network).await?;
    let bind = config.http.bind;
    let listener = TcpListener::bind(bind).with_context(|| format!("AEGIS_BIND {bind}"))?;
    let stop = stop_signal()?;
    let keyring = Arc::clone(&ground.keyring);
    let Running { server, actors, state } = start(config, ground, listener, Timing::default())?;
    tracing::info!(%bind, network = %config.chain.network, version = env!("CARGO_PKG_VERSION"), "serving");
    let house = House {
        store: state.store.clone(),
        accounts: state.accounts.clone(),
        arbiters: state.arbiters.clone(),
        keyring,
        clock,
        audit: SignedDuration::from_hours(24 * i64::from(config.accounts.audit_days)),
    };
    actix::spawn(housekeeping::run(house));
    let handle = server.handle();
    actix::spawn(async move {
        stop.await;
        tracing::info!("stopping");
        // First no new connections, then no more sockets, which would be waited for.
        let stopping = handle.stop(true);
        let _ = state.sessions.send(CloseAll).await;
        stopping.await;
    });
    let served = server.await;
    actors.stop();
    tracing::info!("stopped");
    Ok(served?)
}

/// What of a snapshot says where its money is.
#[derive(Deserialize)]
struct Stored {
    contract: OnNetwork,
}

#[derive(Deserialize)]
struct OnNetwork {
    network: Network,
}

/// A database belongs to one network: what is watched on one chain is not found on another. Its escrows tell which; without any,
/// the chains that were followed.
async fn same_network(store: &Store, network: Network) -> anyhow::Result<()> {
    let reading = "reading the database";
    let snapshot = store.any_snapshot().await.context(reading)?;
    // One that can't be read is the concern of its own escrow.
    let escrow = snapshot.and_then(|snapshot| serde_json::from_str::<Stored>(&snapshot).ok());
    let other = match escrow.map(|escrow| escrow.contract.network) {
        Some(known) => Some(known).filter(|other| *other != network).map(|other| other.to_string()),
        None => {
            let followed = store.networks().await.context(reading)?;
            if followed.contains(&network.to_string()) { None } else { followed.into_iter().next() }
        }
    };
    match other {
        Some(other) => bail!("AEGIS_NETWORK is {network}, and this database is of {other}"),
        None => Ok(()),
    }
}

fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
