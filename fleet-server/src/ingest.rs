//! What becomes of an envelope: stored, known already, asked for again, or answered with a new epoch.
//!
//! Decides only; [`consume`] takes, stores and acknowledges, and [`open()`](open::open) verifies. A stream is one lane of one outbox of one gateway.
//! What is stored of it is a run without holes from 1 to `up_to`: each place holds a record, or lies in a gap that
//! is on record with its cause.
//!
//! # Design
//! Vital data fails open, and the acknowledgement always moves or says what to do, so that no gateway waits for
//! ever. Records that the gateway no longer holds become a gap. Records that contradict what is stored (a disk that
//! was put back) are answered with a new epoch, where nothing contradicts them: the gateway keeps everything and
//! numbers anew, and the old epoch is closed, because the word to renumber may be lost while other words arrive.
//! An acknowledgement therefore never covers more than was compared. A broken chain counts as such a contradiction while the gateway holds records from before the
//! break, because an acknowledgement would delete those, and they may be others than the stored ones (a simulated
//! agent found this); when it holds none, the break is put on record and the records are taken.
//!
//! Turned down: refusing a broken chain (a fault in a box's disk would silence a patient), and asking again for
//! records below the gateway's `oldest` (they cannot come).

pub mod consume;
pub mod open;
#[cfg(test)]
pub(crate) mod tests;

use homeward_protocol::ack::{Ack, Next};
use homeward_protocol::envelope::{ChainHash, Entry, Envelope, Item, Lane, LossCause, Lost};
use homeward_protocol::id::{Epoch, Seq};
use homeward_protocol::wire::Bytes;

/// How far a stream is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// The end of the run that is stored or accounted for.
    pub up_to: Seq,
    /// The chain there.
    pub head: ChainHash,
    /// It forked: the gateway has to take a new epoch, and nothing more is taken under this one.
    pub closed: bool,
}

impl Stream {
    /// Nothing yet.
    pub fn start(epoch: Epoch, lane: Lane) -> Stream {
        Stream {
            up_to: Seq::ZERO,
            head: ChainHash::start(epoch, lane),
            closed: false,
        }
    }
}

/// What stands in one place, or one run of places, of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A record.
    Record(Item),
    /// A record that this server cannot read: kept as it came.
    Unreadable {
        /// Its bytes.
        body: Bytes,
        /// What is wrong with it.
        why: String,
    },
    /// Records that the gateway had to give up.
    Lost(LossCause),
}

/// One entry of an envelope with its numbers and the chain after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its first number.
    pub first: Seq,
    /// Its last number: the first, unless it is a loss.
    pub last: Seq,
    /// The chain after it.
    pub head: ChainHash,
    /// What it holds.
    pub content: Content,
}

/// An envelope that was verified, taken apart. Costly things (hashes, decoding) are done here, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Which outbox.
    pub epoch: Epoch,
    /// Which lane.
    pub lane: Lane,
    /// Whether its gateway's spare key speaks for it.
    pub spare: bool,
    oldest: Seq,
    first: Seq,
    prev: ChainHash,
    places: Vec<Place>,
}

impl Arrived {
    /// Takes apart an envelope that passed [`Message::check`](homeward_protocol::signed::Message::check). Whether it
    /// may be believed is for [`open`] to say.
    pub fn new(envelope: Envelope) -> Arrived {
        let (mut next, mut head) = (envelope.first, envelope.prev);
        let mut places = Vec::with_capacity(envelope.entries.len());
        for entry in envelope.entries {
            head = head.after(&entry);
            let last = next.plus(entry.span().saturating_sub(1));
            places.push(Place {
                first: next,
                last,
                head,
                content: content(entry, envelope.lane),
            });
            next = last.next();
        }
        Arrived {
            epoch: envelope.epoch,
            lane: envelope.lane,
            spare: false,
            oldest: envelope.oldest,
            first: envelope.first,
            prev: envelope.prev,
            places,
        }
    }

    /// Its first number.
    pub fn first(&self) -> Seq {
        self.first
    }

    /// Its last number.
    pub fn last(&self) -> Seq {
        self.places.last().map_or(self.first, |place| place.last)
    }

    /// Its places, in order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The chain after its last number.
    pub fn head(&self) -> ChainHash {
        self.places.last().map_or(self.prev, |place| place.head)
    }

    /// Whether the next one's chain proves its records: the next one continues it without a hole, in the same stream,
    /// and says no less of what the gateway still holds.
    pub fn leads_to(&self, next: &Arrived) -> bool {
        (self.epoch, self.lane) == (next.epoch, next.lane)
            && self.last().next() == next.first
            && self.head() == next.prev
            && self.oldest <= next.oldest
    }

    /// The chain after number `seq`; `None` outside of it and inside a loss.
    pub fn chain_at(&self, seq: Seq) -> Option<ChainHash> {
        if seq.next() == self.first {
            return Some(self.prev);
        }
        let place = self.places.binary_search_by_key(&seq, |place| place.last).ok()?;
        Some(self.places[place].head)
    }

