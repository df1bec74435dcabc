//! Shell: puts the parts together. The only place that starts tasks.
#![expect(clippy::disallowed_methods, reason = "shell: starts and stops everything")]

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use homeward_devices::bluez::keys::Keys;
use homeward_protocol::envelope::{Item, Lane};
use homeward_protocol::id::{Epoch, SensorId, Seq};
use homeward_protocol::posture::{KeyFacts, KeyPlace, SensorHeard};
use homeward_protocol::time::Timestamp;
use rustls::pki_types::CertificateDer;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::associate::file::FileError;
use crate::attest::answer::Proof;
use crate::attest::file as trust;
use crate::care::Judged;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::load::{LoadError, Loaded, load};
use crate::enrol::follow::Follower;
use crate::enrol::renew::{Held, Renewal};
use crate::identity::keys::{DeviceKey, Folder, KeyError, Server};
use crate::identity::tls::{TlsError, verified};
use crate::identity::{LeafError, Life, read_leaf};
use crate::interlock::button::follow::Button;
use crate::interlock::follow::Ties;
use crate::outbox::keeper::{Keeper, Outbox, Place};
use crate::outbox::sqlite::{Opened, OutboxError};
use crate::outbox::{Ledger, intake};
use crate::policy::habits::Now;
use crate::posture::collect::Bus;
use crate::posture::report::Reporter;
use crate::posture::tell::Teller;
use crate::session::mqtt::{Credentials, Door, Link, Wish};
use crate::session::{Moment, Session};
use crate::status::file::Writer;
use crate::status::{CertificateStatus, KeyStatus, LinkStatus, file};
use crate::strain::Strain;
use crate::trials::Tried;
use crate::update::inbox::Inbox;
use crate::vault::Vault;
use crate::vault::chip::ChipError;

use crate::tpm::TpmError;
use crate::tpm::thread::Tpm;
use voice::{Ground, Known, Main, Voice};
use wards::{Task, Wards};

pub mod bluetooth;
pub mod imaging;
pub mod live;
pub mod looking;
pub mod policing;
pub mod proving;
pub mod supporting;
pub mod updating;
pub mod voice;
pub mod wards;

/// How long tasks may take to end once they were asked to.
const GRACE: Duration = Duration::from_secs(5);
/// Lots of records between the sensors and the outbox. A disk that is slower than that slows the sensors down.
const RECORDS: usize = 64;
/// Wishes of the server that wait.
const WISHES: usize = 8;

