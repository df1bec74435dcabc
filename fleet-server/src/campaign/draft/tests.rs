//! Who takes part, who could not go back, and what the code of a plan stands for.

use homeward_protocol::posture::ShortText;
use homeward_protocol::release::Disruption;

use super::*;
use crate::direct::deadline::{Rule, Terms};

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn release(text: &str, hw: &str, floor: &str) -> Release {
    Release {
        path: format!("agent/{text}/{hw}"),
        sha256: [text.len().to_le_bytes()[0]; 32],
        custom: Custom {
            installer: Installer::AgentSlot,
            hw: vec![hw.into()],
            version: version(text),
            min_version: Some(version("1.2.0")),
            disruption: Disruption::AgentRestart,
            security_floor: version(floor),
        },
        notes: None,
    }
}

fn home(n: usize, hw: Option<&str>, runs: Option<&str>) -> Home {
    Home {
        gateway: format!("gw-{n}").parse().expect("an id"),
        ring: Ring::Patient,
        dependency: Some(Dependency::Low),
        hardware: hw.map(str::to_owned),
        runs: runs.map(version),
        build: None,
        installers: Vec::new(),
    }
}

fn wish(paths: &[&str]) -> Wish {
    Wish {
        name: "spring".parse().expect("a name"),
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        soak: Duration::from_hours(24),
        confirmed_percent: 90,
        failed_percent: 1,
        act_within: Duration::from_hours(2),
        within: Duration::from_hours(720),
        at_once: 50,
        each: None,
    }
}

#[test]
fn each_home_gets_the_release_of_its_hardware_or_a_reason_why_not() {
    let published = [
        release("1.3.0", "x86_64", "0.0.0"),
        release("1.4.0", "x86_64", "1.3.0"),
        release("1.4.0", "aarch64", "1.3.0"),
    ];
    let mut cannot = home(8, Some("x86_64"), Some("1.3.0"));
    cannot.installers.push(Offer {
        installer: Installer::AgentSlot,
        can: Can::No(ShortText::cut("no launcher")),
    });
    let built = |n, byte| Home {
        build: Some([byte; 32]),
        ..home(n, Some("x86_64"), Some("1.3.0"))
    };
    let homes = [
        built(1, 5),
        built(11, 9),
        home(12, Some("x86_64"), Some("1.3.0")),
        home(2, Some("aarch64"), Some("1.3.0")),
        home(3, Some("riscv64"), Some("1.3.0")),
        home(4, None, Some("1.3.0")),
        home(5, Some("x86_64"), None),
        home(6, Some("x86_64"), Some("1.4.0")),
        home(7, Some("x86_64"), Some("1.1.0")),
        cannot,
        home(9, Some("x86_64"), Some("1.5.0")),
        home(10, Some("x86_64"), Some("1.2.0")),
    ];
    let both = wish(&["agent/1.4.0/x86_64", "agent/1.4.0/aarch64"]);
    let draft = Draft::new(both, &published, &homes).expect("a plan");
    let parts: Vec<(&str, &str, bool)> = draft
        .parts
        .iter()
        .map(|(id, part)| (id.as_str(), part.target.as_str(), part.back.is_ok()))
        .collect();
    assert_eq!(
        parts,
        [
            ("gw-1", "agent/1.4.0/x86_64", true),
            ("gw-10", "agent/1.4.0/x86_64", false),
            ("gw-11", "agent/1.4.0/x86_64", false),
            ("gw-12", "agent/1.4.0/x86_64", true),
            ("gw-2", "agent/1.4.0/aarch64", false),
        ]
    );
    let outside: Vec<String> = draft
        .outside
        .iter()
        .map(|(why, who)| format!("{}: {}", who[0], why.words()))
        .collect();
    assert_eq!(
        outside,
        [
            "gw-6: run it already",
            "gw-9: run something newer",
            "gw-5: said nothing of their software yet",
            "gw-3: have other hardware (riscv64)",
            "gw-4: have hardware that is not known here",
            "gw-8: cannot put it in place by `agent-slot`: no launcher",
            "gw-7: are too old for it: 1.2.0 has to run first",
        ]
    );
    let without: Vec<String> = draft.without_return().keys().map(|why| why.words()).collect();
    assert_eq!(
        without,
        [
            "no published release is 1.3.0, which runs there",
            "the published release 1.3.0 is not the build that runs there",
            "1.2.0 runs there, and this release lets nothing below 1.3.0 come back",
        ]
    );
}

#[test]
fn there_is_no_plan_for_two_releases_of_one_hardware_for_nobody_or_for_what_is_not_published() {
    let published = [
        release("1.3.0", "x86_64", "0.0.0"),
        release("1.4.0", "x86_64", "0.0.0"),
    ];
    let homes = [home(1, None, Some("1.2.0"))];
    let draft = |paths: &[&str], homes: &[Home]| Draft::new(wish(paths), &published, homes).map(|_| ());
    let twice = draft(&["agent/1.3.0/x86_64", "agent/1.4.0/x86_64"], &homes);
    assert!(matches!(twice, Err(DraftError::Twice(..))), "{twice:?}");
    let none = draft(&["agent/9.9.9/x86_64"], &homes);
    assert!(matches!(none, Err(DraftError::Path(..))), "{none:?}");
    let mut image = release("2.0.0", "x86_64", "0.0.0");
    image.custom.installer = Installer::Rauc;
    let path = [image.path.as_str()];
    let image = Draft::new(wish(&path), &[image.clone()], &homes);
    assert!(matches!(image, Err(DraftError::Path(..))), "{image:?}");
    let nobody = draft(&["agent/1.4.0/x86_64"], &[home(1, None, Some("1.4.0"))]);
    assert_eq!(
        nobody.map_err(|why| why.to_string()),
        Err("no home takes part: 1 run it already".into())
    );
}

#[test]
fn a_code_stands_for_one_plan() {
    let published = [
        release("1.3.0", "x86_64", "0.0.0"),
        release("1.4.0", "x86_64", "0.0.0"),
    ];
    let homes = [home(1, None, Some("1.3.0")), home(2, None, Some("1.3.0"))];
    let code = |wish: Wish, published: &[Release], homes: &[Home]| {
        Draft::new(wish, published, homes).expect("a plan").code()
    };
    let path = ["agent/1.4.0/x86_64"];
    let first = code(wish(&path), &published, &homes);
    assert_eq!(first.len(), 8);
    assert_eq!(
        code(wish(&path), &published, &homes),
        first,
        "who reads it again finds the same"
    );
    let slower = Wish {
        soak: Duration::from_hours(48),
        ..wish(&path)
    };
    let rule = |compensate, afterwards| Rule {
        compensate,
        afterwards,
    };
    let termed = |rule| Wish {
        each: Some(Each {
            terms: Terms::new("A stranger could read measurements.", "nora", rule).expect("terms"),
            within: Duration::from_hours(24),
        }),
        ..wish(&path)
    };
    let reasoned = code(termed(None), &published, &homes);
    assert_ne!(code(termed(Some(rule(8, 9))), &published, &homes), reasoned);
    let mut urgent = homes.clone();
    urgent[1].dependency = Some(Dependency::High);
    for other in [
        code(slower, &published, &homes),
        reasoned,
        code(wish(&path), &published, &homes[..1]),
        code(wish(&path), &published, &urgent),
        // There is no way back any more.
        code(wish(&path), &published[1..], &homes),
    ] {
        assert_ne!(other, first);
    }
}
