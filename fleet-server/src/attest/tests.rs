//! Every line of the table of judgements and states, and what no sequence of events may lead to.

use std::collections::BTreeMap;

use homeward_protocol::attest::{CHALLENGE_MS, Tier, Trust, VERDICT_MS};
use homeward_protocol::evidence::{Component, Evidence, Measured, Profile};
use homeward_protocol::posture::ShortText;
use homeward_protocol::reference::{Good, Measurand, Release};
use homeward_protocol::time::Timestamp;
use proptest::prelude::*;

use super::baseline::Baseline;
use super::record::{Boot, Boots, CLOCK_SLACK_MS, Known, Sending};
use super::reference::Reference;
use super::schedule::{self, AWAY_MS, Asked, Occasion, Present, Ration};
use super::*;

const KEY: [u8; 32] = [1; 32];
const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);
const HOUR_MS: i64 = 3_600_000;

fn evidence() -> Evidence {
    Evidence {
        issued_at_s: 1_795_000_000,
        key: KEY,
        nonce: [2; 32],
        box_id: [3; 16],
        uptime_s: 90,
        boot_count: 4,
        boot_seed: [5; 32],
        profile: Profile::Tpm,
        software: (ShortText::cut("homeward-agent"), ShortText::cut("1.0")),
        measured: vec![Measured {
            component: Component::Agent,
            version: Some(ShortText::cut("1.0")),
            sha256: [7; 32],
        }],
        postures: None,
    }
}

fn registers(four: u8) -> BTreeMap<u8, [u8; 32]> {
    BTreeMap::from([(0, [1; 32]), (2, [2; 32]), (4, [four; 32]), (7, [7; 32])])
}

fn tpm() -> TpmFacts {
    TpmFacts {
        chip: Chip::Known,
        quote: Quote::Holds,
        registers: registers(4),
        log: Log::Replays,
        ima: Ima::Replays,
    }
}

fn reference() -> Reference {
    Reference(vec![Release {
        name: ShortText::cut("1.0"),
        values: vec![
            Good {
                what: Measurand::Component(Component::Agent),
                version: Some(ShortText::cut("1.0")),
                sha256: [7; 32],
            },
            Good {
                what: Measurand::Register(4),
                version: None,
                sha256: [4; 32],
            },
        ],
    }])
}

/// A box that has proved itself before, in all ways.
fn before(tier: Tier) -> Known {
    Known {
        tier: Some(tier),
        key: Some(KEY),
        box_id: Some([3; 16]),
        boots: Boots::new(vec![Boot::of(&evidence())]),
        ..Known::default()
    }
}

/// One line of the table.
struct Line {
    evidence: Evidence,
    tpm: Option<TpmFacts>,
    nonce: Nonce,
    before: Known,
    reference: Reference,
    baseline: Baseline,
    postures: Postures,
    key: [u8; 32],
}

/// In order with a TPM and measured boot.
fn best() -> Line {
    Line {
        evidence: evidence(),
        tpm: Some(tpm()),
        nonce: Nonce::Fresh,
        before: before(Tier::MeasuredBoot),
        reference: reference(),
        baseline: Baseline::learn(&registers(4)),
        postures: Postures::Whole,
        key: KEY,
    }
}

fn judged(line: &Line) -> Verdict {
    let given = Circumstances {
        key: line.key,
        nonce: line.nonce,
        tpm: line.tpm.as_ref(),
        before: &line.before,
        reference: &line.reference,
        baseline: &line.baseline,
        postures: line.postures,
        now: NOW,
    };
    appraise(&line.evidence, &given)
}

fn with_tpm(line: &mut Line, change: impl FnOnce(&mut TpmFacts)) {
    if let Some(tpm) = &mut line.tpm {
        change(tpm);
    }
}

fn software(line: &mut Line) {
    line.evidence.profile = Profile::Software;
    line.tpm = None;
    line.before = before(Tier::Software);
}

