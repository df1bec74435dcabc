//! Promises about campaigns.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_protocol::envelope::Lane;
use homeward_protocol::id::GatewayId;
use homeward_protocol::release::state::{Ended, Outcome, Progress, UpdateMark, UpdateState};
use homeward_protocol::release::{Custom, Disruption, Installer, Version};
use homeward_protocol::time::Timestamp;
use homeward_protocol::watch::Suspicion;

use super::{Home, NOW, block};
use crate::audit::Action;
use crate::campaign::draft::{Draft, Release, Wish};
use crate::campaign::kept::{Kept, Name, Order};
use crate::campaign::plan::Wave;
use crate::campaign::signs::{Signs, Way, is_side_effect};
use crate::campaign::{State, Step};
use crate::care::Dependency;
use crate::direct::deadline::{Each, Rule, Terms};
use crate::store::campaigns::{self, Read, fleet};
use crate::store::care::{Placement, Team, add_placement, add_team};
use crate::store::records::Origin;
use crate::store::updates::{self, Assigned};
use crate::store::{Store, StoreError, Tx, audit, connections, gateways, retention};

fn gw(n: usize) -> GatewayId {
    format!("gw-{n}").parse().expect("an id")
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

/// Four homes that run 1.3.0: two of low dependency, one of high, one of which nobody said anything.
fn homes(tx: &mut dyn Tx) -> Result<(), StoreError> {
    let team = Team {
        id: "north".parse().expect("an id"),
        name: "North".into(),
    };
    add_team(tx, &team, "olga", NOW)?;
    for (n, dependency) in [Dependency::Low, Dependency::Low, Dependency::High]
        .into_iter()
        .enumerate()
    {
        let placement = Placement {
            id: format!("home-{n}").parse().expect("an id"),
            team: team.id.clone(),
            dependency,
        };
        add_placement(tx, &placement, "olga", NOW)?;
        gateways::add(tx, &gw(n), Some(&placement.id), NOW)?;
    }
    gateways::add(tx, &gw(3), None, NOW)?;
    tx.execute("UPDATE gateways SET state = 'enrolled'", &[])?;
    for n in 0..4 {
        say(tx, n, "1.3.0", None, NOW)?;
    }
    Ok(())
}

/// What a box says of its software.
fn say(
    tx: &mut dyn Tx,
    n: usize,
    runs: &str,
    ended: Option<(u64, Outcome)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let gateway = gw(n);
    let at = Origin {
        gateway: gateway.as_str(),
        epoch: "01",
        lane: Lane::Urgent,
        spare: false,
        now,
    };
    let ended = ended.map(|(counter, outcome)| Ended {
        counter: Some(counter),
        outcome,
        at: now,
    });
    let state = UpdateState {
        runs: version(runs),
        packaged: false,
        build: None,
        installers: Vec::new(),
        undecided: None,
        met: None,
        quiet: None,
        beside: Vec::new(),
        forces: Vec::new(),
        now: None,
        ended,
        taken_at: now,
    };
    updates::put(tx, &at, &state)
}

fn release(text: &str) -> Release {
    Release {
        path: format!("agent/{text}"),
        sha256: [text.len().to_le_bytes()[0]; 32],
        custom: Custom {
            installer: Installer::AgentSlot,
            hw: vec!["x86_64".into()],
            version: version(text),
            min_version: None,
            disruption: Disruption::AgentRestart,
            security_floor: Version::ZERO,
        },
        notes: None,
    }
}

fn each() -> Each {
    let rule = Rule {
        compensate: 8,
        afterwards: 9,
    };
    Each {
        terms: Terms::new("A stranger could read measurements.", "nora", Some(rule)).expect("terms"),
        within: Duration::from_hours(24),
    }
}

fn draft(store: &Store, campaign: &str, brings: &str) -> Draft {
    let wish = Wish {
        name: name(campaign),
        paths: vec![format!("agent/{brings}")],
        soak: Duration::from_hours(1),
        confirmed_percent: 90,
        failed_percent: 1,
        act_within: Duration::from_mins(30),
        within: Duration::from_hours(48),
        at_once: 50,
        each: Some(each()),
    };
    let known = block(store.read(fleet::homes)).expect("read");
    let published = [release("1.3.0"), release("1.4.0"), release("1.5.0")];
    Draft::new(wish, &published, &known).expect("a plan")
}

fn start(store: &Store, campaign: &str, brings: &str, now: Timestamp) -> bool {
    let kept = draft(store, campaign, brings).start("olga", now);
    block(store.write(move |tx| campaigns::start(tx, kept, "as read", now))).expect("answers")
}

fn read(store: &Store, campaign: &str) -> Read {
    let which = name(campaign);
    let read = block(store.read(move |tx| campaigns::get(tx, &which))).expect("read");
    read.expect("it is there")
}

fn signs(store: &Store, campaign: &str, now: Timestamp) -> BTreeMap<GatewayId, Signs> {
    let which = name(campaign);
    block(store.read(move |tx| campaigns::signs::of(tx, &which, now))).expect("read")
}

/// One look of a server that remembers nothing: everything from rows, and one word in the same transaction.
fn look(store: &Store, campaign: &str, now: Timestamp) -> Vec<(GatewayId, Way)> {
    let mut one = read(store, campaign);
    let signs = signs(store, campaign, now.plus_ms(-3_600_000));
    one.kept.look(&signs, now);
    let due = one.kept.due(&signs, now);
    let said = due.clone();
    block(store.write(move |tx| {
        for (id, way) in due {
            let counter = updates::next(tx, &id)?;
            let word = Assigned {
                gateway: id.clone(),
                counter,
                path: "agent".into(),
                version: version("1.4.0"),
                not_before: now,
                deadline: now,
                at: now,
                by: "campaign".into(),
                word: vec![1],
            };
            assert!(updates::assign(tx, &word)?);
            one.kept.told(&id, (counter, way), &signs[&id], now);
        }
        if one.kept.has_changed() {
            campaigns::save(tx, &mut one, now)?;
        }
        Ok(())
    }))
    .expect("kept");
    said
}

fn connect(store: &Store, n: usize) {
    let passage = crate::gate::Passage::Connected {
        gateway: gw(n),
        spare: false,
        address: "192.0.2.1:1".into(),
        at: NOW,
    };
    block(store.write(move |tx| connections::note(tx, &[passage]))).expect("noted");
}

fn step(kept: &Kept, n: usize) -> &'static str {
    kept.core().home(&gw(n)).expect("a home").step.name().0
}

