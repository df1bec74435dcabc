//! Which home comes when.
//!
//! # Design
//! A home's place is its dependency and a number drawn from the campaign's seed and its own id. A wave is everything up
//! to a cut in that order, so a box that knows the seed and the cuts finds its wave by itself, also while it is offline,
//! and nobody can choose who is a canary after the seed was drawn.

use std::collections::BTreeMap;

use homeward_protocol::id::GatewayId;
use ring::digest::{SHA256, digest};

use crate::care::Dependency;

/// A wave, in the order in which they open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wave {
    /// Boxes of the laboratory.
    Lab,
    /// Homes of the organisation's own people.
    Own,
    /// One home in a hundred, those before among them; at least one.
    Canary,
    /// One in ten.
    Tenth,
    /// Half.
    Half,
    /// All others that do not depend on it highly.
    Rest,
    /// Homes of high dependency: each by a named person.
    Named,
}

impl Wave {
    /// Those that open by themselves, in their order.
    pub const ALL: [Wave; 6] = [
        Wave::Lab,
        Wave::Own,
        Wave::Canary,
        Wave::Tenth,
        Wave::Half,
        Wave::Rest,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Wave::Lab => "lab",
            Wave::Own => "own",
            Wave::Canary => "canary",
            Wave::Tenth => "tenth",
            Wave::Half => "half",
            Wave::Rest => "rest",
            Wave::Named => "named",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Wave> {
        let all = Wave::ALL.into_iter().chain([Wave::Named]);
        all.into_iter().find(|wave| wave.name() == name)
    }

    /// Its place in the order, from 0.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Whose homes it opens, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Wave::Lab => "boxes of the laboratory",
            Wave::Own => "homes of our own people",
            Wave::Canary => "one home in a hundred, at least one",
            Wave::Tenth => "up to one home in ten",
            Wave::Half => "up to half of all homes",
            Wave::Rest => "all others that do not depend on it highly",
            Wave::Named => "homes of high dependency, each opened by a named person",
        }
    }

    /// The one that opens by itself after this one.
    pub fn next(self) -> Option<Wave> {
        Wave::ALL.into_iter().find(|wave| *wave > self)
    }
}

/// Whose a box is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ring {
    /// The laboratory's.
    Lab,
    /// One of the organisation's own people.
    Own,
    /// A patient's.
    Patient,
}

/// At most so many homes of the organisation's own people come first, or one in a hundred of all.
const FEW: usize = 10;

/// A home as far as its place depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its box.
    pub gateway: GatewayId,
    /// Whose it is.
    pub ring: Ring,
    /// How much somebody depends on it. What nobody has said is high.
    pub dependency: Option<Dependency>,
}

/// A place in the order of patients' homes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    dependency: Dependency,
    drawn: u64,
}

/// What places are drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 16]);

impl Seed {
    /// The place of a home.
    pub fn place(&self, gateway: &GatewayId, dependency: Dependency) -> Place {
        let text = [self.0.as_slice(), gateway.as_str().as_bytes()].concat();
        let hash = digest(&SHA256, &text);
        let drawn = hash.as_ref().first_chunk().copied().unwrap_or_default();
        Place {
            dependency,
            drawn: u64::from_be_bytes(drawn),
        }
    }
}

/// The last place of each of the waves that are cut; the rest comes after the last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cuts {
    /// Of the homes of the organisation's own people; those after it come as patients' do.
    own: Option<Place>,
    patients: [Option<Place>; 3],
}

const CUT: [Wave; 3] = [Wave::Canary, Wave::Tenth, Wave::Half];

impl Cuts {
    /// The wave of a home, as the box itself finds it.
    pub fn wave(&self, seed: &Seed, home: &Candidate) -> Wave {
        match home.turn(seed) {
            Turn::Fixed(wave) => wave,
            Turn::Own(place) if Some(place) <= self.own => Wave::Own,
            Turn::Own(place) | Turn::At(place) => self.at(place),
        }
    }

    fn at(&self, place: Place) -> Wave {
        let mut cuts = CUT.into_iter().zip(self.patients);
        let within = |(_, last): &(Wave, Option<Place>)| last.is_some_and(|last| place <= last);
        cuts.find(within).map_or(Wave::Rest, |(wave, _)| wave)
    }
}

/// Where a home stands before the cuts are made.
#[derive(Clone, Copy)]
enum Turn {
    Fixed(Wave),
    /// One of the organisation's own people, while there is room among the first.
    Own(Place),
    At(Place),
}

impl Candidate {
    fn turn(&self, seed: &Seed) -> Turn {
        let dependency = self.dependency.unwrap_or(Dependency::High);
        match (self.ring, dependency) {
            (Ring::Lab, _) => Turn::Fixed(Wave::Lab),
            (_, Dependency::High) => Turn::Fixed(Wave::Named),
            (Ring::Own, _) => Turn::Own(seed.place(&self.gateway, dependency)),
            (Ring::Patient, _) => Turn::At(seed.place(&self.gateway, dependency)),
        }
    }
}

/// Who comes when, for people to read before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What a box needs to find its wave.
    pub cuts: Cuts,
    waves: BTreeMap<GatewayId, Wave>,
}

impl Plan {
    /// Of these homes.
    pub fn new(seed: &Seed, homes: &[Candidate]) -> Plan {
        let turns: Vec<Turn> = homes.iter().map(|home| home.turn(seed)).collect();
        let labs = turns
            .iter()
            .filter(|turn| matches!(turn, Turn::Fixed(Wave::Lab)))
            .count();
        let mut owns: Vec<Place> = turns
            .iter()
            .filter_map(|turn| match turn {
                Turn::Own(place) => Some(*place),
                Turn::Fixed(_) | Turn::At(_) => None,
            })
            .collect();
        owns.sort_unstable();
        // What is bad is to be found before it is in more homes than this.
        let first = FEW.max(homes.len() / 100).saturating_sub(labs).max(1);
        let own = owns.get(first - 1).or(owns.last()).copied();
        let mut places: Vec<Place> = turns
            .iter()
            .filter_map(|turn| match turn {
                Turn::At(place) => Some(*place),
                Turn::Own(place) => Some(*place).filter(|place| Some(*place) > own),
                Turn::Fixed(_) => None,
            })
            .collect();
        places.sort_unstable();
        let before = labs + owns.len().min(first);
        let last = |percent: usize, least: usize| {
            let upto = (homes.len() * percent / 100).saturating_sub(before).max(least);
            let at = upto.checked_sub(1)?;
            places.get(at).or(places.last()).copied()
        };
        let cuts = Cuts {
            own,
            patients: [last(1, 1), last(10, 0), last(50, 0)],
        };
        let wave = |home: &Candidate| (home.gateway.clone(), cuts.wave(seed, home));
        let waves = homes.iter().map(wave).collect();
        Plan { cuts, waves }
    }

    /// Each box and its wave.
    pub fn homes(&self) -> impl Iterator<Item = (&GatewayId, &Wave)> {
        self.waves.iter()
    }

    /// How many homes a wave has.
    pub fn count(&self, wave: Wave) -> usize {
        self.waves.values().filter(|of| **of == wave).count()
    }
}
