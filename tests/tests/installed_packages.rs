//! Packages of a release on a box with the real dpkg and apt, by the helper as it is installed.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests start programs, write files and wait"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use homeward_agent::install::packages::Packages;
use homeward_agent::install::packages::ask::{Answer, Install, Request, Restarts, State};
use homeward_agent::install::{InstallError, Installer as _, Standing};
use homeward_agent::update::saved::Job;
use homeward_protocol::release::state::Can;
use homeward_protocol::release::{Disruption, Installer, Version};
use homeward_tests::debs::shop::{Keys, Shop, clock, house, window};
use homeward_tests::debs::{Deb, DebBox};
use homeward_tests::programs::wait_for;
use rustix::fs::{FlockOperation, fcntl_lock};

const LIMIT: Duration = Duration::from_mins(2);

/// A box, its agent's way to the helper, and who makes releases for it.
struct Scene {
    home: DebBox,
    shop: Shop,
    packages: Packages,
    socket: PathBuf,
}

impl Scene {
    /// None, said aloud, where no box can be made.
    fn new() -> Option<Scene> {
        let (home, shop) = (DebBox::start()?, Shop::new());
        let socket = home.listen("packages.sock");
        let packages = Packages::new(socket.clone(), shop.metadata(), clock());
        assert!(matches!(packages.probe(), Can::No(why) if why.as_str().contains("--trust")));
        home.trust(&shop.root()).ok();
        let again = home.trust(&shop.root()).failed();
        assert!(again.contains("trusts root 1 already"), "{again}");
        assert_eq!(packages.probe(), Can::Yes(Version::ZERO));
        Some(Scene {
            home,
            shop,
            packages,
            socket,
        })
    }

    fn staged(&mut self, version: &str, disruption: Disruption, debs: &[PathBuf]) -> Job {
        let (job, bundle) = self.shop.release(version, disruption, debs);
        assert_eq!(self.packages.standing(Some(&job)), Standing::Nothing);
        self.packages.stage(&job, &bundle).expect("staged");
        assert!(self.packages.is_staged(&job).expect("seen"));
        job
    }

    /// With less time than an agent would ask for.
    fn install_within(&self, job: &Job, seconds: u64) -> Answer {
        let asked = Request::Install(Install {
            sha256: job.sha256,
            restarts: Restarts::Denied,
            seconds,
        });
        self.ask(&serde_json::to_string(&asked).expect("JSON"))
    }

    fn see(&self) -> State {
        match self.ask("\"see\"") {
            Answer::State(state) => state,
            other => panic!("{other:?}"),
        }
    }

    /// A question of one line, which nothing follows.
    fn ask(&self, line: &str) -> Answer {
        let mut stream = UnixStream::connect(&self.socket).expect("the helper listens");
        stream
            .write_all(format!("{line}\n").as_bytes())
            .expect("it listens");
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("it answers");
        serde_json::from_str(&said).expect("an answer")
    }

    fn activate(&self, job: &Job) -> Result<(), InstallError> {
        self.packages.activate(job, window(job.custom.disruption))
    }
}

fn refused(outcome: Result<(), InstallError>, words: &str) {
    match outcome {
        Err(InstallError::Refused(why)) if why.contains(words) => {}
        other => panic!("{other:?} where a refusal with {words:?} was expected"),
    }
}

fn later(outcome: Result<(), InstallError>, words: &str) {
    match outcome {
        Err(InstallError::Later(why)) if why.contains(words) => {}
        other => panic!("{other:?} where {words:?} was expected for later"),
    }
}

