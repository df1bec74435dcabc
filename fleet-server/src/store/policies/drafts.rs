//! Drafts of policies: the rows behind [`crate::policy::draft`].
//!
//! A text is believed only with its digest, and who wrote a draft is read from its revisions.

use std::collections::BTreeSet;

use homeward_protocol::policy::Policy;
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Timestamp;

use super::{signed_number, unsigned};
use crate::audit::Action;
use crate::policy::draft::text::{ContentDigest, Text, TextDigest};
use crate::policy::draft::{Act, Against, Draft, Mover, State, Wrong};
use crate::store::{Row, StoreError, Tx, audit};

/// Most drafts that wait for somebody at a time.
pub const MOST_OPEN: i64 = 200;
/// Most drafts that are listed: those that wait, and the newest others.
const MOST: i64 = 500;

/// A draft with its newest text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub id: u64,
    /// What people call it.
    pub title: String,
    /// The policy that it began from.
    pub base: Option<u64>,
    /// Who began it, and when.
    pub begun: Mover,
    /// Who wrote the newest revision, and when.
    pub saved: Mover,
    /// The newest text.
    pub text: Text,
    /// How it stands.
    pub draft: Draft,
}

/// A draft as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its number.
    pub id: u64,
    /// What people call it.
    pub title: String,
    /// The newest revision.
    pub revision: u64,
    /// What it waits for.
    pub state: State,
    /// Who wrote the newest revision, and when.
    pub saved: Mover,
}

/// One revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its number, from 1.
    pub number: u64,
    /// Who wrote it, and when.
    pub saved: Mover,
    /// What names its text.
    pub digest: TextDigest,
}

/// What came of something that a person did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acted {
    /// It is so now.
    Done(Draft),
    /// There is no such draft.
    Unknown,
    /// It cannot be.
    Wrong(Wrong),
}

/// Begins one; none when [`MOST_OPEN`] wait already.
pub fn begin(
    tx: &mut dyn Tx,
    (title, base): (&ShortText, Option<u64>),
    text: &Text,
    by: &str,
    now: Timestamp,
) -> Result<Option<u64>, StoreError> {
    let open = tx.row(
        "SELECT COUNT(*) FROM drafts WHERE state IN ('writing', 'asked', 'reviewed')",
        &[],
    )?;
    if open.map_or(Ok(0), |row| row.int(0))? >= MOST_OPEN {
        return Ok(None);
    }
    let newest = tx.row("SELECT id FROM drafts ORDER BY id DESC LIMIT 1", &[])?;
    let id = newest.map_or(Ok(0), |row| unsigned(&row, 0))? + 1;
    tx.execute(
        "INSERT INTO drafts (id, title, base, revision, state, begun_at, begun_by)
         VALUES ($1, $2, $3, 1, 'writing', $4, $5)",
        &[
            signed_number(id).into(),
            title.as_str().into(),
            base.map(signed_number).into(),
            now.ms.into(),
            by.into(),
        ],
    )?;
    keep(tx, (id, 1), text, by, now)?;
    let from = base.map_or("an empty document".to_owned(), |base| format!("policy {base}"));
    let detail = format!("{}, from {from}, digest {}", title.as_str(), text.digest());
    audit::record(tx, now, by, Action::DraftBegun, &subject(id), &detail)?;
    Ok(Some(id))
}

/// Writes a revision over the one that this person saw.
pub fn save(
    tx: &mut dyn Tx,
    (id, over): (u64, u64),
    text: &Text,
    by: &str,
    now: Timestamp,
) -> Result<Acted, StoreError> {
    let act = Act::Save {
        over,
        text: text.digest(),
        content: text.content(),
    };
    let before = locked(tx, id)?.map(|kept| kept.draft.revision);
    let acted = act_on(tx, id, &act, by, now)?;
    if let Acted::Done(after) = &acted
        && Some(after.revision) != before
    {
        keep(tx, (id, after.revision), text, by, now)?;
    }
    Ok(acted)
}

/// Does anything else to it.
pub fn act_on(tx: &mut dyn Tx, id: u64, act: &Act, by: &str, now: Timestamp) -> Result<Acted, StoreError> {
    let Some(kept) = locked(tx, id)? else {
        return Ok(Acted::Unknown);
    };
    let after = match kept.draft.after(act, by, now) {
        Ok(after) => after,
        Err(why) => return Ok(Acted::Wrong(why)),
    };
    if after != kept.draft {
        put(tx, id, &after)?;
        let (action, detail) = told(act, &after);
        audit::record(tx, now, by, action, &subject(id), &detail)?;
    }
    Ok(Acted::Done(after))
}

