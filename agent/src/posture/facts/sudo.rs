//! Who may do what as another: the rules of sudo.
//!
//! Source: sudoers(5). Rules are told as they are written, not worked out: aliases keep their names.

use homeward_protocol::posture::fact::{Fact, What, text};

use super::seen::Seen;

/// The rules of one file. Continued lines are joined; comments, aliases and includes are left out; of `Defaults` only
/// those that take a check away are told.
pub fn rules(seen: &Seen, file: &str) -> Vec<Fact> {
    let joined = file.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    let one = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (first, rest) = words.split_first()?;
        let is_told = match *first {
            word if word.starts_with(['#', '@']) => false,
            word if word.ends_with("_Alias") => false,
            word if word.starts_with("Defaults") => rest.iter().any(|word| takes_away(word)),
            _ => line.contains('='),
        };
        is_told.then(|| seen.about(What::SudoRule, first, text(&rest.join(" "))))
    };
    let mut facts: Vec<Fact> = lines.filter_map(one).collect();
    number_the_same(seen, &mut facts);
    facts
}

fn takes_away(word: &str) -> bool {
    [
        "!authenticate",
        "!env_reset",
        "!requiretty",
        "targetpw",
        "rootpw",
        "!use_pty",
    ]
    .iter()
    .any(|taken| word.trim_matches(',') == *taken)
}

/// Several rules of one user each get a number of their own.
fn number_the_same(seen: &Seen, facts: &mut [Fact]) {
    let mut counts = std::collections::BTreeMap::new();
    for fact in facts {
        let count: &mut u32 = counts.entry(fact.id.clone()).or_default();
        *count += 1;
        if *count > 1 {
            let subject = format!("{} {count}", fact.id.subject().unwrap_or_default());
            *fact = seen.about(What::SudoRule, &subject, fact.value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::Timestamp;

    use super::*;

    #[test]
    fn debians_own_file_has_two_rules() {
        let file = "# This file MUST be edited with the 'visudo' command as root.\nDefaults\tenv_reset\n\
            Defaults\tsecure_path=\"/usr/sbin:/usr/bin\"\nDefaults use_pty\nCmnd_Alias X = /bin/true\n\
            root\tALL=(ALL:ALL) ALL\n%sudo\tALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n\
            care ALL=(root) NOPASSWD: /usr/bin/apt, \\\n  /usr/bin/systemctl\ncare ALL=/bin/ls\n\
            Defaults:care !authenticate\n";
        let facts = rules(&Seen::new(Timestamp::synced(0), "a test"), file);
        let said: Vec<String> = facts.iter().map(|f| format!("{} {}", f.id, f.value)).collect();
        assert_eq!(
            said,
            [
                "account.sudo[root] ALL=(ALL:ALL) ALL",
                "account.sudo[%sudo] ALL=(ALL:ALL) ALL",
                "account.sudo[care] ALL=(root) NOPASSWD: /usr/bin/apt, /usr/bin/systemctl",
                "account.sudo[care 2] ALL=/bin/ls",
                "account.sudo[Defaults:care] !authenticate",
            ]
        );
    }
}
