use std::collections::BTreeMap;
use std::time::Instant;

use homeward_devices::link::LinkError;
use homeward_devices::modbus::bus::Bus;
use homeward_devices::modbus::tcp::Tcp;
use homeward_devices::modbus::tls::{self, Pem};
use homeward_devices::modbus::{Ask, Request, Write};
use homeward_devices::profile::{Function, Profile};
use homeward_protocol::alarm::Condition;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, IsCa, KeyPair, SanType};
use rustls::time_provider::DefaultTimeProvider;

use super::*;
use crate::guard::tests::PROFILE;
use crate::guard::{Allow, Guarded, Peer, Rules};

/// A device that keeps what is written, and remembers it.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    registers: BTreeMap<u16, u16>,
    writes: Vec<Write>,
}

impl Held {
    fn writes(&self) -> Vec<Write> {
        self.0.lock().expect("unpoisoned").writes.clone()
    }
}

impl Registers for Held {
    async fn call(&mut self, _: u8, ask: Ask) -> Result<Answer, LinkError> {
        let mut held = self.0.lock().expect("unpoisoned");
        match ask {
            Ask::Read(Request { address, count, .. }) => {
                let value = |n| held.registers.get(&(address + n)).copied().unwrap_or(address + n);
                Ok(Answer::Words((0..count).map(value).collect()))
            }
            Ask::Write(write) => {
                held.registers.insert(write.address(), write.words()[0]);
                held.writes.push(write);
                Ok(Answer::Written)
            }
            Ask::Identify(_) => Err(LinkError::Exception { code: 1 }),
        }
    }

    async fn read(&mut self, unit: u8, request: Request) -> Result<Vec<u16>, LinkError> {
        let answer = self.call(unit, Ask::Read(request)).await?;
        answer.words().ok_or(LinkError::Mismatch)
    }
}

struct Scene {
    address: String,
    device: Held,
    records: mpsc::Receiver<Vec<Item>>,
    _stop: tokio_util::sync::DropGuard,
}

