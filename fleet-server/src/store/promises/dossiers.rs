//! Promises about dossiers and their tasks.

use homeward_protocol::release::dossier::{Class, Dossier, Performer, read};

use super::{Home, NOW, block};
use crate::access::Sight;
use crate::dossier::{Order, Stands, TaskId, Unfit, Who};
use crate::release::dossiers::Carried;
use crate::store::care::place;
use crate::store::care::{Placement, Team, add_placement, add_team};
use crate::store::dossiers::{self, Found, How, Kept, Opened, Opening};
use crate::store::{StoreError, Tx, audit, gateways};

fn dossier(class: Class) -> Dossier {
    let mut one = read(include_str!("../../../../protocol/tests/dossiers/cuff.toml")).expect("a dossier");
    one.class = class;
    one.by = Performer::ClinicVisit;
    one
}

fn kept(tx: &mut dyn Tx, class: Class) -> Result<Kept, StoreError> {
    let one = dossier(class);
    let bytes = one.to_bytes().expect("bytes");
    dossiers::keep(tx, (class.name(), &one.path()), &bytes, NOW)?;
    let all = dossiers::dossiers(tx)?;
    Ok(all
        .into_iter()
        .find(|kept| kept.sha256 == class.name())
        .expect("kept"))
}

/// Four boxes: of three a cuff is known, one of which has the new version; the last is not in service.
fn fleet(tx: &mut dyn Tx) -> Result<(), StoreError> {
    for (n, team) in ["north", "south", "north", "north"].into_iter().enumerate() {
        let team: homeward_protocol::id::TeamId = team.parse().expect("an id");
        if n < 2 {
            let name = team.to_string();
            add_team(
                tx,
                &Team {
                    id: team.clone(),
                    name,
                },
                "olga",
                NOW,
            )?;
        }
        let home = Placement {
            id: format!("home-{n}").parse().expect("an id"),
            team,
            dependency: crate::care::Dependency::Low,
        };
        add_placement(tx, &home, "olga", NOW)?;
        let gateway = format!("gw-{n}").parse().expect("an id");
        gateways::add(tx, &gateway, Some(&home.id), NOW)?;
        tx.execute(
            "INSERT INTO sensors (gateway, sensor, profile, interval_s, failures, listed_at) VALUES ($1, 'cuff', $2, 60, 0, 0)",
            &[gateway.as_str().into(), "blood-pressure".into()],
        )?;
        let firmware = ["2.1", "2.2", "", "2.0"][n];
        if !firmware.is_empty() {
            tx.execute(
                "INSERT INTO bonds (gateway, sensor, address, associated_at, firmware) VALUES ($1, 'cuff', 'a', 0, $2)",
                &[gateway.as_str().into(), firmware.into()],
            )?;
        }
    }
    tx.execute("UPDATE gateways SET state = 'enrolled' WHERE id <> 'gw-3'", &[])?;
    Ok(())
}

fn who(name: &str) -> Who {
    Who {
        person: name.parse().expect("a name"),
        signed_in: true,
    }
}

fn give(
    home: &Home,
    id: TaskId,
    sight: Sight,
    order: Order,
    name: &'static str,
) -> Option<Result<Stands, Unfit>> {
    let work = move |tx: &mut dyn Tx| dossiers::order(tx, (id, &sight), &order, (&who(name), name), NOW);
    let done = block(home.open().write(work)).expect("writes");
    done.map(|done| done.map(|full| full.task.stands))
}

fn actions(home: &Home) -> Vec<String> {
    let store = home.open();
    let rows = store.read(|tx| {
        let rows = tx.rows(
            "SELECT action FROM audit WHERE action LIKE 'dossier%' ORDER BY id",
            &[],
        )?;
        rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
    });
    block(rows).expect("reads")
}

pub(super) fn a_dossier_opens_one_task_for_each_device_in_service_that_lacks_it(home: &Home) {
    let (found, openings) = block(home.open().write(|tx| {
        fleet(tx)?;
        let kept = kept(tx, Class::Sensor)?;
        let found = dossiers::devices(tx, &kept.dossier)?;
        let mut openings = Vec::new();
        for one in found.iter().chain(&found) {
            openings.push(dossiers::open(tx, &kept, one, "olga", NOW)?);
        }
        let gone = Found {
            gateway: "gw-3".parse().expect("an id"),
            ..found[0].clone()
        };
        openings.push(dossiers::open(tx, &kept, &gone, "olga", NOW)?);
        Ok((found, openings))
    }))
    .expect("writes");
    let names: Vec<(&str, Option<&str>)> = found
        .iter()
        .map(|one| (one.gateway.as_str(), one.shown.as_deref()))
        .collect();
    assert_eq!(names, [("gw-0", Some("2.1")), ("gw-2", None)]);
    let known = [Opening::Known, Opening::Known, Opening::Unknown];
    assert_eq!(
        openings[..2],
        [Opening::Opened(TaskId(1)), Opening::Opened(TaskId(2))]
    );
    assert_eq!(openings[2..], known);
    assert_eq!(actions(home), ["dossier-opened", "dossier-opened"]);
}