type Change = fn(&mut Line);

#[test]
#[expect(clippy::too_many_lines, reason = "a flat table")]
fn each_line_of_the_table_has_its_judgement() {
    use Status::{Affirming, Contraindicated, None as Nothing, Warning};
    let lines: &[(&str, Change, Status, Tier, Option<Why>)] = &[
        (
            "in order, measured boot",
            |_| {},
            Affirming,
            Tier::MeasuredBoot,
            Some(Why::InOrder),
        ),
        (
            "the first time",
            |l| {
                l.before = Known::default();
                l.baseline = Baseline::default();
            },
            Affirming,
            Tier::MeasuredBoot,
            Some(Why::InOrder),
        ),
        (
            "a known chip, and no release says what it should start",
            |l| {
                l.reference = Reference::default();
                l.before = before(Tier::TpmChip);
            },
            Affirming,
            Tier::TpmChip,
            Some(Why::InOrder),
        ),
        (
            "a chip of nobody",
            |l| {
                with_tpm(l, |tpm| tpm.chip = Chip::Nobodys);
                l.before = before(Tier::TpmKey);
            },
            Affirming,
            Tier::TpmKey,
            Some(Why::UnknownChip),
        ),
        (
            "software alone",
            software,
            Warning,
            Tier::Software,
            Some(Why::SoftwareOnly),
        ),
        (
            "software alone, and a TPM profile without its part",
            |l| {
                software(l);
                l.evidence.profile = Profile::Tpm;
            },
            Warning,
            Tier::Software,
            Some(Why::SoftwareOnly),
        ),
        (
            "software alone that was a TPM",
            |l| {
                software(l);
                l.before = before(Tier::TpmKey);
            },
            Contraindicated,
            Tier::Software,
            Some(Why::TierDropped {
                from: Tier::TpmKey,
                to: Tier::Software,
            }),
        ),
        (
            "a chip that has become nobody's",
            |l| {
                with_tpm(l, |tpm| tpm.chip = Chip::Nobodys);
                l.before = before(Tier::TpmChip);
            },
            Contraindicated,
            Tier::TpmKey,
            Some(Why::TierDropped {
                from: Tier::TpmChip,
                to: Tier::TpmKey,
            }),
        ),
        (
            "another key",
            |l| l.key = [9; 32],
            Contraindicated,
            Tier::MeasuredBoot,
            Some(Why::OtherKey),
        ),
        (
            "a wrong number",
            |l| l.nonce = Nonce::Foreign,
            Contraindicated,
            Tier::MeasuredBoot,
            Some(Why::WrongNonce),
        ),
        (
            "a recording",
            |l| l.nonce = Nonce::Used,
            Contraindicated,
            Tier::MeasuredBoot,
            Some(Why::Replayed),
        ),
        (
            "too late",
            |l| l.nonce = Nonce::Late,
            Warning,
            Tier::MeasuredBoot,
            Some(Why::TooLate),
        ),
        (
            "another box under one key",
            |l| l.evidence.box_id = [8; 16],
            Contraindicated,
            Tier::MeasuredBoot,
            Some(Why::OtherBox),
        ),
        (
            "a new key brings a new name",
            |l| {
                l.before.key = Some([6; 32]);
                l.evidence.box_id = [8; 16];
            },
            Affirming,
            Tier::MeasuredBoot,
            Some(Why::InOrder),
        ),
        (
            "a later boot",
            |l| l.evidence.boot_count = 5,
            Affirming,
            Tier::MeasuredBoot,
            Some(Why::InOrder),
        ),
        (
            "boots counted back",
            |l| {
                l.evidence.boot_count = 3;
                l.evidence.boot_seed = [6; 32];
            },
            Warning,
            Tier::MeasuredBoot,
            Some(Why::CountedBack),
        ),
        (
            "two boxes that take turns",
            |l| {
                let (first, mut second) = (Boot::of(&evidence()), Boot::of(&evidence()));
                second.seed += 1;
                l.before.boots = Boots::new(vec![first, second]);
            },
            Contraindicated,
            Tier::MeasuredBoot,
            Some(Why::TwoBoxes),
        ),
        (
            "a quote of another TPM",
            |l| with_tpm(l, |tpm| tpm.quote = Quote::OtherKey),
            Contraindicated,
            Tier::MeasuredBoot,
            Some(Why::QuoteFails(Quote::OtherKey)),
        ),
        (
            "a quote over another number",
            |l| with_tpm(l, |tpm| tpm.quote = Quote::OtherNonce),
            Contraindicated,
            Tier::MeasuredBoot,
            Some(Why::QuoteFails(Quote::OtherNonce)),
        ),
        (
            "registers that are not the quoted ones",
            |l| with_tpm(l, |tpm| tpm.quote = Quote::OtherRegisters),
            Contraindicated,
            Tier::MeasuredBoot,
            Some(Why::QuoteFails(Quote::OtherRegisters)),
        ),
        (
            "a quote that cannot be read",
            |l| with_tpm(l, |tpm| tpm.quote = Quote::Malformed),
            Contraindicated,
            Tier::MeasuredBoot,
            Some(Why::QuoteFails(Quote::Malformed)),
        ),
        (
            "a log that does not fit",
            |l| with_tpm(l, |tpm| tpm.log = Log::Differs),
            Contraindicated,
            Tier::TpmChip,
            Some(Why::LogDiffers),
        ),
        (
            "a log that has not come whole",
            |l| with_tpm(l, |tpm| tpm.log = Log::Incomplete),
            Affirming,
            Tier::MeasuredBoot,
            Some(Why::LogIncomplete),
        ),
        (
            "a program that was tampered with",
            |l| l.evidence.measured[0].sha256 = [8; 32],
            Contraindicated,
            Tier::MeasuredBoot,
            Some(Why::Tampered(Component::Agent)),
        ),
        (
            "a program that was tampered with, software alone",
            |l| {
                software(l);
                l.evidence.measured[0].sha256 = [8; 32];
            },
            Contraindicated,
            Tier::Software,
            Some(Why::Tampered(Component::Agent)),
        ),
        (
            "a version that no release describes",
            |l| l.evidence.measured[0].version = Some(ShortText::cut("2.0")),
            Warning,
            Tier::MeasuredBoot,
            Some(Why::UnknownRelease(Component::Agent)),
        ),
        (
            "a component that no release describes",
            |l| l.evidence.measured[0].component = Component::Kernel,
            Affirming,
            Tier::MeasuredBoot,
            Some(Why::InOrder),
        ),
        (
            "another boot than the release's",
            |l| {
                with_tpm(l, |tpm| tpm.registers = registers(5));
                l.baseline = Baseline::learn(&registers(5));
            },
            Contraindicated,
            Tier::TpmChip,
            Some(Why::OtherBoot(4)),
        ),
        (
            "other firmware",
            |l| l.baseline.0.insert(0, [9; 32]).map_or((), drop),
            Warning,
            Tier::MeasuredBoot,
            Some(Why::FirmwareChanged),
        ),
        (
            "a register left out",
            |l| {
                with_tpm(l, |tpm| {
                    tpm.registers.remove(&7);
                });
            },
            Warning,
            Tier::MeasuredBoot,
            Some(Why::FirmwareChanged),
        ),
        (
            "the kernel's log does not fit",
            |l| with_tpm(l, |t| t.ima = Ima::Differs),
            Contraindicated,
            Tier::MeasuredBoot,
            Some(Why::RunLogDiffers),
        ),
        (
            "files changed while they ran",
            |l| with_tpm(l, |t| t.ima = Ima::Violations(3)),
            Warning,
            Tier::MeasuredBoot,
            Some(Why::Unmeasured(3)),
        ),
        (
            "the kernel measures nothing",
            |l| with_tpm(l, |t| t.ima = Ima::None),
            Affirming,
            Tier::MeasuredBoot,
            Some(Why::InOrder),
        ),
        (
            "our releases are gone",
            |l| l.reference = Reference::default(),
            Nothing,
            Tier::TpmChip,
            Some(Why::NoReference),
        ),
        (
            "a hole in the postures",
            |l| l.postures = Postures::Broken,
            Warning,
            Tier::MeasuredBoot,
            Some(Why::Unproven),
        ),
    ];
    for (what, change, status, tier, why) in lines {
        let mut line = best();
        change(&mut line);
        let verdict = judged(&line);
        assert_eq!(
            (verdict.status, verdict.tier),
            (*status, *tier),
            "{what}: {:?}",
            verdict.why
        );
        assert_eq!(verdict.why.first(), why.as_ref(), "{what}: {:?}", verdict.why);
        assert_eq!(verdict.expires_at, NOW.plus_ms(VERDICT_MS), "{what}");
        assert!(verdict.why.iter().all(|w| !words::why(w).is_empty()));
    }
}

