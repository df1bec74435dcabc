//! What a campaign hears of one home: its box's own word of its software, whether it is connected, the judgement of its
//! evidence after the update, and whether its sensors are heard as before.
//!
//! # Design
//! - A box's "I am well" is one sign of three. It counts when evidence that it gave after it began was accepted, and when
//!   every sensor that was heard before is heard again. What is missing is waited for; the campaign's own time ends that.
//! - A box that was never judged is not held against evidence, and a sensor that speaks more rarely than a box has time to
//!   act is not waited for: there was nothing to lose, or it cannot be seen in time.
//! - Everything is decided anew from what is so: a sign that comes twice is one, and one that was missed is seen at the
//!   next look.

use homeward_protocol::id::SensorId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::Version;
use homeward_protocol::release::state::{Outcome, Progress, UpdateState};
use homeward_protocol::time::Timestamp;
use homeward_protocol::watch::Suspicion;

use super::step::{Event, Step, Waits};
use crate::attest::Status;

/// A sensor is heard when a reading came within so many of its own intervals …
const INTERVALS: u64 = 3;
/// … but never sooner given up than this, milliseconds.
const LEAST_MS: u64 = 90_000;
/// Why a home takes no part any more: a person gave its box another word.
pub const BY_HAND: &str = "somebody directed it by hand";
/// Likewise.
pub const OUT_OF_SERVICE: &str = "its box is out of service";

/// Where a word of the director leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// To the release.
    On,
    /// To what ran before.
    Back,
    /// To keep what runs: the home has not begun. It is said as a word for what runs where that is published, else as one for the
    /// release that is not to begin before a time far ahead.
    Keep,
}

impl Way {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Way::On => "on",
            Way::Back => "back",
            Way::Keep => "keep",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Way> {
        [Way::On, Way::Back, Way::Keep]
            .into_iter()
            .find(|way| way.name() == name)
    }
}

/// What is remembered of a home beside its step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The path of the release that is for its hardware.
    pub target: String,
    /// The word that is still to be said; one to keep what runs also until the box has named it.
    pub wants: Option<Way>,
    /// The last one that was: its number, and where it leads.
    pub word: Option<(u64, Way)>,
    /// By when it should have the release, where the campaign gives each home its time: counted from the first word for
    /// it, so that a stop, or a second try, gives nobody longer.
    pub due: Option<Timestamp>,
    /// What ran when the campaign began.
    pub before: Version,
    /// The path of that, when it was published as the campaign began.
    pub back: Option<String>,
    /// When it began to put the release in place.
    pub acted: Option<Timestamp>,
    /// Sensors that were heard when it was told.
    pub sensors: Vec<SensorId>,
    /// In plain words, why it stands where it does, when there is more to say.
    pub why: Option<String>,
    /// Since when it stands there.
    pub since: Timestamp,
}

/// What a box said of its software, and when that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What.
    pub state: UpdateState,
    /// When.
    pub at: Timestamp,
}

/// One of its sensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Which.
    pub sensor: SensorId,
    /// How often it is asked, seconds.
    pub interval_s: u64,
    /// When a reading of it was last stored.
    pub last: Option<Timestamp>,
}

impl Heard {
    /// How long it may be silent, milliseconds.
    pub fn patience_ms(&self) -> u64 {
        (self.interval_s.saturating_mul(1000).saturating_mul(INTERVALS)).max(LEAST_MS)
    }

    /// Whether it is heard now.
    pub fn is_heard(&self, now: Timestamp) -> bool {
        let patience = i64::try_from(self.patience_ms()).unwrap_or(i64::MAX);
        self.last
            .is_some_and(|last| now.ms.saturating_sub(last.ms) <= patience)
    }
}

/// What is so of one home now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signs {
    /// Whether its box is in service.
    pub in_service: bool,
    /// Whether it is connected by its own key.
    pub connected: bool,
    /// When something of it was last stored.
    pub heard: Option<Timestamp>,
    /// Whether somebody depends on it highly. A box that stands in no home at the moment is nobody's.
    pub depended_on: bool,
    /// The number of the director's newest word for it.
    pub word: Option<u64>,
    /// What it said of its software.
    pub said: Option<Said>,
    /// How its newest evidence was judged, and when.
    pub judged: Option<(Status, Timestamp)>,
    /// Its sensors; only of homes that act, or are watched after that.
    pub sensors: Vec<Heard>,
    /// Since when this place has looked without a gap: what it could not hear before that was not silent.
    pub awake: Option<Timestamp>,
    /// Side effects on sensors and radio that the box noticed and that last: since when, and in its words.
    pub suffers: Vec<(Timestamp, String)>,
}

