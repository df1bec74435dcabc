//! A small fleet with one of everything, at a fixed moment: two care teams, homes in each state, people, a trail.

#[path = "advised.rs"]
pub(crate) mod advised;
#[path = "policies.rs"]
pub(crate) mod policies;
#[path = "releases.rs"]
pub(crate) mod releases;

use std::sync::Arc;

use homeward_fleet::access::password::{Passwords, hash_now};
use homeward_fleet::access::token::kept;
use homeward_fleet::access::{Role, Scope};
use homeward_fleet::bus::Bus;
use homeward_fleet::care::Dependency;
use homeward_fleet::clock::Clock;
use homeward_fleet::device::invite::Invitations;
use homeward_fleet::store::care::{Placement, Team, add_placement, add_team};
use homeward_fleet::store::records::Origin;
use homeward_fleet::store::support::{self, Asking};
use homeward_fleet::store::{Store, StoreConfig, StoreError, Tx, Value, open, tokens, users};
use homeward_fleet::support::Asked;
use homeward_fleet::web::{self, Desk};
use homeward_protocol::claim::Pin;
use homeward_protocol::envelope::Lane;
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::{
    Clock as BoxClock, Disk, KeyFacts, KeyPlace, PostureReport, Sealing, SensorHeard, ShortText,
};
use homeward_protocol::support::{Became, EndCause, Ended, Moved, SupportRecord};
use homeward_protocol::time::{ClockTrust, Timestamp, Uptime};

/// 2026-11-18 14:49:10 UTC.
pub(crate) const NOW: i64 = 1_795_013_350_000;
/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The moment `s` seconds before [`NOW`].
pub(crate) fn at(s: i64) -> Timestamp {
    Timestamp::synced(NOW - s * 1000)
}

/// A desk over a filled store. The folder goes with it.
pub(crate) struct World {
    pub(crate) desk: Desk,
    pub(crate) house: Arc<policies::House>,
    pub(crate) _dir: Arc<tempfile::TempDir>,
}

/// An empty store behind a console that nobody has set up.
pub(crate) fn empty() -> World {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(&StoreConfig::Sqlite(dir.path().join("fleet.db"))).expect("opens");
    World {
        desk: desk(store),
        house: Arc::new(policies::House::new()),
        _dir: Arc::new(dir),
    }
}

fn desk(store: Store) -> Desk {
    let invitations = Invitations {
        server: "fleet.example:8443".parse().expect("an endpoint"),
        pin: tokio::sync::watch::channel(Pin([7; 32])).1,
        lasts_ms: 7 * 86_400_000,
    };
    Desk::new(
        store,
        Clock::from_fn(|| Timestamp::synced(NOW)),
        Bus::start().expect("a bus"),
        invitations,
        Passwords::new().expect("hashes"),
    )
}

/// One of everything.
pub(crate) async fn filled() -> World {
    let mut world = empty();
    let hash = hash_now(PASSWORD).expect("hashes");
    let house = Arc::clone(&world.house);
    world.desk.roots = house.roots();
    world.desk.releases = releases::published();
    world
        .desk
        .store
        .write(move |tx| {
            fill(tx, &hash)?;
            policies::fill(tx, &house)?;
            releases::fill(tx)?;
            helped(tx)
        })
        .await
        .expect("fills");
    world
}

/// Opens a session for this person and gives its cookie; the form token is the name.
pub(crate) async fn session(world: &World, user: &str) -> String {
    let (name, secret) = (
        user.parse().expect("a name"),
        format!("SECRETOF{}", user.to_uppercase()),
    );
    let (hash, csrf) = (kept(&secret), csrf(user));
    let opened = world
        .desk
        .store
        .write(move |tx| users::open_session(tx, &name, &hash, &csrf, at(0)));
    opened.await.expect("opens");
    format!("{}={secret}", web::guard::SESSION)
}

/// What this person's forms carry.
pub(crate) fn csrf(user: &str) -> String {
    format!("TOKENOF{}", user.to_uppercase())
}

