//! The audit trail: who did what to which thing, as rows that each seal all rows before them.
//!
//! Decides only: the closed list of actions, the hash of a row, and whether a run of rows is whole. Rows are
//! written by [`crate::store::audit::record`], in the transaction that makes the change.
//!
//! # Design
//! A row's hash covers its own fields, each behind its length, and the hash before it. An edited, inserted or
//! removed row in the middle is found by [`Chain::follow`]. Rows cut off at the end are not: for that the newest
//! hash has to be kept somewhere else, which is why `check` prints it.

pub mod looked;

use std::fmt;

use ring::digest;

/// What was done. Closed: the names are in the database for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A claim for a new gateway was made.
    GatewayClaimed,
    /// A gateway used its claim's one-time code.
    ClaimUsed,
    /// A certificate request was turned down.
    CsrRefused,
    /// An operator approved a waiting gateway.
    GatewayApproved,
    /// A gateway was shut out for good.
    GatewayRevoked,
    /// A first certificate was issued.
    CertificateIssued,
    /// A certificate was renewed.
    CertificateRenewed,
    /// A person was given access.
    UserAdded,
    /// A person was shut out.
    UserDisabled,
    /// A person chose another password.
    PasswordChanged,
    /// A person signed in.
    UserSignedIn,
    /// A sign-in was refused.
    SignInRefused,
    /// A person signed out.
    UserSignedOut,
    /// An API token was made.
    TokenMade,
    /// An API token was revoked.
    TokenRevoked,
    /// A backup was written.
    BackupMade,
    /// The database was put back from a backup.
    Restored,
    /// A placement was made or changed.
    PlacementChanged,
    /// A care team was made or changed.
    TeamChanged,
    /// An incident was closed by a person.
    IncidentClosed,
    /// The one-time set-up code was used to make the first operator.
    FirstOperatorMade,
    /// Readings were written out with what vouches for them.
    ReadingsExported,
    /// A gateway refused another master's write to a device that it guards.
    WriteRefused,
    /// A gateway let a write to a device through.
    DeviceWritten,
    /// Keys or certificates of the authority changed.
    AuthorityChanged,
    /// One certificate of a gateway was revoked.
    CertificateRevoked,
    /// A gateway's evidence shut it off from policies and secrets.
    GatewayQuarantined,
    /// A person opened a gateway again.
    QuarantineLifted,
    /// A person accepted another tier for a gateway.
    TierAccepted,
    /// Firmware values of a gateway were accepted.
    FirmwareAccepted,
    /// A person had a gateway challenged.
    GatewayChallenged,
    /// Values of a release were loaded, that evidence is held against.
    ReferenceLoaded,
    /// Values of a release were taken out.
    ReferenceRemoved,
    /// Who may sign policies was taken in.
    KeyringLoaded,
    /// A signed policy was taken in.
    PolicyLoaded,
    /// A policy was given to gateways.
    PolicyAssigned,
    /// A policy was taken back.
    PolicyWithdrawn,
    /// A gateway was put into a group, or taken out.
    GroupChanged,
    /// A gateway was shut off from all but its vital flows.
    GatewayIsolated,
    /// That was lifted.
    IsolationLifted,
    /// A person wished that nothing disturbs a home for a while.
    QuietWished,
    /// A person ended that.
    QuietEnded,
    /// A device began to be used while a change was being made on its box.
    UseMet,
    /// The director said which software a gateway shall have.
    UpdateAssigned,
    /// An order to force an update, signed by two people, was taken in.
    ForceBrought,
    /// It was sent to its gateway.
    ForceSent,
    /// Its gateway said what became of it.
    ForceAnswered,
    /// A campaign began.
    CampaignStarted,
    /// A wave of one opened.
    CampaignWaveOpened,
    /// A named person opened a home of high dependency to one.
    CampaignHomeOpened,
    /// A person stopped one.
    CampaignStopped,
    /// A person let one go on.
    CampaignResumed,
    /// A person ended one; what is installed is taken back.
    CampaignAborted,
    /// Too much went wrong in one; what is installed is taken back.
    CampaignHalted,
    /// Another one took its place.
    CampaignSuperseded,
    /// One is over.
    CampaignDone,
    /// A deadline, its reason and who is asked were set for an update.
    DeadlineSet,
    /// Most of an update's time was over, and its person was asked.
    DeadlineAsked,
    /// An update's time was over.
    DeadlinePassed,
    /// An update was in place, or nobody waited for it any more.
    DeadlineOver,
    /// A task was opened: a person brings firmware to a device.
    DossierOpened,
    /// A person said when that is done.
    DossierPlanned,
    /// A first person saw that it worked, where two have to.
    DossierSeen,
    /// It is done: the device shows the version.
    DossierDone,
    /// A device showed another version than it should after that.
    DossierMismatch,
    /// A person decided against it.
    DossierRefused,
    /// Nobody is asked for it any more.
    DossierWithdrawn,
    /// What was refused, or stood for another home, is asked for again.
    DossierReopened,
    /// Newer instructions took its place.
    DossierSuperseded,
    /// Its instructions were taken out of what is published.
    DossierRecalled,
    /// A person took an advisory in.
    AdvisoryTaken,
    /// A person took one out again.
    AdvisoryRemoved,
    /// A device that lies in a person, or acts on them, was written into the register.
    ImplantAdded,
    /// A person read the version off such a device.
    ImplantSeen,
    /// It was taken out of the register.
    ImplantEnded,
    /// A task was opened: a clinician weighs what an advisory says of a device.
    WeighOpened,
    /// A clinician decided.
    WeighDecided,
    /// What was decided is done.
    WeighDone,
    /// A clinician found that the advisory is about another device.
    WeighNotIt,
    /// Nobody is asked to weigh it any more.
    WeighWithdrawn,
    /// It is weighed again.
    WeighReopened,
    /// A later revision of the advisory says something else, and is weighed in its place.
    WeighSuperseded,
    /// The device is not there any more, and there is nothing to weigh.
    WeighGone,
    /// A named person was told outside the console that there is something to weigh.
    WeighTold,
    /// A person asked for a support session.
    SupportAsked,
    /// A person ordered its end.
    SupportEndAsked,
    /// A box opened one.
    SupportOpened,
    /// A box refused one.
    SupportRefused,
    /// A box ended one.
    SupportEnded,
    /// A person came through one.
    SupportConnected,
    /// A person left it.
    SupportLeft,
    /// A draft of a policy was begun.
    DraftBegun,
    /// A person wrote a revision of it.
    DraftSaved,
    /// A person asked for a review of it.
    DraftReviewAsked,
    /// Another person read it and approved it.
    DraftReviewed,
    /// A person gave it back to its authors.
    DraftReturned,
    /// What was signed elsewhere is what was reviewed.
    DraftSigned,
    /// A person gave it up.
    DraftDropped,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 98] = [
        Action::GatewayClaimed,
        Action::ClaimUsed,
        Action::CsrRefused,
        Action::GatewayApproved,
        Action::GatewayRevoked,
        Action::CertificateIssued,
        Action::CertificateRenewed,
        Action::UserAdded,
        Action::UserDisabled,
        Action::PasswordChanged,
        Action::UserSignedIn,
        Action::SignInRefused,
        Action::UserSignedOut,
        Action::TokenMade,
        Action::TokenRevoked,
        Action::BackupMade,
        Action::Restored,
        Action::PlacementChanged,
        Action::TeamChanged,
        Action::IncidentClosed,
        Action::FirstOperatorMade,
        Action::ReadingsExported,
        Action::WriteRefused,
        Action::DeviceWritten,
        Action::AuthorityChanged,
        Action::CertificateRevoked,
        Action::GatewayQuarantined,
        Action::QuarantineLifted,
        Action::TierAccepted,
        Action::FirmwareAccepted,
        Action::GatewayChallenged,
        Action::ReferenceLoaded,
        Action::ReferenceRemoved,
        Action::KeyringLoaded,
        Action::PolicyLoaded,
        Action::PolicyAssigned,
        Action::PolicyWithdrawn,
        Action::GroupChanged,
        Action::GatewayIsolated,
        Action::IsolationLifted,
        Action::QuietWished,
        Action::QuietEnded,
        Action::UseMet,
        Action::UpdateAssigned,
        Action::ForceBrought,
        Action::ForceSent,
        Action::ForceAnswered,
        Action::CampaignStarted,
        Action::CampaignWaveOpened,
        Action::CampaignHomeOpened,
        Action::CampaignStopped,
        Action::CampaignResumed,
        Action::CampaignAborted,
        Action::CampaignHalted,
        Action::CampaignSuperseded,
        Action::CampaignDone,
        Action::DeadlineSet,
        Action::DeadlineAsked,
        Action::DeadlinePassed,
        Action::DeadlineOver,
        Action::DossierOpened,
        Action::DossierPlanned,
        Action::DossierSeen,
        Action::DossierDone,
        Action::DossierMismatch,
        Action::DossierRefused,
        Action::DossierWithdrawn,
        Action::DossierReopened,
        Action::DossierSuperseded,
        Action::DossierRecalled,
        Action::AdvisoryTaken,
        Action::AdvisoryRemoved,
        Action::ImplantAdded,
        Action::ImplantSeen,
        Action::ImplantEnded,
        Action::WeighOpened,
        Action::WeighDecided,
        Action::WeighDone,
        Action::WeighNotIt,
        Action::WeighWithdrawn,
        Action::WeighReopened,
        Action::WeighSuperseded,
        Action::WeighGone,
        Action::WeighTold,
        Action::SupportAsked,
        Action::SupportEndAsked,
        Action::SupportOpened,
        Action::SupportRefused,
        Action::SupportEnded,
        Action::SupportConnected,
        Action::SupportLeft,
        Action::DraftBegun,
        Action::DraftSaved,
        Action::DraftReviewAsked,
        Action::DraftReviewed,
        Action::DraftReturned,
        Action::DraftSigned,
        Action::DraftDropped,
    ];

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Action::GatewayClaimed => "gateway-claimed",
            Action::ClaimUsed => "claim-used",
            Action::CsrRefused => "csr-refused",
            Action::GatewayApproved => "gateway-approved",
            Action::GatewayRevoked => "gateway-revoked",
            Action::CertificateIssued => "certificate-issued",
            Action::CertificateRenewed => "certificate-renewed",
            Action::UserAdded => "user-added",
            Action::UserDisabled => "user-disabled",
            Action::PasswordChanged => "password-changed",
            Action::UserSignedIn => "user-signed-in",
            Action::SignInRefused => "sign-in-refused",
            Action::UserSignedOut => "user-signed-out",
            Action::TokenMade => "token-made",
            Action::TokenRevoked => "token-revoked",
            Action::BackupMade => "backup-made",
            Action::Restored => "restored",
            Action::PlacementChanged => "placement-changed",
            Action::TeamChanged => "team-changed",
            Action::IncidentClosed => "incident-closed",
            Action::FirstOperatorMade => "first-operator-made",
            Action::ReadingsExported => "readings-exported",
            Action::WriteRefused => "write-refused",
            Action::DeviceWritten => "device-written",
            Action::AuthorityChanged => "authority-changed",
            Action::CertificateRevoked => "certificate-revoked",
            Action::GatewayQuarantined => "gateway-quarantined",
            Action::QuarantineLifted => "quarantine-lifted",
            Action::TierAccepted => "tier-accepted",
            Action::FirmwareAccepted => "firmware-accepted",
            Action::GatewayChallenged => "gateway-challenged",
            Action::ReferenceLoaded => "reference-loaded",
            Action::ReferenceRemoved => "reference-removed",
            Action::KeyringLoaded => "keyring-loaded",
            Action::PolicyLoaded => "policy-loaded",
            Action::PolicyAssigned => "policy-assigned",
            Action::PolicyWithdrawn => "policy-withdrawn",
            Action::GroupChanged => "group-changed",
            Action::GatewayIsolated => "gateway-isolated",
            Action::IsolationLifted => "isolation-lifted",
            Action::QuietWished => "quiet-wished",
            Action::QuietEnded => "quiet-ended",
            Action::UseMet => "use-met",
            Action::UpdateAssigned => "update-assigned",
            Action::ForceBrought => "force-brought",
            Action::ForceSent => "force-sent",
            Action::ForceAnswered => "force-answered",
            Action::CampaignStarted => "campaign-started",
            Action::CampaignWaveOpened => "campaign-wave-opened",
            Action::CampaignHomeOpened => "campaign-home-opened",
            Action::CampaignStopped => "campaign-stopped",
            Action::CampaignResumed => "campaign-resumed",
            Action::CampaignAborted => "campaign-aborted",
            Action::CampaignHalted => "campaign-halted",
            Action::CampaignSuperseded => "campaign-superseded",
            Action::CampaignDone => "campaign-done",
            Action::DeadlineSet => "deadline-set",
            Action::DeadlineAsked => "deadline-asked",
            Action::DeadlinePassed => "deadline-passed",
            Action::DeadlineOver => "deadline-over",
            Action::DossierOpened => "dossier-opened",
            Action::DossierPlanned => "dossier-planned",
            Action::DossierSeen => "dossier-seen",
            Action::DossierDone => "dossier-done",
            Action::DossierMismatch => "dossier-mismatch",
            Action::DossierRefused => "dossier-refused",
            Action::DossierWithdrawn => "dossier-withdrawn",
            Action::DossierReopened => "dossier-reopened",
            Action::DossierSuperseded => "dossier-superseded",
            Action::DossierRecalled => "dossier-recalled",
            Action::AdvisoryTaken => "advisory-taken",
            Action::AdvisoryRemoved => "advisory-removed",
            Action::ImplantAdded => "implant-added",
            Action::ImplantSeen => "implant-seen",
            Action::ImplantEnded => "implant-ended",
            Action::WeighOpened => "weigh-opened",
            Action::WeighDecided => "weigh-decided",
            Action::WeighDone => "weigh-done",
            Action::WeighNotIt => "weigh-not-it",
            Action::WeighWithdrawn => "weigh-withdrawn",
            Action::WeighReopened => "weigh-reopened",
            Action::WeighSuperseded => "weigh-superseded",
            Action::WeighGone => "weigh-gone",
            Action::WeighTold => "weigh-told",
            Action::SupportAsked => "support-asked",
            Action::SupportEndAsked => "support-end-asked",
            Action::SupportOpened => "support-opened",
            Action::SupportRefused => "support-refused",
            Action::SupportEnded => "support-ended",
            Action::SupportConnected => "support-connected",
            Action::SupportLeft => "support-left",
            Action::DraftBegun => "draft-begun",
            Action::DraftSaved => "draft-saved",
            Action::DraftReviewAsked => "draft-review-asked",
            Action::DraftReviewed => "draft-reviewed",
            Action::DraftReturned => "draft-returned",
            Action::DraftSigned => "draft-signed",
            Action::DraftDropped => "draft-dropped",
        }
    }

    /// The action of that name.
    pub fn from_name(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// SHA-256 over a row and all rows before it. `Display` is lower case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowHash(pub [u8; 32]);

impl RowHash {
    /// Before the first row.
    pub const START: RowHash = RowHash([0; 32]);

    /// From the 32 bytes of a stored one.
    pub fn from_slice(bytes: &[u8]) -> Option<RowHash> {
        bytes.try_into().ok().map(RowHash)
    }

    /// The hash after one more row: SHA-256 over a name for the layout, the hash before, and each field behind
    /// its length (8 bytes, big endian), numbers as 8 bytes.
    #[must_use]
    pub fn then(self, row: &Row<'_>) -> RowHash {
        let mut ctx = digest::Context::new(&digest::SHA256);
        ctx.update(b"homeward-audit-v1");
        ctx.update(&self.0);
        ctx.update(&row.id.to_be_bytes());
        ctx.update(&row.at_ms.to_be_bytes());
        for field in [row.actor, row.action, row.subject, row.detail] {
            ctx.update(&(field.len() as u64).to_be_bytes());
            ctx.update(field.as_bytes());
        }
        let mut out = [0; 32];
        out.copy_from_slice(ctx.finish().as_ref());
        RowHash(out)
    }
}

impl fmt::Display for RowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// One row without its hash. The action is the text as stored, so that a row of a newer version still checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// 1, 2, 3 … without holes.
    pub id: i64,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Who: a user's name, a gateway's id, or `system`.
    pub actor: &'a str,
    /// What was done.
    pub action: &'a str,
    /// To what.
    pub subject: &'a str,
    /// More, for people; never a secret.
    pub detail: &'a str,
}

