//! Shell: the folder that an sshd wants where root starts one, and that is not there until Debian's own unit made it.
#![expect(clippy::disallowed_methods, reason = "shell: a folder of the machine")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The folder. Source: sshd(8), FILES.
const FOLDER: &str = "/run/sshd";
/// Says that tests made it.
const OURS: &str = "/run/sshd/homeward-tests";

/// While one of these lives the folder is there; the last of all tests takes away what tests made.
#[derive(Debug)]
pub struct Separation(File);

impl Separation {
    /// Makes sure that it is there; none where this user may not, who then needs it not.
    ///
    /// # Panics
    /// When it is there and cannot be held.
    pub fn hold() -> Option<Separation> {
        loop {
            match fs::create_dir(FOLDER) {
                Ok(()) => drop(File::create(OURS)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) => return None,
            }
            // Who took it away in between had it before us: it is made again.
            let Ok(held) = File::open(FOLDER) else { continue };
            held.lock_shared().expect("a folder can be locked");
            let same = |there: fs::Metadata| held.metadata().is_ok_and(|ours| ours.ino() == there.ino());
            if fs::metadata(FOLDER).is_ok_and(same) {
                return Some(Separation(held));
            }
        }
    }
}

impl Drop for Separation {
    fn drop(&mut self) {
        let _others = self.0.unlock();
        if self.0.try_lock().is_ok() && Path::new(OURS).exists() {
            let _gone = fs::remove_file(OURS);
            let _left = fs::remove_dir(FOLDER);
        }
    }
}
