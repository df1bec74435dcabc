//! Bad releases in simulated fleets, and the rules one by one.

use super::plan::{Candidate, Ring, Seed};
use super::*;
use crate::care::Dependency;

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);
const HOUR: i64 = 3_600_000;

fn rules() -> Rules {
    Rules {
        soak: Duration::from_hours(24),
        confirmed_percent: 90,
        failed_percent: 1,
        act_within: Duration::from_hours(1),
        deadline: NOW.plus_ms(60 * 24 * HOUR),
    }
}

/// A draw that is the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

fn fleet(size: usize, dice: &mut Dice) -> Vec<Candidate> {
    let home = |n: usize| {
        let dependency = match dice.roll(10) {
            0..=1 => Some(Dependency::High),
            2..=4 => Some(Dependency::Medium),
            5 => None,
            _ => Some(Dependency::Low),
        };
        let ring = match n {
            0..=2 => Ring::Lab,
            3..=9 => Ring::Own,
            _ => Ring::Patient,
        };
        Candidate {
            gateway: format!("gw-{n}").parse().expect("an id"),
            ring,
            dependency,
        }
    };
    (0..size).map(home).collect()
}

fn seed(of: u64) -> Seed {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&of.to_be_bytes());
    Seed(bytes)
}

/// What becomes of a release that fails in so many of a hundred homes.
struct Outcome {
    touched: usize,
    high: usize,
    unended: usize,
    still_installed: usize,
    state: State,
}

/// Boxes act within hours, or one in `slow` each hour, are offline now and then, and say what the release does to them; after
/// a halt they are told to go back, and go when they hear it.
fn release(homes: &[Candidate], of: u64, bad_percent: u64, slow: u64) -> Outcome {
    let mut dice = Dice(of);
    let plan = Plan::new(&seed(of), homes);
    let depends =
        |home: &&Candidate| home.ring != Ring::Lab && home.dependency.is_none_or(|d| d == Dependency::High);
    let (mut campaign, first) = Campaign::start(&plan, rules(), NOW);
    let mut touched = Vec::new();
    let mut inbox: Vec<Effect> = first;
    let mut now = NOW;
    while !inbox.is_empty() || (matches!(campaign.state(), State::Running) && now.ms < rules().deadline.ms) {
        now = now.plus_ms(HOUR);
        let mut next = Vec::new();
        for effect in std::mem::take(&mut inbox) {
            let (Effect::Assign(id) | Effect::TakeBack(id)) = &effect else {
                continue;
            };
            if dice.roll(4) == 0 {
                next.extend(campaign.hear(id, Event::Waits(Waits::Offline), now));
                next.push(effect);
                continue;
            }
            if matches!(effect, Effect::TakeBack(_)) {
                next.extend(campaign.hear(id, Event::IsBack, now));
                continue;
            }
            let wave = campaign.wave_of[id];
            if !matches!(campaign.waves[&wave][id].step, Step::Assigned | Step::Waiting(_)) {
                continue;
            }
            if dice.roll(slow) != 0 {
                next.extend(campaign.hear(id, Event::Waits(Waits::Quiet), now));
                next.push(effect);
                continue;
            }
            touched.push(id.clone());
            next.extend(campaign.hear(id, Event::Acts, now));
            let fate = if dice.roll(100) < bad_percent {
                match dice.roll(3) {
                    0 => None,
                    1 => Some(Event::NotProven),
                    _ => Some(Event::Bad),
                }
            } else {
                Some(Event::Confirms)
            };
            if let Some(said) = fate {
                next.extend(campaign.hear(id, said, now));
            }
        }
        next.extend(campaign.tick(now));
        inbox = next;
    }
    touched.sort_unstable();
    touched.dedup();
    let halted = !matches!(campaign.state(), State::Done);
    Outcome {
        high: homes
            .iter()
            .filter(depends)
            .filter(|home| touched.binary_search(&home.gateway).is_ok())
            .count(),
        touched: touched.len(),
        unended: campaign.steps().filter(|(_, _, step)| !step.has_ended()).count(),
        still_installed: campaign
            .steps()
            .filter(|(_, _, step)| halted && step.may_run_it())
            .count(),
        state: campaign.state().clone(),
    }
}

