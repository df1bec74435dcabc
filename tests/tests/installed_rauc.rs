//! Whole images by Debian's RAUC on a bus of the test's own: put in place, tried, kept, taken back; and what goes wrong.
//!
//! The bundles are in RAUC's plain format. What is not shown here is a real boot loader: one in a few lines of shell keeps
//! in files what starts next, and a reboot is another start of RAUC's service.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests write files and start programs"
)]

#[path = "installed_rauc/course.rs"]
mod course;
#[path = "installed_rauc/faults.rs"]
mod faults;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homeward_agent::clock::Clock;
use homeward_agent::install::rauc::bus::Place;
use homeward_agent::install::rauc::images::{Images, may_be_on_trial};
use homeward_agent::install::{Installer as _, Standing, act};
use homeward_agent::interlock::{Act, Interlock, Window};
use homeward_agent::slot::file::digest_of;
use homeward_agent::update::saved::Job;
use homeward_protocol::id::BootId;
use homeward_protocol::release::state::{Can, Outcome};
use homeward_protocol::release::{Custom, Disruption, Installer as Kind, Version};
use homeward_protocol::time::Timestamp;
use homeward_tests::rauc::{COMPATIBLE, RaucBox, Recipe};
use tokio::runtime::Runtime;

const OLD: &[u8] = b"what the box was built with";
const NEW: &[u8] = b"what the bundle brings";

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn boot(n: u8) -> BootId {
    format!("boot-{n:04}").parse().expect("a boot id")
}

/// A home with a box that RAUC updates.
struct Home {
    rauc: RaucBox,
    data: tempfile::TempDir,
    clock: Arc<Clock>,
    boots: u8,
    runtime: Runtime,
}

impl Home {
    fn new(extra: &str) -> Option<Home> {
        let runtime = Runtime::new().expect("a runtime");
        let rauc = RaucBox::start(runtime.handle(), extra)?;
        let first = fs::OpenOptions::new()
            .write(true)
            .open(rauc.folder().join("a.img"));
        std::io::Write::write_all(&mut first.expect("our own file"), OLD).expect("our own file");
        Some(Home {
            rauc,
            data: tempfile::tempdir().expect("a folder"),
            clock: Arc::new(Clock::with_floor(0)),
            boots: 1,
            runtime,
        })
    }

    /// The installer, as an agent that starts now makes it.
    fn images(&self) -> Images {
        Images::new(
            self.data.path(),
            Place::at(&self.rauc.address()),
            (boot(self.boots), Arc::clone(&self.clock)),
            self.runtime.handle().clone(),
        )
    }

    fn reboot(&mut self) {
        self.boots += 1;
        self.rauc.reboot();
    }

    /// A bundle of this version as the box takes it, and the job that wants it.
    fn good(&self, name: &str, version: &str) -> (Job, PathBuf) {
        let recipe = Recipe {
            compatible: COMPATIBLE,
            version,
            key: "own",
            image: NEW,
        };
        let bundle = self.rauc.bundle(name, recipe);
        (job(7, version, &bundle), self.came(&bundle))
    }

    /// The file as it comes to the box.
    fn came(&self, bundle: &Path) -> PathBuf {
        let place = self.data.path().join("incoming");
        fs::copy(bundle, &place).expect("our own folder");
        place
    }

    /// A permission for an image.
    fn window(&self) -> Window {
        self.permitted(act(Kind::Rauc, Disruption::Reboot))
    }

    fn permitted(&self, act: Act) -> Window {
        let now = self.clock.uptime();
        let mut interlock = Interlock::new([], Duration::ZERO, now);
        interlock.hold(&BTreeMap::new(), self.clock.now(), now);
        interlock.windows(None, self.clock.now(), now);
        interlock.link(Some(now), now);
        interlock.begin(act, now).expect("nothing stands against it")
    }

    /// Staged and put in place.
    fn in_place(&self, job: &Job, from: &Path) {
        let images = self.images();
        images.stage(job, from).expect("it is staged");
        images.activate(job, self.window()).expect("it is put in place");
    }
}

fn job(counter: u64, text: &str, bundle: &Path) -> Job {
    Job {
        counter,
        path: "image/x86_64/box.raucb".to_owned(),
        file: "image/x86_64/box.raucb".to_owned(),
        length: fs::metadata(bundle).expect("our own file").len(),
        sha256: digest_of(bundle).expect("our own file"),
        custom: Custom {
            installer: Kind::Rauc,
            hw: vec!["x86_64".to_owned()],
            version: version(text),
            min_version: None,
            disruption: Disruption::Reboot,
            security_floor: Version::ZERO,
        },
        not_before: Timestamp::synced(0),
        deadline: Timestamp::synced(i64::MAX),
        delta: None,
    }
}

