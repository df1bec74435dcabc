//! All facts of a box, and how they travel: a numbered full report, then what differs from it.
//!
//! # Design
//! - A report of changes is against the newest full one, not against the report before: a lost one costs time, never
//!   truth. It names the number of that full report and the [`Mark`] of the whole state it leads to. Who does not know
//!   the base, or comes to another mark, asks for a full one.
//! - "Nothing changed" is a [`Still`]: the number and the mark. The server compares and writes nothing.
//! - Turned down: an HTTP-like resource per fact (a round trip each), and reports that build on one another (the first
//!   lost one spoils all that follow).

use std::collections::BTreeMap;

use ring::digest;
use serde::{Deserialize, Serialize};

use super::fact::{Fact, FactId, What};
use super::value::Value;
use crate::time::Timestamp;
use crate::wire::{self, Bytes, WireError};

/// Most facts of a box. A household box has some 150.
pub const MAX_FACTS: usize = 512;
/// Most facts of one kind: a box with more listening sockets than that is not read socket by socket.
pub const MAX_OF_A_KIND: usize = 64;
/// Most bytes of a report: what fits a record of the outbox, with the record's own name around it.
pub const MAX_REPORT: usize = crate::envelope::MAX_ITEM - 64;
/// Most bytes of a [`Still`].
pub const MAX_STILL: usize = 128;

/// A fingerprint of a whole state: the first 16 bytes of SHA-256 over its ids and values, in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark(pub [u8; 16]);

impl std::fmt::Display for Mark {
    /// Lower case hex.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Mark {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Mark, &'static str> {
        let wrong = "a mark is 32 hex digits";
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        let mut mark = [0; 16];
        for (byte, at) in mark.iter_mut().zip((0..32).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong)?;
        }
        Ok(Mark(mark))
    }
}

impl Serialize for Mark {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = Bytes::deserialize(from)?;
        let taken = bytes.0.as_slice().try_into().map(Mark);
        taken.map_err(|_| serde::de::Error::invalid_length(bytes.0.len(), &"16 bytes"))
    }
}

/// How much of the state a report holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Span {
    /// All of it.
    Full,
    /// What differs from the full report of this number: its facts are new or other ones.
    Since {
        /// The number of the full report.
        base: u64,
        /// What was there and is no more.
        gone: Vec<FactId>,
    },
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactReport {
    /// Counts a box's reports; a later one has a higher number, unless the box lost its memory.
    pub number: u64,
    /// How much it holds.
    pub span: Span,
    /// When it was made.
    pub taken_at: Timestamp,
    /// The facts, by id.
    pub facts: Vec<Fact>,
    /// The state after it.
    pub mark: Mark,
}

/// What is wrong with a report.
const TOO_MUCH: WireError = WireError::Rule("a report of facts holds too much");

impl FactReport {
    /// Whether it keeps its limits; also holds that each fact stands in it once.
    pub fn check(&self) -> Result<(), WireError> {
        let gone = match &self.span {
            Span::Full => 0,
            Span::Since { gone, .. } => gone.len(),
        };
        let sorted = self.facts.windows(2).all(|two| two[0].id < two[1].id);
        let within = self.facts.iter().all(|fact| fact.value.is_within_limits());
        if self.facts.len() > MAX_FACTS || gone > MAX_FACTS || !within {
            return Err(TOO_MUCH);
        }
        if sorted {
            Ok(())
        } else {
            Err(WireError::Rule("the facts of a report stand in order, each once"))
        }
    }
}

/// "All is as I told you": the number of the newest report, and the state's mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Still {
    /// The newest report's number.
    pub number: u64,
    /// The state.
    pub mark: Mark,
    /// The list of software that is current, when there is one: see [`super::inventory`].
    pub software: Option<Mark>,
}

impl Still {
    /// As it travels.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(self, MAX_STILL)
    }

    /// Reads one.
    pub fn decode(bytes: &[u8]) -> Result<Still, WireError> {
        wire::decode(bytes, MAX_STILL)
    }
}

/// All facts of a box at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FactSet(BTreeMap<FactId, Fact>);

impl FactSet {
    /// These facts; of two with the same id the later one counts. What is too much is left out, the last of each kind
    /// first, and counted in a fact of its own.
    pub fn new(facts: impl IntoIterator<Item = Fact>) -> FactSet {
        let mut set = FactSet::default();
        for fact in facts {
            set.0.insert(fact.id.clone(), fact);
        }
        set.fit();
        set
    }

