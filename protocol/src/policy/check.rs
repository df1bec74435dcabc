//! Reads a policy document, and says what is wrong with it by line and column.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{MAX_POLICY, Policy};

mod faults;

pub use faults::{Fault, Severity, faults, hints};

/// Something in a document that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Where in the document, such as `outbound.flow[2].ports`; empty when it cannot be told.
    pub path: String,
    /// Whether the document can be used in spite of it.
    pub severity: Severity,
    /// What is wrong, and what would be right.
    pub said: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding {
            line,
            column,
            path,
            said,
            ..
        } = self;
        let kind = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let colon = if path.is_empty() { "" } else { ": " };
        write!(f, "{line}:{column}: {kind}: {path}{colon}{said}")
    }
}

/// What became of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The policy, when nothing is wrong that would keep it from being used.
    pub policy: Option<Policy>,
    /// What was found, in the order of the document.
    pub findings: Vec<Finding>,
}

/// Reads a document of at most [`MAX_POLICY`] bytes. Never fails: what is wrong is among the findings.
pub fn check(text: &str) -> Checked {
    let refused = |findings| Checked {
        policy: None,
        findings,
    };
    if text.len() > MAX_POLICY {
        let said = format!("{} bytes, where at most {MAX_POLICY} are allowed", text.len());
        return refused(vec![at(text, 0..0, String::new(), Severity::Error, said)]);
    }
    let policy: Policy = match toml::from_str(text) {
        Ok(policy) => policy,
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            let said = plain(&error.message().trim_end().replace('\n', "; "));
            return refused(vec![at(text, span, String::new(), Severity::Error, said)]);
        }
    };
    let wrong = faults(&policy);
    let usable = wrong.is_empty();
    let mut findings: Vec<Finding> = wrong
        .into_iter()
        .map(|fault| (fault, Severity::Error))
        .chain(hints(&policy).into_iter().map(|hint| (hint, Severity::Warning)))
        .map(|(fault, severity)| {
            let span = span_of(text, &fault.path).unwrap_or(0..0);
            at(text, span, fault.path, severity, fault.said)
        })
        .collect();
    findings.sort_by_key(|finding| (finding.line, finding.column));
    Checked {
        policy: usable.then_some(policy),
        findings,
    }
}

/// What the reader of TOML says, in words for people who write policies.
fn plain(said: &str) -> String {
    if let Some(name) = said.strip_prefix("missing field ") {
        return format!("{name} is missing");
    }
    for (begins, means) in [
        ("unknown variant ", "is none of the words that can stand here"),
        ("unknown field ", "is not known here"),
    ] {
        let parts = said
            .strip_prefix(begins)
            .and_then(|rest| rest.split_once(", expected "));
        if let Some((given, expected)) = parts {
            let expected = expected.strip_prefix("one of ").unwrap_or(expected);
            return format!("{given} {means}: {expected}");
        }
    }
    match said
        .strip_prefix("invalid type: ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        Some((given, expected)) => format!("{given} cannot stand here, only {expected}"),
        None => said.to_owned(),
    }
}

fn at(text: &str, span: Range<usize>, path: String, severity: Severity, said: String) -> Finding {
    let before = text.get(..span.start.min(text.len())).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    Finding {
        line: before.matches('\n').count() + 1,
        column,
        path,
        severity,
        said,
    }
}

/// Where the value at `path` stands; for what is not there, the nearest thing around it.
fn span_of(text: &str, path: &str) -> Option<Range<usize>> {
    let root = DeTable::parse(text).ok()?;
    let mut table = Some(root.get_ref());
    let mut value: Option<&DeValue<'_>> = None;
    let mut span = None;
    for step in steps(path) {
        let next = match step {
            Step::Key(key) => {
                let found = table?.iter().find(|(name, _)| name.get_ref().as_ref() == key);
                span = found.map(|(name, _)| name.span()).or(span);
                found.map(|(_, found)| found)
            }
            Step::Index(index) => {
                let found = value
                    .and_then(|v| v.as_array())
                    .and_then(|array| array.get(index));
                span = found.map(toml::Spanned::span).or(span);
                found
            }
        };
        let Some(found) = next else { return span };
        value = Some(found.get_ref());
        table = found.get_ref().as_table();
        if table.is_none() && !matches!(found.get_ref(), DeValue::Array(_)) {
            span = Some(found.span());
        }
    }
    span
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// `a.b[2].c` step by step.
fn steps(path: &str) -> Vec<Step<'_>> {
    let mut all = Vec::new();
    for part in path.split('.') {
        let (key, rest) = part.split_once('[').unwrap_or((part, ""));
        all.push(Step::Key(key));
        if let Ok(index) = rest.trim_end_matches(']').parse() {
            all.push(Step::Index(index));
        }
    }
    all
}

/// Whether each stands once.
fn each_once<T: Ord>(items: impl IntoIterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    items.into_iter().all(|item| seen.insert(item))
}
