//! Boxes with a TPM (swtpm) against a real server: who comes in, as what, and who does not.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests with files, programs and a TPM"
)]

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use homeward_agent::clock::Clock;
use homeward_agent::enrol::renew::{Held, Renewal};
use homeward_agent::identity::keys::Folder;
use homeward_agent::identity::read_leaf;
use homeward_agent::tpm::thread::Tpm;
use homeward_fleet::ca::Rank;
use homeward_protocol::attest::Tier;
use homeward_protocol::claim::Claim;
use homeward_tests::homes::{Home, Plan};
use homeward_tests::programs::agent::Agent;
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::programs::{finish, wait_for};
use homeward_tests::proxy::Link;
use homeward_tests::swtpm::{self, Chip, Maker, Vouched};
use homeward_tests::tally::number;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_mins(1);
const PLAIN: [&str; 0] = [];

struct Stage {
    folder: tempfile::TempDir,
    fleet: Fleet,
    maker: Maker,
}

impl Stage {
    /// A server that knows a maker of TPMs; `None`, said aloud, where there is no swtpm.
    fn new() -> Option<Stage> {
        let folder = tempfile::tempdir().expect("a folder");
        let maker = Maker::new(folder.path())?;
        let mut fleet = Fleet::init(&folder.path().join("fleet"), &["--name", "localhost", "--trial"]);
        // The maker's authority is made with its first chip.
        drop(maker.make(&folder.path().join("first"), Vouched::Yes));
        let known = fleet.dir().join("makers");
        fs::create_dir(&known).expect("our own folder");
        fs::copy(maker.root(), known.join("root.pem")).expect("a root");
        fs::copy(maker.issuer(), known.join("issuer.pem")).expect("an intermediate");
        let path = fleet.dir().join("fleet.toml");
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, format!("{text}\n[tpm]\nmakers = \"makers\"\n")).expect("fleet.toml");
        fleet.serve(&PLAIN);
        Some(Stage { folder, fleet, maker })
    }

    fn chip(&self, name: &str, vouched: Vouched) -> Chip {
        self.maker.make(&self.folder.path().join(name), vouched)
    }

    /// A home whose box has the TPM at this address; its agent does not run yet.
    async fn home(&self, tpm: &str) -> Home {
        let plan = Plan {
            placement: "mill-road-12",
            team: "north",
            dependency: "medium",
            sensor: "comet-tx5xx",
            profile: "comet-tx5xx",
            interval_ms: 200,
            seed: 7,
        };
        Home::settle_in(&self.fleet, self.folder.path(), plan, &surroundings(tpm)).await
    }

    fn agent(&self, name: &str, tpm: &str) -> Agent {
        let dir = self.folder.path().join(name);
        fs::create_dir_all(&dir).expect("a folder");
        let mut agent = Agent::at(&dir);
        agent.surround(&surroundings(tpm));
        agent
    }

    fn claim(&self, more: &[&str]) -> Claim {
        let made = self
            .fleet
            .json(&[&["claim", "new", "--no-approval"][..], more].concat());
        serde_json::from_value(made["claim"].clone()).expect("a claim")
    }

    fn tier(&self, claim: &Claim) -> String {
        let shown = self.fleet.json(&["gateway", "show", claim.gateway.as_str()]);
        shown["tier"].as_str().unwrap_or_default().to_owned()
    }
}

fn surroundings(tpm: &str) -> Vec<(OsString, OsString)> {
    vec![("HOMEWARD_AGENT_TPM".into(), tpm.into())]
}

fn leaf(agent: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(agent.join("identity/certificate.pem")).expect("a certificate")
}

