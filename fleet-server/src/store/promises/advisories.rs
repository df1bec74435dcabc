//! Promises about advisories, the register of implants, and what is weighed.

use homeward_protocol::id::TeamId;
use homeward_protocol::release::dossier::Class;
use homeward_protocol::time::Timestamp;
use serde_json::json;

use super::{Home, NOW, block};
use crate::access::{Role, Sight};
use crate::advisory::csaf;
use crate::advisory::implant::{Implant, Kind};
use crate::advisory::{Choice, Decision, Order, Stands, Unfit, WeighId, Who};
use crate::care::Dependency;
use crate::store::advisories::{self, Taken};
use crate::store::care::{Placement, Team, add_placement, add_team};
use crate::store::implants::{self, Added};
use crate::store::weighings::{self, Opened};
use crate::store::{StoreError, Tx, dossiers, gateways};

/// An advisory on Acme's Pacer 7 below 2.0, of this revision, that says this.
fn document(version: &str, says: &str) -> Vec<u8> {
    let document = json!({
        "document": {
            "csaf_version": "2.0", "title": "Pacers", "publisher": { "name": "Acme", "namespace": "https://acme.example" },
            "tracking": {
                "id": "ACME-1", "version": version, "status": "final", "current_release_date": "2026-11-01T00:00:00Z"
            }
        },
        "product_tree": { "branches": [ { "category": "vendor", "name": "Acme", "branches": [
            { "category": "product_name", "name": "Pacer 7", "branches": [
                { "category": "product_version_range", "name": "<2.0", "product": { "name": "Pacer 7 <2.0", "product_id": "P" } },
                { "category": "product_version", "name": "2.0", "product": { "name": "Pacer 7 2.0", "product_id": "F" } }
            ] } ] } ] },
        "vulnerabilities": [ {
            "cve": "CVE-2026-1", "notes": [ { "category": "summary", "text": says } ],
            "product_status": { "known_affected": ["P"], "fixed": ["F"] }
        } ]
    });
    document.to_string().into_bytes()
}

fn take(tx: &mut dyn Tx, version: &str, says: &str) -> Result<Taken, StoreError> {
    let bytes = document(version, says);
    let advisory = csaf::read(&bytes).expect("an advisory");
    let sha256 =
        homeward_protocol::tuf::read::to_hex(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref());
    advisories::take(tx, (&sha256, &bytes), &advisory, "olga", NOW)
}

fn opened(taken: Taken) -> Opened {
    match taken {
        Taken::New(opened) => opened,
        other => panic!("{other:?}"),
    }
}

fn implant(home: &str, device: &str, model: &str) -> Implant {
    Implant {
        placement: home.parse().expect("an id"),
        device: device.parse().expect("a name"),
        kind: Kind::Implant,
        maker: "Acme".parse().expect("a name"),
        model: model.parse().expect("a name"),
        shows: None,
    }
}

fn add(tx: &mut dyn Tx, implant: &Implant) -> Result<Added, StoreError> {
    implants::add(tx, implant, (&Sight::Fleet, "olga"), NOW)
}

/// Two homes of two teams, each with a pacemaker, and one with another device as well.
fn register(tx: &mut dyn Tx) -> Result<(), StoreError> {
    for team in ["north", "south"] {
        let (id, name): (TeamId, _) = (team.parse().expect("an id"), team.to_owned());
        add_team(tx, &Team { id: id.clone(), name }, "olga", NOW)?;
        let home = Placement {
            id: format!("home-{team}").parse().expect("an id"),
            team: id,
            dependency: Dependency::High,
        };
        add_placement(tx, &home, "olga", NOW)?;
        let gateway = format!("gw-{team}").parse().expect("an id");
        gateways::add(tx, &gateway, Some(&home.id), NOW)?;
        add(tx, &implant(home.id.as_str(), "pacemaker", "Pacer 7"))?;
    }
    tx.execute("UPDATE gateways SET state = 'enrolled'", &[])?;
    add(tx, &implant("home-north", "stimulator", "Stim 3"))?;
    Ok(())
}

