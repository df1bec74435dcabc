//! Shell: a check of our Bluetooth shell over the fake stack, in a process of its own: which bus is the system's is
//! said by the environment, and a process has one.
#![expect(clippy::disallowed_methods, reason = "shell: starts itself again, waits")]

use std::any::type_name;
use std::env;
use std::future::Future;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use homeward_devices::bluez::Bluez;
use homeward_devices::bluez::keys::Keys;
use homeward_devices::link::ble::StackState;
use tokio::time::timeout;

use super::FakeBluez;
use super::bus::Bus;
use crate::programs::finish;

/// Says to a process that it is the one for the check, and where its bus lies.
const MARK: &str = "HOMEWARD_FAKE_BUS";
/// The longest check waits for a limit of half a minute or two.
const LIMIT: Duration = Duration::from_mins(3);
/// For what the fake does at once, on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// Plays `check`, the body of a test, with our shell and the fake stack below it. Skips aloud where there is no bus.
///
/// # Panics
/// When the check does.
pub fn alone<C, F>(check: C)
where
    C: FnOnce(Bluez, Arc<FakeBluez>) -> F,
    F: Future<Output = ()>,
{
    let Some(folder) = env::var_os(MARK) else {
        return again(test_of(type_name::<C>()));
    };
    let folder = PathBuf::from(folder);
    let address = env::var("DBUS_SYSTEM_BUS_ADDRESS").expect("set beside the mark");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let keys = folder.join("keys");
        let fake = Arc::new(FakeBluez::start(&address, &keys).await);
        let (bluez, watch) = Bluez::new(Keys::Folder(keys));
        tokio::spawn(watch.run());
        become_state(&bluez, StackState::Ready).await;
        timeout(LIMIT, check(bluez, fake)).await.expect("in time");
    });
}

/// Waits until our shell says that the stack is so; which life of it that is.
///
/// # Panics
/// When it does not become so soon.
pub async fn become_state(bluez: &Bluez, state: StackState) -> u32 {
    use homeward_devices::link::ble::Central as _;
    let mut stack = bluez.stack();
    let waited = timeout(SOON, stack.wait_for(|now| now.state == state)).await;
    waited.expect("in time").expect("the watch runs").life
}

/// `module::test` of `crate::module::test::{{closure}}`.
fn test_of(closure: &str) -> &str {
    let within = closure.split_once("::").map_or(closure, |(_, rest)| rest);
    within.strip_suffix("::{{closure}}").unwrap_or(within)
}

fn again(test: &str) {
    let Some(bus) = Bus::start() else { return };
    let me = env::current_exe().expect("a running test has a path");
    let mut command = Command::new(me);
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .envs(bus.surroundings())
        .env(MARK, bus.folder());
    let ended = finish(&mut command, b"", LIMIT + SOON);
    print!("{}", ended.stdout);
    eprint!("{}", ended.stderr);
    // A name that no test has would pass too.
    assert!(
        ended.status.success() && ended.stdout.contains("1 passed"),
        "{test}: {}",
        ended.status
    );
}
