//! Policies: the rows behind [`crate::policy`].
//!
//! What is kept was verified before it was ([`crate::policy::admit`]). How far each gateway has come is never stored:
//! it is computed from what is assigned and what each says.

use std::collections::{BTreeSet, HashMap};

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::PolicyVersion;
use homeward_protocol::policy::sign::{Accepted, Keyring, Offer, PolicyMark, SignedDigest};
use homeward_protocol::posture::ShortText;
use homeward_protocol::signed::{PublicKey, Signed};
use homeward_protocol::time::Timestamp;

use super::{Row, StoreError, Tx, audit, signals};
use crate::audit::Action;
use crate::policy::book::{Book, Entry, Order, Target};

pub mod drafts;
pub mod groups;
pub mod isolation;
pub mod overview;
pub mod spells;
pub mod states;
pub mod stopped;

/// Most policies that are read at a time: the newest.
const MOST: i64 = 500;
/// Most assignments that are read.
const MOST_TARGETS: i64 = 100_000;

/// A loaded policy as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The policy.
    pub entry: Entry,
    /// Who wrote it.
    pub author: String,
    /// Who reviewed it.
    pub reviewer: Option<String>,
    /// When it was loaded.
    pub loaded_at: Timestamp,
    /// By whom.
    pub loaded_by: String,
    /// When it was taken back, by whom, why.
    pub withdrawn: Option<(Timestamp, String, String)>,
}

/// What came of loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loading {
    /// It is new here.
    New,
    /// It is here already, and other people stand behind it now.
    SignedAnew,
    /// The very same is here already; its keyring is new.
    NewKeyring,
    /// All of it is here already.
    Same,
    /// Another policy has this number.
    OtherContent,
}

/// The number that rises with each change of who shall have what.
pub fn mark(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    let row = tx.row("SELECT changes FROM policy_mark WHERE id = 1", &[])?;
    row.map_or(Ok(0), |row| row.int(0))
}

/// Notes such a change: each process finds it by [`mark`] at its next look. The pages of the gateway that is its subject
/// hear of it at once.
pub(super) fn touch(tx: &mut dyn Tx, subject: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.execute("UPDATE policy_mark SET changes = changes + 1 WHERE id = 1", &[])?;
    signals::raise(tx, signals::Kind::Policy, subject, now)
}

/// The newest keyring's number, bytes and end.
pub fn keyring(tx: &mut dyn Tx) -> Result<Option<(u64, Vec<u8>, Timestamp)>, StoreError> {
    let row = tx.row(
        "SELECT version, signed, expires_at FROM policy_keyrings ORDER BY version DESC LIMIT 1",
        &[],
    )?;
    let keyring = |row: Row| {
        Ok((
            unsigned(&row, 0)?,
            row.blob(1)?.to_vec(),
            Timestamp::synced(row.int(2)?),
        ))
    };
    row.map(keyring).transpose()
}

/// Keeps a keyring that was verified; false when it is here already. Another one of the same number takes its place:
/// both are by a root.
pub fn load_keyring(
    tx: &mut dyn Tx,
    (keyring, bytes): (&Keyring, &[u8]),
    by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let number = signed_number(keyring.version);
    let row = tx.row(
        "SELECT signed FROM policy_keyrings WHERE version = $1",
        &[number.into()],
    )?;
    if let Some(row) = row
        && row.blob(0)? == bytes
    {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO policy_keyrings (version, signed, expires_at, loaded_at, loaded_by) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (version) DO UPDATE SET signed = excluded.signed, expires_at = excluded.expires_at,
             loaded_at = excluded.loaded_at, loaded_by = excluded.loaded_by",
        &[
            number.into(),
            bytes.into(),
            keyring.expires.ms().into(),
            now.ms.into(),
            by.into(),
        ],
    )?;
    let names = |keys: &[homeward_protocol::policy::sign::SigningKey]| {
        let all: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        all.join(", ")
    };
    let detail = format!(
        "authors {}; reviewers {}; until {}",
        names(&keyring.authors),
        names(&keyring.reviewers),
        keyring.expires
    );
    let subject = format!("keyring {}", keyring.version);
    audit::record(tx, now, by, Action::KeyringLoaded, &subject, &detail)?;
    touch(tx, "", now)?;
    Ok(true)
}