fn trail(store: &Store, action: Action) -> usize {
    let all = block(store.read(|tx| audit::list(tx, i64::MAX, 1000))).expect("read");
    all.iter().filter(|entry| entry.action == action.name()).count()
}

pub(super) fn a_campaign_goes_on_from_its_rows_and_each_word_is_said_once(home: &Home) {
    let store = home.open();
    block(store.write(homes)).expect("made");
    assert!(start(&store, "spring", "1.4.0", NOW));
    assert!(
        !start(&store, "spring", "1.4.0", NOW),
        "a name stands for one campaign"
    );
    let first = read(&store, "spring");
    let canary = (0..2).find(|n| first.kept.core().home(&gw(*n)).expect("a home").wave == Wave::Canary);
    let canary = canary.expect("one of low dependency");
    for high in [2, 3] {
        assert_eq!(
            first.kept.core().home(&gw(high)).expect("a home").wave,
            Wave::Named
        );
    }
    // Nobody is connected: nothing is said, however often it is looked, and then nothing is written either.
    assert!(look(&store, "spring", NOW).is_empty());
    let rested = read(&store, "spring").revision;
    assert!(look(&store, "spring", NOW.plus_ms(1000)).is_empty());
    assert_eq!(read(&store, "spring").revision, rested);
    connect(&store, canary);
    let words: Vec<_> = (1..5)
        .flat_map(|s| look(&store, "spring", NOW.plus_ms(s * 1000)))
        .collect();
    assert_eq!(words, [(gw(canary), Way::On)]);
    drop(store);

    // It goes on after a restart, and who read the rows before is told to read them again.
    let store = home.open();
    let mut late = read(&store, "spring");
    assert_eq!(late.kept.head.each, Some(each()));
    let word = read(&store, "spring").kept.notes()[&gw(canary)]
        .word
        .expect("a word")
        .0;
    let now = NOW.plus_ms(60_000);
    block(store.write(move |tx| say(tx, canary, "1.4.0", Some((word, Outcome::Confirmed)), now)))
        .expect("said");
    look(&store, "spring", now);
    assert_eq!(step(&read(&store, "spring").kept, canary), "confirmed");
    late.kept
        .order(&Order::Halt, "late", "olga", now)
        .expect("it ran when it was read");
    let refused = block(store.write(move |tx| campaigns::save(tx, &mut late, now)));
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");

    // A person's word, the board, the list.
    let halt =
        store.write(move |tx| campaigns::order(tx, &name("spring"), (&Order::Halt, "a holiday"), "ann", now));
    assert_eq!(block(halt).expect("answers"), Some(Ok(())));
    let board = block(store.read(move |tx| campaigns::board(tx, &name("spring"), 50, now))).expect("read");
    let board = board.expect("it is there");
    assert_eq!(board.saved.state, State::Paused("a holiday".into()));
    assert_eq!((board.head.changed_by.as_str(), board.waves.len()), ("ann", 3));
    let listed = block(store.read(campaigns::list)).expect("read");
    assert_eq!(listed[0].steps.get("confirmed"), Some(&1));
    let nobody = store.write(move |tx| campaigns::order(tx, &name("none"), (&Order::Halt, "x"), "ann", now));
    assert_eq!(block(nobody).expect("answers"), None);
    for (action, times) in [
        (Action::CampaignStarted, 1),
        (Action::CampaignWaveOpened, 1),
        (Action::UpdateAssigned, 1),
        (Action::CampaignStopped, 1),
    ] {
        assert_eq!(trail(&store, action), times, "{action}");
    }
}

