//! Shell: what the updates of a box start with.
#![expect(clippy::disallowed_methods, reason = "shell: the program's own place")]

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::sign::SignedDigest;
use homeward_protocol::posture::SensorHeard;
use homeward_protocol::release::Version;
use homeward_protocol::release::state::Met;
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::imaging;
use super::wards::{Task, task};
use crate::attest::file::verdict;
use crate::clock::Clock;
use crate::config::UpdateConfig;
use crate::identity::keys::Server;
use crate::install::Installers;
use crate::install::packages::Packages;
use crate::install::packages::ask::SOCKET;
use crate::install::slots::OwnSlots;
use crate::interlock::Wish;
use crate::outbox::keeper::Outbox;
use crate::policy::habits::Now;
use crate::policy::keep as policies;
use crate::session::mqtt::Credentials;
use crate::slot::file::{Folder, digest_of};
use crate::slot::{Place, Slots};
use crate::status::LinkStatus;
use crate::strain::Strain;
use crate::trials::{Trials, Tried};
use crate::update::course::{Course, Limits, Moment, Running};
use crate::update::decide::Own;
use crate::update::go::{Going, People, Source};
use crate::update::inbox::Inbox;
use crate::update::look::FOLDER;
use crate::update::peers::Peers;
use crate::update::rate::pace::Pace;
use crate::update::saved::file;
use crate::update::share::serve::Share;
use crate::update::vitals::Vitals;

/// What a person has to do where what is kept is lost. It begins anew then, without the floors that were kept.
const UNREAD: &str = "what is kept of updates cannot be read, and none is taken until update/course*.cbor in the data folder \
                      is removed";

/// What the updates of a box hang on.
pub struct Ground<'a> {
    /// The data folder.
    pub data: &'a Path,
    /// What agent.toml says of updates.
    pub config: &'a UpdateConfig,
    /// Name and doors.
    pub server: &'a Server,
    /// Where reports go.
    pub outbox: &'a Outbox,
    /// The clocks.
    pub clock: &'a Arc<Clock>,
}

/// What the rest of the agent lets them hear and say.
pub struct Ends {
    /// The director's words, and orders to force.
    pub heard: Inbox,
    /// The newest use that an act met.
    pub met: watch::Receiver<Option<Met>>,
    /// The roots that are trusted.
    pub trust: watch::Receiver<Vec<CertificateDer<'static>>>,
    /// With what the repository at the server's door is asked.
    pub credentials: watch::Receiver<Credentials>,
    /// The state of the link.
    pub link: watch::Receiver<LinkStatus>,
    /// How the sensors stand.
    pub sensors: watch::Receiver<Vec<SensorHeard>>,
    /// What the policy wants.
    pub habits: Now,
    /// The one that knows whether the home may be disturbed.
    pub home: mpsc::Sender<Wish>,
    /// Cancelled when the agent is to begin anew.
    pub restart: CancellationToken,
    /// Whether something else is on trial.
    pub trials: Trials,
    /// What is asked of the sensors.
    pub strain: Strain,
}

/// The version of this build, as its package counts.
pub fn packaged() -> Version {
    env!("CARGO_PKG_VERSION").parse().unwrap_or(Version::ZERO)
}

/// The version that runs: what the release said of a build that an update brought, else the package's.
pub fn version(data: &Path) -> Version {
    let folder = Folder::within(data);
    running(&folder, &folder.load().ok().flatten().unwrap_or_default()).version
}

/// What may be on trial at the start: the build that runs, an image, or nothing.
pub fn trials(data: &Path) -> Trials {
    let folder = Folder::within(data);
    let slots = folder.load().ok().flatten().unwrap_or_default();
    let place = running(&folder, &slots).place;
    let tried = slots.trial.is_some_and(|trial| Place::Slot(trial.slot) == place);
    let tried = tried || imaging::may_be_on_trial(data);
    Trials::with(tried.then_some(Tried::Update))
}

