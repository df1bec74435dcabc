//! Shell: a policy to thousands of connected gateways: how long until the last one has it, and has said so.
//!
//! Each gateway is a small client with a certificate of its own: it verifies the offer as a box does, and reports by a
//! signed envelope. What the box itself does to apply it is not measured here.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: measures real time of real processes"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use homeward_fleet::ca::files;
use homeward_fleet::clock::Clock;
use homeward_fleet::policy::paper::Papers;
use homeward_fleet::policy::roots::keys_of;
use homeward_protocol::ack::Ack;
use homeward_protocol::attest::Challenge;
use homeward_protocol::envelope::{ChainHash, Entry, Envelope, Item, Lane};
use homeward_protocol::evidence::bundle::Bundle;
use homeward_protocol::id::{Epoch, Seq};
use homeward_protocol::policy::check::check;
use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::sign::{
    Accepted, Floor, Ground, Keyring, Offer, Review, SecondPerson, SignedDigest, SigningKey, accept,
};
use homeward_protocol::policy::state::{Basis, Phase, PointState, PolicyState, Standing};
use homeward_protocol::posture::ShortText;
use homeward_protocol::posture::facts::{Mark, Still};
use homeward_protocol::signed::{PublicKey, Signed, Signer};
use homeward_protocol::time::Timestamp;
use homeward_protocol::topic::{Filter, Topic};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, PingReq, PubAck, Publish, Subscribe};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::load::{self, Connection, LoadError, Target};
use crate::prepared::{Member, Prepared};
use crate::testimony::honest;

/// How long everything may take.
const PATIENCE: Duration = Duration::from_mins(3);
/// How often an idle one pings.
const PING: Duration = Duration::from_secs(30);
/// How long the server may take to judge one, beside [`PATIENCE`]: it asks fifty a second.
const JUDGED: Duration = Duration::from_millis(40);
/// Until what came before is written down.
const SETTLE: Duration = Duration::from_secs(5);
/// Handshakes at a time while they connect.
const AT_ONCE: usize = 64;

/// What came of it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figures {
    /// Gateways that were connected.
    pub gateways: usize,
    /// Bytes of the offer.
    pub offer_bytes: usize,
    /// Until a gateway had verified it, from the assignment on: half of them, and the last.
    pub reached_p50_ms: f64,
    /// The last.
    pub reached_last_ms: f64,
    /// Until its report was stored and acknowledged: half of them, and the last.
    pub reported_p50_ms: f64,
    /// The last.
    pub reported_last_ms: f64,
    /// Transactions that the server wrote a second, once all were judged, while they stayed connected, pinged, and said
    /// once that nothing changed; none when that was not asked for.
    pub idle_commits_per_s: Option<f64>,
    /// Processor time of the server from the assignment to the last acknowledgement, seconds.
    pub server_cpu_s: f64,
}

/// Makes the gateways, connects them, gives them a policy, and waits for every report.
pub async fn measure(gateways: usize, idle: Option<Duration>) -> Result<Figures, LoadError> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    eprintln!("{gateways} gateways are made …");
    let mut prepared = Prepared::new(&folder.path().join("fleet"), gateways)?;
    let papers = papers(&prepared)?;
    let file = folder.path().join("policy.txt");
    std::fs::write(&file, papers.to_string()).map_err(|e| e.to_string())?;
    let pid = prepared.start().pid();
    let file = file.to_string_lossy().into_owned();
    prepared.command(&["policy", "load", &file]);

    eprintln!("they connect …");
    let target = prepared.gate()?;
    let connected = connect(&target, prepared.members()).await?;
    let offer_bytes = papers
        .offer()
        .map_err(|e| e.to_string())?
        .encode()
        .map_err(|e| e.to_string())?
        .len();
    let roots: Arc<Vec<PublicKey>> = Arc::new(keys_of(&prepared.trust()));
    let mut boxes = JoinSet::new();
    for (member, connection) in connected {
        let here = Here {
            member,
            connection,
            judged: false,
        };
        boxes.spawn(follow(here, Arc::clone(&roots)));
    }

    eprintln!("the policy is given to all …");
    let cpu = load::cpu_seconds(pid)?;
    let begun = Instant::now();
    prepared.command(&["policy", "assign", "1", "--all"]);
    let (mut reached, mut reported) = (Vec::new(), Vec::new());
    let mut quiet = Vec::new();
    let all = async {
        while let Some(done) = boxes.join_next().await {
            let (at, acknowledged, here) = done.map_err(|e| e.to_string())??;
            quiet.push(here);
            reached.push(micros(at.saturating_duration_since(begun)));
            reported.push(micros(acknowledged.saturating_duration_since(begun)));
        }
        Ok::<_, LoadError>(())
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .map_err(|_| "not all reported in time".to_owned())??;
    let cpu = load::cpu_seconds(pid)? - cpu;
    let listed = prepared.command(&["policy", "list", "--json"]);
    if !listed.contains(&format!("\"applied\":{gateways}")) {
        return Err(format!(
            "the server does not count every gateway as applied: {listed}"
        ));
    }
    let idle_commits_per_s = match idle {
        Some(span) => Some(rest(quiet, prepared.port("local"), span).await?),
        None => None,
    };
    prepared.stop();
    reached.sort_unstable();
    reported.sort_unstable();
    let ms = |sorted: &[u32], share| f64::from(load::quantile(sorted, share)) / 1e3;
    Ok(Figures {
        gateways,
        offer_bytes,
        reached_p50_ms: ms(&reached, 0.5),
        reached_last_ms: ms(&reached, 1.0),
        reported_p50_ms: ms(&reported, 0.5),
        reported_last_ms: ms(&reported, 1.0),
        idle_commits_per_s,
        server_cpu_s: cpu,
    })
}