/// A policy that was verified and is loaded: the drafts that were reviewed and say exactly that are signed. Gives their
/// numbers.
pub fn brought(tx: &mut dyn Tx, policy: &Policy, by: &str, now: Timestamp) -> Result<Vec<u64>, StoreError> {
    let Some(content) = ContentDigest::of(policy) else {
        return Ok(Vec::new());
    };
    let act = Act::Bring {
        content,
        version: policy.version.0,
    };
    let rows = tx.rows("SELECT id FROM drafts WHERE state = 'reviewed' ORDER BY id", &[])?;
    let mut signed = Vec::new();
    for row in &rows {
        let id = unsigned(row, 0)?;
        if let Acted::Done(_) = act_on(tx, id, &act, by, now)? {
            signed.push(id);
        }
    }
    Ok(signed)
}

/// The draft of this number.
pub fn get(tx: &mut dyn Tx, id: u64) -> Result<Option<Kept>, StoreError> {
    let row = tx.row(
        "SELECT drafts.id, title, drafts.revision, state, moved_by, moved_at, why, drafts.digest, version, saved_at,
           saved_by, base, begun_at, begun_by, read, text, draft_revisions.digest
         FROM drafts JOIN draft_revisions ON draft = drafts.id AND draft_revisions.revision = drafts.revision
         WHERE drafts.id = $1",
        &[signed_number(id).into()],
    )?;
    let Some(row) = row else { return Ok(None) };
    let listed = listed(&row)?;
    let text = text_of(&row, 15, 16)?;
    let authors = tx.rows(
        "SELECT DISTINCT saved_by FROM draft_revisions WHERE draft = $1",
        &[signed_number(id).into()],
    )?;
    let authors: Result<BTreeSet<String>, StoreError> =
        authors.iter().map(|row| Ok(row.text(0)?.to_owned())).collect();
    Ok(Some(Kept {
        id,
        title: listed.title,
        base: number(&row, 11)?,
        begun: mover(&row, 13, 12)?,
        saved: listed.saved,
        draft: Draft {
            revision: listed.revision,
            text: text.digest(),
            content: text.content(),
            authors: authors?,
            read: number(&row, 14)?,
            state: listed.state,
        },
        text,
    }))
}

/// Drafts: those that wait for somebody first, then the others, each with the newest first.
pub fn list(tx: &mut dyn Tx) -> Result<Vec<Listed>, StoreError> {
    let rows = tx.rows(
        "SELECT drafts.id, title, drafts.revision, state, moved_by, moved_at, why, drafts.digest, version, saved_at,
           saved_by
         FROM drafts JOIN draft_revisions ON draft = drafts.id AND draft_revisions.revision = drafts.revision
         ORDER BY CASE WHEN state IN ('signed', 'dropped') THEN 1 ELSE 0 END, drafts.id DESC LIMIT $1",
        &[MOST.into()],
    )?;
    rows.iter().map(listed).collect()
}

/// How many wait for a review.
pub fn asked(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    let row = tx.row("SELECT COUNT(*) FROM drafts WHERE state = 'asked'", &[])?;
    row.map_or(Ok(0), |row| row.int(0))
}

/// The revisions of a draft, the newest first.
pub fn revisions(tx: &mut dyn Tx, id: u64) -> Result<Vec<Revision>, StoreError> {
    let rows = tx.rows(
        "SELECT revision, saved_at, saved_by, digest FROM draft_revisions WHERE draft = $1 ORDER BY revision DESC",
        &[signed_number(id).into()],
    )?;
    let revision = |row: &Row| {
        Ok(Revision {
            number: unsigned(row, 0)?,
            saved: mover(row, 2, 1)?,
            digest: digest(row, 3)?,
        })
    };
    rows.iter().map(revision).collect()
}

/// The text of one revision.
pub fn text(tx: &mut dyn Tx, id: u64, revision: u64) -> Result<Option<Text>, StoreError> {
    let row = tx.row(
        "SELECT text, digest FROM draft_revisions WHERE draft = $1 AND revision = $2",
        &[signed_number(id).into(), signed_number(revision).into()],
    )?;
    row.map(|row| text_of(&row, 0, 1)).transpose()
}

/// The draft that a policy was signed from: the newest.
pub fn source(tx: &mut dyn Tx, version: u64) -> Result<Option<Kept>, StoreError> {
    let row = tx.row(
        "SELECT id FROM drafts WHERE version = $1 ORDER BY id DESC LIMIT 1",
        &[signed_number(version).into()],
    )?;
    let Some(row) = row else { return Ok(None) };
    get(tx, unsigned(&row, 0)?)
}

/// Takes the row's lock, so that two processes on one database do not both write the next revision.
fn locked(tx: &mut dyn Tx, id: u64) -> Result<Option<Kept>, StoreError> {
    tx.execute(
        "UPDATE drafts SET revision = revision WHERE id = $1",
        &[signed_number(id).into()],
    )?;
    get(tx, id)
}