/// Whether a suspicion that begins after an update may be its doing: values that are read wrongly, a bond that is lost, a radio
/// that hears nothing or is used too much. What people, makers and strangers do is not.
pub const fn is_side_effect(suspicion: Suspicion) -> bool {
    match suspicion {
        Suspicion::Frozen
        | Suspicion::ImpossibleChange
        | Suspicion::ClockShift
        | Suspicion::ScannerStopped
        | Suspicion::BatteryFalling
        | Suspicion::BondChanged => true,
        // Silence is looked for in what is stored, which no box can leave out.
        Suspicion::Silent
        | Suspicion::SessionExpired
        | Suspicion::FirmwareChanged
        | Suspicion::UnlistedDevice
        | Suspicion::LookAlike
        | Suspicion::OtherDevice
        | Suspicion::WriteRefused => false,
    }
}

/// Whether the box itself says that what it took is not well: also a day later, when it wears a sensor.
pub fn finds_harm(signs: &Signs) -> bool {
    let ended = signs.said.as_ref().and_then(|said| said.state.ended.as_ref());
    ended.is_some_and(|ended| matches!(ended.outcome, Outcome::Stays(_) | Outcome::Bad(_)))
}

/// Whether the box has named the word that it is to keep what it runs: then it begins no more by an older one. One that it refused
/// leaves the older one standing.
pub fn keeps(note: &Note, signs: &Signs) -> Result<bool, String> {
    let Some((number, Way::Back | Way::Keep)) = note.word else {
        return Ok(false);
    };
    let state = signs.said.as_ref().map(|said| &said.state);
    let mark = state.and_then(|state| state.now.as_ref()).map(|(mark, _)| mark);
    if mark.is_some_and(|mark| mark.counter >= number) {
        return Ok(true);
    }
    let ended = state.and_then(|state| state.ended.as_ref());
    let ended = ended.filter(|ended| ended.counter >= Some(number));
    match ended.map(|ended| &ended.outcome) {
        Some(Outcome::Refused(why)) => Err(why.as_str().to_owned()),
        other => Ok(other.is_some()),
    }
}

/// What a box that was told to keep what it runs puts in place all the same: it began by an older word, before it heard that.
pub fn begun(note: &Note, signs: &Signs) -> Option<Version> {
    let (number, way) = note.word?;
    let by_hand = signs.word.is_some_and(|newest| newest > number);
    if way == Way::On || note.wants == Some(Way::On) || !signs.in_service || by_hand {
        return None;
    }
    let (mark, progress) = signs.said.as_ref()?.state.now.as_ref()?;
    let began = matches!(progress, Progress::Acting | Progress::OnTrial { .. });
    (began && mark.counter < number).then_some(mark.version)
}

/// What is heard of a home, and why in plain words where there is more to say. `act_within_ms`: how long a box may act.
pub fn event(
    step: Step,
    note: &Note,
    signs: &Signs,
    act_within_ms: u64,
    now: Timestamp,
) -> Option<(Event, Option<String>)> {
    // One that was told, and then left to a person, may have begun.
    if step == Step::NotYet && note.word.is_none() {
        return None;
    }
    let because = |event, why: &str| Some((event, Some(why.to_owned())));
    if !signs.in_service {
        return (!step.has_ended() || step.was_well()).then(|| (Event::Gone, Some(OUT_OF_SERVICE.into())));
    }
    let Some((number, way)) = note.word else {
        let waits = step.is_told() && !signs.connected;
        return waits.then_some((Event::Waits(Waits::Offline), None));
    };
    if signs.word.is_some_and(|newest| newest > number) {
        // What a person directed there is that person's: a halt takes nothing back from it.
        return (!step.has_ended() || step.was_well()).then(|| (Event::Gone, Some(BY_HAND.into())));
    }
    let state = signs.said.as_ref().map(|said| &said.state);
    let (under_way, ended) = (
        state.and_then(|state| state.now.as_ref()),
        state.and_then(|state| state.ended.as_ref()),
    );
    // What was not the director's word has no number; it counts as this one when it came after it.
    let ended = ended.filter(|ended| match ended.counter {
        Some(counter) => counter == number,
        None => ended.at.ms >= note.since.ms && step.is_told(),
    });
    // Until the next word is said, what the box says of the last one is known.
    if note.wants == Some(Way::On) {
        return (step.is_told() && !signs.connected).then_some((Event::Waits(Waits::Offline), None));
    }
    if matches!(step, Step::TakenBack | Step::Unwell) || way == Way::Back {
        let runs_before = state.is_some_and(|state| state.runs == note.before);
        if under_way.is_some() || ended.is_none() {
            return None;
        }
        if runs_before {
            return Some((Event::IsBack, None));
        }
        let stuck = |why: &ShortText| (Event::Stuck, Some(why.as_str().to_owned()));
        return match ended.map(|ended| &ended.outcome).filter(|_| way == Way::Back)? {
            Outcome::Refused(why) | Outcome::Stays(why) | Outcome::Bad(why) | Outcome::NotProven(why) => {
                Some(stuck(why))
            }
            Outcome::Confirmed => None,
        };
    }
    if way == Way::Keep {
        let begins = |progress: &Progress| matches!(progress, Progress::Acting | Progress::OnTrial { .. });
        if let Some((mark, progress)) = under_way {
            // It has what it is not to begin with: what it runs is what ran before.
            return (mark.counter == number && !begins(progress)).then_some((Event::IsBack, None));
        }
        let ended = ended.filter(|ended| ended.counter == Some(number))?;
        if matches!(ended.outcome, Outcome::Refused(_)) {
            return None;
        }
    }
    if let Some((mark, progress)) = under_way
        && mark.counter == number
    {
        return Some(match progress {
            Progress::Fetching { .. } | Progress::Paused { .. } if signs.connected => {
                (Event::Waits(Waits::Fetching), None)
            }
            Progress::Waiting(_) if signs.connected => (Event::Waits(Waits::Quiet), None),
            Progress::Fetching { .. } | Progress::Paused { .. } | Progress::Waiting(_) => {
                (Event::Waits(Waits::Offline), None)
            }
            Progress::Acting | Progress::OnTrial { .. } => (Event::Acts, None),
        });
    }
    match ended.map(|ended| &ended.outcome) {
        Some(Outcome::Confirmed) => proved(step, note, signs, act_within_ms, now),
        Some(Outcome::Stays(why)) => because(Event::Unwell, why.as_str()),
        Some(Outcome::Bad(why)) => because(Event::Bad, why.as_str()),
        Some(Outcome::NotProven(why)) => because(Event::NotProven, why.as_str()),
        Some(Outcome::Refused(why)) => because(Event::Gone, &format!("it did not take it: {}", why.as_str())),
        None => (step.is_told() && !signs.connected).then_some((Event::Waits(Waits::Offline), None)),
    }
}

