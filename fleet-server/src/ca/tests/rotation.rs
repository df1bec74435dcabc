//! Keys that follow one another: who is believed before, meanwhile and after.
#![expect(clippy::disallowed_methods, reason = "tests: folders to make authorities in")]

use std::path::Path;

use pkcs8::der::zeroize::Zeroizing;
use rcgen::KeyPair;

use crate::ca::passphrase::Passphrase;
use crate::ca::rotate::{self, Opener};
use crate::ca::signer::{self, Keys};
use crate::ca::*;

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

fn fresh(dir: &Path) -> Authority {
    Authority::init(dir, "homeward".parse().expect("a domain"), NOW).expect("made")
}

fn later(days: i64) -> Timestamp {
    NOW.plus_ms(days * DAY_MS)
}

fn by(root_key: &Path) -> Opener<'_> {
    Opener {
        root_key,
        passphrase: None,
    }
}

fn issue(authority: &Authority, now: Timestamp) -> Issued {
    let key = KeyPair::generate().expect("a key");
    let point = PublicKey::from_point(key.public_key_raw()).expect("a point");
    let id = "gw-1".parse().expect("an id");
    authority
        .issue_gateway(&point, &id, signer::serial().expect("random"), now)
        .expect("issued")
}

/// Whether a listener of this authority would admit the certificate at that moment.
fn admits(authority: &Authority, leaf: &Issued, revoked: &[Revoked], now: Timestamp) -> bool {
    let mut anchors = rustls::RootCertStore::empty();
    for issuer in authority.gateway_issuers(now) {
        anchors.add(issuer).expect("an anchor");
    }
    let lists = authority.crls(revoked, now).expect("lists");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), provider)
        .with_crls(lists.into_iter().map(|list| list.crl))
        .only_check_end_entity_revocation()
        .build()
        .expect("a verifier");
    let at = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_millis(
        u64::try_from(now.ms).expect("after 1970"),
    ));
    verifier.verify_client_cert(&leaf.der, &[], at).is_ok()
}

#[test]
fn what_an_older_intermediate_issued_counts_to_its_end_and_can_be_revoked() {
    let dir = tempfile::tempdir().expect("a folder");
    let ca = dir.path().join("ca");
    let old = fresh(&ca);
    let before = issue(&old, later(364));
    rotate::issuing(&ca, by(&ca.join("root-1.key")), later(365)).expect("rotated");
    let new = Authority::open(&ca).expect("opens");
    assert_ne!(new.gateway_issuer(), old.gateway_issuer());
    let after = issue(&new, later(365));
    assert!(admits(&new, &before, &[], later(366)) && admits(&new, &after, &[], later(366)));
    let gone = |issued: &Issued| Revoked {
        serial: issued.serial,
        at: later(366),
    };
    assert!(!admits(&new, &before, &[gone(&before)], later(366)));
    assert!(!admits(&new, &after, &[gone(&after)], later(366)));
    assert!(admits(&new, &after, &[gone(&before)], later(366)));
    // Late renewal looks at a certificate as if now were its end, so its issuer has to count 180 days longer.
    assert_eq!(new.gateway_issuers(later(365 + 14 + 180)).len(), 2);
    assert_eq!(new.gateway_issuers(later(365 + 14 + 182)).len(), 1);
    // A third generation, and both older ones open.
    rotate::issuing(&ca, by(&ca.join("root-1.key")), later(400)).expect("rotated");
    let third = Authority::open(&ca).expect("opens");
    assert_eq!(third.gateway_issuers(later(401)).len(), 3);
    assert!(admits(&third, &after, &[], later(370)));
    let names: std::collections::HashSet<String> = third
        .crls(&[], later(401))
        .expect("lists")
        .into_iter()
        .map(|list| list.name)
        .collect();
    assert_eq!(names.len(), 3, "each list has a name of its own");
}

