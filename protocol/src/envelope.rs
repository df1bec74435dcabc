//! How records travel: a signed run of one lane of one outbox.
//!
//! An outbox is named by its [`Epoch`] and has three [`Lane`]s. In each lane records are numbered 1, 2, 3 …
//! without holes, and each record's [`ChainHash`] covers all before it. What an outbox had to give up stays in
//! the numbering as an [`Entry::Lost`] that says how many and why, so that a hole is always a stated one.
//!
//! # Design
//! - Lanes, each with numbers of its own, let an alarm overtake a backlog of readings without making
//!   "stored up to" mean anything but a gap-free run. One sequence with priorities would need lists of numbers
//!   in every acknowledgement.
//! - Each envelope says the `oldest` record its lane still holds. A server that lost its end of the run (restored
//!   from a backup, a new server) sees at once that nothing below can come again, records the hole and goes on:
//!   no acknowledgement stands still for ever.

use std::fmt;

use ring::digest;
use serde::{Deserialize, Serialize};

use crate::alarm::Alarm;
use crate::guard::WriteAttempt;
use crate::id::{Epoch, GatewayId, Seq};
use crate::link::Outage;
use crate::policy::state::{PolicyState, StoppedFlows};
use crate::posture::facts::FactReport;
use crate::posture::inventory::Piece;
use crate::posture::{MAX_SENSORS, PostureReport};
use crate::reading::Reading;
use crate::release::state::UpdateState;
use crate::signed::Message;
use crate::support::SupportRecord;
use crate::time::Timestamp;
use crate::watch::WatchReport;
use crate::wire::{self, Bytes, WireError};

/// Most bytes of one envelope. With the signature and the MQTT header it stays below the gate's packet limit
/// of 64 KiB, with room for a longer topic.
pub const MAX_ENVELOPE: usize = 56 * 1024;
/// Most bytes of one record: a posture report of a box with [`MAX_SENSORS`] sensors is below 48 KiB.
pub const MAX_ITEM: usize = 48 * 1024;
/// Most entries in one envelope: what one commit of a server takes from one box at a time.
pub const MAX_ENTRIES: usize = 256;

/// What matters more goes first and is given up last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lane {
    /// Alarms and posture changes.
    Urgent,
    /// Readings.
    Vital,
    /// The rest.
    Routine,
}

impl Lane {
    /// All lanes, most important first.
    pub const ALL: [Lane; 3] = [Lane::Urgent, Lane::Vital, Lane::Routine];

    /// The name in topics and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Urgent => "urgent",
            Lane::Vital => "vital",
            Lane::Routine => "routine",
        }
    }

    /// The lane of that name.
    pub fn from_name(name: &str) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.name() == name)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// SHA-256 over a record and all before it in its lane.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// Where a lane begins.
    pub fn start(epoch: Epoch, lane: Lane) -> ChainHash {
        let mut ctx = digest::Context::new(&digest::SHA256);
        ctx.update(b"homeward-chain-v1");
        ctx.update(&epoch.0.to_be_bytes());
        ctx.update(lane.name().as_bytes());
        finish(ctx)
    }

    /// The hash after one more record with this body.
    #[must_use]
    pub fn then(self, body: &[u8]) -> ChainHash {
        let mut ctx = digest::Context::new(&digest::SHA256);
        ctx.update(&self.0);
        ctx.update(body);
        finish(ctx)
    }

    /// The hash after an entry: its body's, or the one a loss states.
    #[must_use]
    pub fn after(self, entry: &Entry) -> ChainHash {
        match entry {
            Entry::Item(body) => self.then(&body.0),
            Entry::Lost(lost) => lost.head,
        }
    }

    /// From the 32 bytes of a stored one.
    pub fn from_slice(bytes: &[u8]) -> Option<ChainHash> {
        bytes.try_into().ok().map(ChainHash)
    }
}

fn finish(ctx: digest::Context) -> ChainHash {
    let mut out = [0; 32];
    out.copy_from_slice(ctx.finish().as_ref());
    ChainHash(out)
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl Serialize for ChainHash {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for ChainHash {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = Bytes::deserialize(from)?;
        ChainHash::from_slice(&bytes.0)
            .ok_or_else(|| serde::de::Error::invalid_length(bytes.0.len(), &"32 bytes"))
    }
}

/// One record's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    /// A value from a sensor.
    Reading(Reading),
    /// The state of the box.
    Posture(PostureReport),
    /// A condition began or ended.
    Alarm(Alarm),
    /// A stretch without connection ended.
    Outage(Outage),
    /// What looks wrong about the sensors, and their bonds.
    Watch(WatchReport),
    /// Another master wrote to a guarded device, or tried to.
    Write(WriteAttempt),
    /// A link of the chain of postures ([`crate::postures::Link`]), as it was signed when it was made.
    Proof(Bytes),
    /// Which policy holds on the box, and how each point of it stands.
    Policy(Box<PolicyState>),
    /// Flows that the box stopped.
    Stopped(StoppedFlows),
    /// What the box is, fact by fact.
    Facts(FactReport),
    /// A piece of the list of software.
    Software(Piece),
    /// What software runs, and how far an update has come.
    Update(Box<UpdateState>),
    /// What became of a support session.
    Support(Box<SupportRecord>),
}

