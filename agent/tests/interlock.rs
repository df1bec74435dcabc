//! A home, a box that wants to be patched, and chance: nobody's therapy is cut.
//!
//! The real core is driven by random sequences of sessions, holds, alarms, answers that come late, listeners that die,
//! policies with hours of work, wishes, leases, acts and crashes. What is true in the home is known here, and held
//! against each act. The same sequences find each of six mistakes that were once made by design, planted in whoever drives
//! the core, and an order to force that would overrule a session.
#![expect(clippy::disallowed_methods, reason = "shell: tests make keys")]

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use homeward_agent::interlock::hold::{Hold, HoldId};
use homeward_agent::interlock::{
    Act, Activity, Effect, Interlock, Lease, QUIET_AFTER_ALARM, Reason, SETTLES, Watching, Work,
};
use homeward_protocol::id::SensorId;
use homeward_protocol::policy::rules::{Maintenance, Window};
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::Disruption;
use homeward_protocol::release::force::{Accepted, Overrule};
use homeward_protocol::time::{Timestamp, Uptime};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

#[path = "interlock/orders.rs"]
mod orders;
#[path = "interlock/people.rs"]
mod people;

use people::People;

const CONCENTRATOR: &str = "concentrator";
const CUFF: &str = "cuff";
const EVERY: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_secs(1);
const ALIVE: Duration = Duration::from_mins(1);
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1_440 * MINUTE_MS;
/// Longest that an act takes.
const LONGEST: Duration = Duration::from_secs(20);
/// 2026-01-01.
const START_MS: i64 = 1_767_225_600_000;

fn id(name: &str) -> SensorId {
    name.parse().expect("a sensor")
}

fn watched() -> [(SensorId, Watching); 2] {
    let asked = Watching::Asked {
        every: EVERY,
        within: WITHIN,
    };
    [
        (id(CONCENTRATOR), asked),
        (id(CUFF), Watching::Told { alive: ALIVE }),
    ]
}

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    /// So many rounds of five seconds in which all answer as they should.
    Rounds(u32),
    Begin(&'static str),
    End(&'static str),
    /// The question to the concentrator goes out.
    Question,
    /// Its answer comes: what was true when it was asked.
    Answer,
    /// The concentrator cannot be read.
    NoAnswer,
    /// The cuff's listener says that it lives, and what it knows.
    Heartbeat,
    ListenerDies,
    ListenerLives,
    Hold(u64),
    Lift,
    Alarm,
    ClockJumps(i64),
    /// A policy comes by which work begins each day from this minute on for so many; or whenever the home is quiet.
    Hours(Option<(u16, u16)>),
    Wish(Disruption, Work),
    Take,
    Spend,
    Crash,
    /// Two people sign an order to force, of these; or the one that there is ends.
    Force(u8),
}

/// Any step may follow any other.
struct Chance;

impl ReferenceStateMachine for Chance {
    type State = ();
    type Transition = Step;

    fn init_state() -> BoxedStrategy<()> {
        Just(()).boxed()
    }

    fn transitions((): &()) -> BoxedStrategy<Step> {
        let device = prop_oneof![Just(CONCENTRATOR), Just(CUFF)];
        let disruption = prop_oneof![Just(Disruption::AgentRestart), Just(Disruption::Reboot)];
        let work = prop_oneof![4 => Just(Work::Forward), 1 => Just(Work::Back)];
        prop_oneof![
            16 => (100u64..8_000).prop_map(Step::Pass),
            2 => (10_000u64..700_000).prop_map(Step::Pass),
            24 => (1u32..200).prop_map(Step::Rounds),
            8 => device.clone().prop_map(Step::Begin),
            12 => device.prop_map(Step::End),
            16 => Just(Step::Question),
            16 => Just(Step::Answer),
            2 => Just(Step::NoAnswer),
            16 => Just(Step::Heartbeat),
            3 => Just(Step::ListenerDies),
            8 => Just(Step::ListenerLives),
            6 => (1u64..3_600).prop_map(Step::Hold),
            8 => Just(Step::Lift),
            1 => Just(Step::Alarm),
            4 => (-86_400_000i64..86_400_000).prop_map(Step::ClockJumps),
            6 => proptest::option::of((0u16..1_440, 10u16..=1_440)).prop_map(Step::Hours),
            24 => (disruption, work).prop_map(|(disruption, work)| Step::Wish(disruption, work)),
            40 => Just(Step::Take),
            40 => Just(Step::Spend),
            2 => Just(Step::Crash),
            20 => (0u8..32).prop_map(Step::Force),
        ]
        .boxed()
    }

    fn apply((): (), _: &Step) {}
}

/// A mistake of whoever drives the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    CheckThenAct,
    LeaseSurvivesCrash,
    HoldNotLookedAtAgain,
    HoursNotLookedAtAgain,
    UnknownIsIdle,
    BeginningsOnlySampled,
    ForceOverrulesASession,
}

