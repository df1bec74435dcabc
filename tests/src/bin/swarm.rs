//! `cargo swarm`: thousands of real agent cores in one process, over real mTLS, against a real server on loopback.
//!
//! Prints connects per CPU-second of the server, its memory per connection, readings stored a second, and how long
//! a reading takes from the push into the outbox to the acknowledgement that lets the agent forget it; then checks
//! that what was produced was stored, once.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: measures real time of real processes"
)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use homeward_agent::clock::Clock;
use homeward_agent::config::Config;
use homeward_agent::identity::keys::Server;
use homeward_agent::outbox::keeper::{Keeper, Place};
use homeward_agent::run::{Agent, Parts};
use homeward_agent::status::LinkStatus;
use homeward_protocol::claim::{Endpoint, ServerInfo};
use homeward_protocol::envelope::{Item, Lane};
use homeward_protocol::id::Epoch;
use homeward_tests::load::{self, LoadError};
use homeward_tests::prepared::{Member, Prepared, reading};
use homeward_tests::rollout;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Threads that own the agents' outboxes.
const KEEPERS: usize = 4;
/// Outbox quota of one agent, bytes.
const QUOTA: u64 = 1 << 20;
/// How long everything may take to connect, or to be acknowledged at the end.
const PATIENCE: Duration = Duration::from_mins(2);

/// Drives thousands of real agent cores against a real server.
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  cargo swarm -- --gateways 2000 --seconds 30")]
struct Cli {
    /// Agents.
    #[arg(long, default_value_t = 2000)]
    gateways: usize,
    /// Seconds of readings.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Milliseconds between two readings of one agent.
    #[arg(long, default_value_t = 1000)]
    every_ms: u64,
    /// When all are connected, end the server with -9, start it again, and see how they come back.
    #[arg(long)]
    storm: bool,
    /// Only measure how long a policy takes to reach every gateway, and to be reported back.
    #[arg(long, conflicts_with_all = ["storm", "seconds", "every_ms"])]
    policy: bool,
    /// Then let them stay connected so long, seconds, and count what the server writes.
    #[arg(long, requires = "policy")]
    idle: Option<u64>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// How they came back after the server was gone.
#[derive(Debug, Clone, Copy, Serialize)]
struct Storm {
    /// From the server's start until the last one was there.
    back_after_s: f64,
    connects_per_cpu_second: f64,
    /// The server's memory at its highest.
    peak_mib: f64,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Figures {
    gateways: usize,
    storm: Option<Storm>,
    connects_per_cpu_second: f64,
    rss_kib_per_connection: f64,
    readings_stored_per_second: f64,
    ack_p50_ms: f64,
    ack_p99_ms: f64,
    produced: u64,
    stored: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&format!("no runtime: {e}")),
    };
    if cli.policy {
        return match runtime.block_on(rollout::measure(cli.gateways, cli.idle.map(Duration::from_secs))) {
            Ok(figures) => {
                print_rollout(&figures, cli.json);
                ExitCode::SUCCESS
            }
            Err(why) => fail(&why),
        };
    }
    match runtime.block_on(swarm(&cli)) {
        Ok(figures) => {
            print(&figures, cli.json);
            if figures.produced == figures.stored {
                ExitCode::SUCCESS
            } else {
                fail("what was produced is not what was stored")
            }
        }
        Err(why) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("swarm: {why}");
    ExitCode::FAILURE
}

fn print_rollout(figures: &rollout::Figures, as_json: bool) {
    if as_json {
        println!("{}", serde_json::to_string(figures).unwrap_or_default());
        return;
    }
    let (gateways, bytes) = (figures.gateways, figures.offer_bytes);
    println!("gateways / bytes of the offer     {gateways} / {bytes}");
    println!(
        "verified after, p50 / last        {:.0} / {:.0} ms",
        figures.reached_p50_ms, figures.reached_last_ms
    );
    println!(
        "reported back after, p50 / last   {:.0} / {:.0} ms",
        figures.reported_p50_ms, figures.reported_last_ms
    );
    println!("processor time of the server      {:.1} s", figures.server_cpu_s);
    if let Some(commits) = figures.idle_commits_per_s {
        println!("transactions a second while idle  {commits:.2}");
    }
}

fn print(figures: &Figures, as_json: bool) {
    if as_json {
        println!("{}", serde_json::to_string(figures).unwrap_or_default());
        return;
    }
    println!("gateways                          {}", figures.gateways);
    println!(
        "connects per server CPU-second    {:.0}",
        figures.connects_per_cpu_second
    );
    println!(
        "server memory per connection      {:.1} KiB",
        figures.rss_kib_per_connection
    );
    if let Some(storm) = figures.storm {
        println!("all back after a restart within     {:.1} s", storm.back_after_s);
        println!(
            "connects per CPU-second then        {:.0}",
            storm.connects_per_cpu_second
        );
        println!("server memory at its highest        {:.0} MiB", storm.peak_mib);
    }
    println!(
        "readings stored per second        {:.0}",
        figures.readings_stored_per_second
    );
    println!(
        "acknowledged after, p50 / p99     {:.0} / {:.0} ms",
        figures.ack_p50_ms, figures.ack_p99_ms
    );
    println!(
        "produced / stored                 {} / {}",
        figures.produced, figures.stored
    );
}

async fn swarm(cli: &Cli) -> Result<Figures, LoadError> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    eprintln!("{} gateways are made …", cli.gateways);
    let data = folder.path().join("fleet");
    let gateways = cli.gateways;
    let mut prepared = Prepared::new(&data, gateways)?;
    let pid = prepared.start().pid();
    let stop = CancellationToken::new();

