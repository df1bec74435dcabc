//! Sequences of policies, orders, restarts, power cuts at every effect, failures and clock jumps.

use homeward_protocol::policy::check::check;
use homeward_protocol::policy::rules::{Bluetooth, RadioMode};
use homeward_protocol::policy::sign::{Keyring, Refusal, Review, SecondPerson, SignedDigest, SigningKey};
use homeward_protocol::policy::{Audience, PolicyVersion};
use homeward_protocol::signed::{Signed, Signer};
use homeward_protocol::time::ClockTrust;
use homeward_protocol::wire::Bytes;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use std::sync::LazyLock;

mod faults;

use super::ask::Table;
use super::rules::Network;
use super::*;

const START: i64 = 1_795_000_000_000;
const MINUTE: u64 = 60_000;

struct Key(EcdsaKeyPair);

impl Key {
    #[expect(clippy::disallowed_methods, reason = "tests: randomness")]
    fn new() -> Key {
        let rng = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
        Key(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng).expect("a key"))
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_point(self.0.public_key().as_ref()).expect("a point")
    }
}

impl Signer for Key {
    #[expect(clippy::disallowed_methods, reason = "tests: randomness")]
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signature = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|e| e.to_string())?;
        signature
            .as_ref()
            .try_into()
            .map_err(|_| "not 64 bytes".to_owned())
    }
}

static HOUSE: LazyLock<[Key; 3]> = LazyLock::new(|| [Key::new(), Key::new(), Key::new()]);

pub(super) fn policy(version: u64) -> Policy {
    let text = include_str!("../../../protocol/tests/policies/every-rule.toml");
    let mut policy = check(text).policy.expect("a policy");
    policy.version = PolicyVersion(version);
    policy.audience = Audience::All;
    // So that each version is another target.
    policy.sshd.as_mut().expect("ruled").max_auth_tries = Some(u8::try_from(version % 9).unwrap_or(0) + 1);
    policy
}

pub(super) fn offer(policy: &Policy) -> Offer {
    let [root, ann, ben] = &*HOUSE;
    let key = |key: &Key, name: &str| SigningKey {
        name: ShortText::cut(name),
        key: key.public(),
    };
    let keyring = Keyring {
        version: 1,
        issued: policy.issued,
        expires: policy.expires,
        authors: vec![key(ann, "ann")],
        reviewers: vec![key(ben, "ben")],
        second_person: SecondPerson::Required,
    };
    let signed = Signed::seal(policy, ann).expect("seals");
    let review = Review {
        policy: SignedDigest::of(&signed),
        version: policy.version,
        at: policy.issued,
    };
    Offer {
        keyring: Bytes(Signed::seal(&keyring, root).expect("seals")),
        policy: Bytes(signed),
        review: Some(Bytes(Signed::seal(&review, ben).expect("seals"))),
        groups: Vec::new(),
    }
}

fn order(number: u64, ordered: Ordered) -> IsolationOrder {
    IsolationOrder {
        order: number,
        ordered,
        reason: ShortText::cut("a test"),
        at: Timestamp::synced(START),
    }
}

pub(super) fn me() -> Me {
    Me {
        gateway: "gw-1".parse().expect("an id"),
        roots: vec![HOUSE[0].public()],
        needs: Needs {
            agent: 999,
            server_ports: vec![8883],
            vital: vec![rules::Vital {
                peer: Some("192.0.2.7".parse().expect("a network")),
                port: 502,
            }],
            resolvers: Vec::new(),
        },
        reads_bluetooth: false,
    }
}

/// The table as it is listed when these rules were set.
fn listed(rules: Option<&Network>) -> Table {
    let made = nftables::transaction(rules);
    let parts = made["nftables"].as_array().into_iter().flatten();
    let parts: Vec<Value> = parts.filter_map(|one| one.get("add").cloned()).collect();
    nftables::read(&json!({ "nftables": parts })).expect("a listing")
}

