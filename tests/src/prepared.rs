//! Shell: a fleet whose gateways are enrolled without asking the server: for loads that start at the gate.
//!
//! The authority is the server's own, opened from its folder; rows are written by the server's own store.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: prepares files and starts the server"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use homeward_agent::identity::keys::DeviceKey;
use homeward_fleet::ca::{Authority, Issued, signer};
use homeward_fleet::clock::Clock;
use homeward_fleet::device::State;
use homeward_fleet::place::Place;
use homeward_fleet::store::certificates::Timing;
use homeward_fleet::store::{self, Store, StoreConfig};
use homeward_protocol::envelope::{ChainHash, Entry, Envelope, Item, Lane};
use homeward_protocol::grade::Grade;
use homeward_protocol::id::{Epoch, GatewayId, Seq};
use homeward_protocol::reading::{Details, Kind, Quality, Reading, Value};
use homeward_protocol::signed::Signed;
use homeward_protocol::time::Timestamp;
use homeward_protocol::unit::Decimal;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::load::{LoadError, Target};
use crate::programs::Program;
use crate::programs::fleet::Fleet;

/// One enrolled gateway with its key.
#[derive(Clone)]
pub struct Member {
    /// Its name.
    pub id: GatewayId,
    /// Its certificate and the intermediate.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: Arc<DeviceKey>,
}

impl Member {
    /// Signed envelopes of so many readings each, in order, without end, signed as they are asked for.
    pub fn envelopes(&self, readings: u64) -> impl Iterator<Item = Vec<u8>> + use<> {
        let (epoch, lane) = (Epoch(fresh_epoch()), Lane::Vital);
        let (gateway, key) = (self.id.clone(), Arc::clone(&self.key));
        let mut head = ChainHash::start(epoch, lane);
        let start = Clock::system().now();
        (0u64..).map(move |n| {
            let first = n * readings + 1;
            let at = start.plus_ms(i64::try_from(first).unwrap_or(0));
            let prev = head;
            let entries = (first..first + readings)
                .map(|n| {
                    let reading = reading(n, start.plus_ms(i64::try_from(n).unwrap_or(0)));
                    let body = Item::Reading(reading).encode().expect("a reading is short");
                    head = head.then(&body.0);
                    Entry::Item(body)
                })
                .collect();
            let envelope = Envelope {
                gateway: gateway.clone(),
                epoch,
                lane,
                oldest: Seq(1),
                first: Seq(first),
                prev,
                sent_at: at,
                entries,
            };
            Signed::seal(&envelope, &*key).expect("an envelope of some readings is valid")
        })
    }
}

fn fresh_epoch() -> u64 {
    signer::random()
        .map(u64::from_be_bytes)
        .expect("the system has randomness")
}

/// A plausible reading, different for each `n` of a run.
pub fn reading(n: u64, at: Timestamp) -> Reading {
    Reading {
        sensor: "room".parse().expect("an id"),
        kind: Kind::AirTemperature,
        value: Value::Number(Decimal::new(200 + i64::try_from(n % 50).unwrap_or(0), -1).expect("in range")),
        taken_at: at,
        quality: Quality::Good,
        grade: Grade::Associated,
        details: Details::default(),
    }
}

/// A server's folder with enrolled gateways, not yet running.
pub struct Prepared {
    fleet: Fleet,
    place: Place,
    authority: Authority,
    members: Vec<Member>,
}

impl Prepared {
    /// Makes the folder and `members` gateways.
    pub fn new(folder: &Path, members: usize) -> Result<Prepared, LoadError> {
        let fleet = Fleet::init(folder, &["--name", "localhost"]);
        let place = Place::at(folder);
        let authority = Authority::open(&place.authority()).map_err(|e| e.to_string())?;
        let now = Clock::system().now();
        let made: Result<Vec<(Member, Issued)>, LoadError> =
            (0..members).map(|n| member(&authority, n, now)).collect();
        let (members, issued): (Vec<Member>, Vec<Issued>) = made?.into_iter().unzip();
        let rows: Vec<_> = members.iter().map(|m| m.id.clone()).zip(issued).collect();
        let store = store::open(&StoreConfig::Sqlite(place.database())).map_err(|e| e.to_string())?;
        enrol(&store, rows, now)?;
        Ok(Prepared {
            fleet,
            place,
            authority,
            members,
        })
    }

