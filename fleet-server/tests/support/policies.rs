//! Policies of the small fleet: two that people signed, and boxes in each state.

use homeward_fleet::policy::book::Target;
use homeward_fleet::policy::draft::Act;
use homeward_fleet::policy::draft::text::Text;
use homeward_fleet::policy::paper::Papers;
use homeward_fleet::policy::roots::Roots;
use homeward_fleet::policy::take::{Taken, give, take};
use homeward_fleet::store::policies::drafts::{self, Acted};
use homeward_fleet::store::policies::states;
use homeward_fleet::store::policies::{groups, isolation, stopped};
use homeward_fleet::store::records::Origin;
use homeward_fleet::store::{StoreError, Tx};
use homeward_protocol::envelope::Lane;
use homeward_protocol::id::{GatewayId, GroupId};
use homeward_protocol::policy::check::check;
use homeward_protocol::policy::isolation::Ordered;
use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::network::Protocol;
use homeward_protocol::policy::points::{PointId, Rule};
use homeward_protocol::policy::sign::{
    Keyring, PolicyMark, Refusal, Review, SecondPerson, SignedDigest, SigningKey,
};
use homeward_protocol::policy::state::{
    Basis, Isolation, Phase, PointState, PolicyState, Refused, ReturnCause, Returned, Standing, StoppedFlow,
    StoppedFlows,
};
use homeward_protocol::policy::{Policy, PolicyVersion};
use homeward_protocol::posture::ShortText;
use homeward_protocol::signed::{PublicKey, Signed, Signer};
use homeward_protocol::time::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::at;

/// A key of somebody.
pub(crate) struct Key(EcdsaKeyPair);

impl Key {
    pub(crate) fn new() -> Key {
        let rng = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng);
        Key(pair.expect("a key"))
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_point(self.0.public_key().as_ref()).expect("a point")
    }

    fn named(&self, name: &str) -> SigningKey {
        SigningKey {
            name: ShortText::cut(name),
            key: self.public(),
        }
    }
}

impl Signer for Key {
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

/// The people of the small fleet.
pub(crate) struct House {
    root: Key,
    ann: Key,
    ben: Key,
}

impl House {
    pub(crate) fn new() -> House {
        House {
            root: Key::new(),
            ann: Key::new(),
            ben: Key::new(),
        }
    }

    /// What the server believes in.
    pub(crate) fn roots(&self) -> Roots {
        let root = self.root.public();
        Roots::from_fn(move || vec![root.clone()])
    }