    /// The last number up to `up_to` after which its chain is known; the number before its first at least.
    fn known_up_to(&self, up_to: Seq) -> Seq {
        let before = self.places.partition_point(|place| place.last <= up_to);
        let last = before.checked_sub(1).map(|place| self.places[place].last);
        last.unwrap_or(Seq(self.first.0.saturating_sub(1)))
    }

    /// The number that a stored envelope has to cover so that [`decide`] can compare; `None` when it needs none.
    pub fn wants(&self, stream: Option<&Stream>) -> Option<Seq> {
        let stream = stream.filter(|stream| self.first <= stream.up_to)?;
        let meeting = self.known_up_to(stream.up_to);
        (meeting != Seq::ZERO && meeting != stream.up_to).then_some(meeting)
    }

    /// Whether it begins in what is stored.
    pub fn overlaps(&self, stream: Option<&Stream>) -> bool {
        stream.is_some_and(|stream| self.first <= stream.up_to)
    }

    /// Whether it holds records where `gap` says that there are none, or reaches back over a broken chain.
    fn contradicts(&self, gap: &Gap) -> bool {
        if gap.missing == 0 {
            return gap.cause == Cause::ChainBroken && gap.from > self.first;
        }
        let within = |place: &&Place| place.first >= gap.from && place.first <= gap.to;
        let held = |place: &Place| !matches!(place.content, Content::Lost(_));
        self.places.iter().filter(within).any(held)
    }

    /// Up to which number it holds what is stored, although it forks from it further on. `stored` are the stored
    /// envelopes that cover its numbers, `gaps` what is on record there. 0 when nothing can be proved.
    ///
    /// A box whose disk was put back often still holds records that it delivered before: under new numbers they would
    /// be stored twice.
    pub fn agreed(&self, stored: &[Arrived], gaps: &[Gap]) -> Seq {
        if self.oldest < self.first {
            return Seq::ZERO; // what lies before it was not compared
        }
        let is_stored = |place: &&Place| {
            let there = stored.iter().find_map(|envelope| envelope.chain_at(place.last));
            there == Some(place.head)
        };
        let end = self
            .places
            .iter()
            .rev()
            .find(is_stored)
            .map_or(Seq::ZERO, |place| place.last);
        let doubtful = gaps.iter().any(|gap| gap.from <= end && self.contradicts(gap));
        if doubtful { Seq::ZERO } else { end }
    }

    fn ack(&self, up_to: Seq, next: Next) -> Ack {
        Ack {
            epoch: self.epoch,
            lane: self.lane,
            up_to,
            next,
        }
    }
}

fn content(entry: Entry, lane: Lane) -> Content {
    match entry {
        Entry::Lost(Lost { cause, .. }) => Content::Lost(cause),
        Entry::Item(body) => match Item::decode(&body) {
            Ok(item) if item.lane() == lane => Content::Record(item),
            Ok(_) => Content::Unreadable {
                body,
                why: "a record in another lane than its own".into(),
            },
            Err(error) => Content::Unreadable {
                body,
                why: error.to_string(),
            },
        },
    }
}

/// Why numbers of a stream hold no record, or what is wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The outbox reached its quota.
    Quota,
    /// The gateway's disk refused the record.
    DiskRefused,
    /// The outbox found a record damaged.
    Damaged,
    /// The gateway no longer holds them, and this server never stored them (or was put back to before it did).
    NotHeld,
    /// The records are here, but their chain does not continue the one before.
    ChainBroken,
    /// The gateway sent other records under numbers that are stored.
    Fork,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 6] = [
        Cause::Quota,
        Cause::DiskRefused,
        Cause::Damaged,
        Cause::NotHeld,
        Cause::ChainBroken,
        Cause::Fork,
    ];

    /// The cause of that name.
    pub fn from_name(name: &str) -> Option<Cause> {
        Cause::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Quota => "quota",
            Cause::DiskRefused => "disk-refused",
            Cause::Damaged => "damaged",
            Cause::NotHeld => "not-held",
            Cause::ChainBroken => "chain-broken",
            Cause::Fork => "fork",
        }
    }
}

impl From<LossCause> for Cause {
    fn from(cause: LossCause) -> Cause {
        match cause {
            LossCause::Quota => Cause::Quota,
            LossCause::DiskRefused => Cause::DiskRefused,
            LossCause::Damaged => Cause::Damaged,
        }
    }
}

/// A gap or a fault in a stream, to be put on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first number.
    pub from: Seq,
    /// The last number.
    pub to: Seq,
    /// How many records are not here: 0 for [`Cause::ChainBroken`] and [`Cause::Fork`].
    pub missing: u64,
    /// Why.
    pub cause: Cause,
}

impl Gap {
    fn missing(from: Seq, to: Seq, cause: Cause) -> Gap {
        let missing = to.0.saturating_sub(from.0).saturating_add(1);
        Gap {
            from,
            to,
            missing,
            cause,
        }
    }

