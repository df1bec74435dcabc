//! The gate against mosquitto: the same certificates, client, bytes and window, one after the other on one machine.
//!
//! Prints server CPU per full mTLS connect, memory per idle connection, and acknowledged `QoS` 1 publishes a second
//! (Homeward: stored and committed before each acknowledgement; mosquitto: kept in memory only), and their ratios.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: measures real time of real processes"
)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use homeward_protocol::id::GatewayId;
use homeward_tests::load::{self, Connection, LoadError, Target};
use homeward_tests::peers::Mosquitto;
use homeward_tests::prepared::{Member, Prepared};
use serde::Serialize;

/// Compares the gate with mosquitto under the same load.
#[derive(Debug, Parser)]
struct Cli {
    /// Full mTLS connects to time: several for each of the 2,000 gateways, as a fleet comes back.
    #[arg(long, default_value_t = 12_000)]
    connects: usize,
    /// Idle connections to hold while memory is read.
    #[arg(long, default_value_t = 2000)]
    idle: usize,
    /// Publishing connections.
    #[arg(long, default_value_t = 50)]
    publishers: usize,
    /// Publishes that one connection may have un-acknowledged.
    #[arg(long, default_value_t = 16)]
    window: u16,
    /// Readings in one publish, 1 to 100: one poll of a device gives about eight.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    readings: u64,
    /// Seconds of publishing.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// What was measured of one server.
#[derive(Debug, Clone, Copy, Serialize)]
struct Figures {
    connects_per_cpu_second: f64,
    idle_kib_per_connection: f64,
    publishes_per_second: f64,
    publishes_per_cpu_second: f64,
    ack_p50_us: u32,
    ack_p99_us: u32,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&format!("no runtime: {e}")),
    };
    match runtime.block_on(compare(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("bench gate: {why}");
    ExitCode::FAILURE
}

async fn compare(cli: &Cli) -> Result<(), LoadError> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let members = cli.idle.max(cli.publishers);
    let mut prepared = Prepared::new(&folder.path().join("fleet"), members)?;

    eprintln!("homeward-fleet …");
    let pid = prepared.start().pid();
    let first = first(&prepared, &prepared.gate()?, pid).await?;
    let ours = measure(cli, &prepared, prepared.gate()?, pid).await?;
    let resumed = resumed(cli, &prepared, &prepared.gate()?, pid).await?;
    prepared.stop();

    eprintln!("mosquitto …");
    let settings = settings(folder.path(), &prepared)?;
    let Some(mosquitto) = Mosquitto::start(folder.path(), &settings) else {
        return Err("mosquitto is not installed (apt-get install mosquitto)".into());
    };
    let target = prepared.target(mosquitto.port)?;
    let theirs = measure(cli, &prepared, target, mosquitto.program.pid()).await?;
    let comings = Comings { first, resumed };
    print(cli, comings, ours, theirs);
    Ok(())
}

/// What a gateway's coming costs when the server has never seen it, and when it resumes a session.
#[derive(Debug, Clone, Copy, Serialize)]
struct Comings {
    /// Per second of the server's CPU.
    first: f64,
    /// The same.
    resumed: f64,
}

