//! Whole homes, and chance: devices are used, people hold, releases come, good and bad ones, for each installer; the agent is
//! killed and the power cut, also between two steps of an update. Nobody's therapy is cut.
//!
//! The real [`Course`], the real interlock, what really tells it of the devices, and the real record of the slots are driven
//! together. What a box does to disturb its home is done here by [`Home::disturb`] alone, where it is held against what is true
//! in the home. The same homes find each of the mistakes of [`Planted`] in whoever carries the updates out.

mod carried;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use homeward_protocol::id::SensorId;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;
use crate::install::act;
use crate::interlock::activity::Activities;
use crate::interlock::hold::{Hold, HoldId};
use crate::interlock::source::UNHEARD;
use crate::interlock::{Act, Interlock, QUIET_AFTER_ALARM, Watching, Window};
use crate::sense::{Sensor, Sign};

use carried::put;

const PUMP: &str = "pump";
const OXIMETER: &str = "oximeter";
/// How often the pump is asked, and a life of five seconds passes.
const ROUND: u64 = 5_000;
/// How long an image is written.
const WRITES: u64 = 240_000;
/// 2026-01-01.
const START_MS: i64 = 1_767_225_600_000;

/// How a build turns out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Build {
    Well,
    /// It does harm.
    Harms,
    /// It never shows that it is well.
    Silent,
    /// It hears no device, and never shows that it is well.
    Deaf,
    /// It ends at once, each time.
    Crashes,
}

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    /// So many rounds of five seconds of a life.
    Rounds(u32),
    Begin(&'static str),
    End(&'static str),
    /// The box loses a device, or has it again.
    Loses(&'static str),
    Hears(&'static str),
    Hold(u64),
    Lift,
    Alarm,
    Assign(Installer, Build),
    /// The agent is killed now, or after so many more steps of its update.
    Kill(Option<u32>),
    /// The power is cut.
    Dark,
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
        let device = || prop_oneof![Just(PUMP), Just(OXIMETER)];
        let installer = prop_oneof![
            2 => Just(Installer::AgentSlot),
            2 => Just(Installer::Rauc),
            1 => Just(Installer::Apt)
        ];
        let build = prop_oneof![
            4 => Just(Build::Well),
            1 => Just(Build::Harms),
            1 => Just(Build::Silent),
            1 => Just(Build::Deaf),
            1 => Just(Build::Crashes)
        ];
        prop_oneof![
            30 => (1u32..30).prop_map(Step::Rounds),
            8 => (100u32..300).prop_map(Step::Rounds),
            2 => (500u32..800).prop_map(Step::Rounds),
            12 => device().prop_map(Step::Begin),
            14 => device().prop_map(Step::End),
            2 => device().prop_map(Step::Loses),
            6 => device().prop_map(Step::Hears),
            3 => (1u64..3_600).prop_map(Step::Hold),
            4 => Just(Step::Lift),
            1 => Just(Step::Alarm),
            12 => (installer, build).prop_map(|(installer, build)| Step::Assign(installer, build)),
            4 => proptest::option::of(0u32..8).prop_map(Step::Kill),
            1 => Just(Step::Dark),
        ]
        .boxed()
    }

    fn apply((): (), _: &Step) {}
}

/// A mistake of whoever carries the updates out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// What was permitted at one look is done at the next.
    CheckThenAct,
    /// A permission that a crash left unspent is spent after it.
    PermissionSurvivesCrash,
    /// Holds are read at the start only.
    HoldNotLookedAtAgain,
    /// A turn in which nothing was answered counts as one without a session.
    UnknownIsIdle,
    /// A link that is lost counts as one on which nothing comes.
    LostIsQuiet,
    /// The box reboots for an image by the permission to write it.
    RebootsUnasked,
    /// What is bad goes back at once.
    ReturnsUnasked,
    /// A start goes on with what was begun before it.
    UnfinishedUnasked,
}

const MISTAKES: [Planted; 8] = [
    Planted::CheckThenAct,
    Planted::PermissionSurvivesCrash,
    Planted::HoldNotLookedAtAgain,
    Planted::UnknownIsIdle,
    Planted::LostIsQuiet,
    Planted::RebootsUnasked,
    Planted::ReturnsUnasked,
    Planted::UnfinishedUnasked,
];

/// Something that lies on the box and is no build of the agent: an image, or packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    /// It was begun.
    Begun,
    /// It lies there, and the box has to reboot for it.
    Lies,
    Runs,
    Confirmed,
    /// It runs, and the next boot does not start it.
    Left,
}

/// By which way the home was disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Restart,
    Reboot,
    Packages,
    /// Back, by permission.
    Returned,
    /// Back, as nothing but doubt stood against it for long.
    ReturnedInDoubt,
}

