//! A build that is taken back, in a home that the real interlock knows.

use std::collections::BTreeMap;

use homeward_protocol::id::SensorId;

use super::*;
use crate::interlock::hold::{Hold, HoldId};
use crate::interlock::source::UNHEARD;
use crate::interlock::{Act, Activity, Interlock, Power, QUIET_AFTER_ALARM, Watching};

const ACT: Act = Act {
    disruption: Disruption::AgentRestart,
    longest: Duration::from_mins(1),
    work: Work::Back,
};
const MINUTE: u64 = 60_000;
const PUMP: &str = "pump";
const CUFF: &str = "cuff";

fn id(name: &str) -> SensorId {
    name.parse().expect("a sensor")
}

struct Returning {
    home: Home,
    interlock: Interlock,
}

impl Returning {
    /// It was found harmful just now, and nothing is known of the sensors.
    fn new() -> Returning {
        let mut home = Home::tried(1);
        home.examined(&Health {
            harm: Some(ShortText::cut("the server does not accept its evidence")),
            ..Health::default()
        });
        let asked = Watching::Asked {
            every: Duration::from_secs(10),
            within: Duration::from_secs(1),
        };
        let told = Watching::Told {
            alive: Duration::from_mins(1),
        };
        let sensors = [(id(PUMP), asked), (id(CUFF), told)];
        let mut interlock = Interlock::new(sensors, QUIET_AFTER_ALARM, Uptime(0));
        interlock.hold(&BTreeMap::new(), home.moment().at, Uptime(home.now));
        Returning { home, interlock }
    }

    fn says(&mut self, name: &str, activity: Activity) {
        let now = Uptime(self.home.now);
        self.interlock.say(&id(name), activity, now, now);
    }

    /// Ten seconds later it asks.
    fn look(&mut self) {
        for question in self.home.tick() {
            assert_eq!(question, Effect::AskLeave(Installer::AgentSlot, Work::Back));
            let now = Uptime(self.home.now);
            let answer = match self.interlock.begin(ACT, now) {
                Ok(_window) => Input::Quiet(Before::default()),
                Err(why) => Input::busy(&why, now),
            };
            self.home.hear(answer);
            self.home.act(usize::MAX);
        }
    }

    /// So long, in looks.
    fn looks(&mut self, length: Duration) {
        for _ in 0..length.as_secs() / 10 {
            self.look();
        }
    }

    fn went_back(&self) -> bool {
        self.home.running.version == version(0)
    }

    fn hold(&mut self, length_ms: u64) {
        let at = self.home.moment().at;
        let hold = Hold {
            by: ShortText::cut("nurse"),
            reason: ShortText::cut("a visit"),
            placed: at,
            until: at.plus_ms(i64::try_from(length_ms).expect("small")),
        };
        let all = BTreeMap::from([("visit".parse::<HoldId>().expect("a name"), hold)]);
        self.interlock.hold(&all, at, Uptime(self.home.now));
    }
}

#[test]
fn a_session_outlasts_an_answer_that_is_missed_and_a_listener_that_is_late() {
    for name in [PUMP, CUFF] {
        let mut gateway = Returning::new();
        for _ in 0..120 {
            gateway.says(name, Activity::Busy);
            gateway.look();
        }
        if name == PUMP {
            gateway.says(name, Activity::Unreadable);
        }
        gateway.looks(Duration::from_mins(59));
        assert!(!gateway.went_back(), "{name}: in the session");
        // Its device was switched off with it, and tells no end.
        gateway.looks(Duration::from_mins(2));
        assert!(gateway.went_back(), "{name}: not for ever");
    }
}

#[test]
fn a_hold_an_alarm_and_an_empty_socket_are_waited_for() {
    let mut held = Returning::new();
    held.hold(120 * MINUTE);
    held.looks(Duration::from_mins(119));
    assert!(!held.went_back(), "through the nurse's hold");
    held.looks(Duration::from_mins(2));
    assert!(held.went_back());

    let mut alarmed = Returning::new();
    for _ in 0..5 {
        alarmed.interlock.alarm(Uptime(alarmed.home.now));
        alarmed.looks(Duration::from_secs(590));
        assert!(!alarmed.went_back(), "after an alarm");
    }

    let mut dark = Returning::new();
    dark.interlock.power(Power::Battery, Uptime(0));
    dark.looks(Duration::from_hours(2));
    assert!(!dark.went_back(), "from its battery");
    dark.interlock.power(Power::Mains, Uptime(0));
    dark.look();
    assert!(dark.went_back());
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Says(&'static str, Activity),
    Hold(u64),
    Lift,
    Alarm,
    Power(Power),
    Looks(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let device = prop_oneof![Just(PUMP), Just(CUFF)];
    let activity = prop_oneof![
        3 => Just(Activity::Busy),
        3 => Just(Activity::Unreadable),
        1 => Just(Activity::Idle),
    ];
    prop_oneof![
        8 => (device, activity).prop_map(|(device, activity)| Event::Says(device, activity)),
        1 => (1_u64..200).prop_map(|minutes| Event::Hold(minutes * MINUTE)),
        1 => Just(Event::Lift),
        1 => Just(Event::Alarm),
        1 => prop_oneof![Just(Power::Battery), Just(Power::Mains)].prop_map(Event::Power),
        8 => (1_u64..90).prop_map(Event::Looks),
    ]
}

proptest! {
    /// Whatever happens in whichever order: what is known to be in the way is waited for.
    #[test]
    fn it_goes_back_only_where_nothing_is_known_to_be_in_the_way(
        row in proptest::collection::vec(event(), 1..60),
    ) {
        let mut gateway = Returning::new();
        let mut sessions: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut held, mut quiet, mut power) = (0, 0, Power::Mains);
        for one in row {
            let now = gateway.home.now;
            match one {
                Event::Says(name, activity) => {
                    gateway.says(name, activity);
                    match activity {
                        Activity::Busy => {
                            sessions.insert(name, now + u64::try_from(UNHEARD.as_millis()).expect("small"));
                        }
                        Activity::Idle => {
                            sessions.remove(name);
                        }
                        Activity::Unreadable => {}
                    }
                }
                Event::Hold(length) => {
                    gateway.interlock.hold(&BTreeMap::new(), gateway.home.moment().at, Uptime(now));
                    gateway.hold(length);
                    held = now + length;
                }
                Event::Lift => {
                    gateway.interlock.hold(&BTreeMap::new(), gateway.home.moment().at, Uptime(now));
                    held = 0;
                }
                Event::Alarm => {
                    gateway.interlock.alarm(Uptime(now));
                    quiet = now + u64::try_from(QUIET_AFTER_ALARM.as_millis()).expect("small");
                }
                Event::Power(from) => {
                    gateway.interlock.power(from, Uptime(now));
                    power = from;
                }
                Event::Looks(times) => {
                    for _ in 0..times {
                        gateway.look();
                        let now = gateway.home.now;
                        let known = sessions.values().any(|until| now <= *until)
                            || now < held
                            || now < quiet
                            || power == Power::Battery;
                        prop_assert!(!(known && gateway.went_back()), "at {now}: {sessions:?}");
                        if gateway.went_back() {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }
}
