//! Shell: collects the facts, tells what changed, and says "nothing changed" where nothing did.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: waits, files, and looking on a thread of its own"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use homeward_devices::bluez::objects::Adapter;
use homeward_protocol::envelope::{Item, Lane};
use homeward_protocol::posture::fact::Fact;
use homeward_protocol::posture::inventory::pieces;
use homeward_protocol::time::Uptime;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::collect::{Bus, Collector};
use super::look::ask::Looker;
use super::look::{SOCKET, files};
use super::software::Software;
use super::telling::{MAX_KEPT, Next, Told};
use crate::attest::Speech;
use crate::clock::Clock;
use crate::outbox::keeper::Outbox;
use crate::status::LinkStatus;

/// After a start the rest of the box gets this long to start, too.
const FIRST: Duration = Duration::from_secs(20);
/// How often the cheap facts are taken.
const OFTEN: Duration = Duration::from_mins(5);
/// How often the others are, unless a package changed.
const SELDOM: Duration = Duration::from_hours(12);
/// How often "nothing changed" is said, beside once a connection.
const STILL: Duration = Duration::from_hours(1);
/// When the newest report was not acknowledged yet, "nothing changed" waits for that.
const AGAIN: Duration = Duration::from_secs(15);
/// What changes when a package is installed or goes.
const PACKAGES: [&str; 3] = [
    "/var/lib/dpkg/status",
    "/usr/lib/opkg/status",
    "/lib/apk/db/installed",
];

/// What the teller works with.
pub struct Teller {
    /// The data folder: what was told is kept there.
    pub data: PathBuf,
    /// Where reports go.
    pub outbox: Outbox,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// The buses of the configuration.
    pub buses: Vec<Bus>,
    /// Whether there is a connection.
    pub link: watch::Receiver<LinkStatus>,
    /// Where "nothing changed" goes.
    pub says: mpsc::Sender<Speech>,
    /// Asks the Bluetooth stack for its adapters.
    pub adapters: fn() -> AdaptersAsked,
}

/// An answer of the Bluetooth stack that is on its way.
pub type AdaptersAsked = std::pin::Pin<Box<dyn Future<Output = Option<Vec<Adapter>>> + Send>>;

/// What is remembered between looks.
#[derive(Default)]
struct Seen {
    seldom: Vec<Fact>,
    software: Option<Software>,
    at: Option<(Uptime, Vec<Option<SystemTime>>)>,
    still_said: Option<Uptime>,
    still_due: bool,
}

impl Teller {
    /// Tells for ever; all of it at each change of `facts`, the list of software at each of `software`.
    pub async fn run(
        mut self,
        mut facts: watch::Receiver<u64>,
        mut software: watch::Receiver<u64>,
        stop: CancellationToken,
    ) {
        let mut told = Told::resume(&files::bytes(&path(&self.data), MAX_KEPT as u64).unwrap_or_default());
        let mut seen = Seen::default();
        let mut look_at = self.clock.uptime().plus(FIRST);
        let mut wait = FIRST;
        loop {
            let mut asked = false;
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
                changed = facts.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    asked = true;
                }
                Ok(()) = software.changed() => self.send_software(&mut seen).await,
                Ok(()) = self.link.changed() => {
                    // A new connection: the server is told once that all is as it was.
                    seen.still_due |= self.link.borrow_and_update().connected_since.is_some();
                }
            }
            if asked || self.clock.uptime() >= look_at {
                self.look(&mut told, &mut seen, asked).await;
                look_at = self.clock.uptime().plus(OFTEN);
            }
            let until = look_at.since(self.clock.uptime());
            wait = if self.say_still(&told, &mut seen) {
                until
            } else {
                until.min(AGAIN)
            };
        }
    }

    /// Looks at the box and tells what is new.
    async fn look(&self, told: &mut Told, seen: &mut Seen, asked: bool) {
        let collector = Collector {
            // Also where it runs as root: what speaks with the network does not look into what is closed.
            looker: Looker::Helper(SOCKET.into()),
            buses: self.buses.clone(),
            adapters: (self.adapters)().await,
        };
        let (at, up) = (self.clock.now(), self.clock.uptime());
        let packages: Vec<Option<SystemTime>> = PACKAGES.iter().map(|path| changed_at(path)).collect();
        let due = seen
            .at
            .as_ref()
            .is_none_or(|(last, then)| up.since(*last) >= SELDOM || *then != packages);
        let looking = tokio::task::spawn_blocking(move || {
            let seldom = (due || asked).then(|| collector.seldom(at));
            (collector.often(at), seldom)
        });
        let Ok((mut facts, seldom)) = looking.await else {
            warn!("looking at the box failed; it is looked at again");
            return;
        };
        if let Some((seldom, software)) = seldom {
            seen.at = Some((up, packages));
            seen.seldom = seldom;
            told.software(software.name());
            seen.software = Some(software);
        }
        facts.extend(seen.seldom.iter().cloned());
        match told.take(facts, asked, at) {
            Next::Still => seen.still_due |= seen.still_said.is_none_or(|last| up.since(last) >= STILL),
            Next::Report(report) => {
                self.keep(told);
                debug!(
                    facts.count = report.facts.len(),
                    "telling {} facts",
                    report.facts.len()
                );
                if let Err(error) = self
                    .outbox
                    .push(vec![Item::Facts(report)], self.clock.now())
                    .await
                {
                    warn!(error = %error, "could not keep a report of facts: {error}");
                }
                seen.still_due = true;
            }
        }
    }

    /// Says "nothing changed" when it is due and everything that was told is stored; false when it is due and has to
    /// wait for that.
    fn say_still(&self, told: &Told, seen: &mut Seen) -> bool {
        let connected = self.link.borrow().connected_since.is_some();
        let Some(still) = told.still().filter(|_| seen.still_due && connected) else {
            return true;
        };
        if !self.outbox.ledger().borrow().lane(Lane::Routine).is_empty() {
            return false;
        }
        if let Ok(bytes) = still.encode() {
            let _full = self.says.try_send(Speech::Still(bytes));
        }
        seen.still_said = Some(self.clock.uptime());
        seen.still_due = false;
        true
    }

    async fn send_software(&self, seen: &mut Seen) {
        if seen.software.is_none() {
            let reading = tokio::task::spawn_blocking(|| {
                Software::of_this_box(super::look::installed::sha256(Path::new("/proc/self/exe")))
            });
            seen.software = reading.await.ok();
        }
        let Some(software) = &seen.software else { return };
        let items: Vec<Item> = pieces(&software.bytes).into_iter().map(Item::Software).collect();
        if let Err(error) = self.outbox.push(items, self.clock.now()).await {
            warn!(error = %error, "could not keep the list of software: {error}");
        }
    }

    fn keep(&self, told: &Told) {
        let kept = told.keep().map_err(|error| error.to_string());
        let next = path(&self.data).with_extension("new");
        let written = kept.and_then(|bytes| {
            std::fs::write(&next, bytes)
                .and_then(|()| std::fs::rename(&next, path(&self.data)))
                .map_err(|error| error.to_string())
        });
        if let Err(error) = written {
            warn!(
                "what was told of the box could not be kept: {error}. After a restart all of it is told again"
            );
        }
    }
}

fn path(data: &Path) -> PathBuf {
    data.join("facts.cbor")
}

fn changed_at(path: &str) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}
