//! When a disturbing act may happen: never while a therapy or a measurement runs, while a person holds, or while we do
//! not know.
//!
//! ```text
//! ask ─▶ every source says idle again ─▶ Lease ─▶ all is looked at once more ─▶ Window (the act, of bounded length)
//!            a session, a hold, an alarm, doubt: the lease is taken back
//! ```
//! # Design
//! - There is one [`Interlock`] on a box. It alone makes leases, in the same queue in which sessions begin, so nothing
//!   can begin between its look and its word. Restarting the agent and restarting the box ask the same one.
//! - What is unknown, stale or unreadable is busy. After a start everything is unknown.
//! - A [`Lease`] is taken back by whatever begins; it cannot be copied, kept or written down, and ends with the
//!   process: a lease that outlived a crash would speak of a home as it was.
//! - [`Interlock::activate`] spends the lease and looks again in the same step. After it the act goes on; what begins
//!   then is met by it and said, and the window's length bounds how long.
//! - Work that goes forward waits for a window of the policy, too; that is looked at in the same step (`calendar`).
//! - A device that is only asked now and then can begin unseen between two questions. What holds is: an act never
//!   meets a session that runs longer than [`Watching::unseen`]. That length is shown to people, for each device.
//! - An order to force, which two people signed ([`Accepted`]), leaves out exactly what it names, for the lease that is
//!   given by it and no other. What it cannot name stands whatever it says: a session, a device that is asked again, one
//!   that was in use when it was last heard, another act, and the time after a start.

pub mod activity;
pub mod asked;
pub mod beside;
pub mod button;
mod calendar;
pub mod file;
pub mod follow;
pub mod hold;
mod quiet;
pub mod source;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_protocol::id::SensorId;
use homeward_protocol::policy::rules::Maintenance;
use homeward_protocol::release::Disruption;
use homeward_protocol::release::force::{Accepted, Overrule, Overrules};
use homeward_protocol::time::{Timestamp, Uptime};

use calendar::Calendar;
pub use calendar::Work;
use hold::{Hold, HoldId, Standing};
pub use quiet::Quiet;
pub use source::{Activity, Watching};
use source::{Idle, Source};
use tokio::sync::oneshot;

/// How long after an alarm, and after a start, nothing disturbs where nobody says otherwise.
pub const QUIET_AFTER_ALARM: Duration = Duration::from_mins(10);
/// How long what is new waits after the server is reached again, or as long as nothing disturbs after a start where that is
/// shorter: what was found to be bad meanwhile is said by then. The server says its newest word within seconds of a connection,
/// and says no word that the box has already, so its silence cannot be waited for.
pub const SETTLES: Duration = Duration::from_mins(1);
/// How long a lease waits for its act: what was true a minute ago is asked again.
pub const LEASE_LASTS: Duration = Duration::from_secs(30);

/// An act that disturbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Act {
    /// What it disturbs.
    pub disruption: Disruption,
    /// How long at most. A watchdog ends it then.
    pub longest: Duration,
    /// What it is for.
    pub work: Work,
}

/// Whether the box runs from the mains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Power {
    /// The box has no battery, or does not tell.
    #[default]
    Mains,
    /// From a battery.
    Battery,
}