/// Why the agent does not run, or stopped running.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// Another agent has the data folder.
    #[error("another agent runs with the data folder {0}. Stop it first")]
    Taken(PathBuf),
    /// The data folder cannot be used.
    #[error("could not use the data folder {path}: is it there and writable for this user?")]
    Data {
        /// Which folder.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(#[from] KeyError),
    /// The certificate is not for this box.
    #[error("{0}. Move the folder `identity` away and enrol again")]
    Leaf(#[from] LeafError),
    /// The disk was moved to another box.
    #[error(
        "this disk was enrolled in another box: its key is in that box's TPM. Put the disk back, or remove the folder \
         `identity` and enrol this box with a claim of its own"
    )]
    OtherTpm(#[source] TpmError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The system refused a thread or a signal handler.
    #[error("the system refused what the agent needs to run")]
    System(#[source] std::io::Error),
    /// What proves this box cannot be kept.
    #[error(transparent)]
    Proof(#[from] trust::FileError),
    /// It is not known who is paired.
    #[error(transparent)]
    Paired(#[from] FileError),
    /// What lies in the data folder does not open here.
    #[error(
        "what lies in the data folder does not open on this box. If its board or its card was replaced, or its TPM, ask the \
         operator for a new claim for this gateway and run `enrol` with it: the certificate and what waited are gone"
    )]
    Vault(#[from] ChipError),
    /// There is no such sensor.
    #[error("agent.toml has no {wanted}; it has: {known}")]
    NoSensor {
        /// What was wanted.
        wanted: String,
        /// All names.
        known: String,
    },
    /// A task ended by itself.
    #[error("the part `{0}` ended unexpectedly; that is a fault of the program, please report it")]
    Ended(&'static str),
}

/// What one agent is made of. Nothing in it belongs to the process, so thousands can run in one.
pub struct Parts {
    /// Name and doors.
    pub server: Server,
    /// The key.
    pub key: Arc<DeviceKey>,
    /// Our certificate, then its intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    /// The trust anchors.
    pub trust: Vec<CertificateDer<'static>>,
    /// The configuration.
    pub config: Config,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// Where records are kept.
    pub outbox: Outbox,
    /// What the sensors bring.
    pub records: mpsc::Receiver<Vec<Item>>,
    /// The buses that sensors are read over, once for each of them.
    pub buses: Vec<Bus>,
    /// How the sensors stand.
    pub sensors: watch::Receiver<Vec<SensorHeard>>,
    /// Where status and new certificates are kept. Without it the agent writes no file and reports no posture.
    pub data: Option<PathBuf>,
    /// Where the key is; nothing for load generators.
    pub key_status: Option<KeyStatus>,
    /// What it proves itself with. Without it the agent answers no challenge.
    pub proof: Option<Proof>,
    /// The policies of the box. Without them it takes none.
    pub policy: Option<policing::Start>,
    /// Where the director's words on software go. Without it the box takes no updates.
    pub assigned: Option<Inbox>,
    /// The last moment that an earlier run is known to have been alive.
    pub last_alive: Option<Timestamp>,
}

/// Which task ended, and how.
type Ended = (&'static str, Result<(), RunError>);

/// A running agent.
pub struct Agent {
    tasks: JoinSet<Ended>,
    stop: CancellationToken,
    /// The state of the link.
    pub link: watch::Receiver<LinkStatus>,
    /// Where the outbox stands.
    pub ledger: watch::Receiver<Ledger>,
    /// What it speaks with.
    pub credentials: watch::Receiver<Credentials>,
    /// The roots that it trusts.
    pub trust: watch::Receiver<Vec<CertificateDer<'static>>>,
}

impl Agent {
    /// Starts one on the current runtime. It ends when `stop` is cancelled or one of its tasks ends.
    #[expect(
        clippy::too_many_lines,
        reason = "what an agent is made of is joined in one place"
    )]
    pub fn start(parts: Parts, stop: CancellationToken) -> Result<Agent, RunError> {
        let Parts {
            server,
            key,
            chain,
            trust,
            config,
            clock,
            outbox,
            records,
            buses,
            sensors,
            data,
            proof,
            key_status,
            policy,
            assigned,
            last_alive,
        } = parts;
        let facts = key_status.as_ref().map(|status| status.facts);
        let spare = facts.is_some_and(|facts| facts.place == KeyPlace::Spare);
        let leaf = chain.first().ok_or(TlsError::NoAnchor)?;
        let life = read_leaf(leaf, &server.gateway, &key.public()?)?;
        let (held_tx, held) = watch::channel(Held { chain, life });
        let first = credentials(&held.borrow(), &trust, &key, &clock)?;
        let (trust_tx, trust) = watch::channel(trust);
        let trusted = trust.clone();
        let (credentials_tx, credentials_rx) = watch::channel(first);
        let (certificate_tx, certificate) = watch::channel(certificate(life));
        let (link_tx, link) = watch::channel(LinkStatus::default());
        let (wishes_tx, wishes) = mpsc::channel(WISHES);
        let habits = policing::Start::habits(policy.as_ref());
        let policing = policing::keep(policy.zip(data.clone()), &outbox, &clock, (&link, &trust), &stop);
        let (asked, asks) = asking();
        let (orders, helping) = supporting::keep(
            data.as_deref(),
            (&outbox, &clock),
            policing.support,
            (&server, &config, credentials_rx.clone()),
            &stop,
        );
        let (ends, answering) = proving::converse(proof, &outbox, (&clock, &link, &habits), &stop);
        let ledger = outbox.ledger();
        let session = first_session(&config, &ledger, last_alive, &clock);
        let mut tasks = JoinSet::new();

        let keeping = intake::run(records, outbox.clone(), Arc::clone(&clock), stop.clone());
        tasks.spawn(async { ("records", keeping.await.map_err(RunError::from)) });
        let wire = Link {
            door: gate(&server, &config, spare),
            credentials: credentials_rx.clone(),
            outbox: outbox.clone(),
            clock: Arc::clone(&clock),
            wishes: wishes_tx,
            attest: ends.attest,
            policy: policing.heard,
            update: assigned,
            support: orders,
            speech: ends.speech,
            connection: 0,
            renewed: None,
            status: link_tx,
            random,
        };
        // A key in a TPM is slow, and TLS waits for it on the thread that it runs on.
        let apart = key.chip().is_some();
        begin(&mut tasks, apart, done("link", wire.run(session, stop.clone())));
        for task in answering.into_iter().chain(policing.task).chain(helping) {
            begin(&mut tasks, apart, task);
        }
        let change = Change {
            held: held.clone(),
            trust: trust.clone(),
            again: policing.again,
            key: Arc::clone(&key),
            clock: Arc::clone(&clock),
            to: credentials_tx,
            told: certificate_tx,
        };
        let changing = change.run(stop.clone());
        tasks.spawn(async { ("credentials", changing.await) });
        tasks.spawn(done("wishes", dispatch(wishes, asked, stop.clone())));

        let gateway = server.gateway.clone();
        if let Some(data) = data.as_deref() {
            let follower = follower(&server, trust_tx, data, &clock);
            tasks.spawn(done("anchors", follower.run(asks.follow, stop.clone())));
        }
        let renewal = renewal(server, key, &trust, data.as_deref(), &clock, &habits);
        let renewing = renewing(renewal, held_tx, asks.renew, spare, stop.clone());
        begin(&mut tasks, apart, renewing);

        if let Some(data) = data {
            let teller = Teller {
                data: data.clone(),
                outbox: outbox.clone(),
                clock: Arc::clone(&clock),
                buses,
                link: link.clone(),
                says: ends.says,
                adapters: || Box::pin(looking::adapters()),
            };
            let telling = teller.run(asks.facts, asks.software, stop.clone());
            tasks.spawn(done("facts", telling));
            let heard = (&sensors, trust, facts);
            let reporter = reporter(&data, outbox, &clock, heard, (config.posture_interval, habits));
            tasks.spawn(done("posture", reporter.run(asks.tell, stop.clone())));
            let writer = Writer {
                data,
                gateway,
                clock,
                link: link.clone(),
                ledger: ledger.clone(),
                sensors,
                certificate,
                key: key_status,
            };
            tasks.spawn(done("status", writer.run(stop.clone())));
        }
        Ok(Agent {
            tasks,
            stop,
            link,
            ledger,
            credentials: credentials_rx,
            trust: trusted,
        })
    }

    /// Runs more tasks until the agent stops.
    fn serve(&mut self, tasks: Vec<Task>) {
        for task in tasks {
            self.tasks.spawn(task);
        }
    }

    /// Waits for the first task that ends by itself; when all were asked to stop, for all of them.
    pub async fn ended(&mut self) -> Result<(), RunError> {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok((_, Err(error))) => return Err(error),
                Ok((name, Ok(()))) if !self.stop.is_cancelled() => return Err(RunError::Ended(name)),
                Ok((_, Ok(()))) => {}
                Err(_) => return Err(RunError::Ended("a task that panicked")),
            }
        }
        Ok(())
    }

    /// Asks all tasks to stop and waits for them, at most five seconds.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if timeout(GRACE, async { while self.tasks.join_next().await.is_some() {} })
            .await
            .is_err()
        {
            tracing::warn!("not everything stopped in time; what was kept stays kept");
        }
    }
}

