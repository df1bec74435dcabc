//! What is installed: units that systemd accepts and that give the programs little, and configuration files that say
//! every key with its default.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests read files and ask systemd"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use homeward_agent::policy::standing::does::Does;
use homeward_fleet::config::Config;
use homeward_protocol::policy::points::Rule;
use homeward_tests::programs::finish;
use homeward_tests::shared;

const LIMIT: Duration = Duration::from_mins(1);

/// The units, and how exposed systemd may find each: 0 (nothing) to 10 (everything).
const UNITS: [(&str, &str, u32); 7] = [
    ("agent", "homeward-agent", 20),
    ("agent", "homeward-bond@", 8),
    ("agent", "homeward-apply@", 20),
    ("agent", "homeward-rules", 20),
    ("agent", "homeward-look@", 22),
    // Whoever installs packages may write everywhere.
    ("agent", "homeward-packages@", 60),
    ("fleet", "homeward-fleet", 15),
];

fn packaging(path: &str) -> PathBuf {
    shared::workspace().join("packaging").join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Writes a unit into `dir` with what is installed here in the place of its program and its users; everything else is
/// judged as shipped.
fn stand_in(dir: &Path, folder: &str, unit: &str) -> PathBuf {
    let file = dir.join(unit);
    let text = read(&packaging(&format!("{folder}/{unit}")));
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some(("User" | "Group" | "SocketGroup", name)) if name.starts_with("homeward-") => {
            line.replace(name, "daemon")
        }
        Some(("ExecStart", _)) => "ExecStart=/bin/true".to_owned(),
        _ => line.to_owned(),
    });
    fs::write(&file, lines.fold(String::new(), |all, line| all + &line + "\n")).expect("our own folder");
    file
}

#[test]
fn systemd_accepts_the_units_and_finds_them_closed() {
    let Some(analyze) = shared::debian("systemd-analyze", "systemd") else {
        return;
    };
    for (folder, name, most) in UNITS {
        let dir = tempfile::tempdir().expect("a folder");
        let file = stand_in(dir.path(), folder, &format!("{name}.service"));
        let beside = file.with_file_name(format!("{}.socket", name.trim_end_matches('@')));
        let mut verify = Command::new(&analyze);
        verify.args(["verify", "--man=no"]).arg(&file);
        if name.ends_with('@') {
            let socket = beside.file_name().and_then(|n| n.to_str()).expect("a name");
            verify.arg(stand_in(dir.path(), folder, socket));
        }
        let verified = finish(&mut verify, b"", LIMIT);
        assert!(
            verified.status.success() && verified.stderr.is_empty(),
            "{name}: {}",
            verified.stderr
        );
        let mut security = Command::new(&analyze);
        security
            .args([
                "security",
                "--no-pager",
                "--offline=true",
                &format!("--threshold={most}"),
            ])
            .arg(&file);
        let judged = finish(&mut security, b"", LIMIT);
        assert!(
            judged.status.success(),
            "{name} is more exposed than {most}:\n{}",
            judged.stdout
        );
    }
}

#[test]
fn units_run_the_commands_there_are() {
    for (folder, name) in [("agent", "homeward-agent"), ("fleet", "homeward-fleet")] {
        let unit = read(&packaging(&format!("{folder}/{name}.service")));
        let (program, verb) = if folder == "agent" {
            ("libexec/homeward/homeward-launch", "run")
        } else {
            ("bin/homeward-fleet", "serve")
        };
        assert!(
            unit.contains(&format!(
                "ExecStart=/usr/{program} --data /var/lib/{name} {verb}\n"
            )),
            "{name}"
        );
        assert!(
            unit.contains(&format!("StateDirectory={name}\n")) && unit.contains("Type=notify\n"),
            "{name}"
        );
        let users = read(&packaging(&format!("{folder}/sysusers.conf")));
        assert!(
            users.starts_with(&format!("u {name} ")) && unit.contains(&format!("User={name}\n")),
            "{name}"
        );
    }
}

