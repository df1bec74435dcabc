//! Mounted file systems, what they lie on, and whether that is encrypted.
//!
//! Sources: proc(5), `/proc/self/mountinfo`; kernel, `Documentation/ABI/testing/sysfs-block-dm` (`dm/uuid`), whose value
//! cryptsetup begins with `CRYPT-`.

use std::collections::BTreeMap;

use homeward_protocol::posture::fact::{Fact, Value, What, Why, text};
use homeward_protocol::posture::value::MAX_LIST;

use super::seen::Seen;

/// File systems that lie on a disk. What the kernel makes up (proc, cgroup …) is left out, but `tmpfs`.
const ON_DISK: [&str; 10] = [
    "ext2", "ext3", "ext4", "btrfs", "xfs", "f2fs", "vfat", "squashfs", "erofs", "overlay",
];
/// Options that say what may be done there; others are tuning.
const TOLD: [&str; 5] = ["ro", "rw", "nosuid", "nodev", "noexec"];

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub at: String,
    /// What kind.
    pub kind: String,
    /// The device as `major:minor`.
    pub device: String,
    /// What may be done there.
    pub options: Vec<String>,
}

/// Reads `/proc/self/mountinfo`; of several mounts at one place the last counts.
pub fn mounted(mountinfo: &str) -> Vec<Mounted> {
    let mut found = BTreeMap::new();
    for line in mountinfo.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let dash = fields.iter().position(|field| *field == "-");
        let kind = dash.and_then(|at| fields.get(at + 1));
        let (Some(kind), [_, _, device, _, at, options, ..]) = (kind, fields.as_slice()) else {
            continue;
        };
        let at = unescaped(at);
        let one = Mounted {
            at: at.clone(),
            kind: (*kind).to_owned(),
            device: (*device).to_owned(),
            options: options.split(',').map(str::to_owned).collect(),
        };
        found.insert(at, one);
    }
    found.into_values().filter(is_told).collect()
}

/// What is bound into a container or made for one session is not the box's.
fn is_told(mounted: &Mounted) -> bool {
    let transient = ["/run/user/", "/var/lib/docker/", "/run/credentials/", "/snap/"];
    let kind = mounted.kind.as_str();
    let told = ON_DISK.contains(&kind)
        || kind == "tmpfs" && ["/tmp", "/dev/shm", "/run"].contains(&mounted.at.as_str());
    told && !transient.iter().any(|prefix| mounted.at.starts_with(prefix))
}

/// Blanks and the like stand as three octal digits.
fn unescaped(path: &str) -> String {
    let mut out = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Kind and options of each.
pub fn mounts(seen: &Seen, mounted: &[Mounted]) -> Vec<Fact> {
    let one = |m: &Mounted| {
        let told = TOLD
            .iter()
            .filter(|option| m.options.iter().any(|o| o == *option));
        let words = std::iter::once(m.kind.as_str()).chain(told.copied());
        seen.about(What::Mount, &m.at, Value::list(words.take(MAX_LIST)))
    };
    mounted.iter().map(one).collect()
}

/// What a device is made of: its mapper's `dm/uuid` when it has one, and whether something below it is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layers {
    /// The `dm/uuid` of it and of all that it lies on.
    pub mapped: Vec<String>,
    /// Whether its directory in `/sys/dev/block` was found.
    pub known: bool,
}

/// Whether the disk below a mounted file system is encrypted.
pub fn encryption(seen: &Seen, at: &str, layers: &Layers) -> Fact {
    let crypt = layers
        .mapped
        .iter()
        .find_map(|uuid| uuid.trim().strip_prefix("CRYPT-"));
    let value = match crypt {
        Some(rest) => text(&rest.split('-').next().unwrap_or_default().to_ascii_lowercase()),
        None if layers.known => text("none"),
        None => Value::Unknown(Why::Failed),
    };
    seen.about(What::DiskEncrypted, at, value)
}

/// Size and free room.
pub fn room(seen: &Seen, at: &str, total: u64, free: u64) -> Vec<Fact> {
    if total == 0 {
        return Vec::new();
    }
    let share = u8::try_from(u128::from(free) * 100 / u128::from(total))
        .unwrap_or(100)
        .min(100);
    vec![
        seen.about(What::DiskRoom, at, Value::Bytes(total)),
        seen.about(What::DiskFree, at, Value::Percent(share)),
    ]
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::Timestamp;

    use super::*;

    const INFO: &str = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/mapper/root rw,discard\n\
        25 24 0:23 / /dev/shm rw,nosuid,nodev - tmpfs tmpfs rw\n\
        31 27 8:1 / /boot/efi rw,relatime - vfat /dev/sda1 rw\n\
        32 27 8:2 / /media/a\\040b ro,nosuid,nodev,noexec - ext4 /dev/sdb1 ro\n\
        broken\n33 27 8:3 / /x\n";

    fn seen() -> Seen {
        Seen::new(Timestamp::synced(0), "a test")
    }

    #[test]
    fn mounts_of_disks_are_told_and_the_kernels_own_are_not() {
        let found = mounted(INFO);
        let at: Vec<&str> = found.iter().map(|m| m.at.as_str()).collect();
        assert_eq!(at, ["/", "/boot/efi", "/dev/shm", "/media/a b"]);
        let facts = mounts(&seen(), &found);
        assert_eq!(facts[0].value.to_string(), "ext4, rw");
        assert_eq!(facts[3].value.to_string(), "ext4, ro, nosuid, nodev, noexec");
    }

    #[test]
    fn a_disk_is_encrypted_when_any_layer_below_is() {
        let layers = |mapped: &[&str]| Layers {
            mapped: mapped.iter().map(|uuid| (*uuid).to_owned()).collect(),
            known: true,
        };
        let said = |layers| encryption(&seen(), "/", &layers).value.to_string();
        assert_eq!(
            said(layers(&["LVM-abc\n", "CRYPT-LUKS2-0123-sda3_crypt\n"])),
            "luks2"
        );
        assert_eq!(said(layers(&["LVM-abc"])), "none");
        assert!(matches!(
            encryption(&seen(), "/", &Layers::default()).value,
            Value::Unknown(_)
        ));
    }

    #[test]
    fn room_is_a_share_and_hostile_numbers_do_not_panic() {
        assert_eq!(room(&seen(), "/", 200, 50)[1].value, Value::Percent(25));
        assert_eq!(room(&seen(), "/", 1, u64::MAX)[1].value, Value::Percent(100));
        assert!(room(&seen(), "/", 0, 0).is_empty());
        assert_eq!(unescaped("a\\"), "a\\");
        assert_eq!(unescaped("\\777x"), "\\777x");
    }
}
