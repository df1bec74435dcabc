//! Campaigns with real homes: planned in numbers, brought in waves, waiting for a therapy to end; stopped by a bad release, and
//! taken back; and going on after a halt, a killed server and a home that was away.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use homeward_devices::simulated::Behaviour;
use homeward_tests::console::Person;
use homeward_tests::homes::{Home, Plan};
use homeward_tests::programs::{binary, wait_for};
use homeward_tests::proxy::Link;
use homeward_tests::releases::Releases;
use serde_json::Value;

use super::stage::{PASSWORD, PLAIN, Stage};

/// One wave: fetched, a quiet moment, a trial, and what bears it out; twice where a build is tried twice; on a busy machine.
const WAVE: Duration = Duration::from_mins(4);
/// Between two looks: each asks a program, and the homes need the machine, too.
const LOOK: Duration = Duration::from_millis(300);
const NAME: &str = "agent-7.1.0";
/// Nothing is watched for longer than it takes, so that the story is short; the times are a campaign's own settings.
const RULES: [&str; 7] = [
    NAME,
    "--target",
    "agent/7.1.0",
    "--soak",
    "0",
    "--act-within",
    "10",
];

/// A server, its releases, and homes of a street.
struct Street {
    stage: Stage,
    releases: Releases,
    homes: Vec<Home>,
}

impl Street {
    /// With what runs everywhere published as 0.1.0, so that there is a way back, and `build` as 7.1.0.
    fn new(build: &[u8]) -> Street {
        let stage = Stage::new();
        let releases = Releases::new(&stage.fleet);
        let new = releases.write("new", build);
        releases.add("0.1.0", &binary("homeward-agent"), "0.0.0");
        releases.add("7.1.0", &new, "0.0.0");
        releases.publish(&stage.fleet);
        Street {
            stage,
            releases,
            homes: Vec::new(),
        }
    }

    /// A home more, whose agent runs; gives its box.
    async fn settle(&mut self, placement: &str, dependency: &str, profile: &str) -> String {
        let plan = Plan {
            placement,
            team: "north",
            dependency,
            sensor: profile,
            profile,
            interval_ms: 200,
            seed: 7,
        };
        let mut home = Home::settle(&self.stage.fleet, self.stage.path(), plan).await;
        self.releases.launch(&mut home, "");
        home.run();
        let gateway = home.gateway.to_string();
        self.homes.push(home);
        gateway
    }

    fn home(&mut self, gateway: &str) -> &mut Home {
        let found = self
            .homes
            .iter_mut()
            .find(|home| home.gateway.as_str() == gateway);
        found.expect("a home of this street")
    }

    /// Waits until each box has said what it runs: before that it takes no part.
    fn is_known(&mut self) {
        let all = i64::try_from(self.homes.len()).expect("few");
        wait_for("each box to say what it runs", WAVE, || {
            let told = self.stage.number("SELECT count(*) FROM update_states");
            (told == all).then_some(())
        });
    }

    /// What the plan says; the same words and its code start it.
    fn plan(&self) -> Value {
        self.stage
            .fleet
            .json(&[&["campaign", "plan"][..], &RULES].concat())
    }

    /// Starts it by the code of the plan that was read.
    fn start(&self, plan: &Value) {
        let code = plan["plan"].as_str().expect("a code");
        let words = [&["campaign", "start"][..], &RULES, &["--plan", code]].concat();
        self.stage.fleet.run(&words).ok();
    }

    /// An order, with its reason.
    fn order(&self, order: &str, reason: &str) -> String {
        let words = ["campaign", order, NAME, "--reason", reason];
        self.stage.fleet.run(&words).ok()
    }

    fn board(&self) -> Value {
        self.stage.fleet.json(&["campaign", "status", NAME])
    }

    /// Waits until the board is so, and starts agents that ended, as their units do.
    fn until(&mut self, what: &str, mut is: impl FnMut(&Value) -> bool) -> Value {
        wait_for(what, WAVE, || {
            sleep(LOOK);
            self.homes.iter_mut().for_each(Home::tend);
            let board = self.board();
            is(&board).then_some(board)
        })
    }

    /// Waits until the server knows that this box runs that version, and nothing is under way there.
    fn runs(&mut self, gateway: &str, version: &str) {
        wait_for(&format!("{gateway} to run {version}"), WAVE, || {
            sleep(LOOK);
            self.homes.iter_mut().for_each(Home::tend);
            let all = self.stage.fleet.json(&["update", "status"]);
            let mut all = all.as_array().cloned().unwrap_or_default().into_iter();
            let one = all.find(|one| one["gateway"] == gateway)?;
            (one["runs"] == version && one["state"]["now"].is_null()).then_some(())
        });
    }

