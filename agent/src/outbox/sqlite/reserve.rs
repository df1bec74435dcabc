//! Shell: a file that only takes up room, so that there is some when the disk is full: deleting needs room too.
#![expect(clippy::disallowed_methods, reason = "shell: a file that takes up room")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Enough for the write-ahead log of one deletion of a sixteenth of the outbox.
const SIZE: u64 = 1 << 20;

/// The file beside an outbox.
pub(super) struct Reserve(PathBuf);

impl Reserve {
    pub(super) fn beside(outbox: &Path) -> Reserve {
        Reserve(outbox.with_extension("reserve"))
    }

    /// Gives the room free. A failure shows in the retry that follows.
    pub(super) fn release(&self) {
        let _gone = fs::remove_file(&self.0);
    }

    /// Takes the room again, when there is plenty: what is left after it must hold the outbox's own work.
    pub(super) fn refill(&self) {
        if fs::metadata(&self.0).is_ok_and(|meta| meta.len() == SIZE) {
            return;
        }
        let dir = self.0.parent().unwrap_or(Path::new("."));
        let plenty =
            rustix::fs::statvfs(dir).is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) > 8 * SIZE);
        if plenty && self.fill().is_err() {
            self.release();
        }
    }

    fn fill(&self) -> std::io::Result<()> {
        let mut file = fs::File::create(&self.0)?;
        let zeros = [0u8; 4096];
        for _ in 0..SIZE / 4096 {
            file.write_all(&zeros)?;
        }
        file.sync_data()
    }
}
