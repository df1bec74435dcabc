//! Which policy rules this box, and what is to be done so that it does.
//!
//! An offer is verified, tried, confirmed: it is kept before anything changes, applied part by part, read back, and
//! counts only once the server was reached over a new connection. A box that does not reach it in the policy's time,
//! or that could not apply a part, goes back to the policy that held before, by itself, and says why.
//!
//! What is wanted is computed from what is kept and the time, at each look: a missed message or a change by hand
//! costs time, never truth.
//!
//! # Design
//! - Effects are done in order and stop at the first failure. `Save` stands before what relies on it, and applying
//!   twice is harmless, so that a power cut at any place leaves either the old policy in force or the new one on trial.
//! - A trial is counted before it begins: a policy that takes the box down with it is left after [`MOST_TRIES`] starts.
//! - A policy that was returned from is tried again later and later, because the network may have been gone by chance.
//! - Isolation and the strict form only take away ([`tighten`]), keep the way to the server, and are not on trial.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::isolation::{IsolationOrder, Ordered};
use homeward_protocol::policy::points::PointId;
use homeward_protocol::policy::rules::OnDrift;
use homeward_protocol::policy::sign::{Accepted, Floor, Ground, Offer, PolicyMark, accept, kept};
use homeward_protocol::policy::state::{
    Basis, Isolation, MAX_POINTS, Phase, PointState, PolicyState, Refused, ReturnCause, Returned, Standing,
};
use homeward_protocol::policy::{OnExpiry, Policy};
use homeward_protocol::posture::ShortText;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::{Timestamp, Uptime};
use serde::{Deserialize, Serialize};

use ask::{Answer, Request};
use habits::Habits;
use radio::Radio;
use rules::{Needs, Target};
use standing::{Observed, Part, find};
use tighten::{isolated, tightened};

use crate::support::InForce;

pub mod apply;
pub mod ask;
pub mod habits;
pub mod helper;
pub mod keep;
pub mod look;
pub mod nftables;
pub mod radio;
pub mod rules;
pub mod show;
pub mod sshd;
pub mod standing;
pub mod stopped;
#[cfg(test)]
mod tests;
pub mod tighten;

/// How often it is looked whether what was set still stands. A change by hand is found within a minute.
pub const LOOK: Duration = Duration::from_secs(30);
/// After the radio was switched for a rule that is new.
const SOON: Duration = Duration::from_secs(2);
/// After a part could not be set.
const AGAIN: Duration = Duration::from_mins(1);
/// After rules were set and could not be kept for the next start of the box.
const KEEP_AGAIN: Duration = Duration::from_mins(10);
/// Starts of the box that a trial may take.
pub const MOST_TRIES: u8 = 3;
/// After a return the same policy is tried again after this; doubled at each further return.
const RETRY: Duration = Duration::from_hours(1);

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// For deadlines.
    pub uptime: Uptime,
    /// For records, lifetimes.
    pub at: Timestamp,
}

/// What is kept on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Saved {
    /// What was taken so far.
    pub floor: Floor,
    /// The policy that was confirmed.
    pub good: Option<Offer>,
    /// The policy on trial, and the starts that it has had.
    pub trial: Option<(Offer, u8)>,
    /// The newest order of isolation.
    pub isolation: Option<Isolation>,
    /// The newest return, and how often its policy was returned from.
    pub returned: Option<(Returned, u8)>,
    /// Something was set on this box once: it is to be kept in order, or taken away.
    pub touched: bool,
    /// This box switched its Bluetooth radio off, for a policy.
    #[serde(default)]
    pub radio_off: bool,
    /// What was kept could not be read, or is not believed any more, and no policy was confirmed since.
    #[serde(default)]
    pub unreadable: bool,
}

/// What the server sent down about policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An offer; none when it is none.
    Offer(Option<Box<Offer>>),
    /// An order.
    Order(IsolationOrder),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The deadline came.
    Tick,
    /// The server offers a policy; none when what it sent is none.
    Offered(Option<Box<Offer>>),
    /// The server orders isolation, or lifts it.
    Ordered(IsolationOrder),
    /// The server was reached over a connection that was made at this time.
    Reached(Uptime),
    /// All effects are done.
    Done,
    /// An effect could not be done, and the rest was left.
    Failed(Step, String),
    /// What the helper said when a part was set.
    Set(Step, Answer),
    /// What this box is like.
    Seen(Box<Observed>),
    /// The roots that this box trusts are others.
    Roots(Vec<PublicKey>),
}

