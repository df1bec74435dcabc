//! Shell: starts everything that `serve` needs, and stops it together.
//!
//! Every long task is one future on one [`JoinSet`]; the first to end, for any reason, stops the rest. Nothing else
//! in the server spawns a task that outlives a connection.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: spawns, reads the environment and files"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::claim::ServerInfo;
use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use rustls::pki_types::ServerName;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::access::password::Passwords;
use crate::bus::{Bus, Event};
use crate::ca::{self, Authority, Identity, signer};
use crate::clock::Clock;
use crate::config::Config;
use crate::device::invite::Invitations;
use crate::gate::{Connections, Passage, Revoked};
use crate::local::Local;
use crate::place::{Place, Ports};
use crate::store::{Store, StoreError};
use crate::tls::Trust;
use crate::tls::doors::Doors;
use crate::web::Desk;
use crate::{admin, api, gate, https, ingest, local, store, web};

/// How long open work may take to end after the server was asked to stop.
const GRACE: Duration = Duration::from_secs(4);
/// How often the server looks for what other processes changed: well inside "revoked within a second".
const LOOK: Duration = Duration::from_millis(250);
/// How often certificates and the revocation list are looked at.
const TEND: Duration = Duration::from_secs(3600);
/// How long a claim that is made in the console can be used, days.
const CLAIM_DAYS: i64 = 7;
/// Records on their way from the gate to the store.
const UPLINKS: usize = 4096;

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

/// All listeners, bound.
struct Listeners {
    gate: TcpListener,
    enrol: TcpListener,
    renewal: TcpListener,
    console: TcpListener,
    local: TcpListener,
}

