//! Shell: reads what lies on a box that restarts things by itself.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::Seen;

/// Most that is read of one file, bytes.
const MOST: u64 = 64 * 1024;

/// Of the box whose files lie below `root`.
pub fn look(root: &Path) -> Seen {
    let at = |path: &str| root.join(path);
    let timer = fs::read_link(at("etc/systemd/system/apt-daily-upgrade.timer"));
    let masked = timer.is_ok_and(|to| to == Path::new("/dev/null"));
    let needrestart = at("etc/needrestart/needrestart.conf");
    Seen {
        apt: together(files(&at("etc/apt/apt.conf.d")).chain([at("etc/apt/apt.conf")])),
        upgrades: !masked && at("usr/bin/unattended-upgrade").exists(),
        needrestart: needrestart.exists().then(|| {
            together(
                [needrestart]
                    .into_iter()
                    .chain(files(&at("etc/needrestart/conf.d"))),
            )
        }),
        shutdown: text(&at("run/systemd/shutdown/scheduled")),
    }
}

/// In the order of their names; those that were put aside, as `.dpkg-old`, nobody reads. Source: apt.conf(5).
fn files(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let read = |path: &PathBuf| path.extension().is_none_or(|end| end == "conf");
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(read).collect();
    all.sort();
    all.into_iter()
}

fn together(all: impl IntoIterator<Item = PathBuf>) -> String {
    let read: Vec<String> = all.into_iter().filter_map(|path| text(&path)).collect();
    read.join("\n")
}

fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .ok()?
        .take(MOST)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::beside;
    use super::*;

    /// The line of Debian's `20auto-upgrades`, and those of `50unattended-upgrades`.
    const ON: &str = "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n";
    const REBOOTS: &str = "//Unattended-Upgrade::Automatic-Reboot \"false\";\nUnattended-Upgrade::Automatic-Reboot \"true\";\n\
                           Unattended-Upgrade::Automatic-Reboot-WithUsers \"false\";\n";

    fn says(seen: &Seen) -> Vec<String> {
        beside(seen).iter().map(|text| text.as_str().to_owned()).collect()
    }

    #[test]
    fn a_box_says_who_else_restarts_things_on_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("within")).expect("made");
            fs::write(path, text).expect("written");
        };
        let now = || says(&look(root));
        assert!(now().is_empty(), "an empty box");
        put("etc/apt/apt.conf.d/20auto-upgrades", ON);
        assert!(now().is_empty(), "the program is not there");
        put("usr/bin/unattended-upgrade", "");
        let aside = "APT::Periodic::Unattended-Upgrade \"0\";\n";
        put("etc/apt/apt.conf.d/20auto-upgrades.dpkg-old", aside);
        let installs =
            "security updates install themselves at hours of their own, and restart what they need to";
        assert_eq!(now(), [installs]);
        put("etc/apt/apt.conf.d/50unattended-upgrades", REBOOTS);
        assert_eq!(now(), [installs, "the box reboots by itself after such updates"]);
        put(
            "etc/needrestart/needrestart.conf",
            "#$nrconf{restart} = 'a';\n$nrconf{restart} = 'i';\n",
        );
        assert_eq!(now().len(), 2, "it asks");
        put("etc/needrestart/conf.d/ours.conf", "$nrconf{restart} = 'a';\n");
        assert_eq!(
            now()[2..],
            ["needrestart restarts services by itself after packages came"]
        );
        put(
            "run/systemd/shutdown/scheduled",
            "USEC=1795744800000000\nWARN_WALL=1\nMODE=reboot\n",
        );
        assert_eq!(
            now()[3..],
            ["somebody set the box to reboot at 2026-11-27T02:00:00Z"]
        );
        // Switched off by whoever runs the box, in either way.
        fs::create_dir_all(root.join("etc/systemd/system")).expect("made");
        symlink(
            "/dev/null",
            root.join("etc/systemd/system/apt-daily-upgrade.timer"),
        )
        .expect("linked");
        assert_eq!(now().len(), 2);
        fs::remove_file(root.join("etc/systemd/system/apt-daily-upgrade.timer")).expect("there");
        put("etc/apt/apt.conf.d/99ours", "APT::Periodic::Enable \"0\";\n");
        assert_eq!(now().len(), 2);
    }
}
