//! Shell: carries updates out: fetches, stages, asks whether the home may be disturbed, puts in place, examines, tells.
//!
//! | file | holds |
//! |---|---|
//! | `update/course.cbor`, `update/course-copy.cbor` | what is wanted, and how the newest ended ([`super::saved::Saved`]) |
//! | `update/incoming/` | what is being fetched |
//! | `update-state.json` | what was last told, for the command line |
#![expect(clippy::disallowed_methods, reason = "shell: files, the network, and waiting")]

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::envelope::Item;
use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::sign::{Floor as KeyFloor, Ground, Refusal as Unsigned, SignedDigest};
use homeward_protocol::posture::ShortText;
use homeward_protocol::quiet::QuietOrder;
use homeward_protocol::release::force::{self, Accepted, Refusal as ForceRefusal};
use homeward_protocol::release::state::{Can, Met, Offer, Progress, UpdateState};
use homeward_protocol::release::{Disruption, Installer, Version};
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::Bytes;
use rustls::ClientConfig;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

use super::base::Base;
use super::course::{Course, Effect, Input, Moment, Obstacle};
use super::decide::{Decision, Own, bytes};
use super::delta::{self, BringError};
use super::fetch::Http;
use super::force::Came;
use super::inbox::{Heard, Inbox, Newest};
use super::keep::Folder;
use super::look::FOLDER;
use super::peers::Peers;
use super::rate::pace::Pace;
use super::room;
use super::saved::Job;
use super::saved::file::save;
use super::tuf::{UpdateError, aside, refresh};
use super::vitals::{Since, Vitals};
use super::word::{Meaning, Repository, means};
use crate::causes::chain;
use crate::clock::Clock;
use crate::disk::replace;
use crate::install::{After, InstallError, Installer as Install, Installers, act, after};
use crate::interlock::{Act, Reason, Window, Wish, asked, beside};
use crate::outbox::keeper::Outbox;
use crate::slot::Digest;
use crate::trials::{Trials, Tried};

/// Longest file that is read, bytes.
const MAX_FILE: u64 = 64 * 1024;
const STATE: &str = "update-state.json";
/// How far a build has come is told by tenths.
const TENTHS: u64 = 10;
/// How often it is shown how much of a build has come.
const PROGRESS: Duration = Duration::from_secs(5);
/// After the disk refused what must be kept.
const DISK_AGAIN: Duration = Duration::from_secs(10);
/// How often it is looked what else restarts things here, and how a confirmed build treats the sensors.
const BESIDE: Duration = Duration::from_mins(5);
/// The program that runs, also when another lies in its place by now.
const OWN: &str = "/proc/self/exe";

/// Where the repository is.
pub enum Source {
    /// At the server's own door, which asks for the box's certificate: with what it is shown, as it is then.
    Server(Base, Box<dyn Fn() -> Arc<ClientConfig> + Send + Sync>),
    /// At a mirror, which learns nothing of who asks.
    Mirror(Base),
}

/// Carries the updates of one box out.
pub struct Going {
    /// The data folder.
    pub data: PathBuf,
    /// What was decided so far, and what is to be done first.
    pub start: (Course, Vec<Effect>),
    /// What this box is; its installers are asked.
    pub own: Own,
    /// The bytes that run.
    pub build: Option<SignedDigest>,
    /// What puts software in place here.
    pub installers: Installers,
    /// Where the repository is.
    pub source: Source,
    /// Who is asked for builds before it.
    pub peers: Peers,
    /// The pace at which builds come from it.
    pub pace: Pace,
    /// Most of the disk that what comes may take, bytes.
    pub most: u64,
    /// Where reports go.
    pub outbox: Outbox,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// The director's words, orders to force, and wishes for quiet.
    pub heard: Inbox,
    /// The newest use that an act met.
    pub met: watch::Receiver<Option<Met>>,
    /// Whom orders to force are believed by.
    pub people: Box<dyn Fn() -> People + Send + Sync>,
    /// How the box and its sensors are.
    pub vitals: Vitals,
    /// The one that knows whether the home may be disturbed.
    pub home: mpsc::Sender<Wish>,
    /// Cancelled when the agent is to begin anew.
    pub restart: CancellationToken,
    /// Whether something else is on trial.
    pub trials: Trials,
}

