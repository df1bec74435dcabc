//! Which orders move a task, and which do not.

use homeward_protocol::release::dossier::{Class, Performer};
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

/// A sensor's, as release desks write them.
pub(crate) const CUFF: &str = include_str!("../../../protocol/tests/dossiers/cuff.toml");

fn dossier(class: Class) -> Dossier {
    let mut one = homeward_protocol::release::dossier::read(CUFF).expect("a dossier");
    one.class = class;
    one.by = Performer::ClinicVisit;
    one.check().expect("it holds");
    one
}

fn who(name: &str, signed_in: bool) -> Who {
    Who {
        person: name.parse().expect("a name"),
        signed_in,
    }
}

fn shows(text: &str) -> Order {
    Order::Confirm(text.parse().expect("a version"))
}

fn day(text: &str) -> Day {
    text.parse().expect("a day")
}

fn reason() -> Reason {
    "the patient travels".parse().expect("a reason")
}

/// Each order by somebody; gives where it ends, or at which the first refusal stood.
fn run(class: Class, orders: &[(&str, bool, Order)]) -> Result<Stands, (usize, Unfit)> {
    let dossier = dossier(class);
    let mut stands = Stands::Open;
    for (at, (name, signed_in, order)) in orders.iter().enumerate() {
        stands = handle(
            (&stands, Whereabouts::There),
            &dossier,
            order,
            &who(name, *signed_in),
            NOW,
        )
        .map_err(|why| (at, why))?;
    }
    Ok(stands)
}

fn plan() -> Order {
    Order::Plan(day("2026-12-01"))
}

#[test]
fn what_measures_is_done_when_one_person_saw_the_version() {
    let done = run(
        Class::Sensor,
        &[("nora", true, plan()), ("nora", true, shows("2.2"))],
    );
    assert!(matches!(done, Ok(Stands::Done { first: None, .. })), "{done:?}");
    // At the command line, too: one person's word is enough there.
    let done = run(
        Class::Alarm,
        &[("nora", false, plan()), ("nora", false, shows("2.2"))],
    );
    assert!(matches!(done, Ok(Stands::Done { .. })), "{done:?}");
}

#[test]
fn what_acts_or_lies_in_a_body_is_done_when_two_people_saw_it() {
    for class in [Class::Actuator, Class::Implant] {
        let first = [("nora", true, plan()), ("nora", true, shows("2.2"))];
        assert!(matches!(run(class, &first), Ok(Stands::Seen { .. })));
        // A name that somebody typed in is not the first pair of eyes, either.
        let named = [("nora", false, plan()), ("nora", false, shows("2.2"))];
        assert_eq!(run(class, &named), Err((1, Unfit::NotSignedIn)));
        let with = |next: (&'static str, bool, Order)| {
            let mut all = first.to_vec();
            all.push(next);
            run(class, &all)
        };
        let Ok(Stands::Done { by, first, .. }) = with(("olga", true, shows("2.2"))) else {
            panic!("two people saw it");
        };
        assert_eq!(
            (by.as_str(), first.as_ref().map(UserName::as_str)),
            ("olga", Some("nora"))
        );
        assert_eq!(
            with(("nora", true, shows("2.2"))),
            Err((2, Unfit::SamePerson(who("nora", true).person)))
        );
        assert_eq!(with(("olga", false, shows("2.2"))), Err((2, Unfit::NotSignedIn)));
        assert_eq!(
            with(("olga", true, plan())),
            Err((2, Unfit::Seen(who("nora", true).person)))
        );
        assert!(matches!(
            with(("olga", true, shows("2.1"))),
            Err((2, Unfit::OtherVersion { .. }))
        ));
        assert!(matches!(
            with(("olga", true, Order::Refuse(reason()))),
            Ok(Stands::Refused { .. })
        ));
    }
}

#[test]
fn a_version_that_the_dossier_does_not_bring_is_no_proof() {
    let odd = run(
        Class::Sensor,
        &[("nora", true, plan()), ("nora", true, shows("2.1"))],
    );
    let Err((1, why @ Unfit::OtherVersion { .. })) = odd else {
        panic!("{odd:?}");
    };
    assert!(why.to_string().contains("shows 2.1, and 2.2 is"), "{why}");
}

#[test]
fn nothing_is_confirmed_that_nobody_planned_and_no_day_lies_behind_or_far_away() {
    assert_eq!(
        run(Class::Sensor, &[("nora", true, shows("2.2"))]),
        Err((0, Unfit::NotPlanned))
    );
    // NOW is the 18th of November 2026.
    for (on, is_good) in [
        ("2026-11-17", false),
        ("2026-11-18", true),
        ("2028-11-16", true),
        ("2029-01-01", false),
    ] {
        let planned = run(Class::Sensor, &[("nora", true, Order::Plan(day(on)))]);
        assert_eq!(planned.is_ok(), is_good, "{on}");
    }
    for odd in ["2026-02-30", "2026-1-1", "", "tomorrow", "2026-12-01T00:00:00Z"] {
        assert!(odd.parse::<Day>().is_err(), "{odd}");
    }
    assert_eq!(day("2026-12-01").to_string(), "2026-12-01");
}

