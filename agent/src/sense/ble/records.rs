//! A sensor's stored records, each taken once and none left out.
//!
//! The sensor is asked from the newest record that is known to be kept, that one included (the anchor). If the
//! anchor comes back, everything after it is new. If it does not (a new session, a full memory), or if the newest
//! record is still unknown after that (a numbering that began anew), all records are asked for, and those already kept
//! are told by their keys. A lost link means asking again.
//!
//! # Design
//! - What is known goes to the disk in the same commit as the records ([`Progress`]): a power cut forgets both or
//!   neither.
//! - The anchor moves to a record when a higher one has come behind it, or the sensor says that it is done: should a
//!   sensor send the newest first, a cut between would otherwise leave out the older ones.
//! - One thing cannot be told from the outside: a numbering that begins anew and passes the anchor's number before the
//!   next visit. The records below it come with the next question for everything, and so late.
//! - We never delete: the memory is the patient's own.

use std::collections::{BTreeSet, VecDeque};

use homeward_devices::ble::{DateTime, DeviceClock, Measured};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::outbox::{KEPT_KEYS, Progress, RecordHash};

/// Something that came from a sensor's memory or may come again from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its number, when it has one.
    pub sequence: Option<u16>,
    /// What tells it from all others of this association.
    pub key: RecordHash,
}

/// Whether a record is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is kept already.
    Known,
    /// It is new, and may have been measured before the sensor was associated.
    New,
    /// It is new, and everything older was taken before: it was measured while the association stood.
    NewSince,
}

/// What the sensor is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// All records.
    All,
    /// This number and those after it.
    From(u16),
    /// The newest one: is it known? A numbering that began anew hides behind the old numbers otherwise.
    Last,
}

/// What is kept over a restart, beside the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Cursor {
    /// Which association it belongs to: when that began, milliseconds since 1970.
    since: i64,
    /// The newest record behind which nothing is left out.
    anchor: Option<(u16, RecordHash)>,
    /// Nothing is known to be left out before the anchor.
    whole: bool,
    /// Everything that the sensor held was taken once under this association.
    taken_all: bool,
}

/// How far one sensor's records have been taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    stream: String,
    cursor: Cursor,
    known: BTreeSet<RecordHash>,
    order: VecDeque<RecordHash>,
    /// Taken, and not yet given out with [`Records::progress`].
    fresh: Vec<RecordHash>,
    asked: Option<Asked>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    question: Question,
    /// The record that came last.
    last: Option<(u16, RecordHash)>,
    /// The anchor came back.
    found: bool,
    /// Numbers have only risen.
    rising: bool,
}

impl Records {
    /// Goes on from what was saved, if that belongs to the association that began at `since`.
    pub fn resume(stream: &str, since: i64, saved: Option<&Progress>) -> Records {
        let cursor = saved.and_then(|saved| serde_json::from_slice::<Cursor>(&saved.cursor).ok());
        let cursor = cursor.filter(|cursor| cursor.since == since);
        let keys = saved.filter(|_| cursor.is_some()).map(|saved| saved.keys.clone());
        let order: VecDeque<RecordHash> = keys.unwrap_or_default().into();
        Records {
            stream: stream.to_owned(),
            cursor: cursor.unwrap_or(Cursor {
                since,
                ..Cursor::default()
            }),
            known: order.iter().copied().collect(),
            order,
            fresh: Vec::new(),
            asked: None,
        }
    }

    /// What tells `measured` (of `characteristic`, in the sensor's session `session`) from everything else of this
    /// association; none when it cannot be told from a second measurement, because the sensor gives neither a number
    /// nor a time.
    pub fn record(&self, characteristic: u16, session: &[u8], measured: &Measured) -> Option<Record> {
        let at = match measured.clock {
            DeviceClock::At(at) => Some(at.at_ms()),
            _ => None,
        };
        if measured.record.is_none() && at.is_none() {
            return None;
        }
        let values: Vec<_> = measured.samples.iter().map(|s| (s.kind, s.value)).collect();
        let base = measured.record.and_then(|r| r.base).map(DateTime::octets);
        let sequence = measured.record.map(|r| r.sequence);
        let whole = (
            self.cursor.since,
            characteristic,
            session,
            sequence,
            base,
            at,
            values,
        );
        let text = serde_json::to_vec(&whole).ok()?;
        let hash = digest(&SHA256, &text);
        let key = hash.as_ref().get(..16)?.try_into().ok()?;
        Some(Record { sequence, key })
    }