/// Why an act has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A therapy or a measurement runs.
    Session {
        /// At which device.
        sensor: SensorId,
        /// Since when we know of it.
        since: Uptime,
    },
    /// A device has not said how it is, not for too long, or not so that it can be read.
    Unknown {
        /// Which device.
        sensor: SensorId,
        /// When it was last known; never since the start for none.
        known: Option<Uptime>,
    },
    /// A device has not said often enough since the wish that it is idle.
    NotYetSure {
        /// Which device.
        sensor: SensorId,
    },
    /// A person asked for quiet.
    Hold(Hold),
    /// Whether somebody asked for quiet cannot be read.
    HoldsUnknown,
    /// Something alarmed a short while ago.
    Alarm {
        /// Until when that counts.
        until: Uptime,
    },
    /// The agent has just started: what sounded before, it does not know.
    JustStarted {
        /// Until when that counts.
        until: Uptime,
    },
    /// The box runs from its battery.
    OnBattery,
    /// The server is out of reach, and this is new: it has to show that it reaches it.
    Offline,
    /// The server was reached again a moment ago, and this is new: a newer word may be on its way.
    JustOnline {
        /// Until when that counts.
        until: Uptime,
    },
    /// Another act is going on.
    Acting {
        /// Until when at most.
        until: Uptime,
    },
    /// The policy lets work begin at other hours, and this is work.
    OutsideWindow {
        /// When a window opens next in which it would be done.
        next: Timestamp,
    },
    /// No window of the policy is long enough for it.
    NoWindowFits {
        /// How long it takes at most.
        longest: Duration,
    },
    /// The policy lets work begin at certain hours, and the box does not know what time it is.
    TimeUnknown,
    /// Nobody asked.
    NotAsked,
    /// The lease was taken back, or waited too long.
    TakenBack,
}

impl Reason {
    /// Whether it is known what stands against the act, so that it passes by itself: not a mere doubt, which may never.
    pub const fn known(&self) -> bool {
        match self {
            Reason::Session { .. }
            | Reason::NotYetSure { .. }
            | Reason::Hold(_)
            | Reason::Alarm { .. }
            | Reason::JustStarted { .. }
            | Reason::OnBattery
            | Reason::Offline
            | Reason::JustOnline { .. }
            | Reason::Acting { .. }
            | Reason::OutsideWindow { .. } => true,
            Reason::Unknown { .. }
            | Reason::HoldsUnknown
            | Reason::NoWindowFits { .. }
            | Reason::TimeUnknown
            | Reason::NotAsked
            | Reason::TakenBack => false,
        }
    }
}

/// Permission for one act. Whoever holds it may spend it by [`Interlock::activate`], once.
#[derive(Debug)]
#[must_use]
pub struct Lease {
    number: u64,
    act: Act,
}

impl Lease {
    /// What it permits.
    pub const fn act(&self) -> Act {
        self.act
    }
}

/// Proof that an act has begun, made by [`Interlock::activate`] alone. What it is handed to may do that act, once.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Window {
    act: Act,
    until: Uptime,
    overruled: Vec<Reason>,
}

impl Window {
    /// What may be done.
    pub const fn act(&self) -> Act {
        self.act
    }

    /// When it is over at the latest.
    pub const fn until(&self) -> Uptime {
        self.until
    }

    /// What stood against it, and was overruled by an order to force.
    pub fn overruled(&self) -> &[Reason] {
        &self.overruled
    }
}

/// What somebody who would disturb the home says to the one that knows whether he may.
#[derive(Debug)]
pub enum Wish {
    /// May this begin now, by this order to force where there is one? When it may, it has: the permission is spent in the
    /// same step.
    Begin(
        Act,
        Option<Box<Accepted>>,
        oneshot::Sender<Result<Window, Vec<Reason>>>,
    ),
    /// It is over, or was not done after all.
    Over,
}

/// What is to be done after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Whoever has a lease hears that it is void, and why.
    TakeBack(Reason),
    /// A session began while an act was going on: told to the fleet.
    Met(SensorId),
}

struct Request {
    act: Act,
    lease: Option<Granted>,
}

#[derive(Clone)]
struct Granted {
    number: u64,
    until: Uptime,
    overrules: Option<Overrules>,
}

/// All that stands against an act, and all that does not because an order to force overrules it.
struct Against {
    stands: Vec<Reason>,
    overruled: Vec<Reason>,
}

/// The one that knows whether the home may be disturbed.
pub struct Interlock {
    sources: BTreeMap<SensorId, Source>,
    holds: BTreeMap<HoldId, Standing>,
    holds_unknown: bool,
    quiet: Duration,
    started: Uptime,
    alarmed: Option<Uptime>,
    power: Power,
    /// The connection to the server that stands, by when it was dialled, and since when it is known of.
    online: Option<(Uptime, Uptime)>,
    calendar: Calendar,
    request: Option<Request>,
    acting: Option<Uptime>,
    leases: u64,
}