/// Which kind of effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Keeping.
    Save,
    /// The network.
    Network,
    /// The sshd.
    Sshd,
}

/// What to do, in order; nothing further after the first failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Keep this, durably.
    Save(Box<Saved>),
    /// Ask the helper; answer with [`Input::Set`].
    Ask(Step, Request),
    /// Switch what the Bluetooth stack has; what comes of it is seen at the next look.
    Radio(Vec<radio::Order>),
    /// Connect anew, so that what is confirmed is a connection under the new rules.
    Reconnect,
    /// See what the box is like; answer with [`Input::Seen`].
    Look,
}

/// A policy whose signatures were checked, with the offer that it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    offer: Offer,
    accepted: Accepted,
}

impl Held {
    fn policy(&self) -> &Policy {
        self.accepted.policy.get()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Trial {
    /// It is being applied.
    Applying,
    /// It is applied since then; by then the server must have been reached.
    Confirming { since: Uptime, until: Uptime },
}

/// Who this box is, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// Its name.
    pub gateway: GatewayId,
    /// The roots that it trusts.
    pub roots: Vec<PublicKey>,
    /// Flows that it needs whatever a policy says.
    pub needs: Needs,
    /// Whether it reads a sensor by Bluetooth.
    pub reads_bluetooth: bool,
}

/// The policies of this box.
#[derive(Debug, Clone)]
pub struct Policies {
    me: Me,
    saved: Saved,
    good: Option<Held>,
    trial: Option<(Held, Trial)>,
    refused: Option<Refused>,
    /// What was set completely in this run.
    applied: Option<Target>,
    /// Each point's rules as they were read back when the table was set.
    table: Option<BTreeMap<String, String>>,
    /// What sshd said of itself when its file was set.
    sshd: Option<BTreeMap<String, String>>,
    observed: Observed,
    radio: Radio,
    since: BTreeMap<PointId, (Standing, Timestamp)>,
    look_at: Uptime,
    set_again_at: Uptime,
    keep_again_at: Uptime,
    retry_at: Uptime,
    /// What is being set; it becomes `applied` when all of it is done.
    setting: Option<Target>,
    /// What is kept on the disk is older than what is known.
    unsaved: bool,
    /// The box was looked at in this run.
    looked: bool,
}

impl Policies {
    /// After a start. `saved` is what was kept; none when it is there and cannot be read.
    pub fn resume(saved: Option<Saved>, me: Me, now: Moment) -> (Policies, Vec<Effect>) {
        let saved = saved.unwrap_or_else(|| Saved {
            touched: true,
            unreadable: true,
            ..Saved::default()
        });
        let mut this = Policies {
            me,
            saved,
            good: None,
            trial: None,
            refused: None,
            applied: None,
            table: None,
            sshd: None,
            observed: Observed::default(),
            radio: Radio::default(),
            since: BTreeMap::new(),
            look_at: now.uptime,
            set_again_at: now.uptime,
            keep_again_at: now.uptime,
            retry_at: now.uptime.plus(RETRY),
            setting: None,
            unsaved: false,
            looked: false,
        };
        this.believe();
        let mut effects = this.resume_trial(now);
        effects.extend(this.set(now));
        effects.push(Effect::Look);
        (this, effects)
    }

    /// Reads what is kept again, under the roots of now.
    fn believe(&mut self) {
        let held = |offer: &Offer, roots: &[PublicKey]| {
            let accepted = kept(offer, roots).ok()?;
            Some(Held {
                offer: offer.clone(),
                accepted,
            })
        };
        self.good = self
            .saved
            .good
            .as_ref()
            .and_then(|offer| held(offer, &self.me.roots));
        self.saved.unreadable |= self.saved.good.is_some() && self.good.is_none();
        let trial = self
            .saved
            .trial
            .as_ref()
            .and_then(|(offer, _)| held(offer, &self.me.roots));
        self.trial = trial.map(|held| (held, Trial::Applying));
    }

