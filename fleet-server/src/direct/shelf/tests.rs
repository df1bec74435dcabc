use homeward_protocol::posture::ShortText;
use homeward_protocol::release::Version;
use homeward_protocol::release::state::{Can, Ended, Offer, Outcome};
use homeward_protocol::tuf::hash::Hashes;
use serde_json::{Value, json};

use super::*;
use crate::campaign::plan::Ring;

fn target(installer: &str, notes: Option<Value>) -> Target {
    Target {
        length: 1,
        hashes: Hashes::sha256([7; 32]),
        custom: Some(json!({
            "installer": installer, "hw": ["x86_64"], "version": "1.4.0", "disruption": "reboot", "security_floor": "0.0.0",
        })),
        notes,
    }
}

fn item(path: &str, installer: &str) -> Item {
    Item::of(path, &target(installer, None)).expect("a release")
}

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn home(id: &str, hardware: Option<&str>, runs: Option<&str>, installers: Vec<Offer>) -> Home {
    Home {
        gateway: id.parse().expect("an id"),
        ring: Ring::Patient,
        dependency: None,
        hardware: hardware.map(str::to_owned),
        runs: runs.map(version),
        build: None,
        installers,
    }
}

#[test]
fn what_has_no_way_back_is_called_so_and_keys_are_no_releases() {
    for (installer, forward) in [("agent-slot", false), ("rauc", false), ("apt", true)] {
        let item = item("a/1.4.0", installer);
        assert_eq!(item.is_forward_only(), forward, "{installer}");
        assert_eq!(item.way_back() == FORWARD_ONLY, forward, "{installer}");
    }
    let dossier = item("dossier/cuff/1.4.0", "dossier");
    assert!(dossier.is_forward_only() && dossier.way_back() == FORWARD_ONLY);
    // What lies where it does not belong is shown to nobody as what it calls itself.
    assert_eq!(Item::of("dossier/cuff/1.4.0", &target("apt", None)), None);
    assert_eq!(Item::of("cuff/1.4.0", &target("dossier", None)), None);
    let key = Target {
        custom: None,
        ..target("apt", None)
    };
    assert_eq!(Item::of("homeward/director.pub", &key), None);
}

#[test]
fn notes_that_cannot_be_read_are_said_to_be_so() {
    let good = json!({ "staff": { "en": "Short." }, "patient": { "en": "Leave it." } });
    let item = |notes| Item::of("a/1.4.0", &target("apt", Some(notes))).expect("a release");
    let read = item(good);
    let (language, note) = read.note(Reader::Patient, &[]).expect("a note");
    assert_eq!((language.as_str(), note.as_str()), ("en", "Leave it."));
    let odd = item(json!({ "staff": {} }));
    assert_eq!(odd.words, Words::Unreadable);
    assert_eq!(odd.note(Reader::Patient, &[]), None);
}

fn told(path: &str, counter: u64, ended: Option<u64>) -> Told {
    let said = UpdateState {
        runs: version("1.3.0"),
        packaged: false,
        build: None,
        installers: Vec::new(),
        undecided: None,
        met: None,
        quiet: None,
        beside: Vec::new(),
        forces: Vec::new(),
        now: None,
        ended: ended.map(|counter| Ended {
            counter: Some(counter),
            outcome: Outcome::Confirmed,
            at: Timestamp::synced(0),
        }),
        taken_at: Timestamp::synced(0),
    };
    Told {
        gateway: "gw-1".parse().expect("an id"),
        path: path.to_owned(),
        counter,
        said: Some(said),
    }
}

#[test]
fn a_release_is_counted_where_its_own_installer_put_it() {
    let can = |installer, text| Offer {
        installer,
        can: Can::Yes(version(text)),
    };
    let not = Offer {
        installer: Installer::Apt,
        can: Can::No(ShortText::cut("no helper")),
    };
    let homes = [
        home("gw-1", None, Some("1.4.0"), Vec::new()),
        home("gw-2", Some("x86_64"), Some("1.4.0"), Vec::new()),
        home("gw-3", Some("aarch64"), Some("1.4.0"), Vec::new()),
        home("gw-4", None, Some("1.3.0"), Vec::new()),
        home("gw-5", None, None, Vec::new()),
        home("gw-6", None, Some("1.3.0"), vec![can(Installer::Apt, "1.4.0")]),
        home(
            "gw-7",
            None,
            Some("1.3.0"),
            vec![can(Installer::AgentSlot, "1.4.0"), not],
        ),
    ];
    let words = [
        told("a/1.4.0", 7, None),
        told("a/1.4.0", 8, Some(7)),
        told("a/1.4.0", 9, Some(9)),
        told("b/1.4.0", 10, None),
    ];
    let runs = |installer| spread(&item("a/1.4.0", installer), &homes, &words);
    assert_eq!(runs("agent-slot"), Spread { runs: 3, told: 2 });
    // What a box runs is the agent; only its list of installers says which packages are in place.
    assert_eq!(runs("apt"), Spread { runs: 1, told: 2 });
    let dossier = spread(&item("dossier/cuff/1.4.0", "dossier"), &homes, &words);
    assert_eq!(dossier, Spread::default());
}