#[test]
fn exactly_the_set_is_installed_settings_stay_and_it_goes_forward_only() {
    let Some(mut scene) = Scene::new() else { return };
    let settings = |text| [("etc/hw-a.conf", text)];
    let a = Deb {
        name: "hw-a",
        version: "1.0",
        files: &settings("first\n"),
        ..Deb::default()
    };
    scene.home.by_hand(&scene.shop.build(a)).ok();
    fs::write(scene.home.file("etc/hw-a.conf"), "ours\n").expect("the box's file");
    let a = Deb {
        version: "1.1",
        files: &settings("second\n"),
        ..a
    };
    let b = Deb {
        name: "hw-b",
        version: "2.0",
        control: "Depends: hw-a (>= 1.1)\n",
        ..Deb::default()
    };
    let debs = [scene.shop.build(b), scene.shop.build(a)];
    // The root changes hands meanwhile, twice.
    for _ in 0..2 {
        scene.shop.house.publish("root");
    }
    let job = scene.staged("2026.7.1", Disruption::None, &debs);
    assert!(scene.home.has("hw-b").is_empty(), "staging installs nothing");
    // What the agent has is of no matter any more.
    fs::write(scene.shop.desk().join("2026.7.1.hwb"), "something else").expect("ours");
    scene.activate(&job).expect("installed");
    assert_eq!(
        [scene.home.has("hw-a"), scene.home.has("hw-b")],
        ["1.1 installed", "2.0 installed"]
    );
    assert_eq!(scene.home.says("usr/share/hw-a/version"), "1.1");
    assert_eq!(scene.home.says("etc/hw-a.conf"), "ours\n");
    assert_eq!(scene.packages.standing(Some(&job)), Standing::OnTrial);
    assert_eq!(scene.packages.standing(None), Standing::Nothing);
    assert_eq!(scene.packages.probe(), Can::Yes(job.custom.version));
    scene.activate(&job).expect("it is there already");
    scene.packages.confirm().expect("it stays");
    assert!(matches!(
        scene.packages.roll_back(),
        Err(InstallError::NoWayBack(Installer::Apt))
    ));

    let (older, bundle) = scene.shop.release("2026.7.0", Disruption::None, &debs[..1]);
    refused(scene.packages.stage(&older, &bundle), "forward only");
    assert!(
        scene.packages.is_staged(&job).expect("seen"),
        "what lay ready still does"
    );
}

#[test]
fn newer_release_keys_are_followed_without_a_bundle_and_kept_whatever_becomes_of_the_rest() {
    let Some(mut scene) = Scene::new() else { return };
    // The keys of all that hangs on the root are replaced.
    for role in ["targets", "snapshot", "timestamp"] {
        scene.shop.house.new_keys(role, 1, 1);
    }
    scene.shop.house.publish("root");
    scene
        .shop
        .house
        .publish_all(&["targets", "snapshot", "timestamp"]);
    scene.shop.carry();
    scene.packages.follow().expect("followed");
    assert_eq!(scene.see().trusts, Some(2));
    // Again there is nothing to do, also when the helper starts anew.
    scene.packages.follow().expect("nothing is newer");

    // The next two come, and nothing behind them is what it should be: with a bundle, too.
    let deb = scene.shop.build(Deb {
        name: "hw-a",
        version: "1.0",
        ..Deb::default()
    });
    for _ in 0..2 {
        scene.shop.house.publish("root");
    }
    let (job, bundle) = scene.shop.release("1.0.0", Disruption::None, &[deb]);
    let spoilt = scene.shop.metadata().join("timestamp.json");
    let good = fs::read(&spoilt).expect("ours");
    fs::write(&spoilt, "{}").expect("ours");
    later(scene.packages.stage(&job, &bundle), "timestamp");
    assert_eq!(scene.see().trusts, Some(4));
    fs::write(&spoilt, good).expect("ours");

    // Strangers' roots are not followed, and which root counts is said.
    let own = std::mem::replace(&mut scene.shop.house, house(Keys::Strangers));
    for _ in 0..4 {
        scene.shop.house.publish("root");
    }
    let place = scene.shop.metadata().join("5.root.json");
    fs::write(
        &place,
        scene.shop.house.metadata.get("5.root.json").expect("made"),
    )
    .expect("ours");
    later(scene.packages.follow(), "by root 4 still, and root 5 is known");
    assert_eq!(scene.see().trusts, Some(4));
    fs::remove_file(place).expect("ours");
    scene.shop.house = own;
    scene.packages.stage(&job, &bundle).expect("as before");

    // Questions of a newer agent are answered.
    let answer = scene.ask("{\"mend\":{\"all\":true}}");
    assert!(
        matches!(&answer, Answer::Later(why) if why.contains("different versions")),
        "{answer:?}"
    );
}

