//! The operator's words for what is kept as a short name.

use homeward_protocol::bond::{Bond, KeyClass};
use homeward_protocol::posture::{KeyFacts, KeyPlace, Sealing};
use homeward_protocol::time::ClockTrust;
use homeward_protocol::watch::Suspicion;

use crate::care::Lifecycle;

/// Whether a suspicion is against the values that its sensor sends.
pub const fn spoils(suspicion: Suspicion) -> bool {
    matches!(
        suspicion,
        Suspicion::Frozen
            | Suspicion::Silent
            | Suspicion::SessionExpired
            | Suspicion::ImpossibleChange
            | Suspicion::BondChanged
            | Suspicion::OtherDevice
    )
}

/// What a bond proves.
pub fn bond(bond: Option<Bond>) -> String {
    let Some(bond) = bond else {
        return "not paired: anybody can imitate it".to_owned();
    };
    let class = match bond.class {
        KeyClass::Debug => "paired with the key that is public for debugging",
        KeyClass::LegacyUnauthenticated => "paired by the old method, nothing checked",
        KeyClass::SecureUnauthenticated => "paired, nothing checked",
        KeyClass::LegacyAuthenticated => "paired by the old method, with a code",
        KeyClass::SecureAuthenticated => "paired with a code",
    };
    match bond.key_size {
        16.. => class.to_owned(),
        short => format!("{class}, short key of {short} bytes"),
    }
}

/// How far a gateway's life has come.
pub fn lifecycle(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::Expected => "expected: its claim has not been used yet",
        Lifecycle::Waiting => "waiting for approval",
        Lifecycle::Enrolled => "in service",
        Lifecycle::Revoked => "out of service",
    }
}

/// How far the gateway's clock is trusted.
pub fn clock(trust: ClockTrust) -> &'static str {
    match trust {
        ClockTrust::Synced => "right: confirmed by a time source",
        ClockTrust::Unsynced => "runs, but no time source has confirmed it since the boot",
        ClockTrust::Floor => "wrong: it stands before a moment that has passed",
    }
}

/// Where the key is that a gateway speaks with, by its own word.
pub fn key(key: &KeyFacts) -> String {
    let sealed = match key.sealed {
        Sealing::Tpm => "sealed by its TPM",
        Sealing::Credential => "sealed by a credential of its system",
        Sealing::Machine => {
            "sealed by facts of the machine: a stolen box opens it, a stolen disk alone does not"
        }
        Sealing::Nothing => "which nothing seals",
    };
    match key.place {
        KeyPlace::Tpm => "in its TPM: it cannot be copied".to_owned(),
        KeyPlace::File => format!("in a file, {sealed}"),
        KeyPlace::Spare => {
            format!("the spare one, because its TPM does not answer; in a file, {sealed}")
        }
    }
}

/// What became of records that are missing.
pub fn gap(cause: &str, missing: i64) -> String {
    let records = match missing {
        1 => "1 record is".to_owned(),
        n => format!("{n} records are"),
    };
    match cause {
        "quota" => {
            format!("{records} missing: the box's disk quota was reached, and it gave up the least important")
        }
        "disk-refused" => format!("{records} missing: the box's disk did not take them"),
        "damaged" => format!("{records} missing: they were damaged on the box's disk"),
        "not-held" => format!("{records} missing: the box no longer has them, and nobody can say why"),
        "chain-broken" => "The chain of records does not fit together here; what came is kept".to_owned(),
        "fork" => {
            "The box sent other records under numbers that were taken: its disk was put back".to_owned()
        }
        other => format!("{records} missing: {other}"),
    }
}

/// A condition that a gateway reported.
pub fn condition(condition: &str) -> &str {
    match condition {
        "sensor-silent" => "device does not answer",
        "device-alarm" => "the device's own alarm",
        "records-lost" => "records given up",
        other => other,
    }
}

/// Why a connection ended or was missing.
pub fn why(cause: &str) -> &str {
    match cause {
        "unreachable" => "the network or the server did not answer",
        "untrusted" => "a certificate was not accepted",
        "closed" => "the server closed the connection",
        "not-running" => "the agent was not running",
        other => other,
    }
}

/// Bytes as people say them.
pub fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} bytes"),
        10_000..10_000_000 => format!("{} kB", n / 1000),
        10_000_000..10_000_000_000 => format!("{} MB", n / 1_000_000),
        _ => format!("{} GB", n / 1_000_000_000),
    }
}
