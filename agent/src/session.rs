//! The conversation with the server: when to dial, what to send next, what an answer means.
//!
//! `Offline { retry_at } -> Dialing -> Online`. The outbox is the only resender: on each connection every lane
//! begins at its oldest record, and a record counts as delivered when the server's acknowledgement says so. The
//! wire is in [`mqtt`].
//!
//! # Design
//! - Small runs wait for the acknowledgement of the run before them, so that a busy lane travels in full
//!   envelopes and an idle one at once. Urgent records never wait.
//! - The server answers each envelope, but answers may be lost on the way. An answer without progress is
//!   therefore only a doubt; when nothing better follows within [`Limits::doubt`], the lane is sent again.

use std::collections::VecDeque;
use std::time::Duration;

use homeward_protocol::ack::Ack;
use homeward_protocol::envelope::Lane;
use homeward_protocol::id::{Epoch, Seq};
use homeward_protocol::link::{Cause, Outage};
use homeward_protocol::time::{Timestamp, Uptime};

use crate::outbox::{Ledger, Settled};

pub mod mqtt;
#[cfg(test)]
mod tests;

/// Envelopes under way without an acknowledgement, by lane: the gate stops reading at 64, and a backlog must
/// leave room for an alarm.
const WINDOW: [usize; 3] = [32, 24, 8];
/// A lane with an envelope under way sends another one only when so many records wait.
const WORTH_IT: u64 = 64;

/// How long small runs wait for the acknowledgement before them. One that was lost costs a lane this long only.
const LINGER: Duration = Duration::from_millis(500);

/// How patient the session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest first wait after a failure; doubled at each further one.
    pub min_wait: Duration,
    /// Longest wait at all.
    pub max_wait: Duration,
    /// How long records may be under way without any acknowledgement before the connection counts as dead.
    pub ack: Duration,
    /// How long an acknowledgement without progress may stand before a lane is sent again.
    pub doubt: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            min_wait: Duration::from_secs(1),
            max_wait: Duration::from_mins(5),
            ack: Duration::from_secs(30),
            doubt: Duration::from_secs(2),
        }
    }
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// For deadlines.
    pub uptime: Uptime,
    /// For records.
    pub at: Timestamp,
}

/// What the session is waiting for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// For the time to try again.
    Offline {
        /// When.
        retry_at: Uptime,
    },
    /// For the server to let it in.
    Dialing,
    /// For records to send and for acknowledgements.
    Online(Online),
    /// For nothing: it was asked to stop.
    Stopped,
}

/// What is true while connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Online {
    /// Since when.
    pub since: Timestamp,
    /// When it was dialled.
    pub dialed: Uptime,
    /// Envelopes without an acknowledgement, in the order of sending.
    flights: VecDeque<Flight>,
    /// What each lane sends next.
    cursors: [Seq; 3],
    /// When each lane sent last.
    sent_at: [Uptime; 3],
    /// A [`Effect::Send`] is being carried out.
    sending: bool,
    /// When something was last acknowledged, or the first of `flights` was sent.
    progress_at: Uptime,
    /// When an acknowledgement without progress becomes a reason to send a lane again.
    doubts: [Option<Uptime>; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flight {
    lane: Lane,
    last: Seq,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The deadline came.
    Tick,
    /// The server let us in.
    Admitted,
    /// Dialing failed, or the connection ended.
    Lost(Cause),
    /// The outbox changed.
    Outbox(Box<Ledger>),
    /// [`Effect::Send`] is done.
    Sent {
        /// Which lane.
        lane: Lane,
        /// Under which epoch.
        epoch: Epoch,
        /// The last number in the envelope.
        last: Seq,
    },
    /// [`Effect::Send`] found no record.
    NothingToSend(Lane),
    /// The server acknowledges.
    Ack(Ack),
    /// [`Effect::Settle`] is done.
    Settled(Ack, Settled),
    /// The server says "look now".
    Hint(Vec<u8>),
    /// There is a new certificate, or something else to connect anew for: what is connected, or being connected,
    /// changes over.
    NewCertificate,
    /// The agent is to stop.
    Stop,
}

/// What to do, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Connect; answer with [`Input::Admitted`] or [`Input::Lost`].
    Dial,
    /// End the connection.
    HangUp,
    /// Ask for what is sent down to us.
    Subscribe,
    /// Send the run that begins at this number; answer with [`Input::Sent`] or [`Input::NothingToSend`].
    Send(Lane, Seq),
    /// Let the outbox act on it; answer with [`Input::Settled`].
    Settle(Ack),
    /// Keep a report of a stretch without connection.
    Report(Outage),
    /// Renew the certificate now.
    Renew,
    /// Report the posture now.
    TellPosture,
    /// Tell all facts now.
    TellFacts,
    /// Send the list of software now.
    SendSoftware,
    /// Fetch the fleet's trust anchors: they changed.
    FetchTrust,
}

