//! Programs that run with the rights of their owner or group, held against what their package installed.
//!
//! Source: deb-md5sums(5). MD5 is what dpkg keeps: it shows a change by accident or by a careless hand, not by somebody
//! who can write dpkg's own files.

use homeward_protocol::posture::fact::{Fact, What, text};

use super::seen::Seen;

/// How a file stands to its package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// As this package installed it.
    As(String),
    /// Of this package, and another than it installed.
    Changed(String),
    /// Of this package, which says no checksum for it (a configuration file, or one that it makes itself).
    Unchecked(String),
    /// Of no package.
    Stranger,
}

impl Origin {
    /// Plain words.
    pub fn said(&self) -> String {
        match self {
            Origin::As(package) => format!("as package {package} installed it"),
            Origin::Changed(package) => format!("CHANGED since package {package} installed it"),
            Origin::Unchecked(package) => format!("of package {package}, which says no checksum"),
            Origin::Stranger => "belongs to no package".to_owned(),
        }
    }
}

/// A file with its rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetId {
    /// Where.
    pub path: String,
    /// Its mode's bits.
    pub mode: u32,
    /// Whose rights it takes.
    pub owner: u32,
    /// Which group's.
    pub group: u32,
}

impl SetId {
    fn takes(&self) -> String {
        let user = (self.mode & 0o4000 != 0).then(|| format!("user {}", self.owner));
        let group = (self.mode & 0o2000 != 0).then(|| format!("group {}", self.group));
        let all: Vec<String> = user.into_iter().chain(group).collect();
        all.join(" and ")
    }
}

/// The fact about one of them.
pub fn fact(seen: &Seen, file: &SetId, origin: &Origin) -> Fact {
    let words = format!("runs as {}; {}", file.takes(), origin.said());
    seen.about(What::SetUid, &file.path, text(&words))
}

/// The path as dpkg may have it: systems with `/bin` a link into `/usr` have packages that still say `/bin`.
pub fn spellings(path: &str) -> Vec<String> {
    let mut all = vec![path.to_owned()];
    match path.strip_prefix("/usr/") {
        Some(rest)
            if ["bin/", "sbin/", "lib"]
                .iter()
                .any(|start| rest.starts_with(start)) =>
        {
            all.push(format!("/{rest}"));
        }
        _ => {}
    }
    all
}

/// The checksum that a package's `.md5sums` has for a path (there without its first slash).
pub fn checksum<'a>(md5sums: &'a str, path: &str) -> Option<&'a str> {
    let wanted = path.trim_start_matches('/');
    md5sums.lines().find_map(|line| {
        let (sum, name) = line.split_once("  ")?;
        (name == wanted).then_some(sum)
    })
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::Timestamp;

    use super::*;

    #[test]
    fn a_setuid_program_says_whose_rights_it_takes_and_where_it_comes_from() {
        let seen = Seen::new(Timestamp::synced(0), "a test");
        let su = SetId {
            path: "/usr/bin/su".into(),
            mode: 0o104_755,
            owner: 0,
            group: 0,
        };
        let made = fact(&seen, &su, &Origin::As("util-linux".into()));
        assert_eq!(
            made.value.to_string(),
            "runs as user 0; as package util-linux installed it"
        );
        assert_eq!(spellings("/usr/bin/su"), ["/usr/bin/su", "/bin/su"]);
        assert_eq!(spellings("/opt/x"), ["/opt/x"]);
        let sums = "0cc175b9c0f1b6a831c399e269772661  bin/su\nbroken\n";
        assert_eq!(
            checksum(sums, "/bin/su"),
            Some("0cc175b9c0f1b6a831c399e269772661")
        );
        assert_eq!(checksum(sums, "/bin/s"), None);
    }
}
