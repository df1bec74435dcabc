//! Facts of one moment from one place.

use homeward_protocol::posture::fact::{Fact, FactId, Value, What, Why};
use homeward_protocol::time::Timestamp;

/// Makes facts that were read at one moment in one place.
#[derive(Debug, Clone)]
pub struct Seen {
    at: Timestamp,
    source: String,
}

impl Seen {
    /// What is read now from `source`: a path, or a command in words.
    pub fn new(at: Timestamp, source: &str) -> Seen {
        Seen {
            at,
            source: source.to_owned(),
        }
    }

    /// The one fact of this kind.
    pub fn one(&self, what: What, value: Value) -> Fact {
        Fact::new(FactId::of(what), value, &self.source, self.at)
    }

    /// The fact of this kind about `subject`.
    pub fn about(&self, what: What, subject: &str, value: Value) -> Fact {
        Fact::new(FactId::about(what, subject), value, &self.source, self.at)
    }

    /// That it could not be had.
    pub fn unknown(&self, what: What, why: Why) -> Fact {
        self.one(what, Value::Unknown(why))
    }
}

/// The value behind `NAME=` in a file of such lines, without its quotes.
pub fn assigned<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == name).then(|| value.trim())
    })?;
    Some(value.trim_matches(|c| c == '"' || c == '\''))
}
