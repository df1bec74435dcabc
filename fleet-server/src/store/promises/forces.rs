//! Promises about orders to force: whose are kept, when they are sent, and what is noted of a box's answers.

use homeward_protocol::envelope::Lane;
use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::sign::{Refusal as Unsigned, SignedDigest};
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::Installer;
use homeward_protocol::release::force::{Force, ForceNumber, Offer, Overrule, Overrules, Refusal, Review};
use homeward_protocol::release::state::{ForceStanding, ForceTold, Progress, UpdateMark, UpdateState};
use homeward_protocol::signed::Signed;
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::Bytes;

use super::policies::gateways;
use super::{Home, block};
use crate::force::take::{Taken, take};
use crate::policy::tests::{House, Key, NOON};
use crate::store::records::Origin;
use crate::store::updates::{self, Assigned};
use crate::store::{Tx, forces};

const HOUR_S: i64 = 3_600;

fn at(hours: i64) -> Timestamp {
    Timestamp::synced(NOON + hours * HOUR_S * 1_000)
}

fn gw() -> GatewayId {
    "gw-1".parse().expect("an id")
}

fn assign(home: &Home, counter: u64) {
    let one = Assigned {
        gateway: gw(),
        counter,
        path: "agent/1.4.0/x86_64".into(),
        version: "1.4.0".parse().expect("a version"),
        not_before: at(0),
        deadline: at(100),
        at: at(0),
        by: "olga".into(),
        word: vec![1],
    };
    let work = move |tx: &mut dyn Tx| updates::assign(tx, &one);
    assert!(block(home.open().write(work)).expect("assigned"));
}

fn order(number: u64, assignment: u64) -> Force {
    Force {
        number: ForceNumber(number),
        gateway: gw(),
        assignment,
        path: "agent/1.4.0/x86_64".into(),
        sha256: SignedDigest([7; 32]),
        overrules: Overrules::of([Overrule::Hold, Overrule::Alarm]).expect("two"),
        reason: ShortText::cut("a stranger could read measurements"),
        not_before: Moment::from_secs(NOON / 1_000),
        until: Moment::from_secs(NOON / 1_000 + 4 * HOUR_S),
    }
}

fn offer(house: &House, order: &Force, second: &Key) -> Offer {
    let force = Signed::seal(order, &house.ann).expect("signs");
    let review = Review {
        force: SignedDigest::of(&force),
        number: order.number,
        at: order.not_before,
    };
    Offer {
        keyring: Bytes(Signed::seal(&house.keyring(2), &house.root).expect("signs")),
        force: Bytes(force),
        review: Bytes(Signed::seal(&review, second).expect("signs")),
    }
}

fn brings(home: &Home, house: &House, offer: &Offer, hours: i64) -> Taken {
    let (roots, offer) = ([house.root.public()], offer.clone());
    let work = move |tx: &mut dyn Tx| take(tx, &offer, &roots, "olga", at(hours));
    block(home.open().write(work)).expect("answers")
}

/// What the box says: it waits with this word, and how this order stands.
fn says(home: &Home, counter: u64, told: Option<(SignedDigest, ForceStanding)>) {
    let mark = UpdateMark {
        counter,
        installer: Installer::AgentSlot,
        version: "1.4.0".parse().expect("a version"),
    };
    let told = told.map(|(digest, stands)| ForceTold {
        digest,
        words: None,
        stands,
    });
    let state = UpdateState {
        runs: "1.3.0".parse().expect("a version"),
        packaged: false,
        build: None,
        now: Some((mark, Progress::Waiting(Vec::new()))),
        ended: None,
        installers: Vec::new(),
        undecided: None,
        met: None,
        quiet: None,
        beside: Vec::new(),
        forces: told.into_iter().collect(),
        taken_at: at(0),
    };
    let work = move |tx: &mut dyn Tx| {
        let origin = Origin {
            gateway: "gw-1",
            epoch: "01",
            lane: Lane::Urgent,
            spare: false,
            now: at(1),
        };
        updates::put(tx, &origin, &state)?;
        forces::told(tx, &origin, &state)
    };
    block(home.open().write(work)).expect("said");
}

