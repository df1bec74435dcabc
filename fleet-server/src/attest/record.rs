//! What is kept of a gateway's judgements, and how the gateway stands at a moment by that alone.
//!
//! # Design
//! [`Known::trust`] is the only place where a state is made. It takes the record and the time, so the answer is the
//! same before and after a restart, and nothing has to run for a gateway to leave `trusted`. A clock that lies before
//! what is already on record is at fault itself: then nobody is trusted until it is right.

use homeward_protocol::attest::{Tier, Trust, VERDICT_MS};
use homeward_protocol::evidence::Evidence;
use homeward_protocol::time::Timestamp;

use super::{Status, Verdict};

/// How far the server's clock may lie before the newest record: clocks are set right in small steps.
pub const CLOCK_SLACK_MS: i64 = 60_000;
/// Failures in a row that shut a gateway off.
pub const FAILURES: i64 = 2;
/// Boots that are remembered, to tell two boxes from one that was put back.
pub const BOOTS: usize = 8;

/// One boot as the agent counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// How many boots the agent has counted.
    pub count: u64,
    /// The first 8 of its random bytes: enough to tell boots apart.
    pub seed: u64,
}

impl Boot {
    /// The boot that evidence speaks of.
    pub fn of(evidence: &Evidence) -> Boot {
        let seed = evidence.boot_seed.first_chunk().copied().unwrap_or_default();
        Boot {
            count: evidence.boot_count,
            seed: u64::from_be_bytes(seed),
        }
    }
}

/// How a boot stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootOrder {
    /// The newest one still.
    Same,
    /// A later one.
    Next,
    /// Counted no further than one that is known, and not known itself.
    Back,
    /// One that was followed by another already: two boxes take turns.
    Alternates,
}

/// The newest boots, the newest last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boots(Vec<Boot>);

impl Boots {
    /// These, the newest last; what is more than [`BOOTS`] is left out.
    pub fn new(mut boots: Vec<Boot>) -> Boots {
        boots.drain(..boots.len().saturating_sub(BOOTS));
        Boots(boots)
    }

    /// How this boot stands to them.
    pub fn judge(&self, boot: Boot) -> BootOrder {
        let Some(newest) = self.0.last() else {
            return BootOrder::Next;
        };
        if boot == *newest {
            BootOrder::Same
        } else if self.0.contains(&boot) {
            BootOrder::Alternates
        } else if boot.count > newest.count {
            BootOrder::Next
        } else {
            BootOrder::Back
        }
    }

    /// With this one as the newest.
    #[must_use]
    pub fn with(&self, boot: Boot) -> Boots {
        let mut boots = self.0.clone();
        boots.retain(|known| *known != boot);
        boots.push(boot);
        Boots::new(boots)
    }

    /// `count:seed` with spaces between, as it is kept.
    pub fn text(&self) -> String {
        let boots: Vec<String> = self
            .0
            .iter()
            .map(|b| format!("{}:{:016x}", b.count, b.seed))
            .collect();
        boots.join(" ")
    }

    /// Reads [`Boots::text`] back.
    pub fn from_text(text: &str) -> Option<Boots> {
        let boot = |word: &str| {
            let (count, seed) = word.split_once(':')?;
            Some(Boot {
                count: count.parse().ok()?,
                seed: u64::from_str_radix(seed, 16).ok()?,
            })
        };
        text.split_whitespace()
            .map(boot)
            .collect::<Option<Vec<_>>>()
            .map(Boots::new)
    }
}

/// The newest judgement, as far as the state needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// In one word.
    pub status: Status,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A gateway that a person has to open again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// Since when.
    pub since: Timestamp,
    /// Why, in plain words.
    pub why: String,
}

/// What is kept of one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// The highest tier that it proved, or that a person set.
    pub tier: Option<Tier>,
    /// The thumbprint of the key that it last proved itself with.
    pub key: Option<[u8; 32]>,
    /// The name it goes by since its enrolment.
    pub box_id: Option<[u8; 16]>,
    /// Its newest boots.
    pub boots: Boots,
    /// When it was asked for the first time.
    pub first_asked: Option<Timestamp>,
    /// The newest judgement.
    pub newest: Option<Newest>,
    /// When its evidence was last not contraindicated.
    pub last_good: Option<Timestamp>,
    /// Failures in a row.
    pub failures: i64,
    /// Whether a person has to open it again.
    pub quarantine: Option<Quarantine>,
}

