//! How a sensor's radio is usually used, and when what a build makes of it cannot be chance any more.
//!
//! # Design
//! - What empties a battery is a new link: it costs one use for itself and some for what is read and subscribed to, all
//!   at once. So links are counted, not uses, and how many uses go together is read from the uses themselves.
//! - A count says something of its rate only by its own size: two links in an hour before do not promise two in the
//!   next. With links that come by chance at one rate, how many come in another time is negative binomially
//!   distributed: r is the links before and one, and the odds are the share of the times. Source: Johnson, Kemp, Kotz,
//!   Univariate Discrete Distributions, 3rd edition, section 5.3 (a Poisson rate that is known by a gamma).
//! - Links do not come by chance alone: a therapy takes its four hours, a person measures in the morning, a link at the
//!   edge of what a radio reaches is lost again and again. So the busiest time of the days before counts, too; and ten
//!   minutes in which a link was lost ten times go together as one, whether the days before had such or not.
//! - What is more than [`TIMES`] as often on average, and more than [`BUSIER`] times the busiest such time, both beyond
//!   [`SLACK`], is [`Excess::Perhaps`] where links that come one by one are less likely than [`CHANCE`], and
//!   [`Excess::Surely`] where such bursts are.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// So many times as often as before a build may use a sensor's radio.
const TIMES: u64 = 3;
/// So many times as often as in the busiest time before.
const BUSIER: u64 = 2;
/// Uses beyond that: a link is made anew at its start, and one is lost.
const SLACK: u64 = 24;
/// The chance at which a build is blamed that does as the one before did.
const CHANCE: f64 = 1e-6;
/// Uses of one link, where none was seen.
const LINK: u32 = 12;
/// Links of a burst that may come though none was seen.
const BURST: u64 = 10;
/// Minutes of one.
const BURST_MINUTES: u64 = 10;
/// Of so many minutes the busiest are known.
const SPANS: [u64; 6] = [10, 30, 60, 3 * 60, 8 * 60, 24 * 60];
/// After so long it is known how a day goes: also of a therapy of three days a week, between which two may lie.
const KNOWN: Duration = Duration::from_hours(4 * 24);

/// How the radio of one sensor was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usual {
    /// So often in all.
    pub uses: u32,
    /// In so many seconds.
    pub over_s: u32,
    /// So many of them usually share a minute, as a link and what is done over it do.
    pub together: u32,
    /// So many of them usually share ten minutes beyond what comes evenly, as the links of a burst do.
    pub burst: u32,
    /// Most uses in ten minutes, half an hour, one, three, eight hours and a day.
    pub busiest: [u32; 6],
}

/// Uses of a radio that are more than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// So many times as often, which a link that is lost again and again may do.
    Perhaps(u64),
    /// So many times as often, which that does not do either.
    Surely(u64),
}

impl Usual {
    /// From the minutes in which it was used, in order, and how often in each; over `time`, in which it was there.
    pub fn of(minutes: &[(u64, u32)], time: Duration) -> Usual {
        let (uses, squares) = sums(minutes.iter().map(|(_, count)| u64::from(*count)));
        let together = match uses {
            0 => LINK,
            uses => fit(squares.div_ceil(uses)),
        };
        let tens = minutes.chunk_by(|(one, _), (next, _)| one / BURST_MINUTES == next / BURST_MINUTES);
        let (_, squares) = sums(tens.map(|ten| sums(ten.iter().map(|(_, count)| u64::from(*count))).0));
        let unseen = BURST * u64::from(together);
        let mean = squares
            .saturating_add(unseen.saturating_mul(unseen))
            .div_ceil(uses.saturating_add(unseen));
        let span_s = BURST_MINUTES * 60;
        let evenly = uses.saturating_mul(span_s) / time.as_secs().max(span_s);
        Usual {
            uses: fit(uses),
            over_s: fit(time.as_secs()),
            together,
            burst: fit(mean.saturating_sub(evenly)).max(together),
            busiest: SPANS.map(|span| fit(busiest(minutes, span))),
        }
    }

    /// Whether it tells how a whole day may go.
    pub fn is_of_a_day(self) -> bool {
        self.uses > 0 && u64::from(self.over_s) >= KNOWN.as_secs()
    }