fn who(role: Option<Role>) -> Who {
    Who {
        person: "nora".parse().expect("a name"),
        signed_in: role,
    }
}

fn north() -> Sight {
    Sight::Team("north".parse().expect("an id"))
}

fn decision(choice: Choice) -> Decision {
    Decision {
        choice,
        with: "the clinic".parse().expect("words"),
        without: "somebody near may change it".parse().expect("words"),
        by_it: "back-up pacing for minutes".parse().expect("words"),
    }
}

fn give(
    tx: &mut dyn Tx,
    id: WeighId,
    sight: &Sight,
    order: &Order,
) -> Result<Option<Result<Stands, Unfit>>, StoreError> {
    let done = weighings::order(
        tx,
        (id, sight, None),
        order,
        (&who(Some(Role::Nurse)), "nora"),
        NOW,
    )?;
    Ok(done.map(|done| done.map(|task| task.stands)))
}

fn states(tx: &mut dyn Tx) -> Result<Vec<(i64, &'static str)>, StoreError> {
    let mut all: Vec<_> = weighings::list(tx, &Sight::Fleet)?
        .list
        .iter()
        .map(|one| (one.weighing.id.0, one.weighing.stands.name().0))
        .collect();
    all.sort_unstable();
    Ok(all)
}

pub(super) fn an_advisory_opens_a_task_for_each_device_that_it_is_about_whichever_came_first(home: &Home) {
    let work = |tx: &mut dyn Tx| {
        register(tx)?;
        let first = opened(take(tx, "1", "It listens to all.")?);
        let known = take(tx, "1", "It listens to all.")?;
        // A device that is written down later is found as well.
        let later = add(tx, &implant("home-south", "second", "Pacer 7 XT"))?;
        let other = add(tx, &implant("home-south", "third", "Stim 3"))?;
        let twin = add(tx, &implant("home-south", "second", "Pacer 7"))?;
        let nowhere = add(tx, &implant("home-west", "pacemaker", "Pacer 7"))?;
        let unseen = implants::add(
            tx,
            &implant("home-south", "fourth", "Pacer 7"),
            (&north(), "nora"),
            NOW,
        )?;
        Ok((first, known, later, other, twin, nowhere, unseen, states(tx)?))
    };
    let (first, known, later, other, twin, nowhere, unseen, states) =
        block(home.open().write(work)).expect("writes");
    let homes: Vec<&str> = first
        .new
        .iter()
        .map(|(_, entry)| entry.implant.placement.as_str())
        .collect();
    assert_eq!(homes, ["home-north", "home-south"]);
    assert_eq!(known, Taken::Known);
    assert!(
        matches!(&later, Added::New(_, opened) if opened.new.len() == 1),
        "{later:?}"
    );
    assert!(
        matches!(&other, Added::New(_, opened) if opened.new.is_empty()),
        "{other:?}"
    );
    assert!(matches!(twin, Added::Known(_)));
    assert_eq!((nowhere, unseen), (Added::NoHome, Added::NoHome));
    assert_eq!(states, [(1, "open"), (2, "open"), (3, "open")]);
    // And it is there after a restart, with what was decided.
    let day = "2026-12-01".parse().expect("a day");
    let decided = Stands::Decided {
        by: "nora".parse().expect("a name"),
        decision: decision(Choice::Act(day)),
    };
    let order = Order::Decide(decision(Choice::Act(day)));
    let said = block(
        home.open()
            .write(move |tx| give(tx, WeighId(1), &north(), &order)),
    );
    assert_eq!(said.expect("writes"), Some(Ok(decided.clone())));
    let full = block(home.open().read(|tx| weighings::full(tx, WeighId(1), &north())));
    assert_eq!(full.expect("reads").expect("is seen").weighing.stands, decided);
}

