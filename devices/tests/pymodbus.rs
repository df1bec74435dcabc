//! Our lines against a device by pymodbus, which knows nothing of ours or of the library underneath: over TCP, and
//! over a serial line that the peer makes of two pseudo terminals.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests start the peer and wait for it"
)]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use homeward_devices::link::{LinkError, Registers};
use homeward_devices::modbus::serial::{Port, Rtu};
use homeward_devices::modbus::tcp::Tcp;
use homeward_devices::modbus::{Request, samples};
use homeward_devices::profile::{Function, LineSettings, Parity, shipped};
use homeward_protocol::reading::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const LIMIT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);

/// A Python that has pymodbus: where `tests/run` puts it, else the system's.
async fn python() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    let tools = folder("HOMEWARD_TOOLS").or_else(|| Some(cache?.join("homeward-tests")));
    let ours = tools.map(|tools| tools.join("venv/bin/python3"));
    for python in ours.into_iter().chain([PathBuf::from("python3")]) {
        let mut probe = Command::new(&python);
        probe
            .args(["-c", "import pymodbus, serial"])
            .stderr(Stdio::null());
        if probe.status().await.is_ok_and(|status| status.success()) {
            return Some(python);
        }
    }
    let ci = std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false");
    assert!(!ci, "pymodbus is missing: run tests/run --install");
    eprintln!("skipped: pymodbus is missing; run tests/run --install");
    None
}

/// The peer, and where it is reached. It ends when dropped.
async fn peer(kind: &str) -> Option<(Child, String)> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers/modbus_device.py");
    let mut command = Command::new(python().await?);
    command
        .arg(script)
        .arg(kind)
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().expect("python starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let place = tokio::time::timeout(PATIENCE, lines.next_line())
        .await
        .expect("the peer starts in time");
    Some((child, place.expect("readable").expect("says where it is")))
}

fn ask(function: Function, address: u16, count: u16) -> Request {
    Request {
        function,
        address,
        count,
    }
}

/// Asks until the peer answers: it prints its place a little before it listens.
async fn first_answer(line: &mut impl Registers) {
    let start = std::time::Instant::now();
    while let Err(error) = line.read(1, ask(Function::HoldingRegisters, 7, 1)).await {
        assert!(start.elapsed() < PATIENCE, "never answered: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn agree(mut line: impl Registers) {
    first_answer(&mut line).await;
    for function in [Function::HoldingRegisters, Function::InputRegisters] {
        let words = line.read(1, ask(function, 1054, 10)).await.expect("answers");
        assert_eq!(words, (1054..1064).collect::<Vec<u16>>());
        assert_eq!(
            line.read(1, ask(function, 0, 125)).await.expect("the most").len(),
            125
        );
    }
    for function in [Function::Coils, Function::DiscreteInputs] {
        let bits = line.read(1, ask(function, 3, 11)).await.expect("answers");
        assert_eq!(bits, [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    }
    let beyond = line.read(1, ask(Function::HoldingRegisters, 5000, 1)).await;
    assert!(
        matches!(beyond, Err(LinkError::Exception { code: 2 })),
        "{beyond:?}"
    );

    let ups = shipped("tripp-lite-modbuscard").expect("shipped");
    let request = ask(Function::InputRegisters, 1060, 4);
    let words = line.read(1, request).await.expect("answers");
    let decoded = samples(&ups, request, &words).expect("the right count");
    let shown: Vec<String> = decoded
        .samples
        .iter()
        .filter_map(|s| match s.value {
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(shown, ["106.0", "106.1", "1062", "1063"]);
}

#[tokio::test]
async fn pymodbus_and_we_agree_over_tcp() {
    let Some((_peer, port)) = peer("tcp").await else {
        return;
    };
    agree(Tcp::new(format!("127.0.0.1:{port}"), LIMIT)).await;
}

#[tokio::test]
async fn pymodbus_and_we_agree_over_a_serial_line() {
    let Some((_peer, path)) = peer("rtu").await else {
        return;
    };
    let settings = LineSettings {
        baud: 9600,
        parity: Parity::None,
        stop_bits: 1,
    };
    agree(Rtu::new(Port { path, settings }, LIMIT)).await;
}
