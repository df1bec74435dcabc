//! The D-Bus policy that is installed, held by a real `dbus-daemon` beside those that BlueZ and RAUC install: the agent may
//! ask of them, and of logind, what it needs and nothing else.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests write files and start programs"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use homeward_tests::programs::{Program, finish, wait_for};
use homeward_tests::shared;

const LIMIT: Duration = Duration::from_secs(30);
/// Who plays the agent: a user that every Debian has.
const USER: &str = "nobody";

/// Where BlueZ's own policy lies, by release.
const OF_BLUEZ: [&str; 2] = [
    "/usr/share/dbus-1/system.d/bluetooth.conf",
    "/etc/dbus-1/system.d/bluetooth.conf",
];

/// RAUC's own, which lets everybody ask everything.
const OF_RAUC: &str = "/usr/share/dbus-1/system.d/de.pengutronix.rauc.conf";
/// As systemd's own policy does of logind.
const OF_LOGIND: &str = r#"<busconfig><policy context="default"><allow send_destination="org.freedesktop.login1"/></policy>
<policy user="root"><allow own="org.freedesktop.login1"/></policy></busconfig>"#;

/// Makes the connection answer, with "there is no such object".
struct Nothing;

#[zbus::interface(name = "org.example.Nothing")]
impl Nothing {}

/// A system bus as Debian's denies by default, with these policies.
fn configuration(dir: &Path, policies: &[PathBuf]) -> String {
    let include = |all: String, file: &PathBuf| all + "<include>" + &file.to_string_lossy() + "</include>";
    let includes = policies.iter().fold(String::new(), include);
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><deny own="*"/><deny send_type="method_call"/>
<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow send_destination="org.freedesktop.DBus"/></policy>{includes}</busconfig>"#,
        dir.display()
    )
}

/// The agent's calls of `interface` reach `name`, or are denied.
fn calls(bus: &Path, (name, interface): (&str, &str), methods: &[&str], end: &str) {
    for method in methods {
        let method = format!("{interface}.{method}");
        let said = refused_as(bus, name, &method);
        assert!(said.contains(end), "{method}: {said}");
    }
}

/// The error that a call of `method` ends with: whoever holds `name` here has no objects.
fn refused_as(bus: &Path, name: &str, method: &str) -> String {
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={USER}"),
        "--clear-groups",
        "dbus-send",
        "--print-reply",
    ]);
    command.arg(format!("--bus=unix:path={}", bus.display()));
    command.arg(format!("--dest={name}")).args(["/there", method]);
    finish(&mut command, b"", LIMIT).failed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_may_ask_what_it_needs_of_bluez_rauc_and_logind_and_nothing_else() {
    let (Some(daemon), Some(_), Some(_)) = (
        shared::debian("dbus-daemon", "dbus"),
        shared::debian("dbus-send", "dbus"),
        shared::debian("setpriv", "util-linux"),
    ) else {
        return;
    };
    let of_bluez = OF_BLUEZ.iter().map(PathBuf::from).find(|file| file.is_file());
    let Some(of_bluez) = of_bluez else {
        return shared::missing("BlueZ's D-Bus policy", "install the Debian package bluez");
    };
    let of_rauc = PathBuf::from(OF_RAUC);
    if !of_rauc.is_file() {
        return shared::missing("RAUC's D-Bus policy", "install the Debian package rauc-service");
    }
    if !rustix::process::geteuid().is_root() {
        return shared::missing("another user to be", "run this test as root");
    }
    let dir = tempfile::Builder::new()
        .prefix("hwdbus")
        .tempdir_in("/tmp")
        .expect("a folder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("our own folder");
    let ours = dir.path().join("agent.conf");
    let text =
        fs::read_to_string(shared::workspace().join("packaging/agent/dbus.conf")).expect("it is shipped");
    let as_user = text.replace("user=\"homeward-agent\"", &format!("user=\"{USER}\""));
    assert_ne!(text, as_user, "the policy is the agent's");
    fs::write(&ours, as_user).expect("our own folder");
    let file = dir.path().join("bus.conf");
    let of_logind = dir.path().join("logind.conf");
    fs::write(&of_logind, OF_LOGIND).expect("our own folder");
    fs::write(
        &file,
        configuration(dir.path(), &[ours, of_bluez, of_rauc, of_logind]),
    )
    .expect("our own folder");
    let mut command = Command::new(daemon);
    command.arg(format!("--config-file={}", file.display()));
    command.args(["--nofork", "--nopidfile", "--nosyslog"]);
    let mut program = Program::start("dbus-daemon", &mut command);
    let bus = dir.path().join("bus");
    wait_for("the bus to listen", LIMIT, || {
        assert!(program.runs(), "it ended:\n{}", program.said().join("\n"));
        std::os::unix::net::UnixStream::connect(&bus).ok().map(drop)
    });
    let address = format!("unix:path={}", bus.display());
    // One connection each: what is denied of one name is denied of whoever holds it.
    let mut held = Vec::new();
    for name in ["org.bluez", "de.pengutronix.rauc", "org.freedesktop.login1"] {
        let connection = zbus::connection::Builder::address(address.as_str());
        let connection = connection.serve_at("/nothing", Nothing).name(name).build();
        held.push(connection.await.expect("root may be anybody"));
    }
    for needed in [
        "org.freedesktop.DBus.ObjectManager.GetManagedObjects",
        "org.freedesktop.DBus.Introspectable.Introspect",
        "org.freedesktop.DBus.Properties.Set",
        "org.bluez.Adapter1.StartDiscovery",
        "org.bluez.Adapter1.RemoveDevice",
        "org.bluez.AgentManager1.RegisterAgent",
        "org.bluez.Device1.Pair",
        "org.bluez.GattCharacteristic1.StartNotify",
    ] {
        let said = refused_as(&bus, "org.bluez", needed);
        assert!(said.contains("UnknownObject"), "{needed}: {said}");
    }
    for other in [
        "org.bluez.LEAdvertisingManager1.RegisterAdvertisement",
        "org.bluez.GattManager1.RegisterApplication",
        "org.bluez.ProfileManager1.RegisterProfile",
        "org.bluez.Network1.Connect",
        "org.bluez.NetworkServer1.Register",
        "org.bluez.Media1.RegisterEndpoint",
        "org.bluez.HealthManager1.CreateApplication",
    ] {
        let said = refused_as(&bus, "org.bluez", other);
        assert!(said.contains("AccessDenied"), "{other}: {said}");
    }
    let (rauc, logind) = ("de.pengutronix.rauc", "org.freedesktop.login1");
    let manager = (logind, "org.freedesktop.login1.Manager");
    let installer = (rauc, "de.pengutronix.rauc.Installer");
    calls(&bus, installer, &["InstallBundle", "Mark"], "UnknownObject");
    calls(
        &bus,
        (rauc, "org.freedesktop.DBus.Properties"),
        &["Get"],
        "UnknownObject",
    );
    calls(&bus, manager, &["Reboot", "CanReboot"], "UnknownObject");
    calls(
        &bus,
        manager,
        &["PowerOff", "Suspend", "KillUser", "ScheduleShutdown"],
        "AccessDenied",
    );
}
