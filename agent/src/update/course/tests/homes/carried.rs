//! Who carries the updates of such a home out, as `update::go` and the installers do; and the mistakes that it can make.

use super::*;

impl Home {
    fn build_of(&self, counter: u64) -> (Installer, Build) {
        self.builds[usize::try_from(counter).expect("small") - 1]
    }

    /// How what is on trial turns out; none without a trial.
    pub(super) fn build(&self) -> Option<Build> {
        let job = self.saved.as_ref()?.job.as_ref()?;
        self.process
            .course
            .is_on_trial()
            .then(|| self.build_of(job.counter).1)
    }

    /// Whether what runs, on trial or about to go back, hears no device.
    pub(super) fn is_deaf(&self) -> bool {
        let own = self.counter_at(self.process.course.running().place);
        let image = self.image.filter(|(_, put)| matches!(put, Put::Runs | Put::Left));
        let mut runs = own.into_iter().chain(image.map(|(counter, _)| counter));
        runs.any(|counter| self.build_of(counter).1 == Build::Deaf)
    }

    pub(super) fn look(&mut self, start: bool) {
        if !start && self.planted == Planted::HoldNotLookedAtAgain {
            return;
        }
        let now = moment(self.now);
        let standing = self.hold.filter(|until| *until > self.now).map(|until| Hold {
            by: ShortText::cut("nurse"),
            reason: ShortText::cut("a visit"),
            placed: now.at,
            until: moment(until).at,
        });
        let all: BTreeMap<HoldId, Hold> = standing
            .map(|hold| ("visit".parse().expect("a name"), hold))
            .into_iter()
            .collect();
        self.process.interlock.hold(&all, now.at, now.uptime);
        self.process.interlock.windows(None, now.at, now.uptime);
        self.process.interlock.link(Some(Uptime(0)), now.uptime);
    }

    pub(super) fn hear(&mut self, input: Input) {
        if self.process.writing.is_some() {
            if input != Input::Tick {
                self.process.words.push(input);
            }
            return;
        }
        let effects = self.process.course.handle(input, moment(self.now));
        self.process.row.extend(effects);
        self.act();
    }

