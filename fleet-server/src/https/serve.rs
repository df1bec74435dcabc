//! Shell: the accept loop of an HTTPS listener, and one task a connection.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: sockets, time limits, a task a connection"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, info, warn};

use super::patience::{Bounded, Patient};
use super::{Error, Guests, Limits, Peer};
use crate::tls::refusal::Refusal;

/// How long to wait after an accept failed, for example because no descriptor was left.
const AFTER_A_FAILURE: Duration = Duration::from_millis(20);

/// What is said, in the clear, to a peer that speaks HTTP to an HTTPS port.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    This port speaks HTTPS. Use https:// in front of the address.\n";

/// What all connections of one listener share.
struct Door {
    tls: watch::Receiver<Arc<ServerConfig>>,
    router: Router,
    limits: Limits,
    handshakes: Semaphore,
    stop: CancellationToken,
}

/// Serves `router` until `stop`; then open answers have [`Limits::grace`] to end. A new value of `tls` holds for
/// the next connection. Each request carries [`Peer`] as an extension.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) -> Result<(), Error> {
    let here = listener.local_addr().map_err(Error::Listener)?;
    info!(listen.address = %here, "serving HTTPS on {here}");
    let door = Arc::new(Door {
        tls,
        router,
        limits,
        handshakes: Semaphore::new(limits.handshakes),
        stop,
    });
    let guests = Guests::default();
    let mut open = JoinSet::new();
    let mut short_of_sockets = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = door.stop.cancelled() => break,
            Some(_) = open.join_next(), if !open.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Once a shortage, not at each try.
                if !std::mem::replace(&mut short_of_sockets, true) {
                    warn!(listen.address = %here, error = %error, "no more sockets on {here}; is the limit of open files too low?");
                }
                tokio::time::sleep(AFTER_A_FAILURE).await;
                continue;
            }
        };
        short_of_sockets = false;
        let Some(place) = guests.enter(address.ip(), &limits) else {
            debug!(peer.address = %address, "no place left for this address; closed");
            continue;
        };
        let door = Arc::clone(&door);
        open.spawn(async move {
            door.attend(stream, address).await;
            drop(place);
        });
    }
    drop(listener);
    let all_done = async { while open.join_next().await.is_some() {} };
    if timeout(limits.grace, all_done).await.is_err() {
        debug!(listen.address = %here, "cut off what was still open");
    }
    open.shutdown().await;
    Ok(())
}

impl Door {
    /// One connection, from its first byte to its end.
    async fn attend(&self, stream: TcpStream, address: SocketAddr) {
        let handshake = tokio::select! {
            () = self.stop.cancelled() => return,
            handshake = self.handshake(stream) => handshake,
        };
        match handshake {
            Ok(stream) => self.converse(stream, address).await,
            Err(why) => {
                metrics::counter!("homeward_handshakes_refused_total", "door" => "https", "reason" => Refusal::of(&why).name())
                    .increment(1);
                debug!(peer.address = %address, error = %why, "no handshake");
            }
        }
    }

    async fn handshake(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, std::io::Error> {
        let limit = self.limits.handshake;
        // Nagle's algorithm would only delay small answers; without this they come late, not wrong.
        let _ = stream.set_nodelay(true);
        let hello = async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
                let mut stream = stream;
                stream.write_all(NOT_TLS).await?;
                return Err(std::io::Error::other("plain HTTP"));
            }
            LazyConfigAcceptor::new(Acceptor::default(), stream).await
        };
        let hello = timeout(limit, hello).await??;
        let config = Arc::clone(&self.tls.borrow());
        let rest = async {
            let _permit = self.handshakes.acquire().await.map_err(std::io::Error::other)?;
            hello.into_stream(config).await
        };
        timeout(limit, rest).await?
    }

    async fn converse(&self, stream: TlsStream<TcpStream>, address: SocketAddr) {
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default().into();
        let peer = Peer {
            certificates,
            address,
        };
        let limits = self.limits;
        let service = service_fn(|request| self.answer(request, peer.clone()));
        let io = TokioIo::new(Patient::new(stream, limits.write));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_buf_size(limits.head_bytes.max(8192))
            .max_headers(limits.head_fields);
        let mut connection = pin!(http.serve_connection(io, service).with_upgrades());
        let aged = tokio::select! {
            ended = connection.as_mut() => return told(address, ended),
            () = self.stop.cancelled() => None,
            () = tokio::time::sleep(limits.age) => Some(limits.grace),
        };
        connection.as_mut().graceful_shutdown();
        match aged {
            Some(grace) => {
                if let Ok(ended) = timeout(grace, connection).await {
                    told(address, ended);
                }
            }
            None => told(address, connection.await), // `serve` counts the time
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Result<Response<Body>, Infallible> {
        let limits = self.limits;
        let mut request = request.map(|body| Body::new(Bounded::new(body, limits.body_bytes, limits.body)));
        request.extensions_mut().insert(peer);
        self.router.clone().oneshot(request).await
    }
}

fn told(address: SocketAddr, ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        debug!(peer.address = %address, error = %error, "a connection ended badly");
    }
}
