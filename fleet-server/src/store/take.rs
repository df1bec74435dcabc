//! Taking envelopes: decided one after another, stored together.
//!
//! # Design
//! A gateway that has much to say (a window of publishes under way, a backlog after an outage) sends several envelopes
//! of one stream in a row. Each gets a decision and rows of its own; what only the last of them leaves behind (how
//! far the stream is stored, the newest value of each kind, when the gateway was heard) is written once.

use std::collections::BTreeSet;

use homeward_protocol::ack::Ack;
use homeward_protocol::envelope::Lane;
use homeward_protocol::id::{GatewayId, Seq};
use homeward_protocol::time::Timestamp;

use super::records::{self, Newest, Origin, Past};
use super::streams::{self, Named};
use super::{StoreError, Tx, attest};
use crate::attest::reliance::Reliance;
use crate::facts::Wish;
use crate::ingest::{Accepted, Arrived, Decision, Known, Stream, decide};

/// What was done with an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What the gateway is told once this is committed.
    pub ack: Ack,
    /// The decision's name, for metrics.
    pub decision: &'static str,
    /// Readings stored.
    pub readings: u64,
    /// Records stored raw because they could not be read.
    pub unreadable: u64,
    /// What the gateway is to be asked for once this is committed.
    pub wishes: BTreeSet<Wish>,
}

/// An envelope to be stored.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    /// What it says, verified.
    pub arrived: &'a Arrived,
    /// Its bytes as they came.
    pub signed: &'a [u8],
}

/// Decides about envelopes of one gateway in the order in which they came, and stores what is new of them, in one
/// transaction; gives an outcome for each, in the same order.
///
/// An error says nothing about which of them it was: nothing of them may be kept.
pub fn take(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    envelopes: &[Sealed<'_>],
    now: Timestamp,
) -> Result<Vec<Outcome>, StoreError> {
    let mut outcomes = Vec::with_capacity(envelopes.len());
    let same_stream = |a: &Sealed<'_>, b: &Sealed<'_>| {
        let of = |s: &Sealed<'_>| (s.arrived.epoch, s.arrived.lane, s.arrived.spare);
        of(a) == of(b)
    };
    for run in envelopes.chunk_by(same_stream) {
        take_run(tx, gateway, run, now, &mut outcomes)?;
    }
    Ok(outcomes)
}

/// Takes envelopes of one stream.
fn take_run(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    run: &[Sealed<'_>],
    now: Timestamp,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), StoreError> {
    let Some(first) = run.first() else {
        return Ok(());
    };
    let epoch = first.arrived.epoch.to_string();
    let at = Origin {
        gateway: gateway.as_str(),
        epoch: &epoch,
        lane: first.arrived.lane,
        spare: first.arrived.spare,
        now,
    };
    if streams::is_spare(tx, &at)?.is_some_and(|spare| spare != at.spare) {
        // Neither key moves what the other began, so that a copied spare key takes no number from the gateway itself.
        outcomes.extend(run.iter().map(|sealed| refused(sealed.arrived)));
        return Ok(());
    }
    let (stored, past) = streams::find(tx, &at)?;
    // Only readings have a grade, and they travel in one lane.
    let reliance = match at.lane {
        Lane::Vital => Some(Reliance {
            spare: at.spare,
            ..attest::reliance(tx, at.gateway, now)?
        }),
        Lane::Urgent | Lane::Routine => None,
    };
    let mut taking = Taking {
        gateway,
        at,
        past,
        reliance,
        stored,
        stream: stored,
        newest: Newest::default(),
    };
    for sealed in run {
        outcomes.push(taking.one(tx, *sealed)?);
    }
    taking.move_stream(tx)?;
    taking.newest.put(tx, &taking.at)?;
    records::heard(tx, &taking.at)
}

/// Numbered anew, it is taken.
fn refused(arrived: &Arrived) -> Outcome {
    Outcome {
        ack: Decision::Closed.ack(arrived),
        decision: "other-key",
        readings: 0,
        unreadable: 0,
        wishes: BTreeSet::new(),
    }
}

/// One stream while envelopes of it are taken.
struct Taking<'a> {
    gateway: &'a GatewayId,
    at: Origin<'a>,
    past: Past,
    /// How far the gateway's word about its readings is believed.
    reliance: Option<Reliance>,
    /// As its row says.
    stored: Option<Stream>,
    /// As it is after the envelopes taken so far.
    stream: Option<Stream>,
    newest: Newest<'a>,
}

impl<'a> Taking<'a> {
    fn one(&mut self, tx: &mut dyn Tx, sealed: Sealed<'a>) -> Result<Outcome, StoreError> {
        let arrived = sealed.arrived;
        let known = streams::known(tx, &self.at, arrived, self.stream.as_ref())?;
        let decision = match decide(arrived, self.stream.as_ref(), &known) {
            Decision::Fork(_, gap) => Decision::Fork(self.agreed(tx, arrived, &known)?, gap),
            other => other,
        };
        let (mut readings, mut unreadable) = (0, 0);
        match &decision {
            Decision::Accepted(accepted) => {
                (readings, unreadable) = self.accept(tx, sealed, accepted)?;
            }
            Decision::Fork(_, gap) => {
                streams::gaps(tx, &self.at, std::slice::from_ref(gap))?;
                self.close(tx)?;
            }
            Decision::Duplicate | Decision::Rewind(_) | Decision::Closed => {}
        }
        Ok(Outcome {
            ack: decision.ack(arrived),
            decision: decision.name(),
            readings,
            unreadable,
            wishes: std::mem::take(&mut self.newest.wishes),
        })
    }

    fn accept(
        &mut self,
        tx: &mut dyn Tx,
        sealed: Sealed<'a>,
        accepted: &Accepted,
    ) -> Result<(u64, u64), StoreError> {
        self.stream = Some(accepted.stream);
        streams::keep_envelope(tx, &self.at, sealed.arrived, sealed.signed)?;
        streams::gaps(tx, &self.at, &accepted.gaps)?;
        let fresh = sealed.arrived.fresh(accepted);
        let believed = (self.past, self.reliance.as_ref());
        records::keep(tx, &self.at, fresh, believed, &mut self.newest)
    }

    /// Up to where an envelope that forks is what is stored: see [`Arrived::agreed`].
    fn agreed(&self, tx: &mut dyn Tx, arrived: &Arrived, known: &Known) -> Result<Seq, StoreError> {
        let Some(stream) = self.stream else {
            return Ok(Seq::ZERO);
        };
        let of = Named {
            gateway: self.gateway.clone(),
            epoch: arrived.epoch,
            lane: arrived.lane,
            stream,
        };
        let before = Seq(arrived.first().0.saturating_sub(1));
        let places = streams::number(arrived.last()).saturating_sub(streams::number(before));
        let stored = streams::envelopes(tx, &of, before, places)?;
        Ok(arrived.agreed(&stored, &known.gaps))
    }

    /// Writes down how far the stream is stored now.
    fn move_stream(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        if let Some(stream) = self.stream.filter(|stream| self.stored != Some(*stream)) {
            streams::put(tx, &self.at, self.stored.as_ref(), &stream)?;
            self.stored = self.stream;
        }
        Ok(())
    }

    /// It forked: nothing more is taken under its epoch, by this run or a later one.
    fn close(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        self.move_stream(tx)?;
        streams::close(tx, &self.at)?;
        for stream in [&mut self.stored, &mut self.stream].into_iter().flatten() {
            stream.closed = true;
        }
        Ok(())
    }
}