pub(super) fn what_is_weighed_is_seen_by_its_own_team_and_decided_by_a_clinician(home: &Home) {
    let work = |tx: &mut dyn Tx| {
        register(tx)?;
        opened(take(tx, "1", "It listens to all.")?);
        let leave = Order::Decide(decision(Choice::Leave));
        let foreign = give(tx, WeighId(2), &north(), &leave)?;
        let operator = who(Some(Role::Operator));
        let by_operator = weighings::order(
            tx,
            (WeighId(1), &Sight::Fleet, None),
            &leave,
            (&operator, "olga"),
            NOW,
        )?;
        let listed = weighings::list(tx, &north())?.list.len();
        let nobody = weighings::list(tx, &Sight::Nobody)?.list.len();
        let entries = implants::list(tx, &north())?.list.len();
        let own = give(tx, WeighId(1), &north(), &leave)?;
        Ok((foreign, by_operator, listed, nobody, entries, own))
    };
    let (foreign, by_operator, listed, nobody, entries, own) =
        block(home.open().write(work)).expect("writes");
    assert_eq!(foreign, None);
    assert_eq!(by_operator, Some(Err(Unfit::NotAClinician)));
    assert_eq!((listed, nobody, entries), (1, 0, 2));
    assert!(matches!(own, Some(Ok(Stands::Decided { .. }))));
}

pub(super) fn a_later_revision_asks_again_only_where_it_says_something_else(home: &Home) {
    let work = |tx: &mut dyn Tx| {
        register(tx)?;
        opened(take(tx, "1", "It listens to all.")?);
        let leave = Order::Decide(decision(Choice::Leave));
        give(tx, WeighId(1), &north(), &leave)?;
        let same = opened(take(tx, "2", "It listens to all.")?);
        let older = take(tx, "1", "Something else.")?;
        let differs = take(tx, "2", "Something else.")?;
        let other = opened(take(tx, "3", "It is used by thieves now.")?);
        let full = weighings::full(tx, WeighId(3), &Sight::Fleet)?.expect("is there");
        let ended = give(
            tx,
            WeighId(1),
            &north(),
            &Order::Reopen("why".parse().expect("a reason")),
        )?;
        Ok((same, older, differs, other, full, ended, states(tx)?))
    };
    let (same, older, differs, other, full, ended, states) = block(home.open().write(work)).expect("writes");
    assert_eq!(same, Opened::default());
    assert_eq!(older, Taken::Older("2".to_owned()));
    assert!(matches!(differs, Taken::Differs(_)), "{differs:?}");
    assert_eq!(other.new.len(), 2);
    assert_eq!(other.superseded, [WeighId(1), WeighId(2)]);
    // What was decided by the earlier revision stands in the task that ended, and is shown with the new one.
    let Some((by, before)) = &full.before[0].decided else {
        panic!("{:?}", full.before);
    };
    assert_eq!((by.as_str(), before.choice), ("nora", Choice::Leave));
    assert!(matches!(ended, Some(Err(Unfit::Ended(_)))));
    assert_eq!(
        states,
        [(1, "superseded"), (2, "superseded"), (3, "open"), (4, "open")]
    );
}

pub(super) fn what_a_device_shows_and_that_it_is_gone_is_followed(home: &Home) {
    let work = |tx: &mut dyn Tx| {
        register(tx)?;
        opened(take(tx, "1", "It listens to all.")?);
        let all = implants::list(tx, &Sight::Fleet)?.list;
        let (first, third) = (all[0].id, all[2].id);
        // The version that is clear of it ends nothing by itself: a person says so. Whoever has it from the beginning is not asked.
        let shows = "2.0".parse().expect("a version");
        let seen = implants::seen(tx, (first, &north()), &shows, "nora", NOW)?.expect("is there");
        let foreign = implants::seen(tx, (third, &north()), &shows, "nora", NOW)?;
        let clear = Implant {
            shows: Some(shows),
            ..implant("home-south", "second", "Pacer 7")
        };
        let added = add(tx, &clear)?;
        let reason = "it was replaced".parse().expect("a reason");
        let ended = implants::end(tx, (third, &Sight::Fleet), &reason, "olga", NOW)?;
        let again = implants::end(tx, (third, &Sight::Fleet), &reason, "olga", NOW)?;
        let reopened = give(tx, WeighId(2), &Sight::Fleet, &Order::Reopen(reason))?;
        let anew = add(tx, &implant("home-south", "pacemaker", "Pacer 7"))?;
        Ok((seen, foreign, added, ended, again, reopened, anew, states(tx)?))
    };
    let (seen, foreign, added, ended, again, reopened, anew, states) =
        block(home.open().write(work)).expect("writes");
    assert_eq!(seen.1, Opened::default());
    assert_eq!(foreign, None);
    assert!(matches!(added, Added::New(_, opened) if opened.new.is_empty()));
    assert!(ended.is_some());
    assert_eq!(again, None);
    assert!(matches!(reopened, Some(Err(Unfit::Ended(_)))));
    // Whoever has one again is asked again.
    assert!(matches!(anew, Added::New(_, opened) if opened.new.len() == 1));
    assert_eq!(states, [(1, "open"), (2, "gone"), (3, "open")]);
}

