//! Whether a gateway's evidence is in order: the judgement, why, on what it rests, and when it ends.
//!
//! Decides only. [`appraise`] judges one piece of evidence; [`record`] is what is kept of a gateway and how it stands
//! at a moment; [`schedule`] says when to ask again. [`serve`] does it.
//!
//! # Design
//! - A judgement ends by itself: whoever reads the record computes how the gateway stands from it and the time. No
//!   task, timer or restart is needed for a gateway to leave `trusted`.
//! - A software key proves that a process which holds it said so, no more: never above `warning`.
//! - Silence is `stale`, never `failed`, and never good. A fault of ours is `unknown`, never the gateway's guilt.
//! - What can have an honest cause (a measurement, an older boot) needs two failures in a row before anything is
//!   shut; what cannot (a signature, a number that was never asked) needs one. Only a person opens it again.
//! - Quarantine stops what is sent down with authority. It never stops readings or alarms.
//!
//! Source: EAT (RFC 9711), the shape of the result from EAR and AR4SI (IETF drafts of the RATS working group).

pub mod baseline;
pub mod logs;
pub mod postures;
pub mod quoted;
pub mod record;
pub mod reference;
pub mod reliance;
pub mod schedule;
pub mod serve;
pub mod take;

#[cfg(test)]
mod tests;
pub mod vector;
pub mod words;

use std::collections::BTreeMap;

use homeward_protocol::attest::{Tier, VERDICT_MS};
use homeward_protocol::evidence::{Component, Evidence, Profile};
use homeward_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use baseline::{Baseline, Firmware};
use record::{Boot, Known};
use reference::{Found, Reference};
pub use vector::{Claim, Status, Vector};

/// What became of the number that the evidence holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nonce {
    /// It was asked of this gateway, within the time, and not answered yet.
    Fresh,
    /// It was asked of this gateway, and the answer came too late. Nobody's fault.
    Late,
    /// It was answered before: this is a recording.
    Used,
    /// It was never asked of this gateway.
    Foreign,
}

/// What a TPM proved, as the check of its part found it. Nothing here is the software's own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmFacts {
    /// Whether its maker is known.
    pub chip: Chip,
    /// Whether its quote holds.
    pub quote: Quote,
    /// The SHA-256 registers that the quote covers.
    pub registers: BTreeMap<u8, [u8; 32]>,
    /// Whether the firmware's log replays to them.
    pub log: Log,
    /// Whether the kernel's does.
    pub ima: Ima,
}

/// Whose TPM it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Chip {
    /// Its endorsement key leads to a known maker.
    Known,
    /// Nobody vouches for it.
    Nobodys,
}

/// Whether a quote holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quote {
    /// By the enrolled attestation key, over this number, this token and these registers.
    Holds,
    /// Not signed by the enrolled attestation key.
    OtherKey,
    /// It covers another number or another token.
    OtherNonce,
    /// The registers sent beside it are not those that it covers.
    OtherRegisters,
    /// It cannot be read.
    Malformed,
}

/// Whether a firmware log fits its registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Log {
    /// It replays to them.
    Replays,
    /// It does not.
    Differs,
    /// More of it is to come.
    Incomplete,
    /// There is none.
    None,
}

/// Whether the kernel's log of what it ran (IMA) fits its register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ima {
    /// It replays to it.
    Replays,
    /// It does, and so many files could not be measured as they ran.
    Violations(u32),
    /// It does not.
    Differs,
    /// More of it is to come.
    Incomplete,
    /// There is none.
    None,
}

/// Why a judgement is what it is, in the order in which it is said. Closed: the names are in the database for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Why {
    /// Nothing speaks against it.
    InOrder,
    /// It is not what it should be: its form.
    Unreadable,
    /// Its signature is not by the key of its connection.
    BadSignature,
    /// It names another key than the one of its connection.
    OtherKey,
    /// It answers a number that was never asked.
    WrongNonce,
    /// It answers a number that was answered before.
    Replayed,
    /// Another box speaks with this key.
    OtherBox,
    /// Two boxes took turns under one key.
    TwoBoxes,
    /// It claims less proof than before.
    TierDropped {
        /// Before.
        from: Tier,
        /// Now.
        to: Tier,
    },
    /// The TPM's statement does not hold.
    QuoteFails(Quote),
    /// The firmware's log does not fit what the TPM measured.
    LogDiffers,
    /// The kernel's log of what it ran does not fit what the TPM measured.
    RunLogDiffers,
    /// A program or file is not the one of its release.
    Tampered(Component),
    /// What the box started is not what its release says.
    OtherBoot(u8),
    /// Its TPM does not answer: it speaks with its spare key.
    SpareKey,
    /// It answers after the challenge's time.
    TooLate,
    /// Boots were counted back: its memory was put back, or there are two of it.
    CountedBack,
    /// Firmware is another than before, and nobody accepted it yet.
    FirmwareChanged,
    /// A version that no loaded release describes.
    UnknownRelease(Component),
    /// Files changed while they ran, so the kernel could not measure them: so many.
    Unmeasured(u32),
    /// The chain of postures since it was last heard has a hole.
    Unproven,
    /// Only its own word stands behind it.
    SoftwareOnly,
    /// Its key is in a TPM that nobody vouches for.
    UnknownChip,
    /// The firmware's log has not come whole yet.
    LogIncomplete,
    /// No release with boot values is loaded here.
    NoReference,
}

