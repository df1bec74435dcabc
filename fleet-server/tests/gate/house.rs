//! A gate with its authority and a store that can be made slow, on a free port.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use homeward_fleet::ca::Authority;
use homeward_fleet::ca::signer::serial;
use homeward_fleet::clock::Clock;
use homeward_fleet::gate::{Connections, Gate, Limits, Passage, Revoked, Testimony, Uplink, Why, listen};
use homeward_fleet::support::hub::Hub;
use homeward_fleet::tls::known::Proved;
use homeward_fleet::tls::{self, Trust};
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use rcgen::{KeyPair, PublicKeyData};
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ProducesTickets;
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::Client;

/// What a person would call at once.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Long enough for anything that happens at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the store does with an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storing {
    /// Stores it after this long.
    After(Duration),
    /// Takes nothing until told otherwise.
    Held,
    /// Fails each transaction.
    Fails,
}

/// A gate and what is around it.
pub(crate) struct House {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) connections: Connections,
    pub(crate) revoked: Revoked,
    pub(crate) storing: watch::Sender<Storing>,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<()>,
    tls: watch::Sender<Arc<ServerConfig>>,
    tickets: Arc<dyn ProducesTickets>,
    stored: Arc<Mutex<HashMap<GatewayId, Vec<Bytes>>>>,
    passages: Arc<Mutex<Vec<Passage>>>,
    /// What gateways said of themselves.
    pub(crate) heard: Arc<Mutex<Vec<Testimony>>>,
    folder: tempfile::TempDir,
}

impl House {
    /// With the usual limits, and room for a hundred gateways.
    pub(crate) async fn open() -> House {
        House::with(Limits::default(), 100).await
    }

