#![expect(clippy::disallowed_methods, reason = "shell: tests keep files")]

use std::collections::BTreeMap;
use std::sync::Mutex;

use homeward_protocol::release::{Custom, Disruption, Version};
use homeward_protocol::time::Timestamp;
use ring::digest::{SHA256, digest as hash};

use super::*;
use crate::slot::file::Folder;
use crate::slot::{Slot, Slots};
use crate::update::tuf::FetchError;

fn digest(bytes: &[u8]) -> Digest {
    Digest(hash(&SHA256, bytes).as_ref().try_into().expect("32 bytes"))
}

/// What a server has, where each of its answers ends, and what it was asked for, from where.
#[derive(Default)]
struct Server {
    files: BTreeMap<&'static str, Vec<u8>>,
    ends_after: Option<usize>,
    /// It ends there because the link costs by then.
    held: bool,
    asked: Mutex<Vec<(String, u64)>>,
}

impl Server {
    fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().expect("held by nobody"));
        asked.into_iter().map(|(file, _)| file).collect()
    }
}

impl Fetch for &Server {
    async fn get(
        &self,
        file: &str,
        from: u64,
        _: u64,
        take: &mut (dyn FnMut(u64, &[u8]) -> io::Result<()> + Send),
    ) -> Result<(), FetchError> {
        self.asked
            .lock()
            .expect("held by nobody")
            .push((file.to_owned(), from));
        let found = self.files.get(file).ok_or(FetchError::Absent)?;
        let rest = &found[usize::try_from(from).expect("fits")..];
        let upto = self.ends_after.unwrap_or(rest.len()).min(rest.len());
        take(from, &rest[..upto]).map_err(FetchError::Keep)?;
        if upto < rest.len() && self.held {
            return Err(FetchError::Held(Held::WhileMetered));
        }
        if upto < rest.len() {
            return Err(FetchError::Failed("the cable was pulled".into()));
        }
        Ok(())
    }
}

/// A box with an old build, and the job to have `new`.
struct House {
    folder: tempfile::TempDir,
    own: PathBuf,
    new: Vec<u8>,
    job: Job,
    server: Server,
}

fn build(mark: &[u8]) -> Vec<u8> {
    let mut all: Vec<u8> = (0..60_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    all.splice(50_000..50_000, mark.iter().copied());
    all
}

impl House {
    fn new() -> House {
        let (old, new) = (build(b"version 1"), build(b"version 2, with a line more"));
        let made = delta::make(&old, &new).expect("a delta");
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join("runs");
        fs::write(&own, &old).expect("written");
        let version: Version = "2.0.0".parse().expect("a version");
        let job = Job {
            counter: 1,
            path: "agent/2.0.0".into(),
            file: "whole".into(),
            length: new.len() as u64,
            sha256: digest(&new),
            custom: Custom {
                installer: Installer::AgentSlot,
                hw: vec!["x86_64".into()],
                version,
                min_version: None,
                disruption: Disruption::AgentRestart,
                security_floor: Version::ZERO,
            },
            not_before: Timestamp::synced(0),
            deadline: Timestamp::synced(1),
            delta: Some(Delta {
                from: digest(&old),
                file: "delta".into(),
                length: made.len() as u64,
                sha256: digest(&made),
            }),
        };
        let files = BTreeMap::from([("whole", new.clone()), ("delta", made)]);
        let server = Server {
            files,
            ..Server::default()
        };
        House {
            folder,
            own,
            new,
            job,
            server,
        }
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("incoming")
    }

    /// The delta on the server is other bytes, and the offline keys signed just those.
    fn with_delta(mut self, bytes: Vec<u8>) -> House {
        let delta = self.job.delta.as_mut().expect("a delta");
        (delta.length, delta.sha256) = (bytes.len() as u64, digest(&bytes));
        self.server.files.insert("delta", bytes);
        self
    }

    async fn bring(&self) -> Result<(), BringError> {
        bring(&self.job, &&self.server, &self.own, &self.place()).await
    }

    /// The build came, whole, and these files were asked for.
    async fn brings_by(&self, asked: &[&str]) {
        self.bring().await.expect("it comes");
        assert_eq!(fs::read(self.place()).expect("there"), self.new);
        assert_eq!(self.server.asked(), asked);
        assert!(!beside(&self.place(), "+made").exists());
    }
}

#[tokio::test]
async fn a_build_is_made_of_the_one_that_runs_and_the_whole_is_not_asked_for() {
    let home = House::new();
    home.brings_by(&["delta"]).await;
    home.brings_by(&[]).await;
}

#[tokio::test]
async fn whatever_is_wrong_with_a_delta_the_whole_comes_and_the_delta_is_never_tried_again() {
    let good = House::new().server.files["delta"].clone();
    let spoilt = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        bytes
    };
    let evil = delta::make(&build(b"version 1"), &build(b"version 3, that nobody signed")).expect("made");
    let wide = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8][..], &[0; 64]].concat();
    let cases = [
        ("its end", spoilt(good.len() - 1)),
        ("its head", spoilt(0)),
        ("its middle", spoilt(good.len() / 2)),
        ("cut", good[..good.len() / 2].to_vec()),
        ("nothing", vec![1]),
        ("another build", evil),
        ("a window that nobody has", wide),
        ("a bomb", delta::make(b"", &vec![0; 3_000_000]).expect("made")),
    ];
    for (what, bytes) in cases {
        let home = House::new().with_delta(bytes);
        println!("{what}");
        home.brings_by(&["delta", "whole"]).await;
        fs::remove_file(home.place()).expect("it was there");
        home.brings_by(&["whole"]).await;
    }
}