#[test]
fn only_the_helper_reads_keys_only_the_agent_asks_it_and_it_has_nothing_else() {
    let socket = read(&packaging("agent/homeward-bond.socket"));
    let path = homeward_devices::bluez::keys::SOCKET;
    for line in [
        &format!("ListenStream={path}"),
        "SocketMode=0660",
        "SocketGroup=homeward-agent",
        "Accept=yes",
    ] {
        assert!(socket.lines().any(|l| l == line), "{line}");
    }
    let helper = read(&packaging("agent/homeward-bond@.service"));
    let keys = homeward_devices::bluez::keys::FOLDER;
    for line in [
        "ExecStart=/usr/libexec/homeward/homeward-bond",
        "StandardInput=socket",
        "User=homeward-bond",
        "CapabilityBoundingSet=CAP_DAC_READ_SEARCH",
        "NoNewPrivileges=yes",
        "PrivateNetwork=yes",
        "RestrictAddressFamilies=none",
        &format!("BindReadOnlyPaths=-{keys}"),
    ] {
        assert!(helper.lines().any(|l| l == line), "{line}");
    }
    let agent = read(&packaging("agent/homeward-agent.service"));
    assert!(agent.contains("CapabilityBoundingSet=\n") && agent.contains(" homeward-bond.socket "));
    let users = read(&packaging("agent/sysusers.conf"));
    assert!(users.contains("\nu homeward-bond "));
    assert!(
        !users.contains("m homeward-agent homeward-bond"),
        "the agent gets none of its rights"
    );
    let package = read(&shared::workspace().join("agent/Cargo.toml"));
    for file in [
        "homeward-bond\", \"usr/libexec/homeward/",
        "homeward-bond.socket",
        "homeward-bond@.service",
        "dbus.conf\", \"usr/share/dbus-1/system.d/",
        "polkit.rules\", \"usr/share/polkit-1/rules.d/",
        "tmpfiles.conf\", \"usr/lib/tmpfiles.d/homeward-agent.conf",
    ] {
        assert!(package.contains(file), "the package lacks {file}");
    }
}

/// polkit's own engine is another one; the rule uses nothing but what every JavaScript has.
#[test]
fn the_agent_may_reboot_the_box_and_nobody_gets_anything_else_by_that() {
    let Some(node) = shared::debian("node", "nodejs") else {
        return;
    };
    let rule = read(&packaging("agent/polkit.rules"));
    let asks = r#"
        const rules = [];
        const polkit = { addRule: (rule) => rules.push(rule), Result: { YES: "yes" } };
        RULE
        const may = (user, id) => rules.map((rule) => rule({ id }, { user })).find((said) => said) ?? "not said";
        const login1 = "org.freedesktop.login1.";
        for (const user of ["homeward-agent", "homeward-look", "root", ""])
            for (const act of ["reboot", "reboot-multiple-sessions", "reboot-ignore-inhibit", "power-off", "halt", "suspend", "set-reboot-to-firmware-setup"])
                if (may(user, login1 + act) !== "not said") console.log(user, act, may(user, login1 + act));
        console.log(may("homeward-agent", "org.freedesktop.systemd1.manage-units"));
    "#;
    let mut command = Command::new(node);
    command.arg("-e").arg(asks.replace("RULE", &rule));
    let said = finish(&mut command, b"", Duration::from_secs(30)).ok();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(
        said,
        [
            "homeward-agent reboot yes",
            "homeward-agent reboot-multiple-sessions yes",
            "not said"
        ]
    );
}

#[test]
fn the_launcher_comes_with_the_package_and_a_package_by_hand_wins() {
    let package = read(&shared::workspace().join("agent/Cargo.toml"));
    assert!(package.contains("homeward-launch\", \"usr/libexec/homeward/"));
    for (state, enabled, expected) in [
        (
            "active",
            "0",
            &[
                "stop homeward-agent",
                "rm",
                "enable homeward-rules",
                "start homeward-agent",
            ][..],
        ),
        (
            "activating",
            "1",
            &["stop homeward-agent", "rm", "start homeward-agent"],
        ),
        ("inactive", "0", &["rm", "enable homeward-rules"]),
        ("failed", "1", &["rm"]),
    ] {
        assert_eq!(configured(state, enabled), expected, "{state}");
    }
}

