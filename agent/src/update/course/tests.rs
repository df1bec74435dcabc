mod homes;
mod replayed;
mod returning;
mod unread;
mod watched;

use homeward_protocol::release::Custom;
use homeward_protocol::release::Disruption;
use homeward_protocol::tuf::client::Found;
use homeward_protocol::tuf::hash::Hashes;
use homeward_protocol::tuf::metadata::targets::Target;
use homeward_protocol::tuf::role::Role;
use proptest::prelude::*;

use super::super::decide::Plan;
use super::*;
use crate::slot::{Cause, Launch, Slots, TRIES, launch};

const TRIAL: Duration = Duration::from_mins(10);
const LIMITS: Limits = Limits {
    trial: TRIAL,
    spread: 0,
};

fn version(n: u64) -> Version {
    format!("1.{n}.0").parse().expect("a version")
}

fn plan(counter: u64) -> Box<Plan> {
    let byte = u8::try_from(counter).expect("small");
    Box::new(Plan {
        found: Found {
            path: "agent/x86_64/homeward-agent".parse().expect("a path"),
            target: Target {
                length: 1_000,
                hashes: Hashes::sha256([byte; 32]),
                custom: None,
                notes: None,
            },
            by: Role::Targets,
            file: "agent/x86_64/homeward-agent".to_owned(),
        },
        custom: Custom {
            installer: Installer::AgentSlot,
            hw: vec!["x86_64".to_owned()],
            version: version(counter),
            min_version: None,
            disruption: Disruption::AgentRestart,
            security_floor: Version::ZERO,
        },
        not_before: Timestamp::synced(0),
        deadline: Timestamp::synced(i64::MAX),
        wave: 0,
        counter,
        delta: None,
    })
}

/// A box: its disk, its clock, and the agent that runs on it.
struct Home {
    saved: Option<Saved>,
    slots: Slots,
    now: u64,
    course: Course,
    /// What the last start gave.
    running: Running,
    /// Effects that wait to be done.
    row: Vec<Effect>,
}

fn bare() -> Slots {
    Slots::default()
}

impl Home {
    fn new() -> Home {
        let running = Running {
            place: Place::Package,
            version: version(0),
        };
        let moment = Moment {
            uptime: Uptime(0),
            at: Timestamp::synced(0),
        };
        let (course, row) = Course::resume(None, Standing::Nothing, running, LIMITS, moment);
        Home {
            saved: None,
            slots: bare(),
            now: 0,
            course,
            running,
            row,
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            uptime: Uptime(self.now),
            at: Timestamp::synced(i64::try_from(self.now).expect("small")),
        }
    }

    fn wanted(&self) -> Option<u64> {
        let job = self.saved.as_ref().and_then(|saved| saved.job.as_ref());
        job.map(|job| job.counter)
    }

    fn hear(&mut self, input: Input) {
        let effects = self.course.handle(input, self.moment());
        self.row.extend(effects);
    }

    /// The launcher starts what is to run.
    fn start(&mut self) {
        let Launch { place, save } = launch(&self.slots, |_, _| true);
        if let Some(save) = save {
            self.slots = save;
        }
        self.running = Running {
            place,
            version: self.slots.version(place, version(0)),
        };
        let (course, row) = Course::resume(
            self.saved.clone(),
            self.slots.standing(place, self.wanted()),
            self.running,
            LIMITS,
            self.moment(),
        );
        (self.course, self.row) = (course, row);
    }

    /// Does the first `most` effects; the questions are given back. A restart starts.
    fn act(&mut self, most: usize) -> Vec<Effect> {
        let mut asked = Vec::new();
        for _ in 0..most {
            if self.row.is_empty() {
                break;
            }
            match self.row.remove(0) {
                Effect::Save(saved) => self.saved = Some(*saved),
                Effect::Activate(job) => {
                    self.slots = self.slots.clone().commit(job.build());
                    self.hear(Input::Activated);
                }
                Effect::Confirm(_) => self.slots = self.slots.clone().confirm(),
                Effect::TakeBack(_) => self.slots = self.slots.clone().take_back(Cause::TakenBack),
                Effect::Restart => self.start(),
                question => asked.push(question),
            }
        }
        asked
    }

    fn tick(&mut self) -> Vec<Effect> {
        self.now += 10_000;
        self.hear(Input::Tick);
        self.act(usize::MAX)
    }

