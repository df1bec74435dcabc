//! Just enough of a gate and a store: the rules of delivery, with connections cut and acknowledgements lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use homeward_protocol::ack::{Ack, Next};
use homeward_protocol::claim::Endpoint;
use homeward_protocol::envelope::{ChainHash, Entry, Envelope, Item, Lane};
use homeward_protocol::id::Seq;
use homeward_protocol::policy::state::PolicyState;
use homeward_protocol::reading::Value;
use homeward_protocol::signed::{PublicKey, Signed};
use homeward_protocol::topic::Topic;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    ConnAck, ConnectReturnCode, Packet, PingResp, PubAck, Publish, SubAck, SubscribeReasonCode,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;

pub(crate) struct Gate {
    state: Arc<Mutex<State>>,
    endpoint: Endpoint,
    hints: broadcast::Sender<(Topic, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    streams: HashMap<(u64, Lane), BTreeMap<u64, ChainHash>>,
    readings: Vec<i64>,
    not_held: u64,
    faults: Vec<String>,
    connections: usize,
    certificate: Option<Vec<u8>>,
    publishes: usize,
    cut_each: usize,
    lose_acks: usize,
    shut: bool,
    policies: Vec<PolicyState>,
}

impl Gate {
    pub(crate) async fn start(authority: Arc<Authority>) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = listener
            .local_addr()
            .expect("bound")
            .to_string()
            .parse()
            .expect("an endpoint");
        let state = Arc::new(Mutex::new(State::default()));
        let acceptor = TlsAcceptor::from(authority.listener(true));
        let (hints, _) = broadcast::channel(8);
        let (serving, sender) = (Arc::clone(&state), hints.clone());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&serving));
                let hints = sender.subscribe();
                tokio::spawn(async move { serve(tcp, acceptor, state, hints).await });
            }
        });
        Gate {
            state,
            endpoint,
            hints,
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().expect("not poisoned"))
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    pub(crate) fn cut_each(&self, publishes: usize) {
        self.with(|state| state.cut_each = publishes);
    }

    pub(crate) fn lose_acks(&self, each: usize) {
        self.with(|state| state.lose_acks = each);
    }

    pub(crate) fn hint(&self, word: &str) {
        self.send(
            Topic::Hint("gw-test".parse().expect("an id")),
            word.as_bytes().to_vec(),
        );
    }

    /// Sends something down to whoever is connected now.
    pub(crate) fn send(&self, topic: Topic, payload: Vec<u8>) {
        let _nobody = self.hints.send((topic, payload));
    }

    /// No new connection gets through from now on, or does again: as rules that cut the server off would do it.
    pub(crate) fn shut(&self, shut: bool) {
        self.with(|state| state.shut = shut);
    }

    /// The newest that the box said of its policy.
    pub(crate) fn policy(&self) -> Option<PolicyState> {
        self.with(|state| state.policies.last().cloned())
    }

    /// As if the store had been lost.
    pub(crate) fn forget_everything(&self) {
        self.with(|state| {
            state.streams.clear();
            state.readings.clear();
        });
    }

    pub(crate) fn readings(&self) -> Vec<i64> {
        self.with(|state| state.readings.clone())
    }

    pub(crate) fn not_held(&self) -> u64 {
        self.with(|state| state.not_held)
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.with(|state| state.faults.clone())
    }

    pub(crate) fn connections(&self) -> usize {
        self.with(|state| state.connections)
    }

    pub(crate) fn last_certificate(&self) -> Option<Vec<u8>> {
        self.with(|state| state.certificate.clone())
    }
}

