//! Promises about support sessions.

use homeward_protocol::envelope::Lane;
use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::support::{
    Became, EndCause, Ended, Moved, Refusal, Session, SessionNumber, SupportRecord,
};
use homeward_protocol::time::Timestamp;

use super::{Home, NOW, block};
use crate::store::records::Origin;
use crate::store::support::{self, Asking};
use crate::store::{Store, StoreError, audit};
use crate::support::hub::Used;
use crate::support::{Asked, Kept, LAPSE_MS, Stands};

pub(super) fn record(number: u64, became: Became) -> SupportRecord {
    SupportRecord {
        of: Session {
            session: SessionNumber(number),
            ticket: ShortText::cut("INC-9"),
            by: ShortText::cut("somebody"),
            reason: ShortText::cut("before the backup"),
            port: 22,
            lasts_s: 60,
        },
        became,
        at: NOW,
    }
}

fn gateway() -> GatewayId {
    "gw-1".parse().expect("an id")
}

fn say(store: &Store, record: &SupportRecord, now: Timestamp) {
    let record = record.clone();
    let work = move |tx: &mut dyn crate::store::Tx| {
        let at = Origin {
            gateway: "gw-1",
            epoch: "01",
            lane: Lane::Urgent,
            spare: false,
            now,
        };
        support::take(tx, &at, &record)
    };
    block(store.write(work)).expect("taken");
}

fn ask(store: &Store, now: Timestamp) -> Asking {
    let asked = Asked::new("INC-1", "silent", 22, 60).expect("asked rightly");
    block(store.write(move |tx| support::ask(tx, &gateway(), &asked, "olga", now))).expect("answers")
}

fn stands(store: &Store, now: Timestamp) -> Vec<Stands> {
    let all = block(store.read(|tx| support::of(tx, &gateway(), 200))).expect("reads");
    all.iter().map(|kept| kept.stands(now)).collect()
}

fn actions(store: &Store) -> Vec<String> {
    let work = |tx: &mut dyn crate::store::Tx| {
        let rows = tx.rows("SELECT action FROM audit ORDER BY id", &[])?;
        rows.iter()
            .map(|row| row.text(0).map(str::to_owned))
            .collect::<Result<_, StoreError>>()
    };
    block(store.read(work)).expect("reads")
}

pub(super) fn a_support_session_is_asked_for_once_and_stands_as_its_box_says(home: &Home) {
    let store = home.open();
    assert_eq!(ask(&store, NOW), Asking::Unknown);
    let made = store.write(|tx| {
        tx.execute(
            "INSERT INTO gateways (id, state, created_at) VALUES ('gw-1', 'enrolled', 1)",
            &[],
        )
    });
    block(made).expect("made");
    let Asking::Asked(first) = ask(&store, NOW) else {
        panic!("asked for");
    };
    assert_eq!(ask(&store, NOW.plus_ms(1)), Asking::Busy(first.session));
    let live = |now| {
        block(store.read(move |tx| support::live(tx, now)))
            .expect("reads")
            .len()
    };
    assert_eq!((live(NOW), live(NOW.plus_ms(LAPSE_MS + 200_000))), (1, 0));
    // Each word of the box counts once, however often it comes.
    let said = |became| SupportRecord {
        of: first.clone(),
        became,
        at: NOW,
    };
    let ended = Ended {
        cause: EndCause::Local,
        lasted_s: Some(5),
        moved: Some(Moved {
            links: 1,
            in_bytes: 2,
            out_bytes: u64::MAX,
        }),
    };
    for _ in 0..2 {
        say(&store, &said(Became::Opened), NOW.plus_ms(2));
    }
    assert_eq!(
        stands(&store, NOW.plus_ms(3)),
        [Stands::Open(NOW.plus_ms(60_002))]
    );
    let kept = block(store.read(|tx| support::of(tx, &gateway(), 1)))
        .expect("reads")
        .remove(0);
    block(store.write(move |tx| support::connected(tx, &kept, "token:a", NOW))).expect("noted");
    let used = Used {
        gateway: gateway(),
        session: first.session,
        by: "token:a".into(),
        in_bytes: 2,
        out_bytes: 3,
    };
    block(store.write(move |tx| support::used(tx, &used, NOW))).expect("noted");
    let end = |why: &'static str| {
        block(store.write(move |tx| support::end(tx, &gateway(), why, "olga", NOW.plus_ms(4))))
            .expect("answers")
    };
    assert!(end("done") && end("again"), "to say it again is no fault");
    assert_eq!(stands(&store, NOW.plus_ms(5)), [Stands::Ending]);
    for _ in 0..2 {
        say(&store, &said(Became::Ended(ended)), NOW.plus_ms(6));
    }
    let other = Ended {
        cause: EndCause::Restarted,
        ..ended
    };
    say(&store, &said(Became::Ended(other)), NOW.plus_ms(7));
    assert_eq!(stands(&store, NOW.plus_ms(8)), [Stands::Ended(EndCause::Local)]);
    assert!(!end("over"));
    let kept = block(store.read(|tx| support::of(tx, &gateway(), 1)))
        .expect("reads")
        .remove(0);
    assert_eq!(kept.through, (1, 2, 3));
    // The next has a higher number, and may be refused.
    let Asking::Asked(second) = ask(&store, NOW) else {
        panic!("asked for");
    };
    assert!(second.session > first.session);
    let refused = SupportRecord {
        of: second,
        became: Became::Refused(Refusal::Port),
        at: NOW,
    };
    say(&store, &refused, NOW);
    assert_eq!(stands(&store, NOW)[0], Stands::Refused(Refusal::Port));
    assert_eq!(
        actions(&store),
        [
            "support-asked",
            "support-opened",
            "support-connected",
            "support-left",
            "support-end-asked",
            "support-ended",
            "support-asked",
            "support-refused"
        ]
    );
    let whole = block(store.read(audit::check)).expect("reads");
    assert!(whole.is_ok(), "{whole:?}");
}