#[test]
fn a_helper_from_before_the_question_is_named_as_older() {
    let mut shop = Shop::new();
    shop.house.publish("root");
    shop.house.publish_rest();
    shop.carry();
    let socket = shop.desk().join("old.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    // As it was: it says how it stands, and ends without a word at what it does not know.
    let old = std::thread::spawn(move || {
        for known in [true, false] {
            let (mut stream, _) = listener.accept().expect("the agent");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a question");
            if known {
                let state = r#"{"state":{"trusts":1,"version":"0.0.0","done":null,"staged":null,"begun":null,"unfinished":null}}"#;
                stream
                    .write_all(format!("{state}\n").as_bytes())
                    .expect("it listens");
            } else {
                assert!(line.starts_with("{\"follow\":[[\"2.root.json\","), "{line}");
            }
        }
    });
    later(
        Packages::new(socket, shop.metadata(), clock()).follow(),
        "may be older than this agent",
    );
    old.join().expect("asked twice");
}

#[test]
fn services_restart_only_when_the_release_says_so_and_a_permission_covers_it() {
    let Some(mut scene) = Scene::new() else { return };
    let service = "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: hw-svc\n# Required-Start:\n# Required-Stop:\n# Default-Start: 2 3 4 \
                   5\n# Default-Stop: 0 1 6\n### END INIT INFO\necho \"$1\" >>/service-did\n";
    let files = [("etc/init.d/hw-svc", service)];
    let deb = |version| Deb {
        name: "hw-svc",
        version,
        postinst: "set -e\nupdate-rc.d hw-svc defaults >/dev/null\ninvoke-rc.d hw-svc restart\necho \
                   \"${SYSTEMD_OFFLINE:-no}\" >/saw-offline",
        files: &files,
        ..Deb::default()
    };
    let by_others = "#!/bin/sh\n# somebody else's\nexit 0\n";
    fs::write(scene.home.file("usr/sbin/policy-rc.d"), by_others).expect("the box's file");
    let built = scene.shop.build(deb("1.0"));
    let job = scene.staged("1.0.0", Disruption::None, &[built]);
    // The permission is for more than the release says of itself.
    scene
        .packages
        .activate(&job, window(Disruption::Reboot))
        .expect("installed");
    assert_eq!(scene.home.has("hw-svc"), "1.0 installed");
    assert_eq!(
        (scene.home.says("service-did"), scene.home.says("saw-offline")),
        (String::new(), "1\n".into())
    );
    assert_eq!(
        scene.home.says("usr/sbin/policy-rc.d"),
        by_others,
        "as it was before"
    );
    fs::remove_file(scene.home.file("usr/sbin/policy-rc.d")).expect("the box's file");

    let built = scene.shop.build(deb("1.1"));
    let job = scene.staged("1.1.0", Disruption::ServiceRestart, &[built]);
    // The release says so, and the permission does not.
    scene
        .packages
        .activate(&job, window(Disruption::None))
        .expect("installed");
    assert_eq!(scene.home.says("service-did"), "");

    let built = scene.shop.build(deb("1.2"));
    let job = scene.staged("1.2.0", Disruption::ServiceRestart, &[built]);
    scene.activate(&job).expect("installed");
    assert_eq!(
        (scene.home.says("service-did"), scene.home.says("saw-offline")),
        ("restart\n".into(), "no\n".into())
    );
    assert!(!scene.home.file("usr/sbin/policy-rc.d").exists());
}

#[test]
fn what_would_bring_or_take_another_package_or_an_older_version_is_refused() {
    let Some(mut scene) = Scene::new() else { return };
    let a = Deb {
        name: "hw-a",
        version: "1.5",
        ..Deb::default()
    };
    scene.home.by_hand(&scene.shop.build(a)).ok();
    for (number, control, words) in [
        (1, "Depends: hw-nowhere\n", "it needs what is not here"),
        // One that the box's own lists know, if it has any.
        (2, "Depends: cowsay\n", "it needs what is not here"),
        (3, "Conflicts: hw-a\n", "it would remove hw-a"),
        (
            4,
            "Conflicts: hw-a\nReplaces: hw-a\nProvides: hw-a\n",
            "it would remove hw-a",
        ),
    ] {
        let name = format!("hw-c{number}");
        let deb = scene.shop.build(Deb {
            name: &name,
            version: "1.0",
            control,
            ..Deb::default()
        });
        let (job, bundle) = scene
            .shop
            .release(&format!("1.0.{number}"), Disruption::None, &[deb]);
        refused(scene.packages.stage(&job, &bundle), words);
        assert!(!scene.packages.is_staged(&job).expect("seen"));
    }
    let older = scene.shop.build(Deb { version: "1.4", ..a });
    let (job, bundle) = scene.shop.release("1.1.0", Disruption::None, &[older]);
    refused(
        scene.packages.stage(&job, &bundle),
        "1.5 is installed, and 1.4 is older",
    );
    assert_eq!(scene.home.has("hw-a"), "1.5 installed");

    // What is so at the activation counts, not what was so before.
    let newer = scene.shop.build(Deb { version: "1.6", ..a });
    let job = scene.staged("1.2.0", Disruption::None, &[newer]);
    scene
        .home
        .by_hand(&scene.shop.build(Deb { version: "1.7", ..a }))
        .ok();
    refused(scene.activate(&job), "1.7 is installed, and 1.6 is older");
    // And a person who holds a package is asked first.
    let newer = scene.shop.build(Deb { version: "1.8", ..a });
    let job = scene.staged("1.3.0", Disruption::None, &[newer]);
    scene.home.run("apt-mark", &["hold", "hw-a"]).ok();
    later(scene.activate(&job), "somebody holds hw-a");
    scene.home.run("apt-mark", &["unhold", "hw-a"]).ok();
    scene.activate(&job).expect("installed");
}

#[test]
fn what_the_offline_keys_did_not_sign_is_not_even_looked_at() {
    let Some(mut scene) = Scene::new() else { return };
    let deb = scene.shop.build(Deb {
        name: "hw-a",
        version: "1.0",
        ..Deb::default()
    });
    let (job, bundle) = scene
        .shop
        .release("1.0.0", Disruption::None, std::slice::from_ref(&deb));
    let stage = |scene: &Scene, job: &Job, bytes: &[u8]| {
        let place = scene.shop.desk().join("handed-over");
        fs::write(&place, bytes).expect("our own folder");
        scene.packages.stage(job, &place)
    };
    let good = fs::read(&bundle).expect("ours");
    // Other bytes, of the same length: in a package, and in the index.
    for at in [good.len() - 1, 40] {
        let mut spoilt = good.clone();
        spoilt[at] ^= 1;
        assert!(
            matches!(stage(&scene, &job, &spoilt), Err(InstallError::Refused(_))),
            "{at}"
        );
    }
    let longer = Job {
        length: job.length + 1,
        ..job.clone()
    };
    refused(
        stage(&scene, &longer, &[good.as_slice(), b"x"].concat()),
        "another length",
    );
    let elsewhere = Job {
        path: "packages/9.9.9".into(),
        ..job.clone()
    };
    refused(stage(&scene, &elsewhere, &good), "signed no such target");
    let (other, file) = scene
        .shop
        .sign("1.0.1", Disruption::None, Installer::AgentSlot, &bundle);
    refused(scene.packages.stage(&other, &file), "installer `agent-slot`");

    // A bundle that was signed, whose index calls a package by another name than it has inside.
    let text = String::from_utf8_lossy(&good).into_owned();
    assert!(text.contains("hw-a"));
    let at = good
        .windows(4)
        .position(|four| four == b"hw-a")
        .expect("its name");
    let mut renamed = good.clone();
    renamed[at + 3] = b'b';
    let place = scene.shop.desk().join("renamed");
    fs::write(&place, &renamed).expect("our own folder");
    let (job, file) = scene.shop.sign("1.0.2", Disruption::None, Installer::Apt, &place);
    refused(scene.packages.stage(&job, &file), "another package inside");

    // Who has taken the agent over brings a repository of his own, with a root that claims to follow ours.
    scene.shop.house = house(Keys::Strangers);
    scene.shop.house.publish("root");
    let (job, file) = scene
        .shop
        .release("1.0.3", Disruption::None, std::slice::from_ref(&deb));
    later(scene.packages.stage(&job, &file), "root");
    fs::remove_file(scene.shop.desk().join("metadata/2.root.json")).expect("ours");
    later(scene.packages.stage(&job, &file), "timestamp");
    assert!(scene.home.has("hw-a").is_empty());
}

#[test]
fn a_file_that_is_changed_after_it_was_staged_is_refused_and_another_package_manager_is_waited_for() {
    let Some(mut scene) = Scene::new() else { return };
    let deb = scene.shop.build(Deb {
        name: "hw-a",
        version: "1.0",
        ..Deb::default()
    });
    let job = scene.staged("1.0.0", Disruption::None, &[deb]);
    for lock in ["lock-frontend", "lock"] {
        let file = fs::File::options()
            .read(true)
            .write(true)
            .open(scene.home.file("var/lib/dpkg").join(lock));
        let file = file.expect("dpkg's lock");
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).expect("nobody else has it");
        later(scene.activate(&job), "another package manager is at work");
        assert_eq!(scene.packages.standing(Some(&job)), Standing::Nothing, "{lock}");
    }
    let staged = scene
        .home
        .file("var/lib/homeward-packages/staged")
        .join(job.sha256.to_string());
    let place = staged.join("hw-a_1.0_all.deb");
    let good = fs::read(&place).expect("staged");
    let evil = scene.shop.build(Deb {
        name: "hw-evil",
        version: "1.0",
        ..Deb::default()
    });
    fs::copy(evil, &place).expect("root may");
    refused(scene.activate(&job), "is not the file any more");
    assert_eq!(scene.home.has("hw-a") + &scene.home.has("hw-evil"), "");
    fs::write(&place, good).expect("root may");
    scene.activate(&job).expect("installed");
}