pub(super) fn a_newer_campaign_takes_the_homes_of_the_one_before(home: &Home) {
    let store = home.open();
    block(store.write(homes)).expect("made");
    assert!(start(&store, "spring", "1.4.0", NOW));
    for n in 0..2 {
        connect(&store, n);
    }
    let words = look(&store, "spring", NOW);
    assert_eq!(words.len(), 1);
    let now = NOW.plus_ms(60_000);
    assert!(start(&store, "summer", "1.5.0", now));
    let spring = read(&store, "spring");
    assert_eq!(*spring.kept.core().state(), State::Superseded("summer".into()));
    assert!(
        spring
            .kept
            .core()
            .steps()
            .all(|(_, _, step)| step == Step::LeftOut)
    );
    let live: Vec<Name> = block(store.read(campaigns::live))
        .expect("read")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(live, [name("summer")], "one campaign for each home");
    assert!(look(&store, "summer", now).len() == 1, "its canary");
    assert_eq!(trail(&store, Action::CampaignSuperseded), 1);
    // What became of each home is kept as long as readings, and of one that goes on always.
    let later = now.plus_ms(40 * 86_400_000);
    block(store.write(move |tx| retention::step(tx, 30, 30, later))).expect("a step");
    assert_eq!(read(&store, "spring").kept.notes().len(), 0);
    assert_eq!(read(&store, "summer").kept.notes().len(), 4);
}

/// A campaign whose canary has begun, a minute ago, with a sensor that was heard before; gives its number and its word.
fn acting(store: &Store) -> (usize, u64) {
    block(store.write(homes)).expect("made");
    assert!(start(store, "spring", "1.4.0", NOW));
    (0..4).for_each(|n| connect(store, n));
    let heard = "INSERT INTO sensors (gateway, sensor, profile, interval_s, failures, last_stored, listed_at)
                 SELECT id, 'cuff', 'blood-pressure', 60, 0, $1, 0 FROM gateways";
    let at = NOW.ms;
    block(store.write(move |tx| tx.execute(heard, &[at.into()]).map(drop))).expect("heard");
    let words = look(store, "spring", NOW);
    let [(gateway, Way::On)] = words.as_slice() else {
        panic!("one canary: {words:?}");
    };
    let n: usize = gateway.as_str()[3..].parse().expect("a number");
    let word = read(store, "spring").kept.notes()[gateway]
        .word
        .expect("a word")
        .0;
    let began = NOW.plus_ms(MINUTE);
    block(store.write(move |tx| {
        let judged = "INSERT INTO attestation (gateway, status, issued_at) VALUES ($1, 'affirming', $2)";
        let id = gw(n);
        tx.execute(judged, &[id.as_str().into(), NOW.ms.into()])?;
        act(tx, n, word, began)
    }))
    .expect("begun");
    look(store, "spring", began);
    assert_eq!(step(&read(store, "spring").kept, n), "acting");
    (n, word)
}

const MINUTE: i64 = 60_000;

/// It says that it tries the release.
fn act(tx: &mut dyn Tx, n: usize, word: u64, now: Timestamp) -> Result<(), StoreError> {
    say(tx, n, "1.4.0", None, now)?;
    let gateway = gw(n);
    let mut said = updates::said(tx, &gateway)?.expect("said").state;
    let mark = UpdateMark {
        counter: word,
        installer: Installer::AgentSlot,
        version: version("1.4.0"),
    };
    said.now = Some((mark, Progress::Acting));
    let at = Origin {
        gateway: gateway.as_str(),
        epoch: "01",
        lane: Lane::Urgent,
        spare: false,
        now,
    };
    updates::put(tx, &at, &said)
}