/// Where the trail stops being whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A row is missing or out of order.
    #[error("the audit trail should go on with row {expected}, but has row {found}")]
    Number {
        /// The number that should follow.
        expected: i64,
        /// The number that does.
        found: i64,
    },
    /// Rows were cut off at the end.
    #[error("the audit trail had {had} rows and has {has} now")]
    Cut {
        /// The newest row that was seen.
        had: i64,
        /// The newest row that is there.
        has: i64,
    },
    /// A row, or one before it, is not what was written.
    #[error("row {id} of the audit trail was changed after it was written, or a row before it was")]
    Hash {
        /// Which row.
        id: i64,
    },
}

/// A walk along the trail from its first row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    last: i64,
    head: RowHash,
}

impl Chain {
    /// Before the first row.
    pub const fn start() -> Chain {
        Chain {
            last: 0,
            head: RowHash::START,
        }
    }

    /// Going on after row `last` with hash `head`.
    pub const fn after(last: i64, head: RowHash) -> Chain {
        Chain { last, head }
    }

    /// Number of the newest row seen; 0 when there is none.
    pub const fn last(&self) -> i64 {
        self.last
    }

    /// Hash of the newest row seen.
    pub const fn head(&self) -> RowHash {
        self.head
    }

    /// Takes the next row with the hash that is stored beside it.
    pub fn follow(&mut self, row: &Row<'_>, stored: &[u8]) -> Result<(), Broken> {
        let expected = self.last.saturating_add(1);
        if row.id != expected {
            return Err(Broken::Number {
                expected,
                found: row.id,
            });
        }
        let head = self.head.then(row);
        if head.0 != stored {
            return Err(Broken::Hash { id: row.id });
        }
        *self = Chain { last: row.id, head };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail() -> Vec<(i64, String, [u8; 32])> {
        let mut chain = RowHash::START;
        (1..=5)
            .map(|id| {
                let actor = format!("anna{id}");
                chain = chain.then(&row(id, &actor));
                (id, actor, chain.0)
            })
            .collect()
    }

    fn row(id: i64, actor: &str) -> Row<'_> {
        Row {
            id,
            at_ms: 1_795_000_000_000 + id,
            actor,
            action: Action::UserSignedIn.name(),
            subject: actor,
            detail: "",
        }
    }

