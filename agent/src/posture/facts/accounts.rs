//! Who can sign in: passwords, SSH keys, and accounts that are root by another name.
//!
//! Sources: passwd(5), shadow(5), sshd(8) (`AUTHORIZED_KEYS FILE FORMAT`). Of a password only its state is told; of keys,
//! how many there are.

use std::collections::BTreeMap;

use homeward_protocol::posture::fact::{Fact, Value, What, text};

use super::seen::Seen;

/// One line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Name.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Folder.
    pub home: String,
    /// Shell.
    pub shell: String,
}

impl Account {
    /// Whether its shell lets somebody in.
    pub fn has_shell(&self) -> bool {
        !["nologin", "false", "sync"]
            .iter()
            .any(|none| self.shell.ends_with(none))
    }
}

/// Reads `/etc/passwd`; what is no line of it is left out.
pub fn accounts(passwd: &str) -> Vec<Account> {
    let one = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, _, _, home, shell] = fields.as_slice() else {
            return None;
        };
        Some(Account {
            name: (*name).to_owned(),
            uid: uid.parse().ok()?,
            home: (*home).to_owned(),
            shell: (*shell).to_owned(),
        })
    };
    passwd.lines().filter_map(one).collect()
}

/// Reads `/etc/group`: the members of each group that has some. Source: group(5).
pub fn groups(group: &str) -> BTreeMap<String, Vec<String>> {
    let one = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, _, members] = fields.as_slice() else {
            return None;
        };
        let members = members
            .split(',')
            .map(str::trim)
            .filter(|member| !member.is_empty());
        Some(((*name).to_owned(), members.map(str::to_owned).collect()))
    };
    group.lines().filter_map(one).collect()
}

/// Accounts with the number 0, beside root.
pub fn roots(seen: &Seen, all: &[Account]) -> Vec<Fact> {
    let is_root = |account: &&Account| account.uid == 0;
    let one = |account: &Account| seen.about(What::AccountRoot, &account.name, Value::Flag(true));
    all.iter().filter(is_root).map(one).collect()
}

/// How a password field stands.
fn state(field: &str) -> &'static str {
    match field {
        "" => "empty: anybody gets in",
        field if field.starts_with(['!', '*']) => "locked",
        field if field.starts_with("$1$") => "set, with a weak hash (MD5)",
        field if !field.starts_with('$') && !field.starts_with('_') => "set, with a weak hash (DES)",
        _ => "set",
    }
}

/// The state of each password that is not locked, and of every account with a shell.
pub fn passwords(seen: &Seen, all: &[Account], shadow: &str) -> Vec<Fact> {
    let lines = shadow.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.next()?))
    });
    let one = |(name, field): (&str, &str)| {
        let state = state(field);
        let account = all.iter().find(|account| account.name == name);
        let shell = account.is_some_and(Account::has_shell);
        (shell || state != "locked").then(|| seen.about(What::AccountPassword, name, text(state)))
    };
    lines.filter_map(one).collect()
}

/// How many keys an `authorized_keys` file holds.
pub fn keys(file: &str) -> u64 {
    let lines = file.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .count() as u64
}

/// The number of keys that open an account.
pub fn key_count(seen: &Seen, account: &str, count: u64) -> Fact {
    seen.about(What::AccountKeys, account, Value::Count(count))
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::Timestamp;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
        toor:x:0:0::/:/bin/sh\ncare:x:1000:1000:,,,:/home/care:/bin/bash\nbroken\n:x:::::\n";
    const SHADOW: &str = "root:*:19700:0:99999:7:::\ndaemon:*:19700::::::\ntoor::19700::::::\n\
        care:$y$j9T$abc$def:19700:0:99999:7:::\nold:$1$a$b:1::::::\nx\n";

    fn seen() -> Seen {
        Seen::new(Timestamp::synced(0), "a test")
    }

    #[test]
    fn passwords_are_told_by_their_state_and_never_by_their_hash() {
        let all = accounts(PASSWD);
        assert_eq!(all.len(), 4);
        let facts = passwords(&seen(), &all, SHADOW);
        let said: Vec<String> = facts.iter().map(|f| format!("{} {}", f.id, f.value)).collect();
        assert_eq!(
            said,
            [
                "account.password[root] locked",
                "account.password[toor] empty: anybody gets in",
                "account.password[care] set",
                "account.password[old] set, with a weak hash (MD5)",
            ]
        );
        assert_eq!(roots(&seen(), &all).len(), 2);
    }

    #[test]
    fn keys_are_counted() {
        assert_eq!(
            keys("# mine\n\nssh-ed25519 AAAA a\n  from=\"x\" ssh-rsa BBBB\n"),
            2
        );
    }
}
