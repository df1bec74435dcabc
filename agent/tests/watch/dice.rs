//! Randomness that a seed repeats: a failing run names its home, and that home fails again.

/// A stream of numbers. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (`SplitMix64`).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 on, below 1.
    pub(crate) fn part(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn happens(&mut self, chance: f64) -> bool {
        self.part() < chance
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.part()
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }

    /// Normal, by twelve throws: tails end at six sigma.
    pub(crate) fn normal(&mut self, mean: f64, sigma: f64) -> f64 {
        let twelve: f64 = (0..12).map(|_| self.part()).sum();
        mean + sigma * (twelve - 6.0)
    }
}

/// Something that wanders around zero and comes back (Ornstein-Uhlenbeck).
#[derive(Default)]
pub(crate) struct Wander {
    at: f64,
}

impl Wander {
    /// One step later: `minutes` passed, with this sigma in the long run and this memory in minutes.
    pub(crate) fn step(&mut self, dice: &mut Dice, minutes: f64, sigma: f64, memory: f64) -> f64 {
        let keep = (-minutes / memory).exp();
        self.at = self.at * keep + dice.normal(0.0, sigma * (1.0 - keep * keep).sqrt());
        self.at
    }
}
