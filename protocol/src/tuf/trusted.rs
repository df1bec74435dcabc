//! What is believed, and the rules by which more is.
//!
//! Files are taken in the order root, timestamp, snapshot, targets. A file that is refused changes nothing.
//! Source: TUF specification, sections 5.3 to 5.6.

use super::TufError;
use super::envelope::{Envelope, malformed};
use super::metadata::targets::Targets;
use super::metadata::{Freshness, Head, Meta, Root, Snapshot};
use super::read::{Object, Rule};
use super::role::Role;
use crate::time::Timestamp;

/// What is believed of one repository, at one moment.
#[derive(Debug, Clone)]
pub struct Trusted {
    now: Timestamp,
    root: Root,
    timestamp: Option<Freshness>,
    snapshot: Option<Snapshot>,
    targets: Option<Targets>,
}

/// What a timestamp that came is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It is newer, and is believed now.
    Newer,
    /// It is the version that was known: the known one stays.
    Same,
}

impl Trusted {
    /// Begins with a root that came with the box, or was kept by an earlier refresh. It has to vouch for itself; its end
    /// is not looked at yet. `now` is the floored clock.
    pub fn begin(root: &[u8], now: Timestamp) -> Result<Trusted, TufError> {
        let envelope = Envelope::parse(&Role::Root, root)?;
        let root = read_root(&envelope)?;
        check(&envelope, &Role::Root, &root)?;
        Ok(Trusted {
            now,
            root,
            timestamp: None,
            snapshot: None,
            targets: None,
        })
    }

    /// Whose keys count.
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// The newest timestamp.
    pub const fn timestamp(&self) -> Option<&Freshness> {
        self.timestamp.as_ref()
    }

    /// The newest snapshot.
    pub const fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// What there is.
    pub const fn targets(&self) -> Option<&Targets> {
        self.targets.as_ref()
    }

    /// Takes the next root: signed as the old one demands and as it demands itself, one version higher.
    ///
    /// Its end is checked when it is the last one ([`Trusted::end_of_roots`]): a box that was dark for years walks
    /// through roots that are long over.
    pub fn next_root(&mut self, bytes: &[u8]) -> Result<(), TufError> {
        let envelope = Envelope::parse(&Role::Root, bytes)?;
        check(&envelope, &Role::Root, &self.root)?;
        let next = read_root(&envelope)?;
        check(&envelope, &Role::Root, &next)?;
        let want = self.root.head.version.saturating_add(1);
        same_version(&Role::Root, next.head.version, want)?;
        self.root = next;
        Ok(())
    }

    /// There is no newer root: the one that is believed must be good now.
    pub fn end_of_roots(&self) -> Result<(), TufError> {
        self.still_good(&Role::Root, self.root.head)
    }

    /// Remembers a timestamp that was kept: what is new may not be older. Its end does not matter for that.
    pub fn known_timestamp(&mut self, bytes: &[u8]) -> Result<(), TufError> {
        self.timestamp = Some(self.believed(&Role::Timestamp, bytes, Freshness::read)?);
        Ok(())
    }

    /// Takes the timestamp of the server.
    pub fn new_timestamp(&mut self, bytes: &[u8]) -> Result<News, TufError> {
        let new = self.believed(&Role::Timestamp, bytes, Freshness::read)?;
        if let Some(known) = &self.timestamp {
            not_back(&Role::Timestamp.listed(), known.head.version, new.head.version)?;
            if known.head.version == new.head.version {
                self.still_good(&Role::Timestamp, known.head)?;
                return Ok(News::Same);
            }
            not_back(
                &Role::Snapshot.listed(),
                known.snapshot.version,
                new.snapshot.version,
            )?;
        }
        self.still_good(&Role::Timestamp, new.head)?;
        self.timestamp = Some(new);
        Ok(News::Newer)
    }

    /// Remembers a snapshot that was kept: nothing that it lists may go back. Says whether it is the newest one, so that
    /// none has to be fetched.
    pub fn known_snapshot(&mut self, bytes: &[u8]) -> Result<bool, TufError> {
        let known = self.believed(&Role::Snapshot, bytes, Snapshot::read)?;
        let wanted = self.snapshot_wanted()?;
        let newest =
            known.head.version == wanted.version && wanted.fits(bytes) && !known.head.is_over(self.now);
        self.snapshot = Some(known);
        Ok(newest)
    }

