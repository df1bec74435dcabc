//! A campaign before it begins: who takes part and in which wave, who does not and why, who could not go back.
//!
//! # Design
//! - The seed is drawn from the campaign's name and the hashes of what it brings: whoever reads a plan finds the same places
//!   again, and so does a box.
//! - A plan has a code, over everything that it says. To start, a person gives the code of the plan that was read; if
//!   anything is other by then (a home more, another version, another rule), it is read anew.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::release::notes::Notes;
use homeward_protocol::release::state::{Can, Offer};
use homeward_protocol::release::{Custom, Installer, Version};
use homeward_protocol::time::Timestamp;
use ring::digest::{Context, SHA256, digest};

use super::kept::{Head, Kept, Name, Target};
use super::plan::{Candidate, Plan, Ring, Seed, Wave};
use super::signs::Note;
use super::{Campaign, Rules};
use crate::care::Dependency;
use crate::direct::deadline::Each;

/// What is known of a home before it takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Its box.
    pub gateway: GatewayId,
    /// Whose it is.
    pub ring: Ring,
    /// How much somebody depends on it.
    pub dependency: Option<Dependency>,
    /// Its hardware, where that is known.
    pub hardware: Option<String>,
    /// What it runs, where it said so.
    pub runs: Option<Version>,
    /// The SHA-256 of that, where it said so.
    pub build: Option<[u8; 32]>,
    /// Its installers, where it told them.
    pub installers: Vec<Offer>,
}

/// Something that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its path in the repository.
    pub path: String,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// What it is.
    pub custom: Custom,
    /// What it means for people.
    pub notes: Option<Notes>,
}

/// Why a home takes no part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outside {
    /// It runs the release already.
    Runs,
    /// It runs something newer.
    Newer,
    /// It said nothing of its software yet.
    Unheard,
    /// None of the releases is for its hardware.
    Hardware(String),
    /// Several releases could be for it, and its hardware is not known.
    Unknown,
    /// The installer that the release needs does not work there.
    Installer(&'static str, String),
    /// It is too old for the release: this has to run first.
    TooOld(Version),
}

impl Outside {
    /// In plain words, after a number of homes.
    pub fn words(&self) -> String {
        match self {
            Outside::Runs => "run it already".into(),
            Outside::Newer => "run something newer".into(),
            Outside::Unheard => "said nothing of their software yet".into(),
            Outside::Hardware(hw) => format!("have other hardware ({hw})"),
            Outside::Unknown => "have hardware that is not known here".into(),
            Outside::Installer(name, why) => format!("cannot put it in place by `{name}`: {why}"),
            Outside::TooOld(first) => format!("are too old for it: {first} has to run first"),
        }
    }
}

/// Why a home could not go back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoWayBack {
    /// What it runs is not published.
    NotPublished(Version),
    /// A release of that version is published, and is not what runs: a box takes nothing older but what ran there.
    OtherBytes(Version),
    /// What it runs lies below the floor that the release sets.
    BelowFloor(Version, Version),
    /// What puts it in place goes forward only.
    ForwardOnly,
}

impl NoWayBack {
    /// In plain words.
    pub fn words(&self) -> String {
        match self {
            NoWayBack::NotPublished(version) => {
                format!("no published release is {version}, which runs there")
            }
            NoWayBack::OtherBytes(version) => {
                format!("the published release {version} is not the build that runs there")
            }
            NoWayBack::ForwardOnly => "what puts it in place goes forward only".into(),
            NoWayBack::BelowFloor(version, floor) => {
                format!("{version} runs there, and this release lets nothing below {floor} come back")
            }
        }
    }
}

/// A home that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The path of its release.
    pub target: String,
    /// What it runs now.
    pub before: Version,
    /// The path of that, or why there is no way back.
    pub back: Result<String, NoWayBack>,
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The campaign's name.
    pub name: Name,
    /// Paths of what it brings, one for each hardware.
    pub paths: Vec<String>,
    /// How long a wave is watched after its last home confirmed.
    pub soak: Duration,
    /// So many per cent of those that acted have to have confirmed.
    pub confirmed_percent: u8,
    /// More failures than so many per cent of a wave halt.
    pub failed_percent: u8,
    /// How long a box may take from its act to its word.
    pub act_within: Duration,
    /// How long the whole may take.
    pub within: Duration,
    /// Most homes that fetch at the same time.
    pub at_once: u16,
    /// Why it matters, by when a home should have it, who is asked when it waits for too long, and what makes up for it.
    pub each: Option<Each>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// It is not published, or nothing that can be told to a box.
    #[error("{0}: {1}")]
    Path(String, String),
    /// Two releases for one hardware.
    #[error("`{0}` and `{1}` are both for {2}: name one release for each hardware")]
    Twice(String, String, String),
    /// Nobody would take part.
    #[error("no home takes part: {0}")]
    Nobody(String),
}