/// A box: what is on its disk and what is set on it, which outlast the agent.
struct Home {
    disk: Option<Saved>,
    set: Target,
    /// What the start of the box sets of the network, before the agent starts.
    kept: Option<Network>,
    /// Whether a policy of this version lets the server be reached.
    cuts_off: u64,
    breaks: Option<Step>,
    policies: Policies,
    uptime: u64,
    clock_ms: i64,
    /// Whether anything said so far what time it is.
    synced: bool,
    /// When the connection that stands was dialled.
    dialed_at: Option<u64>,
    /// Effects until the power is cut.
    fuse: Option<usize>,
    reconnects: u32,
    /// Somebody changed the network since the box set it.
    by_hand: bool,
    /// Whatever our file says, its sshd lets passwords in.
    sshd_stays_open: bool,
    /// What was set, in order.
    asked: Vec<Step>,
}

impl Home {
    fn new() -> Home {
        let now = Moment {
            uptime: Uptime(0),
            at: Timestamp::synced(START),
        };
        let (policies, effects) = Policies::resume(Some(Saved::default()), me(), now);
        assert_eq!(
            effects,
            [Effect::Look],
            "a box that never had a policy is left alone"
        );
        Home {
            disk: Some(Saved::default()),
            set: Target::default(),
            kept: None,
            cuts_off: 0,
            breaks: None,
            policies,
            uptime: 0,
            clock_ms: START,
            synced: true,
            dialed_at: None,
            fuse: None,
            reconnects: 0,
            by_hand: false,
            sshd_stays_open: false,
            asked: Vec::new(),
        }
    }

    fn now(&self) -> Moment {
        let mut at = Timestamp::synced(self.clock_ms);
        if !self.synced {
            at.trust = ClockTrust::Unsynced;
        }
        Moment {
            uptime: Uptime(self.uptime),
            at,
        }
    }

    fn input(&mut self, input: Input) {
        let effects = self.policies.handle(input, self.now());
        self.act(effects);
    }

    /// The kernel's table goes with the power; files stay, and the start of the box sets what was kept.
    fn cut_the_power(&mut self) {
        self.set.network = self.kept.clone();
        self.dialed_at = None;
    }

    fn restart(&mut self) {
        let (policies, effects) = Policies::resume(self.disk.clone(), me(), self.now());
        self.policies = policies;
        self.act(effects);
    }

