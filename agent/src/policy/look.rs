//! Shell: what the agent sees of its box without rights: what is plugged in, and what listens.
#![expect(clippy::disallowed_methods, reason = "shell: reads what the kernel says")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use homeward_protocol::policy::network::Protocol;

use super::standing::Facts;

/// Longest list of sockets that is read, bytes.
const MAX_FILE: u64 = 1 << 20;

/// Adds to `facts` what is to be seen now.
pub fn look(facts: &mut Facts, clock_synced: bool) {
    facts.usb = usb(Path::new("/sys/bus/usb/devices"));
    facts.listening = listening(Path::new("/proc/net"));
    facts.clock_synced = clock_synced;
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

/// Sockets that listen beyond the loopback. Source: proc(5), `/proc/net/tcp`.
fn listening(net: &Path) -> Option<Vec<(Protocol, u16)>> {
    let mut all = BTreeSet::new();
    // TCP 0A is LISTEN; a UDP socket without a peer (07) takes from anybody.
    for (name, protocol, state) in [
        ("tcp", Protocol::Tcp, "0A"),
        ("tcp6", Protocol::Tcp, "0A"),
        ("udp", Protocol::Udp, "07"),
        ("udp6", Protocol::Udp, "07"),
    ] {
        // A kernel without IPv6 has no such file.
        let Some(text) = read(&net.join(name)) else {
            continue;
        };
        let lines = text.lines().skip(1).filter_map(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let (local, _peer, is) = (columns.next()?, columns.next()?, columns.next()?);
            let (address, port) = local.split_once(':')?;
            (is == state && !is_loopback(address)).then_some(())?;
            u16::from_str_radix(port, 16).ok()
        });
        all.extend(lines.map(|port| (protocol, port)));
    }
    (!all.is_empty() || net.join("tcp").exists()).then(|| all.into_iter().collect())
}

/// 127.0.0.0/8 and `::1`, as the kernel writes them on a little-endian machine.
fn is_loopback(address: &str) -> bool {
    let v4 = address.len() == 8 && address.ends_with("7F");
    v4 || address == "00000000000000000000000001000000"
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
