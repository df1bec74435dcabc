//! The course of an update with RAUC's installer in it: what it asks is answered as the agent would, by the real service.

use std::collections::VecDeque;

use homeward_agent::interlock::Reason;
use homeward_agent::slot::Place as Slot;
use homeward_agent::update::course::{Course, Effect, Input, Limits, Moment, Running};
use homeward_agent::update::decide::{Decision, Plan};
use homeward_agent::update::health::Health;
use homeward_agent::update::saved::{Before, Saved};
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::state::Progress;
use homeward_protocol::time::Uptime;
use homeward_protocol::tuf::client::Found;
use homeward_protocol::tuf::hash::Hashes;
use homeward_protocol::tuf::metadata::targets::Target;
use homeward_protocol::tuf::role::Role;

use super::*;

const TRIAL: Duration = Duration::from_mins(10);
const LIMITS: Limits = Limits {
    trial: TRIAL,
    spread: 0,
};
const STEP: u64 = 10_000;

/// An agent on a box: its course, and what its disk keeps.
struct Agent {
    home: Home,
    images: Images,
    course: Course,
    row: VecDeque<Effect>,
    saved: Option<Saved>,
    from: PathBuf,
    /// The clock of the course, milliseconds.
    now: u64,
    /// Why the home may not be disturbed.
    busy: Option<Reason>,
    /// How what is on trial is.
    health: Health,
    /// What it was asked, in order.
    asked: Vec<&'static str>,
}

fn therapy() -> Reason {
    Reason::Session {
        sensor: "pump-1".parse::<SensorId>().expect("an id"),
        since: Uptime(0),
    }
}

fn begin(saved: Option<Saved>, images: &Images, now: Moment) -> (Course, VecDeque<Effect>) {
    let running = Running {
        place: Slot::Package,
        version: version("0.1.0"),
    };
    let standing = images.standing(saved.as_ref().and_then(|saved| saved.job.as_ref()));
    let (course, row) = Course::resume(saved, standing, running, LIMITS, now);
    (course, row.into())
}

impl Agent {
    /// One that has just heard the director's word for this bundle.
    fn told(home: Home, name: &str) -> Agent {
        let (job, from) = home.good(name, "1.2.0");
        let images = home.images();
        let now = Moment {
            uptime: Uptime(0),
            at: Timestamp::synced(0),
        };
        let (course, row) = begin(None, &images, now);
        let mut agent = Agent {
            home,
            images,
            course,
            row,
            saved: None,
            from,
            now: 0,
            busy: None,
            health: Health::default(),
            asked: Vec::new(),
        };
        agent.hear(Input::Assigned(b"the director's word".to_vec()));
        let plan = Plan {
            found: Found {
                path: job.path.parse().expect("a path"),
                target: Target {
                    length: job.length,
                    hashes: Hashes::sha256(job.sha256.0),
                    custom: None,
                    notes: None,
                },
                by: Role::Targets,
                file: job.file.clone(),
            },
            custom: job.custom.clone(),
            not_before: job.not_before,
            deadline: job.deadline,
            wave: 0,
            counter: job.counter,
            delta: None,
        };
        agent.step();
        agent.hear(Input::Decided(7, Box::new(Ok(Decision::Install(Box::new(plan))))));
        agent
    }

    fn moment(&self) -> Moment {
        Moment {
            uptime: Uptime(self.now),
            at: Timestamp::synced(i64::try_from(self.now).expect("small")),
        }
    }

    fn hear(&mut self, input: Input) {
        let effects = self.course.handle(input, self.moment());
        self.row.extend(effects);
        while let Some(effect) = self.row.pop_front() {
            if let Some(answer) = self.perform(effect) {
                let effects = self.course.handle(answer, self.moment());
                self.row.extend(effects);
            }
        }
    }

    /// Ten seconds pass.
    fn step(&mut self) {
        self.now += STEP;
        self.hear(Input::Tick);
    }

    fn asks(&self) -> Input {
        match &self.busy {
            Some(why) => Input::busy(std::slice::from_ref(why), Uptime(self.now)),
            None => Input::Quiet(Before::default()),
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Save(saved) => {
                self.saved = Some(*saved);
                None
            }
            Effect::Stage(job) => {
                self.asked.push("stage");
                self.images.stage(&job, &self.from).expect("it is staged");
                Some(Input::Staged)
            }
            Effect::Ask(_) | Effect::AskLeave(..) => Some(self.asks()),
            Effect::Activate(job) => {
                self.asked.push("activate");
                self.images
                    .activate(&job, self.home.window())
                    .expect("it is put in place");
                Some(Input::Activated)
            }
            Effect::Reboot(kind) => {
                assert_eq!(kind, Kind::Rauc);
                self.asked.push("reboot");
                self.images.reboot(self.home.window()).expect("logind is asked");
                None
            }
            Effect::Confirm(_) => {
                self.asked.push("confirm");
                self.images.confirm().expect("it is kept");
                None
            }
            Effect::TakeBack(_) => {
                self.asked.push("take back");
                self.images.roll_back().expect("it is taken back");
                None
            }
            Effect::Examine(_) => Some(Input::Health(self.health.clone())),
            Effect::Decide(_) => None,
            Effect::Restart => panic!("an image is not followed by a restart of the agent alone"),
        }
    }