/// A campaign as it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What was asked for.
    pub wish: Wish,
    /// What it brings.
    pub releases: Vec<Release>,
    /// What places are drawn with.
    pub seed: Seed,
    /// Who comes when.
    pub plan: Plan,
    /// Those that take part.
    pub parts: BTreeMap<GatewayId, Part>,
    /// Those that do not, and why.
    pub outside: BTreeMap<Outside, Vec<GatewayId>>,
}

impl Draft {
    /// Drafts it from what is published and what is known of the fleet.
    ///
    /// # Errors
    /// When there is nothing to start: in words that say what to do.
    pub fn new(wish: Wish, published: &[Release], homes: &[Home]) -> Result<Draft, DraftError> {
        let find = |path: &String| {
            let found = published.iter().find(|release| release.path == *path);
            let found = found.ok_or_else(|| {
                let why =
                    "the repository names no software of boxes under this path (`release show` lists it)";
                DraftError::Path(path.clone(), why.into())
            })?;
            // A box tells which image it runs among its installers, and going back is told by the agent's version.
            if found.custom.installer == Installer::Rauc {
                let why = "no campaign can tell yet whether an image was taken back: assign it home by home (`update assign`)";
                return Err(DraftError::Path(path.clone(), why.into()));
            }
            Ok(found.clone())
        };
        let releases = wish
            .paths
            .iter()
            .map(find)
            .collect::<Result<Vec<Release>, DraftError>>()?;
        one_for_each(&releases)?;
        let mut parts = BTreeMap::new();
        let mut outside: BTreeMap<Outside, Vec<GatewayId>> = BTreeMap::new();
        let mut candidates = Vec::new();
        for home in homes {
            match part(home, &releases, published) {
                Ok(part) => {
                    parts.insert(home.gateway.clone(), part);
                    candidates.push(Candidate {
                        gateway: home.gateway.clone(),
                        ring: home.ring,
                        dependency: home.dependency,
                    });
                }
                Err(why) => outside.entry(why).or_default().push(home.gateway.clone()),
            }
        }
        if candidates.is_empty() {
            let why: Vec<String> = outside
                .iter()
                .map(|(why, who)| format!("{} {}", who.len(), why.words()))
                .collect();
            let none = "there is no box in service".to_owned();
            return Err(DraftError::Nobody(if why.is_empty() {
                none
            } else {
                why.join("; ")
            }));
        }
        let seed = seed(&wish.name, &releases);
        Ok(Draft {
            plan: Plan::new(&seed, &candidates),
            wish,
            releases,
            seed,
            parts,
            outside,
        })
    }

    /// What a person who read this plan gives to start it: eight hex digits over everything that it says.
    pub fn code(&self) -> String {
        let mut hash = Context::new(&SHA256);
        let wish = &self.wish;
        let rules = format!(
            "{} {} {} {} {} {} {}\n",
            wish.name,
            wish.soak.as_millis(),
            wish.confirmed_percent,
            wish.failed_percent,
            wish.act_within.as_millis(),
            wish.within.as_millis(),
            wish.at_once
        );
        hash.update(rules.as_bytes());
        if let Some(Each { terms, within }) = &wish.each {
            let rule = terms.rule.map(|rule| (rule.compensate, rule.afterwards));
            let (reason, person, within) = (terms.reason(), terms.person(), within.as_millis());
            hash.update(format!("{within} {reason:?} {person:?} {rule:?}\n").as_bytes());
        }
        for release in &self.releases {
            hash.update(release.path.as_bytes());
            hash.update(&release.sha256);
            if let Some(notes) = &release.notes {
                hash.update(notes.to_json().to_string().as_bytes());
            }
        }
        for (id, wave) in self.plan.homes() {
            let part = self.parts.get(id);
            let back = part.is_some_and(|part| part.back.is_ok());
            let target = part.map_or("", |part| part.target.as_str());
            hash.update(format!("{id} {} {target} {back}\n", wave.name()).as_bytes());
        }
        crate::store::hex(hash.finish().as_ref().get(..4).unwrap_or_default())
    }

    /// Homes that could not go back, by why.
    pub fn without_return(&self) -> BTreeMap<&NoWayBack, Vec<&GatewayId>> {
        let mut all: BTreeMap<&NoWayBack, Vec<&GatewayId>> = BTreeMap::new();
        for (id, part) in &self.parts {
            if let Err(why) = &part.back {
                all.entry(why).or_default().push(id);
            }
        }
        all
    }

    /// How many homes a bad release would reach before it halts: those up to the first wave with homes of patients.
    pub fn at_risk(&self) -> usize {
        let first = [Wave::Lab, Wave::Own, Wave::Canary];
        first.into_iter().map(|wave| self.plan.count(wave)).sum()
    }

