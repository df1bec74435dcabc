//! Campaigns with real homes: planned in numbers, brought in waves, waiting for a therapy to end; stopped by a bad release, and
//! taken back; and going on after a halt, a killed server and a home that was away.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread::sleep;
use std::time::Duration;

use homeward_devices::simulated::Behaviour;
use homeward_tests::campaign::{Board, Campaign};
use homeward_tests::console::Person;
use homeward_tests::homes::{Home, Plan};
use homeward_tests::programs::{binary, wait_for};
use homeward_tests::proxy::Link;
use homeward_tests::releases::Releases;
use serde_json::Value;

use super::proved::{load_values, maker};
use super::stage::{PASSWORD, PLAIN, Stage};

/// One wave: fetched, a quiet moment, a trial, and what bears it out; twice where a build is tried twice; on a busy machine.
const WAVE: Duration = Duration::from_mins(4);
/// Between two looks: each asks a program, and the homes need the machine, too.
const LOOK: Duration = Duration::from_millis(300);
const CAMPAIGN: Campaign = Campaign {
    name: "agent-7.1.0",
    target: "agent/7.1.0",
};

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
        // The very bytes of the package: nothing older comes back that did not run there.
        releases.add("0.1.0", &releases.shipped, "0.0.0");
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

    /// Plans it, and starts it by the code of the plan.
    fn start(&self) {
        let plan = CAMPAIGN.plan(&self.stage.fleet);
        assert!(CAMPAIGN.start(&self.stage.fleet, plan.code()), "{plan:?}");
    }

    fn order(&self, order: &str, reason: &str) -> Result<String, String> {
        CAMPAIGN.order(&self.stage.fleet, order, reason)
    }

    /// A named person opens a home of high dependency.
    fn open(&self, gateway: &str) -> Result<String, String> {
        let why = "his daughter is with him until six";
        let args = [
            "campaign",
            "open",
            CAMPAIGN.name,
            gateway,
            "--by",
            "Dr. Novak",
            "--reason",
            why,
        ];
        let done = self.stage.fleet.run(&args);
        if done.status.success() {
            Ok(done.stdout)
        } else {
            Err(done.stderr)
        }
    }

    fn board(&self) -> Board {
        CAMPAIGN.board(&self.stage.fleet)
    }

    /// Waits until the board is so, and starts agents that ended, as their units do.
    fn until(&mut self, what: &str, mut is: impl FnMut(&Board) -> bool) -> Board {
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

/// The agent that runs everywhere, as another build.
fn another_build() -> Vec<u8> {
    let mut build = fs::read(binary("homeward-agent")).expect("the agent");
    build.extend(b"another build");
    build
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_whose_reference_values_are_not_loaded_is_not_begun() {
    let mut street = Street::new(&another_build());
    let Some((key, public)) = maker(street.stage.path()) else {
        return;
    };
    street.settle("mill-road-12", "low", "comet-tx5xx").await;
    street.is_known();
    let (stage, fleet) = (&street.stage, &street.stage.fleet);
    assert_eq!(
        CAMPAIGN.plan(fleet).0["without_reference"],
        Value::Array(vec![]),
        "no values of agents are loaded"
    );
    // Evidence is held against what runs now, and of the new build nothing is known.
    load_values(stage, (&key, &public), "0.1.0", &binary("homeward-agent"));
    let plan = CAMPAIGN.plan(fleet);
    assert_eq!(plan.0["without_reference"], serde_json::json!([CAMPAIGN.target]));
    let refused = fleet
        .run(&CAMPAIGN.words("start", &["--plan", plan.code()]))
        .failed();
    assert!(
        refused.contains("NOT MEASURED") && refused.contains("--without-reference"),
        "{refused}"
    );
    assert_eq!(stage.number("SELECT count(*) FROM campaigns"), 0);
    let new = stage.path().join("new-agent");
    fs::write(&new, another_build()).expect("writes");
    load_values(stage, (&key, &public), "7.1.0", &new);
    let plan = CAMPAIGN.plan(fleet);
    assert_eq!(plan.0["without_reference"], Value::Array(vec![]));
    assert!(CAMPAIGN.start(fleet, plan.code()));
    street.ends();
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
    let fleet = &street.stage.fleet;
    let plan = CAMPAIGN.plan(fleet);
    assert_eq!(plan.waves(), [("canary", 1), ("rest", 2)], "{plan:?}");
    assert_eq!(plan.wave(&canary), "canary", "who depends least comes first");
    assert_eq!(plan.0["homes"], 3);
    let read = ["campaign", "plan", CAMPAIGN.name, "--target", CAMPAIGN.target];
    let read = fleet.run(&read).ok();
    assert!(
        read.contains("The box asks its Bluetooth sensors less often"),
        "{read}"
    );
    assert_eq!(plan.0["without_return"], Value::Array(vec![]));
    assert_eq!(fleet.json(&["campaign", "status"]), Value::Array(vec![]));
    assert!(!CAMPAIGN.start(fleet, "00000000"), "that plan nobody read");
    assert!(CAMPAIGN.start(fleet, plan.code()));

    // The canary first, and nobody else before it is well.
    let board = street.until("the canary to be well, and then the others' turn", |board| {
        let open = board.is_open("rest");
        assert!(!open || board.count("canary", "confirmed") == 1, "{board:?}");
        open
    });
    assert_eq!(board.state(), "running");
    let words = "has 7.1.0, and waits: parker-db5-20 is being used, for";
    let board = street.until("the home in therapy to be waited for", |board| {
        board.says(&therapy).contains(words) && board.count("rest", "waiting") >= 1
    });
    assert_eq!(board.0["trouble"], Value::Null, "{board:?}");
    let text = street
        .stage
        .fleet
        .run(&["campaign", "status", CAMPAIGN.name])
        .ok();
    assert!(
        text.contains(&format!("{therapy} in elm-row-9  rest: {words}")),
        "{text}"
    );
    street.stage.operator("olivia");
    if let Some(olivia) = Person::at(&street.stage.fleet, street.stage.path(), "olivia") {
        let token = street
            .stage
            .fleet
            .json(&["token", "new", "board", "--scope", "fleet:read"]);
        let token = token["token"].as_str().expect("a token");
        let answer = olivia.api(&format!("/api/v1/campaigns/{}", CAMPAIGN.name), token);
        let answer = Board(serde_json::from_str(&answer.text).expect("JSON"));
        assert!(answer.says(&therapy).contains(words), "{answer:?}");
        let olivia = olivia.signed_in("olivia", PASSWORD);
        let page = olivia.get(&format!("/campaigns/{}", CAMPAIGN.name)).text;
        assert!(page.contains("parker-db5-20 is being used"), "{page}");
    }

    // The other one goes meanwhile; the therapy goes on, and the agent that watches it is the same all the time.
    let watches = street.home(&therapy).agent.program().pid();
    let board = street.until("the other home to try it", |board| {
        board.step(&other) == "acting" && board.says(&other).starts_with("tries 7.1.0")
    });
    assert!(board.says(&therapy).contains(words), "{board:?}");
    assert_eq!(street.home(&therapy).agent.program().pid(), watches);

    street.home(&therapy).set_device(Behaviour::Resting);
    let board = street.until("all to be well, and the campaign over", |board| {
        board.state() == "done"
    });
    assert_eq!(
        (
            board.count("canary", "confirmed"),
            board.count("rest", "confirmed")
        ),
        (1, 2),
        "{board:?}"
    );
    for gateway in [&canary, &therapy, &other] {
        street.runs(gateway, "7.1.0");
        assert_eq!(street.words(gateway), 1, "each was told once");
    }
    street.stage.more_readings(10);
    street.ends();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_release_goes_back_by_itself_and_halts_the_campaign_before_anybody_else_has_it() {
    let mut street = Street::new(b"#!/bin/sh\nexit 1\n");
    let canary = street.settle("mill-road-12", "low", "comet-tx5xx").await;
    let spared = street.settle("old-quay-7", "medium", "comet-tx5xx").await;
    street.is_known();
    street.start();

    let board = street.until("the campaign to halt", |board| {
        assert!(!board.is_open("rest"), "{board:?}");
        board.state() == "halted"
    });
    let words = "halted by itself: 1 of 1 homes of the wave `canary` failed";
    assert!(board.stands().contains(words), "{board:?}");
    let words = "it was started three times and never confirmed";
    assert!(board.says(&canary).contains(words), "{board:?}");
    // A crash and a power cut look the same: it was asked once more before it counted. Nobody had to tell it to go back.
    assert_eq!(street.words(&canary), 2);
    street.runs(&canary, "0.1.0");
    assert_eq!(street.words(&spared), 0, "nobody told the others anything");
    assert!(
        street.order("resume", "it was a slip").is_err(),
        "a halt is final"
    );
    street.stage.more_readings(10);
    street.ends();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_is_well_in_one_home_and_fails_in_the_next_is_taken_back_from_the_first() {
    let mut street = Street::new(&another_build());
    let first = street.settle("north-lane-4", "medium", "comet-tx5xx").await;
    let next = street.settle("mill-road-12", "low", "comet-tx5xx").await;
    let spared = street.settle("old-quay-7", "medium", "comet-tx5xx").await;
    street.stage.fleet.run(&["group", "add", "lab", &first]).ok();
    let hold = ["update", "hold", "--by", "nurse", "--minutes", "30", "a visit"];
    street.home(&next).agent.command_ended(&hold).ok();
    street.is_known();
    street.start();
    let board = street.until("a home on hold to be waited for", |board| {
        board
            .says(&next)
            .contains("has 7.1.0, and waits: nurse asked for quiet")
    });
    assert_eq!(board.count("lab", "confirmed"), 1, "{board:?}");
    street.runs(&first, "7.1.0");

    // On this box it cannot be started.
    let slot = street.home(&next).agent.dir().join("slots/a/homeward-agent");
    fs::set_permissions(&slot, fs::Permissions::from_mode(0o644)).expect("it is staged");
    let lift = ["update", "hold", "--lift", "nurse"];
    street.home(&next).agent.command_ended(&lift).ok();
    let board = street.until("the campaign to halt", |board| board.state() == "halted");
    let words = "halted by itself: 1 of 1 homes of the wave `canary` failed. What is installed is taken back";
    assert!(board.stands().contains(words), "{board:?}");
    let words = "it could not be started on this box";
    assert!(board.says(&next).contains(words), "{board:?}");
    street.runs(&next, "0.1.0");
    street.until("the first one to be back", |board| {
        board.says(&first) == "runs 0.1.0 again"
    });
    street.runs(&first, "0.1.0");
    assert_eq!((street.words(&first), street.words(&next)), (2, 1));
    assert_eq!(street.words(&spared), 0, "nobody told the others anything");
    street.stage.more_readings(10);
    street.ends();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_a_trial_goes_on_a_stopped_campaign_too_and_a_home_that_was_away_catches_up() {
    let mut street = Street::new(&another_build());
    let canary = street.settle("mill-road-12", "low", "comet-tx5xx").await;
    let away = street.settle("old-quay-7", "high", "comet-tx5xx").await;
    street.is_known();
    street.start();
    street.home(&away).set_link(Link::Down);

    // A person stops it while the canary tries the build: that goes on, and nobody else begins.
    street.until("the canary to begin", |board| {
        board.count("canary", "acting") == 1
    });
    let said = street.order("halt", "a holiday").expect("it runs");
    assert!(said.contains("a holiday. Nobody begins any more"), "{said}");
    // The server is killed in the middle of the trial, and comes back: what it had begun to judge, it judges.
    street.stage.fleet.kill();
    street.stage.fleet.serve(&PLAIN);
    let board = street.board();
    assert_eq!(board.step(&canary), "acting", "{board:?}");
    assert!(board.stands().contains("a holiday"), "{board:?}");
    let board = street.until("the canary to be well", |board| {
        board.count("canary", "confirmed") == 1
    });
    assert_eq!(board.state(), "stopped", "{board:?}");
    assert!(!board.is_open("named"), "{board:?}");
    street.open(&away).expect_err("it is stopped");
    street.stage.fleet.kill();
    street.stage.fleet.serve(&PLAIN);

    let said = street.order("resume", "all are back").expect("it was stopped");
    assert!(said.contains("runs"), "{said}");
    street.until("the homes of high dependency to wait for a person", |board| {
        board.says(&away) == "waits for a named person to open it"
    });
    assert_eq!(street.words(&away), 0);
    street.open(&away).expect("it runs, and all others are well");
    street.until("the one that is away to be waited for", |board| {
        board
            .says(&away)
            .contains("the box is not connected; it is told when it comes back")
    });
    assert_eq!(street.words(&away), 0);
    street.home(&away).set_link(Link::Clear);
    street.until("all to be well, and the campaign over", |board| {
        board.state() == "done"
    });
    for gateway in [&canary, &away] {
        street.runs(gateway, "7.1.0");
        assert_eq!(street.words(gateway), 1, "nobody was told twice");
    }
    assert_eq!(
        ["a holiday", "all are back", "his daughter is with him"].map(|why| street.on_record(why)),
        [1, 1, 1]
    );
    street.ends();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_that_a_person_ends_leaves_a_home_that_waits_with_what_it_runs() {
    let mut street = Street::new(&another_build());
    let canary = street.settle("mill-road-12", "low", "comet-tx5xx").await;
    let other = street.settle("old-quay-7", "medium", "comet-tx5xx").await;
    let hold = ["update", "hold", "--by", "nurse", "--minutes", "30", "a visit"];
    street.home(&canary).agent.command_ended(&hold).ok();
    street.is_known();
    street.start();
    street.until("the canary to wait", |board| {
        board
            .says(&canary)
            .contains("has 7.1.0, and waits: nurse asked for quiet")
    });
    let said = street.order("abort", "it is not wanted").expect("it ran");
    assert!(said.contains("it is not wanted"), "{said}");
    assert!(street.order("abort", "twice").is_err(), "it is over");
    let board = street.until("the canary to be told to keep what it runs", |board| {
        board.all("left_out") == 2
    });
    assert!(
        board.state() != "running" && street.words(&other) == 0,
        "{board:?}"
    );
    let lift = ["update", "hold", "--lift", "nurse"];
    street.home(&canary).agent.command_ended(&lift).ok();
    street.runs(&canary, "0.1.0");
    // Longer than it would have waited for a quiet moment.
    sleep(LOOK * 50);
    street.stage.more_readings(10);
    street.runs(&canary, "0.1.0");
    let slots = street.home(&canary).agent.dir().join("slots/state.json");
    assert!(!slots.exists(), "it put nothing in place");
    assert_eq!(street.on_record("it is not wanted"), 1);
    street.ends();
}
