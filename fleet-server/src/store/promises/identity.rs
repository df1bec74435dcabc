//! Who gateways are: promises over gateways, claims, certificates and incidents.

use homeward_protocol::attest::Tier;
use homeward_protocol::claim::Code;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;

use super::kept::gateway;
use super::{Home, NOW, block};
use crate::access::Scope;
use crate::audit::Action;
use crate::ca::{DAY_MS, Issued, Rank, Serial};
use crate::device::register::{self, Approving, Claiming, NewClaim, Revoking};
use crate::device::{Approval, State};
use crate::store::certificates::{self, Timing};
use crate::store::{Store, StoreError, Tx, audit, claims, gateways, incidents, signals, tokens};

fn key(n: u8) -> PublicKey {
    let mut point = [n; 65];
    point[0] = 4;
    PublicKey::from_point(&point).expect("a point's shape")
}

fn issued(n: u8, at: Timestamp) -> Issued {
    Issued {
        serial: Serial::from_random([n; 16]),
        key: key(n),
        rank: Rank::Own(Tier::Software),
        not_before: at,
        not_after: at.plus_ms(14 * DAY_MS),
        der: vec![n, 1, 2, 3].into(),
    }
}

fn claim(tx: &mut dyn Tx, code: u8) -> Result<Claiming, StoreError> {
    let new = NewClaim {
        gateway: &gateway(),
        code: &Code::from_random([code; 10]),
        approval: Approval::Operator,
        expires_at: NOW.plus_ms(DAY_MS),
        placement: None,
        by: "anna",
    };
    register::claim_new(tx, &new, NOW)
}

fn write<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
) -> T {
    block(store.write(work)).expect("written")
}

pub(crate) fn a_claim_is_bound_once_approved_once_and_void_when_claimed_anew(home: &Home) {
    let store = home.open();
    assert_eq!(write(&store, |tx| claim(tx, 1)), Claiming::New);
    let approve = |tx: &mut dyn Tx| register::approve(tx, &gateway(), None, "anna", NOW);
    assert_eq!(write(&store, approve), Approving::NotUsed);
    write(&store, |tx| claims::note_failure(tx, &gateway()));
    let bind = |n: u8| move |tx: &mut dyn Tx| claims::bind(tx, &gateway(), &key(n), NOW);
    assert!(write(&store, bind(1)));
    assert!(!write(&store, bind(2)));
    assert_eq!(write(&store, |tx| claims::open(tx, 10)).len(), 1);
    assert_eq!(write(&store, approve), Approving::Approved);
    assert_eq!(write(&store, approve), Approving::Already);
    let kept = write(&store, |tx| claims::get(tx, &gateway())).expect("there");
    assert_eq!((kept.failed_tries, kept.key), (1, Some(key(1))));
    assert_eq!(
        (kept.used_at, kept.approved_by.as_deref()),
        (Some(NOW), Some("anna"))
    );
    assert_eq!(write(&store, |tx| claim(tx, 2)), Claiming::Anew);
    let kept = write(&store, |tx| claims::get(tx, &gateway())).expect("there");
    assert_eq!((kept.failed_tries, kept.key, kept.approved_at), (0, None, None));
}