/// An API token with all scopes but the one left out.
pub(crate) async fn token(world: &World, text: &'static str, scopes: Vec<Scope>) {
    let add = world.desk.store.write(move |tx| {
        let new = tokens::New {
            id: text,
            name: "a test",
            hash: &kept(text),
            scopes: &scopes,
            expires: at(-86_400),
            by: "olga",
        };
        tokens::add(tx, new, at(0))
    });
    add.await.expect("adds");
}

type Done = Result<(), StoreError>;

/// Two support sessions: one that its box ended, and one that is open.
fn helped(tx: &mut dyn Tx) -> Done {
    let ended = Ended {
        cause: EndCause::Idle,
        lasted_s: Some(640),
        moved: Some(Moved {
            links: 1,
            in_bytes: 4_096,
            out_bytes: 65_536,
        }),
    };
    for (gateway, ago, end) in [
        ("gw-05aaaa", 7200, Some(Became::Ended(ended))),
        ("gw-05aaaa", 300, None),
    ] {
        let asked = Asked::new("INC-4711", "the scale reports nothing", 22, 900).expect("as it should be");
        let asked = support::ask(tx, &gateway.parse().expect("an id"), &asked, "olga", at(ago))?;
        let Asking::Asked(of) = asked else {
            panic!("{asked:?}");
        };
        for (became, after) in [(Some(Became::Opened), 1), (end, 650)] {
            let Some(became) = became else { continue };
            let of = of.clone();
            let origin = Origin {
                gateway,
                epoch: "01",
                lane: Lane::Urgent,
                spare: false,
                now: at(ago - after),
            };
            let record = SupportRecord {
                of,
                became,
                at: origin.now,
            };
            support::take(tx, &origin, &record)?;
        }
    }
    Ok(())
}

fn fill(tx: &mut dyn Tx, hash: &str) -> Done {
    for (id, name) in [("north", "Care team North"), ("south", "Care team South")] {
        let team = Team {
            id: id.parse().expect("an id"),
            name: name.into(),
        };
        add_team(tx, &team, "olga", at(90_000))?;
    }
    for n in 1..=12 {
        let dependency = if n % 4 == 1 {
            Dependency::High
        } else {
            Dependency::Medium
        };
        home(tx, &format!("home-{n:02}"), "north", dependency)?;
    }
    home(tx, "home-90", "south", Dependency::Low)?;
    home(tx, "home-91", "south", Dependency::Low)?;
    for (name, role, team) in [
        ("olga", Role::Operator, None),
        ("omar", Role::Operator, None),
        ("nina", Role::Nurse, Some("north")),
        ("sam", Role::Nurse, Some("south")),
        ("gone", Role::Nurse, Some("south")),
    ] {
        let team = team.map(|t| t.parse().expect("an id"));
        users::add(
            tx,
            &name.parse().expect("a name"),
            role,
            team.as_ref(),
            hash,
            "setup",
            at(80_000),
        )?;
    }
    users::disable(tx, &"gone".parse().expect("a name"), "olga", at(70_000))?;
    for n in 1..=10 {
        gateway(
            tx,
            &format!("gw-{n:02}aaaa"),
            Some(&format!("home-{n:02}")),
            "enrolled",
            Some(10),
        )?;
    }
    gateway(tx, "gw-12aaaa", Some("home-12"), "waiting", None)?;
    gateway(tx, "gw-90bbbb", Some("home-90"), "enrolled", Some(8))?;
    gateway(tx, "gw-91bbbb", Some("home-91"), "enrolled", Some(8))?;
    gateway(tx, "gw-95cccc", None, "revoked", Some(400_000))?;
    gateway(tx, "gw-96cccc", None, "expected", None)?;
    sensors(tx)?;
    claims(tx)?;
    history(tx)
}

fn home(tx: &mut dyn Tx, id: &str, team: &str, dependency: Dependency) -> Done {
    let home = Placement {
        id: id.parse().expect("an id"),
        team: team.parse().expect("an id"),
        dependency,
    };
    add_placement(tx, &home, "olga", at(85_000))
}

