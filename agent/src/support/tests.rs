use std::collections::BTreeSet;

use homeward_protocol::posture::ShortText;
use proptest::prelude::*;

use super::*;

const WALL: Timestamp = Timestamp::synced(1_795_000_000_000);

fn at(uptime_s: u64) -> Moment {
    Moment {
        uptime: Uptime(uptime_s * 1000),
        at: WALL.plus_ms(i64::try_from(uptime_s * 1000).expect("small")),
    }
}

fn session(number: u64, port: u16, lasts_s: u32) -> Session {
    Session {
        session: SessionNumber(number),
        ticket: ShortText::cut("INC-1"),
        by: ShortText::cut("olga"),
        reason: ShortText::cut("the scale is silent"),
        port,
        lasts_s,
    }
}

fn open(number: u64) -> Input {
    Input::Ordered(SupportOrder::Open(session(number, 22, 600)))
}

fn rule(tunnel: May, max_minutes: u16) -> InForce {
    let rule = Support {
        hazard: "h-1".parse().expect("an id"),
        tunnel,
        max_minutes,
        to: Vec::new(),
        ports: vec!["22".parse().expect("a port")],
        while_isolated: None,
    };
    InForce {
        rule: Some(rule),
        ..InForce::default()
    }
}

/// Ten minutes to port 22, until so many seconds after the start.
fn until(ends_s: i64) -> InForce {
    InForce {
        ends: Some(WALL.plus_ms(ends_s * 1000)),
        ..rule(May::Yes, 10)
    }
}

fn to(net: &str) -> InForce {
    let mut in_force = rule(May::Yes, 10);
    if let Some(rule) = &mut in_force.rule {
        rule.to = vec![net.parse().expect("a net")];
    }
    in_force
}

/// A box whose policy allows ten minutes to its port 22.
fn allowing() -> Sessions {
    let (mut sessions, _) = Sessions::resume(Some(Saved::default()), at(0));
    assert!(
        sessions
            .handle(Input::Ruled(rule(May::Yes, 10)), at(0))
            .is_empty()
    );
    sessions
}

fn became(effects: &[Effect]) -> Vec<Became> {
    let record = |effect: &Effect| match effect {
        Effect::Record(record) => Some(record.became),
        _ => None,
    };
    effects.iter().filter_map(record).collect()
}

fn opens(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Open(_)))
}

#[test]
fn an_allowed_session_is_written_down_then_told_then_opened() {
    let mut sessions = allowing();
    let effects = sessions.handle(open(7), at(1));
    assert!(
        matches!(
            effects.as_slice(),
            [Effect::Save(saved), Effect::Record(record), Effect::Open(grant)]
                if saved.open.is_some() && record.became == Became::Opened && grant.until == Uptime(601_000)
        ),
        "{effects:?}"
    );
}

#[test]
fn what_no_policy_allows_is_refused_and_its_number_is_used_up() {
    let nothing = InForce::default();
    let isolated = InForce {
        isolated: true,
        ..InForce::default()
    };
    for (in_force, asked, why) in [
        (nothing, session(1, 22, 60), Refusal::NotAllowed),
        (isolated, session(1, 22, 60), Refusal::Isolated),
        (rule(May::No, 10), session(1, 22, 60), Refusal::NotAllowed),
        (rule(May::Yes, 10), session(1, 23, 60), Refusal::Port),
        (rule(May::Yes, 10), session(1, 22, 601), Refusal::TooLong),
        (until(1), session(1, 22, 60), Refusal::NotAllowed),
    ] {
        let (mut sessions, _) = Sessions::resume(Some(Saved::default()), at(0));
        sessions.handle(Input::Ruled(in_force), at(0));
        let order = Input::Ordered(SupportOrder::Open(asked));
        let effects = sessions.handle(order.clone(), at(1));
        assert_eq!(became(&effects), [Became::Refused(why)]);
        assert!(!opens(&effects));
        sessions.handle(Input::Ruled(rule(May::Yes, 480)), at(2));
        assert!(
            sessions.handle(order, at(3)).is_empty(),
            "{why:?}: the same order again"
        );
    }
}