#[test]
fn a_bad_release_reaches_one_home_in_a_hundred_none_that_depends_on_it_and_is_taken_back() {
    let homes = fleet(10_000, &mut Dice(7));
    for of in 0..1_000 {
        let bad = 20 + of % 81;
        // In each fourth fleet most homes wait for days.
        let slow = if of % 4 == 0 { 48 } else { 1 };
        let outcome = release(&homes, of, bad, slow);
        assert!(
            matches!(outcome.state, State::Halted(_)),
            "seed {of}: {:?}",
            outcome.state
        );
        assert!(outcome.touched <= 100, "seed {of}: {} homes", outcome.touched);
        assert_eq!(
            (outcome.high, outcome.unended, outcome.still_installed),
            (0, 0, 0),
            "seed {of}"
        );
    }
}

/// Of the homes that are well with the release, so many per cent die after it; of all others, and of those as well, one in a
/// hundred is dark for some hours now and then.
fn deadly((homes, plan): (usize, &Plan), of: u64, dies_percent: u64, days: i64) -> (Campaign, usize) {
    const STEP: i64 = 4 * HOUR;
    let mut dice = Dice(of);
    let rules = Rules {
        deadline: NOW.plus_ms(days * 24 * HOUR),
        ..rules()
    };
    let (mut campaign, mut inbox) = Campaign::start(plan, rules, NOW);
    campaign.sees(Around {
        homes: homes / 2,
        dark: homes / 200,
    });
    let (mut now, mut touched) = (NOW, 0);
    // Who dies, and who is only dark: when that is found, and until when.
    let mut silent: Vec<(GatewayId, Timestamp, Option<Timestamp>)> = Vec::new();
    while campaign.state == State::Running {
        now = now.plus_ms(STEP);
        let mut next = Vec::new();
        for effect in std::mem::take(&mut inbox) {
            let Effect::Assign(id) = &effect else { continue };
            touched += 1;
            next.extend(campaign.hear(id, Event::Acts, now));
            next.extend(campaign.hear(id, Event::Confirms, now));
            let after = |hours: u64| now.plus_ms(i64::try_from(hours).expect("few") * STEP);
            let found = after(1 + dice.roll(5));
            if dice.roll(100) < dies_percent {
                silent.push((id.clone(), found, None));
            } else if dice.roll(100) == 0 {
                silent.push((id.clone(), found, Some(found.plus_ms(STEP))));
            }
        }
        for (id, found, until) in &silent {
            if found.ms == now.ms {
                campaign.note(id, Event::Away, now);
            } else if until.is_some_and(|until| until.ms == now.ms) {
                campaign.note(id, Event::There, now);
            }
        }
        next.extend(campaign.tick(now));
        inbox = next;
    }
    (campaign, touched)
}

/// The homes that are told to take it.
fn told(effects: &[Effect]) -> Vec<GatewayId> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Assign(id) => Some(id.clone()),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_release_that_kills_boxes_after_they_were_well_stops_at_one_home_in_a_hundred_for_a_person() {
    let homes = fleet(10_000, &mut Dice(7));
    // To draw places costs more than all that follows: a few drawings do.
    let plans: Vec<Plan> = (0..20).map(|of| Plan::new(&seed(of), &homes)).collect();
    for of in 0..1_000 {
        let plan = &plans[usize::try_from(of).expect("few") % plans.len()];
        let (campaign, touched) = deadly((homes.len(), plan), of, 10 + of % 91, 8);
        let (few, open) = (
            campaign.open() <= Some(Wave::Own),
            campaign.open() <= Some(Wave::Canary),
        );
        let stopped = matches!(campaign.state(), State::Dark(_));
        // One of the laboratory's three, or of our own seven, may be chance; and no further wave opens.
        let dark = campaign
            .steps()
            .filter(|(_, wave, step)| Some(*wave) == campaign.open() && matches!(step, Step::Dark { .. }));
        assert!(
            stopped || few && dark.count() == 1,
            "seed {of}: {:?}",
            campaign.state()
        );
        assert!(open && touched <= 100, "seed {of}: {touched} homes");
        let taken_back = campaign.steps().filter(|(_, _, step)| *step == Step::TakenBack);
        assert_eq!(
            taken_back.count(),
            0,
            "seed {of}: those who are well are left alone"
        );
    }
}

#[test]
fn homes_that_are_dark_as_many_are_elsewhere_stop_nothing() {
    let homes = fleet(1_000, &mut Dice(7));
    for of in 0..20 {
        let plan = Plan::new(&seed(of), &homes);
        let (campaign, touched) = deadly((homes.len(), &plan), of, 0, 15);
        assert_eq!(*campaign.state(), State::Done, "seed {of}");
        assert_eq!(touched, 1_000 - plan.count(Wave::Named), "seed {of}");
    }
}

