//! Promises about deadlines of updates, and about what people are told.

use std::collections::BTreeSet;

use homeward_protocol::envelope::Lane;
use homeward_protocol::id::GatewayId;
use homeward_protocol::release::state::{Ended, Outcome, UpdateState};
use homeward_protocol::time::Timestamp;

use super::policies::{gateways, papers, take};
use super::{Home, block};
use crate::clock::Clock;
use crate::direct::deadline::watch::{Place, Watch};
use crate::direct::deadline::{Case, Rule, Terms, escalate};
use crate::notify::{Message, Reach, TRIES, Way};
use crate::policy::book::Target;
use crate::policy::roots::Roots;
use crate::policy::tests::{House, NOON};
use crate::store::incidents::{self, Kind};
use crate::store::records::Origin;
use crate::store::updates::{self, Assigned};
use crate::store::{StoreError, Tx, deadlines, notices, policies};

const HOUR_MS: i64 = 3_600_000;

fn at(hours: i64) -> Timestamp {
    Timestamp::synced(NOON + hours * HOUR_MS)
}

fn gw() -> GatewayId {
    "gw-1".parse().expect("an id")
}

fn word(counter: u64) -> Assigned {
    Assigned {
        gateway: gw(),
        counter,
        path: "agent/1.4.0/x86_64".into(),
        version: "1.4.0".parse().expect("a version"),
        not_before: at(0),
        deadline: at(100),
        at: at(0),
        by: "olga".into(),
        word: vec![1],
    }
}

fn terms() -> Terms {
    let rule = Rule {
        compensate: 8,
        afterwards: 9,
    };
    Terms::new("A stranger could read measurements", "nora", Some(rule)).expect("terms")
}

fn assign(home: &Home, counter: u64) {
    let work = move |tx: &mut dyn Tx| {
        assert!(updates::assign(tx, &word(counter))?);
        deadlines::put(tx, &word(counter), &terms())
    };
    block(home.open().write(work)).expect("assigned");
}

/// Three gateways, and policies 7, 8 and 9; 7 for all.
fn fleet(home: &Home, house: &House) {
    let store = home.open();
    block(store.write(gateways)).expect("made");
    for version in [7, 8, 9] {
        take(&store, house, papers(house, version, "no", 2));
    }
    let given = store.write(|tx| policies::assign(tx, 7, &[Target::All], "olga", at(0)));
    block(given).expect("assigned");
}

/// One look of a server that has just started, at this moment.
fn look(home: &Home, house: &House, now: Timestamp) {
    let root = house.root.public();
    let watch = Watch {
        store: home.open(),
        roots: Roots::from_fn(move || vec![root.clone()]),
        reach: Reach {
            mail: BTreeSet::from(["nora".to_owned()]),
            webhook: true,
        },
        clock: Clock::from_fn(move || now),
    };
    block(watch.look(&mut Place::default())).expect("looks");
}

fn says(home: &Home, counter: u64, outcome: Outcome) {
    let state = UpdateState {
        runs: "1.4.0".parse().expect("a version"),
        packaged: false,
        build: None,
        now: None,
        ended: Some(Ended {
            counter: Some(counter),
            outcome,
            at: at(0),
        }),
        installers: Vec::new(),
        undecided: None,
        met: None,
        quiet: None,
        beside: Vec::new(),
        forces: Vec::new(),
        taken_at: at(0),
    };
    let work = move |tx: &mut dyn Tx| {
        let origin = Origin {
            gateway: "gw-1",
            epoch: "01",
            lane: Lane::Urgent,
            spare: false,
            now: at(0),
        };
        updates::put(tx, &origin, &state)
    };
    block(home.open().write(work)).expect("said");
}

fn kinds(home: &Home) -> Vec<Kind> {
    let open = block(home.open().read(|tx| incidents::open_of(tx, &gw()))).expect("reads");
    open.iter().map(|one| one.kind).collect()
}

fn case(home: &Home, counter: u64) -> Case {
    let found = block(home.open().read(move |tx| deadlines::get(tx, &gw(), counter)));
    found.expect("reads").expect("there")
}

