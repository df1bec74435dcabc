//! Shell: takes sockets, and lets in those that prove who they are.
//!
//! # Design
//! The accept loop waits for sockets only; each socket is a task, and nothing it does or leaves undone delays
//! another. A permit for a handshake is taken after the peer's first bytes, never while waiting for them: with
//! 64 permits taken before, 256 silent sockets kept an honest gateway out for more than 25 s.
#![expect(clippy::disallowed_methods, reason = "shell: sockets, tasks and time")]

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::support::ALPN;
use homeward_protocol::time::Uptime;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::limits::{Allowances, Lobby, SharedAllowance};
use super::session::{Effect, Input, Session};
use super::socket::Socket;
use super::{Gate, Passage, Place, Why, codec};
use crate::ca::rank::Rank;
use crate::ca::{Leaf, LeafError};
use crate::support::link;
use crate::tls::recent::{Recent, fingerprint};
use crate::tls::refusal::Refusal;

/// How long the gate waits after the system had no socket for it, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// How long a last word may take to be written before the socket closes.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long the end of a connection may wait to be recorded.
const RECORD: Duration = Duration::from_secs(10);
/// How long the gate waits for its connections to end when it stops.
const STOP: Duration = Duration::from_secs(2);

/// Serves gateways until `stop`. `tls` may change at any time and holds for the connections that come after.
///
/// The configuration has to ask for client certificates; the gate itself refuses TLS before 1.3.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    gate: Gate,
    stop: CancellationToken,
) {
    let door = Arc::new(Door::new(gate, tls));
    let sockets = TaskTracker::new();
    let mut short_of_sockets = false;
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((tcp, address)) => {
                short_of_sockets = false;
                sockets.spawn(attend(Arc::clone(&door), tcp, address));
            }
            Err(error) => {
                // Once a shortage, not fifty times a second.
                if !std::mem::replace(&mut short_of_sockets, true) {
                    warn!(error = %error, "the gate gets no more sockets; is the limit of open files too low?");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    sockets.close();
    for out in door.lobby().clear() {
        let _ = out.send(());
    }
    door.gate.connections.end_all();
    let _ = timeout(STOP, sockets.wait()).await;
}

/// What all sockets share.
pub(super) struct Door {
    pub(super) gate: Gate,
    pub(super) meters: Meters,
    /// Room for records on their way to the store, in bytes.
    pub(super) room: Arc<Semaphore>,
    tls: watch::Receiver<Arc<ServerConfig>>,
    /// Certificates that were taken apart: what these very bytes say stays the same.
    leaves: Mutex<Recent<Leaf>>,
    lobby: Mutex<Lobby<oneshot::Sender<()>>>,
    allowances: Mutex<Allowances>,
    handshakes: Semaphore,
    began: Instant,
}

/// The counters of the busy paths, looked up once.
pub(super) struct Meters {
    pub(super) publishes: metrics::Counter,
    pub(super) publish_bytes: metrics::Counter,
    connections: metrics::Gauge,
}

impl Door {
    fn new(gate: Gate, tls: watch::Receiver<Arc<ServerConfig>>) -> Door {
        Door {
            meters: Meters {
                publishes: metrics::counter!("homeward_gate_publishes_total"),
                publish_bytes: metrics::counter!("homeward_gate_publish_bytes_total"),
                connections: metrics::gauge!("homeward_gate_connections"),
            },
            room: Arc::new(Semaphore::new(gate.limits.in_flight_bytes)),
            tls,
            leaves: Mutex::default(),
            lobby: Mutex::new(Lobby::new(&gate.limits)),
            allowances: Mutex::new(Allowances::new(&gate.limits)),
            handshakes: Semaphore::new(gate.limits.handshakes),
            began: Instant::now(),
            gate,
        }
    }

    /// Milliseconds since the gate opened.
    pub(super) fn now(&self) -> Uptime {
        Uptime(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The moment as the runtime's timers count.
    pub(super) fn instant(&self, at: Uptime) -> Instant {
        self.began + Duration::from_millis(at.0)
    }

    /// A certificate that a peer showed, taken apart once.
    fn leaf(&self, der: &[u8]) -> Result<Leaf, LeafError> {
        let leaves = || self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        let of = fingerprint(der);
        if let Some(known) = leaves().get(&of) {
            return Ok(known);
        }
        let leaf = Leaf::read(der, &self.gate.domain)?;
        leaves().put(of, leaf.clone());
        Ok(leaf)
    }

    /// What this gateway may send.
    pub(super) fn allowance(&self, gateway: &GatewayId) -> SharedAllowance {
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        allowances.of(gateway, self.now())
    }

    fn lobby(&self) -> MutexGuard<'_, Lobby<oneshot::Sender<()>>> {
        self.lobby.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_in_lobby(self: &Arc<Door>, address: IpAddr) -> Waiting {
        let (out, put_out) = oneshot::channel();
        let (ticket, evicted) = self.lobby().enter(address, out);
        if let Some(evicted) = evicted {
            let _ = evicted.send(());
        }
        Waiting {
            door: Arc::clone(self),
            ticket,
            put_out,
        }
    }

    fn place(&self, session: &Session, address: SocketAddr) -> Result<Place, Why> {
        let (gateway, since) = (session.gateway(), self.gate.clock.now());
        let (connections, address) = (&self.gate.connections, address.to_string());
        let place = connections.enter(gateway, session.is_spare(), &address, since)?;
        // Again, now that a kick would find the connection: revoked in between, it goes here or there.
        if self.gate.revoked.contains(gateway) {
            return Err(Why::Revoked);
        }
        Ok(place)
    }
}

/// A socket's place among those that have not said who they are.
struct Waiting {
    door: Arc<Door>,
    ticket: u64,
    put_out: oneshot::Receiver<()>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.door.lobby().leave(self.ticket);
    }
}

/// One socket from its first byte to its last.
async fn attend(door: Arc<Door>, tcp: TcpStream, address: SocketAddr) {
    let mut waiting = door.wait_in_lobby(address.ip());
    // Boxed, as all of this is gone once the gateway is in, and ten thousand of them wait quietly after that.
    let admitted = tokio::select! {
        admitted = Box::pin(admit(&door, tcp)) => admitted,
        _ = &mut waiting.put_out => Err(Why::Crowded),
    };
    drop(waiting);
    match admitted {
        Ok(Came::ToSpeak(admitted)) => enter(door, *admitted, address).await,
        Ok(Came::ToSupport(stream, gateway)) => {
            metrics::counter!("homeward_support_links_total").increment(1);
            debug!(gateway.id = %gateway, net.peer = %address, "a support link of {gateway}");
            link::serve(*stream, gateway, door.gate.support.clone()).await;
        }
        Err(why) => refused(why, address),
    }
}

/// Whom the gate let in.
enum Came {
    /// To speak MQTT.
    ToSpeak(Box<Admitted>),
    /// With a link of a support session, by its own key.
    ToSupport(Box<TlsStream<TcpStream>>, GatewayId),
}

/// A peer that has proved its name and sent a CONNECT that fits it.
struct Admitted {
    stream: TlsStream<TcpStream>,
    session: Session,
    /// The key of its certificate.
    key: PublicKey,
    /// What it sent after that.
    inbox: BytesMut,
}

async fn admit(door: &Door, tcp: TcpStream) -> Result<Came, Why> {
    let limits = &door.gate.limits;
    let _ = tcp.set_nodelay(true);
    let hello = LazyConfigAcceptor::new(Acceptor::default(), tcp);
    let hello = timeout(limits.hello, hello).await.map_err(|_| Why::Slow)?;
    let hello = hello.map_err(|_| Why::Handshake)?;
    let stream = timeout(limits.handshake * 2, shake(door, hello)).await;
    let mut stream = stream.map_err(|_| Why::Slow)??;
    let connection = stream.get_mut().1;
    connection.set_buffer_limit(Some(codec::MAX_CONNECT * 4));
    if connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
        return Err(Why::Handshake);
    }
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    let leaf = door.leaf(certificate.ok_or(Why::Handshake)?);
    let leaf = leaf.map_err(|_| Why::Identity)?;
    if !leaf.is_current(door.gate.clock.now()) {
        return Err(Why::Identity);
    }
    let gateway = leaf.gateway.clone();
    if door.gate.revoked.contains(&gateway) {
        return Err(Why::Revoked);
    }
    if stream.get_ref().1.alpn_protocol() == Some(ALPN) {
        return match leaf.rank {
            Rank::Spare => Err(Why::Identity),
            Rank::Own(_) => Ok(Came::ToSupport(Box::new(stream), gateway)),
        };
    }
    let session = Session::new(gateway, door.now().plus(limits.connect)).ranked(leaf.rank);
    timeout(limits.connect, greet(door, stream, (session, leaf.key)))
        .await
        .map_err(|_| Why::Slow)?
        .map(Came::ToSpeak)
}

async fn shake(
    door: &Door,
    hello: tokio_rustls::StartHandshake<TcpStream>,
) -> Result<TlsStream<TcpStream>, Why> {
    let config = Arc::clone(&door.tls.borrow());
    let _permit = door.handshakes.acquire().await.map_err(|_| Why::Stopping)?;
    let stream = timeout(door.gate.limits.handshake, hello.into_stream(config)).await;
    stream.map_err(|_| Why::Slow)?.map_err(|error| {
        metrics::counter!("homeward_handshakes_refused_total", "door" => "gate", "reason" => Refusal::of(&error).name())
            .increment(1);
        Why::Handshake
    })
}

/// Waits for CONNECT, and answers one that does not fit.
async fn greet(
    door: &Door,
    mut stream: TlsStream<TcpStream>,
    (mut session, key): (Session, PublicKey),
) -> Result<Box<Admitted>, Why> {
    let mut inbox = BytesMut::new();
    loop {
        let input = match codec::read(&mut inbox, codec::MAX_CONNECT) {
            Ok(None) => {
                let read = stream.read_buf(&mut inbox).await;
                if read.map_err(|_| Why::Lost)? == 0 {
                    return Err(Why::Lost);
                }
                continue;
            }
            Ok(Some(packet)) => Input::Packet(packet),
            Err(why) => Input::Unreadable(why),
        };
        let effects = session.handle(input, door.now());
        if effects.contains(&Effect::Enter) {
            return Ok(Box::new(Admitted {
                stream,
                session,
                key,
                inbox,
            }));
        }
        if let Some(why) = part(&mut stream, effects).await {
            return Err(why);
        }
    }
}

/// Writes what is to be said and closes, if that is what is to be done.
async fn part(stream: &mut TlsStream<TcpStream>, effects: Vec<Effect>) -> Option<Why> {
    let mut last_words = BytesMut::new();
    for effect in effects {
        match effect {
            Effect::Send(packet) => {
                if let Err(why) = codec::write(&packet, &mut last_words) {
                    return Some(why);
                }
            }
            Effect::Close(why) => {
                let _ = timeout(GOODBYE, say_goodbye(stream, &last_words)).await;
                return Some(why);
            }
            // Neither follows from what is said before and at entering.
            Effect::Enter | Effect::Deliver { .. } | Effect::Testify { .. } => {}
        }
    }
    None
}

async fn say_goodbye(stream: &mut TlsStream<TcpStream>, last_words: &[u8]) -> std::io::Result<()> {
    stream.write_all(last_words).await?;
    stream.shutdown().await
}

/// Registers a gateway, serves it, and records that it came and went.
async fn enter(door: Arc<Door>, admitted: Admitted, address: SocketAddr) {
    let Admitted {
        mut stream,
        mut session,
        key,
        inbox,
    } = admitted;
    let place = match door.place(&session, address) {
        Ok(place) => place,
        Err(why) => {
            let effects = session.handle(Input::Refused(why), door.now());
            part(&mut stream, effects).await;
            return refused(why, address);
        }
    };
    let gateway = session.gateway().clone();
    let connected_at = door.gate.clock.now();
    debug!(gateway.id = %gateway, net.peer = %address, "gateway {gateway} connected");
    door.meters.connections.increment(1.0);
    let mut socket = Socket::new(Arc::clone(&door), stream, (session, key), inbox);
    let why = socket.run(&place, address, connected_at).await;
    let announced = socket.announced();
    drop(place);
    socket.close(why, GOODBYE).await;
    door.meters.connections.decrement(1.0);
    metrics::counter!("homeward_gate_left_total", "reason" => why.name()).increment(1);
    debug!(gateway.id = %gateway, why = %why, "gateway {gateway} left: {why}");
    if announced {
        let at = door.gate.clock.now();
        let left = Passage::Left {
            gateway,
            connected_at,
            at,
            why,
        };
        if door.gate.passages.send_timeout(left, RECORD).await.is_err() {
            warn!("the end of a connection could not be recorded: the store is behind");
        }
    }
}

fn refused(why: Why, address: SocketAddr) {
    metrics::counter!("homeward_gate_refused_total", "reason" => why.name()).increment(1);
    debug!(net.peer = %address, why = %why, "the gate refused a connection: {why}");
}
