//! What goes wrong: bundles that are not for this box, a service that ends, one that works for somebody else, none.

use std::process::Command;
use std::thread;

use homeward_agent::install::InstallError;
use homeward_tests::fake_bluez::bus::Bus;
use homeward_tests::programs::{finish, wait_for};

use super::*;

const LIMIT: Duration = Duration::from_mins(1);

fn said(can: Can) -> String {
    match can {
        Can::No(why) => why.as_str().to_owned(),
        Can::Yes(version) => panic!("it can, with {version}"),
    }
}

fn later(result: Result<(), InstallError>) -> String {
    match result {
        Err(InstallError::Later(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bundle_that_is_not_for_this_box_is_refused_before_anything_is_touched() {
    let Some(home) = Home::new("") else { return };
    home.rauc.certificate("other");
    let own = Recipe {
        compatible: COMPATIBLE,
        version: "1.2.0",
        key: "own",
        image: NEW,
    };
    let whole = home.rauc.bundle("whole", own);
    let cut = home.rauc.folder().join("cut.raucb");
    let bytes = fs::read(&whole).expect("our own file");
    fs::write(&cut, &bytes[..bytes.len() - 1_000]).expect("our own folder");
    let compatible = home.rauc.bundle(
        "compatible",
        Recipe {
            compatible: "another-box",
            ..own
        },
    );
    let signed = home.rauc.bundle("signed", Recipe { key: "other", ..own });
    let older = home.rauc.bundle(
        "older",
        Recipe {
            version: "1.1.9",
            ..own
        },
    );
    for (bundle, words) in [
        (
            &compatible,
            "the bundle is for `another-box`, and this box is `homeward-test-box`",
        ),
        (
            &older,
            "the bundle calls itself version `1.1.9`, and its release 1.2.0",
        ),
        (&signed, "RAUC does not take the bundle"),
        (&cut, "RAUC does not take the bundle"),
    ] {
        let images = home.images();
        let job = job(7, "1.2.0", bundle);
        let why = match images.stage(&job, &home.came(bundle)) {
            Err(InstallError::Refused(why)) => why,
            other => panic!("{}: {other:?}", bundle.display()),
        };
        assert!(why.contains(words), "{why}");
        assert!(!images.is_staged(&job).expect("it is known"));
    }
    // Certificates are judged by the time: a clock that is known to be wrong may be why a signature does not hold.
    home.clock.raise_floor(i64::MAX);
    let why = later(
        home.images()
            .stage(&job(7, "1.2.0", &signed), &home.came(&signed)),
    );
    assert!(why.contains("the clock is wrong"), "{why}");
    // One that changes on the disk after it was staged never reaches RAUC.
    let images = home.images();
    let job = job(7, "1.2.0", &whole);
    images.stage(&job, &home.came(&whole)).expect("it is staged");
    fs::write(
        home.data.path().join("rauc/bundle.raucb"),
        &bytes[..bytes.len() - 1],
    )
    .expect("our own folder");
    let changed = images.activate(&job, home.window());
    assert!(matches!(changed, Err(InstallError::Refused(_))), "{changed:?}");
    assert_eq!(
        (home.rauc.primary().as_str(), home.rauc.times_made_primary("B")),
        ("A", 0)
    );
    assert!(!home.rauc.holds("b", NEW));
}

#[test]
fn a_service_that_ends_in_the_middle_leaves_the_old_slot_and_the_image_is_written_anew() {
    let Some(mut home) = Home::new("") else { return };
    let (job, from) = home.good("new", "1.2.0");
    home.images().stage(&job, &from).expect("it is staged");
    for round in 1..=2 {
        home.rauc.slow();
        let (images, window) = (home.images(), home.window());
        let wanted = job.clone();
        let acting = thread::spawn(move || images.activate(&wanted, window));
        home.rauc.wait_writing();
        let folder = home.rauc.folder();
        home.rauc.kill();
        let _none = fs::remove_file(folder.join("writing"));
        let why = later(acting.join().expect("no panic"));
        assert!(why.contains("RAUC did not put it in place"), "{why}");
        home.rauc.reboot();
        assert_eq!(home.rauc.primary(), "A", "round {round}");
        assert_eq!(home.images().standing(Some(&job)), Standing::Nothing);
        assert_eq!(home.images().standing(None), Standing::Nothing);
    }
    home.images()
        .activate(&job, home.window())
        .expect("it is put in place");
    assert_eq!(home.rauc.primary(), "B");
    assert_eq!(home.images().standing(Some(&job)), Standing::Leaving);
}

#[test]
fn who_works_with_rauc_already_is_waited_for_and_what_he_put_there_is_his() {
    let Some(home) = Home::new("") else { return };
    let (job, from) = home.good("new", "1.2.0");
    let other = home.rauc.bundle(
        "by-hand",
        Recipe {
            compatible: COMPATIBLE,
            version: "3.0.0",
            key: "own",
            image: b"by hand",
        },
    );
    let images = home.images();
    assert_eq!(images.probe(), Can::Yes(Version::ZERO));
    home.rauc.slow();
    let mut by_hand = Command::new("dbus-send");
    by_hand.arg(format!("--bus={}", home.rauc.address())).args([
        "--print-reply",
        "--dest=de.pengutronix.rauc",
        "/",
    ]);
    by_hand
        .arg("de.pengutronix.rauc.Installer.Install")
        .arg(format!("string:{}", other.display()));
    finish(&mut by_hand, b"", LIMIT).ok();
    home.rauc.wait_writing();
    assert_eq!(
        images.probe(),
        Can::Yes(Version::ZERO),
        "it is busy, and still can"
    );
    let why = later(images.stage(&job, &from));
    assert!(why.contains("RAUC is at work"), "{why}");
    assert!(from.exists(), "what came stays");
    home.rauc.hurry();
    wait_for("the other image", LIMIT, || {
        (home.rauc.primary() == "B").then_some(())
    });
    wait_for("RAUC to be free", LIMIT, || images.stage(&job, &from).ok());
    let why = later(images.activate(&job, home.window()));
    assert!(why.contains("put there by hand"), "{why}");
    assert!(home.rauc.holds("b", b"by hand"));
}

#[test]
fn an_image_that_takes_longer_than_the_home_may_be_disturbed_is_found_when_it_is_done_and_not_written_twice()
{
    let Some(home) = Home::new("") else { return };
    let (job, from) = home.good("new", "1.2.0");
    let images = home.images();
    images.stage(&job, &from).expect("it is staged");
    home.rauc.slow();
    let short = Act {
        longest: Duration::from_secs(3),
        ..act(Kind::Rauc, Disruption::Reboot)
    };
    let why = later(images.activate(&job, home.permitted(short)));
    assert!(why.contains("longer than the home may be disturbed"), "{why}");
    let why = later(images.activate(&job, home.window()));
    assert!(why.contains("RAUC is at work"), "{why}");
    home.rauc.hurry();
    wait_for("it to be done", LIMIT, || {
        images.activate(&job, home.window()).ok()
    });
    assert_eq!(home.rauc.times_made_primary("B"), 1);
    assert_eq!(home.images().standing(Some(&job)), Standing::Leaving);
}

#[test]
fn an_image_that_rauc_cannot_write_is_not_tried_for_ever() {
    let Some(home) = Home::new("") else { return };
    let (job, from) = home.good("new", "1.2.0");
    let images = home.images();
    images.stage(&job, &from).expect("it is staged");
    home.rauc.break_down();
    for _ in 0..2 {
        let why = later(images.activate(&job, home.window()));
        assert!(why.contains("RAUC did not put it in place"), "{why}");
        assert_eq!(home.rauc.primary(), "A");
    }
    let third = images.activate(&job, home.window());
    assert!(matches!(third, Err(InstallError::Refused(_))), "{third:?}");
    assert_eq!(
        (home.rauc.primary().as_str(), home.rauc.times_made_primary("B")),
        ("A", 0)
    );
}

#[test]
fn a_box_says_why_it_takes_no_images() {
    let runtime = Runtime::new().expect("a runtime");
    let data = tempfile::tempdir().expect("a folder");
    let images = |address: &str| {
        let clock = Arc::new(Clock::with_floor(0));
        Images::new(
            data.path(),
            Place::at(address),
            (boot(1), clock),
            runtime.handle().clone(),
        )
    };
    let nowhere = images("unix:path=/nowhere/bus");
    let why = said(nowhere.probe());
    assert!(why.contains("the system's message bus"), "{why}");
    assert_eq!(nowhere.standing(None), Standing::Nothing);
    let Some(bus) = Bus::start() else { return };
    assert_eq!(
        said(images(&bus.address()).probe()),
        "there is no RAUC on this box"
    );

    let Some(home) = Home::new("") else { return };
    home.rauc.logind_says("challenge");
    let why = said(home.images().probe());
    assert_eq!(why, "logind does not let the agent reboot the box: challenge");
}
