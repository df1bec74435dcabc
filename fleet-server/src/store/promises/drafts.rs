//! Promises about drafts of policies.

use homeward_protocol::time::Timestamp;

use super::{Home, block};
use crate::policy::draft::text::{Text, title};
use crate::policy::draft::{Act, Draft, State, Wrong};
use crate::policy::paper::Papers;
use crate::policy::take::{Taken, take};
use crate::policy::tests::{House, NOON, policy};
use crate::store::policies::Loading;
use crate::store::policies::drafts::{self, Acted, Kept, MOST_OPEN};
use crate::store::{Store, StoreError};

fn now(after_s: i64) -> Timestamp {
    Timestamp::synced(NOON + after_s * 1000)
}

/// A document of this number.
fn text(version: u64, login: &str, comment: &str) -> Text {
    let written = toml::to_string(&policy(version, r#""all""#, login)).expect("a document");
    Text::parse(&format!("{comment}{written}")).expect("short")
}

fn begin(store: &Store, of: &Text, by: &'static str) -> Option<u64> {
    let (of, called) = (of.clone(), title(" ssh by keys ").expect("a title"));
    block(store.write(move |tx| drafts::begin(tx, (&called, Some(6)), &of, by, now(0)))).expect("answers")
}

fn save(store: &Store, id: u64, over: u64, of: &Text, by: &'static str) -> Acted {
    let of = of.clone();
    block(store.write(move |tx| drafts::save(tx, (id, over), &of, by, now(10)))).expect("answers")
}

fn act(store: &Store, id: u64, act: Act, by: &'static str) -> Acted {
    block(store.write(move |tx| drafts::act_on(tx, id, &act, by, now(20)))).expect("answers")
}

fn get(store: &Store, id: u64) -> Kept {
    let found = block(store.read(move |tx| drafts::get(tx, id))).expect("reads");
    found.expect("it is there")
}

fn done(acted: Acted) -> Draft {
    match acted {
        Acted::Done(draft) => draft,
        other => panic!("{other:?}"),
    }
}

fn papers(house: &House, version: u64, login: &str) -> Papers {
    let offer = house.offer(&policy(version, r#""all""#, login), &house.keyring(1));
    Papers {
        keyring: Some(offer.keyring.0),
        policy: Some(offer.policy.0),
        review: offer.review.map(|review| review.0),
    }
}

fn bring(store: &Store, house: &House, papers: &Papers) -> Taken {
    let (roots, papers) = ([house.root.public()], papers.clone());
    block(store.write(move |tx| take(tx, &papers, &roots, "olga", now(30)))).expect("answers")
}

fn trail(store: &Store, id: u64) -> Vec<(String, String)> {
    let subject = format!("draft {id}");
    let rows = store.read(move |tx| {
        let rows = tx.rows(
            "SELECT action, actor FROM audit WHERE subject = $1 ORDER BY id",
            &[(&subject).into()],
        )?;
        rows.iter()
            .map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned())))
            .collect::<Result<Vec<_>, StoreError>>()
    });
    block(rows).expect("reads")
}

pub(super) fn a_draft_comes_to_its_signatures_over_another_person_and_outlasts_a_restart(home: &Home) {
    let (store, house) = (home.open(), House::new());
    let (first, second) = (text(7, "yes", ""), text(7, "no", "# keys only\n"));
    let id = begin(&store, &first, "ann").expect("begun");
    done(save(&store, id, 1, &second, "ben"));
    let again = done(save(&store, id, 2, &second, "cleo"));
    assert_eq!(
        (again.revision, again.authors.len()),
        (2, 2),
        "nothing was written"
    );
    done(act(&store, id, Act::Ask { revision: 2 }, "ann"));
    let digest = second.digest();
    for author in ["ann", "ben"] {
        let own = act(&store, id, Act::Approve { digest }, author);
        assert_eq!(own, Acted::Wrong(Wrong::OwnWork), "{author}");
    }
    // What is signed before it was read is loaded as it always was, and the draft stays where it is.
    let new = Taken::Policy {
        version: 7,
        loading: Loading::New,
    };
    let signed = papers(&house, 7, "no");
    assert_eq!(bring(&store, &house, &signed), new);
    assert_eq!(get(&store, id).draft.state.name(), "asked");
    drop(store);

    let store = home.open();
    let why = "the hazard is another one".to_owned();
    done(act(&store, id, Act::Return { digest, why }, "cleo"));
    let returned = get(&store, id);
    assert!(matches!(&returned.draft.state, State::Writing(Some(a)) if a.mover.by == "cleo"));
    done(act(&store, id, Act::Ask { revision: 2 }, "ann"));
    let reviewed = done(act(&store, id, Act::Approve { digest }, "cleo"));
    drop(store);

    let store = home.open();
    let kept = get(&store, id);
    assert_eq!(kept.draft, reviewed);
    assert_eq!(
        (kept.title.as_str(), kept.base, kept.text.clone()),
        ("ssh by keys", Some(6), second.clone())
    );
    assert_eq!((kept.begun.by.as_str(), kept.saved.by.as_str()), ("ann", "ben"));
    let same = Taken::Policy {
        version: 7,
        loading: Loading::Same,
    };
    assert_eq!(bring(&store, &house, &signed), same);
    let signed = get(&store, id);
    let State::Signed(mover, 7) = &signed.draft.state else {
        panic!("{signed:?}")
    };
    assert_eq!((mover.by.as_str(), mover.at), ("olga", now(30)));
    let source = block(store.read(|tx| drafts::source(tx, 7))).expect("reads");
    assert_eq!(source, Some(signed));
    let trail = trail(&store, id);
    let trail: Vec<(&str, &str)> = trail.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(
        trail,
        [
            ("draft-begun", "ann"),
            ("draft-saved", "ben"),
            ("draft-review-asked", "ann"),
            ("draft-returned", "cleo"),
            ("draft-review-asked", "ann"),
            ("draft-reviewed", "cleo"),
            ("draft-signed", "olga"),
        ]
    );
    assert_eq!(save(&store, id, 2, &first, "ann"), Acted::Wrong(Wrong::Signed(7)));
    assert_eq!(act(&store, 99, Act::Ask { revision: 1 }, "ann"), Acted::Unknown);
}

pub(super) fn what_was_signed_signs_the_draft_that_says_it_and_no_other(home: &Home) {
    let (store, house) = (home.open(), House::new());
    let reviewed = |of: &Text| {
        let id = begin(&store, of, "ann").expect("begun");
        done(act(&store, id, Act::Ask { revision: 1 }, "ann"));
        let digest = of.digest();
        done(act(&store, id, Act::Approve { digest }, "ben"));
        id
    };
    let (right, wrong) = (reviewed(&text(7, "no", "")), reviewed(&text(7, "yes", "")));
    let edited = reviewed(&text(7, "no", "# one\n"));
    done(save(&store, edited, 1, &text(7, "no", "# two\n"), "ann"));
    bring(&store, &house, &papers(&house, 7, "no"));
    let state = |id| get(&store, id).draft.state.name();
    assert_eq!(
        [state(right), state(wrong), state(edited)],
        ["signed", "reviewed", "writing"]
    );
    let other = Taken::Policy {
        version: 7,
        loading: Loading::OtherContent,
    };
    assert_eq!(bring(&store, &house, &papers(&house, 7, "yes")), other);
    assert_eq!(state(wrong), "reviewed", "its number is another policy's");
    // Strangers sign nothing.
    let stranger = House::new();
    let of = reviewed(&text(8, "no", ""));
    let taken = bring(&store, &house, &papers(&stranger, 8, "no"));
    assert!(matches!(taken, Taken::Refused(_)), "{taken:?}");
    assert_eq!(state(of), "reviewed");
}

pub(super) fn two_who_write_at_once_lose_nothing_and_a_changed_text_is_not_believed(home: &Home) {
    let store = home.open();
    let one = text(7, "yes", "");
    let id = begin(&store, &one, "ann").expect("begun");
    let (anns, bens) = (text(7, "no", "# by ann\n"), text(7, "no", "# by ben\n"));
    done(save(&store, id, 1, &anns, "ann"));
    assert_eq!(
        save(&store, id, 1, &bens, "ben"),
        Acted::Wrong(Wrong::Newer { newest: 2 })
    );
    assert_eq!(get(&store, id).text, anns);
    done(save(&store, id, 2, &bens, "ben"));
    let all = block(store.read(move |tx| drafts::revisions(tx, id))).expect("reads");
    let all: Vec<(u64, &str)> = all
        .iter()
        .map(|one| (one.number, one.saved.by.as_str()))
        .collect();
    assert_eq!(all, [(3, "ben"), (2, "ann"), (1, "ann")]);
    let read = |revision| block(store.read(move |tx| drafts::text(tx, id, revision)));
    assert_eq!(read(1).expect("reads"), Some(one));
    assert_eq!(read(2).expect("reads"), Some(anns));
    assert_eq!(read(9).expect("reads"), None);

    done(act(&store, id, Act::Ask { revision: 3 }, "ann"));
    let (listed, asked) = block(store.read(|tx| Ok((drafts::list(tx)?, drafts::asked(tx)?)))).expect("reads");
    assert_eq!((listed.len(), listed[0].revision, asked), (1, 3, 1));
    // Whoever writes into the table has not written the draft.
    let forge = store.write(|tx| {
        tx.execute(
            "UPDATE draft_revisions SET text = $1 WHERE revision = 3",
            &[b"name = 1".as_slice().into()],
        )
    });
    block(forge).expect("forged");
    let forged = block(store.read(move |tx| drafts::get(tx, id)));
    assert!(matches!(forged, Err(StoreError::Corrupt { .. })), "{forged:?}");
}

pub(super) fn drafts_that_wait_have_a_bound_and_those_that_were_given_up_leave_room(home: &Home) {
    let store = home.open();
    let one = text(7, "yes", "");
    for _ in 0..MOST_OPEN {
        begin(&store, &one, "ann").expect("begun");
    }
    assert_eq!(begin(&store, &one, "ann"), None);
    let why = "nobody needs it".to_owned();
    done(act(&store, 7, Act::Drop { why }, "ben"));
    let next = begin(&store, &one, "ann").expect("room again");
    assert_eq!(
        next,
        u64::try_from(MOST_OPEN).expect("small") + 1,
        "numbers are not used again"
    );
    let listed = block(store.read(drafts::list)).expect("reads");
    let (first, last) = (listed.first().expect("some"), listed.last().expect("some"));
    assert_eq!((first.id, last.id, last.state.name()), (next, 7, "dropped"));
}