impl Item {
    /// The lane it travels in.
    pub const fn lane(&self) -> Lane {
        match self {
            Item::Alarm(_)
            | Item::Posture(_)
            | Item::Watch(_)
            | Item::Write(_)
            | Item::Policy(_)
            | Item::Stopped(_)
            | Item::Update(_)
            | Item::Support(_) => Lane::Urgent,
            Item::Reading(_) => Lane::Vital,
            Item::Outage(_) | Item::Proof(_) | Item::Facts(_) | Item::Software(_) => Lane::Routine,
        }
    }

    /// The body of a record.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        wire::encode(self, MAX_ITEM).map(Bytes)
    }

    /// Reads the body of a record.
    pub fn decode(body: &Bytes) -> Result<Item, WireError> {
        let item: Item = wire::decode(&body.0, MAX_ITEM)?;
        match &item {
            Item::Posture(report) if report.sensors.len() > MAX_SENSORS => {
                Err(WireError::Rule("a posture report lists too many sensors"))
            }
            Item::Proof(bytes) if bytes.0.len() > crate::postures::MAX_SIGNED => {
                Err(WireError::Rule("a link that is longer than any"))
            }
            Item::Facts(report) => report.check().map(|()| item),
            Item::Software(piece) => piece.check().map(|()| item),
            Item::Support(record) => record.of.check().map(|()| item),
            Item::Watch(report) if !report.is_within_limits() => {
                Err(WireError::Rule("a watch report lists too much"))
            }
            Item::Policy(state) if !state.is_within_limits() => {
                Err(WireError::Rule("a policy's state lists too many points"))
            }
            Item::Update(state) if !state.is_within_limits() => {
                Err(WireError::Rule("a state of software that gives too many reasons"))
            }
            Item::Stopped(flows) if !flows.is_within_limits() => {
                Err(WireError::Rule("a list of stopped flows of another size or rule"))
            }
            _ => Ok(item),
        }
    }
}

/// Why records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossCause {
    /// The outbox reached its quota and gave up its oldest, least important records.
    Quota,
    /// The disk refused the record when it was to be written.
    DiskRefused,
    /// The outbox found a record damaged.
    Damaged,
}

/// Records that a lane had to give up, standing in their place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// How many records; at least 1. They take as many numbers.
    pub count: u64,
    /// Why.
    pub cause: LossCause,
    /// The chain after the last of them.
    pub head: ChainHash,
    /// When the first of them was given up.
    pub at: Timestamp,
}

/// One place, or one run of lost places, in a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// A record: the CBOR of an [`Item`].
    Item(Bytes),
    /// Records that are gone.
    Lost(Lost),
}

impl Entry {
    /// How many numbers it takes.
    pub const fn span(&self) -> u64 {
        match self {
            Entry::Item(_) => 1,
            Entry::Lost(lost) => lost.count,
        }
    }
}

/// A run of one lane, in order, without holes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Who speaks.
    pub gateway: GatewayId,
    /// Which outbox.
    pub epoch: Epoch,
    /// Which lane.
    pub lane: Lane,
    /// The oldest record that this lane still holds. Nothing below it can come again.
    pub oldest: Seq,
    /// The number of the first entry.
    pub first: Seq,
    /// The chain before the first entry.
    pub prev: ChainHash,
    /// When it was sent, by the gateway's clock.
    pub sent_at: Timestamp,
    /// What it holds; at least one, at most [`MAX_ENTRIES`].
    pub entries: Vec<Entry>,
}

impl Envelope {
    /// The number of its last place.
    pub fn last(&self) -> Seq {
        let span: u64 = self.entries.iter().fold(0, |sum, e| sum.saturating_add(e.span()));
        self.first.plus(span.saturating_sub(1))
    }
}

impl Message for Envelope {
    const NAME: &'static str = "homeward/envelope/1";
    const MAX: usize = MAX_ENVELOPE;

    fn check(&self) -> Result<(), &'static str> {
        if self.entries.is_empty() {
            return Err("an envelope holds at least one entry");
        }
        if self.entries.len() > MAX_ENTRIES {
            return Err("an envelope holds too many entries");
        }
        if self.oldest == Seq::ZERO || self.first < self.oldest {
            return Err("numbers begin at 1, and an envelope not before the oldest record held");
        }
        let mut at = self.first.0;
        for entry in &self.entries {
            if entry.span() == 0 {
                return Err("a loss counts at least one record");
            }
            at = at
                .checked_add(entry.span())
                .ok_or("numbers beyond the last one")?;
        }
        if i64::try_from(at).is_err() {
            return Err("numbers beyond the last one");
        }
        Ok(())
    }
}
