//! Shell: a box of this machine's files on which packages are installed for real, with the helper that installs them, and
//! packages to install.
//!
//! What is installed lies in memory above this machine's files, which stay as they are. Needs root. All of it ends with it.
#![expect(clippy::disallowed_methods, reason = "shell: mounts, processes and files")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::programs::{Finished, binary, finish};
use crate::shared;

pub mod shop;

const LIMIT: Duration = Duration::from_mins(2);
const HELPER: &str = "/usr/libexec/homeward/homeward-packages";

/// Makes the box and waits. Arguments: a folder, the helper.
///
/// Scripts of services find a run level, as on a box that has started, and nobody who forbids them anything.
const BOX: &str = r#"
set -e
work=$1 helper=$2
mount --make-rprivate /
mount -t tmpfs tmpfs "$work"
mkdir "$work/up" "$work/w" "$work/box"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/up,workdir=$work/w" "$work/box"
cd "$work/box"
mount -t proc proc proc
mount --rbind /dev dev
for folder in run tmp; do mount -t tmpfs tmpfs $folder; done
rm -rf var/lib/homeward-packages usr/sbin/policy-rc.d usr/sbin/runlevel
printf '#!/bin/sh\necho N 5\n' >usr/sbin/runlevel
chmod 755 usr/sbin/runlevel
mkdir -p usr/libexec/homeward
touch usr/libexec/homeward/homeward-packages
mount --bind "$helper" usr/libexec/homeward/homeward-packages
echo ready
exec sleep infinity
"#;

/// The box.
#[derive(Debug)]
pub struct DebBox {
    unshare: Child,
    pid: u32,
    folder: tempfile::TempDir,
}

impl DebBox {
    /// None, said aloud, where it cannot be made.
    ///
    /// # Panics
    /// When it could be made and is not.
    pub fn start() -> Option<DebBox> {
        shared::debian("unshare", "util-linux")?;
        shared::debian("dpkg-deb", "dpkg")?;
        shared::debian("apt-get", "apt")?;
        if !rustix::process::geteuid().is_root() {
            shared::missing("root", "namespaces and mounts need it");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let work = folder.path().join("work");
        fs::create_dir(&work).expect("our own folder");
        let mut unshare = Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                BOX,
                "sh",
            ])
            .arg(&work)
            .arg(binary("homeward-packages"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut line = String::new();
        let said = unshare.stdout.take().expect("piped");
        BufReader::new(said).read_line(&mut line).expect("it speaks");
        assert_eq!(line, "ready\n", "the box was not made");
        let own = unshare.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).expect("it runs");
        let pid = children
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        Some(DebBox {
            pid: pid.expect("its first process"),
            unshare,
            folder,
        })
    }

    /// A file of the box, from outside; `path` without the first `/`.
    pub fn file(&self, path: &str) -> PathBuf {
        let work = self.folder.path().join("work/box");
        let within = work.strip_prefix("/").unwrap_or(&work);
        Path::new(&format!("/proc/{}/root", self.pid))
            .join(within)
            .join(path)
    }

    /// What a file of the box says; nothing where there is none.
    pub fn says(&self, path: &str) -> String {
        fs::read_to_string(self.file(path)).unwrap_or_default()
    }

    /// A command in the box, to be started.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.pid.to_string(), "-m", "-p", "chroot"])
            .arg(self.folder.path().join("work/box"))
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C");
        command
    }

    /// A command in the box, to its end.
    pub fn run(&self, program: &str, args: &[&str]) -> Finished {
        finish(self.command(program).args(args), b"", LIMIT)
    }

    /// Brings a file into the box and gives its path there.
    ///
    /// # Panics
    /// When it cannot.
    pub fn bring(&self, from: &Path) -> String {
        let name = from.file_name().expect("a file").to_string_lossy().into_owned();
        fs::copy(from, self.file("tmp").join(&name)).expect("the box takes it");
        format!("/tmp/{name}")
    }

    /// Installs a package by hand.
    pub fn by_hand(&self, deb: &Path) -> Finished {
        let deb = self.bring(deb);
        self.run("dpkg", &["--install", &deb])
    }

    /// The version and the status of a package; nothing where dpkg does not know it.
    pub fn has(&self, name: &str) -> String {
        let format = "--showformat=${Version} ${db:Status-Status}";
        self.run("dpkg-query", &["--show", format, name]).stdout
    }

    /// The helper is told by hand whom to believe.
    pub fn trust(&self, root: &Path) -> Finished {
        let root = self.bring(root);
        self.run(HELPER, &["--trust", &root])
    }

    /// A socket on which the helper is started for each question, as systemd does.
    ///
    /// # Panics
    /// When nobody can listen there.
    pub fn listen(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let listener = UnixListener::bind(&path).expect("a socket");
        let pid = self.pid.to_string();
        let root = self.folder.path().join("work/box");
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let started = Command::new("nsenter")
                    .args(["-t", &pid, "-m", "-p", "chroot"])
                    .arg(&root)
                    .arg(HELPER)
                    .env_clear()
                    .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                    .stdin(OwnedFd::from(stream))
                    .stdout(Stdio::null())
                    .spawn();
                let Ok(mut helper) = started else { return };
                std::thread::spawn(move || helper.wait());
            }
        });
        path
    }

    /// Ends everything that runs in the box, at once, as when its power is cut.
    pub fn cut(&self) {
        // Within its own processes all others are its own; the first, which holds the box, is spared by the kernel.
        let _itself = self.run("sh", &["-c", "kill -9 -1"]);
    }
}

impl Drop for DebBox {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

/// A package to be built.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deb<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// More lines of its control file, each with its end.
    pub control: &'a str,
    /// The script that runs when it is configured, without its first line.
    pub postinst: &'a str,
    /// More files: path without the first `/`, content; those below `etc/init.d` are programs.
    pub files: &'a [(&'a str, &'a str)],
}

impl Deb<'_> {
    /// Builds it in a folder.
    ///
    /// # Panics
    /// When dpkg-deb does not.
    pub fn build(&self, within: &Path) -> PathBuf {
        let tree = within.join(format!("{}-{}", self.name, self.version));
        let write = |path: &str, text: &str, mode: u32| {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().expect("below the tree")).expect("our own folder");
            fs::write(&path, text).expect("our own folder");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
        };
        let control = format!(
            "Package: {}\nVersion: {}\nArchitecture: all\nMaintainer: Tests <tests@example.invalid>\n{}Description: for a \
             test\n",
            self.name, self.version, self.control
        );
        write("DEBIAN/control", &control, 0o644);
        write(&format!("usr/share/{}/version", self.name), self.version, 0o644);
        if !self.postinst.is_empty() {
            write(
                "DEBIAN/postinst",
                &format!("#!/bin/sh\n{}\n", self.postinst),
                0o755,
            );
        }
        let files = self.files.iter().map(|(path, _)| path);
        let settings: Vec<String> = files
            .filter(|path| path.starts_with("etc/"))
            .map(|path| format!("/{path}"))
            .collect();
        if !settings.is_empty() {
            write("DEBIAN/conffiles", &(settings.join("\n") + "\n"), 0o644);
        }
        for (path, text) in self.files {
            let mode = if path.starts_with("etc/init.d/") {
                0o755
            } else {
                0o644
            };
            write(path, text, mode);
        }
        let deb = within.join(format!("{}_{}.deb", self.name, self.version));
        let mut command = Command::new("dpkg-deb");
        command
            .args(["--root-owner-group", "--build"])
            .arg(&tree)
            .arg(&deb);
        finish(&mut command, b"", LIMIT).ok();
        deb
    }
}
