use proptest::prelude::*;

use super::*;

const SMALL: &str = r#"
id = "small"
name = "A small device"
source = "this test"
standing = "from-manual"
role = "none"
criticality = "comfort"
transports = ["tcp"]
unit = 1
interval_ms = 1000
silent_after_ms = 5000
time_limit_ms = 500
most_registers = 8

[[register]]
name = "temperature"
function = 3
address = 49
type = "i16"
kind = "air-temperature"
unit = "degC"
scale = "0.1"
"#;

fn faults(text: &str) -> Vec<(usize, String)> {
    match Profile::parse(text) {
        Ok(profile) => panic!("accepted {}", profile.id),
        Err(ProfileError::Long(_)) => panic!("too long"),
        Err(ProfileError::Faults(faults)) => faults.into_iter().map(|f| (f.line, f.what)).collect(),
    }
}

fn line_of(text: &str, part: &str) -> usize {
    text.lines()
        .position(|l| l.contains(part))
        .expect("the part is there")
        + 1
}

#[test]
fn every_shipped_profile_is_in_order_and_named_as_its_file() {
    for id in shipped_ids() {
        let text_is_good = shipped(id).unwrap_or_else(|| panic!("{id} does not parse"));
        assert_eq!(text_is_good.id.as_str(), id);
        assert!(!text_is_good.source.is_empty(), "{id} has no source");
    }
    assert_eq!(shipped("unheard-of"), None);
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let text = SMALL.replace("scale =", "scael =");
    let found = faults(&text);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, line_of(&text, "scael"), "{found:?}");
    assert!(found[0].1.contains("scael"), "{found:?}");
}

#[test]
fn all_faults_are_listed_in_the_order_of_their_lines() {
    let text = SMALL
        .replace("unit = 1\n", "unit = 0\n")
        .replace("time_limit_ms = 500", "time_limit_ms = 5")
        .replace("\"0.1\"", "\"1e-1\"");
    let found = faults(&text);
    let lines: Vec<usize> = found.iter().map(|f| f.0).collect();
    let wanted = ["unit = 0", "time_limit_ms", "1e-1"].map(|p| line_of(&text, p));
    assert_eq!(lines, wanted, "{found:?}");
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    for (from, to, says) in [
        ("unit = \"degC\"", "unit = \"V\"", "no way from V to Cel"),
        ("unit = \"degC\"", "unit = \"degF\"", "resolution"),
        ("type = \"i16\"", "type = \"f32\"", "resolution"),
        ("type = \"i16\"", "type = \"coil\"", "functions 1 and 2"),
        (
            "address = 49",
            "address = 65535\nword_order = \"low-first\"",
            "no word order",
        ),
        (
            "scale = \"0.1\"",
            "scale = \"0.1\"\nresolution = \"0.1\"",
            "their own resolution",
        ),
        (
            "scale = \"0.1\"",
            "range = [\"5\", \"-5\"]",
            "lower to the higher",
        ),
        (
            "scale = \"0.1\"",
            "absent = [40000]",
            "never holds the value 40000",
        ),
        ("scale = \"0.1\"", "codes = { 1 = \"open\" }", "no codes"),
        ("kind = \"air-temperature\"", "", "need a kind"),
        (
            "kind = \"air-temperature\"",
            "kind = \"door\"",
            "a state has no unit",
        ),
        ("[\"tcp\"]", "[\"rtu\"]", "needs a [line]"),
        ("function = 3", "function = 16", "does not read"),
    ] {
        assert!(SMALL.contains(from), "{from}");
        let found = faults(&SMALL.replace(from, to));
        assert!(found.iter().any(|f| f.1.contains(says)), "{to}: {found:?}");
    }
}

#[test]
fn a_kind_and_a_place_are_given_once() {
    let (_, register) = SMALL.split_once("[[register]]").expect("one register");
    let found = faults(&format!("{SMALL}\n[[register]]{register}"));
    for says in [
        "two registers are called",
        "gives each kind once",
        "lies over another",
    ] {
        assert!(found.iter().any(|f| f.1.contains(says)), "{says}: {found:?}");
    }
}

