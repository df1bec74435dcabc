//! Shell: a box that Debian's RAUC updates: two slots in files, a boot loader of a few lines, and a bus of its own.
//!
//! The boot loader keeps in files which slot starts next and which are bad, as RAUC's manual has it for
//! `bootloader=custom`. A reboot is another start of the service with the slot that the loader names. logind is played:
//! it counts how often it was asked to reboot the box.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: starts programs, writes their files"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use zbus::Connection;
use zbus::connection::Builder;

use crate::fake_bluez::bus::Bus;
use crate::programs::{Program, finish, wait_for};
use crate::shared;

/// A program is done, or a service there, within this on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);
const SLOT_BYTES: u64 = 4 << 20;
/// What a bundle has to be for.
pub const COMPATIBLE: &str = "homeward-test-box";

const LOADER: &str = r#"#!/bin/sh
# get-primary; set-primary SLOT; get-state SLOT; set-state SLOT STATE
cd DIR/loader || exit 1
echo "$@" >>log
case $1 in
    get-primary) cat primary ;;
    set-primary) echo "$2" >primary; echo good >"state.$2" ;;
    get-state) cat "state.$2" ;;
    set-state) echo "$3" >"state.$2" ;;
esac
"#;

/// Before RAUC writes: says that it is there, stays as long as somebody wants it to be slow, and fails if that is wanted.
const SLOW: &str = r"#!/bin/sh
touch DIR/writing
while [ -e DIR/slow ]; do sleep 0.1; done
rm -f DIR/writing
[ ! -e DIR/broken ]
";

const SYSTEM: &str = "[system]
compatible=COMPATIBLE
bootloader=custom
statusfile=DIR/status
mountprefix=DIR/mnt
EXTRA
[keyring]
path=DIR/own.cert

[handlers]
bootloader-custom-backend=DIR/loader.sh
pre-install=DIR/slow.sh

[slot.rootfs.0]
device=DIR/a.img
type=raw
bootname=A

[slot.rootfs.1]
device=DIR/b.img
type=raw
bootname=B
";

/// logind, as far as a reboot goes.
#[derive(Clone)]
struct Logind {
    says: Arc<Mutex<String>>,
    asked: Arc<AtomicU32>,
}

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Logind {
    fn can_reboot(&self) -> String {
        self.says.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whoever would have a person asked for a password is not heard: there is none.
    fn reboot(&self, interactive: bool) {
        self.asked.fetch_add(u32::from(!interactive), Ordering::SeqCst);
    }
}

/// What a bundle is made of.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<'a> {
    /// What it is for.
    pub compatible: &'a str,
    /// What it calls itself.
    pub version: &'a str,
    /// Whose key signs it: `own`, which the box believes, or another.
    pub key: &'a str,
    /// The image.
    pub image: &'a [u8],
}

/// One box.
pub struct RaucBox {
    service: Option<Program>,
    logind: Logind,
    _logind_bus: Connection,
    bus: Bus,
}

impl RaucBox {
    /// One that runs from its first slot; `None`, said aloud, where RAUC cannot work. `extra` are more lines of its
    /// `[system]`.
    ///
    /// # Panics
    /// When it could, and does not start.
    pub fn start(runtime: &Handle, extra: &str) -> Option<RaucBox> {
        shared::debian("rauc", "rauc")?;
        shared::debian("mksquashfs", "squashfs-tools")?;
        shared::debian("openssl", "openssl")?;
        if !Path::new("/dev/loop-control").exists() || !rustix::process::geteuid().is_root() {
            shared::missing(
                "a loop device to mount bundles from",
                "run this test as root, with /dev/loop*",
            );
            return None;
        }
        let bus = Bus::start()?;
        let logind = Logind {
            says: Arc::new(Mutex::new("yes".to_owned())),
            asked: Arc::default(),
        };
        let connection = runtime.block_on(async {
            let address = bus.address();
            let builder = Builder::address(address.as_str()).name("org.freedesktop.login1");
            let builder = builder.serve_at("/org/freedesktop/login1", logind.clone());
            builder.build().await.expect("a name on our own bus")
        });
        let mut made = RaucBox {
            service: None,
            logind,
            _logind_bus: connection,
            bus,
        };
        made.furnish(extra);
        made.certificate("own");
        made.serve();
        Some(made)
    }

