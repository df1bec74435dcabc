//! Shell: keeps the policies of a box, sets what they say through the helper, and tells the server how it stands.
//!
//! | file | holds |
//! |---|---|
//! | `policy.cbor` | what was taken, what is on trial, and the newest order ([`Saved`]) |
//! | `policy-state.json` | what was last told, for the command line |
#![expect(clippy::disallowed_methods, reason = "shell: files, and waiting")]

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::envelope::Item;
use homeward_protocol::id::SensorId;
use homeward_protocol::policy::Policy;
use homeward_protocol::policy::sign::Offer;
use homeward_protocol::policy::state::PolicyState;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::{ClockTrust, Timestamp};
use rustls::pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use x509_parser::asn1_rs::FromDer as _;
use x509_parser::certificate::X509Certificate;

use self::inbox::Inbox;
use super::ask::{Answer, Request};
use super::habits::Habits;
use super::helper::Helper;
use super::radio::{Adapter, Order};
use super::standing::people::Sights;
use super::standing::{Facts, Observed, Part};
use super::stopped::Told;
use super::{Effect, Heard, Input, Moment, Policies, Saved, Step, look};
use crate::clock::Clock;
use crate::config::Config;
use crate::disk::replace;
use crate::outbox::keeper::Outbox;
use crate::sense::Sensor;
use crate::status::LinkStatus;
use crate::support::InForce;
use crate::trials::{Trials, Tried};

mod inbox;

/// Longest file that is read, bytes: three policies at their longest.
const MAX_FILE: u64 = 512 * 1024;
const FILE: &str = "policy.cbor";
const STATE: &str = "policy-state.json";

/// What is kept in a data folder. Nothing kept is an empty one; `None` is what cannot be read.
pub fn load(data: &Path) -> Option<Saved> {
    match read(&data.join(FILE)) {
        Ok(bytes) => serde_cbor::from_slice(&bytes).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Saved::default()),
        Err(_) => None,
    }
}

/// What was last told.
pub fn told(data: &Path) -> Option<PolicyState> {
    serde_json::from_slice(&read(&data.join(STATE)).ok()?).ok()
}

/// The keys of these roots; what is no P-256 certificate is left out.
pub fn roots(trust: &[CertificateDer<'_>]) -> Vec<PublicKey> {
    let key = |der: &CertificateDer<'_>| {
        let (_, cert) = X509Certificate::from_der(der).ok()?;
        PublicKey::from_spki(cert.public_key().raw)
    };
    trust.iter().filter_map(key).collect()
}

/// What comes in a while.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the agent has of its own, before any policy.
#[derive(Debug, Clone)]
pub struct Own {
    /// Its configuration.
    pub config: Config,
    /// Its sensors.
    pub sensors: Vec<Sensor>,
    /// The devices that a guard stands before.
    pub guarded: BTreeSet<SensorId>,
}

/// What is to be seen for a policy, beyond what the agent sees by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Who can sign in and become root.
    pub accounts: bool,
    /// The time service.
    pub time: bool,
    /// The Bluetooth adapters.
    pub radio: bool,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// With rights.
    pub sights: Sights,
    /// The Bluetooth adapters; none when the stack does not answer.
    pub adapters: Option<Vec<Adapter>>,
}

/// Keeps the policies of one box.
pub struct Keeping {
    /// Where they are kept.
    pub data: PathBuf,
    /// What was decided so far, and what is to be done first.
    pub start: (Policies, Vec<Effect>),
    /// What the agent has of its own.
    pub own: Own,
    /// Where the habits that a policy wants are told.
    pub habits: watch::Sender<Arc<Habits>>,
    /// Who sees what the agent does not see by itself.
    pub eyes: fn(Want) -> Later<Seen>,
    /// Who switches what the Bluetooth stack has.
    pub radio: fn(Vec<Order>) -> Later<()>,
    /// Who sets what the agent may not.
    pub helper: Helper,
    /// Where reports go.
    pub outbox: Outbox,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// What the server sends.
    pub heard: mpsc::Receiver<Heard>,
    /// The state of the link.
    pub link: watch::Receiver<LinkStatus>,
    /// The roots that are trusted.
    pub trust: watch::Receiver<Vec<CertificateDer<'static>>>,
    /// Whoever is told here connects anew.
    pub reconnect: watch::Sender<u64>,
    /// What rules the box about support tunnels.
    pub support: watch::Sender<InForce>,
    /// Whether something else is on trial.
    pub trials: Trials,
}