struct Home {
    planted: Planted,
    now: Uptime,
    clock_ms: i64,
    /// What runs, and since when.
    running: BTreeMap<&'static str, Uptime>,
    question: Option<(Uptime, Activity)>,
    listening: bool,
    /// The listener was there when the cuff's session began, or has said since that it runs.
    told: bool,
    hold: Option<Uptime>,
    hours: Option<(u16, u16)>,
    alarm: Option<Uptime>,
    /// What this process knows of each device.
    heard: BTreeMap<&'static str, bool>,
    core: Interlock,
    lease: Option<Lease>,
    /// The order by which it was given.
    given: Option<Accepted>,
    /// How often work that goes forward began in a window, and could not have begun at any hour.
    in_hours: u32,
    /// What a box with a mistake believes.
    checked: bool,
    acts: u32,
    /// The order to force that stands: one act spends it, and no restart.
    force: Option<Accepted>,
    forced: u32,
    started: Uptime,
    /// What each device last said in this process, and when.
    last: BTreeMap<&'static str, (Activity, Uptime)>,
}

impl Home {
    fn new(planted: Planted) -> Home {
        let mut home = Home {
            planted,
            now: Uptime(1_000),
            clock_ms: START_MS,
            running: BTreeMap::new(),
            question: None,
            listening: true,
            told: false,
            hold: None,
            hours: None,
            alarm: None,
            heard: BTreeMap::new(),
            core: Interlock::new(watched(), QUIET_AFTER_ALARM, Uptime(1_000)),
            lease: None,
            given: None,
            in_hours: 0,
            checked: false,
            acts: 0,
            force: None,
            forced: 0,
            started: Uptime(1_000),
            last: BTreeMap::new(),
        };
        home.holds();
        home.tell_hours();
        home
    }

    fn truth(&self, device: &'static str) -> Activity {
        if self.running.contains_key(device) {
            Activity::Busy
        } else {
            Activity::Idle
        }
    }

    fn say(&mut self, device: &'static str, activity: Activity, asked: Uptime) {
        self.heard.insert(device, activity != Activity::Unreadable);
        let older = self.last.get(device).is_some_and(|(_, at)| asked < *at);
        if activity != Activity::Unreadable && !(older && activity == Activity::Idle) {
            self.last.insert(device, (activity, asked));
        }
        let effects = self.core.say(&id(device), activity, asked, self.now);
        Self::obey(effects);
    }