#[test]
fn who_lets_it_go_on_has_looked_at_the_homes_that_are_dark_and_each_further_one_stops_it_again() {
    let mut homes = fleet(400, &mut Dice(1));
    for home in &mut homes {
        (home.ring, home.dependency) = (Ring::Patient, Some(Dependency::Low));
    }
    let (mut campaign, first) = Campaign::start(&Plan::new(&seed(1), &homes), rules(), NOW);
    campaign.sees(Around { homes: 300, dark: 3 });
    let told = told(&first);
    assert_eq!(told.len(), 4);
    for id in &told {
        campaign.hear(id, Event::Acts, NOW);
        campaign.hear(id, Event::Confirms, NOW);
    }
    // One of four is as many as are dark elsewhere, rounded up.
    let later = NOW.plus_ms(2 * HOUR);
    assert_eq!(campaign.hear(&told[0], Event::Away, later), []);
    let stops = campaign.hear(&told[1], Event::Away, later);
    let Some(Effect::Stopped(why)) = stops.first() else {
        panic!("{stops:?}");
    };
    assert!(
        why.contains("2 of 4") && why.contains("of 300 homes without it 3"),
        "{why}"
    );
    assert_eq!(campaign.resume(later), Ok(Vec::new()));
    assert_eq!(campaign.hear(&told[2], Event::Away, later), []);
    let again = campaign.hear(&told[3], Event::Away, later);
    assert!(matches!(again.first(), Some(Effect::Stopped(_))), "{again:?}");
    // One that went dark after its soak is no sign of the release.
    campaign.resume(later).expect("it was stopped");
    campaign.hear(&told[3], Event::There, later);
    let much_later = later.plus_ms(40 * HOUR);
    campaign.hear(&told[3], Event::Away, much_later);
    let step = campaign.home(&told[3]).expect("it is there").step;
    assert!(matches!(step, Step::Away { .. }), "{step:?}");
}

/// A release that kills boxes is silent first; what fails then is proof, and nobody is awake to hear that it stopped.
#[test]
fn one_that_stopped_by_itself_still_halts_when_it_is_proved_to_be_bad_and_one_that_a_person_stopped_does_not()
{
    let mut homes = fleet(400, &mut Dice(1));
    for home in &mut homes {
        (home.ring, home.dependency) = (Ring::Patient, Some(Dependency::Low));
    }
    for person in [false, true] {
        let (mut campaign, first) = Campaign::start(&Plan::new(&seed(1), &homes), rules(), NOW);
        campaign.sees(Around { homes: 300, dark: 0 });
        let told = told(&first);
        for id in &told {
            campaign.hear(id, Event::Acts, NOW);
        }
        campaign.hear(&told[0], Event::Confirms, NOW);
        campaign.hear(&told[1], Event::Confirms, NOW);
        campaign.hear(&told[0], Event::Away, NOW.plus_ms(1));
        assert!(
            matches!(campaign.state(), State::Dark(_)),
            "{:?}",
            campaign.state()
        );
        if person {
            campaign.pause("we look at it in the morning");
        }
        // One that came back without proof says so at each look; it is asked once more before it counts.
        for look in 0..3 {
            let effects = campaign.hear(&told[3], Event::NotProven, NOW.plus_ms(2 + look));
            assert_eq!(effects, [], "{:?}", campaign.state());
        }
        let effects = campaign.hear(&told[2], Event::Bad, NOW.plus_ms(2));
        let halts = matches!(campaign.state(), State::Halted(_));
        let takes_back = effects.contains(&Effect::TakeBack(told[1].clone()));
        assert_eq!(
            (halts, takes_back),
            (!person, !person),
            "{:?}: {effects:?}",
            campaign.state()
        );
    }
}

#[test]
fn a_good_release_reaches_everybody_but_those_who_need_a_person() {
    let homes = fleet(1_000, &mut Dice(7));
    let outcome = release(&homes, 1, 0, 1);
    assert_eq!(outcome.state, State::Done);
    let plan = Plan::new(&seed(1), &homes);
    assert_eq!(outcome.touched, 1_000 - plan.count(Wave::Named));
    assert_eq!((outcome.high, outcome.unended), (0, 0));
}