fn print(cli: &Cli, comings: Comings, ours: Figures, theirs: Figures) {
    let ratio = |a: f64, b: f64| if b == 0.0 { f64::NAN } else { a / b };
    let rows = [
        (
            "full mTLS connects per server CPU-second",
            ours.connects_per_cpu_second,
            theirs.connects_per_cpu_second,
            "at least 4",
        ),
        (
            "memory per idle connection, KiB",
            ours.idle_kib_per_connection,
            theirs.idle_kib_per_connection,
            "below 1",
        ),
        (
            "QoS 1 publishes acknowledged per second",
            ours.publishes_per_second,
            theirs.publishes_per_second,
            "at least 0.5",
        ),
        (
            "QoS 1 publishes per server CPU-second",
            ours.publishes_per_cpu_second,
            theirs.publishes_per_cpu_second,
            "",
        ),
    ];
    if cli.json {
        let ratios: Vec<f64> = rows.iter().map(|r| ratio(r.1, r.2)).collect();
        println!(
            "{}",
            serde_json::json!({ "homeward": ours, "mosquitto": theirs, "ratios": ratios, "comings": comings })
        );
        return;
    }
    println!(
        "{:<44}{:>12}{:>12}{:>8}   target",
        "", "homeward", "mosquitto", "ratio"
    );
    for (what, a, b, target) in rows {
        println!("{what:<44}{a:>12.1}{b:>12.1}{:>8.2}   {target}", ratio(a, b));
    }
    println!(
        "a connect that resumes a session costs the server {:.2} of a full one, {:.2} of the first one of a gateway \
         (target: at most 0.6)",
        ours.connects_per_cpu_second / comings.resumed,
        comings.first / comings.resumed,
    );
    println!(
        "acknowledgement p50/p99, ms: homeward {:.1}/{:.1}, mosquitto {:.1}/{:.1}",
        f64::from(ours.ack_p50_us) / 1e3,
        f64::from(ours.ack_p99_us) / 1e3,
        f64::from(theirs.ack_p50_us) / 1e3,
        f64::from(theirs.ack_p99_us) / 1e3,
    );
    println!(
        "{} readings in a publish: homeward stores {:.0} readings a second",
        cli.readings,
        ours.publishes_per_second * number(cli.readings),
    );
    println!(
        "homeward checks signatures (one for a run of envelopes), stores and commits before it acknowledges; mosquitto keeps messages in memory only"
    );
}

async fn measure(cli: &Cli, prepared: &Prepared, target: Target, pid: u32) -> Result<Figures, LoadError> {
    let connects_per_cpu_second = connects(cli, prepared, &target, pid).await?;
    let idle_kib_per_connection = idle(cli, prepared, &target, pid).await?;
    let before = (Instant::now(), load::cpu_seconds(pid)?);
    let mut took = publishes(cli, prepared, &target).await?;
    let (wall, cpu) = (
        before.0.elapsed().as_secs_f64(),
        load::cpu_seconds(pid)? - before.1,
    );
    took.sort_unstable();
    let count = count(took.len());
    Ok(Figures {
        connects_per_cpu_second,
        idle_kib_per_connection,
        publishes_per_second: count / wall,
        publishes_per_cpu_second: count / cpu.max(0.01),
        ack_p50_us: load::quantile(&took, 0.5),
        ack_p99_us: load::quantile(&took, 0.99),
    })
}