fn keep(
    tx: &mut dyn Tx,
    (id, revision): (u64, u64),
    text: &Text,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO draft_revisions (draft, revision, text, digest, saved_at, saved_by)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            signed_number(id).into(),
            signed_number(revision).into(),
            text.as_str().as_bytes().into(),
            text.digest().bytes().into(),
            now.ms.into(),
            by.into(),
        ],
    )?;
    Ok(())
}

fn put(tx: &mut dyn Tx, id: u64, draft: &Draft) -> Result<(), StoreError> {
    let (mover, why, read, version) = match &draft.state {
        State::Writing(None) => (None, None, None, None),
        State::Writing(Some(against)) | State::Dropped(against) => {
            (Some(&against.mover), Some(&against.why), None, None)
        }
        State::Asked(mover) => (Some(mover), None, None, None),
        State::Reviewed(mover, digest) => (Some(mover), None, Some(digest), None),
        State::Signed(mover, version) => (Some(mover), None, None, Some(*version)),
    };
    tx.execute(
        "UPDATE drafts SET revision = $1, state = $2, moved_by = $3, moved_at = $4, why = $5, digest = $6, version = $7,
           read = $8 WHERE id = $9",
        &[
            signed_number(draft.revision).into(),
            draft.state.name().into(),
            mover.map(|mover| mover.by.as_str()).into(),
            mover.map(|mover| mover.at.ms).into(),
            why.map(String::as_str).into(),
            read.map(TextDigest::bytes).into(),
            version.map(signed_number).into(),
            draft.read.map(signed_number).into(),
            signed_number(id).into(),
        ],
    )?;
    Ok(())
}

/// What the audit trail says of an act, with the draft as it is after it.
fn told(act: &Act, after: &Draft) -> (Action, String) {
    let which = format!("revision {}, digest {}", after.revision, after.text);
    match act {
        Act::Save { .. } => (Action::DraftSaved, which),
        Act::Ask { .. } => (Action::DraftReviewAsked, which),
        Act::Approve { .. } => (Action::DraftReviewed, which),
        Act::Return { why, .. } => (Action::DraftReturned, format!("{which}: {why}")),
        Act::Bring { version, .. } => (Action::DraftSigned, format!("{which}, as policy {version}")),
        Act::Drop { why } => (Action::DraftDropped, format!("{which}: {why}")),
    }
}

fn subject(id: u64) -> String {
    format!("draft {id}")
}

/// From the first eleven columns of [`get`] and [`list`].
fn listed(row: &Row) -> Result<Listed, StoreError> {
    let against = || {
        Ok::<_, StoreError>(Against {
            mover: mover(row, 4, 5)?,
            why: row.text(6)?.to_owned(),
        })
    };
    let state = match row.text(3)? {
        "writing" if row.opt_text(4)?.is_none() => State::Writing(None),
        "writing" => State::Writing(Some(against()?)),
        "asked" => State::Asked(mover(row, 4, 5)?),
        "reviewed" => State::Reviewed(mover(row, 4, 5)?, digest(row, 7)?),
        "signed" => State::Signed(mover(row, 4, 5)?, unsigned(row, 8)?),
        "dropped" => State::Dropped(against()?),
        other => return Err(row.corrupt(3, format!("`{other}` is no state of a draft"))),
    };
    Ok(Listed {
        id: unsigned(row, 0)?,
        title: row.text(1)?.to_owned(),
        revision: unsigned(row, 2)?,
        state,
        saved: mover(row, 10, 9)?,
    })
}

fn mover(row: &Row, by: usize, at: usize) -> Result<Mover, StoreError> {
    Ok(Mover {
        by: row.text(by)?.to_owned(),
        at: Timestamp::synced(row.int(at)?),
    })
}

fn number(row: &Row, column: usize) -> Result<Option<u64>, StoreError> {
    let number = row.opt_int(column)?.map(u64::try_from);
    number.transpose().map_err(|e| row.corrupt(column, e))
}

fn digest(row: &Row, column: usize) -> Result<TextDigest, StoreError> {
    TextDigest::from_slice(row.blob(column)?).ok_or_else(|| row.corrupt(column, "not 32 bytes"))
}

fn text_of(row: &Row, text: usize, named: usize) -> Result<Text, StoreError> {
    let bytes = row.blob(text)?;
    if TextDigest::of(bytes) != digest(row, named)? {
        return Err(row.corrupt(text, "not the text of its digest"));
    }
    let read = std::str::from_utf8(bytes).map_err(|e| row.corrupt(text, e))?;
    Text::parse(read).map_err(|e| row.corrupt(text, e))
}
