//! Shell: carries what goes through an open support session: links that the box dials, each for one connection from the
//! far end to one port of the box itself.
//!
//! ```text
//! box ── TLS, the gate's door ──▶ server      "session 7"                      a link, waiting
//! box ◀───────────────────────── server      GO: somebody is there
//! box ── 127.0.0.1:22                         bytes both ways, within the tunnel's share of the uplink
//! either end closes ─▶ both are closed, and the next link is dialled while the session is open
//! ```
//! # Design
//! Nothing listens on the box. Whatever becomes of the task that decides, nothing here outlives the time of its grant:
//! the carrying itself stands within it. Buffers are one copy's size, and the system's are made small, so that a tunnel
//! cannot fill the uplink's queue before an alarm.
#![expect(clippy::disallowed_methods, reason = "shell: the network and the clock")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use homeward_protocol::support::{ALPN, GO, Moved, SessionNumber};
use homeward_protocol::time::Uptime;
use rustix::net::sockopt;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Grant;
use super::share::{BURST, Share, need};
use crate::clock::Clock;
use crate::outbox::Ledger;

#[cfg(test)]
mod tests;

/// How long the server, or the port, may take to let us in.
const CONNECT: Duration = Duration::from_secs(15);
/// The server says that it is there every 20 s while a link waits; after so long it is not.
const SILENCE: Duration = Duration::from_mins(1);
/// How long an end may refuse to take what it is given.
const STUCK: Duration = Duration::from_secs(30);
/// Between a link that ended well and the next.
const BETWEEN: Duration = Duration::from_millis(100);
/// A link on which somebody was for less than this is as one that failed: handshakes cost the uplink, too.
const SHORT: Duration = Duration::from_secs(1);
/// Between links that failed, at first and at most.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15)];
/// A link on which nothing comes is asked after so long whether the server is there, and again after so long, so often.
const ALIVE: (Duration, Duration, u32) = (Duration::from_secs(20), Duration::from_secs(10), 3);
/// What the system may hold of a tunnel, bytes.
const SYSTEM: u32 = 32 * 1024;
/// How often the clock is looked at: a timer does not count a sleep of the box, the clock does.
const LOOK: Duration = Duration::from_secs(1);

