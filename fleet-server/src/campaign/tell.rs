//! What people are told of a campaign, beside the console's board: that it halted or stopped by itself, that somebody has to go to
//! homes, that it is over and left homes out, that nobody can be told for a while.
//!
//! # Design
//! An incident is raised with the rows that it is about, in one transaction; a message goes to the person whom the campaign's terms
//! name, else to whoever started it, where that one is reached outside of the console. One message a look, however many homes.

use std::time::Duration;

use homeward_protocol::id::GatewayId;

use super::kept::{Head, Kept};
use super::signs::{BY_HAND, OUT_OF_SERVICE};
use super::step::{Effect, Step};
use crate::notify::Message;
use crate::store::incidents::Kind;

/// What keeps words from being said for less than this is nobody's concern: a release is carried here, a disk is full for a moment.
pub const LASTS: Duration = Duration::from_mins(15);
/// So many homes are named in a message.
const NAMED: usize = 20;

/// One thing that people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// What it is about.
    pub kind: Kind,
    /// In one line.
    pub subject: String,
    /// All of it.
    pub body: String,
    /// The homes that somebody has to go to.
    pub homes: Vec<GatewayId>,
}

impl Telling {
    fn new(head: &Head, kind: Kind, (what, more): (&str, &str)) -> Telling {
        let name = &head.name;
        Telling {
            kind,
            subject: format!("Campaign {name} {what}"),
            body: format!(
                "{}: the campaign {name} {what}. {more} Look at it: `homeward-fleet campaign status {name}`, or the page \
                 \"Campaigns\".",
                person(head)
            ),
            homes: Vec::new(),
        }
    }

    /// The message to the person of this campaign.
    pub fn message(&self, head: &Head) -> Message {
        Message {
            gateway: None,
            person: person(head).to_owned(),
            subject: self.subject.clone(),
            body: self.body.clone(),
        }
    }
}

/// Who is told: whom its terms name, else who started it.
pub fn person(head: &Head) -> &str {
    let named = head.each.as_ref().map(|each| each.terms.person());
    named.unwrap_or(&head.started_by)
}

/// What is new to people in what is about to be kept.
pub fn news(kept: &Kept) -> Vec<Telling> {
    let head = &kept.head;
    let count = |is: fn(Step) -> bool| kept.core().steps().filter(|(_, _, step)| is(*step)).count();
    let of = |effect: &Effect| match effect {
        Effect::Halted(why) => {
            let back = count(|step| step == Step::TakenBack);
            let more = format!("{why}. What is installed is taken back; homes that are to go back: {back}.");
            Some(Telling::new(
                head,
                Kind::CampaignHalted,
                ("halted by itself", &more),
            ))
        }
        Effect::Stopped(why) => {
            let more = format!(
                "{why}. Nobody begins any more; what is installed stays, unless more fails: then it halts, and is taken back. Find \
                 out whether these boxes live; then let it go on, or end it: that takes the release back."
            );
            Some(Telling::new(
                head,
                Kind::CampaignStopped,
                ("stopped by itself", &more),
            ))
        }
        Effect::Done => {
            let out = left_out(kept);
            let more = format!(
                "Homes that keep what they run, of {}: {out}. Plan another campaign for them.",
                kept.notes().len()
            );
            let telling = || {
                Telling::new(
                    head,
                    Kind::CampaignLeftOut,
                    ("is over, and left homes out", &more),
                )
            };
            (out > 0).then(telling)
        }
        Effect::Assign(_) | Effect::TakeBack(_) | Effect::Keep(_) | Effect::Opened(_) => None,
    };
    kept.news().iter().filter_map(of).chain(stuck(kept)).collect()
}

/// Homes that another campaign is for: without those that a person directed since, and those out of service.
fn left_out(kept: &Kept) -> usize {
    let ended = |id: &GatewayId| {
        let why = kept.notes().get(id).and_then(|note| note.why.as_deref());
        why.is_some_and(|why| why == BY_HAND || why == OUT_OF_SERVICE)
    };
    let all = kept.core().steps();
    all.filter(|(id, _, step)| *step == Step::LeftOut && !ended(id))
        .count()
}

/// Homes that somebody has to go to since the rows were last kept.
fn stuck(kept: &Kept) -> Option<Telling> {
    let homes = kept.moved(|before, step| step == Step::Stuck && before != Some(Step::Stuck));
    let named: Vec<&str> = homes.iter().take(NAMED).map(GatewayId::as_str).collect();
    let more = match homes.len().saturating_sub(NAMED) {
        0 => format!("{}.", named.join(", ")),
        more => format!("{}, and {more} more.", named.join(", ")),
    };
    let what = match homes.len() {
        0 => return None,
        1 => "has a home that does not go back: somebody has to go there".to_owned(),
        many => format!("has {many} homes that do not go back: somebody has to go there"),
    };
    let telling = Telling::new(&kept.head, Kind::CampaignStuck, (&what, &more));
    Some(Telling { homes, ..telling })
}

/// What is said in the console of one home that somebody has to go to.
pub fn of_home(kept: &Kept, gateway: &GatewayId) -> String {
    let why = kept.notes().get(gateway).and_then(|note| note.why.as_deref());
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    format!(
        "{gateway} was to go back from what the campaign {} brought, and does not{why}. Somebody has to go there.",
        kept.head.name
    )
}

/// Homes that are not to be gone to any more.
pub fn settled(kept: &Kept) -> Vec<GatewayId> {
    kept.moved(|before, step| before == Some(Step::Stuck) && step != Step::Stuck)
}

/// That nobody could be told for a while, and why.
pub fn trouble(head: &Head, why: &str) -> Telling {
    let more = format!("{why}. It goes on by itself when that is mended.");
    Telling::new(head, Kind::CampaignTrouble, ("can tell nobody", &more))
}
