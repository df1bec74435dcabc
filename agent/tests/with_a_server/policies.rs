//! Policies over a real link: taken, refused, confirmed over a new connection, left when they cut the server off.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use homeward_agent::policy::ask::{Answer, Request};
use homeward_agent::policy::rules::Network;
use homeward_agent::policy::{keep, nftables};
use homeward_protocol::policy::Policy;
use homeward_protocol::policy::PolicyVersion;
use homeward_protocol::policy::check::check;
use homeward_protocol::policy::isolation::{IsolationOrder, Ordered};
use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::sign::{
    Keyring, Offer, Refusal, Review, SecondPerson, SignedDigest, SigningKey,
};
use homeward_protocol::policy::state::{Basis, Phase, PolicyState, ReturnCause};
use homeward_protocol::posture::ShortText;
use homeward_protocol::signed::{PublicKey, Signed, Signer};
use homeward_protocol::topic::Topic;
use homeward_protocol::wire::Bytes;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::*;

const DOCUMENT: &str = r#"
name = "a home"
version = 7
issued = "2020-01-01T00:00:00Z"
expires = "2100-01-01T00:00:00Z"
on_expiry = "keep"
confirm_s = 30
audience = { gateways = ["gw-test"] }
hazards = { h-1 = "Something speaks to the world through the box." }

[outbound]
hazard = "h-1"
fleet = ["127.0.0.0/8"]
"#;

fn policy(version: u64, fleet: &str) -> Policy {
    let text = DOCUMENT.replace("127.0.0.0/8", fleet);
    let mut policy = check(&text).policy.expect("a policy");
    policy.version = PolicyVersion(version);
    policy
}

struct Key(EcdsaKeyPair);

impl Key {
    fn of(pkcs8: &[u8]) -> Key {
        let rng = SystemRandom::new();
        Key(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &rng).expect("a key"))
    }

    fn new() -> Key {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Key::of(made.expect("a key").as_ref())
    }

    fn named(&self, name: &str) -> SigningKey {
        SigningKey {
            name: ShortText::cut(name),
            key: PublicKey::from_point(self.0.public_key().as_ref()).expect("a point"),
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

/// Two people, and the root that names them.
struct People {
    root: Key,
    ann: Key,
    ben: Key,
}

impl People {
    fn offer(&self, policy: &Policy) -> Vec<u8> {
        let keyring = Keyring {
            version: 1,
            issued: policy.issued,
            expires: policy.expires,
            authors: vec![self.ann.named("ann")],
            reviewers: vec![self.ben.named("ben")],
            second_person: SecondPerson::Required,
        };
        let signed = Signed::seal(policy, &self.ann).expect("seals");
        let review = Review {
            policy: SignedDigest::of(&signed),
            version: policy.version,
            at: Moment::from_secs(1_700_000_000),
        };
        let offer = Offer {
            keyring: Bytes(Signed::seal(&keyring, &self.root).expect("seals")),
            policy: Bytes(signed),
            review: Some(Bytes(Signed::seal(&review, &self.ben).expect("seals"))),
            groups: Vec::new(),
        };
        offer.encode().expect("encodes")
    }
}

/// A helper that sets nothing but the gate: who is not among the fleet's networks is not reached.
struct Helper {
    socket: PathBuf,
    rules: Arc<Mutex<Option<Network>>>,
    refuses: Arc<AtomicBool>,
}

impl Helper {
    fn start(dir: &Path, gate: Arc<Gate>) -> Helper {
        let socket = dir.join("apply.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let rules = Arc::new(Mutex::new(None));
        let refuses = Arc::new(AtomicBool::new(false));
        let (held, no) = (Arc::clone(&rules), Arc::clone(&refuses));
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut line = String::new();
                let mut reader = std::io::BufReader::new(stream.try_clone().expect("a socket"));
                std::io::BufRead::read_line(&mut reader, &mut line).expect("a line");
                let request = serde_json::from_str(&line).expect("a request");
                let answer = answered(request, &held, &no, &gate);
                let _gone =
                    std::io::Write::write_all(&mut stream, &serde_json::to_vec(&answer).expect("writes"));
            }
        });
        Helper {
            socket,
            rules,
            refuses,
        }
    }

    fn rules(&self) -> Option<Network> {
        self.rules.lock().expect("not poisoned").clone()
    }
}

