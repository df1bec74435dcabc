//! How HTTPS is served: by the console, the API and enrolment alike.
//!
//! Decides only: the limits, what a handler learns about its peer, and how many connections an address may hold.
//! [`serve::serve`] acts.
//!
//! # Design
//! A waiting socket must never cost an honest one anything: the accept loop accepts and nothing else, each socket
//! is a task with a time limit on every wait, and a handshake permit is taken only after the `ClientHello` is here,
//! so that silent sockets hold none. Both numbers come from measurements: 64 permits taken before the handshake
//! made an honest client wait 10 s behind 64 silent sockets; taken after the `ClientHello`, none waited.

pub mod patience;
pub mod serve;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::CertificateDer;

pub use serve::serve;

/// What a listener allows. [`Limits::default`] fits enrolment and the console.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections open at once.
    pub connections: usize,
    /// Connections open at once from one address (IPv6: from one /64).
    pub per_address: usize,
    /// Handshakes at work at once; those that still owe their `ClientHello` do not count.
    pub handshakes: usize,
    /// How long a peer may take to its `ClientHello`, and again from there to the end of the handshake.
    pub handshake: Duration,
    /// How long a request's head may take, and an idle connection may wait for one.
    pub head: Duration,
    /// Most bytes of a request's head. At least 8192.
    pub head_bytes: usize,
    /// Most header fields of a request.
    pub head_fields: usize,
    /// Most bytes of a request's body.
    pub body_bytes: usize,
    /// How long a request's body may take in all.
    pub body: Duration,
    /// How long a peer may refuse to take what we write.
    pub write: Duration,
    /// How old a connection may get; open answers have another [`Limits::grace`] then.
    pub age: Duration,
    /// How long open answers may go on after the listener was asked to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 4096,
            per_address: 256,
            handshakes: 1024,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(15),
            head_bytes: 16 * 1024,
            head_fields: 64,
            body_bytes: 64 * 1024,
            body: Duration::from_secs(20),
            write: Duration::from_secs(20),
            age: Duration::from_hours(1),
            grace: Duration::from_secs(4),
        }
    }
}

/// Why a listener ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket is not one to accept on.
    #[error("could not learn the listener's own address")]
    Listener(#[source] std::io::Error),
}

/// Who sent a request; each request carries it as an extension.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's certificates as the handshake verified them, its own first; empty when it showed none.
    pub certificates: Arc<[CertificateDer<'static>]>,
    /// Where it came from.
    pub address: SocketAddr,
}

/// What counts as one address: an IPv4 address, or the /64 of an IPv6 one, since a home has a whole /64.
pub fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Counts open connections, in all and per [`origin`]. A clone counts in the same book.
#[derive(Debug, Clone, Default)]
pub struct Guests(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A place that is given back when dropped.
#[derive(Debug)]
pub struct Place {
    guests: Guests,
    origin: IpAddr,
}

impl Guests {
    /// A place for one more connection, if the limits leave one.
    pub fn enter(&self, address: IpAddr, limits: &Limits) -> Option<Place> {
        let origin = origin(address);
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = book.values().sum();
        let own = book.get(&origin).copied().unwrap_or(0);
        if all >= limits.connections || own >= limits.per_address {
            return None;
        }
        book.insert(origin, own + 1);
        Some(Place {
            guests: self.clone(),
            origin,
        })
    }

    /// Connections open now.
    pub fn count(&self) -> usize {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut book = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = book.get_mut(&self.origin) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                book.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            connections: 3,
            per_address: 2,
            ..Limits::default()
        }
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let (guests, limits) = (Guests::default(), limits());
        let one: IpAddr = "192.0.2.1".parse().expect("an address");
        let held: Vec<_> = (0..5).filter_map(|_| guests.enter(one, &limits)).collect();
        assert_eq!(held.len(), 2);
        let other = guests.enter("192.0.2.2".parse().expect("an address"), &limits);
        assert!(other.is_some());
        assert!(
            guests
                .enter("192.0.2.3".parse().expect("an address"), &limits)
                .is_none()
        );
    }

    #[test]
    fn a_place_given_back_can_be_taken_again() {
        let (guests, limits) = (Guests::default(), limits());
        let one: IpAddr = "192.0.2.1".parse().expect("an address");
        for _ in 0..10 {
            drop(guests.enter(one, &limits).expect("a place"));
        }
        assert_eq!(guests.count(), 0);
    }

    #[test]
    fn a_home_is_one_address_whichever_way_it_comes() {
        let same = |a: &str, b: &str| {
            let parse = |t: &str| origin(t.parse().expect("an address"));
            parse(a) == parse(b)
        };
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
    }
}