#[test]
fn what_cannot_be_judged_by_its_content_fails_and_a_wrong_signature_at_once() {
    let unreadable = refuse(Why::Unreadable, &Known::default(), NOW);
    assert_eq!(unreadable.status, Status::Contraindicated);
    assert!(!unreadable.is_at_once());
    let unsigned = refuse(Why::BadSignature, &before(Tier::TpmKey), NOW);
    assert!(unsigned.is_at_once());
    assert_eq!(unsigned.tier, Tier::TpmKey);
}

/// A judgement of this status, made at this moment.
fn verdict(status: Status, at: Timestamp) -> Verdict {
    let mut line = best();
    match status {
        Status::Affirming => {}
        Status::Warning => software(&mut line),
        Status::Contraindicated => line.evidence.measured[0].sha256 = [8; 32],
        Status::None => line.reference = Reference::default(),
    }
    let verdict = Verdict {
        issued_at: at,
        expires_at: at.plus_ms(VERDICT_MS),
        ..judged(&line)
    };
    assert_eq!(verdict.status, status);
    verdict
}

fn after(known: &Known, status: Status, at: Timestamp) -> Known {
    known.after(&verdict(status, at), Some(&evidence()), "because")
}

#[test]
fn a_state_is_what_the_record_and_the_time_make_it() {
    let trust = |known: &Known, ms: i64| known.trust(NOW.plus_ms(ms), NOW);
    let empty = Known::default();
    assert_eq!(trust(&empty, 0), Trust::Unknown, "never asked");
    let asked = Known {
        first_asked: Some(NOW),
        ..empty.clone()
    };
    assert_eq!(
        trust(&asked, VERDICT_MS - 1),
        Trust::Unknown,
        "asked, not answered yet"
    );
    assert_eq!(
        trust(&asked, VERDICT_MS),
        Trust::Stale,
        "asked, and silent for too long"
    );
    for (status, fresh, over) in [
        (Status::Affirming, Trust::Trusted, Trust::Stale),
        (Status::Warning, Trust::Warning, Trust::Stale),
        (Status::Contraindicated, Trust::Failed, Trust::Failed),
        (Status::None, Trust::Unknown, Trust::Stale),
    ] {
        let known = after(&empty, status, NOW);
        assert_eq!(trust(&known, 0), fresh, "{status:?}");
        assert_eq!(trust(&known, VERDICT_MS - 1), fresh, "{status:?}");
        assert_eq!(trust(&known, VERDICT_MS), over, "{status:?}");
        assert_eq!(trust(&known, i64::MAX / 4), over, "{status:?}");
        assert_eq!(trust(&known, -CLOCK_SLACK_MS), fresh, "a small step of the clock");
        assert_eq!(
            trust(&known, -CLOCK_SLACK_MS - 1),
            Trust::Unknown,
            "{status:?}: the clock is behind the record"
        );
    }
}