fn gateway(tx: &mut dyn Tx, id: &str, home: Option<&str>, state: &str, heard: Option<i64>) -> Done {
    let heard = heard.map(|s| at(s).ms);
    let connected = heard.filter(|ms| *ms > at(60).ms).map(|_| at(7200).ms);
    run(
        tx,
        "INSERT INTO gateways (id, state, placement, created_at, enrolled_at, connected_at, address, last_heard,
           revoked_at, revoked_why) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            id.into(),
            state.into(),
            home.into(),
            at(80_000).ms.into(),
            heard.map(|_| at(79_000).ms).into(),
            connected.into(),
            heard.map(|_| "192.0.2.17:50112").into(),
            heard.into(),
            (state == "revoked").then(|| at(3600).ms).into(),
            (state == "revoked").then_some("the box was stolen").into(),
        ],
    )
}

fn sensors(tx: &mut dyn Tx) -> Done {
    for n in 1..=10 {
        let gateway = format!("gw-{n:02}aaaa");
        let silent = if n == 2 { 9500 } else { 10 };
        sensor(
            tx,
            &gateway,
            "oxygen-concentrator",
            "concentrator-generic",
            silent,
        )?;
        number(
            tx,
            &gateway,
            "oxygen-concentrator",
            "oxygen-concentration",
            931,
            silent,
        )?;
        word(tx, &gateway, "oxygen-concentrator", "running", "on", silent)?;
        sensor(tx, &gateway, "power-supply", "ups-mib", silent)?;
        number(tx, &gateway, "power-supply", "battery-charge", 1000, silent)?;
        let battery = if n == 3 { "weak" } else { "good" };
        word(tx, &gateway, "power-supply", "battery-condition", battery, silent)?;
        let activity = if n == 5 { "discharging" } else { "floating" };
        word(tx, &gateway, "power-supply", "battery-activity", activity, silent)?;
    }
    cuff(tx, "gw-01aaaa", QUESTIONABLE)?;
    cuff(tx, "gw-06aaaa", ANOTHERS)?;
    for gateway in ["gw-90bbbb", "gw-91bbbb"] {
        sensor(tx, gateway, "freezer", "freezer-modbus", 8)?;
        number(tx, gateway, "freezer", "storage-temperature", -214, 8)?;
    }
    run(
        tx,
        "UPDATE gateways SET last_heard = $1, connected_at = NULL WHERE id = 'gw-02aaaa'",
        &[at(9500).ms.into()],
    )
}

/// A measurement that was kept by the cuff, converted, and in doubt.
const QUESTIONABLE: &str = r#"{"reasons":["legacy-bond","gateway-unjudged"],
  "marks":["from-storage","moved","irregular-pulse"],"sensor_clock":{"at_ms":1795009750000,"ahead_ms":-3600000},
  "sent":{"value":[160,-1],"unit":"kilopascal"}}"#;
/// What comes from a device that has lost its bond.
const ANOTHERS: &str = r#"{"reasons":["bond-changed","gateway-unjudged"]}"#;

fn cuff(tx: &mut dyn Tx, gateway: &str, details: &'static str) -> Done {
    sensor(tx, gateway, "cuff", "blood-pressure", 10)?;
    number(tx, gateway, "cuff", "systolic-pressure", 1200, 10)?;
    number(tx, gateway, "cuff", "pulse-rate", 720, 10)?;
    let grade = if details == ANOTHERS {
        "unverified"
    } else {
        "associated"
    };
    for sql in [
        "UPDATE latest SET details = $1, grade = $2 WHERE gateway = $3 AND sensor = 'cuff'",
        "UPDATE readings SET details = $1, grade = $2 WHERE gateway = $3 AND sensor = 'cuff'",
    ] {
        run(tx, sql, &[details.into(), grade.into(), gateway.into()])?;
    }
    run(
        tx,
        "UPDATE latest SET details = NULL, grade = 'verified'
         WHERE gateway = $1 AND kind = 'pulse-rate' AND grade <> 'unverified'",
        &[gateway.into()],
    )
}

