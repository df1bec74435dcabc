//! The packages of the box, as each package manager keeps them.
//!
//! Sources: deb822(5) and dpkg's `lib/dpkg/parse.c` (`/var/lib/dpkg/status`); opkg keeps the same form
//! (`/usr/lib/opkg/status`); Alpine's `/lib/apk/db/installed` (apk-tools, `database.c`: one letter a field);
//! rpm(8), `--queryformat`.

use homeward_protocol::posture::inventory::{Component, Kind, Word};

/// What `rpm -qa` is asked to print: one line a package, blanks between.
pub const RPM_FORMAT: &str = "%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{ARCH} %{SOURCERPM}\n";

/// The packages of a list, and how many of them are not whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Those that are installed.
    pub components: Vec<Component>,
    /// How many are half installed or half configured.
    pub broken: u64,
    /// How many are held back from updates.
    pub held: u64,
}

/// Reads dpkg's or opkg's status file.
pub fn dpkg(kind: Kind, status: &str) -> Found {
    let mut found = Found::default();
    for stanza in status.split("\n\n") {
        let field = |name: &str| {
            stanza
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let mut state = field("Status").unwrap_or_default().split_whitespace();
        let (want, _, now) = (state.next(), state.next(), state.next());
        found.held += u64::from(want == Some("hold"));
        match now {
            Some("installed") => found.components.extend(component(kind, field)),
            Some(
                "half-installed" | "half-configured" | "unpacked" | "triggers-pending" | "triggers-awaited",
            ) => {
                found.broken += 1;
                found.components.extend(component(kind, field));
            }
            _ => {}
        }
    }
    found
}

fn component<'a>(kind: Kind, field: impl Fn(&str) -> Option<&'a str>) -> Option<Component> {
    let version: Word = field("Version")?.parse().ok()?;
    // `Source: glibc (2.36-9)`; the version stands there only when it is another one.
    let origin = field("Source").and_then(|source| {
        let (name, rest) = source.split_once(' ').unwrap_or((source, ""));
        let other = rest.trim_matches(['(', ')', ' ']).parse().ok();
        Some((name.parse().ok()?, other.unwrap_or_else(|| version.clone())))
    });
    Some(Component {
        kind,
        name: field("Package")?.parse().ok()?,
        version,
        arch: field("Architecture").and_then(|arch| arch.parse().ok()),
        origin,
    })
}

/// Reads Alpine's list.
pub fn apk(installed: &str) -> Found {
    let one = |stanza: &str| {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name));
        let (name, version): (Word, Word) = (field("P:")?.parse().ok()?, field("V:")?.parse().ok()?);
        let origin: Option<Word> = field("o:").and_then(|origin| origin.parse().ok());
        Some(Component {
            kind: Kind::Apk,
            arch: field("A:").and_then(|arch| arch.parse().ok()),
            origin: origin
                .filter(|origin| *origin != name)
                .map(|o| (o, version.clone())),
            name,
            version,
        })
    };
    Found {
        components: installed.split("\n\n").filter_map(one).collect(),
        ..Found::default()
    }
}

/// Reads what `rpm -qa` printed by [`RPM_FORMAT`].
pub fn rpm(printed: &str) -> Found {
    let one = |line: &str| {
        let mut words = line.split(' ');
        let name: Word = words.next()?.parse().ok()?;
        let version = words.next()?;
        // An epoch of 0 is none.
        let version = version.strip_prefix("0:").unwrap_or(version).parse().ok()?;
        let arch = words.next().filter(|arch| *arch != "(none)");
        let source = words.next().and_then(source_rpm);
        Some(Component {
            kind: Kind::Rpm,
            name,
            version,
            arch: arch.and_then(|arch| arch.parse().ok()),
            origin: source,
        })
    };
    Found {
        components: printed.lines().filter_map(one).collect(),
        ..Found::default()
    }
}

/// `NAME-VERSION-RELEASE.src.rpm`.
fn source_rpm(file: &str) -> Option<(Word, Word)> {
    let stem = file.strip_suffix(".src.rpm")?;
    let (rest, release) = stem.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    Some((name.parse().ok()?, format!("{version}-{release}").parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: libc6\nStatus: install ok installed\nPriority: optional\nArchitecture: amd64\n\
        Multi-Arch: same\nSource: glibc\nVersion: 2.36-9+deb12u14\nDescription: GNU C Library\n Version: 9\n\n\
        Package: libgcc-s1\nStatus: hold ok installed\nArchitecture: amd64\nSource: gcc-12 (12.2.0-14)\nVersion: 1:12.2.0-14+b1\n\n\
        Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
        Package: half\nStatus: install ok half-configured\nVersion: 2\nArchitecture: all\n\n\
        Package: bad name\nStatus: install ok installed\nVersion: 1\n\nStatus: install ok installed\n";

    #[test]
    fn dpkgs_list_gives_packages_with_their_sources() {
        let found = dpkg(Kind::Deb, STATUS);
        let said: Vec<String> = found
            .components
            .iter()
            .map(|c| {
                let origin = c
                    .origin
                    .as_ref()
                    .map(|(n, v)| format!("{} {}", n.as_str(), v.as_str()));
                format!(
                    "{} {} {}",
                    c.name.as_str(),
                    c.version.as_str(),
                    origin.unwrap_or_default()
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                "libc6 2.36-9+deb12u14 glibc 2.36-9+deb12u14",
                "libgcc-s1 1:12.2.0-14+b1 gcc-12 12.2.0-14",
                "half 2 "
            ]
        );
        assert_eq!((found.broken, found.held), (1, 1));
    }

    #[test]
    fn apk_and_rpm_are_read() {
        let apk = apk(
            "C:Q1\nP:musl\nV:1.2.5-r9\nA:x86_64\no:musl\n\nP:libcrypto3\nV:3.3.3-r0\nA:x86_64\no:openssl\n\nV:1\n",
        );
        assert_eq!(apk.components.len(), 2);
        assert_eq!(
            apk.components[1].origin.as_ref().map(|(n, _)| n.as_str()),
            Some("openssl")
        );
        let rpm = rpm(
            "openssl-libs 1:3.2.2-6.el9 x86_64 openssl-3.2.2-6.el9.src.rpm\ngpg-pubkey 0:fd-1 (none) (none)\nx\n",
        );
        assert_eq!(rpm.components.len(), 2);
        assert_eq!(rpm.components[0].version.as_str(), "1:3.2.2-6.el9");
        let source = rpm.components[0].origin.as_ref().expect("a source");
        assert_eq!((source.0.as_str(), source.1.as_str()), ("openssl", "3.2.2-6.el9"));
        assert_eq!(
            (rpm.components[1].version.as_str(), &rpm.components[1].arch),
            ("fd-1", &None)
        );
    }
}