pub(crate) fn a_revoked_gateway_takes_its_certificates_along_and_stays_so(home: &Home) {
    let store = home.open();
    write(&store, |tx| claim(tx, 1));
    let advance =
        |from, to| move |tx: &mut dyn Tx| gateways::advance(tx, &gateway(), from, to, NOW.plus_ms(5));
    assert!(write(&store, advance(State::Expected, State::Enrolled)));
    assert!(!write(&store, advance(State::Expected, State::Enrolled)));
    write(&store, |tx| {
        certificates::add(tx, &gateway(), &issued(1, NOW), Timing::InTime, NOW)
    });
    let later = NOW.plus_ms(DAY_MS);
    write(&store, move |tx| {
        certificates::add(tx, &gateway(), &issued(2, later), Timing::Late, later)
    });
    let newest = write(&store, |tx| certificates::of(tx, &gateway(), 1));
    assert_eq!(
        (newest[0].timing, newest[0].der.as_slice()),
        (Timing::Late, [2, 1, 2, 3].as_slice())
    );
    assert_eq!(
        write(&store, |tx| certificates::keys(tx, &gateway())),
        [key(2), key(1)]
    );
    assert_eq!(
        write(&store, move |tx| certificates::issued_since(
            tx,
            &gateway(),
            later
        )),
        1
    );
    let seen = write(&store, signals::newest);
    let revoke = |tx: &mut dyn Tx| register::revoke(tx, &gateway(), "stolen", "anna", NOW.plus_ms(7));
    assert_eq!(write(&store, revoke), Revoking::Revoked(2));
    assert_eq!(write(&store, revoke), Revoking::Already);
    assert_eq!(write(&store, |tx| claim(tx, 3)), Claiming::Revoked);
    assert!(!write(&store, advance(State::Expected, State::Enrolled)));
    assert_eq!(write(&store, |tx| certificates::keys(tx, &gateway())), []);
    // Both are listed while they could still be shown, the first only until its end.
    let listed = |from: Timestamp| move |tx: &mut dyn Tx| certificates::revoked(tx, from);
    assert_eq!(write(&store, listed(NOW)).len(), 2);
    assert_eq!(write(&store, listed(NOW.plus_ms(14 * DAY_MS + 1))).len(), 1);
    assert_eq!(write(&store, |tx| gateways::revoked(tx, None, 10)), [gateway()]);
    assert_eq!(
        write(&store, |tx| gateways::revoked(tx, Some(&gateway()), 10)),
        []
    );
    let hints = write(&store, move |tx| signals::since(tx, seen, 10));
    assert_eq!(hints.len(), 1);
    assert_eq!(
        (hints[0].kind, hints[0].subject.as_str()),
        (signals::Kind::Gateway, "gw-1")
    );
    let shown = write(&store, |tx| register::show(tx, &gateway())).expect("there");
    assert_eq!(shown.gateway.revoked_why.as_deref(), Some("stolen"));
    assert_eq!(shown.gateway.enrolled_at, Some(NOW.plus_ms(5)));
    let by_state = |state| move |tx: &mut dyn Tx| gateways::list(tx, state, None, 10);
    assert_eq!(write(&store, by_state(Some(State::Revoked))).len(), 1);
    assert_eq!(write(&store, by_state(Some(State::Enrolled))).len(), 0);
    assert_eq!(write(&store, by_state(None)).len(), 1);
    let newest = write(&store, |tx| audit::list(tx, i64::MAX, 1));
    assert_eq!(newest[0].action, Action::GatewayRevoked.name());
}

pub(crate) fn an_incident_stands_once_until_a_person_closes_it(home: &Home) {
    let store = home.open();
    let kind = incidents::Kind::CodeReused;
    let raise = |id: &'static str| {
        move |tx: &mut dyn Tx| incidents::raise(tx, id, &gateway(), kind, "look at it", NOW)
    };
    assert!(write(&store, raise("a")));
    assert!(!write(&store, raise("b")));
    assert_eq!(write(&store, |tx| incidents::open(tx, 10)).len(), 1);
    assert!(write(&store, |tx| incidents::close(tx, "a", "anna", NOW)));
    assert!(!write(&store, |tx| incidents::close(tx, "a", "anna", NOW)));
    assert_eq!(write(&store, |tx| incidents::open_of(tx, &gateway())), []);
    assert!(write(&store, raise("c")));
}

pub(crate) fn a_token_that_was_taken_back_stands_no_more(home: &Home) {
    let store = home.open();
    let stands = |now| block(store.read(move |tx| tokens::stands(tx, "abc", now))).expect("reads");
    assert!(!stands(NOW));
    let add = |tx: &mut dyn Tx| {
        let new = tokens::New {
            id: "abc",
            name: "desk",
            hash: &[7; 32],
            scopes: &[Scope::SupportOpen],
            expires: NOW.plus_ms(1000),
            by: "olga",
        };
        tokens::add(tx, new, NOW)
    };
    block(store.write(add)).expect("made");
    assert!(stands(NOW) && !stands(NOW.plus_ms(1000)), "until its end");
    let revoke = || block(store.write(|tx| tokens::revoke(tx, "abc", "olga", NOW))).expect("answers");
    assert!(revoke() && !revoke(), "once");
    assert!(!stands(NOW));
    let listed = block(store.read(|tx| tokens::list(tx, 10))).expect("reads");
    assert_eq!(
        (listed.len(), listed[0].scopes.as_str(), listed[0].revoked),
        (1, "support:open", Some(NOW))
    );
    let rows = write(&store, |tx| audit::list(tx, i64::MAX, 10));
    let actions: Vec<&str> = rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["token-revoked", "token-made"]);
}
