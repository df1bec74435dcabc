//! An order to force: two people of the keyring let one update of one box begin although somebody asked for quiet.
//!
//! ```text
//! Keyring   who may write and who may review     signed by a root of the fleet, offline: the one of policies
//! Force     which update of which box, what is overruled, why, from when until when      signed by an author
//! Review    "I read exactly these bytes"         signed by a reviewer who is not the author
//! Offer     the three as they were signed        carried by the server, who can change none of them
//! ```
//!
//! # Design
//! - The people and their rule are those of policies ([`crate::policy::sign`]), with one difference: a house of one person
//!   can make a policy alone, and forces nothing.
//! - What may be overruled is a closed list ([`Overrule`]). A session is not in it, so no order can name one.
//! - It is bound to one box and one assignment (number, path and hash), ends within [`LONGEST`], and has a number above all
//!   before it: what was spent or replaced does not come back.
//! - [`Accepted`] is the proof: [`accept`] and [`kept`] alone make one.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::GatewayId;
use crate::policy::moment::Moment;
use crate::policy::sign::{Ground, Keyring, Refusal as Unsigned, SignedDigest, by_a_root, by_one, reviewed};
use crate::posture::ShortText;
use crate::signed::{Message, PublicKey, Verified};
use crate::tuf::metadata::targets::TargetPath;
use crate::wire::{self, Bytes, WireError};

/// Most bytes of an order's CBOR, and of its TOML text.
pub const MAX_FORCE: usize = 2 * 1024;
/// Most bytes of the review.
pub const MAX_REVIEW: usize = 512;
/// Most bytes of all that travels.
pub const MAX_OFFER: usize =
    MAX_FORCE + MAX_REVIEW + crate::policy::sign::MAX_KEYRING + 3 * crate::signed::OVERHEAD + 512;
/// The longest time that an order stands.
pub const LONGEST: Duration = Duration::from_hours(24);

/// The number of an order: above all of its gateway before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ForceNumber(pub u64);

impl fmt::Display for ForceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an order may overrule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overrule {
    /// A person's wish for quiet.
    Hold,
    /// That a device has said nothing for an hour, or that wishes for quiet cannot be read.
    Unknown,
    /// That an alarm sounded a short while ago.
    Alarm,
    /// That the box runs from its battery.
    Battery,
    /// That the policy's window for work is not open.
    Maintenance,
}

impl Overrule {
    /// All of them.
    pub const ALL: [Overrule; 5] = [
        Overrule::Hold,
        Overrule::Unknown,
        Overrule::Alarm,
        Overrule::Battery,
        Overrule::Maintenance,
    ];

    /// Its name, as documents write it.
    pub const fn name(self) -> &'static str {
        match self {
            Overrule::Hold => "hold",
            Overrule::Unknown => "unknown",
            Overrule::Alarm => "alarm",
            Overrule::Battery => "battery",
            Overrule::Maintenance => "maintenance",
        }
    }

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Overrule::Hold => "that somebody asked for quiet",
            Overrule::Unknown => {
                "that a device has said nothing for an hour, or that wishes for quiet cannot be read"
            }
            Overrule::Alarm => "that an alarm sounded a short while ago",
            Overrule::Battery => "that the box runs from its battery",
            Overrule::Maintenance => "that its policy's window for work is not open",
        }
    }
}

/// What no order overrules, for people.
pub const NEVER: &str = "It never overrules a session: while a device is being used, is asked again whether it is, or was in use \
                         when it was last heard, the box waits.";

/// What one order overrules: at least one thing, each once. On the wire a list in the order of [`Overrule::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Overrule>", into = "Vec<Overrule>")]
pub struct Overrules(BTreeSet<Overrule>);

impl Overrules {
    /// Of these; `None` when there is nothing among them.
    pub fn of(all: impl IntoIterator<Item = Overrule>) -> Option<Overrules> {
        let all: BTreeSet<Overrule> = all.into_iter().collect();
        (!all.is_empty()).then_some(Overrules(all))
    }

    /// Whether this is among them.
    pub fn holds(&self, one: Overrule) -> bool {
        self.0.contains(&one)
    }

    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = Overrule> + '_ {
        self.0.iter().copied()
    }
}

impl fmt::Display for Overrules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, one) in self.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}", one.name())?;
        }
        Ok(())
    }
}

impl TryFrom<Vec<Overrule>> for Overrules {
    type Error = &'static str;
    fn try_from(all: Vec<Overrule>) -> Result<Overrules, Self::Error> {
        if all.is_sorted_by(|a, b| a < b) {
            Overrules::of(all).ok_or("an order to force overrules something")
        } else {
            Err(
                "what is overruled stands once each: hold, unknown, alarm, battery, maintenance, in this order",
            )
        }
    }
}

impl From<Overrules> for Vec<Overrule> {
    fn from(all: Overrules) -> Vec<Overrule> {
        all.0.into_iter().collect()
    }
}

/// One update of one box may begin although something stands against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Force {
    /// Its number, from 1; above all of this gateway before it.
    pub number: ForceNumber,
    /// The box.
    pub gateway: GatewayId,
    /// The number of the assignment that waits there.
    pub assignment: u64,
    /// The path of its target.
    pub path: String,
    /// The SHA-256 of its target.
    pub sha256: SignedDigest,
    /// What it overrules.
    pub overrules: Overrules,
    /// Why, in one line that a clinician can read.
    pub reason: ShortText,
    /// Not before this.
    pub not_before: Moment,
    /// Not from here on; at most [`LONGEST`] after that.
    pub until: Moment,
}

impl Message for Force {
    const NAME: &'static str = "homeward/force/1";
    const MAX: usize = MAX_FORCE;