fn why(standing: &Standing) -> String {
    match standing {
        Standing::Over(Outcome::NotProven(why) | Outcome::Bad(why)) => why.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_image_is_put_beside_what_runs_tried_after_a_reboot_and_kept() {
    let Some(mut home) = Home::new("") else { return };
    let images = home.images();
    assert_eq!(
        images.probe(),
        Can::Yes(Version::ZERO),
        "RAUC did not write what runs"
    );
    let (job, from) = home.good("new", "1.2.0");
    assert!(!images.is_staged(&job).expect("it is known"));
    images.stage(&job, &from).expect("it is staged");
    assert!(images.is_staged(&job).expect("it is known"));
    assert_eq!(
        (
            home.rauc.primary().as_str(),
            home.rauc.holds("b", NEW),
            from.exists()
        ),
        ("A", false, false),
        "staging disturbs nothing"
    );
    assert_eq!(images.standing(Some(&job)), Standing::Nothing);

    images.activate(&job, home.window()).expect("it is put in place");
    assert!(home.rauc.holds("a", OLD) && home.rauc.holds("b", NEW));
    assert_eq!(home.rauc.primary(), "B");
    assert_eq!(home.images().standing(Some(&job)), Standing::Leaving);
    assert!(!may_be_on_trial(home.data.path(), &boot(1)));
    assert_eq!(images.probe(), Can::Yes(Version::ZERO), "it does not run yet");

    assert_eq!(home.rauc.reboots(), 0, "nobody rebooted it so far");
    images.reboot(home.window()).expect("logind is asked");
    assert_eq!(home.rauc.reboots(), 1);
    home.reboot();
    let images = home.images();
    assert!(may_be_on_trial(home.data.path(), &boot(2)));
    assert_eq!(images.standing(Some(&job)), Standing::OnTrial);
    assert_eq!(images.probe(), Can::Yes(version("1.2.0")));
    images.confirm().expect("it is kept");
    assert_eq!(
        (home.rauc.primary().as_str(), home.rauc.calls("B").as_str()),
        ("B", "good")
    );
    assert_eq!(home.images().standing(Some(&job)), Standing::Confirmed);
    assert_eq!(home.images().standing(None), Standing::Nothing);
    assert!(
        !images.is_staged(&job).expect("it is known"),
        "the disk has its room back"
    );
    assert!(
        images.roll_back().is_err(),
        "what was confirmed is not taken back"
    );
    assert_eq!(home.rauc.primary(), "B");
}

#[test]
fn what_is_taken_back_does_not_start_again() {
    let Some(mut home) = Home::new("") else { return };
    let (job, from) = home.good("new", "1.2.0");
    home.in_place(&job, &from);
    home.reboot();
    let images = home.images();
    assert_eq!(images.standing(Some(&job)), Standing::OnTrial);
    images.roll_back().expect("it is taken back");
    assert_eq!(
        (home.rauc.primary().as_str(), home.rauc.calls("B").as_str()),
        ("A", "bad")
    );
    let unwanted = Standing::Unwanted(Kind::Rauc);
    assert_eq!(
        home.images().standing(None),
        unwanted,
        "it runs until the box reboots"
    );
    images.roll_back().expect("twice is harmless");
    home.reboot();
    assert_eq!(home.images().standing(None), Standing::Nothing);
    assert_eq!(why(&home.images().standing(Some(&job))), "it was taken back");
    assert_eq!(home.images().probe(), Can::Yes(Version::ZERO));
    // Another try, by another word of the director, is not held to it.
    let (mut again, from) = home.good("again", "1.2.0");
    again.counter = 8;
    home.in_place(&again, &from);
    assert_eq!(home.images().standing(Some(&again)), Standing::Leaving);
}

#[test]
fn an_image_that_the_boot_loader_gave_up_is_told_as_not_proven() {
    let Some(mut home) = Home::new("") else { return };
    let (job, from) = home.good("new", "1.2.0");
    home.in_place(&job, &from);
    home.rauc.give_up("B", "A");
    home.reboot();
    let said = why(&home.images().standing(Some(&job)));
    assert!(said.contains("the boot loader went back"), "{said}");
    assert!(!home.rauc.holds("a", NEW), "the old one was not touched");
}

#[test]
fn where_rauc_leaves_to_others_what_starts_next_the_agent_says_it() {
    let Some(home) = Home::new("activate-installed=false") else {
        return;
    };
    let (job, from) = home.good("new", "1.2.0");
    home.in_place(&job, &from);
    assert_eq!(home.rauc.primary(), "B");
    assert_eq!(home.images().standing(Some(&job)), Standing::Leaving);
}
