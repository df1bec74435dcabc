//! How an update goes, from the director's word to its confirmation, over restarts and power cuts.
//!
//! ```text
//! assigned ─▶ decided ─▶ fetched and staged ─▶ the home may be disturbed ─▶ commit, restart ─▶ on trial ─▶ confirmed
//!                 refused                            waits, and says why                           back, and says why
//! ```
//! # Design
//! - What is kept is what is wanted ([`Saved`]); how far it has come is read from the slots at each start, so a power cut
//!   at any place leaves nothing to repair: [`Course::resume`] sees where it is. A box that cannot read what is kept takes
//!   nothing ([`Course::unread`]).
//! - An act is asked for at each look, and done in one step with its permission. Nothing keeps a permission.
//! - On trial the build has to be well for a whole [`Limits::trial`] at a stretch. What is not shown in three times that
//!   is taken back; harm at once.
//! - What an installer does is its own; what follows is said by [`after`] and [`back`]: the agent begins anew, the box
//!   does by a permission of its own, or nothing does; and what goes forward only is never said to have been taken back.
//! - Going back restarts the agent too, and waits for the home in the same way. A build that hears no sensor can never
//!   know that all is quiet: it goes back after [`RETURN_WAIT`] where nothing but doubt stands against it. A session, a
//!   hold, an alarm or an empty socket is waited for.

use std::time::Duration;

use homeward_protocol::posture::ShortText;
use homeward_protocol::release::assignment::MAX_ASSIGNMENT;
use homeward_protocol::release::force::{Accepted, Refusal as ForceRefusal};
use homeward_protocol::release::state::{Ended, MAX_WHY, Outcome, Progress, Undecided, UpdateState};
use homeward_protocol::release::{Installer, Version};
use homeward_protocol::time::{Timestamp, Uptime};

use super::decide::{Decision, Line, Refusal};
use super::force::{Came, Orders, Serves, Wanted};
use super::health::Health;
use super::saved::{Before, Holds, Job, Saved};
use crate::install::{After, Back, Standing, after, back};
use crate::interlock::{Reason, Work};
use crate::slot::Place;

/// How often it is looked whether the home may be disturbed, and how the build is.
pub const LOOK: Duration = Duration::from_secs(10);
/// After a repository could not be reached, doubled each time.
const AGAIN: Duration = Duration::from_mins(2);
/// How often it is looked whether a link that costs by the byte is another one by now.
const HELD: Duration = Duration::from_mins(1);
/// The longest wait for a repository, before the box adds its own part.
const LONGEST: Duration = Duration::from_hours(2);
/// How long a build that is to go back waits for a quiet moment when it knows of nothing that is in the way.
pub const RETURN_WAIT: Duration = Duration::from_mins(10);

/// What the box's owner may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a new build has to be well at a stretch.
    pub trial: Duration,
    /// What this box adds to each wait for a repository, in 256ths of it: homes that came too many at once do not come
    /// again at once.
    pub spread: u8,
}

impl Limits {
    fn spread(self, wait: Duration) -> Duration {
        wait + wait * u32::from(self.spread) / 256
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

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Where it lies.
    pub place: Place,
    /// Which version that is.
    pub version: Version,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The deadline came.
    Tick,
    /// The director's word came.
    Assigned(Vec<u8>),
    /// What the newest word means, and its number.
    Decided(u64, Box<Result<Decision, Refusal>>),
    /// The newest word is not the director's, or none.
    NotTheirs(String),
    /// That cannot be said now: why.
    Undecided(ShortText),
    /// It lies where its installer takes it from, whole.
    Staged,
    /// It could not be brought there yet: so many bytes of it have come, and why not all.
    NotStaged(u64, String),
    /// So many bytes of it have come so far.
    Came(u64),
    /// It is not to be brought over this link for now: so many bytes have come, and why.
    Held(u64, ShortText),
    /// Its installer never takes it: why.
    NotTaken(String),
    /// The home may not be disturbed: why.
    Busy(Vec<ShortText>, Obstacle),
    /// The home may be disturbed, and that is spent: the act begins, with the box as it is.
    Quiet(Before),
    /// An order to force came.
    Force(Box<Came>),
    /// What the order that is kept is worth now.
    Judged(Box<Result<Accepted, ForceRefusal>>),
    /// [`Input::Quiet`] follows, by the order that is kept: what it overruled.
    Forced(Vec<ShortText>),
    /// It is in place.
    Activated,
    /// Nothing was changed, or not in time.
    NotActed(String),
    /// Something was changed that is not whole and cannot be taken back: why.
    Stuck(String),
    /// How what is on trial is.
    Health(Health),
    /// What is confirmed empties the battery of a sensor after all: why.
    Wears(String),
}

impl Input {
    /// The interlock's answer that the home may not be disturbed `now`.
    pub fn busy(why: &[Reason], now: Uptime) -> Input {
        let obstacle = if why.iter().any(Reason::known) {
            Obstacle::Known
        } else {
            Obstacle::Doubt
        };
        let said = why.iter().map(|reason| ShortText::cut(&reason.said(now)));
        Input::Busy(said.collect(), obstacle)
    }
}

/// What is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Something that passes by itself: a session, a hold, an alarm.
    Known,
    /// Only that not everything is known, which may be so for ever.
    Doubt,
}