fn rank(agent: &Path) -> Option<Rank> {
    let leaf = leaf(agent);
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).expect("reads");
    Rank::of(&parsed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_with_a_tpm_enrols_sends_and_renews_and_its_key_is_nowhere_else() {
    let Some(stage) = Stage::new() else { return };
    let chip = stage.chip("chip", Vouched::Yes);
    let mut home = stage.home(&chip.address()).await;
    let dir = home.agent.dir().to_owned();
    assert_eq!(rank(&dir), Some(Rank::Own(Tier::TpmChip)));
    assert!(!dir.join("identity/key.pem").exists(), "a key in software");
    home.run();
    let database = stage.fleet.dir().join("fleet.db");
    wait_for("readings by a key in a TPM", LIMIT, || {
        (number(&database, "SELECT count(*) FROM readings") >= 20).then_some(())
    });
    home.agent.stop();
    // Older than an hour, so that the same answer does not come again.
    let hours = "UPDATE certificates SET issued_at = issued_at - 7200000";
    rusqlite::Connection::open(&database)
        .and_then(|db| {
            db.busy_timeout(LIMIT)?;
            db.execute(hours, ())
        })
        .expect("the server's database");
    let before = leaf(&dir);
    renews(&dir, &chip).await;
    let after = leaf(&dir);
    assert_ne!(after, before, "another certificate");
    let key = |der: &CertificateDer<'_>| {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).expect("reads");
        parsed.public_key().raw.to_vec()
    };
    assert_eq!(
        key(&after),
        key(&before),
        "over the same key, which is still in the TPM"
    );

    home.run();
    let before = number(&database, "SELECT count(*) FROM readings");
    wait_for("readings after the renewal", LIMIT, || {
        (number(&database, "SELECT count(*) FROM readings") > before).then_some(())
    });
    home.agent.stop();
    power_cut_and_back(&mut home, &stage, chip, &database);
}

/// A power cut of the whole machine: the TPM's volatile part is gone too.
fn power_cut_and_back(home: &mut Home, stage: &Stage, chip: Chip, database: &Path) {
    chip.kill();
    let _chip = Chip::start(&stage.folder.path().join("chip"));
    let before = number(database, "SELECT count(*) FROM readings");
    home.run();
    wait_for("readings after a power cut", LIMIT, || {
        (number(database, "SELECT count(*) FROM readings") > before).then_some(())
    });
    home.agent.stop();
}