fn micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}

/// A key in memory.
struct Key(EcdsaKeyPair);

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signature = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|e| e.to_string())?;
        signature
            .as_ref()
            .try_into()
            .map_err(|_| "not 64 bytes".to_owned())
    }
}

impl Key {
    fn of(der: &[u8]) -> Result<Key, LoadError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new());
        pair.map(Key).map_err(|e| e.to_string())
    }

    fn make() -> Result<Key, LoadError> {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Key::of(made.map_err(|e| e.to_string())?.as_ref())
    }

    fn named(&self, name: &str) -> Result<SigningKey, LoadError> {
        let key = PublicKey::from_point(self.0.public_key().as_ref()).ok_or("no point")?;
        Ok(SigningKey {
            name: ShortText::cut(name),
            key,
        })
    }
}

/// A policy with some points, by two people and the fleet's root.
fn papers(prepared: &Prepared) -> Result<Papers, LoadError> {
    let pem = std::fs::read(prepared.place().authority().join("root-1.key")).map_err(|e| e.to_string())?;
    let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|e| e.to_string())?;
    let (root, ann, ben) = (Key::of(der.secret_pkcs8_der())?, Key::make()?, Key::make()?);
    let now = Clock::system().now();
    let (issued, expires) = (
        Moment::from_secs(now.secs() - 3600),
        Moment::from_secs(now.secs() + 30 * 86_400),
    );
    let text = include_str!("rollout.toml")
        .replace("ISSUED", &issued.to_string())
        .replace("EXPIRES", &expires.to_string());
    let checked = check(&text);
    let policy = checked.policy.ok_or_else(|| format!("{:?}", checked.findings))?;
    let keyring = Keyring {
        version: 1,
        issued,
        expires,
        authors: vec![ann.named("Ann")?],
        reviewers: vec![ben.named("Ben")?],
        second_person: SecondPerson::Required,
    };
    let failed = |e: homeward_protocol::signed::SignedError| e.to_string();
    let signed = Signed::seal(&policy, &ann).map_err(failed)?;
    let review = Review {
        policy: SignedDigest::of(&signed),
        version: policy.version,
        at: issued,
    };
    Ok(Papers {
        keyring: Some(Signed::seal(&keyring, &root).map_err(failed)?),
        policy: Some(signed),
        review: Some(Signed::seal(&review, &ben).map_err(failed)?),
    })
}

/// Connects all, some at a time, and subscribes each to what is sent to it.
async fn connect(target: &Target, members: &[Member]) -> Result<Vec<(Member, Connection)>, LoadError> {
    let mut all = Vec::with_capacity(members.len());
    for some in members.chunks(AT_ONCE) {
        let mut tasks = JoinSet::new();
        for member in some.iter().cloned() {
            let target = target.clone();
            tasks.spawn(async move {
                let connection = open(&target, &member).await?;
                Ok::<_, LoadError>((member, connection))
            });
        }
        while let Some(done) = tasks.join_next().await {
            all.push(done.map_err(|e| e.to_string())??);
        }
    }
    Ok(all)
}

async fn open(target: &Target, member: &Member) -> Result<Connection, LoadError> {
    let key = member.key.for_tls().map_err(|e| e.to_string())?;
    let tls = target.tls(&member.chain, key)?;
    let mut connection = Connection::open(target, tls, member.id.as_str()).await?;
    let mut subscribe = Subscribe::new(Filter::Down(member.id.clone()).to_string(), QoS::AtLeastOnce);
    subscribe.pkid = 1;
    let mut out = BytesMut::new();
    subscribe.write(&mut out).map_err(|e| e.to_string())?;
    connection.write(&out).await?;
    Ok(connection)
}

