//! Whether an advisory is about a device that somebody has.
//!
//! # Design
//! Makers write one model in many ways, and a document names families ("Accent/Anthem") where a register names one model
//! ("Accent MRI PM2124"). What is missed here nobody weighs; what is found in vain costs a clinician a minute. So a name that is
//! part of the other is enough, and how sure that is is said ([`How`]). Only what the document says of the very version that the
//! device shows, under the very same name, takes a device out.

use std::collections::BTreeSet;

use super::csaf::{Advisory, Flaw, Product, Remedy, Score, Status};
use super::implant::Implant;

/// How a product's name and a device's go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// One is a part of the other: a person looks whether it is the same.
    Part,
    /// They are the same.
    Same,
}

impl How {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            How::Part => "The advisory names something like it: look whether it is the same model",
            How::Same => "The advisory names this model",
        }
    }
}

/// What an advisory says of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern<'a> {
    /// How sure it is that the device is meant.
    pub how: How,
    /// The products of the document that it may be, as they are called there.
    pub products: Vec<&'a str>,
    /// What is wrong with it, and whether that is only being looked at.
    pub flaws: Vec<(&'a Flaw, Status)>,
    /// How bad the worst of it is.
    pub score: Option<Score>,
    /// What is advised, each text once.
    pub remedies: Vec<&'a Remedy>,
}

/// What the advisory says of this device; nothing when it is not about it.
pub fn concern<'a>(advisory: &'a Advisory, device: &Implant) -> Option<Concern<'a>> {
    let named = advisory.products.iter();
    let named: Vec<(&Product, How)> = named
        .filter_map(|product| Some((product, goes_with(product, device)?)))
        .collect();
    let of_version = |product: &Product| {
        let shown = device.shows.as_ref().map(|shows| shows.as_str().to_lowercase());
        let written = product.version.as_ref().filter(|_| product.is_exact);
        shown.is_some() && written.map(|version| version.trim().to_lowercase()) == shown
    };
    let (mut products, mut flaws) = (BTreeSet::new(), Vec::new());
    for flaw in &advisory.flaws {
        let said = |(product, _): &&(&Product, How)| flaw.status.get(&product.id).copied();
        let very = named
            .iter()
            .filter(|(product, how)| *how == How::Same && of_version(product));
        let is_clear = very.filter_map(|one| said(&one)).max() == Some(Status::Clear);
        let worst = named.iter().filter_map(|one| said(&one)).max();
        if let Some(worst) = worst.filter(|worst| *worst > Status::Clear && !is_clear) {
            let concerned = named.iter().filter(|one| said(one) > Some(Status::Clear));
            products.extend(concerned.map(|(product, _)| product.id.as_str()));
            flaws.push((flaw, worst));
        }
    }
    if flaws.is_empty() {
        return None;
    }
    let ids: BTreeSet<String> = products.iter().map(|id| (*id).to_owned()).collect();
    let mut remedies: Vec<&Remedy> = Vec::new();
    for remedy in flaws.iter().flat_map(|(flaw, _)| &flaw.remedies) {
        let is_said = |one: &&Remedy| (&one.category, &one.details) == (&remedy.category, &remedy.details);
        if remedy.is_for(&ids) && !remedies.iter().any(is_said) {
            remedies.push(remedy);
        }
    }
    let meant = named
        .iter()
        .filter(|(product, _)| products.contains(product.id.as_str()));
    let called: BTreeSet<&str> = meant.clone().map(|(product, _)| product.full.as_str()).collect();
    Some(Concern {
        how: meant.map(|(_, how)| *how).max()?,
        products: called.into_iter().collect(),
        score: flaws.iter().filter_map(|(flaw, _)| flaw.score(&ids)).max(),
        flaws,
        remedies,
    })
}