/// A dead chip is nobody's guilt: the box stands as failed while it lasts, is shut off by nothing, and the next evidence
/// decides again.
#[test]
fn a_spare_key_fails_without_shutting_off_and_ends_with_the_next_evidence() {
    let mut known = after(&Known::default(), Status::Affirming, NOW);
    let (tier, good) = (known.tier, known.last_good);
    for hour in 1..50 {
        let at = NOW.plus_ms(hour * 3_600_000);
        known = known.after(&spare(at), None, "spare");
        assert_eq!(known.trust(at, at), Trust::Failed);
        let much_later = at.plus_ms(10 * VERDICT_MS);
        assert_eq!(
            known.trust(much_later, much_later),
            Trust::Failed,
            "it does not age into trust"
        );
        assert_eq!((known.failures, known.quarantine.is_none()), (0, true));
        assert_eq!(
            (known.tier, known.last_good),
            (tier, good),
            "nothing is learned from it"
        );
    }
    let back = NOW.plus_ms(60 * 3_600_000);
    let known = after(&known, Status::Affirming, back);
    assert_eq!(known.trust(back, back), Trust::Trusted);
}

#[test]
fn two_failures_in_a_row_shut_a_gateway_off_and_a_bad_signature_at_once() {
    let once = after(&before(Tier::MeasuredBoot), Status::Contraindicated, NOW);
    assert_eq!(once.quarantine, None);
    let mended = after(&once, Status::Affirming, NOW);
    assert_eq!((mended.failures, mended.trust(NOW, NOW)), (0, Trust::Trusted));
    let of_ours = after(&once, Status::None, NOW);
    assert_eq!(
        of_ours.failures, 1,
        "a fault of ours is neither a failure nor a mending"
    );
    let twice = after(&of_ours, Status::Contraindicated, NOW.plus_ms(5));
    let quarantine = twice.quarantine.clone().expect("shut off");
    assert_eq!(
        (quarantine.since, quarantine.why.as_str()),
        (NOW.plus_ms(5), "because")
    );
    let at_once = before(Tier::MeasuredBoot).after(&refuse(Why::BadSignature, &twice, NOW), None, "a key");
    assert!(at_once.quarantine.is_some());
    // Good evidence does not open it, and a person alone does not make it good.
    let good = after(&twice, Status::Affirming, NOW);
    assert_eq!(good.trust(NOW, NOW), Trust::Failed);
    assert_eq!(good.opened().trust(NOW, NOW), Trust::Trusted);
    assert_eq!(twice.opened().trust(NOW, NOW), Trust::Failed);
}

