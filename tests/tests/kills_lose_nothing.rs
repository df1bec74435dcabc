//! The promise: whatever is killed, whenever, no reading that a gateway committed is missing and none is there twice.
//!
//! Real agents read real (simulated) devices over Modbus/TCP and deliver to a real server, while the server and
//! agents are killed with `-9` at moments that a seed picks. `HOMEWARD_SEED` takes another seed; `HOMEWARD_LONG=1`
//! plays ten times as long with ten times the kills.
#![expect(
    clippy::disallowed_methods,
    reason = "a story with real processes and real time"
)]

use std::time::{Duration, Instant};

use homeward_devices::simulated::Behaviour;
use homeward_tests::homes::{Home, Plan};
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::tally::{Tally, compare};

const GATEWAYS: usize = 100;
const SECONDS: u64 = 60;
const SERVER_KILLS: usize = 5;
const AGENT_KILLS: usize = 10;
/// The profile's ten numbers and two states are asked once a second.
const PROFILE: &str = "tripp-lite-modbuscard";
const INTERVAL_MS: u32 = 1000;

/// Numbers from a seed: Marsaglia's xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

enum Victim {
    Server,
    Agent(usize),
}

#[test]
fn no_kill_of_server_or_agent_loses_or_doubles_a_reading() {
    let seed = std::env::var("HOMEWARD_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(20_261_125);
    let times = if std::env::var("HOMEWARD_LONG").is_ok() {
        10
    } else {
        1
    };
    println!("seed {seed}, {GATEWAYS} gateways, {} s", SECONDS * times);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(story(seed, times));
}

async fn story(seed: u64, times: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut fleet = Fleet::init(&folder.path().join("fleet"), &["--name", "localhost", "--trial"]);
    let nothing: [&str; 0] = [];
    fleet.serve(&nothing);
    let mut homes = Vec::new();
    for n in 0..GATEWAYS {
        let placement = format!("home-{n:03}");
        let plan = Plan {
            placement: &placement,
            team: "north",
            dependency: "medium",
            sensor: PROFILE,
            profile: PROFILE,
            interval_ms: INTERVAL_MS,
            seed: seed + n as u64 + 1,
        };
        homes.push(Home::settle(&fleet, folder.path(), plan).await);
    }
    for home in &mut homes {
        home.run();
    }

    let mut dice = Dice(seed | 1);
    let length = Duration::from_secs(SECONDS * times);
    let begun = Instant::now();
    for (at, victim) in schedule(&mut dice, times) {
        tokio::time::sleep(at.saturating_sub(begun.elapsed())).await;
        match victim {
            Victim::Server => {
                fleet.kill();
                tokio::time::sleep(Duration::from_millis(dice.below(2000))).await;
                fleet.serve(&nothing);
            }
            Victim::Agent(n) => {
                homes[n].agent.kill();
                tokio::time::sleep(Duration::from_millis(dice.below(1000))).await;
                homes[n].run();
            }
        }
    }
    tokio::time::sleep(length.saturating_sub(begun.elapsed())).await;

    for home in &homes {
        home.set_device(Behaviour::Silent);
    }
    let limit = Instant::now() + Duration::from_mins(2);
    for home in &homes {
        while home.waiting() > 0 {
            assert!(
                Instant::now() < limit,
                "{} still holds {} records",
                home.placement,
                home.waiting()
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    let mut boxes = Vec::new();
    for mut home in homes {
        home.agent.stop();
        boxes.push((home.agent.dir().join("outbox.db"), home.gateway.clone()));
    }
    fleet.stop();
    let database = folder.path().join("fleet/fleet.db");
    let mut all = Tally::default();
    for (outbox, gateway) in &boxes {
        let tally = compare(outbox, &database, gateway).expect("two databases");
        assert_eq!(
            (tally.missing, tally.duplicates, tally.lost),
            (0, 0, 0),
            "{gateway}: {tally:?}"
        );
        all = all.plus(tally);
    }
    println!("{all:?}");
    let expected = GATEWAYS as u64 * SECONDS * times * 10;
    assert!(
        all.produced > expected / 2,
        "the load was not what it should be: {all:?}"
    );
    assert_eq!(all.stored, all.produced, "{all:?}");
}

/// When whom: sorted moments, none in the first or last twelfth.
fn schedule(dice: &mut Dice, times: u64) -> Vec<(Duration, Victim)> {
    let ms = SECONDS * times * 1000;
    let times = usize::try_from(times).unwrap_or(1);
    let moment = |dice: &mut Dice| Duration::from_millis(ms / 12 + dice.below(ms * 10 / 12));
    let mut all = Vec::new();
    for _ in 0..SERVER_KILLS * times {
        all.push((moment(dice), Victim::Server));
    }
    for _ in 0..AGENT_KILLS * times {
        let at = moment(dice);
        let which = usize::try_from(dice.below(GATEWAYS as u64)).unwrap_or(0);
        all.push((at, Victim::Agent(which)));
    }
    all.sort_by_key(|(at, _)| *at);
    all
}