#[test]
fn a_few_who_are_quick_do_not_speak_for_a_wave_that_waits() {
    let mut homes = fleet(300, &mut Dice(1));
    for home in &mut homes {
        (home.ring, home.dependency) = (Ring::Patient, Some(Dependency::Low));
    }
    let (mut campaign, first) = Campaign::start(&Plan::new(&seed(1), &homes), rules(), NOW);
    let canaries = told(&first);
    assert_eq!(canaries.len(), 3);
    let well = |campaign: &mut Campaign, id: &GatewayId, now| {
        campaign.hear(id, Event::Acts, now);
        campaign.hear(id, Event::Confirms, now)
    };
    well(&mut campaign, &canaries[0], NOW);
    let later = NOW.plus_ms(30 * 24 * HOUR);
    assert!(
        campaign.tick(later).is_empty(),
        "one of three is not enough, however long it is well"
    );
    let shown = |campaign: &Campaign| {
        campaign
            .shown()
            .map(|shown| (shown.wave, shown.well, shown.needed))
    };
    assert_eq!(shown(&campaign), Some((Wave::Canary, 1, 2)));
    // One is out of service: half of two is one.
    let opened = campaign.hear(&canaries[1], Event::Gone, later);
    assert_eq!(opened.first(), Some(&Effect::Opened(Wave::Tenth)));
    assert_eq!(shown(&campaign), Some((Wave::Tenth, 0, 14)));
}

#[test]
fn a_home_that_was_left_to_a_person_and_had_begun_has_its_time_and_counts_before_the_others_have_come() {
    let mut homes = fleet(30, &mut Dice(1));
    for home in &mut homes {
        (home.ring, home.dependency) = (Ring::Patient, Some(Dependency::Low));
    }
    let plan = Plan::new(&seed(1), &homes);
    for event in [None, Some(Event::Bad), Some(Event::Unwell)] {
        let (mut campaign, first) = Campaign::start(&plan, rules(), NOW);
        let Some(Effect::Assign(told)) = first.get(1) else {
            panic!("{first:?}");
        };
        let left = campaign.note(told, Event::DependedOn, NOW);
        assert_eq!(left, [Effect::Keep(told.clone())]);
        campaign.hear(told, Event::Acts, NOW);
        assert_eq!(campaign.home(told).expect("it is there").wave, Wave::Named);
        assert!(campaign.open() < Some(Wave::Rest));
        let effects = match event {
            Some(event) => campaign.hear(told, event, NOW),
            None => campaign.tick(NOW.plus_ms(HOUR)),
        };
        let halted = effects.iter().any(|effect| matches!(effect, Effect::Halted(_)));
        assert!(halted, "{event:?}: {effects:?}");
    }
}

