//! The radios of sensors: how often an honest build is blamed, and how soon one is seen that uses them ten times as often.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_agent::strain::{Excess, Usual};

use crate::dice::Dice;

const DAY: u64 = 24 * 60;
const WEEK: u64 = 7 * DAY;
/// Uses of one link.
const LINK: u32 = 12;

/// Minutes that a build has to be well at a stretch, within three times as many.
const TRIAL: u64 = 10;

/// How a build does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tried {
    /// In this minute it is blamed.
    Blamed(u64),
    /// It goes back, and nothing is proved.
    NotProven,
    Well,
}

/// How a sensor is used.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Links come by chance, so many an hour, of so many uses each.
    Chance(f64, u32),
    /// A link each so many minutes, in a therapy of four hours that begins at about the same time each day.
    Therapy(u64),
    /// Somebody measures in the morning and in the evening, one to three times.
    Measured,
    /// The same on each second day, and a link an hour in between.
    EachSecondDay(u64),
    /// It is new since so many minutes before the restart; a link each two minutes.
    New(u64),
    /// So many times a day it is at the edge of what the radio reaches, and loses its link ten times in ten minutes.
    Edge(u64),
}

impl Way {
    const ALL: [Way; 31] = [
        Way::Chance(0.1, 1),
        Way::Chance(0.1, 4),
        Way::Chance(0.1, 12),
        Way::Chance(0.5, 1),
        Way::Chance(0.5, 4),
        Way::Chance(0.5, 12),
        Way::Chance(2.0, 1),
        Way::Chance(2.0, 4),
        Way::Chance(2.0, 12),
        Way::Chance(6.0, 1),
        Way::Chance(6.0, 4),
        Way::Chance(6.0, 12),
        Way::Chance(30.0, 1),
        Way::Chance(30.0, 4),
        Way::Chance(30.0, 12),
        Way::Chance(120.0, 1),
        Way::Chance(120.0, 4),
        Way::Chance(120.0, 12),
        Way::Therapy(1),
        Way::Therapy(2),
        Way::Therapy(5),
        Way::Therapy(20),
        Way::EachSecondDay(1),
        Way::EachSecondDay(5),
        Way::New(10),
        Way::New(60),
        Way::New(DAY),
        Way::Measured,
        Way::Edge(1),
        Way::Edge(3),
        Way::Edge(12),
    ];

    /// Uses in each minute of the `n`-th day.
    fn day(self, n: u64, dice: &mut Dice) -> Vec<u32> {
        let mut day = vec![0; DAY as usize];
        match self {
            Way::Chance(an_hour, uses) => {
                // As many throws as it takes until their product is small enough. Source: Knuth, section 3.4.1.
                let limit = (-an_hour / 60.0).exp();
                for minute in &mut day {
                    let mut product = dice.part();
                    while product > limit {
                        *minute += uses;
                        product *= dice.part();
                    }
                }
            }
            Way::EachSecondDay(each) if n.is_multiple_of(2) => return Way::Therapy(each).day(n, dice),
            Way::EachSecondDay(_) => day.iter_mut().step_by(60).for_each(|minute| *minute = LINK),
            Way::New(_) => day.iter_mut().step_by(2).for_each(|minute| *minute = LINK),
            Way::Therapy(each) => {
                let begins = 8 * 60 + dice.below(120);
                (0..4 * 60)
                    .step_by(each as usize)
                    .for_each(|minute| day[(begins + minute) as usize] += LINK);
            }
            Way::Measured => {
                for hour in [7, 19] {
                    let at = hour * 60 + dice.below(90);
                    (0..=dice.below(3)).for_each(|n| day[(at + 2 * n) as usize] += LINK);
                }
            }
            Way::Edge(times) => {
                for _ in 0..times {
                    let at = dice.below(DAY - 10);
                    (0..10).for_each(|n| day[(at + n) as usize] += LINK);
                }
            }
        }
        day
    }

