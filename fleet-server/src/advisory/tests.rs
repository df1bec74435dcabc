use serde_json::json;

use super::csaf::{Advisory, read};
use super::implant::{Implant, Kind};
use super::matching::{How, concern};
use super::*;

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

fn device(maker: &str, model: &str, shows: Option<&str>) -> Implant {
    Implant {
        placement: "home-1".parse().expect("an id"),
        device: "pacemaker".parse().expect("a name"),
        kind: Kind::Implant,
        maker: maker.parse().expect("a name"),
        model: model.parse().expect("a name"),
        shows: shows.map(|shows| shows.parse().expect("a version")),
    }
}

/// An advisory on products, each with its vendor, name and version, whether that is one version, and its status.
fn advisory(products: &[(&str, &str, &str, bool, &str)]) -> Advisory {
    let branch = |n: usize, (vendor, name, version, exact, _): &(&str, &str, &str, bool, &str)| {
        let category = if *exact {
            "product_version"
        } else {
            "product_version_range"
        };
        json!({ "category": "vendor", "name": vendor, "branches": [ { "category": "product_name", "name": name, "branches": [
            { "category": category, "name": version, "product": { "name": format!("{name} {version}"), "product_id": format!("P{n}") } }
        ] } ] })
    };
    let branches: Vec<_> = products
        .iter()
        .enumerate()
        .map(|(n, one)| branch(n, one))
        .collect();
    let of = |status: &str| -> Vec<String> {
        let those = products.iter().enumerate().filter(|(_, one)| one.4 == status);
        those.map(|(n, _)| format!("P{n}")).collect()
    };
    let document = json!({
        "document": {
            "csaf_version": "2.0", "title": "t", "publisher": { "name": "n", "namespace": "https://n.example" },
            "tracking": { "id": "A-1", "version": "1", "status": "final", "current_release_date": "2026-11-01T00:00:00Z" }
        },
        "product_tree": { "branches": branches },
        "vulnerabilities": [ {
            "cve": "CVE-2026-1",
            "product_status": {
                "known_affected": of("affected"), "fixed": of("fixed"), "known_not_affected": of("not"),
                "under_investigation": of("asked")
            },
            "scores": [ { "products": of("affected"), "cvss_v3": { "baseScore": 7.5 } } ],
            "remediations": [ { "category": "mitigation", "details": "At a visit.", "product_ids": of("affected") } ]
        } ]
    });
    read(document.to_string().as_bytes()).expect("reads")
}

#[test]
fn a_device_is_found_by_what_makers_call_it() {
    let cases: &[(&str, &str, &str, &str, Option<How>)] = &[
        (
            "Abbott Laboratories",
            "Accent MRI",
            "Abbott",
            "Accent MRI",
            Some(How::Same),
        ),
        (
            "Abbott Laboratories",
            "Accent MRI",
            "ABBOTT",
            "accent  mri",
            Some(How::Same),
        ),
        (
            "Abbott Laboratories",
            "Accent/Anthem",
            "Abbott",
            "Anthem PM3112",
            Some(How::Part),
        ),
        (
            "Abbott Laboratories",
            "Accent/Anthem",
            "Abbott",
            "Assurity MRI",
            None,
        ),
        (
            "Abbott Laboratories",
            "Accent MRI",
            "Medtronic",
            "Accent MRI",
            None,
        ),
        (
            "Medtronic",
            "Evera ICD",
            "Medtronic Inc.",
            "Evera MRI XT DR",
            Some(How::Part),
        ),
        (
            "Medtronic",
            "MiniMed Paradigm 522K/722K pumps",
            "Medtronic",
            "Paradigm 722K",
            Some(How::Part),
        ),
        (
            "Medtronic",
            "MiniMed Paradigm 522K/722K pumps",
            "Medtronic",
            "Paradigm 722",
            None,
        ),
        (
            "Medtronic",
            "MiniMed 508 pump",
            "Medtronic",
            "MiniMed 508",
            Some(How::Part),
        ),
        // An empty piece of a name is nobody's.
        ("Acme", "Stim/", "Acme", "Pacer 7", None),
        ("Acme", "Model 670 G", "Acme", "Model 670G", Some(How::Same)),
        // A name that is nothing but a kind of device names that kind.
        ("Acme", "Insulin pump", "Acme", "Insulin pump", Some(How::Same)),
        ("Acme", "Insulin pump", "Acme", "Pacer 7", None),
    ];
    for (vendor, name, maker, model, how) in cases {
        let advisory = advisory(&[(vendor, name, "<2", false, "affected")]);
        let found = concern(&advisory, &device(maker, model, None)).map(|concern| concern.how);
        assert_eq!(found, *how, "{vendor} {name} and {maker} {model}");
    }
}

