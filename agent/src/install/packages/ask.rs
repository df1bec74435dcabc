//! What is asked of the helper that installs packages, and what it answers.
//!
//! ```text
//! See                         State
//! Install(set)                Done | Later | Refused | Stays
//! Follow(files)               Go | Later | Refused
//!   the files of metadata     Follows | Later
//! Stage(offer)                Go | Later | Refused
//!   the files of metadata     Go | Later | Refused
//!   the bundle                Staged | Later | Refused
//! ```
//! Questions and answers are one line of JSON each; bytes follow a question only when it was answered by [`Answer::Go`].
//! A question that it does not know it answers by [`Answer::Later`]; a helper from before [`Request::Follow`] ends without a
//! word there.

use serde::{Deserialize, Serialize};

use homeward_protocol::release::Version;

use crate::slot::Digest;

/// Where the helper listens.
pub const SOCKET: &str = "/run/homeward-packages.sock";
/// Longest question or answer, bytes.
pub const MAX_LINE: usize = 64 * 1024;
/// Most files of metadata.
pub const MAX_FILES: usize = 300;
/// Most bytes of them together.
pub const MAX_METADATA: u64 = 24 << 20;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Request {
    /// How it stands.
    See,
    /// Keep what you can believe of these files of metadata, by their names on a server, each with its length in bytes, in
    /// the order in which they follow. Nothing is taken or installed.
    Follow(Vec<(String, u64)>),
    /// Take this bundle, and check it. Nothing is installed.
    Stage(Offer),
    /// Install what was staged.
    Install(Install),
}

/// What is to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The target's path.
    pub path: String,
    /// Files of metadata that vouch for it, by their names on a server, each with its length in bytes, in the order in
    /// which they follow.
    pub files: Vec<(String, u64)>,
    /// Bytes of the bundle.
    pub length: u64,
}

/// What is to be installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Install {
    /// The bundle's SHA-256.
    pub sha256: Digest,
    /// Whether a permission covers that services restart.
    pub restarts: Restarts,
    /// How long it may take.
    pub seconds: u64,
}

/// Whether services may restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restarts {
    /// They may, if the release says so, too.
    Allowed,
    /// They go on with what they have loaded.
    Denied,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// How it stands.
    State(State),
    /// What was announced may follow.
    Go,
    /// What it believes by now.
    Follows(Follows),
    /// It is staged.
    Staged,
    /// It is installed, exactly.
    Done,
    /// It may work another time, why: nothing was changed, or what was begun is gone on with then.
    Later(String),
    /// Nothing was changed, and it is never taken: why.
    Refused(String),
    /// Something was changed and is not as the release says: why.
    Stays(String),
}

/// What is believed after files of metadata came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Follows {
    /// Version of the root by which releases are believed from now on.
    pub root: u64,
    /// Why it believes no more of what came than it does; none where it believes all of it.
    pub ended: Option<String>,
}

/// How the helper stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of the root by which it believes releases; none until it was given one.
    pub trusts: Option<u64>,
    /// The release that it put in place last.
    pub version: Version,
    /// The bundle of that.
    pub done: Option<Digest>,
    /// The bundle that lies ready.
    pub staged: Option<Digest>,
    /// The bundle that was begun and is not whole.
    pub begun: Option<Digest>,
    /// What is not whole, as dpkg says.
    pub unfinished: Option<String>,
}

/// A text from a program, made fit for an answer: without what does not print, and short.
pub fn fit(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_strictly_and_a_text_is_made_fit() {
        let install = Request::Install(Install {
            sha256: Digest([7; 32]),
            restarts: Restarts::Denied,
            seconds: 60,
        });
        let line = serde_json::to_string(&install).expect("JSON");
        assert_eq!(serde_json::from_str::<Request>(&line).ok(), Some(install));
        for odd in [
            "{}",
            "\"install\"",
            "{\"install\":{\"sha256\":\"07\",\"restarts\":\"denied\",\"seconds\":1}}",
            "{\"see\":{},\"stage\":{}}",
            "{\"run\":\"/bin/sh\"}",
        ] {
            assert!(serde_json::from_str::<Request>(odd).is_err(), "{odd}");
        }
        assert_eq!(fit("E: \u{1b}[1mno\n\nway\t "), "E: [1mno way");
        assert_eq!(fit(&"long ".repeat(200)).len(), 300);
    }
}
