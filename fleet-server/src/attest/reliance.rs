//! How far a gateway's word about its readings is believed: the highest grade that one can have here.
//!
//! # Design
//! A gateway grades its readings by the judgement that it was told; the server holds each against its own record as it
//! is stored, and believes nobody's word for it. What was taken while the gateway was trusted may be verified, for as
//! long as that judgement held. When the next judgement is a failure, everything since the last good one is in doubt:
//! what is stored already is taken back, what comes later is not taken for more.

use homeward_protocol::attest::Trust;
use homeward_protocol::grade::{Grade, Reason};
use homeward_protocol::time::Timestamp;

use super::Status;

/// One judgement, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// In one word.
    pub status: Status,
    /// From when on it counts.
    pub from: Timestamp,
    /// Until when at most.
    pub until: Timestamp,
}

/// What is on record of one gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reliance {
    /// How it stands as its readings arrive.
    pub now: Trust,
    /// Its newest judgements, the newest first.
    pub judgements: Vec<Stretch>,
    /// Whether its spare key brings them: then nothing of that counts.
    pub spare: bool,
}

impl Reliance {
    /// What keeps a reading that was taken then from a higher grade; nothing when the gateway was trusted.
    pub fn against(&self, taken_at: Timestamp) -> Option<Reason> {
        if self.spare {
            return Some(Reason::SpareKey);
        }
        if self.now == Trust::Failed {
            return Some(Reason::GatewayDoubted);
        }
        let Some(at) = self.judgements.iter().position(|j| j.from.ms <= taken_at.ms) else {
            return Some(Reason::GatewayUnjudged);
        };
        let judgement = self.judgements.get(at)?;
        let next = at.checked_sub(1).and_then(|at| self.judgements.get(at));
        let failed_after = next.is_some_and(|next| next.status == Status::Contraindicated);
        if failed_after || taken_at.ms >= judgement.until.ms {
            return Some(Reason::GatewayDoubted);
        }
        match judgement.status {
            Status::Affirming => None,
            Status::Warning => Some(Reason::GatewayUnproven),
            Status::None => Some(Reason::GatewayUnjudged),
            Status::Contraindicated => Some(Reason::GatewayDoubted),
        }
    }

    /// The highest grade that a reading taken then can have.
    pub fn highest(&self, taken_at: Timestamp) -> Grade {
        self.against(taken_at).map_or(Grade::Verified, Reason::ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(status: Status, from: i64, until: i64) -> Stretch {
        Stretch {
            status,
            from: Timestamp::synced(from),
            until: Timestamp::synced(until),
        }
    }

    #[test]
    fn a_reading_is_verified_only_within_a_judgement_that_held_and_was_not_followed_by_a_failure() {
        use Status::{Affirming, Contraindicated, Warning};
        let record = |now, judgements: &[Stretch]| Reliance {
            now,
            judgements: judgements.to_vec(),
            spare: false,
        };
        let good = stretch(Affirming, 100, 200);
        for (now, judgements, taken, against) in [
            (Trust::Unknown, &[][..], 150, Some(Reason::GatewayUnjudged)),
            (Trust::Trusted, &[good], 99, Some(Reason::GatewayUnjudged)),
            (Trust::Trusted, &[good], 100, None),
            (Trust::Trusted, &[good], 199, None),
            (Trust::Stale, &[good], 199, None),
            (Trust::Stale, &[good], 200, Some(Reason::GatewayDoubted)),
            (Trust::Failed, &[good], 150, Some(Reason::GatewayDoubted)),
            (Trust::Warning, &[stretch(Warning, 160, 260), good], 150, None),
            (
                Trust::Warning,
                &[stretch(Warning, 160, 260), good],
                170,
                Some(Reason::GatewayUnproven),
            ),
            // It was mended since, but what it said before the failure is not believed for that.
            (
                Trust::Trusted,
                &[
                    stretch(Affirming, 180, 280),
                    stretch(Contraindicated, 160, 260),
                    good,
                ],
                150,
                Some(Reason::GatewayDoubted),
            ),
            (
                Trust::Trusted,
                &[
                    stretch(Affirming, 180, 280),
                    stretch(Contraindicated, 160, 260),
                    good,
                ],
                190,
                None,
            ),
        ] {
            let record = record(now, judgements);
            assert_eq!(
                record.against(Timestamp::synced(taken)),
                against,
                "{record:?} at {taken}"
            );
            let spare = Reliance {
                spare: true,
                ..record
            };
            assert_eq!(spare.highest(Timestamp::synced(taken)), Grade::Unverified);
        }
    }
}
