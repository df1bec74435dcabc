//! Shell: looks at the box.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: reads what the kernel and the system say"
)]

pub mod accounts;
pub mod boot;
pub mod disks;
pub mod firewall;
pub mod machine;
pub mod os;
pub mod own;
pub mod packages;
pub mod plugged;
pub mod seen;
pub mod setuid;
pub mod sockets;
pub mod sshd;
pub mod sudo;
pub mod support;
pub mod timing;
pub mod updates;

use std::fs;
use std::io::Read as _;
use std::path::Path;

use homeward_protocol::id::BootId;
use homeward_protocol::posture::{Clock as ClockFacts, Disk, ShortText};

use super::Facts;
use crate::clock::Clock;

/// Longest system file that is read, bytes.
const MAX_FILE: u64 = 16 * 1024;

/// Takes the facts. What cannot be read is said to be unknown. `outbox_bytes` is what the outbox holds.
pub fn gather(data: &Path, outbox_bytes: u64, clock: &Clock) -> Facts {
    let now = clock.now();
    let kernel = rustix::system::uname();
    let disk = rustix::fs::statvfs(data).ok();
    let bytes = |blocks: fn(&rustix::fs::StatVfs) -> u64| {
        disk.as_ref()
            .map_or(0, |disk| blocks(disk).saturating_mul(disk.f_frsize))
    };
    Facts {
        taken_at: now,
        os: os_release(),
        kernel: ShortText::cut(&kernel.release().to_string_lossy()),
        uptime: clock.uptime(),
        boot: boot_id(),
        disk: Disk {
            total_bytes: bytes(|disk| disk.f_blocks),
            free_bytes: bytes(|disk| disk.f_bavail),
            outbox_bytes,
        },
        clock: ClockFacts {
            trust: now.trust,
            error_ms: None,
        },
    }
}

fn os_release() -> ShortText {
    let text = read("/etc/os-release").unwrap_or_default();
    let pretty = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    ShortText::cut(pretty.unwrap_or("unknown").trim_matches('"'))
}

/// Which boot this is, by the kernel's name.
pub fn boot_id() -> BootId {
    let id = read("/proc/sys/kernel/random/boot_id").and_then(|text| text.trim().parse().ok());
    id.unwrap_or_else(unknown_boot)
}

fn unknown_boot() -> BootId {
    "unknown-boot".parse().expect("a constant of the right form")
}

fn read(path: &str) -> Option<String> {
    let mut text = String::new();
    let file = fs::File::open(path).ok()?;
    file.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_box_has_a_kernel_a_boot_and_a_disk() {
        let facts = gather(Path::new("/"), 0, &Clock::with_floor(0));
        assert!(!facts.kernel.as_str().is_empty());
        assert_ne!(facts.boot, unknown_boot());
        assert!(facts.disk.total_bytes > facts.disk.free_bytes);
    }
}
