//! What a box's files and programs say of it: facts come out, within their limits, whatever the text is.
#![no_main]

use homeward_agent::posture::facts::sockets::{self, Table};
use homeward_agent::posture::facts::{
    accounts, boot, disks, firewall, machine, os, packages, seen::Seen, sshd, sudo, timing, updates,
};
use homeward_agent::posture::look::{Question, read};
use homeward_protocol::posture::facts::FactSet;
use homeward_protocol::posture::inventory::{Inventory, Kind};
use homeward_protocol::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let seen = Seen::new(Timestamp::synced(0), "a fuzzer");
    let all = accounts::accounts(text);
    let mut facts = accounts::passwords(&seen, &all, text);
    facts.extend(accounts::roots(&seen, &all));
    facts.extend(sudo::rules(&seen, text));
    facts.extend(sshd::settings(&seen, text));
    facts.extend(firewall::nftables(&seen, text).unwrap_or_default());
    facts.extend(timing::systemd(&seen, text, Some(text)));
    facts.extend(timing::chrony(&seen, text));
    facts.extend(updates::apt(&seen, text));
    facts.push(updates::automatic(&seen, text));
    facts.extend(os::release(&seen, text));
    facts.push(boot::parameters(&seen, text));
    facts.push(boot::lockdown(&seen, Some(text)));
    facts.extend(machine::memory(&seen, text));
    facts.push(machine::temperature(&seen, text, text));
    facts.extend(disks::mounts(&seen, &disks::mounted(text)));
    for table in [Table::Tcp, Table::Udp] {
        facts.extend(sockets::facts(&seen, &sockets::listening(table, text), None));
    }
    facts.extend(read(Question::Sshd, text).unwrap_or_default());
    for fact in &facts {
        assert!(fact.value.is_within_limits());
        assert_eq!(fact.id.to_string().parse().as_ref(), Ok(&fact.id));
    }
    assert!(FactSet::new(facts).full(1, Timestamp::synced(0)).check().is_ok());
    for found in [packages::dpkg(Kind::Deb, text), packages::apk(text), packages::rpm(text)] {
        let system = ("debian".parse().expect("a word"), None);
        let list = Inventory::new(system, found.components);
        let bytes = list.encode().expect("a list of a fuzzer's length fits");
        assert_eq!(Inventory::decode(&bytes).expect("reads back"), list);
    }
});