    /// As the shell does it.
    fn act(&mut self, effects: Vec<Effect>) {
        let mut row: std::collections::VecDeque<Effect> = effects.into();
        let mut idle = row.is_empty();
        loop {
            self.promises();
            let Some(effect) = row.pop_front() else {
                if idle {
                    return;
                }
                idle = true;
                row = self.policies.handle(Input::Done, self.now()).into();
                continue;
            };
            idle = false;
            if let Some(left) = &mut self.fuse {
                if *left == 0 {
                    self.fuse = None;
                    self.cut_the_power();
                    return self.restart();
                }
                *left -= 1;
            }
            let Some(input) = self.perform(effect) else {
                continue;
            };
            let fails = matches!(input, Input::Failed(..) | Input::Set(_, Answer::Failed(_)));
            let next = self.policies.handle(input, self.now());
            if fails {
                row = next.into();
                idle = row.is_empty();
            } else {
                row.extend(next);
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Save(_) if self.breaks == Some(Step::Save) => {
                Some(Input::Failed(Step::Save, "no space left on device".into()))
            }
            Effect::Save(saved) => {
                self.disk = Some(*saved);
                None
            }
            Effect::Ask(step, _) if self.breaks == Some(step) => {
                Some(Input::Set(step, Answer::Failed("nft failed half-way".into())))
            }
            Effect::Ask(step, request @ (Request::SetNetwork(_) | Request::TryNetwork(_))) => {
                self.asked.push(step);
                let stays = matches!(request, Request::SetNetwork(_));
                let (Request::SetNetwork(rules) | Request::TryNetwork(rules)) = request else {
                    return None;
                };
                self.set.network = rules.map(|rules| *rules);
                if stays && (self.breaks != Some(Step::Save) || self.set.network.is_none()) {
                    self.kept.clone_from(&self.set.network);
                }
                self.by_hand = false;
                Some(Input::Set(step, self.network()))
            }
            Effect::Ask(step, Request::SetSshd(rule)) => {
                self.asked.push(step);
                self.set.sshd = rule;
                Some(Input::Set(step, self.sshd()))
            }
            Effect::Ask(..) | Effect::Radio(_) => None,
            Effect::Reconnect => {
                self.reconnects += 1;
                self.dialed_at = None;
                None
            }
            Effect::Look => {
                let observed = Observed {
                    network: Part::Said(self.network()),
                    sshd: Part::Said(self.sshd()),
                    ..Observed::default()
                };
                Some(Input::Seen(Box::new(observed)))
            }
        }
    }

    fn network(&self) -> Answer {
        Answer::Network(Table {
            kept: self.kept == self.set.network,
            ..listed(self.set.network.as_ref())
        })
    }

    fn sshd(&self) -> Answer {
        let file = self
            .set
            .sshd
            .as_ref()
            .map(|rule| sshd::file(rule, &BTreeMap::new()));
        let mut seen = file.map(|file| sshd::read(&file)).unwrap_or_default();
        if self.sshd_stays_open {
            seen.insert("passwordauthentication".into(), "yes".into());
        }
        Answer::Sshd(seen)
    }

    /// Whether the rules that are set now let the agent reach its server.
    fn reachable(&self) -> bool {
        let tries = self.set.sshd.as_ref().and_then(|rule| rule.max_auth_tries);
        let cut = u8::try_from(self.cuts_off % 9).unwrap_or(0) + 1;
        self.cuts_off == 0 || tries != Some(cut)
    }

    fn wait(&mut self, ms: u64) {
        let end = self.uptime + ms;
        while self.uptime < end {
            let next = self.policies.deadline().0.clamp(self.uptime + 1, end);
            self.clock_ms += i64::try_from(next - self.uptime).expect("short");
            self.uptime = next;
            if self.reachable() {
                let dialed = *self.dialed_at.get_or_insert(self.uptime);
                self.input(Input::Reached(Uptime(dialed)));
            } else {
                self.dialed_at = None;
            }
            self.input(Input::Tick);
        }
    }

    /// What must hold at every moment.
    fn promises(&mut self) {
        let now = self.now().at;
        let report = self.policies.clone().report(now);
        // Reported as settled: then all of it is set.
        if report.phase == Phase::Settled && self.policies.saved.touched && !self.by_hand {
            assert_eq!(
                self.policies.applied.as_ref(),
                Some(&self.set),
                "settled, and something else is set"
            );
        }
        let isolated = report
            .isolation
            .is_some_and(|isolation| isolation.since.is_some());
        if isolated && !self.by_hand {
            let rules = self.set.network.as_ref();
            assert!(rules.is_some_and(only_vital), "isolated, and the network is open");
        }
        // Whatever is set keeps the vital flow.
        if let Some(network) = self.set.network.as_ref().filter(|rules| rules.outbound.is_some()) {
            let made = nftables::transaction(Some(network)).to_string();
            assert!(made.contains(VITAL), "{made}");
        }
    }
}

/// How the agent's way to its sensor stands in a transaction.
const VITAL: &str = r#""expr":[{"match":{"left":{"payload":{"field":"daddr","protocol":"ip"}},"op":"==","right":"192.0.2.7"}},{"match":{"left":{"payload":{"field":"dport","protocol":"tcp"}},"op":"==","right":502}},{"match":{"left":{"meta":{"key":"skuid"}},"op":"==","right":999}},{"accept":null}]"#;

fn only_vital(rules: &Network) -> bool {
    rules.outbound.as_ref().is_some_and(|rule| rule.flow.is_empty())
        && rules.inbound.as_ref().is_some_and(|rule| rule.flow.is_empty())
        && rules.devices.as_ref().is_some_and(|rule| rule.device.is_empty())
}

fn taken(home: &Home) -> Option<u64> {
    home.policies
        .good
        .as_ref()
        .map(|held| held.accepted.mark.version.0)
}

#[test]
fn a_policy_is_applied_confirmed_and_holds() {
    let mut home = Home::new();
    home.input(Input::Offered(Some(Box::new(offer(&policy(7))))));
    let report = home.policies.report(home.now().at);
    assert_eq!(
        (report.phase, taken(&home)),
        (Phase::Confirming, None),
        "applied is not confirmed"
    );
    assert_eq!(home.reconnects, 1, "what is confirmed is a new connection");
    home.wait(MINUTE);
    let report = home.policies.report(home.now().at);
    assert_eq!((report.phase, taken(&home)), (Phase::Settled, Some(7)));
    assert_eq!(home.set, Target::of(Some(&policy(7)), &me().needs));
    let network = |point: &&PointState| point.point.to_string().starts_with("outbound");
    assert!(
        report
            .points
            .iter()
            .filter(network)
            .all(|point| point.standing == Standing::Holds),
        "{report:#?}"
    );
}

#[test]
fn a_policy_that_cuts_the_server_off_is_left_in_its_time_and_tried_again_later() {
    let mut home = Home::new();
    home.input(Input::Offered(Some(Box::new(offer(&policy(7))))));
    home.wait(MINUTE);
    home.cuts_off = 8;
    let bad = offer(&policy(8));
    home.input(Input::Offered(Some(Box::new(bad.clone()))));
    home.wait(239_000);
    assert!(!home.reachable(), "on trial");
    home.wait(2_000);
    assert_eq!((home.reachable(), taken(&home)), (true, Some(7)));
    let returned = home.policies.report(home.now().at).returned.expect("told");
    assert_eq!(
        (returned.from.version.0, returned.cause),
        (8, ReturnCause::ServerNotReached)
    );
    home.input(Input::Offered(Some(Box::new(bad.clone()))));
    assert!(home.reachable(), "not at once again");
    home.wait(61 * MINUTE);
    // The operator mended the network, not the policy.
    home.cuts_off = 0;
    home.input(Input::Offered(Some(Box::new(bad))));
    home.wait(MINUTE);
    assert_eq!(taken(&home), Some(8));
    assert_eq!(home.policies.report(home.now().at).returned, None);
}

#[test]
fn a_part_that_cannot_be_set_leaves_what_held_before_and_says_why() {
    for step in [Step::Network, Step::Sshd, Step::Save] {
        let mut home = Home::new();
        home.input(Input::Offered(Some(Box::new(offer(&policy(7))))));
        home.wait(MINUTE);
        let before = home.set.clone();
        home.breaks = Some(step);
        home.input(Input::Offered(Some(Box::new(offer(&policy(8))))));
        home.wait(MINUTE);
        home.breaks = None;
        home.wait(5 * MINUTE);
        assert_eq!((home.set.clone(), taken(&home)), (before, Some(7)), "{step:?}");
        let returned = home.policies.report(home.now().at).returned.expect("told");
        assert!(matches!(returned.cause, ReturnCause::StepFailed(_)), "{step:?}");
        home.restart();
        home.wait(MINUTE);
        assert_eq!(taken(&home), Some(7), "{step:?}");
    }
}

#[test]
fn a_radio_that_a_person_switched_on_and_off_again_stays_off_when_the_policy_goes() {
    let mut home = Home::new();
    let mut off = policy(7);
    off.bluetooth = Some(Bluetooth {
        hazard: "h-1".parse().expect("an id"),
        mode: RadioMode::Off,
        on_drift: OnDrift::Report,
    });
    home.input(Input::Offered(Some(Box::new(offer(&off)))));
    let orders = |home: &mut Home, powered| {
        let adapter = radio::Adapter {
            path: "/org/bluez/hci0".into(),
            powered,
            discoverable: false,
            pairable: false,
        };
        let facts = standing::Facts {
            adapters: Some(vec![adapter]),
            ..standing::Facts::default()
        };
        let observed = Observed {
            network: Part::Said(home.network()),
            sshd: Part::Said(home.sshd()),
            facts,
        };
        let effects = home.policies.handle(Input::Seen(Box::new(observed)), home.now());
        let switches = |effect: &Effect| match effect {
            Effect::Radio(orders) => orders.iter().map(|order| order.on).collect(),
            _ => Vec::new(),
        };
        let all: Vec<bool> = effects.iter().flat_map(switches).collect();
        home.act(effects);
        all
    };
    assert_eq!(orders(&mut home, true), [false], "switched off by us");
    assert!(orders(&mut home, false).is_empty());
    assert!(home.policies.saved().radio_off);
    // A person switches it on, which is told, and off again.
    assert!(orders(&mut home, true).is_empty());
    assert!(!home.policies.saved().radio_off);
    assert!(orders(&mut home, false).is_empty());
    let mut open = policy(8);
    open.bluetooth = None;
    home.input(Input::Offered(Some(Box::new(offer(&open)))));
    assert!(orders(&mut home, false).is_empty(), "it is the person's");
}

#[test]
fn what_was_set_is_in_force_after_a_power_cut_before_the_agent_starts() {
    let mut home = Home::new();
    home.input(Input::Offered(Some(Box::new(offer(&policy(7))))));
    home.wait(MINUTE);
    let before = home.set.clone();
    home.cut_the_power();
    assert_eq!(home.set, before);
    home.input(Input::Ordered(order(1, Ordered::Isolate)));
    home.cut_the_power();
    assert!(home.set.network.as_ref().is_some_and(only_vital));
    home.restart();
    // On a full disk it is set all the same, told, and kept when there is room.
    home.breaks = Some(Step::Save);
    home.input(Input::Ordered(order(2, Ordered::Lift)));
    assert_eq!(home.set, before);
    let told = |home: &mut Home| {
        let points = home.policies.report(home.now().at).points;
        let point = points
            .iter()
            .find(|point| point.point.to_string() == "outbound/others");
        let point = point.expect("a point");
        let observed = point.observed.as_ref().map(|said| said.as_str().to_owned());
        (point.standing.clone(), observed.unwrap_or_default())
    };
    let (standing, observed) = told(&mut home);
    assert_eq!(standing, Standing::Holds);
    assert!(observed.contains("until the box starts again"), "{observed}");
    home.breaks = None;
    home.asked.clear();
    home.wait(20 * MINUTE);
    assert_eq!(
        (home.asked.as_slice(), &home.kept),
        (&[Step::Network][..], &before.network)
    );
    assert!(!told(&mut home).1.contains("until"));
}

#[test]
fn what_is_tried_is_not_set_at_the_start_of_the_box_before_it_is_confirmed() {
    let mut home = Home::new();
    home.input(Input::Offered(Some(Box::new(offer(&policy(7))))));
    assert_eq!(home.kept, None, "on trial");
    home.wait(MINUTE);
    let confirmed = home.kept.clone();
    assert_eq!((taken(&home), &confirmed), (Some(7), &home.set.network));
    home.cuts_off = 8;
    let mut other = policy(8);
    other.outbound.as_mut().expect("ruled").flow.clear();
    home.input(Input::Offered(Some(Box::new(offer(&other)))));
    home.wait(MINUTE);
    assert_ne!(home.set.network, confirmed);
    assert_eq!(home.kept, confirmed, "the box starts as it was confirmed");
    // Isolation waits for no confirmation.
    home.input(Input::Ordered(order(1, Ordered::Isolate)));
    assert!(home.kept.as_ref().is_some_and(only_vital));
    home.input(Input::Ordered(order(2, Ordered::Lift)));
    home.wait(20 * MINUTE);
    assert_eq!((taken(&home), &home.kept), (Some(7), &confirmed));
}

#[test]
fn an_order_isolates_at_once_outlasts_restarts_and_a_full_disk_and_is_lifted() {
    let mut home = Home::new();
    home.input(Input::Offered(Some(Box::new(offer(&policy(7))))));
    home.wait(MINUTE);
    home.input(Input::Ordered(order(1, Ordered::Isolate)));
    assert!(home.set.network.as_ref().is_some_and(only_vital));
    assert!(
        home.policies
            .report(home.now().at)
            .isolation
            .is_some_and(|one| one.since.is_some())
    );
    home.restart();
    home.wait(MINUTE);
    assert!(home.set.network.as_ref().is_some_and(only_vital));
    home.input(Input::Ordered(order(2, Ordered::Lift)));
    assert_eq!(home.set, Target::of(Some(&policy(7)), &me().needs));
    home.breaks = Some(Step::Save);
    home.input(Input::Ordered(order(3, Ordered::Isolate)));
    assert!(
        home.set.network.as_ref().is_some_and(only_vital),
        "a full disk keeps no box open"
    );
    // A box without any policy, too.
    let mut bare = Home::new();
    bare.input(Input::Ordered(order(1, Ordered::Isolate)));
    assert!(bare.set.network.as_ref().is_some_and(only_vital));
    bare.input(Input::Ordered(order(2, Ordered::Lift)));
    assert_eq!(bare.set, Target::default());
}

#[test]
fn support_tunnels_hear_when_their_policy_ends_and_what_isolation_would_leave_them() {
    for (on_expiry, ends) in [
        (OnExpiry::Strict, Some(policy(7).expires.ms())),
        (OnExpiry::Keep, None),
    ] {
        let mut home = Home::new();
        let mut policy = policy(7);
        policy.on_expiry = on_expiry;
        home.input(Input::Offered(Some(Box::new(offer(&policy)))));
        home.wait(MINUTE);
        let at = home.now().at;
        let told = home.policies.support(at);
        assert_eq!(told.ends.map(|ends| ends.ms), ends);
        let would = home.policies.support_isolated(at);
        home.input(Input::Ordered(order(1, Ordered::Isolate)));
        assert_eq!(home.policies.support(at), would);
        assert_eq!(home.policies.support_isolated(at), would);
    }
}

#[test]
fn the_end_of_a_policy_and_what_cannot_be_read_lead_to_the_strict_one() {
    let mut home = Home::new();
    home.input(Input::Offered(Some(Box::new(offer(&policy(7))))));
    home.wait(MINUTE);
    home.clock_ms = policy(7).expires.ms() + 1;
    home.wait(2 * MINUTE);
    assert_eq!(
        home.policies.report(home.now().at).basis,
        Basis::StrictAfterExpiry
    );
    assert!(home.set.network.as_ref().is_some_and(only_vital));
    // The clock was wrong.
    home.clock_ms = START + 600_000;
    home.wait(2 * MINUTE);
    assert_eq!(home.set, Target::of(Some(&policy(7)), &me().needs));
    home.disk = None;
    home.restart();
    assert_eq!(home.policies.report(home.now().at).basis, Basis::StrictUnreadable);
    assert!(home.set.network.as_ref().is_some_and(only_vital));
    // Also after something else was kept, until a policy is confirmed.
    home.input(Input::Ordered(order(1, Ordered::Lift)));
    home.restart();
    assert_eq!(home.policies.report(home.now().at).basis, Basis::StrictUnreadable);
    home.input(Input::Offered(Some(Box::new(offer(&policy(8))))));
    home.wait(MINUTE);
    home.restart();
    home.wait(MINUTE);
    assert_eq!(
        (home.policies.report(home.now().at).basis, taken(&home)),
        (Basis::Signed, Some(8))
    );
    // What an older agent kept.
    let kept = serde_cbor::to_vec(home.disk.as_ref().expect("kept")).expect("writes");
    let mut kept: BTreeMap<String, serde_cbor::Value> = serde_cbor::from_slice(&kept).expect("reads");
    assert!(kept.remove("unreadable").is_some());
    let older: Saved = serde_cbor::from_slice(&serde_cbor::to_vec(&kept).expect("writes")).expect("reads");
    assert_eq!(Some(older), home.disk);
}

#[test]
fn a_root_that_goes_takes_its_policies_along_and_one_that_comes_back_brings_them() {
    let mut home = Home::new();
    home.input(Input::Offered(Some(Box::new(offer(&policy(7))))));
    home.wait(MINUTE);
    home.input(Input::Roots(vec![HOUSE[1].public()]));
    home.wait(MINUTE);
    assert_eq!(home.policies.report(home.now().at).basis, Basis::StrictUnreadable);
    assert!(home.set.network.as_ref().is_some_and(only_vital));
    home.input(Input::Roots(vec![HOUSE[0].public()]));
    home.wait(MINUTE);
    assert_eq!(home.set, Target::of(Some(&policy(7)), &me().needs));
    // One on trial goes on, or is left.
    home.cuts_off = 8;
    home.input(Input::Offered(Some(Box::new(offer(&policy(8))))));
    home.input(Input::Roots(vec![HOUSE[0].public(), HOUSE[1].public()]));
    assert_eq!(home.policies.report(home.now().at).phase, Phase::Confirming);
    home.input(Input::Roots(vec![HOUSE[1].public()]));
    let returned = home.policies.report(home.now().at).returned.expect("told");
    assert_eq!(returned.from.version.0, 8);
    assert!(matches!(returned.cause, ReturnCause::StepFailed(_)));
}

#[test]
fn a_trial_is_confirmed_by_a_connection_that_was_dialled_under_its_rules() {
    let mut home = Home::new();
    let begun = home.uptime;
    home.uptime += 1;
    home.input(Input::Offered(Some(Box::new(offer(&policy(7))))));
    home.uptime += 1000;
    home.input(Input::Reached(Uptime(begun)));
    assert_eq!(taken(&home), None, "dialled before, let in afterwards");
    home.input(Input::Reached(home.now().uptime));
    assert_eq!(taken(&home), Some(7));
}

#[test]
fn only_what_drifted_is_set_and_what_setting_does_not_change_is_left() {
    let mut home = Home::new();
    home.input(Input::Offered(Some(Box::new(offer(&policy(7))))));
    home.wait(2 * MINUTE);
    home.asked.clear();
    home.set.sshd = None;
    home.by_hand = true;
    home.wait(MINUTE);
    assert_eq!(home.asked, [Step::Sshd], "what the table remembers stays");
    home.asked.clear();
    home.set.network = None;
    home.by_hand = true;
    home.wait(MINUTE);
    assert_eq!(home.asked, [Step::Network]);
    home.asked.clear();
    home.sshd_stays_open = true;
    home.wait(20 * MINUTE);
    assert_eq!(home.asked, [Step::Sshd], "tried once");
    let points = home.policies.report(home.now().at).points;
    let open = |point: &&PointState| point.point.to_string() == "sshd/password-login";
    let standing = points.iter().find(open).map(|point| &point.standing);
    assert_eq!(standing, Some(&Standing::Drifted), "and told");
}

#[test]
fn a_table_that_was_left_behind_is_taken_away() {
    let mut home = Home::new();
    home.set.network = Some(Target::of(Some(&policy(7)), &me().needs).network.expect("ruled"));
    home.by_hand = true;
    // Taking away fails at first, so that nobody knows what was read back.
    home.breaks = Some(Step::Network);
    home.wait(2 * MINUTE);
    home.breaks = None;
    home.wait(3 * MINUTE);
    assert_eq!(home.set, Target::default());
    // It comes back while the box says that it cannot look.
    let left = listed(Target::of(Some(&policy(7)), &me().needs).network.as_ref());
    home.policies.table = None;
    let observed = Observed {
        network: Part::Said(Answer::Network(Table { kept: true, ..left })),
        sshd: Part::Said(home.sshd()),
        ..Observed::default()
    };
    home.asked.clear();
    home.input(Input::Seen(Box::new(observed)));
    assert_eq!(home.asked, [Step::Network]);
}

#[test]
fn a_change_by_hand_is_found_within_a_minute_and_put_back() {
    let mut home = Home::new();
    home.input(Input::Offered(Some(Box::new(offer(&policy(7))))));
    home.wait(2 * MINUTE);
    home.set.network = None;
    home.set.sshd = None;
    home.by_hand = true;
    home.wait(MINUTE);
    assert_eq!(home.set, Target::of(Some(&policy(7)), &me().needs));
}

#[test]
fn an_answer_stays_within_its_line_when_every_set_is_full() {
    let element = |way: &str, port: u32| {
        let address = format!("2001:db8:ffff:ffff:ffff:ffff:ffff:{port:x}");
        let pieces = match way {
            "out" => json!([4_294_967_294_u32, address, "tcp", 65535]),
            "in" => json!([address, "tcp", 65535]),
            _ => json!([address, address, "tcp", 65535]),
        };
        json!({ "elem": { "val": { "concat": pieces }, "timeout": 3600, "expires": 3599 } })
    };
    let mut sets = Vec::new();
    for way in ["out", "in", "through"] {
        for end in ["4", "4-other", "6", "6-other"] {
            let elements: Vec<Value> = (0..1024).map(|port| element(way, port)).collect();
            sets.push(json!({ "set": { "name": format!("stopped-{way}-{end}"), "elem": elements } }));
        }
    }
    let table = nftables::read(&json!({ "nftables": sets })).expect("a listing");
    assert_eq!((table.stopped.len(), table.more), (4096, 12 * 1024 - 4096));
    let answer = serde_json::to_vec(&Answer::Network(table)).expect("writes");
    assert!(answer.len() < ask::MAX_LINE / 2, "{}", answer.len());
}

#[test]
fn a_way_to_something_known_by_name_is_a_way_to_the_boxes_own_resolvers() {
    let mut needs = me().needs;
    assert!(!needs.by_name());
    needs.vital.push(rules::Vital::to("ups.local", 502));
    assert!(needs.by_name());
    needs.resolvers = vec!["192.0.2.53".parse().expect("a network")];
    let rules = Target::of(Some(&policy(7)), &needs).network.expect("ruled");
    let made = nftables::transaction(Some(&rules)).to_string();
    assert!(made.contains("192.0.2.53"), "{made}");
    // What the box is set to ask may change while the agent runs.
    let mut home = Home::new();
    home.policies
        .me
        .needs
        .vital
        .push(rules::Vital::to("ups.local", 502));
    let facts = standing::Facts {
        resolvers: needs.resolvers.clone(),
        ..standing::Facts::default()
    };
    let observed = Observed {
        facts,
        ..Observed::default()
    };
    home.policies.handle(Input::Seen(Box::new(observed)), home.now());
    assert_eq!(home.policies.me.needs.resolvers, needs.resolvers);
}

#[derive(Debug, Clone)]
enum Move {
    Offer(u64),
    CutsOff(u64),
    Order(u64, bool),
    Wait(u64),
    Restart,
    PowerCut(usize),
    Breaks(Option<Step>),
    ClockJump(i64),
    ByHand,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        (1..9u64).prop_map(Move::Offer),
        (0..9u64).prop_map(Move::CutsOff),
        (1..5u64, any::<bool>()).prop_map(|(number, isolate)| Move::Order(number, isolate)),
        (1..600_000u64).prop_map(Move::Wait),
        Just(Move::Restart),
        (0..9usize).prop_map(Move::PowerCut),
        prop_oneof![
            Just(None),
            Just(Some(Step::Save)),
            Just(Some(Step::Network)),
            Just(Some(Step::Sshd))
        ]
        .prop_map(Move::Breaks),
        prop_oneof![Just(-START), Just(0), Just(3_600_000), Just(400 * 86_400_000i64)]
            .prop_map(Move::ClockJump),
        Just(Move::ByHand),
    ]
}