impl Interlock {
    /// One that knows these sources, and nothing of how they are, in a process that starts `now`. Nothing disturbs for
    /// `quiet` after an alarm and after the start.
    pub fn new(
        sources: impl IntoIterator<Item = (SensorId, Watching)>,
        quiet: Duration,
        now: Uptime,
    ) -> Interlock {
        let sources = sources
            .into_iter()
            .map(|(id, watching)| (id, Source::new(watching)));
        Interlock {
            sources: sources.collect(),
            holds: BTreeMap::new(),
            holds_unknown: true,
            quiet,
            started: now,
            alarmed: None,
            power: Power::Mains,
            online: None,
            calendar: Calendar::Unknown,
            request: None,
            acting: None,
            leases: 0,
        }
    }

    /// Devices are watched so from now on; those that are not known are left out.
    pub fn watch(
        &mut self,
        watched: impl IntoIterator<Item = (SensorId, Watching)>,
        now: Uptime,
    ) -> Option<Effect> {
        for (id, watching) in watched {
            if let Some(source) = self.sources.get_mut(&id) {
                source.watching = watching;
            }
        }
        self.look(now)
    }

    /// What a device was found to be doing. `asked` is when the question went out, or when the device said it by
    /// itself: what counts is what was true then at the earliest. One that is not known says nothing.
    pub fn say(&mut self, sensor: &SensorId, activity: Activity, asked: Uptime, now: Uptime) -> Vec<Effect> {
        let Some(source) = self.sources.get_mut(sensor) else {
            return Vec::new();
        };
        let began = source.say(activity, asked);
        let mut effects = Vec::new();
        if began && self.acting(now).is_some() {
            effects.push(Effect::Met(sensor.clone()));
        }
        effects.extend(self.look(now));
        effects
    }

    /// The holds that there are now; those that are not among them were lifted. `at` and `now` are the same moment.
    pub fn hold(&mut self, all: &BTreeMap<HoldId, Hold>, at: Timestamp, now: Uptime) -> Option<Effect> {
        self.holds_unknown = false;
        self.holds
            .retain(|id, standing| all.get(id) == Some(standing.hold()));
        for (id, hold) in all {
            self.holds
                .entry(id.clone())
                .or_insert_with(|| Standing::new(hold.clone(), at, now));
        }
        self.look(now)
    }

    /// Whether there are holds cannot be read; those that are known go on standing.
    pub fn holds_unread(&mut self, now: Uptime) -> Option<Effect> {
        self.holds_unknown = true;
        self.look(now)
    }

    /// Those that are over.
    pub(crate) fn over(&self, now: Uptime) -> impl Iterator<Item = &HoldId> {
        let over = self
            .holds
            .iter()
            .filter(move |(_, standing)| !standing.stands(now));
        over.map(|(id, _)| id)
    }

    /// Something alarms.
    pub fn alarm(&mut self, now: Uptime) -> Option<Effect> {
        self.alarmed = Some(now);
        self.look(now)
    }

    /// Where the box gets its power from.
    pub fn power(&mut self, power: Power, now: Uptime) -> Option<Effect> {
        self.power = power;
        self.look(now)
    }

    /// Over which connection the server is reached, by when that was dialled; none while it is not. What is new does not begin
    /// then, nor for [`SETTLES`] after each new connection; what goes back does.
    pub fn link(&mut self, dialed: Option<Uptime>, now: Uptime) -> Option<Effect> {
        if self.online.map(|(known, _)| known) != dialed {
            self.online = dialed.map(|dialed| (dialed, now));
        }
        self.look(now)
    }

    /// The windows in which the policy lets work begin; without a rule it restricts nothing. `at` and `now` are the same
    /// moment.
    pub fn windows(&mut self, rule: Option<&Maintenance>, at: Timestamp, now: Uptime) -> Option<Effect> {
        let rule = rule.cloned();
        self.calendar = Calendar::Known { rule, at, told: now };
        self.look(now)
    }

