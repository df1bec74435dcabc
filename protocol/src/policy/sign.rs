//! Who may make a policy, and what makes a signed one a [`Verified`] one.
//!
//! ```text
//! Keyring   names the authors' and the reviewers' keys       signed by a root of the fleet, offline
//! Policy    what the boxes should be                         signed by an author
//! Review    "I read exactly these bytes"                     signed by a reviewer who is not the author
//! Offer     the three as they were signed                    carried by the server, who can change none of them
//! ```
//!
//! # Design
//! - Everything that a box needs to believe a policy travels with it, and rests on the roots that the box holds since
//!   its enrolment. A server that was taken over has no key that counts here.
//! - The reviewer signs the digest of the author's signed bytes, so that what was read is what is carried.
//! - Keys are compared by their material: one key under two names is one person.
//! - A keyring's number never goes back on a box: that is how a signer's key is taken away.

use std::fmt;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::{Policy, PolicyVersion};
use crate::id::{GatewayId, GroupId};
use crate::posture::ShortText;
use crate::signed::{Message, OVERHEAD, PublicKey, Signed, SignedError, Verified};
use crate::time::{ClockTrust, Timestamp};
use crate::wire::{self, Bytes, WireError};

/// Most bytes of a keyring.
pub const MAX_KEYRING: usize = 8 * 1024;
/// Most bytes of a review.
pub const MAX_REVIEW: usize = 1024;
/// Most bytes of an offer.
pub const MAX_OFFER: usize = super::MAX_POLICY + MAX_KEYRING + MAX_REVIEW + 3 * OVERHEAD + 2048;
/// Most keys of a role.
pub const MAX_KEYS: usize = 16;
/// Most groups that a box is counted to.
pub const MAX_GROUPS: usize = 16;

/// SHA-256 over something signed, as it travels. A byte string in CBOR, hex in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignedDigest(pub [u8; 32]);

impl SignedDigest {
    /// Of these bytes.
    pub fn of(signed: &[u8]) -> SignedDigest {
        SignedDigest(digest(&SHA256, signed).as_ref().try_into().unwrap_or_default())
    }
}

impl Serialize for SignedDigest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.collect_str(self)
        } else {
            to.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for SignedDigest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        if from.is_human_readable() {
            let text = String::deserialize(from)?;
            return text.parse().map_err(D::Error::custom);
        }
        let bytes = Bytes::deserialize(from)?.0;
        let bytes = bytes
            .try_into()
            .map_err(|_| D::Error::custom("a digest is 32 bytes"))?;
        Ok(SignedDigest(bytes))
    }
}

impl std::str::FromStr for SignedDigest {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a digest is 64 lower case hex digits";
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 64 || !text.bytes().all(digit) {
            return Err(wrong);
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong)?;
        }
        Ok(SignedDigest(digest))
    }
}

impl fmt::Display for SignedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for SignedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// A person's key for policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKey {
    /// Whose, as the organisation calls them.
    pub name: ShortText,
    /// The key, P-256.
    pub key: PublicKey,
}

/// Whether a policy needs a second person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecondPerson {
    /// A review by another person than the author.
    Required,
    /// The author alone: for a house of one person.
    NotRequired,
}

/// Who may make policies. Signed by a root of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyring {
    /// Its number, from 1; a box takes none below one that it has seen.
    pub version: u64,
    /// When it was made.
    pub issued: Moment,
    /// After that it makes no policy acceptable. What a box applied before goes on.
    pub expires: Moment,
    /// Who may write policies.
    pub authors: Vec<SigningKey>,
    /// Who may review them. A key may stand in both lists; nobody reviews their own.
    pub reviewers: Vec<SigningKey>,
    /// Whether a review is needed.
    pub second_person: SecondPerson,
}

impl Message for Keyring {
    const NAME: &'static str = "homeward/policy-keyring/1";
    const MAX: usize = MAX_KEYRING;

    fn check(&self) -> Result<(), &'static str> {
        if self.version == 0 || self.expires <= self.issued {
            return Err("a keyring has a number and a lifetime");
        }
        if self.authors.is_empty() || self.authors.len() > MAX_KEYS || self.reviewers.len() > MAX_KEYS {
            return Err("a keyring has 1 to 16 authors and at most 16 reviewers");
        }
        let pair = |a: &SigningKey| self.reviewers.iter().any(|r| r.key != a.key);
        if self.second_person == SecondPerson::Required && !self.authors.iter().any(pair) {
            return Err("a keyring that asks for two people names two");
        }
        Ok(())
    }
}