pub(super) fn a_task_is_seen_by_its_own_team_and_moves_once_for_each_order(home: &Home) {
    block(home.open().write(|tx| {
        fleet(tx)?;
        let kept = kept(tx, Class::Implant)?;
        let found = dossiers::devices(tx, &kept.dossier)?;
        dossiers::open(tx, &kept, &found[0], "olga", NOW)
    }))
    .expect("opened");
    let (id, north) = (TaskId(1), || Sight::Team("north".parse().expect("an id")));
    let south = || Sight::Team("south".parse().expect("an id"));
    for (sight, count) in [(north(), 1), (south(), 0), (Sight::Nobody, 0), (Sight::Fleet, 1)] {
        let all = block(home.open().read(move |tx| dossiers::tasks(tx, &sight))).expect("reads");
        assert_eq!((all.list.len(), all.more), (count, 0));
    }
    let plan = Order::Plan("2026-12-01".parse().expect("a day"));
    let shows = |text: &str| Order::Confirm(text.parse().expect("a version"));
    assert_eq!(
        give(home, id, south(), plan.clone(), "sue"),
        None,
        "another team's"
    );
    assert!(matches!(
        give(home, id, north(), plan, "nora"),
        Some(Ok(Stands::Planned { .. }))
    ));
    let odd = give(home, id, north(), shows("2.1"), "nora");
    assert!(matches!(odd, Some(Err(Unfit::OtherVersion { .. }))));
    assert!(matches!(
        give(home, id, north(), shows("2.2"), "nora"),
        Some(Ok(Stands::Seen { .. }))
    ));
    let again = give(home, id, north(), shows("2.2"), "nora");
    assert!(matches!(again, Some(Err(Unfit::SamePerson(_)))));
    let done = give(home, id, Sight::Fleet, shows("2.2"), "olga");
    let Some(Ok(Stands::Done { by, first, .. })) = done else {
        panic!("{done:?}");
    };
    assert_eq!(
        (by.as_str(), first.map(|one| one.to_string())),
        ("olga", Some("nora".into()))
    );
    let written = [
        "dossier-opened",
        "dossier-planned",
        "dossier-mismatch",
        "dossier-seen",
        "dossier-done",
    ];
    assert_eq!(actions(home), written);
    let whole = block(home.open().read(audit::check)).expect("reads");
    assert!(whole.is_ok(), "{whole:?}");
}

/// A cuff's dossier of this version, as a repository carries it.
fn carried(version: &str) -> Carried {
    let mut one = dossier(Class::Sensor);
    one.version = version.parse().expect("a version");
    Carried {
        path: one.path(),
        sha256: format!("of {version}"),
        bytes: one.to_bytes().expect("bytes"),
        dossier: one,
    }
}

fn open_all(home: &Home, version: &str, how: How) -> Opened {
    let carried = carried(version);
    let work = move |tx: &mut dyn Tx| dossiers::open_all(tx, &carried, (None, how), "olga", NOW);
    block(home.open().write(work)).expect("opens")
}

/// How each task stands, by its number, and whether it has moved.
fn states(home: &Home) -> Vec<(i64, &'static str, bool)> {
    let all = block(home.open().read(|tx| dossiers::tasks(tx, &Sight::Fleet))).expect("reads");
    let mut all: Vec<_> = all
        .list
        .iter()
        .map(|full| (full.task.id.0, full.task.stands.name().0, full.task.has_moved()))
        .collect();
    all.sort_unstable();
    all
}

