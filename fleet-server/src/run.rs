//! Shell: starts everything that `serve` needs, and stops it together.
//!
//! Every long task is one future of one set (`supervise::Parts`); nothing else in the server spawns a task that
//! outlives a connection.

mod listeners;
mod means;
mod roots;
mod supervise;
mod tend;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use homeward_protocol::claim::ServerInfo;
use homeward_protocol::time::Timestamp;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::listeners::Listeners;
use self::roots::Roots;
use self::supervise::{Parts, Signals};
use self::tend::{DoorKeys, Keeper, Tend};
use self::watch::Look;
use crate::access::password::Passwords;
use crate::attest::serve::Attest;
use crate::bus::Bus;
use crate::ca;
use crate::campaign::drive::Drive;
use crate::clock::Clock;
use crate::config::Config;
use crate::device::invite::Invitations;
use crate::dossier::upkeep::Upkeep;
use crate::enrol::est::{self, EstState};
use crate::enrol::makers::Makers;
use crate::gate::limits::Limits;
use crate::gate::saying::{FORCES, QUIET, Saying};
use crate::gate::{Connections, Gate, Revoked};
use crate::ingest::consume::Keys;
use crate::local::Local;
use crate::notify::serve::{Tell, Ways};
use crate::place::{Place, Ports};
use crate::policy::publish::Publish;
use crate::policy::roots as policy_roots;
use crate::release::folder::Folder;
use crate::store::incidents::{self, Kind};
use crate::store::{Store, StoreError};
use crate::support::hub::{Hub, Used};
use crate::support::serve::Serve as Support;
use crate::tls::doors::Doors;
use crate::web::Desk;
use crate::{admin, api, direct, facts, gate, https, ingest, local, store, web};

/// How long a claim that is made in the console can be used, days.
const CLAIM_DAYS: i64 = 7;
/// Records on their way from the gate to the store: some commits' worth; behind it the gate stops reading.
const UPLINKS: usize = 4096;
/// Answers to challenges on their way to be judged; behind it the gate stops reading.
const TESTIMONIES: usize = 256;
/// Comings and goings that wait to be written down: what a storm of them brings between two commits.
const PASSAGES: usize = 4096;