    fn ended(&self) -> Option<(Option<u64>, Outcome)> {
        let saved = self.course.saved();
        saved.ended.clone().map(|ended| (ended.counter, ended.outcome))
    }

    /// Up to the moment at which the home may be disturbed.
    fn staged(counter: u64) -> Home {
        let mut home = Home::new();
        home.assign(counter);
        home
    }

    fn assign(&mut self, counter: u64) {
        self.hear(Input::Assigned(vec![u8::try_from(counter).expect("small")]));
        self.act(usize::MAX);
        assert!(matches!(self.tick().as_slice(), [Effect::Decide(_)]));
        self.hear(Input::Decided(
            counter,
            Box::new(Ok(Decision::Install(plan(counter)))),
        ));
        self.act(usize::MAX);
        assert!(matches!(self.tick().as_slice(), [Effect::Stage(_)]));
        self.hear(Input::Staged);
        self.act(usize::MAX);
        assert!(matches!(self.tick().as_slice(), [Effect::Ask(_)]));
    }

    /// On trial.
    fn tried(counter: u64) -> Home {
        let mut home = Home::staged(counter);
        home.hear(Input::Quiet(Before::default()));
        home.act(usize::MAX);
        assert_eq!(home.running.version, version(counter));
        home
    }

    fn examined(&mut self, health: &Health) {
        let asked = self.tick();
        if matches!(asked.as_slice(), [Effect::Examine(_)]) {
            self.hear(Input::Health(health.clone()));
            self.act(usize::MAX);
        }
    }
}

fn lacks(text: &str) -> Health {
    Health {
        missing: vec![ShortText::cut(text)],
        ..Health::default()
    }
}

#[test]
fn an_update_is_confirmed_after_it_was_well_for_the_whole_trial_at_a_stretch() {
    let mut home = Home::tried(1);
    for _ in 0..50 {
        home.examined(&Health::default());
    }
    // Once not well: from the beginning.
    home.examined(&lacks("the server was not reached since"));
    for _ in 0..60 {
        home.examined(&Health::default());
        assert_eq!(home.ended(), None);
    }
    home.examined(&Health::default());
    assert_eq!(home.ended(), Some((Some(1), Outcome::Confirmed)));
    assert_eq!(home.slots.active, Place::Slot(crate::slot::Slot::A));
    assert_eq!(home.course.deadline(), None);
    home.start();
    assert_eq!(home.running.version, version(1));
    assert_eq!(home.ended(), Some((Some(1), Outcome::Confirmed)));
}

#[test]
fn a_home_in_therapy_is_waited_for_and_the_reason_is_said() {
    let mut home = Home::staged(1);
    for _ in 0..100 {
        home.hear(Input::Busy(
            vec![ShortText::cut("pump is being used")],
            Obstacle::Known,
        ));
        home.act(usize::MAX);
        let state = home.course.state(home.moment());
        let (mark, progress) = state.now.expect("under way");
        assert_eq!((mark.counter, mark.version), (1, version(1)));
        assert_eq!(
            progress,
            Progress::Waiting(vec![ShortText::cut("pump is being used")])
        );
        assert!(matches!(home.tick().as_slice(), [Effect::Ask(_)]));
    }
    assert_eq!((home.running.version, home.slots.trial), (version(0), None));
    // A power cut while it waits: it is looked whether it still lies there, and it waits again.
    home.start();
    assert!(matches!(home.tick().as_slice(), [Effect::Stage(_)]));
    home.hear(Input::Staged);
    home.act(usize::MAX);
    assert!(matches!(home.tick().as_slice(), [Effect::Ask(_)]));
}

#[test]
fn one_that_is_not_well_goes_back_and_says_what_was_missing() {
    let proven = |proven| Health {
        proven,
        ..lacks("it takes 90 MiB of memory")
    };
    let why = ShortText::cut("it takes 90 MiB of memory");
    for (health, outcome) in [
        (proven(false), Outcome::NotProven(why.clone())),
        (proven(true), Outcome::Bad(why)),
    ] {
        let mut home = Home::tried(1);
        for _ in 0..181 {
            home.examined(&health);
        }
        assert_eq!(home.ended(), Some((Some(1), outcome.clone())));
        assert!(matches!(
            home.tick().as_slice(),
            [Effect::AskLeave(Installer::AgentSlot, Work::Back)]
        ));
        home.hear(Input::Quiet(Before::default()));
        home.act(usize::MAX);
        assert_eq!((home.running.version, home.slots.trial), (version(0), None));
        assert_eq!(home.ended(), Some((Some(1), outcome)));
    }
}

