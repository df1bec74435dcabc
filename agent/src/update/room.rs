//! Shell: the folder of what comes, and how much of the disk that may take.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs;
use std::io;
use std::path::Path;

use super::delta;
use super::saved::Job;

/// What stays free beside a build, bytes: records go on being kept.
const SPARE: u64 = 16 << 20;

/// What there is, and what is wanted; bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    /// The build.
    build: u64,
    /// The delta of which it is made.
    delta: u64,
    /// What is there of it.
    have: u64,
    /// Most that the box's owner lets it take.
    most: u64,
    /// Free on the disk.
    free: u64,
}

/// Why it has none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Full {
    #[error("it takes {} MiB, and this box gives what updates bring {} MiB (update.most_mib)", mib(*.0), mib(*.1))]
    Quota(u64, u64),
    #[error("the disk has room for {} MiB, and {} MiB are needed", .0 >> 20, mib(*.1))]
    Disk(u64, u64),
}

/// Rounded up.
const fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

impl Room {
    fn check(self) -> Result<(), Full> {
        if self.build > self.most {
            return Err(Full::Quota(self.build, self.most));
        }
        let all = self.build.saturating_add(self.delta);
        let needs = all.saturating_sub(self.have).saturating_add(SPARE);
        if self.free < needs {
            return Err(Full::Disk(self.free, needs));
        }
        Ok(())
    }
}

/// Makes the folder of what comes to `place`, without what came for something else.
///
/// # Errors
/// When `job` takes more than `most` bytes, or the disk has no room for what is still to come of it.
pub(super) fn make(place: &Path, job: &Job, most: u64) -> io::Result<()> {
    let incoming = place.parent().unwrap_or(place);
    fs::create_dir_all(incoming)?;
    let stays = delta::stays(place);
    for entry in fs::read_dir(incoming)? {
        let path = entry?.path();
        if path != place && !stays.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    let have = stays
        .iter()
        .filter_map(|path| Some(fs::metadata(path).ok()?.len()))
        .sum();
    let disk = rustix::fs::statvfs(incoming)?;
    let room = Room {
        build: job.length,
        delta: job.delta.as_ref().map_or(0, |delta| delta.length),
        have,
        most,
        free: disk.f_bavail.saturating_mul(disk.f_frsize),
    };
    room.check().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const ROOM: Room = Room {
        build: 100 * MIB,
        delta: 0,
        have: 0,
        most: 100 * MIB,
        free: 116 * MIB,
    };

    #[test]
    fn a_build_takes_what_it_may_and_leaves_room_for_records() {
        assert_eq!(ROOM.check(), Ok(()));
        let larger = Room {
            build: 100 * MIB + 1,
            ..ROOM
        };
        let said = larger.check().map_err(|why| why.to_string());
        let quota = "it takes 101 MiB, and this box gives what updates bring 100 MiB (update.most_mib)";
        assert_eq!(said, Err(quota.to_owned()));
        let tight = Room {
            free: 116 * MIB - 1,
            ..ROOM
        };
        let said = tight.check().map_err(|why| why.to_string());
        assert_eq!(
            said,
            Err("the disk has room for 115 MiB, and 116 MiB are needed".to_owned())
        );
        assert!(Room { delta: 1, ..ROOM }.check().is_err());
        // What is there already needs no room.
        assert_eq!(Room { have: 1, ..tight }.check(), Ok(()));
        let most = Room {
            build: u64::MAX,
            most: u64::MAX,
            ..ROOM
        };
        assert!(most.check().is_err());
    }
}
