//! Names, architectures and versions of Debian packages, and which of two versions is the newer.
//!
//! Source: Debian Policy Manual, sections 5.6.1 and 5.6.12; deb-version(7).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most bytes of a version.
const MAX_VERSION: usize = 128;
/// Most bytes of a name.
const MAX_NAME: usize = 128;
/// Most bytes of an architecture.
const MAX_ARCHITECTURE: usize = 32;

macro_rules! text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;
            fn try_from(text: String) -> Result<$name, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }
    };
}

/// The name of a package: `libssl3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DebName(String);

impl FromStr for DebName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<DebName, Self::Err> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let first = text.bytes().next().is_some_and(plain);
        let rest = text.bytes().all(|b| plain(b) || b"+-.".contains(&b));
        if first && rest && (2..=MAX_NAME).contains(&text.len()) {
            Ok(DebName(text.to_owned()))
        } else {
            Err("a package's name is made of lower case letters, digits, `+`, `-` and `.`")
        }
    }
}

text!(DebName);

/// What a package runs on: `amd64`, `arm64`, or `all`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Architecture(String);

impl Architecture {
    /// Whether it runs on a machine of the architecture `native`.
    pub fn runs_on(&self, native: &Architecture) -> bool {
        self.0 == "all" || self == native
    }
}

impl FromStr for Architecture {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Architecture, Self::Err> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let first = text.bytes().next().is_some_and(plain);
        if first && text.len() <= MAX_ARCHITECTURE && text.bytes().all(|b| plain(b) || b == b'-') {
            Ok(Architecture(text.to_owned()))
        } else {
            Err("an architecture is made of lower case letters, digits and `-`")
        }
    }
}

text!(Architecture);

/// A version: `[EPOCH:]UPSTREAM[-REVISION]`, ordered as dpkg orders it.
///
/// Two that are written differently can be equally new (`1.0` and `0:1.0`); they are equal by [`DebVersion::cmp`] then.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DebVersion(String);

impl DebVersion {
    fn parts(&self) -> (u32, &str, &str) {
        let (epoch, rest) = self.0.split_once(':').unwrap_or(("0", &self.0));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap_or(0), upstream, revision)
    }
}

impl FromStr for DebVersion {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<DebVersion, Self::Err> {
        let rule = "a package's version is [EPOCH:]UPSTREAM[-REVISION], and UPSTREAM begins with a digit";
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (Some(epoch), rest),
            None => (None, text),
        };
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<i32>().is_ok();
        let (upstream, revision) = rest.rsplit_once('-').map_or((rest, None), |(a, b)| (a, Some(b)));
        let plain = |b: u8, more: &[u8]| b.is_ascii_alphanumeric() || more.contains(&b);
        let good = text.len() <= MAX_VERSION
            && epoch.is_none_or(number)
            && upstream.bytes().next().is_some_and(|b| b.is_ascii_digit())
            && upstream.bytes().all(|b| plain(b, b".+~-:"))
            && revision.is_none_or(|all| !all.is_empty() && all.bytes().all(|b| plain(b, b".+~")));
        if good {
            Ok(DebVersion(text.to_owned()))
        } else {
            Err(rule)
        }
    }
}

text!(DebVersion);

impl Ord for DebVersion {
    fn cmp(&self, other: &DebVersion) -> Ordering {
        let (own, its) = (self.parts(), other.parts());
        let epoch = own.0.cmp(&its.0);
        let upstream = || part(own.1, its.1);
        epoch.then_with(upstream).then_with(|| part(own.2, its.2))
    }
}