    fn fault(at: Seq, cause: Cause) -> Gap {
        Gap {
            from: at,
            to: at,
            missing: 0,
            cause,
        }
    }
}

/// What to store of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Where its stream stands afterwards.
    pub stream: Stream,
    /// Gaps that it shows.
    pub gaps: Vec<Gap>,
    /// How many of its places are stored already; the rest is new.
    pub known: usize,
}

/// What becomes of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It, or its end, is new.
    Accepted(Accepted),
    /// All of it is stored.
    Duplicate,
    /// Records before it are missing, and the gateway still holds them: it sends them again when it connects anew.
    Rewind(Seq),
    /// It contradicts what is stored; the gap puts that on record. Up to the number it is proved to be what is stored:
    /// see [`Arrived::agreed`].
    Fork(Seq, Gap),
    /// Its stream forked earlier, or belongs to another key of its gateway: the spare one or its own.
    Closed,
}

impl Decision {
    /// For metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Decision::Accepted(_) => "accepted",
            Decision::Duplicate => "duplicate",
            Decision::Rewind(_) => "rewind",
            Decision::Fork(..) => "fork",
            Decision::Closed => "closed",
        }
    }

    /// What the gateway is told after the commit.
    pub fn ack(&self, arrived: &Arrived) -> Ack {
        match self {
            Decision::Accepted(_) | Decision::Duplicate => arrived.ack(arrived.last(), Next::Continue),
            Decision::Rewind(up_to) => {
                let not_held = Seq(arrived.oldest.0.saturating_sub(1));
                arrived.ack(not_held.min(*up_to), Next::Continue)
            }
            Decision::Fork(agreed, _) => arrived.ack(*agreed, Next::NewEpoch),
            // Nothing was compared.
            Decision::Closed => arrived.ack(Seq::ZERO, Next::NewEpoch),
        }
    }
}

impl Arrived {
    /// The places that are new, in order.
    pub fn fresh(&self, accepted: &Accepted) -> &[Place] {
        self.places.get(accepted.known..).unwrap_or_default()
    }
}

/// What is stored in the place of an envelope that [overlaps](Arrived::overlaps).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The stored envelope that covers the number that [`Arrived::wants`] names.
    pub covering: Option<Arrived>,
    /// Gaps and broken chains on record from the envelope's first number up to its last.
    pub gaps: Vec<Gap>,
}

/// What becomes of an envelope, given how far its stream is stored and what is stored in its place.
pub fn decide(arrived: &Arrived, stream: Option<&Stream>, known: &Known) -> Decision {
    let start = Stream::start(arrived.epoch, arrived.lane);
    let stream = stream.unwrap_or(&start);
    let (first, up_to) = (arrived.first, stream.up_to);
    let fork = || Decision::Fork(Seq::ZERO, Gap::fault(first, Cause::Fork));
    let holds_earlier = arrived.oldest < first;
    let mut gaps = Vec::new();
    if stream.closed {
        return Decision::Closed;
    }
    if first <= up_to {
        if !agrees(arrived, stream, &start, known) {
            return fork();
        }
        if arrived.last() <= up_to {
            return Decision::Duplicate;
        }
    } else if first == up_to.next() {
        if arrived.prev != stream.head && holds_earlier {
            return fork();
        }
        if arrived.prev != stream.head {
            gaps.push(Gap::fault(first, Cause::ChainBroken));
        }
    } else if holds_earlier {
        return Decision::Rewind(up_to);
    } else {
        let last = Seq(first.0.saturating_sub(1));
        gaps.push(Gap::missing(up_to.next(), last, Cause::NotHeld));
    }
    accept(arrived, up_to, gaps)
}

/// Whether the part of an envelope that is stored already is what is stored: the chains are equal at the last number
/// where both are known, and nothing on record between says that they were not equal before.
fn agrees(arrived: &Arrived, stream: &Stream, start: &Stream, known: &Known) -> bool {
    let meeting = arrived.known_up_to(stream.up_to);
    let stored = match meeting {
        Seq::ZERO => Some(start.head),
        meeting if meeting == stream.up_to => Some(stream.head),
        meeting => known
            .covering
            .as_ref()
            .and_then(|covering| covering.chain_at(meeting)),
    };
    stored.is_some()
        && stored == arrived.chain_at(meeting)
        && !known.gaps.iter().any(|gap| arrived.contradicts(gap))
}

fn accept(arrived: &Arrived, up_to: Seq, mut gaps: Vec<Gap>) -> Decision {
    let known = arrived.places.partition_point(|place| place.last <= up_to);
    for place in &arrived.places[known..] {
        if let Content::Lost(cause) = &place.content {
            // A loss may begin in what is stored: only the rest of it is missing here.
            let from = place.first.max(up_to.next());
            gaps.push(Gap::missing(from, place.last, Cause::from(*cause)));
        }
    }
    let stream = Stream {
        up_to: arrived.last(),
        head: arrived.head(),
        closed: false,
    };
    Decision::Accepted(Accepted { stream, gaps, known })
}