    fn check(&self) -> Result<(), &'static str> {
        let lasts = self.until.secs().saturating_sub(self.not_before.secs());
        if self.number.0 == 0 || i64::try_from(self.number.0).is_err() {
            Err("an order to force has a number, from 1")
        } else if i64::try_from(self.assignment).is_err() {
            Err("an order to force names an assignment whose number could be one")
        } else if self.path.parse::<TargetPath>().is_err() {
            Err("an order to force names the path of a target")
        } else if self.reason.as_str().trim().is_empty() {
            Err("an order to force says why")
        } else if lasts <= 0 || u64::try_from(lasts).is_ok_and(|secs| secs > LONGEST.as_secs()) {
            Err("an order to force ends after it begins, and within 24 hours")
        } else {
            Ok(())
        }
    }
}

impl Force {
    /// Reads the document that is signed: TOML of at most [`MAX_FORCE`] bytes.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(text: &str) -> Result<Force, String> {
        if text.len() > MAX_FORCE {
            return Err(format!("more than {MAX_FORCE} bytes"));
        }
        let read: Force = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        read.check().map(|()| read).map_err(str::to_owned)
    }

    /// Whether it is for the update of this assignment.
    pub fn is_for(&self, assignment: u64, path: &str, sha256: &[u8; 32]) -> bool {
        self.assignment == assignment && self.path == path && self.sha256.0 == *sha256
    }
}

/// "I read exactly this."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// The digest of the author's signed bytes.
    pub force: SignedDigest,
    /// Its number, for people.
    pub number: ForceNumber,
    /// When.
    pub at: Moment,
}

impl Message for Review {
    const NAME: &'static str = "homeward/force-review/1";
    const MAX: usize = MAX_REVIEW;
}

/// An order with all that makes it believable. Sent on [`crate::topic::Topic::Force`] until the box has answered or its time
/// is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// [`Keyring`], as it was signed.
    pub keyring: Bytes,
    /// [`Force`], as its author signed it.
    pub force: Bytes,
    /// [`Review`], as it was signed. There is none without.
    pub review: Bytes,
}

impl Offer {
    /// As it travels, and as it is kept.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(self, MAX_OFFER)
    }

    /// Reads one; nothing in it is believed yet.
    pub fn decode(bytes: &[u8]) -> Result<Offer, WireError> {
        wire::decode(bytes, MAX_OFFER)
    }

    /// Which order this is.
    pub fn digest(&self) -> SignedDigest {
        SignedDigest::of(&self.force.0)
    }
}

/// Why an order is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Who signed it does not do, or it cannot be read.
    #[error("{0}")]
    Unsigned(Unsigned),
    /// For another box.
    #[error("it is for another gateway")]
    OtherGateway,
    /// For another update than the one that this box waits with.
    #[error("it is for another update than the one that this box waits with")]
    OtherUpdate,
    /// Its time is over.
    #[error("its time is over")]
    Over,
    /// Its number is not above that of one that this box has taken.
    #[error("its number is not above that of an order that this box has taken")]
    Older,
    /// Its update has begun already.
    #[error("its update has begun already")]
    Begun,
}

/// An order that two people stand behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    order: Verified<Force>,
    digest: SignedDigest,
    keyring: u64,
    author: ShortText,
    reviewer: ShortText,
}

impl Accepted {
    /// The order.
    pub fn order(&self) -> &Force {
        self.order.get()
    }

    /// The digest of its author's signed bytes.
    pub const fn digest(&self) -> SignedDigest {
        self.digest
    }

    /// The number of the keyring that names them.
    pub const fn keyring(&self) -> u64 {
        self.keyring
    }

    /// Who signed it first, and who second.
    pub const fn people(&self) -> (&ShortText, &ShortText) {
        (&self.author, &self.reviewer)
    }
}

/// Decides whether an order may be followed once its time has come, on `ground`, of whose floor the keyring's number counts.
///
/// # Errors
/// Why not. One whose time has not begun is none of it: it is kept until then.
pub fn accept(offer: &Offer, ground: Ground<'_>) -> Result<Accepted, Refusal> {
    let (accepted, keyring) = vouched(offer, ground.roots)?;
    if keyring.version < ground.floor.keyring {
        return Err(Refusal::Unsigned(Unsigned::OlderKeyring));
    }
    if ground.now.ms >= keyring.expires.ms() {
        return Err(Refusal::Unsigned(Unsigned::KeyringExpired));
    }
    if accepted.order().gateway != *ground.gateway {
        return Err(Refusal::OtherGateway);
    }
    if ground.now.ms >= accepted.order().until.ms() {
        return Err(Refusal::Over);
    }
    Ok(accepted)
}

/// What the signatures alone say: for what a box has taken before and kept.
///
/// # Errors
/// [`Refusal::Unsigned`].
pub fn kept(offer: &Offer, roots: &[PublicKey]) -> Result<Accepted, Refusal> {
    vouched(offer, roots).map(|(accepted, _)| accepted)
}

fn vouched(offer: &Offer, roots: &[PublicKey]) -> Result<(Accepted, Keyring), Refusal> {
    let keyring = by_a_root(&offer.keyring.0, roots).map_err(Refusal::Unsigned)?;
    let keys = keyring.get();
    let signed = by_one::<Force>(&offer.force.0, &keys.authors, Unsigned::WrongSigner);
    let (order, author) = signed.map_err(Refusal::Unsigned)?;
    let digest = offer.digest();
    let read = |review: &Review| review.force == digest;
    let reviewer = reviewed(&offer.review.0, keys, author, read).map_err(Refusal::Unsigned)?;
    let accepted = Accepted {
        order,
        digest,
        keyring: keys.version,
        author: author.name.clone(),
        reviewer,
    };
    Ok((accepted, keys.clone()))
}
