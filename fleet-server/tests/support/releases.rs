//! What is published in the filled world, and one home that is told to take it.

use std::sync::Arc;

use homeward_fleet::direct::shelf::read::Releases;
use homeward_fleet::direct::shelf::{Item, Shelf, Words};
use homeward_fleet::dossier::papers::Papers;
use homeward_fleet::release::dossiers::Carried;
use homeward_fleet::store::records::Origin;
use homeward_fleet::store::updates::{self, Assigned};
use homeward_fleet::store::{StoreError, Tx};
use homeward_protocol::envelope::Lane;
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::dossier;
use homeward_protocol::release::notes;
use homeward_protocol::release::state::{Progress, UpdateMark, UpdateState};
use homeward_protocol::release::{Custom, Disruption, Installer, Version};

use super::at;

const AGENT: &str = include_str!("../../../protocol/tests/notes/agent.toml");
const PACKAGES: &str = r#"
[staff]
en = "Closes a hole in the box's TLS library. Services restart for up to a minute, never while a device is in use. If something does not work afterwards, call operations: the box cannot go back by itself."
de = "Schliesst eine Lücke in der TLS-Bibliothek der Box. Dienste starten bis zu einer Minute lang neu, nie während ein Gerät benutzt wird. Geht danach etwas nicht, rufen Sie den Betrieb an: Die Box kann nicht von selbst zurück."

[patient]
en = "The small box in your home becomes safer. You need not do anything."
de = "Die kleine Box bei Ihnen zu Hause wird sicherer. Sie müssen nichts tun."
"#;

fn item(path: &str, installer: Installer, disruption: Disruption, words: Words) -> Item {
    let version = path.rsplit('/').next().expect("a part");
    Item {
        path: path.to_owned(),
        custom: Custom {
            installer,
            hw: vec![
                if installer == Installer::Dossier {
                    "gmp251"
                } else {
                    "x86_64"
                }
                .into(),
            ],
            version: version.parse().expect("a version"),
            min_version: None,
            disruption,
            security_floor: Version::ZERO,
        },
        words,
    }
}

/// Agents with and without words, packages, and a device's firmware.
pub(crate) fn published() -> Releases {
    let words = |text| Words::Notes(notes::read(text).expect("notes"));
    let shelf = Shelf {
        targets: 7,
        until: Some(at(-5 * 86_400)),
        items: vec![
            item(
                "agent/1.4.0",
                Installer::AgentSlot,
                Disruption::AgentRestart,
                words(AGENT),
            ),
            item(
                "agent/1.3.0",
                Installer::AgentSlot,
                Disruption::AgentRestart,
                Words::None,
            ),
            item(
                "packages/2026.7.1",
                Installer::Apt,
                Disruption::ServiceRestart,
                words(PACKAGES),
            ),
            item(
                "dossier/gmp251-drift/1.0.0",
                Installer::Dossier,
                Disruption::None,
                Words::Unreadable,
            ),
        ],
    };
    let shelf = Arc::new(shelf);
    Releases::from_fn(move |_| Ok(Some(Arc::clone(&shelf))))
}

/// A newer text on the cuff is published, and nothing else.
pub(crate) fn papers() -> Papers {
    let text = include_str!("../../../protocol/tests/dossiers/cuff.toml");
    let mut dossier = dossier::read(text).expect("a dossier");
    dossier.version = "9.0.0".parse().expect("a version");
    let carried = Carried {
        path: dossier.path(),
        sha256: "9".repeat(64),
        bytes: dossier.to_bytes().expect("bytes"),
        dossier,
    };
    let find = move |_, path: &str| {
        (path == carried.path)
            .then(|| carried.clone())
            .ok_or("it is not published".into())
    };
    let nobody = "nobody looks here";
    Papers::new(find, move |_, _| Err(nobody.into()), move |_| Err(nobody.into()))
}

/// One home has the packages and waits for a quiet moment.
pub(crate) fn fill(tx: &mut dyn Tx) -> Result<(), StoreError> {
    let version: Version = "2026.7.1".parse().expect("a version");
    let word = Assigned {
        gateway: "gw-01aaaa".parse().expect("an id"),
        counter: 1,
        path: "packages/2026.7.1".into(),
        version,
        not_before: at(7200),
        deadline: at(-86_400),
        at: at(7200),
        by: "olga".into(),
        word: vec![1],
    };
    assert!(updates::assign(tx, &word)?);
    let mark = UpdateMark {
        counter: 1,
        installer: Installer::Apt,
        version,
    };
    let quiet = Progress::Waiting(vec![ShortText::cut("infusion pump is in use, for 3 min so far")]);
    let state = UpdateState {
        runs: "1.3.0".parse().expect("a version"),
        packaged: false,
        build: None,
        installers: Vec::new(),
        undecided: None,
        met: None,
        quiet: None,
        beside: Vec::new(),
        forces: Vec::new(),
        now: Some((mark, quiet)),
        ended: None,
        taken_at: at(60),
    };
    let origin = Origin {
        gateway: "gw-01aaaa",
        epoch: "01",
        lane: Lane::Urgent,
        spare: false,
        now: at(60),
    };
    updates::put(tx, &origin, &state)
}
