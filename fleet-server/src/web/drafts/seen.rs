//! Shell: what editor and reviewer see of a draft: what is wrong with it, what it changes, and on which boxes.

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::Policy;
use homeward_protocol::policy::check::{Checked, Finding, Severity, check};
use homeward_protocol::policy::diff::diff;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;

use crate::policy::draft::fleet::{notices, rehearsed};
use crate::policy::draft::lines::{Line, differ};
use crate::policy::draft::text::Text;
use crate::policy::rollout::{Plan, changes};
use crate::store::policies::drafts::{self, Kept, Revision};
use crate::store::policies::{self, overview};
use crate::store::{StoreError, Tx};
use crate::web::changes::Word;

/// Boxes of a step that are named one by one.
const NAMED: usize = 40;

/// One point of the document.
pub struct Point {
    /// Its name.
    pub name: String,
    /// What is wanted.
    pub wanted: String,
    /// What it guards against.
    pub hazard: String,
}

/// Something wrong, with the line that it is about.
pub struct Fault {
    /// What was found.
    pub finding: Finding,
    /// The line as it stands.
    pub line: String,
}

impl Fault {
    /// Its kind, in a word.
    pub fn kind(&self) -> &'static str {
        match self.finding.severity {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
        }
    }
}

/// What changes from something, in words and in lines.
pub struct Difference {
    /// From what.
    pub from: String,
    /// In words; none when one of the two cannot be read as a policy.
    pub words: Option<Vec<Word>>,
    /// In lines, when both are texts that people wrote.
    pub lines: Vec<Drawn>,
}

/// A line of a difference, ready for a template.
pub struct Drawn {
    /// `same`, `gone`, `new` or `cut`.
    pub kind: &'static str,
    /// Its number; lines that are left out have none.
    pub number: Option<usize>,
    /// The line; of a cut, how many are left out.
    pub text: String,
}

/// How two texts differ, line by line.
fn drawn(before: &Text, after: &Text) -> Vec<Drawn> {
    let numbered = |kind, at, text: &str| Drawn {
        kind,
        number: Some(at),
        text: text.to_owned(),
    };
    let drawn = |line: Line<'_>| match line {
        Line::Same(at, text) => numbered("same", at, text),
        Line::Gone(at, text) => numbered("gone", at, text),
        Line::New(at, text) => numbered("new", at, text),
        Line::Cut(count) => Drawn {
            kind: "cut",
            number: None,
            text: match count {
                1 => "1 line that is the same".to_owned(),
                n => format!("{n} lines that are the same"),
            },
        },
    };
    differ(before.as_str(), after.as_str())
        .into_iter()
        .map(drawn)
        .collect()
}

/// What changes from one text to another.
pub fn difference(from: String, before: &Text, after: &Text) -> Difference {
    let words = match (before.policy(), after.policy()) {
        (Some(before), Some(after)) => Some(Word::of(&diff(&before, &after))),
        _ => None,
    };
    Difference {
        from,
        words,
        lines: drawn(before, after),
    }
}

/// All that is shown of a text.
pub struct Seen {
    /// The draft that it belongs to.
    pub kept: Kept,
    /// The text.
    pub text: Text,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
    /// Whether it can be signed.
    pub usable: bool,
    /// What this fleet has to say of it.
    pub notices: Vec<String>,
    /// What it rules.
    pub points: Vec<Point>,
    /// What changes from the policy in force.
    pub force: Option<Difference>,
    /// What changes from the revision that was reviewed last, when that is another text.
    pub read: Option<Difference>,
    /// What would change on which boxes.
    pub plan: Option<Plan>,
    /// Its revisions, the newest first.
    pub revisions: Vec<Revision>,
}

impl Seen {
    /// Boxes on which something would change.
    pub fn boxes(&self) -> usize {
        let steps = self.plan.iter().flat_map(|plan| &plan.steps);
        steps.map(|step| step.gateways.len()).sum()
    }

    /// The first boxes of a step, and how many more there are.
    pub fn named(step: &crate::policy::rollout::Step) -> (String, usize) {
        let names: Vec<&str> = step.gateways.iter().take(NAMED).map(GatewayId::as_str).collect();
        (names.join(", "), step.gateways.len().saturating_sub(NAMED))
    }

    /// How many of the findings keep it from being signed.
    pub fn errors(&self) -> usize {
        let errors = self.faults.iter();
        errors
            .filter(|fault| fault.finding.severity == Severity::Error)
            .count()
    }
}

/// Reads what is to be seen of `text`, or of the draft's newest one; none when there is no such draft.
pub fn seen(
    tx: &mut dyn Tx,
    (id, text): (u64, Option<Text>),
    roots: &[PublicKey],
    now: Timestamp,
) -> Result<Option<Seen>, StoreError> {
    let Some(kept) = drafts::get(tx, id)? else {
        return Ok(None);
    };
    let text = text.unwrap_or_else(|| kept.text.clone());
    let Checked { policy, findings } = check(text.as_str());
    let book = policies::book(tx, roots)?;
    let lines = overview::lines(tx, &book, now)?;
    let newest = policies::list(tx)?.first().map(|one| one.entry.mark.version.0);
    let orders = policies::orders(tx)?;
    let in_force = orders
        .iter()
        .filter_map(|order| book.entry(order.version))
        .find(|entry| !entry.withdrawn);
    let source = in_force.map(|entry| drafts::source(tx, entry.mark.version.0));
    let source = source.transpose()?.flatten();
    let force = policy.as_ref().map(|policy| Difference {
        from: in_force.map_or("no policy at all".to_owned(), |entry| {
            format!("policy {}, {}", entry.mark.version, entry.policy.name.as_str())
        }),
        words: Some(Word::of(&changes(in_force.map(|entry| &entry.policy), policy))),
        lines: source.map_or(Vec::new(), |source| drawn(&source.text, &text)),
    });
    let read = match kept.draft.read {
        None => None,
        Some(revision) => drafts::text(tx, id, revision)?
            .filter(|before| *before != text)
            .map(|before| {
                let from = format!("revision {revision}, which was reviewed");
                difference(from, &before, &text)
            }),
    };
    let of = |policy: &Policy| notices(policy, newest, &book, &lines, now);
    Ok(Some(Seen {
        faults: faults(findings, &text),
        usable: policy.is_some(),
        notices: policy.as_ref().map_or(Vec::new(), of),
        points: policy.as_ref().map_or(Vec::new(), points),
        force,
        read,
        plan: policy.map(|policy| rehearsed(&policy, &book, &lines, now)),
        revisions: drafts::revisions(tx, id)?,
        kept,
        text,
    }))
}

fn faults(findings: Vec<Finding>, text: &Text) -> Vec<Fault> {
    let lines: Vec<&str> = text.as_str().lines().collect();
    let line = |at: usize| lines.get(at.saturating_sub(1)).copied().unwrap_or_default();
    let fault = |finding: Finding| Fault {
        line: line(finding.line).trim().to_owned(),
        finding,
    };
    findings.into_iter().map(fault).collect()
}

fn points(policy: &Policy) -> Vec<Point> {
    let point = |point: homeward_protocol::policy::points::Point| Point {
        name: point.id.to_string(),
        hazard: match policy.hazards.get(&point.hazard) {
            Some(line) => format!("{}: {}", point.hazard, line.as_str()),
            None => point.hazard.to_string(),
        },
        wanted: point.wanted,
    };
    policy.points().into_iter().map(point).collect()
}
