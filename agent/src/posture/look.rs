//! What only root may read: the questions, and what an answer may hold.
//!
//! ```text
//! agent ── one line: a word ──▶ homeward-look (systemd starts one for each question)
//!       ◀── facts as JSON, one a line, at most 256 KiB ──
//! ```
//! # Design
//! As with the keys of Bluetooth bonds, the agent, which speaks with the network, never gets the rights itself. The
//! helper has them, and no door but this: a word of the list below. It opens what the word stands for, gives its rights
//! up, reads what it opened, and answers facts: never a hash of a password, a key, or a line of a file.
//! - The agent does not trust the answer either: it is sized, each fact is parsed, and a fact that does not belong to
//!   the question is dropped.
//! - Turned down: the agent as root; `sudo` with a list of commands (each of them a door with options).

use std::fmt;
use std::str::FromStr;

use homeward_protocol::posture::fact::{Fact, What};

pub mod ask;
pub mod disks;
pub mod files;
pub mod installed;
pub mod open;
pub mod run;

/// Where the helper listens (`homeward-look.socket`).
pub const SOCKET: &str = "/run/homeward-look.sock";
/// The longest question, bytes with its end of line.
pub const MAX_QUESTION: usize = 32;
/// The longest answer, bytes.
pub const MAX_ANSWER: u64 = 256 * 1024;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// States of passwords, numbers of keys.
    Accounts,
    /// The rules of sudo.
    Sudo,
    /// The SSH server's settings.
    Sshd,
    /// The rules of the firewall that are in force.
    Firewall,
    /// Which programs hold listening sockets.
    Sockets,
    /// What is mounted, and whether it is encrypted.
    Mounts,
    /// The time source.
    Time,
    /// Bonds of Bluetooth adapters.
    Bonds,
    /// Updates that wait: a second or two of work.
    Updates,
    /// Programs with the rights of others: walks through all folders.
    SetUid,
}

impl Question {
    /// Those that are asked often.
    pub const OFTEN: [Question; 8] = [
        Question::Accounts,
        Question::Sudo,
        Question::Sshd,
        Question::Firewall,
        Question::Sockets,
        Question::Mounts,
        Question::Time,
        Question::Bonds,
    ];
    /// Those that cost something.
    pub const SELDOM: [Question; 2] = [Question::Updates, Question::SetUid];

    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Question::Accounts => "accounts",
            Question::Sudo => "sudo",
            Question::Sshd => "sshd",
            Question::Firewall => "firewall",
            Question::Sockets => "sockets",
            Question::Mounts => "mounts",
            Question::Time => "time",
            Question::Bonds => "bonds",
            Question::Updates => "updates",
            Question::SetUid => "setuid",
        }
    }

    /// What an answer may be about. The first stands for them all when there is no answer.
    pub const fn about(self) -> &'static [What] {
        match self {
            Question::Accounts => &[What::AccountPassword, What::AccountKeys],
            Question::Sudo => &[What::SudoRule],
            Question::Sshd => &[What::SshdThere, What::Sshd],
            Question::Firewall => &[
                What::Firewall,
                What::FirewallRules,
                What::FirewallInput,
                What::FirewallDigest,
            ],
            Question::Sockets => &[What::Listen],
            Question::Mounts => &[What::Mount, What::DiskEncrypted, What::DiskRoom, What::DiskFree],
            Question::Time => &[
                What::TimeSource,
                What::TimeServer,
                What::TimeSynced,
                What::TimeOffset,
            ],
            Question::Bonds => &[What::BluetoothBond],
            Question::Updates => &[What::Updates, What::UpdatesSecurity],
            Question::SetUid => &[What::SetUid],
        }
    }
}

impl FromStr for Question {
    type Err = String;
    fn from_str(text: &str) -> Result<Question, String> {
        let mut all = Question::OFTEN.into_iter().chain(Question::SELDOM);
        all.find(|question| question.word() == text)
            .ok_or_else(|| "it is no question of ours".to_owned())
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An answer as it is written: one fact a line, then an empty line, so that one that was cut off is noticed.
pub fn written(facts: &[Fact]) -> String {
    let mut text = String::new();
    for fact in facts {
        text.push_str(&serde_json::to_string(fact).unwrap_or_default());
        text.push('\n');
    }
    text.push('\n');
    text
}

/// Reads an answer. `None`: it is none, or was cut off.
pub fn read(question: Question, answer: &str) -> Option<Vec<Fact>> {
    let lines = answer.strip_suffix("\n\n").or((answer == "\n").then_some(""))?;
    let facts = lines.lines().map(|line| serde_json::from_str::<Fact>(line).ok());
    let facts: Vec<Fact> = facts.collect::<Option<_>>()?;
    let belongs = |fact: &Fact| question.about().contains(&fact.id.what()) && fact.value.is_within_limits();
    Some(facts.into_iter().filter(belongs).collect())
}

#[cfg(test)]
mod tests {
    use homeward_protocol::posture::fact::{FactId, Value, text};
    use homeward_protocol::time::Timestamp;

    use super::*;

    fn fact(what: What) -> Fact {
        Fact::new(FactId::of(what), text("x"), "a test", Timestamp::synced(0))
    }

    #[test]
    fn an_answer_reads_back_and_half_of_one_does_not() {
        let facts = vec![fact(What::Firewall), fact(What::FirewallRules)];
        let answer = written(&facts);
        assert_eq!(read(Question::Firewall, &answer), Some(facts));
        for cut in 0..answer.len() {
            assert_eq!(read(Question::Firewall, &answer[..cut]), None, "cut to {cut}");
        }
        assert_eq!(read(Question::Sudo, "\n"), Some(Vec::new()));
    }

    #[test]
    fn what_does_not_belong_to_the_question_is_dropped() {
        let mut odd = fact(What::Firewall);
        odd.value = Value::Percent(101);
        let answer = written(&[fact(What::AgentIntegrity), odd, fact(What::Firewall)]);
        assert_eq!(
            read(Question::Firewall, &answer).map(|facts| facts.len()),
            Some(1)
        );
    }

    #[test]
    fn every_question_has_a_word_that_fits() {
        for question in Question::OFTEN.into_iter().chain(Question::SELDOM) {
            assert_eq!(question.word().parse(), Ok(question));
            assert!(question.word().len() < MAX_QUESTION && !question.about().is_empty());
        }
        assert!("accounts ".parse::<Question>().is_err() && "".parse::<Question>().is_err());
    }
}
