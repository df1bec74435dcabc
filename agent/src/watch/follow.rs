//! Shell: lets the watch follow what happens, keeps what it knows over a restart, and sends its reports.
#![expect(clippy::disallowed_methods, reason = "shell: a file, and waiting")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use homeward_protocol::envelope::Item;
use homeward_protocol::time::Uptime;
use homeward_protocol::watch::{Finding, Suspicion};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Event, Listed, Saved, Watch};
use crate::clock::Clock;
use crate::policy::habits::Now;
use crate::strain::Strain;

/// Longest file that is read, bytes: a hundred sensors with their batteries are far below it.
const MAX: u64 = 1 << 20;
/// What changes without a report (a battery, how quiet the radio is) is written at most this often.
const WRITE_EVERY: std::time::Duration = std::time::Duration::from_hours(6);

/// Follows the sensors of one box.
pub struct Follow {
    /// The data folder.
    pub data: PathBuf,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// What is watched.
    pub listed: Vec<Listed>,
    /// What the policy wants.
    pub habits: Now,
    /// What happens.
    pub events: mpsc::Receiver<Event>,
    /// Where reports go.
    pub records: mpsc::Sender<Vec<Item>>,
    /// Told whose batteries run down.
    pub strain: Strain,
}

impl Follow {
    /// Runs until `stop`, or until nobody tells anything or takes reports.
    pub async fn run(mut self, stop: CancellationToken) {
        let (now, up) = (self.clock.now(), self.clock.uptime());
        let (mut watch, first) = Watch::resume(std::mem::take(&mut self.listed), read(&self.data), now, up);
        let mut report = Some(first);
        self.habits.mark_changed();
        let mut written = None;
        loop {
            let up = self.clock.uptime();
            if report.is_some() || written.is_none_or(|at: Uptime| up.since(at) >= WRITE_EVERY) {
                write(&self.data, &watch.saved());
                written = Some(up);
            }
            if let Some(report) = report.take() {
                let falls = |finding: &&Finding| finding.suspicion == Suspicion::BatteryFalling;
                let falling = report.findings.iter().filter(falls);
                let falling = falling.filter_map(|finding| finding.sensor.clone()).collect();
                self.strain.run_down(&falling);
                info!(
                    findings = report.findings.len(),
                    "{} suspicions stand about the sensors",
                    report.findings.len()
                );
                if self.records.send(vec![Item::Watch(report)]).await.is_err() {
                    return;
                }
            }
            let wait = watch.deadline().since(up);
            let event = tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(wait) => Event::Tick,
                Ok(()) = self.habits.changed() => Event::Habits(Arc::clone(&self.habits.borrow_and_update())),
                event = self.events.recv() => match event {
                    Some(event) => event,
                    None => break,
                },
            };
            report = watch.handle(event, self.clock.now(), self.clock.uptime());
        }
        write(&self.data, &watch.saved());
    }
}

fn path(data: &Path) -> PathBuf {
    data.join("watch.json")
}

/// What was kept; nothing when there is none, or when it cannot be read.
fn read(data: &Path) -> Saved {
    let mut text = String::new();
    let opened = fs::File::open(path(data)).and_then(|file| file.take(MAX).read_to_string(&mut text));
    if let Err(error) = opened {
        if error.kind() != std::io::ErrorKind::NotFound {
            warn!(%error, "what the watch knew could not be read; it begins anew");
        }
        return Saved::default();
    }
    serde_json::from_str(&text).unwrap_or_else(|error| {
        warn!(%error, "what the watch knew is damaged; it begins anew");
        Saved::default()
    })
}

/// Replaces it. Not flushed: after a power cut an older one is as good.
fn write(data: &Path, saved: &Saved) {
    let (path, next) = (path(data), data.join("watch.json.new"));
    let text = serde_json::to_vec(saved).unwrap_or_default();
    if let Err(error) = fs::write(&next, text).and_then(|()| fs::rename(&next, &path)) {
        warn!(%error, "what the watch knows could not be written");
    }
}
