//! The settings of the SSH server that are in force: what `sshd -T` prints.
//!
//! Source: sshd(8), "-T: extended test mode", and `sshd_config(5)`.

use std::collections::BTreeMap;

use homeward_protocol::posture::fact::{Fact, Value, What, text};

use super::seen::Seen;

/// Settings that say who gets in, how, and what he may do then. Lists of algorithms are told as they are.
const TOLD: [&str; 36] = [
    "allowagentforwarding",
    "allowgroups",
    "allowstreamlocalforwarding",
    "allowtcpforwarding",
    "allowusers",
    "authenticationmethods",
    "authorizedkeyscommand",
    "authorizedkeysfile",
    "ciphers",
    "clientalivecountmax",
    "clientaliveinterval",
    "compression",
    "denygroups",
    "denyusers",
    "fingerprinthash",
    "gatewayports",
    "hostbasedauthentication",
    "ignorerhosts",
    "kbdinteractiveauthentication",
    "kexalgorithms",
    "listenaddress",
    "logingracetime",
    "loglevel",
    "macs",
    "maxauthtries",
    "maxsessions",
    "passwordauthentication",
    "permitemptypasswords",
    "permitrootlogin",
    "permittunnel",
    "permituserenvironment",
    "port",
    "pubkeyauthentication",
    "strictmodes",
    "tcpkeepalive",
    "x11forwarding",
];

/// What `sshd -T` printed: each setting with its values, several when it stands in several lines.
pub fn values(printed: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in printed.lines() {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        found.entry(name).or_default().push(value.trim());
    }
    found
}

/// The settings, one fact each. A setting that stands in several lines is a list.
pub fn settings(seen: &Seen, printed: &str) -> Vec<Fact> {
    let mut found = values(printed);
    found.retain(|name, _| TOLD.contains(name));
    let one = |(name, values): (&str, Vec<&str>)| {
        let value = match values.as_slice() {
            [one] if one.len() > homeward_protocol::posture::MAX_TEXT => Value::list(one.split(',')),
            [one] => text(one),
            several => Value::list(several.iter().copied()),
        };
        seen.about(What::Sshd, name, value)
    };
    found.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::Timestamp;

    use super::*;

    #[test]
    fn settings_are_told_and_the_rest_is_not() {
        let printed = "port 22\nlistenaddress [::]:22\nlistenaddress 0.0.0.0:22\nusepam yes\n\
            permitrootlogin without-password\nversionaddendum none\nkexalgorithms sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384\n";
        let facts = settings(&Seen::new(Timestamp::synced(0), "a test"), printed);
        let said: Vec<String> = facts.iter().map(|f| format!("{} {}", f.id, f.value)).collect();
        assert_eq!(said[1], "ssh.setting[listenaddress] [::]:22, 0.0.0.0:22");
        assert_eq!(said[2], "ssh.setting[permitrootlogin] without-password");
        assert_eq!(said.len(), 4);
        assert!(matches!(&facts[0].value, Value::List(all) if all.len() == 6));
    }
}