/// The conversation.
#[derive(Debug, Clone)]
pub struct Session {
    state: State,
    limits: Limits,
    ledger: Ledger,
    failures: u32,
    dialed: Uptime,
    down: Option<(Timestamp, Cause)>,
    dice: u64,
    surprises: u64,
}

impl Session {
    /// A session that dials at once. `down` is the last moment that an earlier run of the agent is known to
    /// have been alive; `dice` is random and spreads the waits.
    pub fn new(limits: Limits, ledger: Ledger, down: Option<Timestamp>, dice: u64, now: Moment) -> Session {
        Session {
            state: State::Offline { retry_at: now.uptime },
            limits,
            ledger,
            failures: 0,
            dialed: now.uptime,
            down: down.map(|at| (at, Cause::NotRunning)),
            dice: dice | 1,
            surprises: 0,
        }
    }

    /// What it waits for.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Since when and why there is no connection.
    pub fn down(&self) -> Option<(Timestamp, Cause)> {
        self.down
    }

    /// Inputs that did not fit the state, and words from the server that are not known.
    pub fn surprises(&self) -> u64 {
        self.surprises
    }

    /// When to come back with [`Input::Tick`].
    pub fn deadline(&self) -> Option<Uptime> {
        match &self.state {
            State::Offline { retry_at } => Some(*retry_at),
            State::Online(online) => {
                let stall = (!online.flights.is_empty()).then(|| online.progress_at.plus(self.limits.ack));
                let linger = (!online.sending)
                    .then(|| online.lingering(&self.ledger))
                    .flatten();
                let doubts = online.doubts.iter().copied().flatten();
                doubts.chain(stall).chain(linger).min()
            }
            State::Dialing | State::Stopped => None,
        }
    }