    fn fit(&mut self) {
        let mut of_a_kind = BTreeMap::new();
        let mut kept = BTreeMap::new();
        let mut left_out: BTreeMap<What, (u64, Timestamp)> = BTreeMap::new();
        let mut room = MAX_REPORT - 8 * 1024; // ids that are gone, and what stands around the facts
        for (id, fact) in std::mem::take(&mut self.0) {
            let what = id.what();
            let count: &mut usize = of_a_kind.entry(what).or_default();
            let size = wire::encode(&fact, MAX_REPORT).map_or(usize::MAX, |bytes| bytes.len());
            if *count >= MAX_OF_A_KIND || kept.len() + What::ALL.len() >= MAX_FACTS || size > room {
                left_out.entry(what).or_insert((0, fact.taken_at)).0 += 1;
            } else {
                *count += 1;
                room -= size;
                kept.insert(id, fact);
            }
        }
        for (what, (count, at)) in left_out {
            let id = FactId::about(What::LeftOut, what.name());
            let fact = Fact::new(id.clone(), Value::Count(count), "the report's limits", at);
            kept.insert(id, fact);
        }
        self.0 = kept;
    }

    /// By id.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.0.values()
    }

    /// The fact of this id.
    pub fn get(&self, id: &FactId) -> Option<&Fact> {
        self.0.get(id)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fingerprint.
    pub fn mark(&self) -> Mark {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"homeward-facts-v1");
        for fact in self.facts() {
            let line = serde_cbor::to_vec(&(&fact.id, &fact.value)).unwrap_or_default();
            context.update(&line);
        }
        let mut mark = [0; 16];
        mark.copy_from_slice(&context.finish().as_ref()[..16]);
        Mark(mark)
    }

    /// What was found, but for what is no news to who knows this state: there the fact stays as it was told.
    #[must_use]
    pub fn settled(&self, found: FactSet) -> FactSet {
        let settle = |(id, new): (FactId, Fact)| {
            let kept = self.0.get(&id).filter(|old| !old.value.is_news(&new.value));
            let fact = kept.cloned().unwrap_or(new);
            (id, fact)
        };
        FactSet(found.0.into_iter().map(settle).collect())
    }

    /// A full report of this state.
    pub fn full(&self, number: u64, taken_at: Timestamp) -> FactReport {
        FactReport {
            number,
            span: Span::Full,
            taken_at,
            facts: self.facts().cloned().collect(),
            mark: self.mark(),
        }
    }

    /// A report of what differs from `base`, the full report of that number.
    pub fn since(&self, number: u64, (base, at_base): (u64, &FactSet), taken_at: Timestamp) -> FactReport {
        let differs = |fact: &&Fact| at_base.get(&fact.id).map(|old| &old.value) != Some(&fact.value);
        let is_gone = |id: &&FactId| !self.0.contains_key(id);
        FactReport {
            number,
            span: Span::Since {
                base,
                gone: at_base.0.keys().filter(is_gone).cloned().collect(),
            },
            taken_at,
            facts: self.facts().filter(differs).cloned().collect(),
            mark: self.mark(),
        }
    }

    /// The state after a report: `self` is the state of the full report that it names. `None` when the report's mark
    /// says that the base was another one.
    pub fn after(&self, report: &FactReport) -> Option<FactSet> {
        let mut state = match &report.span {
            Span::Full => FactSet::default(),
            Span::Since { gone, .. } => {
                let mut state = self.clone();
                for id in gone {
                    state.0.remove(id);
                }
                state
            }
        };
        for fact in &report.facts {
            state.0.insert(fact.id.clone(), fact.clone());
        }
        (state.0.len() <= MAX_FACTS && state.mark() == report.mark).then_some(state)
    }
}

/// One thing that changed between two states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which fact.
    pub id: FactId,
    /// What was so; `None` when there was no such thing.
    pub was: Option<Value>,
    /// What is so; `None` when it is gone.
    pub is: Option<Value>,
    /// When the box saw it.
    pub at: Timestamp,
}

/// What differs between two states, by id. `at` is when the box saw that something is gone.
pub fn changes(old: &FactSet, new: &FactSet, at: Timestamp) -> Vec<Change> {
    let gone = old.facts().filter(|fact| new.get(&fact.id).is_none());
    let gone = gone.map(|fact| Change {
        id: fact.id.clone(),
        was: Some(fact.value.clone()),
        is: None,
        at,
    });
    let other = new.facts().filter_map(|fact| {
        let was = old.get(&fact.id).map(|fact| fact.value.clone());
        (was.as_ref() != Some(&fact.value)).then(|| Change {
            id: fact.id.clone(),
            was,
            is: Some(fact.value.clone()),
            at: fact.taken_at,
        })
    });
    let mut all: Vec<Change> = gone.chain(other).collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

#[cfg(test)]
mod tests;
