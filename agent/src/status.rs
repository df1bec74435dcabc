//! How the agent is, in plain words: what `homeward-agent status` prints.
//!
//! The running agent writes it to a file beside its data; the command reads that file, so it also works, and
//! says so, when the agent does not run.

use std::fmt;
use std::time::Duration;

use homeward_protocol::envelope::Lane;
use homeward_protocol::id::GatewayId;
use homeward_protocol::link::Cause;
use homeward_protocol::posture::{KeyFacts, KeyPlace, Sealing, SensorHeard};
use homeward_protocol::time::{Timestamp, Uptime};
use serde::{Deserialize, Serialize};

use crate::outbox::Ledger;
use crate::vault::Kind;

pub mod file;

/// A running agent writes its status at least this often; one that is three times as old says that the agent
/// does not run.
pub const EVERY: Duration = Duration::from_mins(1);
/// Three times that, milliseconds.
const STALE_MS: i64 = 180_000;

/// The link to the server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Since when it is connected, if it is.
    pub connected_since: Option<Timestamp>,
    /// When the connection that stands was dialled: of no meaning outside this run.
    #[serde(skip)]
    pub dialed: Option<Uptime>,
    /// Since when and why it is not, if it is not.
    pub down: Option<(Timestamp, Cause)>,
    /// When the server last acknowledged anything.
    pub last_ack: Option<Timestamp>,
    /// Messages of the server that were not understood.
    pub surprises: u64,
}

/// What one lane of the outbox holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Which lane.
    pub lane: Lane,
    /// Records that the server has not acknowledged.
    pub records: u64,
    /// What they take, bytes.
    pub size_bytes: u64,
}

/// The certificate's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Valid from, milliseconds since 1970.
    pub not_before_ms: i64,
    /// Valid until, milliseconds since 1970.
    pub not_after_ms: i64,
}

/// Where the key is that the box speaks with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStatus {
    /// Which, and what seals it.
    #[serde(flatten)]
    pub facts: KeyFacts,
    /// Why it is the spare one.
    pub why: Option<String>,
    /// Records that wait in the outbox that only the TPM opens.
    pub locked_in: u64,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// When this was written.
    pub as_of: Timestamp,
    /// Which gateway.
    pub gateway: GatewayId,
    /// The agent's version.
    pub version: String,
    /// The link to the server.
    pub link: LinkStatus,
    /// What waits, most important first.
    pub backlog: Vec<Backlog>,
    /// Records given up since the outbox was made.
    pub lost: u64,
    /// The sensors.
    pub sensors: Vec<SensorHeard>,
    /// The certificate.
    pub certificate: Option<CertificateStatus>,
    /// Where the key is; older agents did not say.
    #[serde(default)]
    pub key: Option<KeyStatus>,
}

impl Backlog {
    /// All lanes of an outbox.
    pub fn of(ledger: &Ledger) -> Vec<Backlog> {
        let of = |lane| Backlog {
            lane,
            records: ledger.lane(lane).items,
            size_bytes: ledger.lane(lane).bytes,
        };
        Lane::ALL.map(of).to_vec()
    }
}

impl Status {
    /// For a person, as of `now`.
    pub fn tell(&self, now: Timestamp) -> String {
        let mut lines = vec![format!("Gateway {}, agent {}", self.gateway, self.version)];
        let age = now.ms.saturating_sub(self.as_of.ms);
        if age > STALE_MS {
            lines.push(format!(
                "The agent is not running: last sign of life {} ({} ago). Start it with `homeward-agent run`.",
                self.as_of,
                Span(age)
            ));
        }
        lines.push(format!("Server:      {}", self.link.tell(now)));
        lines.push(format!("Waiting:     {}", self.waiting()));
        if self.lost > 0 {
            lines.push(format!(
                "Lost:        {} records were given up for want of room; the server is told",
                self.lost
            ));
        }
        if let Some(certificate) = &self.certificate {
            lines.push(format!("Certificate: {}", certificate.tell(now)));
        }
        if let Some(key) = &self.key {
            lines.push(format!("Key:         {}", key.tell()));
        }
        if self.sensors.is_empty() {
            lines.push("Sensors:     none configured".to_owned());
        }
        for sensor in &self.sensors {
            lines.push(format!("Sensor {}: {}", sensor.sensor, heard(sensor, now)));
        }
        lines.join("\n")
    }

    fn waiting(&self) -> String {
        let held = self.backlog.iter().filter(|lane| lane.records > 0);
        let lanes: Vec<String> = held
            .map(|lane| format!("{} {}", lane.records, lane.lane))
            .collect();
        if lanes.is_empty() {
            return "nothing; the server has every record".to_owned();
        }
        let records: u64 = self.backlog.iter().map(|lane| lane.records).sum();
        let kib = self.backlog.iter().map(|lane| lane.size_bytes).sum::<u64>() / 1024;
        format!("{records} records ({}), {kib} KiB", lanes.join(", "))
    }
}