impl Want {
    fn of(policy: Option<&Policy>, radio_off: bool) -> Want {
        Want {
            accounts: policy.is_some_and(|policy| policy.accounts.is_some()),
            time: policy.is_some_and(|policy| policy.time.is_some()),
            radio: radio_off || policy.is_some_and(|policy| policy.bluetooth.is_some()),
        }
    }
}

impl Keeping {
    /// Keeps them for ever.
    pub async fn run(mut self, stop: CancellationToken) {
        let (policies, effects) = self.start.clone();
        let mut state = Running {
            policies,
            stops: Told::default(),
            last: None,
            quota: None,
        };
        // An offer that waits; only the newest counts. One that a restart forgets is offered again.
        let mut waits: Option<Box<Offer>> = None;
        let trials = self.trials.clone();
        let mut turns = trials.turns();
        let mut inbox = Inbox::new(std::mem::replace(&mut self.heard, mpsc::channel(1).1));
        self.act(&mut state, &mut inbox, effects).await;
        loop {
            if !state.policies.is_on_trial() {
                trials.end(Tried::Policy);
            }
            let wait = state
                .policies
                .deadline()
                .since(self.clock.uptime())
                .max(Duration::from_millis(10));
            let input = tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => Input::Tick,
                // What is seen of the turn is let go: it would be in the way of who takes it.
                Ok(()) = async { turns.wait_for(Option::is_none).await.map(drop) }, if waits.is_some() => {
                    if !trials.begin(Tried::Policy) {
                        continue;
                    }
                    Input::Offered(waits.take())
                }
                heard = inbox.next() => match heard {
                    Some(Heard::Offer(Some(offer))) => {
                        if !trials.begin(Tried::Policy) {
                            tracing::info!("a policy is offered, and waits until the update on trial has ended");
                            waits = Some(offer);
                            continue;
                        }
                        waits = None;
                        Input::Offered(Some(offer))
                    }
                    Some(Heard::Offer(None)) => Input::Offered(None),
                    Some(Heard::Order(order)) => Input::Ordered(order),
                    None => return,
                },
                Ok(()) = self.link.changed() => match self.link.borrow_and_update().dialed {
                    Some(dialed) => Input::Reached(dialed),
                    None => continue,
                },
                Ok(()) = self.trust.changed() => Input::Roots(roots(&self.trust.borrow_and_update())),
            };
            self.step(&mut state, &mut inbox, input).await;
        }
    }

    async fn step(&mut self, state: &mut Running, inbox: &mut Inbox, input: Input) {
        let effects = state.policies.handle(input, self.moment());
        self.act(state, inbox, effects).await;
    }

    /// Does effects in order, and what follows from them; the rest of a row is left when one fails.
    ///
    /// What takes its time, as a look, keeps no support tunnel open that an order closes.
    async fn act(&mut self, state: &mut Running, inbox: &mut Inbox, effects: Vec<Effect>) {
        let mut row: VecDeque<Effect> = effects.into();
        let mut idle = row.is_empty();
        loop {
            self.tell(state, inbox.isolates()).await;
            let Some(effect) = row.pop_front() else {
                if idle {
                    return;
                }
                idle = true;
                row = state.policies.handle(Input::Done, self.moment()).into();
                continue;
            };
            idle = false;
            let (support, shut) = (
                self.support.clone(),
                state.policies.support_isolated(self.clock.now()),
            );
            let doing = self.perform(state, effect);
            let done = inbox.beside(doing, || tell_support(&support, &shut)).await;
            let Some(input) = done else {
                continue;
            };
            let fails = matches!(input, Input::Failed(..) | Input::Set(_, Answer::Failed(_)));
            let next = state.policies.handle(input, self.moment());
            if fails {
                row = next.into();
                idle = row.is_empty();
            } else {
                row.extend(next);
            }
        }
    }

    async fn perform(&mut self, state: &mut Running, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Save(saved) => {
                let bytes = serde_cbor::to_vec(&*saved).map_err(io::Error::other);
                let error = self.keep(FILE, bytes).await.err()?;
                tracing::error!(error = %error, "the policy could not be kept: {error}");
                Some(Input::Failed(
                    Step::Save,
                    format!("it could not be kept: {error}"),
                ))
            }
            Effect::Ask(step, request) => {
                let answer = self.helper.ask(&request).await;
                if let Answer::Failed(why) = &answer {
                    tracing::error!(policy.step = ?step, "a part of the policy could not be set: {why}");
                }
                Some(Input::Set(step, answer))
            }
            Effect::Radio(orders) => {
                (self.radio)(orders).await;
                None
            }
            Effect::Reconnect => {
                self.reconnect.send_modify(|count| *count += 1);
                None
            }
            Effect::Look => Some(Input::Seen(Box::new(self.look(state).await))),
        }
    }

    async fn look(&mut self, state: &mut Running) -> Observed {
        let now = self.clock.now();
        let policy = state.policies.effective(now).1;
        let habits = self.follow(policy.as_ref());
        let mut facts = habits.facts(&self.own.config, &self.own.sensors);
        facts.outbox_kib = self.limit(state, now).await / 1024;
        let (before, synced) = (facts.clone(), now.trust == ClockTrust::Synced);
        let looking = spawn_blocking(move || {
            look::look(&mut facts, synced);
            facts
        });
        let seen = (self.eyes)(Want::of(policy.as_ref(), state.policies.saved().radio_off)).await;
        let facts = Facts {
            guarded: self.own.guarded.clone(),
            adapters: seen.adapters,
            sights: seen.sights,
            ..looking.await.unwrap_or(before)
        };
        if !state.policies.asks_helper() {
            return Observed {
                facts,
                ..Observed::default()
            };
        }
        let network = self.helper.ask(&Request::SeeNetwork).await;
        if let Answer::Network(table) = &network {
            let devices = policy.as_ref().and_then(|policy| policy.devices.as_ref());
            for record in state.stops.news(table, devices, now) {
                self.push(Item::Stopped(record), now).await;
            }
        }
        let sshd = self.helper.ask(&Request::SeeSshd).await;
        Observed {
            network: Part::Said(network),
            sshd: Part::Said(sshd),
            facts,
        }
    }

    /// Everybody who follows the habits of the policy is told when they are others.
    fn follow(&self, policy: Option<&Policy>) -> Habits {
        let habits = Habits::of(policy);
        if **self.habits.borrow() != habits {
            self.habits.send_replace(Arc::new(habits.clone()));
        }
        habits
    }

    /// The outbox is told how much may wait when that is another than it was told last, which is none at first: it opens
    /// with what the box takes by itself. Gives what it was told last.
    async fn limit(&self, state: &mut Running, now: Timestamp) -> u64 {
        let own = self.own.config.quota;
        let quota = state.policies.quota(own, now);
        if state.quota != Some(quota) {
            match self.outbox.limit(quota).await {
                Ok(()) => state.quota = Some(quota),
                Err(error) => tracing::warn!(error = %error, "the outbox does not take its new limit"),
            }
        }
        state.quota.unwrap_or(own)
    }

    /// Tells how it stands when that changed.
    async fn tell(&mut self, state: &mut Running, isolates: bool) {
        let now = self.clock.now();
        let in_force = if isolates {
            state.policies.support_isolated(now)
        } else {
            state.policies.support(now)
        };
        tell_support(&self.support, &in_force);
        let report = state.policies.report(now);
        let same = |last: &PolicyState| {
            PolicyState {
                taken_at: last.taken_at,
                ..report.clone()
            } == *last
        };
        if state.last.as_ref().is_some_and(same) {
            return;
        }
        if self.push(Item::Policy(Box::new(report.clone())), now).await {
            let shown = serde_json::to_vec_pretty(&report).map_err(io::Error::other);
            if let Err(error) = self.keep(STATE, shown).await {
                tracing::warn!(error = %error, "the policy's state could not be written for the command line");
            }
            state.last = Some(report);
        }
    }

    /// Waits for the disk on a thread where nobody else waits.
    async fn keep(&self, name: &str, bytes: io::Result<Vec<u8>>) -> io::Result<()> {
        let (path, bytes) = (self.data.join(name), bytes?);
        let writing = spawn_blocking(move || replace(&path, &bytes));
        writing.await.map_err(io::Error::other)?
    }

    async fn push(&self, item: Item, now: Timestamp) -> bool {
        let kept = self.outbox.push(vec![item], now).await;
        if let Err(error) = &kept {
            tracing::warn!(error = %error, "could not keep a report of the policy");
        }
        kept.is_ok()
    }

    fn moment(&self) -> Moment {
        Moment {
            uptime: self.clock.uptime(),
            at: self.clock.now(),
        }
    }
}

