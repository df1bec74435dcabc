//! Our drop-in file for sshd, and what sshd says of itself.
//!
//! The file comes first in the folder (`00-homeward.conf`): of two settings sshd takes the first. What counts is what
//! `sshd -T` says afterwards, not what the file says: a main file that includes no folder, or sets something before it,
//! is seen as drift.
//!
//! Source: `sshd_config(5)`, `sshd(8)`.

use std::collections::BTreeMap;

use homeward_protocol::policy::rules::{May, RootLogin, Sshd, UserName};

/// The settings that rules name, as `sshd -T` calls them, with the item of their point.
pub const SETTINGS: [(&str, &str); 8] = [
    ("passwordauthentication", "password-login"),
    ("kbdinteractiveauthentication", "password-login"),
    ("permitrootlogin", "root-login"),
    ("allowtcpforwarding", "tcp-forwarding"),
    ("x11forwarding", "x11-forwarding"),
    ("allowagentforwarding", "agent-forwarding"),
    ("maxauthtries", "max-auth-tries"),
    ("allowusers", "allow-users"),
];

/// What a rule wants, by the names of `sshd -T`.
pub fn wanted(rule: &Sshd) -> BTreeMap<&'static str, String> {
    let mut all = BTreeMap::new();
    let mut put = |name, value: Option<String>| {
        if let Some(value) = value {
            all.insert(name, value);
        }
    };
    let may = |may: Option<May>| may.map(|may| may.name().to_owned());
    put("passwordauthentication", may(rule.password_login));
    put("kbdinteractiveauthentication", may(rule.password_login));
    put("allowtcpforwarding", may(rule.tcp_forwarding));
    put("x11forwarding", may(rule.x11_forwarding));
    put("allowagentforwarding", may(rule.agent_forwarding));
    let root = rule.root_login.map(|root| match root {
        RootLogin::No => "no",
        RootLogin::KeysOnly => "prohibit-password",
    });
    put("permitrootlogin", root.map(str::to_owned));
    put("maxauthtries", rule.max_auth_tries.map(|tries| tries.to_string()));
    let users: Vec<&str> = rule.allow_users.iter().map(UserName::as_str).collect();
    put("allowusers", (!users.is_empty()).then(|| users.join(" ")));
    all
}

/// The drop-in file of a rule.
pub fn file(rule: &Sshd) -> String {
    let mut text = String::from(
        "# Written by Homeward from the policy of this box. Changes are put back or reported.\n",
    );
    for (name, value) in wanted(rule) {
        text.push_str(&format!("{name} {value}\n"));
    }
    text
}

/// What `sshd -T` printed, as far as rules name it. Values of one setting on several lines are joined by spaces.
pub fn read(printed: &str) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in printed.lines().filter_map(|line| line.split_once(' ')) {
        if !SETTINGS.iter().any(|(known, _)| *known == name) {
            continue;
        }
        // sshd says the older word for the same.
        let value = if value == "without-password" {
            "prohibit-password"
        } else {
            value
        };
        let kept = all.entry(name.to_owned()).or_default();
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(value);
    }
    all
}

/// What is observed at one point of a rule, and whether it is as wanted.
pub fn observed(rule: &Sshd, item: &str, seen: &BTreeMap<String, String>) -> (String, bool) {
    let wanted = wanted(rule);
    let names = SETTINGS
        .iter()
        .filter(|(_, of)| *of == item)
        .map(|(name, _)| *name);
    let mut said = Vec::new();
    let mut holds = true;
    for name in names.filter(|name| wanted.contains_key(name)) {
        let value = seen.get(name).map_or("not set", String::as_str);
        holds &= as_wanted(name, &wanted[name], value);
        said.push(format!("{name} {value}"));
    }
    (said.join(", "), holds)
}

fn as_wanted(name: &str, wanted: &str, seen: &str) -> bool {
    match name {
        // Fewer tries are stricter.
        "maxauthtries" => seen
            .parse::<u8>()
            .is_ok_and(|seen| wanted.parse().is_ok_and(|most: u8| seen <= most)),
        // Less than allowed is stricter.
        "permitrootlogin" => seen == wanted || seen == "no" || seen == "forced-commands-only",
        "allowusers" => {
            let mut users = seen.split(' ');
            users.all(|user| wanted.split(' ').any(|one| one == user))
        }
        _ if wanted == "yes" => true,
        _ => seen == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Sshd {
        let text = include_str!("../../../protocol/tests/policies/every-rule.toml");
        let policy = homeward_protocol::policy::check::check(text)
            .policy
            .expect("a policy");
        policy.sshd.expect("ruled")
    }

    #[test]
    fn what_the_file_says_holds_when_sshd_says_it_and_what_is_stricter_holds_too() {
        let seen = read(&file(&rule()));
        let items = [
            "password-login",
            "root-login",
            "tcp-forwarding",
            "max-auth-tries",
            "allow-users",
        ];
        for item in items {
            assert!(observed(&rule(), item, &seen).1, "{item}");
        }
        let with = |name: &str, value: &str, item: &str| {
            let mut other = seen.clone();
            other.insert(name.to_owned(), value.to_owned());
            observed(&rule(), item, &other)
        };
        assert!(!with("passwordauthentication", "yes", "password-login").1);
        assert!(
            !with("kbdinteractiveauthentication", "yes", "password-login").1,
            "the other way in by password"
        );
        assert!(with("maxauthtries", "2", "max-auth-tries").1);
        assert!(!with("maxauthtries", "6", "max-auth-tries").1);
        assert!(!with("allowusers", "installer stranger", "allow-users").1);
        assert_eq!(
            with("permitrootlogin", "yes", "root-login"),
            ("permitrootlogin yes".to_owned(), false)
        );
    }
}
