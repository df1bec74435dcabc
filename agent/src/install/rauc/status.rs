//! What RAUC answers about its slots, read into [`Seen`]; and why a box cannot take images.
//!
//! Source: RAUC 1.8, `de.pengutronix.rauc.Installer`: `GetSlotStatus` and `GetPrimary`; the manual's "D-Bus API".

use std::collections::{BTreeMap, HashMap};

use zbus::OwnedVariant;

use super::{Seen, Slot, SlotName};

/// Most slots of a box: those that are known have four to eight.
const MAX_SLOTS: usize = 64;
/// Longest class or version, bytes.
const MAX_WORD: usize = 64;

/// One slot: its name, and what is said of it.
pub type Row = (String, HashMap<String, OwnedVariant>);

/// Why what RAUC says of its slots is not enough to put an image in place, and to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// More slots than a box has.
    #[error("RAUC tells of more slots than a box has")]
    TooMany,
    /// A name that is none.
    #[error("RAUC tells of a slot whose name is none")]
    Name,
    /// It does not say what runs.
    #[error("RAUC does not know from which slot the box runs")]
    NotBooted,
    /// It says that two run.
    #[error("RAUC says that the box runs from more than one slot")]
    BootedTwice,
    /// The boot loader does not say what it starts next.
    #[error("RAUC does not know which slot the boot loader starts next")]
    NoPrimary,
    /// There is one slot.
    #[error("there is no second slot that the boot loader could start")]
    NoOther,
}

/// Reads what `GetSlotStatus` and `GetPrimary` answered.
///
/// # Errors
/// What is missing.
pub fn read(rows: Vec<Row>, primary: &str) -> Result<Seen, Unfit> {
    if rows.len() > MAX_SLOTS {
        return Err(Unfit::TooMany);
    }
    let mut booted = None;
    let mut slots = BTreeMap::new();
    for (name, said) in rows {
        let name = SlotName::try_from(name).map_err(|_| Unfit::Name)?;
        if word(&said, "state").as_deref() == Some("booted") && booted.replace(name.clone()).is_some() {
            return Err(Unfit::BootedTwice);
        }
        slots.insert(name, slot(&said));
    }
    let booted = booted.ok_or(Unfit::NotBooted)?;
    let primary = SlotName::try_from(primary.to_owned()).ok();
    let primary = primary.filter(|name| slots.contains_key(name));
    let seen = Seen {
        primary: primary.ok_or(Unfit::NoPrimary)?,
        booted,
        slots,
    };
    if seen.others().next().is_none() {
        return Err(Unfit::NoOther);
    }
    Ok(seen)
}

fn slot(said: &HashMap<String, OwnedVariant>) -> Slot {
    Slot {
        class: word(said, "class").unwrap_or_default(),
        boots: word(said, "bootname").is_some(),
        bad: word(said, "boot-status").as_deref() == Some("bad"),
        version: word(said, "bundle.version"),
        whole: word(said, "status").as_deref() == Some("ok"),
    }
}

/// A text of plain characters that is not too long; one that is counts as not said.
fn word(said: &HashMap<String, OwnedVariant>, name: &str) -> Option<String> {
    let text = String::try_from(said.get(name)?.clone()).ok()?;
    let plain = text.bytes().all(|b| b.is_ascii_graphic());
    (plain && (1..=MAX_WORD).contains(&text.len())).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zbus::Variant;

    use super::*;

    fn row(name: &str, said: &[(&str, &str)]) -> Row {
        let said = said.iter().map(|(key, text)| {
            let value = Variant::from(*text).try_to_owned().expect("a plain value");
            ((*key).to_owned(), value)
        });
        (name.to_owned(), said.collect())
    }

    fn two(states: [&str; 2]) -> Vec<Row> {
        let one = |at: usize| {
            let boot = if at == 0 { "A" } else { "B" };
            let said = [("class", "rootfs"), ("bootname", boot), ("state", states[at])];
            row(&format!("rootfs.{at}"), &said)
        };
        vec![one(0), one(1)]
    }

    #[test]
    fn two_slots_of_one_class_are_a_box_that_can_go_back() {
        let mut rows = two(["inactive", "booted"]);
        let (name, said) = row(
            "rootfs.0",
            &[
                ("bundle.version", "1.2.0"),
                ("status", "ok"),
                ("boot-status", "bad"),
            ],
        );
        rows[0].1.extend(said);
        rows.push(row("appfs.0", &[("class", "appfs"), ("state", "inactive")]));
        let seen = read(rows, "rootfs.0").expect("enough");
        assert_eq!(seen.booted.as_str(), "rootfs.1");
        assert_eq!(seen.others().map(SlotName::as_str).collect::<Vec<_>>(), [name]);
        assert!(seen.is_in_place("1.2.0".parse().expect("a version")));
        assert!(!seen.is_in_place("1.2.1".parse().expect("a version")));
        assert_eq!(seen.runs().to_string(), "0.0.0", "RAUC did not write what runs");
    }

    #[test]
    fn what_is_not_enough_is_said() {
        for (rows, primary, why) in [
            (two(["inactive", "inactive"]), "rootfs.0", Unfit::NotBooted),
            (two(["booted", "booted"]), "rootfs.0", Unfit::BootedTwice),
            (two(["booted", "inactive"]), "rootfs.9", Unfit::NoPrimary),
            (two(["booted", "inactive"]), "", Unfit::NoPrimary),
            (
                two(["booted", "inactive"])[..1].to_vec(),
                "rootfs.0",
                Unfit::NoOther,
            ),
            (vec![row("root fs", &[])], "rootfs.0", Unfit::Name),
            (
                (0..65).map(|n| row(&format!("rootfs.{n}"), &[])).collect(),
                "rootfs.0",
                Unfit::TooMany,
            ),
        ] {
            assert_eq!(read(rows, primary), Err(why), "{why}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_gives_a_box_with_a_second_slot_or_a_reason(
            rows in prop::collection::vec(
                (
                    ".{0,80}",
                    prop::collection::hash_map(
                        prop::sample::select(vec!["state", "class", "bootname", "status", "bundle.version"]),
                        prop::sample::select(vec!["booted", "rootfs", "ok", "", "1.2.0", "\u{0}\u{202e}", "inactive"]),
                        0..5,
                    ),
                ),
                0..6,
            ),
            primary in ".{0,80}",
        ) {
            let rows = rows.iter().map(|(name, said)| {
                let said: Vec<(&str, &str)> = said.iter().map(|(key, text)| (*key, *text)).collect();
                row(name, &said)
            });
            if let Ok(seen) = read(rows.collect(), &primary) {
                prop_assert!(seen.slots.contains_key(&seen.booted) && seen.slots.contains_key(&seen.primary));
                prop_assert!(seen.others().all(|name| *name != seen.booted));
            }
        }
    }
}