/// Starts a task; `apart`, on a thread and a runtime of its own, where it may wait for slow things.
fn begin(tasks: &mut JoinSet<Ended>, apart: bool, work: impl Future<Output = Ended> + Send + 'static) {
    if !apart {
        tasks.spawn(work);
        return;
    }
    tasks.spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(work),
            Err(source) => ("a thread of its own", Err(RunError::System(source))),
        }
    });
}

async fn done(name: &'static str, task: impl Future<Output = ()>) -> (&'static str, Result<(), RunError>) {
    task.await;
    (name, Ok(()))
}

fn renewal(
    server: Server,
    key: Arc<DeviceKey>,
    trust: &watch::Receiver<Vec<CertificateDer<'static>>>,
    data: Option<&Path>,
    clock: &Arc<Clock>,
    habits: &Now,
) -> Renewal {
    Renewal {
        server,
        key,
        trust: trust.clone(),
        folder: data.map(Folder::within),
        clock: Arc::clone(clock),
        habits: habits.clone(),
        dice: random(),
    }
}

/// Renews the certificate. That of a spare key is renewed by the key in the TPM alone: it is only held.
async fn renewing(
    renewal: Renewal,
    held: watch::Sender<Held>,
    now: watch::Receiver<u64>,
    spare: bool,
    stop: CancellationToken,
) -> Ended {
    if spare {
        stop.cancelled().await;
        drop(held);
    } else {
        renewal.run(held, now, stop).await;
    }
    ("renewal", Ok(()))
}

