//! Who shall have which policy: what is loaded, what is assigned to whom, and who is in which group.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use homeward_protocol::id::{GatewayId, GroupId};
use homeward_protocol::policy::sign::{Offer, PolicyMark, kept};
use homeward_protocol::policy::{Audience, Policy};
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::Bytes;

/// Whom a policy is assigned to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Every gateway, also those that come later.
    All,
    /// A group, also who joins it later.
    Group(GroupId),
    /// One gateway.
    Gateway(GatewayId),
}

impl Target {
    /// The kind and the name, as they are kept.
    pub fn columns(&self) -> (&'static str, &str) {
        match self {
            Target::All => ("all", ""),
            Target::Group(group) => ("group", group.as_str()),
            Target::Gateway(gateway) => ("gateway", gateway.as_str()),
        }
    }

    /// From its columns.
    pub fn from_columns(kind: &str, name: &str) -> Option<Target> {
        match kind {
            "all" => Some(Target::All),
            "group" => name.parse().ok().map(Target::Group),
            "gateway" => name.parse().ok().map(Target::Gateway),
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::All => f.write_str("all gateways"),
            Target::Group(group) => write!(f, "group {group}"),
            Target::Gateway(gateway) => write!(f, "gateway {gateway}"),
        }
    }
}

/// Reads `all`, `group:ID` and `gateway:ID`.
impl FromStr for Target {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let target = Target::from_columns(kind, name).filter(|t| *t != Target::All || name.is_empty());
        target.ok_or("a target is `all`, `group:ID` or `gateway:ID`")
    }
}

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// To whom.
    pub target: Target,
    /// Which policy.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

/// A loaded policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub mark: PolicyMark,
    /// As it was signed.
    pub signed: Vec<u8>,
    /// Its review.
    pub review: Option<Vec<u8>>,
    /// What it says; it was verified when it was loaded.
    pub policy: Policy,
    /// Whether it was taken back.
    pub withdrawn: bool,
}

/// What a gateway shall have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Which.
    pub entry: &'a Entry,
    /// When that was last decided.
    pub since: Timestamp,
    /// Whether boxes would take it now.
    pub fit: Fit,
}

/// Whether boxes would take a policy now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fit {
    /// They would.
    Fit,
    /// Its time is over.
    Expired,
    /// The newest keyring does not name its author and reviewer, or has expired itself.
    SignersGone,
}

impl Fit {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Fit::Fit => "fit",
            Fit::Expired => "expired",
            Fit::SignersGone => "signers-gone",
        }
    }
}

/// All of it, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Book {
    entries: BTreeMap<u64, Entry>,
    keyring: Vec<u8>,
    keyring_until: i64,
    vouched: BTreeMap<u64, bool>,
    assigned: HashMap<Target, BTreeMap<u64, Timestamp>>,
    groups: HashMap<GatewayId, Vec<GroupId>>,
}

impl Book {
    /// From what is kept. `keyring` is the newest one and its end; `roots` say whose signatures still count.
    pub fn new(
        entries: Vec<Entry>,
        keyring: Option<(Vec<u8>, Timestamp)>,
        orders: &[Order],
        groups: HashMap<GatewayId, Vec<GroupId>>,
        roots: &[PublicKey],
    ) -> Book {
        let (keyring, until) = keyring.unwrap_or((Vec::new(), Timestamp::synced(0)));
        let mut book = Book {
            keyring,
            keyring_until: until.ms,
            groups,
            ..Book::default()
        };
        for order in orders {
            let versions = book.assigned.entry(order.target.clone()).or_default();
            versions.insert(order.version, order.at);
        }
        for entry in entries {
            let vouched = kept(&book.offer_of(&entry, Vec::new()), roots).is_ok();
            let version = entry.mark.version.0;
            book.vouched.insert(version, vouched);
            book.entries.insert(version, entry);
        }
        book
    }

    /// The policy of this number.
    pub fn entry(&self, version: u64) -> Option<&Entry> {
        self.entries.get(&version)
    }

    /// The groups of a gateway.
    pub fn groups(&self, gateway: &GatewayId) -> &[GroupId] {
        self.groups.get(gateway).map_or(&[], Vec::as_slice)
    }

    /// What a gateway shall have: the highest number that is assigned to it, its groups or all, whose audience it is
    /// in, whose time has begun and that nobody took back.
    pub fn wanted(&self, gateway: &GatewayId, now: Timestamp) -> Option<Wanted<'_>> {
        self.highest(gateway, now).map(|(entry, since)| Wanted {
            entry,
            since,
            fit: self.fit(entry, now),
        })
    }

    /// What a gateway would have if `version` were assigned to `target` as well.
    #[must_use]
    pub fn if_assigned(&self, version: u64, targets: &[Target], now: Timestamp) -> Book {
        let mut book = self.clone();
        for target in targets {
            book.assigned
                .entry(target.clone())
                .or_default()
                .insert(version, now);
        }
        book
    }

    /// The same with one more policy, or with this one in place of the one of its number. It is assigned to nobody.
    #[must_use]
    pub fn with(&self, entry: Entry) -> Book {
        let mut book = self.clone();
        book.entries.insert(entry.mark.version.0, entry);
        book
    }

    fn highest(&self, gateway: &GatewayId, now: Timestamp) -> Option<(&Entry, Timestamp)> {
        let groups = self.groups(gateway);
        let own = groups.iter().cloned().map(Target::Group);
        let targets = [Target::All, Target::Gateway(gateway.clone())]
            .into_iter()
            .chain(own);
        let versions = targets.filter_map(|target| self.assigned.get(&target)).flatten();
        let fits = versions.filter_map(|(version, at)| {
            let entry = self.entries.get(version)?;
            let fits = !entry.withdrawn
                && now.ms >= entry.policy.issued.ms()
                && entry.policy.is_for(gateway, groups);
            fits.then_some((entry, *at))
        });
        fits.max_by_key(|(entry, at)| (entry.mark.version, at.ms))
    }

    /// Whether boxes would take it now.
    pub fn fit(&self, entry: &Entry, now: Timestamp) -> Fit {
        let vouched = self.vouched.get(&entry.mark.version.0) == Some(&true);
        if now.ms >= entry.policy.expires.ms() {
            Fit::Expired
        } else if !vouched || now.ms >= self.keyring_until {
            Fit::SignersGone
        } else {
            Fit::Fit
        }
    }

    /// What is sent to a gateway.
    pub fn offer(&self, entry: &Entry, gateway: &GatewayId) -> Offer {
        self.offer_of(entry, self.groups(gateway).to_vec())
    }

    fn offer_of(&self, entry: &Entry, groups: Vec<GroupId>) -> Offer {
        Offer {
            keyring: Bytes(self.keyring.clone()),
            policy: Bytes(entry.signed.clone()),
            review: entry.review.clone().map(Bytes),
            groups,
        }
    }
}

/// An audience in words.
pub fn audience(audience: &Audience) -> String {
    fn list<T: fmt::Display>(what: &str, items: &[T]) -> String {
        let all: Vec<String> = items.iter().map(ToString::to_string).collect();
        format!("{what} {}", all.join(", "))
    }
    match audience {
        Audience::All => "all gateways".to_owned(),
        Audience::Groups(groups) => list("groups", groups),
        Audience::Gateways(gateways) => list("gateways", gateways),
    }
}