pub(super) fn what_is_to_be_weighed_is_told_once_a_week_and_when_its_day_comes(home: &Home) {
    const WEEK_MS: i64 = 7 * 86_400_000;
    let work = |tx: &mut dyn Tx| {
        register(tx)?;
        opened(take(tx, "1", "It listens to all.")?);
        let all = |tx: &mut dyn Tx, at: Timestamp| -> Result<Vec<WeighId>, StoreError> {
            Ok(weighings::untold(tx, at)?.iter().map(|one| one.id).collect())
        };
        let first = all(tx, NOW)?;
        weighings::told(tx, &first, "nora", NOW)?;
        let told = all(tx, NOW.plus_ms(WEEK_MS - 1))?;
        let day = "2026-12-24".parse().expect("a day");
        give(
            tx,
            WeighId(1),
            &north(),
            &Order::Decide(decision(Choice::Watch(day))),
        )?;
        let in_a_week = all(tx, NOW.plus_ms(WEEK_MS))?;
        let on_the_day = all(tx, day.begins())?;
        weighings::told(tx, &[WeighId(1)], "nora", day.begins())?;
        give(
            tx,
            WeighId(2),
            &Sight::Fleet,
            &Order::Decide(decision(Choice::Leave)),
        )?;
        let told_of_the_day = all(tx, day.begins().plus_ms(1))?;
        Ok((first, told, in_a_week, on_the_day, told_of_the_day))
    };
    let (first, told, in_a_week, on_the_day, told_of_the_day) =
        block(home.open().write(work)).expect("writes");
    assert_eq!(first, [WeighId(1), WeighId(2)]);
    assert_eq!(told, []);
    assert_eq!(in_a_week, [WeighId(2)]);
    assert_eq!(on_the_day, [WeighId(1), WeighId(2)]);
    assert_eq!(told_of_the_day, []);
}

pub(super) fn instructions_of_a_maker_find_the_devices_of_the_register(home: &Home) {
    let found = block(home.open().write(|tx| {
        register(tx)?;
        let mut dossier = homeward_protocol::release::dossier::read(include_str!(
            "../../../../protocol/tests/dossiers/cuff.toml"
        ))
        .expect("a dossier");
        dossier.profiles = Vec::new();
        dossier.class = Class::Implant;
        (dossier.maker, dossier.model) = ("ACME".to_owned(), "pacer  7".to_owned());
        let all = dossiers::devices(tx, &dossier)?;
        let entry = implants::list(tx, &Sight::Fleet)?.list[0].id;
        let shows = dossier.after.clone();
        implants::seen(tx, (entry, &Sight::Fleet), &shows, "nora", NOW)?;
        let without = dossiers::devices(tx, &dossier)?;
        dossier.class = Class::Sensor;
        Ok((all, without, dossiers::devices(tx, &dossier)?))
    }))
    .expect("writes");
    let names = |found: &[dossiers::Found]| -> Vec<String> {
        found
            .iter()
            .map(|one| format!("{} {}", one.gateway, one.device))
            .collect()
    };
    assert_eq!(names(&found.0), ["gw-north pacemaker", "gw-south pacemaker"]);
    assert_eq!(names(&found.1), ["gw-south pacemaker"]);
    assert!(found.2.is_empty(), "of another class");
}