    fn obey(effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            // A lease that was taken back is useless, and tried nevertheless: that is the harder test.
            if let Effect::TakeBack(why) = effect {
                assert_ne!(why, Reason::NotAsked);
            }
        }
    }

    fn holds(&mut self) {
        let mut all = BTreeMap::new();
        if let Some(until) = self.hold {
            let left = i64::try_from(until.since(self.now).as_millis()).expect("short");
            let hold = Hold {
                by: ShortText::cut("nurse"),
                reason: ShortText::cut("a visit"),
                placed: Timestamp::synced(self.clock_ms),
                until: Timestamp::synced(self.clock_ms + left),
            };
            all.insert("visit".parse::<HoldId>().expect("a name"), hold);
        }
        let effect = self.core.hold(&all, Timestamp::synced(self.clock_ms), self.now);
        Self::obey(effect);
    }

    /// What the policy says and what time it is are told at the same moment, as the agent does.
    fn tell_hours(&mut self) {
        let rule = self.hours.map(|(from_min, minutes)| Maintenance {
            hazard: "hz-1".parse().expect("an id"),
            window: vec![Window {
                days: Vec::new(),
                from_min,
                minutes,
            }],
        });
        let at = Timestamp::synced(self.clock_ms);
        self.core.link(Some(Uptime(0)), self.now);
        let effect = self.core.windows(rule.as_ref(), at, self.now);
        Self::obey(effect);
    }

    /// Whether work that takes [`LONGEST`] may begin at this hour.
    fn may_work(&self) -> bool {
        self.hours.is_none_or(|(from, minutes)| {
            let since = (self.clock_ms - i64::from(from) * MINUTE_MS).rem_euclid(DAY_MS);
            let left = i64::from(minutes) * MINUTE_MS - since;
            minutes == 1_440 || left >= i64::try_from(LONGEST.as_millis()).expect("short")
        })
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Pass(ms) => {
                self.now = self.now.plus(Duration::from_millis(ms));
                self.clock_ms += i64::try_from(ms).expect("short");
            }
            Step::Rounds(rounds) => self.rounds(rounds),
            Step::Begin(device) => self.begin(device),
            Step::End(device) => {
                self.running.remove(device);
                if device == CUFF && self.listening {
                    self.say(CUFF, Activity::Idle, self.now);
                }
            }
            Step::Question => self.question = Some((self.now, self.truth(CONCENTRATOR))),
            Step::Answer => {
                if let Some((asked, activity)) = self.question.take() {
                    self.say(CONCENTRATOR, activity, asked);
                }
            }
            Step::NoAnswer => self.say(CONCENTRATOR, Activity::Unreadable, self.now),
            Step::Heartbeat if self.listening => {
                self.told = true;
                self.say(CUFF, self.truth(CUFF), self.now);
            }
            Step::Heartbeat => {}
            Step::ListenerDies => self.listening = false,
            Step::ListenerLives => self.listening = true,
            Step::Hold(seconds) => {
                self.hold = Some(self.now.plus(Duration::from_secs(seconds)));
                if self.planted != Planted::HoldNotLookedAtAgain || self.lease.is_none() {
                    self.holds();
                }
            }
            Step::Lift => {
                self.hold = None;
                self.holds();
            }
            Step::Alarm => {
                self.alarm = Some(self.now);
                let effect = self.core.alarm(self.now);
                Self::obey(effect);
            }
            Step::ClockJumps(ms) => {
                self.clock_ms += ms;
                self.tell_hours();
            }
            Step::Hours(hours) => {
                self.hours = hours;
                if self.planted != Planted::HoursNotLookedAtAgain || self.lease.is_none() {
                    self.tell_hours();
                }
            }
            Step::Wish(disruption, work) => self.wish(disruption, work),
            Step::Take => self.take(),
            Step::Spend => self.spend(),
            Step::Crash => self.crash(),
            Step::Force(0) => self.force = None,
            Step::Force(kinds) => self.force = Some(signed(kinds)),
        }
    }

    fn rounds(&mut self, rounds: u32) {
        for _ in 0..rounds {
            self.step(&Step::Pass(4_800));
            self.step(&Step::Question);
            self.step(&Step::Pass(200));
            self.step(&Step::Answer);
            self.step(&Step::Heartbeat);
        }
    }

    fn begin(&mut self, device: &'static str) {
        let began = !self.running.contains_key(device);
        self.running.entry(device).or_insert(self.now);
        let told = device == CUFF && self.listening;
        if device == CUFF && (began || told) {
            self.told = told;
        }
        if told && self.planted != Planted::BeginningsOnlySampled {
            self.say(CUFF, Activity::Busy, self.now);
        }
    }

    fn wish(&mut self, disruption: Disruption, work: Work) {
        let act = Act {
            disruption,
            longest: LONGEST,
            work,
        };
        self.core.ask(act, self.now);
    }

    fn take(&mut self) {
        if self.planted == Planted::UnknownIsIdle {
            for device in [CONCENTRATOR, CUFF] {
                let unknown = |why: &Reason| matches!(why, Reason::Unknown { sensor, .. } | Reason::NotYetSure { sensor } if sensor.as_str() == device);
                while self.core.busy(self.now).iter().any(unknown) {
                    let _ = self.core.say(&id(device), Activity::Idle, self.now, self.now);
                }
            }
        }
        if self.planted == Planted::ForceOverrulesASession && self.force.is_some() {
            for device in [CONCENTRATOR, CUFF] {
                let used = |why: &Reason| matches!(why, Reason::Session { sensor, .. } | Reason::NotYetSure { sensor } if sensor.as_str() == device);
                while self.core.busy(self.now).iter().any(used) {
                    let _ = self.core.say(&id(device), Activity::Idle, self.now, self.now);
                }
            }
        }
        if let Ok(lease) = self.core.lease_by(self.force.as_ref(), self.now) {
            self.given = self.force.clone();
            self.lease = Some(lease);
            self.checked = true;
        }
    }

    fn spend(&mut self) {
        let Some(lease) = self.lease.take() else {
            if self.planted == Planted::LeaseSurvivesCrash && std::mem::take(&mut self.checked) {
                self.act(Work::Back, &[]);
            }
            return;
        };
        self.checked = false;
        let work = lease.act().work;
        match self.planted {
            Planted::CheckThenAct => self.act(work, &[]),
            _ => {
                if let Ok(window) = self.core.activate(lease, self.now) {
                    assert!(window.until() > self.now, "bounded");
                    let overruled = window.overruled().to_vec();
                    self.act(work, &overruled);
                }
            }
        }
    }

    /// The process ends, and with it all it knew; the files with holds are read again.
    fn crash(&mut self) {
        self.core = Interlock::new(watched(), QUIET_AFTER_ALARM, self.now);
        (self.lease, self.given) = (None, None);
        self.started = self.now;
        self.last.clear();
        self.heard.clear();
        self.question = None;
        self.holds();
        self.tell_hours();
    }

    /// Whether an order may overrule that nothing is known of a device: it has said nothing for an hour in this process,
    /// and that it was in use was not the last that it said.
    fn is_given_up(&self, name: &str) -> bool {
        let last = self.last.get(name);
        let since = last.map_or(self.started, |(_, at)| (*at).max(self.started));
        let in_use = last.is_some_and(|(activity, _)| *activity == Activity::Busy);
        !in_use && self.now.since(since) > Duration::from_hours(1)
    }

    /// The box is disturbed now: is anybody harmed?
    fn act(&mut self, work: Work, overruled: &[Reason]) {
        self.acts += 1;
        self.forced += u32::from(!overruled.is_empty());
        let by = self.given.take();
        let may = |one| by.as_ref().is_some_and(|by| by.order().overrules.holds(one));
        let never = |why: &Reason| {
            matches!(
                why,
                Reason::Session { .. }
                    | Reason::NotYetSure { .. }
                    | Reason::JustStarted { .. }
                    | Reason::Acting { .. }
            )
        };
        assert!(!overruled.iter().any(never), "{overruled:?}");
        if work == Work::Forward {
            assert!(
                self.may_work() || may(Overrule::Maintenance),
                "outside the hours of work: {:?}",
                self.hours
            );
            self.in_hours += u32::from(self.hours.is_some() && self.may_work());
        }
        for (device, watching) in watched() {
            let name = if device.as_str() == CUFF {
                CUFF
            } else {
                CONCENTRATOR
            };
            // Two people took upon them what nobody can know of it.
            if may(Overrule::Unknown) && self.is_given_up(name) {
                continue;
            }
            assert_eq!(self.heard.get(name), Some(&true), "{name} was never heard");
            let ran = self.running.get(name).map(|since| self.now.since(*since));
            // What began while nobody listened is not heard of when the listener lives again: only with its next word.
            let told = name == CUFF && self.listening && self.told;
            let bound = if told { Duration::ZERO } else { watching.unseen() };
            if let Some(ran) = ran {
                assert!(
                    !told && ran <= bound,
                    "{name} was cut after {ran:?}, the bound is {bound:?}"
                );
            }
        }
        let held = self.hold.is_some_and(|until| self.now < until);
        assert!(!held || may(Overrule::Hold), "a hold stood");
        let quiet = |at: Uptime| self.now >= at.plus(QUIET_AFTER_ALARM);
        assert!(
            self.alarm.is_none_or(quiet) || may(Overrule::Alarm),
            "an alarm had just sounded"
        );
        // The agent, or the box with it, starts again. The order is spent.
        self.core.ended();
        self.force = None;
        self.crash();
    }
}