    /// Somebody wishes to act. A wish that waits already is kept when it is the same, and keeps what was heard since.
    pub fn ask(&mut self, act: Act, now: Uptime) {
        if self.request.as_ref().is_some_and(|request| request.act == act) {
            return;
        }
        self.request = Some(Request { act, lease: None });
        for source in self.sources.values_mut() {
            source.count_from(now);
        }
    }

    /// Permission to act, or all that stands against it. An earlier lease is void then.
    ///
    /// # Errors
    /// Why the act has to wait.
    pub fn lease(&mut self, now: Uptime) -> Result<Lease, Vec<Reason>> {
        self.lease_by(None, now)
    }

    /// As [`Interlock::lease`], by an order to force, where there is one: what it overrules does not count for this lease.
    ///
    /// # Errors
    /// Why the act has to wait.
    pub fn lease_by(&mut self, force: Option<&Accepted>, now: Uptime) -> Result<Lease, Vec<Reason>> {
        let overrules = force.map(|force| force.order().overrules.clone());
        let why = self.against(overrules.as_ref(), now).stands;
        let Some(request) = self.request.as_mut() else {
            return Err(vec![Reason::NotAsked]);
        };
        if !why.is_empty() {
            return Err(why);
        }
        self.leases += 1;
        request.lease = Some(Granted {
            number: self.leases,
            until: now.plus(LEASE_LASTS),
            overrules,
        });
        Ok(Lease {
            number: self.leases,
            act: request.act,
        })
    }

    /// Spends the lease: the act begins now, or has to wait after all.
    ///
    /// # Errors
    /// Why. The lease is gone in any case.
    #[expect(clippy::needless_pass_by_value, reason = "spent: nobody has it afterwards")]
    pub fn activate(&mut self, lease: Lease, now: Uptime) -> Result<Window, Vec<Reason>> {
        let granted = self.request.as_ref().and_then(|request| request.lease.clone());
        let holds = |granted: &Granted| granted.number == lease.number && now < granted.until;
        let Some(granted) = granted.filter(holds) else {
            return Err(vec![Reason::TakenBack]);
        };
        let Against { stands, overruled } = self.against(granted.overrules.as_ref(), now);
        if !stands.is_empty() {
            return Err(stands);
        }
        self.request = None;
        let until = now.plus(lease.act.longest);
        self.acting = Some(until);
        Ok(Window {
            act: lease.act,
            until,
            overruled,
        })
    }

    /// Asks for an act, and begins it in the same step when it may be: nothing can begin in between.
    ///
    /// # Errors
    /// Why the act has to wait; the wish stands.
    pub fn begin(&mut self, act: Act, now: Uptime) -> Result<Window, Vec<Reason>> {
        self.begin_by(act, None, now)
    }

    /// As [`Interlock::begin`], by an order to force, where there is one: for this act alone.
    ///
    /// # Errors
    /// Why the act has to wait; the wish stands.
    pub fn begin_by(
        &mut self,
        act: Act,
        force: Option<&Accepted>,
        now: Uptime,
    ) -> Result<Window, Vec<Reason>> {
        self.ask(act, now);
        let lease = self.lease_by(force, now)?;
        self.activate(lease, now)
    }

    /// The act is over.
    pub fn ended(&mut self) {
        self.acting = None;
    }

    /// All that stands against the act that is wished for now; nothing when it may be. Without a wish, how it looks: then
    /// what a wish would still have to wait for is left out.
    pub fn busy(&self, now: Uptime) -> Vec<Reason> {
        self.against(None, now).stands
    }

    /// What stands against an act by an order that overrules this, and what does not any more.
    fn against(&self, order: Option<&Overrules>, now: Uptime) -> Against {
        let left_out = |reason: &Reason| {
            let by = self.overruled_by(reason, now);
            by.zip(order).is_some_and(|(by, all)| all.holds(by))
        };
        let (overruled, stands) = self.reasons(now).into_iter().partition(left_out);
        Against { stands, overruled }
    }