/// A guard on a free port. Peers are 127.0.0.1 when plain; with TLS `operator`, who may write, and `monitor`.
async fn scene(tls: Option<Arc<ServerConfig>>) -> Scene {
    let allow = |functions: &[u8], first, last| Allow {
        unit: 1,
        functions: functions.to_vec(),
        first,
        last,
    };
    let peer = |role: Option<&str>, allow| Peer {
        from: Some("127.0.0.0/8".parse().expect("a network")),
        role: role.map(|r| r.parse().expect("a role")),
        allow,
    };
    let all = vec![allow(&[3], 0, 20), allow(&[6], 10, 20)];
    let peers = if tls.is_some() {
        vec![
            peer(Some("operator"), all),
            peer(Some("monitor"), vec![allow(&[3], 0, 20)]),
        ]
    } else {
        vec![peer(None, all)]
    };
    let guarded = Guarded {
        sensor: "pump".parse().expect("an id"),
        profile: Arc::new(Profile::parse(PROFILE).expect("a profile")),
    };
    let rules = Rules {
        units: BTreeMap::from([(1, guarded)]),
        before: "pump".parse().expect("an id"),
        peers,
        secured: tls.is_some(),
        writes: None,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listen = listener.local_addr().expect("bound");
    let (records_tx, mut records) = mpsc::channel(8);
    let clock = Arc::new(Clock::with_floor(0));
    let device = Held::default();
    let post = Post {
        listen,
        tls,
        guest: Bus::new(device.clone()).guest(Duration::from_secs(5)),
        guard: Guard::new(rules, clock.now(), clock.uptime()),
        clock,
        habits: tokio::sync::watch::channel(Arc::default()).1,
        records: records_tx,
    };
    let stop = CancellationToken::new();
    tokio::spawn(post.serve(listener, stop.clone()));
    let first = records
        .recv()
        .await
        .expect("it begins by saying that no alarm stands");
    assert!(matches!(first.as_slice(), [Item::Alarm(alarm)] if !alarm.active));
    Scene {
        address: listen.to_string(),
        device,
        records,
        _stop: stop.drop_guard(),
    }
}

fn master(address: &str) -> Tcp {
    Tcp::new(address.to_owned(), Duration::from_secs(5))
}

const fn write(address: u16) -> Ask {
    Ask::Write(Write::Register { address, value: 77 })
}

const fn registers(address: u16, count: u16) -> Request {
    Request {
        function: Function::HoldingRegisters,
        address,
        count,
    }
}

fn refused(result: &Result<Answer, LinkError>, wanted: u8) -> bool {
    matches!(result, Err(LinkError::Exception { code }) if *code == wanted)
}

#[tokio::test]
async fn a_refused_write_never_reaches_the_device_and_is_raised_within_a_second() {
    let mut scene = scene(None).await;
    let mut master = master(&scene.address);
    assert_eq!(master.read(1, registers(3, 2)).await.expect("allowed"), [3, 4]);
    let start = Instant::now();
    assert!(refused(&master.call(1, write(9)).await, 2));
    let items = scene.records.recv().await.expect("it is raised");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    println!("from the refused write to its alarm: {took:?}");
    let [Item::Alarm(alarm), Item::Write(attempt)] = items.as_slice() else {
        panic!("{items:?}")
    };
    assert!(alarm.active && alarm.condition == Condition::WriteRefused);
    assert!(matches!(attempt.outcome, Outcome::Refused(_)) && attempt.peer.as_str() == "127.0.0.1");
    assert!(refused(&master.call(2, write(10)).await, 1), "another unit");
    assert!(scene.device.writes().is_empty(), "nothing reached the device");

    assert_eq!(master.call(1, write(10)).await.expect("allowed"), Answer::Written);
    assert_eq!(scene.device.writes().len(), 1);
    assert_eq!(master.read(1, registers(10, 1)).await.expect("allowed"), [77]);
}

#[tokio::test]
async fn nonsense_and_silence_end_their_own_connection_only() {
    let scene = scene(None).await;
    let mut silent = TcpStream::connect(&scene.address).await.expect("connects");
    silent.write_all(&[0, 1, 0]).await.expect("half a header");
    let mut loud = TcpStream::connect(&scene.address).await.expect("connects");
    loud.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    let mut end = Vec::new();
    let closed = timeout(Duration::from_secs(5), loud.read_to_end(&mut end)).await;
    assert!(
        closed.is_ok() && end.is_empty(),
        "the nonsense is closed unanswered"
    );
    let mut master = master(&scene.address);
    assert_eq!(master.read(1, registers(3, 1)).await.expect("others go on"), [3]);
}

#[tokio::test]
async fn more_connections_than_there_are_seats_are_closed() {
    let scene = scene(None).await;
    let mut held = Vec::new();
    for _ in 0..crate::guard::seats::SEATS_OF_ONE {
        let mut master = master(&scene.address);
        master.read(1, registers(3, 1)).await.expect("there is a seat");
        held.push(master);
    }
    let refused = master(&scene.address).read(1, registers(3, 1)).await;
    assert!(matches!(refused, Err(LinkError::Broken { .. })), "{refused:?}");
    held.pop();
    for _ in 0..50 {
        if master(&scene.address).read(1, registers(3, 1)).await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("a seat that was left is not given again");
}

/// A site's authority, and certificates by it as PEM: certificate, key.
struct Site(CertifiedIssuer<'static, KeyPair>);

impl Site {
    fn new() -> Site {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Site(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    fn leaf(&self, role: Option<&str>) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.subject_alt_names = vec![SanType::IpAddress(IpAddr::from([127, 0, 0, 1]))];
        if let Some(role) = role {
            let length = u8::try_from(role.len()).expect("short");
            let value = [&[0x0c, length], role.as_bytes()].concat();
            let oid = [1, 3, 6, 1, 4, 1, 50316, 802, 1];
            params.custom_extensions = vec![CustomExtension::from_oid_content(&oid, value)];
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn master(&self, address: &str, (certificate, key): &(String, String)) -> Tcp {
        let authority = self.0.pem();
        let pem = Pem {
            authority: authority.as_bytes(),
            certificate: certificate.as_bytes(),
            key: key.as_bytes(),
        };
        let secured = tls::client(pem, "127.0.0.1", Arc::new(DefaultTimeProvider)).expect("usable");
        Tcp::secured(address.to_owned(), Duration::from_secs(5), secured)
    }

    fn server(&self) -> Arc<ServerConfig> {
        let (authority, (certificate, key)) = (self.0.pem(), self.leaf(None));
        let pem = Pem {
            authority: authority.as_bytes(),
            certificate: certificate.as_bytes(),
            key: key.as_bytes(),
        };
        tls::server(pem, Arc::new(DefaultTimeProvider)).expect("usable")
    }
}

#[tokio::test]
async fn a_role_decides_and_no_certificate_no_authority_no_role_have_no_rights() {
    let site = Site::new();
    let mut scene = scene(Some(site.server())).await;
    // Somebody who never ends a handshake keeps nobody waiting.
    let _silent = TcpStream::connect(&scene.address).await.expect("connects");

    let mut operator = site.master(&scene.address, &site.leaf(Some("operator")));
    assert_eq!(
        operator.call(1, write(10)).await.expect("allowed"),
        Answer::Written
    );
    let mut monitor = site.master(&scene.address, &site.leaf(Some("monitor")));
    assert_eq!(monitor.read(1, registers(3, 1)).await.expect("allowed"), [3]);
    assert!(refused(&monitor.call(1, write(10)).await, 1));
    let mut nobody = site.master(&scene.address, &site.leaf(None));
    assert!(refused(&nobody.call(1, Ask::Read(registers(3, 1))).await, 1));
    assert!(refused(&nobody.call(1, write(10)).await, 1));
    assert_eq!(scene.device.writes().len(), 1, "the operator's only");

    let mut peers = Vec::new();
    while peers.len() < 3 {
        let items = timeout(Duration::from_secs(5), scene.records.recv()).await;
        let attempts = items
            .expect("in time")
            .expect("records")
            .into_iter()
            .filter_map(|item| match item {
                Item::Write(attempt) => Some(attempt.peer.as_str().to_owned()),
                _ => None,
            });
        peers.extend(attempts);
    }
    assert_eq!(
        peers,
        ["operator at 127.0.0.1", "monitor at 127.0.0.1", "127.0.0.1"]
    );

    let other = Site::new();
    let (certificate, key) = other.leaf(Some("operator"));
    let authority = site.0.pem();
    let pem = Pem {
        authority: authority.as_bytes(),
        certificate: certificate.as_bytes(),
        key: key.as_bytes(),
    };
    let secured = tls::client(pem, "127.0.0.1", Arc::new(DefaultTimeProvider)).expect("usable");
    let mut foreign = Tcp::secured(scene.address.clone(), Duration::from_secs(5), secured);
    let error = foreign
        .call(1, write(10))
        .await
        .expect_err("of another authority");
    assert!(!error.answered(), "{error:?}");
    let mistrust = other
        .master(&scene.address, &other.leaf(Some("operator")))
        .call(1, write(10))
        .await;
    assert!(
        matches!(mistrust, Err(LinkError::Untrusted { .. })),
        "{mistrust:?}"
    );
    let plain = master(&scene.address).call(1, write(10)).await;
    assert!(plain.is_err(), "there is no way around TLS: {plain:?}");
    assert_eq!(scene.device.writes().len(), 1);
}