#[test]
fn a_state_belongs_to_its_kind() {
    let door = SMALL.replace(
        "type = \"i16\"\nkind = \"air-temperature\"\nunit = \"degC\"\nscale = \"0.1\"",
        "type = \"enum\"\nkind = \"door\"\ncodes = { 1 = \"charging\", x = \"open\" }",
    );
    let found = faults(&door);
    assert!(
        found.iter().any(|f| f.1.contains("never \"charging\"")),
        "{found:?}"
    );
    assert!(found.iter().any(|f| f.1.contains("the code x")), "{found:?}");
}

const STRAP: &str = r#"
id = "strap"
name = "A strap"
source = "this test"
standing = "from-manual"
role = "none"
criticality = "comfort"
transports = ["ble"]
interval_ms = 1000
silent_after_ms = 5000
time_limit_ms = 30000

[session]
least_bond = "none"
visits = "always"

[[characteristic]]
name = "heart rate measurement"
service = "180D"
number = "2A37"
way = "subscribe"
needed = true
"#;

#[test]
fn a_bluetooth_profile_says_what_is_served_and_which_bond_it_takes() {
    let session = Profile::parse(STRAP)
        .expect("in order")
        .session
        .expect("is there");
    assert_eq!((session.least_bond, session.memory), (None, Memory::None));
    assert_eq!(session.characteristics[0].at.to_string(), "180D/2A37");
    assert_eq!(session.services(), [0x180D]);
    let meter = shipped("glucose-meter").and_then(|p| p.session).expect("is one");
    let last = meter.subscribed().last().map(|c| c.at.characteristic);
    assert_eq!((meter.memory, last), (Memory::Records, Some(0x2A52)));
}

#[test]
fn bluetooth_and_modbus_do_not_mix() {
    for (from, to, says) in [
        ("[\"ble\"]", "[\"ble\", \"tcp\"]", "stands alone"),
        ("[\"ble\"]", "[\"tcp\"]", "belongs to Bluetooth"),
        ("[\"ble\"]", "[\"ble\"]\nunit = 1", "belongs to Modbus"),
        ("\"2A37\"", "\"heart\"", "four hexadecimal digits"),
        ("\"2A37\"", "\"+A37\"", "four hexadecimal digits"),
        ("\"subscribe\"", "\"read\"", "way = \"subscribe\""),
        (
            "visits = \"always\"",
            "visits = \"always\"\nmemory = \"records\"",
            "exactly one",
        ),
        ("least_bond = \"none\"\n", "", "least_bond"),
        ("least_bond = \"none\"", "least_bond = \"debug\"", "debug"),
        ("time_limit_ms = 30000", "time_limit_ms = 90000", "time_limit_ms"),
    ] {
        assert!(STRAP.contains(from), "{from}");
        let found = faults(&STRAP.replace(from, to));
        assert!(found.iter().any(|f| f.1.contains(says)), "{to}: {found:?}");
    }
    let (_, characteristic) = STRAP.split_once("[[characteristic]]").expect("one");
    let found = faults(&format!("{STRAP}\n[[characteristic]]{characteristic}"));
    assert!(found.iter().any(|f| f.1.contains("twice")), "{found:?}");
}

#[test]
fn an_endless_text_is_refused_unread() {
    assert_eq!(
        Profile::parse(&" ".repeat(MAX_TEXT + 1)),
        Err(ProfileError::Long(MAX_TEXT + 1))
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Profile::parse(&text);
    }

    #[test]
    fn no_damage_panics(at in 0usize..SMALL.len(), with in "[\\PC\n]{0,4}") {
        let text = format!("{}{with}{}", &SMALL[..at], &SMALL[at + 1..]);
        let _ = Profile::parse(&text);
    }
}
