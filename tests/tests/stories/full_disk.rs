//! The server's disk is full.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use homeward_devices::simulated::Behaviour;
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::programs::{finish, wait_for};
use homeward_tests::tally::compare;

use super::stage::{PLAIN, SOON, Stage, all_arrived, is_connected};

/// A small file system; gone with the story.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<SmallDisk> {
        std::fs::create_dir(at).expect("the story's folder");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs"])
            .arg(at);
        let mounted = finish(&mut mount, b"", SOON);
        if !mounted.status.success() {
            eprintln!(
                "skipped: a small file system cannot be mounted here: {}",
                mounted.stderr.trim()
            );
            return None;
        }
        Some(SmallDisk(at.to_owned()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file");
        while ballast.write_all(&[7; 4096]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("a file");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = finish(Command::new("umount").arg("--lazy").arg(&self.0), b"", SOON);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_the_server_loses_nothing_and_heals_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(&folder.path().join("fleet")) else {
        return;
    };
    let mut fleet = Fleet::init(&disk.0, &["--name", "localhost", "--trial"]);
    fleet.serve(&PLAIN);
    let mut stage = Stage { folder, fleet };
    let mut home = stage.home("mill-road-12").await;
    home.run();
    stage.more_readings(10);

    disk.fill();
    wait_for("readings to wait", SOON, || (home.waiting() >= 60).then_some(()));
    assert!(stage.fleet.program().runs(), "the server goes on");
    disk.free();
    stage.more_readings(60);
    assert!(stage.fleet.program().runs(), "the server heals by itself");

    disk.fill();
    wait_for("readings to wait again", SOON, || {
        (home.waiting() >= 60).then_some(())
    });
    stage.fleet.kill();
    disk.free();
    stage.fleet.serve(&PLAIN);
    stage.more_readings(60);
    wait_for("the box to be connected", SOON, || {
        is_connected(&home).then_some(())
    });
    home.set_device(Behaviour::Silent);
    all_arrived(&home);
    home.agent.stop();
    stage.fleet.stop();
    let tally = compare(
        &home.agent.dir().join("outbox.db"),
        &stage.database(),
        &home.gateway,
    );
    let tally = tally.expect("two databases");
    assert_eq!(tally.stored, tally.produced, "{tally:?}");
    assert_eq!(
        (tally.missing, tally.duplicates, tally.lost),
        (0, 0, 0),
        "{tally:?}"
    );
    stage.fleet.run(&["check"]).ok();
}