impl Why {
    /// Whether one such failure is enough: it has no honest cause.
    pub const fn is_at_once(&self) -> bool {
        matches!(
            self,
            Why::BadSignature
                | Why::OtherKey
                | Why::WrongNonce
                | Why::Replayed
                | Why::OtherBox
                | Why::TwoBoxes
                | Why::QuoteFails(Quote::OtherKey | Quote::OtherNonce)
        )
    }
}

/// One judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// In one word.
    pub status: Status,
    /// By what.
    pub vector: Vector,
    /// What proves it.
    pub tier: Tier,
    /// Why, the heaviest first; never empty.
    pub why: Vec<Why>,
    /// When it was made.
    pub issued_at: Timestamp,
    /// From when on it says nothing good any more.
    pub expires_at: Timestamp,
}

impl Verdict {
    fn new(tier: Tier, vector: Vector, why: Vec<Why>, now: Timestamp) -> Verdict {
        Verdict {
            status: vector.status(),
            vector,
            tier,
            why,
            issued_at: now,
            expires_at: now.plus_ms(VERDICT_MS),
        }
    }

    /// Whether this is a failure of its part alone: it ends by itself when its TPM answers, and shuts nothing off (a
    /// spare key is sent nothing anyway).
    pub fn is_of_its_part(&self) -> bool {
        self.why == [Why::SpareKey]
    }

    /// Whether this failure alone shuts the gateway off.
    pub fn is_at_once(&self) -> bool {
        self.status == Status::Contraindicated && self.why.iter().any(Why::is_at_once)
    }
}

/// Evidence that nobody can judge by its content: unreadable, or not signed by the key of its connection.
pub fn refuse(why: Why, before: &Known, now: Timestamp) -> Verdict {
    let mut vector = Vector::default();
    vector.lower(Claim::Instance, if why == Why::Unreadable { 96 } else { 99 });
    let tier = before.tier.unwrap_or(Tier::Software);
    Verdict::new(tier, vector, vec![why], now)
}

/// A gateway that came in with its spare key: nothing that it says of itself is believed, and nobody is to blame.
pub fn spare(now: Timestamp) -> Verdict {
    let mut vector = Vector::default();
    vector.lower(Claim::Hardware, 96);
    vector.lower(Claim::Storage, 32);
    Verdict::new(Tier::Software, vector, vec![Why::SpareKey], now)
}

/// What there is to judge by beside the claims.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The thumbprint of the key of this connection.
    pub key: [u8; 32],
    /// What became of its number.
    pub nonce: Nonce,
    /// What its TPM proved.
    pub tpm: Option<&'a TpmFacts>,
    /// What is kept of the gateway.
    pub before: &'a Known,
    /// What releases look like.
    pub reference: &'a Reference,
    /// Firmware values that stand for this gateway.
    pub baseline: &'a Baseline,
    /// Whether the chain of postures since it was last heard is whole.
    pub postures: Postures,
    /// Now, by the server's clock.
    pub now: Timestamp,
}

/// What the chain of postures says of the time since the evidence before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Postures {
    /// Every link is here and holds, or the gateway keeps none.
    Whole,
    /// The box has made links that are not here yet.
    OnTheirWay,
    /// Links are missing, or do not hold.
    Broken,
}

/// Judges claims whose signature is by the key of the connection. Nothing but its arguments decides.
pub fn appraise(evidence: &Evidence, given: &Circumstances<'_>) -> Verdict {
    let mut found = Findings::default();
    found.identity(evidence, given);
    let tier = found.tier(evidence, given);
    found.software(evidence, given.reference, tier);
    found.boot(given);
    if given.postures == Postures::Broken {
        found.note(Claim::Runtime, 32, Why::Unproven);
    }
    let (vector, why) = found.said();
    Verdict::new(tier, vector, why, given.now)
}

/// Claims with their values and reasons, gathered.
#[derive(Default)]
struct Findings {
    vector: Vector,
    why: Vec<(i8, Why)>,
}

impl Findings {
    fn note(&mut self, claim: Claim, value: i8, why: Why) {
        self.vector.lower(claim, value);
        self.why.push((value, why));
    }

    /// Who speaks, and whether it is said now.
    fn identity(&mut self, evidence: &Evidence, given: &Circumstances<'_>) {
        self.vector.lower(Claim::Instance, 2);
        if evidence.key != given.key {
            self.note(Claim::Instance, 99, Why::OtherKey);
        }
        match given.nonce {
            Nonce::Fresh => {}
            Nonce::Late => self.note(Claim::Runtime, 32, Why::TooLate),
            Nonce::Used => self.note(Claim::Instance, 99, Why::Replayed),
            Nonce::Foreign => self.note(Claim::Instance, 99, Why::WrongNonce),
        }
        // A key that was certified anew brings a new name with it.
        let same_key = given.before.key == Some(evidence.key);
        if same_key && given.before.box_id.is_some_and(|known| known != evidence.box_id) {
            self.note(Claim::Instance, 97, Why::OtherBox);
        }
        match given.before.boots.judge(Boot::of(evidence)) {
            record::BootOrder::Same | record::BootOrder::Next => {}
            record::BootOrder::Back => self.note(Claim::Runtime, 32, Why::CountedBack),
            record::BootOrder::Alternates => self.note(Claim::Instance, 97, Why::TwoBoxes),
        }
    }