/// A gateway that is connected.
struct Here {
    member: Member,
    connection: Connection,
    /// Whether it answered a challenge and heard the judgement.
    judged: bool,
}

impl Here {
    /// Takes what came: acknowledges it, and answers a challenge as a box with a key in a file does.
    async fn take(&mut self, down: &Publish) -> Result<(), LoadError> {
        let mut out = BytesMut::new();
        if down.qos == QoS::AtLeastOnce {
            PubAck::new(down.pkid)
                .write(&mut out)
                .map_err(|e| e.to_string())?;
        }
        match down.topic.parse() {
            Ok(Topic::Challenge(_)) => {
                let challenge = Challenge::decode(&down.payload).map_err(|e| e.to_string())?;
                let name = digest(&SHA256, self.member.id.as_str().as_bytes());
                let box_id = name.as_ref().first_chunk().copied().unwrap_or_default();
                let claims = honest(&self.member.key, challenge.nonce.0, box_id);
                let token = claims.seal(&*self.member.key).map_err(|e| e.to_string())?;
                let bundle = Bundle { token, tpm: None }.encode().map_err(|e| e.to_string())?;
                let topic = Topic::Evidence(self.member.id.clone()).to_string();
                let mut publish = Publish::new(topic, QoS::AtLeastOnce, bundle);
                publish.pkid = 4;
                publish.write(&mut out).map_err(|e| e.to_string())?;
            }
            Ok(Topic::Verdict(_)) => self.judged = true,
            _ => {}
        }
        if out.is_empty() {
            return Ok(());
        }
        self.connection.write(&out).await
    }
}

/// Waits for the policy, verifies it, reports it, and waits until the report is stored: when it had verified it, and
/// when the report was acknowledged.
async fn follow(mut here: Here, roots: Arc<Vec<PublicKey>>) -> Result<(Instant, Instant, Here), LoadError> {
    let mut reached = None;
    loop {
        let Packet::Publish(down) = here.connection.read().await? else {
            continue;
        };
        here.take(&down).await?;
        match down.topic.parse() {
            Ok(Topic::Policy(_)) if reached.is_none() => {
                let now = Clock::system().now();
                let accepted = taken(&here.member, &down.payload, &roots, now)?;
                reached = Some(Instant::now());
                report(&here.member, &mut here.connection, &accepted, now).await?;
            }
            Ok(Topic::Ack(_)) => {
                let ack = Ack::decode(&down.payload).map_err(|e| e.to_string())?;
                if let Some(reached) = reached.filter(|_| ack.lane == Lane::Urgent && ack.up_to.0 >= 1) {
                    return Ok((reached, Instant::now(), here));
                }
            }
            _ => {}
        }
    }
}

/// Waits until all are judged, then lets them be for a while; gives the transactions that the server wrote meanwhile, a
/// second.
async fn rest(quiet: Vec<Here>, local: u16, span: Duration) -> Result<f64, LoadError> {
    let all = quiet.len();
    let of = u32::try_from(all.max(1)).unwrap_or(u32::MAX);
    eprintln!("they are judged …");
    let (start, begun) = watch::channel(false);
    let left = Arc::new(AtomicUsize::new(all));
    let mut boxes = JoinSet::new();
    for (n, here) in (0u32..).zip(quiet) {
        let when = (PING * n / of, span * n / of);
        boxes.spawn(be_quiet(here, when, begun.clone(), Arc::clone(&left)));
    }
    let limit = Instant::now() + PATIENCE + JUDGED * of;
    while left.load(Ordering::Relaxed) > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ended(&mut boxes)?;
        if Instant::now() > limit {
            return Err(format!(
                "{} were not judged in time",
                left.load(Ordering::Relaxed)
            ));
        }
    }
    // What came before is written by then.
    tokio::time::sleep(SETTLE).await;
    eprintln!("they stay for {} s …", span.as_secs());
    let _ = start.send(true);
    let before = commits(local)?;
    tokio::time::sleep(span).await;
    let written = commits(local)? - before;
    ended(&mut boxes)?;
    Ok(written / span.as_secs_f64())
}

/// None of them ends by itself.
fn ended(boxes: &mut JoinSet<Result<(), LoadError>>) -> Result<(), LoadError> {
    match boxes.try_join_next() {
        Some(done) => {
            done.map_err(|e| e.to_string())??;
            Err("one of them ended".into())
        }
        None => Ok(()),
    }
}