/// What the package does of what counts when it is put over one whose service is in `state`, in this order.
fn configured(state: &str, is_enabled: &str) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a folder");
    let (slots, said) = (dir.path().join("lib/slots"), dir.path().join("said"));
    for folder in [&slots, &dir.path().join("run"), &dir.path().join("bin")] {
        fs::create_dir_all(folder).expect("our own folder");
    }
    for file in ["state.json", "copy.json", "a"] {
        fs::write(slots.join(file), "{}").expect("our own folder");
    }
    let stub = |name: &str, does: &str| {
        let path = dir.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{does}\n")).expect("our own folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    };
    stub("systemd-sysusers", "");
    stub("systemd-tmpfiles", "");
    let keeps = format!("echo \"$1 ${{2%.service}}\" >>{}", said.display());
    stub(
        "systemctl",
        &format!(
            "case $1 in show) echo {state} ;; is-enabled) exit {is_enabled} ;; daemon-reload) ;; *) {keeps} ;; esac"
        ),
    );
    // Only as the agent, whose folder it is; a `rm` of root's own is none of these.
    let as_agent = format!(
        "[ \"$1 $2 $3\" = '-u homeward-agent --' ] || exit 1; shift 3; echo rm >>{}; exec /bin/\"$@\"",
        said.display()
    );
    stub("runuser", &as_agent);
    stub("rm", "exit 1");
    let text = read(&packaging("agent/debian/postinst"));
    let text = text
        .replace("/run/systemd/system", &dir.path().join("run").to_string_lossy())
        .replace(
            "/var/lib/homeward-agent",
            &dir.path().join("lib").to_string_lossy(),
        );
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &text, "postinst", "configure"])
        .env("PATH", dir.path().join("bin"));
    let done = finish(&mut command, b"", LIMIT);
    assert!(done.status.success(), "{}", done.stderr);
    let left: Vec<_> = fs::read_dir(&slots)
        .expect("our own folder")
        .map(|entry| entry.expect("ours").file_name())
        .collect();
    assert_eq!(left, ["a"], "the record is gone, the builds stay");
    read(&said).lines().map(str::to_owned).collect()
}

#[test]
fn what_a_policy_sets_is_set_by_a_helper_with_one_right_and_goes_with_the_package() {
    let socket = read(&packaging("agent/homeward-apply.socket"));
    for line in [
        &format!("ListenStream={}", homeward_agent::policy::helper::SOCKET),
        "SocketMode=0660",
        "SocketGroup=homeward-agent",
        "Accept=yes",
    ] {
        assert!(socket.lines().any(|l| l == line), "{line}");
    }
    let helper = read(&packaging("agent/homeward-apply@.service"));
    for line in [
        "ExecStart=/usr/libexec/homeward/homeward-apply",
        "CapabilityBoundingSet=CAP_NET_ADMIN",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ReadWritePaths=-/etc/ssh/sshd_config.d",
        "RestrictAddressFamilies=AF_NETLINK AF_UNIX",
        "StateDirectory=homeward-apply",
    ] {
        assert!(helper.lines().any(|l| l == line), "{line}");
    }
    // What was set last is set again before there is a network, after whatever begins by taking all rules away.
    let start = read(&packaging("agent/homeward-rules.service"));
    for line in [
        "ExecStart=/usr/libexec/homeward/homeward-apply --at-start",
        "DefaultDependencies=no",
        "Before=network-pre.target shutdown.target",
        "Wants=network-pre.target",
        "After=nftables.service netfilter-persistent.service ufw.service firewalld.service",
        "CapabilityBoundingSet=CAP_NET_ADMIN",
        "WantedBy=sysinit.target",
    ] {
        assert!(start.lines().any(|l| l == line), "{line}");
    }
    let kept = homeward_agent::policy::apply::Places::default().kept;
    assert!(start.contains(&format!("\nConditionPathExists={}\n", kept.display())));
    let agent = read(&packaging("agent/homeward-agent.service"));
    assert!(
        agent.contains("\nAlso=homeward-rules.service\n"),
        "it is enabled with the agent"
    );
    let going = read(&packaging("agent/debian/prerm"));
    assert!(going.contains(" homeward-rules.service "));
    let gone = read(&packaging("agent/debian/postrm"));
    assert!(gone.contains("nft delete table inet homeward") && gone.contains("00-homeward.conf"));
    assert!(gone.contains("rm -rf /var/lib/homeward-apply\n"));
    assert!(!gone.contains("flush"), "other tables are not ours");
    let package = read(&shared::workspace().join("agent/Cargo.toml"));
    for file in [
        "homeward-apply\", \"usr/libexec/homeward/",
        "homeward-apply.socket",
        "homeward-apply@.service",
        "homeward-rules.service",
    ] {
        assert!(package.contains(file), "the package lacks {file}");
    }
}

