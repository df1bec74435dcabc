//! The profiles that are part of the program.

use crate::profile::Profile;

const SHIPPED: [(&str, &str); 16] = [
    (
        "blood-pressure",
        include_str!("../../profiles/blood-pressure.toml"),
    ),
    (
        "body-composition",
        include_str!("../../profiles/body-composition.toml"),
    ),
    ("cgm", include_str!("../../profiles/cgm.toml")),
    ("comet-tx5xx", include_str!("../../profiles/comet-tx5xx.toml")),
    ("glucose-meter", include_str!("../../profiles/glucose-meter.toml")),
    ("heart-rate", include_str!("../../profiles/heart-rate.toml")),
    (
        "new-cosmos-ps-7-m",
        include_str!("../../profiles/new-cosmos-ps-7-m.toml"),
    ),
    ("parker-db5-20", include_str!("../../profiles/parker-db5-20.toml")),
    (
        "pulse-oximeter",
        include_str!("../../profiles/pulse-oximeter.toml"),
    ),
    ("senseair-s8", include_str!("../../profiles/senseair-s8.toml")),
    ("thermometer", include_str!("../../profiles/thermometer.toml")),
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
    ("weight-scale", include_str!("../../profiles/weight-scale.toml")),
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