    /// How a build does that uses the radio `times` as often, if the box was restarted for it at some moment; where too little is
    /// known, only in a trial.
    fn tried(self, times: u32, known: u64, dice: &mut Dice) -> Tried {
        // On a second day, or the day before it.
        let days = known / DAY + 2 + dice.below(2);
        let all: Vec<u32> = (0..=days).flat_map(|n| self.day(n, dice)).collect();
        let begins = (days - 1) * DAY + dice.below(DAY);
        let there = match self {
            Way::New(minutes) => known.min(minutes),
            _ => known,
        };
        let before: Vec<(u64, u32)> = (begins - there..begins)
            .map(|minute| (minute, all[minute as usize]))
            .filter(|(_, uses)| *uses > 0)
            .collect();
        // As it is told: from its first use on.
        let first = before.first().map_or(begins, |(minute, _)| *minute);
        let usual = Usual::of(&before, Duration::from_secs((begins - first) * 60));
        let looks = if usual.is_of_a_day() { DAY } else { 3 * TRIAL };
        let (mut uses, mut well) = (LINK, 0);
        for minute in 1..=looks {
            uses += times * all[(begins + minute - 1) as usize];
            let excess = usual.exceeded(uses, Duration::from_secs(minute * 60));
            if let Some(Excess::Surely(_)) = excess {
                return Tried::Blamed(minute);
            }
            if well < TRIAL {
                well = if excess.is_none() { well + 1 } else { 0 };
                if minute == 3 * TRIAL && well < TRIAL {
                    return Tried::NotProven;
                }
            }
        }
        Tried::Well
    }
}

#[test]
fn no_honest_build_is_blamed_for_how_it_uses_a_radio() {
    const BUILDS: u64 = 120;
    let (mut honest, mut blamed, mut doubted) = (0, Vec::new(), BTreeMap::new());
    for (n, way) in Way::ALL.into_iter().enumerate() {
        for known in [5, 30, 240, DAY, 4 * DAY + 60, WEEK] {
            for build in 0..BUILDS {
                let mut dice = Dice::new((n as u64 * WEEK + known) * BUILDS + build);
                honest += 1;
                match way.tried(1, known, &mut dice) {
                    Tried::Well => {}
                    Tried::NotProven => *doubted.entry(format!("{way:?} {known}")).or_insert(0) += 1,
                    tried @ Tried::Blamed(_) => blamed.push((way, known, build, tried)),
                }
            }
        }
    }
    println!("{honest} honest builds; {doubted:?}");
    // These may go back, with nothing proved.
    assert!(doubted.values().sum::<u64>() * 1_000 < honest, "{doubted:?}");
    assert!(blamed.is_empty(), "{} {blamed:?}", blamed.len());
}

/// The median, in minutes; below a link each two hours it cannot be known in a day.
#[test]
fn one_that_uses_a_radio_ten_times_as_often_is_seen_within_a_day_where_that_can_be_known() {
    let promised = [
        (Way::Chance(120.0, 12), 5),
        (Way::Chance(30.0, 12), 8),
        (Way::Chance(30.0, 1), 10),
        (Way::Chance(6.0, 12), 25),
        (Way::Chance(6.0, 1), 80),
        (Way::Chance(2.0, 12), 120),
        (Way::Chance(2.0, 1), 300),
        (Way::Edge(12), 150),
        // Most boxes are restarted when the therapy of that day is over.
        (Way::Therapy(1), 600),
        (Way::Therapy(5), 600),
    ];
    for (way, minutes) in promised {
        let mut found: Vec<Tried> = (0..101)
            .map(|build| way.tried(10, WEEK, &mut Dice::new(build)))
            .collect();
        found.sort_unstable();
        println!("{way:?}: half {:?}, 19 of 20 {:?}", found[50], found[95]);
        assert!(found[50] <= Tried::Blamed(minutes), "{way:?} {:?}", found[50]);
    }
}