#[test]
fn one_that_does_harm_goes_back_at_once_but_never_while_a_session_is_known() {
    let mut home = Home::tried(1);
    home.examined(&Health {
        harm: Some(ShortText::cut("the server does not accept its evidence")),
        ..Health::default()
    });
    let bad = Some((
        Some(1),
        Outcome::Bad(ShortText::cut("the server does not accept its evidence")),
    ));
    assert_eq!(home.ended(), bad);
    for _ in 0..200 {
        assert!(matches!(
            home.tick().as_slice(),
            [Effect::AskLeave(Installer::AgentSlot, Work::Back)]
        ));
        home.hear(Input::Busy(Vec::new(), Obstacle::Known));
        home.act(usize::MAX);
        assert_eq!(home.running.version, version(1));
    }
    assert!(matches!(
        home.tick().as_slice(),
        [Effect::AskLeave(Installer::AgentSlot, Work::Back)]
    ));
    // A build that hears nothing can never know that all is quiet.
    home.hear(Input::Busy(Vec::new(), Obstacle::Doubt));
    home.act(usize::MAX);
    assert_eq!(home.running.version, version(0));
    assert_eq!(home.ended(), bad);
}

#[test]
fn one_that_crashes_is_left_after_three_starts_and_nothing_is_proved() {
    let mut home = Home::tried(1);
    for _ in 1..TRIES {
        home.start();
        assert_eq!(home.running.version, version(1));
    }
    home.start();
    assert_eq!(home.running.version, version(0));
    assert!(matches!(home.ended(), Some((Some(1), Outcome::NotProven(_)))));
    // The same word again, because the server has not heard yet: nothing.
    home.hear(Input::Assigned(vec![1]));
    assert!(home.act(usize::MAX).is_empty() && home.course.deadline().is_none());
    // Another word for the same build: once more.
    home.hear(Input::Assigned(vec![2]));
    home.act(usize::MAX);
    home.tick();
    home.hear(Input::Decided(2, Box::new(Ok(Decision::Install(plan(2))))));
    home.act(usize::MAX);
    assert!(matches!(home.tick().as_slice(), [Effect::Stage(_)]));
}

#[test]
fn what_is_refused_is_said_with_its_reason_and_a_repository_that_is_away_is_waited_for() {
    let mut home = Home::new();
    home.hear(Input::Assigned(vec![1]));
    home.act(usize::MAX);
    assert!(matches!(home.tick().as_slice(), [Effect::Decide(_)]));
    let lacks = |home: &Home| home.course.state(home.moment()).undecided;
    assert_eq!(lacks(&home), None, "nobody has looked");
    let since = home.moment().at;
    home.hear(Input::Undecided(ShortText::cut("no release keys")));
    assert!(home.tick().is_empty(), "not at once");
    home.now += 120_000;
    assert!(matches!(home.tick().as_slice(), [Effect::Decide(_)]));
    // Another reason, and still since then.
    let why = ShortText::cut("the repository is not believed");
    home.hear(Input::Undecided(why.clone()));
    assert_eq!(lacks(&home), Some(Box::new(Undecided { why, since })));
    home.now += 240_000;
    assert!(matches!(home.tick().as_slice(), [Effect::Decide(_)]));
    let refusal = Refusal::NoInstaller(Installer::Rauc);
    home.hear(Input::Decided(1, Box::new(Err(refusal.clone()))));
    assert_eq!(lacks(&home), None, "it is known now");
    home.act(usize::MAX);
    let why = ShortText::cut(&refusal.to_string());
    assert_eq!(home.ended(), Some((Some(1), Outcome::Refused(why))));
    home.hear(Input::Assigned(vec![2]));
    home.act(usize::MAX);
    home.tick();
    home.hear(Input::NotTheirs("it is not the director's".to_owned()));
    home.act(usize::MAX);
    assert!(matches!(home.ended(), Some((None, Outcome::Refused(_)))));
    assert_eq!(home.course.deadline(), None);
    // It comes again, as long as the server wishes it: a later release may name that director. It is said once.
    let said = home.course.saved().ended.clone();
    home.hear(Input::Assigned(vec![2]));
    home.act(usize::MAX);
    assert!(matches!(home.tick().as_slice(), [Effect::Decide(_)]));
    home.hear(Input::NotTheirs("it is not the director's".to_owned()));
    home.act(usize::MAX);
    assert_eq!(home.course.saved().ended, said);
}