    /// The only way the state moves.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Effect> {
        if let Input::Outbox(ledger) = input {
            self.ledger = *ledger;
            return self.pump(now);
        }
        match (&mut self.state, input) {
            (State::Stopped, _) => Vec::new(),
            (State::Online(_), Input::Stop) => {
                self.state = State::Stopped;
                vec![Effect::HangUp]
            }
            (_, Input::Stop) => {
                self.state = State::Stopped;
                Vec::new()
            }
            (State::Offline { retry_at }, Input::Tick) if now.uptime >= *retry_at => {
                vec![self.dial(now)]
            }
            (State::Dialing, Input::Admitted) => self.admitted(now),
            (State::Dialing | State::Online(_), Input::Lost(cause)) => self.lost(cause, now),
            (State::Online(online), Input::Tick) => {
                let stalled =
                    !online.flights.is_empty() && now.uptime >= online.progress_at.plus(self.limits.ack);
                if stalled {
                    return self.lost(Cause::Unreachable, now);
                }
                self.rewind_doubted(now)
            }
            (State::Online(online), Input::Sent { lane, epoch, last }) => {
                online.sending = false;
                online.sent_at[lane as usize] = now.uptime;
                if online.flights.is_empty() {
                    online.progress_at = now.uptime;
                }
                if epoch == self.ledger.epoch {
                    online.flights.push_back(Flight { lane, last });
                    online.cursors[lane as usize] = last.next();
                }
                self.pump(now)
            }
            (State::Online(online), Input::NothingToSend(lane)) => {
                online.sending = false;
                online.cursors[lane as usize] = self.ledger.lane(lane).next;
                self.pump(now)
            }
            (State::Online(_), Input::Ack(ack)) => vec![Effect::Settle(ack)],
            (State::Online(_), Input::Settled(ack, settled)) => self.settled(ack, settled, now),
            (State::Online(_), Input::Hint(word)) => self.hint(&word),
            // Also what is being dialled: it was begun with the old one.
            (State::Dialing | State::Online(_), Input::NewCertificate) => {
                vec![Effect::HangUp, self.dial(now)]
            }
            (State::Offline { .. }, Input::NewCertificate) => {
                self.failures = 0;
                self.state = State::Offline { retry_at: now.uptime };
                Vec::new()
            }
            _ => {
                self.surprises += 1;
                Vec::new()
            }
        }
    }

    fn dial(&mut self, now: Moment) -> Effect {
        self.state = State::Dialing;
        self.dialed = now.uptime;
        Effect::Dial
    }

    fn admitted(&mut self, now: Moment) -> Vec<Effect> {
        self.state = State::Online(Online {
            since: now.at,
            dialed: self.dialed,
            flights: VecDeque::new(),
            cursors: Lane::ALL.map(|lane| self.ledger.lane(lane).oldest),
            sent_at: [now.uptime; 3],
            sending: false,
            progress_at: now.uptime,
            doubts: [None; 3],
        });
        let mut effects = vec![Effect::Subscribe];
        if let Some((from, cause)) = self.down.take()
            && from.ms < now.at.ms
        {
            effects.push(Effect::Report(Outage {
                from,
                until: now.at,
                cause,
            }));
        }
        effects.extend(self.pump(now));
        effects
    }

    fn lost(&mut self, cause: Cause, now: Moment) -> Vec<Effect> {
        self.down.get_or_insert((now.at, cause));
        let longest = self
            .limits
            .min_wait
            .saturating_mul(1 << self.failures.min(16))
            .min(self.limits.max_wait);
        self.failures = self.failures.saturating_add(1);
        let wait = self.up_to(longest);
        self.state = State::Offline {
            retry_at: now.uptime.plus(wait),
        };
        vec![Effect::HangUp]
    }

    /// A random duration up to `longest`: a fleet that lost its server together does not come back together.
    fn up_to(&mut self, longest: Duration) -> Duration {
        // xorshift64: spreads waits, guards nothing.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.dice % ms.saturating_add(1))
    }

    fn settled(&mut self, ack: Ack, settled: Settled, now: Moment) -> Vec<Effect> {
        let State::Online(online) = &mut self.state else {
            return Vec::new();
        };
        let lane = ack.lane as usize;
        match settled {
            Settled::Deleted(_) | Settled::Later => {
                self.failures = 0;
                online.progress_at = now.uptime;
                online.doubts[lane] = None;
                online
                    .flights
                    .retain(|flight| flight.lane != ack.lane || flight.last > ack.up_to);
                online.cursors[lane] = online.cursors[lane].max(ack.up_to.next());
            }
            Settled::Rebased => {
                online.flights.clear();
                online.cursors = [Seq(1); 3];
                online.doubts = [None; 3];
            }
            Settled::Ignored => {
                let waits = online
                    .flights
                    .iter()
                    .any(|flight| flight.lane == ack.lane && flight.last > ack.up_to);
                if waits && ack.epoch == self.ledger.epoch {
                    online.doubts[lane].get_or_insert(now.uptime.plus(self.limits.doubt));
                }
            }
        }
        self.pump(now)
    }

    fn rewind_doubted(&mut self, now: Moment) -> Vec<Effect> {
        let State::Online(online) = &mut self.state else {
            return Vec::new();
        };
        for lane in Lane::ALL {
            let i = lane as usize;
            if online.doubts[i].is_some_and(|at| now.uptime >= at) {
                online.doubts[i] = None;
                online.flights.retain(|flight| flight.lane != lane);
                online.cursors[i] = self.ledger.lane(lane).oldest;
            }
        }
        self.pump(now)
    }

    fn hint(&mut self, word: &[u8]) -> Vec<Effect> {
        match word {
            b"renew" => vec![Effect::Renew],
            b"posture" => vec![Effect::TellPosture],
            b"trust" => vec![Effect::FetchTrust],
            b"facts" => vec![Effect::TellFacts],
            b"software" => vec![Effect::SendSoftware],
            _ => {
                self.surprises += 1;
                Vec::new()
            }
        }
    }

    /// The next envelope, if one may go: the most important lane first.
    fn pump(&mut self, now: Moment) -> Vec<Effect> {
        let State::Online(online) = &mut self.state else {
            return Vec::new();
        };
        if online.sending {
            return Vec::new();
        }
        let next = Lane::ALL.into_iter().find(|lane| {
            let waiting = online.waiting(*lane, &self.ledger);
            let worth_it = *lane == Lane::Urgent
                || !online.under_way(*lane)
                || waiting >= WORTH_IT
                || now.uptime >= online.sent_at[*lane as usize].plus(LINGER);
            waiting > 0 && worth_it && online.has_room(*lane)
        });
        next.map_or_else(Vec::new, |lane| {
            online.sending = true;
            vec![Effect::Send(lane, online.cursors[lane as usize])]
        })
    }
}

impl Online {
    /// Records of a lane that were not sent on this connection.
    fn waiting(&self, lane: Lane, ledger: &Ledger) -> u64 {
        let next = ledger.lane(lane).next.0;
        next.saturating_sub(self.cursors[lane as usize].0)
    }

    fn under_way(&self, lane: Lane) -> bool {
        self.flights.iter().any(|flight| flight.lane == lane)
    }

    fn has_room(&self, lane: Lane) -> bool {
        self.flights.len() < WINDOW[lane as usize]
    }

    /// When a small run goes out although the one before it was not acknowledged.
    fn lingering(&self, ledger: &Ledger) -> Option<Uptime> {
        let waits = |lane: &Lane| self.waiting(*lane, ledger) > 0 && self.has_room(*lane);
        let lanes = Lane::ALL.into_iter().filter(waits);
        lanes.map(|lane| self.sent_at[lane as usize].plus(LINGER)).min()
    }
}