/// What to do, in order; nothing further after the first failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Keep this, durably.
    Save(Box<Saved>),
    /// Find out what this word means, by the repository.
    Decide(Vec<u8>),
    /// Bring it to where its installer takes it from.
    Stage(Box<Job>),
    /// Ask whether the home may be disturbed; when it may, answer with [`Input::Quiet`].
    Ask(Box<Job>),
    /// Ask whether the agent may restart, or the box, so that what is in place runs, or what ran before it.
    AskLeave(Installer, Work),
    /// Put it in place, by the permission that was given; answered by [`Input::Activated`].
    Activate(Box<Job>),
    /// Confirm what is on trial.
    Confirm(Installer),
    /// End the trial: what ran before runs at the next start.
    TakeBack(Installer),
    /// The agent begins anew, with the build that is to run.
    Restart,
    /// The box reboots, by the permission that was given. When it does not, it is asked for again at the next look.
    Reboot(Installer),
    /// Find out how what is on trial is.
    Examine(Box<Before>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Nothing is under way.
    Idle,
    /// The director's word is looked into at this time.
    Deciding {
        at: Uptime,
        wait: Duration,
        asked: bool,
        /// Why it is not known yet.
        lacks: Option<Box<Undecided>>,
    },
    /// The build is fetched.
    Fetching {
        at: Uptime,
        wait: Duration,
        asked: bool,
        have: u64,
        /// Why it is not fetched for now.
        held: Option<ShortText>,
        /// Why the newest attempt did not bring it.
        why: Option<ShortText>,
    },
    /// It is staged; `unfinished` says that it was begun once, and why it has to be gone on with.
    Waiting {
        at: Uptime,
        why: Vec<ShortText>,
        unfinished: Option<ShortText>,
    },
    /// It is put in place, or the agent or the box is about to begin anew; `unfinished` as above.
    Acting { unfinished: Option<ShortText> },
    /// It is in place, and the box has to reboot for it.
    Leaving {
        at: Uptime,
        why: Vec<ShortText>,
        installer: Installer,
    },
    /// It is on trial.
    Trial {
        at: Uptime,
        well_since: Option<Uptime>,
        until: Uptime,
        until_at: Timestamp,
        missing: Vec<ShortText>,
    },
    /// What ran before is to run again.
    Returning {
        at: Uptime,
        since: Uptime,
        installer: Installer,
    },
}

/// The updates of one box.
#[derive(Debug, Clone)]
pub struct Course {
    saved: Saved,
    running: Running,
    limits: Limits,
    step: Step,
    orders: Orders,
    /// What is kept cannot be read: why, and since when that is known.
    unread: Option<Box<Undecided>>,
}

impl Course {
    /// Goes on after a start, with what is kept, what the installers find of its job, and what runs.
    pub fn resume(
        saved: Option<Saved>,
        standing: Standing,
        running: Running,
        limits: Limits,
        now: Moment,
    ) -> (Course, Vec<Effect>) {
        let mut course = Course {
            saved: saved.unwrap_or(Saved::NEW),
            running,
            limits,
            step: Step::Idle,
            orders: Orders::default(),
            unread: None,
        };
        let effects = course.found(standing, now);
        (course, effects)
    }