    /// Whether `uses` in `time` are more than usual; nothing where that may be chance, or nothing is known.
    pub fn exceeded(self, uses: u32, time: Duration) -> Option<Excess> {
        if self.over_s == 0 {
            return None;
        }
        let expected = u64::from(self.uses).saturating_mul(time.as_secs()) / u64::from(self.over_s);
        let busiest = SPANS
            .iter()
            .zip(self.busiest)
            .find(|(span, _)| time.as_secs() <= **span * 60)
            .map_or(0, |(_, most)| u64::from(most));
        let beyond = u64::from(uses).saturating_sub(SLACK);
        if beyond <= expected.saturating_mul(TIMES) || beyond <= busiest * BUSIER {
            return None;
        }
        let share = time.as_secs_f64() / f64::from(self.over_s);
        let rare = |together: u32| {
            let links = fit(beyond / u64::from(together.max(1)));
            at_least(links, self.uses / together.max(1), share) < CHANCE
        };
        let times = u64::from(uses) / expected.max(1);
        if rare(self.burst) {
            return Some(Excess::Surely(times));
        }
        rare(self.together).then_some(Excess::Perhaps(times))
    }
}

fn fit(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The sum, and that of the squares.
fn sums(counts: impl Iterator<Item = u64>) -> (u64, u64) {
    counts.fold((0, 0), |(sum, squares), count| {
        let square = count.saturating_mul(count);
        (sum.saturating_add(count), squares.saturating_add(square))
    })
}

/// Most uses in `span` minutes.
fn busiest(minutes: &[(u64, u32)], span: u64) -> u64 {
    let (mut most, mut first, mut uses) = (0, 0, 0_u64);
    for (at, count) in minutes {
        uses = uses.saturating_add(u64::from(*count));
        while let Some((old, gone)) = minutes.get(first).filter(|(old, _)| old + span <= *at) {
            debug_assert!(old < at, "in order");
            uses = uses.saturating_sub(u64::from(*gone));
            first += 1;
        }
        most = most.max(uses);
    }
    most
}

/// The chance of `links` or more in a time that is `share` of the one in which there were `before`. By logarithms, as the first
/// terms of a large count are smaller than any number of its kind.
fn at_least(links: u32, before: u32, share: f64) -> f64 {
    let r = f64::from(before) + 1.0;
    let step = share.ln() - share.ln_1p();
    let mut term = -r * share.ln_1p();
    let mut fewer = 0.0;
    for k in 0..links {
        fewer += term.exp();
        // What is asked about is rarer still.
        if 1.0 - fewer < CHANCE / 2.0 {
            break;
        }
        term += step + ((r + f64::from(k)) / (f64::from(k) + 1.0)).ln();
    }
    1.0 - fewer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_that_go_together_and_the_busiest_times_are_read_from_the_minutes() {
        let hour = Duration::from_hours(1);
        let of = |minutes: &[(u64, u32)]| Usual::of(minutes, hour);
        let links = of(&[(5, 12), (14, 12), (15, 12)]);
        assert_eq!(
            links,
            Usual {
                uses: 36,
                over_s: 3_600,
                together: 12,
                burst: 91,
                busiest: [24, 36, 36, 36, 36, 36]
            }
        );
        let reads: Vec<(u64, u32)> = (0..60).map(|minute| (minute, 1)).collect();
        let even = of(&reads);
        assert_eq!((even.together, even.busiest), (1, [10, 30, 60, 60, 60, 60]));
        // A link of twelve, and then one read a minute.
        let mixed = of(&[(0, 12)]
            .into_iter()
            .chain((1..61).map(|minute| (minute, 1)))
            .collect::<Vec<_>>());
        assert_eq!((mixed.uses, mixed.together), (72, 3));
        assert_eq!(of(&[]).together, LINK);
    }

    /// Worked out by binomial coefficients in whole numbers.
    #[test]
    fn the_chance_is_that_of_a_negative_binomial() {
        for (links, before, share, known) in [
            (0, 5, 1.0, 1.0),
            (1, 0, 1.0, 0.5),
            (10, 0, 1.0, 0.000_976_562_5),
            (3, 1, 0.5, 1.0 / 9.0),
            (20, 4, 1.0, 0.000_771_939_754_486_084),
        ] {
            let found = at_least(links, before, share);
            assert!((found - known).abs() < 1e-12, "{links} {before} {share}: {found}");
        }
        // A thousand and more are not lost among numbers too small to be.
        let found = at_least(1_000, 1_000, 1.0);
        assert!((0.48..0.52).contains(&found), "{found}");
    }

    #[test]
    fn nothing_is_said_where_nothing_is_known_and_no_number_is_too_large() {
        let nothing = Usual::of(&[], Duration::ZERO);
        assert_eq!(nothing.exceeded(u32::MAX, Duration::from_hours(1)), None);
        let much = Usual::of(&[(0, u32::MAX), (1, u32::MAX)], Duration::from_secs(u64::MAX));
        assert_eq!(
            (much.uses, much.over_s, much.is_of_a_day()),
            (u32::MAX, u32::MAX, true)
        );
        assert_eq!(much.exceeded(u32::MAX, Duration::from_secs(u64::MAX)), None);
    }
}