/// A random number. It spreads waits and names outboxes; it is no secret.
fn random() -> u64 {
    RandomState::new().hash_one(0u8)
}

fn credentials(
    held: &Held,
    trust: &[CertificateDer<'static>],
    key: &Arc<DeviceKey>,
    clock: &Arc<Clock>,
) -> Result<Credentials, RunError> {
    let tls = verified(trust, Some((held.chain.clone(), key.for_tls()?)), clock)?;
    let signer: Arc<dyn homeward_protocol::signed::Signer + Send + Sync> = Arc::clone(key) as _;
    Ok(Credentials {
        tls: Arc::new(tls),
        signer,
    })
}

fn first_session(
    config: &Config,
    ledger: &watch::Receiver<Ledger>,
    last_alive: Option<Timestamp>,
    clock: &Clock,
) -> Session {
    let moment = Moment {
        uptime: clock.uptime(),
        at: clock.now(),
    };
    Session::new(config.limits, *ledger.borrow(), last_alive, random(), moment)
}

fn gate(server: &Server, config: &Config, spare: bool) -> Door {
    let gate = config.gate.as_ref().unwrap_or(&server.doors.gate);
    Door {
        host: gate.host.clone(),
        port: gate.port,
        gateway: server.gateway.clone(),
        spare,
        keep_alive: config.keep_alive,
    }
}

fn follower(
    server: &Server,
    trust: watch::Sender<Vec<CertificateDer<'static>>>,
    data: &Path,
    clock: &Arc<Clock>,
) -> Follower {
    Follower {
        server: server.clone(),
        trust,
        folder: Folder::within(data),
        clock: Arc::clone(clock),
        dice: random(),
    }
}

fn reporter(
    data: &Path,
    outbox: Outbox,
    clock: &Arc<Clock>,
    (sensors, trust, key): (
        &watch::Receiver<Vec<SensorHeard>>,
        watch::Receiver<Vec<CertificateDer<'static>>>,
        Option<KeyFacts>,
    ),
    (interval, habits): (Duration, Now),
) -> Reporter {
    Reporter {
        data: data.to_owned(),
        outbox,
        clock: Arc::clone(clock),
        sensors: sensors.clone(),
        trust,
        key,
        interval,
        habits,
    }
}

fn certificate(life: Life) -> CertificateStatus {
    CertificateStatus {
        not_before_ms: life.not_before_ms,
        not_after_ms: life.not_after_ms,
    }
}

/// Turns each new certificate, and other anchors, into credentials for the link.
struct Change {
    held: watch::Receiver<Held>,
    trust: watch::Receiver<Vec<CertificateDer<'static>>>,
    /// Told when the link is to connect anew, with what it has.
    again: watch::Receiver<u64>,
    key: Arc<DeviceKey>,
    clock: Arc<Clock>,
    to: watch::Sender<Credentials>,
    told: watch::Sender<CertificateStatus>,
}

impl Change {
    async fn run(mut self, stop: CancellationToken) -> Result<(), RunError> {
        while self.changed(&stop).await {
            let held = self.held.borrow_and_update().clone();
            let trust = self.trust.borrow_and_update().clone();
            let new = credentials(&held, &trust, &self.key, &self.clock)?;
            self.to.send_replace(new);
            self.told.send_replace(certificate(held.life));
        }
        Ok(())
    }

    /// Waits for another certificate or other anchors; false when it is time to stop.
    async fn changed(&mut self, stop: &CancellationToken) -> bool {
        tokio::select! {
            () = stop.cancelled() => false,
            held = self.held.changed() => held.is_ok(),
            // A box that follows nobody has its anchors for good.
            Ok(()) = self.trust.changed() => true,
            Ok(()) = self.again.changed() => true,
            else => false,
        }
    }
}

/// Who is told of the server's wishes; each counts how often.
struct Asked {
    renew: watch::Sender<u64>,
    tell: watch::Sender<u64>,
    follow: watch::Sender<u64>,
    facts: watch::Sender<u64>,
    software: watch::Sender<u64>,
}

/// The other end of [`Asked`].
struct Asks {
    renew: watch::Receiver<u64>,
    tell: watch::Receiver<u64>,
    follow: watch::Receiver<u64>,
    facts: watch::Receiver<u64>,
    software: watch::Receiver<u64>,
}

fn asking() -> (Asked, Asks) {
    let [renew, tell, follow, facts, software] = [(); 5].map(|()| watch::Sender::new(0));
    let asks = Asks {
        renew: renew.subscribe(),
        tell: tell.subscribe(),
        follow: follow.subscribe(),
        facts: facts.subscribe(),
        software: software.subscribe(),
    };
    let asked = Asked {
        renew,
        tell,
        follow,
        facts,
        software,
    };
    (asked, asks)
}

async fn dispatch(mut wishes: mpsc::Receiver<Wish>, asked: Asked, stop: CancellationToken) {
    while let Some(Some(wish)) = stop.run_until_cancelled(wishes.recv()).await {
        let to = match wish {
            Wish::Renew => &asked.renew,
            Wish::TellPosture => &asked.tell,
            Wish::FetchTrust => &asked.follow,
            Wish::TellFacts => &asked.facts,
            Wish::SendSoftware => &asked.software,
        };
        to.send_modify(|count| *count += 1);
    }
}

/// Runs the agent of a data folder until SIGTERM or Ctrl-C.
pub async fn run(data: &Path, tpm: Option<Tpm>) -> Result<(), RunError> {
    let mut asked = [SignalKind::terminate(), SignalKind::interrupt()]
        .map(signal)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(RunError::System)?;
    let folder = Folder::within(data).on(tpm);
    let clock = Arc::new(Clock::with_floor(folder.floor()));
    let ground = Ground {
        data,
        folder: &folder,
        clock: &clock,
        alive: &|| notify(NotifyState::Watchdog),
    };
    load(data, &clock)?;
    let _lock = lock(data)?;
    let (mut main, mut known) = (None, Known::Nothing);
    let result = loop {
        match turn(&ground, known, &mut main, &mut asked).await {
            Ok(Turn::Asked) => break Ok(()),
            Ok(Turn::OtherKey(then)) => {
                tracing::info!("beginning anew with another key");
                known = then;
            }
            Err(error) => break Err(error),
        }
    };
    if let Some(main) = main {
        main.outbox.close().await;
    }
    result
}

/// Why an agent stopped in good order.
enum Turn {
    /// It was asked to.
    Asked,
    /// Its TPM died or came back: it goes on with the other key.
    OtherKey(Known),
}

/// Runs the agent with one key.
#[expect(
    clippy::too_many_lines,
    reason = "what a running agent is made of is joined in one place"
)]
async fn turn(
    ground: &Ground<'_>,
    known: Known,
    main: &mut Option<Main>,
    asked: &mut [Signal],
) -> Result<Turn, RunError> {
    let (data, clock) = (ground.data, ground.clock);
    let Loaded {
        config,
        sensors,
        guards,
    } = load(data, clock)?;
    let ids: Vec<SensorId> = sensors.iter().map(|sensor| sensor.id.clone()).collect();
    let voice = voice::choose(ground, config.quota, &ids, known, main).await?;
    let is_spare = voice.is_spare();
    let Voice {
        identity,
        outbox,
        status,
    } = voice;
    let trials = updating::trials(data);
    let is_on_trial = *trials.turns().borrow() == Some(Tried::Update);
    let policy = policing::resume(
        data,
        &identity,
        (&config, &sensors, &guards),
        (clock, trials.clone()),
    );
    let habits = policy.habits.subscribe();
    let before = file::read(data).ok();
    let last_alive = before.as_ref().map(|status| status.as_of);
    let before = before.map(|status| status.sensors).unwrap_or_default();
    let (records_tx, records) = mpsc::channel(RECORDS);
    let keys = Keys::at(config.bluetooth_keys.as_deref());
    let buses = looking::buses(&sensors);
    let wards = Wards::resume(sensors, guards, &before, data, &outbox, clock, keys).await?;
    let (sensors_tx, sensors) = watch::channel(wards.heard());
    let key = Arc::new(identity.key);
    // A spare key proves nothing, and is not asked to.
    let (unjudged, spare) = watch::channel(Judged::SPARE);
    let (proof, judged) = if is_spare {
        (None, spare)
    } else {
        let (proof, judged) = proving::prepare(data, &key, is_on_trial)?;
        (Some(proof), judged)
    };
    let stop = CancellationToken::new();
    let told = Inbox::default();
    let (home, wishes) = mpsc::channel(WISHES);
    let restart = CancellationToken::new();
    let (server, update) = (identity.server.clone(), config.update.clone());
    let parts = Parts {
        server: identity.server,
        key: Arc::clone(&key),
        chain: identity.chain,
        trust: identity.trust,
        config,
        clock: Arc::clone(clock),
        outbox: outbox.clone(),
        records,
        buses,
        sensors,
        data: Some(data.to_owned()),
        proof,
        key_status: Some(status),
        policy: Some(policy),
        assigned: (!is_spare).then(|| told.clone()),
        last_alive,
    };
    let heard = sensors_tx.subscribe();
    let strain = Strain::new(clock.uptime());
    let mut agent = Agent::start(parts, stop.clone())?;
    let (met_tx, met) = watch::channel(None);
    let ties = Ties {
        quiet: update.quiet,
        wishes,
        link: agent.link.clone(),
        met: met_tx,
    };
    agent.serve(wards.tasks(
        records_tx,
        sensors_tx,
        (&judged, &habits),
        (ties, strain.clone()),
        &stop,
    ));
    if let Some((device, length)) = update.button.clone() {
        let button = Button {
            data: data.to_owned(),
            clock: Arc::clone(clock),
            device,
            length,
        };
        agent.serve(vec![wards::task("button", button.run(stop.clone()))]);
    }
    // A spare key speaks for readings and alarms alone: what is under way waits for the other key.
    if !is_spare {
        let ends = updating::Ends {
            heard: told,
            met,
            trust: agent.trust.clone(),
            credentials: agent.credentials.clone(),
            link: agent.link.clone(),
            sensors: heard,
            habits: habits.clone(),
            home,
            restart: restart.clone(),
            trials,
            strain,
        };
        let ground = updating::Ground {
            data,
            config: &update,
            server: &server,
            outbox: &outbox,
            clock,
        };
        let updates = updating::keep(&ground, ends, &stop).await;
        agent.serve(updates.unwrap_or_default());
    }
    notify(NotifyState::Ready);
    tracing::info!("the agent runs with the data folder {}", data.display());
    let link = agent.link.clone();
    let result = tokio::select! {
        ended = agent.ended() => ended.map(|()| Turn::Asked),
        () = any(asked) => Ok(Turn::Asked),
        () = restart.cancelled() => Ok(Turn::Asked),
        () = watchdog(&outbox, clock) => Ok(Turn::Asked),
        () = voice::changes(ground, &key, is_spare, link) => Ok(Turn::OtherKey(if is_spare { Known::Nothing } else { Known::Dead })),
    };
    if !matches!(result, Ok(Turn::OtherKey(_))) {
        notify(NotifyState::Stopping);
    }
    tracing::info!("stopping");
    agent.stop().await;
    drop(unjudged);
    if main.is_none() {
        outbox.close().await;
    }
    result
}