    /// What an order to force has to name to overrule this; none for what no order overrules. Each reason says it here, so
    /// that a new one cannot be forgotten.
    fn overruled_by(&self, reason: &Reason, now: Uptime) -> Option<Overrule> {
        match reason {
            Reason::Hold(_) => Some(Overrule::Hold),
            Reason::HoldsUnknown => Some(Overrule::Unknown),
            Reason::Unknown { sensor, .. } => {
                let silent = |source: &Source| source.is_silent(self.started, now);
                let silent = self.sources.get(sensor).is_some_and(silent);
                silent.then_some(Overrule::Unknown)
            }
            Reason::Alarm { .. } => Some(Overrule::Alarm),
            Reason::OnBattery => Some(Overrule::Battery),
            Reason::OutsideWindow { .. } | Reason::NoWindowFits { .. } | Reason::TimeUnknown => {
                Some(Overrule::Maintenance)
            }
            Reason::Session { .. }
            | Reason::NotYetSure { .. }
            | Reason::JustStarted { .. }
            | Reason::Offline
            | Reason::JustOnline { .. }
            | Reason::Acting { .. }
            | Reason::NotAsked
            | Reason::TakenBack => None,
        }
    }

    fn reasons(&self, now: Uptime) -> Vec<Reason> {
        let mut why = self.disturbed(now);
        let request = self.request.as_ref();
        why.extend(request.and_then(|request| self.calendar.against(request.act, now)));
        let forward = request.is_some_and(|request| request.act.work == Work::Forward);
        why.extend(self.unreached(now).filter(|_| forward));
        why
    }

    /// What of the way to the server stands against what is new.
    fn unreached(&self, now: Uptime) -> Option<Reason> {
        let Some((_, since)) = self.online else {
            return Some(Reason::Offline);
        };
        let until = since.plus(SETTLES.min(self.quiet));
        (now < until).then_some(Reason::JustOnline { until })
    }

    /// What of that is so in the home, whatever the act is for.
    fn disturbed(&self, now: Uptime) -> Vec<Reason> {
        let mut why: Vec<Reason> = Vec::new();
        let wished = self.request.is_some();
        let sources = self.sources.iter();
        why.extend(sources.filter_map(|(id, source)| reason(id, source.idle(wished, now))));
        why.extend(self.holds_unknown.then_some(Reason::HoldsUnknown));
        let holds = self.holds.values().filter(|hold| hold.stands(now));
        why.extend(holds.map(|standing| Reason::Hold(standing.hold().clone())));
        why.extend(self.quiet(now));
        if self.power == Power::Battery {
            why.push(Reason::OnBattery);
        }
        why.extend(self.acting(now).map(|until| Reason::Acting { until }));
        why
    }

    /// How each device is watched.
    pub fn watched(&self) -> impl Iterator<Item = (&SensorId, Watching)> {
        self.sources.iter().map(|(id, source)| (id, source.watching))
    }

    fn quiet(&self, now: Uptime) -> Option<Reason> {
        let until = self.alarmed.unwrap_or(self.started).plus(self.quiet);
        let why = match self.alarmed {
            Some(_) => Reason::Alarm { until },
            None => Reason::JustStarted { until },
        };
        (now < until).then_some(why)
    }

    fn acting(&self, now: Uptime) -> Option<Uptime> {
        self.acting.filter(|until| now < *until)
    }

    /// Takes a lease back that does not hold any more.
    fn look(&mut self, now: Uptime) -> Option<Effect> {
        let granted = self.request.as_ref()?.lease.as_ref()?;
        let why = self.against(granted.overrules.as_ref(), now).stands;
        let why = why.into_iter().next()?;
        self.request.as_mut()?.lease = None;
        Some(Effect::TakeBack(why))
    }
}

fn reason(sensor: &SensorId, idle: Idle) -> Option<Reason> {
    let sensor = sensor.clone();
    Some(match idle {
        Idle::Yes => return None,
        Idle::NotYetSure => Reason::NotYetSure { sensor },
        Idle::Busy(since) => Reason::Session { sensor, since },
        Idle::Unknown(known) => Reason::Unknown { sensor, known },
    })
}
