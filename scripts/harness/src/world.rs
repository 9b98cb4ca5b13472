//! Everything a scenario needs, started together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aegis_common::address::Address;
use anyhow::{Context, Result};
use futures_util::future::{join_all, try_join_all};
use serde_json::Value;

use crate::api::Eyes;
use crate::devnet::{Chain, Funds, Miner, State};
use crate::participant::Participant;
use crate::process::RunDir;
use crate::programs::Programs;
use crate::relay::Relay;
use crate::server::{Server, Settings};
use crate::timeline::{Follower, Timeline};

/// Outputs the funds begin with: more than all scenarios spend.
const FUND_OUTPUTS: u64 = 60;
const POLICY: &str =
    "accept = \"pinned\"\nsign = \"authorised\"\nexpiry = \"sign\"\nmax_amount_xmr = \"1000\"\n";

/// How a world is made.
pub struct Plan {
    /// Where its data, logs and pid files go.
    pub dir: PathBuf,
    /// Everybody's name.
    pub people: Vec<&'static str>,
    /// Those of them who are arbiters.
    pub arbiters: Vec<&'static str>,
    /// Time between two blocks.
    pub block_time: Duration,
    /// Changes the server's settings.
    pub settings: fn(&mut Settings),
    /// Whether every participant reaches the server through a relay of its own.
    pub relay: bool,
    /// Whether the timeline only remembers.
    pub quiet: bool,
}

/// A person of a world.
pub struct Person {
    /// The program.
    pub program: Participant,
    /// Stands between the program and the server, where the plan says so.
    pub relay: Option<Relay>,
    /// Its view of the server, for watching only; never through the relay.
    pub eyes: Arc<Eyes>,
    /// Where its contracts pay it.
    pub payout: Address,
    /// The number of that subaddress among the payees.
    pub payee: u32,
}

/// A running world. Dropping it ends everything.
pub struct World {
    followers: Vec<Follower>,
    /// The people by name.
    pub people: BTreeMap<String, Person>,
    /// The server.
    pub server: Server,
    /// Makes the blocks.
    pub miner: Miner,
    /// Pays the deposits, receives the payouts.
    pub funds: Funds,
    /// The chain.
    pub chain: Arc<Chain>,
    /// Where the platform's fee is paid, and its number among the payees.
    pub platform: (Address, u32),
    /// What has happened.
    pub timeline: Arc<Timeline>,
    /// The run directory.
    pub run: RunDir,
    /// Time between two blocks.
    pub block_time: Duration,
}

impl World {
    /// Starts chain, funds and server, registers everybody, exchanges fingerprints, starts their programs.
    pub async fn start(plan: &Plan) -> Result<Self> {
        let programs = Programs::locate()?;
        let timeline = Timeline::begin(plan.quiet);
        let run = RunDir::open(&plan.dir)?;
        let chain = Chain::start(&run).await?;
        let funds = Funds::start(&run, &chain).await?;
        funds.fill(&chain, FUND_OUTPUTS).await?;
        let platform = funds.new_payee("platform").await?;
        timeline.say("world", "the chain is there and the wallet is funded");

        let mut settings = Settings::regtest(chain.port());
        settings.platform_address = Some(platform.0);
        (plan.settings)(&mut settings);
        let server = Server::start(&run, &programs, settings).await?;
        timeline.say("world", "the server is up");

        let mut people = BTreeMap::new();
        for name in &plan.people {
            let (payout, payee) = funds.new_payee(name).await?;
            let program = Participant::new(&run, &programs.participant, name, &chain.daemon())?;
            let eyes = Arc::new(Eyes::new(&server.url(), name, program.password())?);
            let relay = if plan.relay { Some(Relay::start(server.port()).await?) } else { None };
            people.insert((*name).to_owned(), Person { program, relay, eyes, payout, payee });
        }
        let miner = Miner::start(Arc::clone(&chain), funds.address().to_string(), plan.block_time);
        let block_time = plan.block_time;
        let mut world = Self {
            followers: Vec::new(),
            people,
            server,
            miner,
            funds,
            chain,
            platform,
            timeline,
            run,
            block_time,
        };
        world.introduce(&plan.arbiters).await?;
        Ok(world)
    }

    async fn introduce(&mut self, arbiters: &[&str]) -> Result<()> {
        let registered = self.people.values().map(async |person| {
            let payout = person.payout.to_string();
            let name = person.program.name();
            let entrance = person.relay.as_ref().map_or_else(|| self.server.url(), Relay::url);
            let arguments = ["init", "--server", &entrance, "--username", name, "--network", "regtest"];
            let arguments: Vec<&str> = arguments.into_iter().chain(["--payout-address", &payout]).collect();
            let made = person.program.cmd(&arguments).await?;
            let pin = made.get("pin").and_then(Value::as_str).context("init did not give a pin")?;
            Ok::<_, anyhow::Error>((name.to_owned(), pin.to_owned()))
        });
        let pins: Vec<(String, String)> = try_join_all(registered).await?;
        for name in arbiters {
            self.server.make_arbiter(name).await?;
        }
        let pinned = self.people.values().map(async |person| {
            for (name, pin) in pins.iter().filter(|(name, _)| name != person.program.name()) {
                person.program.cmd(&["pin", "add", name, pin]).await?;
            }
            std::fs::write(person.program.home().join("policy.toml"), POLICY)?;
            person.program.start()
        });
        try_join_all(pinned).await?;
        for person in self.people.values() {
            let program = &person.program;
            self.followers.push(self.timeline.tail(program.name(), program.lines_file()));
            self.followers.push(self.timeline.follow(Arc::clone(&person.eyes)));
        }
        self.timeline.say("world", "everybody is registered, has pinned the others and takes part");
        Ok(())
    }

    /// A person by name.
    pub fn person(&self, name: &str) -> Result<&Person> {
        self.people.get(name).with_context(|| format!("there is no {name} in this world"))
    }

    /// An error where the server or a program that was not stopped on purpose has ended.
    pub fn must_run(&self) -> Result<()> {
        self.server.must_run()?;
        self.people.values().try_for_each(|person| person.program.must_run())
    }

    /// Stops everybody's program in order.
    pub async fn rest(&self) -> Result<()> {
        join_all(self.people.values().map(|person| person.program.stop())).await.into_iter().collect()
    }

    /// Lets everything run when this value is dropped, until `RunDir::end_all`.
    pub fn keep(&self) -> Result<()> {
        State::leave(&self.run, &self.chain, &self.funds)?;
        self.server.keep();
        self.people.values().for_each(|person| person.program.keep());
        Ok(())
    }
}