impl LinkStatus {
    fn tell(&self, now: Timestamp) -> String {
        let acked = self.last_ack.map_or_else(String::new, |at| {
            format!(
                ", last acknowledgement {} ago",
                Span(now.ms.saturating_sub(at.ms))
            )
        });
        match (self.connected_since, self.down) {
            (Some(since), _) => format!("connected since {since}{acked}"),
            (None, Some((at, cause))) => {
                format!(
                    "no connection since {at}: {}{acked}. Records are kept here",
                    words(cause)
                )
            }
            (None, None) => "connecting".to_owned(),
        }
    }
}

/// Why there is no connection, in plain words.
pub const fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Unreachable => "the network or the server does not answer",
        Cause::Untrusted => "a certificate was not accepted (if this stays: enrol again)",
        Cause::Closed => "the server closed the connection (if this stays: ask whether this box is shut out)",
        Cause::NotRunning => "the agent was not running",
    }
}

impl KeyStatus {
    fn tell(&self) -> String {
        let sealed = match self.facts.sealed {
            Sealing::Tpm => Kind::Tpm,
            Sealing::Credential => Kind::Credential,
            Sealing::Machine => Kind::Machine,
            Sealing::Nothing => Kind::File,
        };
        let sealed = sealed.words();
        match self.facts.place {
            KeyPlace::Tpm => "in this box's TPM: it cannot be copied".to_owned(),
            KeyPlace::File => format!("in a file, {sealed}"),
            KeyPlace::Spare => {
                let why = self.why.as_deref().unwrap_or("it does not answer");
                let waits = match self.locked_in {
                    0 => String::new(),
                    n => format!(" {n} records wait in an outbox that only the TPM opens."),
                };
                format!(
                    "THE SPARE ONE, because this box's TPM cannot be used ({why}). Readings and alarms go out at the \
                     lowest grade until the certificate ends; it is not renewed by itself.{waits} Have the TPM looked \
                     at, or enrol anew. The spare key is {sealed}"
                )
            }
        }
    }
}

impl CertificateStatus {
    fn tell(self, now: Timestamp) -> String {
        let until = Timestamp::synced(self.not_after_ms);
        if now.ms > self.not_after_ms {
            format!("EXPIRED on {until}; the agent asks for a new one by itself")
        } else {
            format!("valid until {until}; renewed by itself")
        }
    }
}

fn heard(sensor: &SensorHeard, now: Timestamp) -> String {
    let last = sensor.last_heard.map_or_else(
        || "never heard".to_owned(),
        |at| format!("heard {} ago", Span(now.ms.saturating_sub(at.ms))),
    );
    match (&sensor.last_error, sensor.failures) {
        (Some(error), failures) if failures > 0 => {
            format!("{last}; failed {failures} times: {}", error.as_str())
        }
        _ => last,
    }
}

/// Milliseconds, printed in one unit.
struct Span(i64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.max(0) / 1000;
        match secs {
            0..120 => write!(f, "{secs} s"),
            120..7_200 => write!(f, "{} min", secs / 60),
            7_200..172_800 => write!(f, "{} h", secs / 3600),
            _ => write!(f, "{} days", secs / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    fn status() -> Status {
        Status {
            as_of: NOW,
            gateway: "gw-1".parse().expect("an id"),
            version: "0.1.0".to_owned(),
            link: LinkStatus::default(),
            backlog: Vec::new(),
            lost: 0,
            sensors: Vec::new(),
            certificate: None,
            key: None,
        }
    }

    #[test]
    fn a_status_that_nobody_renews_says_that_the_agent_is_not_running() {
        assert!(!status().tell(NOW).contains("not running"));
        let later = NOW.plus_ms(STALE_MS + 1);
        assert!(status().tell(later).contains("not running: last sign of life"));
    }

    #[test]
    fn a_spare_key_is_said_aloud_with_what_waits_for_the_tpm() {
        let mut status = status();
        status.key = Some(KeyStatus {
            facts: KeyFacts {
                place: KeyPlace::Spare,
                sealed: Sealing::Machine,
            },
            why: Some("the TPM does not answer".to_owned()),
            locked_in: 12,
        });
        let text = status.tell(NOW);
        for part in [
            "THE SPARE ONE",
            "does not answer",
            "12 records wait",
            "facts of this machine",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_lost_link_says_since_when_why_and_what_waits() {
        let mut status = status();
        status.link.down = Some((NOW.plus_ms(-60_000), Cause::Unreachable));
        status.backlog = vec![Backlog {
            lane: Lane::Vital,
            records: 12,
            size_bytes: 4096,
        }];
        status.lost = 3;
        let text = status.tell(NOW);
        for part in [
            "no connection since",
            "does not answer",
            "12 records (12 vital)",
            "3 records were given up",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
