//! Shell: what is mounted, whether it is encrypted, how much room there is.
#![expect(clippy::disallowed_methods, reason = "shell: reads what the kernel says")]

use std::path::Path;

use homeward_protocol::posture::fact::Fact;
use homeward_protocol::time::Timestamp;

use super::files::{names, text};
use crate::posture::facts::disks::{self, Layers, Mounted};
use crate::posture::facts::seen::Seen;

/// What is mounted as the box's first program sees it: a service has a view of its own, in which most is read-only.
pub fn mountinfo() -> String {
    let all = ["/proc/1/mountinfo", "/proc/self/mountinfo"];
    all.iter().find_map(text).unwrap_or_default()
}

/// Mounts, with what lies below each, and its room.
pub fn facts(at: Timestamp, mountinfo: &str) -> Vec<Fact> {
    let mounts = disks::mounted(mountinfo);
    let mut facts = disks::mounts(&Seen::new(at, "/proc/1/mountinfo"), &mounts);
    let on_disk = |mount: &&Mounted| !["tmpfs", "overlay", "squashfs"].contains(&mount.kind.as_str());
    for mount in mounts.iter().filter(on_disk) {
        let layers = layers(&Path::new("/sys/dev/block").join(&mount.device));
        facts.push(disks::encryption(
            &Seen::new(at, "/sys/dev/block"),
            &mount.at,
            &layers,
        ));
        facts.extend(room(at, &mount.at));
    }
    facts
}

/// Size and free room of the file system that this folder lies on.
pub fn room(at: Timestamp, folder: &str) -> Vec<Fact> {
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        return Vec::new();
    };
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    let seen = Seen::new(at, "statvfs");
    disks::room(&seen, folder, bytes(disk.f_blocks), bytes(disk.f_bavail))
}

/// What lies below a block device, as deep as mappers are stacked in practice.
fn layers(block: &Path) -> Layers {
    let mut found = Layers {
        mapped: Vec::new(),
        known: block.is_dir(),
    };
    let mut below = vec![block.to_owned()];
    for _depth in 0..6 {
        found
            .mapped
            .extend(below.iter().filter_map(|device| text(device.join("dm/uuid"))));
        below = below
            .iter()
            .flat_map(|device| names(device.join("slaves")))
            .collect();
    }
    found
}
