//! Independent clients enrol, wait and renew.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use homeward_fleet::ca::Leaf;
use homeward_fleet::device::register::{self, Approving};
use homeward_fleet::device::{Approval, State};
use homeward_fleet::store::gateways;
use homeward_protocol::claim::{Pin, ServerInfo};

use crate::world::{World, have, pem, run, text};

#[test]
fn curl_and_openssl_enrol_and_renew() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    // The bundle holds a root with the claim's pin.
    let reply = world
        .curl(&[&World::est(world.enrol, "cacerts")])
        .expect("an answer");
    assert_eq!(reply.status, 200);
    assert!(
        reply.head.contains("content-type: application/pkcs7-mime"),
        "{}",
        reply.head
    );
    assert!(
        reply.head.contains("content-transfer-encoding: base64"),
        "{}",
        reply.head
    );
    let bundle = world.certs(&reply);
    assert_eq!(bundle.len(), 3);
    let pins: Vec<Pin> = bundle
        .iter()
        .map(|der| {
            let (_, cert) = x509_parser::parse_x509_certificate(der).expect("a certificate");
            Pin::of_spki(cert.public_key().raw)
        })
        .collect();
    assert!(pins.contains(&world.authority.pin().expect("a pin")));
    // Enrol.
    let (id, device, cert) = world.enrolled();
    let first = leaf(&world, &cert);
    assert_eq!(first.gateway, id);
    // The chain leads to the root, by openssl, and is not revoked.
    let issuer = world.fresh("pem");
    fs::write(&issuer, pem(world.authority.gateway_issuer())).expect("written");
    let list = world
        .curl(&[&format!("https://localhost:{}/crl", world.enrol.port())])
        .expect("an answer");
    let (crl_der, crl) = (world.fresh("crl"), world.fresh("crl.pem"));
    fs::write(&crl_der, &list.body).expect("written");
    run(Command::new("openssl")
        .args(["crl", "-inform", "DER", "-in"])
        .arg(&crl_der)
        .arg("-out")
        .arg(&crl));
    run(Command::new("openssl")
        .args(["verify", "-purpose", "sslclient", "-crl_check", "-CRLfile"])
        .arg(&crl)
        .arg("-CAfile")
        .arg(world.path("ca.pem"))
        .arg("-untrusted")
        .arg(&issuer)
        .arg(&cert));
    // Renew a day later with the same key, and then with another one.
    world.at_days(1);
    let reply = world
        .reenroll(world.enrol, &device.key, &cert, &device.base64)
        .expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let renewed = world.keep(&reply);
    let second = leaf(&world, &renewed);
    assert_eq!((second.gateway, &second.key), (id.clone(), &first.key));
    assert_ne!(second.serial, first.serial);
    let other = world.device(&[]);
    let reply = world
        .reenroll(world.enrol, &device.key, &renewed, &other.base64)
        .expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let third = leaf(&world, &world.keep(&reply));
    assert_eq!(third.gateway, id);
    assert_ne!(third.key, first.key);
}

#[test]
fn a_lost_reply_is_given_again() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let (_, user) = world.claim(Approval::Automatic);
    let device = world.device(&[]);
    // Once as base64, once as DER: the same certificate.
    let one = world.simpleenroll(&user, &device.base64);
    let two = world.simpleenroll(&user, &device.request);
    assert_eq!((one.status, two.status), (200, 200), "{}", two.text());
    assert_eq!(one.body, two.body);
}

