use homeward_protocol::id::GatewayId;
use proptest::prelude::*;

use super::*;
use crate::ca::Serial;
use crate::device::Approval;

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

fn key(n: u8) -> PublicKey {
    let mut point = [n; 65];
    point[0] = 4;
    PublicKey::from_point(&point).expect("a point's shape")
}

fn code(n: u8) -> [u8; 32] {
    hash_of(&Code::from_random([n; 10]))
}

fn claim(approval: Approval) -> Claimed {
    Claimed {
        gateway: "gw-1".parse().expect("an id"),
        code_hash: code(1),
        approval,
        created_at: NOW,
        created_by: "anna".into(),
        expires_at: NOW.plus_ms(7 * DAY_MS),
        failed_tries: 0,
        key: None,
        used_at: None,
        approved_at: None,
        approved_by: None,
    }
}

fn used(mut claim: Claimed, by: u8) -> Claimed {
    claim.key = Some(key(by));
    claim.used_at = Some(NOW);
    claim
}

fn ask(claim: &Claimed, given: u8, by: u8, at: Timestamp) -> Decision {
    enrol(State::Expected, claim, &code(given), &key(by), at)
}

#[test]
fn the_right_code_is_enough_when_nobody_has_to_approve() {
    let claim = claim(Approval::Automatic);
    assert_eq!(ask(&claim, 1, 1, NOW), Decision::Issue(Use::First));
    assert_eq!(ask(&used(claim, 1), 1, 1, NOW), Decision::Issue(Use::Again));
}

#[test]
fn an_operator_is_waited_for_soon_then_seldom() {
    let claim = claim(Approval::Operator);
    assert_eq!(ask(&claim, 1, 1, NOW), Decision::Wait(Use::First, 5));
    let mut claim = used(claim, 1);
    assert_eq!(
        ask(&claim, 1, 1, NOW.plus_ms(700_000)),
        Decision::Wait(Use::Again, 60)
    );
    assert_eq!(
        ask(&claim, 1, 1, NOW.plus_ms(DAY_MS)),
        Decision::Wait(Use::Again, 300)
    );
    claim.approved_at = Some(NOW);
    assert_eq!(ask(&claim, 1, 1, NOW), Decision::Issue(Use::Again));
}

#[test]
fn another_key_with_the_right_code_is_never_answered() {
    for approval in [Approval::Automatic, Approval::Operator] {
        let claim = used(claim(approval), 1);
        assert_eq!(ask(&claim, 1, 2, NOW), Decision::Refuse(Refusal::OtherKey));
        // With a wrong code it is only a guess, and says nothing about the claim.
        assert_eq!(ask(&claim, 2, 2, NOW), Decision::Refuse(Refusal::WrongCode));
    }
}

#[test]
fn an_expired_claim_is_refused_but_a_lost_reply_is_given_again() {
    let claim = claim(Approval::Automatic);
    let late = NOW.plus_ms(7 * DAY_MS + 1);
    assert_eq!(ask(&claim, 1, 1, late), Decision::Refuse(Refusal::Expired));
    assert_eq!(
        ask(&used(claim.clone(), 1), 1, 1, late),
        Decision::Issue(Use::Again)
    );
    let later = NOW.plus_ms(14 * DAY_MS + 1);
    assert_eq!(
        ask(&used(claim, 1), 1, 1, later),
        Decision::Refuse(Refusal::Expired)
    );
}

#[test]
fn guesses_close_an_unused_claim_and_do_not_lock_out_the_box_that_used_it() {
    let mut claim = claim(Approval::Automatic);
    claim.failed_tries = MAX_FAILED_TRIES;
    assert_eq!(ask(&claim, 1, 1, NOW), Decision::Refuse(Refusal::Locked));
    assert_eq!(ask(&used(claim, 1), 1, 1, NOW), Decision::Issue(Use::Again));
}

#[test]
fn a_revoked_gateway_gets_nothing_by_any_claim() {
    let claim = claim(Approval::Automatic);
    let decision = enrol(State::Revoked, &claim, &code(1), &key(1), NOW);
    assert_eq!(decision, Decision::Refuse(Refusal::Revoked));
}

