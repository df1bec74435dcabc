//! Updates that wait, as the package manager works them out.
//!
//! Source: apt-get(8), `--simulate`: one line `Inst NAME [OLD] (NEW ORIGIN[, ORIGIN]... [ARCH])` a package.

use homeward_protocol::posture::fact::{Fact, Value, What, Why};

use super::seen::{Seen, assigned};

/// What `apt-get -s dist-upgrade` prints. An update is one of security when one of its origins says so.
pub fn apt(seen: &Seen, printed: &str) -> Vec<Fact> {
    // A package that is new has no old version in brackets.
    let is_update = |line: &&str| {
        let mut words = line.split(' ');
        words.next() == Some("Inst") && words.nth(1).is_some_and(|word| word.starts_with('['))
    };
    let installs = || printed.lines().filter(is_update);
    let is_security = |line: &&str| {
        let origins = line.split_once('(').map_or("", |(_, rest)| rest);
        origins.contains("-security") || origins.contains("Debian-Security")
    };
    // Without this word nothing was worked out: a lock, no lists, a broken set.
    if !printed.contains("upgraded,") {
        return vec![seen.unknown(What::Updates, Why::Failed)];
    }
    let security = installs().filter(is_security).count() as u64;
    vec![
        seen.one(What::Updates, Value::Count(installs().count() as u64)),
        seen.one(What::UpdatesSecurity, Value::Count(security)),
    ]
}

/// When the lists were last fetched: the newest change of a file there, milliseconds since 1970, to the hour.
pub fn lists(seen: &Seen, newest_ms: Option<i64>) -> Fact {
    let hour = 3_600_000;
    let value = newest_ms.map_or(Value::Unknown(Why::NotThere), |ms| {
        Value::Moment(ms - ms.rem_euclid(hour))
    });
    seen.one(What::UpdatesLists, value)
}

/// Whether security updates install themselves: apt's periodic settings, all files put together. Source:
/// `/usr/lib/apt/apt.systemd.daily`. The last line that says it counts.
pub fn automatic(seen: &Seen, settings: &str) -> Fact {
    let days = setting(settings, "APT::Periodic::Unattended-Upgrade");
    let on = days.is_some_and(|days| !days.is_empty() && days != "0");
    seen.one(What::UpdatesSelf, Value::Flag(on))
}

/// The value of one of apt's settings, all files put together: the last line that says it counts. Source: apt.conf(5).
pub fn setting<'a>(settings: &'a str, name: &str) -> Option<&'a str> {
    settings.lines().rev().find_map(|line| {
        let rest = line.trim().strip_prefix(name)?;
        let value = rest.trim().trim_end_matches(';').trim().trim_matches('"').trim();
        // A longer name that begins with this one is another setting.
        rest.starts_with([' ', '\t']).then_some(value)
    })
}

/// Whether a package asked for a reboot: `/run/reboot-required`, which Debian's packages touch.
pub fn reboot(seen: &Seen, asked: bool) -> Fact {
    seen.one(What::UpdatesReboot, Value::Flag(asked))
}

/// `ID` of `/etc/os-release`, and `VERSION_ID`.
pub fn system(os_release: &str) -> (Option<&str>, Option<&str>) {
    (assigned(os_release, "ID"), assigned(os_release, "VERSION_ID"))
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::Timestamp;

    use super::*;

    fn seen() -> Seen {
        Seen::new(Timestamp::synced(0), "a test")
    }

    #[test]
    fn updates_and_those_of_security_are_counted() {
        let printed = "Reading package lists...\nThe following packages will be upgraded:\n  base-files bash libgcrypt20\n\
            3 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.\n\
            Inst base-files [12.4+deb12u11] (12.4+deb12u15 Debian:12.15/oldstable [amd64])\n\
            Inst libgcrypt20 [1.10.1-3] (1.10.1-3+deb12u1 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64])\n\
            Inst bash [5.2.15-2+b8] (5.2.15-2+b13 Debian:12.15/oldstable [amd64]) []\n\
            Inst linux-image-new (6.1.170-1 Debian-Security:12/oldstable-security [amd64])\n\
            Conf bash (5.2.15-2+b13 Debian:12.15/oldstable [amd64])\n";
        let facts = apt(&seen(), printed);
        assert_eq!(facts[0].value, Value::Count(3));
        assert_eq!(facts[1].value, Value::Count(1));
        assert!(matches!(
            apt(&seen(), "E: Could not get lock")[0].value,
            Value::Unknown(_)
        ));
    }

    #[test]
    fn updates_install_themselves_when_apt_is_told_so() {
        let on = "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n";
        assert_eq!(automatic(&seen(), on).value, Value::Flag(true));
        assert_eq!(
            automatic(&seen(), "APT::Periodic::Unattended-Upgrade \"0\";").value,
            Value::Flag(false)
        );
        assert_eq!(automatic(&seen(), "").value, Value::Flag(false));
        assert_eq!(lists(&seen(), Some(3_600_001)).value, Value::Moment(3_600_000));
    }
}
