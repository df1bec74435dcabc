//! Shell: a TCP link that misbehaves on purpose, the same way for the same seed.
//!
//! Stands between two programs on loopback. Its [`Link`] can be changed while connections run.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: listens, connects, waits, spawns a task a connection"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Bytes taken from one side at a time: about one packet of a home line.
const CHUNK: usize = 1400;

/// How the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// As the machine gives it.
    Clear,
    /// Every chunk waits this long, and up to as much again at random.
    Delay(Duration),
    /// At most so many bytes a second in each direction.
    Slow(u32),
    /// Half-open: connections stand, nothing passes, nobody is told.
    HalfOpen,
    /// Connections are reset as they come and where they stand.
    Down,
    /// Each connection is reset after about so many bytes, half as many to one and a half times, at random.
    CutAfter(u32),
}

/// The proxy. It ends with the runtime, or when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    link: watch::Sender<Link>,
    cuts: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl Proxy {
    /// Listens on a port of its own choice in front of `target`.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub async fn start(target: SocketAddr, seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let (link, state) = watch::channel(Link::Clear);
        let (cuts, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let wire = Wire {
            target,
            link: state,
            cuts: Arc::clone(&cuts),
        };
        tokio::spawn(accept(listener, wire, Dice(seed | 1), stop.clone()));
        Proxy {
            address,
            link,
            cuts,
            stop,
        }
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the link, for new and standing connections.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// How many connections it has cut.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// xorshift64*: the same numbers for the same seed.
#[derive(Debug, Clone, Copy)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// From 0 to `below` - 1; 0 when `below` is 0.
    fn below(&mut self, below: u64) -> u64 {
        self.next().checked_rem(below).unwrap_or(0)
    }
}

#[derive(Debug, Clone)]
struct Wire {
    target: SocketAddr,
    link: watch::Receiver<Link>,
    cuts: Arc<AtomicU64>,
}

async fn accept(listener: TcpListener, wire: Wire, mut dice: Dice, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            taken = listener.accept() => {
                let Ok((client, _)) = taken else { continue };
                while connections.try_join_next().is_some() {}
                connections.spawn(carry(client, wire.clone(), Dice(dice.next() | 1)));
            }
        }
    }
}

/// Carries one connection until either end or the link ends it.
async fn carry(client: TcpStream, mut wire: Wire, mut dice: Dice) {
    let at_once = *wire.link.borrow_and_update() == Link::Down;
    let Some(server) = (if at_once {
        None
    } else {
        TcpStream::connect(wire.target).await.ok()
    }) else {
        reset(&client, &wire);
        return;
    };
    let (up, down) = (Dice(dice.next() | 1), Dice(dice.next() | 1));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let cut = tokio::select! {
        cut = pump(from_client, to_server, wire.link.clone(), up) => cut,
        cut = pump(from_server, to_client, wire.link.clone(), down) => cut,
        () = down_again(wire.link.clone()) => true,
    };
    if cut {
        wire.cuts.fetch_add(1, Ordering::Relaxed);
    }
}

fn reset(client: &TcpStream, wire: &Wire) {
    // Zero linger: the other side sees a reset, not a goodbye.
    let _ = client.set_zero_linger();
    wire.cuts.fetch_add(1, Ordering::Relaxed);
}

async fn down_again(mut link: watch::Receiver<Link>) {
    // When the proxy is gone so is the link.
    let _ = link.wait_for(|link| *link == Link::Down).await;
}

/// One direction. True when the link cut it, false when an end closed it.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut link: watch::Receiver<Link>,
    mut dice: Dice,
) -> bool {
    let mut chunk = [0; CHUNK];
    let mut passed = 0u64;
    let mut allowed = u64::MAX;
    if let Link::CutAfter(bytes) = *link.borrow() {
        allowed = u64::from(bytes) / 2 + dice.below(u64::from(bytes) + 1);
    }
    loop {
        let Ok(size @ 1..) = from.read(&mut chunk).await else {
            return false;
        };
        if link.wait_for(|link| *link != Link::HalfOpen).await.is_err() {
            return true;
        }
        let now = *link.borrow();
        match now {
            Link::Delay(wait) => {
                let more = dice.below(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
                tokio::time::sleep(wait + Duration::from_micros(more)).await;
            }
            Link::Slow(rate) => {
                let micros = size as u64 * 1_000_000 / u64::from(rate.max(1));
                tokio::time::sleep(Duration::from_micros(micros)).await;
            }
            Link::CutAfter(bytes) if allowed == u64::MAX => {
                allowed = passed + u64::from(bytes) / 2 + dice.below(u64::from(bytes) + 1);
            }
            Link::Clear | Link::HalfOpen | Link::Down | Link::CutAfter(_) => {}
        }
        passed += size as u64;
        let bytes = chunk.get(..size).unwrap_or_default();
        if matches!(now, Link::CutAfter(_)) && passed > allowed {
            // Half a packet arrives, then the line is dead.
            let _ = to.write_all(bytes.get(..size / 2).unwrap_or_default()).await;
            return true;
        }
        if to.write_all(bytes).await.is_err() {
            return false;
        }
    }
}