    fn furnish(&self, extra: &str) {
        let dir = self.folder();
        let fill = |text: &str| {
            let text = text.replace("DIR", &dir.display().to_string());
            text.replace("COMPATIBLE", COMPATIBLE).replace("EXTRA", extra)
        };
        fs::create_dir_all(dir.join("loader")).expect("our own folder");
        for (file, text) in [
            ("loader/primary", "A\n"),
            ("loader/state.A", "good\n"),
            ("loader/state.B", "good\n"),
            ("loader.sh", LOADER),
            ("slow.sh", SLOW),
            ("system.conf", SYSTEM),
        ] {
            let place = dir.join(file);
            fs::write(&place, fill(text)).expect("our own folder");
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("our own file");
        }
        for slot in ["a.img", "b.img"] {
            let made = fs::File::create(dir.join(slot)).expect("our own folder");
            made.set_len(SLOT_BYTES).expect("our own file");
        }
    }

    /// A key of this name, and its certificate.
    ///
    /// # Panics
    /// When openssl cannot make it.
    pub fn certificate(&self, name: &str) {
        let mut command = Command::new("openssl");
        command
            .current_dir(self.folder())
            .args(["req", "-x509", "-nodes", "-days", "400", "-newkey", "ec"]);
        command
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj"])
            .arg(format!("/CN={name}"));
        command
            .arg("-keyout")
            .arg(format!("{name}.key"))
            .arg("-out")
            .arg(format!("{name}.cert"));
        finish(&mut command, b"", LIMIT).ok();
    }

    /// A bundle in the plain format, which needs no device mapper, under this name.
    ///
    /// # Panics
    /// When RAUC cannot make it.
    pub fn bundle(&self, name: &str, recipe: Recipe<'_>) -> PathBuf {
        let dir = self.folder();
        let content = dir.join(format!("{name}.content"));
        fs::create_dir_all(&content).expect("our own folder");
        fs::write(content.join("rootfs.img"), recipe.image).expect("our own folder");
        let manifest = format!(
            "[update]\ncompatible={}\nversion={}\n\n[bundle]\nformat=plain\n\n[image.rootfs]\nfilename=rootfs.img\n",
            recipe.compatible, recipe.version
        );
        fs::write(content.join("manifest.raucm"), manifest).expect("our own folder");
        let bundle = dir.join(format!("{name}.raucb"));
        let mut command = Command::new("rauc");
        let file = |end: &str| dir.join(format!("{}.{end}", recipe.key));
        command
            .arg("--cert")
            .arg(file("cert"))
            .arg("--key")
            .arg(file("key"));
        command
            .arg("--keyring")
            .arg(file("cert"))
            .arg("bundle")
            .arg(&content)
            .arg(&bundle);
        finish(&mut command, b"", LIMIT).ok();
        bundle
    }

    /// Starts the service, in the slot that the boot loader starts next, and waits until it has its name.
    fn serve(&mut self) {
        let slot = self.primary();
        let mut command = Command::new("rauc");
        command.envs(self.bus.surroundings());
        command.arg(format!("--conf={}", self.folder().join("system.conf").display()));
        command.arg(format!("--override-boot-slot={slot}")).arg("service");
        let mut program = Program::start("rauc", &mut command);
        wait_for("RAUC to have its name", LIMIT, || {
            assert!(program.runs(), "it ended:\n{}", program.said().join("\n"));
            let mut ask = Command::new("dbus-send");
            ask.arg(format!("--bus={}", self.address()))
                .args(["--print-reply", "--dest=org.freedesktop.DBus"]);
            ask.args([
                "/",
                "org.freedesktop.DBus.NameHasOwner",
                "string:de.pengutronix.rauc",
            ]);
            finish(&mut ask, b"", LIMIT).ok().contains("true").then_some(())
        });
        self.service = Some(program);
    }