/// The process that runs.
struct Process {
    began: u64,
    course: Course,
    interlock: Interlock,
    activities: Activities,
    row: Vec<Effect>,
    /// What was permitted, and when.
    window: Option<(Window, u64)>,
    /// Until when an image is written, which nothing else waits for; and the words that come meanwhile.
    writing: Option<u64>,
    words: Vec<Input>,
    /// What it last heard of each device that is in use, and when.
    heard: BTreeMap<&'static str, u64>,
}

struct Home {
    planted: Planted,
    now: u64,
    // What is true.
    running: BTreeMap<&'static str, u64>,
    lost: Vec<&'static str>,
    /// When the session of the oximeter that is under way last told a box, whichever process ran.
    told: Option<u64>,
    hold: Option<u64>,
    alarm: Option<u64>,
    // What survives a start.
    saved: Option<Saved>,
    slots: Slots,
    image: Option<(u64, Put)>,
    packages: Option<(u64, Put)>,
    builds: Vec<(Installer, Build)>,
    // What does not.
    process: Process,
    /// After so many steps of its update, the agent is killed.
    fuse: Option<u32>,
    /// What a box with a mistake remembers.
    permitted: bool,
    ways: BTreeMap<Way, u32>,
    confirmed: u32,
}

fn id(name: &str) -> SensorId {
    name.parse().expect("a sensor")
}

fn sensors() -> Vec<Sensor> {
    let text = "[[sensor]]\nid = \"pump\"\nprofile = \"tripp-lite-modbuscard\"\naddress = \"192.0.2.1:502\"\n\
                interval_ms = 5000\n\
                [[sensor]]\nid = \"oximeter\"\nprofile = \"pulse-oximeter\"\naddress = \"C1:00:00:00:00:01\"\n";
    let config = crate::config::Config::parse(text).expect("a configuration");
    config.sensors(&[]).expect("sensors")
}

fn moment(now: u64) -> Moment {
    Moment {
        uptime: Uptime(now),
        at: Timestamp::synced(START_MS + i64::try_from(now).expect("small")),
    }
}

/// What is true in the home, and what is disturbed in it.
impl Home {
    fn new(planted: Planted) -> Home {
        let running = Running {
            place: Place::Package,
            version: version(0),
        };
        let (course, row) = Course::resume(None, Standing::Nothing, running, LIMITS, moment(0));
        let activities = Activities::new(&sensors());
        let mut home = Home {
            planted,
            now: 0,
            running: BTreeMap::new(),
            lost: Vec::new(),
            told: None,
            hold: None,
            alarm: None,
            saved: None,
            slots: bare(),
            image: None,
            packages: None,
            builds: Vec::new(),
            process: Process {
                began: 0,
                course,
                interlock: Interlock::new(activities.watched(), QUIET_AFTER_ALARM, Uptime(0)),
                activities,
                row,
                window: None,
                writing: None,
                words: Vec::new(),
                heard: BTreeMap::new(),
            },
            fuse: None,
            permitted: false,
            ways: BTreeMap::new(),
            confirmed: 0,
        };
        home.look(true);
        home
    }