async fn renews(dir: &Path, chip: &Chip) {
    let tpm = Tpm::start(chip.address().parse().expect("an address")).expect("a thread");
    let folder = Folder::within(dir).on(Some(tpm));
    let identity = folder.load().expect("an identity");
    let before = identity.chain.clone();
    let spare_before = fs::read(dir.join("identity/spare.pem")).expect("a spare one");
    let public = identity.key.public().expect("a key");
    let life = read_leaf(&before[0], &identity.server.gateway, &public).expect("ours");
    let renewal = Renewal {
        server: identity.server,
        key: Arc::new(identity.key),
        trust: watch::channel(identity.trust).1,
        folder: Some(folder.clone()),
        clock: Arc::new(Clock::with_floor(folder.floor())),
        dice: 0,
        habits: watch::channel(Arc::default()).1,
    };
    let (held, mut told) = watch::channel(Held { chain: before, life });
    let (ask, asked) = watch::channel(0);
    let stop = CancellationToken::new();
    let running = tokio::spawn(renewal.run(held, asked, stop.clone()));
    ask.send_replace(1);
    tokio::time::timeout(LIMIT, told.changed())
        .await
        .expect("renewed in time")
        .expect("told");
    // The spare key's follows.
    let spare = || fs::read(dir.join("identity/spare.pem")).expect("a spare one");
    tokio::time::timeout(LIMIT, async {
        while spare() == spare_before {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("renewed in time");
    stop.cancel();
    running.await.expect("ends");
    assert_eq!(
        rank(dir),
        Some(Rank::Own(Tier::TpmChip)),
        "the renewed certificate says the same of its key"
    );
}

/// How the server says that a box stands, once it stands so.
fn stands(stage: &Stage, home: &Home, trust: &str) -> serde_json::Value {
    wait_for(&format!("the box to stand as {trust}"), LIMIT, || {
        let shown = stage.fleet.json(&["attest", "show", home.gateway.as_str()]);
        (shown["trust"] == trust).then_some(shown)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_whose_tpm_quotes_what_it_did_before_is_trusted_and_a_changed_register_is_a_question() {
    let Some(stage) = Stage::new() else { return };
    let chip = stage.chip("chip", Vouched::Yes);
    let mut home = stage.home(&chip.address()).await;
    let id = home.gateway.to_string();
    home.run();
    let shown = stands(&stage, &home, "trusted");
    assert_eq!(shown["tier"], "tpm-chip");
    home.agent.stop();

    // Another loader was started: not an attack, but a question.
    let measured = format!("4:sha256={}", "ab".repeat(32));
    chip.tool(stage.folder.path(), "tpm2_pcrextend", &[&measured]);
    home.run();
    stage.fleet.run(&["attest", "challenge", &id]).ok();
    let shown = stands(&stage, &home, "warning");
    assert!(
        shown.to_string().contains("firmware is another than before"),
        "{shown}"
    );
    let side_by_side = stage.fleet.run(&["attest", "show", &id]).ok();
    assert!(side_by_side.contains("register  4 accepted"), "{side_by_side}");
    let why = "the loader was updated on site";
    stage
        .fleet
        .run(&["attest", "accept", &id, "--firmware", "--reason", why])
        .ok();
    stands(&stage, &home, "trusted");

    home.agent.stop();
}

/// The image of a disk whose box has a TPM: no key, no record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_on_a_box_with_a_tpm_stands_nowhere_in_the_clear() {
    let Some(stage) = Stage::new() else { return };
    let chip = stage.chip("chip", Vouched::Yes);
    let mut home = stage.home(&chip.address()).await;
    home.set_link(Link::Down);
    home.run();
    wait_for("readings to be kept", LIMIT, || {
        (home.waiting() >= 20).then_some(())
    });
    home.agent.stop();
    let told = home.agent.command_ended(&["status"]).ok();
    assert!(told.contains("sealed by this box's TPM"), "{told}");
    let image = image(home.agent.dir());
    for canary in [
        &b"PRIVATE KEY"[..],
        b"air-temperature",
        b"relative-humidity",
        b"mantissa",
    ] {
        let holds = image.windows(canary.len()).any(|w| w == canary);
        assert!(!holds, "{} stands in the clear", String::from_utf8_lossy(canary));
    }
}

/// Every byte of a folder.
fn image(of: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(of).expect("a folder") {
        let path = entry.expect("an entry").path();
        all.extend(if path.is_dir() {
            image(&path)
        } else {
            fs::read(&path).unwrap_or_default()
        });
    }
    all
}

/// What the server holds of readings, by grade.
fn graded(database: &Path, grade: &str) -> i64 {
    number(
        database,
        &format!("SELECT count(*) FROM readings WHERE grade = '{grade}'"),
    )
}

/// The TPM dies while the box runs; the box goes on with its spare key, is restarted, and gets its TPM back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_tpm_does_not_silence_a_patient() {
    let Some(stage) = Stage::new() else { return };
    let chip = stage.chip("chip", Vouched::Yes);
    let mut home = stage.home(&chip.address()).await;
    let id = home.gateway.to_string();
    let database = stage.fleet.dir().join("fleet.db");
    home.run();
    wait_for("readings by the key in the TPM", LIMIT, || {
        (graded(&database, "associated") >= 10).then_some(())
    });
    stands(&stage, &home, "trusted");
    let place = |home: &Home| home.agent.status()["key"]["place"].as_str().map(str::to_owned);
    assert_eq!(place(&home).as_deref(), Some("tpm"));

    // 1. It dies while the box runs.
    chip.kill();
    home.set_link(Link::Down);
    home.set_link(Link::Clear);
    wait_for("readings by the spare key", LIMIT * 2, || {
        (graded(&database, "unverified") >= 10).then_some(())
    });
    let shown = stands(&stage, &home, "failed");
    assert!(shown.to_string().contains("TPM does not answer"), "{shown}");
    assert_eq!(
        shown["quarantine"],
        serde_json::Value::Null,
        "nothing is shut off"
    );
    assert_eq!(place(&home).as_deref(), Some("spare"));
    let told = home.agent.command_ended(&["status"]).ok();
    assert!(told.contains("THE SPARE ONE"), "{told}");
    let incidents = "SELECT count(*) FROM incidents WHERE kind = 'spare-key' AND closed_at IS NULL";
    assert_eq!(number(&database, incidents), 1, "a person is told, once");
    let alarms = "SELECT count(*) FROM alarms WHERE condition = 'tpm-silent' AND active = 1";
    wait_for("the box's own alarm", LIMIT, || {
        (number(&database, alarms) >= 1).then_some(())
    });

    // 2. It is restarted without its TPM: what it holds is closed, and it goes on beside that.
    home.agent.stop();
    home.run();
    let before = graded(&database, "unverified");
    wait_for("readings after a restart without a TPM", LIMIT * 2, || {
        (graded(&database, "unverified") > before + 10).then_some(())
    });
    assert!(home.agent.dir().join("spare/outbox.db").exists());

    // 3. It comes back, and with it the box's own key; what waited beside goes out too.
    let _chip = Chip::start(&stage.folder.path().join("chip"));
    let own = graded(&database, "associated");
    wait_for("readings by the key in the TPM again", LIMIT * 3, || {
        (graded(&database, "associated") > own + 10).then_some(())
    });
    stands(&stage, &home, "trusted");
    assert_eq!(place(&home).as_deref(), Some("tpm"));
    assert!(!home.agent.dir().join("spare/outbox.db").exists());
    home.agent.stop();
    let twice =
        "SELECT count(*) FROM (SELECT sensor, kind, taken_at FROM readings GROUP BY sensor, kind, taken_at
                 HAVING count(*) > 1)";
    assert_eq!(number(&database, twice), 0, "a reading stands twice");
    stage.fleet.run(&["gateway", "show", &id]).ok();
}

/// Somebody guessed passwords until the TPM shut itself: what the box needs of it is not behind a password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_out_tpm_silences_nobody_and_lets_its_box_in() {
    let Some(stage) = Stage::new() else { return };
    let chip = stage.chip("chip", Vouched::Yes);
    let mut home = stage.home(&chip.address()).await;
    lock_out(&chip, stage.folder.path());

    // 1. The enrolled box goes on with the key in it, and proves itself.
    home.run();
    let database = stage.fleet.dir().join("fleet.db");
    wait_for("readings by the key in the TPM", LIMIT, || {
        (graded(&database, "associated") >= 10).then_some(())
    });
    stands(&stage, &home, "trusted");
    let place = home.agent.status()["key"]["place"].clone();
    assert_eq!(place, "tpm", "its own key, not the spare one");
    home.agent.stop();
    assert_eq!(graded(&database, "unverified"), 0);

    // 2. A box that comes in meanwhile proves as much as any.
    let agent = stage.agent("another", &chip.address());
    let claim = stage.claim(&[]);
    agent.enrol(&claim.to_string(), LIMIT).ok();
    assert_eq!(stage.tier(&claim), "tpm-chip");
    assert!(is_locked_out(&chip, stage.folder.path()), "all the while");
}

/// One wrong password, where one is allowed.
fn lock_out(chip: &Chip, folder: &Path) {
    let setup = [
        "--setup-parameters",
        "--max-tries=1",
        "--recovery-time=10000",
        "--lockout-recovery-time=10000",
    ];
    chip.tool(folder, "tpm2_dictionarylockout", &setup);
    chip.tool(
        folder,
        "tpm2_createprimary",
        &["-Q", "-C", "o", "-p", "secret", "-c", "guessed.ctx"],
    );
    chip.tool(folder, "tpm2_flushcontext", &["-t"]);
    let mut guess = Command::new("tpm2_create");
    guess.args([
        "-Q",
        "-C",
        "guessed.ctx",
        "-P",
        "wrong",
        "-u",
        "k.pub",
        "-r",
        "k.priv",
    ]);
    guess.current_dir(folder).env("TPM2TOOLS_TCTI", chip.tcti());
    finish(&mut guess, b"", LIMIT).failed();
    chip.tool(folder, "tpm2_flushcontext", &["-t"]);
    assert!(is_locked_out(chip, folder));
}

fn is_locked_out(chip: &Chip, folder: &Path) -> bool {
    let said = chip.tool(folder, "tpm2_getcap", &["properties-variable"]);
    let line = said.lines().find(|line| line.contains("inLockout"));
    line.is_some_and(|line| line.trim_end().ends_with('1'))
}

/// Whoever copied the spare key gets no other certificate with it, at either door.
#[test]
fn a_stolen_spare_key_enrols_nothing_and_renews_nothing() {
    let Some(mut stage) = Stage::new() else { return };
    let chip = stage.chip("chip", Vouched::Yes);
    let agent = stage.agent("box", &chip.address());
    let claim = stage.claim(&[]);
    agent.enrol(&claim.to_string(), LIMIT).ok();
    let folder = Folder::within(agent.dir());
    let vault = homeward_agent::identity::spare::vault(agent.dir()).expect("opens without the TPM");
    let spare = folder.load_spare(&vault).expect("made at the enrolment");
    let (_, parsed) = x509_parser::parse_x509_certificate(&spare.chain[0]).expect("reads");
    assert_eq!(Rank::of(&parsed), Some(Rank::Spare));
    let days = (parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp()) / 86_400;
    assert_eq!(days, 90);
    let public = spare.key.public().expect("a key");
    let life = read_leaf(&spare.chain[0], &spare.server.gateway, &public).expect("ours");
    let renewal = Renewal {
        server: spare.server,
        key: Arc::new(spare.key),
        trust: watch::channel(spare.trust).1,
        folder: None,
        clock: Arc::new(Clock::with_floor(folder.floor())),
        dice: 0,
        habits: watch::channel(Arc::default()).1,
    };
    let held = Held {
        chain: spare.chain,
        life,
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (held, told) = watch::channel(held);
    let (ask, asked) = watch::channel(0);
    let stop = CancellationToken::new();
    let running = runtime.spawn(renewal.run(held, asked, stop.clone()));
    ask.send_replace(1);
    let database = stage.fleet.dir().join("fleet.db");
    wait_for("the server's refusal", LIMIT, || {
        let said = stage.fleet.program().said();
        said.iter()
            .any(|line| line.contains("brings no other"))
            .then_some(())
    });
    stop.cancel();
    runtime.block_on(running).expect("ends");
    assert!(!told.has_changed().unwrap_or(false), "it was renewed");
    let count = "SELECT count(*) FROM certificates WHERE spare = 1";
    assert_eq!(number(&database, count), 1);
}

/// As slow as the slowest chips: the box asks its sensor five times a second all the same, and what it hears arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_tpm_makes_fuller_envelopes_and_holds_nothing_up() {
    let Some(stage) = Stage::new() else { return };
    let chip = stage.chip("chip", Vouched::No);
    let slow = swtpm::slow(&chip, stage.folder.path(), Duration::from_millis(200));
    let mut home = stage.home(&slow).await;
    home.run();
    let database = stage.fleet.dir().join("fleet.db");
    let stored = || number(&database, "SELECT count(*) FROM readings");
    wait_for("the first readings", LIMIT, || (stored() >= 10).then_some(()));
    // What the sensor was asked meanwhile: by the moments of the readings, not by their coming.
    wait_for("five seconds of readings", LIMIT, || {
        let span = "SELECT coalesce(max(taken_at) - min(taken_at), 0) FROM readings";
        (number(&database, span) >= 5000).then_some(())
    });
    let longest = "SELECT max(pause) FROM
        (SELECT taken_at - lag(taken_at) OVER (ORDER BY taken_at) AS pause FROM readings)";
    let longest = number(&database, longest);
    assert!(longest < 2000, "nobody asked the sensor for {longest} ms");
    home.agent.stop();
}

#[test]
fn a_tpm_that_nobody_vouches_for_is_a_tier_less() {
    let Some(stage) = Stage::new() else { return };
    let chip = stage.chip("chip", Vouched::No);
    let agent = stage.agent("box", &chip.address());
    let claim = stage.claim(&[]);
    agent.enrol(&claim.to_string(), LIMIT).ok();
    assert_eq!(
        (stage.tier(&claim).as_str(), rank(agent.dir())),
        ("tpm-key", Some(Rank::Own(Tier::TpmKey)))
    );

    let plain = stage.agent("plain", "none");
    let claim = stage.claim(&[]);
    plain.enrol(&claim.to_string(), LIMIT).ok();
    assert_eq!(
        (stage.tier(&claim).as_str(), rank(plain.dir())),
        ("software", Some(Rank::Own(Tier::Software)))
    );
}

#[test]
fn a_copied_disk_neither_connects_nor_enrols_in_another_box() {
    let Some(stage) = Stage::new() else { return };
    let (real, other) = (
        stage.chip("real", Vouched::Yes),
        stage.chip("other", Vouched::Yes),
    );
    let agent = stage.agent("box", &real.address());
    let claim = stage.claim(&[]);
    agent.enrol(&claim.to_string(), LIMIT).ok();

    let copied = stage.agent("copied", &other.address());
    copy(agent.dir(), copied.dir());
    let said = copied.command_ended(&["run"]).failed();
    assert!(said.contains("enrolled in another box"), "{said}");
    let without = stage.agent("copied", "none");
    let said = without.command_ended(&["run"]).failed();
    assert!(said.contains("sealed by another box, or by a part"), "{said}");

    fs::remove_dir_all(copied.dir().join("identity")).expect("our own folder");
    let said = copied.enrol(&claim.to_string(), LIMIT).failed();
    assert!(said.contains("already used with another key"), "{said}");
    let open = "SELECT count(*) FROM incidents WHERE kind = 'code-reused'";
    assert_eq!(
        number(&stage.fleet.dir().join("fleet.db"), open),
        1,
        "a person is told"
    );
}

#[test]
fn a_tpm_that_died_is_said_by_a_box_that_has_no_spare_key() {
    let Some(stage) = Stage::new() else { return };
    let chip = stage.chip("chip", Vouched::Yes);
    let agent = stage.agent("box", &chip.address());
    agent.enrol(&stage.claim(&[]).to_string(), LIMIT).ok();
    fs::remove_file(agent.dir().join("identity/spare.pem")).expect("made at the enrolment");
    chip.kill();
    let said = agent.command_ended(&["run"]).failed();
    assert!(said.contains("TPM"), "{said}");
}

#[test]
fn a_registered_tpm_comes_in_without_a_code_and_no_other_does() {
    let Some(stage) = Stage::new() else { return };
    let (real, other) = (
        stage.chip("real", Vouched::Yes),
        stage.chip("other", Vouched::Yes),
    );
    let agent = stage.agent("box", &real.address());
    let shown: serde_json::Value =
        serde_json::from_str(&agent.command_ended(&["tpm", "--json"]).ok()).expect("JSON");
    let hash = shown["ek_hash"].as_str().expect("a hash");
    let claim = stage.claim(&["--ek-hash", hash]);
    let (server, pin) = (claim.server.to_string(), claim.pin.to_string());
    let enrol = ["enrol", "--server", &server, "--pin", &pin];

    let stranger = stage.agent("stranger", &other.address());
    let said = stranger.command_ended(&enrol).failed();
    assert!(said.contains("not expected here"), "{said}");
    let said = stage.agent("plain", "none").command_ended(&enrol).failed();
    assert!(said.contains("needs a TPM"), "{said}");

    agent.command_ended(&enrol).ok();
    assert_eq!(stage.tier(&claim), "tpm-chip");
    let first = leaf(agent.dir());
    agent.command_ended(&enrol).ok();
    assert_eq!(leaf(agent.dir()), first, "a certificate that is valid is kept");
    // Nothing of the endorsement key is in the server's database: neither the key nor its plain hash.
    let database = fs::read(stage.fleet.dir().join("fleet.db")).expect("a database");
    let bytes: Vec<u8> = (0..32)
        .map(|i| u8::from_str_radix(&hash[2 * i..2 * i + 2], 16).expect("hex"))
        .collect();
    assert!(!database.windows(32).any(|w| w == bytes));

    // Its disk is lost: the same TPM comes back by itself, as the same gateway.
    fs::remove_dir_all(agent.dir()).expect("our own folder");
    fs::create_dir(agent.dir()).expect("our own folder");
    agent.command_ended(&enrol).ok();
    assert_ne!(leaf(agent.dir()), first);
    assert_eq!(stage.tier(&claim), "tpm-chip");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("our own folder");
    for entry in fs::read_dir(from).expect("our own folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}