/// The tasks that carry the updates of a box out, and share what they brought; none where the address of its server is none.
pub async fn keep(ground: &Ground<'_>, ends: Ends, stop: &CancellationToken) -> Option<Vec<Task>> {
    let folder = Folder::within(ground.data);
    let slots = folder.load().unwrap_or_else(|error| {
        tracing::error!(error = %error, "the record of the slots cannot be read: the package's build runs");
        None
    });
    let slots = slots.unwrap_or_default();
    let running = running(&folder, &slots);
    let limits = Limits {
        trial: ground.config.trial,
        spread: spread(&ground.server.gateway),
    };
    let now = Moment {
        uptime: ground.clock.uptime(),
        at: ground.clock.now(),
    };
    let saved = file::resume(ground.data).inspect_err(|error| {
        tracing::error!(error = %error, "{UNREAD}");
    });
    let own = OwnSlots::new(
        ground.data,
        (running.place, running.version),
        Arc::clone(ground.clock),
    );
    let packages = Packages::new(
        ground.config.packages.clone().unwrap_or_else(|| SOCKET.into()),
        ground.data.join(FOLDER),
        Arc::clone(ground.clock),
    );
    let installers = Installers::new(vec![Box::new(own), Box::new(packages)]);
    let job = saved.as_ref().ok().and_then(Option::as_ref);
    let job = job.and_then(|saved| saved.job.clone());
    let standing = installers.standing(job.as_ref());
    let (installers, standing) =
        imaging::join((installers, standing), job, (ground.data, ground.clock)).await;
    let start = match saved {
        Ok(saved) => Course::resume(saved, standing, running, limits, now),
        Err(_) => Course::unread(UNREAD, standing, running, limits, now),
    };
    if start.0.is_on_trial() {
        ends.trials.begin(Tried::Update);
    }
    let source = if let Some(mirror) = &ground.config.repository {
        Source::Mirror(mirror.clone())
    } else {
        let address = format!("https://{}/release/", ground.server.doors.renewal);
        let credentials = ends.credentials;
        let tls = move || Arc::clone(&credentials.borrow().tls);
        Source::Server(address.parse().ok()?, Box::new(tls))
    };
    let (judged, ledger) = (ground.data.to_owned(), ground.outbox.ledger());
    let (policy, trust) = (ground.data.to_owned(), ends.trust);
    let going = Going {
        data: ground.data.to_owned(),
        start,
        own: Own {
            gateway: ground.server.gateway.clone(),
            hw: std::env::consts::ARCH.to_owned(),
            installers: Vec::new(),
            bytes: Vec::new(),
            ran: Vec::new(),
        },
        build: build(),
        installers,
        source,
        peers: Peers::new(ground.config.peers.clone()),
        most: ground.config.most,
        pace: Pace::new(ends.habits, ground.config.metered, Arc::clone(ground.clock)),
        outbox: ground.outbox.clone(),
        clock: Arc::clone(ground.clock),
        heard: ends.heard,
        met: ends.met,
        people: Box::new(move || People {
            roots: policies::roots(&trust.borrow()),
            keyring: policies::load(&policy).map(|saved| saved.floor.keyring),
        }),
        vitals: Vitals {
            link: ends.link,
            sensors: ends.sensors,
            judged: Box::new(move || verdict(&judged)),
            strain: ends.strain,
            waiting: Box::new(move || ledger.borrow().items()),
            drain: Mutex::default(),
        },
        home: ends.home,
        restart: ends.restart,
        trials: ends.trials,
    };
    let mut tasks = vec![task("update", going.run(stop.clone()))];
    if let Some(listen) = ground.config.share {
        let data = ground.data.to_owned();
        tasks.push(task("share", Share { data, listen }.run(stop.clone())));
    }
    Some(tasks)
}

/// A part of its own for each box: what its name gives.
fn spread(gateway: &GatewayId) -> u8 {
    let hash = digest(&SHA256, gateway.as_str().as_bytes());
    hash.as_ref().first().copied().unwrap_or_default()
}

/// The bytes of the program that runs, wherever it lies by now.
fn build() -> Option<SignedDigest> {
    let digest = digest_of(Path::new("/proc/self/exe")).ok()?;
    Some(SignedDigest(digest.0))
}

fn running(folder: &Folder, slots: &Slots) -> Running {
    let own = fs::read_link("/proc/self/exe");
    let place = own.map_or(Place::Package, |path| folder.place_of(&path));
    Running {
        place,
        version: slots.version(place, packaged()),
    }
}