/// "I read exactly this."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// The digest of the author's signed bytes.
    pub policy: SignedDigest,
    /// Its version, for people.
    pub version: PolicyVersion,
    /// When.
    pub at: Moment,
}

impl Message for Review {
    const NAME: &'static str = "homeward/policy-review/1";
    const MAX: usize = MAX_REVIEW;
}

/// A policy with all that makes it believable. Sent on [`crate::topic::Topic::Policy`] at each connection on which the
/// box does not hold it yet, and when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// [`Keyring`], as it was signed.
    pub keyring: Bytes,
    /// [`Policy`], as its author signed it.
    pub policy: Bytes,
    /// [`Review`], as it was signed; absent where none is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Bytes>,
    /// The groups that the server counts this gateway to.
    #[serde(default)]
    pub groups: Vec<GroupId>,
}

impl Offer {
    /// As it travels, and as it is kept.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(self, MAX_OFFER)
    }

    /// Reads one; nothing in it is believed yet.
    pub fn decode(bytes: &[u8]) -> Result<Offer, WireError> {
        let offer: Offer = wire::decode(bytes, MAX_OFFER)?;
        if offer.groups.len() > MAX_GROUPS {
            return Err(WireError::Rule("a gateway in too many groups"));
        }
        Ok(offer)
    }

    /// Which policy this is.
    pub fn digest(&self) -> SignedDigest {
        SignedDigest::of(&self.policy.0)
    }
}

/// Why a policy was not taken. Each is another fault with another remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Not the form of an offer, or of what should be in it.
    #[error("it cannot be read")]
    Unreadable,
    /// The keyring is signed by no root that this box holds.
    #[error("its keyring is signed by no root that this box trusts")]
    UnknownRoot,
    /// The keyring's number is below one that this box has seen.
    #[error("its keyring is older than one that this box has seen")]
    OlderKeyring,
    /// The keyring's time is over.
    #[error("its keyring has expired")]
    KeyringExpired,
    /// Signed by no author of the keyring.
    #[error("it is signed by no author of the keyring")]
    WrongSigner,
    /// A review is required, and there is none.
    #[error("it needs a second person's review and has none")]
    NotReviewed,
    /// The review is by no reviewer of the keyring, or of another policy.
    #[error("its review is not one of it by a reviewer of the keyring")]
    WrongReview,
    /// Author and reviewer have the same key.
    #[error("its author reviewed it")]
    SamePerson,
    /// Signed, and against the rules of policies.
    #[error("it is signed, and has faults")]
    Faulty,
    /// For other boxes.
    #[error("it is not for this gateway")]
    WrongAudience,
    /// A lower version than the one that this box has taken.
    #[error("it is older than the one that this box has taken")]
    Older,
    /// The version that this box has taken, with other content.
    #[error("it has the version of the one that this box has taken, and another content")]
    OtherContent,
    /// Its time has not begun.
    #[error("its time has not begun")]
    NotYet,
    /// Its time is over.
    #[error("its time is over")]
    Expired,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 14] = [
        Refusal::Unreadable,
        Refusal::UnknownRoot,
        Refusal::OlderKeyring,
        Refusal::KeyringExpired,
        Refusal::WrongSigner,
        Refusal::NotReviewed,
        Refusal::WrongReview,
        Refusal::SamePerson,
        Refusal::Faulty,
        Refusal::WrongAudience,
        Refusal::Older,
        Refusal::OtherContent,
        Refusal::NotYet,
        Refusal::Expired,
    ];
}

/// What a box has taken so far: the floors below which nothing is taken any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Floor {
    /// The highest keyring.
    pub keyring: u64,
    /// The highest policy.
    pub policy: Option<PolicyMark>,
}

/// Which policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyMark {
    /// Its version.
    pub version: PolicyVersion,
    /// The digest of its author's signed bytes.
    pub digest: SignedDigest,
}

/// What an offer is held against.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The box.
    pub gateway: &'a GatewayId,
    /// The keys of the roots that it trusts.
    pub roots: &'a [PublicKey],
    /// What it has taken so far.
    pub floor: Floor,
    /// The time.
    pub now: Timestamp,
}

/// A policy that two people stand behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The policy.
    pub policy: Verified<Policy>,
    /// Which.
    pub mark: PolicyMark,
    /// The number of the keyring.
    pub keyring: u64,
    /// Who wrote it.
    pub author: ShortText,
    /// Who reviewed it.
    pub reviewer: Option<ShortText>,
}