#[test]
fn at_its_deadline_nobody_begins_any_more_and_those_who_began_are_watched_to_the_end() {
    let mut homes = fleet(300, &mut Dice(1));
    for home in &mut homes {
        (home.ring, home.dependency) = (Ring::Patient, Some(Dependency::Low));
    }
    let plan = Plan::new(&seed(1), &homes);
    let deadline = rules().deadline;
    let begin = |campaign: &mut Campaign, first: Vec<Effect>, at: Timestamp| {
        let told = told(&first);
        for id in &told {
            campaign.hear(id, Event::Acts, at);
            campaign.hear(id, Event::Confirms, at);
        }
        told
    };
    // The canaries confirm an hour before the deadline.
    let (mut campaign, first) = Campaign::start(&plan, rules(), NOW);
    let told = begin(&mut campaign, first, deadline.plus_ms(-HOUR));
    let left = campaign.tick(deadline);
    assert_eq!((campaign.state(), left.as_slice()), (&State::Running, &[][..]));
    let open = campaign.open();
    assert!(
        campaign
            .steps()
            .all(|(_, wave, step)| wave == Wave::Canary || step == Step::LeftOut)
    );
    assert_eq!(campaign.tick(deadline.plus_ms(22 * HOUR)), []);
    // One of them fails after the deadline: that halts, and takes back.
    let halted = campaign.hear(&told[0], Event::Unwell, deadline.plus_ms(22 * HOUR));
    assert!(
        halted.iter().any(|effect| matches!(effect, Effect::Halted(_))),
        "{halted:?}"
    );
    // None of them fails: it is over when they were watched, and no further wave opened.
    let (mut campaign, first) = Campaign::start(&plan, rules(), NOW);
    let told = begin(&mut campaign, first, deadline.plus_ms(-HOUR));
    campaign.tick(deadline);
    assert_eq!(campaign.tick(deadline.plus_ms(23 * HOUR)), [Effect::Done]);
    assert_eq!(campaign.open(), open);
    assert_eq!(
        campaign.home(&told[0]).expect("it is there").step.name().0,
        "confirmed"
    );
    // What is left of its time is too short for a wave, or for one more try.
    let (mut campaign, first) = Campaign::start(&plan, rules(), NOW);
    begin(&mut campaign, first, deadline.plus_ms(-49 * HOUR));
    assert_eq!(campaign.tick(deadline.plus_ms(-24 * HOUR)), []);
    assert_eq!(campaign.open(), open);
    let (mut campaign, first) = Campaign::start(&plan, rules(), NOW);
    let Some(Effect::Assign(one)) = first.get(1) else {
        panic!("{first:?}");
    };
    campaign.hear(one, Event::Acts, deadline.plus_ms(-1));
    campaign.tick(deadline);
    assert_eq!(campaign.note(one, Event::NotProven, deadline), []);
    assert_eq!(campaign.home(one).expect("it is there").step, Step::Returned);
    // One that had not heard that it should not begin is watched, too.
    let Some(Effect::Assign(late)) = first.get(2) else {
        panic!("{first:?}");
    };
    let (mut campaign, _) = Campaign::start(&plan, rules(), NOW);
    campaign.hear(one, Event::Acts, deadline.plus_ms(-1));
    campaign.tick(deadline);
    campaign.hear(late, Event::Acts, deadline);
    let silent = campaign.tick(deadline.plus_ms(HOUR));
    assert!(matches!(silent.first(), Some(Effect::Halted(_))), "{silent:?}");
    assert_eq!(campaign.home(late).expect("it is there").step, Step::TakenBack);
}

#[test]
fn one_that_does_not_go_back_ends_as_that_and_may_come_back_after_all() {
    let homes = fleet(3, &mut Dice(1));
    let (mut campaign, _) = Campaign::start(&Plan::new(&seed(1), &homes), rules(), NOW);
    let first = &homes[0].gateway;
    campaign.hear(first, Event::Acts, NOW);
    campaign.abort("it is not wanted");
    campaign.hear(first, Event::Stuck, NOW);
    let step = campaign.home(first).expect("it is there").step;
    assert!(step == Step::Stuck && step.has_ended() && step.is_bad() && step.may_run_it());
    assert_eq!(campaign.hear(first, Event::Confirms, NOW), []);
    assert_eq!(campaign.home(first).expect("it is there").step, Step::Stuck);
    campaign.hear(first, Event::IsBack, NOW);
    assert_eq!(campaign.home(first).expect("it is there").step, Step::Returned);
}

#[test]
fn a_small_fleet_has_a_canary_and_a_box_finds_its_own_wave() {
    for size in [1, 2, 11, 12, 40, 99, 100, 2_500] {
        let mut homes = fleet(size, &mut Dice(3));
        for home in &mut homes {
            home.ring = Ring::Patient;
        }
        let plan = Plan::new(&seed(5), &homes);
        let eligible = size - plan.count(Wave::Named);
        let canaries = plan.count(Wave::Canary);
        assert_eq!(canaries, (size / 100).max(1).min(eligible), "of {size}");
        for home in &homes {
            let found = plan.cuts.wave(&seed(5), home);
            let listed = plan.homes().find(|(id, _)| **id == home.gateway);
            assert_eq!(listed.map(|(_, wave)| *wave), Some(found));
        }
    }
}

#[test]
fn a_box_that_went_back_without_proof_is_asked_once_more() {
    let homes = fleet(3, &mut Dice(1));
    let plan = Plan::new(&seed(1), &homes);
    let (mut campaign, _) = Campaign::start(&plan, rules(), NOW);
    let first = &homes[0].gateway;
    campaign.hear(first, Event::Acts, NOW);
    let again = campaign.hear(first, Event::NotProven, NOW);
    assert_eq!(again, [Effect::Assign(first.clone())]);
    campaign.hear(first, Event::Acts, NOW);
    let halted = campaign.hear(first, Event::NotProven, NOW);
    assert!(matches!(halted.first(), Some(Effect::Halted(_))), "{halted:?}");
}

