//! What a box keeps of orders to force, what it says of them, and that one serves one act.

use homeward_agent::slot::Digest;
use homeward_agent::update::course::Moment;
use homeward_agent::update::force::{Came, Kept, Orders, Serves, Wanted};
use homeward_agent::update::saved::Job;
use homeward_protocol::policy::sign::Refusal as Unsigned;
use homeward_protocol::release::force::{Force, Offer, Overrule, Refusal};
use homeward_protocol::release::state::ForceStanding;
use homeward_protocol::release::{Custom, Disruption, Installer};
use homeward_protocol::time::{ClockTrust, Timestamp, Uptime};
use homeward_protocol::wire::Bytes;

use super::people::{BEGINS, HOUR, People, order};

fn job(counter: u64) -> Job {
    Job {
        counter,
        path: "agent/x86_64/homeward-agent".to_owned(),
        file: "agent/x86_64/homeward-agent".to_owned(),
        length: 1,
        sha256: Digest([7; 32]),
        custom: Custom {
            installer: Installer::AgentSlot,
            hw: vec!["x86_64".to_owned()],
            version: "1.4.0".parse().expect("a version"),
            min_version: None,
            disruption: Disruption::AgentRestart,
            security_floor: "1.0.0".parse().expect("a version"),
        },
        not_before: Timestamp::synced(0),
        deadline: Timestamp::synced(i64::MAX),
        delta: None,
    }
}

fn at(secs: i64) -> Moment {
    Moment {
        uptime: Uptime(u64::try_from(secs - BEGINS + 100 * HOUR).expect("later") * 1000),
        at: Timestamp::synced(secs * 1000),
    }
}

/// A box that waits with an update, and the people who sign.
struct Home {
    people: People,
    orders: Orders,
    kept: Option<Kept>,
    job: Option<Job>,
    undecided: bool,
    begun: bool,
    keyring: u64,
}

impl Home {
    fn new() -> Home {
        Home {
            people: People::new(),
            orders: Orders::default(),
            kept: None,
            job: Some(job(7)),
            undecided: false,
            begun: false,
            keyring: 0,
        }
    }

    fn came(&self, offer: &Offer, secs: i64) -> Came {
        Came {
            offer: Bytes(offer.encode().expect("encodes")),
            digest: offer.digest(),
            judged: self.people.judge(offer, self.keyring, secs),
        }
    }

    /// Hears an order, and says how all of them stand.
    fn hears(&mut self, force: &Force, secs: i64) -> Vec<ForceStanding> {
        let offer = self.people.offer(force, 1);
        let came = self.came(&offer, secs);
        let kept = self.kept.clone();
        let new = {
            let wanted = wanted(self.job.as_ref(), self.undecided, self.begun);
            self.orders.hear(came, kept.as_ref(), wanted, at(secs))
        };
        if let Some(new) = new {
            self.kept = Some(new);
        }
        self.stand(secs)
    }

    fn stand(&mut self, secs: i64) -> Vec<ForceStanding> {
        self.judge(secs);
        let told = self.orders.told(self.kept.as_ref(), self.wanted(), at(secs));
        told.into_iter().map(|one| one.stands).collect()
    }

    fn judge(&mut self, secs: i64) {
        if let Some(kept) = &self.kept {
            let offer = Offer::decode(&kept.offer.0).expect("what was kept reads");
            let judged = self.people.judge(&offer, self.keyring, secs);
            self.orders.judge(judged, at(secs));
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        wanted(self.job.as_ref(), self.undecided, self.begun)
    }

    fn serves(&mut self, act: Serves, secs: i64) -> bool {
        self.judge(secs);
        let kept = self.kept.clone();
        kept.is_some_and(|kept| {
            let serving = self.orders.serving(act, &kept, self.wanted(), at(secs));
            serving.is_some()
        })
    }

    /// The process begins anew: what is kept went over the disk.
    fn restart(&mut self) {
        let bytes = serde_cbor::to_vec(&self.kept).expect("is written");
        self.kept = serde_cbor::from_slice(&bytes).expect("is read");
        self.orders = Orders::default();
    }
}

fn wanted(job: Option<&Job>, undecided: bool, begun: bool) -> Wanted<'_> {
    Wanted {
        job,
        undecided,
        begun,
    }
}

fn holds() -> Force {
    order(4, [Overrule::Hold])
}

#[test]
fn an_order_is_kept_until_its_time_serves_one_act_and_is_spent_over_a_restart() {
    let mut home = Home::new();
    assert_eq!(home.hears(&holds(), BEGINS - HOUR), [ForceStanding::NotYet]);
    assert!(!home.serves(Serves::Begin, BEGINS - HOUR));
    home.restart();
    assert_eq!(home.stand(BEGINS), [ForceStanding::InEffect]);
    assert!(home.serves(Serves::Begin, BEGINS) && home.serves(Serves::Reboot, BEGINS));
    home.kept.as_mut().expect("kept").spend(Serves::Begin, Vec::new());
    home.restart();
    assert_eq!(home.stand(BEGINS + 1), [ForceStanding::Used(Vec::new())]);
    assert!(!home.serves(Serves::Begin, BEGINS + 1));
    // The reboot that belongs to it, once.
    assert!(home.serves(Serves::Reboot, BEGINS + 1));
    home.kept
        .as_mut()
        .expect("kept")
        .spend(Serves::Reboot, Vec::new());
    home.restart();
    assert!(!home.serves(Serves::Reboot, BEGINS + 2));
    // The same order again changes nothing.
    assert_eq!(
        home.hears(&holds(), BEGINS + 3).len(),
        2,
        "signed anew it is another, and no newer"
    );
    assert!(!home.serves(Serves::Begin, BEGINS + 3));
}