/// Missing records count against an update, but for those that an outage or a restored server may have cost.
pub(super) fn records_that_are_missing_since_an_update_count_against_it(home: &Home) {
    let store = home.open();
    let (n, word) = acting(&store);
    let said = NOW.ms + 2 * MINUTE;
    let now = said + MINUTE;
    block(store.write(move |tx| {
        let confirmed = Some((word, Outcome::Confirmed));
        say(tx, n, "1.4.0", confirmed, Timestamp::synced(said))?;
        let sql = "UPDATE attestation SET status = 'affirming', issued_at = $1";
        tx.execute(sql, &[said.into()])?;
        let sql = "UPDATE sensors SET last_stored = $1";
        tx.execute(sql, &[now.into()]).map(drop)
    }))
    .expect("said, judged and heard");
    let becomes = || {
        let mut one = read(&store, "spring");
        let signs = signs(&store, "spring", NOW);
        one.kept.look(&signs, Timestamp::synced(now));
        step(&one.kept, n)
    };
    let lost = |cause: &'static str, noted: i64| {
        store.write(move |tx| {
            tx.execute("DELETE FROM gaps", &[])?;
            let sql = "INSERT INTO gaps (gateway, epoch, lane, from_seq, to_seq, missing, cause, noted_at)
                       VALUES ($1, 'e', 'vital', 1, 2, 1, $2, $3)";
            let id = gw(n);
            tx.execute(sql, &[id.as_str().into(), cause.into(), noted.into()])
                .map(drop)
        })
    };
    for cause in [
        "quota",
        "disk-refused",
        "damaged",
        "not-held",
        "chain-broken",
        "fork",
    ] {
        block(lost(cause, NOW.ms + 30_000)).expect("noted");
        assert_eq!(becomes(), "confirmed", "{cause} was noted before it began");
        block(lost(cause, said)).expect("noted");
        let innocent = ["quota", "not-held"].contains(&cause);
        let expected = if innocent { "confirmed" } else { "unwell" };
        assert_eq!(becomes(), expected, "{cause} was noted after it began");
    }
}

pub(super) fn a_home_counts_as_well_only_when_its_rows_bear_that_out(home: &Home) {
    let store = home.open();
    let (n, word) = acting(&store);
    let judge = |status: &'static str, at: i64| {
        store.write(move |tx| {
            let sql = "UPDATE attestation SET status = $1, issued_at = $2";
            tx.execute(sql, &[status.into(), at.into()]).map(drop)
        })
    };
    let hear = |at: i64| {
        let sql = "UPDATE sensors SET last_stored = $1";
        store.write(move |tx| tx.execute(sql, &[at.into()]).map(drop))
    };
    let suspect = |suspicion: &str, raised: i64| {
        let suspicion = suspicion.to_owned();
        store.write(move |tx| {
            tx.execute("DELETE FROM findings", &[])?;
            let sql = "INSERT INTO findings (gateway, suspicion, sensor, address, since, said, raised_at)
                       VALUES ($1, $2, 'cuff', '', $3, 'something of cuff', $3)";
            let id = gw(n);
            tx.execute(
                sql,
                &[id.as_str().into(), suspicion.as_str().into(), raised.into()],
            )
            .map(drop)
        })
    };
    let clear = || {
        let sql = "UPDATE findings SET cleared_at = raised_at";
        store.write(move |tx| tx.execute(sql, &[]).map(drop))
    };
    // What it would become now; nothing is kept of it.
    let becomes = |at: i64| {
        let mut one = read(&store, "spring");
        let signs = signs(&store, "spring", NOW);
        one.kept.look(&signs, Timestamp::synced(at));
        step(&one.kept, n)
    };
    let said = NOW.ms + 2 * MINUTE;
    let confirms = Timestamp::synced(said);
    block(store.write(move |tx| say(tx, n, "1.4.0", Some((word, Outcome::Confirmed)), confirms)))
        .expect("said");
    let now = said + MINUTE;
    assert_eq!(
        becomes(now),
        "acting",
        "its evidence is awaited, whatever it says"
    );
    block(judge("contraindicated", said)).expect("judged");
    assert_eq!(becomes(now), "unwell", "its evidence was not accepted");
    block(judge("affirming", said)).expect("judged");
    assert_eq!(becomes(now), "acting", "its sensor is awaited");
    assert_eq!(becomes(said + 30 * MINUTE), "unwell", "its sensor is silent");
    block(hear(now)).expect("heard");
    assert_eq!(becomes(now), "confirmed");
    for suspicion in Suspicion::ALL {
        let word = wire_name(suspicion);
        block(suspect(&word, NOW.ms + 30_000)).expect("raised");
        assert_eq!(becomes(now), "confirmed", "{word} stood before it began");
        block(suspect(&word, said)).expect("raised");
        let expected = if is_side_effect(suspicion) {
            "unwell"
        } else {
            "confirmed"
        };
        assert_eq!(becomes(now), expected, "{word} began with the update");
        block(clear()).expect("cleared");
        assert_eq!(becomes(now), "confirmed", "{word} is over");
    }
    // And after it counted as well, for as long as it is watched.
    look(&store, "spring", Timestamp::synced(now));
    assert_eq!(step(&read(&store, "spring").kept, n), "confirmed");
    block(suspect("battery-falling", now)).expect("raised");
    assert_eq!(becomes(now + MINUTE), "unwell");
    block(clear()).expect("cleared");
    assert_eq!(becomes(now + MINUTE), "confirmed");
    assert_eq!(
        becomes(now + 31 * MINUTE),
        "unwell",
        "its sensor fell silent after that"
    );
    block(hear(now + 31 * MINUTE)).expect("heard");
    assert_eq!(becomes(now + 31 * MINUTE), "confirmed");
    block(judge("contraindicated", now + MINUTE)).expect("judged");
    assert_eq!(
        becomes(now + 31 * MINUTE),
        "unwell",
        "its evidence is refused after that"
    );
}

