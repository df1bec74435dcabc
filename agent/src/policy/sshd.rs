//! Our drop-in file for sshd, and what sshd says of itself.
//!
//! The file only ever tightens: a setting is written when it is stricter than what sshd says of itself without our file,
//! and left out otherwise. So neither a policy, nor who has taken over the agent that asks for it, opens an sshd that its
//! box keeps closed.
//!
//! The file comes first in the folder (`00-homeward.conf`): of two settings sshd takes the first. What counts is what
//! `sshd -T` says afterwards, not what the file says: a main file that includes no folder, or sets something before it,
//! is seen as drift.
//!
//! Source: `sshd_config(5)`, `sshd(8)`.

use std::collections::BTreeMap;

use homeward_protocol::policy::rules::{May, RootLogin, Sshd, UserName};

use crate::posture::facts::sshd::values;

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

/// The drop-in file of a rule, for an sshd that says `without` of itself when our file is not there.
pub fn file(rule: &Sshd, without: &BTreeMap<String, String>) -> String {
    let mut text = String::from(
        "# Written by Homeward from the policy of this box. Changes are put back or reported.\n\
         # What the box has by itself and is as strict or stricter is left to it.\n",
    );
    let stricter = |name: &str, value: &str| is_stricter(name, value, without.get(name).map(String::as_str));
    for (name, value) in wanted(rule)
        .into_iter()
        .filter(|(name, value)| stricter(name, value))
    {
        text.push_str(&format!("{name} {value}\n"));
    }
    text
}

fn is_stricter(name: &str, value: &str, without: Option<&str>) -> bool {
    let Some(is) = without else {
        // sshd names each setting but a list that is empty: then everybody is allowed.
        return value != "yes";
    };
    match name {
        "maxauthtries" => is
            .parse::<u8>()
            .is_ok_and(|is| value.parse().is_ok_and(|most: u8| most < is)),
        "permitrootlogin" => closed(value) > closed(is),
        // Lists of several files add up: ours would let more in.
        "allowusers" => false,
        _ => value == "no" && is != "no",
    }
}

/// How closed the way in as root is.
fn closed(value: &str) -> u8 {
    match value {
        "no" => 3,
        "forced-commands-only" => 2,
        "prohibit-password" => 1,
        _ => 0,
    }
}

/// What `sshd -T` printed, as far as rules name it. Values of one setting on several lines are joined by spaces.
pub fn read(printed: &str) -> BTreeMap<String, String> {
    let named = |(name, _): &(&str, Vec<&str>)| SETTINGS.iter().any(|(known, _)| known == name);
    let word = |value: &str| match value {
        // sshd says the older word for the same.
        "without-password" => "prohibit-password".to_owned(),
        other => other.to_owned(),
    };
    let joined = |values: Vec<&str>| values.into_iter().map(word).collect::<Vec<_>>().join(" ");
    let all = values(printed).into_iter().filter(named);
    all.map(|(name, values)| (name.to_owned(), joined(values)))
        .collect()
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
        let seen = read(&file(&rule(), &BTreeMap::new()));
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

    #[test]
    fn nothing_is_written_that_the_box_has_as_strict_by_itself() {
        let lines = |rule: &Sshd, without: &str| {
            let text = file(rule, &read(without));
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let user = |name: &str| UserName::try_from(name.to_owned()).expect("a user");
        let open = Sshd {
            password_login: Some(May::Yes),
            tcp_forwarding: Some(May::Yes),
            root_login: Some(RootLogin::KeysOnly),
            max_auth_tries: Some(9),
            allow_users: vec![user("stranger")],
            ..rule()
        };
        let strict = "passwordauthentication no\nkbdinteractiveauthentication no\npermitrootlogin no\n\
            allowtcpforwarding no\nx11forwarding no\nallowagentforwarding no\nmaxauthtries 2\nallowusers nurse\n";
        assert_eq!(lines(&open, strict), [""; 0]);
        let loose = "passwordauthentication yes\nkbdinteractiveauthentication yes\npermitrootlogin yes\n\
            allowtcpforwarding local\nx11forwarding no\nallowagentforwarding no\nmaxauthtries 10\n";
        assert_eq!(
            lines(&open, loose),
            [
                "allowusers stranger",
                "maxauthtries 9",
                "permitrootlogin prohibit-password"
            ]
        );
        let closed = Sshd {
            password_login: Some(May::No),
            tcp_forwarding: Some(May::No),
            root_login: Some(RootLogin::No),
            ..open
        };
        assert_eq!(
            lines(
                &closed,
                &loose.replace("permitrootlogin yes", "permitrootlogin forced-commands-only")
            ),
            [
                "allowtcpforwarding no",
                "allowusers stranger",
                "kbdinteractiveauthentication no",
                "maxauthtries 9",
                "passwordauthentication no",
                "permitrootlogin no",
            ]
        );
    }
}