/// The order to force that overrules these, each a bit.
fn signed(kinds: u8) -> Accepted {
    static SIGNED: OnceLock<Vec<Accepted>> = OnceLock::new();
    let all = SIGNED.get_or_init(|| {
        let people = People::new();
        let of = |kinds: u8| {
            let all = Overrule::ALL.into_iter().enumerate();
            all.filter(move |(bit, _)| kinds >> bit & 1 == 1)
                .map(|(_, one)| one)
        };
        (1..32).map(|kinds| people.accepted(of(kinds))).collect()
    });
    all[usize::from(kinds) - 1].clone()
}

struct Driven;

const ALL: [Planted; 8] = [
    Planted::Nothing,
    Planted::CheckThenAct,
    Planted::LeaseSurvivesCrash,
    Planted::HoldNotLookedAtAgain,
    Planted::HoursNotLookedAtAgain,
    Planted::UnknownIsIdle,
    Planted::BeginningsOnlySampled,
    Planted::ForceOverrulesASession,
];

impl StateMachineTest for Driven {
    type SystemUnderTest = Home;
    type Reference = Chance;

    fn init_test((): &()) -> Home {
        Home::new(Planted::Nothing)
    }

    fn apply(mut home: Home, (): &(), step: Step) -> Home {
        home.step(&step);
        home
    }