    eprintln!("they connect …");
    let (cpu, rss) = (load::cpu_seconds(pid)?, load::rss_kib(pid)?);
    let mut agents = start_all(&prepared, &stop).await?;
    connected(&mut agents).await?;
    let cpu = load::cpu_seconds(pid)? - cpu;
    let rss = load::rss_kib(pid)?.saturating_sub(rss);
    let storm = if cli.storm {
        eprintln!("the server ends and starts again …");
        Some(come_back(&mut prepared, &mut agents).await?)
    } else {
        None
    };

    eprintln!("they report for {} s …", cli.seconds);
    let begun = Instant::now();
    let mut took = report(&agents, cli).await?;
    let wall = begun.elapsed().as_secs_f64();
    took.sort_unstable();
    stop.cancel();
    drop(agents);
    prepared.stop();
    let produced = took.len() as u64;
    Ok(Figures {
        gateways,
        storm,
        connects_per_cpu_second: number(gateways as u64) / cpu.max(0.01),
        rss_kib_per_connection: number(rss) / number(gateways as u64),
        readings_stored_per_second: number(produced) / wall,
        ack_p50_ms: f64::from(load::quantile(&took, 0.5)) / 1e3,
        ack_p99_ms: f64::from(load::quantile(&took, 0.99)) / 1e3,
        produced,
        stored: stored(&prepared.place().database())?,
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
fn number(n: u64) -> f64 {
    n as f64
}

/// A running agent and the way to give it readings.
struct Running {
    agent: Agent,
    records: mpsc::Sender<Vec<Item>>,
}

async fn start_all(prepared: &Prepared, stop: &CancellationToken) -> Result<Vec<Running>, LoadError> {
    let keepers: Result<Vec<Keeper>, _> = (0..KEEPERS).map(|_| Keeper::start()).collect();
    let keepers = keepers.map_err(|e| e.to_string())?;
    let clock = Arc::new(Clock::with_floor(0));
    let door = |name| Endpoint {
        host: "localhost".to_owned(),
        port: prepared.port(name),
    };
    let doors = ServerInfo {
        gate: door("gate"),
        renewal: door("renewal"),
    };
    let mut all = Vec::new();
    for (n, member) in prepared.members().iter().enumerate() {
        let server = Server {
            gateway: member.id.clone(),
            enrolment: door("enrol"),
            doors: doors.clone(),
        };
        let keeper = &keepers[n % KEEPERS];
        all.push(start(member, server, prepared, keeper, &clock, n, stop).await?);
    }
    Ok(all)
}

async fn start(
    member: &Member,
    server: Server,
    prepared: &Prepared,
    keeper: &Keeper,
    clock: &Arc<Clock>,
    n: usize,
    stop: &CancellationToken,
) -> Result<Running, LoadError> {
    let epoch = Epoch(n as u64 + 1);
    let opened = keeper.open(Place::Memory, QUOTA, epoch, clock.now()).await;
    let (outbox, _) = opened.map_err(|e| e.to_string())?;
    let (records, inbox) = mpsc::channel(4);
    let (_, sensors) = watch::channel(Vec::new());
    let parts = Parts {
        server,
        key: Arc::clone(&member.key),
        chain: member.chain.clone(),
        trust: prepared.trust(),
        config: Config::parse("").map_err(|e| e.to_string())?,
        clock: Arc::clone(clock),
        outbox,
        records: inbox,
        buses: Vec::new(),
        sensors,
        data: None,
        key_status: None,
        proof: None,
        policy: None,
        assigned: None,
        last_alive: None,
    };
    let agent = Agent::start(parts, stop.clone()).map_err(|e| e.to_string())?;
    Ok(Running { agent, records })
}

async fn connected(agents: &mut [Running]) -> Result<(), LoadError> {
    let all = async {
        for running in agents {
            let there = running
                .agent
                .link
                .wait_for(|link| link.connected_since.is_some())
                .await;
            there.map_err(|_| "an agent ended".to_owned())?;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .map_err(|_| "not all connected in time".to_owned())?
}

/// Ends the server as a power cut does, starts it, and waits until every agent has a new connection.
async fn come_back(prepared: &mut Prepared, agents: &mut [Running]) -> Result<Storm, LoadError> {
    let since = |running: &Running| running.agent.link.borrow().connected_since;
    let before: Vec<_> = agents.iter().map(since).collect();
    prepared.kill();
    // Everybody has noticed, and waits for a moment of his own.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pid = prepared.start().pid();
    let begun = Instant::now();
    let all = async {
        for (running, before) in agents.iter_mut().zip(before) {
            let new = |link: &LinkStatus| link.connected_since.is_some_and(|at| Some(at) != before);
            let there = running.agent.link.wait_for(new).await;
            there.map_err(|_| "an agent ended".to_owned())?;
        }
        Ok::<_, LoadError>(())
    };
    let waited = tokio::time::timeout(PATIENCE, all).await;
    waited.map_err(|_| "not all came back in time".to_owned())??;
    Ok(Storm {
        back_after_s: begun.elapsed().as_secs_f64(),
        connects_per_cpu_second: number(agents.len() as u64) / load::cpu_seconds(pid)?.max(0.01),
        peak_mib: number(load::peak_rss_kib(pid)?) / 1024.0,
    })
}

/// Each agent pushes one reading at a time, spread over the interval; gives how long each acknowledgement took,
/// in microseconds.
async fn report(agents: &[Running], cli: &Cli) -> Result<Vec<u32>, LoadError> {
    let until = Instant::now() + Duration::from_secs(cli.seconds);
    let every = Duration::from_millis(cli.every_ms);
    let mut tasks = JoinSet::new();
    for (n, running) in agents.iter().enumerate() {
        let (records, mut ledger) = (running.records.clone(), running.agent.ledger.clone());
        let first = every * u32::try_from(n % 1000).unwrap_or(0) / 1000;
        tasks.spawn(async move {
            tokio::time::sleep(first).await;
            let mut took = Vec::new();
            let mut tick = tokio::time::interval(every);
            for n in 1u64.. {
                tick.tick().await;
                if Instant::now() >= until {
                    break;
                }
                let pushed = Instant::now();
                let item = Item::Reading(reading(n, Clock::with_floor(0).now()));
                records
                    .send(vec![item])
                    .await
                    .map_err(|_| "an agent ended".to_owned())?;
                let forgotten = ledger.wait_for(|l| l.lane(Lane::Vital).oldest.0 > n);
                let acked = tokio::time::timeout(PATIENCE, forgotten).await;
                acked
                    .map_err(|_| "no acknowledgement".to_owned())?
                    .map_err(|e| e.to_string())?;
                took.push(u32::try_from(pushed.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Ok::<_, LoadError>(took)
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.extend(ended.map_err(|e| e.to_string())??);
    }
    Ok(all)
}

fn stored(database: &Path) -> Result<u64, LoadError> {
    let db =
        Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|e| e.to_string())?;
    let count = db.query_row("SELECT count(*) FROM readings", [], |row| row.get::<_, i64>(0));
    count
        .map(|n| u64::try_from(n).unwrap_or(0))
        .map_err(|e| e.to_string())
}