struct Running {
    policies: Policies,
    stops: Told,
    last: Option<PolicyState>,
    /// How many bytes may wait, as the outbox was told last.
    quota: Option<u64>,
}

fn tell_support(support: &watch::Sender<InForce>, in_force: &InForce) {
    support.send_if_modified(|told| std::mem::replace(told, in_force.clone()) != *in_force);
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use homeward_protocol::alarm::{Alarm, Condition};
    use homeward_protocol::id::Epoch;

    use super::super::tests::{me, offer, policy};
    use super::*;
    use crate::outbox::keeper::{Keeper, Place};

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);
    const ROOM: u64 = 4 << 20;

    /// The keeping of a box that starts with what is kept, and what it remembers.
    fn started(saved: Saved, outbox: &Outbox) -> (Keeping, Running) {
        let clock = Arc::new(Clock::with_floor(NOW.ms));
        let moment = Moment {
            uptime: clock.uptime(),
            at: clock.now(),
        };
        let start = Policies::resume(Some(saved), me(), moment);
        let policies = start.0.clone();
        let habits = Habits::of(policies.effective(NOW).1.as_ref());
        let config = Config::parse("[outbox]\nquota_kib = 4096\n").expect("a configuration");
        let keeping = Keeping {
            data: PathBuf::new(),
            start,
            own: Own {
                config,
                sensors: Vec::new(),
                guarded: BTreeSet::new(),
            },
            habits: watch::Sender::new(Arc::new(habits)),
            eyes: |_| Box::pin(async { Seen::default() }),
            radio: |_| Box::pin(async {}),
            helper: Helper {
                socket: "/nowhere/apply.sock".into(),
            },
            outbox: outbox.clone(),
            clock,
            heard: mpsc::channel(1).1,
            link: watch::Sender::default().subscribe(),
            trust: watch::Sender::default().subscribe(),
            reconnect: watch::Sender::new(0),
            support: watch::Sender::default(),
            trials: Trials::with(None),
        };
        let running = Running {
            policies,
            stops: Told::default(),
            last: None,
            quota: None,
        };
        (keeping, running)
    }

    /// Whether records are given up at a policy's 256 KiB, of the 4 MiB that the box has by itself.
    async fn gives_up(saved: Saved) -> (bool, u64) {
        let keeper = Keeper::start().expect("a thread");
        let opened = keeper.open(Place::Memory, ROOM, Epoch(1), NOW).await;
        let outbox = opened.expect("opens").0;
        let (mut keeping, mut state) = started(saved, &outbox);
        let observed = keeping.look(&mut state).await;
        let alarm = |n| {
            Item::Alarm(Alarm {
                condition: Condition::TpmSilent,
                sensor: None,
                active: true,
                at: NOW.plus_ms(n),
            })
        };
        outbox
            .push((0..8_000).map(alarm).collect(), NOW)
            .await
            .expect("keeps");
        outbox.push(vec![alarm(8_000)], NOW).await.expect("keeps");
        let ledger = *outbox.ledger().borrow();
        assert!(ledger.bytes() > 256 * 1024 || ledger.lost > 0, "{ledger:?}");
        (ledger.lost > 0, observed.facts.outbox_kib)
    }

    #[tokio::test]
    async fn a_policys_limit_holds_after_a_restart_and_takes_nothing_before_it_is_confirmed() {
        let mut tight = policy(7);
        tight.retention.as_mut().expect("ruled").outbox_kib = 256;
        let confirmed = Saved {
            good: Some(offer(&tight)),
            ..Saved::default()
        };
        assert_eq!(gives_up(confirmed).await, (true, 256));
        let tried = Saved {
            trial: Some((offer(&tight), 1)),
            ..Saved::default()
        };
        assert_eq!(gives_up(tried).await, (false, 4096), "and that is what is said");
    }
}
