//! How much one peer may take: of the sockets that wait to say who they are, and of the bytes per second.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Uptime;

/// The gate's limits. The defaults fit a server for tens of thousands of gateways.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most TLS handshakes at a time. Tens let a few that stop in the middle hold everyone up.
    pub handshakes: usize,
    /// Most sockets that have not said who they are; one more puts the oldest out.
    pub waiting: usize,
    /// The same for one address (IPv6: one /64 network). Homes behind one operator's NAT share an address.
    pub waiting_per_address: usize,
    /// How long the first bytes of TLS may take to come.
    pub hello: Duration,
    /// How long the handshake may take after that.
    pub handshake: Duration,
    /// How long CONNECT may take after that.
    pub connect: Duration,
    /// How long a peer may take nothing of what is sent to it.
    pub write: Duration,
    /// Most bytes of records, of all gateways together, that are on their way to the store.
    pub in_flight_bytes: usize,
    /// Bytes per second that one gateway may send for long, a packet counting [`PACKET_COST`] more than its bytes.
    pub rate: u32,
    /// Bytes that it may send at once after a quiet time.
    pub burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            handshakes: 4096,
            waiting: 8192,
            waiting_per_address: 1024,
            hello: Duration::from_secs(5),
            handshake: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            write: Duration::from_secs(10),
            in_flight_bytes: 64 << 20,
            rate: 1 << 20,
            burst: 4 << 20,
        }
    }
}

/// What a packet costs beyond its bytes, in bytes of [`Limits::rate`].
pub const PACKET_COST: usize = 256;

/// The sockets that have not said who they are. `T` is the means to put one out.
///
/// # Design
/// When there are too many, the *oldest* goes: an honest peer needs a fraction of a second, so a flood has to bring
/// a whole lobby's worth of sockets within that time to hurt it. Refusing the newest would let any address that
/// keeps the lobby full keep everyone out.
#[derive(Debug)]
pub struct Lobby<T> {
    limit: usize,
    per_address: usize,
    next: u64,
    waiting: BTreeMap<u64, (IpAddr, T)>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
}

impl<T> Lobby<T> {
    /// An empty lobby.
    pub fn new(limits: &Limits) -> Lobby<T> {
        Lobby {
            limit: limits.waiting,
            per_address: limits.waiting_per_address,
            next: 0,
            waiting: BTreeMap::new(),
            by_address: HashMap::new(),
        }
    }

    /// Lets one in: its ticket, and the means to put another one out whose place it took.
    pub fn enter(&mut self, address: IpAddr, out: T) -> (u64, Option<T>) {
        let network = network(address);
        let own = self
            .by_address
            .get(&network)
            .filter(|own| own.len() >= self.per_address);
        let oldest = match own {
            Some(own) => own.first().copied(),
            None if self.waiting.len() >= self.limit => self.waiting.keys().next().copied(),
            None => None,
        };
        let evicted = oldest.and_then(|oldest| self.leave(oldest));
        let ticket = self.next;
        self.next += 1;
        self.waiting.insert(ticket, (network, out));
        self.by_address.entry(network).or_default().insert(ticket);
        (ticket, evicted)
    }

    /// Takes one out, when it has said who it is or has gone.
    pub fn leave(&mut self, ticket: u64) -> Option<T> {
        let (network, out) = self.waiting.remove(&ticket)?;
        if let Some(own) = self.by_address.get_mut(&network) {
            own.remove(&ticket);
            if own.is_empty() {
                self.by_address.remove(&network);
            }
        }
        Some(out)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes everyone out, because the server stops.
    pub fn clear(&mut self) -> Vec<T> {
        self.by_address.clear();
        std::mem::take(&mut self.waiting)
            .into_values()
            .map(|(_, out)| out)
            .collect()
    }
}

/// Whose socket it is: an IPv4 address, or the /64 that one IPv6 host has for itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
    }
}

/// How much a gateway may still send: a bucket that fills at a rate. Spending more than it holds only delays.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    rate: u32,
    burst: u32,
    /// Bytes left, negative when in debt, as of `at`.
    left: i64,
    at: Uptime,
}

impl Allowance {
    /// A full bucket: `rate` bytes per second, `burst` bytes at most.
    pub fn new(rate: u32, burst: u32, now: Uptime) -> Allowance {
        Allowance {
            rate: rate.max(1),
            burst,
            left: burst.into(),
            at: now,
        }
    }

    /// Takes bytes out.
    pub fn spend(&mut self, bytes: usize, now: Uptime) {
        let elapsed = i64::try_from(now.since(self.at).as_millis()).unwrap_or(i64::MAX);
        // Less than a byte's worth of time is kept for later.
        let filled = elapsed.saturating_mul(self.rate.into()) / 1000;
        if filled > 0 {
            self.left = self.left.saturating_add(filled).min(self.burst.into());
            self.at = now;
        }
        self.left = self.left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// When the next byte may be taken: a moment that has passed, unless in debt.
    pub fn ready_at(&self) -> Uptime {
        let debt = u64::try_from(self.left.saturating_neg()).unwrap_or(0);
        self.at.plus(Duration::from_millis(
            debt.saturating_mul(1000) / u64::from(self.rate),
        ))
    }
}

/// One gateway's allowance, shared by its connections: connecting anew brings no new burst.
#[derive(Debug, Clone)]
pub struct SharedAllowance(Arc<Mutex<Allowance>>);

impl SharedAllowance {
    /// See [`Allowance::spend`].
    pub fn spend(&self, bytes: usize, now: Uptime) {
        self.with(|allowance| allowance.spend(bytes, now));
    }

