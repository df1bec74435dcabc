//! Shell: reports the posture at the start, on change, once in a while, and when asked.
#![expect(clippy::disallowed_methods, reason = "shell: waits")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::envelope::Item;
use homeward_protocol::posture::{KeyFacts, PostureReport, SensorHeard};
use homeward_protocol::time::Uptime;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{changed, facts};
use crate::clock::Clock;
use crate::enrol::anchors::mark;
use crate::outbox::keeper::Outbox;
use crate::policy::habits::Now;

/// How often it is looked whether something changed. The disk fills and clocks come right within minutes.
const LOOK: Duration = Duration::from_secs(30);
/// At the start the sensors get this long to answer, so that the first report already says how they are.
const FIRST: Duration = Duration::from_secs(2);

/// Reports on one box.
pub struct Reporter {
    /// The folder whose disk is looked at.
    pub data: PathBuf,
    /// Where the reports go.
    pub outbox: Outbox,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// The sensors, as they were last heard.
    pub sensors: watch::Receiver<Vec<SensorHeard>>,
    /// The trust anchors that are held.
    pub trust: watch::Receiver<Vec<CertificateDer<'static>>>,
    /// Where the key is.
    pub key: Option<KeyFacts>,
    /// How often to report when nothing changed, where the policy does not want it oftener.
    pub interval: Duration,
    /// What the policy wants.
    pub habits: Now,
}

impl Reporter {
    /// Reports for ever; at once at each change of `asked`.
    pub async fn run(mut self, mut asked: watch::Receiver<u64>, stop: CancellationToken) {
        let mut last: Option<(PostureReport, Uptime)> = None;
        let mut wait = FIRST;
        loop {
            let now_asked = tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => false,
                Ok(()) = self.trust.changed() => false,
                changed = asked.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    true
                }
            };
            wait = LOOK;
            let bytes = self.outbox.ledger().borrow().bytes();
            let sensors = self.sensors.borrow().clone();
            let trust = mark(&self.trust.borrow());
            let mut report = facts::gather(&self.data, bytes, &self.clock).report(sensors, trust);
            report.key = self.key;
            let up = self.clock.uptime();
            let interval = self.habits.borrow().posture(self.interval);
            let due = last
                .as_ref()
                .is_none_or(|(old, at)| now_asked || up.since(*at) >= interval || changed(old, &report));
            if !due {
                continue;
            }
            let item = Item::Posture(report.clone());
            match self.outbox.push(vec![item], self.clock.now()).await {
                Ok(()) => last = Some((report, up)),
                Err(error) => tracing::warn!(error = %error, "could not keep a posture report"),
            }
        }
    }
}