pub(super) fn an_advisory_that_should_not_have_come_in_is_taken_out_and_what_it_replaced_is_asked_again(
    home: &Home,
) {
    let work = |tx: &mut dyn Tx| {
        register(tx)?;
        opened(take(tx, "1", "It listens to all.")?);
        give(tx, WeighId(1), &north(), &Order::Decide(decision(Choice::Leave)))?;
        opened(take(tx, "999999", "It is nothing.")?);
        let older = take(tx, "2", "It listens to all.")?;
        let other = take(tx, "1.0.0", "It listens to all.")?;
        let bad = tx.row("SELECT sha256 FROM advisories WHERE newest = 1", &[])?;
        let bad = bad.expect("is there").text(0)?.to_owned();
        let reason = "it is not the maker's".parse().expect("a reason");
        let removed = advisories::remove(tx, &bad, &reason, "olga", NOW)?;
        let again = advisories::remove(tx, &bad, &reason, "olga", NOW)?;
        let second = take(tx, "2", "It listens to all.")?;
        // The first is taken out as well: what stood with it is asked by the second, which says the same.
        let row = tx.row("SELECT sha256 FROM advisories WHERE version = '1'", &[])?;
        let first = row.expect("is there").text(0)?.to_owned();
        let moved = advisories::remove(tx, &first, &reason, "olga", NOW)?;
        let ended = give(tx, WeighId(5), &Sight::Fleet, &Order::Reopen(reason.clone()))?;
        let back = take(tx, "999999", "It is nothing.")?;
        let full = weighings::full(tx, WeighId(5), &Sight::Fleet)?.expect("is there");
        Ok((
            older,
            other,
            removed,
            again,
            (second, moved, ended, back),
            full,
            states(tx)?,
        ))
    };
    let (older, other, removed, again, (second, moved, ended, back), full, states) =
        block(home.open().write(work)).expect("writes");
    assert_eq!(moved.map(|opened| opened.new.len()), Some(2));
    assert!(matches!(ended, Some(Err(Unfit::Ended(_)))), "{ended:?}");
    assert_eq!(opened(back).new.len(), 2, "it may come again");
    assert_eq!(older, Taken::Older("999999".to_owned()));
    assert_eq!(other, Taken::OtherForm("999999".to_owned()));
    assert_eq!(removed.map(|opened| opened.new.len()), Some(2));
    assert_eq!(again, None);
    assert_eq!(opened(second), Opened::default(), "it says the same");
    let decided = full.before.iter().filter(|one| one.decided.is_some());
    assert_eq!(
        decided.count(),
        1,
        "what was decided before the bad one is still there"
    );
    let all = (1..=10).map(|id| (id, if id < 9 { "superseded" } else { "open" }));
    assert_eq!(states, all.collect::<Vec<_>>());
}

pub(super) fn what_was_decided_stays_on_record_whatever_becomes_of_the_task(home: &Home) {
    let work = |tx: &mut dyn Tx| {
        register(tx)?;
        opened(take(tx, "1", "It listens to all.")?);
        let day = "2026-12-24".parse().expect("a day");
        give(
            tx,
            WeighId(1),
            &north(),
            &Order::Decide(decision(Choice::Act(day))),
        )?;
        // Two had the same page before them; the second one has to look again.
        let stale = weighings::order(
            tx,
            (WeighId(1), &north(), Some(1)),
            &Order::Decide(decision(Choice::Leave)),
            (&who(Some(Role::Nurse)), "nora"),
            NOW,
        )?;
        let reason = "it is weighed anew".parse().expect("a reason");
        give(tx, WeighId(1), &north(), &Order::Reopen(reason))?;
        let due = weighings::untold(tx, day.begins())?.len();
        let full = weighings::full(tx, WeighId(1), &north())?.expect("is there");
        Ok((stale, due, full))
    };
    let (stale, due, full) = block(home.open().write(work)).expect("writes");
    assert_eq!(stale, Some(Err(Unfit::Moved)));
    assert_eq!(due, 2);
    assert_eq!(full.weighing.stands, Stands::Open);
    let (by, decision) = full.weighing.decided.expect("stays");
    assert_eq!((by.as_str(), decision.choice.name()), ("nora", "act"));
}