#[test]
fn a_file_that_does_not_come_is_tried_again_and_how_much_is_there_is_said() {
    let mut home = Home::new();
    home.hear(Input::Assigned(vec![1]));
    home.act(usize::MAX);
    home.tick();
    home.hear(Input::Decided(1, Box::new(Ok(Decision::Install(plan(1))))));
    home.act(usize::MAX);
    assert!(matches!(home.tick().as_slice(), [Effect::Stage(_)]));
    home.hear(Input::NotStaged(
        400,
        "the repository does not have it".to_owned(),
    ));
    let state = home.course.state(home.moment());
    let progress = state.now.map(|(_, progress)| progress);
    let why = Some(ShortText::cut("the repository does not have it"));
    assert_eq!(
        progress,
        Some(Progress::Fetching {
            have: 400,
            of: 1_000,
            why
        })
    );
    assert!(home.tick().is_empty(), "not at once");
    home.now += 120_000;
    assert!(matches!(home.tick().as_slice(), [Effect::Stage(_)]));
}

#[test]
fn what_a_link_that_costs_holds_back_is_said_with_what_has_come_and_looked_at_again_each_minute() {
    let mut home = Home::new();
    home.hear(Input::Assigned(vec![1]));
    home.act(usize::MAX);
    home.tick();
    home.hear(Input::Decided(1, Box::new(Ok(Decision::Install(plan(1))))));
    home.act(usize::MAX);
    let progress = |home: &Home| home.course.state(home.moment()).now.map(|(_, progress)| progress);
    for came in [300, 400] {
        assert!(matches!(home.tick().as_slice(), [Effect::Stage(_)]));
        home.hear(Input::Came(came));
        let why = ShortText::cut("the link costs by the byte");
        home.hear(Input::Held(came, why.clone()));
        let (have, of) = (came, 1_000);
        assert_eq!(progress(&home), Some(Progress::Paused { have, of, why }));
        assert!(home.tick().is_empty(), "not at once");
        home.now += 60_000;
    }
    // What came while it is fetched is shown, and is no answer.
    assert!(matches!(home.tick().as_slice(), [Effect::Stage(_)]));
    home.hear(Input::Came(700));
    assert!(home.tick().is_empty());
    home.hear(Input::NotStaged(700, "the server was not reached".to_owned()));
    let why = Some(ShortText::cut("the server was not reached"));
    let (have, of) = (700, 1_000);
    assert_eq!(progress(&home), Some(Progress::Fetching { have, of, why }));
}

#[test]
fn homes_that_found_no_room_at_the_same_time_come_again_at_different_times_within_four_hours() {
    let again = |spread: u8| {
        let mut home = Home::new();
        home.course.limits.spread = spread;
        home.hear(Input::Assigned(vec![1]));
        home.act(usize::MAX);
        home.tick();
        let mut waits = Vec::new();
        for _ in 0..10 {
            home.hear(Input::Undecided(ShortText::cut("no room")));
            let Step::Deciding { at, .. } = home.course.step else {
                panic!("it looks again");
            };
            waits.push(at.since(Uptime(home.now)).as_secs());
            home.now = at.0;
            home.tick();
        }
        waits
    };
    let (first, other) = (again(0), again(128));
    assert_eq!((first[0], other[0]), (120, 180));
    assert!(
        first.iter().zip(&other).all(|(a, b)| b - a == a / 2),
        "{first:?} {other:?}"
    );
    assert_eq!(first[9], 2 * 3_600);
    assert!(again(255).iter().all(|wait| *wait < 4 * 3_600));
}

#[test]
fn a_word_that_comes_during_a_trial_waits_for_its_end() {
    let mut home = Home::tried(1);
    home.hear(Input::Assigned(vec![2]));
    home.act(usize::MAX);
    for _ in 0..61 {
        home.examined(&Health::default());
    }
    assert_eq!(home.ended(), Some((Some(1), Outcome::Confirmed)));
    assert!(matches!(home.tick().as_slice(), [Effect::Decide(word)] if *word == [2]));
}

