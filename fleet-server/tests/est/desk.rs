//! Who is refused, what a person gets to see of it, and what age does.

use std::net::SocketAddr;

use homeward_fleet::ca::{Leaf, Rank};
use homeward_fleet::device::Approval;
use homeward_fleet::device::register::Revoking;
use homeward_fleet::enrol::chip::{Chip, ChipId};
use homeward_fleet::store::certificates::{self, Timing};
use homeward_fleet::store::{audit, chips, incidents};
use homeward_protocol::attest::Tier;
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::tpm::{AttestationKey, Public, template};

use crate::world::{Device, Reply, World, have};

#[test]
fn a_request_that_asks_for_other_names_gets_none_of_them() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let (id, user) = world.claim(Approval::Automatic);
    let device = world.device(&[
        "-addext",
        "subjectAltName=DNS:fleet.example,URI:spiffe://homeward/gateway/gw-other,IP:192.0.2.1",
        "-addext",
        "extendedKeyUsage=serverAuth,1.3.6.1.4.1.311.20.2.2",
        "-addext",
        "basicConstraints=critical,CA:true",
        "-addext",
        "keyUsage=keyCertSign",
        "-addext",
        "1.2.3.4=ASN1:UTF8String:anything",
    ]);
    let reply = world.simpleenroll(&user, &device.base64);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let certs = world.certs(&reply);
    let [der] = certs.as_slice() else {
        panic!("{} certificates", certs.len());
    };
    // One name, and it is the claim's: anything else fails to read.
    let leaf = Leaf::read(der, world.authority.trust_domain()).expect("one name");
    assert_eq!(leaf.gateway, id);
    let (_, cert) = x509_parser::parse_x509_certificate(der).expect("a certificate");
    assert!(!cert.is_ca());
    let usage = cert.key_usage().expect("one").expect("there").value;
    assert!(!usage.key_cert_sign() && usage.digital_signature());
    let extended = cert.extended_key_usage().expect("one").expect("there").value;
    assert!(extended.client_auth && !extended.server_auth && extended.other.is_empty());
}

#[test]
fn a_second_key_is_refused_and_a_person_is_told_once() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let (id, user) = world.claim(Approval::Automatic);
    let (first, second) = (world.device(&[]), world.device(&[]));
    assert_eq!(world.simpleenroll(&user, &first.base64).status, 200);
    for _ in 0..3 {
        let reply = world.simpleenroll(&user, &second.base64);
        assert_eq!(reply.status, 409);
        assert!(reply.text().contains("another box"), "{}", reply.text());
    }
    let open = world.write(|tx, _| incidents::open(tx, 10));
    assert_eq!(open.len(), 1);
    assert_eq!(
        (open[0].gateway.as_ref(), open[0].kind),
        (Some(&id), incidents::Kind::CodeReused)
    );
    let rows = world.write(|tx, _| audit::list(tx, i64::MAX, 50));
    let actions: Vec<&str> = rows.iter().rev().map(|row| row.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "gateway-claimed",
            "claim-used",
            "certificate-issued",
            "csr-refused"
        ]
    );
    // The first box is not harmed.
    assert_eq!(world.simpleenroll(&user, &first.base64).status, 200);
    let given = world.write(move |tx, _| certificates::of(tx, &id, 10));
    assert_eq!(given.len(), 1);
}

#[test]
fn a_wrong_code_and_an_unknown_gateway_look_the_same() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let (id, _) = world.claim(Approval::Automatic);
    let device = world.device(&[]);
    let ask = |user: &str| {
        let reply = world.simpleenroll(user, &device.base64);
        assert!(reply.head.contains("www-authenticate: basic"), "{}", reply.head);
        (reply.status, reply.text())
    };
    let wrong = ask(&format!("{id}:0000-0000-0000-0000"));
    assert_eq!(wrong.0, 401);
    assert_eq!(ask("gw-nobody:0000-0000-0000-0000"), wrong);
    assert_eq!(ask("GW/..:x"), wrong);
}