fn sensor(tx: &mut dyn Tx, gateway: &str, id: &str, profile: &str, ago: i64) -> Done {
    run(
        tx,
        "INSERT INTO sensors (gateway, sensor, profile, interval_s, failures, last_heard, last_stored, listed_at)
         VALUES ($1, $2, $3, 60, 0, $4, $4, $5)",
        &[gateway.into(), id.into(), profile.into(), at(ago).ms.into(), at(70_000).ms.into()],
    )
}

fn number(tx: &mut dyn Tx, gateway: &str, sensor: &str, kind: &str, tenths: i64, ago: i64) -> Done {
    newest(tx, gateway, sensor, kind, (Some(tenths), None), ago)
}

fn word(tx: &mut dyn Tx, gateway: &str, sensor: &str, kind: &str, state: &str, ago: i64) -> Done {
    newest(tx, gateway, sensor, kind, (None, Some(state)), ago)
}

fn newest(
    tx: &mut dyn Tx,
    gateway: &str,
    sensor: &str,
    kind: &str,
    (tenths, state): (Option<i64>, Option<&str>),
    ago: i64,
) -> Done {
    run(
        tx,
        "INSERT INTO latest (gateway, sensor, kind, mantissa, exponent, state, quality, grade, taken_at, clock,
           received_at) VALUES ($1, $2, $3, $4, $5, $6, 'good', 'associated', $7, 'synced', $8)",
        &[
            gateway.into(),
            sensor.into(),
            kind.into(),
            tenths.into(),
            tenths.map(|_| -1).into(),
            state.into(),
            at(ago).ms.into(),
            at(ago).ms.into(),
        ],
    )?;
    run(
        tx,
        "INSERT INTO readings (gateway, epoch, seq, sensor, kind, mantissa, exponent, state, quality, grade, taken_at,
           clock, received_at)
         SELECT gateway, '00000000000000ff', (SELECT COUNT(*) FROM readings) + 1, sensor, kind, mantissa, exponent,
           state, quality, grade, taken_at, clock, received_at
         FROM latest WHERE gateway = $1 AND sensor = $2 AND kind = $3",
        &[gateway.into(), sensor.into(), kind.into()],
    )
}

fn claims(tx: &mut dyn Tx) -> Done {
    let key = ["3059301306072a8648ce3d020106082a8648ce3d030107034200"].concat();
    let mut spki: Vec<u8> = (0..key.len() / 2)
        .map(|i| u8::from_str_radix(&key[2 * i..2 * i + 2], 16).expect("hex"))
        .collect();
    spki.push(4);
    spki.extend([0x5a; 64]);
    for (gateway, approval, used) in [("gw-12aaaa", "operator", true), ("gw-96cccc", "automatic", false)] {
        run(
            tx,
            "INSERT INTO claims (gateway, code_hash, approval, created_at, created_by, expires_at, spki, used_at)
             VALUES ($1, $2, $3, $4, 'olga', $5, $6, $7)",
            &[
                gateway.into(),
                kept(gateway).as_slice().into(),
                approval.into(),
                at(4000).ms.into(),
                at(if used { -86_400 } else { 60 }).ms.into(),
                used.then_some(spki.as_slice()).into(),
                used.then(|| at(600).ms).into(),
            ],
        )?;
    }
    Ok(())
}

