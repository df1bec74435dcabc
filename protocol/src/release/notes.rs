//! Notes of a release: what it means for those who care for people, and for the people at home, in plain words.
//!
//! They stand beside the `custom` of a target in the metadata, so the offline keys sign them with the release, and whoever
//! signs reads them first. They are written as TOML ([`read`]): a table for each [`Reader`], a text for each language.
//!
//! # Design
//! - Beside `custom` and not in it: boxes read `custom` strictly, and one that was built before there were notes would
//!   refuse a release for its words. What it does not know beside that it passes over, as TUF demands. No box reads notes:
//!   nothing that is wrong with them keeps an update from anybody.
//! - Strict when they are written, mild when they are read: a language that a later release desk knows is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dossier::plain;

/// The language that every reader's texts have: shown where the reader's own is missing.
pub const COMMON: &str = "en";
/// Languages that may be written, as tags of BCP 47, and what each calls itself.
pub const LANGUAGES: [(&str, &str); 6] = [
    ("de", "Deutsch"),
    ("en", "English"),
    ("es", "Español"),
    ("fr", "Français"),
    ("it", "Italiano"),
    ("nl", "Nederlands"),
];
/// Most bytes of one text.
pub const MAX_NOTE: usize = 500;
/// Most bytes of a file of notes.
pub const MAX_NOTES: usize = 16 * 1024;
/// Most texts for one reader that are believed.
const MAX_LANGUAGES: usize = 24;

/// Why something is no notes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotesError {
    /// Longer than it may be.
    #[error("{0} bytes, where notes have at most {MAX_NOTES}")]
    TooLong(usize),
    /// It is not of the form.
    #[error("it holds no notes: {0}")]
    Form(String),
    /// There is nothing for a reader in the language that all have.
    #[error(
        "{}: a text in `{COMMON}` is missing, which is shown where a reader's own language is missing", .0.name()
    )]
    Common(Reader),
    /// A language that is not among those that may be written.
    #[error("{}.{language}: the languages are de, en, es, fr, it and nl", .reader.name())]
    Language {
        /// Whose text.
        reader: Reader,
        /// Its tag.
        language: Language,
    },
}

/// For whom a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reader {
    /// Nurses, and whoever looks after boxes.
    Staff,
    /// The people at home.
    Patient,
}

impl Reader {
    /// Both.
    pub const ALL: [Reader; 2] = [Reader::Staff, Reader::Patient];

    /// Its name, as notes write it.
    pub const fn name(self) -> &'static str {
        match self {
            Reader::Staff => "staff",
            Reader::Patient => "patient",
        }
    }
}

/// A tag of a language (BCP 47): 2 or 3 letters in lower case, then what narrows it, at most 35 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Language(String);

impl Language {
    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it calls itself, where it is one of ours; else its tag.
    pub fn own_name(&self) -> &str {
        let ours = LANGUAGES.iter().find(|(tag, _)| *tag == self.0);
        ours.map_or(&self.0, |(_, name)| name)
    }
}

impl FromStr for Language {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Language, Self::Err> {
        let mut parts = text.split('-');
        let first = parts.next().unwrap_or_default();
        let first = (2..=3).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_lowercase());
        let narrows =
            |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
        let good = text.len() <= 35 && first && parts.all(narrows);
        good.then(|| Language(text.to_owned()))
            .ok_or("a language is a tag like `en` or `de`")
    }
}

impl TryFrom<String> for Language {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Language, Self::Error> {
        text.parse()
    }
}

impl From<Language> for String {
    fn from(language: Language) -> String {
        language.0
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One text: 1 to 500 bytes in one line, of which nothing is hidden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Note(String);

impl Note {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Note {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Note, Self::Error> {
        let good = plain(&text, MAX_NOTE);
        good.then_some(Note(text))
            .ok_or("a note is 1 to 500 printable bytes in one line, without space around it")
    }
}

impl From<Note> for String {
    fn from(note: Note) -> String {
        note.0
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a release means for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// For those who care for people.
    staff: BTreeMap<Language, Note>,
    /// For the people at home.
    patient: BTreeMap<Language, Note>,
}

/// Reads the document that a release desk writes: TOML of at most [`MAX_NOTES`] bytes, with both readers' texts, each at
/// least in [`COMMON`], and in no language but [`LANGUAGES`].
pub fn read(text: &str) -> Result<Notes, NotesError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        staff: BTreeMap<Language, Note>,
        patient: BTreeMap<Language, Note>,
    }
    if text.len() > MAX_NOTES {
        return Err(NotesError::TooLong(text.len()));
    }
    let read = toml::from_str::<Document>(text);
    let read = read.map_err(|error| NotesError::Form(error.to_string().trim_end().to_owned()))?;
    let notes = Notes {
        staff: read.staff,
        patient: read.patient,
    };
    for reader in Reader::ALL {
        let known = |language: &&Language| LANGUAGES.iter().any(|(tag, _)| *tag == language.as_str());
        if let Some(language) = notes.of(reader).keys().find(|language| !known(language)) {
            let language = language.clone();
            return Err(NotesError::Language { reader, language });
        }
    }
    notes.check().map(|()| notes)
}

impl Notes {
    /// Reads what stands beside the `custom` of a target; nothing where there is none.
    pub fn of_target(value: Option<&Value>) -> Result<Option<Notes>, NotesError> {
        let Some(value) = value else { return Ok(None) };
        let notes = Notes::deserialize(value).map_err(|error| NotesError::Form(error.to_string()))?;
        notes.check().map(|()| Some(notes))
    }

    /// As it stands beside the `custom` of a target.
    pub fn to_json(&self) -> Value {
        let texts = |reader| {
            let all = self.of(reader).iter();
            let all = all.map(|(language, note)| (language.0.clone(), Value::from(note.as_str())));
            Value::Object(all.collect())
        };
        let both = Reader::ALL.map(|reader| (reader.name().to_owned(), texts(reader)));
        Value::Object(both.into_iter().collect())
    }

    /// All texts for a reader, by their language.
    pub const fn of(&self, reader: Reader) -> &BTreeMap<Language, Note> {
        match reader {
            Reader::Staff => &self.staff,
            Reader::Patient => &self.patient,
        }
    }

    /// The text for a reader in the first of these languages that it is there in, else in [`COMMON`], and its language. One
    /// that narrows a language (`de-AT`) is followed by that language.
    pub fn text(&self, reader: Reader, wanted: &[Language]) -> Option<(&Language, &Note)> {
        let texts = self.of(reader);
        let wanted = wanted.iter().map(Language::as_str);
        let tags = wanted.flat_map(|tag| [Some(tag), tag.split_once('-').map(|(language, _)| language)]);
        let mut tags = tags.flatten().chain([COMMON]);
        tags.find_map(|tag| texts.get_key_value(&Language(tag.to_owned())))
    }

    fn check(&self) -> Result<(), NotesError> {
        for reader in Reader::ALL {
            let texts = self.of(reader);
            if !texts.keys().any(|language| language.as_str() == COMMON) {
                return Err(NotesError::Common(reader));
            }
            if texts.len() > MAX_LANGUAGES {
                return Err(NotesError::Form(format!("more than {MAX_LANGUAGES} languages")));
            }
        }
        Ok(())
    }
}
