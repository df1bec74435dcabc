//! Shell: what the agent sees of its box without rights: what is plugged in, and what listens.
#![expect(clippy::disallowed_methods, reason = "shell: reads what the kernel says")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;

use homeward_protocol::policy::net::Net;
use homeward_protocol::policy::network::Protocol;

use super::standing::Facts;
use crate::posture::facts::sockets::{self, Table};

/// Longest list of sockets that is read, bytes.
const MAX_FILE: u64 = 1 << 20;
/// Most resolvers that are taken from the box's files.
const MAX_RESOLVERS: usize = 8;

/// Adds to `facts` what is to be seen now.
pub fn look(facts: &mut Facts, clock_synced: bool) {
    facts.usb = usb(Path::new("/sys/bus/usb/devices"));
    facts.listening = listening(Path::new("/proc/net"));
    facts.resolvers = resolvers();
    facts.clock_synced = clock_synced;
}

/// The resolvers that this box is set to ask, beyond itself. Source: resolv.conf(5); with systemd's own resolver the
/// usual file names only that, and the other one whom it asks.
pub fn resolvers() -> Vec<Net> {
    let files = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];
    let texts = files.into_iter().filter_map(|path| read(Path::new(path)));
    let all: BTreeSet<Net> = texts.flat_map(|text| named(&text)).collect();
    all.into_iter().take(MAX_RESOLVERS).collect()
}

fn named(text: &str) -> Vec<Net> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        let address: IpAddr = address.split('%').next()?.parse().ok()?;
        (!address.is_loopback() && !address.is_unspecified()).then(|| Net::host(address))
    };
    text.lines().filter_map(server).collect()
}

/// The classes of all USB interfaces; none where there is no USB.
fn usb(devices: &Path) -> Option<Vec<u8>> {
    let entries = fs::read_dir(devices).ok()?;
    let class = |entry: fs::DirEntry| {
        let text = read(&entry.path().join("bInterfaceClass"))?;
        u8::from_str_radix(text.trim(), 16).ok()
    };
    let all: BTreeSet<u8> = entries.filter_map(Result::ok).filter_map(class).collect();
    Some(all.into_iter().collect())
}

/// Sockets that listen beyond the loopback, as the facts of this box name them.
fn listening(net: &Path) -> Option<Vec<(Protocol, u16)>> {
    let mut all = BTreeSet::new();
    for (name, table, protocol) in [
        ("tcp", Table::Tcp, Protocol::Tcp),
        ("tcp6", Table::Tcp, Protocol::Tcp),
        ("udp", Table::Udp, Protocol::Udp),
        ("udp6", Table::Udp, Protocol::Udp),
    ] {
        // A kernel without IPv6 has no such file.
        let text = read(&net.join(name)).unwrap_or_default();
        let there = sockets::listening(table, &text).into_iter();
        let beyond = there.filter(|socket| !socket.at.ip().to_canonical().is_loopback());
        all.extend(beyond.map(|socket| (protocol, socket.at.port())));
    }
    (!all.is_empty() || net.join("tcp").exists()).then(|| all.into_iter().collect())
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path)
        .ok()?
        .take(MAX_FILE)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests: a folder")]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_those_of_the_box_beyond_itself() {
        let text = "# by hand\nsearch home\nnameserver 127.0.0.53\nnameserver 192.0.2.53\n\
                    nameserver fe80::1%eth0\nnameserver\nnameserver x\n";
        let host = |text: &str| Net::host(text.parse().expect("an address"));
        assert_eq!(named(text), [host("192.0.2.53"), host("fe80::1")]);
    }

    #[test]
    fn sockets_of_the_loopback_and_connections_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "  sl  local_address rem_address   st tx_queue\n   \
                    0: 0100007F:1538 00000000:0000 0A 0\n   1: 00000000:0016 00000000:0000 0A 0\n   \
                    2: 0201A8C0:A1B2 0301A8C0:22B3 01 0\n";
        fs::write(folder.path().join("tcp"), text).expect("written");
        assert_eq!(listening(folder.path()), Some(vec![(Protocol::Tcp, 22)]));
        assert_eq!(listening(Path::new("/nowhere")), None);
    }
}