#[test]
fn what_came_twice_byte_for_byte_is_heard_once() {
    let mut home = Home::new();
    let offer = home.people.offer(&holds(), 1);
    let came = home.came(&offer, BEGINS);
    let first = wanted(home.job.as_ref(), false, false);
    let first = home.orders.hear(came.clone(), None, first, at(BEGINS));
    home.kept = first;
    home.kept.as_mut().expect("kept").spend(Serves::Begin, Vec::new());
    let kept = home.kept.clone();
    let wanted = wanted(home.job.as_ref(), false, false);
    assert_eq!(
        home.orders.hear(came, kept.as_ref(), wanted, at(BEGINS + 1)),
        None
    );
    assert_eq!(home.stand(BEGINS + 1), [ForceStanding::Used(Vec::new())]);
}

#[test]
fn an_order_ends_with_its_time_its_update_or_its_people() {
    let mut home = Home::new();
    assert_eq!(home.hears(&holds(), BEGINS), [ForceStanding::InEffect]);
    let last = BEGINS + 4 * HOUR - 1;
    assert_eq!(home.stand(last), [ForceStanding::InEffect]);
    assert_eq!(home.stand(last + 1), [ForceStanding::Ended]);
    assert!(!home.serves(Serves::Begin, last + 1));
    // A clock that stands still does not keep it: a day by the other clock is a day.
    let mut still = at(BEGINS);
    still.uptime = Uptime(still.uptime.0 + 24 * 3_600_000);
    home.judge(BEGINS);
    let kept = home.kept.clone().expect("kept");
    assert!(
        home.orders
            .serving(Serves::Begin, &kept, home.wanted(), still)
            .is_none()
    );
    // A clock that stands below what has passed says nothing.
    let mut floor = at(BEGINS);
    floor.at.trust = ClockTrust::Floor;
    assert!(
        home.orders
            .serving(Serves::Begin, &kept, home.wanted(), floor)
            .is_none()
    );
    let told = home.orders.told(Some(&kept), home.wanted(), floor);
    assert_eq!(told[0].stands, ForceStanding::NoTime);
    assert!(home.serves(Serves::Begin, BEGINS));
    // A newer keyring was heard of.
    home.keyring = 2;
    let older = ForceStanding::Refused(Refusal::Unsigned(Unsigned::OlderKeyring));
    assert_eq!(home.stand(BEGINS), [older]);
    assert!(!home.serves(Serves::Begin, BEGINS));
    home.keyring = 0;
    // The update is over, or another one.
    home.job = None;
    assert_eq!(home.stand(BEGINS), [ForceStanding::Ended]);
    home.job = Some(job(8));
    assert_eq!(home.stand(BEGINS), [ForceStanding::Refused(Refusal::OtherUpdate)]);
    assert!(!home.serves(Serves::Begin, BEGINS));
    home.job = Some(job(7));
    assert!(home.serves(Serves::Begin, BEGINS));
    home.begun = true;
    assert_eq!(home.stand(BEGINS), [ForceStanding::Ended]);
}

#[test]
fn what_is_refused_is_said_and_takes_nothing_from_what_stands() {
    let mut home = Home::new();
    let refused = |why| ForceStanding::Refused(why);
    assert_eq!(home.hears(&holds(), BEGINS + 4 * HOUR), [refused(Refusal::Over)]);
    let other = Force {
        gateway: "gw-2".parse().expect("an id"),
        ..holds()
    };
    assert_eq!(home.hears(&other, BEGINS), [refused(Refusal::OtherGateway)]);
    let other = Force {
        assignment: 6,
        ..holds()
    };
    assert_eq!(home.hears(&other, BEGINS), [refused(Refusal::OtherUpdate)]);
    home.begun = true;
    assert_eq!(home.hears(&holds(), BEGINS), [refused(Refusal::Begun)]);
    home.begun = false;
    // Which update is wanted is not known yet: it is kept, and counts for its own.
    (home.undecided, home.job) = (true, None);
    assert_eq!(home.hears(&holds(), BEGINS)[0], ForceStanding::NotYet);
    assert!(!home.serves(Serves::Begin, BEGINS));
    (home.undecided, home.job) = (false, Some(job(7)));
    assert!(home.serves(Serves::Begin, BEGINS));
    // A number that is no higher.
    let stands = home.hears(&order(4, [Overrule::Alarm]), BEGINS);
    assert_eq!(stands, [ForceStanding::InEffect, refused(Refusal::Older)]);
    // Another fleet's people.
    let offer = People::new().offer(&order(9, Overrule::ALL), 1);
    let came = home.came(&offer, BEGINS);
    let kept = home.kept.clone();
    let wanted = wanted(home.job.as_ref(), false, false);
    assert_eq!(home.orders.hear(came, kept.as_ref(), wanted, at(BEGINS)), None);
    let stranger = refused(Refusal::Unsigned(Unsigned::UnknownRoot));
    assert_eq!(home.stand(BEGINS), [ForceStanding::InEffect, stranger]);
    // A higher one takes its place.
    let stands = home.hears(&order(5, [Overrule::Alarm]), BEGINS);
    assert_eq!(stands[0], ForceStanding::InEffect);
    assert_eq!(home.kept.as_ref().map(|kept| kept.number.0), Some(5));
}