    pub(crate) async fn with(limits: Limits, gateways: usize) -> House {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::system();
        let domain = "test.example".parse().expect("a domain");
        let authority =
            Authority::init(&folder.path().join("ca"), domain, clock.now()).expect("an authority");
        let tickets = tls::tickets().expect("tickets");
        let tls = watch::Sender::new(config(&authority, folder.path(), &tickets, &[]));
        let (uplinks, incoming) = mpsc::channel(64);
        let (passages, mut comings) = mpsc::channel(64);
        let (testimonies, hearing) = mpsc::channel(64);
        let gate = Gate {
            support: Hub::new().0,
            domain: authority.trust_domain().clone(),
            connections: Connections::new(gateways),
            revoked: Revoked::default(),
            uplinks,
            testimonies,
            passages,
            limits,
            clock,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (connections, revoked) = (gate.connections.clone(), gate.revoked.clone());
        let stop = CancellationToken::new();
        let served = tokio::spawn(listen::serve(listener, tls.subscribe(), gate, stop.clone()));
        let stored = Arc::default();
        let storing = watch::Sender::new(Storing::After(Duration::ZERO));
        tokio::spawn(store(incoming, Arc::clone(&stored), storing.subscribe()));
        let heard: Arc<Mutex<Vec<Testimony>>> = Arc::default();
        tokio::spawn(hear(hearing, Arc::clone(&heard)));
        let seen: Arc<Mutex<Vec<Passage>>> = Arc::default();
        let book = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Some(passage) = comings.recv().await {
                book.lock().expect("unpoisoned").push(passage);
            }
        });
        House {
            address,
            authority,
            connections,
            revoked,
            storing,
            stop,
            served,
            tls,
            tickets,
            stored,
            passages: seen,
            heard,
            folder,
        }
    }

    /// A client's configuration with a new certificate for this gateway. It keeps TLS tickets.
    pub(crate) fn credentials(&self, gateway: &str) -> Arc<ClientConfig> {
        let key = KeyPair::generate().expect("a key");
        credentials(&self.authority, gateway, &key)
    }

    /// A client's configuration with this certificate.
    pub(crate) fn client_config(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: &KeyPair,
    ) -> Arc<ClientConfig> {
        client_config(&self.authority, ALL_VERSIONS, Some((chain, key)))
    }

    /// A client's configuration with these TLS versions, and a certificate if it has one.
    pub(crate) fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        certificate: Option<(Vec<CertificateDer<'static>>, &KeyPair)>,
    ) -> Arc<ClientConfig> {
        client_config(&self.authority, versions, certificate)
    }

    /// Where the authority's keys are.
    pub(crate) fn authority_folder(&self) -> PathBuf {
        self.folder.path().join("ca")
    }

    /// Changes the configuration for the connections that come after.
    pub(crate) fn change_tls<T>(&self, change: impl FnOnce(&mut ServerConfig) -> T) -> T {
        let mut config = (**self.tls.borrow()).clone();
        let made = change(&mut config);
        self.tls.send_replace(Arc::new(config));
        made
    }

    /// Loads a revocation list with these certificates' serial numbers.
    pub(crate) fn load_crl(&self, revoked: &[homeward_fleet::ca::Revoked]) {
        let config = config(&self.authority, self.folder.path(), &self.tickets, revoked);
        self.tls.send_replace(config);
    }

    /// A connection that has said CONNECT and was let in.
    pub(crate) async fn connect(&self, gateway: &str) -> Client {
        let mut client = Client::dial(self.address, self.credentials(gateway))
            .await
            .expect("TLS");
        client.greet(gateway).await;
        client
    }

    /// The promise after each attack.
    pub(crate) async fn serves_an_honest_gateway(&self) {
        let credentials = self.credentials("gw-honest");
        let before = self.stored("gw-honest").len();
        let began = Instant::now();
        let mut client = Client::dial(self.address, credentials)
            .await
            .expect("an honest gateway gets in");
        client.greet("gw-honest").await;
        client.publish("hw1/gw-honest/up/vital", 1, b"reading").await;
        assert_eq!(client.next_puback().await, 1);
        let took = began.elapsed();
        assert!(took < AT_ONCE, "an honest gateway waited {took:?}");
        assert_eq!(self.stored("gw-honest").len(), before + 1);
        client.goodbye().await;
    }

    /// What the store holds of a gateway, in the order it came.
    pub(crate) fn stored(&self, gateway: &str) -> Vec<Bytes> {
        let gateway: GatewayId = gateway.parse().expect("an id");
        let stored = self.stored.lock().expect("unpoisoned");
        stored.get(&gateway).cloned().unwrap_or_default()
    }

    /// How many uplinks the store holds, of all.
    pub(crate) fn stored_in_all(&self) -> usize {
        self.stored
            .lock()
            .expect("unpoisoned")
            .values()
            .map(Vec::len)
            .sum()
    }

    /// Waits for the next end of a gateway's connection that was not asked for yet, and says why.
    pub(crate) async fn left(&self, gateway: &str) -> Why {
        let gateway: GatewayId = gateway.parse().expect("an id");
        let mut found = None;
        until("the connection ended", || {
            let mut passages = self.passages.lock().expect("unpoisoned");
            let ended =
                |passage: &Passage| matches!(passage, Passage::Left { gateway: who, .. } if *who == gateway);
            found = passages.iter().position(ended).map(|at| passages.remove(at));
            found.is_some()
        })
        .await;
        match found {
            Some(Passage::Left { why, .. }) => why,
            other => panic!("just found: {other:?}"),
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A client's configuration with a new certificate for this gateway over this key.
pub(crate) fn credentials(authority: &Authority, gateway: &str, key: &KeyPair) -> Arc<ClientConfig> {
    let gateway = gateway.parse().expect("a gateway id");
    let spki = PublicKey::from_spki(&key.subject_public_key_info()).expect("P-256");
    let (now, serial) = (Clock::system().now(), serial().expect("randomness"));
    let issued = authority.issue_gateway(&spki, &gateway, serial, now);
    let chain = vec![issued.expect("a certificate").der];
    client_config(authority, ALL_VERSIONS, Some((chain, key)))
}

fn client_config(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    certificate: Option<(Vec<CertificateDer<'static>>, &KeyPair)>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in authority.trust_bundle() {
        roots.add(root).expect("a root");
    }
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match certificate {
        None => client.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
            client.with_client_auth_cert(chain, key).expect("a client")
        }
    };
    config.resumption = Resumption::in_memory_sessions(4);
    Arc::new(config)
}

/// Writes down what is said, and acknowledges it.
async fn hear(mut hearing: mpsc::Receiver<Testimony>, heard: Arc<Mutex<Vec<Testimony>>>) {
    while let Some(mut testimony) = hearing.recv().await {
        let (unused, _) = oneshot::channel();
        let _ = std::mem::replace(&mut testimony.done, unused).send(());
        heard.lock().expect("unpoisoned").push(testimony);
    }
}

async fn store(
    mut incoming: mpsc::Receiver<Uplink>,
    stored: Arc<Mutex<HashMap<GatewayId, Vec<Bytes>>>>,
    mut storing: watch::Receiver<Storing>,
) {
    while let Some(uplink) = incoming.recv().await {
        let open = storing.wait_for(|storing| *storing != Storing::Held).await;
        let now = *open.expect("the house stands");
        match now {
            Storing::Fails => continue,
            Storing::After(wait) if !wait.is_zero() => tokio::time::sleep(wait).await,
            _ => {}
        }
        let mut stored = stored.lock().expect("unpoisoned");
        stored.entry(uplink.gateway).or_default().push(uplink.payload);
        let _ = uplink.done.send(());
    }
}

fn config(
    authority: &Authority,
    folder: &Path,
    tickets: &Arc<dyn ProducesTickets>,
    revoked: &[homeward_fleet::ca::Revoked],
) -> Arc<ServerConfig> {
    let clock = Clock::system();
    let names = [ServerName::try_from("localhost").expect("a name")];
    let identity = authority
        .server_identity(folder, &names, clock.now())
        .expect("an identity");
    let trust = Trust::of(authority, revoked, clock.now()).expect("trust");
    tls::gate(&identity, &trust, tickets, &Proved::default(), &clock).expect("a configuration")
}
