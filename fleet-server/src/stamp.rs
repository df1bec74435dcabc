//! Whether readings can be relied on, from what their gateway signed and what the fleet published, and nothing else.
//!
//! A stamp is a reading with all that vouches for it: its place in its outbox's chain, the signature of its envelope,
//! the certificate that named its gateway for that key at that time, and its grade with the reasons that keep it from
//! a higher one. Whoever has the envelopes, the certificates and the fleet's roots can check it without this server.
//!
//! # Design
//! - Envelopes are checked in the order of their numbers, as they are exported; so each one is also held against
//!   the one before it.
//! - A grade is not computed anew from the radio: the bond was seen by the gateway alone. What is checked is that it
//!   does not contradict what the same gateway signed beside it: the reasons, the clock, and the newest report of its
//!   bonds and associations before the reading, where the file holds one.
//! - When a gateway's clock was not confirmed as it sent, nobody can say whether its certificate was valid then.
//!   Its readings hold, and none of them as verified.
//! - What a gateway signed and nobody can read, or what contradicts itself, is refused by itself; the readings beside
//!   it hold. A wrong signature, certificate or chain refuses the whole envelope.

pub mod judged;
pub mod papers;
pub mod sequence;

use std::collections::HashMap;

use homeward_protocol::bond::{Bond, KeyClass};
use homeward_protocol::envelope::{ChainHash, Envelope, Item, Lane};
use homeward_protocol::grade::{Grade, Reason};
use homeward_protocol::id::{Epoch, GatewayId, Seq};
use homeward_protocol::reading::Reading;
use homeward_protocol::signed::{Signed, SignedError, Verified};
use homeward_protocol::time::{ClockTrust, Timestamp};
use homeward_protocol::watch::{DeviceFacts, WatchReport};

use crate::ingest::{Arrived, Content};
use papers::Papers;
use sequence::SequenceError;

/// How far after its sending a reading may say that it was taken: a clock is corrected in small steps.
const CORRECTION_MS: i64 = 60_000;

/// Why an envelope vouches for nothing.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Its bytes are not those of an envelope, in the one form that they have.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// It is not an envelope, or its signature is not by the key of a certificate of that gateway.
    #[error("its signature or its content is wrong")]
    Signed(#[source] SignedError),
    /// No certificate that leads to the roots names its gateway.
    #[error("no certificate that leads to the given roots names {0}")]
    NoCertificate(GatewayId),
    /// There are certificates, and none of them over that key was valid then.
    #[error("no certificate of {gateway} over its key was valid when it was sent, {sent_at}")]
    NotThen {
        /// Whose.
        gateway: GatewayId,
        /// When it says that it was sent.
        sent_at: Timestamp,
    },
    /// Its chain does not go on from the envelope before it.
    #[error("its chain of records does not continue the one before it, at number {}", .0.0)]
    Chain(Seq),
    /// It comes again, or after a later one.
    #[error("its numbers come again or in the wrong order, from number {}", .0.0)]
    Order(Seq),
}

/// Why one record of a good envelope is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Its grade stands above what its own reasons and its own clock allow.
    #[error("it says {claimed:?}, and its own reasons and clock allow {highest:?} at most")]
    AboveItsReasons {
        /// What it says.
        claimed: Grade,
        /// What is left.
        highest: Grade,
    },
    /// Verified, although nobody can say when it was sent.
    #[error("it says verified, and the time of its sending was not confirmed")]
    TimeNotShown,
    /// Taken after it was sent.
    #[error("it says that it was taken {0} ms after it was sent")]
    FromTheFuture(i64),
    /// Verified, although its gateway reported a bond that proves less.
    #[error(
        "it says verified, and its gateway reported no authenticated bond with a full key for that sensor"
    )]
    BondProvesLess,
    /// Verified, and measured before the device was associated.
    #[error("it says verified, and its device was associated only afterwards")]
    BeforeAssociation,
    /// Signed, and not a record that can be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// A reading that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Its number.
    pub seq: Seq,
    /// What it says.
    pub reading: Reading,
    /// The bond that its gateway reported for its sensor, when the file holds such a report from before it.
    pub bond: Option<Bond>,
}