/// Keeps a policy that was accepted, with its keyring. One that is here already may be signed anew: by other people, or
/// by the same under a new keyring.
pub fn load(
    tx: &mut dyn Tx,
    (accepted, offer): (&Accepted, &Offer),
    keyring: &Keyring,
    by: &str,
    now: Timestamp,
) -> Result<Loading, StoreError> {
    let number = signed_number(accepted.mark.version.0);
    let row = tx.row("SELECT digest FROM policies WHERE version = $1", &[number.into()])?;
    let same = row.map(|row| Ok::<_, StoreError>(row.blob(0)? == accepted.mark.digest.0));
    let same = same.transpose()?;
    if same == Some(false) {
        return Ok(Loading::OtherContent);
    }
    let new_keyring = load_keyring(tx, (keyring, &offer.keyring.0), by, now)?;
    let new = tx.execute(
        "INSERT INTO policies (version, digest, signed, review, author, reviewer, loaded_at, loaded_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (version) DO UPDATE SET review = excluded.review, author = excluded.author,
             reviewer = excluded.reviewer
         WHERE policies.review IS DISTINCT FROM excluded.review OR policies.author <> excluded.author
            OR policies.reviewer IS DISTINCT FROM excluded.reviewer",
        &[
            number.into(),
            accepted.mark.digest.0.as_slice().into(),
            offer.policy.0.as_slice().into(),
            offer.review.as_ref().map(|review| review.0.as_slice()).into(),
            accepted.author.as_str().into(),
            accepted.reviewer.as_ref().map(ShortText::as_str).into(),
            now.ms.into(),
            by.into(),
        ],
    )?;
    if new == 0 {
        return Ok(if new_keyring {
            Loading::NewKeyring
        } else {
            Loading::Same
        });
    }
    let reviewer = accepted.reviewer.as_ref().map_or("nobody", |r| r.as_str());
    let detail = format!(
        "{}, by {}, reviewed by {reviewer}, digest {}",
        accepted.policy.get().name.as_str(),
        accepted.author.as_str(),
        accepted.mark.digest
    );
    let subject = format!("policy {}", accepted.mark.version);
    audit::record(tx, now, by, Action::PolicyLoaded, &subject, &detail)?;
    touch(tx, "", now)?;
    Ok(match same {
        Some(_) => Loading::SignedAnew,
        None => Loading::New,
    })
}

/// Loaded policies, the newest first.
pub fn list(tx: &mut dyn Tx) -> Result<Vec<Loaded>, StoreError> {
    let rows = tx.rows(
        "SELECT version, digest, signed, review, author, reviewer, loaded_at, loaded_by, withdrawn_at, withdrawn_by,
           withdrawn_why
         FROM policies ORDER BY version DESC LIMIT $1",
        &[MOST.into()],
    )?;
    rows.iter().map(loaded).collect()
}

/// The one of this number.
pub fn get(tx: &mut dyn Tx, version: u64) -> Result<Option<Loaded>, StoreError> {
    let row = tx.row(
        "SELECT version, digest, signed, review, author, reviewer, loaded_at, loaded_by, withdrawn_at, withdrawn_by,
           withdrawn_why
         FROM policies WHERE version = $1",
        &[signed_number(version).into()],
    )?;
    row.as_ref().map(loaded).transpose()
}

fn loaded(row: &Row) -> Result<Loaded, StoreError> {
    let signed = row.blob(2)?.to_vec();
    let policy = Signed::parse(&signed).and_then(|signed| signed.unverified());
    let digest = SignedDigest::of(&signed);
    if row.blob(1)? != digest.0 {
        return Err(row.corrupt(1, "not the digest of what was signed"));
    }
    let withdrawn = row.opt_int(8)?.map(|at| {
        let text = |column| row.opt_text(column).ok().flatten().unwrap_or_default().to_owned();
        (Timestamp::synced(at), text(9), text(10))
    });
    Ok(Loaded {
        entry: Entry {
            mark: PolicyMark {
                version: PolicyVersion(unsigned(row, 0)?),
                digest,
            },
            policy: policy.map_err(|e| row.corrupt(2, e))?,
            signed,
            review: row.opt_blob(3)?.map(<[u8]>::to_vec),
            withdrawn: withdrawn.is_some(),
        },
        author: row.text(4)?.to_owned(),
        reviewer: row.opt_text(5)?.map(str::to_owned),
        loaded_at: Timestamp::synced(row.int(6)?),
        loaded_by: row.text(7)?.to_owned(),
        withdrawn,
    })
}