#[test]
fn a_tier_only_rises_by_evidence_and_falls_by_a_person() {
    let chip = after(&before(Tier::TpmKey), Status::Affirming, NOW);
    assert_eq!(chip.tier, Some(Tier::MeasuredBoot));
    let mut dropped = best();
    software(&mut dropped);
    dropped.before = chip.clone();
    let failed = chip.after(&judged(&dropped), Some(&dropped.evidence), "less");
    assert_eq!(
        failed.tier,
        Some(Tier::MeasuredBoot),
        "a failure does not lower what is expected"
    );
    dropped.before = failed.retiered(Tier::Software).opened();
    assert_eq!(judged(&dropped).status, Status::Warning);
}

#[test]
fn quarantine_stops_policies_and_secrets_and_nothing_that_readings_and_alarms_need() {
    let shut = after(
        &after(&before(Tier::MeasuredBoot), Status::Contraindicated, NOW),
        Status::Contraindicated,
        NOW,
    );
    let stopped: Vec<Sending> = Sending::ALL
        .into_iter()
        .filter(|what| !what.may_go(shut.quarantine.as_ref()))
        .collect();
    assert_eq!(stopped, [Sending::Policy, Sending::Secret]);
    assert!(Sending::ALL.into_iter().all(|what| what.may_go(None)));
}