    /// The home is disturbed now, in this way: is anybody harmed?
    fn disturb(&mut self, way: Way) {
        *self.ways.entry(way).or_default() += 1;
        let knows = Duration::from_millis(self.now - self.process.began);
        assert!(
            knows >= QUIET_AFTER_ALARM,
            "{way:?}: {knows:?} after a start nobody knows what sounded before"
        );
        for (sensor, watching) in self.process.activities.watched() {
            let name = if sensor.as_str() == PUMP { PUMP } else { OXIMETER };
            let Some(since) = self.running.get(name) else {
                continue;
            };
            let ran = Duration::from_millis(self.now - since);
            let (tells, is_lost) = (
                matches!(watching, Watching::Told { .. }),
                self.lost.contains(&name),
            );
            // What a sick build does not hear at all it cannot wait for; what it hears it does.
            let in_doubt = way == Way::ReturnedInDoubt && is_lost;
            let before = self.told.filter(|_| tells && !in_doubt);
            for heard in self.process.heard.get(name).copied().into_iter().chain(before) {
                let ago = Duration::from_millis(self.now - heard);
                assert!(ago > UNHEARD, "{way:?}: {name} said {ago:?} ago that it is used");
            }
            // What one that tells by itself did not tell before its link was lost, or not for so long, nobody can know.
            if in_doubt || tells && is_lost {
                continue;
            }
            assert!(
                !tells && ran <= watching.unseen(),
                "{way:?}: {name} was cut after {ran:?}"
            );
        }
        assert!(
            self.hold.is_none_or(|until| self.now >= until),
            "{way:?}: a hold stood"
        );
        let since = self.alarm.map(|at| Duration::from_millis(self.now - at));
        assert!(
            since.is_none_or(|since| since >= QUIET_AFTER_ALARM),
            "{way:?}: an alarm had just sounded"
        );
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Rounds(rounds) => (0..rounds).for_each(|_| self.round()),
            Step::Begin(name) => {
                self.running.entry(name).or_insert(self.now);
                // An oximeter gives its first value as it begins; a pump is asked.
                if name == OXIMETER {
                    self.oximeter();
                }
            }
            Step::End(name) => {
                self.running.remove(name);
            }
            Step::Loses(name) if !self.lost.contains(&name) => self.lost.push(name),
            Step::Loses(_) => {}
            Step::Hears(name) => self.lost.retain(|one| *one != name),
            Step::Hold(seconds) => self.hold = Some(self.now + seconds * 1_000),
            Step::Lift => self.hold = None,
            Step::Alarm => {
                self.alarm = Some(self.now);
                self.process.interlock.alarm(Uptime(self.now));
            }
            Step::Assign(installer, build) => {
                self.builds.push((installer, build));
                let counter = u8::try_from(self.builds.len()).expect("short");
                self.hear(Input::Assigned(vec![counter]));
            }
            Step::Kill(None) => self.start(),
            Step::Kill(Some(steps)) => self.fuse = Some(steps),
            Step::Dark => self.boot(),
        }
    }

    /// Five seconds pass: the pump is asked and answers, whoever listens to the oximeter does, and the agent looks.
    fn round(&mut self) {
        let asked = self.now;
        let runs = self.running.contains_key(PUMP);
        self.now += 200;
        let answers = !self.lost.contains(&PUMP) && !self.is_deaf();
        let turn = Sign {
            values: answers,
            runs: answers.then_some(runs),
            whole: answers || self.planted == Planted::UnknownIsIdle,
            asked: Some(Uptime(asked)),
            ..Sign::default()
        };
        if answers && runs {
            self.process.heard.insert(PUMP, asked);
        } else if answers {
            self.process.heard.remove(PUMP);
        }
        self.sign(PUMP, turn);
        self.oximeter();
        self.now += ROUND - 200;
        if self.process.writing.is_some_and(|until| self.now >= until) {
            self.process.writing = None;
            put(&mut self.image, Put::Lies);
            self.process.interlock.ended();
            self.hear(Input::Activated);
            for word in std::mem::take(&mut self.process.words) {
                self.hear(word);
            }
        }
        self.hear(Input::Tick);
    }

    fn oximeter(&mut self) {
        let linked = !self.lost.contains(&OXIMETER) && !self.is_deaf();
        let values = linked && self.running.contains_key(OXIMETER);
        if values {
            self.process.heard.insert(OXIMETER, self.now);
            self.told = Some(self.now);
        } else if linked {
            self.process.heard.remove(OXIMETER);
            self.told = None;
        }
        let sign = Sign {
            values,
            listens: true,
            linked: linked || self.planted == Planted::LostIsQuiet,
            ..Sign::default()
        };
        self.sign(OXIMETER, sign);
    }

    fn sign(&mut self, name: &str, sign: Sign) {
        let (sensor, now) = (id(name), Uptime(self.now));
        if let Some((activity, asked)) = self.process.activities.hear(&sensor, &sign, now) {
            self.process.interlock.say(&sensor, activity, asked, now);
        }
    }
}

struct Driven;

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
    fn no_update_cuts_a_session_by_any_path_there_or_back(sequential 1..200 => Driven);
}

/// The same homes each time.
fn homes(number: usize) -> impl Iterator<Item = Vec<Step>> {
    let mut runner = TestRunner::deterministic();
    let steps = Chance::sequential_strategy(200..201);
    std::iter::repeat_with(move || steps.new_tree(&mut runner).expect("steps").current().1).take(number)
}

fn live(planted: Planted, steps: &[Step]) -> Home {
    let mut home = Home::new(planted);
    for step in steps {
        home.step(step);
    }
    home
}

#[test]
fn the_same_homes_find_each_planted_mistake() {
    let harms = |planted: &Planted| {
        let mut homes = homes(1_000);
        homes.any(|steps| catch_unwind(AssertUnwindSafe(|| live(*planted, &steps))).is_err())
    };
    let harmful: Vec<Planted> = MISTAKES.into_iter().filter(harms).collect();
    assert_eq!(harmful, MISTAKES);
}

#[test]
fn updates_come_there_and_back_by_each_path() {
    let (mut ways, mut confirmed) = (BTreeMap::new(), 0);
    for steps in homes(200) {
        let home = live(Planted::Nothing, &steps);
        confirmed += home.confirmed;
        for (way, times) in home.ways {
            *ways.entry(way).or_insert(0) += times;
        }
    }
    println!("in 200 homes: {ways:?}, {confirmed} confirmed");
    let paths = [Way::Restart, Way::Reboot, Way::Packages, Way::Returned];
    for (way, least) in paths
        .into_iter()
        .map(|way| (way, 20))
        .chain([(Way::ReturnedInDoubt, 5)])
    {
        let times = ways.get(&way).copied().unwrap_or(0);
        assert!(
            times >= least,
            "{way:?} only {times} times: the property would say nothing of it"
        );
    }
    assert!(confirmed >= 100, "{confirmed}");
}