#[test]
fn packages_are_installed_by_a_helper_without_a_network_that_the_agent_alone_asks() {
    let socket = read(&packaging("agent/homeward-packages.socket"));
    for line in [
        &format!("ListenStream={}", homeward_agent::install::packages::ask::SOCKET),
        "SocketMode=0660",
        "SocketGroup=homeward-agent",
        "Accept=yes",
    ] {
        assert!(socket.lines().any(|l| l == line), "{line}");
    }
    let helper = read(&packaging("agent/homeward-packages@.service"));
    for line in [
        "ExecStart=/usr/libexec/homeward/homeward-packages",
        "StandardInput=socket",
        "StateDirectory=homeward-packages",
        "StateDirectoryMode=0700",
        "NoNewPrivileges=yes",
        "RestrictAddressFamilies=AF_UNIX",
        "IPAddressDeny=any",
    ] {
        assert!(helper.lines().any(|l| l == line), "{line}");
    }
    let own = homeward_agent::install::packages::help::Places::default().own;
    assert_eq!(own, Path::new("/var/lib/homeward-packages"));
    let agent = read(&packaging("agent/homeward-agent.service"));
    assert!(agent.contains("CapabilityBoundingSet=\n") && agent.contains(" homeward-packages.socket"));
    let going = read(&packaging("agent/debian/prerm"));
    assert!(going.contains(" homeward-packages.socket"));
    let package = read(&shared::workspace().join("agent/Cargo.toml"));
    for file in [
        "homeward-packages\", \"usr/libexec/homeward/",
        "homeward-packages.socket",
        "homeward-packages@.service",
    ] {
        assert!(package.contains(file), "the package lacks {file}");
    }
}

#[test]
fn only_the_helper_looks_where_root_looks_and_the_agent_gets_none_of_its_rights() {
    let socket = read(&packaging("agent/homeward-look.socket"));
    let path = homeward_agent::posture::look::SOCKET;
    for line in [
        &format!("ListenStream={path}"),
        "SocketMode=0660",
        "SocketGroup=homeward-agent",
        "Accept=yes",
    ] {
        assert!(socket.lines().any(|l| l == line), "{line}");
    }
    let helper = read(&packaging("agent/homeward-look@.service"));
    for line in [
        "ExecStart=/usr/libexec/homeward/homeward-look",
        "StandardInput=socket",
        "User=homeward-look",
        "CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_SYS_PTRACE CAP_NET_ADMIN",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "IPAddressDeny=any",
        "InaccessiblePaths=-/var/lib/homeward-agent",
    ] {
        assert!(helper.lines().any(|l| l == line), "{line}");
    }
    let agent = read(&packaging("agent/homeward-agent.service"));
    assert!(agent.contains("CapabilityBoundingSet=\n") && agent.contains(" homeward-look.socket "));
    let users = read(&packaging("agent/sysusers.conf"));
    assert!(users.contains("\nu homeward-look ") && !users.contains("m homeward-agent homeward-look"));
    let package = read(&shared::workspace().join("agent/Cargo.toml"));
    for file in [
        "homeward-look\", \"usr/libexec/homeward/",
        "homeward-look.socket",
        "homeward-look@.service",
    ] {
        assert!(package.contains(file), "the package lacks {file}");
    }
}

#[test]
fn the_table_of_what_a_box_does_of_each_rule_is_what_the_agent_does() {
    let text = read(&shared::workspace().join("ARCHITECTURE.md"));
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let rule = Rule::ALL
            .iter()
            .find(|rule| rule.name() == cells.clone().next().unwrap_or_default())?;
        cells.next();
        Some((rule.name(), cells.next().unwrap_or_default().to_owned()))
    });
    let is: Vec<_> = Rule::ALL
        .iter()
        .map(|rule| (rule.name(), Does::of(*rule).name().to_owned()))
        .collect();
    assert_eq!(rows.collect::<Vec<_>>(), is);
}

/// The example with its keys switched on: `#key = value` is a key, `# words` are words.
fn switched_on(text: &str) -> String {
    let is_key = |line: &str| {
        line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase() || c == '[')
    };
    text.lines().fold(String::new(), |all, line| {
        all + if is_key(line) { &line[1..] } else { line } + "\n"
    })
}