fn answered(request: Request, held: &Mutex<Option<Network>>, no: &AtomicBool, gate: &Gate) -> Answer {
    let mut rules = held.lock().expect("not poisoned");
    match request {
        Request::SetNetwork(Some(_)) | Request::TryNetwork(Some(_)) if no.load(Ordering::SeqCst) => {
            return Answer::Failed("nft: no".into());
        }
        Request::SetNetwork(new) | Request::TryNetwork(new) => {
            *rules = new.map(|new| *new);
            let fleet = rules
                .as_ref()
                .and_then(|rules| rules.outbound.as_ref())
                .map(|rule| &rule.fleet);
            let here = "127.0.0.1".parse().expect("an address");
            gate.shut(fleet.is_some_and(|nets| !nets.is_empty() && !nets.iter().any(|net| net.holds(here))));
        }
        Request::SeeNetwork => {}
        Request::SetSshd(_) | Request::SeeSshd => return Answer::NotHere("sshd is not installed".into()),
    }
    // As it is listed when it was set.
    let made = nftables::transaction(rules.as_ref());
    let parts = made["nftables"].as_array().into_iter().flatten();
    let parts: Vec<_> = parts.filter_map(|one| one.get("add").cloned()).collect();
    let listing = serde_json::json!({ "nftables": parts });
    Answer::Network(nftables::read(&listing).expect("a listing"))
}

struct Home {
    dir: tempfile::TempDir,
    gate: Arc<Gate>,
    people: People,
    helper: Helper,
    outbox: Outbox,
    _est: Est,
}

impl Home {
    async fn new() -> Home {
        let authority = Arc::new(Authority::new());
        let gate = Arc::new(Gate::start(Arc::clone(&authority)).await);
        let est = Est::start(Arc::clone(&authority), LONG).await;
        est.gate_at(gate.endpoint());
        let dir = tempfile::tempdir().expect("a directory");
        enrolled(dir.path(), &est, &authority).await;
        let people = People {
            root: Key::of(&authority.root_key()),
            ann: Key::new(),
            ben: Key::new(),
        };
        let helper = Helper::start(dir.path(), Arc::clone(&gate));
        let outbox = outbox(Place::Memory).await;
        Home {
            dir,
            gate,
            people,
            helper,
            outbox,
            _est: est,
        }
    }

    fn start(&self) -> Running {
        let socket = self.helper.socket.to_string_lossy();
        start_with(self.dir.path(), self.outbox.clone(), &socket)
    }

    fn offer(&self, policy: &Policy) {
        let topic = Topic::Policy("gw-test".parse().expect("an id"));
        self.gate.send(topic, self.people.offer(policy));
    }

    fn order(&self, order: u64, ordered: Ordered) {
        let order = IsolationOrder {
            order,
            ordered,
            reason: ShortText::cut("a test"),
            at: clock().now(),
        };
        let topic = Topic::Isolation("gw-test".parse().expect("an id"));
        self.gate.send(topic, order.encode().expect("encodes"));
    }

