//! Support sessions: when a tunnel out of this box may be open, and when it ends.
//!
//! `Closed -> Open -> Closed`. An order of the server opens one where the policy in force allows it: to that port, for no
//! longer than it says. It ends by the box's own monotonic clock, when what rules the box allows it no more, when nothing
//! goes through it, when the server or somebody at the box says so, and with the agent. The bytes are carried by
//! [`carry`]; what is decided here is kept and told by [`serve`].
//!
//! # Design
//! - One session at a time: a box has one person's attention, and a home one uplink.
//! - It is written down, and on its way to the server, before it is opened: what cannot be written down is not opened.
//! - The highest number that was heard is kept. A session that was refused, ended or lost in a restart is not opened by
//!   its order coming again: whoever still needs it asks anew.
//! - What ends a session closes the tunnel first; then it is written down that it is over, then told. What could not be told
//!   is kept, and told at a later try or the next start: at least once, that is.
//! - A session never outlives the policy that it was opened under, nor the networks that it was opened to.

use std::time::Duration;

use homeward_protocol::policy::net::Net;
use homeward_protocol::policy::rules::{May, Support};
use homeward_protocol::support::{
    Became, EndCause, Ended, Moved, Refusal, Session, SessionNumber, SupportOrder, SupportRecord,
};
use homeward_protocol::time::{Timestamp, Uptime};
use serde::{Deserialize, Serialize};

use crate::session::Moment;

pub mod carry;
pub mod file;
pub mod serve;
pub mod share;
pub mod show;
#[cfg(test)]
mod tests;

/// A session through which nothing goes for so long ends.
pub const IDLE: Duration = Duration::from_mins(10);
/// Records of what became of sessions that are kept for `support status`, and of those that could not be told yet.
const KEPT: usize = 20;
/// What could not be written down or told is tried again after so long.
const AGAIN: Duration = Duration::from_secs(30);

/// What rules the box about support.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InForce {
    /// The rule of the policy in force, isolation and the policy's end considered.
    pub rule: Option<Support>,
    /// Whether the box is isolated.
    pub isolated: bool,
    /// From then on the policy that the rule is of allows nothing; none for one that does not end like this.
    pub ends: Option<Timestamp>,
}

impl InForce {
    /// Whether this session may be open at `now`, as far as its port and length go.
    ///
    /// # Errors
    /// Why not.
    pub fn allows(&self, session: &Session, now: Timestamp) -> Result<(), Refusal> {
        let allowed = self.rule.as_ref().filter(|rule| rule.tunnel == May::Yes);
        let allowed = allowed.filter(|_| !self.is_over(now));
        let Some(rule) = allowed else {
            return Err(if self.isolated {
                Refusal::Isolated
            } else {
                Refusal::NotAllowed
            });
        };
        if !rule.ports.iter().any(|ports| ports.holds(session.port)) {
            Err(Refusal::Port)
        } else if u64::from(session.lasts_s) > u64::from(rule.max_minutes) * 60 {
            Err(Refusal::TooLong)
        } else {
            Ok(())
        }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|ends| now.ms >= ends.ms)
    }

    /// Where the server must be; empty: wherever it is.
    fn to(&self) -> &[Net] {
        self.rule.as_ref().map_or(&[], |rule| &rule.to)
    }
}

/// What may be carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which session.
    pub session: Session,
    /// Until then at the latest.
    pub until: Uptime,
    /// Where the server must be; empty: wherever it is.
    pub to: Vec<Net>,
}

/// What is kept on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Saved {
    /// The highest number that was heard.
    pub highest: SessionNumber,
    /// The session that is open, and since when.
    pub open: Option<(Session, Timestamp)>,
    /// What became of the newest sessions, the newest last.
    pub past: Vec<SupportRecord>,
    /// What could not be told yet, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untold: Vec<SupportRecord>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The deadline came.
    Tick,
    /// The server ordered something.
    Ordered(SupportOrder),
    /// What rules the box is this.
    Ruled(InForce),
    /// So much went through the session since it was opened.
    Moved(Moved),
    /// Somebody at the box ends it.
    Local,
    /// The agent stops.
    Stop,
    /// The first of these effects could not be done, and the others were left.
    Left(Vec<Effect>),
}