/// The keys that a configuration's raw shapes name, read from its source.
fn keys(source: &str) -> BTreeSet<String> {
    let raw = source
        .split("struct Raw")
        .skip(1)
        .filter_map(|rest| rest.split_once('}'));
    let fields = raw.flat_map(|(body, _)| body.lines().skip(1));
    let names = fields.filter_map(|line| line.trim().split_once(": "));
    names
        .map(|(name, _)| name.trim_start_matches("pub ").to_owned())
        .filter(|n| !n.contains(' '))
        .collect()
}

/// Every key of the raw shapes in `sources` stands in the example.
fn says_every_key(example: &str, sources: &[&str]) {
    let table: toml::Table = switched_on(example).parse().expect("TOML");
    let mut shown: BTreeSet<String> = table.keys().cloned().collect();
    let lists = table.values().filter_map(toml::Value::as_array).flatten();
    let inner = table.values().chain(lists).filter_map(toml::Value::as_table);
    shown.extend(inner.flat_map(|t| t.keys().cloned()));
    let text = |path: &&str| read(&shared::workspace().join(path));
    let known: BTreeSet<String> = sources
        .iter()
        .map(text)
        .flat_map(|source| keys(&source))
        .collect();
    assert!(known.len() > 5, "the raw shapes were not found: {known:?}");
    let unsaid: Vec<_> = known.difference(&shown).collect();
    assert!(unsaid.is_empty(), "the example does not show {unsaid:?}");
}

#[test]
fn the_servers_example_says_every_key_and_its_default() {
    let text = read(&packaging("fleet/fleet.toml"));
    let folder = Path::new("data");
    let default = Config::parse("", folder).expect("nothing is needed");
    assert_eq!(
        Config::parse(&text, folder).expect("the example is accepted"),
        default
    );

    let on = Config::parse(&switched_on(&text), folder).expect("every key of the example exists");
    let defaults = (&on.names, on.listen, on.retention, on.gate);
    let expected = (&default.names, default.listen, default.retention, default.gate);
    assert_eq!(defaults, expected, "what the example shows is the default");

    says_every_key(
        &text,
        &["fleet-server/src/config.rs", "fleet-server/src/config/notify.rs"],
    );
}

#[test]
fn the_agents_example_says_every_key_and_its_default() {
    use homeward_agent::config::{Config, UpdateConfig};
    let text = read(&packaging("agent/agent.toml"));
    let default = Config::parse("").expect("nothing is needed");
    assert_eq!(Config::parse(&text).expect("the example is accepted"), default);

    let on = Config::parse(&switched_on(&text)).expect("every key of the example exists");
    let sensors = on.sensors(&[]).expect("the example's sensors have profiles");
    assert_eq!(sensors.len(), 2);
    let guards = on
        .guards(&sensors)
        .expect("the example's guard stands before a sensor");
    assert_eq!(guards.len(), 1);
    // As shipped nobody listens: what lets this guard do so is said beside it.
    let unit = read(&packaging("agent/homeward-agent.service"));
    assert!(unit.contains("\nSocketBindDeny=any\n") && unit.contains("\nCapabilityBoundingSet=\n"));
    assert!(text.contains("SocketBindAllow=tcp:1502 ") && text.contains("\n#listen = \"192.0.2.1:1502\"\n"));
    // As shipped it reads no keys: what lets it read a button is said beside it, and how long a press counts is the default.
    assert!(text.contains("DeviceAllow=char-input r") && !unit.contains("input"));
    let short = Config::parse("[update]\nbutton = \"/dev/input/event0\"\n").expect("a button");
    let length = |config: &Config| config.update.button.as_ref().map(|(_, length)| *length);
    assert!(length(&on).is_some() && length(&on) == length(&short));
    assert_eq!(
        Config {
            sensor: Vec::new(),
            guard: Vec::new(),
            gate: None,
            bluetooth_keys: None,
            policy_helper: None,
            update: UpdateConfig {
                repository: None,
                peers: Vec::new(),
                share: None,
                packages: None,
                button: None,
                ..on.update
            },
            ..on
        },
        default,
        "what the example shows is the default, but for the devices, the way to the gate, the place of keys, the helper, the mirror, the button and the neighbours"
    );
    says_every_key(&text, &["agent/src/config.rs", "agent/src/sense/config.rs"]);
}