#[test]
fn what_is_over_stays_so() {
    let ends = [
        vec![("nora", true, plan()), ("nora", true, shows("2.2"))],
        vec![("nora", true, Order::Refuse(reason()))],
        vec![("olga", true, Order::Withdraw(reason()))],
    ];
    let again = |stands: &Stands| {
        let at = (stands, Whereabouts::There);
        handle(
            at,
            &dossier(Class::Sensor),
            &Order::Reopen(reason()),
            &who("olga", true),
            NOW,
        )
    };
    let newer = "dossier/cuff/2.0.0".to_owned();
    for over in [Stands::Superseded { newer }, Stands::Recalled] {
        assert!(matches!(again(&over), Err(Unfit::Over(_))), "{over:?}");
    }
    for end in ends {
        for order in [
            plan(),
            shows("2.2"),
            Order::Refuse(reason()),
            Order::Withdraw(reason()),
        ] {
            let mut all = end.clone();
            all.push(("olga", true, order));
            let Err((at, Unfit::Over(_))) = run(Class::Sensor, &all) else {
                panic!("{all:?} moved");
            };
            assert_eq!(at, end.len());
        }
    }
}

#[test]
fn what_was_refused_is_opened_again_and_nothing_else_is() {
    let again = ("olga", true, Order::Reopen(reason()));
    let refused = ("nora", true, Order::Refuse(reason()));
    assert_eq!(
        run(Class::Sensor, &[refused.clone(), again.clone()]),
        Ok(Stands::Open)
    );
    assert_eq!(
        run(Class::Sensor, std::slice::from_ref(&again)),
        Err((0, Unfit::IsOpen))
    );
    let done = [
        ("nora", true, plan()),
        ("nora", true, shows("2.2")),
        again.clone(),
    ];
    assert!(matches!(run(Class::Sensor, &done), Err((2, Unfit::Over(_)))));
    let withdrawn = [("olga", true, Order::Withdraw(reason())), again];
    assert!(matches!(run(Class::Sensor, &withdrawn), Err((1, Unfit::Over(_)))));
}

#[test]
fn nothing_is_done_by_a_task_whose_box_stands_elsewhere_before_a_person_looked_again() {
    let (dossier, who) = (dossier(Class::Implant), who("nora", true));
    let planned = Stands::Planned {
        by: who.person.clone(),
        on: day("2026-12-01"),
    };
    let seen = Stands::Seen {
        by: who.person.clone(),
        version: "2.2".parse().expect("a version"),
    };
    for stands in [Stands::Open, planned, seen] {
        let give = |order: &Order| handle((&stands, Whereabouts::Elsewhere), &dossier, order, &who, NOW);
        for order in [plan(), shows("2.2"), Order::Refuse(reason())] {
            assert_eq!(give(&order), Err(Unfit::Elsewhere), "{stands:?} {order:?}");
        }
        assert!(matches!(
            give(&Order::Withdraw(reason())),
            Ok(Stands::Withdrawn { .. })
        ));
        // Looked again: from the beginning, whatever was seen in the other home.
        assert_eq!(give(&Order::Reopen(reason())), Ok(Stands::Open));
    }
}

#[test]
fn words_of_each_state_name_the_person_and_the_version() {
    let dossier = dossier(Class::Implant);
    let task = |stands| Task {
        id: TaskId(7),
        dossier: "00".into(),
        gateway: "gw-1".parse().expect("an id"),
        device: "pacer".parse().expect("an id"),
        shown: None,
        stands,
        whereabouts: Whereabouts::There,
        since: NOW,
        opened_at: NOW,
        opened_by: "olga".into(),
        revision: 1,
    };
    let said = |stands| words::stands(&task(stands), &dossier);
    assert_eq!(
        said(Stands::Open),
        "nobody has taken it; it is for a clinic, at a visit"
    );
    let by = who("nora", true).person;
    assert_eq!(
        said(Stands::Planned {
            by: by.clone(),
            on: day("2026-12-01")
        }),
        "nora sees to it on 2026-12-01"
    );
    let version: Firmware = "2.2".parse().expect("a version");
    assert_eq!(
        said(Stands::Seen {
            by: by.clone(),
            version: version.clone()
        }),
        "nora saw 2.2 on the device; a second person has to look at it, too"
    );
    assert_eq!(
        said(Stands::Done {
            by: who("olga", true).person,
            first: Some(by),
            version
        }),
        "done: nora and olga saw 2.2 on the device"
    );
    assert!(words::page(&dossier).contains("confirmed  by two people"));
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        3 => Just(plan()),
        4 => Just(shows("2.2")),
        1 => Just(shows("2.1")),
        1 => Just(Order::Refuse(reason())),
        1 => Just(Order::Withdraw(reason())),
    ]
}

proptest! {
    #[test]
    fn whatever_people_order_an_implant_is_never_done_by_one(
        orders in proptest::collection::vec((0usize..2, any::<bool>(), order()), 0..12)
    ) {
        let dossier = dossier(Class::Implant);
        let (mut stands, mut saw) = (Stands::Open, Vec::new());
        for (name, signed_in, order) in orders {
            let who = who(["nora", "olga"][name], signed_in);
            let Ok(next) = handle((&stands, Whereabouts::There), &dossier, &order, &who, NOW) else { continue };
            if matches!(order, Order::Confirm(_)) {
                saw.push(who);
            }
            stands = next;
        }
        if let Stands::Done { by, first, version } = stands {
            prop_assert_eq!(saw.len(), 2);
            prop_assert!(saw[0].signed_in && saw[1].signed_in && saw[0].person != saw[1].person);
            prop_assert_eq!(Some(saw[0].person.clone()), first);
            prop_assert_eq!(&saw[1].person, &by);
            prop_assert_eq!(version, dossier.after);
        }
    }
}