/// Runs the server in this data folder until it is asked to stop or a part of it fails.
pub async fn serve(place: &Place, clock: Clock) -> Result<(), RunError> {
    let config = place.config()?;
    let _lock = place.lock()?;
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new()
        .install_recorder()
        .map_err(|e| RunError::Process {
            step: "install the metrics",
            why: e.to_string(),
        })?;
    let store = store::open(&admin::store_config(place, &config))?;
    let folder = place.authority();
    let authority = Authority::open(&folder).map_err(|source| RunError::Authority {
        folder: folder.clone(),
        source,
    })?;
    let authority = Arc::new(authority);
    let door_keys = DoorKeys {
        place: place.clone(),
        config: config.clone(),
    };
    let trust = trust(&store, &authority, clock.now()).await?;
    let (own, console) = door_keys.identities(&authority, clock.now())?;
    let doors = Arc::new(Doors::open(&own, &console, &trust, &clock)?);
    let listeners = Listeners::bind(&config).await?;
    let ports = listeners.ports()?;
    place.write_ports(&ports)?;

    let bus = Bus::start()?;
    let connections = Connections::new(config.gate.connections);
    let revoked = Revoked::new(all_revoked(&store).await?);
    let now = clock.now();
    store
        .write(move |tx| store::connections::end_all_open(tx, now))
        .await?;
    say_where(&config, &ports);
    say_setup_code(&store, &config, &ports, clock.now()).await?;

    let stop = CancellationToken::new();
    let (uplink, uplinks) = mpsc::channel(UPLINKS);
    let (passage, passages) = mpsc::channel(1024);
    let info = ServerInfo {
        gate: config.door(config.public.gate.as_ref(), ports.gate),
        renewal: config.door(config.public.renewal.as_ref(), ports.renewal),
    };

    let mut parts: JoinSet<(&'static str, Result<(), String>)> = JoinSet::new();
    let door = gate::Gate {
        domain: authority.trust_domain().clone(),
        connections: connections.clone(),
        revoked: revoked.clone(),
        uplinks: uplink,
        passages: passage,
        clock: clock.clone(),
        limits: gate::limits::Limits {
            waiting_per_address: config.gate.per_address,
            ..gate::limits::Limits::default()
        },
    };
    let serve = gate::listen::serve(listeners.gate, doors.gate(), door, stop.clone());
    parts.spawn(async { (serve.await, ("the gate", Ok(()))).1 });
    let consume = ingest::consume::run(
        store.clone(),
        uplinks,
        connections.clone(),
        bus.clone(),
        clock.clone(),
        stop.clone(),
    );
    parts.spawn(async { (consume.await, ("the ingest", Ok(()))).1 });
    parts.spawn(named(
        "the journal of connections",
        write_passages(store.clone(), passages, bus.clone()),
    ));
    let est = crate::enrol::est::EstState {
        store: store.clone(),
        authority: Arc::clone(&authority),
        info,
        clock: clock.clone(),
        crl: doors.crl(),
        guesses: Arc::default(),
    };
    let web_limits = https::Limits::default();
    let enrol = crate::enrol::est::router(est.clone());
    part(
        &mut parts,
        "the enrolment",
        https::serve(listeners.enrol, doors.enrol(), enrol, web_limits, stop.clone()),
    );
    let renewal = crate::enrol::est::renewal_router(est);
    part(
        &mut parts,
        "the renewal",
        https::serve(
            listeners.renewal,
            doors.renewal(),
            renewal,
            web_limits,
            stop.clone(),
        ),
    );
    let invitations = Invitations {
        server: config.door(config.public.enrol.as_ref(), ports.enrol),
        pin: authority.pin().map_err(RunError::Certificate)?,
        lasts_ms: CLAIM_DAYS * ca::DAY_MS,
    };
    let passwords = Passwords::new().map_err(|e| RunError::Process {
        step: "hash a password",
        why: e.to_string(),
    })?;
    let programs = api::Desk {
        store: store.clone(),
        clock: clock.clone(),
        bus: bus.clone(),
        invitations: invitations.clone(),
    };
    let desk = Desk::new(store.clone(), clock.clone(), bus.clone(), invitations, passwords);
    let pages = web::router(desk).merge(api::router(programs));
    part(
        &mut parts,
        "the console",
        https::serve(listeners.console, doors.web(), pages, web_limits, stop.clone()),
    );
    let own_listener = Local {
        metrics,
        store: store.clone(),
        stop: stop.clone(),
    };
    part(
        &mut parts,
        "the local listener",
        local::serve(listeners.local, own_listener),
    );
    let tend = Arc::new(Tend {
        store: store.clone(),
        authority,
        doors,
        keys: door_keys,
        clock: clock.clone(),
    });
    let look = Look {
        store: store.clone(),
        connections,
        revoked,
        bus: bus.clone(),
        tend: Arc::clone(&tend),
    };
    parts.spawn(named("the watch for changes", look.run(stop.clone())));
    parts.spawn(named("the care for certificates", tend.run(stop.clone())));
    parts.spawn(named(
        "the retention",
        retire(store.clone(), config.clone(), clock, stop.clone()),
    ));
    {
        let (bus, stop) = (bus.clone(), stop.clone());
        parts.spawn(named("the bus", async move {
            tokio::select! {
                died = bus.dead() => Err(died.to_string()),
                () = stop.cancelled() => Ok(()),
            }
        }));
    }
    {
        let (store, stop) = (store.clone(), stop.clone());
        parts.spawn(named("the database", async move {
            tokio::select! {
                why = store.ended() => Err(why),
                () = stop.cancelled() => Ok(()),
            }
        }));
    }
    parts.spawn(named("the watchdog", watchdog(store.clone(), stop.clone())));
    parts.spawn(named("the signals", signals(stop.clone())));
    ready();
    supervise(parts, stop).await
}

fn part<E: std::fmt::Display>(
    parts: &mut JoinSet<(&'static str, Result<(), String>)>,
    name: &'static str,
    work: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    parts.spawn(async move { (name, work.await.map_err(|e| e.to_string())) });
}

async fn named(
    name: &'static str,
    work: impl Future<Output = Result<(), String>> + Send,
) -> (&'static str, Result<(), String>) {
    (name, work.await)
}

/// Waits for the first part to end, stops the rest, and gives them [`GRACE`].
async fn supervise(
    mut parts: JoinSet<(&'static str, Result<(), String>)>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let first = parts.join_next().await;
    let asked = stop.is_cancelled();
    stop.cancel();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    let outcome = match first {
        Some(Ok((_, Ok(())))) if asked => Ok(()),
        Some(Ok((part, Ok(())))) => Err(RunError::Part {
            part,
            why: "without being asked".into(),
        }),
        Some(Ok((part, Err(why)))) => Err(RunError::Part { part, why }),
        Some(Err(panic)) => Err(RunError::Part {
            part: "a task",
            why: panic.to_string(),
        }),
        None => Ok(()),
    };
    let rest = async {
        while let Some(ended) = parts.join_next().await {
            if let Ok((part, Err(why))) = ended {
                warn!(part.name = part, "{part} did not end well: {why}");
            }
        }
    };
    if tokio::time::timeout(GRACE, rest).await.is_err() {
        warn!(
            "some work did not end within {} s and was cut off",
            GRACE.as_secs()
        );
    }
    if let Err(failed) = &outcome {
        error!("the server stops: {failed}");
    } else {
        info!("the server has stopped");
    }
    outcome
}

async fn signals(stop: CancellationToken) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    tokio::select! {
        _ = terminate.recv() => info!("asked to stop"),
        _ = interrupt.recv() => info!("interrupted"),
        () = stop.cancelled() => {}
    }
    stop.cancel();
    Ok(())
}

fn ready() {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    info!("ready");
}

/// Tells systemd that the server lives, as long as the database answers.
async fn watchdog(store: Store, stop: CancellationToken) -> Result<(), String> {
    let every = sd_notify::watchdog_enabled().map_or(Duration::from_secs(60), |limit| limit / 3);
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return Ok(()),
        }
        if store.read(|tx| tx.row("SELECT 1", &[])).await.is_ok() {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    }
}

/// Writes down who came and went, and tells the pages.
async fn write_passages(store: Store, mut passages: mpsc::Receiver<Passage>, bus: Bus) -> Result<(), String> {
    while let Some(passage) = passages.recv().await {
        let event = match &passage {
            Passage::Connected { gateway, .. } => Event::Connected(gateway.clone()),
            Passage::Left { gateway, .. } => Event::Left(gateway.clone()),
        };
        if let Err(failed) = store
            .write(move |tx| store::connections::note(tx, &passage))
            .await
        {
            warn!("a connection could not be written down: {failed}");
        }
        bus.publish(event);
    }
    Ok(())
}

/// Acts on what other processes (the command line, another instance) wrote into the database.
struct Look {
    store: Store,
    connections: Connections,
    revoked: Revoked,
    bus: Bus,
    tend: Arc<Tend>,
}

impl Look {
    async fn run(self, stop: CancellationToken) -> Result<(), String> {
        let mut seen = self
            .store
            .read(store::signals::newest)
            .await
            .map_err(|e| e.to_string())?;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let after = seen;
            let found = self
                .store
                .read(move |tx| store::signals::since(tx, after, 256))
                .await;
            let signals = match found {
                Ok(signals) => signals,
                Err(failed) => {
                    warn!("could not look for changes: {failed}");
                    continue;
                }
            };
            if let Some(last) = signals.last() {
                seen = last.id;
                self.act().await;
                if signals.iter().any(|s| s.kind == store::signals::Kind::Gateway) {
                    self.tend.now().await;
                }
                for gateway in signals.iter().filter_map(|s| s.subject.parse().ok()) {
                    self.bus.publish(Event::Changed(gateway));
                }
            }
        }
    }

    /// Brings the list of the revoked up to date and ends their connections.
    async fn act(&self) {
        match all_revoked(&self.store).await {
            Ok(revoked) => {
                for gateway in revoked {
                    if !self.revoked.contains(&gateway) {
                        self.revoked.insert(gateway.clone());
                        let was_connected = self.connections.kick(&gateway);
                        info!(gateway.id = %gateway, connected = was_connected, "gateway {gateway} is shut out");
                    }
                }
            }
            Err(failed) => warn!("could not read who is revoked: {failed}"),
        }
    }
}

