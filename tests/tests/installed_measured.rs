//! A box whose firmware and whose kernel measure, for real: its logs replay to what its TPM quotes, before and after it
//! ran something new and after it was started anew; and what does not fit is found.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests with files, programs and a machine"
)]

use std::fs;
use std::process::Command;
use std::time::Duration;

use homeward_protocol::claim::Claim;
use homeward_tests::guest::{Firmware, Guest, Parts};
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::programs::{finish, wait_for};
use homeward_tests::swtpm::{Maker, Vouched};
use homeward_tests::tally::number;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_mins(1);
const PLAIN: [&str; 0] = [];
const AGENT: &str = "homeward-agent --data /tmp/box";

struct Stage {
    folder: tempfile::TempDir,
    parts: Parts,
    fleet: Fleet,
}

impl Stage {
    /// A server that knows a maker of TPMs, and what machines are made of; `None`, said aloud, where something is missing.
    fn new() -> Option<Stage> {
        let folder = tempfile::tempdir().expect("a folder");
        let parts = Parts::new(folder.path())?;
        let maker = Maker::new(folder.path())?;
        maker.prepare(&folder.path().join("chip"), Vouched::Yes);
        let mut fleet = Fleet::init(&folder.path().join("fleet"), &["--name", "fleet.test", "--trial"]);
        let known = fleet.dir().join("makers");
        fs::create_dir(&known).expect("our own folder");
        fs::copy(maker.root(), known.join("root.pem")).expect("a root");
        fs::copy(maker.issuer(), known.join("issuer.pem")).expect("an intermediate");
        let path = fleet.dir().join("fleet.toml");
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, format!("{text}\n[tpm]\nmakers = \"makers\"\n")).expect("fleet.toml");
        fleet.serve(&PLAIN);
        Some(Stage { folder, parts, fleet })
    }

    fn boot(&self, firmware: Firmware) -> Guest {
        let at = |name: &str| self.folder.path().join(name);
        Guest::boot(&self.parts, firmware, &at("chip"), &at("machine"))
    }

    fn shown(&self, claim: &Claim) -> Value {
        self.fleet.json(&["attest", "show", claim.gateway.as_str()])
    }

    /// How many judgements there are of boxes: there is only one.
    fn judged(&self) -> i64 {
        let database = self.fleet.dir().join("fleet.db");
        number(&database, "SELECT count(*) FROM results")
    }

    /// How the box stands once it was asked again and its answer was judged.
    fn asked(&self, claim: &Claim) -> Value {
        let before = self.judged();
        self.fleet
            .run(&["attest", "challenge", claim.gateway.as_str()])
            .ok();
        self.after(before, claim)
    }

    /// How the box stands after the judgement that follows so many.
    fn after(&self, before: i64, claim: &Claim) -> Value {
        wait_for("the box to be judged", LIMIT, || {
            (self.judged() > before).then_some(())
        });
        self.shown(claim)
    }
}

/// The register as the kernel reads it, hex.
fn register(guest: &mut Guest, number: u8) -> String {
    let read = format!("cat /sys/class/tpm/tpm0/pcr-sha256/{number}");
    guest.run(&read).ok().trim().to_lowercase()
}