fn waiting(home: &Home, hours: i64) -> Vec<u64> {
    let all = block(home.open().read(move |tx| forces::waiting(tx, at(hours)))).expect("reads");
    all.iter().map(|(_, number, _)| *number).collect()
}

fn trail(home: &Home) -> Vec<String> {
    let sql = "SELECT action FROM audit WHERE action LIKE 'force-%' ORDER BY id";
    let work = move |tx: &mut dyn Tx| {
        let rows = tx.rows(sql, &[])?;
        rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
    };
    block(home.open().read(work)).expect("reads")
}

pub(super) fn an_order_to_force_is_kept_as_signed_sent_to_who_waits_and_answered_once(home: &Home) {
    let house = House::new();
    block(home.open().write(gateways)).expect("made");
    assign(home, 5);
    let good = offer(&house, &order(3, 5), &house.ben);
    // Whose signatures do not do, or what is for another update, is not kept.
    let alone = offer(&house, &order(3, 5), &house.ann);
    let refused = |why| Taken::Refused(Refusal::Unsigned(why));
    assert_eq!(brings(home, &house, &alone, 0), refused(Unsigned::WrongReview));
    let stranger = House::new();
    let strange = offer(&stranger, &order(3, 5), &stranger.ben);
    assert_eq!(brings(home, &house, &strange, 0), refused(Unsigned::UnknownRoot));
    let other = offer(&house, &order(3, 4), &house.ben);
    assert_eq!(
        brings(home, &house, &other, 0),
        Taken::Refused(Refusal::OtherUpdate)
    );
    assert_eq!(brings(home, &house, &good, 4), Taken::Refused(Refusal::Over));
    assert_eq!(trail(home), Vec::<String>::new());

    let is_kept = |taken, first| matches!(taken, Taken::Kept { new, .. } if new == first);
    assert!(is_kept(brings(home, &house, &good, 0), true));
    assert!(is_kept(brings(home, &house, &good, 0), false), "the same again");
    let lower = offer(&house, &order(2, 5), &house.ben);
    assert_eq!(brings(home, &house, &lower, 0), Taken::Number(ForceNumber(3)));

    // It is sent once the box has the update, until it names the order or the time is over.
    assert_eq!(waiting(home, 1), Vec::<u64>::new());
    says(home, 4, None);
    assert_eq!(waiting(home, 1), Vec::<u64>::new());
    says(home, 5, None);
    assert_eq!((waiting(home, 1), waiting(home, 4)), (vec![3], vec![]));
    for hours in [1, 2] {
        let sent = move |tx: &mut dyn Tx| forces::sent(tx, &gw(), 3, at(hours));
        block(home.open().write(sent)).expect("noted");
    }
    let digest = good.digest();
    says(home, 5, Some((digest, ForceStanding::InEffect)));
    says(home, 5, Some((digest, ForceStanding::InEffect)));
    assert_eq!(waiting(home, 1), Vec::<u64>::new());
    // A box that forgot it is sent it again.
    says(home, 5, None);
    assert_eq!(waiting(home, 1), [3]);
    let used = ForceStanding::Used(vec![ShortText::cut("nurse asked for quiet")]);
    says(home, 5, Some((digest, used.clone())));
    // What ended stays so, whatever is said later.
    says(home, 5, Some((digest, ForceStanding::InEffect)));
    says(home, 5, None);
    assert_eq!(waiting(home, 1), Vec::<u64>::new());
    let all = block(home.open().read(|tx| forces::of(tx, &gw(), 10))).expect("reads");
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].said, Some((used, at(1))));
    assert_eq!((all[0].author.as_str(), all[0].reviewer.as_str()), ("Ann", "Ben"));
    assert_eq!(all[0].sent_at, Some(at(1)));
    assert_eq!(
        trail(home),
        ["force-brought", "force-sent", "force-answered", "force-answered"]
    );
}
