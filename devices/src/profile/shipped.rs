//! The profiles that are part of the program.

use crate::profile::Profile;

const SHIPPED: [(&str, &str); 7] = [
    ("comet-tx5xx", include_str!("../../profiles/comet-tx5xx.toml")),
    ("parker-db5-20", include_str!("../../profiles/parker-db5-20.toml")),
    ("senseair-s8", include_str!("../../profiles/senseair-s8.toml")),
    (
        "tripp-lite-modbuscard",
        include_str!("../../profiles/tripp-lite-modbuscard.toml"),
    ),
    (
        "tsi-pressura-rpc30",
        include_str!("../../profiles/tsi-pressura-rpc30.toml"),
    ),
    (
        "tsi-pressura-rpc30-anteroom",
        include_str!("../../profiles/tsi-pressura-rpc30-anteroom.toml"),
    ),
    (
        "vaisala-gmp251",
        include_str!("../../profiles/vaisala-gmp251.toml"),
    ),
];

/// The names of all shipped profiles, in order.
pub fn shipped_ids() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(id, _)| *id)
}

/// The shipped profile of that name.
pub fn shipped(id: &str) -> Option<Profile> {
    let (_, text) = SHIPPED.iter().find(|(known, _)| *known == id)?;
    Profile::parse(text).ok()
}