fn leaf() -> Leaf {
    Leaf {
        rank: crate::ca::Rank::Own(homeward_protocol::attest::Tier::Software),
        gateway: "gw-1".parse::<GatewayId>().expect("an id"),
        serial: Serial([0x40; 16]),
        not_before: NOW,
        not_after: NOW.plus_ms(14 * DAY_MS),
        key: key(1),
    }
}

const GOOD: Standing = Standing {
    state: Some(State::Enrolled),
    certificate_revoked: false,
    issued_today: 0,
};

/// A stolen spare key does not become a gateway, nor last longer than it was given.
#[test]
fn a_spare_certificate_brings_no_other_and_only_a_key_in_a_tpm_brings_a_spare_one() {
    let of = |rank| Leaf { rank, ..leaf() };
    let spare_leaf = of(Rank::Spare);
    for door in [Door::Enrolment, Door::Renewal] {
        for at in [NOW, NOW.plus_ms(20 * DAY_MS)] {
            assert_eq!(renew(GOOD, &spare_leaf, door, at), Err(Refusal::Spare));
        }
    }
    let chip = of(Rank::Own(Tier::TpmKey));
    for (rank, taken, said) in [
        (Rank::Own(Tier::TpmChip), false, Ok(())),
        (Rank::Own(Tier::TpmKey), false, Ok(())),
        (Rank::Own(Tier::TpmKey), true, Err(Refusal::NoSpare)),
        (Rank::Own(Tier::Software), false, Err(Refusal::NoSpare)),
        (Rank::Spare, false, Err(Refusal::Spare)),
    ] {
        assert_eq!(spare(GOOD, &of(rank), taken, NOW), said, "{rank}");
    }
    let over = NOW.plus_ms(15 * DAY_MS);
    assert_eq!(spare(GOOD, &chip, false, over), Err(Refusal::NotCurrent));
    let revoked = Standing {
        state: Some(State::Revoked),
        ..GOOD
    };
    assert_eq!(spare(revoked, &chip, false, NOW), Err(Refusal::Revoked));
}

#[test]
fn late_renewals_are_taken_at_their_own_door_for_180_days() {
    let at = |days: i64| NOW.plus_ms((14 + days) * DAY_MS);
    let table = [
        (-1, Ok(Timing::InTime), Ok(Timing::InTime)),
        (1, Err(Refusal::NotCurrent), Ok(Timing::Late)),
        (90, Err(Refusal::NotCurrent), Ok(Timing::Late)),
        (180, Err(Refusal::NotCurrent), Ok(Timing::Late)),
        (181, Err(Refusal::NotCurrent), Err(Refusal::NotCurrent)),
    ];
    for (days, here, late) in table {
        assert_eq!(renew(GOOD, &leaf(), Door::Enrolment, at(days)), here, "{days}");
        assert_eq!(renew(GOOD, &leaf(), Door::Renewal, at(days)), late, "{days}");
    }
    let early = NOW.plus_ms(-1);
    assert_eq!(
        renew(GOOD, &leaf(), Door::Renewal, early),
        Err(Refusal::NotCurrent)
    );
}

/// The state of the gateway, whether the certificate was revoked, what it says of its key, at which door, on which day of
/// its life; and the answer.
type Line = (Option<State>, bool, Rank, Door, i64, Result<Timing, Refusal>);

const OWN: Rank = Rank::Own(Tier::Software);
const CHIP: Rank = Rank::Own(Tier::TpmChip);
const HERE: Option<State> = Some(State::Enrolled);
const GONE: Option<State> = Some(State::Revoked);

