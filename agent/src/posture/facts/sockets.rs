//! Sockets that listen, and the program behind each.
//!
//! Source: proc(5), `/proc/net/{tcp,tcp6,udp,udp6}`: addresses are 32-bit words in the machine's own byte order, hex.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use homeward_protocol::posture::fact::{Fact, Value, What, Why, text};

use super::seen::Seen;

/// Which table of the kernel a line stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// TCP over either IP.
    Tcp,
    /// UDP over either IP.
    Udp,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Table::Tcp => "tcp",
            Table::Udp => "udp",
        }
    }
}

/// A socket that waits for somebody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listening {
    /// How it is named: `tcp/0.0.0.0:22`.
    pub name: String,
    /// Where it listens.
    pub at: SocketAddr,
    /// The kernel's number of it.
    pub inode: u64,
}

/// TCP's state "listen", and UDP's "not connected", as the kernel numbers them.
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";

/// From this port on the kernel gives ports to those who ask for any. A UDP socket there belongs to somebody who asks,
/// not to somebody who serves, as long as it is bound to no address of its own.
const GIVEN: u16 = 32_768;

/// The listening sockets of a table.
pub fn listening(table: Table, text: &str) -> Vec<Listening> {
    let wanted = match table {
        Table::Tcp => LISTEN,
        Table::Udp => UNCONNECTED,
    };
    let one = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state) = (*fields.get(1)?, *fields.get(3)?);
        let (address, port) = local.split_once(':')?;
        let (address, port) = (address_of(address)?, u16::from_str_radix(port, 16).ok()?);
        let asks = table == Table::Udp && port >= GIVEN && address.is_unspecified();
        (state == wanted && !asks).then(|| Listening {
            name: format!("{}/{address}:{port}", table.name()),
            at: SocketAddr::new(address, port),
            inode: fields.get(9).and_then(|inode| inode.parse().ok()).unwrap_or(0),
        })
    };
    text.lines().skip(1).filter_map(one).collect()
}

fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

/// The socket's number in a link of `/proc/PID/fd`: `socket:[4416457]`.
pub fn inode_of(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// One fact a socket. `owners` says which programs hold which socket; `None` when that could not be looked at.
pub fn facts(seen: &Seen, all: &[Listening], owners: Option<&BTreeMap<u64, Vec<String>>>) -> Vec<Fact> {
    let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for socket in all {
        let programs = owners.and_then(|owners| owners.get(&socket.inode));
        let known = by_name.entry(&socket.name).or_default();
        known.extend(programs.into_iter().flatten().cloned());
        known.sort();
        known.dedup();
    }
    let one = |(name, programs): (&str, Vec<String>)| {
        let value = match (owners, programs.as_slice()) {
            (None, _) => Value::Unknown(Why::NeedsRights),
            (Some(_), []) => text("the kernel, or a program that ended"),
            (Some(_), programs) => text(&programs.join(", ")),
        };
        seen.about(What::Listen, name, value)
    };
    by_name.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::Timestamp;

    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        \x20  0: 0100007F:9489 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4416457 1 0 100 0 0 10 0\n\
        \x20  1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0\n\
        \x20  2: 0100007F:0016 0100007F:8057 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0 100 0 0 10 0\n\
        \x20  3: 0100:0016 zz\n";
    const UDP6: &str = "  sl  local_address                         remote_address  st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode\n\
        \x20  9: 00000000000000000000000001000000:007B 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000   0 0 91 2 0 0\n\
        \x20 10: 00000000000000000000000000000000:EA60 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000   0 0 92 2 0 0\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn listening_sockets_are_found_with_their_programs() {
        let mut all = listening(Table::Tcp, TCP);
        all.extend(listening(Table::Udp, UDP6));
        let names: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["tcp/127.0.0.1:38025", "tcp/0.0.0.0:22", "udp/::1:123"]);
        let owners = BTreeMap::from([(77, vec!["sshd".to_owned(), "systemd".to_owned()])]);
        let seen = Seen::new(Timestamp::synced(0), "a test");
        let facts = super::facts(&seen, &all, Some(&owners));
        assert_eq!(facts[0].id.to_string(), "net.listen[tcp/0.0.0.0:22]");
        assert_eq!(facts[0].value.to_string(), "sshd, systemd");
        let blind = super::facts(&seen, &all, None);
        assert_eq!(blind[0].value, Value::Unknown(Why::NeedsRights));
    }

    #[test]
    fn links_name_sockets_and_hostile_ones_nothing() {
        assert_eq!(inode_of("socket:[4416457]"), Some(4_416_457));
        assert_eq!(inode_of("socket:[x]"), None);
        assert_eq!(inode_of("/dev/null"), None);
        assert!(listening(Table::Tcp, "x\n:::::::\n é:é é é").is_empty());
    }
}