async fn serve(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    state: Arc<Mutex<State>>,
    mut hints: broadcast::Receiver<(Topic, Vec<u8>)>,
) {
    if state.lock().expect("not poisoned").shut {
        return;
    }
    let Ok(mut tls) = acceptor.accept(tcp).await else {
        return;
    };
    let leaf = tls.get_ref().1.peer_certificates().expect("a client certificate")[0].to_vec();
    let spki = {
        use x509_parser::prelude::FromDer as _;
        let (_, cert) = x509_parser::prelude::X509Certificate::from_der(&leaf).expect("a certificate");
        cert.public_key().raw.to_vec()
    };
    let key = PublicKey::from_spki(&spki).expect("a P-256 key");
    state.lock().expect("not poisoned").certificate = Some(leaf);
    let (mut buffer, mut out) = (BytesMut::new(), BytesMut::new());
    loop {
        match Packet::read(&mut buffer, 70_000) {
            Ok(packet) => {
                if !handle(packet, &key, &state, &mut out) {
                    return;
                }
                continue;
            }
            Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
            Err(_) => return,
        }
        if tls.write_all(&out).await.is_err() || tls.flush().await.is_err() {
            return;
        }
        out.clear();
        tokio::select! {
            got = tls.read_buf(&mut buffer) => if got.unwrap_or(0) == 0 { return },
            Ok((topic, payload)) = hints.recv() => {
                Publish::new(topic.to_string(), QoS::AtMostOnce, payload).write(&mut out).expect("fits");
            }
        }
    }
}

/// False when the connection is to be cut.
fn handle(packet: Packet, key: &PublicKey, state: &Mutex<State>, out: &mut BytesMut) -> bool {
    let mut state = state.lock().expect("not poisoned");
    match packet {
        Packet::Connect(_) => {
            state.connections += 1;
            ConnAck::new(ConnectReturnCode::Success, false)
                .write(out)
                .expect("fits");
        }
        Packet::Subscribe(subscribe) => {
            let granted = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce); subscribe.filters.len()];
            SubAck::new(subscribe.pkid, granted).write(out).expect("fits");
        }
        Packet::PingReq => {
            PingResp.write(out).expect("fits");
        }
        Packet::Publish(publish) => {
            state.publishes += 1;
            let n = state.publishes;
            if state.cut_each > 0 && n.is_multiple_of(state.cut_each) {
                return false;
            }
            let ack = state.take(&publish.payload, key);
            PubAck::new(publish.pkid).write(out).expect("fits");
            let Some(ack) = ack.filter(|_| state.lose_acks == 0 || !n.is_multiple_of(state.lose_acks)) else {
                return true;
            };
            let topic = Topic::Ack("gw-test".parse().expect("an id")).to_string();
            let mut down = Publish::new(topic, QoS::AtLeastOnce, ack.encode().expect("fits"));
            down.pkid = u16::try_from(n % 60_000 + 1).expect("small");
            down.write(out).expect("fits");
        }
        Packet::Disconnect => return false,
        _ => {}
    }
    true
}

impl State {
    /// The rules of delivery, one envelope.
    fn take(&mut self, payload: &[u8], key: &PublicKey) -> Option<Ack> {
        let signed = Signed::<Envelope>::parse(payload).and_then(|signed| signed.verify(key));
        let envelope = match signed {
            Ok(verified) => verified.into_inner(),
            Err(error) => {
                self.faults.push(error.to_string());
                return None;
            }
        };
        let (epoch, lane) = (envelope.epoch, envelope.lane);
        let stream = self
            .streams
            .entry((epoch.0, lane))
            .or_insert_with(|| BTreeMap::from([(0, ChainHash::start(epoch, lane))]));
        let (&up_to, _) = stream.last_key_value().expect("begins at 0");
        let mut ack = Ack {
            epoch,
            lane,
            up_to: Seq(up_to),
            next: Next::Continue,
        };
        let before = envelope.first.0 - 1;
        if before > up_to {
            if envelope.first != envelope.oldest {
                return Some(ack);
            }
            self.not_held += before - up_to;
            stream.insert(before, envelope.prev);
        } else if stream.get(&before).is_some_and(|head| *head != envelope.prev) {
            self.faults.push("a broken chain".to_owned());
        }
        let (mut at, mut head) = (before, envelope.prev);
        for entry in &envelope.entries {
            head = head.after(entry);
            at += entry.span();
            match stream.get(&at) {
                Some(known) if *known != head => {
                    ack.next = Next::NewEpoch;
                    return Some(ack);
                }
                Some(_) => continue,
                None => {}
            }
            stream.insert(at, head);
            ack.up_to = Seq(at);
            let Entry::Item(body) = entry else { continue };
            match Item::decode(body) {
                Ok(Item::Reading(reading)) => {
                    if let Value::Number(number) = reading.value {
                        self.readings.push(number.mantissa());
                    }
                }
                Ok(Item::Policy(state)) => self.policies.push(*state),
                _ => {}
            }
        }
        Some(ack)
    }
}