    /// A trial that a restart interrupted begins again, until it had its starts.
    fn resume_trial(&mut self, now: Moment) -> Vec<Effect> {
        let Some((_, tries)) = &mut self.saved.trial else {
            return Vec::new();
        };
        if self.trial.is_some() && *tries < MOST_TRIES {
            *tries += 1;
            return vec![self.save()];
        }
        self.give_up(ReturnCause::ServerNotReached, now);
        vec![self.save()]
    }

    fn save(&self) -> Effect {
        Effect::Save(Box::new(self.saved.clone()))
    }

    /// Whether a policy is tried.
    pub const fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// When to come back with [`Input::Tick`].
    pub fn deadline(&self) -> Uptime {
        match &self.trial {
            Some((_, Trial::Confirming { until, .. })) => self.look_at.min(*until),
            _ => self.look_at,
        }
    }

    /// Whether the helper has something to say: on a box where nothing was ever set it is asked once a run.
    pub fn asks_helper(&self) -> bool {
        self.saved.touched || !self.looked
    }

    /// What was kept last, for tests and the command line.
    pub fn saved(&self) -> &Saved {
        &self.saved
    }

    /// What rules the box at `at`, isolation and the end of its policy considered, and why.
    pub fn effective(&self, at: Timestamp) -> (Basis, Option<Policy>) {
        self.by(self.held(), at)
    }

    fn by(&self, held: Option<&Held>, at: Timestamp) -> (Basis, Option<Policy>) {
        let (basis, policy) = match held.map(Held::policy) {
            None if self.saved.unreadable => (Basis::StrictUnreadable, Some(tightened(None))),
            None => (Basis::Nothing, None),
            Some(policy) if at.ms < policy.expires.ms() => (Basis::Signed, Some(policy.clone())),
            Some(policy) => match policy.on_expiry {
                OnExpiry::Keep => (Basis::Expired, Some(policy.clone())),
                OnExpiry::Strict => (Basis::StrictAfterExpiry, Some(tightened(Some(policy)))),
            },
        };
        if self.is_isolated() {
            (basis, Some(isolated(policy.as_ref())))
        } else {
            (basis, policy)
        }
    }

    /// How many bytes may wait at `at` on a box that takes `own` by itself. A policy on trial takes none away: what goes
    /// then does not come back when the box goes back.
    pub fn quota(&self, own: u64, at: Timestamp) -> u64 {
        let of = |held| Habits::of(self.by(held, at).1.as_ref()).quota(own);
        let confirmed = of(self.good.as_ref());
        match &self.trial {
            Some((held, _)) => of(Some(held)).max(confirmed),
            None => confirmed,
        }
    }

    /// What rules support tunnels at `at`.
    pub fn support(&self, at: Timestamp) -> InForce {
        let held = self.held().map(Held::policy);
        let ends = held.filter(|policy| policy.on_expiry == OnExpiry::Strict);
        InForce {
            rule: self.effective(at).1.and_then(|policy| policy.support),
            isolated: self.is_isolated(),
            ends: ends.map(|policy| Timestamp::synced(policy.expires.ms())),
        }
    }

    /// What would rule them if the box were shut off.
    pub fn support_isolated(&self, at: Timestamp) -> InForce {
        InForce {
            rule: isolated(self.effective(at).1.as_ref()).support,
            isolated: true,
            ..self.support(at)
        }
    }

    /// The policy on trial, else the confirmed one.
    fn held(&self) -> Option<&Held> {
        self.trial.as_ref().map(|(held, _)| held).or(self.good.as_ref())
    }

    fn is_isolated(&self) -> bool {
        self.saved
            .isolation
            .is_some_and(|isolation| isolation.ordered == Ordered::Isolate)
    }

    /// What is to be set at `at`.
    pub fn target(&self, at: Timestamp) -> Target {
        Target::of(self.effective(at).1.as_ref(), &self.me.needs)
    }

    /// The only way the state moves.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Effect> {
        match input {
            Input::Offered(offer) => self.offered(offer, now),
            Input::Ordered(order) => self.ordered(&order, now),
            Input::Reached(since) => self.reached(since, now),
            Input::Tick => self.tick(now),
            Input::Done => self.done(now),
            Input::Failed(step, why) => self.failed(step, &why, now),
            Input::Set(step, answer) => self.was_set(step, answer, now),
            Input::Seen(observed) => self.seen(*observed, now),
            Input::Roots(roots) => self.rooted(roots, now),
        }
    }