    /// Takes a record.
    pub fn take(&mut self, record: Record) -> Taken {
        if let Some(asked) = self.asked.as_mut().filter(|a| a.question == Question::Last) {
            // Only looked at: what is new comes in its order with all the others.
            asked.found = self.known.contains(&record.key);
            return Taken::Known;
        }
        self.follow(record);
        if !self.known.insert(record.key) {
            return Taken::Known;
        }
        self.order.push_back(record.key);
        self.fresh.push(record.key);
        if self.order.len() > KEPT_KEYS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        if self.cursor.taken_all {
            Taken::NewSince
        } else {
            Taken::New
        }
    }

    fn follow(&mut self, record: Record) {
        let Some(sequence) = record.sequence else { return };
        let this = (sequence, record.key);
        match &mut self.asked {
            None => {
                // The link lost nothing since the last question was answered.
                if self.cursor.whole && self.cursor.anchor.is_some_and(|(anchor, _)| sequence > anchor) {
                    self.cursor.anchor = Some(this);
                }
            }
            Some(asked) => {
                asked.found |= self.cursor.anchor == Some(this);
                asked.rising &= asked.last.is_none_or(|(last, _)| sequence > last);
                let continues = asked.question == Question::All || asked.found;
                if !asked.rising {
                    self.cursor.whole = false;
                } else if continues && let Some(last) = asked.last {
                    self.cursor.anchor = Some(last);
                    self.cursor.whole = true;
                }
                asked.last = Some(this);
            }
        }
    }

    /// Begins a question to the sensor.
    pub fn ask(&mut self) -> Question {
        let question = match self.cursor.anchor {
            Some((sequence, _)) if self.cursor.whole => Question::From(sequence),
            _ => Question::All,
        };
        self.begin(question);
        question
    }

    fn begin(&mut self, question: Question) {
        if question == Question::All {
            // What is asked from the front may be cut, so nothing is whole before its end is reached.
            self.cursor.whole = self.cursor.anchor.is_none();
        }
        self.asked = Some(Asked {
            question,
            last: None,
            found: false,
            rising: true,
        });
    }

    /// The sensor says that it sent everything, or has nothing. Gives the next question, if there is one.
    pub fn done(&mut self) -> Option<Question> {
        let asked = self.asked.take()?;
        let next = match asked.question {
            Question::From(_) | Question::Last if !asked.found => Some(Question::All),
            Question::From(_) => Some(Question::Last),
            Question::All | Question::Last => None,
        };
        if next != Some(Question::All) {
            self.cursor.anchor = asked.last.or(self.cursor.anchor);
            self.cursor.whole = true;
            self.cursor.taken_all = true;
        }
        if let Some(question) = next {
            self.begin(question);
        }
        next
    }

    /// The sensor does not understand the question: everything is asked for instead, if it was not.
    pub fn refused(&mut self) -> Option<Question> {
        let asked = self.asked.take()?;
        if matches!(asked.question, Question::All | Question::Last) {
            return None;
        }
        self.begin(Question::All);
        Some(Question::All)
    }

    /// The question stays unanswered.
    pub fn cut(&mut self) {
        self.asked = None;
    }

    /// Whether a question is open.
    pub const fn asking(&self) -> bool {
        self.asked.is_some()
    }

    /// A sensor that replays its memory by itself has nothing more.
    pub fn replayed(&mut self) {
        self.cursor.taken_all = true;
    }

    /// What is to be saved together with the records taken since the last call.
    pub fn progress(&mut self) -> Option<Progress> {
        Some(Progress {
            stream: self.stream.clone(),
            cursor: serde_json::to_vec(&self.cursor).ok()?,
            keys: std::mem::take(&mut self.fresh),
        })
    }
}
