//! What else on the box restarts things at hours of its own, and asks nobody: the interlock is not effective against it.
//!
//! # Design
//! Nothing here is switched off: that is for whoever runs the box, and perhaps his only way to security updates. It is said,
//! so that nobody relies on quiet that is not kept. What cannot be read says nothing.

pub mod look;

use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Timestamp;

use crate::posture::facts::updates::setting;

/// What lies on the box.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// apt's settings, all files put together in their order.
    pub apt: String,
    /// Whether the program that installs updates by itself is there, and its timer is not masked.
    pub upgrades: bool,
    /// needrestart's settings, all files put together in their order; none where it is not installed.
    pub needrestart: Option<String>,
    /// What systemd keeps of a shutdown that somebody set.
    pub shutdown: Option<String>,
}

/// What may disturb the home without asking, each in a few words.
///
/// Sources: `/usr/lib/apt/apt.systemd.daily`; Debian, unattended-upgrades, `50unattended-upgrades`; needrestart, README.md,
/// `$nrconf{restart}`; systemd, `src/login/logind-dbus.c`, `/run/systemd/shutdown/scheduled`.
pub fn beside(seen: &Seen) -> Vec<ShortText> {
    let mut all = Vec::new();
    let says = |name: &str| setting(&seen.apt, name).is_some_and(is_on);
    let enabled = setting(&seen.apt, "APT::Periodic::Enable").is_none_or(is_on);
    if seen.upgrades && enabled && says("APT::Periodic::Unattended-Upgrade") {
        all.push(
            "security updates install themselves at hours of their own, and restart what they need to"
                .to_owned(),
        );
        if says("Unattended-Upgrade::Automatic-Reboot") {
            all.push("the box reboots by itself after such updates".to_owned());
        }
    }
    if seen.needrestart.as_deref().is_some_and(restarts) {
        all.push("needrestart restarts services by itself after packages came".to_owned());
    }
    if let Some((what, at)) = seen.shutdown.as_deref().and_then(planned) {
        all.push(format!("somebody set the box to {what} at {at}"));
    }
    all.iter().map(|text| ShortText::cut(text)).collect()
}

fn is_on(value: &str) -> bool {
    !matches!(
        value.to_ascii_lowercase().as_str(),
        "" | "0" | "no" | "false" | "off" | "disable"
    )
}

/// `a`: automatically. Its other values ask or list.
fn restarts(settings: &str) -> bool {
    let newest = settings.lines().rev().find_map(|line| {
        let value = line.trim().strip_prefix("$nrconf{restart}")?;
        Some(value.trim_matches([' ', '\t', '=', ';', '\'', '"']))
    });
    newest == Some("a")
}

/// What is set, and when.
fn planned(scheduled: &str) -> Option<(&'static str, Timestamp)> {
    let of = |name: &str| scheduled.lines().find_map(|line| line.strip_prefix(name));
    let what = match of("MODE=")? {
        "reboot" => "reboot",
        "poweroff" | "halt" => "switch itself off",
        "kexec" => "start another kernel",
        // A dry run, and what is not known.
        _ => return None,
    };
    let us: i64 = of("USEC=")?.parse().ok()?;
    Some((what, Timestamp::synced(us / 1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_says_nothing() {
        for shutdown in [
            "",
            "MODE=reboot",
            "USEC=x\nMODE=reboot",
            "USEC=1\nMODE=dry-reboot",
            "USEC=99999999999999999999\nMODE=reboot",
        ] {
            let seen = Seen {
                shutdown: Some(shutdown.to_owned()),
                apt: format!("APT::Periodic::Unattended-Upgrade\n{shutdown}"),
                upgrades: true,
                needrestart: Some(shutdown.to_owned()),
            };
            assert!(beside(&seen).is_empty(), "{shutdown:?}");
        }
    }
}