    /// Takes the snapshot that the timestamp names.
    pub fn new_snapshot(&mut self, bytes: &[u8]) -> Result<(), TufError> {
        let wanted = self.snapshot_wanted()?;
        fits(&Role::Snapshot, wanted, bytes)?;
        let new = self.believed(&Role::Snapshot, bytes, Snapshot::read)?;
        same_version(&Role::Snapshot, new.head.version, wanted.version)?;
        for (name, known) in self.snapshot.iter().flat_map(|known| &known.meta) {
            let meta = new
                .meta
                .get(name)
                .ok_or_else(|| TufError::Unlisted(name.escape_debug().to_string()))?;
            not_back(name, known.version, meta.version)?;
        }
        self.still_good(&Role::Snapshot, new.head)?;
        self.snapshot = Some(new);
        Ok(())
    }

    /// Takes the top targets, whether kept or fetched.
    pub fn take_targets(&mut self, bytes: &[u8]) -> Result<(), TufError> {
        let role = Role::Targets;
        let envelope = self.listed(&role, bytes)?;
        check(&envelope, &role, &self.root)?;
        self.targets = Some(self.targets_of(&role, &envelope)?);
        Ok(())
    }

    /// Reads targets that `by` handed a part to, whether kept or fetched. They are signed by the keys that `by` names
    /// for them, which may be others than those of an earlier day or of another delegator.
    pub fn delegated(&self, role: &Role, by: &Targets, bytes: &[u8]) -> Result<Targets, TufError> {
        let envelope = self.listed(role, bytes)?;
        let delegation = by.delegations.iter().find(|one| one.role == *role);
        let delegation = delegation.ok_or(TufError::Misuse("nobody delegated to that role"))?;
        envelope.verify(role, &by.keys, &delegation.keys)?;
        self.targets_of(role, &envelope)
    }

    /// What the snapshot promises of a role.
    pub fn promised(&self, role: &Role) -> Result<&Meta, TufError> {
        let snapshot = self
            .snapshot
            .as_ref()
            .ok_or(TufError::Misuse("there is no snapshot yet"))?;
        let name = role.listed();
        let meta = snapshot.meta.get(&name);
        meta.ok_or_else(|| TufError::Unlisted(name.escape_debug().to_string()))
    }

    /// What the timestamp promises of the snapshot.
    pub fn snapshot_wanted(&self) -> Result<&Meta, TufError> {
        let timestamp = self
            .timestamp
            .as_ref()
            .ok_or(TufError::Misuse("there is no timestamp yet"))?;
        Ok(&timestamp.snapshot)
    }

    fn listed(&self, role: &Role, bytes: &[u8]) -> Result<Envelope, TufError> {
        fits(role, self.promised(role)?, bytes)?;
        Envelope::parse(role, bytes)
    }

    fn targets_of(&self, role: &Role, envelope: &Envelope) -> Result<Targets, TufError> {
        let new = Targets::read(envelope.unverified()).map_err(|why| malformed(role, why))?;
        same_version(role, new.head.version, self.promised(role)?.version)?;
        self.still_good(role, new.head)?;
        Ok(new)
    }

    /// Checks signatures first, then reads.
    fn believed<T>(
        &self,
        role: &Role,
        bytes: &[u8],
        read: impl FnOnce(&Object) -> Result<T, Rule>,
    ) -> Result<T, TufError> {
        let envelope = Envelope::parse(role, bytes)?;
        check(&envelope, role, &self.root)?;
        read(envelope.unverified()).map_err(|why| malformed(role, why))
    }

    fn still_good(&self, role: &Role, head: Head) -> Result<(), TufError> {
        if head.is_over(self.now) {
            return Err(TufError::Expired {
                role: role.clone(),
                version: head.version,
                at: head.expires,
            });
        }
        Ok(())
    }
}

fn read_root(envelope: &Envelope) -> Result<Root, TufError> {
    Root::read(envelope.unverified()).map_err(|why| malformed(&Role::Root, why))
}

/// Signed by enough of the keys that `root` names for `role`.
fn check(envelope: &Envelope, role: &Role, root: &Root) -> Result<(), TufError> {
    let by = root
        .role(role)
        .ok_or(TufError::Misuse("a root says nothing of that role"))?;
    envelope.verify(role, &root.keys, by).map(drop)
}

fn same_version(role: &Role, got: u64, want: u64) -> Result<(), TufError> {
    if got == want {
        return Ok(());
    }
    Err(TufError::Version {
        role: role.clone(),
        got,
        want,
    })
}

fn not_back(what: &str, from: u64, to: u64) -> Result<(), TufError> {
    if to >= from {
        return Ok(());
    }
    Err(TufError::Rollback {
        what: what.escape_debug().to_string(),
        from,
        to,
    })
}

fn fits(role: &Role, promised: &Meta, bytes: &[u8]) -> Result<(), TufError> {
    if promised.fits(bytes) {
        Ok(())
    } else {
        Err(TufError::Content(role.listed()))
    }
}