#[test]
fn roots_follow_one_another_in_three_steps() {
    let (dir, media) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a medium"),
    );
    let ca = dir.path().join("ca");
    let first = fresh(&ca);
    let wrong = rotate::root(&ca, by(&ca.join("root-1.key")), media.path(), later(1)).expect_err("refused");
    assert!(
        wrong
            .to_string()
            .contains("is not the key of the root that is needed"),
        "{wrong}"
    );
    let made = rotate::root(&ca, by(&ca.join("root-2.key")), media.path(), later(1)).expect("rotated");
    assert_eq!(made, media.path().join("root-3.key"));
    let second = Authority::open(&ca).expect("opens");
    let (old, new) = (first.bundle(), second.bundle());
    assert_eq!(
        (&new.active, new.leaving.as_slice()),
        (&old.next, &[old.active.clone()][..])
    );
    assert_eq!(new.roots().len(), 3);
    assert_ne!(new.mark().expect("a mark"), old.mark().expect("a mark"));
    assert_ne!(second.pin().expect("a pin"), first.pin().expect("a pin"));
    // The link introduces the new root to whoever holds the one that is active now.
    let link = bundle::parse(&new.links[0]).expect("a certificate");
    let (active, next) = (
        bundle::parse(&new.active).expect("one"),
        bundle::parse(&new.next).expect("one"),
    );
    assert!(link.verify_signature(Some(active.public_key())).is_ok());
    assert_eq!(
        (link.subject(), link.public_key().raw),
        (next.subject(), next.public_key().raw)
    );
    // The server's chain leads to the new active root.
    let servers = bundle::parse(&second.servers.cert).expect("one");
    assert!(servers.verify_signature(Some(active.public_key())).is_ok());
    assert_eq!(rotate::drop_leaving(&ca).expect("dropped"), 1);
    let third = Authority::open(&ca).expect("opens");
    assert_eq!(third.trust_bundle(), [new.active.clone(), new.next.clone()]);
    assert_eq!(
        signer::former_roots(&ca).expect("listed"),
        std::slice::from_ref(&old.active),
        "kept for readings of its time"
    );
    // And once more, with the key that came to the medium.
    let made =
        rotate::root(&ca, by(&media.path().join("root-3.key")), media.path(), later(2)).expect("rotated");
    assert_eq!(made, media.path().join("root-4.key"));
    assert!(admits(
        &Authority::open(&ca).expect("opens"),
        &issue(&first, later(0)),
        &[],
        later(3)
    ));
}

#[test]
fn a_step_that_fails_leaves_the_authority_as_it_was() {
    let (dir, other) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("another"),
    );
    let ca = dir.path().join("ca");
    let before = fresh(&ca);
    fresh(&other.path().join("ca"));
    let strangers = other.path().join("ca/root-1.key");
    assert!(rotate::issuing(&ca, by(&strangers), later(1)).is_err());
    assert!(rotate::root(&ca, by(&strangers), other.path(), later(1)).is_err());
    // A power cut in the middle of the copy.
    std::fs::create_dir(dir.path().join("ca.new")).expect("made");
    std::fs::write(dir.path().join("ca.new/gateways.crt"), "half").expect("written");
    let same = Authority::open(&ca).expect("opens");
    assert_eq!(same.bundle(), before.bundle());
    rotate::issuing(&ca, by(&ca.join("root-1.key")), later(1)).expect("and the next try works");
    assert!(!dir.path().join("ca.new").exists());
}

#[test]
fn sealed_keys_open_by_their_passphrase_and_new_ones_are_sealed_too() {
    let (dir, media) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a medium"),
    );
    let ca = dir.path().join("ca");
    let pass: Passphrase = Zeroizing::new("twelve letters and more".into());
    let keys = Keys {
        roots_to: Some(media.path()),
        passphrase: Some(&pass),
    };
    Authority::init_with(&ca, "homeward".parse().expect("a domain"), keys, NOW).expect("made");
    assert!(
        signer::root_keys_here(&ca).expect("listed").is_empty(),
        "the roots' keys are elsewhere"
    );
    let sealed = |path: &Path| {
        std::fs::read_to_string(path)
            .expect("there")
            .contains("ENCRYPTED")
    };
    assert!(sealed(&ca.join("gateways.key")) && sealed(&media.path().join("root-1.key")));
    let refused = Authority::open(&ca).expect_err("sealed");
    assert!(refused.to_string().contains("ca-passphrase"), "{refused}");
    let root = media.path().join("root-1.key");
    let by = |passphrase| Opener {
        root_key: &root,
        passphrase,
    };
    let wrong: Passphrase = Zeroizing::new("another passphrase".into());
    assert!(matches!(
        rotate::issuing(&ca, by(Some(&wrong)), NOW),
        Err(CaError::Passphrase(_))
    ));
    assert!(matches!(
        rotate::issuing(&ca, by(None), NOW),
        Err(CaError::Sealed(_))
    ));
    rotate::issuing(&ca, by(Some(&pass)), later(1)).expect("rotated");
    assert!(sealed(&ca.join("gateways.key")));
    assert_eq!(rotate::seal(&ca, Some(&pass), None).expect("opened"), 3);
    Authority::open(&ca).expect("opens in the clear");
    assert_eq!(rotate::seal(&ca, None, Some(&wrong)).expect("sealed"), 3);
    assert!(Authority::open(&ca).is_err());
}

#[test]
fn certificates_say_where_the_list_is_and_the_list_says_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = fresh(dir.path()).with_lists_at("http://crl.example.org");
    let issued = issue(&authority, NOW);
    let list = authority.crls(&[], NOW).expect("lists").remove(0);
    let address = format!("http://crl.example.org/crl/{}", list.name);
    let holds = |der: &[u8]| der.windows(address.len()).any(|w| w == address.as_bytes());
    assert!(holds(&issued.der) && holds(&list.crl));
    // A certificate from before the address was configured is still covered.
    let older = issue(&fresh_again(dir.path()), NOW);
    let gone = Revoked {
        serial: older.serial,
        at: NOW,
    };
    assert!(admits(&authority, &older, &[], NOW) && !admits(&authority, &older, &[gone], NOW));
}

fn fresh_again(dir: &Path) -> Authority {
    Authority::open(dir).expect("opens")
}
