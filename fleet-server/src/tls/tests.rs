use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use rcgen::KeyPair;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::doors::Doors;
use super::*;
use crate::ca::{DAY_MS, Serial, signer};
use crate::clock::Clock;

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

struct World {
    authority: Authority,
    identity: Identity,
    _dir: tempfile::TempDir,
}

struct Client {
    serial: Serial,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().expect("a folder");
        let authority =
            Authority::init(dir.path(), "homeward".parse().expect("a domain"), NOW).expect("an authority");
        let names = [ServerName::try_from("localhost").expect("a name")];
        let identity = authority
            .server_identity(dir.path(), &names, NOW.plus_ms(180 * DAY_MS))
            .expect("an identity");
        World {
            authority,
            identity,
            _dir: dir,
        }
    }

    fn client(&self, issued_at: Timestamp) -> Client {
        let key = KeyPair::generate().expect("a key");
        let gateway: GatewayId = "gw-1".parse().expect("an id");
        let point = PublicKey::from_point(key.public_key_raw()).expect("a point");
        let serial = signer::serial().expect("random");
        let issued = self
            .authority
            .issue_gateway(&point, &gateway, serial, issued_at)
            .expect("issued");
        Client {
            serial,
            chain: vec![issued.der],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }

    fn trust(&self, revoked: &[&Client], now: Timestamp) -> Trust {
        let gone: Vec<Revoked> = revoked
            .iter()
            .map(|c| Revoked {
                serial: c.serial,
                at: now,
            })
            .collect();
        Trust::of(&self.authority, &gone, now).expect("a list")
    }

    fn config(&self, client: Option<&Client>, now: Timestamp) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for root in self.authority.trust_bundle() {
            roots.add(root).expect("a root");
        }
        let builder = ClientConfig::builder_with_details(provider(), Arc::new(at(now)))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        Arc::new(match client {
            None => builder.with_no_client_auth(),
            Some(c) => builder
                .with_client_auth_cert(c.chain.clone(), c.key.clone_key())
                .expect("a certificate"),
        })
    }

    /// What the server thinks of a handshake with this client.
    async fn meet(
        &self,
        server: Arc<ServerConfig>,
        client: Option<&Client>,
        now: Timestamp,
    ) -> Result<(), String> {
        handshake(server, self.config(client, now)).await.map(drop)
    }
}