impl Known {
    /// How the gateway stands at `now`. `newest_record` is the newest moment that is on record anywhere in the store.
    pub fn trust(&self, now: Timestamp, newest_record: Timestamp) -> Trust {
        if is_clock_behind(now, newest_record) {
            return Trust::Unknown;
        }
        if self.quarantine.is_some() {
            return Trust::Failed;
        }
        let Some(newest) = self.newest else {
            // Asked, and silent for a whole judgement's life: that is not "not yet" any more.
            let asked_ms = self.first_asked.map(|at| at.ms.saturating_add(VERDICT_MS));
            return if asked_ms.is_some_and(|end| now.ms >= end) {
                Trust::Stale
            } else {
                Trust::Unknown
            };
        };
        let over = now.ms >= newest.expires_at.ms;
        match newest.status {
            Status::Contraindicated => Trust::Failed,
            _ if over => Trust::Stale,
            Status::None => Trust::Unknown,
            Status::Affirming => Trust::Trusted,
            Status::Warning => Trust::Warning,
        }
    }

    /// The record after one more judgement. `evidence` is what it was of, when that could be read and its signature
    /// held. Never leads out of quarantine.
    #[must_use]
    pub fn after(&self, verdict: &Verdict, evidence: Option<&Evidence>, said: &str) -> Known {
        let failed = verdict.status == Status::Contraindicated;
        let mut next = self.clone();
        next.newest = Some(Newest {
            status: verdict.status,
            issued_at: verdict.issued_at,
            expires_at: verdict.expires_at,
        });
        next.failures = match verdict.status {
            Status::Contraindicated if verdict.is_of_its_part() => self.failures,
            Status::Contraindicated => self.failures.saturating_add(1),
            Status::None => self.failures,
            Status::Affirming | Status::Warning => 0,
        };
        if failed {
            let counts = !verdict.is_of_its_part();
            if counts && next.failures >= FAILURES || verdict.is_at_once() {
                next.quarantine.get_or_insert_with(|| Quarantine {
                    since: verdict.issued_at,
                    why: said.to_owned(),
                });
            }
            return next;
        }
        if let Some(evidence) = evidence {
            next.key = Some(evidence.key);
            next.box_id = Some(evidence.box_id);
            next.boots = self.boots.with(Boot::of(evidence));
        }
        if verdict.status != Status::None {
            next.last_good = Some(verdict.issued_at);
            next.tier = self.tier.max(Some(verdict.tier));
        }
        next
    }

    /// The record after a person opened the gateway again. How it stands is for its next evidence to say: what failed
    /// stays failed until then.
    #[must_use]
    pub fn opened(&self) -> Known {
        Known {
            quarantine: None,
            failures: 0,
            ..self.clone()
        }
    }

    /// The record after a person accepted another tier for it, for example after its mainboard was changed.
    #[must_use]
    pub fn retiered(&self, tier: Tier) -> Known {
        Known {
            tier: Some(tier),
            ..self.clone()
        }
    }
}

/// Whether the server's clock lies before what is on record.
pub const fn is_clock_behind(now: Timestamp, newest_record: Timestamp) -> bool {
    now.ms.saturating_add(CLOCK_SLACK_MS) < newest_record.ms
}

/// What is sent to gateways, by what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sending {
    /// A policy, or a campaign.
    Policy,
    /// A secret.
    Secret,
    /// An update of its software: how a box that fell behind is mended.
    Update,
    /// A challenge, and its judgement.
    Attest,
    /// A certificate: without one it could not deliver readings.
    Certificate,
    /// That its records are stored.
    Acknowledgement,
    /// A hint to look now.
    Hint,
}

impl Sending {
    /// All of them.
    pub const ALL: [Sending; 7] = [
        Sending::Policy,
        Sending::Secret,
        Sending::Update,
        Sending::Attest,
        Sending::Certificate,
        Sending::Acknowledgement,
        Sending::Hint,
    ];

    /// Whether it may be sent to this gateway. Quarantine stops what carries authority or secrets, and nothing that
    /// readings, alarms or the mending of the box need.
    pub const fn may_go(self, quarantine: Option<&Quarantine>) -> bool {
        match self {
            Sending::Policy | Sending::Secret => quarantine.is_none(),
            Sending::Update
            | Sending::Attest
            | Sending::Certificate
            | Sending::Acknowledgement
            | Sending::Hint => true,
        }
    }
}