pub(super) fn a_task_waits_for_a_person_to_look_again_when_its_box_stands_in_another_home(home: &Home) {
    block(home.open().write(fleet)).expect("a fleet");
    open_all(home, "1.0.0", How::Really);
    let moved = block(home.open().write(|tx| {
        let (gateway, home) = ("gw-0".parse().expect("an id"), "home-1".parse().expect("an id"));
        place(tx, &gateway, Some(&home), "olga", NOW)
    }));
    assert!(moved.expect("moves"));
    assert_eq!(states(home), [(1, "open", true), (2, "open", false)]);
    let (id, north) = (TaskId(1), || Sight::Team("north".parse().expect("an id")));
    let south = || Sight::Team("south".parse().expect("an id"));
    let plan = || Order::Plan("2026-12-01".parse().expect("a day"));
    let reason = || "the device went along".parse().expect("a reason");
    // It is seen by those whose home it was for, and by nobody of the other home.
    assert_eq!(give(home, id, south(), plan(), "sue"), None);
    assert_eq!(
        give(home, id, north(), plan(), "nora"),
        Some(Err(Unfit::Elsewhere))
    );
    let again = give(home, id, Sight::Fleet, Order::Reopen(reason()), "olga");
    assert_eq!(again, Some(Ok(Stands::Open)));
    assert_eq!(states(home), [(1, "open", false), (2, "open", false)]);
    assert_eq!(
        give(home, id, north(), plan(), "nora"),
        None,
        "it is another team's now"
    );
    assert!(matches!(
        give(home, id, south(), plan(), "sue"),
        Some(Ok(Stands::Planned { .. }))
    ));
    // What was refused is opened again, too.
    let refused = give(home, id, south(), Order::Refuse(reason()), "sue");
    assert!(matches!(refused, Some(Ok(Stands::Refused { .. }))));
    let again = give(home, id, Sight::Fleet, Order::Reopen(reason()), "olga");
    assert_eq!(again, Some(Ok(Stands::Open)));
    assert_eq!(
        actions(home)
            .iter()
            .filter(|one| *one == "dossier-reopened")
            .count(),
        2
    );
}

pub(super) fn newer_instructions_take_the_place_of_older_ones_and_what_is_not_published_any_more_ends(
    home: &Home,
) {
    block(home.open().write(fleet)).expect("a fleet");
    assert_eq!(open_all(home, "1.0.0", How::Really).superseded, []);
    let refused = Order::Refuse("the patient travels".parse().expect("a reason"));
    give(home, TaskId(2), Sight::Fleet, refused, "nora");
    let dry = open_all(home, "1.1.0", How::DryRun);
    assert_eq!((dry.superseded, dry.devices.len()), (vec![TaskId(1)], 2));
    assert_eq!(states(home), [(1, "open", false), (2, "refused", false)]);
    let opened = open_all(home, "1.1.0", How::Really);
    assert_eq!(opened.superseded, [TaskId(1)]);
    let all = [
        (1, "superseded", false),
        (2, "refused", false),
        (3, "open", false),
        (4, "open", false),
    ];
    assert_eq!(states(home), all);
    // Nobody goes back to the older ones.
    let again = Order::Reopen("now it fits".parse().expect("a reason"));
    let older = give(home, TaskId(2), Sight::Fleet, again, "olga");
    assert_eq!(older, Some(Err(Unfit::Newer(carried("1.1.0").path))));
    let asked = block(home.open().read(dossiers::asked_for)).expect("reads");
    assert_eq!(asked, [("of 1.1.0".to_owned(), carried("1.1.0").path)]);
    let ended = block(home.open().write(|tx| dossiers::recall(tx, "of 1.1.0", NOW))).expect("recalls");
    assert_eq!(ended, [TaskId(3), TaskId(4)]);
    assert_eq!(
        states(home)[2..],
        [(3, "recalled", false), (4, "recalled", false)]
    );
    let written = actions(home);
    assert_eq!(
        written.iter().filter(|one| *one == "dossier-superseded").count(),
        1
    );
    assert_eq!(written.iter().filter(|one| *one == "dossier-recalled").count(), 2);
}

pub(super) fn a_device_that_no_box_reads_gets_the_newer_instructions_in_the_place_of_the_older(home: &Home) {
    block(home.open().write(fleet)).expect("a fleet");
    let by_hand = |version: &str| {
        let mut one = dossier(Class::Implant);
        one.profiles = Vec::new();
        one.version = version.parse().expect("a version");
        Carried {
            path: one.path(),
            sha256: format!("of {version}"),
            bytes: one.to_bytes().expect("bytes"),
            dossier: one,
        }
    };
    let pacer = |gateway: &str| Found {
        gateway: gateway.parse().expect("an id"),
        device: "pacemaker".parse().expect("a name"),
        shown: None,
    };
    let open = |version: &str, gateway: &str| {
        let (carried, found) = (by_hand(version), pacer(gateway));
        let work =
            move |tx: &mut dyn Tx| dossiers::open_all(tx, &carried, (Some(found), How::Really), "olga", NOW);
        block(home.open().write(work)).expect("opens")
    };
    open("1.0.0", "gw-0");
    open("1.0.0", "gw-2");
    let newer = open("1.1.0", "gw-0");
    assert_eq!(newer.superseded, [TaskId(1), TaskId(2)]);
    let devices: Vec<&str> = newer
        .devices
        .iter()
        .map(|(found, _)| found.gateway.as_str())
        .collect();
    assert_eq!(devices, ["gw-0", "gw-2"], "nobody's implant is forgotten");
}