/// Where the certificates of the listeners come from.
struct DoorKeys {
    place: Place,
    config: Config,
}

impl DoorKeys {
    fn identities(&self, authority: &Authority, now: Timestamp) -> Result<(Identity, Identity), RunError> {
        let names: Result<Vec<ServerName<'static>>, _> = self
            .config
            .names
            .iter()
            .map(|n| ServerName::try_from(n.clone()))
            .collect();
        let names = names.map_err(|e| RunError::Process {
            step: "use a name of `names`",
            why: e.to_string(),
        })?;
        let own = authority
            .server_identity(&self.place.authority(), &names, now)
            .map_err(RunError::Certificate)?;
        let console = match &self.config.own_certificate {
            Some(own) => signer::load_identity(&own.certificate, &own.key).map_err(RunError::Certificate)?,
            None => own.clone(),
        };
        Ok((own, console))
    }
}

/// Renews what the listeners show and the revocation list, long before either runs out.
struct Tend {
    store: Store,
    authority: Arc<Authority>,
    doors: Arc<Doors>,
    keys: DoorKeys,
    clock: Clock,
}

impl Tend {
    async fn run(self: Arc<Self>, stop: CancellationToken) -> Result<(), String> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(TEND) => {}
                () = stop.cancelled() => return Ok(()),
            }
            self.now().await;
        }
    }

    /// Does it now: a gateway changed, so the revocation list may have grown.
    async fn now(&self) {
        if let Err(failed) = self.once().await {
            error!("the certificates of the listeners could not be renewed: {failed}");
        }
    }

    async fn once(&self) -> Result<(), RunError> {
        let now = self.clock.now();
        let trust = trust(&self.store, &self.authority, now).await?;
        let (own, console) = self.keys.identities(&self.authority, now)?;
        Ok(self.doors.refresh(&own, &console, &trust)?)
    }
}