impl PartialOrd for DebVersion {
    fn partial_cmp(&self, other: &DebVersion) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DebVersion {
    fn eq(&self, other: &DebVersion) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for DebVersion {}

/// Compares texts and numbers in turn, until one differs.
fn part(mut own: &str, mut its: &str) -> Ordering {
    loop {
        let (text, number);
        (text, own) = own.split_at(own.bytes().take_while(|b| !b.is_ascii_digit()).count());
        (number, its) = its.split_at(its.bytes().take_while(|b| !b.is_ascii_digit()).count());
        let order = texts(text.as_bytes(), number.as_bytes());
        if order.is_ne() {
            return order;
        }
        let (ours, theirs);
        (ours, own) = own.split_at(own.bytes().take_while(u8::is_ascii_digit).count());
        (theirs, its) = its.split_at(its.bytes().take_while(u8::is_ascii_digit).count());
        let order = numbers(ours, theirs);
        if order.is_ne() || own.is_empty() && its.is_empty() {
            return order;
        }
    }
}

/// `~` before the end, the end before letters, letters before all else.
fn texts(own: &[u8], its: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(*b),
        Some(b) => i32::from(*b) + 256,
    };
    let most = own.len().max(its.len());
    let pairs = (0..most).map(|at| weight(own.get(at)).cmp(&weight(its.get(at))));
    pairs.fold(Ordering::Equal, Ordering::then)
}

/// Of any length: without zeros in front, the longer one is the greater.
fn numbers(own: &str, its: &str) -> Ordering {
    let (own, its) = (own.trim_start_matches('0'), its.trim_start_matches('0'));
    own.len().cmp(&its.len()).then_with(|| own.cmp(its))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> DebVersion {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        // Each row from the oldest to the newest.
        let rows: [&[&str]; 7] = [
            &[
                "1.0~~", "1.0~~a", "1.0~", "1.0", "1.0a", "1.0+b1", "1.0.1", "1.1", "1.10",
            ],
            &["9", "1:0.1", "2:0"],
            &["1.2-1", "1.2-1+deb12u1", "1.2-2", "1.2-10", "1.2.0-1"],
            &["1.2", "1.2-1"],
            &[
                "3.0.11-1~deb12u2",
                "3.0.11-1",
                "3.0.20-1~deb12u1",
                "3.0.20-1~deb12u2",
            ],
            &["0.99999999999999999999999", "0.100000000000000000000000"],
            &["1-a-1", "1-b-1", "1-b-2"],
        ];
        for row in rows {
            for pair in row.windows(2) {
                assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
                assert!(version(pair[1]) > version(pair[0]), "{pair:?}");
            }
        }
        for (one, other) in [
            ("1.0", "0:1.0"),
            ("1.0-0", "1.0"),
            ("1.01", "1.1"),
            ("1.00", "1.0"),
        ] {
            assert_eq!(version(one), version(other));
        }
    }

    #[test]
    fn what_is_no_name_no_architecture_or_no_version_is_refused() {
        for good in ["libc6", "g++", "0ad", "libstdc++6", "a.b"] {
            assert!(good.parse::<DebName>().is_ok(), "{good}");
        }
        for odd in [
            "",
            "a",
            "-a",
            "../x",
            "Upper",
            "a b",
            "a_b",
            "a:amd64",
            "a/b",
            &"a".repeat(129),
        ] {
            assert!(odd.parse::<DebName>().is_err(), "{odd}");
        }
        for odd in ["", "-", "AMD64", "amd64 ", "a/b", &"a".repeat(33)] {
            assert!(odd.parse::<Architecture>().is_err(), "{odd}");
        }
        for good in ["1", "1:2.3-4", "1.2-3-4", "1:1:2-3", "2026.07~rc1+ds-0.1"] {
            assert!(good.parse::<DebVersion>().is_ok(), "{good}");
        }
        for odd in [
            "",
            "a",
            ":1",
            "x:1",
            "1-",
            "1 2",
            "1/2",
            "1_2",
            "-1",
            "2147483648:1",
            "1-2:3",
            &"1".repeat(129),
        ] {
            assert!(odd.parse::<DebVersion>().is_err(), "{odd}");
        }
        let native: Architecture = "arm64".parse().expect("an architecture");
        let runs =
            ["all", "arm64", "amd64"].map(|one| one.parse::<Architecture>().expect("one").runs_on(&native));
        assert_eq!(runs, [true, true, false]);
    }
}