fn history(tx: &mut dyn Tx) -> Done {
    let gateway = "gw-01aaaa";
    run(
        tx,
        "INSERT INTO alarms (gateway, epoch, seq, sensor, condition, active, at, received_at)
         VALUES ($1, '00000000000000ff', 1, 'oxygen-concentrator', 'device-alarm', 1, $2, $2)",
        &[gateway.into(), at(300).ms.into()],
    )?;
    run(
        tx,
        "INSERT INTO gaps (gateway, epoch, lane, from_seq, to_seq, missing, cause, noted_at)
         VALUES ($1, '00000000000000ff', 'bulk', 10, 21, 12, 'quota', $2)",
        &[gateway.into(), at(50_000).ms.into()],
    )?;
    run(
        tx,
        "INSERT INTO rejects (gateway, total, last_at, last_why)
         VALUES ($1, 3, $2, 'a record in another lane than its own')",
        &[gateway.into(), at(600).ms.into()],
    )?;
    run(
        tx,
        "INSERT INTO quarantine (gateway, digest, received_at, why, bytes)
         SELECT gateway, 'd1', last_at, last_why, $1 FROM rejects",
        &[[7u8; 4].as_slice().into()],
    )?;
    run(
        tx,
        "INSERT INTO outages (gateway, epoch, seq, from_at, until_at, cause, received_at)
         VALUES ($1, '00000000000000ff', 2, $2, $3, 'unreachable', $3)",
        &[gateway.into(), at(9000).ms.into(), at(7200).ms.into()],
    )?;
    for (from, until, why) in [(7200, None, None), (70_000, Some(9000), Some("lost"))] {
        let until: Option<i64> = until.map(|s: i64| at(s).ms);
        run(
            tx,
            "INSERT INTO connections (gateway, connected_at, address, ended_at, ended_why)
             VALUES ($1, $2, '192.0.2.17:50112', $3, $4)",
            &[gateway.into(), at(from).ms.into(), until.into(), why.into()],
        )?;
    }
    run(
        tx,
        "INSERT INTO certificates (serial, gateway, point, not_before, not_after, issued_at, der)
         VALUES ('4f00a1b2', $1, $2, $3, $4, $3, $2)",
        &[
            gateway.into(),
            [4u8; 65].as_slice().into(),
            at(79_000).ms.into(),
            at(-1_130_600).ms.into(),
        ],
    )?;
    run(
        tx,
        "INSERT INTO incidents (id, gateway, kind, said, at)
         VALUES ('in-1', 'gw-12aaaa', 'second-key', 'A second box used the claim of gw-12aaaa with another key.', $1)",
        &[at(500).ms.into()],
    )?;
    run(
        tx,
        "INSERT INTO findings (gateway, suspicion, sensor, address, since, said, raised_at, cleared_at)
         VALUES ($1, 'clock-shift', 'cuff', '', $2, 'its clock jumped by 10 minutes', $2, NULL),
                ($1, 'frozen', 'glucose', '', $3, 'glucose: the same value 25 times in 120 minutes', $3, $2)",
        &[gateway.into(), at(3600).ms.into(), at(90_000).ms.into()],
    )?;
    run(
        tx,
        "INSERT INTO bonds (gateway, sensor, address, class, key_size, associated_at, firmware, battery)
         VALUES ($1, 'cuff', 'C1:00:00:00:0A:01', 'secure-authenticated', 16, $2, '1.2.3', 87)",
        &[gateway.into(), at(90_000).ms.into()],
    )?;
    run(
        tx,
        "INSERT INTO postures (gateway, taken_at, received_at, report) VALUES ($1, $2, $2, $3)",
        &[gateway.into(), at(40).ms.into(), posture().as_slice().into()],
    )
}

fn posture() -> Vec<u8> {
    let sensor: SensorId = "oxygen-concentrator".parse().expect("an id");
    let report = PostureReport {
        taken_at: at(40),
        agent: ShortText::cut("0.1.0"),
        os: ShortText::cut("Debian GNU/Linux 12 (bookworm)"),
        kernel: ShortText::cut("6.1.0-28-arm64"),
        uptime: Uptime(79_000_000),
        boot: "0b5e1f6c-58d4-4c8b-9a53-0f1b2c3d4e5f".parse().expect("an id"),
        disk: Disk {
            total_bytes: 31_000_000_000,
            free_bytes: 24_500_000_000,
            outbox_bytes: 3_400_000,
        },
        clock: BoxClock {
            trust: ClockTrust::Synced,
            error_ms: Some(4),
        },
        sensors: vec![SensorHeard {
            sensor,
            profile: ShortText::cut("concentrator-generic"),
            last_heard: Some(at(10)),
            interval_s: 60,
            failures: 0,
            last_error: None,
        }],
        trust: None,
        key: Some(KeyFacts {
            place: KeyPlace::File,
            sealed: Sealing::Machine,
        }),
    };
    homeward_protocol::wire::encode(&report, 65_536).expect("encodes")
}

fn run(tx: &mut dyn Tx, sql: &'static str, with: &[Value<'_>]) -> Done {
    tx.execute(sql, with).map(drop)
}