/// Whom this box believes for policies, and so for orders to force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct People {
    /// The keys of the fleet's roots.
    pub roots: Vec<PublicKey>,
    /// The highest number of a keyring that it has taken; none where that cannot be read, and then it believes nobody.
    pub keyring: Option<u64>,
}

impl People {
    /// What an order is worth, for this box at this moment. `kept` is the number of the keyring of the order before.
    fn judge(
        &self,
        offer: &[u8],
        gateway: &GatewayId,
        kept: u64,
        now: Timestamp,
    ) -> Result<Accepted, ForceRefusal> {
        let offer = force::Offer::decode(offer).map_err(|_| ForceRefusal::Unsigned(Unsigned::Unreadable))?;
        let keyring = self
            .keyring
            .ok_or(ForceRefusal::Unsigned(Unsigned::OlderKeyring))?;
        let ground = Ground {
            gateway,
            roots: &self.roots,
            floor: KeyFloor {
                keyring: keyring.max(kept),
                policy: None,
            },
            now,
        };
        force::accept(&offer, ground)
    }
}

/// What was last told.
pub fn told(data: &Path) -> Option<UpdateState> {
    let mut bytes = Vec::new();
    let file = fs::File::open(data.join(STATE)).ok()?;
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// What is remembered while it runs.
struct State {
    course: Course,
    /// From when on it is seen how a build does.
    since: Since,
    last: Option<UpdateState>,
    window: Option<Window>,
    /// What the installers last said of themselves.
    offers: Vec<Offer>,
    /// What else on the box restarts things.
    beside: Vec<ShortText>,
    /// The number of the newest wish for quiet.
    quiet: Option<u64>,
}

impl Going {
    /// Goes on for ever, or until the agent is to begin anew.
    pub async fn run(mut self, stop: CancellationToken) {
        let whole = stop.clone();
        Box::pin(whole.run_until_cancelled(self.go())).await;
    }

    async fn go(&mut self) {
        let (course, effects) = self.start.clone();
        // What begins without a start of the agent is not asked about anew at one: the judgement that stands counts.
        let job = course.saved().job.as_ref();
        let asked = job.is_none_or(|job| after(job.custom.installer) != After::Nothing);
        let mut state = State {
            since: self.vitals.begin(asked, self.moment()),
            course,
            last: None,
            window: None,
            offers: self.probe().await,
            beside: beside_us().await,
            quiet: asked::heard(&self.data),
        };
        self.follow().await;
        self.act(&mut state, effects).await;
        let mut looks = interval(BESIDE);
        looks.reset();
        let mut news = self.heard.news();
        loop {
            let deadline = state.course.deadline();
            let now = self.clock.uptime();
            let due = async {
                match deadline {
                    Some(at) => sleep(at.since(now)).await,
                    None => std::future::pending().await,
                }
            };
            // A newer word goes before an act by an older one.
            let input = tokio::select! {
                biased;
                heard = next(&self.heard, &mut news) => match heard {
                    Heard::Assigned(word) => Input::Assigned(word),
                    Heard::Force(offer) => self.force_came(&state, offer),
                    Heard::Quiet(order) => {
                        self.hush(&mut state, order).await;
                        self.tell(&mut state).await;
                        continue;
                    }
                },
                () = due => Input::Tick,
                Ok(()) = self.met.changed() => {
                    self.tell(&mut state).await;
                    continue;
                }
                _ = looks.tick() => {
                    state.beside = beside_us().await;
                    if let Some(why) = self.wears(&state) {
                        Input::Wears(why)
                    } else {
                        self.tell(&mut state).await;
                        continue;
                    }
                }
            };
            let effects = state.course.handle(input, self.moment());
            self.act(&mut state, effects).await;
        }
    }

    /// Does effects in order, and what follows from them; an answer drops the rest of its row only where it says so.
    async fn act(&mut self, state: &mut State, effects: Vec<Effect>) {
        let mut row: VecDeque<Effect> = effects.into();
        loop {
            self.judge(state);
            self.tell(state).await;
            let Some(effect) = row.pop_front() else {
                if !state.course.is_on_trial() {
                    self.trials.end(Tried::Update);
                }
                return;
            };
            let Some(input) = self.perform(state, effect).await else {
                continue;
            };
            if matches!(input, Input::NotActed(_)) {
                row.clear();
            }
            row.extend(state.course.handle(input, self.moment()));
        }
    }

    async fn perform(&mut self, state: &mut State, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Save(saved) => {
                let data = self.data.clone();
                insist("what is wanted of updates", move || save(&data, &saved)).await;
                None
            }
            Effect::Decide(word) => Some(self.decide(&word, state).await),
            Effect::Stage(job) => Some(self.staged(state, &job).await),
            Effect::Ask(job) => {
                let wish = Act {
                    work: state.course.work(),
                    ..act(job.custom.installer, job.custom.disruption)
                };
                Some(self.ask_alone(state, wish).await)
            }
            Effect::AskLeave(installer, work) => {
                let wish = Act {
                    work,
                    ..act(installer, Disruption::None)
                };
                Some(self.ask_alone(state, wish).await)
            }
            Effect::Activate(job) => Some(self.activate(state, *job).await),
            Effect::Confirm(installer) => {
                self.settle(installer, "what is on trial could not be confirmed", |one| {
                    one.confirm()
                })
                .await;
                tracing::info!("what was on trial is confirmed");
                None
            }
            Effect::TakeBack(installer) => {
                self.settle(installer, "what is on trial could not be taken back", |one| {
                    one.roll_back()
                })
                .await;
                tracing::warn!("what was on trial is taken back");
                None
            }
            Effect::Reboot(installer) => {
                let window = state.window.take()?;
                let error = self.with(installer, |one| one.reboot(window)).await.err()?;
                tracing::warn!(error = %error, "the box does not reboot; it is asked again");
                let _gone = self.home.send(Wish::Over).await;
                None
            }
            Effect::Restart => {
                tracing::info!("beginning anew, so that another build runs");
                self.restart.cancel();
                None
            }
            Effect::Examine(before) => {
                let trial = state.course.trial();
                let health = self.vitals.examine(&before, &state.since, trial, self.moment());
                Some(Input::Health(health))
            }
        }
    }

    /// Whose battery the build empties that was confirmed last.
    fn wears(&self, state: &State) -> Option<String> {
        let now = self.moment();
        let why = self.vitals.wears(state.course.watched(now)?, &state.since, now)?;
        tracing::warn!("what was confirmed is not well: {why}");
        Some(why)
    }

    /// The home is not to be disturbed for a while, or may be again.
    async fn hush(&self, state: &mut State, order: QuietOrder) {
        let (data, now) = (self.data.clone(), self.clock.now());
        let left = order.left();
        let taken = aside(move || asked::take(&data, &order, now).map_err(io::Error::other)).await;
        match taken {
            // Said again, or older: nothing new.
            Ok(number) if state.quiet == Some(number) => {}
            Ok(number) => {
                let left_s = left.as_secs();
                tracing::info!(
                    quiet.order = number,
                    quiet.left_s = left_s,
                    "the console wishes quiet for {left_s} s"
                );
                state.quiet = Some(number);
            }
            Err(error) => tracing::warn!(error = %error, "a wish for quiet could not be kept"),
        }
    }

    /// An order to force, as it came, and what it is worth.
    fn force_came(&self, state: &State, offer: Vec<u8>) -> Input {
        let digest =
            force::Offer::decode(&offer).map_or_else(|_| SignedDigest::of(&offer), |read| read.digest());
        let judged = self.judged(state, &offer);
        let offer = Bytes(offer);
        Input::Force(Box::new(Came {
            offer,
            digest,
            judged,
        }))
    }

    fn judged(&self, state: &State, offer: &[u8]) -> Result<Accepted, ForceRefusal> {
        let kept = state.course.saved().force.as_ref().map_or(0, |kept| kept.keyring);
        (self.people)().judge(offer, &self.own.gateway, kept, self.clock.now())
    }

    /// The order that is kept is judged by who is believed now.
    fn judge(&self, state: &mut State) {
        let Some(offer) = state
            .course
            .saved()
            .force
            .as_ref()
            .map(|kept| kept.offer.0.clone())
        else {
            return;
        };
        let judged = Input::Judged(Box::new(self.judged(state, &offer)));
        let _none = state.course.handle(judged, self.moment());
    }

    /// Finds out what a word of the director means.
    async fn decide(&self, word: &[u8], state: &mut State) -> Input {
        match Box::pin(self.decided(word, state)).await {
            Ok(input) => input,
            Err(error) => {
                tracing::warn!("an assigned update cannot be looked into yet: {}", chain(&error));
                Input::Undecided(ShortText::cut(&error.plainly()))
            }
        }
    }

    async fn decided(&self, word: &[u8], state: &mut State) -> Result<Input, UpdateError> {
        let store = Folder::at(self.data.join(FOLDER)).with_each_root();
        let http = self.http("metadata");
        let refreshed = refresh(&http, &store, self.clock.now()).await;
        // A root that came is kept also where what follows it did not come.
        self.follow().await;
        let mut client = refreshed?;
        let mut own = self.own.clone();
        state.offers = self.probe().await;
        own.installers = state.offers.iter().filter_map(works).collect();
        let installers = self.installers.clone();
        let build = self.build.map(|build| Digest(build.0));
        own.bytes = bytes(build, &own.installers, &state.course.saved().holds);
        own.ran = aside(move || Ok(installers.ran())).await.unwrap_or_default();
        let repository = Repository {
            metadata: &http,
            targets: &self.http("targets"),
            store: &store,
            folder: &self.data.join(FOLDER),
        };
        let floor = &state.course.saved().floor;
        let (counter, mut decision) = match means(word, &mut client, repository, &own, floor).await? {
            Meaning::NotTheirs(why) => return Ok(Input::NotTheirs(why.to_owned())),
            Meaning::Decided(counter, decision) => (counter, decision),
        };
        if let Ok(Decision::Install(plan)) = &mut decision {
            plan.delta = delta::offered(client.trusted(), plan, Path::new(OWN)).await;
        }
        Ok(Input::Decided(counter, Box::new(decision)))
    }

    /// Brings it to where its installer takes it from, and shows meanwhile how much of it has come. A newer word of the
    /// director ends that: it is answered with. What has come stays, for when it is still wanted.
    async fn staged(&self, state: &mut State, job: &Job) -> Input {
        let place = self.incoming(job);
        let (until, mut newer) = (CancellationToken::new(), None);
        let mut work = Box::pin(self.stage(job, &until));
        let mut told = delta::have(&place).saturating_mul(TENTHS) / job.length.max(1);
        let mut news = self.heard.news();
        loop {
            let ended = tokio::select! {
                ended = &mut work => ended,
                heard = next(&self.heard, &mut news) => {
                    match heard {
                        Heard::Assigned(came) if state.course.is_new(&came) => {
                            newer = Some(came);
                            until.cancel();
                        }
                        Heard::Assigned(_) => {}
                        Heard::Force(offer) => {
                            let came = self.force_came(state, offer);
                            let effects = state.course.handle(came, self.moment());
                            self.keep("an order to force", effects).await;
                            self.tell(state).await;
                        }
                        Heard::Quiet(order) => {
                            self.hush(state, order).await;
                            self.tell(state).await;
                        }
                    }
                    continue;
                }
                () = sleep(PROGRESS) => {
                    let have = delta::have(&place);
                    let _none = state.course.handle(Input::Came(have), self.moment());
                    let tenth = have.saturating_mul(TENTHS) / job.length.max(1);
                    if tenth == told {
                        self.show(&state.course.state(self.moment())).await;
                    } else {
                        told = tenth;
                        self.tell(state).await;
                    }
                    continue;
                }
            };
            if let Some(word) = newer {
                return Input::Assigned(word);
            }
            return match ended {
                Ok(()) => Input::Staged,
                Err(BringError::Install(InstallError::Refused(why))) => Input::NotTaken(why),
                Err(BringError::Held(why)) => {
                    Input::Held(delta::have(&place), ShortText::cut(&why.to_string()))
                }
                Err(why) => {
                    tracing::warn!("version {} could not be fetched: {why}", job.custom.version);
                    Input::NotStaged(delta::have(&place), why.to_string())
                }
            };
        }
    }

    /// Brings it to where its installer takes it from, unless it is there; what comes over the network until then.
    async fn stage(&self, job: &Job, until: &CancellationToken) -> Result<(), BringError> {
        let (kind, looked) = (job.custom.installer, job.clone());
        if self.with(kind, move |one| one.is_staged(&looked)).await? {
            return Ok(());
        }
        let place = self.incoming(job);
        self.fetch(job, &place, until).await?;
        let job = job.clone();
        Ok(self.with(kind, move |one| one.stage(&job, &place)).await?)
    }

    /// Brings it from a neighbour, else from the server: whole, or a delta of which it is made. It is what the repository
    /// promised then.
    async fn fetch(&self, job: &Job, place: &Path, until: &CancellationToken) -> Result<(), BringError> {
        let (wants, keep) = (job.clone(), place.to_owned());
        let most = self.most;
        let room = aside(move || room::make(&keep, &wants, most)).await;
        room.map_err(|error| BringError::Failed(error.to_string()))?;
        let wanted = (job.sha256, job.length);
        if delta::is_here(job, place).await || self.peers.bring(wanted, place, until).await {
            return Ok(());
        }
        let time = (job.not_before, job.deadline);
        self.pace.begin(time).await.map_err(BringError::Held)?;
        let http = self.http("targets").paced(self.pace.clone());
        let http = http.until(until.clone());
        delta::bring(job, &http, Path::new(OWN), place).await
    }

    /// Puts it in place; the permission is spent, whatever becomes of it.
    async fn activate(&self, state: &mut State, job: Job) -> Input {
        let kind = job.custom.installer;
        let Some(window) = state.window.take() else {
            return Input::NotActed("nobody permitted it".to_owned());
        };
        let acted = self.with(kind, move |one| one.activate(&job, window)).await;
        // The next start of the agent ends the act by itself.
        if acted.is_err() || after(kind) != After::Restart {
            let _gone = self.home.send(Wish::Over).await;
            state.offers = self.probe().await;
        }
        match acted {
            Ok(()) => {
                if after(kind) == After::Nothing {
                    state.since = self.vitals.mark(self.moment());
                }
                Input::Activated
            }
            Err(InstallError::Refused(why)) => Input::NotTaken(why),
            Err(InstallError::Stays(why)) => Input::Stuck(why),
            Err(error) => Input::NotActed(format!("it could not be put in place: {error}")),
        }
    }

    /// Something that an installer does, beside the thread that everything else runs on.
    async fn with<T: Send + 'static>(
        &self,
        kind: Installer,
        work: impl FnOnce(&dyn Install) -> Result<T, InstallError> + Send + 'static,
    ) -> Result<T, InstallError> {
        let installers = self.installers.clone();
        let done = move || match installers.of(kind) {
            Some(one) => Ok(work(one)),
            None => Ok(Err(InstallError::Refused(format!(
                "this box has no installer `{}`",
                kind.name()
            )))),
        };
        aside(done).await.unwrap_or_else(|error| Err(error.into()))
    }

    /// Keeps how a trial ended, which everything after it relies on: again and again, until it is kept.
    async fn settle(
        &self,
        kind: Installer,
        what: &str,
        how: impl Fn(&dyn Install) -> Result<(), InstallError> + Clone + Send + 'static,
    ) {
        while let Err(error) = self.with(kind, how.clone()).await {
            if matches!(error, InstallError::NoWayBack(_) | InstallError::Refused(_)) {
                tracing::error!(error = %error, "{what}");
                return;
            }
            tracing::error!(error = %error, "{what}; trying again");
            sleep(DISK_AGAIN).await;
        }
    }

    /// Whoever believes releases by keys of its own on this box hears of the newest.
    async fn follow(&self) {
        let installers = self.installers.clone();
        for (kind, error) in aside(move || Ok(installers.follow())).await.unwrap_or_default() {
            tracing::warn!(error = %error, "installer `{}` does not follow the release keys yet", kind.name());
        }
    }

    async fn probe(&self) -> Vec<Offer> {
        let installers = self.installers.clone();
        aside(move || Ok(installers.probe())).await.unwrap_or_default()
    }

    /// Where a build comes to.
    fn incoming(&self, job: &Job) -> PathBuf {
        self.data
            .join(FOLDER)
            .join("incoming")
            .join(job.sha256.to_string())
    }

    fn http(&self, folder: &str) -> Http {
        match &self.source {
            Source::Server(base, tls) => Http::new(base.join(folder), Some(tls())),
            // Whoever carries the files is not believed, so any certificate will do; the signatures decide.
            Source::Mirror(base) => {
                let tls = crate::identity::tls::unverified(&self.clock).ok().map(Arc::new);
                Http::new(base.join(folder), tls)
            }
        }
    }

    /// As [`Going::ask`], unless a policy is on trial. Whoever acts is on trial until it is confirmed or back; whoever waits
    /// is not.
    async fn ask_alone(&self, state: &mut State, act: Act) -> Input {
        if !self.trials.begin(Tried::Update) {
            let why = "a new policy is on trial on this box";
            return Input::Busy(vec![ShortText::cut(why)], Obstacle::Known);
        }
        self.ask(state, act).await
    }

    async fn ask(&self, state: &mut State, act: Act) -> Input {
        let (answer, answered) = oneshot::channel();
        self.judge(state);
        let force = state.course.force(self.moment()).cloned();
        let forced = force.is_some();
        let asked = self
            .home
            .send(Wish::Begin(act, force.map(Box::new), answer))
            .await;
        let unknown = || Err(vec![Reason::HoldsUnknown]);
        let begun = match asked {
            Ok(()) => answered.await.unwrap_or_else(|_| unknown()),
            Err(_) => unknown(),
        };
        match begun {
            Ok(window) => {
                if forced {
                    self.spend(state, &window).await;
                }
                state.window = Some(window);
                Input::Quiet(self.vitals.before(state.course.trial(), self.moment()))
            }
            Err(why) => Input::busy(&why, self.clock.uptime()),
        }
    }

    /// The order by which the act may begin is spent: that is kept before anything follows from it.
    async fn spend(&self, state: &mut State, window: &Window) {
        let now = self.clock.uptime();
        let said: Vec<String> = window.overruled().iter().map(|reason| reason.said(now)).collect();
        tracing::warn!("an order to force is used; it overruled: {}", said.join("; "));
        let overruled = said.iter().map(|said| ShortText::cut(said)).collect();
        let effects = state.course.handle(Input::Forced(overruled), self.moment());
        self.keep("that an order to force is spent", effects).await;
    }

    /// Keeps what is to be kept of these effects, in the middle of another.
    async fn keep(&self, what: &str, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Save(saved) = effect {
                let data = self.data.clone();
                insist(what, move || save(&data, &saved)).await;
            }
        }
    }

    /// Tells how it stands when that changed.
    async fn tell(&self, state: &mut State) {
        let now = self.clock.now();
        let report = UpdateState {
            build: self.build,
            installers: state.offers.clone(),
            beside: state.beside.clone(),
            quiet: state.quiet,
            met: self.met.borrow().clone(),
            ..state.course.state(self.moment())
        };
        let coarse = |state: &UpdateState| {
            let mut state = state.clone();
            state.taken_at = Timestamp::synced(0);
            if let Some((_, Progress::OnTrial { until, .. })) = &mut state.now {
                *until = Timestamp::synced(0);
            }
            state
        };
        if state
            .last
            .as_ref()
            .is_some_and(|last| coarse(last) == coarse(&report))
        {
            return;
        }
        if let Err(error) = self
            .outbox
            .push(vec![Item::Update(Box::new(report.clone()))], now)
            .await
        {
            tracing::warn!(error = %error, "could not keep a report of the software");
            return;
        }
        self.show(&report).await;
        state.last = Some(report);
    }

    /// Shows it to the command line.
    async fn show(&self, report: &UpdateState) {
        let shown = serde_json::to_vec_pretty(report).map_err(io::Error::other);
        let place = self.data.join(STATE);
        if let Err(error) = aside(move || shown.and_then(|shown| replace(&place, &shown))).await {
            tracing::warn!(error = %error, "the state of the software could not be written for the command line");
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            uptime: self.clock.uptime(),
            at: self.clock.now(),
        }
    }
}

/// The next that the server said.
async fn next(heard: &Inbox, news: &mut watch::Receiver<Newest>) -> Heard {
    loop {
        if let Some(heard) = heard.take() {
            return heard;
        }
        if news.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// What else on this box restarts things, and asks nobody.
async fn beside_us() -> Vec<ShortText> {
    let seen = aside(|| Ok(beside::look::look(Path::new("/")))).await;
    beside::beside(&seen.unwrap_or_default())
}

/// An installer that works, and what it put in place.
fn works(offer: &Offer) -> Option<(Installer, Version)> {
    match offer.can {
        Can::Yes(version) => Some((offer.installer, version)),
        Can::No(_) => None,
    }
}

/// Keeps something that everything after it relies on: again and again, until the disk takes it.
async fn insist(what: &str, keep: impl Fn() -> io::Result<()> + Clone + Send + 'static) {
    while let Err(error) = aside(keep.clone()).await {
        tracing::error!(error = %error, "{what} could not be kept; trying again");
        sleep(DISK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests;