/// A course with a job of another installer that waits for a quiet moment.
fn other(installer: Installer) -> Home {
    let mut home = Home::new();
    home.hear(Input::Assigned(vec![1]));
    home.act(usize::MAX);
    home.tick();
    let mut plan = plan(1);
    plan.custom.installer = installer;
    home.hear(Input::Decided(1, Box::new(Ok(Decision::Install(plan)))));
    home.act(usize::MAX);
    assert!(matches!(home.tick().as_slice(), [Effect::Stage(_)]));
    home.hear(Input::Staged);
    home.act(usize::MAX);
    assert!(matches!(home.tick().as_slice(), [Effect::Ask(_)]));
    home
}

impl Home {
    /// The effects up to the activation, which another installer than the slots does.
    fn begins(&mut self) {
        self.hear(Input::Quiet(Before::default()));
        let row = std::mem::take(&mut self.row);
        assert!(
            matches!(row.as_slice(), [Effect::Save(_), Effect::Activate(_)]),
            "{row:?}"
        );
        self.saved = Some(self.course.saved().clone());
    }

    fn found(&mut self, standing: Standing) {
        let moment = self.moment();
        (self.course, self.row) = Course::resume(self.saved.clone(), standing, self.running, LIMITS, moment);
    }
}

#[test]
fn packages_are_tried_without_a_restart_and_when_they_are_not_well_they_stay_and_that_is_said() {
    for (health, outcome) in [
        (Health::default(), Outcome::Confirmed),
        (
            lacks("cuff was heard before"),
            Outcome::Stays(ShortText::cut("cuff was heard before")),
        ),
    ] {
        let mut home = other(Installer::Apt);
        home.begins();
        home.hear(Input::Activated);
        assert!(home.row.is_empty(), "{:?}", home.row);
        for _ in 0..182 {
            let asked = home.tick();
            if matches!(asked.as_slice(), [Effect::Examine(_)]) {
                home.hear(Input::Health(health.clone()));
            }
            assert!(
                !home
                    .row
                    .iter()
                    .any(|effect| matches!(effect, Effect::TakeBack(_) | Effect::Restart))
            );
        }
        assert_eq!(home.ended(), Some((Some(1), outcome)));
        assert_eq!(home.course.deadline(), None);
    }
}

#[test]
fn a_word_for_what_runs_ends_what_was_to_come_also_where_its_bytes_are_others() {
    for decision in [
        Ok(Decision::Runs(Installer::AgentSlot)),
        Err(Refusal::OtherBytes(version(0))),
    ] {
        let mut home = Home::staged(1);
        home.hear(Input::Assigned(vec![2]));
        home.act(usize::MAX);
        assert!(matches!(home.tick().as_slice(), [Effect::Decide(_)]));
        home.hear(Input::Decided(2, Box::new(decision)));
        home.act(usize::MAX);
        assert_eq!(home.course.saved().job, None);
        assert_eq!(home.course.deadline(), None, "nothing is installed any more");
    }
}

#[test]
fn a_word_that_is_never_to_begin_holds_what_was_staged_also_over_a_restart_until_a_newer_one() {
    let mut home = other(Installer::Apt);
    let assign = |home: &mut Home, counter: u8, not_before: i64| {
        home.hear(Input::Assigned(vec![counter]));
        home.act(usize::MAX);
        assert!(matches!(home.tick().as_slice(), [Effect::Decide(_)]));
        let mut same = plan(1);
        same.custom.installer = Installer::Apt;
        (same.counter, same.not_before) = (counter.into(), Timestamp::synced(not_before));
        home.hear(Input::Decided(
            counter.into(),
            Box::new(Ok(Decision::Install(same))),
        ));
        home.act(usize::MAX);
    };
    let staged = |home: &mut Home| {
        assert!(matches!(home.tick().as_slice(), [Effect::Stage(_)]));
        home.hear(Input::Staged);
        home.act(usize::MAX);
    };
    let hundred_years = 100 * 365 * 86_400_000;
    assign(&mut home, 2, hundred_years);
    staged(&mut home);
    for restarts in 0..2 {
        for _ in 0..100 {
            assert_eq!(home.tick(), [], "it is not even asked for a quiet moment");
        }
        let (mark, progress) = home.course.state(home.moment()).now.expect("it is named");
        assert_eq!(mark.counter, 2);
        assert!(matches!(progress, Progress::Waiting(_)), "{progress:?}");
        if restarts == 0 {
            home.found(Standing::Nothing);
            staged(&mut home);
        }
    }
    assign(&mut home, 3, 0);
    staged(&mut home);
    assert!(matches!(home.tick().as_slice(), [Effect::Ask(_)]));
}

