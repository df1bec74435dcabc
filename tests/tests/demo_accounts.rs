//! The promise of the README's first command, by that command: the story is played to its end, every reading is accounted
//! for, and a campaign waits for a therapy.

use std::time::Duration;

use homeward_tests::programs::{binary, cargo, finish};

/// The story takes 80 s; the rest is for a busy machine.
const LIMIT: Duration = Duration::from_mins(5);

#[test]
fn the_demos_story_accounts_for_every_reading_and_waits_for_a_therapy() {
    // Built where this test was, so that nothing is built twice.
    let built = binary("homeward-demo");
    let target = built.ancestors().nth(2).expect("TARGET/debug/homeward-demo");
    let mut command = cargo();
    command.env("CARGO_TARGET_DIR", target);
    let said = finish(command.args(["demo", "--", "--once", "--json"]), b"", LIMIT).ok();
    let line = said.lines().last().expect("a summary");
    let summary: serde_json::Value =
        serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON: {e}\n{said}"));
    let number = |key: &str| {
        summary[key]
            .as_u64()
            .unwrap_or_else(|| panic!("no {key} in {summary}"))
    };
    assert!(number("produced") > 100, "{summary}");
    assert_eq!(number("stored"), number("produced"), "{summary}");
    assert_eq!(
        (number("missing"), number("duplicates"), number("gateways")),
        (0, 0, 4),
        "{summary}"
    );
    assert!(number("duration_ms") > 0, "{summary}");
    let campaign = &summary["campaign"];
    assert_eq!(
        (&campaign["well"], &campaign["failed"], &campaign["disturbed"]),
        (&2.into(), &0.into(), &false.into()),
        "{summary}"
    );
    let waited = campaign["waited_for"].as_str().unwrap_or_default();
    assert!(waited.contains("oxygen is being used"), "{summary}");
    if homeward_tests::shared::debian("dbus-daemon", "dbus").is_some() {
        assert!(number("bluetooth") > 20, "{summary}");
    }
}