#[test]
fn boots_tell_a_box_that_was_put_back_from_two_boxes() {
    use super::record::BootOrder::{Alternates, Back, Next, Same};
    let boot = |count, seed| Boot { count, seed };
    let mut boots = Boots::default();
    for (next, order) in [
        (boot(1, 10), Next),
        (boot(1, 10), Same),
        (boot(2, 20), Next),
        (boot(1, 11), Back),
        (boot(2, 21), Next),
        (boot(2, 20), Alternates),
        (boot(9, 90), Next),
    ] {
        assert_eq!(boots.judge(next), order, "{next:?}");
        boots = boots.with(next);
    }
    assert_eq!(Boots::from_text(&boots.text()), Some(boots));
    assert_eq!(Boots::from_text("1:zz"), None);
    let many = Boots::new((0..20).map(|n| boot(n, n)).collect());
    assert_eq!(many.judge(boot(19, 19)), Same);
    assert_eq!(many.judge(boot(12, 12)), Alternates);
    assert_eq!(
        many.judge(boot(11, 11)),
        Back,
        "forgotten, and still no step forward"
    );
}

fn present(since: Timestamp) -> Present {
    Present { since, left: None }
}

#[test]
fn a_gateway_is_asked_at_once_after_a_return_else_daily_and_again_when_it_is_silent() {
    let at = |ms| NOW.plus_ms(ms);
    let due = |asked: &Asked, present, ms| schedule::due(asked, present, at(ms));
    assert_eq!(due(&Asked::default(), present(NOW), 0), Some(Occasion::First));
    let answered = Asked {
        last: Some(NOW),
        answered: Some(NOW),
        next: Some(schedule::next(0, false, NOW)),
        ..Asked::default()
    };
    let here = present(at(-1));
    assert_eq!(due(&answered, here, 18 * HOUR_MS - 1), None);
    assert_eq!(due(&answered, here, 18 * HOUR_MS), Some(Occasion::Daily));
    let back = |away_ms| Present {
        since: at(2 * HOUR_MS),
        left: Some(at(2 * HOUR_MS - away_ms)),
    };
    assert_eq!(due(&answered, back(AWAY_MS), 2 * HOUR_MS), None);
    assert_eq!(
        due(&answered, back(AWAY_MS + 1), 2 * HOUR_MS),
        Some(Occasion::Return)
    );
    let wished = Asked {
        wished: Some(at(20_000)),
        ..answered
    };
    assert_eq!(due(&wished, here, 20_000), Some(Occasion::Person));
    assert_eq!(
        due(&wished, here, 9999),
        None,
        "not faster than every ten seconds"
    );
    for (unanswered, wait_ms) in [
        (1, CHALLENGE_MS),
        (2, 2 * CHALLENGE_MS),
        (3, 4 * CHALLENGE_MS),
        (9, HOUR_MS),
    ] {
        let silent = Asked {
            unanswered,
            ..answered
        };
        assert_eq!(due(&silent, here, wait_ms - 1), None, "{unanswered}");
        assert_eq!(due(&silent, here, wait_ms), Some(Occasion::Again), "{unanswered}");
        assert_eq!(
            due(&silent, present(at(30_000)), 31_000),
            Some(Occasion::Again),
            "the challenge went with its connection"
        );
    }
}

#[test]
fn the_pause_is_a_day_a_quarter_more_or_less_and_a_judgement_outlasts_it() {
    let hours = |dice| (schedule::next(dice, false, NOW).ms - NOW.ms) / HOUR_MS;
    assert_eq!((hours(0), hours(500_000), hours(1_000_000)), (18, 24, 30));
    const { assert!(VERDICT_MS > 33 * HOUR_MS, "there is time to try again") };
    assert_eq!(schedule::next(7, true, NOW).ms - NOW.ms, 60_000);
    let _ = schedule::next(u64::MAX, false, Timestamp::synced(i64::MAX));
}