#[test]
fn packages_that_were_begun_and_not_finished_are_gone_on_with_and_that_is_said_all_the_while() {
    let mut home = other(Installer::Apt);
    home.begins();
    let why = ShortText::cut("the power was cut while packages were put in place");
    assert_eq!(home.course.work(), Work::Forward);
    home.found(Standing::Unfinished(why.clone()));
    assert!(matches!(home.tick().as_slice(), [Effect::Ask(_)]));
    assert_eq!(
        home.course.work(),
        Work::Back,
        "it waits for no window and for no server"
    );
    // A newer word, as the one to keep what runs, waits until the set is whole; also when a try to end it fails.
    home.hear(Input::Assigned(vec![2]));
    home.act(usize::MAX);
    home.begins();
    home.hear(Input::NotActed("another program holds the packages".to_owned()));
    home.act(usize::MAX);
    assert_eq!(home.course.work(), Work::Back);
    let asks = (0..100).any(|_| matches!(home.tick().as_slice(), [Effect::Ask(_)]));
    assert!(asks, "it is gone on with");
    home.hear(Input::Busy(
        vec![ShortText::cut("pump is being used")],
        Obstacle::Known,
    ));
    let state = home.course.state(home.moment());
    let said = vec![why, ShortText::cut("pump is being used")];
    assert_eq!(
        state.now.map(|(_, progress)| progress),
        Some(Progress::Waiting(said))
    );
    home.begins();
    home.hear(Input::Stuck("hw-base is half configured".to_owned()));
    home.act(usize::MAX);
    let stays = Outcome::Stays(ShortText::cut("hw-base is half configured"));
    assert_eq!(home.ended(), Some((Some(1), stays)));
    assert!(
        matches!(home.tick().as_slice(), [Effect::Decide(_)]),
        "then it is its turn"
    );
    // What an installer refuses before anything was changed is refused.
    let mut home = other(Installer::Apt);
    home.begins();
    home.hear(Input::NotTaken("it would remove hw-base".to_owned()));
    home.act(usize::MAX);
    let refused = Outcome::Refused(ShortText::cut("it would remove hw-base"));
    assert_eq!(home.ended(), Some((Some(1), refused)));
}

#[test]
fn an_image_reboots_the_box_by_a_permission_of_its_own_and_never_without_one() {
    let mut home = other(Installer::Rauc);
    home.begins();
    home.hear(Input::Activated);
    home.act(usize::MAX);
    // Only the way to something new waits for a window of the policy.
    let asks = |home: &mut Home, work: Work| {
        assert_eq!(home.tick(), [Effect::AskLeave(Installer::Rauc, work)]);
    };
    for _ in 0..200 {
        asks(&mut home, Work::Forward);
        home.hear(Input::Busy(
            vec![ShortText::cut("pump is being used")],
            Obstacle::Doubt,
        ));
        assert!(home.row.is_empty(), "{:?}", home.row);
    }
    // The agent began anew while it waited.
    home.found(Standing::Leaving);
    asks(&mut home, Work::Forward);
    home.hear(Input::Quiet(Before::default()));
    assert_eq!(std::mem::take(&mut home.row), [Effect::Reboot(Installer::Rauc)]);
    // It does not reboot: it is asked again.
    asks(&mut home, Work::Forward);
    home.found(Standing::OnTrial);
    home.examined(&Health {
        harm: Some(ShortText::cut("the server does not accept its evidence")),
        ..Health::default()
    });
    assert!(matches!(home.ended(), Some((Some(1), Outcome::Bad(_)))));
    for _ in 0..200 {
        asks(&mut home, Work::Back);
        home.hear(Input::Busy(Vec::new(), Obstacle::Doubt));
        assert!(home.row.is_empty(), "{:?}", home.row);
    }
    asks(&mut home, Work::Back);
    home.hear(Input::Quiet(Before::default()));
    assert_eq!(home.row, [Effect::Reboot(Installer::Rauc)]);
}