#[test]
fn a_power_cut_in_the_middle_is_found_and_gone_on_with_by_permission() {
    let Some(mut scene) = Scene::new() else { return };
    let slow = scene.shop.build(Deb {
        name: "hw-slow",
        version: "1.0",
        postinst: "touch /began\nwhile [ ! -e /go-on ]; do sleep 0.1; done",
        ..Deb::default()
    });
    let other = scene.shop.build(Deb {
        name: "hw-z",
        version: "1.0",
        control: "Depends: hw-slow\n",
        ..Deb::default()
    });
    let job = scene.staged("1.0.0", Disruption::None, &[slow, other]);
    std::thread::scope(|scope| {
        let (packages, permitted) = (&scene.packages, window(Disruption::None));
        let acts = scope.spawn(|| packages.activate(&job, permitted));
        wait_for("the package's script", LIMIT, || {
            scene.home.file("began").exists().then_some(())
        });
        assert!(
            scene.home.file("usr/sbin/policy-rc.d").exists(),
            "denied meanwhile"
        );
        // Nobody gets in between, and it is known what stands.
        later(scene.activate(&job), "already");
        assert!(matches!(
            scene.packages.standing(Some(&job)),
            Standing::Unfinished(_)
        ));
        scene.home.cut();
        later(acts.join().expect("it ends"), "without a word");
    });
    assert!(scene.home.has("hw-slow").starts_with("1.0 half-configured"));
    let standing = scene.packages.standing(Some(&job));
    assert!(
        matches!(&standing, Standing::Unfinished(why) if why.as_str().contains("hw-slow")),
        "{standing:?}"
    );
    assert!(
        !scene.home.file("usr/sbin/policy-rc.d").exists(),
        "a denial does not outlive its reason"
    );
    fs::write(scene.home.file("go-on"), "").expect("the box's file");
    scene.activate(&job).expect("gone on with");
    assert_eq!(
        [scene.home.has("hw-slow"), scene.home.has("hw-z")],
        ["1.0 installed", "1.0 installed"]
    );
    assert_eq!(scene.packages.standing(Some(&job)), Standing::OnTrial);
    assert_eq!(scene.home.run("dpkg", &["--audit"]).ok(), "");
}