    /// What proves it. A tier is never raised in silence: the verdict names it, and a lower one is a failure.
    fn tier(&mut self, evidence: &Evidence, given: &Circumstances<'_>) -> Tier {
        let tier = match (evidence.profile, given.tpm) {
            (Profile::Tpm, Some(tpm)) => self.quoted(tpm, given),
            (Profile::Software, _) | (Profile::Tpm, None) => Tier::Software,
        };
        if let Some(from) = given
            .before
            .tier
            .filter(|from| tier < *from && !lost_boot(*from, tier))
        {
            self.note(Claim::Hardware, 96, Why::TierDropped { from, to: tier });
        }
        if tier == Tier::Software {
            self.note(Claim::Storage, 32, Why::SoftwareOnly);
        } else {
            self.vector.lower(Claim::Storage, 2);
        }
        tier
    }

    fn quoted(&mut self, tpm: &TpmFacts, given: &Circumstances<'_>) -> Tier {
        if tpm.quote != Quote::Holds {
            let value = if tpm.quote == Quote::OtherRegisters {
                96
            } else {
                99
            };
            self.note(Claim::Instance, value, Why::QuoteFails(tpm.quote));
            // A quote that fails is its own failure, not also a lower tier.
            return given.before.tier.unwrap_or(Tier::TpmKey);
        }
        if tpm.chip == Chip::Nobodys {
            self.why.push((0, Why::UnknownChip));
            return Tier::TpmKey;
        }
        self.vector.lower(Claim::Hardware, 2);
        let known = given.reference.boot(&tpm.registers) == Found::Known;
        if known && tpm.log != Log::Differs {
            Tier::MeasuredBoot
        } else {
            Tier::TpmChip
        }
    }

    /// What runs, by the software's own word: it can speak against itself, and not for itself.
    fn software(&mut self, evidence: &Evidence, reference: &Reference, tier: Tier) {
        for measured in &evidence.measured {
            let claim = if measured.component == Component::Policy {
                Claim::Configuration
            } else {
                Claim::Executables
            };
            let version = measured.version.as_ref().map_or("", |v| v.as_str());
            match reference.find(measured.component, version, &measured.sha256) {
                Found::Known | Found::Nothing => {}
                Found::Other => self.note(claim, 96, Why::Tampered(measured.component)),
                Found::UnknownVersion => self.note(claim, 33, Why::UnknownRelease(measured.component)),
            }
        }
        if tier == Tier::MeasuredBoot {
            self.vector.lower(Claim::Executables, 3);
        }
    }

    /// What was started, by the TPM's word.
    fn boot(&mut self, given: &Circumstances<'_>) {
        let Some(tpm) = given.tpm.filter(|tpm| tpm.quote == Quote::Holds) else {
            return;
        };
        match tpm.log {
            Log::Differs => self.note(Claim::Executables, 96, Why::LogDiffers),
            Log::Incomplete => self.note(Claim::Executables, 0, Why::LogIncomplete),
            Log::Replays | Log::None => {}
        }
        match tpm.ima {
            Ima::Differs => self.note(Claim::Files, 96, Why::RunLogDiffers),
            Ima::Violations(count) => self.note(Claim::Files, 32, Why::Unmeasured(count)),
            Ima::Incomplete => self.note(Claim::Files, 0, Why::LogIncomplete),
            Ima::Replays | Ima::None => {}
        }
        match given.baseline.compare(&tpm.registers) {
            Firmware::AsBefore | Firmware::First => {}
            Firmware::Changed => self.note(Claim::Configuration, 32, Why::FirmwareChanged),
        }
        if let Some(register) = given.reference.other_boot(&tpm.registers) {
            self.note(Claim::Executables, 96, Why::OtherBoot(register));
        } else if given.before.tier == Some(Tier::MeasuredBoot)
            && given.reference.boot(&tpm.registers) == Found::Nothing
        {
            // It had measured boot, and what speaks for it is gone: from here, when no release is loaded any more.
            self.note(Claim::Executables, -1, Why::NoReference);
        }
    }

    fn said(self) -> (Vector, Vec<Why>) {
        let mut why = self.why;
        why.sort_by_key(|(value, _)| std::cmp::Reverse(vector::weight(*value)));
        let mut why: Vec<Why> = why.into_iter().map(|(_, why)| why).collect();
        if why.is_empty() {
            why.push(Why::InOrder);
        }
        (self.vector, why)
    }
}

/// From measured boot to a known chip: the reference decides that, and says so itself.
fn lost_boot(from: Tier, to: Tier) -> bool {
    from == Tier::MeasuredBoot && to == Tier::TpmChip
}