    /// The box reboots, and the agent starts.
    fn boot(&mut self) {
        self.home.reboot();
        self.images = self.home.images();
        let saved = self.saved.clone();
        (self.course, self.row) = begin(saved, &self.images, self.moment());
        self.step();
    }

    fn progress(&self) -> Option<Progress> {
        self.course.state(self.moment()).now.map(|(_, progress)| progress)
    }

    fn waits_for(&self) -> String {
        match self.progress() {
            Some(Progress::Waiting(why)) => why.first().map_or(String::new(), |why| why.as_str().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    fn ended(&self) -> Option<Outcome> {
        let ended = self.course.saved().ended.clone();
        ended.map(|ended| ended.outcome)
    }
}

/// Brought to the first boot of the image, with therapies in the way of the writing and of the reboot.
fn tried(home: Home) -> Agent {
    let mut agent = Agent::told(home, "new");
    agent.busy = Some(therapy());
    agent.step();
    agent.step();
    assert_eq!(agent.asked, ["stage"]);
    assert!(
        agent.waits_for().contains("pump-1 is being used"),
        "{}",
        agent.waits_for()
    );
    assert!(!agent.home.rauc.holds("b", NEW));

    agent.busy = None;
    agent.now += STEP;
    let effects = agent.course.handle(Input::Tick, agent.moment());
    agent.row.extend(effects);
    // A therapy begins while the image is written: the reboot is another act, and waits.
    let ask = agent
        .row
        .pop_front()
        .and_then(|effect| agent.perform(effect))
        .expect("it may");
    agent.busy = Some(therapy());
    agent.hear(ask);
    agent.step();
    agent.step();
    assert_eq!(agent.asked, ["stage", "activate"]);
    assert!(agent.home.rauc.holds("b", NEW) && agent.home.rauc.holds("a", OLD));
    assert!(
        agent.waits_for().contains("pump-1 is being used"),
        "{}",
        agent.waits_for()
    );
    assert_eq!(agent.home.rauc.reboots(), 0);

    agent.busy = None;
    agent.step();
    assert_eq!(agent.asked, ["stage", "activate", "reboot"]);
    assert_eq!(agent.home.rauc.reboots(), 1);
    agent.boot();
    assert!(
        matches!(agent.progress(), Some(Progress::OnTrial { .. })),
        "{:?}",
        agent.progress()
    );
    agent.asked.clear();
    agent
}

#[test]
fn an_image_waits_for_therapies_twice_is_tried_after_the_reboot_and_confirmed() {
    let Some(home) = Home::new("") else { return };
    let mut agent = tried(home);
    while agent.ended().is_none() {
        assert_eq!(agent.home.rauc.primary(), "B");
        assert!(agent.now < 3_600_000, "a trial ends");
        agent.step();
    }
    assert_eq!(agent.ended(), Some(Outcome::Confirmed));
    assert_eq!(agent.asked, ["confirm"]);
    agent.boot();
    assert_eq!(
        (agent.progress(), agent.ended()),
        (None, Some(Outcome::Confirmed))
    );
    assert_eq!(agent.home.rauc.primary(), "B");
}

#[test]
fn an_image_that_does_harm_goes_back_when_the_home_lets_it_and_says_why() {
    let Some(home) = Home::new("") else { return };
    let mut agent = tried(home);
    let harm = ShortText::cut("cuff-1 is asked for values four times as often as before");
    agent.health.harm = Some(harm.clone());
    agent.busy = Some(therapy());
    agent.step();
    agent.step();
    assert_eq!(agent.asked, ["take back"]);
    assert_eq!(agent.ended(), Some(Outcome::Bad(harm.clone())));
    assert_eq!(
        (agent.home.rauc.primary().as_str(), agent.home.rauc.reboots()),
        ("A", 1)
    );
    agent.busy = None;
    agent.step();
    assert_eq!(
        (agent.asked.last(), agent.home.rauc.reboots()),
        (Some(&"reboot"), 2)
    );
    agent.boot();
    assert_eq!(
        (agent.progress(), agent.ended()),
        (None, Some(Outcome::Bad(harm)))
    );
    assert_eq!(
        agent.images.probe(),
        Can::Yes(Version::ZERO),
        "what was built in runs again"
    );
}

#[test]
fn a_power_cut_between_the_end_of_a_trial_and_the_reboot_loses_nothing() {
    let Some(home) = Home::new("") else { return };
    let mut agent = tried(home);
    agent.health.harm = Some(ShortText::cut("it takes all of the memory"));
    agent.now += STEP;
    let tick = agent.course.handle(Input::Tick, agent.moment());
    assert!(matches!(tick.as_slice(), [Effect::Examine(_)]), "{tick:?}");
    let health = agent.health.clone();
    let ends = agent.course.handle(Input::Health(health), agent.moment());
    // The end is kept; then the power goes before RAUC hears of it.
    for effect in ends
        .into_iter()
        .take_while(|effect| matches!(effect, Effect::Save(_)))
    {
        assert_eq!(agent.perform(effect), None);
    }
    assert_eq!(agent.home.rauc.primary(), "B");
    agent.boot();
    assert_eq!(
        agent.asked,
        ["take back", "reboot"],
        "what nobody wants any more is left"
    );
    agent.boot();
    assert_eq!(
        (agent.home.rauc.primary().as_str(), agent.progress()),
        ("A", None)
    );
}