/// Deletes what is older than the configuration says, a little at a time.
async fn retire(store: Store, config: Config, clock: Clock, stop: CancellationToken) -> Result<(), String> {
    loop {
        let now = clock.now();
        let keep = config.retention;
        let done = store
            .write(move |tx| store::retention::step(tx, keep.readings_days, keep.envelopes_days, now))
            .await;
        let pause = match done {
            Ok(more) if more => Duration::from_secs(1),
            Ok(_) => TEND,
            Err(failed) => {
                warn!("old rows could not be deleted: {failed}");
                TEND
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Listeners, RunError> {
        async fn one(door: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
            TcpListener::bind(address)
                .await
                .map_err(|source| RunError::Listen {
                    door,
                    address,
                    source,
                })
        }
        Ok(Listeners {
            gate: one("gate", config.listen.gate).await?,
            enrol: one("enrol", config.listen.enrol).await?,
            renewal: one("renewal", config.listen.renewal).await?,
            console: one("console", config.listen.console).await?,
            local: one("local", config.listen.local).await?,
        })
    }

    fn ports(&self) -> Result<Ports, RunError> {
        let port = |listener: &TcpListener| {
            let address = listener.local_addr();
            address.map(|a| a.port()).map_err(|e| RunError::Process {
                step: "ask for a port",
                why: e.to_string(),
            })
        };
        Ok(Ports {
            gate: port(&self.gate)?,
            enrol: port(&self.enrol)?,
            renewal: port(&self.renewal)?,
            console: port(&self.console)?,
            local: port(&self.local)?,
        })
    }
}

fn say_where(config: &Config, ports: &Ports) {
    let host = config.names.first().map_or("localhost", String::as_str);
    println!("Console     https://{host}:{}/", ports.console);
    println!("Nurse       https://{host}:{}/care", ports.console);
    println!(
        "Enrolment   {host}:{}   Renewal {host}:{}",
        ports.enrol, ports.renewal
    );
    println!("Gate        {host}:{} (MQTT over TLS 1.3)", ports.gate);
    println!("This host   http://127.0.0.1:{}/readyz and /metrics", ports.local);
}

/// While there is nobody who can sign in, each start prints a new one-time code for the first operator.
async fn say_setup_code(
    store: &Store,
    config: &Config,
    ports: &Ports,
    now: Timestamp,
) -> Result<(), RunError> {
    let made = crate::access::setup::setup_code(store, now).await;
    let code = made.map_err(|e| RunError::Process {
        step: "make a set-up code",
        why: e.to_string(),
    })?;
    if let Some(code) = code {
        let host = config.names.first().map_or("localhost", String::as_str);
        println!(
            "\nNobody can sign in yet. Make the first operator at https://{host}:{}/setup",
            ports.console
        );
        println!("Set-up code {code}   (valid for 24 hours, works once)\n");
    }
    Ok(())
}

/// What clients are held against: the issuer and its newest list of the revoked whose time is not over anyway.
async fn trust(store: &Store, authority: &Authority, now: Timestamp) -> Result<Trust, RunError> {
    let late = Timestamp::synced(now.ms.saturating_sub(ca::LATE_DAYS * ca::DAY_MS));
    let revoked = store
        .read(move |tx| store::certificates::revoked(tx, late))
        .await?;
    Ok(Trust::of(authority, &revoked, now)?)
}

/// Everybody who is revoked, page by page.
async fn all_revoked(store: &Store) -> Result<Vec<GatewayId>, StoreError> {
    const PAGE: i64 = 1000;
    let mut all: Vec<GatewayId> = Vec::new();
    loop {
        let after = all.last().cloned();
        let page = store
            .read(move |tx| store::gateways::revoked(tx, after.as_ref(), PAGE))
            .await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