/// Ends the tasks of a dossier that is taken back, and says which.
fn taken_back(home: &Home, version: &str) -> Vec<i64> {
    let sha256 = format!("of {version}");
    let ended = block(home.open().write(move |tx| dossiers::recall(tx, &sha256, NOW)));
    ended.expect("recalls").iter().map(|id| id.0).collect()
}

/// Asks again for what ended because a dossier was not the newest that is published, and says which.
fn published_again(home: &Home, version: &str) -> Vec<i64> {
    let sha256 = format!("of {version}");
    let again = block(home.open().write(move |tx| dossiers::ask_again(tx, &sha256, NOW)));
    again.expect("asks").iter().map(|id| id.0).collect()
}

pub(super) fn what_ended_with_its_instructions_is_asked_for_again_with_them(home: &Home) {
    block(home.open().write(fleet)).expect("a fleet");
    open_all(home, "1.0.0", How::Really);
    let refused = || Order::Refuse("the patient travels".parse().expect("a reason"));
    give(home, TaskId(2), Sight::Fleet, refused(), "nora");
    assert!(published_again(home, "1.0.0").is_empty(), "nothing had ended");
    assert_eq!(taken_back(home, "1.0.0"), [1]);
    assert_eq!(published_again(home, "1.0.0"), [1], "what a person decided stays");
    assert!(published_again(home, "1.0.0").is_empty());
    assert_eq!(states(home), [(1, "open", false), (2, "refused", false)]);
    // Newer ones, which are taken back, too: the older are the newest again.
    open_all(home, "1.1.0", How::Really);
    assert_eq!(taken_back(home, "1.1.0"), [3, 4]);
    assert_eq!(published_again(home, "1.0.0"), [1]);
    // Newer ones, by which somebody decided something before they were taken back: that holds.
    assert_eq!(taken_back(home, "1.0.0"), [1]);
    assert_eq!(published_again(home, "1.1.0"), [3, 4]);
    give(home, TaskId(3), Sight::Fleet, refused(), "nora");
    assert_eq!(taken_back(home, "1.1.0"), [4]);
    assert!(published_again(home, "1.0.0").is_empty());
    // Nor is anybody asked anew by the older ones.
    let older = carried("1.0.0");
    let lacking = block(home.open().read(move |tx| dossiers::without_a_task(tx, &older)));
    assert_eq!(lacking.expect("reads"), []);
    let opened = open_all(home, "1.0.0", How::Really).devices;
    assert!(
        opened.iter().all(|(_, opening)| *opening == Some(Opening::Known)),
        "{opened:?}"
    );
    let again = actions(home);
    assert_eq!(again.iter().filter(|one| *one == "dossier-reopened").count(), 4);
}

pub(super) fn what_was_decided_for_one_home_is_asked_for_in_the_next(home: &Home) {
    block(home.open().write(fleet)).expect("a fleet");
    open_all(home, "1.0.0", How::Really);
    let reason = || "the patient travels".parse().expect("a reason");
    give(home, TaskId(1), Sight::Fleet, Order::Refuse(reason()), "nora");
    let carried = || carried("1.0.0");
    let lacking = |home: &Home| {
        let asked = carried();
        block(home.open().read(move |tx| dossiers::without_a_task(tx, &asked))).expect("reads")
    };
    assert_eq!(lacking(home), []);
    let moved = block(home.open().write(|tx| {
        let (gateway, next) = ("gw-0".parse().expect("an id"), "home-1".parse().expect("an id"));
        place(tx, &gateway, Some(&next), "olga", NOW)
    }));
    assert!(moved.expect("moves"));
    assert_eq!(lacking(home).len(), 1);
    let opened = open_all(home, "1.0.0", How::Really);
    assert_eq!(opened.devices[0].1, Some(Opening::Opened(TaskId(3))));
    assert_eq!(lacking(home), []);
    let all = [(1, "refused", false), (2, "open", false), (3, "open", false)];
    assert_eq!(states(home), all);
    let twice = give(home, TaskId(1), Sight::Fleet, Order::Reopen(reason()), "olga");
    assert_eq!(twice, Some(Err(Unfit::Twin(TaskId(3)))));
    // What ended with its instructions comes again with them; what was decided elsewhere is no part of that.
    assert_eq!(taken_back(home, "1.0.0"), [2, 3]);
    assert_eq!(published_again(home, "1.0.0"), [3, 2]);
    assert_eq!(states(home), all);
}