pub(super) fn sessions_that_only_a_box_knows_of_are_shown_and_bounded(home: &Home) {
    let store = home.open();
    for number in 1..200 {
        say(&store, &record(number, Became::Opened), NOW);
    }
    assert_eq!((stands(&store, NOW).len(), actions(&store).len()), (50, 50));
}

fn enrolled(store: &Store) {
    let made = store.write(|tx| {
        tx.execute(
            "INSERT INTO gateways (id, state, created_at) VALUES ('gw-1', 'enrolled', 1)",
            &[],
        )
    });
    block(made).expect("made");
}

fn details(store: &Store, action: &'static str) -> Vec<String> {
    let work = move |tx: &mut dyn crate::store::Tx| {
        let rows = tx.rows(
            "SELECT detail FROM audit WHERE action = $1 ORDER BY id",
            &[action.into()],
        )?;
        rows.iter()
            .map(|row| row.text(0).map(str::to_owned))
            .collect::<Result<_, StoreError>>()
    };
    block(store.read(work)).expect("reads")
}

fn under_way(store: &Store, now: Timestamp) -> Vec<Kept> {
    block(store.read(move |tx| support::under_way(tx, &gateway(), now))).expect("reads")
}

pub(super) fn a_box_says_nothing_of_who_asked(home: &Home) {
    let store = home.open();
    enrolled(&store);
    // What nobody here asked for, and a number above all that could be given after it.
    let moment = u64::try_from(NOW.ms).expect("positive");
    for number in [moment + 1000, u64::MAX, 1 << 62] {
        say(&store, &record(number, Became::Opened), NOW);
    }
    let foreign = under_way(&store, NOW);
    assert_eq!(foreign.len(), 1, "{foreign:?}");
    assert!(foreign[0].foreign && !foreign[0].may_meet(NOW));
    assert!(details(&store, "support-opened")[0].contains("only the box told"));
    // It keeps nobody from asking, and from ending what was asked for.
    let Asking::Asked(own) = ask(&store, NOW) else {
        panic!("asked for");
    };
    assert_eq!(own.session.0, moment + 1001);
    let forged = SupportRecord {
        of: Session {
            session: own.session,
            ..record(0, Became::Opened).of
        },
        became: Became::Opened,
        at: NOW,
    };
    say(&store, &forged, NOW);
    let live = under_way(&store, NOW);
    assert_eq!(live[0].session, own, "as it was asked for, and before the other");
    assert!(live[0].may_meet(NOW));
    let told = details(&store, "support-opened");
    assert!(told[1].contains("ticket INC-1:"), "{told:?}");
    let work = |tx: &mut dyn crate::store::Tx| support::end(tx, &gateway(), "done", "olga", NOW);
    assert!(block(store.write(work)).expect("answers"));
    let asked = details(&store, "support-end-asked");
    assert_eq!(asked.len(), 2, "{asked:?}");
}

pub(super) fn a_session_that_was_cancelled_before_the_box_answered_blocks_nobody_for_long(home: &Home) {
    let store = home.open();
    enrolled(&store);
    let asked = Asked::new("INC-1", "silent", 22, 8 * 3600).expect("asked rightly");
    let work = move |tx: &mut dyn crate::store::Tx| {
        support::ask(tx, &gateway(), &asked, "olga", NOW)?;
        support::end(tx, &gateway(), "a mistake", "olga", NOW)
    };
    assert!(block(store.write(work)).expect("answers"));
    assert!(matches!(ask(&store, NOW.plus_ms(LAPSE_MS)), Asking::Busy(_)));
    assert!(matches!(
        ask(&store, NOW.plus_ms(LAPSE_MS + 61_000)),
        Asking::Asked(_)
    ));
}

pub(super) fn an_older_session_that_its_box_opened_late_is_the_one_under_way(home: &Home) {
    let store = home.open();
    enrolled(&store);
    let Asking::Asked(first) = ask(&store, NOW) else {
        panic!("asked for");
    };
    let later = NOW.plus_ms(LAPSE_MS);
    let Asking::Asked(second) = ask(&store, later) else {
        panic!("asked for");
    };
    let opened = SupportRecord {
        of: first.clone(),
        became: Became::Opened,
        at: NOW,
    };
    say(&store, &opened, later);
    let live: Vec<SessionNumber> = under_way(&store, later)
        .iter()
        .map(|kept| kept.session.session)
        .collect();
    assert_eq!(live, [first.session, second.session]);
}

pub(super) fn whoever_was_there_when_the_server_was_killed_is_told_as_gone(home: &Home) {
    let store = home.open();
    enrolled(&store);
    let Asking::Asked(session) = ask(&store, NOW) else {
        panic!("asked for");
    };
    let work = move |tx: &mut dyn crate::store::Tx| {
        let kept = support::one(tx, &gateway(), session.session)?.expect("kept");
        for by in ["token:a", "token:b", "token:a"] {
            support::connected(tx, &kept, by, NOW)?;
        }
        let left = Used {
            gateway: gateway(),
            session: session.session,
            by: "token:a".into(),
            in_bytes: 2,
            out_bytes: 3,
        };
        support::used(tx, &left, NOW)?;
        // Each start looks; one is enough.
        support::left_unseen(tx, NOW)?;
        support::left_unseen(tx, NOW)
    };
    block(store.write(work)).expect("noted");
    let left = details(&store, "support-left");
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(
        left[1..].iter().all(|left| left.contains("amount unknown")),
        "{left:?}"
    );
}