fn wanted(home: &Home, house: &House, now: Timestamp) -> u64 {
    let roots = [house.root.public()];
    let read = move |tx: &mut dyn Tx| {
        let book = policies::book_of(tx, &roots, &gw())?;
        Ok(book.wanted(&gw(), now).map(|wanted| wanted.entry.mark.version.0))
    };
    block(home.open().read(read)).expect("reads").expect("one")
}

fn counted(home: &Home, sql: &'static str) -> i64 {
    let work = move |tx: &mut dyn Tx| tx.row(sql, &[])?.map_or(Ok(0), |row| row.int(0));
    block(home.open().read(work)).expect("reads")
}

const ACTIONS: &str = "SELECT COUNT(*) FROM audit WHERE action LIKE 'deadline-%'";
const NOTICES: &str = "SELECT COUNT(*) FROM notices";

pub(super) fn a_deadline_asks_once_and_compensates_once_also_over_restarts(home: &Home) {
    let house = House::new();
    fleet(home, &house);
    assign(home, 1);
    look(home, &house, at(79));
    assert_eq!((kinds(home), counted(home, NOTICES)), (vec![], 0));
    // Each look is that of another process.
    for hours in [80, 81, 70, 99] {
        look(home, &house, at(hours));
        assert_eq!(kinds(home), [Kind::UpdateWaits], "{hours} h");
        assert_eq!(
            (counted(home, NOTICES), counted(home, ACTIONS)),
            (2, 2),
            "{hours} h"
        );
        assert_eq!(wanted(home, &house, at(hours)), 7);
    }
    for hours in [100, 101, 60, 200] {
        look(home, &house, at(hours));
        assert_eq!(kinds(home), [Kind::UpdateOverdue], "{hours} h");
        assert_eq!(
            (counted(home, NOTICES), counted(home, ACTIONS)),
            (4, 3),
            "{hours} h"
        );
        assert_eq!(wanted(home, &house, at(hours)), 8);
    }
    // The box went back from it: it lacks the update as before.
    says(
        home,
        1,
        Outcome::NotProven(homeward_protocol::posture::ShortText::cut("x")),
    );
    look(home, &house, at(201));
    assert_eq!(wanted(home, &house, at(201)), 8);
    says(home, 1, Outcome::Confirmed);
    for hours in [202, 203] {
        look(home, &house, at(hours));
        assert_eq!((kinds(home), wanted(home, &house, at(hours))), (vec![], 9));
        assert_eq!((counted(home, NOTICES), counted(home, ACTIONS)), (4, 4));
        assert!(case(home, 1).done.ended.is_some());
    }
}