#[test]
fn only_what_is_said_of_the_very_version_under_the_very_name_takes_a_device_out() {
    let said = |products: &[(&str, &str, &str, bool, &str)], shows: Option<&str>| {
        concern(&advisory(products), &device("Acme", "Pacer 7", shows)).is_some()
    };
    let both = [
        ("Acme", "Pacer 7", "<2.0", false, "affected"),
        ("Acme", "Pacer 7", "2.0", true, "fixed"),
    ];
    assert!(said(&both, None), "nobody looked which version it shows");
    assert!(said(&both, Some("1.9")));
    assert!(said(&both, Some("2.0.1")), "of another version nothing is said");
    assert!(!said(&both, Some("2.0")));
    // A range is nobody's very version, and the same words of another model neither.
    assert!(said(
        &[both[0], ("Acme", "Pacer 7", "2.0", false, "fixed")],
        Some("2.0")
    ));
    assert!(said(
        &[both[0], ("Acme", "Pacer 7 XT", "2.0", true, "fixed")],
        Some("2.0")
    ));
    // Of one version two things are said, of its parts: the worse counts.
    assert!(said(
        &[both[1], ("Acme", "Pacer 7", "2.0", true, "affected")],
        Some("2.0")
    ));
    // VEX: not affected at all, or still looked at.
    assert!(!said(&[("Acme", "Pacer 7", "2.0", true, "not")], None));
    assert!(said(&[("Acme", "Pacer 7", "2.0", true, "asked")], None));
}

#[test]
fn a_model_number_may_be_its_beginning_and_have_holes() {
    for (number, model, how) in [
        ("PM2124", "Accent PM2124", Some(How::Same)),
        ("PM 2124", "PM2124", Some(How::Same)),
        ("PM2", "Accent PM2124", Some(How::Part)),
        ("PM2*", "Accent PM2124", Some(How::Same)),
        ("PM2?24", "Accent PM2124", Some(How::Same)),
        ("PM2?25", "Accent PM2124", None),
        ("2124", "Accent PM2124", None),
        ("*", "Accent PM2124", None),
        ("A", "Accent PM2124", None),
    ] {
        assert_eq!(super::matching::numbers(number, model), how, "{number} {model}");
    }
}

#[test]
fn a_revision_that_names_a_device_more_surely_says_something_else() {
    let matter_of = |products: &[(&str, &str, &str, bool, &str)]| {
        let advisory = advisory(products);
        matter(&concern(&advisory, &device("Acme", "Pacer 7", None)).expect("is about it"))
    };
    let part = ("Acme", "Pacer", "<1", false, "affected");
    let same = ("Acme", "Pacer 7", "<1", false, "affected");
    assert_eq!(matter_of(&[part]), matter_of(&[part]));
    assert_ne!(matter_of(&[part]), matter_of(&[part, same]));
    assert_ne!(
        matter_of(&[same]),
        matter_of(&[("Acme", "Pacer 7", "<3", false, "affected")])
    );
}

#[test]
fn what_is_shown_is_what_is_said_of_this_device() {
    let advisory = advisory(&[
        ("Acme", "Pacer 7", "<2.0", false, "affected"),
        ("Acme", "Pump 3", "<5", false, "affected"),
    ]);
    let device = device("Acme", "Pacer 7", None);
    let concern = concern(&advisory, &device).expect("is about it");
    assert_eq!(concern.products, ["Pacer 7 <2.0"]);
    assert_eq!(concern.score.map(|score| score.0), Some(75));
    assert_eq!(concern.remedies.len(), 1);
}

