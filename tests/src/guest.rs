//! Shell: a machine with firmware that measures, a TPM, and a Linux that measures what it runs.
//!
//! QEMU without hardware help, Debian's own kernel (the one of the Bluetooth tests' guest), a TPM by swtpm, the host's
//! root read-only below a tmpfs: so the programs of the host run in it, on a kernel whose logs are real. To the guest
//! this host is `fleet.test`.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: starts a machine, reads and writes files"
)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::programs::{Finished, Program, binary, finish, wait_for};
use crate::shared;
use crate::swtpm;

/// A guest without hardware help, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
const INIT: &str = include_str!("guest/init");
const COMMANDS: &str = include_str!("guest/guest.sh");
/// What the kernel needs beside: to measure by the policy of a trusted computing base, and to run without hardware help.
const KERNEL: &str = "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off random.trust_cpu=on net.ifnames=0 \
                      no_timer_check tsc=unstable clocksource=hpet ima_policy=tcb";

/// What starts the kernel, and measures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// A BIOS: `SeaBIOS`, as QEMU brings it.
    Bios,
    /// UEFI: OVMF.
    Uefi,
}

/// What all guests are made of.
#[derive(Debug)]
pub struct Parts {
    kernel: PathBuf,
    initrd: PathBuf,
    /// The agent under test, as it lies in a machine's `/usr/bin`.
    pub agent: PathBuf,
}

/// A running machine.
#[derive(Debug)]
pub struct Guest {
    machine: Program,
    tpm: Program,
    out: PathBuf,
    scripts: usize,
}

impl Parts {
    /// Makes the first stage in `folder`; `None`, said aloud, where something is missing.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn new(folder: &Path) -> Option<Parts> {
        let tool = shared::data("tools/ble-vm/prepare.sh")?;
        for (program, package) in [
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("swtpm", "swtpm"),
            ("tpm2_pcrextend", "tpm2-tools"),
            ("cpio", "cpio"),
            ("zstd", "zstd"),
            ("strip", "binutils"),
        ] {
            shared::debian(program, package)?;
        }
        if !Path::new(OVMF).join("OVMF_CODE_4M.fd").is_file() {
            shared::missing(
                "OVMF",
                "install the Debian package ovmf, or run tests/run --install",
            );
            return None;
        }
        let cache = cache();
        let prepared = shared::in_ci() || cache.join("initrd.zst").exists();
        if !prepared || !Command::new(tool).status().is_ok_and(|status| status.success()) {
            shared::missing("the guest's kernel", "run tests/run --install as root");
            return None;
        }
        // An archive behind another one adds to it, and what stands in both is the later one's. Compressed, because
        // firmware hashes slowly too.
        let stage = folder.join("stage");
        fs::create_dir_all(&stage).expect("our own folder");
        fs::write(stage.join("init"), INIT).expect("our own folder");
        // Without its names for debuggers it has a third of the bytes, and the guest hashes slowly.
        let mut strip = Command::new("strip");
        strip
            .arg("-o")
            .arg(stage.join("homeward-agent"))
            .arg(binary("homeward-agent"));
        finish(&mut strip, b"", PATIENCE).ok();
        let mut pack = Command::new("sh");
        pack.args([
            "-ec",
            "chmod 755 init; printf 'init\nhomeward-agent\n' | cpio -o -H newc --quiet | zstd -q -3",
        ]);
        let output = pack.current_dir(&stage).output().expect("cpio runs");
        assert!(output.status.success(), "cpio: {output:?}");
        let mut initrd = fs::read(cache.join("initrd.zst")).expect("just prepared");
        initrd.extend(output.stdout);
        let at = folder.join("initrd");
        fs::write(&at, initrd).expect("our own folder");
        Some(Parts {
            kernel: cache.join("kernel/vmlinuz"),
            initrd: at,
            agent: stage.join("homeward-agent"),
        })
    }
}

const OVMF: &str = "/usr/share/OVMF";

/// Where the tool keeps its kernel.
fn cache() -> PathBuf {
    let home = || env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(|| home().join(".cache"), PathBuf::from);
    env::var_os("BLE_VM_CACHE").map_or_else(|| cache.join("ble-vm"), PathBuf::from)
}

