//! Who this box is: a P-256 key, a certificate that lasts two weeks, and the anchors it trusts.
//!
//! The key is made on the box and never leaves it; renewal keeps it. On a box with a TPM it lies in that, and cannot be
//! copied; else in a file that the vault seals, as well as the box can.

use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use x509_parser::prelude::{FromDer as _, X509Certificate};

mod device_key;
pub mod keys;
pub mod pulse;
pub mod spare;
pub mod tls;

/// How often a renewal that failed is tried again, as a part of the certificate's life: hourly for two weeks.
const RETRY_PART: i64 = 14 * 24;

/// A life is counted as no longer than a thousand years, so that arithmetic on it cannot overflow.
const LONGEST_MS: i64 = 1000 * 366 * 86_400_000;

/// From when until when a certificate is valid, milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The first moment.
    pub not_before_ms: i64,
    /// The last moment.
    pub not_after_ms: i64,
}

/// Where to renew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Where enrolment is served: the certificate is still valid.
    Usual,
    /// The listener for certificates that have expired.
    Late,
}

/// What to do about the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nothing until this moment, milliseconds since 1970.
    Wait(i64),
    /// Renew it now.
    Renew(Door),
}

/// Why a certificate is not ours to use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not a certificate.
    #[error("the certificate cannot be read")]
    Malformed,
    /// It is for another key.
    #[error("the certificate is for another key than this box's")]
    OtherKey,
    /// It is for another gateway.
    #[error("the certificate names {0}, not this box")]
    OtherName(String),
}

/// Checks that a certificate is for this gateway and this key; gives its life.
///
/// The server is trusted to issue; this guards against a mix-up of files and answers.
pub fn read_leaf(der: &[u8], gateway: &GatewayId, key: &PublicKey) -> Result<Life, LeafError> {
    let (_, leaf) = X509Certificate::from_der(der).map_err(|_| LeafError::Malformed)?;
    if leaf.public_key().raw != key.spki().as_slice() {
        return Err(LeafError::OtherKey);
    }
    let name = leaf
        .subject()
        .iter_common_name()
        .next()
        .and_then(|cn| cn.as_str().ok())
        .unwrap_or_default();
    if name != gateway.as_str() {
        return Err(LeafError::OtherName(name.chars().take(64).collect()));
    }
    Ok(life(&leaf))
}

/// The key of any certificate (DER); `None` when it is none, or for another kind of key than P-256.
pub fn key_of(der: &[u8]) -> Option<PublicKey> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    PublicKey::from_spki(cert.public_key().raw)
}

/// The life of any certificate; `None` when it is none.
pub fn life_of(der: &[u8]) -> Option<Life> {
    X509Certificate::from_der(der).ok().map(|(_, cert)| life(&cert))
}

fn life(cert: &X509Certificate<'_>) -> Life {
    let validity = cert.validity();
    Life {
        not_before_ms: validity.not_before.timestamp().saturating_mul(1000),
        not_after_ms: validity.not_after.timestamp().saturating_mul(1000),
    }
}

impl Life {
    fn length_ms(self) -> i64 {
        self.not_after_ms
            .saturating_sub(self.not_before_ms)
            .clamp(0, LONGEST_MS)
    }

    /// What to do `now`: renew from two thirds of the life on, or from the age `oldest` when that comes first, spread by
    /// `dice` (random) over a thirtieth of it, and after a failure hourly. `last_try_ms` is when it was last tried.
    pub fn plan(self, dice: u64, last_try_ms: Option<i64>, oldest: Option<Duration>, now: Timestamp) -> Plan {
        let spread = |age: i64| i64::try_from(dice % 1000).unwrap_or(0) * (age / 20) / 1000;
        let oldest = oldest.map_or(i64::MAX, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        // Earlier than the age that is wanted by the spread, so that none is older.
        let own = self.length_ms() / 3 * 2;
        let age = if oldest < own {
            oldest - spread(oldest)
        } else {
            own + spread(own)
        };
        let begin = self.not_before_ms.saturating_add(age);
        let again = last_try_ms.map_or(begin, |at| {
            at.saturating_add((self.length_ms() / RETRY_PART).max(1000))
        });
        let due = begin.max(again);
        if now.ms < due {
            Plan::Wait(due)
        } else {
            Plan::Renew(self.door(now))
        }
    }

    /// Which door takes this certificate `now`.
    pub fn door(self, now: Timestamp) -> Door {
        if now.ms > self.not_after_ms {
            Door::Late
        } else {
            Door::Usual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const LIFE: Life = Life {
        not_before_ms: 0,
        not_after_ms: 14 * DAY,
    };

    fn at(ms: i64) -> Timestamp {
        Timestamp::synced(ms)
    }

    #[test]
    fn renews_from_two_thirds_of_the_life_then_hourly_and_late_at_the_other_door() {
        let begin = LIFE.not_after_ms / 3 * 2;
        assert_eq!(LIFE.plan(0, None, None, at(begin - 1)), Plan::Wait(begin));
        assert_eq!(LIFE.plan(0, None, None, at(begin)), Plan::Renew(Door::Usual));
        assert_eq!(
            LIFE.plan(0, Some(begin), None, at(begin + 1)),
            Plan::Wait(begin + 3_600_000)
        );
        assert_eq!(
            LIFE.plan(0, Some(begin), None, at(14 * DAY + 1)),
            Plan::Renew(Door::Late)
        );
    }

    #[test]
    fn a_policy_that_wants_younger_certificates_is_followed_and_one_that_wants_older_is_not() {
        let hours = |hours| Some(Duration::from_hours(hours));
        let begin = |dice, oldest| match LIFE.plan(dice, None, oldest, at(0)) {
            Plan::Wait(until) => until,
            Plan::Renew(_) => panic!("not yet"),
        };
        assert_eq!(begin(0, hours(48)), 2 * DAY);
        let late = begin(999, hours(48));
        assert!(
            (2 * DAY - DAY / 10..=2 * DAY).contains(&late),
            "none is older: {late}"
        );
        assert_eq!(begin(0, hours(336)), begin(0, None));
    }

    #[test]
    fn a_fleet_does_not_renew_in_one_moment() {
        let begin = |dice| match LIFE.plan(dice, None, None, at(0)) {
            Plan::Wait(until) => until,
            Plan::Renew(_) => panic!("too early"),
        };
        assert!(begin(999) - begin(0) > DAY / 3);
        assert!(begin(999) < 10 * DAY, "four days are left for a bad week");
    }

    #[test]
    fn extreme_dates_do_not_overflow() {
        let odd = Life {
            not_before_ms: i64::MIN,
            not_after_ms: i64::MAX,
        };
        let _ = odd.plan(u64::MAX, Some(i64::MAX), Some(Duration::MAX), at(i64::MAX));
    }
}