    /// What Ann signed and Ben reviewed.
    pub(crate) fn papers(&self, document: &str) -> Papers {
        let policy = parsed(document);
        let keyring = Keyring {
            version: 1,
            issued: Moment::from_secs(at(90 * 86_400).ms / 1000),
            expires: Moment::from_secs(at(-300 * 86_400).ms / 1000),
            authors: vec![self.ann.named("Ann Smith")],
            reviewers: vec![self.ben.named("Ben Okafor")],
            second_person: SecondPerson::Required,
        };
        let signed = Signed::seal(&policy, &self.ann).expect("signs");
        let review = Review {
            policy: SignedDigest::of(&signed),
            version: policy.version,
            at: policy.issued,
        };
        Papers {
            keyring: Some(Signed::seal(&keyring, &self.root).expect("signs")),
            policy: Some(signed),
            review: Some(Signed::seal(&review, &self.ben).expect("signs")),
        }
    }
}

fn parsed(document: &str) -> Policy {
    let checked = check(document);
    checked
        .policy
        .unwrap_or_else(|| panic!("{:#?}", checked.findings))
}

/// A document for all.
pub(crate) fn document(version: u64, password_login: &str) -> String {
    format!(
        r#"name = "homes in the north"
version = {version}
issued = "2026-11-10T00:00:00Z"
expires = "2027-05-10T00:00:00Z"
on_expiry = "keep"
confirm_s = 120
audience = "all"
[hazards]
h-1 = "What a stranger took over speaks to the world through the box."
h-3 = "A stranger signs in to the box."
[outbound]
hazard = "h-1"
[sshd]
hazard = "h-3"
password_login = "{password_login}"
root_login = "no"
on_drift = "put-back"
[usb]
hazard = "h-3"
allow = ["hub"]
[listening]
hazard = "h-3"
allow = [{{ protocol = "tcp", ports = "22" }}]
"#
    )
}

type Done = Result<(), StoreError>;

pub(crate) fn fill(tx: &mut dyn Tx, house: &House) -> Done {
    let roots = house.roots().now();
    let mut marks = Vec::new();
    for (version, login) in [(6, "yes"), (7, "no")] {
        let papers = house.papers(&document(version, login));
        let digest = SignedDigest::of(papers.policy.as_deref().unwrap_or_default());
        marks.push(PolicyMark {
            version: PolicyVersion(version),
            digest,
        });
        let taken = take(tx, &papers, &roots, "olga", at(40_000))?;
        assert!(matches!(taken, Taken::Policy { .. }), "{taken:?}");
    }
    let ring: GroupId = "ring-1".parse().expect("an id");
    for gateway in ["gw-01aaaa", "gw-03aaaa", "gw-04aaaa", "gw-06aaaa"] {
        groups::add(tx, &ring, &gw(gateway), "olga", at(39_000))?;
    }
    for (version, target) in [(6, Target::All), (7, Target::Group(ring))] {
        let given = give(tx, (version, &[target]), "olga", at(38_000))?;
        given.expect("can be assigned");
    }
    let order = isolation::order(
        tx,
        &gw("gw-05aaaa"),
        Ordered::Isolate,
        "calls an unknown address",
        "olga",
        at(900),
    )?;
    let isolation::Ordering::Given(order) = order else {
        panic!("{order:?}")
    };
    let [six, seven] = marks[..] else {
        panic!("two policies")
    };
    say(
        tx,
        "gw-01aaaa",
        &PolicyState {
            points: points(),
            more: 2,
            ..said(Some(seven))
        },
    )?;
    let refused = Refused {
        mark: Some(seven),
        why: Refusal::NotYet,
        at: at(500),
    };
    say(
        tx,
        "gw-03aaaa",
        &PolicyState {
            refused: Some(refused),
            ..said(Some(six))
        },
    )?;
    let returned = Returned {
        from: seven,
        cause: ReturnCause::ServerNotReached,
        at: at(400),
    };
    say(
        tx,
        "gw-04aaaa",
        &PolicyState {
            returned: Some(returned),
            ..said(Some(six))
        },
    )?;
    let isolation = Isolation {
        order: order.order,
        ordered: Ordered::Isolate,
        since: Some(at(890)),
    };
    say(
        tx,
        "gw-05aaaa",
        &PolicyState {
            isolation: Some(isolation),
            ..said(Some(six))
        },
    )?;
    say(
        tx,
        "gw-06aaaa",
        &PolicyState {
            phase: Phase::Confirming,
            ..said(Some(seven))
        },
    )?;
    drafted(tx)?;
    flows(tx)
}

/// One that waits for a review, one that is to be signed, and one with faults that was returned.
fn drafted(tx: &mut dyn Tx) -> Done {
    let wider = document(8, "no").replace("\"hub\"", "\"hub\", \"wireless\"");
    let radio = document(8, "no")
        .replace("h-3", "h-4")
        .replace("signs in to", "opens");
    let faulty = document(8, "perhaps");
    for (name, by, text) in [
        ("sticks for the radio", "olga", &wider),
        ("another hazard", "omar", &radio),
        ("ssh for installers", "olga", &document(8, "yes")),
    ] {
        let (title, text) = (ShortText::cut(name), parse(text));
        drafts::begin(tx, (&title, Some(7)), &text, by, at(3000))?.expect("room");
    }
    let (ask, ok) = (Act::Ask { revision: 1 }, |text: &str| Act::Approve {
        digest: parse(text).digest(),
    });
    let back = Act::Return {
        digest: parse(&document(8, "yes")).digest(),
        why: "installers have keys".into(),
    };
    for (id, act, by, ago) in [
        (1, ask.clone(), "olga", 2000),
        (2, ask.clone(), "omar", 1900),
        (2, ok(&radio), "olga", 1800),
        (3, ask, "olga", 1700),
        (3, back, "omar", 1600),
    ] {
        let acted = drafts::act_on(tx, id, &act, by, at(ago))?;
        assert!(matches!(acted, Acted::Done(_)), "{acted:?}");
    }
    let saved = drafts::save(tx, (3, 1), &parse(&faulty), "olga", at(1500))?;
    assert!(matches!(saved, Acted::Done(_)), "{saved:?}");
    Ok(())
}

fn parse(text: &str) -> Text {
    Text::parse(text).expect("short")
}

fn gw(name: &str) -> GatewayId {
    name.parse().expect("an id")
}

fn said(policy: Option<PolicyMark>) -> PolicyState {
    PolicyState {
        taken_at: at(600),
        basis: Basis::Signed,
        policy,
        keyring: 1,
        phase: Phase::Settled,
        refused: None,
        returned: None,
        isolation: None,
        points: Vec::new(),
        more: 0,
    }
}

fn points() -> Vec<PointState> {
    let point = |rule, item: &str, hazard: &str, wanted: &str, observed: Option<&str>, standing| PointState {
        point: PointId::new(rule, item),
        hazard: hazard.parse().expect("an id"),
        wanted: ShortText::cut(wanted),
        applied: matches!(rule, Rule::Outbound | Rule::Sshd).then(|| ShortText::cut(wanted)),
        observed: observed.map(ShortText::cut),
        standing,
        since: at(3_700),
    };
    vec![
        point(
            Rule::Sshd,
            "password-login",
            "h-3",
            "no",
            Some("yes"),
            Standing::Drifted,
        ),
        point(
            Rule::Usb,
            "",
            "h-3",
            "hub",
            None,
            Standing::NotEnforceableHere(ShortText::cut("no USB on this box")),
        ),
        point(
            Rule::Outbound,
            "others",
            "h-1",
            "stopped, and reported",
            None,
            Standing::Failed(ShortText::cut("nft is not installed")),
        ),
        point(Rule::Sshd, "root-login", "h-3", "no", Some("no"), Standing::Holds),
    ]
}

fn origin(gateway: &str, s: i64) -> Origin<'_> {
    Origin {
        gateway,
        epoch: "00000000000000ff",
        lane: Lane::Urgent,
        spare: false,
        now: Timestamp::synced(at(s).ms),
    }
}

fn say(tx: &mut dyn Tx, gateway: &str, state: &PolicyState) -> Done {
    states::put(tx, &origin(gateway, 600), state)
}

fn flows(tx: &mut dyn Tx) -> Done {
    let flow = StoppedFlow {
        point: PointId::new(Rule::Devices, "others"),
        who: ShortText::cut("monitor"),
        peer: "203.0.113.9".parse().expect("an address"),
        protocol: Some(Protocol::Tcp),
        port: 443,
    };
    let flows = StoppedFlows {
        taken_at: at(700),
        flows: vec![flow],
        more: 3,
    };
    stopped::put(tx, &origin("gw-01aaaa", 700), &flows)
}