pub(super) fn a_compensation_that_cannot_be_is_said_and_one_that_is_outlasts_its_word(home: &Home) {
    let house = House::new();
    fleet(home, &house);
    let roots = [house.root.public()];
    let misfit = |rule: (u64, u64), until: i64| {
        let (roots, rule) = (
            roots.clone(),
            Rule {
                compensate: rule.0,
                afterwards: rule.1,
            },
        );
        let read = move |tx: &mut dyn Tx| escalate::misfit(tx, &roots, (rule, &gw()), (at(0), at(until)));
        block(home.open().read(read)).expect("reads")
    };
    assert_eq!(misfit((8, 9), 100), None);
    let why = |rule, until| misfit(rule, until).expect("a reason");
    assert!(why((8, 10), 100).contains("no policy 10 is loaded"));
    assert!(why((6, 9), 100).contains("no policy 6"));
    assert!(why((8, 9), 24 * 30).contains("expires before that"));
    let store = home.open();
    let given = store.write(|tx| policies::assign(tx, 9, &[Target::All], "olga", at(0)));
    block(given).expect("assigned");
    assert!(why((8, 9), 100).contains("boxes never go back"));
    // It fitted when the word was given, and does not any more.
    assign(home, 1);
    look(home, &house, at(100));
    let open = block(home.open().read(|tx| incidents::open_of(tx, &gw()))).expect("reads");
    assert!(
        open.iter()
            .any(|one| one.kind == Kind::UpdateOverdue && one.said.contains("Nothing makes up for it"))
    );
    assert!(!case(home, 1).done.compensates);
    let store = home.open();
    let withdrawn = store.write(|tx| policies::withdraw(tx, 9, "wrong", "olga", at(101)));
    assert!(block(withdrawn).expect("withdrawn"));
    assert!(why((8, 9), 100).contains("policy 9 was withdrawn"));
    // A later word, with policies that fit; it takes the place of the first.
    assign(home, 2);
    look(home, &house, at(102));
    assert!(case(home, 1).done.ended.is_some() && case(home, 2).done.compensates);
    assert_eq!(wanted(home, &house, at(102)), 8);
    // And is followed by one without terms: what makes up for the second stays until that one is confirmed.
    let store = home.open();
    let third = store.write(|tx| updates::assign(tx, &word(3)));
    assert!(block(third).expect("assigned"));
    look(home, &house, at(103));
    assert!(case(home, 2).done.ended.is_none());
    says(home, 3, Outcome::Confirmed);
    look(home, &house, at(104));
    // Policy 9, which should end it, was withdrawn: that is said, and not forgotten.
    assert!(case(home, 2).done.ended.is_none());
    let open = block(home.open().read(|tx| incidents::open_of(tx, &gw()))).expect("reads");
    assert!(
        open.iter().any(|one| one.said.contains("still applies")),
        "{open:?}"
    );
    take(&home.open(), &house, papers(&house, 10, "no", 2));
    let store = home.open();
    let given = store.write(|tx| policies::assign(tx, 10, &[Target::All], "olga", at(105)));
    block(given).expect("assigned");
    look(home, &house, at(106));
    assert!(case(home, 2).done.ended.is_some());
    assert_eq!(kinds(home), []);
}

pub(super) fn a_message_is_tried_until_it_is_out_or_given_up(home: &Home) {
    let message = Message {
        gateway: None,
        person: "nora".into(),
        subject: "x".into(),
        body: "y".into(),
    };
    let store = home.open();
    let put = store.write(move |tx| notices::put(tx, "m", &message, &Way::ALL, at(0)));
    block(put).expect("put");
    let take = |now| block(home.open().write(move |tx| notices::take(tx, 9, now))).expect("takes");
    let first = take(at(0));
    assert_eq!(first.len(), 2);
    assert!(first.iter().all(|one| one.tries == 1 && one.about == "m"));
    // Taken is tried: another process does not try it at the same time.
    assert_eq!(take(at(0)), []);
    let sent = first
        .iter()
        .find(|one| one.way == Way::Mail)
        .expect("a mail")
        .id
        .clone();
    block(home.open().write(move |tx| notices::sent(tx, &sent, at(0)))).expect("noted");
    // The clock was set back for days: it is tried all the same.
    let mut last = take(at(-100));
    assert_eq!(last.len(), 1);
    let mut tries = 2;
    while last[0].tries < TRIES {
        tries += 1;
        last = take(at(2 * i64::from(tries)));
        assert_eq!(last[0].tries, tries);
    }
    let give_up = |notice: &crate::notify::Notice| {
        let notice = notice.clone();
        block(home.open().write(move |tx| notices::give_up(tx, &notice))).expect("noted")
    };
    assert!(!give_up(&last[0]), "it got out by mail");
    assert_eq!(take(at(1_000)), []);
    let other = Message {
        gateway: Some(gw()),
        person: "nora".into(),
        subject: "x".into(),
        body: "y".into(),
    };
    let store = home.open();
    let put = store.write(move |tx| notices::put(tx, "n", &other, &Way::ALL, at(0)));
    block(put).expect("put");
    let both = take(at(0));
    let alone: Vec<bool> = both.iter().map(give_up).collect();
    assert_eq!(
        alone,
        [false, true],
        "the last way that is given up is the end of it"
    );
    let old = |tx: &mut dyn Tx| -> Result<i64, StoreError> {
        crate::store::retention::step(tx, 1, 1, at(48))?;
        tx.row(NOTICES, &[])?.map_or(Ok(0), |row| row.int(0))
    };
    assert_eq!(block(home.open().write(old)).expect("deleted"), 0);
}
