//! The configuration: `AEGIS_*` variables over an optional TOML file, read once at the start.
//!
//! Every setting is declared once, below, with its documentation, its default and its bounds. `.env.example` is made
//! from these declarations. A TOML file (named by `AEGIS_CONFIG`) has the same keys in lower case without `AEGIS_`;
//! lists may be arrays. Unknown keys in the file are refused: a misspelt one would silently be a default. Unknown
//! variables are warned of: other programs of Aegis have some of their own.

mod read;
mod source;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use aegis_common::address::{Address, Network};
use aegis_common::amount::Piconero;
use aegis_common::chain as scan;
use aegis_common::escrow::contract::bounds;

pub use read::{Allowed, Url};
use read::{
    address, allowed, between, files, flag_format, ips, maybe_path, network, origins, path, piconero, plain,
    publishers, registration, scan_path, secret, socket, text, tor_proxy, url, urls, warnings, yes_or_no,
};
use source::Source;
pub use source::{Concern, ConfigError, Setting, env_example};
use zeroize::Zeroizing;

macro_rules! concerns {
    ($(
        $(#[doc = $about:literal])+
        $field:ident: $concern:ident {
            $( $(#[doc = $doc:literal])+ $key:literal = $default:literal => $name:ident: $ty:ty, $read:expr; )+
        }
    )+) => {
        $(
            $(#[doc = $about])+
            #[derive(Clone)]
            pub struct $concern {
                $( $(#[doc = $doc])+ pub $name: $ty, )+
            }

            impl $concern {
                fn read(source: &Source) -> Result<Self, ConfigError> {
                    Ok(Self { $( $name: source.get($key, $default, $read)?, )+ })
                }
            }
        )+

        /// The whole configuration. It names nodes and may hold passwords, so it has no `Debug`.
        #[derive(Clone)]
        pub struct Config {
            $( $(#[doc = $about])+ pub $field: $concern, )+
            /// `AEGIS_*` variables that mean nothing to the server: another program's, or misspelt. Worth a warning.
            pub unknown: Vec<String>,
        }

        impl Config {
            fn read(source: &Source) -> Result<Self, ConfigError> {
                Ok(Self { $( $field: $concern::read(source)?, )+ unknown: source.unknown.clone() })
            }
        }

        /// Every setting there is, in the order of `.env.example`.
        pub const SETTINGS: &[Concern] = &[ $( Concern {
            about: &[$($about),+],
            settings: &[ $( Setting { key: $key, default: $default, doc: &[$($doc),+] }, )+ ],
        }, )+ ];
    };
}

concerns! {
    /// Listening.
    http: Http {
        /// Address and port to listen on. Anything but loopback belongs behind a proxy that speaks TLS.
        "AEGIS_BIND" = "127.0.0.1:8470" => bind: SocketAddr, socket;
        /// Threads that serve requests, 1 to 64.
        "AEGIS_HTTP_WORKERS" = "2" => workers: usize, between(1, 64);
        /// Connections open at once, WebSockets included, 16 to 100000.
        "AEGIS_MAX_CONNECTIONS" = "4096" => max_connections: usize, between(16, 100_000);
        /// IP addresses of proxies whose X-Forwarded-For is believed, separated by commas.
        "AEGIS_TRUSTED_PROXIES" = "" => trusted_proxies: Vec<IpAddr>, ips;
        /// The address under which browsers see this server, e.g. https://escrow.example. Passkeys are bound to its domain name;
        /// without it there are none.
        "AEGIS_PUBLIC_URL" = "" => public_url: Option<Url>, url;
        /// Origins whose pages may call the API from a browser, e.g. https://app.example, separated by commas; at most 16.
        "AEGIS_CORS_ORIGINS" = "" => cors_origins: Vec<String>, origins;
        /// Live WebSockets of one account, 1 to 100.
        "AEGIS_SOCKETS_PER_USER" = "8" => sockets_per_user: usize, between(1, 100);
        /// Seconds that running requests are given at shutdown, 1 to 600.
        "AEGIS_SHUTDOWN_SECONDS" = "20" => shutdown_seconds: u64, between(1, 600);
    }

    /// Data.
    data: Data {
        /// Directory of everything the server keeps in files; made with mode 0700.
        "AEGIS_DATA_DIR" = "./data" => dir: PathBuf, path;
        /// sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME. `{data}` stands for the data directory.
        "AEGIS_DATABASE_URL" = "sqlite:{data}/aegis.db" => database_url: String, text;
        /// File with the keys that seal secrets in the database; made at the first start with mode 0600. Back it up.
        "AEGIS_KEY_FILE" = "{data}/keys" => key_file: PathBuf, path;
        /// The keys themselves instead of a file: 64 hexadecimal digits each, oldest first, separated by commas.
        "AEGIS_KEYS" = "" => keys: Zeroizing<String>, secret;
        /// Connections that read the database, 1 to 64.
        "AEGIS_DATABASE_READERS" = "8" => readers: u32, between(1, 64);
    }

    /// The Monero chain.
    chain: Chain {
        /// regtest, stagenet, testnet or mainnet. It can't be changed once there are escrows.
        "AEGIS_NETWORK" = "regtest" => network: Network, network;
        /// URLs of monerod's RPC, the preferred one first, separated by commas; at most 16.
        "AEGIS_NODES" = "http://127.0.0.1:18081" => nodes: Vec<Url>, urls;
        /// How many of the nodes must have a block before it counts, 0 to 16; 0 is more than half of three or more nodes, else 1.
        "AEGIS_NODES_AGREE" = "0" => nodes_agree: usize, between(0, 16);
        /// Where nodes publish notices (monerod's --zmq-pub), as tcp://HOST:PORT, separated by commas; at most 16. A notice makes
        /// the server look at the chain at once.
        "AEGIS_NODE_NOTICES" = "" => notices: Vec<String>, publishers;
        /// Milliseconds between looks at the chain, 50 to 60000.
        "AEGIS_POLL_MILLIS" = "1000" => poll_millis: u64, between(50, 60_000);
        /// Days for which the chain is watched on after an escrow's end, 1 to 3650.
        "AEGIS_WATCH_DAYS" = "30" => watch_days: u32, between(1, 3650);
        /// How transactions are scanned: auto takes the fastest way that the processor has; else portable, avx2 or ifma.
        "AEGIS_SCAN_PATH" = "auto" => scan_path: Option<scan::Path>, scan_path;
        /// Threads that scan, 0 to 256; 0 is one for each core.
        "AEGIS_SCAN_THREADS" = "0" => scan_threads: usize, between(0, 256);
        /// yes or no: multiply in the same time and with the same memory accesses whatever the view keys, for machines whose
        /// caches strangers share. Takes two to three times as long.
        "AEGIS_SCAN_CONSTANT_TIME" = "no" => scan_constant_time: bool, yes_or_no;
    }

    /// Terms that new contracts get.
    terms: Terms {
        /// Confirmations after which a transaction is final, 10 to 100; a request may ask for another number.
        "AEGIS_FINALITY_DEPTH" = "10" => finality_depth: u32, between(10, 100);
        /// Seconds until a silent signer is replaced, 5 to 2592000; a request may ask for another number.
        "AEGIS_COSIGN_SECONDS" = "86400" => cosign_seconds: u32, between(5, 2_592_000);
        /// The arbiter's fee in basis points of the amount, 0 to 2500; due after a ruling and at expiry.
        "AEGIS_ARBITER_FEE_BPS" = "100" => arbiter_fee_bps: u16, between(0, 2500);
        /// Your fee in basis points of what the seller is paid, 0 to 2500.
        "AEGIS_PLATFORM_FEE_BPS" = "0" => platform_fee_bps: u16, between(0, 2500);
        /// Where your fee is paid; needed with a fee.
        "AEGIS_PLATFORM_ADDRESS" = "" => platform_address: Option<Address>, address;
        /// Piconero below which a single deposit is reported and not credited; below 1000000000.
        "AEGIS_DUST_LIMIT" = "100000000" => dust_limit: Piconero, piconero(0, 999_999_999);
        /// Piconero that a payout may pay as network fee, 1 to 1000000000000. Small escrows get at most half their amount.
        "AEGIS_MAX_NETWORK_FEE" = "20000000000" => max_network_fee: Piconero, piconero(1, 1_000_000_000_000);
        /// Piconero that a payout may leave behind at the escrow's address; at least an eighth of AEGIS_MAX_NETWORK_FEE, at
        /// most all of it.
        "AEGIS_MAX_RESIDUE" = "2500000000" => max_residue: Piconero, piconero(1, 1_000_000_000_000);
    }

    /// Answers and arbiters.
    people: People {
        /// Hours that people have for each stage of an escrow's setup, 1 to 720. An arbiter who does not answer is replaced.
        "AEGIS_ANSWER_HOURS" = "72" => answer_hours: u32, between(1, 720);
        /// Hours after which a ruling is overdue, 1 to 2160.
        "AEGIS_RULING_HOURS" = "168" => ruling_hours: u32, between(1, 2160);
        /// Hours before an escrow's expiry at which all are warned: two numbers of 1 to 720, the greater first.
        "AEGIS_WARNING_HOURS" = "24,1" => warning_hours: [u32; 2], warnings;
        /// Cases at once of arbiters who name no number, 0 to 10000.
        "AEGIS_ARBITER_CAPACITY" = "100" => arbiter_capacity: u32, between(0, 10_000);
        /// Escrows that one person may have begun that are not paid for, 1 to 10000: each takes room of an arbiter's.
        "AEGIS_UNFUNDED_ESCROWS" = "20" => unfunded: u32, between(1, 10_000);
        /// Hours after which an arbiter whose program was not heard is assigned nothing, and people with money at stake are told, 1 to
        /// 720.
        "AEGIS_ARBITER_SILENT_HOURS" = "24" => arbiter_silent_hours: u32, between(1, 720);
    }

    /// Accounts.
    accounts: AccountRules {
        /// open, invite or closed: who may register. Invitations: aegis-server user invite.
        "AEGIS_REGISTRATION" = "open" => registration: Registration, registration;
        /// File of passwords that nobody may choose, as SHA-1 hashes in order, one a line: what Have I Been Pwned gives out. None
        /// where left empty.
        "AEGIS_BREACHED_PASSWORDS" = "" => breached: Option<PathBuf>, maybe_path;
        /// yes or no: what only operators and administrators may do needs a session with a second factor.
        "AEGIS_STAFF_SECOND_FACTOR" = "yes" => strong_staff: bool, yes_or_no;
        /// Days after which an unused session ends, 1 to 365.
        "AEGIS_SESSION_IDLE_DAYS" = "30" => idle_days: u32, between(1, 365);
        /// Days after which any session ends, 1 to 365.
        "AEGIS_SESSION_DAYS" = "90" => session_days: u32, between(1, 365);
        /// Days for which it is kept what was done with credentials, 7 to 3650.
        "AEGIS_AUDIT_DAYS" = "365" => audit_days: u32, between(7, 3650);
    }

    /// Escrows in memory.
    actors: Actors {
        /// Seconds after which an idle escrow leaves memory, 1 to 86400.
        "AEGIS_PASSIVATE_SECONDS" = "600" => passivate_seconds: u64, between(1, 86_400);
    }

    /// What is called outside for people: their webhooks and wallets.
    outside: Outside {
        /// What may be called although it is not on the public internet: addresses, networks (10.1.0.0/16) and names of hosts,
        /// separated by commas; at most 64. Everybody with an account can then have it called, and reads a part of its answers.
        "AEGIS_OUTSIDE_ALLOW" = "" => allow: Vec<Allowed>, allowed;
        /// What is not called although it is on the public internet, written as in AEGIS_OUTSIDE_ALLOW, which it overrides. This
        /// machine's own addresses need not be named, unless others translate them.
        "AEGIS_OUTSIDE_DENY" = "" => deny: Vec<Allowed>, allowed;
        /// Tor's SOCKS port, e.g. socks5h://127.0.0.1:9050: for .onion hosts, and for who chose to be served over Tor. Without it
        /// neither is called.
        "AEGIS_TOR_PROXY" = "" => tor_proxy: Option<Url>, tor_proxy;
    }

    /// Limits on requests.
    limits: Limits {
        /// Requests a second from one address, 1 to 100000.
        "AEGIS_RATE_REQUESTS_PER_SECOND" = "50" => requests_per_second: u32, between(1, 100_000);
        /// Requests that one address may send at once, 1 to 100000.
        "AEGIS_RATE_BURST" = "200" => burst: u32, between(1, 100_000);
        /// Registrations, logins and whatever else can be guessed at, a minute from one address, 1 to 10000.
        "AEGIS_RATE_CREDENTIALS_PER_MINUTE" = "20" => credentials_per_minute: u32, between(1, 10_000);
        /// Attempts at one account's password a minute, from wherever, 1 to 10000.
        "AEGIS_RATE_LOGINS_PER_MINUTE" = "10" => logins_per_minute: u32, between(1, 10_000);
        /// Passwords that are hashed at once, 1 to 64: 19 MiB and some 30 ms of a core each.
        "AEGIS_PASSWORD_WORKERS" = "2" => password_workers: usize, between(1, 64);
    }

    /// Logging.
    log: Log {
        /// What is logged: a level or tracing directives, e.g. info,aegis_server=debug. Other crates never below info.
        "AEGIS_LOG" = "info" => filter: String, text;
        /// text or json.
        "AEGIS_LOG_FORMAT" = "text" => format: LogFormat, flag_format;
    }
}

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Everybody.
    Open,
    /// Who has an invitation.
    Invite,
    /// Nobody.
    Closed,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads the process's environment and the file that `AEGIS_CONFIG` names.
    pub fn load() -> Result<Self, ConfigError> {
        Self::from_env(std::env::vars_os().filter_map(|(key, value)| {
            // Names that are not UTF-8 are not ours; values that are not become refusable text.
            Some((key.into_string().ok()?, value.to_string_lossy().into_owned()))
        }))
    }

    /// Reads the given environment instead of the process's.
    pub fn from_env(env: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let source = Source::new(env, SETTINGS)?;
        let mut config = Self::read(&source)?;
        let dir = config.data.dir.clone();
        config.data.database_url = plain(&config.data.database_url, &dir)?;
        config.data.key_file = files(&config.data.key_file, &dir)?;
        config.check()?;
        Ok(config)
    }

    /// The rules between settings.
    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |key, why: &str| Err(ConfigError::Setting { key, why: why.to_owned() });
        let terms = &self.terms;
        if terms.max_residue > terms.max_network_fee {
            return refuse("AEGIS_MAX_RESIDUE", "must not be above AEGIS_MAX_NETWORK_FEE");
        }
        if terms.max_residue.0 < terms.max_network_fee.0.div_ceil(bounds::RESIDUE) {
            return refuse("AEGIS_MAX_RESIDUE", "must not be below an eighth of AEGIS_MAX_NETWORK_FEE");
        }
        if self.chain.nodes_agree > self.chain.nodes.len() {
            return refuse("AEGIS_NODES_AGREE", "must not be above the number of AEGIS_NODES");
        }
        match &terms.platform_address {
            None if terms.platform_fee_bps > 0 => {
                return refuse("AEGIS_PLATFORM_ADDRESS", "is needed with AEGIS_PLATFORM_FEE_BPS");
            }
            Some(address) if address.require(self.chain.network).is_err() => {
                return refuse("AEGIS_PLATFORM_ADDRESS", "does not belong to AEGIS_NETWORK");
            }
            _ => {}
        }
        let url = &self.data.database_url;
        if !["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return refuse("AEGIS_DATABASE_URL", "must be sqlite:PATH or postgres://USER@HOST/NAME");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_env(env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    fn refusal(env: &[(&str, &str)]) -> String {
        load(env).err().expect("the setting should be refused").to_string()
    }

    #[test]
    fn an_empty_environment_gives_the_documented_defaults() {
        let config = load(&[]).unwrap();
        assert_eq!(config.http.bind.to_string(), "127.0.0.1:8470");
        assert_eq!(config.data.database_url, "sqlite:./data/aegis.db");
        assert_eq!(config.data.key_file, PathBuf::from("./data/keys"));
        assert_eq!(config.chain.network, Network::Regtest);
        assert_eq!(config.terms.platform_address, None);
        assert_eq!(config.people.warning_hours, [24, 1]);
    }

    #[test]
    fn every_value_outside_its_bounds_is_refused_by_the_name_of_its_setting() {
        for (key, value) in [
            ("AEGIS_BIND", "localhost"),
            ("AEGIS_DATA_DIR", ""),
            ("AEGIS_DATABASE_URL", "mysql://x"),
            ("AEGIS_KEY_FILE", ""),
            ("AEGIS_NETWORK", "Mainnet"),
            ("AEGIS_WARNING_HOURS", "24"),
            ("AEGIS_WARNING_HOURS", "1,24"),
            ("AEGIS_WARNING_HOURS", "24,0"),
            ("AEGIS_WARNING_HOURS", "24,x,1"),
            ("AEGIS_NODES", ""),
            ("AEGIS_NODES", "ftp://node"),
            ("AEGIS_NODES", "127.0.0.1:18081"),
            ("AEGIS_NODES_AGREE", "2"),
            ("AEGIS_NODES_AGREE", "17"),
            ("AEGIS_NODE_NOTICES", "127.0.0.1:18083"),
            ("AEGIS_NODE_NOTICES", "tcp://127.0.0.1"),
            ("AEGIS_NODE_NOTICES", "tcp://:18083"),
            ("AEGIS_NODE_NOTICES", "tcp://127.0.0.1:18083/path"),
            ("AEGIS_FINALITY_DEPTH", "9"),
            ("AEGIS_FINALITY_DEPTH", "101"),
            ("AEGIS_FINALITY_DEPTH", "ten"),
            ("AEGIS_COSIGN_SECONDS", "4"),
            ("AEGIS_ARBITER_FEE_BPS", "2501"),
            ("AEGIS_PLATFORM_ADDRESS", "4abc"),
            ("AEGIS_DUST_LIMIT", "1000000000"),
            ("AEGIS_MAX_NETWORK_FEE", "0"),
            ("AEGIS_MAX_RESIDUE", "20000000001"),
            ("AEGIS_MAX_RESIDUE", "2499999999"),
            ("AEGIS_POLL_MILLIS", "49"),
            ("AEGIS_WATCH_DAYS", "0"),
            ("AEGIS_TRUSTED_PROXIES", "proxy.local"),
            ("AEGIS_LOG_FORMAT", "xml"),
            ("AEGIS_RATE_BURST", "-1"),
            ("AEGIS_PUBLIC_URL", "escrow.example"),
            ("AEGIS_CORS_ORIGINS", "*"),
            ("AEGIS_CORS_ORIGINS", "https://app.example/path"),
            ("AEGIS_REGISTRATION", "Open"),
            ("AEGIS_OUTSIDE_ALLOW", "10.0.0.0/33"),
            ("AEGIS_OUTSIDE_ALLOW", "http://a.example"),
            ("AEGIS_TOR_PROXY", "socks5://127.0.0.1:9050"),
            ("AEGIS_TOR_PROXY", "socks5h://127.0.0.1"),
            ("AEGIS_SESSION_DAYS", "0"),
        ] {
            let said = refusal(&[(key, value)]);
            assert!(said.starts_with(key), "{key}={value}: {said}");
        }
        assert!(refusal(&[("AEGIS_PLATFORM_FEE_BPS", "50")]).starts_with("AEGIS_PLATFORM_ADDRESS"));
    }

    #[test]
    fn a_misspelt_variable_is_told() {
        let config = load(&[("AEGIS_FINALTY_DEPTH", "20"), ("PATH", "/bin")]).unwrap();
        assert_eq!(config.unknown, ["AEGIS_FINALTY_DEPTH"]);
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("aegis.toml");
        std::fs::write(
            &file,
            "finality_depth = 20\nnodes = [\"http://a:1\", \"https://b\"]\ncosign_seconds = 60\n",
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let config = load(&[("AEGIS_CONFIG", file), ("AEGIS_COSIGN_SECONDS", "90")]).unwrap();
        assert_eq!((config.terms.finality_depth, config.terms.cosign_seconds), (20, 90));
        assert_eq!(config.chain.nodes.len(), 2);
        std::fs::write(file, "finalty_depth = 20\n").unwrap();
        assert!(refusal(&[("AEGIS_CONFIG", file)]).contains("finalty_depth"));
        assert!(refusal(&[("AEGIS_CONFIG", "/nowhere/aegis.toml")]).contains("aegis.toml"));
    }

    #[test]
    fn the_sample_file_is_what_the_declarations_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.example");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == env_example(SETTINGS), "run: aegis-server settings > .env.example");
    }

    #[test]
    fn the_sample_file_is_a_working_configuration() {
        let text = env_example(SETTINGS);
        let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|l| l.split_once('='));
        let pairs: Vec<_> = pairs.collect();
        assert_eq!(pairs.len(), SETTINGS.iter().map(|concern| concern.settings.len()).sum::<usize>());
        assert!(load(&pairs).is_ok());
    }
}
