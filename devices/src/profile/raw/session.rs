//! The Bluetooth part of a profile as it is written.

use std::collections::BTreeSet;
use std::ops::Range;

use homeward_protocol::bond::KeyClass;
use serde::Deserialize;
use toml::Spanned;

use super::Faults;
use crate::link::ble::At;
use crate::profile::{Characteristic, MAX_CHARACTERISTICS, Memory, Session, Visits, Way};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSession {
    least_bond: LeastBond,
    visits: Visits,
    #[serde(default)]
    memory: Memory,
}

/// Written out, so that nobody asks for no bond by leaving a line out.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum LeastBond {
    None,
    SecureUnauthenticated,
    LegacyAuthenticated,
    SecureAuthenticated,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCharacteristic {
    name: String,
    service: Spanned<String>,
    number: Spanned<String>,
    way: Way,
    #[serde(default)]
    needed: bool,
}

impl LeastBond {
    const fn class(self) -> Option<KeyClass> {
        match self {
            LeastBond::None => None,
            LeastBond::SecureUnauthenticated => Some(KeyClass::SecureUnauthenticated),
            LeastBond::LegacyAuthenticated => Some(KeyClass::LegacyAuthenticated),
            LeastBond::SecureAuthenticated => Some(KeyClass::SecureAuthenticated),
        }
    }
}

pub(super) fn session(
    raw: &Spanned<RawSession>,
    characteristics: &[Spanned<RawCharacteristic>],
    faults: &mut Faults<'_>,
) -> Option<Session> {
    let at = raw.span();
    let session = Session {
        least_bond: raw.get_ref().least_bond.class(),
        visits: raw.get_ref().visits,
        memory: raw.get_ref().memory,
        characteristics: all(characteristics, &at, faults)?,
    };
    let points = session
        .characteristics
        .iter()
        .filter(|c| c.way == Way::Records)
        .count();
    if points != usize::from(session.memory == Memory::Records) {
        let rule = "memory = \"records\" goes with exactly one [[characteristic]] of way = \"records\"";
        faults.add(&at, rule);
    }
    if !session.characteristics.iter().any(|c| c.way == Way::Subscribe) {
        faults.add(&at, "at least one [[characteristic]] has way = \"subscribe\"");
    }
    Some(session)
}

fn all(
    raw: &[Spanned<RawCharacteristic>],
    at: &Range<usize>,
    faults: &mut Faults<'_>,
) -> Option<Vec<Characteristic>> {
    if raw.is_empty() || raw.len() > MAX_CHARACTERISTICS {
        faults.add(
            at,
            format!("a Bluetooth profile has 1 to {MAX_CHARACTERISTICS} [[characteristic]] tables"),
        );
        return None;
    }
    let mut places = BTreeSet::new();
    let mut out = Vec::new();
    for spanned in raw {
        let raw = spanned.get_ref();
        let (service, number) = (assigned(&raw.service, faults), assigned(&raw.number, faults));
        let place = At {
            service: service?,
            characteristic: number?,
        };
        if !places.insert(place) {
            faults.add(
                &spanned.span(),
                format!("{}: {place} stands here twice", raw.name),
            );
        }
        out.push(Characteristic {
            name: raw.name.clone(),
            at: place,
            way: raw.way,
            needed: raw.needed,
        });
    }
    Some(out)
}

/// A number of the Bluetooth SIG as it prints them: four hexadecimal digits.
fn assigned(text: &Spanned<String>, faults: &mut Faults<'_>) -> Option<u16> {
    let digits = text.get_ref();
    let plain = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u16::from_str_radix(digits, 16).ok().filter(|_| plain);
    if number.is_none() {
        faults.add(
            &text.span(),
            format!("`{digits}` is no assigned number: write four hexadecimal digits, such as 2A37"),
        );
    }
    number
}