/// What to do, in order; nothing further after the first failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Close the tunnel, at once.
    Close,
    /// Keep this, durably.
    Save(Box<Saved>),
    /// Tell the server, durably.
    Record(Box<SupportRecord>),
    /// Open the tunnel; it closes by itself at its time, whatever else happens.
    Open(Box<Grant>),
}

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    session: Session,
    since: Uptime,
    until: Uptime,
    /// What its end at that time is.
    cause: EndCause,
    to: Vec<Net>,
    moved: Moved,
    moved_at: Uptime,
}

/// The support sessions of this box.
#[derive(Debug, Clone)]
pub struct Sessions {
    saved: Saved,
    in_force: InForce,
    open: Option<Open>,
    /// When what could not be written down or told is tried again.
    again_at: Option<Uptime>,
}

impl Sessions {
    /// After a start. `saved` is what was kept; none when it is there and cannot be read: then no session is opened that
    /// was asked for before now.
    pub fn resume(saved: Option<Saved>, now: Moment) -> (Sessions, Vec<Effect>) {
        let saved = saved.unwrap_or_else(|| Saved {
            highest: SessionNumber(u64::try_from(now.at.ms).unwrap_or(0)),
            ..Saved::default()
        });
        let mut this = Sessions {
            saved,
            in_force: InForce::default(),
            open: None,
            again_at: None,
        };
        if let Some((session, _)) = this.saved.open.take() {
            let ended = Ended {
                cause: EndCause::Restarted,
                lasted_s: None,
                moved: None,
            };
            let record = this.note(session, Became::Ended(ended), now);
            this.owe(record);
        }
        let untold = !this.saved.untold.is_empty();
        let effects = if untold { this.tell() } else { Vec::new() };
        (this, effects)
    }

    /// The session that is open, since when, and until when at the latest.
    pub fn open(&self) -> Option<(&Session, Uptime, Uptime)> {
        let open = self.open.as_ref()?;
        Some((&open.session, open.since, open.until))
    }

    /// What is kept.
    pub fn saved(&self) -> &Saved {
        &self.saved
    }

    /// When to come back with [`Input::Tick`].
    pub fn deadline(&self) -> Option<Uptime> {
        let ends = self.open.as_ref().map(|open| open.until.min(open.idle_at()));
        ends.into_iter().chain(self.again_at).min()
    }

