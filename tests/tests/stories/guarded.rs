//! A device behind the guard: another master reads what it may, and every write that it may not make is stopped,
//! raised within a second, and kept in the audit trail. Device and master are pymodbus, which knows nothing of ours.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use homeward_tests::peers::{Pymodbus, free_port, python_with_pymodbus, serial_line};
use homeward_tests::programs::{binary, finish, wait_for};
use serde_json::Value;

use super::stage::{SOON, Stage};

/// A profile of a device with two registers, of which a master may set one.
pub(crate) const PROFILE: &str = r#"
id = "pump"
name = "A pump of this story"
source = "this test"
standing = "shape"
role = "moves air for a person"
criticality = "vital"
transports = ["tcp", "rtu"]
line = { baud = 9600, parity = "none", stop_bits = 1 }
unit = 1
interval_ms = 200
silent_after_ms = 5000
time_limit_ms = 2000
most_registers = 8

[[register]]
name = "temperature"
function = 3
address = 0
type = "i16"
kind = "device-temperature"
unit = "degC"

[[writable]]
name = "fan_speed"
function = 6
address = 10
"#;

/// A master by pymodbus: reads, writes what it may and what it may not, and tells what came of each, as JSON.
const MASTER: &str = r#"
import json, sys
from pymodbus.client import ModbusTcpClient
port = int(sys.argv[1])
client = ModbusTcpClient("127.0.0.1", port=port, timeout=10, retries=0)
assert client.connect()
def told(answer):
    if answer.isError():
        return {"exception": getattr(answer, "exception_code", -1)}
    return {"registers": list(getattr(answer, "registers", []))}
unit = {"device_id": 1}
print(json.dumps({
    "read": told(client.read_holding_registers(0, count=2, **unit)),
    "read elsewhere": told(client.read_holding_registers(500, count=1, **unit)),
    "write": told(client.write_register(10, 7, **unit)),
    "written": told(client.read_holding_registers(10, count=1, **unit)),
    "write elsewhere": told(client.write_register(11, 7, **unit)),
    "write several": told(client.write_registers(10, [1, 2], **unit)),
    "coil": told(client.write_coil(10, True, **unit)),
    "mask": told(client.mask_write_register(address=10, and_mask=0, or_mask=1, **unit)),
    "untouched": told(client.read_holding_registers(11, count=1, **unit)),
}))
"#;

/// What the device holds at first.
const REGISTERS: [(u16, u16); 4] = [(0, 31), (1, 4), (10, 5), (11, 6)];

fn configuration(gate: u16, device: &str, guard: u16) -> String {
    format!(
        "[server]\ngate = \"localhost:{gate}\"\nretry_min_ms = 200\n\n\
         [[sensor]]\nid = \"pump\"\nprofile = \"pump\"\naddress = \"{device}\"\n\n\
         [[guard]]\nlisten = \"127.0.0.1:{guard}\"\nbefore = \"pump\"\n\n\
         [[guard.peer]]\nfrom = \"127.0.0.1\"\n\
         allow = [ {{ unit = 1, functions = [3], first = 0, last = 20 }}, \
         {{ unit = 1, functions = [6], first = 10, last = 11 }} ]\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_not_allowed_is_stopped_raised_within_a_second_and_on_record() {
    let (Some(python), Some(device)) = (python_with_pymodbus(), Pymodbus::start(&REGISTERS)) else {
        return;
    };
    let address = format!("127.0.0.1:{}", device.port);
    guarded(&python, &address).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_on_a_serial_line_is_read_by_a_profile_and_guarded_as_one_on_a_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let (Some(python), Some(wire)) = (python_with_pymodbus(), serial_line(folder.path())) else {
        return;
    };
    let Some(_device) = Pymodbus::serial(&wire.device, &REGISTERS) else {
        return;
    };
    let profile = folder.path().join("pump.toml");
    fs::write(&profile, PROFILE).expect("our own folder");
    let readings = wait_for("the device to answer", SOON, || read_once(&profile, &wire.ours));
    assert_eq!(
        readings[0]["value"],
        serde_json::json!({"number": [31, 0]}),
        "{readings}"
    );
    guarded(&python, &wire.ours.to_string_lossy()).await;
}

/// What `sensor read --serial` gives; none when the device does not answer (yet).
fn read_once(profile: &Path, line: &Path) -> Option<Value> {
    let mut read = Command::new(binary("homeward-agent"));
    read.args(["--json", "sensor", "read", "--unit", "1", "--profile"]);
    read.arg(profile).arg("--serial").arg(line);
    let ended = finish(&mut read, b"", SOON);
    let text = ended.status.success().then_some(ended.stdout)?;
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// The story of a guard before the device at `address`.
async fn guarded(python: &Path, address: &str) {
    let mut stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    let (dir, guard) = (home.agent.dir().to_owned(), free_port());
    fs::create_dir_all(dir.join("profiles")).expect("a folder");
    fs::write(dir.join("profiles/pump.toml"), PROFILE).expect("the profile");
    let text = configuration(home.link.address().port(), address, guard);
    fs::write(dir.join("agent.toml"), text).expect("agent.toml");
    home.run();
    stage.more_readings(3);
    home.agent.program().wait_line("the guard listens", SOON);

    let mut master = Command::new(python);
    master.arg("-c").arg(MASTER).arg(guard.to_string());
    let begun = Instant::now();
    let said = finish(&mut master, b"", Duration::from_mins(1)).ok();
    let answers: Value = serde_json::from_str(&said).expect("JSON");
    let wanted = serde_json::json!({
        "read": {"registers": [31, 4]},
        "read elsewhere": {"exception": 2},
        "write": {"registers": [7]},
        "written": {"registers": [7]},
        "write elsewhere": {"exception": 2},
        "write several": {"exception": 1},
        "coil": {"exception": 1},
        "mask": {"exception": 1},
        "untouched": {"registers": [6]},
    });
    assert_eq!(answers, wanted);

    let refused = "SELECT count(*) FROM audit WHERE action = 'write-refused'";
    wait_for("the refused writes to be on record", SOON, || {
        (stage.number(refused) == 4).then_some(())
    });
    println!("master and records together took {:?}", begun.elapsed());
    let alarm = "FROM alarms WHERE condition = 'write-refused' AND active = 1 AND sensor = 'pump'";
    assert_eq!(stage.number(&format!("SELECT count(*) {alarm}")), 1);
    let took = stage.number(&format!("SELECT max(received_at - at) {alarm}"));
    println!("from the refused write to its alarm at the server: {took} ms");
    assert!((0..=1000).contains(&took), "raised after {took} ms");
    let written = "SELECT count(*) FROM audit WHERE action = 'device-written' AND subject = 'pump'";
    assert_eq!(stage.number(written), 1);

    // Vital reads go on all the while.
    stage.more_readings(3);
    home.agent.stop();
    stage.fleet.stop();
    let report = stage.fleet.run(&["check"]).ok();
    assert!(report.contains("unbroken"), "{report}");
}