    /// Goes on after a start at which what is kept could not be read. Without its floors nothing is taken and nothing is
    /// written over it: that is told, until a person mends it. What the installers find on trial here, and nobody can judge
    /// any more, goes back.
    pub fn unread(
        why: &str,
        standing: Standing,
        running: Running,
        limits: Limits,
        now: Moment,
    ) -> (Course, Vec<Effect>) {
        let (mut course, _nothing) = Course::resume(None, Standing::Nothing, running, limits, now);
        course.unread = Some(Box::new(Undecided {
            why: ShortText::cut(why),
            since: now.at,
        }));
        let effects = match standing {
            back @ Standing::Unwanted(_) => course.found(back, now),
            _ => Vec::new(),
        };
        (course, effects)
    }

    /// The only way it moves.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Effect> {
        match (self.step.clone(), input) {
            (_, Input::Assigned(_) | Input::Force(_)) if self.unread.is_some() => Vec::new(),
            (_, Input::Assigned(word)) => self.assigned(word, now),
            (_, Input::Tick) => self.tick(now),
            (_, Input::Force(came)) => self.force_came(*came, now),
            (_, Input::Wears(why)) => self.wears(&why, now),
            (_, Input::Judged(judged)) => {
                self.orders.judge(*judged, now);
                Vec::new()
            }
            (Step::Waiting { .. }, Input::Forced(overruled)) => self.spend(Serves::Begin, overruled),
            (Step::Leaving { .. }, Input::Forced(overruled)) => self.spend(Serves::Reboot, overruled),
            (Step::Deciding { .. }, Input::Decided(counter, decision)) => {
                self.decided(counter, *decision, now)
            }
            (Step::Deciding { .. }, Input::NotTheirs(why)) => self.not_theirs(&why, now),
            (Step::Deciding { wait, lacks, .. }, Input::Undecided(why)) => {
                let since = lacks.map_or(now.at, |lacks| lacks.since);
                self.step = Step::Deciding {
                    at: now.uptime.plus(self.limits.spread(wait)),
                    wait: (wait * 2).min(LONGEST),
                    asked: false,
                    lacks: Some(Box::new(Undecided { why, since })),
                };
                Vec::new()
            }
            (Step::Fetching { .. }, Input::Staged) => {
                self.saved.staged = true;
                self.wait(now, None);
                vec![self.save()]
            }
            (Step::Fetching { .. } | Step::Acting { .. }, Input::NotTaken(why)) => {
                self.end(Outcome::Refused(ShortText::cut(&why)), now)
            }
            (Step::Fetching { wait, .. }, Input::NotStaged(have, why)) => {
                self.step = Step::Fetching {
                    at: now.uptime.plus(self.limits.spread(wait)),
                    wait: (wait * 2).min(LONGEST),
                    asked: false,
                    have,
                    held: None,
                    why: Some(ShortText::cut(&why)),
                };
                Vec::new()
            }
            (Step::Fetching { .. }, Input::Came(came)) => {
                if let Step::Fetching { have, .. } = &mut self.step {
                    *have = came;
                }
                Vec::new()
            }
            (Step::Fetching { .. }, Input::Held(have, why)) => {
                self.step = Step::Fetching {
                    at: now.uptime.plus(HELD),
                    wait: AGAIN,
                    asked: false,
                    have,
                    held: Some(why),
                    why: None,
                };
                Vec::new()
            }
            (Step::Waiting { at, unfinished, .. }, Input::Busy(why, _)) => {
                let why = some(unfinished.iter().cloned().chain(why).collect());
                self.step = Step::Waiting { at, why, unfinished };
                Vec::new()
            }
            (Step::Waiting { unfinished, .. }, Input::Quiet(before)) => self.act(before, unfinished),
            (Step::Acting { .. }, Input::Activated) => self.activated(now),
            (Step::Acting { unfinished }, Input::NotActed(why)) => {
                self.not_acted(&why, unfinished, now);
                Vec::new()
            }
            (Step::Acting { .. }, Input::Stuck(why)) => self.end(Outcome::Stays(ShortText::cut(&why)), now),
            (Step::Trial { .. }, Input::Health(health)) => self.examined(health, now),
            (Step::Leaving { at, installer, .. }, Input::Busy(why, _)) => {
                let why = some(why);
                self.step = Step::Leaving { at, why, installer };
                Vec::new()
            }
            (Step::Returning { since, installer, .. }, Input::Busy(_, obstacle)) => {
                let long = now.uptime.since(since) >= RETURN_WAIT;
                // A whole box is not rebooted without a permission: another one may still hear its sensors.
                if long && obstacle == Obstacle::Doubt && after(installer) == After::Restart {
                    return self.leave(installer);
                }
                Vec::new()
            }
            (Step::Leaving { installer, .. } | Step::Returning { installer, .. }, Input::Quiet(_)) => {
                self.leave(installer)
            }
            // An answer to a question that is not asked any more.
            _ => Vec::new(),
        }
    }

    /// The order to force that may be handed to the interlock with the question of this moment; none for going back.
    pub fn force(&self, now: Moment) -> Option<&Accepted> {
        let act = match self.step {
            Step::Waiting { .. } => Serves::Begin,
            Step::Leaving { .. } => Serves::Reboot,
            _ => return None,
        };
        let kept = self.saved.force.as_ref()?;
        self.orders.serving(act, kept, self.wanted(), now)
    }

    /// Which way an act of this job leads: one that was begun once and is not whole has to be ended, wherever the server is and
    /// whatever hour it is.
    pub const fn work(&self) -> Work {
        match self.step {
            Step::Waiting {
                unfinished: Some(_), ..
            } => Work::Back,
            _ => Work::Forward,
        }
    }

    /// When to come back with [`Input::Tick`]; never without something under way.
    pub const fn deadline(&self) -> Option<Uptime> {
        match self.step {
            Step::Deciding { at, asked: false, .. }
            | Step::Fetching { at, asked: false, .. }
            | Step::Waiting { at, .. }
            | Step::Leaving { at, .. }
            | Step::Trial { at, .. }
            | Step::Returning { at, .. } => Some(at),
            Step::Idle | Step::Acting { .. } | Step::Deciding { .. } | Step::Fetching { .. } => None,
        }
    }

    /// Whether this word of the director's is another than the one that is looked into, or was last. What is fetched by that
    /// is not waited for then.
    pub fn is_new(&self, word: &[u8]) -> bool {
        let mut known = [&self.saved.assigned, &self.saved.decided].into_iter();
        self.unread.is_none()
            && word.len() <= MAX_ASSIGNMENT
            && !known.any(|known| known.as_deref() == Some(word))
    }

    /// What is kept.
    pub const fn saved(&self) -> &Saved {
        &self.saved
    }

    /// What runs.
    pub const fn running(&self) -> Running {
        self.running
    }

    /// How long a new build has to be well.
    pub const fn trial(&self) -> Duration {
        self.limits.trial
    }

    /// Whether a build is being put in place, is tried, or goes back: what else could be tried waits.
    pub const fn is_on_trial(&self) -> bool {
        matches!(
            self.step,
            Step::Acting { .. } | Step::Trial { .. } | Step::Returning { .. }
        )
    }

    /// How it stands, to be told.
    pub fn state(&self, moment: Moment) -> UpdateState {
        let now = moment.at;
        let progress = match &self.step {
            // A return has ended already; the restart is all that is left.
            Step::Idle | Step::Deciding { .. } | Step::Returning { .. } => None,
            Step::Fetching { have, held, why, .. } => {
                let of = self.saved.job.as_ref().map_or(0, |job| job.length);
                let have = *have;
                Some(match held.clone() {
                    Some(why) => Progress::Paused { have, of, why },
                    None => Progress::Fetching {
                        have,
                        of,
                        why: why.clone(),
                    },
                })
            }
            Step::Waiting { why, .. } | Step::Leaving { why, .. } => Some(Progress::Waiting(why.clone())),
            Step::Acting { .. } => Some(Progress::Acting),
            Step::Trial {
                until_at, missing, ..
            } => Some(Progress::OnTrial {
                until: *until_at,
                missing: missing.clone(),
            }),
        };
        UpdateState {
            runs: self.running.version,
            packaged: self.running.place == Place::Package,
            build: None,
            now: self.saved.job.as_ref().map(Job::mark).zip(progress),
            ended: self.saved.ended.clone(),
            installers: Vec::new(),
            undecided: match &self.step {
                Step::Deciding { lacks, .. } => lacks.clone(),
                _ => self.unread.clone(),
            },
            beside: Vec::new(),
            met: None,
            quiet: None,
            forces: self.orders.told(self.saved.force.as_ref(), self.wanted(), moment),
            taken_at: now,
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            job: self.saved.job.as_ref(),
            undecided: self.saved.assigned.is_some(),
            begun: self.is_on_trial(),
        }
    }

    fn force_came(&mut self, came: Came, now: Moment) -> Vec<Effect> {
        let wanted = Wanted {
            job: self.saved.job.as_ref(),
            undecided: self.saved.assigned.is_some(),
            begun: self.is_on_trial(),
        };
        let kept = self.orders.hear(came, self.saved.force.as_ref(), wanted, now);
        let Some(kept) = kept else {
            return Vec::new();
        };
        self.saved.force = Some(kept);
        vec![self.save()]
    }

    /// It is written down before the act that follows.
    fn spend(&mut self, act: Serves, overruled: Vec<ShortText>) -> Vec<Effect> {
        let Some(kept) = self.saved.force.as_mut() else {
            return Vec::new();
        };
        kept.spend(act, overruled);
        vec![self.save()]
    }

    /// Where a start finds it.
    fn found(&mut self, standing: Standing, now: Moment) -> Vec<Effect> {
        match standing {
            Standing::Nothing => {
                // It may lie there no more: a package was installed by hand, or a slot is another's. Staging ends at once
                // where it does.
                self.saved.staged = false;
                self.keep_on(now);
            }
            Standing::Unwanted(installer) => {
                self.go_back(installer, now);
                return vec![Effect::TakeBack(installer)];
            }
            Standing::OnTrial => self.try_it(now),
            Standing::Confirmed => return self.end(Outcome::Confirmed, now),
            Standing::Over(outcome) => return self.end(outcome, now),
            Standing::Unfinished(why) => self.wait(now, Some(why)),
            Standing::Leaving => {
                let job = self.saved.job.as_ref().filter(|_| self.saved.assigned.is_some());
                if let Some(installer) = job.map(|job| job.custom.installer) {
                    return self.withdrawn(installer, now);
                }
                self.activated(now);
            }
        }
        Vec::new()
    }

    /// With what is kept, from where that says.
    fn keep_on(&mut self, now: Moment) {
        self.step = if self.saved.assigned.is_some() {
            Step::Deciding {
                at: now.uptime,
                wait: AGAIN,
                asked: false,
                lacks: None,
            }
        } else if self.saved.job.is_none() {
            Step::Idle
        } else if self.saved.staged {
            return self.wait(now, None);
        } else {
            Step::Fetching {
                at: now.uptime,
                wait: AGAIN,
                asked: false,
                have: 0,
                held: None,
                why: None,
            }
        };
    }

    fn wait(&mut self, now: Moment, unfinished: Option<ShortText>) {
        self.step = Step::Waiting {
            at: now.uptime,
            why: unfinished.iter().cloned().collect(),
            unfinished,
        };
    }

    fn go_back(&mut self, installer: Installer, now: Moment) {
        self.step = Step::Returning {
            at: now.uptime,
            since: now.uptime,
            installer,
        };
    }

    fn try_it(&mut self, now: Moment) {
        // Another build runs; where it goes back, what is on the disk counts again.
        self.saved.watched = None;
        let until = self.limits.trial * 3;
        let ms = i64::try_from(until.as_millis()).unwrap_or(i64::MAX);
        self.step = Step::Trial {
            at: now.uptime,
            well_since: None,
            until: now.uptime.plus(until),
            until_at: now.at.plus_ms(ms),
            missing: Vec::new(),
        };
    }

    /// A newer word goes before what is under way, unless that acts, is on trial, or was cut off half-way and has to be ended first:
    /// then it waits its turn.
    fn assigned(&mut self, word: Vec<u8>, now: Moment) -> Vec<Effect> {
        if !self.is_new(&word) {
            return Vec::new();
        }
        self.saved.assigned = Some(word);
        if let Step::Leaving { installer, .. } = self.step {
            return self.withdrawn(installer, now);
        }
        if !self.is_on_trial() && self.work() == Work::Forward {
            self.keep_on(now);
        }
        vec![self.save()]
    }

    /// What lies in place for the next start is not what is wanted any more: it may be what was found to be bad meanwhile. The
    /// box is not to start it; what runs goes on, so nobody is disturbed.
    fn withdrawn(&mut self, installer: Installer, now: Moment) -> Vec<Effect> {
        self.keep_on(now);
        vec![self.save(), Effect::TakeBack(installer)]
    }

    fn decided(&mut self, counter: u64, decision: Result<Decision, Refusal>, now: Moment) -> Vec<Effect> {
        let known = self.saved.job.as_ref().map(|job| job.counter);
        let over = self.saved.ended.as_ref().and_then(|ended| ended.counter);
        self.saved.floor = self.saved.floor.clone().decided(counter, &decision);
        match decision {
            // It comes again.
            Ok(Decision::Install(_)) if Some(counter) == known || Some(counter) == over => {}
            Ok(Decision::Install(plan)) => {
                self.saved.job = Job::of(&plan);
                self.saved.staged = false;
            }
            Ok(Decision::Runs(installer)) => {
                self.runs_by(installer, counter);
                self.saved.job = None;
                self.saved.staged = false;
                self.tell_end(Some(counter), Outcome::Confirmed, now);
            }
            // The word of what is under way comes again after a newer one was refused: it is under way still.
            Err(Refusal::Replayed { .. }) if Some(counter) == known => {}
            Err(refusal) => {
                // What was meant is here, if in other bytes: what was to come before that is not wanted any more.
                if matches!(refusal, Refusal::OtherBytes(_)) {
                    self.saved.job = None;
                    self.saved.staged = false;
                }
                let why = ShortText::cut(&refusal.to_string());
                self.tell_end(Some(counter), Outcome::Refused(why), now);
            }
        }
        self.over_with_word(now)
    }

    /// It is not remembered as decided: a later release may name another director. It comes again, and is said once.
    fn not_theirs(&mut self, why: &str, now: Moment) -> Vec<Effect> {
        let outcome = Outcome::Refused(ShortText::cut(why));
        let before = self.saved.ended.as_ref();
        let said = before.is_some_and(|ended| ended.counter.is_none() && ended.outcome == outcome);
        if !said {
            self.tell_end(None, outcome, now);
        }
        self.saved.assigned = None;
        self.keep_on(now);
        vec![self.save()]
    }

    fn over_with_word(&mut self, now: Moment) -> Vec<Effect> {
        self.saved.decided = self.saved.assigned.take();
        self.keep_on(now);
        vec![self.save()]
    }

    fn tell_end(&mut self, counter: Option<u64>, outcome: Outcome, now: Moment) {
        self.saved.ended = Some(Ended {
            counter,
            outcome,
            at: now.at,
        });
    }

    fn tick(&mut self, now: Moment) -> Vec<Effect> {
        if self.deadline().is_none_or(|at| now.uptime < at) {
            return Vec::new();
        }
        let next = now.uptime.plus(LOOK);
        let job = self.saved.job.clone();
        match &mut self.step {
            Step::Deciding { asked, .. } => {
                *asked = true;
                let word = self.saved.assigned.clone();
                word.map(Effect::Decide).into_iter().collect()
            }
            Step::Fetching { asked, .. } => {
                *asked = true;
                job.map(|job| Effect::Stage(Box::new(job))).into_iter().collect()
            }
            Step::Waiting { at, why, .. } => {
                *at = next;
                let job = job.filter(|job| {
                    let due = now.at.ms >= job.not_before.ms;
                    if !due {
                        *why = vec![ShortText::cut(&format!(
                            "it is not to begin before {}",
                            job.not_before
                        ))];
                    }
                    due
                });
                job.map(|job| Effect::Ask(Box::new(job))).into_iter().collect()
            }
            Step::Trial { at, .. } => {
                *at = next;
                vec![Effect::Examine(Box::new(self.saved.before.clone()))]
            }
            Step::Leaving { at, installer, .. } => {
                *at = next;
                vec![Effect::AskLeave(*installer, Work::Forward)]
            }
            Step::Returning { at, installer, .. } => {
                *at = next;
                vec![Effect::AskLeave(*installer, Work::Back)]
            }
            Step::Idle | Step::Acting { .. } => Vec::new(),
        }
    }

    fn act(&mut self, before: Before, unfinished: Option<ShortText>) -> Vec<Effect> {
        let Some(job) = self.saved.job.clone() else {
            return Vec::new();
        };
        self.saved.before = before;
        self.step = Step::Acting { unfinished };
        vec![self.save(), Effect::Activate(Box::new(job))]
    }

    /// It could not be tried now. What is half-way is ended first; else a newer word that waited for this has its turn.
    fn not_acted(&mut self, why: &str, unfinished: Option<ShortText>, now: Moment) {
        if unfinished.is_none() && self.saved.assigned.is_some() {
            return self.keep_on(now);
        }
        let why = unfinished.iter().cloned().chain([ShortText::cut(why)]).collect();
        self.step = Step::Waiting {
            at: now.uptime.plus(LOOK),
            why,
            unfinished,
        };
    }

    fn activated(&mut self, now: Moment) -> Vec<Effect> {
        let Some(installer) = self.saved.job.as_ref().map(|job| job.custom.installer) else {
            return Vec::new();
        };
        match after(installer) {
            After::Restart => return vec![Effect::Restart],
            After::Reboot => {
                self.step = Step::Leaving {
                    at: now.uptime,
                    why: Vec::new(),
                    installer,
                };
            }
            After::Nothing => self.try_it(now),
        }
        Vec::new()
    }

    /// The permission for it is there, or none is waited for.
    fn leave(&mut self, installer: Installer) -> Vec<Effect> {
        match after(installer) {
            After::Restart => {
                self.step = Step::Acting { unfinished: None };
                vec![Effect::Restart]
            }
            After::Reboot => vec![Effect::Reboot(installer)],
            After::Nothing => Vec::new(),
        }
    }

    fn examined(&mut self, health: Health, now: Moment) -> Vec<Effect> {
        let trial = self.limits.trial;
        let Step::Trial {
            well_since,
            until,
            missing,
            ..
        } = &mut self.step
        else {
            return Vec::new();
        };
        let Health {
            missing: lacks,
            harm,
            proven,
        } = health;
        *well_since = if lacks.is_empty() && harm.is_none() {
            well_since.or(Some(now.uptime))
        } else {
            None
        };
        *missing = some(lacks);
        let well = well_since.is_some_and(|since| now.uptime.since(since) >= trial);
        let Some(installer) = self.saved.job.as_ref().map(|job| job.custom.installer) else {
            return Vec::new();
        };
        if well {
            let mut effects = vec![Effect::Confirm(installer)];
            effects.extend(self.end(Outcome::Confirmed, now));
            return effects;
        }
        let outcome = match harm {
            Some(harm) => Outcome::Bad(harm),
            None if now.uptime < *until => return Vec::new(),
            None => {
                let why = missing
                    .first()
                    .map_or("it was not well for long enough", ShortText::as_str);
                let why = ShortText::cut(why);
                if proven {
                    Outcome::Bad(why)
                } else {
                    Outcome::NotProven(why)
                }
            }
        };
        if let (Back::NoWay, Outcome::Bad(why) | Outcome::NotProven(why)) = (back(installer), &outcome) {
            return self.end(Outcome::Stays(why.clone()), now);
        }
        let mut effects = self.end(outcome, now);
        effects.push(Effect::TakeBack(installer));
        self.go_back(installer, now);
        effects
    }

    /// The job is over.
    fn end(&mut self, outcome: Outcome, now: Moment) -> Vec<Effect> {
        if let Some(job) = self.saved.job.take() {
            if outcome == Outcome::Confirmed {
                let line = Line::of(job.custom.installer, &job.path);
                let floor = job.custom.security_floor;
                self.saved.floor = self.saved.floor.clone().confirmed(line, floor);
                self.saved
                    .holds
                    .retain(|held| held.installer != job.custom.installer);
                self.saved.holds.push(Holds {
                    installer: job.custom.installer,
                    version: job.custom.version,
                    sha256: job.sha256,
                });
                self.watch(&job, now);
            }
            self.tell_end(Some(job.counter), outcome, now);
        }
        self.saved.staged = false;
        self.keep_on(now);
        vec![self.save()]
    }

    fn save(&self) -> Effect {
        Effect::Save(Box::new(self.saved.clone()))
    }
}

fn some(mut why: Vec<ShortText>) -> Vec<ShortText> {
    why.truncate(MAX_WHY);
    why
}

mod watched;

#[cfg(test)]
mod tests;
