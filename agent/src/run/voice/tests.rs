use std::io;
use std::sync::Mutex;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homeward_protocol::claim::{Endpoint, ServerInfo};
use homeward_protocol::envelope::Lane;
use homeward_protocol::id::{Epoch, Seq};
use homeward_protocol::time::Timestamp;
use homeward_protocol::tpm::template;
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use super::*;
use crate::identity::keys::Server;
use crate::outbox::keeper::{Keeper, Place};
use crate::tpm::Address;
use crate::tpm::chip::Chip;
use crate::tpm::device::Device;
use crate::tpm::thread::Tpm;

/// A TPM that takes a command and never answers.
struct Hanging;

impl Device for Hanging {
    fn exchange(&mut self, _: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            thread::park();
        }
    }
}

/// A box that was enrolled with a TPM and has a spare key; its main outbox is open.
struct Enrolled {
    dir: tempfile::TempDir,
    folder: Folder,
    clock: Arc<Clock>,
    main: Option<Main>,
}

async fn enrolled() -> Enrolled {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(Clock::with_floor(0));
    let tpm = Tpm::with(Chip::over(Address::usual(), Box::new(Hanging))).expect("a thread");
    let folder = Folder::within(dir.path()).on(Some(tpm));
    let door = || Endpoint {
        host: "fleet.example".to_owned(),
        port: 1,
    };
    let server = Server {
        gateway: "gw-1".parse().expect("a name"),
        enrolment: door(),
        doors: ServerInfo {
            gate: door(),
            renewal: door(),
        },
    };
    folder.keep_server(&server).expect("keeps");
    let certificate = [CertificateDer::from(vec![0x30, 0])];
    folder.keep_chain(&certificate).expect("keeps");
    folder.keep_trust(&certificate).expect("keeps");
    let coded = |bytes: &[u8]| STANDARD.encode(bytes);
    let public = coded(&template::attestation(&[7; 32]));
    let key = serde_json::json!({ "public": public, "private": coded(&[1]), "attestation": coded(&[7; 32]) });
    std::fs::write(dir.path().join("identity/key.tpm"), key.to_string()).expect("keeps");
    let vault = spare::vault(dir.path()).expect("a vault");
    folder.spare_key_or_new(&vault).expect("a key");
    folder.keep_spare_chain(&certificate).expect("keeps");
    let outbox = memory(1).await;
    let vault = Vault::of_process(&[1; 32]).expect("a vault");
    Enrolled {
        dir,
        folder,
        clock,
        main: Some(Main { vault, outbox }),
    }
}

async fn memory(epoch: u64) -> Outbox {
    let keeper = Keeper::start().expect("a thread");
    let opened = keeper
        .open(Place::Memory, 1 << 20, Epoch(epoch), Timestamp::synced(1))
        .await;
    opened.expect("opens").0
}

/// With which key it speaks, and the pauses between the signs of life until it does, seconds.
async fn chosen(known: Known) -> (KeyPlace, Vec<u64>) {
    let mut home = enrolled().await;
    let signs = Mutex::new(vec![Instant::now()]);
    let alive = || signs.lock().expect("whole").push(Instant::now());
    let ground = Ground {
        data: home.dir.path(),
        folder: &home.folder,
        clock: &home.clock,
        alive: &alive,
    };
    let voice = choose(&ground, 1 << 20, &[], known, &mut home.main)
        .await
        .expect("a voice");
    alive();
    let signs = signs.lock().expect("whole");
    let pauses = signs
        .windows(2)
        .map(|two| (two[1] - two[0]).as_secs())
        .filter(|s| *s > 0);
    (voice.status.facts.place, pauses.collect())
}

/// The service's watchdog waits for a minute.
#[tokio::test(start_paused = true)]
async fn while_a_tpm_hangs_the_box_says_that_it_lives() {
    assert_eq!(
        chosen(Known::Nothing).await,
        (KeyPlace::Spare, vec![20, 2, 20, 2, 20])
    );
}

#[tokio::test(start_paused = true)]
async fn a_tpm_that_was_found_dead_is_asked_once_more() {
    assert_eq!(chosen(Known::Dead).await, (KeyPlace::Spare, vec![20]));
}

#[tokio::test]
async fn what_cannot_be_brought_over_stops_nobody_and_stays() {
    let home = enrolled().await;
    let ground = Ground {
        data: home.dir.path(),
        folder: &home.folder,
        clock: &home.clock,
        alive: &|| {},
    };
    let file = spare::folder(home.dir.path()).join("outbox.db");
    let vault = spare::vault(home.dir.path()).expect("a vault");
    let beside = open_outbox(&spare::folder(home.dir.path()), &vault, 1 << 20, &home.clock).await;
    let beside = beside.expect("opens");
    let record = || alarm(true, &home.clock);
    beside
        .push(vec![record(), record()], home.clock.now())
        .await
        .expect("keeps");
    beside.close().await;
    spare::mark(home.dir.path(), Some(1)).expect("keeps");
    // The main outbox takes nothing.
    let main = memory(1).await;
    main.clone().close().await;
    come_back(&ground, 1 << 20, &[], &main).await;
    assert_eq!(waiting(&file), Some(2));
    assert!(
        spare::in_use_since(home.dir.path()).is_some(),
        "nobody was told that it is over"
    );
    // One that does.
    let main = memory(2).await;
    come_back(&ground, 1 << 20, &[], &main).await;
    assert!(!file.exists());
    assert_eq!(spare::in_use_since(home.dir.path()), None);
    let told = main
        .batch(Lane::Urgent, Seq(1), home.clock.now())
        .await
        .expect("reads");
    assert_eq!(
        told.map(|batch| batch.entries.len()),
        Some(3),
        "and that it is over"
    );
}
