//! Shell: no service restarts because a package came, while no permission covers that.
//!
//! # Design
//! Scripts of packages restart services through `invoke-rc.d` and `deb-systemd-invoke`, which ask `policy-rc.d` first; those
//! that call `systemctl` themselves are told by `SYSTEMD_OFFLINE` that nothing is running. A `policy-rc.d` of somebody else is
//! put aside and back again; a denial that a crash left behind is taken back at the next question.
//! Source: invoke-rc.d(8); systemd, ENVIRONMENT.md.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What is asked whether a service may be restarted.
pub const POLICY: &str = "/usr/sbin/policy-rc.d";
/// 101: it may not.
const OURS: &str =
    "#!/bin/sh\n# Homeward: packages are being installed, and no permission covers restarts.\nexit 101\n";

fn aside(policy: &Path) -> PathBuf {
    policy.with_added_extension("homeward-kept")
}

fn is_ours(policy: &Path) -> bool {
    fs::read(policy).is_ok_and(|bytes| bytes == OURS.as_bytes())
}

/// From now on nothing restarts.
///
/// # Errors
/// When it could not be said; then nothing is to be installed.
pub fn deny(policy: &Path) -> io::Result<()> {
    allow(policy)?;
    match fs::rename(policy, aside(policy)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o755).open(policy)?;
    file.write_all(OURS.as_bytes())?;
    file.sync_all()
}

/// As it was before.
///
/// # Errors
/// When what was put aside could not be put back.
pub fn allow(policy: &Path) -> io::Result<()> {
    if is_ours(policy) {
        fs::remove_file(policy)?;
    }
    match fs::rename(aside(policy), policy) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_somebody_else_says_of_restarts_comes_back_also_after_a_crash() {
        let folder = tempfile::tempdir().expect("a folder");
        let policy = folder.path().join("policy-rc.d");
        deny(&policy).expect("denied");
        assert!(is_ours(&policy));
        assert_eq!(
            fs::metadata(&policy).expect("there").permissions().mode() & 0o777,
            0o755
        );
        allow(&policy).expect("allowed");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);

        fs::write(&policy, "#!/bin/sh\nexit 0\n").expect("a file");
        for _ in 0..2 {
            // Twice without a way back between: the second time ours stands there.
            deny(&policy).expect("denied");
            assert!(is_ours(&policy));
        }
        allow(&policy).expect("allowed");
        allow(&policy).expect("nothing to do");
        assert_eq!(
            fs::read_to_string(&policy).expect("theirs"),
            "#!/bin/sh\nexit 0\n"
        );
    }
}