    fn walk(trail: &[(i64, String, [u8; 32])]) -> Result<Chain, Broken> {
        let mut chain = Chain::start();
        for (id, actor, hash) in trail {
            chain.follow(&row(*id, actor), hash)?;
        }
        Ok(chain)
    }

    #[test]
    fn a_whole_trail_checks_and_names_its_head() {
        let chain = walk(&trail()).expect("whole");
        assert_eq!(chain.last(), 5);
        assert_eq!(chain.head().0, trail()[4].2);
    }

    #[test]
    fn an_edited_removed_or_swapped_row_is_found() {
        let mut edited = trail();
        edited[2].1 = "mallory".into();
        assert_eq!(walk(&edited), Err(Broken::Hash { id: 3 }));
        let mut removed = trail();
        removed.remove(1);
        assert_eq!(
            walk(&removed),
            Err(Broken::Number {
                expected: 2,
                found: 3
            })
        );
        let mut renumbered = removed;
        renumbered.iter_mut().zip(1..).for_each(|(r, id)| r.0 = id);
        assert_eq!(walk(&renumbered), Err(Broken::Hash { id: 2 }));
    }

    #[test]
    fn moving_a_letter_between_fields_changes_the_hash() {
        let one = Row {
            subject: "ab",
            detail: "c",
            ..row(1, "x")
        };
        let other = Row {
            subject: "a",
            detail: "bc",
            ..row(1, "x")
        };
        assert_ne!(RowHash::START.then(&one), RowHash::START.then(&other));
    }

    #[test]
    fn each_action_reads_back_by_its_own_name() {
        for action in Action::ALL {
            assert_eq!(Action::from_name(action.name()), Some(action));
        }
    }

    #[test]
    fn the_hash_of_a_known_row_never_changes() {
        assert_eq!(
            RowHash::START.then(&row(1, "anna1")).to_string(),
            "d128bad08052e7118a7fa32ce26aa039c74fb6a425893a41e30313019c038760"
        );
    }
}
