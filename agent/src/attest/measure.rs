//! Shell: measures what runs on this box, as the software itself sees it.
//!
//! | component | what is hashed | its version |
//! |---|---|---|
//! | agent | the program that runs (`/proc/self/exe`) | its own |
//! | policy | `agent.toml` of the data folder, empty when there is none | `agent.toml` |
//! | kernel | `/boot/vmlinuz-RELEASE`, where it can be read | the release that runs |
//! | packages | one line a package of dpkg, `NAME VERSION ARCHITECTURE STATUS`, sorted | none |
//!
//! What cannot be read is left out: the server sees that it is missing.
#![expect(clippy::disallowed_methods, reason = "shell: reads the box's files")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use homeward_protocol::evidence::{Component, Measured};
use homeward_protocol::posture::ShortText;
use ring::digest::{Context, SHA256};

/// The largest file that is hashed, bytes: kernels have some 10 MiB.
const MAX_FILE: u64 = 256 * 1024 * 1024;
/// The largest list of packages that is read, bytes.
const MAX_LIST: u64 = 64 * 1024 * 1024;
const STATUS: &str = "/var/lib/dpkg/status";

/// Measures the box whose data folder this is. Reads some 20 MiB: away from tasks that must not wait.
pub fn measure(data: &Path) -> Vec<Measured> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let kernel = Path::new("/boot").join(format!("vmlinuz-{release}"));
    let policy = data.join("agent.toml");
    let policy = if policy.exists() {
        hash_file(&policy)
    } else {
        Some(empty())
    };
    let one = |component, version: Option<&str>, sha256: Option<[u8; 32]>| {
        sha256.map(|sha256| Measured {
            component,
            version: version.map(ShortText::cut),
            sha256,
        })
    };
    let agent = hash_file(Path::new("/proc/self/exe"));
    let all = [
        one(Component::Agent, Some(env!("CARGO_PKG_VERSION")), agent),
        one(Component::Policy, Some("agent.toml"), policy),
        one(Component::Kernel, Some(&release), hash_file(&kernel)),
        one(Component::Packages, None, packages(Path::new(STATUS))),
    ];
    all.into_iter().flatten().collect()
}

fn empty() -> [u8; 32] {
    finish(Context::new(&SHA256))
}

fn finish(context: Context) -> [u8; 32] {
    context.finish().as_ref().try_into().unwrap_or_default()
}

fn hash_file(path: &Path) -> Option<[u8; 32]> {
    let mut file = File::open(path).ok()?.take(MAX_FILE);
    let mut context = Context::new(&SHA256);
    let mut buffer = [0; 16 * 1024];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(finish(context)),
            read => context.update(buffer.get(..read)?),
        }
    }
}

/// The set of packages that dpkg knows: the order in its file does not matter, nor does anything else it says.
fn packages(status: &Path) -> Option<[u8; 32]> {
    let file = BufReader::new(File::open(status).ok()?.take(MAX_LIST));
    let mut set: Vec<String> = Vec::new();
    let mut fields: [String; 4] = Default::default();
    let names = ["Package: ", "Version: ", "Architecture: ", "Status: "];
    let mut lines = file.lines().map_while(Result::ok);
    loop {
        let line = lines.next();
        let text = line.as_deref().unwrap_or_default();
        for (field, name) in fields.iter_mut().zip(names) {
            if let Some(value) = text.strip_prefix(name) {
                value.clone_into(field);
            }
        }
        if text.is_empty() {
            let whole = std::mem::take(&mut fields);
            if !whole[0].is_empty() {
                set.push(whole.join(" "));
            }
        }
        if line.is_none() {
            break;
        }
    }
    set.sort_unstable();
    let mut context = Context::new(&SHA256);
    for line in &set {
        context.update(line.as_bytes());
        context.update(b"\n");
    }
    Some(finish(context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_of_packages_does_not_hang_on_its_order_and_changes_with_each_version() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("status");
        let digest = |text: &str| {
            std::fs::write(&path, text).expect("writes");
            packages(&path).expect("reads")
        };
        let a = "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\nDescription: x\n";
        let b = "Package: b\nVersion: 2\nArchitecture: all\nStatus: install ok installed\n";
        let both = digest(&format!("{a}\n{b}"));
        assert_eq!(digest(&format!("{b}\n{a}\n\n")), both);
        assert_eq!(
            digest(&format!("{}\n{b}", a.replace("Description: x", "Description: y"))),
            both
        );
        assert_ne!(
            digest(&format!("{}\n{b}", a.replace("Version: 1", "Version: 3"))),
            both
        );
        assert_ne!(digest(b), both);
        assert_eq!(packages(Path::new("/does/not/exist")), None);
    }

    #[test]
    fn this_box_measures_its_agent_and_its_configuration() {
        let dir = tempfile::tempdir().expect("a directory");
        let of = |what| {
            let all = measure(dir.path());
            all.into_iter()
                .find(|m| m.component == what)
                .expect("measured")
                .sha256
        };
        assert_eq!(of(Component::Policy), empty());
        std::fs::write(dir.path().join("agent.toml"), "[server]\n").expect("writes");
        assert_ne!(of(Component::Policy), empty());
        assert_eq!(of(Component::Agent), of(Component::Agent));
    }
}