    fn check_invariants(_: &Home, (): &()) {}
}

/// 1,000 homes, without a file of failures: a failing run prints its steps.
fn config() -> Config {
    Config {
        cases: 1_000,
        failure_persistence: None,
        ..Config::default()
    }
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn no_act_meets_a_session_a_hold_an_alarm_or_doubt_or_begins_at_another_hour(sequential 1..300 => Driven);
}

/// The same homes each time: what happens in them.
fn homes(number: usize) -> impl Iterator<Item = Vec<Step>> {
    let mut runner = TestRunner::deterministic();
    let steps = Chance::sequential_strategy(300..301);
    std::iter::repeat_with(move || steps.new_tree(&mut runner).expect("steps").current().1).take(number)
}

/// What happens in one home, act by act.
fn live(planted: Planted, steps: &[Step]) -> Home {
    let mut home = Home::new(planted);
    for step in steps {
        home.step(step);
    }
    home
}

/// Whether chance finds that somebody is harmed.
fn harms(planted: Planted) -> bool {
    homes(1_000).any(|steps| std::panic::catch_unwind(|| live(planted, &steps)).is_err())
}

#[test]
fn the_same_chance_finds_each_planted_mistake() {
    let harmful: Vec<Planted> = ALL.into_iter().filter(|planted| harms(*planted)).collect();
    assert_eq!(harmful, ALL[1..], "every mistake, and nothing else");
}

#[test]
fn chance_lets_boxes_be_patched_and_forced_too() {
    let (mut acts, mut forced, mut in_hours) = (0, 0, 0);
    for steps in homes(200) {
        let home = live(Planted::Nothing, &steps);
        acts += home.acts;
        forced += home.forced;
        in_hours += home.in_hours;
    }
    assert!(in_hours > 10, "only {in_hours} acts in windows in 200 homes");
    assert!(
        acts - forced > 50 && forced > 50,
        "only {acts} acts in 200 homes, {forced} of them forced: the property would say nothing"
    );
}

/// What stands against an act by this order, of a box whose two devices are as `home` leaves them.
fn against(home: &mut Home, kinds: u8) -> Vec<Reason> {
    let act = Act {
        disruption: Disruption::Reboot,
        longest: LONGEST,
        work: Work::Forward,
    };
    let begun = home.core.begin_by(act, Some(&signed(kinds)), home.now);
    begun.err().unwrap_or_default()
}