fn nurse() -> Who {
    Who {
        person: "nora".parse().expect("a name"),
        signed_in: Some(Role::Nurse),
    }
}

fn day(text: &str) -> Day {
    text.parse().expect("a day")
}

fn decision(choice: Choice) -> Decision {
    Decision {
        choice,
        with: "the clinic's device team".parse().expect("words"),
        without: "somebody near can change its settings".parse().expect("words"),
        by_it: "three minutes of back-up pacing".parse().expect("words"),
    }
}

fn reason() -> Reason {
    "because".parse().expect("a reason")
}

#[test]
fn only_a_clinician_in_person_decides() {
    let decide = Order::Decide(decision(Choice::Leave));
    let act = Stands::Decided {
        by: nurse().person,
        decision: decision(Choice::Act(day("2026-12-01"))),
    };
    for signed_in in [None, Some(Role::Operator)] {
        let other = Who { signed_in, ..nurse() };
        for (stands, order) in [
            (&Stands::Open, &decide),
            (&Stands::Open, &Order::NotIt(reason())),
            (&act, &Order::Done),
        ] {
            assert_eq!(handle(stands, order, &other, NOW), Err(Unfit::NotAClinician));
        }
        let withdrawn = handle(&Stands::Open, &Order::Withdraw(reason()), &other, NOW);
        assert!(matches!(withdrawn, Ok(Stands::Withdrawn { .. })));
    }
    assert!(matches!(
        handle(&Stands::Open, &decide, &nurse(), NOW),
        Ok(Stands::Decided { .. })
    ));
    assert!(matches!(
        handle(&act, &Order::Done, &nurse(), NOW),
        Ok(Stands::Done { .. })
    ));
}

#[test]
fn a_task_moves_only_where_it_can() {
    let decided = |choice| {
        let order = Order::Decide(decision(choice));
        handle(&Stands::Open, &order, &nurse(), NOW)
    };
    let watched = decided(Choice::Watch(day("2027-01-01"))).expect("decides");
    let left = decided(Choice::Leave).expect("decides");
    assert!(!watched.is_over());
    assert!(left.is_over());
    // The day before today, and one too far.
    assert_eq!(
        decided(Choice::Act(day("2026-11-16"))),
        Err(Unfit::OddDay(day("2026-11-16")))
    );
    assert_eq!(
        decided(Choice::Watch(day("2030-01-01"))),
        Err(Unfit::OddDay(day("2030-01-01")))
    );
    // What is watched is to be weighed when its day has come, and not before.
    assert!(!watched.is_to_weigh(NOW));
    assert!(watched.is_to_weigh(day("2027-01-01").begins()));
    assert_eq!(
        handle(&watched, &Order::Done, &nurse(), NOW),
        Err(Unfit::NothingToDo)
    );
    assert_eq!(
        handle(&Stands::Open, &Order::Done, &nurse(), NOW),
        Err(Unfit::NothingToDo)
    );
    // A decision may be changed, and what is over is opened again first.
    let order = Order::Decide(decision(Choice::Leave));
    assert_eq!(handle(&watched, &order, &nurse(), NOW), Ok(left.clone()));
    assert!(matches!(
        handle(&left, &order, &nurse(), NOW),
        Err(Unfit::Over(_))
    ));
    assert_eq!(
        handle(&left, &Order::Reopen(reason()), &nurse(), NOW),
        Ok(Stands::Open)
    );
    assert_eq!(
        handle(&Stands::Open, &Order::Reopen(reason()), &nurse(), NOW),
        Err(Unfit::IsOpen)
    );
    // What a later revision took the place of, and what is not there any more, stays.
    for ended in [Stands::Gone, Stands::Superseded { not_it: None }] {
        for order in [Order::Reopen(reason()), Order::Withdraw(reason()), order.clone()] {
            assert!(matches!(
                handle(&ended, &order, &nurse(), NOW),
                Err(Unfit::Ended(_))
            ));
        }
    }
}