/// Why the server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Place(#[from] crate::place::PlaceError),
    /// The database cannot be used.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
    /// The certificate authority cannot be used.
    #[error("the certificate authority cannot be used (was `homeward-fleet --data {} init` run?)", folder.display())]
    Authority {
        /// Where it should be.
        folder: PathBuf,
        /// Why not.
        source: crate::ca::CaError,
    },
    /// A certificate for the listeners could not be had.
    #[error("no certificate for the listeners")]
    Certificate(#[source] crate::ca::CaError),
    /// TLS could not be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] crate::tls::TlsError),
    /// An address could not be listened on.
    #[error("could not listen on {address} (`listen.{door}` in fleet.toml): is another program there?")]
    Listen {
        /// Which listener.
        door: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The bus could not be started.
    #[error("the bus for live events could not be started")]
    Bus(#[from] crate::bus::BusError),
    /// The process could not be set up.
    #[error("could not {step}: {why}")]
    Process {
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        why: String,
    },
    /// A part of the server ended although nobody asked it to.
    #[error("{part} ended: {why}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What it said.
        why: String,
    },
}

fn process(step: &'static str, why: &impl std::fmt::Display) -> RunError {
    let why = why.to_string();
    RunError::Process { step, why }
}

/// Runs the server in this data folder until it is asked to stop or a part of it fails.
pub async fn serve(place: &Place, clock: Clock) -> Result<(), RunError> {
    let signals = Signals::install()?;
    let config = place.config()?;
    let _lock = place.lock()?;
    // Before anything counts.
    let metrics = PrometheusBuilder::new().install_recorder();
    let metrics = metrics.map_err(|e| process("install the metrics", &e))?;
    let store = store::open(&admin::store_config(place, &config))?;
    let listeners = Listeners::bind(&config).await?;
    let ports = listeners.ports()?;
    let keeper = Keeper::open(place, lists_at(&config, &ports)).map_err(|source| {
        let folder = place.authority();
        RunError::Authority { folder, source }
    })?;
    let authority = keeper.now();
    let keys = DoorKeys {
        place: place.clone(),
        config: config.clone(),
    };
    let trust = tend::trust(&store, &authority, clock.now()).await?;
    let (own, console) = keys.identities(&authority, clock.now())?;
    let doors = Arc::new(Doors::open(&own, &console, &trust, &clock)?);
    let makers = makers(&config)?;
    let ways = ways(&config, &store, clock.now()).await?;
    let advisories = config.notify.advisories.clone();
    let now = clock.now();
    store
        .write(move |tx| {
            store::connections::end_all_open(tx, now)?;
            store::support::left_unseen(tx, now)
        })
        .await?;
    listeners::say_where(&config, &ports);
    listeners::say_setup_code(&store, &config, &ports, now).await?;

    let (hub, used) = Hub::new();
    let server = Server {
        hub,
        voices: Keys::new(store.clone()),
        connections: Connections::new(config.gate.connections),
        revoked: Revoked::new(watch::all_revoked(&store).await?),
        bus: Bus::start()?,
        stop: CancellationToken::new(),
        config,
        ports,
        store,
        release: place.release(),
        director: place.director(),
        keeper: Arc::new(keeper),
        makers,
        ways,
        advisories,
        doors,
        clock,
    };
    let mut tasks = Parts::new(server.stop.clone());
    tasks.start_sure("the signals", signals.wait(server.stop.clone()));
    server.take_records(&mut tasks, listeners.gate);
    server.remind(&mut tasks);
    server.support(&mut tasks, used);
    server.let_boxes_in(&mut tasks, listeners.enrol, listeners.renewal);
    server.show(&mut tasks, listeners.console)?;
    server.look_after(&mut tasks, listeners.local, metrics, keys);
    place.write_ports(&ports)?;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    info!("ready");
    drop(server);
    tasks.run().await
}

/// Where others get the revocation lists: where the configuration says, or where boxes enrol.
fn lists_at(config: &Config, ports: &Ports) -> String {
    let own = || {
        format!(
            "https://{}",
            config.door(config.public.enrol.as_ref(), ports.enrol)
        )
    };
    config.public.lists.clone().unwrap_or_else(own)
}

/// The makers of TPMs whose word counts.
fn makers(config: &Config) -> Result<Arc<Makers>, RunError> {
    let Some(dir) = &config.tpm_makers else {
        return Ok(Arc::default());
    };
    let made =
        Makers::load(dir).map_err(|e| process("read the certificates of TPM makers (tpm.makers)", &e))?;
    info!(
        tpm.anchors = made.anchors(),
        "{} makers of TPMs are known",
        made.anchors()
    );
    Ok(Arc::new(made))
}

/// The ways to people outside the console. Homes are looked after without them, too: then the console says so.
async fn ways(config: &Config, store: &Store, now: Timestamp) -> Result<Ways, StoreError> {
    let failed = match Ways::open(&config.notify) {
        Ok(ways) => return Ok(ways),
        Err(failed) => failed,
    };
    let said = format!(
        "People are told in the console alone, for neither mail nor webhooks can be used: {}. Look at [notify] in fleet.toml, \
         then start the server again",
        admin::told(&failed)
    );
    error!("{said}");
    let id = format!("{}-{}", now.ms, Kind::NoticesFailed.name());
    store
        .write(move |tx| incidents::raise_own(tx, &id, Kind::NoticesFailed, &said, now))
        .await?;
    Ok(Ways::default())
}

/// What the parts share.
struct Server {
    config: Config,
    ports: Ports,
    /// The release folder that gateways are served from.
    release: PathBuf,
    /// Where this place's key as the director is kept.
    director: PathBuf,
    store: Store,
    voices: Keys,
    hub: Hub,
    keeper: Arc<Keeper>,
    makers: Arc<Makers>,
    ways: Ways,
    /// Who is told outside the console that an advisory is to be weighed.
    advisories: Option<String>,
    doors: Arc<Doors>,
    connections: Connections,
    revoked: Revoked,
    bus: Bus,
    clock: Clock,
    stop: CancellationToken,
}

impl Server {
    /// The gate, the ingest behind it, and the journal of who came and went.
    fn take_records(&self, parts: &mut Parts, listener: TcpListener) {
        let (uplinks, arriving) = mpsc::channel(UPLINKS);
        let (passages, passing) = mpsc::channel(PASSAGES);
        let (testimonies, testifying) = mpsc::channel(TESTIMONIES);
        let gate = Gate {
            domain: self.keeper.now().trust_domain().clone(),
            connections: self.connections.clone(),
            revoked: self.revoked.clone(),
            uplinks,
            testimonies,
            passages,
            support: self.hub.clone(),
            clock: self.clock.clone(),
            limits: Limits {
                waiting_per_address: self.config.gate.per_address,
                ..Limits::default()
            },
        };
        let serve = gate::listen::serve(listener, self.doors.gate(), gate, self.stop.clone());
        parts.start_sure("the gate", serve);
        let consume = ingest::consume::run(
            self.voices.clone(),
            arriving,
            self.connections.clone(),
            self.bus.clone(),
            self.clock.clone(),
            self.stop.clone(),
        );
        parts.start_sure("the ingest", consume);
        let (to_judge, judging) = mpsc::channel(TESTIMONIES);
        let (to_compare, comparing) = mpsc::channel(TESTIMONIES);
        let sort = facts::serve::sort(testifying, to_judge, to_compare, self.stop.clone());
        parts.start_sure("the sorting of what gateways say of themselves", sort);
        let compare = facts::serve::serve(
            self.store.clone(),
            self.connections.clone(),
            comparing,
            self.stop.clone(),
        );
        parts.start_sure("the comparing of facts", compare);
        let attest = Attest {
            store: self.store.clone(),
            connections: self.connections.clone(),
            bus: self.bus.clone(),
            clock: self.clock.clone(),
        };
        parts.start_sure(
            "the judgement of gateways",
            attest.run(judging, self.stop.clone()),
        );
        let publish = Publish {
            store: self.store.clone(),
            connections: self.connections.clone(),
            roots: self.roots(),
            clock: self.clock.clone(),
        };
        parts.start_sure("the sending of policies", publish.run(self.stop.clone()));
        let direct = direct::publish::Publish {
            store: self.store.clone(),
            connections: self.connections.clone(),
            clock: self.clock.clone(),
        };
        parts.start_sure("the words on software", direct.run(self.stop.clone()));
        for kind in [FORCES, QUIET] {
            let saying = Saying {
                kind,
                store: self.store.clone(),
                connections: self.connections.clone(),
                clock: self.clock.clone(),
            };
            parts.start_sure(kind.name, saying.run(self.stop.clone()));
        }
        let drive = Drive {
            store: self.store.clone(),
            bus: self.bus.clone(),
            clock: self.clock.clone(),
            find: means::find(self.director.clone(), self.release.clone()),
            reach: self.ways.reach(),
        };
        parts.start_sure("the campaigns", drive.run(self.stop.clone()));
        let upkeep = Upkeep::new(
            self.store.clone(),
            admin::dossier::papers(self.release.clone()),
            self.clock.clone(),
        );
        parts.start_sure("the tasks of dossiers", upkeep.run(self.stop.clone()));
        let journal = watch::write_passages(self.store.clone(), passing, self.bus.clone());
        parts.start_sure("the journal of connections", journal);
    }

    /// Updates that wait for too long, and what people are told of them.
    fn remind(&self, parts: &mut Parts) {
        let deadlines = direct::deadline::watch::Watch {
            store: self.store.clone(),
            roots: self.roots(),
            reach: self.ways.reach(),
            clock: self.clock.clone(),
        };
        parts.start_sure("the deadlines of updates", deadlines.run(self.stop.clone()));
        if let Some(person) = self.advisories.clone() {
            let weigh = crate::advisory::upkeep::Upkeep {
                store: self.store.clone(),
                person,
                reach: self.ways.reach(),
                clock: self.clock.clone(),
            };
            parts.start_sure("what is to be weighed", weigh.run(self.stop.clone()));
        }
        let tell = Tell {
            store: self.store.clone(),
            ways: self.ways.clone(),
            clock: self.clock.clone(),
        };
        parts.start_sure("the messages to people", tell.run(self.stop.clone()));
    }

    /// Support sessions.
    fn support(&self, parts: &mut Parts, used: mpsc::Receiver<Used>) {
        let support = Support {
            store: self.store.clone(),
            connections: self.connections.clone(),
            hub: self.hub.clone(),
            used,
            bus: self.bus.clone(),
            clock: self.clock.clone(),
        };
        parts.start_sure("the support sessions", support.run(self.stop.clone()));
    }

    /// Whose signatures count under a keyring of policies, as it is at each moment.
    fn roots(&self) -> policy_roots::Roots {
        let authority = self.keeper.watch();
        policy_roots::Roots::from_fn(move || {
            policy_roots::keys_of(&Arc::clone(&authority.borrow()).trust_bundle())
        })
    }

    /// Enrolment, and renewal for those who come late.
    fn let_boxes_in(&self, parts: &mut Parts, enrol: TcpListener, renewal: TcpListener) {
        let state = EstState {
            store: self.store.clone(),
            authority: self.keeper.watch(),
            info: ServerInfo {
                gate: self
                    .config
                    .door(self.config.public.gate.as_ref(), self.ports.gate),
                renewal: self
                    .config
                    .door(self.config.public.renewal.as_ref(), self.ports.renewal),
            },
            clock: self.clock.clone(),
            lists: self.doors.lists(),
            guesses: Arc::default(),
            makers: Arc::clone(&self.makers),
        };
        let (limits, router) = (https::Limits::default(), est::router(state.clone()));
        let serve = https::serve(enrol, self.doors.enrol(), router, limits, self.stop.clone());
        parts.start("the enrolment", serve);
        let releases = direct::repository::router(
            Folder::at(&self.release).repository(),
            direct::repository::AT_ONCE,
        );
        let router = est::renewal_router(state).merge(releases);
        let serve = https::serve(renewal, self.doors.renewal(), router, limits, self.stop.clone());
        parts.start("the renewal", serve);
    }

    /// The console and the API.
    fn show(&self, parts: &mut Parts, listener: TcpListener) -> Result<(), RunError> {
        let invitations = Invitations {
            server: self
                .config
                .door(self.config.public.enrol.as_ref(), self.ports.enrol),
            pin: self.keeper.pin(),
            lasts_ms: CLAIM_DAYS * ca::DAY_MS,
        };
        let passwords = Passwords::new().map_err(|e| process("hash a password", &e))?;
        let (store, clock, bus) = (self.store.clone(), self.clock.clone(), self.bus.clone());
        let programs = api::Desk {
            store: store.clone(),
            clock: clock.clone(),
            bus: bus.clone(),
            invitations: invitations.clone(),
            roots: self.roots(),
            releases: means::releases(self.release.clone()),
            papers: admin::dossier::papers(self.release.clone()),
            hub: self.hub.clone(),
        };
        let people = Desk {
            roots: self.roots(),
            releases: means::releases(self.release.clone()),
            ..Desk::new(store, clock, bus, invitations, passwords)
        };
        let router = web::router(people).merge(api::router(programs));
        let limits = https::Limits::default();
        let serve = https::serve(listener, self.doors.web(), router, limits, self.stop.clone());
        parts.start("the console", serve);
        Ok(())
    }

    /// What keeps the rest in order: this machine's own listener, the watches, the care for certificates, retention.
    fn look_after(
        &self,
        parts: &mut Parts,
        listener: TcpListener,
        metrics: PrometheusHandle,
        keys: DoorKeys,
    ) {
        let (store, stop) = (self.store.clone(), self.stop.clone());
        let local = Local {
            metrics,
            store: store.clone(),
            stop: stop.clone(),
        };
        parts.start("the local listener", local::serve(listener, local));
        let tend = Arc::new(Tend {
            store: store.clone(),
            keeper: Arc::clone(&self.keeper),
            doors: Arc::clone(&self.doors),
            keys,
            clock: self.clock.clone(),
        });
        let look = Look {
            store: store.clone(),
            connections: self.connections.clone(),
            hub: self.hub.clone(),
            revoked: self.revoked.clone(),
            bus: self.bus.clone(),
            tend: Arc::clone(&tend),
            voices: self.voices.clone(),
        };
        parts.start("the watch for changes", look.run(stop.clone()));
        let roots = Roots {
            store: store.clone(),
            authority: self.keeper.watch(),
            connections: self.connections.clone(),
            clock: self.clock.clone(),
        };
        parts.start_sure("the care for roots", roots.run(stop.clone()));
        parts.start_sure("the care for certificates", tend.run(stop.clone()));
        let retire = tend::retire(
            store.clone(),
            self.config.retention,
            self.clock.clone(),
            stop.clone(),
        );
        parts.start_sure("the retention", retire);
        let bus = self.bus.clone();
        parts.watch("the bus", async move { bus.dead().await });
        let database = store.clone();
        parts.watch("the database", async move { database.ended().await });
        parts.start_sure("the watchdog", watch::watchdog(store, stop));
    }
}