#[test]
fn each_way_to_end_closes_first_and_says_why() {
    let fresh = Moved {
        links: 1,
        in_bytes: 10,
        out_bytes: 20,
    };
    for (input, when, cause) in [
        (Input::Tick, 601, EndCause::Expired),
        (Input::Local, 5, EndCause::Local),
        (Input::Stop, 5, EndCause::Restarted),
        (Input::Ruled(rule(May::No, 10)), 5, EndCause::Policy),
        (Input::Ruled(rule(May::Yes, 9)), 5, EndCause::Policy),
        (Input::Ruled(until(5)), 5, EndCause::Policy),
        (Input::Ruled(to("10.0.0.0/8")), 5, EndCause::Policy),
        (
            Input::Ordered(SupportOrder::End(SessionNumber(7))),
            5,
            EndCause::Ordered,
        ),
    ] {
        let mut sessions = allowing();
        sessions.handle(open(7), at(1));
        sessions.handle(Input::Moved(fresh), at(2));
        let effects = sessions.handle(input, at(when));
        assert_eq!(effects.first(), Some(&Effect::Close), "{cause:?}");
        let lasted = u32::try_from(when - 1).expect("short");
        let ended = Ended {
            cause,
            lasted_s: Some(lasted),
            moved: Some(fresh),
        };
        assert_eq!(became(&effects), [Became::Ended(ended)]);
        assert_eq!(sessions.open(), None);
        assert_eq!(sessions.deadline(), None);
    }
}

#[test]
fn a_silent_session_ends_and_one_in_use_goes_on() {
    let mut sessions = allowing();
    let in_force = rule(May::Yes, 60);
    sessions.handle(Input::Ruled(in_force), at(0));
    let order = SupportOrder::Open(session(7, 22, 3600));
    sessions.handle(Input::Ordered(order), at(0));
    let moved = |in_bytes| {
        Input::Moved(Moved {
            links: 1,
            in_bytes,
            out_bytes: 0,
        })
    };
    assert!(sessions.handle(moved(1), at(500)).is_empty());
    assert!(sessions.handle(moved(1), at(1099)).is_empty(), "the same count");
    let effects = sessions.handle(moved(1), at(1100));
    let ended = became(&effects);
    assert!(
        matches!(ended.as_slice(), [Became::Ended(ended)] if ended.cause == EndCause::Idle),
        "{ended:?}"
    );
}

#[test]
fn a_second_session_is_refused_and_the_first_goes_on() {
    let mut sessions = allowing();
    sessions.handle(open(7), at(1));
    let effects = sessions.handle(open(8), at(2));
    assert_eq!(became(&effects), [Became::Refused(Refusal::Busy)]);
    assert_eq!(
        sessions.open().map(|(open, ..)| open.session),
        Some(SessionNumber(7))
    );
}

#[test]
fn an_end_that_overtakes_its_session_holds() {
    let mut sessions = allowing();
    let early = SupportOrder::End(SessionNumber(7));
    sessions.handle(Input::Ordered(early), at(1));
    assert!(sessions.handle(open(7), at(2)).is_empty());
    assert!(opens(&sessions.handle(open(8), at(3))));
}

#[test]
fn a_restart_ends_it_says_so_and_the_same_order_opens_nothing() {
    let mut sessions = allowing();
    sessions.handle(open(7), at(1));
    let (mut next, effects) = Sessions::resume(Some(sessions.saved().clone()), at(5));
    let ended = Ended {
        cause: EndCause::Restarted,
        lasted_s: None,
        moved: None,
    };
    assert_eq!(became(&effects), [Became::Ended(ended)]);
    next.handle(Input::Ruled(rule(May::Yes, 10)), at(5));
    assert!(next.handle(open(7), at(6)).is_empty());
    let (again, effects) = Sessions::resume(Some(next.saved().clone()), at(9));
    assert!(effects.is_empty() && again.open().is_none(), "it is said once");
}

#[test]
fn what_cannot_be_read_opens_nothing_that_was_asked_for_before() {
    let (mut sessions, _) = Sessions::resume(None, at(0));
    sessions.handle(Input::Ruled(rule(May::Yes, 10)), at(0));
    let asked = u64::try_from(WALL.ms).expect("positive");
    assert!(sessions.handle(open(asked), at(1)).is_empty());
    assert!(opens(&sessions.handle(open(asked + 1), at(1))));
}

#[test]
fn what_is_not_written_down_is_closed() {
    for done in 0..2 {
        let mut sessions = allowing();
        let left = sessions.handle(open(7), at(1)).split_off(done);
        let effects = sessions.handle(Input::Left(left), at(1));
        assert_eq!(effects.first(), Some(&Effect::Close));
        assert_eq!(became(&effects), [Became::Refused(Refusal::NotKept)]);
        assert_eq!(sessions.open(), None);
    }
}

