//! Roles: who may say what, and how their files are called.

use std::fmt;

/// Longest name of a delegated role as a file name, in bytes: with a version and `.json` it stays below 255.
const MAX_NAME: usize = 200;

/// A role of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Says whose keys count; kept offline.
    Root,
    /// Says which snapshot is the newest, every day.
    Timestamp,
    /// Says which versions of the targets' files belong together.
    Snapshot,
    /// Says what software there is; kept offline.
    Targets,
    /// Whom targets handed a part of that to, by name.
    Delegated(String),
}

impl Role {
    /// A delegated role. `None` for one of the four names, an empty one, or one that is too long for a file.
    pub fn delegated(name: &str) -> Option<Role> {
        let taken = matches!(name, "" | "root" | "timestamp" | "snapshot" | "targets");
        let fits = quote(name, "").len() <= MAX_NAME;
        (!taken && fits).then(|| Role::Delegated(name.to_owned()))
    }

    /// Its name in metadata.
    pub fn name(&self) -> &str {
        match self {
            Role::Root => "root",
            Role::Timestamp => "timestamp",
            Role::Snapshot => "snapshot",
            Role::Targets => "targets",
            Role::Delegated(name) => name,
        }
    }

    /// What stands as `_type` in its file.
    pub const fn kind(&self) -> &'static str {
        match self {
            Role::Root => "root",
            Role::Timestamp => "timestamp",
            Role::Snapshot => "snapshot",
            Role::Targets | Role::Delegated(_) => "targets",
        }
    }

    /// Its key in the `meta` of a snapshot or a timestamp.
    pub fn listed(&self) -> String {
        format!("{}.json", self.name())
    }

    /// Its file in a box's own store: quoted, so that no name leads out of a folder.
    pub fn kept_as(&self) -> String {
        format!("{}.json", quote(self.name(), ""))
    }

    /// Its file on a server; with the version in front where snapshots are consistent.
    pub fn file(&self, version: Option<u64>) -> String {
        match version {
            Some(version) => format!("{version}.{}", self.kept_as()),
            None => self.kept_as(),
        }
    }

    /// Most bytes of its file when nobody promised a length.
    pub const fn max_bytes(&self) -> u64 {
        match self {
            Role::Root | Role::Timestamp => 512_000,
            Role::Snapshot => 2_000_000,
            Role::Targets => 5_000_000,
            // One search keeps up to 33 of them in the memory of a small box, and there are thousands of files in one.
            Role::Delegated(_) => 1_000_000,
        }
    }
}

impl fmt::Display for Role {
    /// The name, with what does not print made visible.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Delegated(name) => write!(f, "{}", name.escape_debug()),
            role => f.write_str(role.name()),
        }
    }
}

/// Percent-quotes all but letters, digits, `_.-~` and what is in `keep` (RFC 3986, sections 2.1 and 2.3).
pub fn quote(text: &str, keep: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "_.-~".contains(c) || byte.is_ascii() && keep.contains(c) {
            out.push(c);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_a_folder() {
        for (name, file) in [
            ("?", "%3F.json"),
            ("#", "%23.json"),
            ("/a", "%2Fa.json"),
            ("../a", "..%2Fa.json"),
            ("é", "%C3%A9.json"),
            ("a%2F", "a%252F.json"),
            ("..", "...json"),
        ] {
            let role = Role::delegated(name).expect("a name");
            assert_eq!(role.kept_as(), file);
            assert_eq!(role.file(Some(7)), format!("7.{file}"));
            assert_eq!(role.listed(), format!("{name}.json"));
        }
        let role = Role::delegated("vendor").expect("a name");
        assert!(role.max_bytes() * 5 <= Role::Targets.max_bytes());
        for taken in ["", "root", "targets", &"x".repeat(201), &"/".repeat(67)] {
            assert_eq!(Role::delegated(taken), None, "{taken}");
        }
    }
}