#[test]
fn an_order_leaves_out_what_it_names_and_never_a_session() {
    let (hold, unknown, alarm, maintenance, all) = (1, 2, 4, 16, 31);
    let mut home = Home::new(Planted::Nothing);
    home.rounds(200);
    home.step(&Step::Hold(3_000));
    assert!(matches!(against(&mut home, alarm)[..], [.., Reason::Hold(_)]));
    home.rounds(2);
    assert!(matches!(against(&mut home, alarm)[..], [Reason::Hold(_)]));
    // The policy lets work begin for the last ten minutes of the day alone.
    home.step(&Step::Hours(Some((1_430, 10))));
    let hours = against(&mut home, hold);
    assert!(matches!(hours[..], [Reason::OutsideWindow { .. }]), "{hours:?}");
    assert!(matches!(against(&mut home, maintenance)[..], [Reason::Hold(_)]));
    home.step(&Step::Hours(None));
    // Something begins: whatever the order names, it waits.
    home.step(&Step::Begin(CUFF));
    assert!(matches!(against(&mut home, all)[..], [Reason::Session { .. }]));
    // Its listener dies in the middle: an hour and more later nothing is known, and that it was in use still stands.
    home.step(&Step::ListenerDies);
    for _ in 0..8 {
        home.rounds(120);
        let stands = against(&mut home, all);
        assert!(
            matches!(stands[..], [Reason::Session { .. } | Reason::Unknown { .. }]),
            "{stands:?}"
        );
    }
    // It says that it is over.
    home.step(&Step::End(CUFF));
    home.step(&Step::ListenerLives);
    home.step(&Step::Hold(9_000));
    home.rounds(1);
    assert_eq!(against(&mut home, hold), []);
    assert!(matches!(against(&mut home, all)[..], [.., Reason::Acting { .. }]));
    // After a start it is silent: not for an hour by `unknown`, and never by another.
    home.core.ended();
    home.crash();
    home.step(&Step::ListenerDies);
    home.step(&Step::Lift);
    assert!(!against(&mut home, all).is_empty(), "nothing is known yet");
    home.rounds(700);
    let silent = |stands: &[Reason]| matches!(stands, [Reason::Unknown { sensor, known: None }] if sensor.as_str() == CUFF);
    assert!(silent(&against(&mut home, all)));
    home.rounds(30);
    assert!(silent(&against(&mut home, hold | alarm)));
    assert_eq!(against(&mut home, unknown), []);
}

#[test]
fn holds_that_cannot_be_read_are_in_the_way_and_end_by_the_uptime_only() {
    let mut core = Interlock::new([], QUIET_AFTER_ALARM, Uptime(0));
    let quiet = Uptime(0).plus(QUIET_AFTER_ALARM);
    assert_eq!(core.busy(quiet), [Reason::HoldsUnknown], "nobody has looked yet");
    core.hold(&BTreeMap::new(), Timestamp::synced(START_MS), quiet);
    assert_eq!(core.busy(quiet), []);
    core.holds_unread(quiet);
    assert_eq!(core.busy(quiet), [Reason::HoldsUnknown]);

    let hold = Hold {
        by: ShortText::cut("nurse"),
        reason: ShortText::cut("a visit"),
        placed: Timestamp::synced(START_MS),
        until: Timestamp::synced(START_MS + 60_000),
    };
    let all = BTreeMap::from([("visit".parse().expect("a name"), hold)]);
    core.hold(&all, Timestamp::synced(START_MS), quiet);
    // The clock jumps a year ahead: it stands.
    let later = quiet.plus(Duration::from_secs(59));
    core.hold(&all, Timestamp::synced(START_MS + 31_536_000_000), later);
    assert!(matches!(core.busy(later)[..], [Reason::Hold(_)]));
    assert_eq!(core.busy(quiet.plus(Duration::from_mins(1))), []);
}

#[test]
fn what_is_new_begins_only_while_the_server_is_reached_and_what_goes_back_at_any_time() {
    let now = Uptime(0).plus(QUIET_AFTER_ALARM);
    for work in [Work::Forward, Work::Back] {
        let mut core = Interlock::new([], QUIET_AFTER_ALARM, Uptime(0));
        core.hold(&BTreeMap::new(), Timestamp::synced(START_MS), now);
        core.windows(None, Timestamp::synced(START_MS), now);
        let act = Act {
            disruption: Disruption::AgentRestart,
            longest: LONGEST,
            work,
        };
        let forward = work == Work::Forward;
        core.ask(act, now);
        assert_eq!(
            core.busy(now) == [Reason::Offline],
            forward,
            "nobody has said that it is"
        );
        core.link(Some(now), now);
        let now = now.plus(SETTLES);
        let lease = core.lease(now).expect("nothing is in the way");
        let taken = core.link(None, now);
        assert_eq!(taken, forward.then_some(Effect::TakeBack(Reason::Offline)));
        assert_eq!(core.activate(lease, now).is_ok(), !forward);
    }
}