/// Decides whether a box takes a policy. The policy that it has taken already is taken again.
///
/// A clock that is behind refuses nothing as too early unless it is synced; one that is past the end refuses in any
/// case, because a clock floor is a moment that has passed.
pub fn accept(offer: &Offer, ground: Ground<'_>) -> Result<Accepted, Refusal> {
    let (accepted, keyring) = vouched(offer, ground.roots)?;
    if keyring.get().version < ground.floor.keyring {
        return Err(Refusal::OlderKeyring);
    }
    if ground.now.ms >= keyring.get().expires.ms() {
        return Err(Refusal::KeyringExpired);
    }
    let policy = accepted.policy.get();
    if !policy.is_for(ground.gateway, &offer.groups) {
        return Err(Refusal::WrongAudience);
    }
    if let Some(held) = ground.floor.policy {
        if accepted.mark.version < held.version {
            return Err(Refusal::Older);
        }
        if accepted.mark.version == held.version && accepted.mark.digest != held.digest {
            return Err(Refusal::OtherContent);
        }
    }
    if ground.now.trust == ClockTrust::Synced && ground.now.ms < policy.issued.ms() {
        return Err(Refusal::NotYet);
    }
    if ground.now.ms >= policy.expires.ms() {
        return Err(Refusal::Expired);
    }
    Ok(accepted)
}

/// What the signatures alone say: for what a box has taken before and kept, whatever the time is now.
pub fn kept(offer: &Offer, roots: &[PublicKey]) -> Result<Accepted, Refusal> {
    vouched(offer, roots).map(|(accepted, _)| accepted)
}

fn vouched(offer: &Offer, roots: &[PublicKey]) -> Result<(Accepted, Verified<Keyring>), Refusal> {
    let keyring = by_a_root(&offer.keyring.0, roots)?;
    let keys = keyring.get();
    let (policy, author) = by_one::<Policy>(&offer.policy.0, &keys.authors, Refusal::WrongSigner)?;
    let digest = offer.digest();
    let reviewer = match (&offer.review, keys.second_person) {
        (None, SecondPerson::Required) => return Err(Refusal::NotReviewed),
        (None, SecondPerson::NotRequired) => None,
        (Some(review), _) => Some(reviewed(&review.0, keys, author, |review: &Review| {
            review.policy == digest
        })?),
    };
    let accepted = Accepted {
        mark: PolicyMark {
            version: policy.get().version,
            digest,
        },
        policy,
        keyring: keys.version,
        author: author.name.clone(),
        reviewer,
    };
    Ok((accepted, keyring))
}

pub(crate) fn by_a_root(bytes: &[u8], roots: &[PublicKey]) -> Result<Verified<Keyring>, Refusal> {
    let signed = Signed::<Keyring>::parse(bytes).map_err(|_| Refusal::Unreadable)?;
    for root in roots {
        match signed.verify(root) {
            Ok(keyring) => return Ok(keyring),
            Err(SignedError::Signature) => {}
            Err(_) => return Err(Refusal::Unreadable),
        }
    }
    Err(Refusal::UnknownRoot)
}

/// What one of `keys` has signed, and which; else `otherwise`.
pub(crate) fn by_one<'a, T: Message>(
    bytes: &[u8],
    keys: &'a [SigningKey],
    otherwise: Refusal,
) -> Result<(Verified<T>, &'a SigningKey), Refusal> {
    let signed = Signed::<T>::parse(bytes).map_err(|_| Refusal::Unreadable)?;
    for key in keys {
        match signed.verify(&key.key) {
            Ok(verified) => return Ok((verified, key)),
            Err(SignedError::Signature) => {}
            Err(_) => return Err(Refusal::Faulty),
        }
    }
    Err(otherwise)
}

/// Which reviewer of the keyring, other than the author, has signed a review of what the author signed: `of` says whether
/// a review is one of that.
pub(crate) fn reviewed<R: Message>(
    bytes: &[u8],
    keys: &Keyring,
    author: &SigningKey,
    of: impl FnOnce(&R) -> bool,
) -> Result<ShortText, Refusal> {
    let (review, reviewer) = by_one::<R>(bytes, &keys.reviewers, Refusal::WrongReview)?;
    if reviewer.key == author.key {
        Err(Refusal::SamePerson)
    } else if of(review.get()) {
        Ok(reviewer.name.clone())
    } else {
        Err(Refusal::WrongReview)
    }
}