/// As it is kept.
fn wire_name(suspicion: Suspicion) -> String {
    let word = serde_json::to_value(suspicion).expect("a word");
    word.as_str().expect("a word").to_owned()
}

pub(super) fn a_home_that_was_given_up_on_is_seen_to_be_back(home: &Home) {
    let store = home.open();
    let (n, _) = acting(&store);
    let at = |minutes: i64| NOW.plus_ms(minutes * MINUTE);
    let soon = at(3);
    let abort =
        store.write(move |tx| campaigns::order(tx, &name("spring"), (&Order::Abort, "bad"), "ann", soon));
    assert_eq!(block(abort).expect("answers"), Some(Ok(())));
    assert_eq!(look(&store, "spring", at(4)), [(gw(n), Way::Back)]);
    look(&store, "spring", at(4 + 15 * 1_440));
    assert_eq!(step(&read(&store, "spring").kept, n), "stuck");
    let back = read(&store, "spring").kept.notes()[&gw(n)]
        .word
        .expect("a word")
        .0;
    let late = at(16 * 1_440);
    block(store.write(move |tx| say(tx, n, "1.3.0", Some((back, Outcome::Confirmed)), late))).expect("said");
    look(&store, "spring", late);
    assert_eq!(step(&read(&store, "spring").kept, n), "returned");
}

/// What ten thousand homes that wait cost: reads, and no write.
#[test]
#[expect(clippy::disallowed_methods, reason = "test: measures")]
fn ten_thousand_homes_that_wait_are_looked_at_without_a_write() {
    let home = Home::embedded();
    let store = home.open();
    block(store.write(|tx| {
        for n in 0..10_000 {
            gateways::add(tx, &gw(n), None, NOW)?;
            say(tx, n, "1.3.0", None, NOW)?;
        }
        let lab = "INSERT INTO group_members (group_id, gateway, added_at, added_by) SELECT 'lab', id, 0, '' FROM gateways";
        tx.execute(lab, &[])?;
        tx.execute("UPDATE gateways SET state = 'enrolled', connected_at = NULL", &[])?;
        Ok(())
    }))
    .expect("made");
    assert!(start(&store, "spring", "1.4.0", NOW));
    // The first look notes that they are away; what follows finds nothing new.
    look(&store, "spring", NOW);
    let mut kept = read(&store, "spring");
    let begun = std::time::Instant::now();
    let signs = signs(&store, "spring", NOW);
    let read_ms = begun.elapsed().as_millis();
    kept.kept.look(&signs, NOW.plus_ms(1000));
    let due = kept.kept.due(&signs, NOW.plus_ms(1000));
    let took = begun.elapsed();
    println!(
        "10,000 homes: read in {read_ms} ms, looked at in {} ms",
        took.as_millis()
    );
    assert!((signs.len(), due.len()) == (10_000, 0) && !kept.kept.has_changed());
    assert!(took < Duration::from_secs(10), "{took:?}");
}
