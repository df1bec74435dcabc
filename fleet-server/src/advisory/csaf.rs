//! Reading an advisory: CSAF 2.0 (OASIS, "Common Security Advisory Framework Version 2.0"), as much of it as a person weighs.
//!
//! # Design
//! - What is read is what decides or is shown: products, what is said of each, how bad it is, what is advised. All else stays in
//!   the bytes, which are kept.
//! - A document that names products which it does not describe (6.1.1), or describes one twice (6.1.2), is refused: it cannot be
//!   said whom it is about. Other rules of the standard are those of a validator, not of a reader.
//! - Long texts are cut, and end in an ellipsis; names are not: what is compared is whole, or the document is refused.

mod raw;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use homeward_protocol::release::dossier::hides;
use homeward_protocol::time::Timestamp;

/// Longest document, bytes.
pub const MAX_DOCUMENT: usize = 4 * 1024 * 1024;
/// Most products, and most vulnerabilities.
pub const MAX_PRODUCTS: usize = 5_000;
/// Likewise.
pub const MAX_FLAWS: usize = 1_000;
/// Longest name, characters.
const MAX_NAME: usize = 2_000;
/// Longest text that is kept, characters.
const MAX_TEXT: usize = 4_000;

/// Why a document is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsafError {
    /// Longer than it may be.
    #[error("{0} bytes, where an advisory has at most {MAX_DOCUMENT}")]
    TooLong(usize),
    /// It is not of the form.
    #[error("it is no CSAF document: {0}")]
    Form(String),
    /// Of another version of the standard.
    #[error("it is of CSAF {0}, and 2.0 is read here")]
    Version(String),
    /// Its writer has not finished it.
    #[error("it is a draft, which is not to be given out (CSAF 2.0, 3.2.1.12.7)")]
    Draft,
    /// What it says cannot be: where, and what would be right.
    #[error("{place}: {rule}")]
    Rule {
        /// The key.
        place: String,
        /// The rule.
        rule: &'static str,
    },
}

fn broken(place: impl Into<String>, rule: &'static str) -> CsafError {
    CsafError::Rule {
        place: place.into(),
        rule,
    }
}

/// A version of a document: `4`, or `1.2.0` (3.1.11). A document keeps to one of the two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision([u64; 3], String);

impl Revision {
    fn read(text: &str) -> Option<Revision> {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let parts: Vec<&str> = core.split('.').collect();
        let mut numbers = [0; 3];
        if text.len() > MAX_NAME || !matches!(parts.len(), 1 | 3) {
            return None;
        }
        for (number, part) in numbers.iter_mut().zip(&parts) {
            let digits = (1..=18).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            *number = part.parse().ok().filter(|_| digits)?;
        }
        Some(Revision(numbers, text.to_owned()))
    }

    /// Whether both are of one form, so that it can be said which is later.
    pub fn is_alike(&self, other: &Revision) -> bool {
        self.1.contains('.') == other.1.contains('.')
    }

    /// Whether the text of this one is later than that of the other. What differs behind the numbers only (a pre-release, a build)
    /// is not later.
    pub fn is_after(&self, other: &Revision) -> bool {
        self.0 > other.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

/// How bad a vulnerability is, by CVSS: tenths, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score(pub u8);

impl Score {
    fn read(base: f64) -> Option<Score> {
        let tenths = (base * 10.0).round();
        let range = (0.0..=100.0).contains(&tenths);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
        range.then_some(Score(tenths as u8))
    }

    /// Its word (CVSS v3.1, 5).
    pub const fn word(self) -> &'static str {
        match self.0 {
            0 => "none",
            1..=39 => "low",
            40..=69 => "medium",
            70..=89 => "high",
            _ => "critical",
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} ({})", self.0 / 10, self.0 % 10, self.word())
    }
}

/// A product, by one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Its id in this document. Two names of one product have one id.
    pub id: String,
    /// Who makes it, where the document's tree says so.
    pub vendor: Option<String>,
    /// What it is called: of its branch, or all that the document says.
    pub name: String,
    /// The version or range of versions, as it is written.
    pub version: Option<String>,
    /// Whether that is one version and not a range.
    pub is_exact: bool,
    /// Its name and version, for people.
    pub full: String,
    /// Model numbers that the document gives to know it by.
    pub models: Arc<[String]>,
}

