//! What an agent costs a box that watches over ten sensors: each is asked every second, what it says is kept, signed,
//! delivered and acknowledged. One line at the end: how much of a core the agent's process took.
//!
//! Usage: `homeward-bench-sensors [SECONDS]` (60). Agent and server are those of `HOMEWARD_BIN`.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: starts programs, reads what the system says of them"
)]

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use homeward_tests::homes::{Home, Plan, device};
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::programs::wait_for;
use homeward_tests::tally::number;
use tokio::time::sleep;

const SENSORS: u64 = 10;
/// Start, enrolment and the first connection are not what is measured.
const WARM_UP: Duration = Duration::from_secs(10);
/// The system's tick, in which it counts CPU time. Source: `man 5 proc`, `sysconf(_SC_CLK_TCK)`.
const TICK_MS: u64 = 10;

const PLAN: Plan<'static> = Plan {
    placement: "ten-sensors",
    team: "north",
    dependency: "medium",
    sensor: "comet-tx5xx",
    profile: "comet-tx5xx",
    interval_ms: 1000,
    seed: 1,
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let asked = std::env::args().nth(1).map(|text| text.parse());
    let Ok(seconds) = asked.unwrap_or(Ok(60_u64)) else {
        eprintln!("usage: homeward-bench-sensors [SECONDS]");
        return ExitCode::from(2);
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut fleet = Fleet::init(&folder.path().join("fleet"), &["--name", "localhost", "--trial"]);
    let nothing: [&str; 0] = [];
    fleet.serve(&nothing);
    let mut home = Home::settle(&fleet, folder.path(), PLAN).await;
    let file = home.agent.dir().join("agent.toml");
    let mut text = fs::read_to_string(&file).expect("it was just made");
    let mut levers = Vec::new();
    for seed in 2..=SENSORS {
        let (address, lever) = device(Plan { seed, ..PLAN }).await;
        levers.push(lever);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n[[sensor]]\nid = \"room-{seed}\"\nprofile = \"{}\"\naddress = \"{address}\"\ninterval_ms = 1000\n",
            PLAN.profile
        );
    }
    fs::write(&file, text).expect("our own folder");
    home.run();
    let database = fleet.dir().join("fleet.db");
    let stored = || number(&database, "SELECT count(*) FROM readings");
    wait_for("the first readings", Duration::from_mins(1), || {
        (stored() > 0).then_some(())
    });
    sleep(WARM_UP).await;
    let pid = home.agent.program().pid();
    let (before, stood) = (ticks(pid), stored());
    sleep(Duration::from_secs(seconds)).await;
    let (took, came) = (ticks(pid) - before, stored() - stood);
    let hundredths = (took * TICK_MS * 10).div_ceil(seconds.max(1));
    println!(
        "agent, {SENSORS} sensors asked every second: {took} ticks of {TICK_MS} ms in {seconds} s, {}.{:02} % of one core; \
         {came} readings stored",
        hundredths / 100,
        hundredths % 100
    );
    home.agent.stop();
    ExitCode::SUCCESS
}

/// CPU time of all threads of a process, in its own name and the kernel's. Source: `man 5 proc`, fields 14 and 15 of
/// `/proc/PID/stat`.
fn ticks(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |n: usize| after_name.split_whitespace().nth(n - 3)?.parse::<u64>().ok();
    field(14).zip(field(15)).map_or(0, |(own, kernel)| own + kernel)
}