#[test]
fn an_end_is_written_down_before_it_is_told_and_told_until_it_is_taken() {
    let mut sessions = allowing();
    sessions.handle(open(7), at(1));
    let mut effects = sessions.handle(Input::Local, at(2));
    assert!(
        matches!(
            effects.as_slice(),
            [Effect::Close, Effect::Save(before), Effect::Record(_), Effect::Save(after)]
                if before.open.is_none() && before.untold.len() == 1 && after.untold.is_empty()
        ),
        "{effects:?}"
    );
    // The outbox takes nothing, again and again.
    let mut now = 2;
    for left in [2, 1, 1] {
        let left = effects.split_off(left);
        assert!(sessions.handle(Input::Left(left), at(now)).is_empty());
        assert!(
            sessions.handle(Input::Tick, at(now + 1)).is_empty(),
            "not at once"
        );
        now += 30;
        assert_eq!(sessions.deadline(), Some(at(now).uptime));
        effects = sessions.handle(Input::Tick, at(now));
        assert_eq!(became(&effects).len(), 1, "{effects:?}");
    }
    // Nor before the power goes: the next start tells it.
    let Some(Effect::Save(saved)) = effects.first() else {
        panic!("{effects:?}");
    };
    let (next, effects) = Sessions::resume(Some((**saved).clone()), at(now + 1));
    assert_eq!(became(&effects).len(), 1, "{effects:?}");
    assert!(next.saved().untold.is_empty());
}

#[test]
fn what_could_not_be_told_is_bounded() {
    let mut sessions = allowing();
    for number in 1..100 {
        let left = sessions.handle(open(number), at(number));
        let left = sessions.handle(Input::Left(left), at(number));
        sessions.handle(Input::Left(left), at(number));
    }
    assert_eq!(sessions.saved().untold.len(), KEPT);
}

#[test]
fn a_session_ends_with_its_policy_whatever_becomes_of_the_clock() {
    for back_s in [0, 3600] {
        let mut sessions = allowing();
        sessions.handle(Input::Ruled(until(100)), at(0));
        let effects = sessions.handle(open(7), at(1));
        assert!(
            matches!(effects.last(), Some(Effect::Open(grant)) if grant.until == at(100).uptime),
            "{effects:?}"
        );
        let mut now = at(100);
        now.at = now.at.plus_ms(-back_s * 1000);
        let ended = became(&sessions.handle(Input::Tick, now));
        assert!(
            matches!(ended.as_slice(), [Became::Ended(ended)] if ended.cause == EndCause::Policy),
            "{ended:?}"
        );
    }
    // A clock that was put right.
    let mut sessions = allowing();
    sessions.handle(Input::Ruled(until(100)), at(0));
    sessions.handle(open(7), at(1));
    let mut now = at(2);
    now.at = WALL.plus_ms(100_000);
    assert!(!became(&sessions.handle(Input::Tick, now)).is_empty());
}

#[test]
fn only_the_newest_records_are_kept_on_the_box() {
    let mut sessions = allowing();
    for number in 1..100 {
        sessions.handle(open(number), at(number));
        sessions.handle(Input::Local, at(number));
    }
    assert_eq!(sessions.saved().past.len(), KEPT);
}

/// What may happen to a box.
#[derive(Debug, Clone)]
enum Move {
    Do(Input),
    Wait(u64),
    /// The wall clock jumps.
    Jump(i64),
    /// The power goes after so many of the next effects were done.
    PowerCut(usize),
    /// So many of the next effects are done, and then one is not.
    Fails(usize),
}

fn moves() -> impl Strategy<Value = Move> {
    let port = prop_oneof![3 => Just(22u16), 1 => Just(23u16)];
    let order = (1u64..12, port, 5u32..2000).prop_map(|(number, port, lasts_s)| {
        Move::Do(Input::Ordered(SupportOrder::Open(session(number, port, lasts_s))))
    });
    let ends =
        prop_oneof![2 => Just(None), 1 => (-2_000_000i64..4_000_000).prop_map(|ms| Some(WALL.plus_ms(ms)))];
    let ruled = (any::<bool>(), any::<bool>(), 1u16..40, ends).prop_map(|(yes, isolated, minutes, ends)| {
        let tunnel = if yes && !isolated { May::Yes } else { May::No };
        Move::Do(Input::Ruled(InForce {
            isolated,
            ends,
            ..rule(tunnel, minutes)
        }))
    });
    prop_oneof![
        6 => order,
        3 => ruled,
        1 => Just(Move::Do(Input::Ruled(InForce::default()))),
        2 => Just(Move::Do(Input::Tick)),
        2 => (0u64..9).prop_map(|n| Move::Do(Input::Moved(Moved { links: 1, in_bytes: n, out_bytes: n }))),
        1 => Just(Move::Do(Input::Local)),
        1 => (1u64..12).prop_map(|n| Move::Do(Input::Ordered(SupportOrder::End(SessionNumber(n))))),
        4 => (0u64..900).prop_map(Move::Wait),
        2 => (-4_000_000_000i64..4_000_000_000).prop_map(Move::Jump),
        2 => (0usize..4).prop_map(Move::PowerCut),
        2 => (0usize..4).prop_map(Move::Fails),
    ]
}

/// The tunnel as the shell has it: it carries until then at the latest, whoever asks.
#[derive(Debug, Default)]
struct World {
    disk: Saved,
    tunnel: Option<(Session, Uptime)>,
    told: Vec<SupportRecord>,
    ever_opened: BTreeSet<SessionNumber>,
}