/// What a document says of a product and a vulnerability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It is not affected, or no more.
    Clear,
    /// It is being looked at.
    Investigated,
    /// It is affected.
    Affected,
}

impl Status {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Status::Clear => "not affected",
            Status::Investigated => "under investigation",
            Status::Affected => "affected",
        }
    }
}

/// What is advised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// `mitigation`, `vendor_fix`, `workaround`, `no_fix_planned`, `none_available`.
    pub category: String,
    /// In words.
    pub details: String,
    /// The products that it is for; none: all of the vulnerability's.
    products: BTreeSet<String>,
}

impl Remedy {
    /// Whether it is for one of these products.
    pub fn is_for(&self, products: &BTreeSet<String>) -> bool {
        self.products.is_empty() || !self.products.is_disjoint(products)
    }
}

/// A vulnerability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Its CVE, or how the document calls it.
    pub name: String,
    /// What it is, in words.
    pub summary: String,
    /// What is said of each product, by its id.
    pub status: BTreeMap<String, Status>,
    /// How bad it is for each product.
    scores: BTreeMap<String, Score>,
    /// What is advised.
    pub remedies: Vec<Remedy>,
}

impl Flaw {
    /// How bad it is for the worst off of these.
    pub fn score(&self, products: &BTreeSet<String>) -> Option<Score> {
        let of_them = self.scores.iter().filter(|(id, _)| products.contains(*id));
        of_them.map(|(_, score)| *score).max()
    }
}

/// An advisory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advisory {
    /// Who gives it out: the name for people.
    pub publisher: String,
    /// The same as a URI: with [`Advisory::id`] it names the line of revisions (3.2.1.12.4).
    pub namespace: String,
    /// Its own id.
    pub id: String,
    /// Which revision.
    pub version: Revision,
    /// When that was given out, as far as whole seconds in UTC.
    pub released: Timestamp,
    /// Its title.
    pub title: String,
    /// To whom it may be given (TLP), where it says so.
    pub tlp: Option<String>,
    /// Whom it is about.
    pub products: Vec<Product>,
    /// What is wrong.
    pub flaws: Vec<Flaw>,
}

/// Reads a document of at most [`MAX_DOCUMENT`] bytes, UTF-8.
///
/// # Errors
/// Why it is not taken.
pub fn read(bytes: &[u8]) -> Result<Advisory, CsafError> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(CsafError::TooLong(bytes.len()));
    }
    let read = serde_json::from_slice::<raw::File>(bytes);
    let file = read.map_err(|error| CsafError::Form(error.to_string()))?;
    let document = file.document;
    if document.csaf_version != "2.0" {
        let version: String = document.csaf_version.chars().take(20).collect();
        return Err(CsafError::Version(clean(&version, 20)));
    }
    if document.tracking.status == "draft" {
        return Err(CsafError::Draft);
    }
    let tracking = document.tracking;
    let products = tree::read(file.product_tree.unwrap_or_default())?;
    let known: BTreeSet<&str> = products.list.iter().map(|one| one.id.as_str()).collect();
    if file.vulnerabilities.len() > MAX_FLAWS {
        return Err(broken("vulnerabilities", "at most 1000"));
    }
    let flaws = file.vulnerabilities.into_iter().enumerate();
    let flaws = flaws.map(|(at, flaw)| self::flaw(at, flaw, &products.groups, &known));
    let flaws = flaws.collect::<Result<Vec<_>, _>>()?;
    Ok(Advisory {
        publisher: name("document.publisher.name", &document.publisher.name)?,
        namespace: name("document.publisher.namespace", &document.publisher.namespace)?,
        id: id("document.tracking.id", &tracking.id)?,
        version: Revision::read(&tracking.version)
            .ok_or_else(|| broken("document.tracking.version", "a version is 4 or 1.2.0"))?,
        released: moment(&tracking.current_release_date)
            .ok_or_else(|| broken("document.tracking.current_release_date", "no moment"))?,
        title: name("document.title", &document.title)?,
        tlp: document
            .distribution
            .and_then(|one| one.tlp)
            .map(|tlp| name("document.distribution.tlp.label", &tlp.label))
            .transpose()?,
        flaws,
        products: products.list,
    })
}