    /// The only way the state moves.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(open) = &mut self.open {
            if let Input::Moved(moved) = input
                && moved != open.moved
            {
                (open.moved, open.moved_at) = (moved, now.uptime);
            }
            if let Some(cause) = open.over(&self.in_force, now) {
                effects = self.end(cause, now);
            }
        }
        effects.extend(match input {
            Input::Tick | Input::Moved(_) => Vec::new(),
            Input::Ordered(SupportOrder::Open(session)) => self.ordered(session, now),
            Input::Ordered(SupportOrder::End(number)) => self.ended(number, now),
            Input::Ruled(in_force) => self.ruled(in_force, now),
            Input::Local => self.end(EndCause::Local, now),
            Input::Stop => self.end(EndCause::Restarted, now),
            Input::Left(left) => self.left(left, now),
        });
        if self.again_at.is_some_and(|at| now.uptime >= at) {
            effects.extend(self.tell());
        }
        effects
    }

    fn ordered(&mut self, session: Session, now: Moment) -> Vec<Effect> {
        if session.session <= self.saved.highest {
            return Vec::new();
        }
        self.saved.highest = session.session;
        let refused = match &self.open {
            Some(_) => Some(Refusal::Busy),
            None => self.in_force.allows(&session, now.at).err(),
        };
        if let Some(why) = refused {
            return self.told(session, Became::Refused(why), now);
        }
        let mut open = Open {
            session: session.clone(),
            since: now.uptime,
            until: now.uptime.plus(Duration::from_secs(session.lasts_s.into())),
            cause: EndCause::Expired,
            to: self.in_force.to().to_vec(),
            moved: Moved::default(),
            moved_at: now.uptime,
        };
        open.bound(&self.in_force, now);
        let grant = Grant {
            session: session.clone(),
            until: open.until,
            to: open.to.clone(),
        };
        self.open = Some(open);
        self.saved.open = Some((session.clone(), now.at));
        let opened = self.note(session, Became::Opened, now);
        let opened = Effect::Record(Box::new(opened));
        vec![self.save(), opened, Effect::Open(Box::new(grant))]
    }

    /// One that is ended before its order came is never opened.
    fn ended(&mut self, number: SessionNumber, now: Moment) -> Vec<Effect> {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.session.session == number)
        {
            return self.end(EndCause::Ordered, now);
        }
        if number <= self.saved.highest {
            return Vec::new();
        }
        self.saved.highest = number;
        vec![self.save()]
    }

    fn ruled(&mut self, in_force: InForce, now: Moment) -> Vec<Effect> {
        self.in_force = in_force;
        let Some(open) = &mut self.open else {
            return Vec::new();
        };
        open.bound(&self.in_force, now);
        let allowed = self.in_force.allows(&open.session, now.at).is_ok();
        if allowed && open.to == self.in_force.to() {
            Vec::new()
        } else {
            self.end(EndCause::Policy, now)
        }
    }

    /// What is not written down is not open; what was not told is told later.
    fn left(&mut self, left: Vec<Effect>, now: Moment) -> Vec<Effect> {
        self.again_at = Some(now.uptime.plus(AGAIN));
        let opens = left.iter().any(|effect| matches!(effect, Effect::Open(_)));
        for effect in left {
            match effect {
                Effect::Record(record) if !(opens && record.became == Became::Opened) => self.owe(*record),
                _ => {}
            }
        }
        let Some(open) = self.open.take_if(|_| opens) else {
            return Vec::new();
        };
        self.saved.open = None;
        let mut effects = vec![Effect::Close];
        effects.extend(self.told(open.session, Became::Refused(Refusal::NotKept), now));
        effects
    }

    fn end(&mut self, cause: EndCause, now: Moment) -> Vec<Effect> {
        let Some(open) = self.open.take() else {
            return Vec::new();
        };
        self.saved.open = None;
        let lasted = now.uptime.since(open.since).as_secs();
        let ended = Ended {
            cause,
            lasted_s: Some(u32::try_from(lasted).unwrap_or(u32::MAX)),
            moved: Some(open.moved),
        };
        let mut effects = vec![Effect::Close];
        effects.extend(self.told(open.session, Became::Ended(ended), now));
        effects
    }

    /// What became of one that is not open.
    fn told(&mut self, of: Session, became: Became, now: Moment) -> Vec<Effect> {
        let record = self.note(of, became, now);
        self.owe(record);
        self.tell()
    }

    /// Tells all that is not told. A power cut in between has it told twice, never left out.
    fn tell(&mut self) -> Vec<Effect> {
        self.again_at = None;
        let mut effects = vec![self.save()];
        let untold = std::mem::take(&mut self.saved.untold);
        if !untold.is_empty() {
            let records = untold.into_iter();
            effects.extend(records.map(|record| Effect::Record(Box::new(record))));
            effects.push(self.save());
        }
        effects
    }

    fn owe(&mut self, record: SupportRecord) {
        push_bounded(&mut self.saved.untold, record);
    }

    fn note(&mut self, of: Session, became: Became, now: Moment) -> SupportRecord {
        let record = SupportRecord {
            of,
            became,
            at: now.at,
        };
        push_bounded(&mut self.saved.past, record.clone());
        record
    }

    fn save(&self) -> Effect {
        Effect::Save(Box::new(self.saved.clone()))
    }
}

impl Open {
    fn idle_at(&self) -> Uptime {
        self.moved_at.plus(IDLE)
    }

    /// No later than the policy's own end, by the monotonic clock: whatever becomes of the wall clock after this.
    fn bound(&mut self, in_force: &InForce, now: Moment) {
        let ends = in_force.ends.map(|ends| now.uptime.plus(now.at.age(ends)));
        if let Some(ends) = ends.filter(|ends| *ends < self.until) {
            (self.until, self.cause) = (ends, EndCause::Policy);
        }
    }

    fn over(&self, in_force: &InForce, now: Moment) -> Option<EndCause> {
        if now.uptime >= self.until {
            Some(self.cause)
        } else if in_force.is_over(now.at) {
            Some(EndCause::Policy)
        } else if now.uptime >= self.idle_at() {
            Some(EndCause::Idle)
        } else {
            None
        }
    }
}

/// The newest [`KEPT`] stay.
fn push_bounded(records: &mut Vec<SupportRecord>, record: SupportRecord) {
    records.push(record);
    let surplus = records.len().saturating_sub(KEPT);
    records.drain(..surplus);
}