#[test]
fn an_address_that_guesses_is_slowed_down() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let (id, user) = world.claim(Approval::Automatic);
    let device = world.device(&[]);
    let wrong = format!("{id}:0000-0000-0000-0000");
    for _ in 0..10 {
        assert_eq!(world.simpleenroll(&wrong, &device.base64).status, 401);
    }
    let reply = world.simpleenroll(&user, &device.base64);
    assert_eq!(reply.status, 429);
    assert!(reply.head.contains("retry-after: "), "{}", reply.head);
    world.at_days(1);
    assert_eq!(world.simpleenroll(&user, &device.base64).status, 200);
}

#[test]
fn a_claim_that_was_guessed_at_too_often_is_closed_and_a_person_is_told() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let (id, user) = world.claim(Approval::Automatic);
    let device = world.device(&[]);
    let wrong = format!("{id}:0000-0000-0000-0000");
    for day in 0..2 {
        world.at_days(day);
        for _ in 0..10 {
            assert_eq!(world.simpleenroll(&wrong, &device.base64).status, 401);
        }
    }
    world.at_days(2);
    let reply = world.simpleenroll(&user, &device.base64);
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("closed"), "{}", reply.text());
    let open = world.write(|tx, _| incidents::open(tx, 10));
    assert_eq!(
        open.iter().map(|i| i.kind).collect::<Vec<_>>(),
        [incidents::Kind::ClaimLocked]
    );
    // A new claim for the same box works.
    let user = world.claim_for(&id, Approval::Automatic);
    assert_eq!(world.simpleenroll(&user, &device.base64).status, 200);
}

#[test]
fn an_expired_claim_is_refused() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let (_, user) = world.claim(Approval::Automatic);
    let device = world.device(&[]);
    world.at_days(8);
    let reply = world.simpleenroll(&user, &device.base64);
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("expired"), "{}", reply.text());
}

#[test]
fn renewal_without_a_certificate_is_unauthorised() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let device = world.device(&[]);
    let url = World::est(world.enrol, "simplereenroll");
    let reply = world.post(&[], &device.base64, &url).expect("an answer");
    assert_eq!(reply.status, 401);
    assert!(reply.text().contains("certificate"), "{}", reply.text());
    // The renewal listener does not even finish the handshake.
    let url = World::est(world.renewal, "simplereenroll");
    assert!(world.post(&[], &device.base64, &url).is_err());
}

/// Enrols `late + 14` days ago, comes back now; gives how each listener answered.
fn come_back(late: i64, revoke: bool) -> [Result<u16, String>; 2] {
    let world = World::new();
    world.at_days(-(late + 14));
    let (id, device, cert) = world.enrolled();
    if revoke {
        assert_eq!(world.revoke(&id), Revoking::Revoked(1));
    }
    world.at_days(0);
    world.refresh();
    let ask = |at: SocketAddr| {
        let reply = world.reenroll(at, &device.key, &cert, &device.base64)?;
        Ok(reply.status)
    };
    let answers = [ask(world.enrol), ask(world.renewal)];
    if answers[1] == Ok(200) {
        let newest = world.write(move |tx, _| certificates::of(tx, &id, 1));
        assert_eq!(newest[0].timing, Timing::Late);
    }
    answers
}

#[test]
fn ninety_days_late_renews_at_the_renewal_listener_only() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let [enrol, renewal] = come_back(90, false);
    assert!(enrol.is_err(), "{enrol:?}");
    assert_eq!(renewal, Ok(200));
}

#[test]
fn two_hundred_days_late_is_too_late() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let [enrol, renewal] = come_back(200, false);
    assert!(enrol.is_err() && renewal.is_err(), "{enrol:?} {renewal:?}");
}

#[test]
fn revoked_and_late_never_renews() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let [enrol, renewal] = come_back(90, true);
    assert!(enrol.is_err() && renewal.is_err(), "{enrol:?} {renewal:?}");
}

