//! Shell: the secrets that this box has and its disk has not.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: what systemd and the kernel tell"
)]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{Kind, Source};

/// The name of the credential (systemd.exec(5), `LoadCredentialEncrypted=`).
pub const CREDENTIAL: &str = "homeward-box-key";
/// Longest fact or credential that is read, bytes.
const MOST: u64 = 4096;
/// Facts that makers left empty are the same on every box: these say nothing.
const NOTHING: [&str; 9] = [
    "",
    "0",
    "none",
    "default string",
    "not specified",
    "not applicable",
    "to be filled by o.e.m.",
    "system serial number",
    "00000000-0000-0000-0000-000000000000",
];

/// All of them. `root` is `/` but in tests.
pub fn found(root: &Path) -> Vec<Source> {
    credential().into_iter().chain(facts(root)).collect()
}

fn credential() -> Option<Source> {
    let dir = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    let secret = read(&PathBuf::from(dir).join(CREDENTIAL))?;
    (secret.len() >= 16).then_some(Source {
        kind: Kind::Credential,
        secret,
    })
}

/// What the firmware and the cards of this machine say, each with what it is.
fn facts(root: &Path) -> Vec<Source> {
    let files = [
        ("board", "proc/device-tree/serial-number"),
        ("product", "sys/class/dmi/id/product_uuid"),
        ("product serial", "sys/class/dmi/id/product_serial"),
        ("board serial", "sys/class/dmi/id/board_serial"),
    ];
    let mut all: Vec<Source> = files
        .iter()
        .filter_map(|(what, path)| fact(what, &said(&root.join(path))?))
        .collect();
    all.extend(cards(root));
    all
}

/// The addresses of network cards that are parts of the machine: not virtual, not on USB, and their own.
fn cards(root: &Path) -> Vec<Source> {
    let Ok(entries) = fs::read_dir(root.join("sys/class/net")) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let card = |path: &PathBuf| {
        let device = fs::canonicalize(path.join("device")).ok()?;
        let on_usb = device
            .components()
            .any(|part| part.as_os_str().to_string_lossy().starts_with("usb"));
        let own = said(&path.join("addr_assign_type"))? == "0";
        let address = said(&path.join("address"))?;
        (own && !on_usb && address != "00:00:00:00:00:00").then(|| fact("card", &address))?
    };
    paths.iter().filter_map(card).collect()
}

fn fact(what: &str, text: &str) -> Option<Source> {
    let known = text.trim().trim_end_matches('\0').to_ascii_lowercase();
    let says_nothing = NOTHING.contains(&known.as_str()) || known.chars().all(|c| c == '0' || c == '-');
    (!says_nothing).then(|| Source {
        kind: Kind::Machine,
        secret: format!("{what}={known}").into_bytes(),
    })
}

fn said(path: &Path) -> Option<String> {
    let text = String::from_utf8(read(path)?).ok()?;
    Some(text.trim_matches(['\0', '\n', ' ']).to_owned())
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .ok()?
        .take(MOST)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn card(root: &Path, name: &str, device: &str, kind: &str, address: &str) {
        fs::create_dir_all(root.join(device)).expect("made");
        let here = format!("sys/class/net/{name}");
        put(root, &format!("{here}/addr_assign_type"), kind);
        put(root, &format!("{here}/address"), address);
        std::os::unix::fs::symlink(root.join(device), root.join(&here).join("device")).expect("linked");
    }

    #[test]
    fn only_facts_that_tell_one_machine_from_another_count() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        assert!(facts(root).is_empty());
        put(root, "proc/device-tree/serial-number", "10000000a1b2c3d4\0");
        put(
            root,
            "sys/class/dmi/id/product_uuid",
            "00000000-0000-0000-0000-000000000000\n",
        );
        put(root, "sys/class/dmi/id/board_serial", "To be filled by O.E.M.\n");
        card(
            root,
            "eth0",
            "sys/devices/platform/soc/eth",
            "0\n",
            "dc:a6:32:01:02:03\n",
        );
        card(
            root,
            "eth1",
            "sys/devices/platform/usb1/1-1/net",
            "0\n",
            "dc:a6:32:01:02:04\n",
        );
        card(
            root,
            "wlan0",
            "sys/devices/platform/soc/wlan",
            "3\n",
            "02:11:22:33:44:55\n",
        );
        put(root, "sys/class/net/lo/address", "00:00:00:00:00:00\n");
        let secrets: Vec<String> = facts(root)
            .into_iter()
            .map(|s| String::from_utf8(s.secret).expect("text"))
            .collect();
        assert_eq!(secrets, ["board=10000000a1b2c3d4", "card=dc:a6:32:01:02:03"]);
    }
}