/// Why a link ended that somebody should hear of.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("could not reach {0}")]
    Reach(String, #[source] io::Error),
    #[error("the server is at {0}, where the policy allows no tunnel to")]
    Elsewhere(IpAddr),
    #[error("no TLS with the server")]
    Tls(#[source] io::Error),
    #[error("what answers there takes no support links")]
    Stranger,
    #[error("the server has no such session, or left")]
    Left,
    #[error("nothing answers on port {0} of this box")]
    Port(u16, #[source] io::Error),
}

/// Carries the sessions of one box.
pub struct Carrying {
    /// Host and port of the gate.
    pub door: (String, u16),
    /// What proves us there, as it is now.
    pub tls: Box<dyn Fn() -> Arc<ClientConfig> + Send + Sync>,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// Where the outbox stands: what waits there goes first.
    pub ledger: watch::Receiver<Ledger>,
    /// What may be open.
    pub grant: watch::Receiver<Option<Grant>>,
    /// What went through.
    pub moved: watch::Sender<(SessionNumber, Moved)>,
}

impl Carrying {
    /// Carries what is granted until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let grant = self.grant.borrow_and_update().clone();
            let mut watching = self.grant.clone();
            tokio::select! {
                () = stop.cancelled() => return,
                changed = watching.changed() => if changed.is_err() { return },
                () = self.carry(grant) => {}
            }
        }
    }

    /// Dials one link after the other, until the grant is over; then waits for ever.
    async fn carry(&self, grant: Option<Grant>) {
        if let Some(grant) = grant {
            self.moved.send_replace((grant.session.session, Moved::default()));
            tokio::select! {
                () = over(&self.clock, grant.until) => {}
                () = self.links(&grant) => {}
            }
        }
        std::future::pending::<()>().await;
    }

    /// All links of a session share one allowance: a new link is no new burst.
    async fn links(&self, grant: &Grant) {
        let share = Mutex::new(Share::new(self.clock.uptime()));
        let mut wait = AGAIN[0];
        loop {
            match self.link(grant, &share).await {
                Ok(lasted) => {
                    wait = AGAIN[0];
                    sleep(if lasted < SHORT { wait } else { BETWEEN }).await;
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error);
                    let why = cause.map_or(error.to_string(), |cause| format!("{error}: {cause}"));
                    tracing::info!(
                        support.session = grant.session.session.0,
                        "a support link failed: {why}"
                    );
                    sleep(wait).await;
                    wait = (wait * 2).min(AGAIN[1]);
                }
            }
        }
    }

    /// One link, from the dialling to its end; how long somebody was on it.
    async fn link(&self, grant: &Grant, share: &Mutex<Share>) -> Result<Duration, LinkError> {
        let mut server = self.dial(grant).await?;
        let number = grant.session.session.0.to_be_bytes();
        let said = async {
            server.write_all(&number).await?;
            server.flush().await
        };
        let said = timeout(STUCK, said).await;
        said.map_err(|_| LinkError::Left)?.map_err(|_| LinkError::Left)?;
        loop {
            let heard = timeout(SILENCE, server.read_u8()).await;
            match heard.map_err(|_| LinkError::Left)? {
                Ok(GO) => break,
                Ok(_) => {}
                Err(_) => return Err(LinkError::Left),
            }
        }
        let port = own_port(grant.session.port).await?;
        self.moved.send_modify(|(_, moved)| moved.links += 1);
        let from = self.clock.uptime();
        self.relay(server, port, share).await;
        Ok(self.clock.uptime().since(from))
    }

    async fn dial(&self, grant: &Grant) -> Result<TlsStream<TcpStream>, LinkError> {
        let (host, port) = &self.door;
        let failed = |source| LinkError::Reach(format!("{host}:{port}"), source);
        let dialing = async {
            let mut last = failed(io::ErrorKind::AddrNotAvailable.into());
            for address in lookup_host((host.as_str(), *port)).await.map_err(failed)? {
                let there = address.ip().to_canonical();
                if !grant.to.is_empty() && !grant.to.iter().any(|net| net.holds(there)) {
                    last = LinkError::Elsewhere(there);
                    continue;
                }
                match dial(address).await {
                    Ok(tcp) => return Ok(tcp),
                    Err(error) => last = failed(error),
                }
            }
            Err(last)
        };
        let tcp = timeout(CONNECT, dialing).await;
        let tcp = tcp.map_err(|e| failed(e.into()))??;
        let mut config = ClientConfig::clone(&(self.tls)());
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(host.clone()).map_err(|e| LinkError::Tls(io::Error::other(e)))?;
        let shaking = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let tls = timeout(CONNECT, shaking).await;
        let mut tls = tls
            .map_err(|e| LinkError::Tls(e.into()))?
            .map_err(LinkError::Tls)?;
        if tls.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(LinkError::Stranger);
        }
        tls.get_mut().1.set_buffer_limit(Some(SYSTEM as usize));
        Ok(tls)
    }

    /// Copies both ways until either end closes.
    async fn relay(&self, server: TlsStream<TcpStream>, port: TcpStream, share: &Mutex<Share>) {
        let (from_server, mut to_server) = split(server);
        let (from_port, mut to_port) = split(port);
        let inward = self.copy(from_server, &mut to_port, share, |moved, n| moved.in_bytes += n);
        let outward = self.copy(from_port, &mut to_server, share, |moved, n| moved.out_bytes += n);
        tokio::select! {
            () = inward => {}
            () = outward => {}
        }
        let _gone = timeout(BETWEEN, to_port.shutdown()).await;
        let _gone = timeout(CONNECT, to_server.shutdown()).await;
    }

    /// Copies one way, no faster than the share allows, until an end closes or takes nothing any more.
    async fn copy(
        &self,
        mut from: impl AsyncRead + Unpin,
        to: &mut (impl AsyncWrite + Unpin),
        share: &Mutex<Share>,
        count: fn(&mut Moved, u64),
    ) {
        let mut buffer = vec![0; usize::try_from(BURST).unwrap_or(usize::MAX)];
        loop {
            let most = self.allowance(share).await.min(buffer.len());
            let Ok(read @ 1..) = from.read(&mut buffer[..most]).await else {
                return;
            };
            share.lock().unwrap_or_else(PoisonError::into_inner).spend(read);
            let writing = async {
                to.write_all(&buffer[..read]).await?;
                to.flush().await
            };
            if !matches!(timeout(STUCK, writing).await, Ok(Ok(()))) {
                return;
            }
            self.moved.send_modify(|(_, moved)| count(moved, read as u64));
        }
    }

    async fn allowance(&self, share: &Mutex<Share>) -> usize {
        loop {
            let need = need(&self.ledger.borrow());
            let now = self.clock.uptime();
            let most = share
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .most(need, now);
            match most {
                Ok(bytes) => return bytes,
                Err(wait) => sleep(wait).await,
            }
        }
    }
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_send_buffer_size(SYSTEM)?;
    socket.set_recv_buffer_size(SYSTEM)?;
    socket.set_nodelay(true)?;
    let (after, between, times) = ALIVE;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, after)?;
    sockopt::set_tcp_keepintvl(&socket, between)?;
    sockopt::set_tcp_keepcnt(&socket, times)?;
    socket.connect(address).await
}

/// A connection to a port of the box itself.
async fn own_port(port: u16) -> Result<TcpStream, LinkError> {
    let here = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
    for address in here {
        match timeout(CONNECT, TcpStream::connect((address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(late) => last = late.into(),
        }
    }
    Err(LinkError::Port(port, last))
}

/// Until this time by the box's clock, which counts sleep.
async fn over(clock: &Clock, until: Uptime) {
    loop {
        let left = until.since(clock.uptime());
        if left.is_zero() {
            return;
        }
        sleep(left.min(LOOK)).await;
    }
}