#[test]
fn revocation_holds_before_the_list_is_remade_and_after() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let (id, device, cert) = world.enrolled();
    assert_eq!(world.revoke(&id), Revoking::Revoked(1));
    assert_eq!(world.revoke(&id), Revoking::Already);
    for at in [world.enrol, world.renewal] {
        let reply = world
            .reenroll(at, &device.key, &cert, &device.base64)
            .expect("an answer");
        assert_eq!(reply.status, 403);
        assert!(reply.text().contains("revoked"), "{}", reply.text());
    }
    world.refresh();
    for at in [world.enrol, world.renewal] {
        assert!(world.reenroll(at, &device.key, &cert, &device.base64).is_err());
    }
}

#[test]
fn a_box_that_is_claimed_anew_with_another_key_loses_its_old_certificate() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let (id, old, old_cert) = world.enrolled();
    let user = world.claim_for(&id, Approval::Automatic);
    let new = world.device(&[]);
    // Until the new claim is used the old certificate holds.
    let reply = world.reenroll(world.enrol, &old.key, &old_cert, &old.base64);
    assert_eq!(reply.expect("an answer").status, 200);
    assert_eq!(world.simpleenroll(&user, &new.base64).status, 200);
    let reply = world.reenroll(world.enrol, &old.key, &old_cert, &old.base64);
    assert_eq!(reply.expect("an answer").status, 403);
}

/// Says of a key that it was proved to be in a TPM.
fn proved(world: &World, id: &GatewayId, key: &PublicKey) {
    let area = Public::parse(&template::attestation(&[1; 32])).expect("reads");
    let chip = Chip {
        gateway: id.clone(),
        key: key.clone(),
        chip: ChipId([3; 32]),
        attestation: AttestationKey::check(area).expect("is one"),
        vouched: false,
        proved_at: world.now(),
    };
    world.write(move |tx, _| chips::put(tx, &chip));
}

#[test]
fn a_key_in_a_tpm_is_followed_by_a_proved_one_only_and_its_certificate_says_so() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let (id, user) = world.claim(Approval::Automatic);
    let (in_tpm, in_file) = (world.device(&[]), world.device(&[]));
    let key = |device: &Device| {
        let body = std::fs::read(&device.base64).expect("a request");
        homeward_fleet::enrol::csr::key_of(&body).expect("a key")
    };
    proved(&world, &id, &key(&in_tpm));
    let reply = world.simpleenroll(&user, &in_tpm.base64);
    let domain = world.authority.trust_domain();
    let rank = |reply: &Reply| Leaf::read(&world.certs(reply)[0], domain).expect("ours").rank;
    assert_eq!(rank(&reply), Rank::Own(Tier::TpmKey));
    let cert = world.keep(&reply);
    let again = world
        .reenroll(world.enrol, &in_tpm.key, &cert, &in_tpm.base64)
        .expect("an answer");
    assert_eq!((again.status, rank(&again)), (200, Rank::Own(Tier::TpmKey)));
    let moved = world
        .reenroll(world.enrol, &in_tpm.key, &cert, &in_file.base64)
        .expect("an answer");
    assert_eq!(moved.status, 403);
    assert!(moved.text().contains("prove the new key"), "{}", moved.text());
    // What was proved for one gateway says nothing for another.
    let (_, user) = world.claim(Approval::Automatic);
    let reply = world.simpleenroll(&user, &in_tpm.base64);
    assert_eq!(rank(&reply), Rank::Own(Tier::Software));
}

#[test]
fn whoever_has_neither_a_code_nor_a_proved_key_gets_nothing() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let device = world.device(&[]);
    let reply = world
        .post(&[], &device.base64, &World::est(world.enrol, "simpleenroll"))
        .expect("an answer");
    assert_eq!(reply.status, 401);
    assert!(
        reply.head.to_lowercase().contains("www-authenticate: basic"),
        "{}",
        reply.head
    );
    for path in ["tpm", "tpm/proof"] {
        let url = format!(
            "https://localhost:{}/.well-known/homeward/{path}",
            world.enrol.port()
        );
        let reply = world.post(&[], &device.base64, &url).expect("an answer");
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
    }
}