    /// What is kept is believed by the roots of now: what that changes is set at the look that follows.
    fn rooted(&mut self, roots: Vec<PublicKey>, now: Moment) -> Vec<Effect> {
        self.me.roots = roots;
        let before = self.saved.clone();
        let trial = self.trial.take();
        self.believe();
        match (trial, &mut self.trial) {
            (Some((_, stands)), Some((_, trial))) => *trial = stands,
            (Some(_), None) => {
                let why = ShortText::cut("its signatures are not believed any more");
                self.give_up(ReturnCause::StepFailed(why), now);
            }
            (None, _) => {}
        }
        if self.saved == before {
            vec![Effect::Look]
        } else {
            vec![self.save(), Effect::Look]
        }
    }

    fn offered(&mut self, offer: Option<Box<Offer>>, now: Moment) -> Vec<Effect> {
        let ground = Ground {
            gateway: &self.me.gateway,
            roots: &self.me.roots,
            floor: self.saved.floor,
            now: now.at,
        };
        let answer = match &offer {
            Some(offer) => accept(offer, ground).map_err(|why| (offer_mark(offer), why)),
            None => Err((None, homeward_protocol::policy::sign::Refusal::Unreadable)),
        };
        match (answer, offer) {
            (Ok(accepted), Some(offer)) => {
                self.refused = None;
                self.take(
                    Held {
                        offer: *offer,
                        accepted,
                    },
                    now,
                )
            }
            (Err((mark, why)), _) => {
                self.refused = Some(Refused {
                    mark,
                    why,
                    at: now.at,
                });
                Vec::new()
            }
            (Ok(_), None) => Vec::new(),
        }
    }

    fn take(&mut self, held: Held, now: Moment) -> Vec<Effect> {
        let mark = held.accepted.mark;
        let runs = |one: &Held| one.accepted.mark == mark;
        let on_trial = self.trial.as_ref().is_some_and(|(one, _)| runs(one));
        let good = self.trial.is_none() && self.good.as_ref().is_some_and(runs);
        let returned = self
            .saved
            .returned
            .as_ref()
            .is_some_and(|(one, _)| one.from == mark);
        if on_trial || good || (returned && now.uptime < self.retry_at) {
            return Vec::new();
        }
        self.saved.floor = Floor {
            keyring: self.saved.floor.keyring.max(held.accepted.keyring),
            policy: Some(mark),
        };
        self.saved.trial = Some((held.offer.clone(), 1));
        self.saved.touched = true;
        self.trial = Some((held, Trial::Applying));
        let mut effects = vec![self.save()];
        effects.extend(self.set(now));
        effects.push(Effect::Look);
        effects
    }

    fn ordered(&mut self, order: &IsolationOrder, now: Moment) -> Vec<Effect> {
        let same = |held: &Isolation| held.order == order.order && held.ordered == order.ordered;
        if self.saved.isolation.as_ref().is_some_and(same) {
            return Vec::new();
        }
        let holds = order.ordered == Ordered::Isolate;
        self.saved.isolation = Some(Isolation {
            order: order.order,
            ordered: order.ordered,
            since: holds.then_some(now.at),
        });
        self.saved.touched |= holds;
        let mut effects = vec![self.save()];
        effects.extend(self.set(now));
        effects.push(Effect::Look);
        effects
    }

    fn reached(&mut self, made: Uptime, now: Moment) -> Vec<Effect> {
        match self.trial.take() {
            Some((held, Trial::Confirming { since, .. })) if made >= since => {
                self.saved.good = Some(held.offer.clone());
                self.saved.trial = None;
                self.saved.returned = None;
                self.saved.unreadable = false;
                self.good = Some(held);
                // What waits for the confirmation is done at this look: the rules stay, the outbox gets its limit.
                self.keep_again_at = now.uptime;
                vec![self.save(), Effect::Look]
            }
            other => {
                self.trial = other;
                Vec::new()
            }
        }
    }

