//! How the box booted: secure boot, lockdown, and the kernel's command line.

use homeward_protocol::posture::fact::{Fact, Value, What, Why, text};
use homeward_protocol::posture::value::MAX_LIST;

use super::seen::Seen;

/// The variable of the firmware that says whether secure boot is on. Source: UEFI 2.10, section 3.3.
pub const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Parameters whose value may be a secret, or leads to one: only their name is told.
const SECRET: [&str; 6] = ["key", "pass", "secret", "token", "cred", "auth"];

/// Secure boot: the variable holds 4 bytes of attributes and one of value. `efi` says whether the box has such firmware.
pub fn secure(seen: &Seen, efi: bool, variable: Option<&[u8]>) -> Fact {
    let value = match (efi, variable) {
        (_, Some([_, _, _, _, on])) => Value::Flag(*on == 1),
        (_, Some(_)) => Value::Unknown(Why::Failed),
        // Firmware of that kind without the variable cannot do it.
        (true, None) => Value::Flag(false),
        (false, None) => Value::Unknown(Why::NotThere),
    };
    seen.one(What::BootSecure, value)
}

/// The kernel's lockdown: `[none] integrity confidentiality`, the brackets around what is in force.
pub fn lockdown(seen: &Seen, file: Option<&str>) -> Fact {
    let chosen = file.map(|file| {
        let inner = file.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        inner.map_or(Value::Unknown(Why::Failed), |(word, _)| text(word))
    });
    seen.one(
        What::BootLockdown,
        chosen.unwrap_or(Value::Unknown(Why::NotThere)),
    )
}

/// The kernel's command line, a parameter each; values that may be secrets are left away.
pub fn parameters(seen: &Seen, cmdline: &str) -> Fact {
    let plain = |word: &str| {
        let name = word.split('=').next().unwrap_or_default();
        let lower = name.to_ascii_lowercase();
        if word.contains('=') && SECRET.iter().any(|secret| lower.contains(secret)) {
            format!("{name}=…")
        } else {
            word.to_owned()
        }
    };
    let all: Vec<String> = cmdline.split_whitespace().take(MAX_LIST).map(plain).collect();
    seen.one(What::BootParameters, Value::list(all.iter().map(String::as_str)))
}

/// The running kernel's release.
pub fn kernel(seen: &Seen, release: &str) -> Fact {
    seen.one(What::KernelRelease, text(release))
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::Timestamp;

    use super::*;

    fn seen() -> Seen {
        Seen::new(Timestamp::synced(0), "a test")
    }

    #[test]
    fn secure_boot_is_on_off_or_not_there() {
        assert_eq!(
            secure(&seen(), true, Some(&[6, 0, 0, 0, 1])).value,
            Value::Flag(true)
        );
        assert_eq!(
            secure(&seen(), true, Some(&[6, 0, 0, 0, 0])).value,
            Value::Flag(false)
        );
        assert_eq!(secure(&seen(), true, None).value, Value::Flag(false));
        assert_eq!(secure(&seen(), false, None).value, Value::Unknown(Why::NotThere));
        assert_eq!(
            secure(&seen(), true, Some(&[])).value,
            Value::Unknown(Why::Failed)
        );
    }

    #[test]
    fn lockdown_is_what_stands_in_brackets() {
        let said = |file| lockdown(&seen(), file).value.to_string();
        assert_eq!(said(Some("none [integrity] confidentiality\n")), "integrity");
        assert_eq!(lockdown(&seen(), Some("none")).value, Value::Unknown(Why::Failed));
        assert_eq!(lockdown(&seen(), None).value, Value::Unknown(Why::NotThere));
    }

    #[test]
    fn secrets_of_the_command_line_are_left_away() {
        let fact = parameters(
            &seen(),
            "BOOT_IMAGE=/vmlinuz-6.1.0-44-amd64 root=UUID=0e9 ro quiet rd.luks.key=/abc ip_password=hunter2 lockdown=integrity\n",
        );
        let said = fact.value.to_string();
        assert!(said.contains("root=UUID=0e9, ro, quiet") && said.contains("lockdown=integrity"));
        assert!(!said.contains("hunter2") && !said.contains("/abc"), "{said}");
    }
}