#[test]
fn a_box_waits_until_an_operator_compared_its_fingerprint() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let (id, user) = world.claim(Approval::Operator);
    let device = world.device(&[]);
    for _ in 0..2 {
        let reply = world.simpleenroll(&user, &device.base64);
        assert_eq!(reply.status, 202, "{}", reply.text());
        assert!(reply.head.contains("retry-after: 5"), "{}", reply.head);
    }
    let print = {
        let digest = Command::new("sh")
            .arg("-c")
            .arg("openssl pkey -in \"$0\" -pubout -outform DER | sha256sum")
            .arg(&device.key)
            .output()
            .expect("runs");
        let hex = String::from_utf8_lossy(&digest.stdout)[..16].to_owned();
        format!("{}-{}-{}-{}", &hex[..4], &hex[4..8], &hex[8..12], &hex[12..])
    };
    let approve = |given: &str| {
        let (id, given) = (id.clone(), given.to_owned());
        world.write(move |tx, now| register::approve(tx, &id, Some(&given), "anna", now))
    };
    assert_eq!(approve("0000-0000-0000-0000"), Approving::OtherKey(print.clone()));
    assert_eq!(world.simpleenroll(&user, &device.base64).status, 202);
    assert_eq!(approve(&print.to_uppercase()), Approving::Approved);
    assert_eq!(world.simpleenroll(&user, &device.base64).status, 200);
    assert_eq!(approve(&print), Approving::Already);
    let state = world
        .write(move |tx, _| gateways::get(tx, &id))
        .expect("there")
        .state;
    assert_eq!(state, State::Enrolled);
}

#[test]
fn strongswan_enrols_waits_and_renews() {
    if !have(&["pki", "openssl", "curl"]) {
        return;
    }
    let world = World::new();
    let (id, user) = world.claim(Approval::Operator);
    let device = world.device(&[]);
    let url = format!("https://localhost:{}", world.enrol.port());
    let pki = |args: &[&str]| {
        let mut command = Command::new("pki");
        command.args(["--est", "--outform", "pem", "--url", &url, "--in"]);
        command
            .arg(&device.request)
            .arg("--cacert")
            .arg(world.path("root.pem"))
            .args(args);
        command
    };
    let root = world.authority.bundle().active.clone();
    fs::write(world.path("root.pem"), pem(&root)).expect("written");
    let cert = world.fresh("pem");
    let polled = pki(&["--userpass", &user, "--interval", "1", "--maxpolltime", "30"])
        .stdout(fs::File::create(&cert).expect("a file"))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    // Once it waits, approve.
    let deadline = Instant::now() + Duration::from_secs(20);
    let approve = || {
        let id = id.clone();
        world.write(move |tx, now| register::approve(tx, &id, None, "anna", now))
    };
    while approve() != Approving::Approved {
        assert!(Instant::now() < deadline, "strongSwan never came");
        std::thread::sleep(Duration::from_millis(50));
    }
    let out = polled.wait_with_output().expect("ends");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let first = leaf(&world, &cert);
    assert_eq!(first.gateway, id);
    // Renew by that certificate.
    world.at_days(1);
    let renewed = world.fresh("pem");
    let said = run(&mut pki(&["--cert", &text(&cert), "--key", &text(&device.key)]));
    fs::write(&renewed, said).expect("written");
    let second = leaf(&world, &renewed);
    assert_eq!(second.gateway, id);
    assert_ne!(second.serial, first.serial);
    // The authority's certificates.
    run(Command::new("pki")
        .args([
            "--estca",
            "--url",
            &url,
            "--outform",
            "pem",
            "--force",
            "--cacert",
        ])
        .arg(world.path("root.pem"))
        .args(["--caout", "estca"])
        .current_dir(world.folder.path())); // it puts a number before the first dot of the path
    let got = fs::read_dir(world.folder.path())
        .expect("a folder")
        .filter(|e| {
            e.as_ref()
                .is_ok_and(|e| e.file_name().to_string_lossy().starts_with("estca"))
        })
        .count();
    assert_eq!(got, 3, "two roots and an issuer");
}

#[test]
fn a_box_learns_where_the_other_doors_are() {
    if !have(&["curl"]) {
        return;
    }
    let world = World::new();
    let url = format!("https://localhost:{}/.well-known/homeward", world.enrol.port());
    let reply = world.curl(&[&url]).expect("an answer");
    let info: ServerInfo = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(info.renewal.port, world.renewal.port());
}

fn leaf(world: &World, cert: &std::path::Path) -> Leaf {
    let text = fs::read(cert).expect("there");
    let (_, block) = x509_parser::pem::parse_x509_pem(&text).expect("PEM");
    Leaf::read(&block.contents, world.authority.trust_domain()).expect("a gateway's certificate")
}