    /// The gateways.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The server's folder.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Starts the server and waits until it listens.
    pub fn start(&mut self) -> &mut Program {
        let nothing: [&str; 0] = [];
        self.fleet.serve(&nothing);
        self.fleet.program()
    }

    /// Runs one command of the CLI on its folder, also while it runs.
    ///
    /// # Panics
    /// When the command fails.
    pub fn command(&self, args: &[&str]) -> String {
        self.fleet.run(args).ok()
    }

    /// Ends the server.
    pub fn stop(&mut self) {
        self.fleet.stop();
    }

    /// Ends the server as a power cut does.
    pub fn kill(&mut self) {
        self.fleet.kill();
    }

    /// The running server's gate.
    pub fn gate(&self) -> Result<Target, LoadError> {
        self.target(self.fleet.port("gate"))
    }

    /// Whatever listens on `port` of this machine with a certificate of the same authority.
    pub fn target(&self, port: u16) -> Result<Target, LoadError> {
        let mut roots = rustls::RootCertStore::empty();
        for root in self.authority.trust_bundle() {
            roots.add(root).map_err(|e| e.to_string())?;
        }
        Ok(Target {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            name: ServerName::try_from("localhost").map_err(|e| e.to_string())?,
            roots: Arc::new(roots),
        })
    }

    /// What gateways trust.
    pub fn trust(&self) -> Vec<CertificateDer<'static>> {
        self.authority.trust_bundle()
    }

    /// The running server's port at one of its doors.
    pub fn port(&self, door: &str) -> u16 {
        self.fleet.port(door)
    }

    /// Everything that verifies gateways, as one PEM text: for a broker that is to admit the same ones.
    pub fn trust_pem(&self) -> String {
        let roots = self.authority.trust_bundle();
        let all = std::iter::once(self.authority.gateway_issuer()).chain(&roots);
        all.map(signer::pem).collect()
    }
}

fn member(authority: &Authority, n: usize, now: Timestamp) -> Result<(Member, Issued), LoadError> {
    let key = DeviceKey::make().map_err(|e| e.to_string())?;
    let id: GatewayId = format!("gw-load-{n:05}").parse().map_err(|e| format!("{e}"))?;
    let serial = signer::serial().map_err(|e| e.to_string())?;
    let public = key.public().map_err(|e| e.to_string())?;
    let issued = authority
        .issue_gateway(&public, &id, serial, now)
        .map_err(|e| e.to_string())?;
    let chain = vec![issued.der.clone(), authority.gateway_issuer().clone()];
    let member = Member {
        id,
        chain,
        key: Arc::new(key),
    };
    Ok((member, issued))
}

/// Writes the rows that an enrolment writes. On a thread and a runtime of its own, so that it can be called anywhere.
fn enrol(store: &Store, rows: Vec<(GatewayId, Issued)>, now: Timestamp) -> Result<(), LoadError> {
    let written = store.write(move |tx| {
        for (id, issued) in rows {
            store::gateways::add(tx, &id, None, now)?;
            store::certificates::add(tx, &id, &issued, Timing::InTime, now)?;
            store::gateways::advance(tx, &id, State::Expected, State::Enrolled, now)?;
        }
        Ok(())
    });
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|e| e.to_string())?;
        runtime.block_on(written).map_err(|e| e.to_string())
    };
    std::thread::scope(|scope| scope.spawn(work).join()).map_err(|_| "the writer panicked".to_owned())?
}