/// Whether this product may be this device.
fn goes_with(product: &Product, device: &Implant) -> Option<How> {
    let (maker, model) = (words(device.maker.as_str()), words(device.model.as_str()));
    let vendor = match &product.vendor {
        Some(vendor) => without(&words(vendor), FIRMS),
        // Where the tree names no vendor, what the document calls the product has the maker's name in it.
        None => words(&product.full),
    };
    let maker = without(&maker, FIRMS);
    if !maker.is_subset(&vendor) && !vendor.is_subset(&maker) {
        return None;
    }
    let by_number = product.models.iter();
    let by_number = by_number
        .filter_map(|number| numbers(number, device.model.as_str()))
        .max();
    let name: BTreeSet<String> = match product.vendor {
        Some(_) => words(&product.name),
        None => words(&product.full).difference(&maker).cloned().collect(),
    };
    let is_same = name == model || squeezed(&product.name) == squeezed(device.model.as_str());
    if is_same || by_number == Some(How::Same) {
        return Some(How::Same);
    }
    let short = without(&model, KINDS);
    // "Accent/Anthem" is two.
    let alternatives = product.name.split(['/', ',', ';', '|']).map(words);
    let is_part = alternatives.chain([name]).any(|one| {
        let one = without(&one, KINDS);
        !one.is_empty() && (one.is_subset(&short) || short.is_subset(&one))
    });
    // What goes with a device may be what is wrong: "Remote Controller: MMT-508 MiniMed pump".
    let goes_along = || short.is_subset(&words(&product.full));
    (is_part || goes_along()).then_some(How::Part).or(by_number)
}

/// How a model number of the document (CSAF 2.0, 3.1.3.3.5: `?` stands for one sign and `*` for some, and what follows may be left
/// out) goes with a model: it begins with one of the model's words.
pub(super) fn numbers(number: &str, model: &str) -> Option<How> {
    let squeeze = |text: &str| -> Vec<char> {
        let lower = text.to_lowercase();
        lower
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, '?' | '*'))
            .collect()
    };
    let pattern = squeeze(number);
    let signs = pattern.iter().filter(|c| c.is_alphanumeric()).count();
    if signs < 2 {
        return None;
    }
    let lower = model.to_lowercase();
    let of_model: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let tails = (0..of_model.len()).map(|at| of_model.get(at..).unwrap_or_default().concat());
    tails
        .filter_map(|tail| {
            let tail: Vec<char> = tail.chars().collect();
            match begins(&tail, &pattern)? {
                0 => Some(How::Same),
                _ => Some(How::Part),
            }
        })
        .max()
}

/// Whether a text begins as the pattern says; how many signs are left over then, as few as can be.
fn begins(text: &[char], pattern: &[char]) -> Option<usize> {
    let mut ends = BTreeSet::from([0]);
    for sign in pattern {
        ends = match sign {
            '*' => (ends.first().copied()?..=text.len()).collect(),
            '?' => ends
                .iter()
                .map(|at| at + 1)
                .filter(|at| *at <= text.len())
                .collect(),
            sign => ends
                .iter()
                .filter(|at| text.get(**at) == Some(sign))
                .map(|at| at + 1)
                .collect(),
        };
    }
    ends.last().map(|end| text.len() - end)
}

/// The words of its makers by which a document can be found: whoever is named there has one of them in common with it.
pub fn makers(advisory: &Advisory) -> BTreeSet<String> {
    let of = |product: &Product| match &product.vendor {
        Some(vendor) => without(&words(vendor), FIRMS),
        None => words(&product.full),
    };
    advisory.products.iter().flat_map(of).collect()
}

/// The words of a maker as they are looked for in those.
pub fn maker(name: &str) -> BTreeSet<String> {
    without(&words(name), FIRMS)
}

/// A name in lower case without what is no letter or digit.
fn squeezed(text: &str) -> String {
    let lower = text.to_lowercase();
    lower.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// What firms are called by which tells none from another.
const FIRMS: &[&str] = &[
    "ag",
    "bv",
    "co",
    "company",
    "corp",
    "corporation",
    "gmbh",
    "group",
    "inc",
    "incorporated",
    "kg",
    "laboratories",
    "limited",
    "llc",
    "ltd",
    "medical",
    "plc",
    "sa",
    "se",
    "srl",
    "systems",
];
/// What kinds of device are called, likewise.
const KINDS: &[&str] = &[
    "all",
    "and",
    "cardiac",
    "crt",
    "d",
    "defibrillator",
    "device",
    "dr",
    "icd",
    "implantable",
    "insulin",
    "model",
    "models",
    "monitor",
    "only",
    "p",
    "pacemaker",
    "pump",
    "pumps",
    "series",
    "sr",
    "system",
    "the",
    "version",
    "versions",
];

/// A name as a set of words of letters and digits, in lower case.
fn words(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    let parts = lower.split(|c: char| !c.is_alphanumeric());
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The words of a name that are not among these, or all of them where nothing else is left.
fn without(name: &BTreeSet<String>, these: &[&str]) -> BTreeSet<String> {
    let rest: BTreeSet<String> = name
        .iter()
        .filter(|word| !these.contains(&word.as_str()))
        .cloned()
        .collect();
    if rest.is_empty() { name.clone() } else { rest }
}