/// One connection: how the server saw the handshake. A byte goes to the client, so that it sees its tickets.
async fn handshake(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Result<HandshakeKind, String> {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("localhost").expect("a name");
    let (acceptor, connector) = (TlsAcceptor::from(server), TlsConnector::from(client));
    let (accepted, connected) = tokio::join!(acceptor.accept(here), connector.connect(name, there));
    let mut accepted = accepted.map_err(|e| e.to_string())?;
    accepted.write_all(b"x").await.expect("written");
    accepted.flush().await.expect("written");
    connected.expect("connected").read_u8().await.expect("a byte");
    Ok(accepted.get_ref().1.handshake_kind().expect("known"))
}

fn at(now: Timestamp) -> Clock {
    Clock::from_fn(move || now)
}

#[tokio::test]
async fn the_gate_takes_current_certificates_only() {
    let world = World::new();
    let (client, trust) = (world.client(NOW), world.trust(&[], NOW));
    let tickets = tickets().expect("tickets");
    let gate =
        |now| gate(&world.identity, &trust, &tickets, &Proved::default(), &at(now)).expect("a configuration");
    let later = NOW.plus_ms(181 * DAY_MS); // the server's certificate is made for then
    let fresh = world.client(later);
    assert_eq!(world.meet(gate(later), Some(&fresh), later).await, Ok(()));
    let expired = world
        .meet(gate(later), Some(&client), later)
        .await
        .expect_err("refused");
    assert!(expired.contains("expired"), "{expired}");
    let nobody = world.meet(gate(later), None, later).await.expect_err("refused");
    assert!(nobody.contains("no certificates"), "{nobody}");
}

#[tokio::test]
async fn what_was_proved_once_is_still_held_against_the_dates_the_list_and_the_issuer() {
    let (world, other) = (World::new(), World::new());
    let now = NOW.plus_ms(181 * DAY_MS);
    let (client, tickets, proved) = (world.client(now), tickets().expect("tickets"), Proved::default());
    let meet = async |of: &World, revoked: &[&Client], at_ms: i64, client: &Client| {
        let (trust, moment) = (of.trust(revoked, now), now.plus_ms(at_ms));
        let door = gate(&of.identity, &trust, &tickets, &proved, &at(moment)).expect("a configuration");
        of.meet(door, Some(client), now).await
    };
    let refused = |met: Result<(), String>| met.expect_err("refused");
    for _ in 0..2 {
        assert_eq!(meet(&world, &[], 0, &client).await, Ok(()));
    }
    let mut bytes = client.chain[0].to_vec();
    *bytes.last_mut().expect("a signature") ^= 1;
    let forged = Client {
        serial: client.serial,
        chain: vec![bytes.into()],
        key: client.key.clone_key(),
    };
    assert!(refused(meet(&world, &[], 0, &forged).await).contains("BadSignature"));
    assert!(refused(meet(&world, &[], 15 * DAY_MS, &client).await).contains("expired"));
    assert!(refused(meet(&world, &[], -2 * DAY_MS, &client).await).contains("not valid yet"));
    assert!(refused(meet(&world, &[&client], 0, &client).await).contains("Revoked"));
    // The same bytes under another issuer, and back.
    let stranger = Client {
        serial: client.serial,
        chain: client.chain.clone(),
        key: client.key.clone_key(),
    };
    assert!(refused(meet(&other, &[], 0, &stranger).await).contains("UnknownIssuer"));
    assert_eq!(meet(&world, &[], 0, &client).await, Ok(()));
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_at_every_door() {
    let world = World::new();
    let now = NOW.plus_ms(181 * DAY_MS);
    let client = world.client(now);
    let trust = world.trust(&[&client], now);
    let tickets = tickets().expect("tickets");
    let id = &world.identity;
    for door in [
        gate(id, &trust, &tickets, &Proved::default(), &at(now)),
        enrol(id, &trust, &at(now)),
        renewal(id, &trust, &at(now)),
    ] {
        let refused = world
            .meet(door.expect("a configuration"), Some(&client), now)
            .await;
        assert!(
            refused.clone().expect_err("refused").contains("Revoked"),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn the_renewal_listener_forgives_180_days_and_no_more() {
    let world = World::new();
    let issued = NOW;
    let client = world.client(issued);
    let now = |days: i64| issued.plus_ms((14 + days) * DAY_MS);
    let meet = async |days: i64, revoked: &[&Client]| {
        let now = now(days);
        let door = renewal(&world.identity, &world.trust(revoked, now), &at(now)).expect("a configuration");
        // The client's own clock stands where the server's certificate is valid.
        world.meet(door, Some(&client), NOW.plus_ms(181 * DAY_MS)).await
    };
    assert_eq!(meet(90, &[]).await, Ok(()));
    assert_eq!(meet(179, &[]).await, Ok(()));
    assert!(meet(200, &[]).await.expect_err("refused").contains("expired"));
    assert!(
        meet(90, &[&client])
            .await
            .expect_err("refused")
            .contains("Revoked")
    );
}

#[tokio::test]
async fn a_servers_certificate_is_no_clients() {
    let world = World::new();
    let now = NOW.plus_ms(181 * DAY_MS);
    let client = Client {
        serial: Serial([0x40; 16]),
        chain: world.identity.chain.clone(),
        key: world.identity.key.clone_key(),
    };
    let door = enrol(&world.identity, &world.trust(&[], now), &at(now)).expect("a configuration");
    let refused = world.meet(door, Some(&client), now).await.expect_err("refused");
    assert!(refused.contains("client authentication"), "{refused}");
}

#[tokio::test]
async fn enrolment_admits_a_client_without_a_certificate() {
    let world = World::new();
    let now = NOW.plus_ms(181 * DAY_MS);
    let door = enrol(&world.identity, &world.trust(&[], now), &at(now)).expect("a configuration");
    assert_eq!(world.meet(door, None, now).await, Ok(()));
}

#[test]
fn a_new_list_holds_from_the_next_connection() {
    let world = World::new();
    let trust = world.trust(&[], NOW);
    let doors = Doors::open(&world.identity, &world.identity, &trust, &at(NOW)).expect("doors");
    let mut gate = doors.gate();
    let before = Arc::clone(&gate.borrow_and_update());
    doors
        .refresh(&world.identity, &world.identity, &trust)
        .expect("refreshed");
    assert!(gate.has_changed().expect("open"));
    let after = Arc::clone(&gate.borrow_and_update());
    assert!(Arc::ptr_eq(&before.ticketer, &after.ticketer));
    assert!(!Arc::ptr_eq(&before, &after));
}

#[tokio::test]
async fn a_ticket_resumes_until_somebody_is_revoked() {
    let world = World::new();
    let now = NOW.plus_ms(181 * DAY_MS);
    let (client, other) = (world.client(now), world.client(now));
    let trust = world.trust(&[], now);
    let id = &world.identity;
    let doors = Doors::open(id, id, &trust, &at(now)).expect("doors");
    let config = world.config(Some(&client), now);
    let meet = || handshake(Arc::clone(&doors.gate().borrow()), Arc::clone(&config));
    assert_eq!(meet().await, Ok(HandshakeKind::Full));
    assert_eq!(meet().await, Ok(HandshakeKind::Resumed));
    doors.refresh(id, id, &world.trust(&[], now)).expect("refreshed");
    assert_eq!(meet().await, Ok(HandshakeKind::Resumed));
    doors
        .refresh(id, id, &world.trust(&[&other], now))
        .expect("refreshed");
    assert_eq!(meet().await, Ok(HandshakeKind::Full));
    assert_eq!(meet().await, Ok(HandshakeKind::Resumed));
    doors
        .refresh(id, id, &world.trust(&[&other, &client], now))
        .expect("refreshed");
    let refused = meet().await.expect_err("refused");
    assert!(refused.contains("Revoked"), "{refused}");
}

#[tokio::test]
async fn where_certificates_renew_nothing_resumes() {
    let world = World::new();
    let now = NOW.plus_ms(181 * DAY_MS);
    let client = world.client(now);
    let trust = world.trust(&[], now);
    for door in [
        enrol(&world.identity, &trust, &at(now)),
        renewal(&world.identity, &trust, &at(now)),
    ] {
        let (door, config) = (door.expect("a configuration"), world.config(Some(&client), now));
        for _ in 0..3 {
            let kind = handshake(Arc::clone(&door), Arc::clone(&config)).await;
            assert_eq!(kind, Ok(HandshakeKind::Full));
        }
    }
}
