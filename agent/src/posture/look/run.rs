//! Shell: what a program of the system prints.
#![expect(clippy::disallowed_methods, reason = "shell: starts programs")]

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use homeward_protocol::posture::fact::Why;

use crate::program::run;

/// Folders in which programs of the system lie.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What a program printed, when it ended well within `limit`. It gets no input.
pub fn printed(name: &str, arguments: &[&str], limit: Duration) -> Result<String, Why> {
    let places = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    let program = places
        .into_iter()
        .find(|path| path.exists())
        .ok_or(Why::NotThere)?;
    let output = run(Command::new(program).args(arguments), &[], limit).map_err(|e| match e.kind() {
        io::ErrorKind::TimedOut => Why::TimedOut,
        _ => Why::Failed,
    })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Why::Failed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended_and_one_that_is_not_there_is_said() {
        let limit = Duration::from_secs(5);
        assert_eq!(printed("echo", &["a"], limit), Ok("a\n".into()));
        assert_eq!(printed("no-such-program", &[], limit), Err(Why::NotThere));
        assert_eq!(printed("false", &[], limit), Err(Why::Failed));
        let begun = Instant::now();
        assert_eq!(
            printed("sleep", &["60"], Duration::from_millis(100)),
            Err(Why::TimedOut)
        );
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