#[test]
fn a_script_that_takes_too_long_is_ended_with_all_that_it_began_and_gone_on_with() {
    let Some(mut scene) = Scene::new() else { return };
    let slow = scene.shop.build(Deb {
        name: "hw-slow",
        version: "1.0",
        postinst: "while [ ! -e /go-on ]; do sleep 0.1; date +%s%N >/lives; done",
        ..Deb::default()
    });
    let job = scene.staged("1.0.0", Disruption::None, &[slow]);
    // With so little nothing is begun: it would be ended in its middle.
    let answer = scene.install_within(&job, 20);
    assert!(
        matches!(&answer, Answer::Later(why) if why.contains("too little")),
        "{answer:?}"
    );
    assert!(scene.home.has("hw-slow").is_empty());
    assert_eq!(scene.packages.standing(Some(&job)), Standing::Nothing);
    let answer = scene.install_within(&job, 35);
    assert!(
        matches!(&answer, Answer::Later(why) if why.contains("gone on with")),
        "{answer:?}"
    );
    let lives = scene.home.says("lives");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(scene.home.says("lives"), lives, "the script was ended with dpkg");
    assert!(
        !scene.home.file("usr/sbin/policy-rc.d").exists(),
        "a denial does not outlive its reason"
    );
    assert!(matches!(
        scene.packages.standing(Some(&job)),
        Standing::Unfinished(_)
    ));
    fs::write(scene.home.file("go-on"), "").expect("the box's file");
    scene.activate(&job).expect("gone on with");
    assert_eq!(scene.home.has("hw-slow"), "1.0 installed");
    assert_eq!(scene.packages.standing(Some(&job)), Standing::OnTrial);
}

