//! What releases look like, as their makers signed it: the values that measurements are held against.
//!
//! # Design
//! Absent is not wrong: a component that no loaded release describes is not judged by it. A version that is described
//! and has another digest is tampered with, or is not that version.

use std::collections::BTreeMap;

use homeward_protocol::evidence::Component;
use homeward_protocol::reference::{Measurand, Release};

/// How a measurement stands to the loaded releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// As a release says.
    Known,
    /// A release has this version with another value.
    Other,
    /// Releases describe the component, and not this version of it.
    UnknownVersion,
    /// No release describes it.
    Nothing,
}

/// The loaded releases, the newest last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reference(pub Vec<Release>);

impl Reference {
    /// How a component of this version (empty for none) with this digest stands.
    pub fn find(&self, component: Component, version: &str, sha256: &[u8; 32]) -> Found {
        let values = self.0.iter().flat_map(|release| &release.values);
        let mut found = Found::Nothing;
        for good in values.filter(|good| good.what == Measurand::Component(component)) {
            let same_version = good.version.as_ref().map_or("", |v| v.as_str()) == version;
            match (same_version, good.sha256 == *sha256) {
                (true, true) => return Found::Known,
                (true, false) => found = Found::Other,
                (false, _) if found == Found::Nothing => found = Found::UnknownVersion,
                (false, _) => {}
            }
        }
        found
    }

    /// Whether evidence of this component is held against values here, and none of them knows this version with this digest: a box
    /// that runs it would not be believed.
    pub fn would_doubt(&self, component: Component, version: &str, sha256: &[u8; 32]) -> bool {
        match self.find(component, version, sha256) {
            Found::Other | Found::UnknownVersion => true,
            Found::Known | Found::Nothing => false,
        }
    }

    /// Whether a box with these registers started one of the releases: all registers that one names are as it says.
    pub fn boot(&self, registers: &BTreeMap<u8, [u8; 32]>) -> Found {
        let boots: Vec<&Release> = self.0.iter().filter(|r| names_registers(r)).collect();
        if boots.is_empty() {
            Found::Nothing
        } else if boots
            .iter()
            .any(|release| differing(release, registers).is_none())
        {
            Found::Known
        } else {
            Found::Other
        }
    }

    /// The first register that is not as the newest release with registers says, when no release fits.
    pub fn other_boot(&self, registers: &BTreeMap<u8, [u8; 32]>) -> Option<u8> {
        if self.boot(registers) != Found::Other {
            return None;
        }
        let newest = self.0.iter().rev().find(|release| names_registers(release))?;
        differing(newest, registers)
    }
}

fn names_registers(release: &Release) -> bool {
    release
        .values
        .iter()
        .any(|good| matches!(good.what, Measurand::Register(_)))
}

/// The first register that has none of the values that a release allows for it.
fn differing(release: &Release, registers: &BTreeMap<u8, [u8; 32]>) -> Option<u8> {
    let mut allowed: BTreeMap<u8, Vec<&[u8; 32]>> = BTreeMap::new();
    for good in &release.values {
        if let Measurand::Register(register) = good.what {
            allowed.entry(register).or_default().push(&good.sha256);
        }
    }
    let fits = |(register, values): &(u8, Vec<&[u8; 32]>)| {
        registers.get(register).is_some_and(|held| values.contains(&held))
    };
    allowed
        .into_iter()
        .find(|one| !fits(one))
        .map(|(register, _)| register)
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_protocol::posture::ShortText;
    use homeward_protocol::reference::Good;

    fn release(name: &str, agent: u8, four: &[u8]) -> Release {
        let program = Good {
            what: Measurand::Component(Component::Agent),
            version: Some(ShortText::cut(name)),
            sha256: [agent; 32],
        };
        let register = |value: &u8| Good {
            what: Measurand::Register(4),
            version: None,
            sha256: [*value; 32],
        };
        Release {
            name: ShortText::cut(name),
            values: [program].into_iter().chain(four.iter().map(register)).collect(),
        }
    }

    #[test]
    fn a_measurement_is_as_released_tampered_with_unknown_or_not_described() {
        let reference = Reference(vec![release("1.0", 1, &[]), release("1.1", 2, &[])]);
        let agent = |version, value| reference.find(Component::Agent, version, &[value; 32]);
        assert_eq!(agent("1.0", 1), Found::Known);
        assert_eq!(agent("1.1", 2), Found::Known);
        assert_eq!(
            agent("1.1", 1),
            Found::Other,
            "the older program under the newer name"
        );
        assert_eq!(agent("1.2", 2), Found::UnknownVersion);
        assert_eq!(reference.find(Component::Kernel, "6.1", &[1; 32]), Found::Nothing);
        // A release whose values are not here, or are others, is one that nobody would be believed with.
        let doubts = |component, version, value| reference.would_doubt(component, version, &[value; 32]);
        assert!(doubts(Component::Agent, "1.2", 3) && doubts(Component::Agent, "1.1", 3));
        assert!(!doubts(Component::Agent, "1.1", 2) && !doubts(Component::Kernel, "6.1", 1));
        assert_eq!(reference.boot(&BTreeMap::from([(4, [1; 32])])), Found::Nothing);
    }

    #[test]
    fn a_boot_fits_one_release_whole_and_the_newest_says_what_differs() {
        let reference = Reference(vec![release("1.0", 1, &[1, 2]), release("1.1", 2, &[3])]);
        let boot = |value: u8| BTreeMap::from([(0, [9; 32]), (4, [value; 32])]);
        for known in [1, 2, 3] {
            assert_eq!(reference.boot(&boot(known)), Found::Known);
            assert_eq!(reference.other_boot(&boot(known)), None);
        }
        assert_eq!(reference.boot(&boot(4)), Found::Other);
        assert_eq!(reference.other_boot(&boot(4)), Some(4));
        assert_eq!(
            reference.boot(&BTreeMap::new()),
            Found::Other,
            "a register that is not told fits nothing"
        );
    }
}