impl World {
    /// Does as many of these as it may; those that were left.
    fn carry_out(&mut self, mut effects: Vec<Effect>, most: Option<usize>) -> Vec<Effect> {
        let left = effects.split_off(most.unwrap_or(usize::MAX).min(effects.len()));
        if left.first() == Some(&Effect::Close) {
            // Nothing of it can fail.
            self.tunnel = None;
        }
        for effect in effects {
            match effect {
                Effect::Close => self.tunnel = None,
                Effect::Save(saved) => self.disk = *saved,
                Effect::Record(record) => self.told.push(*record),
                Effect::Open(grant) => {
                    let Grant { session, until, .. } = *grant;
                    assert_eq!(self.tunnel, None, "two tunnels");
                    assert!(
                        self.ever_opened.insert(session.session),
                        "{} is opened a second time",
                        session.session
                    );
                    let told =
                        |record: &SupportRecord| record.of == session && record.became == Became::Opened;
                    assert!(self.told.iter().any(told), "opened and not told");
                    assert_eq!(self.disk.open.as_ref().map(|(open, _)| open), Some(&session));
                    self.tunnel = Some((session, until));
                }
            }
        }
        left
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// No sequence of orders, policies, restarts and jumps of the clock leaves a tunnel open beyond its time or against
    /// the policy, opens one twice, or leaves one that ended untold.
    #[test]
    fn no_tunnel_outlives_its_time_or_its_policy(moves in proptest::collection::vec(moves(), 1..40)) {
        let mut world = World::default();
        let (mut now, mut in_force) = (at(1), InForce::default());
        let (mut sessions, _) = Sessions::resume(Some(Saved::default()), now);
        let mut heard_at = std::collections::BTreeMap::new();
        let (mut cut, mut fails) = (None, None);
        for one in moves {
            let input = match one {
                Move::Wait(seconds) => {
                    now.uptime = now.uptime.plus(Duration::from_secs(seconds));
                    // What the tunnel does by itself.
                    if world.tunnel.as_ref().is_some_and(|(_, until)| now.uptime >= *until) {
                        world.tunnel = None;
                    }
                    Input::Tick
                }
                Move::Jump(ms) => {
                    now.at = WALL.plus_ms(ms);
                    continue;
                }
                Move::PowerCut(after) => {
                    cut = Some(after);
                    continue;
                }
                Move::Fails(after) => {
                    fails = Some(after);
                    continue;
                }
                Move::Do(input) => input,
            };
            if let Input::Ruled(new) = &input {
                in_force = new.clone();
            }
            if let Input::Ordered(SupportOrder::Open(asked)) = &input {
                heard_at.entry(asked.session).or_insert(now.uptime);
            }
            let effects = sessions.handle(input, now);
            let went = cut.take();
            let left = world.carry_out(effects, went.or(fails.take()));
            if went.is_some() {
                world.tunnel = None;
                heard_at.retain(|number, _| *number <= world.disk.highest);
                let (next, effects) = Sessions::resume(Some(world.disk.clone()), now);
                sessions = next;
                prop_assert!(world.carry_out(effects, None).is_empty());
                let effects = sessions.handle(Input::Ruled(in_force.clone()), now);
                prop_assert!(world.carry_out(effects, None).is_empty());
            } else if !left.is_empty() {
                let effects = sessions.handle(Input::Left(left), now);
                prop_assert!(world.carry_out(effects, None).is_empty());
            }
            let believed = sessions.open().map(|(open, ..)| open.clone());
            prop_assert_eq!(world.tunnel.as_ref().map(|(open, _)| open.clone()), believed);
            // What could not be written down waits for its next try.
            let settled = world.disk == *sessions.saved();
            prop_assert!(settled || sessions.deadline().is_some());
            prop_assert!(!settled || world.disk.open.is_some() == world.tunnel.is_some());
            if let Some((open, until)) = &world.tunnel {
                prop_assert!(now.uptime < *until);
                let first = heard_at[&open.session];
                prop_assert!(*until <= first.plus(Duration::from_secs(open.lasts_s.into())));
                prop_assert_eq!(in_force.allows(open, now.at), Ok(()));
            }
        }
        now.uptime = now.uptime.plus(AGAIN);
        let effects = sessions.handle(Input::Tick, now);
        prop_assert!(world.carry_out(effects, None).is_empty());
        prop_assert_eq!(&world.disk, sessions.saved());
        for opened in world.told.iter().filter(|record| record.became == Became::Opened) {
            let open = world.tunnel.as_ref().is_some_and(|(open, _)| *open == opened.of);
            let over = |record: &SupportRecord| {
                record.of == opened.of && matches!(record.became, Became::Ended(_) | Became::Refused(Refusal::NotKept))
            };
            prop_assert_eq!(world.told.iter().any(over), !open);
        }
    }
}