/// How an envelope stands to the one before it in its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Its outbox begins with it.
    Begins,
    /// It goes on where the one before it ended.
    Follows,
    /// It is the first of its lane here, or records between are not here: so many, when that is known.
    Apart(Option<u64>),
}

/// What came of one envelope whose signature, certificate and chain hold.
#[derive(Debug)]
pub struct Checked {
    /// Whose.
    pub gateway: GatewayId,
    /// Which lane.
    pub lane: Lane,
    /// How it stands to the one before it.
    pub link: Link,
    /// Its readings that hold.
    pub stamps: Vec<Stamp>,
    /// Its records that are refused.
    pub refused: Vec<(Seq, Doubt)>,
}

struct Reached {
    last: Seq,
    head: ChainHash,
}

/// Checks envelopes one after another.
#[derive(Default)]
pub struct Verifier {
    papers: Papers,
    reached: HashMap<(GatewayId, Epoch, Lane), Reached>,
    /// In the order of their moments.
    reports: HashMap<GatewayId, Vec<WatchReport>>,
}

impl Verifier {
    /// Relies on these certificates.
    pub fn new(papers: Papers) -> Verifier {
        Verifier {
            papers,
            ..Verifier::default()
        }
    }

    /// What it relies on.
    pub fn papers(&self) -> &Papers {
        &self.papers
    }

    /// Checks the next envelope, as its gateway signed it. A fault leaves everything as if it had not come.
    pub fn check(&mut self, bytes: &[u8]) -> Result<Checked, Fault> {
        sequence::whole(bytes)?;
        let (envelope, spare) = self.signed(bytes)?;
        let (gateway, lane, sent_at) = (envelope.gateway.clone(), envelope.lane, envelope.sent_at);
        let arrived = Arrived::new(envelope);
        let link = self.link(&gateway, &arrived)?;
        let mut checked = Checked {
            gateway,
            lane,
            link,
            stamps: Vec::new(),
            refused: Vec::new(),
        };
        for place in arrived.places() {
            match &place.content {
                Content::Record(Item::Reading(reading)) => {
                    match self.vouch(&checked.gateway, reading, sent_at) {
                        Ok(bond) => checked.stamps.push(Stamp {
                            seq: place.first,
                            reading: if spare { by_spare(reading) } else { reading.clone() },
                            bond,
                        }),
                        Err(doubt) => checked.refused.push((place.first, doubt)),
                    }
                }
                Content::Record(Item::Watch(report)) => self.remember(&checked.gateway, report),
                Content::Unreadable { why, .. } => {
                    checked
                        .refused
                        .push((place.first, Doubt::Unreadable(why.clone())));
                }
                Content::Record(_) | Content::Lost(_) => {}
            }
        }
        Ok(checked)
    }

    /// The envelope, when one of its gateway's certificates says that it is its own, and whether that is over the spare
    /// key.
    fn signed(&self, bytes: &[u8]) -> Result<(Envelope, bool), Fault> {
        let signed = Signed::<Envelope>::parse(bytes).map_err(Fault::Signed)?;
        // Only to find out whose certificates to look at.
        let claimed = signed.unverified().map_err(Fault::Signed)?;
        let (gateway, sent_at) = (claimed.gateway, claimed.sent_at);
        let papers = self.papers.of(&gateway);
        if papers.is_empty() {
            return Err(Fault::NoCertificate(gateway));
        }
        let mut last = Fault::Signed(SignedError::Signature);
        for key in papers::keys(papers) {
            match signed.verify(key).map(Verified::into_inner) {
                Ok(envelope) => {
                    let of_key = || papers.iter().filter(|p| p.key() == key);
                    let valid = of_key().any(|p| p.valid_at(sent_at));
                    if valid || sent_at.trust != ClockTrust::Synced {
                        return Ok((envelope, of_key().any(papers::Paper::is_spare)));
                    }
                    last = Fault::NotThen {
                        gateway: gateway.clone(),
                        sent_at,
                    };
                }
                Err(SignedError::Signature) => {}
                Err(other) => return Err(Fault::Signed(other)),
            }
        }
        Err(last)
    }