/// It says that it is well: whether the rest bears that out, and goes on to.
fn proved(
    step: Step,
    note: &Note,
    signs: &Signs,
    act_within_ms: u64,
    now: Timestamp,
) -> Option<(Event, Option<String>)> {
    let said = signs.said.as_ref()?;
    let began = note.acted.unwrap_or(said.at);
    let bad = |why: String| Some((Event::Unwell, Some(why)));
    if let Some((Status::Contraindicated, at)) = signs.judged
        && at.ms >= began.ms
    {
        return bad("its evidence after the update was not accepted".into());
    }
    if let Some((_, what)) = signs.suffers.iter().find(|(since, _)| since.ms >= began.ms) {
        return bad(format!("since the update: {what}"));
    }
    let limit = i64::try_from(act_within_ms).unwrap_or(i64::MAX);
    let awake = signs.awake.map_or(i64::MIN, |awake| awake.ms);
    let last = signs
        .heard
        .map_or(said.at.ms, |heard| heard.ms.max(said.at.ms))
        .max(awake);
    match step {
        Step::Confirmed { .. } if !signs.connected && now.ms.saturating_sub(last) > limit => {
            return Some((Event::Away, None));
        }
        Step::Away { .. } | Step::Dark { .. } if signs.connected => return Some((Event::There, None)),
        _ => {}
    }
    for sensor in awaited(note, signs, act_within_ms) {
        let patience = i64::try_from(sensor.patience_ms()).unwrap_or(i64::MAX).min(limit);
        let from = sensor
            .last
            .map_or(said.at.ms, |last| last.ms.max(said.at.ms))
            .max(awake);
        if signs.connected && now.ms.saturating_sub(from) > patience {
            return bad(format!(
                "its sensor {} was heard before the update, and is silent since",
                sensor.sensor
            ));
        }
    }
    match step {
        Step::Confirmed { .. } | Step::Away { .. } | Step::Dark { .. } | Step::Failed => None,
        // What is missing has to come within the time of the act.
        _ => match lacks(note, signs, act_within_ms) {
            None => Some((Event::Confirms, None)),
            lacks => Some((Event::Acts, lacks)),
        },
    }
}

/// What is still missing of a box that says it is well, in plain words.
pub fn lacks(note: &Note, signs: &Signs, act_within_ms: u64) -> Option<String> {
    let said = signs.said.as_ref()?;
    if needs_evidence(note, signs) {
        return Some("its evidence after the update is awaited".into());
    }
    let silent = awaited(note, signs, act_within_ms)
        .find(|sensor| sensor.last.is_none_or(|last| last.ms < said.at.ms))?;
    Some(format!("a reading of its sensor {} is awaited", silent.sensor))
}

/// Whether it was judged before, and not since it began.
pub fn needs_evidence(note: &Note, signs: &Signs) -> bool {
    let began = note.acted.or(signs.said.as_ref().map(|said| said.at));
    let judged = signs.judged.filter(|(status, _)| *status != Status::None);
    judged.is_some_and(|(_, at)| began.is_some_and(|began| at.ms < began.ms))
}

/// Sensors that were heard before, and speak often enough to be waited for.
fn awaited<'a>(note: &'a Note, signs: &'a Signs, act_within_ms: u64) -> impl Iterator<Item = &'a Heard> {
    let often = move |sensor: &&Heard| sensor.patience_ms() <= act_within_ms.max(LEAST_MS);
    let before = |sensor: &&Heard| note.sensors.contains(&sensor.sensor);
    signs.sensors.iter().filter(before).filter(often)
}

#[cfg(test)]
mod tests;