    fn tick(&mut self, now: Moment) -> Vec<Effect> {
        let late = |trial: &Trial| matches!(trial, Trial::Confirming { until, .. } if now.uptime >= *until);
        if self.trial.as_ref().is_some_and(|(_, trial)| late(trial)) {
            self.give_up(ReturnCause::ServerNotReached, now);
            let mut effects = vec![self.save()];
            effects.extend(self.set(now));
            effects.extend([Effect::Reconnect, Effect::Look]);
            return effects;
        }
        if now.uptime < self.look_at {
            return Vec::new();
        }
        self.look_at = now.uptime.plus(LOOK);
        if std::mem::take(&mut self.unsaved) {
            return vec![self.save(), Effect::Look];
        }
        vec![Effect::Look]
    }

    /// Back to the policy that held before.
    fn give_up(&mut self, cause: ReturnCause, now: Moment) {
        let from = match (&self.trial, &self.saved.trial) {
            (Some((held, _)), _) => held.accepted.mark,
            (None, Some((offer, _))) => offer_mark(offer).unwrap_or(NO_MARK),
            (None, None) => return,
        };
        let before = self.saved.returned.take().filter(|(one, _)| one.from == from);
        let times = before.map_or(1, |(_, times)| times.saturating_add(1));
        self.saved.returned = Some((
            Returned {
                from,
                cause,
                at: now.at,
            },
            times,
        ));
        self.retry_at = now.uptime.plus(RETRY * (1 << u32::from(times - 1).min(5)));
        self.saved.trial = None;
        self.trial = None;
    }

    /// What sets the box to what is wanted now; nothing on a box that never had a policy or an order.
    fn set(&mut self, now: Moment) -> Vec<Effect> {
        self.set_parts(now, &[Step::Sshd, Step::Network])
    }

    fn set_parts(&mut self, now: Moment, parts: &[Step]) -> Vec<Effect> {
        if !self.saved.touched {
            return Vec::new();
        }
        let target = self.target(now.at);
        let stays = self.stays();
        let request = |part: &Step| match part {
            Step::Sshd => Some(Request::SetSshd(target.sshd.clone())),
            Step::Network => {
                let rules = target.network.clone().map(Box::new);
                Some(if stays {
                    Request::SetNetwork(rules)
                } else {
                    Request::TryNetwork(rules)
                })
            }
            Step::Save => None,
        };
        let ask = |part: &Step| Some(Effect::Ask(*part, request(part)?));
        let effects = parts.iter().filter_map(ask).collect();
        self.setting = Some(target);
        self.applied = None;
        effects
    }

    fn was_set(&mut self, step: Step, answer: Answer, now: Moment) -> Vec<Effect> {
        match (step, &answer) {
            (_, Answer::Failed(why)) => {
                let why = why.clone();
                self.failed(step, &why, now)
            }
            (Step::Network, Answer::Network(table)) => {
                self.table = Some(table.points.clone());
                self.keep_again_at = now.uptime.plus(KEEP_AGAIN);
                self.observed.network = Part::Said(answer);
                Vec::new()
            }
            (Step::Network, _) => {
                self.table = None;
                self.observed.network = Part::Said(answer);
                Vec::new()
            }
            (Step::Sshd, _) => {
                self.sshd = match &answer {
                    Answer::Sshd(seen) => Some(seen.clone()),
                    _ => None,
                };
                self.observed.sshd = Part::Said(answer);
                Vec::new()
            }
            (Step::Save, _) => Vec::new(),
        }
    }

    fn done(&mut self, now: Moment) -> Vec<Effect> {
        let Some(target) = self.setting.take() else {
            return Vec::new();
        };
        self.applied = Some(target);
        if let Some((held, trial)) = &mut self.trial
            && *trial == Trial::Applying
        {
            let wait = Duration::from_secs(held.accepted.policy.get().confirm_s.into());
            *trial = Trial::Confirming {
                since: now.uptime,
                until: now.uptime.plus(wait),
            };
            return vec![Effect::Reconnect];
        }
        Vec::new()
    }