#[test]
fn one_that_acts_and_is_silent_has_failed_until_it_speaks() {
    let homes = fleet(3, &mut Dice(1));
    let (mut campaign, _) = Campaign::start(&Plan::new(&seed(1), &homes), rules(), NOW);
    let first = &homes[0].gateway;
    campaign.hear(first, Event::Acts, NOW);
    assert!(campaign.tick(NOW.plus_ms(HOUR - 1)).is_empty());
    let effects = campaign.tick(NOW.plus_ms(HOUR));
    let keep = |n: usize| Effect::Keep(homes[n].gateway.clone());
    let expected = [Effect::TakeBack(first.clone()), keep(1), keep(2)];
    assert_eq!(effects[1..], expected, "{effects:?}");
    assert!(
        campaign.resume(NOW).is_err(),
        "what was taken back does not go on"
    );
}

#[test]
fn a_paused_campaign_opens_nothing_and_takes_nothing_back() {
    let homes = fleet(300, &mut Dice(1));
    let (mut campaign, first) = Campaign::start(&Plan::new(&seed(1), &homes), rules(), NOW);
    campaign.pause("a holiday");
    let mut now = NOW;
    for effect in first {
        if let Effect::Assign(id) = effect {
            campaign.hear(&id, Event::Acts, now);
            assert!(campaign.hear(&id, Event::Confirms, now).is_empty());
        }
    }
    now = now.plus_ms(48 * HOUR);
    assert!(campaign.tick(now).is_empty());
    let effects = campaign.resume(now).expect("it was paused");
    assert_eq!(effects.first(), Some(&Effect::Opened(Wave::Own)));
    let aborted = campaign.abort("another one is better");
    let back = aborted
        .iter()
        .filter(|effect| matches!(effect, Effect::TakeBack(_)));
    assert_eq!(back.count(), 3, "the laboratory's three go back: {aborted:?}");
}

#[test]
fn only_a_person_opens_a_home_of_high_dependency() {
    let mut homes = fleet(2, &mut Dice(1));
    homes[0].ring = Ring::Patient;
    homes[0].dependency = Some(Dependency::High);
    homes[1].ring = Ring::Patient;
    homes[1].dependency = Some(Dependency::Low);
    let (mut campaign, _) = Campaign::start(&Plan::new(&seed(1), &homes), rules(), NOW);
    let (high, low) = (&homes[0].gateway, &homes[1].gateway);
    assert!(campaign.open_named(high, NOW).is_err(), "the others come first");
    campaign.hear(low, Event::Acts, NOW);
    campaign.hear(low, Event::Confirms, NOW);
    let later = NOW.plus_ms(24 * HOUR);
    campaign.tick(later);
    assert_eq!(campaign.open(), Some(Wave::Rest));
    assert_eq!(campaign.open_named(high, later), Ok(Effect::Assign(high.clone())));
    assert!(campaign.open_named(high, later).is_err(), "once");
    assert!(campaign.open_named(low, later).is_err());
}

#[test]
fn those_who_depend_on_it_come_when_all_others_have_been_well_and_not_when_their_wave_has_opened() {
    let mut homes = fleet(30, &mut Dice(1));
    for home in &mut homes {
        (home.ring, home.dependency) = (Ring::Patient, Some(Dependency::Low));
    }
    homes[0].dependency = Some(Dependency::High);
    let high = homes[0].gateway.clone();
    let (mut campaign, _) = Campaign::start(&Plan::new(&seed(1), &homes), rules(), NOW);
    let mut now = NOW;
    while campaign.open() != Some(Wave::Rest) {
        let told: Vec<GatewayId> = campaign
            .steps()
            .filter(|(_, _, step)| step.is_told())
            .map(|(id, ..)| id.clone())
            .collect();
        for id in told {
            campaign.hear(&id, Event::Acts, now);
            campaign.hear(&id, Event::Confirms, now);
        }
        now = now.plus_ms(25 * HOUR);
        campaign.tick(now);
    }
    let last: Vec<GatewayId> = campaign.waves[&Wave::Rest].keys().cloned().collect();
    assert!(last.len() > 5);
    assert!(campaign.open_named(&high, now).is_err());
    for id in &last {
        campaign.hear(id, Event::Acts, now);
        campaign.hear(id, Event::Confirms, now);
        assert!(campaign.open_named(&high, now).is_err(), "they are watched first");
    }
    now = now.plus_ms(24 * HOUR);
    // Nine in ten of those that acted have to be well, and heard.
    for id in last.iter().take(last.len() / 5 + 1) {
        campaign.note(id, Event::Away, now);
    }
    assert!(campaign.open_named(&high, now).is_err());
    for id in &last {
        campaign.note(id, Event::There, now);
    }
    assert!(
        campaign.open_named(&high, now).is_err(),
        "who is back is watched first"
    );
    now = now.plus_ms(2 * HOUR);
    assert_eq!(campaign.open_named(&high, now), Ok(Effect::Assign(high.clone())));
}