/// The table of certificates: what may follow which.
#[rustfmt::skip]
const CERTIFICATES: [Line; 17] = [
    (None, false, OWN, Door::Enrolment, 1, Err(Refusal::Unknown)),
    (None, false, Rank::Spare, Door::Renewal, 1, Err(Refusal::Unknown)),
    (Some(State::Expected), false, OWN, Door::Enrolment, 1, Ok(Timing::InTime)),
    (Some(State::Waiting), false, OWN, Door::Enrolment, 1, Ok(Timing::InTime)),
    (HERE, false, OWN, Door::Enrolment, 1, Ok(Timing::InTime)),
    (HERE, false, CHIP, Door::Enrolment, 10, Ok(Timing::InTime)),
    (HERE, false, OWN, Door::Renewal, 10, Ok(Timing::InTime)),
    (HERE, false, OWN, Door::Enrolment, 15, Err(Refusal::NotCurrent)),
    (HERE, false, OWN, Door::Renewal, 15, Ok(Timing::Late)),
    (HERE, false, CHIP, Door::Renewal, 194, Ok(Timing::Late)),
    (HERE, false, CHIP, Door::Renewal, 195, Err(Refusal::NotCurrent)),
    (HERE, false, OWN, Door::Renewal, -1, Err(Refusal::NotCurrent)),
    (HERE, true, OWN, Door::Enrolment, 1, Err(Refusal::Revoked)),
    (HERE, true, Rank::Spare, Door::Renewal, 1, Err(Refusal::Spare)),
    (HERE, false, Rank::Spare, Door::Enrolment, 1, Err(Refusal::Spare)),
    (HERE, false, Rank::Spare, Door::Renewal, 100, Err(Refusal::Spare)),
    (GONE, false, CHIP, Door::Renewal, 15, Err(Refusal::Revoked)),
];

#[test]
fn each_line_of_the_table_of_certificates_has_its_answer() {
    for (state, certificate_revoked, rank, door, day, said) in CERTIFICATES {
        let standing = Standing {
            state,
            certificate_revoked,
            issued_today: 0,
        };
        let leaf = Leaf { rank, ..leaf() };
        let found = renew(standing, &leaf, door, NOW.plus_ms(day * DAY_MS));
        assert_eq!(
            found, said,
            "{state:?} {certificate_revoked} {rank} {door:?} day {day}"
        );
    }
}

#[test]
fn revoked_never_renews() {
    for (state, certificate_revoked) in [(State::Revoked, false), (State::Enrolled, true)] {
        let standing = Standing {
            state: Some(state),
            certificate_revoked,
            issued_today: 0,
        };
        for door in [Door::Enrolment, Door::Renewal] {
            assert_eq!(renew(standing, &leaf(), door, NOW), Err(Refusal::Revoked));
        }
    }
}

#[test]
fn a_gateway_that_renews_all_day_is_stopped() {
    let standing = Standing {
        issued_today: MOST_A_DAY,
        ..GOOD
    };
    assert_eq!(
        renew(standing, &leaf(), Door::Enrolment, NOW),
        Err(Refusal::TooMany)
    );
}

proptest! {
    /// Whatever comes in whatever order: at most one key ever gets a certificate out of a claim, and only with the
    /// right code.
    #[test]
    fn one_claim_makes_one_key_a_gateway(
        approval in prop_oneof![Just(Approval::Automatic), Just(Approval::Operator)],
        tries in proptest::collection::vec((0u8..3, 0u8..4, 0i64..400, any::<bool>()), 1..40),
    ) {
        let mut claim = claim(approval);
        let mut now = NOW;
        let mut served = std::collections::HashSet::new();
        for (given, by, hours, approve) in tries {
            now = now.plus_ms(hours * 3_600_000 / 10);
            if approve && claim.key.is_some() {
                claim.approved_at = Some(now);
            }
            let decision = ask(&claim, given, by, now);
            match decision {
                Decision::Issue(first) | Decision::Wait(first, _) => {
                    prop_assert_eq!(given, 1);
                    prop_assert_eq!(first == Use::First, claim.key.is_none());
                    claim.key = Some(key(by));
                    claim.used_at = claim.used_at.or(Some(now));
                }
                Decision::Refuse(Refusal::WrongCode) => claim.failed_tries += 1,
                Decision::Refuse(_) => {}
            }
            if matches!(decision, Decision::Issue(_)) {
                prop_assert!(approval == Approval::Automatic || claim.approved_at.is_some());
                served.insert(by);
            }
        }
        prop_assert!(served.len() <= 1);
    }
}