#[tokio::test]
async fn a_box_that_runs_another_build_fetches_the_whole() {
    let home = House::new();
    fs::write(&home.own, build(b"by hand")).expect("written");
    home.brings_by(&["delta", "whole"]).await;
}

#[tokio::test]
async fn a_delta_that_is_not_what_was_promised_or_not_there_costs_one_question() {
    let mut home = House::new();
    home.server.files.get_mut("delta").expect("there")[9] ^= 1;
    home.brings_by(&["delta", "whole"]).await;
    let mut home = House::new();
    home.server.files.remove("delta");
    home.brings_by(&["delta", "whole"]).await;
}

#[tokio::test]
async fn a_delta_goes_on_at_the_byte_where_the_network_ended() {
    let mut home = House::new();
    home.server.ends_after = Some(7);
    let length = home.server.files["delta"].len();
    let mut tries = 0;
    while home.bring().await.is_err() {
        tries += 1;
        assert!(tries < length, "it never comes");
    }
    assert_eq!(tries, (length - 1) / 7);
    let asked = home.server.asked.lock().expect("held by nobody").clone();
    let from = asked
        .iter()
        .map(|(_, from)| usize::try_from(*from).expect("fits"));
    assert!(from.eq((0..asked.len()).map(|n| n * 7)), "{asked:?}");
    assert!(asked.iter().all(|(file, _)| file == "delta"));
    assert_eq!(fs::read(home.place()).expect("there"), home.new);
}

#[tokio::test]
async fn what_came_before_a_link_began_to_cost_stays_and_the_rest_comes_later() {
    for delta in [true, false] {
        let mut home = House::new();
        if !delta {
            home.job.delta = None;
        }
        (home.server.ends_after, home.server.held) = (Some(40), true);
        let held = home.bring().await;
        assert!(
            matches!(held, Err(BringError::Held(Held::WhileMetered))),
            "{held:?}"
        );
        assert_eq!(have(&home.place()), 40);
        home.server.ends_after = None;
        home.bring().await.expect("it comes");
        let asked = home.server.asked.lock().expect("held by nobody").clone();
        let from: Vec<u64> = asked.iter().map(|(_, from)| *from).collect();
        assert_eq!(from, [0, 40], "{asked:?}");
    }
}

#[tokio::test]
async fn a_server_that_gives_no_byte_of_a_delta_is_asked_for_the_whole() {
    let mut home = House::new();
    home.server.ends_after = Some(0);
    home.bring().await.expect_err("nothing comes");
    assert_eq!(home.server.asked(), ["delta", "whole"]);
    // It is not held against the delta.
    home.server.ends_after = None;
    home.brings_by(&["delta"]).await;
}

#[tokio::test]
async fn a_power_cut_while_a_delta_is_applied_leaves_the_whole_to_be_fetched() {
    let home = House::new();
    fs::write(beside(&home.place(), "+tried"), b"").expect("written");
    fs::write(beside(&home.place(), "+made"), &home.new[..1_000]).expect("written");
    home.bring().await.expect("it comes");
    assert_eq!(home.server.asked(), ["whole"]);
    assert_eq!(fs::read(home.place()).expect("there"), home.new);
    assert!(!stays(&home.place()).contains(&beside(&home.place(), "+made")));
}

/// Bytes that this process has written so far. Source: Linux, proc(5), /proc/PID/io; a test runs in a process of its own.
fn written() -> u64 {
    let text = fs::read_to_string("/proc/self/io").expect("Linux");
    let all = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    all.and_then(|all| all.parse().ok()).expect("a number")
}

#[tokio::test]
async fn an_update_writes_at_most_1_3_times_its_bytes_until_it_is_on_trial() {
    for by_delta in [true, false] {
        let mut home = House::new();
        if !by_delta {
            home.job.delta = None;
        }
        let slots = Folder::within(home.folder.path());
        let before = written();
        home.bring().await.expect("it comes");
        slots.put(Slot::A, &home.place()).expect("put");
        slots
            .save(&Slots::default().commit(home.job.build()))
            .expect("saved");
        let (wrote, length) = (written() - before, home.job.length);
        assert!(wrote >= length, "{wrote} bytes are less than the build");
        assert!(
            wrote * 10 <= length * 13,
            "by delta {by_delta}: {wrote} bytes for a build of {length}"
        );
        assert!(slots.is_whole(Slot::A, &home.job.sha256));
    }
}