fn flaw(
    at: usize,
    flaw: raw::Flaw,
    groups: &BTreeMap<String, Vec<String>>,
    known: &BTreeSet<&str>,
) -> Result<Flaw, CsafError> {
    let place = format!("vulnerabilities[{at}]");
    let is_known = |id: &String| {
        known
            .contains(id.as_str())
            .then_some(())
            .ok_or_else(|| broken(id, "a product is described before it is named (6.1.1)"))
    };
    let mut status = BTreeMap::new();
    let said = flaw.product_status.unwrap_or_default();
    let lists = [
        (Status::Affected, said.known_affected),
        (Status::Affected, said.first_affected),
        (Status::Affected, said.last_affected),
        (Status::Investigated, said.under_investigation),
        (Status::Clear, said.fixed),
        (Status::Clear, said.first_fixed),
        (Status::Clear, said.known_not_affected),
    ];
    for (is, ids) in lists {
        for id in ids {
            is_known(&id)?;
            // Who says two things of one product (6.1.6) has said the worse.
            let entry = status.entry(id).or_insert(is);
            *entry = is.max(*entry);
        }
    }
    let mut scores = BTreeMap::new();
    for score in flaw.scores {
        let rated = score.cvss_v3.or(score.cvss_v2).and_then(|one| one.base_score);
        let Some(rated) = rated.and_then(Score::read) else {
            continue;
        };
        for id in score.products {
            let entry = scores.entry(id).or_insert(rated);
            *entry = rated.max(*entry);
        }
    }
    let remedies = flaw.remediations.into_iter().take(200).map(|one| {
        let named = one
            .group_ids
            .iter()
            .filter_map(|group| groups.get(group))
            .flatten();
        Ok(Remedy {
            category: name(&format!("{place}.remediations.category"), &one.category)?,
            details: clean(&one.details, MAX_TEXT),
            products: named.cloned().chain(one.product_ids).collect(),
        })
    });
    let summary = flaw
        .notes
        .iter()
        .find(|note| note.category == "summary")
        .or_else(|| flaw.notes.iter().find(|note| note.category == "description"))
        .map(|note| clean(&note.text, MAX_TEXT));
    let title = flaw.title.map(|title| clean(&title, MAX_NAME));
    let other = flaw.ids.into_iter().next().map(|one| one.text);
    let named = flaw.cve.or(other);
    Ok(Flaw {
        name: match (named, &title) {
            (Some(named), _) => name(&place, &named)?,
            (None, Some(title)) if !title.is_empty() => title.clone(),
            (None, _) => format!("vulnerability {}", at + 1),
        },
        summary: summary.or(title).unwrap_or_default(),
        remedies: remedies.collect::<Result<_, _>>()?,
        status,
        scores,
    })
}

/// A name: not empty, not long, and nothing of it hidden.
fn name(place: &str, text: &str) -> Result<String, CsafError> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= MAX_NAME && !text.chars().any(hides);
    fits.then(|| text.to_owned())
        .ok_or_else(|| broken(place, "1 to 2000 printable characters"))
}

/// An id: a name that no other text can be taken for.
fn id(place: &str, text: &str) -> Result<String, CsafError> {
    if name(place, text)? == text {
        Ok(text.to_owned())
    } else {
        Err(broken(place, "no space before or behind it"))
    }
}

/// A text of people as one line: what hides is a space, and what is too long is cut.
fn clean(text: &str, most: usize) -> String {
    let spaced: String = text.chars().map(|c| if hides(c) { ' ' } else { c }).collect();
    let line = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most).chain(['…']).collect()
}

/// A moment with any offset (RFC 3339), as far as whole seconds.
fn moment(text: &str) -> Option<Timestamp> {
    if text.len() > 40 {
        return None;
    }
    let read = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    read.unix_timestamp().checked_mul(1000).map(Timestamp::synced)
}

#[cfg(test)]
mod tests;