/// Pings, takes what comes, and says once, so long after `begun`, that nothing changed.
async fn be_quiet(
    mut here: Here,
    (first, still): (Duration, Duration),
    mut begun: watch::Receiver<bool>,
    left: Arc<AtomicUsize>,
) -> Result<(), LoadError> {
    let mut counted = false;
    let mut ping_at = tokio::time::Instant::now() + first;
    let mut still_at = None;
    let mut said = false;
    loop {
        if here.judged && !counted {
            counted = true;
            left.fetch_sub(1, Ordering::Relaxed);
        }
        let next = still_at.map_or(ping_at, |at: tokio::time::Instant| at.min(ping_at));
        let packet = tokio::select! {
            packet = here.connection.read() => Some(packet?),
            () = tokio::time::sleep_until(next) => None,
            Ok(()) = begun.changed(), if still_at.is_none() && !said => {
                still_at = Some(tokio::time::Instant::now() + still);
                continue;
            }
        };
        match packet {
            Some(Packet::Publish(down)) => here.take(&down).await?,
            Some(_) => {}
            None => {
                let mut out = BytesMut::new();
                let now = tokio::time::Instant::now();
                if still_at.is_some_and(|at| now >= at) {
                    (still_at, said) = (None, true);
                    let still = Still {
                        number: 1,
                        mark: Mark([0; 16]),
                        software: None,
                    };
                    let bytes = still.encode().map_err(|e| e.to_string())?;
                    let topic = Topic::Still(here.member.id.clone()).to_string();
                    let mut publish = Publish::new(topic, QoS::AtLeastOnce, bytes);
                    publish.pkid = 3;
                    publish.write(&mut out).map_err(|e| e.to_string())?;
                } else {
                    PingReq.write(&mut out).map_err(|e| e.to_string())?;
                    ping_at = now + PING;
                }
                here.connection.write(&out).await?;
            }
        }
    }
}

/// Transactions that the server has written so far, as it counts them.
fn commits(local: u16) -> Result<f64, LoadError> {
    let mut line = TcpStream::connect(("127.0.0.1", local)).map_err(|e| e.to_string())?;
    line.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .map_err(|e| e.to_string())?;
    let mut text = String::new();
    line.read_to_string(&mut text).map_err(|e| e.to_string())?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("homeward_store_commits_total "));
    value
        .and_then(|value| value.trim().parse().ok())
        .ok_or_else(|| "the server does not count its commits".to_owned())
}

fn taken(
    member: &Member,
    payload: &[u8],
    roots: &[PublicKey],
    now: Timestamp,
) -> Result<Accepted, LoadError> {
    let offer = Offer::decode(payload).map_err(|e| e.to_string())?;
    let ground = Ground {
        gateway: &member.id,
        roots,
        floor: Floor::default(),
        now,
    };
    accept(&offer, ground).map_err(|e| e.to_string())
}

async fn report(
    member: &Member,
    connection: &mut Connection,
    accepted: &Accepted,
    now: Timestamp,
) -> Result<(), LoadError> {
    let body = Item::Policy(Box::new(state(accepted, now)))
        .encode()
        .map_err(|e| e.to_string())?;
    let (lane, epoch) = (
        Lane::Urgent,
        Epoch(
            files::random()
                .map(u64::from_be_bytes)
                .map_err(|e| e.to_string())?,
        ),
    );
    let envelope = Envelope {
        gateway: member.id.clone(),
        epoch,
        lane,
        oldest: Seq(1),
        first: Seq(1),
        prev: ChainHash::start(epoch, lane),
        sent_at: now,
        entries: vec![Entry::Item(body)],
    };
    let bytes = Signed::seal(&envelope, &*member.key).map_err(|e| e.to_string())?;
    let topic = Topic::Up(member.id.clone(), lane).to_string();
    let mut publish = Publish::new(topic, QoS::AtLeastOnce, bytes);
    publish.pkid = 2;
    let mut out = BytesMut::new();
    publish.write(&mut out).map_err(|e| e.to_string())?;
    connection.write(&out).await
}

/// What a box says once all of it holds.
fn state(accepted: &Accepted, now: Timestamp) -> PolicyState {
    let point = |point: homeward_protocol::policy::points::Point| PointState {
        wanted: point.shown(),
        applied: Some(point.shown()),
        observed: Some(point.shown()),
        standing: Standing::Holds,
        since: now,
        point: point.id,
        hazard: point.hazard,
    };
    PolicyState {
        taken_at: now,
        basis: Basis::Signed,
        policy: Some(accepted.mark),
        keyring: accepted.keyring,
        phase: Phase::Settled,
        refused: None,
        returned: None,
        isolation: None,
        points: accepted.policy.get().points().into_iter().map(point).collect(),
        more: 0,
    }
}