#[test]
fn a_kernel_that_measures_is_believed_until_what_ran_does_not_fit() {
    let Some(stage) = Stage::new() else { return };
    let claim = stage.fleet.json(&["claim", "new", "--no-approval"]);
    let claim: Claim = serde_json::from_value(claim["claim"].clone()).expect("a claim");
    let mut guest = stage.boot(Firmware::Uefi);

    // 1. What it started is signed as a release; it enrols, and all that its firmware and its kernel measured replays to
    //    what its TPM quotes.
    load(&stage, &mut guest);
    let enrol = format!("mkdir /tmp/box && echo '{claim}' | {AGENT} enrol --claim -");
    guest.run(&enrol).ok();
    run_agent(&mut guest);
    let shown = stage.after(0, &claim);
    let entries = started_as_signed(&shown);

    // 2. Something runs that never ran: the kernel's log has grown by it, and replays.
    let new = "cp /usr/bin/true /usr/bin/never-ran-before && never-ran-before";
    guest.run(new).ok();
    let shown = stage.asked(&claim);
    assert!(started_as_signed(&shown) > entries, "{shown}");
    let list = "grep -c /usr/bin/never-ran-before /sys/kernel/security/ima/ascii_runtime_measurements";
    assert_eq!(guest.run(list).ok().trim(), "1");

    // 3. The same machine, switched off and on: other logs, the same box.
    let mut guest = again(&stage, guest, Firmware::Uefi);
    let shown = stage.after(2, &claim);
    started_as_signed(&shown);

    // 4. A register was extended by somebody whom the kernel's log does not know.
    let digest = "ab".repeat(32);
    let extend = format!("tpm2_pcrextend -T device:/dev/tpmrm0 10:sha256={digest}");
    guest.run(&extend).ok();
    let shown = stage.asked(&claim);
    assert_eq!(shown["trust"], "failed", "{shown}");
    assert_eq!(stands(&shown), ("replays", "differs"), "{shown}");
    let said = "the kernel's log of what it ran does not fit what the TPM measured";
    assert_eq!(shown["history"][0]["said"], json!([said]));

    // 5. Other firmware starts the same disk: its log is in order, and says so.
    let _guest = again(&stage, guest, Firmware::Bios);
    let shown = stage.after(4, &claim);
    assert_eq!(shown["trust"], "failed", "{shown}");
    assert_eq!(stands(&shown), ("replays", "replays"), "{shown}");
    let said = shown["history"][0]["said"].to_string();
    assert!(
        said.contains("started something else than its release (register 4)"),
        "{said}"
    );
    assert!(said.contains("firmware is another than before"), "{said}");
    let changed = shown["firmware"].as_array().expect("side by side");
    assert!(
        changed.iter().all(|one| one["accepted"] != one["now"]) && changed.len() >= 3,
        "{shown}"
    );
    assert_ne!(shown["quarantine"], Value::Null, "the second failure in a row");
}

/// How the firmware's log and the kernel's stand to what was quoted.
fn stands(shown: &Value) -> (&str, &str) {
    let logs = &shown["logs"];
    (
        logs["firmware"].as_str().unwrap_or_default(),
        logs["kernel"].as_str().unwrap_or_default(),
    )
}

/// That the box is trusted by all that can be shown of it; how many entries the kernel's log has.
fn started_as_signed(shown: &Value) -> u64 {
    assert_eq!(
        (&shown["trust"], &shown["tier"]),
        (&json!("trusted"), &json!("measured-boot")),
        "{shown}"
    );
    assert_eq!(stands(shown), ("replays", "replays"), "{shown}");
    shown["logs"]["kernel_entries"].as_u64().expect("a number")
}

/// Switches the machine off and on again. Its disk is the part of it that lies on the host meanwhile.
fn again(stage: &Stage, mut guest: Guest, firmware: Firmware) -> Guest {
    let stop = "kill $(cat /tmp/pid) && tail -f --pid=$(cat /tmp/pid) /dev/null";
    guest
        .run(&format!(
            "{stop} && rm -rf /run/out/box && cp -a /tmp/box /run/out/"
        ))
        .ok();
    drop(guest);
    let mut guest = stage.boot(firmware);
    guest.run("cp -a /run/out/box /tmp/").ok();
    run_agent(&mut guest);
    guest
}

/// Loads what the machine runs now as a signed release.
fn load(stage: &Stage, guest: &mut Guest) {
    let at = |name: &str| stage.folder.path().join(name).display().to_string();
    let registers: Vec<String> = [4, 9]
        .iter()
        .map(|n| format!("{n}={}", register(guest, *n)))
        .collect();
    let (key, rim, signer) = (at("maker.key"), at("release.rim"), at("maker.pem"));
    let mut openssl = Command::new("sh");
    openssl.arg("-ec").arg(format!(
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {key} && \
         openssl pkey -in {key} -pubout -out {signer}"
    ));
    finish(&mut openssl, b"", LIMIT).ok();
    let agent = stage.parts.agent.display().to_string();
    let version = env!("CARGO_PKG_VERSION");
    let mut make = vec!["reference", "make", "--release", version, "--agent", &agent];
    for register in &registers {
        make.extend(["--register", register]);
    }
    make.extend(["--key", &key, "--out", &rim]);
    stage.fleet.run(&make).ok();
    stage
        .fleet
        .run(&["reference", "load", &rim, "--signer", &signer])
        .ok();
}

fn run_agent(guest: &mut Guest) {
    guest
        .run(&format!(
            "setsid {AGENT} run > /run/out/agent.log 2>&1 < /dev/null & echo $! > /tmp/pid"
        ))
        .ok();
}