#[test]
fn a_script_that_fails_is_told_as_what_stays_and_a_newer_release_mends_it() {
    let Some(mut scene) = Scene::new() else { return };
    let bad = scene.shop.build(Deb {
        name: "hw-e",
        version: "1.0",
        postinst: "exit 3",
        ..Deb::default()
    });
    // What somebody else left unfinished is not ours to finish.
    scene.home.by_hand(&bad).failed();
    let deb = scene.shop.build(Deb {
        name: "hw-a",
        version: "1.0",
        ..Deb::default()
    });
    let job = scene.staged("0.9.0", Disruption::None, &[deb]);
    later(scene.activate(&job), "packages that others began");
    assert!(scene.home.has("hw-a").is_empty());
    scene.home.run("dpkg", &["--purge", "hw-e"]).ok();

    let job = scene.staged("1.0.0", Disruption::None, &[bad]);
    match scene.activate(&job) {
        Err(InstallError::Stays(why)) => assert!(
            why.contains("hw-e 1.0 is not configured") && why.contains("exit status 3"),
            "{why}"
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        scene.packages.probe(),
        Can::Yes(Version::ZERO),
        "it was not put in place"
    );
    let good = scene.shop.build(Deb {
        name: "hw-e",
        version: "1.1",
        ..Deb::default()
    });
    let job = scene.staged("1.1.0", Disruption::None, &[good]);
    scene.activate(&job).expect("mended");
    assert_eq!(scene.home.has("hw-e"), "1.1 installed");
    assert_eq!(scene.packages.standing(Some(&job)), Standing::OnTrial);
}