impl Guest {
    /// Switches a machine on in `folder`, with the TPM whose state lies in `chip`, and the agent under test in its
    /// `/usr/bin`.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn boot(parts: &Parts, firmware: Firmware, chip: &Path, folder: &Path) -> Guest {
        let out = folder.join("out");
        fs::create_dir_all(&out).expect("our own folder");
        for entry in fs::read_dir(&out).expect("our own folder").map_while(Result::ok) {
            // What a boot before was asked.
            if entry.path().is_file() {
                fs::remove_file(entry.path()).expect("our own folder");
            }
        }
        fs::write(out.join("guest.sh"), COMMANDS).expect("our own folder");
        let (tpm, socket) = swtpm::in_a_machine(chip);
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-accel",
            "tcg,thread=multi,tb-size=256",
            "-cpu",
            "max",
            "-smp",
            "2",
        ]);
        qemu.args([
            "-m",
            "768",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ]);
        qemu.args(["-machine", "q35", "-serial", "stdio"]);
        if firmware == Firmware::Uefi {
            let variables = folder.join("variables");
            if !variables.exists() {
                fs::copy(Path::new(OVMF).join("OVMF_VARS_4M.fd"), &variables).expect("copies");
            }
            let flash = "if=pflash,format=raw,unit=";
            qemu.arg("-drive")
                .arg(format!("{flash}0,readonly=on,file={OVMF}/OVMF_CODE_4M.fd"));
            qemu.arg("-drive")
                .arg(format!("{flash}1,file={}", variables.display()));
        }
        qemu.arg("-kernel")
            .arg(&parts.kernel)
            .arg("-initrd")
            .arg(&parts.initrd);
        qemu.args(["-append", KERNEL]);
        qemu.arg("-chardev")
            .arg(format!("socket,id=tpm,path={}", socket.display()));
        qemu.args([
            "-tpmdev",
            "emulator,id=tpm0,chardev=tpm",
            "-device",
            "tpm-tis,tpmdev=tpm0",
        ]);
        qemu.args([
            "-netdev",
            "user,id=n0",
            "-device",
            "virtio-net-pci,netdev=n0,romfile=",
        ]);
        let share = |path: &Path, tag: &str, more: &str| {
            let path = path.display();
            format!("local,path={path},mount_tag={tag},security_model=none,multidevs=remap{more}")
        };
        qemu.arg("-virtfs")
            .arg(share(Path::new("/"), "root", ",readonly=on"));
        qemu.arg("-virtfs").arg(share(&out, "out", ""));
        let mut guest = Guest {
            machine: Program::start("guest", &mut qemu),
            tpm,
            out,
            scripts: 0,
        };
        guest.run("true").ok();
        guest
    }

    /// Runs a script of bash in it, as root; gives what it said (all of it as its standard output).
    ///
    /// # Panics
    /// When the machine ends or does not answer.
    pub fn run(&mut self, script: &str) -> Finished {
        self.scripts += 1;
        let at = |end: &str| self.out.join(format!("{}.{end}", self.scripts));
        fs::write(at("new"), script).expect("our own folder");
        fs::rename(at("new"), at("sh")).expect("our own folder");
        let (ended, out) = (at("ended"), at("out"));
        let (machine, tpm) = (&mut self.machine, &mut self.tpm);
        let code = wait_for(&format!("the guest to run {script:?}"), PATIENCE, || {
            assert!(tpm.runs(), "swtpm ended");
            assert!(machine.runs(), "the guest ended:\n{}", machine.said().join("\n"));
            let code = fs::read_to_string(&ended).ok()?;
            code.trim().parse::<i32>().ok()
        });
        Finished {
            status: std::os::unix::process::ExitStatusExt::from_raw(code << 8),
            stdout: fs::read_to_string(out).unwrap_or_default(),
            stderr: String::new(),
        }
    }

    /// What is shared with it: its `/run/out`.
    pub fn out(&self) -> &Path {
        &self.out
    }
}