#[test]
fn what_is_new_waits_a_minute_after_each_new_connection_as_a_newer_word_may_be_on_its_way() {
    let connected = Uptime(0).plus(QUIET_AFTER_ALARM);
    for work in [Work::Forward, Work::Back] {
        let mut core = Interlock::new([], QUIET_AFTER_ALARM, Uptime(0));
        core.hold(&BTreeMap::new(), Timestamp::synced(START_MS), connected);
        core.windows(None, Timestamp::synced(START_MS), connected);
        let act = Act {
            disruption: Disruption::AgentRestart,
            longest: LONGEST,
            work,
        };
        // It was staged while the server was out of reach, which is looked at each five seconds.
        core.ask(act, Uptime(0));
        let waits = |core: &mut Interlock, now: Uptime, until: Uptime| {
            let forward = [Reason::JustOnline { until }];
            let expected: &[Reason] = if work == Work::Forward { &forward } else { &[] };
            assert_eq!(core.busy(now), expected);
        };
        let until = connected.plus(SETTLES);
        for now in (0..60).step_by(5).map(|s| connected.plus(Duration::from_secs(s))) {
            core.link(Some(Uptime(7)), now);
            waits(&mut core, now, until);
        }
        core.link(Some(Uptime(7)), until);
        assert_eq!(core.busy(until), []);
        // The link was lost and came again between two looks: it is another connection.
        let lease = core.lease(until).expect("nothing is in the way");
        let again = until.plus(SETTLES);
        let taken = core.link(Some(Uptime(8)), until);
        let why = Reason::JustOnline { until: again };
        assert_eq!(taken, (work == Work::Forward).then_some(Effect::TakeBack(why)));
        assert_eq!(core.activate(lease, until).is_ok(), work == Work::Back);
        if work == Work::Forward {
            waits(&mut core, until, again);
        }
    }
}

#[test]
fn a_window_that_closes_takes_the_lease_back_of_work_that_goes_forward_alone() {
    let now = Uptime(0).plus(QUIET_AFTER_ALARM);
    let midnight = Timestamp::synced(START_MS);
    let rule = Maintenance {
        hazard: "hz-1".parse().expect("an id"),
        window: vec![Window {
            days: Vec::new(),
            from_min: 0,
            minutes: 60,
        }],
    };
    let noon = Timestamp::synced(START_MS + DAY_MS / 2);
    for work in [Work::Forward, Work::Back] {
        let mut core = Interlock::new([], QUIET_AFTER_ALARM, Uptime(0));
        core.hold(&BTreeMap::new(), midnight, now);
        core.link(Some(Uptime(0)), Uptime(0));
        let act = Act {
            disruption: Disruption::Reboot,
            longest: LONGEST,
            work,
        };
        core.ask(act, now);
        let unknown = core.busy(now);
        assert_eq!(
            unknown == [Reason::TimeUnknown],
            work == Work::Forward,
            "nobody has said"
        );
        core.windows(Some(&rule), midnight, now);
        let lease = core.lease(now).expect("a window is open");
        // Noon: the clock was set, or another policy came.
        let why = Reason::OutsideWindow {
            next: Timestamp::synced(START_MS + DAY_MS),
        };
        let taken = core.windows(Some(&rule), noon, now);
        match work {
            Work::Forward => {
                assert_eq!(taken, Some(Effect::TakeBack(why.clone())));
                assert_eq!(core.activate(lease, now), Err(vec![Reason::TakenBack]));
                assert_eq!(core.begin(act, now), Err(vec![why]));
            }
            Work::Back => {
                assert_eq!(taken, None);
                assert!(core.activate(lease, now).is_ok());
            }
        }
    }
}