    fn link(&mut self, gateway: &GatewayId, arrived: &Arrived) -> Result<Link, Fault> {
        let first = arrived.first();
        let before = Seq(first.0.saturating_sub(1));
        let stream = (gateway.clone(), arrived.epoch, arrived.lane);
        let link = match self.reached.get(&stream) {
            Some(reached) if arrived.last() <= reached.last => return Err(Fault::Order(first)),
            Some(reached) if reached.last >= before => {
                if arrived.chain_at(reached.last) != Some(reached.head) {
                    return Err(Fault::Chain(first));
                }
                Link::Follows
            }
            Some(reached) => Link::Apart(Some(before.0 - reached.last.0)),
            None if before == Seq::ZERO => {
                if arrived.chain_at(before) != Some(ChainHash::start(arrived.epoch, arrived.lane)) {
                    return Err(Fault::Chain(first));
                }
                Link::Begins
            }
            None => Link::Apart(None),
        };
        let reached = Reached {
            last: arrived.last(),
            head: arrived.head(),
        };
        self.reached.insert(stream, reached);
        Ok(link)
    }

    /// The bond that stands behind a reading, where that is on record, or what is wrong with the reading.
    fn vouch(
        &self,
        gateway: &GatewayId,
        reading: &Reading,
        sent_at: Timestamp,
    ) -> Result<Option<Bond>, Doubt> {
        let highest = reading.highest_grade();
        if reading.grade > highest {
            return Err(Doubt::AboveItsReasons {
                claimed: reading.grade,
                highest,
            });
        }
        let both_right = sent_at.trust == ClockTrust::Synced && reading.taken_at.trust == ClockTrust::Synced;
        let ahead_ms = reading.taken_at.ms.saturating_sub(sent_at.ms);
        if both_right && ahead_ms > CORRECTION_MS {
            return Err(Doubt::FromTheFuture(ahead_ms));
        }
        let device = self.device(gateway, reading);
        if reading.grade == Grade::Verified {
            if sent_at.trust != ClockTrust::Synced {
                return Err(Doubt::TimeNotShown);
            }
            device.map_or(Ok(()), |device| proves(device, reading.taken_at))?;
        }
        Ok(device.and_then(|device| device.bond))
    }

    /// What its gateway last reported of a reading's device before it.
    fn device(&self, gateway: &GatewayId, reading: &Reading) -> Option<&DeviceFacts> {
        let reports = self.reports.get(gateway)?;
        let until = reports.partition_point(|report| report.taken_at.ms <= reading.taken_at.ms);
        let report = reports.get(until.checked_sub(1)?)?;
        report
            .devices
            .iter()
            .find(|device| device.sensor == reading.sensor)
    }

    fn remember(&mut self, gateway: &GatewayId, report: &WatchReport) {
        let reports = self.reports.entry(gateway.clone()).or_default();
        let place = reports.partition_point(|known| known.taken_at.ms <= report.taken_at.ms);
        reports.insert(place, report.clone());
    }
}

/// What a spare key says counts for the least, whatever it says of itself: the key can be copied.
fn by_spare(reading: &Reading) -> Reading {
    let mut lowered = reading.clone();
    lowered.grade = Grade::Unverified;
    if !lowered.details.reasons.contains(&Reason::SpareKey) {
        lowered.details.reasons.push(Reason::SpareKey);
    }
    lowered
}

/// Whether a device's bond and association are those of a verified reading taken at that moment.
fn proves(device: &DeviceFacts, taken_at: Timestamp) -> Result<(), Doubt> {
    let full = |bond: Bond| bond.class == KeyClass::SecureAuthenticated && bond.is_full();
    if !device.bond.is_some_and(full) {
        return Err(Doubt::BondProvesLess);
    }
    if device.associated_at.ms > taken_at.ms {
        return Err(Doubt::BeforeAssociation);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
