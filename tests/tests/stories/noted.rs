//! What a release means in plain words: written, signed with it offline, and read on the console, by a nurse, too.

use std::fs;

use homeward_tests::console::Person;
use homeward_tests::debs::Deb;
use homeward_tests::programs::binary;
use homeward_tests::releases::Releases;

use super::stage::{PASSWORD, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_release_means_comes_from_those_who_sign_it_to_those_who_hand_it_over() {
    let mut stage = Stage::new();
    stage.nurse("nora", "north");
    stage.operator("olga");
    let none = stage.fleet.run(&["update", "releases"]).ok();
    assert!(none.contains("Nothing is published"), "{none}");

    let releases = Releases::new(&stage.fleet);
    releases.add("7.1.0", &binary("homeward-agent"), "0.0.0");
    let tool = Deb {
        name: "hw-tool",
        version: "1.1",
        ..Deb::default()
    };
    releases.packages("2026.7.1", &[tool.build(releases.desk())], "service-restart");
    releases.publish(&stage.fleet);

    let told = stage.fleet.json(&["update", "releases"]);
    let all = told["releases"].as_array().expect("releases");
    assert_eq!(all.len(), 2, "the director's key is no release: {told}");
    let forward: Vec<_> = all
        .iter()
        .map(|one| (&one["path"], &one["forward_only"]))
        .collect();
    assert_eq!(
        forward,
        [
            (&"agent/7.1.0".into(), &false.into()),
            (&"packages/2026.7.1".into(), &true.into())
        ]
    );
    let read = stage.fleet.run(&["update", "releases"]).ok();
    for says in [
        "goes back by itself when it is not well",
        "FORWARD ONLY: NO AUTOMATIC RETURN",
        "patient: The small box in your home gets an improvement.",
        "it says nothing in plain words",
    ] {
        assert!(read.contains(says), "{says}: {read}");
    }

    if let Some(nora) = Person::at(&stage.fleet, stage.path(), "nora") {
        let nora = nora.signed_in("nora", PASSWORD);
        let list = nora.get("/releases");
        assert_eq!(list.status, 200, "{}", list.text);
        assert!(
            list.text.contains("forward only: no automatic return"),
            "{}",
            list.text
        );
        let paper = nora.get("/releases/note?path=agent%2F7.1.0&lang=it");
        assert!(
            paper.text.contains("La lasci collegata, per favore."),
            "{}",
            paper.text
        );
    }

    // Somebody takes the newest metadata away: nothing is believed, and that is said.
    fs::remove_file(
        stage
            .fleet
            .dir()
            .join("release/repository/metadata/timestamp.json"),
    )
    .expect("it was there");
    stage.fleet.run(&["update", "releases"]).failed();
    if let Some(olga) = Person::at(&stage.fleet, stage.path(), "olga") {
        let page = olga.signed_in("olga", PASSWORD).get("/releases");
        assert_eq!(page.status, 200);
        assert!(page.text.contains("cannot be believed"), "{}", page.text);
    }
    assert!(stage.fleet.stop().success());
}