/// Waits for the first of these signals.
async fn any(signals: &mut [Signal]) {
    std::future::poll_fn(|cx| {
        let came = signals.iter_mut().any(|signal| signal.poll_recv(cx).is_ready());
        if came { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn foreign(error: ChipError) -> RunError {
    match error {
        ChipError::Tpm(error) if error.is_foreign() => RunError::OtherTpm(error),
        other => RunError::Vault(other),
    }
}

async fn open_outbox(data: &Path, vault: &Vault, quota: u64, clock: &Clock) -> Result<Outbox, RunError> {
    let keeper = Keeper::start().map_err(RunError::System)?;
    let place = Place::File(data.join("outbox.db"), vault.clone());
    let (outbox, opened) = keeper.open(place, quota, Epoch(random()), clock.now()).await?;
    match opened {
        Opened::Fresh => tracing::info!("a new outbox was begun"),
        Opened::Resumed => {
            let waiting = outbox.ledger().borrow().items();
            tracing::info!(outbox.items = waiting, "{waiting} records wait from before");
        }
        Opened::Replaced(aside) => tracing::error!(
            "the outbox was damaged. It was moved to {} and a new one begun; records that had not been sent are \
             in that file. Check the disk",
            aside.display()
        ),
    }
    Ok(outbox)
}

/// One agent a data folder: two would number records twice. Free again when the file is dropped.
pub fn lock(data: &Path) -> Result<std::fs::File, RunError> {
    let path = data.join("lock");
    let file = std::fs::File::create(&path).map_err(|source| RunError::Data {
        path: data.to_owned(),
        source,
    })?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(RunError::Taken(data.to_owned())),
    }
}

/// Tells systemd that the agent lives, as long as the runtime turns and the outbox answers. Ends never.
async fn watchdog(outbox: &Outbox, clock: &Clock) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    loop {
        let beyond = Seq(u64::MAX);
        let answer = outbox.batch(Lane::Routine, beyond, clock.now());
        if timeout(limit / 3, answer)
            .await
            .is_ok_and(|answer| answer.is_ok())
        {
            notify(NotifyState::Watchdog);
        } else {
            tracing::error!("the outbox does not answer: the disk may hang");
        }
        tokio::time::sleep(limit / 3).await;
    }
}

fn notify(state: NotifyState<'_>) {
    // Not started by systemd: nobody to tell.
    let _nobody = sd_notify::notify(&[state]);
}