    /// How many words of the director this box was ever given.
    fn words(&self, gateway: &str) -> i64 {
        self.stage.number(&format!(
            "SELECT count(*) FROM audit WHERE action = 'update-assigned' AND subject = '{gateway}'"
        ))
    }

    /// So often this stands in the audit trail.
    fn on_record(&self, words: &str) -> i64 {
        self.stage.number(&format!(
            "SELECT count(*) FROM audit WHERE detail LIKE '%{words}%'"
        ))
    }

    fn ends(mut self) {
        for home in &mut self.homes {
            home.agent.stop();
        }
        self.stage.fleet.stop();
    }
}

/// A count of a wave.
fn of(board: &Value, wave: &str, count: &str) -> u64 {
    let waves = board["waves"].as_array().cloned().unwrap_or_default();
    let found = waves.iter().find(|one| one["wave"] == wave);
    found.and_then(|one| one[count].as_u64()).unwrap_or(0)
}

fn is_open(board: &Value, wave: &str) -> bool {
    let waves = board["waves"].as_array().cloned().unwrap_or_default();
    waves.iter().any(|one| one["wave"] == wave && one["open"] == true)
}

/// The one sentence of a home; empty where nothing is awaited of it.
fn says(board: &Value, gateway: &str) -> String {
    let homes = board["homes"].as_array().cloned().unwrap_or_default();
    let found = homes.iter().find(|one| one["gateway"] == gateway);
    found
        .and_then(|one| one["says"].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// The agent that runs everywhere, as another build.
fn another_build() -> Vec<u8> {
    let mut build = fs::read(binary("homeward-agent")).expect("the agent");
    build.extend(b"another build");
    build
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_goes_out_in_waves_and_a_home_in_therapy_is_waited_for() {
    let mut street = Street::new(&another_build());
    let canary = street.settle("mill-road-12", "low", "comet-tx5xx").await;
    // Its oxygen plant runs.
    let therapy = street.settle("elm-row-9", "medium", "parker-db5-20").await;
    let other = street.settle("old-quay-7", "medium", "comet-tx5xx").await;
    street.is_known();

    // Whoever plans reads numbers, and changes nothing.
    let plan = street.plan();
    assert_eq!(plan["homes"], 3, "{plan}");
    let counts: Vec<(&str, u64)> = plan["waves"]
        .as_array()
        .expect("waves")
        .iter()
        .filter_map(|one| Some((one["wave"].as_str()?, one["homes"].as_u64()?)))
        .filter(|(_, homes)| *homes > 0)
        .collect();
    assert_eq!(counts, [("canary", 1), ("rest", 2)], "{plan}");
    assert_eq!(plan["without_return"].as_array().map(Vec::len), Some(0), "{plan}");
    let first = plan["gateways"].as_array().expect("gateways").iter();
    let first: Vec<&Value> = first.filter(|one| one["wave"] == "canary").collect();
    assert_eq!(
        first[0]["gateway"],
        canary.as_str(),
        "who depends least comes first"
    );
    assert_eq!(
        street.stage.fleet.json(&["campaign", "status"]),
        Value::Array(vec![])
    );
    let wrong = [&["campaign", "start"][..], &RULES, &["--plan", "00000000"]].concat();
    street.stage.fleet.run(&wrong).failed();
    street.start(&plan);

    // The canary first, and nobody else before it is well.
    let board = street.until("the canary to be well, and then the others' turn", |board| {
        let open = is_open(board, "rest");
        assert!(!open || of(board, "canary", "confirmed") == 1, "{board}");
        open
    });
    assert_eq!(board["state"], "running");
    let words = "has 7.1.0, and waits: parker-db5-20 is being used, for";
    let board = street.until("the home in therapy to be waited for", |board| {
        says(board, &therapy).contains(words) && of(board, "rest", "waiting") >= 1
    });
    assert_eq!(board["trouble"], Value::Null, "{board}");
    let text = street.stage.fleet.run(&["campaign", "status", NAME]).ok();
    assert!(text.contains(&format!("{therapy}  rest: {words}")), "{text}");
    street.stage.operator("olivia");
    if let Some(olivia) = Person::at(&street.stage.fleet, street.stage.path(), "olivia") {
        let token = street
            .stage
            .fleet
            .json(&["token", "new", "board", "--scope", "fleet:read"]);
        let token = token["token"].as_str().expect("a token");
        let answer = olivia.api(&format!("/api/v1/campaigns/{NAME}"), token);
        let answer: Value = serde_json::from_str(&answer.text).expect("JSON");
        assert!(says(&answer, &therapy).contains(words), "{answer}");
        let olivia = olivia.signed_in("olivia", PASSWORD);
        let page = olivia.get(&format!("/campaigns/{NAME}")).text;
        assert!(page.contains("parker-db5-20 is being used"), "{page}");
    }

    // The other one goes meanwhile; the therapy goes on, and the agent that watches it is the same all the time.
    let watches = street.home(&therapy).agent.program().pid();
    let board = street.until("the other home to be well", |board| {
        of(board, "rest", "confirmed") == 1
    });
    assert!(says(&board, &therapy).contains(words), "{board}");
    assert_eq!(street.home(&therapy).agent.program().pid(), watches);
    assert_eq!(street.words(&other), 1);

    street.home(&therapy).set_device(Behaviour::Resting);
    let board = street.until("all to be well, and the campaign over", |board| {
        board["state"] == "done"
    });
    assert_eq!(
        (of(&board, "canary", "confirmed"), of(&board, "rest", "confirmed")),
        (1, 2),
        "{board}"
    );
    for gateway in [&canary, &therapy, &other] {
        street.runs(gateway, "7.1.0");
        assert_eq!(street.words(gateway), 1, "each was told once");
    }
    street.stage.more_readings(10);
    street.ends();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_release_goes_back_by_itself_halts_the_campaign_and_is_taken_from_the_others() {
    // It does well in one home, and does not even run in the next.
    let agent = binary("homeward-agent");
    let build = format!(
        "#!/bin/sh\ncase \"$*\" in *mill-road-12*) exit 1 ;; esac\nexec '{}' \"$@\"\n",
        agent.display()
    );
    let mut street = Street::new(build.as_bytes());
    let well = street.settle("north-lane-4", "medium", "comet-tx5xx").await;
    let bad = street.settle("mill-road-12", "medium", "comet-tx5xx").await;
    let spared = street.settle("old-quay-7", "medium", "comet-tx5xx").await;
    let own = ["group", "add", "own", &well, &bad];
    street.stage.fleet.run(&own).ok();
    street.is_known();
    street.start(&street.plan());

    let board = street.until("the campaign to halt", |board| {
        assert!(!is_open(board, "canary"), "{board}");
        board["state"] == "halted"
    });
    let stands = board["stands"].as_str().expect("words");
    assert!(
        stands.contains(
            "halted by itself: 1 of 2 homes of the wave `own` failed. What is installed is taken back"
        ),
        "{stands}"
    );
    assert!(
        says(&board, &bad).contains("it was started three times"),
        "{board}"
    );
    // It was asked once more before it counted, and runs what ran before without anybody's word.
    assert_eq!(street.words(&bad), 2);
    street.runs(&bad, "0.1.0");
    street.until("the other one to be back", |board| {
        says(board, &well) == "runs 0.1.0 again"
    });
    street.runs(&well, "0.1.0");
    assert_eq!(street.words(&spared), 0, "nobody told the others anything");
    let orders = ["campaign", "resume", NAME, "--reason", "it was a slip"];
    street.stage.fleet.run(&orders).failed();
    street.stage.more_readings(10);
    street.ends();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_campaign_goes_on_after_a_killed_server_and_a_home_that_was_away_catches_up() {
    let mut street = Street::new(&another_build());
    let canary = street.settle("mill-road-12", "low", "comet-tx5xx").await;
    let away = street.settle("old-quay-7", "medium", "comet-tx5xx").await;
    street.is_known();
    street.start(&street.plan());
    street.home(&away).set_link(Link::Down);

    // A person stops it while the canary tries the build: that goes on, and nobody else begins.
    street.until("the canary to begin", |board| of(board, "canary", "acting") == 1);
    let said = street.order("halt", "a holiday");
    assert!(said.contains("a holiday. Nobody begins any more"), "{said}");
    street.stage.fleet.kill();
    street.stage.fleet.serve(&PLAIN);
    let board = street.until("the canary to be well", |board| {
        of(board, "canary", "confirmed") == 1
    });
    assert_eq!(board["state"], "stopped", "{board}");
    assert!(!is_open(&board, "rest"), "{board}");
    street.stage.fleet.kill();
    street.stage.fleet.serve(&PLAIN);
    let stands = street.board()["stands"].clone();
    assert!(
        stands.as_str().is_some_and(|said| said.contains("a holiday")),
        "{stands}"
    );

    let said = street.order("resume", "all are back");
    assert!(said.contains("runs"), "{said}");
    street.until("the one that is away to be waited for", |board| {
        says(board, &away).contains("the box is not connected; it is told when it comes back")
    });
    assert_eq!(street.words(&away), 0);
    street.home(&away).set_link(Link::Clear);
    street.until("all to be well, and the campaign over", |board| {
        board["state"] == "done"
    });
    for gateway in [&canary, &away] {
        street.runs(gateway, "7.1.0");
        assert_eq!(street.words(gateway), 1, "nobody was told twice");
    }
    assert_eq!(
        (street.on_record("a holiday"), street.on_record("all are back")),
        (1, 1)
    );
    street.ends();
}
