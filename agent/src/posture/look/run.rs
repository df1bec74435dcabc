//! Shell: runs a program of the system, sized and timed.
#![expect(clippy::disallowed_methods, reason = "shell: starts programs, waits for them")]

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use homeward_protocol::posture::fact::Why;

/// Folders in which programs of the system lie.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// The longest output that is read, bytes.
const MAX_OUTPUT: u64 = 8 * 1024 * 1024;
/// How often it is looked whether a program that was told to stop has stopped.
const PAUSE: Duration = Duration::from_millis(20);

/// What a program printed, when it ended well within `limit`. It gets no input and a small environment of ours, and is
/// ended when it takes too long or prints too much.
pub fn printed(name: &str, arguments: &[&str], limit: Duration) -> Result<String, Why> {
    let places = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    let program = places
        .into_iter()
        .find(|path| path.exists())
        .ok_or(Why::NotThere)?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs([("LC_ALL", "C"), ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|_| Why::Failed)?;
    let output = child.stdout.take().ok_or(Why::Failed)?;
    let reading = std::thread::Builder::new().spawn(move || {
        let mut text = Vec::new();
        output.take(MAX_OUTPUT).read_to_end(&mut text).map(|_| text)
    });
    let ended = wait(&mut child, limit);
    let text = reading.map_err(|_| Why::Failed)?.join();
    match (ended, text) {
        (Ok(true), Ok(Ok(text))) => Ok(String::from_utf8_lossy(&text).into_owned()),
        (Err(why), _) => Err(why),
        _ => Err(Why::Failed),
    }
}

/// Whether it ended well.
fn wait(child: &mut Child, limit: Duration) -> Result<bool, Why> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if Instant::now() < end => std::thread::sleep(PAUSE),
            Ok(None) | Err(_) => {
                let _gone = child.kill();
                let _gone = child.wait();
                return Err(Why::TimedOut);
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