    /// The power is cut, and comes back.
    pub fn reboot(&mut self) {
        self.kill();
        self.serve();
    }

    /// The service ends at once, whatever it does.
    pub fn kill(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.kill();
        }
        self.hurry();
        self.unmount();
    }

    /// What a killed service left mounted.
    fn unmount(&self) {
        let mut command = Command::new("umount");
        command.arg("-l").arg(self.folder().join("mnt/bundle"));
        let _none = finish(&mut command, b"", LIMIT);
    }

    /// From now on RAUC stops before it writes, until [`RaucBox::hurry`].
    ///
    /// # Panics
    /// When the disk does not take the wish.
    pub fn slow(&self) {
        fs::write(self.folder().join("slow"), "").expect("our own folder");
    }

    /// It goes on.
    pub fn hurry(&self) {
        let _none = fs::remove_file(self.folder().join("slow"));
    }

    /// From now on RAUC fails before it writes.
    ///
    /// # Panics
    /// When the disk does not take the wish.
    pub fn break_down(&self) {
        fs::write(self.folder().join("broken"), "").expect("our own folder");
    }

    /// Waits until RAUC is about to write.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn wait_writing(&self) {
        let place = self.folder().join("writing");
        wait_for("RAUC to be about to write", LIMIT, || {
            place.exists().then_some(())
        });
    }

    /// The boot loader's slot for the next start.
    ///
    /// # Panics
    /// When it has none.
    pub fn primary(&self) -> String {
        let text = fs::read_to_string(self.folder().join("loader/primary")).expect("the loader's own file");
        text.trim().to_owned()
    }

    /// The boot loader gives a slot up and starts another next.
    ///
    /// # Panics
    /// When the disk does not take it.
    pub fn give_up(&self, bad: &str, next: &str) {
        let loader = self.folder().join("loader");
        fs::write(loader.join(format!("state.{bad}")), "bad\n").expect("the loader's own file");
        fs::write(loader.join("primary"), format!("{next}\n")).expect("the loader's own file");
    }

    /// What the boot loader calls a slot.
    ///
    /// # Panics
    /// When it has no word for it.
    pub fn calls(&self, slot: &str) -> String {
        let file = self.folder().join(format!("loader/state.{slot}"));
        fs::read_to_string(file)
            .expect("the loader's own file")
            .trim()
            .to_owned()
    }

    /// How often a slot was made the one that starts next.
    ///
    /// # Panics
    /// When the loader's log cannot be read.
    pub fn times_made_primary(&self, slot: &str) -> usize {
        let log = fs::read_to_string(self.folder().join("loader/log")).unwrap_or_default();
        let wanted = format!("set-primary {slot}");
        log.lines().filter(|line| *line == wanted).count()
    }

    /// The first bytes of a slot.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn holds(&self, slot: &str, image: &[u8]) -> bool {
        let bytes = fs::read(self.folder().join(format!("{slot}.img"))).expect("our own file");
        bytes.starts_with(image)
    }

    /// How often logind was asked to reboot the box.
    pub fn reboots(&self) -> u32 {
        self.logind.asked.load(Ordering::SeqCst)
    }

    /// What logind says to whether it may be asked to.
    pub fn logind_says(&self, word: &str) {
        word.clone_into(&mut self.logind.says.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Its bus.
    pub fn address(&self) -> String {
        self.bus.address()
    }

    /// Where its files are.
    pub fn folder(&self) -> PathBuf {
        self.bus.folder()
    }
}

impl Drop for RaucBox {
    fn drop(&mut self) {
        self.kill();
    }
}