    fn act(&mut self) {
        while !self.process.row.is_empty() {
            match &mut self.fuse {
                Some(0) => return self.start(),
                Some(left) => *left -= 1,
                None => {}
            }
            let effect = self.process.row.remove(0);
            if let Some(input) = self.perform(effect) {
                let effects = self.process.course.handle(input, moment(self.now));
                self.process.row.extend(effects);
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Save(saved) => self.saved = Some(*saved),
            Effect::Decide(word) => {
                let counter = u64::from(word[0]);
                let mut plan = plan(counter);
                plan.custom.installer = self.build_of(counter).0;
                return Some(Input::Decided(counter, Box::new(Ok(Decision::Install(plan)))));
            }
            Effect::Stage(_) => return Some(Input::Staged),
            Effect::Ask(job) => {
                let unfinished =
                    matches!(self.packages, Some((counter, Put::Begun)) if counter == job.counter);
                let unasked = unfinished && self.planted == Planted::UnfinishedUnasked;
                return Some(self.ask(act(job.custom.installer, job.custom.disruption), unasked));
            }
            Effect::AskLeave(installer, work) => {
                let wish = Act {
                    work,
                    ..act(installer, Disruption::None)
                };
                let unasked = match work {
                    Work::Forward => self.planted == Planted::RebootsUnasked,
                    Work::Back => self.planted == Planted::ReturnsUnasked,
                };
                return Some(self.ask(wish, unasked));
            }
            Effect::Activate(job) => return self.activate(&job),
            Effect::Confirm(installer) => {
                self.confirmed += 1;
                match installer {
                    Installer::AgentSlot => self.slots = self.slots.clone().confirm(),
                    Installer::Rauc => put(&mut self.image, Put::Confirmed),
                    Installer::Apt | Installer::Dossier => put(&mut self.packages, Put::Confirmed),
                }
            }
            Effect::TakeBack(Installer::AgentSlot) => {
                self.slots = self.slots.clone().take_back(Cause::TakenBack);
            }
            Effect::TakeBack(installer) => {
                assert_eq!(installer, Installer::Rauc, "packages go forward only");
                self.image = self
                    .image
                    .filter(|(_, put)| *put == Put::Runs)
                    .map(|(n, _)| (n, Put::Left));
            }
            Effect::Restart => {
                let back = self.process.course.saved().job.is_none();
                let way = match (back, self.permission()) {
                    (true, true) => Way::Returned,
                    (true, false) => Way::ReturnedInDoubt,
                    (false, _) => Way::Restart,
                };
                self.disturb(way);
                self.start();
            }
            Effect::Reboot(_) => {
                let (_window, at) = self.process.window.take().expect("permitted");
                let unasked = matches!(self.planted, Planted::RebootsUnasked | Planted::ReturnsUnasked);
                assert!(at == self.now || unasked, "at once");
                let back = self.image.is_some_and(|(_, put)| put == Put::Left);
                self.disturb(if back { Way::Returned } else { Way::Reboot });
                self.boot();
            }
            Effect::Examine(_) => {
                let harm = ShortText::cut("the server does not accept its evidence");
                return Some(Input::Health(match self.build() {
                    Some(Build::Well) => Health::default(),
                    Some(Build::Harms) => Health {
                        harm: Some(harm),
                        ..Health::default()
                    },
                    _ => lacks("the server was not reached since"),
                }));
            }
        }
        None
    }

    /// Whether what happens now is permitted at this moment: the interlock knows of an act.
    fn permission(&self) -> bool {
        let busy = self.process.interlock.busy(Uptime(self.now));
        busy.iter().any(|why| matches!(why, Reason::Acting { .. }))
    }

    fn ask(&mut self, wish: Act, unasked: bool) -> Input {
        self.look(false);
        let now = Uptime(self.now);
        let mut begun = self.process.interlock.begin(wish, now);
        match self.planted {
            Planted::CheckThenAct => {
                let earlier = std::mem::replace(&mut self.permitted, begun.is_ok());
                if earlier && begun.is_err() || unasked {
                    begun = Ok(self.forged(wish));
                } else if !earlier && begun.is_ok() {
                    self.process.interlock.ended();
                    return Input::Busy(Vec::new(), Obstacle::Known);
                }
            }
            Planted::PermissionSurvivesCrash if std::mem::take(&mut self.permitted) && begun.is_err() => {
                begun = Ok(self.forged(wish));
            }
            _ if unasked && begun.is_err() => begun = Ok(self.forged(wish)),
            _ => {}
        }
        match begun {
            Ok(window) => {
                self.process.window = Some((window, self.now));
                self.permitted |= self.planted == Planted::PermissionSurvivesCrash;
                Input::Quiet(Before::default())
            }
            Err(why) => Input::busy(&why, now),
        }
    }

    /// A permission that nobody gave: of an interlock that knows of no devices.
    fn forged(&self, wish: Act) -> Window {
        let mut blind = Interlock::new([], QUIET_AFTER_ALARM, Uptime(0));
        let (at, now) = (moment(self.now).at, Uptime(0).plus(QUIET_AFTER_ALARM));
        blind.hold(&BTreeMap::new(), at, now);
        blind.windows(None, at, now);
        blind.link(Some(Uptime(0)), Uptime(0));
        blind.begin(wish, now).expect("nothing is in the way")
    }

    fn activate(&mut self, job: &Job) -> Option<Input> {
        let (window, _) = self.process.window.take()?;
        // What was permitted is being done.
        self.permitted = false;
        let build = self.build_of(job.counter).1;
        match job.custom.installer {
            Installer::AgentSlot => self.slots = self.slots.clone().commit(job.build()),
            Installer::Rauc => {
                self.image = Some((job.counter, Put::Begun));
                self.process.writing = Some(self.now + WRITES);
                return None;
            }
            Installer::Apt | Installer::Dossier => {
                self.disturb(Way::Packages);
                self.packages = Some((job.counter, Put::Begun));
                if self.fuse.is_some() {
                    self.start();
                    return None;
                }
                put(&mut self.packages, Put::Runs);
                self.process.interlock.ended();
                if build == Build::Crashes {
                    return Some(Input::Stuck("half of it is in place".to_owned()));
                }
            }
        }
        assert!(window.act().longest <= Duration::from_mins(30), "bounded");
        Some(Input::Activated)
    }

    /// The box begins anew, with the image that is next; what one that ends at once leaves is what ran before.
    pub(super) fn boot(&mut self) {
        self.image = match self.image {
            Some((counter, Put::Lies)) if self.build_of(counter).1 == Build::Crashes => None,
            Some((counter, Put::Lies)) => Some((counter, Put::Runs)),
            Some((_, Put::Left)) => None,
            other => other,
        };
        self.start();
    }

    /// The agent begins anew: the launcher says which build. What it knew is gone, but for the disk.
    pub(super) fn start(&mut self) {
        self.fuse = None;
        let mut running = self.launched();
        // One that ends at once is started again, until it is left.
        while self
            .counter_at(running.place)
            .is_some_and(|one| self.build_of(one).1 == Build::Crashes)
        {
            running = self.launched();
        }
        let job = self.saved.as_ref().and_then(|saved| saved.job.as_ref());
        let standing = self.standing(job, running.place);
        let (course, row) = Course::resume(self.saved.clone(), standing, running, LIMITS, moment(self.now));
        let activities = Activities::new(&sensors());
        self.process = Process {
            began: self.now,
            course,
            interlock: Interlock::new(activities.watched(), QUIET_AFTER_ALARM, Uptime(self.now)),
            activities,
            row,
            window: None,
            writing: None,
            words: Vec::new(),
            heard: BTreeMap::new(),
        };
        self.look(true);
    }

    fn launched(&mut self) -> Running {
        let Launch { place, save } = launch(&self.slots, |_, _| true);
        if let Some(save) = save {
            self.slots = save;
        }
        Running {
            place,
            version: self.slots.version(place, version(0)),
        }
    }

    fn counter_at(&self, place: Place) -> Option<u64> {
        match place {
            Place::Slot(slot) => self.slots.builds.get(&slot).map(|build| build.counter),
            Place::Package => None,
        }
    }

    /// As `install::Installers` finds it.
    fn standing(&self, job: Option<&Job>, place: Place) -> Standing {
        let of = |kind| {
            job.filter(|job| job.custom.installer == kind)
                .map(|job| job.counter)
        };
        let slots = self.slots.standing(place, of(Installer::AgentSlot));
        let image = match self.image {
            Some((counter, put)) if of(Installer::Rauc) == Some(counter) => match put {
                Put::Confirmed => Standing::Confirmed,
                Put::Runs => Standing::OnTrial,
                Put::Left => Standing::Unwanted(Installer::Rauc),
                Put::Begun => Standing::Unfinished(ShortText::cut("it was being written")),
                Put::Lies => Standing::Leaving,
            },
            Some((_, Put::Runs | Put::Left)) => Standing::Unwanted(Installer::Rauc),
            None if of(Installer::Rauc).is_some_and(|one| self.build_of(one).1 == Build::Crashes) => {
                Standing::Over(Outcome::NotProven(ShortText::cut("it did not boot")))
            }
            _ => Standing::Nothing,
        };
        let packages = match self
            .packages
            .filter(|(counter, _)| of(Installer::Apt) == Some(*counter))
        {
            Some((_, Put::Begun)) => Standing::Unfinished(ShortText::cut("it was begun")),
            Some((_, Put::Confirmed)) => Standing::Confirmed,
            Some(_) => Standing::OnTrial,
            None => Standing::Nothing,
        };
        let all = [slots, image, packages];
        let unwanted = all.iter().find(|one| matches!(one, Standing::Unwanted(_)));
        let found = unwanted.or_else(|| all.iter().find(|one| **one != Standing::Nothing));
        found.cloned().unwrap_or(Standing::Nothing)
    }
}

pub(super) fn put(what: &mut Option<(u64, Put)>, to: Put) {
    *what = what.map(|(counter, _)| (counter, to));
}