/// Assigns a policy. To assign it again renews the moment, so that boxes that went back from it try again.
pub fn assign(
    tx: &mut dyn Tx,
    version: u64,
    targets: &[Target],
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    for target in targets {
        let (kind, name) = target.columns();
        tx.execute(
            "INSERT INTO policy_targets (kind, name, version, assigned_at, assigned_by) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (kind, name, version) DO UPDATE SET assigned_at = excluded.assigned_at,
                 assigned_by = excluded.assigned_by",
            &[
                kind.into(),
                name.into(),
                signed_number(version).into(),
                now.ms.into(),
                by.into(),
            ],
        )?;
        let subject = format!("policy {version}");
        audit::record(tx, now, by, Action::PolicyAssigned, &subject, &target.to_string())?;
    }
    touch(tx, "", now)
}

/// Takes a policy back; false when there is none of that number, or it was before.
pub fn withdraw(
    tx: &mut dyn Tx,
    version: u64,
    why: &str,
    by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let touched = tx.execute(
        "UPDATE policies SET withdrawn_at = $1, withdrawn_by = $2, withdrawn_why = $3
         WHERE version = $4 AND withdrawn_at IS NULL",
        &[
            now.ms.into(),
            by.into(),
            why.into(),
            signed_number(version).into(),
        ],
    )?;
    if touched == 0 {
        return Ok(false);
    }
    let subject = format!("policy {version}");
    audit::record(tx, now, by, Action::PolicyWithdrawn, &subject, why)?;
    touch(tx, "", now)?;
    Ok(true)
}

/// All assignments, the newest policy first.
pub fn orders(tx: &mut dyn Tx) -> Result<Vec<Order>, StoreError> {
    let rows = tx.rows(
        "SELECT kind, name, version, assigned_at, assigned_by FROM policy_targets ORDER BY version DESC, kind, name
         LIMIT $1",
        &[MOST_TARGETS.into()],
    )?;
    rows.iter().map(order).collect()
}

/// Those that a gateway, one of its groups or all were given.
fn orders_of(tx: &mut dyn Tx, id: &GatewayId) -> Result<Vec<Order>, StoreError> {
    let rows = tx.rows(
        "SELECT kind, name, version, assigned_at, assigned_by FROM policy_targets
         WHERE kind = 'all' OR (kind = 'gateway' AND name = $1)
            OR (kind = 'group' AND name IN (SELECT group_id FROM group_members WHERE gateway = $1))
         ORDER BY version DESC, kind, name LIMIT $2",
        &[id.as_str().into(), MOST_TARGETS.into()],
    )?;
    rows.iter().map(order).collect()
}

fn order(row: &Row) -> Result<Order, StoreError> {
    Ok(Order {
        target: Target::from_columns(row.text(0)?, row.text(1)?)
            .ok_or_else(|| row.corrupt(0, "not a target"))?,
        version: unsigned(row, 2)?,
        at: Timestamp::synced(row.int(3)?),
        by: row.text(4)?.to_owned(),
    })
}

/// Who shall have what, now.
pub fn book(tx: &mut dyn Tx, roots: &[PublicKey]) -> Result<Book, StoreError> {
    let entries = list(tx)?.into_iter().map(|loaded| loaded.entry).collect();
    let keyring = keyring(tx)?.map(|(_, bytes, until)| (bytes, until));
    let members: HashMap<GatewayId, Vec<_>> = groups::all(tx)?;
    Ok(Book::new(entries, keyring, &orders(tx)?, members, roots))
}

/// What one gateway shall have, now: as [`book`], of what concerns it, and of the policy that it says it has.
pub fn book_of(tx: &mut dyn Tx, roots: &[PublicKey], id: &GatewayId) -> Result<Book, StoreError> {
    let orders = orders_of(tx, id)?;
    let held = states::get(tx, id)?.and_then(|said| said.state.policy);
    let held = held.map(|mark| mark.version.0);
    let versions: BTreeSet<u64> = orders.iter().map(|order| order.version).chain(held).collect();
    let mut entries = Vec::new();
    for version in versions {
        entries.extend(get(tx, version)?.map(|loaded| loaded.entry));
    }
    let keyring = keyring(tx)?.map(|(_, bytes, until)| (bytes, until));
    let members = HashMap::from([(id.clone(), groups::of(tx, id)?)]);
    Ok(Book::new(entries, keyring, &orders, members, roots))
}

/// A number as a column holds it. None of ours comes near the sign.
pub(super) fn signed_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(row: &Row, column: usize) -> Result<u64, StoreError> {
    u64::try_from(row.int(column)?).map_err(|e| row.corrupt(column, e))
}