#[test]
fn an_image_that_is_withdrawn_before_its_reboot_is_not_started() {
    for cut in [false, true] {
        let mut home = other(Installer::Rauc);
        home.begins();
        home.hear(Input::Activated);
        home.act(usize::MAX);
        home.hear(Input::Assigned(vec![9]));
        if cut {
            // The word was kept, and the agent began anew before it was followed.
            home.act(1);
            home.found(Standing::Leaving);
        }
        let back = |effect: &Effect| matches!(effect, Effect::TakeBack(Installer::Rauc));
        assert!(home.row.iter().any(back), "{:?}", home.row);
        assert!(!home.row.iter().any(|effect| matches!(effect, Effect::Reboot(_))));
        home.row.clear();
        assert!(matches!(home.tick().as_slice(), [Effect::Decide(_)]));
    }
}

#[derive(Debug, Clone)]
enum Happens {
    /// Time goes on, and a question is answered like this.
    Tick(Answer),
    /// The power is cut after so many further effects.
    Cut(usize),
    /// The director's next word.
    Word,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Good,
    Bad,
    None,
}

fn happens() -> impl Strategy<Value = Happens> {
    let answer = prop_oneof![4 => Just(Answer::Good), 1 => Just(Answer::Bad), 1 => Just(Answer::None)];
    prop_oneof![
        20 => answer.prop_map(Happens::Tick),
        2 => (0_usize..4).prop_map(Happens::Cut),
        1 => Just(Happens::Word),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whenever the power is cut: what runs is confirmed or on trial, what is said to be confirmed runs, and what is said
    /// to have been taken back never runs for longer than it waits for a quiet moment.
    #[test]
    fn a_power_cut_at_any_effect_leaves_the_old_or_the_new_and_the_truth(
        row in proptest::collection::vec(happens(), 1..400),
    ) {
        let mut home = Home::new();
        let mut next = 1;
        for one in row {
            match one {
                Happens::Word if next < 200 => {
                    home.hear(Input::Assigned(vec![next]));
                    next += 1;
                    home.act(usize::MAX);
                }
                Happens::Word => {}
                Happens::Cut(after) => {
                    home.now += 10_000;
                    home.hear(Input::Tick);
                    home.act(after);
                    home.start();
                    home.act(usize::MAX);
                }
                Happens::Tick(answer) => {
                    for question in home.tick() {
                        let good = matches!(answer, Answer::Good);
                        let input = match (question, answer) {
                            (_, Answer::None) => continue,
                            (Effect::Decide(word), _) => {
                                let counter = u64::from(word[0]);
                                let plan = Decision::Install(plan(counter));
                                Input::Decided(counter, Box::new(Ok(plan)))
                            }
                            (Effect::Stage(_), _) if good => Input::Staged,
                            (Effect::Stage(_), _) => Input::NotStaged(7, String::new()),
                            (Effect::Ask(_) | Effect::AskLeave(..), _) if good => Input::Quiet(Before::default()),
                            (Effect::Ask(_) | Effect::AskLeave(..), _) => Input::Busy(Vec::new(), Obstacle::Known),
                            (Effect::Examine(_), _) if good => Input::Health(Health::default()),
                            (Effect::Examine(_), _) => Input::Health(lacks("something")),
                            _ => continue,
                        };
                        home.hear(input);
                        home.act(usize::MAX);
                    }
                }
            }
            let tried = home.slots.trial.map(|trial| Place::Slot(trial.slot));
            let runs = home.running.place;
            let returning = home.slots.ended.is_some_and(|ended| ended.cause == Cause::TakenBack);
            prop_assert!(runs == home.slots.active || Some(runs) == tried || returning);
            if let Some((Some(counter), Outcome::Confirmed)) = home.ended() {
                let held = home.slots.builds.values().any(|build| build.counter == counter);
                prop_assert!(held, "{counter} is said to be confirmed");
                let trial = home.slots.trial.and_then(|trial| home.slots.builds.get(&trial.slot));
                prop_assert!(trial.is_none_or(|build| build.counter != counter));
            }
        }
    }
}