    /// See [`Allowance::ready_at`].
    pub fn ready_at(&self) -> Uptime {
        self.with(|allowance| allowance.ready_at())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Allowance) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a new one would be no better: full, and nobody holds it.
    fn is_idle(&self, now: Uptime) -> bool {
        let full = |allowance: &mut Allowance| {
            allowance.spend(0, now);
            allowance.left >= allowance.burst.into()
        };
        Arc::strong_count(&self.0) == 1 && self.with(full)
    }
}

/// The allowances of the gateways that are connected, or were a few seconds ago.
#[derive(Debug)]
pub struct Allowances {
    rate: u32,
    burst: u32,
    known: HashMap<GatewayId, SharedAllowance>,
    /// Tidied up when this many are known.
    tidy_at: usize,
}

/// Fewest allowances that are tidied up.
const TIDY: usize = 1024;

impl Allowances {
    /// None yet.
    pub fn new(limits: &Limits) -> Allowances {
        Allowances {
            rate: limits.rate,
            burst: limits.burst,
            known: HashMap::new(),
            tidy_at: TIDY,
        }
    }

    /// The allowance of this gateway.
    pub fn of(&mut self, gateway: &GatewayId, now: Uptime) -> SharedAllowance {
        if self.known.len() >= self.tidy_at {
            self.known.retain(|_, allowance| !allowance.is_idle(now));
            self.tidy_at = TIDY.max(self.known.len() * 2);
        }
        let known = self.known.entry(gateway.clone());
        let new = || SharedAllowance(Arc::new(Mutex::new(Allowance::new(self.rate, self.burst, now))));
        known.or_insert_with(new).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lobby(waiting: usize, waiting_per_address: usize) -> Lobby<&'static str> {
        Lobby::new(&Limits {
            waiting,
            waiting_per_address,
            ..Limits::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_address_puts_out_its_own_oldest_and_nobody_elses() {
        let mut lobby = lobby(10, 2);
        assert_eq!(lobby.enter(ip("10.0.0.1"), "honest").1, None);
        assert_eq!(lobby.enter(ip("10.0.0.2"), "first").1, None);
        assert_eq!(lobby.enter(ip("::ffff:10.0.0.2"), "second").1, None);
        assert_eq!(lobby.enter(ip("10.0.0.2"), "third").1, Some("first"));
        assert_eq!(lobby.enter(ip("2001:db8::1"), "v6").1, None);
        assert_eq!(lobby.enter(ip("2001:db8::2:0:0:2"), "v6 too").1, None);
        assert_eq!(lobby.enter(ip("2001:db8::3"), "v6 again").1, Some("v6"));
        assert_eq!(lobby.len(), 5);
    }

    #[test]
    fn a_full_lobby_puts_out_the_oldest_of_all() {
        let mut lobby = lobby(2, 2);
        let (first, _) = lobby.enter(ip("10.0.0.1"), "first");
        assert_eq!(lobby.enter(ip("10.0.0.2"), "second").1, None);
        assert_eq!(lobby.enter(ip("10.0.0.3"), "third").1, Some("first"));
        assert_eq!(lobby.leave(first), None, "it was put out already");
        assert_eq!(lobby.clear(), ["second", "third"]);
        assert!(lobby.is_empty());
    }

    #[test]
    fn leaving_forgets_the_address() {
        let mut lobby = lobby(10, 1);
        let (ticket, _) = lobby.enter(ip("10.0.0.1"), "a");
        lobby.leave(ticket);
        assert!(lobby.by_address.is_empty());
        assert_eq!(lobby.enter(ip("10.0.0.1"), "b").1, None);
    }

    #[test]
    fn a_burst_is_free_and_what_comes_after_it_waits() {
        let mut allowance = Allowance::new(1000, 5000, Uptime(0));
        allowance.spend(5000, Uptime(10));
        assert!(allowance.ready_at() <= Uptime(10));
        allowance.spend(1000, Uptime(10));
        assert_eq!(allowance.ready_at(), Uptime(1010));
        allowance.spend(0, Uptime(3010));
        assert_eq!(allowance.left, 2000);
        allowance.spend(0, Uptime(1_000_000));
        assert_eq!(allowance.left, 5000, "no more than the burst is saved up");
    }

    #[test]
    fn a_slow_rate_is_not_lost_to_frequent_looks() {
        let mut allowance = Allowance::new(10, 100, Uptime(0));
        allowance.spend(100, Uptime(0));
        for ms in 0..=1000 {
            allowance.spend(0, Uptime(ms));
        }
        assert_eq!(allowance.left, 10);
    }

    #[test]
    fn an_allowance_outlives_its_connection_until_it_is_full_again() {
        let mut allowances = Allowances::new(&Limits {
            rate: 1000,
            burst: 1000,
            ..Limits::default()
        });
        let gateway: GatewayId = "gw-1".parse().expect("an id");
        allowances.of(&gateway, Uptime(0)).spend(2000, Uptime(0));
        assert_eq!(allowances.of(&gateway, Uptime(10)).ready_at(), Uptime(1000));
        let _held = allowances.of(&"gw-held".parse().expect("an id"), Uptime(10));
        for n in 0..TIDY {
            allowances.of(&format!("gw-{n}-x").parse().expect("an id"), Uptime(10));
        }
        assert!(allowances.known.contains_key(&gateway), "it is in debt");
        allowances.tidy_at = 0;
        allowances.of(&gateway, Uptime(3000));
        assert_eq!(
            allowances.known.len(),
            2,
            "the one that is held, and the one just asked for"
        );
    }
}