fn count(n: usize) -> f64 {
    number(n as u64)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
fn number(n: u64) -> f64 {
    n as f64
}

/// A gateway and the TLS it connects with.
type Caller = (GatewayId, Arc<rustls::ClientConfig>);

fn callers(
    prepared: &Prepared,
    make: impl Fn(&Member) -> Result<Arc<rustls::ClientConfig>, LoadError>,
) -> Result<Vec<Caller>, LoadError> {
    let caller = |member: &Member| Ok((member.id.clone(), make(member)?));
    prepared.members().iter().map(caller).collect()
}

/// Full handshakes, several of each gateway, per second of the server's CPU.
async fn connects(cli: &Cli, prepared: &Prepared, target: &Target, pid: u32) -> Result<f64, LoadError> {
    let all = callers(prepared, |member| {
        target.tls(&member.chain, member.key.for_tls().map_err(|e| e.to_string())?)
    })?;
    call(cli.connects, all, target, pid, Some(rustls::HandshakeKind::Full)).await
}

/// The first connect of each gateway.
async fn first(prepared: &Prepared, target: &Target, pid: u32) -> Result<f64, LoadError> {
    let all = callers(prepared, |member| {
        target.tls(&member.chain, member.key.for_tls().map_err(|e| e.to_string())?)
    })?;
    call(all.len(), all, target, pid, Some(rustls::HandshakeKind::Full)).await
}

/// Connects that resume a session of the same gateway.
async fn resumed(cli: &Cli, prepared: &Prepared, target: &Target, pid: u32) -> Result<f64, LoadError> {
    let all = callers(prepared, |member| {
        target.tls_that_resumes(&member.chain, member.key.for_tls().map_err(|e| e.to_string())?)
    })?;
    // Each gets its ticket.
    call(all.len(), all.clone(), target, pid, None).await?;
    call(
        cli.connects,
        all,
        target,
        pid,
        Some(rustls::HandshakeKind::Resumed),
    )
    .await
}

/// So many connects one after the other on a few tasks, each by a handshake of that kind if one is named, per second of the server's
/// CPU.
async fn call(
    connects: usize,
    all: Vec<Caller>,
    target: &Target,
    pid: u32,
    kind: Option<rustls::HandshakeKind>,
) -> Result<f64, LoadError> {
    const TASKS: usize = 16;
    let all = Arc::new(all);
    let before = load::cpu_seconds(pid)?;
    let mut tasks = tokio::task::JoinSet::new();
    for first in 0..TASKS {
        let (target, all) = (target.clone(), Arc::clone(&all));
        let turns = connects.div_ceil(TASKS);
        tasks.spawn(async move {
            for turn in 0..turns {
                let (id, tls) = &all[(first + turn * TASKS) % all.len()];
                let connection = Connection::open(&target, Arc::clone(tls), id.as_str()).await?;
                if kind.is_some() && connection.handshake() != kind {
                    return Err(format!(
                        "{id} did not connect by a handshake of the kind {kind:?}"
                    ));
                }
                connection.close().await;
            }
            Ok::<usize, LoadError>(turns)
        });
    }
    let mut done = 0;
    while let Some(ended) = tasks.join_next().await {
        done += ended.map_err(|e| e.to_string())??;
    }
    Ok(count(done) / (load::cpu_seconds(pid)? - before).max(0.01))
}

/// Opens connections, lets them rest, and reads how much the process grew.
async fn idle(cli: &Cli, prepared: &Prepared, target: &Target, pid: u32) -> Result<f64, LoadError> {
    let before = load::rss_kib(pid)?;
    let mut open = Vec::new();
    for member in prepared.members().iter().take(cli.idle) {
        let tls = target.tls(&member.chain, member.key.for_tls().map_err(|e| e.to_string())?)?;
        open.push(Connection::open(target, tls, member.id.as_str()).await?);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let grown = load::rss_kib(pid)?.saturating_sub(before);
    let held = open.len();
    for connection in open {
        connection.close().await;
    }
    #[expect(clippy::cast_precision_loss, reason = "KiB of a benchmark")]
    let grown = grown as f64;
    Ok(grown / count(held))
}

/// Publishes signed envelopes of one reading each; gives how long each acknowledgement took, in microseconds.
async fn publishes(cli: &Cli, prepared: &Prepared, target: &Target) -> Result<Vec<u32>, LoadError> {
    let mut tasks = tokio::task::JoinSet::new();
    let begin = Arc::new(tokio::sync::Barrier::new(cli.publishers));
    for member in prepared.members().iter().take(cli.publishers).cloned() {
        let (target, begin) = (target.clone(), Arc::clone(&begin));
        let (window, readings) = (cli.window, cli.readings);
        let seconds = Duration::from_secs(cli.seconds);
        tasks.spawn(async move {
            let tls = target.tls(&member.chain, member.key.for_tls().map_err(|e| e.to_string())?)?;
            let mut connection = Connection::open(&target, tls, member.id.as_str()).await?;
            let topic = format!("hw1/{}/up/vital", member.id);
            let mut envelopes = member.envelopes(readings);
            begin.wait().await;
            let until = Instant::now() + seconds;
            connection.publish(&topic, &mut envelopes, window, until).await
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.extend(ended.map_err(|e| e.to_string())??);
    }
    Ok(all)
}

/// What makes mosquitto demand the same of its clients: mTLS, identity from the certificate, own topics only.
fn settings(folder: &Path, prepared: &Prepared) -> Result<String, LoadError> {
    let ca = prepared.place().authority();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text)
            .map(|()| path.display().to_string())
            .map_err(|e| e.to_string())
    };
    let trust = write("trust.pem", &prepared.trust_pem())?;
    let rights = write("acl", "pattern readwrite hw1/%u/#\n")?;
    let (cert, key) = (ca.join("server.crt"), ca.join("server.key"));
    Ok(format!(
        "cafile {trust}\ncertfile {}\nkeyfile {}\ntls_version tlsv1.3\nrequire_certificate true\n\
         use_identity_as_username true\nacl_file {rights}\npersistence false\nset_tcp_nodelay true\n\
         max_inflight_messages 0\nmax_connections -1\n",
        cert.display(),
        key.display(),
    ))
}