    async fn says(&self, what: &str, is: impl Fn(&PolicyState) -> bool) {
        // Longer than the half minute of a policy's time.
        for _ in 0..2 {
            for _ in 0..3000 {
                if self.gate.policy().as_ref().is_some_and(&is) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        panic!("waited in vain for: {what}; {:#?}", self.gate.policy());
    }
}

fn settled(version: u64) -> impl Fn(&PolicyState) -> bool {
    move |state| {
        state.phase == Phase::Settled
            && state
                .policy
                .is_some_and(|mark| mark.version == PolicyVersion(version))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_comes_down_is_confirmed_over_a_new_connection_and_outlasts_a_restart() {
    let home = Home::new().await;
    let running = home.start();
    home.says("no policy", |state| state.basis == Basis::Nothing)
        .await;
    let before = home.gate.connections();
    home.offer(&policy(7, "127.0.0.0/8"));
    home.says("policy 7", settled(7)).await;
    assert!(
        home.gate.connections() > before,
        "a new connection under the new rules"
    );
    assert!(home.helper.rules().is_some());
    home.offer(&policy(6, "127.0.0.0/8"));
    let older = |state: &PolicyState| {
        state
            .refused
            .as_ref()
            .is_some_and(|one| one.why == Refusal::Older)
    };
    home.says("refused as older", older).await;
    let other = Policy {
        audience: homeward_protocol::policy::Audience::Gateways(vec!["gw-other".parse().expect("an id")]),
        ..policy(8, "127.0.0.0/8")
    };
    home.offer(&other);
    home.says("refused as another's", |state| {
        state
            .refused
            .as_ref()
            .is_some_and(|one| one.why == Refusal::WrongAudience)
    })
    .await;
    // A captured server signs by itself.
    let forger = People {
        root: Key::new(),
        ann: Key::new(),
        ben: Key::new(),
    };
    home.gate.send(
        Topic::Policy("gw-test".parse().expect("an id")),
        forger.offer(&policy(9, "127.0.0.0/8")),
    );
    home.says("refused by its root", |state| {
        state
            .refused
            .as_ref()
            .is_some_and(|one| one.why == Refusal::UnknownRoot)
    })
    .await;
    home.gate
        .send(Topic::Policy("gw-test".parse().expect("an id")), vec![0xf6]);
    home.says("refused as unreadable", |state| {
        state
            .refused
            .as_ref()
            .is_some_and(|one| one.why == Refusal::Unreadable)
    })
    .await;
    home.order(3, Ordered::Isolate);
    home.says("isolated", |state| {
        state
            .isolation
            .is_some_and(|one| one.order == 3 && one.since.is_some())
    })
    .await;
    running.agent.stop().await;
    assert!(home.helper.rules().is_some(), "rules survive the agent");
    let kept = keep::load(home.dir.path()).expect("reads");
    assert_eq!(kept.floor.policy.map(|mark| mark.version), Some(PolicyVersion(7)));
    let connections = home.gate.connections();
    let running = home.start();
    // The server says it on each connection until it is reported.
    until("the box is back", || home.gate.connections() > connections).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    home.order(4, Ordered::Lift);
    home.says("lifted", |state| {
        state.isolation.is_some_and(|one| one.order == 4) && settled(7)(state)
    })
    .await;
    let told = || keep::told(home.dir.path()).is_some_and(|state| settled(7)(&state));
    until("`policy show` says it", told).await;
    running.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_cuts_the_server_off_or_cannot_be_set_is_left_and_told() {
    let home = Home::new().await;
    let running = home.start();
    home.says("no policy", |state| state.basis == Basis::Nothing)
        .await;
    home.offer(&policy(7, "127.0.0.0/8"));
    home.says("policy 7", settled(7)).await;
    home.helper.refuses.store(true, Ordering::SeqCst);
    home.offer(&policy(8, "127.0.0.0/8"));
    let failed = |state: &PolicyState| {
        let cause = state.returned.as_ref().map(|one| &one.cause);
        matches!(cause, Some(ReturnCause::StepFailed(why)) if why.as_str().contains("nft"))
    };
    home.says("left for a step", failed).await;
    home.helper.refuses.store(false, Ordering::SeqCst);
    // An address that is nobody's: the box is cut off, and finds its way back by itself.
    home.offer(&policy(9, "192.0.2.1"));
    let returned = |state: &PolicyState| {
        let returned = state.returned.as_ref();
        returned.is_some_and(|one| {
            one.from.version == PolicyVersion(9) && one.cause == ReturnCause::ServerNotReached
        }) && settled(7)(state)
    };
    home.says("left for the server", returned).await;
    running.agent.stop().await;
}