static OFFERS: LazyLock<Vec<Offer>> = LazyLock::new(|| (0..9).map(|v| offer(&policy(v.max(1)))).collect());

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    /// The promises hold at each effect ([`Home::promises`]), and in the end, with the world mended, the box is settled
    /// on what it should be, and its server is reached.
    #[test]
    fn no_sequence_leaves_a_half_applied_set_or_a_box_without_its_server(
        moves in proptest::collection::vec(moves(), 1..24),
    ) {
        let mut home = Home::new();
        for one in moves {
            match one {
                Move::Offer(version) => {
                    let offer = OFFERS[usize::try_from(version).expect("small")].clone();
                    home.input(Input::Offered(Some(Box::new(offer))));
                }
                Move::CutsOff(version) => home.cuts_off = version,
                Move::Order(number, true) => home.input(Input::Ordered(order(number, Ordered::Isolate))),
                Move::Order(number, false) => home.input(Input::Ordered(order(number, Ordered::Lift))),
                Move::Wait(ms) => home.wait(ms),
                Move::Restart => home.restart(),
                Move::PowerCut(after) => home.fuse = Some(after),
                Move::Breaks(step) => home.breaks = step,
                Move::ClockJump(ms) => home.clock_ms = (START + ms).max(0),
                Move::ByHand => {
                    home.set.network = None;
                    home.by_hand = true;
                }
            }
            // A power cut needs an effect to cut at: the next one.
            prop_assert!(home.policies.deadline().0 <= home.uptime + 3_600_000);
        }
        home.breaks = None;
        home.fuse = None;
        home.clock_ms = START + 1000;
        home.wait(20 * MINUTE);
        let report = home.policies.report(home.now().at);
        prop_assert_eq!(report.phase, Phase::Settled);
        prop_assert_eq!(&home.set, &home.policies.target(home.now().at));
        prop_assert_eq!(&home.kept, &home.set.network, "the next start sets something else");
        // A policy that was good when it was confirmed may cut the server off later: that is no fault of applying.
        if taken(&home) != Some(home.cuts_off) {
            prop_assert!(home.reachable());
        }
    }
}