#[test]
fn a_fleet_that_comes_back_together_is_asked_in_turn() {
    let mut ration = Ration::new(NOW);
    let mut left: usize = 5000;
    let mut seconds: usize = 0;
    while left > 0 {
        let free = ration.free(NOW.plus_ms(i64::try_from(seconds).expect("small") * 1000));
        assert!(free <= 100, "{free} at once");
        ration.take(free.min(left));
        left -= free.min(left);
        seconds += 1;
    }
    assert!((90..=110).contains(&seconds), "{seconds} s");
    assert_eq!(ration.free(NOW), 0, "a clock that goes back gives nothing");
}

/// What can happen to a gateway.
#[derive(Debug, Clone, Copy)]
enum Event {
    Evidence(Status),
    BadSignature,
    /// It comes in with its spare key.
    Spare,
    Opened,
    Retiered,
    /// The server stops and reads the record again.
    Restart,
    /// Time passes; also backwards.
    Wait(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => prop::sample::select(vec![Status::None, Status::Affirming, Status::Warning, Status::Contraindicated])
            .prop_map(Event::Evidence),
        1 => Just(Event::BadSignature),
        1 => Just(Event::Spare),
        1 => Just(Event::Opened),
        1 => Just(Event::Retiered),
        2 => Just(Event::Restart),
        4 => prop_oneof![-2 * VERDICT_MS..2 * VERDICT_MS, -120_000_i64..120_000].prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn nothing_leads_out_of_failed_but_evidence_and_a_person_and_nothing_keeps_trusted_past_its_end(
        events in prop::collection::vec(event(), 1..40)
    ) {
        let (mut known, mut now, mut newest) = (Known::default(), NOW, NOW);
        let (mut good_at, mut shut) = (None::<Timestamp>, false);
        for event in events {
            let was = known.trust(now, newest);
            match event {
                Event::Evidence(status) => {
                    known = after(&known, status, now);
                    newest = newest.ms.max(now.ms).pipe(Timestamp::synced);
                    good_at = (status == Status::Affirming).then_some(now);
                    shut |= known.quarantine.is_some();
                }
                Event::BadSignature => {
                    known = known.after(&refuse(Why::BadSignature, &known, now), None, "a key");
                    newest = newest.ms.max(now.ms).pipe(Timestamp::synced);
                    good_at = None;
                    shut = true;
                }
                Event::Spare => {
                    let failures = known.failures;
                    known = known.after(&spare(now), None, "spare");
                    newest = newest.ms.max(now.ms).pipe(Timestamp::synced);
                    prop_assert_eq!(known.failures, failures);
                    good_at = None;
                }
                Event::Opened => {
                    known = known.opened();
                    shut = false;
                }
                Event::Retiered => known = known.retiered(Tier::Software),
                Event::Restart => known = kept(&known),
                Event::Wait(ms) => now = now.plus_ms(ms),
            }
            let is = known.trust(now, newest);
            if is == Trust::Trusted {
                let at = good_at.expect("fresh evidence in order stands behind it");
                prop_assert!(now.ms < at.ms + VERDICT_MS, "past its end");
                prop_assert!(!shut, "only a person opens it");
            }
            if was == Trust::Failed && is != Trust::Failed && !matches!(event, Event::Wait(_)) {
                prop_assert!(matches!(event, Event::Evidence(_) | Event::Opened), "{event:?}");
            }
        }
    }
}

/// What the store gives back of a record: nothing but what is written down.
fn kept(known: &Known) -> Known {
    Known {
        boots: Boots::from_text(&known.boots.text()).expect("reads"),
        newest: known.newest.map(|n| record::Newest {
            status: n.status.name().parse().expect("reads"),
            ..n
        }),
        tier: known.tier.and_then(|t| Tier::from_name(t.name())),
        ..known.clone()
    }
}

trait Pipe: Sized {
    fn pipe<T>(self, to: impl FnOnce(Self) -> T) -> T {
        to(self)
    }
}

impl Pipe for i64 {}