    fn failed(&mut self, step: Step, why: &str, now: Moment) -> Vec<Effect> {
        self.setting = None;
        self.applied = None;
        let said = Part::Said(Answer::Failed(why.to_owned()));
        match step {
            Step::Network => self.observed.network = said,
            Step::Sshd => self.observed.sshd = said,
            Step::Save => self.unsaved = true,
        }
        let applying = self
            .trial
            .as_ref()
            .is_some_and(|(_, trial)| *trial == Trial::Applying);
        self.set_again_at = now.uptime.plus(AGAIN);
        if !applying {
            // Containing does not wait for a disk: a full one must not keep a box open.
            return if step == Step::Save {
                self.set(now)
            } else {
                Vec::new()
            };
        }
        self.give_up(ReturnCause::StepFailed(ShortText::cut(why)), now);
        // Nothing was set when it could not be kept.
        if step == Step::Save {
            return Vec::new();
        }
        let mut effects = vec![self.save()];
        effects.extend(self.set(now));
        effects.push(Effect::Look);
        effects
    }

    fn seen(&mut self, observed: Observed, now: Moment) -> Vec<Effect> {
        self.observed = observed;
        self.looked = true;
        self.look_at = now.uptime.plus(LOOK);
        self.observed.facts.reads_bluetooth = self.me.reads_bluetooth;
        let mut effects = self.switch(now);
        effects.extend(self.put_back(now));
        effects
    }

    /// What of the radio is to be switched. That it was switched off is kept before.
    fn switch(&mut self, now: Moment) -> Vec<Effect> {
        let Some(adapters) = &self.observed.facts.adapters else {
            return Vec::new();
        };
        let policy = self.effective(now.at).1;
        let rule = policy.as_ref().and_then(|policy| policy.bluetooth.as_ref());
        let (reads, off_by_us) = (self.me.reads_bluetooth, self.saved.radio_off);
        let before = self.radio.clone();
        let orders = self.radio.look(rule, reads, off_by_us, adapters, now.uptime);
        if !orders.is_empty() && !self.radio.is_set_as(&before) {
            self.look_at = now.uptime.plus(SOON);
        }
        self.observed.facts.pairs_long = self.radio.pairs_long(now.uptime);
        let powers = |on| {
            let powers = |order: &radio::Order| order.switch == radio::Switch::Powered && order.on == on;
            orders.iter().any(powers)
        };
        // Who switched them all on since, or the box at its start, ended what we had done.
        let all_on = !adapters.is_empty() && adapters.iter().all(|adapter| adapter.powered);
        let off = powers(false) || self.saved.radio_off && !powers(true) && !all_on;
        let mut effects = Vec::new();
        if off != self.saved.radio_off {
            self.saved.radio_off = off;
            effects.push(self.save());
        }
        if !orders.is_empty() {
            effects.push(Effect::Radio(orders));
        }
        effects
    }

    /// The parts that are not as they should be, set anew.
    fn put_back(&mut self, now: Moment) -> Vec<Effect> {
        // A table of ours that nobody remembers: it was set when the disk was full, or the disk is another one.
        let ours =
            matches!(&self.observed.network, Part::Said(Answer::Network(table)) if !table.points.is_empty());
        self.saved.touched |= ours;
        if self.me.needs.by_name() {
            self.me.needs.resolvers.clone_from(&self.observed.facts.resolvers);
        }
        if !self.saved.touched || now.uptime < self.set_again_at || self.setting.is_some() {
            return Vec::new();
        }
        let target = self.target(now.at);
        let parts = self.to_set(&target, now);
        if parts.is_empty() {
            return Vec::new();
        }
        // A setting that somebody else changes all the time is not fought faster than this.
        self.set_again_at = now.uptime.plus(LOOK);
        self.set_parts(now, &parts)
    }

    /// The parts that are not set to what is wanted, or were changed and are to be put back. A table that is set anew
    /// forgets what it stopped, so it is left alone when it stands.
    fn to_set(&self, target: &Target, now: Moment) -> Vec<Step> {
        let applied = self.applied.as_ref();
        let sshd = applied.is_none_or(|applied| applied.sshd != target.sshd) || self.sshd_drifted(target);
        let network = applied.is_none_or(|applied| applied.network != target.network);
        let network = network || self.network_drifted(target) || self.network_is_not_kept(now);
        let parts = [(Step::Sshd, sshd), (Step::Network, network)];
        parts
            .into_iter()
            .filter_map(|(part, due)| due.then_some(part))
            .collect()
    }

