//! A server whose data lie in PostgreSQL from its first command on.

use homeward_fleet::store::{self, Store, StoreConfig};
use homeward_tests::homes::{Home, Plan};
use homeward_tests::peers::Postgres;
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::programs::wait_for;

use super::stage::{PASSWORD, PLAIN, SOON, all_arrived};

const TRIAL: [&str; 4] = ["--name", "localhost", "--trial", "--postgres"];

fn number(store: &Store, question: &'static str) -> i64 {
    let read = store.read(move |tx| tx.row(question, &[])?.map_or(Ok(-1), |row| row.int(0)));
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| runtime.block_on(read)).expect("the database answers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_reports_into_postgresql_and_no_other_database_is_made() {
    let Some(postgres) = Postgres::start(true) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let url = postgres.url();
    let mut fleet = Fleet::init(&folder.path().join("fleet"), &[&TRIAL[..], &[&url]].concat());
    let embedded = fleet.dir().join("fleet.db");
    assert!(!embedded.exists(), "a database that nobody uses was made");
    fleet.serve(&PLAIN);
    fleet
        .tell(&["user", "add", "olivia", "--role", "operator"], PASSWORD)
        .ok();
    let plan = Plan {
        placement: "mill-road-12",
        team: "north",
        dependency: "medium",
        sensor: "comet-tx5xx",
        profile: "comet-tx5xx",
        interval_ms: 200,
        seed: 7,
    };
    let mut home = Home::settle(&fleet, folder.path(), plan).await;
    home.run();
    let store = store::open(&StoreConfig::Postgres(url.clone())).expect("the same database");
    wait_for("readings in PostgreSQL", SOON, || {
        (number(&store, "SELECT count(*) FROM readings") >= 20).then_some(())
    });
    fleet.stop();
    fleet.serve(&PLAIN);
    all_arrived(&home);
    home.agent.stop();
    let listed = fleet.run(&["gateway", "list"]).ok();
    assert!(listed.contains(home.gateway.as_str()), "{listed}");
    fleet.stop();
    let report = fleet.run(&["check"]).ok();
    assert!(report.contains("All is well"), "{report}");
    assert_eq!(
        number(&store, "SELECT count(*) FROM users WHERE name = 'olivia'"),
        1
    );
    assert!(!embedded.exists(), "a database that nobody uses was made");

    // Another fleet's authority has no business with it.
    let other = Fleet::at(&folder.path().join("other"));
    let said = other.run(&[&["init"][..], &TRIAL, &[&url]].concat()).failed();
    assert!(said.contains("holds a fleet already"), "{said}");
    assert!(!other.dir().exists(), "nothing was made");
}

#[test]
fn a_database_that_is_away_or_no_address_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = Fleet::at(&folder.path().join("fleet"));
    let secret = "correct-horse";
    let away = format!(
        "postgresql://hw:{secret}@localhost/none?host={}",
        folder.path().display()
    );
    let init = |url: &str| fleet.run(&[&["init"][..], &TRIAL, &[url]].concat()).failed();
    let said = init(&away);
    assert!(said.contains("the database is not available"), "{said}");
    // From standard input nobody else on the machine sees it.
    let told = fleet
        .tell(&[&["init"][..], &TRIAL, &["-"]].concat(), &away)
        .failed();
    assert!(told.contains("the database is not available"), "{told}");
    let wrong = init("mysql://localhost/none");
    assert!(wrong.contains("store.postgres"), "{wrong}");
    for text in [said, told, wrong] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(!fleet.dir().exists(), "nothing was made");
}