#[test]
fn however_many_of_our_own_people_there_are_few_of_them_come_first() {
    let mut homes = fleet(10_000, &mut Dice(1));
    for home in &mut homes[..400] {
        home.ring = Ring::Own;
    }
    for of in 0..100 {
        let plan = Plan::new(&seed(of), &homes);
        let first = plan.count(Wave::Lab) + plan.count(Wave::Own) + plan.count(Wave::Canary);
        assert!(first <= 101, "{first} of ten thousand, seed {of}");
        let outcome = release(&homes, of, 100, 1);
        assert!(outcome.touched <= 100, "seed {of}: {} homes", outcome.touched);
    }
}

mod script;

use proptest::prelude::*;
use script::Show;

/// What an operator sees of a campaign, script by script, and the same when the server crashes in each look.
#[test]
#[expect(clippy::disallowed_methods, reason = "tests: golden files")]
fn scripts_read_as_their_transcripts_also_when_the_server_crashes_in_each_look() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/campaigns");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("scripts")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "script"))
        .collect();
    names.sort();
    assert!(names.len() >= 7, "{names:?}");
    for path in names {
        let text = std::fs::read_to_string(&path).expect("a script");
        let seen = Show::new(false).play(&text);
        let golden = path.with_extension("transcript");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &seen).expect("written");
        }
        let kept = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(
            kept,
            seen,
            "{}: look at it, then UPDATE_GOLDEN=1",
            golden.display()
        );
        assert_eq!(
            Show::new(true).play(&text),
            seen,
            "{} with crashes",
            path.display()
        );
    }
}

/// Something that happens to a fleet of five.
fn happening() -> impl Strategy<Value = String> {
    let what = prop_oneof![
        3 => Just("confirms"),
        2 => Just("acts"),
        1 => Just("fetches"),
        1 => Just("waits therapy"),
        1 => Just("bad it crashed"),
        1 => Just("not-proven power"),
        1 => Just("refuses floor"),
        1 => Just("goes"),
        2 => Just("comes"),
        1 => Just("silences"),
        1 => Just("judged good"),
        1 => Just("judged bad"),
    ];
    let home = (0..5_usize, what).prop_map(|(n, what)| format!("gw-{n} {what}"));
    let pass = prop_oneof![Just(1), Just(10), Just(61), Just(24 * 60)].prop_map(|m| format!("pass {m}"));
    let person = prop_oneof![
        1 => Just("halt a holiday".to_owned()),
        3 => Just("resume all are back".to_owned()),
        1 => Just("abort another is better".to_owned()),
        1 => Just("open gw-4 ann".to_owned()),
    ];
    prop_oneof![8 => home, 3 => pass, 1 => person]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// A crash between any two transactions: the words, the steps and the numbers are those of a server that never fell.
    #[test]
    fn after_any_crash_each_step_was_taken_once(happens in proptest::collection::vec(happening(), 1..40)) {
        let play = |crashes| {
            let mut show = Show::new(crashes);
            for (n, depends) in ["low", "low", "medium", "low", "high"].into_iter().enumerate() {
                show.line(&format!("home gw-{n} {depends}{}", if n == 0 { " lab" } else { "" }));
            }
            show.line("published 1.3.0");
            show.line("published 1.4.0");
            show.line("start spring 1.4.0 at-once=2");
            for line in &happens {
                show.line(line);
            }
            (show.words(), show.transcript().to_owned())
        };
        let (words, seen) = play(false);
        let (words_after, seen_after) = play(true);
        prop_assert_eq!(&seen_after, &seen);
        prop_assert_eq!(words_after, words);
        // Nobody is told more often than somebody said: once on, once more without proof, and what a person ordered.
        let orders = happens.iter().filter(|line| line.starts_with("halt") || line.starts_with("resume")).count();
        prop_assert!(words <= 5 * (3 + orders as u64), "{} words:\n{}", words, seen);
    }
}