    fn network_drifted(&self, target: &Target) -> bool {
        match (&self.observed.network, &self.table) {
            (Part::Said(Answer::Network(is)), Some(was)) => is.points != *was,
            (Part::Said(Answer::Network(is)), None) => target.network.is_some() || !is.points.is_empty(),
            _ => false,
        }
    }

    /// Whether what is set now is for the next start of the box, too: not what is only tried.
    fn stays(&self) -> bool {
        self.trial.is_none() || self.is_isolated()
    }

    /// The next start of the box would set something else. It is not tried at each look: setting forgets what was stopped.
    fn network_is_not_kept(&self, now: Moment) -> bool {
        let Part::Said(Answer::Network(is)) = &self.observed.network else {
            return false;
        };
        self.stays() && !is.kept && now.uptime >= self.keep_again_at
    }

    /// What stands as it did right after setting is not set again: setting does not change it.
    fn sshd_drifted(&self, target: &Target) -> bool {
        let (Some(rule), Part::Said(Answer::Sshd(seen))) = (&target.sshd, &self.observed.sshd) else {
            return false;
        };
        let mut items = sshd::SETTINGS.iter().map(|(_, item)| item);
        rule.on_drift == OnDrift::PutBack
            && self.sshd.as_ref() != Some(seen)
            && !items.all(|item| sshd::observed(rule, item, seen).1)
    }

    /// What this box says of its policy. Remembers since when each point stands as it does.
    pub fn report(&mut self, now: Timestamp) -> PolicyState {
        let (basis, policy) = self.effective(now);
        let mut points = Vec::new();
        if let Some(policy) = &policy {
            for point in policy.points() {
                let found = find(&point, policy, self.table.as_ref(), &self.observed);
                let since = match self.since.get(&point.id) {
                    Some((standing, since)) if *standing == found.standing => *since,
                    _ => now,
                };
                self.since
                    .insert(point.id.clone(), (found.standing.clone(), since));
                points.push(PointState {
                    wanted: point.shown(),
                    point: point.id,
                    hazard: point.hazard,
                    applied: found.applied,
                    observed: found.observed,
                    standing: found.standing,
                    since,
                });
            }
        }
        points.sort_by_key(|point| point.standing == Standing::Holds);
        let more = points.len().saturating_sub(MAX_POINTS);
        points.truncate(MAX_POINTS);
        PolicyState {
            taken_at: now,
            basis,
            policy: self.mark(),
            keyring: self.saved.floor.keyring,
            phase: self.phase(now),
            refused: self.refused.clone(),
            returned: self.saved.returned.as_ref().map(|(returned, _)| returned.clone()),
            isolation: self.saved.isolation.map(|isolation| self.holding(isolation, now)),
            points,
            more: u32::try_from(more).unwrap_or(u32::MAX),
        }
    }

    fn mark(&self) -> Option<PolicyMark> {
        self.held().map(|held| held.accepted.mark)
    }

    fn phase(&self, at: Timestamp) -> Phase {
        match &self.trial {
            Some((_, Trial::Confirming { .. })) => Phase::Confirming,
            Some((_, Trial::Applying)) => Phase::Applying,
            None if self.saved.touched && !self.is_set(at) => Phase::Applying,
            None => Phase::Settled,
        }
    }

    /// Whether all that is wanted at `at` was set, as far as this box can set it.
    fn is_set(&self, at: Timestamp) -> bool {
        self.applied.as_ref() == Some(&self.target(at))
    }

    /// An order holds on the box once the network is set for it, and not before.
    fn holding(&self, isolation: Isolation, at: Timestamp) -> Isolation {
        let set = self.is_set(at) && matches!(self.observed.network, Part::Said(Answer::Network(_)));
        Isolation {
            since: isolation.since.filter(|_| set),
            ..isolation
        }
    }
}

/// What an offer claims to be, for a refusal.
fn offer_mark(offer: &Offer) -> Option<PolicyMark> {
    let signed = homeward_protocol::signed::Signed::<Policy>::parse(&offer.policy.0).ok()?;
    Some(PolicyMark {
        version: signed.unverified().ok()?.version,
        digest: offer.digest(),
    })
}

const NO_MARK: PolicyMark = PolicyMark {
    version: homeward_protocol::policy::PolicyVersion(0),
    digest: homeward_protocol::policy::sign::SignedDigest([0; 32]),
};
