//! The operating system, its kernel, the machine, and how the kernel is set.

use homeward_protocol::posture::fact::{Fact, Value, What, Why, text};

use super::seen::{Seen, assigned};
use super::support;

/// Settings of the kernel (sysctl) that are told, by what each guards against:
/// what a program may learn of the kernel or of others, what it may load, and what the network may make the box do.
pub const SETTINGS: [&str; 39] = [
    "dev.tty.ldisc_autoload",
    "fs.protected_fifos",
    "fs.protected_hardlinks",
    "fs.protected_regular",
    "fs.protected_symlinks",
    "fs.suid_dumpable",
    "kernel.core_uses_pid",
    "kernel.ctrl-alt-del",
    "kernel.dmesg_restrict",
    "kernel.kptr_restrict",
    "kernel.modules_disabled",
    "kernel.perf_event_paranoid",
    "kernel.randomize_va_space",
    "kernel.sysrq",
    "kernel.unprivileged_bpf_disabled",
    "kernel.yama.ptrace_scope",
    "net.core.bpf_jit_harden",
    "net.ipv4.conf.all.accept_redirects",
    "net.ipv4.conf.all.accept_source_route",
    "net.ipv4.conf.all.bootp_relay",
    "net.ipv4.conf.all.forwarding",
    "net.ipv4.conf.all.log_martians",
    "net.ipv4.conf.all.mc_forwarding",
    "net.ipv4.conf.all.proxy_arp",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.all.send_redirects",
    "net.ipv4.conf.default.accept_redirects",
    "net.ipv4.conf.default.accept_source_route",
    "net.ipv4.conf.default.log_martians",
    "net.ipv4.icmp_echo_ignore_broadcasts",
    "net.ipv4.icmp_ignore_bogus_error_responses",
    "net.ipv4.ip_forward",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_timestamps",
    "net.ipv6.conf.all.accept_redirects",
    "net.ipv6.conf.all.accept_source_route",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.default.accept_redirects",
    "net.ipv6.conf.default.accept_source_route",
];

/// What `/etc/os-release` says, and until when that release gets security updates. Source: os-release(5).
pub fn release(seen: &Seen, os_release: &str) -> Vec<Fact> {
    let name = assigned(os_release, "PRETTY_NAME").or(assigned(os_release, "NAME"));
    let mut facts = vec![seen.one(What::OsName, name.map_or(Value::Unknown(Why::Failed), text))];
    let ends = assigned(os_release, "ID").zip(assigned(os_release, "VERSION_ID"));
    let ends = ends.and_then(|(id, version)| support::ends(id, version));
    match ends {
        Some((end, long)) => {
            facts.push(seen.one(What::OsSupportEnds, Value::Moment(end)));
            facts.extend(long.map(|end| seen.one(What::OsLongSupportEnds, Value::Moment(end))));
        }
        None => facts.push(seen.unknown(What::OsSupportEnds, Why::NotThere)),
    }
    facts
}

/// The path of a setting below `/proc/sys`.
pub fn setting_path(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}

/// One setting of the kernel; a kernel that does not know it says so.
pub fn setting(seen: &Seen, name: &str, file: Option<&str>) -> Fact {
    let value = file.map_or(Value::Unknown(Why::NotThere), |value| text(value.trim()));
    seen.about(What::KernelSetting, name, value)
}

/// The machine, by what its firmware or its device tree says; `None` where neither does.
pub fn machine(seen: &Seen, maker: Option<&str>, product: Option<&str>, tree: Option<&str>) -> Fact {
    let plain = |text: &str| {
        text.trim_matches(|c: char| c == '\0' || c.is_whitespace())
            .to_owned()
    };
    let firmware: Vec<String> = [maker, product].into_iter().flatten().map(plain).collect();
    let named = tree.map_or_else(|| firmware.join(" "), plain);
    let value = if named.is_empty() {
        Value::Unknown(Why::NotThere)
    } else {
        text(&named)
    };
    seen.one(What::Machine, value)
}

/// Whether this is a virtual machine or a container: by the processor's `hypervisor` flag, and by what systemd writes
/// into `/run/systemd/container`.
pub fn virtual_kind(seen: &Seen, cpuinfo: Option<&str>, container: Option<&str>) -> Fact {
    let is_flagged = |text: &str| {
        let flags = text.lines().find(|line| line.starts_with("flags"));
        flags.is_some_and(|line| line.split_whitespace().any(|flag| flag == "hypervisor"))
    };
    let value = match (container.map(str::trim), cpuinfo) {
        (Some(kind), _) if !kind.is_empty() => text(&format!("container ({kind})")),
        (_, Some(cpuinfo)) if is_flagged(cpuinfo) => text("virtual machine"),
        (_, Some(_)) => text("no"),
        (_, None) => Value::Unknown(Why::Failed),
    };
    seen.one(What::MachineKind, value)
}

#[cfg(test)]
mod tests {
    use homeward_protocol::posture::fact::FactId;
    use homeward_protocol::time::Timestamp;

    use super::*;

    const BOOKWORM: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n\
        VERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n\
        HOME_URL=\"https://www.debian.org/\"\n";

    fn seen() -> Seen {
        Seen::new(Timestamp::synced(0), "a test")
    }

    #[test]
    fn debian_12_is_named_and_its_support_ends() {
        let facts = release(&seen(), BOOKWORM);
        assert_eq!(facts[0].value.to_string(), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(facts[1].value.to_string(), "2026-07-12T00:00:00Z");
        assert_eq!(facts[2].id, FactId::of(What::OsLongSupportEnds));
    }

    #[test]
    fn a_system_that_nobody_knows_says_so() {
        let facts = release(&seen(), "");
        assert!(facts.iter().all(|fact| matches!(fact.value, Value::Unknown(_))));
        assert_eq!(
            release(&seen(), "ID=debian\nNAME=x\n")[1].value,
            Value::Unknown(Why::NotThere)
        );
    }

    #[test]
    fn machines_are_named_by_their_tree_or_their_firmware() {
        let pi = machine(&seen(), None, None, Some("Raspberry Pi 4 Model B Rev 1.4\0"));
        assert_eq!(pi.value.to_string(), "Raspberry Pi 4 Model B Rev 1.4");
        let pc = machine(&seen(), Some("LENOVO\n"), Some("30AH\n"), None);
        assert_eq!(pc.value.to_string(), "LENOVO 30AH");
        assert_eq!(
            machine(&seen(), None, None, None).value,
            Value::Unknown(Why::NotThere)
        );
        let kvm = virtual_kind(&seen(), Some("processor : 0\nflags\t: fpu hypervisor lm\n"), None);
        assert_eq!(kvm.value.to_string(), "virtual machine");
    }
}