    /// Begins it.
    pub fn start(&self, by: &str, now: Timestamp) -> Kept {
        let wish = &self.wish;
        let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let rules = Rules {
            soak: wish.soak,
            confirmed_percent: wish.confirmed_percent,
            failed_percent: wish.failed_percent,
            act_within: wish.act_within,
            deadline: now.plus_ms(ms(wish.within)),
        };
        let (core, effects) = Campaign::start(&self.plan, rules, now);
        let target = |release: &Release| Target {
            path: release.path.clone(),
            version: release.custom.version,
            sha256: release.sha256,
        };
        let head = Head {
            name: wish.name.clone(),
            targets: self.releases.iter().map(target).collect(),
            seed: self.seed,
            at_once: wish.at_once,
            each: wish.each.clone(),
            started_at: now,
            started_by: by.to_owned(),
            changed_at: now,
            changed_by: by.to_owned(),
            trouble: None,
        };
        let note = |part: &Part| Note {
            target: part.target.clone(),
            wants: None,
            word: None,
            before: part.before,
            back: part.back.as_ref().ok().cloned(),
            due: None,
            acted: None,
            sensors: Vec::new(),
            why: None,
            since: now,
        };
        let notes = self.parts.iter().map(|(id, part)| (id.clone(), note(part)));
        Kept::start(head, core, effects, notes.collect())
    }
}

fn one_for_each(releases: &[Release]) -> Result<(), DraftError> {
    for (n, one) in releases.iter().enumerate() {
        for other in releases.iter().skip(n + 1) {
            if let Some(hw) = one.custom.hw.iter().find(|hw| other.custom.hw.contains(hw)) {
                return Err(DraftError::Twice(
                    one.path.clone(),
                    other.path.clone(),
                    hw.clone(),
                ));
            }
        }
    }
    Ok(())
}

fn part(home: &Home, releases: &[Release], published: &[Release]) -> Result<Part, Outside> {
    let release = match (&home.hardware, releases) {
        (Some(hw), _) => releases
            .iter()
            .find(|release| release.custom.hw.contains(hw))
            .ok_or_else(|| Outside::Hardware(hw.clone()))?,
        // The box refuses by itself what is for other hardware.
        (None, [only]) => only,
        (None, _) => return Err(Outside::Unknown),
    };
    let runs = runs(home, release.custom.installer)?;
    match runs.cmp(&release.custom.version) {
        std::cmp::Ordering::Equal => return Err(Outside::Runs),
        std::cmp::Ordering::Greater => return Err(Outside::Newer),
        std::cmp::Ordering::Less => {}
    }
    if let Some(first) = release.custom.min_version.filter(|first| *first > runs) {
        return Err(Outside::TooOld(first));
    }
    Ok(Part {
        target: release.path.clone(),
        before: runs,
        back: way_back(published, release, (home.hardware.as_deref(), home.build), runs),
    })
}

/// What an installer put in place there; what the box runs where it does not tell its installers.
///
/// # Errors
/// Why that cannot be said, or why the installer does not work there.
pub fn runs(home: &Home, installer: Installer) -> Result<Version, Outside> {
    let offer = home.installers.iter().find(|offer| offer.installer == installer);
    match offer.map(|offer| &offer.can) {
        Some(Can::Yes(version)) => Ok(*version),
        Some(Can::No(why)) => Err(Outside::Installer(installer.name(), why.as_str().to_owned())),
        None if home.installers.is_empty() => home.runs.ok_or(Outside::Unheard),
        None => Err(Outside::Installer(installer.name(), "the box has none".into())),
    }
}

/// The path of what a home can go back to: the release that runs there, of the same installer and for the same hardware, and of the
/// same bytes. What a home is made of and which build it runs may not be known.
///
/// # Errors
/// Why it could not.
pub fn way_back(
    published: &[Release],
    from: &Release,
    (hardware, build): (Option<&str>, Option<[u8; 32]>),
    before: Version,
) -> Result<String, NoWayBack> {
    if from.custom.installer.is_forward_only() {
        return Err(NoWayBack::ForwardOnly);
    }
    if from.custom.security_floor > before {
        return Err(NoWayBack::BelowFloor(before, from.custom.security_floor));
    }
    let fits = |hw: &String| hardware.map_or_else(|| from.custom.hw.contains(hw), |own| own == hw);
    let known = |release: &&Release| {
        let custom = &release.custom;
        custom.installer == from.custom.installer && custom.version == before && custom.hw.iter().any(fits)
    };
    let is_it = |release: &&Release| {
        let build = build.filter(|_| from.custom.installer == Installer::AgentSlot);
        build.is_none_or(|build| build == release.sha256)
    };
    let mut all = published.iter().filter(known).peekable();
    if all.peek().is_none() {
        return Err(NoWayBack::NotPublished(before));
    }
    let found = all.find(is_it).ok_or(NoWayBack::OtherBytes(before))?;
    Ok(found.path.clone())
}

fn seed(name: &Name, releases: &[Release]) -> Seed {
    let mut text = format!("homeward campaign {name}\n").into_bytes();
    for release in releases {
        text.extend(release.sha256);
    }
    let hash = digest(&SHA256, &text);
    Seed(hash.as_ref().first_chunk().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests;
