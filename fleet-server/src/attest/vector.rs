//! What a judgement says of each side of a gateway, as small numbers with agreed meanings.
//!
//! From 2 on affirming, from 32 on a warning, from 96 on contraindicated; 0 says nothing, −1 that the judge itself
//! failed, 99 that a signature or a number did. Source: AR4SI (draft-ietf-rats-ar4si), section 2.3.

use std::fmt;
use std::str::FromStr;

/// One side of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// Which box it is.
    Instance,
    /// How it is set up.
    Configuration,
    /// What it runs.
    Executables,
    /// What lies in its files.
    Files,
    /// What it runs on.
    Hardware,
    /// What it remembers while it runs.
    Runtime,
    /// How its keys are kept.
    Storage,
    /// Where its data come from.
    Sources,
}

impl Claim {
    /// All of them, by their numbers.
    pub const ALL: [Claim; 8] = [
        Claim::Instance,
        Claim::Configuration,
        Claim::Executables,
        Claim::Files,
        Claim::Hardware,
        Claim::Runtime,
        Claim::Storage,
        Claim::Sources,
    ];

    /// As the API and the command line call it.
    pub const fn name(self) -> &'static str {
        match self {
            Claim::Instance => "instance-identity",
            Claim::Configuration => "configuration",
            Claim::Executables => "executables",
            Claim::Files => "file-system",
            Claim::Hardware => "hardware",
            Claim::Runtime => "runtime-opaque",
            Claim::Storage => "storage-opaque",
            Claim::Sources => "sourced-data",
        }
    }
}

/// The judgement in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// The judge failed, or nothing was said. EAR: 0.
    None,
    /// In order. EAR: 2.
    Affirming,
    /// Something is open. EAR: 32.
    Warning,
    /// Not in order. EAR: 96.
    Contraindicated,
}

impl Status {
    const ALL: [Status; 4] = [
        Status::None,
        Status::Affirming,
        Status::Warning,
        Status::Contraindicated,
    ];

    /// As it is kept.
    pub const fn name(self) -> &'static str {
        match self {
            Status::None => "none",
            Status::Affirming => "affirming",
            Status::Warning => "warning",
            Status::Contraindicated => "contraindicated",
        }
    }
}

impl FromStr for Status {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Status, Self::Err> {
        let found = Status::ALL.into_iter().find(|s| s.name() == text);
        found.ok_or("a status is none, affirming, warning or contraindicated")
    }
}

/// How heavy a value is: the heaviest decides. −1 outweighs all but a failure: a judge that failed in part has still
/// found what it found.
pub(super) const fn weight(value: i8) -> u8 {
    match value {
        96.. => value.unsigned_abs() + 100,
        0..96 => value.unsigned_abs(),
        _ => 150,
    }
}

/// A value for each side. Kept as its numbers, with commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vector([i8; 8]);

impl Vector {
    /// The value of one side; 0 says nothing.
    pub const fn get(&self, claim: Claim) -> i8 {
        self.0[claim as usize]
    }

    /// Takes a value, unless a heavier one stands there.
    pub(super) fn lower(&mut self, claim: Claim, value: i8) {
        let slot = &mut self.0[claim as usize];
        if weight(value) > weight(*slot) {
            *slot = value;
        }
    }

    /// By the heaviest.
    pub fn status(&self) -> Status {
        let heaviest = self.0.into_iter().max_by_key(|v| weight(*v)).unwrap_or(0);
        match heaviest {
            i8::MIN..2 => Status::None,
            2..32 => Status::Affirming,
            32..96 => Status::Warning,
            96.. => Status::Contraindicated,
        }
    }
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

impl FromStr for Vector {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Vector, Self::Err> {
        let numbers: Result<Vec<i8>, _> = text.split(',').map(str::parse).collect();
        let numbers = numbers.map_err(|_| "not a list of small numbers")?;
        numbers
            .try_into()
            .map(Vector)
            .map_err(|_| "a vector has eight numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_decides_and_a_failed_judge_has_not_judged() {
        let of = |values: &[(Claim, i8)]| {
            let mut vector = Vector::default();
            for (claim, value) in values {
                vector.lower(*claim, *value);
            }
            vector
        };
        for (values, status) in [
            (&[][..], Status::None),
            (&[(Claim::Instance, 2)], Status::Affirming),
            (
                &[(Claim::Instance, 2), (Claim::Executables, 3)],
                Status::Affirming,
            ),
            (&[(Claim::Instance, 2), (Claim::Storage, 32)], Status::Warning),
            (
                &[(Claim::Storage, 32), (Claim::Executables, 96)],
                Status::Contraindicated,
            ),
            (
                &[(Claim::Executables, 96), (Claim::Executables, 2)],
                Status::Contraindicated,
            ),
            (
                &[(Claim::Executables, 96), (Claim::Hardware, -1)],
                Status::Contraindicated,
            ),
            (&[(Claim::Storage, 32), (Claim::Hardware, -1)], Status::None),
        ] {
            let vector = of(values);
            assert_eq!(vector.status(), status, "{vector}");
            assert_eq!(vector.to_string().parse(), Ok(vector));
        }
        for bad in ["", "1,2", "1,2,3,4,5,6,7,8,9", "1,2,3,4,5,6,7,400"] {
            assert!(bad.parse::<Vector>().is_err(), "{bad}");
        }
    }
}
