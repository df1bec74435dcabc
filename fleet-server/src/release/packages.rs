//! Shell: bundles of Debian packages: made of package files, and read again. What a package is, `dpkg-deb` says.
#![expect(clippy::disallowed_methods, reason = "shell: files, and the program dpkg-deb")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use homeward_protocol::release::bundle::debian::DebName;
use homeward_protocol::release::bundle::{self, Index, MAX_BUNDLE, Package};
use homeward_protocol::tuf::read::to_hex;
use ring::digest::{Context, SHA256};

use super::Pin;
use super::folder::FolderError;
use super::words::short;

/// Scripts that run when a package comes or goes.
const SCRIPTS: [&str; 5] = ["preinst", "postinst", "prerm", "postrm", "config"];

/// A bundle that was made or read.
pub struct Bundle {
    /// What it holds.
    pub index: Index,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Of each package, its scripts; none of one that was only read.
    pub scripts: BTreeMap<DebName, Vec<&'static str>>,
}

impl Bundle {
    /// For people: each package, and what it may come after.
    pub fn words(&self) -> String {
        let mut text = format!(
            "{} packages, {} bytes, sha256 {}\n",
            self.index.packages().len(),
            self.length,
            short(&to_hex(&self.sha256))
        );
        for one in self.index.packages() {
            text.push_str(&format!(
                "  {} {} ({}), {} bytes, sha256 {}\n",
                one.name,
                one.version,
                one.architecture,
                one.length,
                short(&to_hex(&one.sha256()))
            ));
            if let Some(from) = &one.from {
                text.push_str(&format!("    only where {from} is installed\n"));
            }
            if let Some(scripts) = self.scripts.get(&one.name).filter(|all| !all.is_empty()) {
                text.push_str(&format!("    runs as root: {}\n", scripts.join(", ")));
            }
        }
        text.push_str(
            "FORWARD ONLY: no box takes packages back. It installs exactly these, when it needs no other package, none \
             has to go and none gets older; what goes wrong then stays, until a newer release mends it\n",
        );
        text
    }
}

/// Makes a bundle of these packages.
///
/// # Errors
/// When a file is no package, or the set cannot be one bundle.
pub fn make(out: &Path, files: &[PathBuf], pins: &[Pin]) -> Result<Bundle, FolderError> {
    let (mut packages, mut places) = (Vec::new(), BTreeMap::new());
    let mut scripts = BTreeMap::new();
    for file in files {
        let package = describe(file, pins)?;
        scripts.insert(package.name.clone(), runs(file)?);
        places.insert(package.file(), file);
        packages.push(package);
    }
    if let Some(pin) = pins.iter().find(|pin| !scripts.contains_key(&pin.name)) {
        return Err(odd(
            out,
            &format!("no package {} is among them, and it is pinned", pin.name),
        ));
    }
    let index = Index::new(packages).map_err(|why| odd(out, &why))?;
    let head = index.head().map_err(|why| odd(out, &why))?;
    let fresh = out.with_added_extension("new");
    let written = || -> io::Result<()> {
        let mut to = fs::File::create(&fresh)?;
        to.write_all(&head)?;
        for one in index.packages() {
            if let Some(place) = places.get(&one.file()) {
                io::copy(&mut fs::File::open(place)?, &mut to)?;
            }
        }
        to.sync_all()
    };
    written().map_err(file("write", &fresh))?;
    // A file that changed meanwhile makes another bundle than its index says.
    let made = read(&fresh)?;
    fs::rename(&fresh, out).map_err(file("write", out))?;
    Ok(Bundle { scripts, ..made })
}

/// Reads a bundle as a box does: all of it.
///
/// # Errors
/// When it is none, or not what its index says.
pub fn read(path: &Path) -> Result<Bundle, FolderError> {
    let from = fs::File::open(path).map_err(file("read", path))?;
    let mut from = Hashing {
        from: BufReader::new(from),
        hash: Context::new(&SHA256),
        length: 0,
    };
    let index = bundle::unpack(&mut from, |_| Ok(()), |_, _| Ok(())).map_err(|why| odd(path, &why))?;
    Ok(Bundle {
        index,
        length: from.length,
        sha256: from.hash.finish().as_ref().try_into().unwrap_or_default(),
        scripts: BTreeMap::new(),
    })
}

/// Passes bytes on, and counts and hashes them.
struct Hashing<R> {
    from: R,
    hash: Context,
    length: u64,
}

impl<R: io::Read> io::Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.hash.update(into.get(..read).unwrap_or_default());
        self.length += read as u64;
        Ok(read)
    }
}

fn describe(path: &Path, pins: &[Pin]) -> Result<Package, FolderError> {
    let said = dpkg_deb(
        &[
            "--show",
            "--showformat=${Package}\\n${Architecture}\\n${Version}\\n",
        ],
        path,
    )?;
    let mut lines = said.lines();
    let mut next = || lines.next().unwrap_or_default();
    let wrong = |why: &'static str| odd(path, &why);
    let name: DebName = next().parse().map_err(wrong)?;
    let architecture = next().parse().map_err(wrong)?;
    let version = next().parse().map_err(wrong)?;
    let from = pins
        .iter()
        .find(|pin| pin.name == name)
        .map(|pin| pin.from.clone());
    let (mut hash, mut length) = (Context::new(&SHA256), 0);
    let mut bytes = fs::File::open(path)
        .map_err(file("read", path))?
        .take(MAX_BUNDLE + 1);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = bytes.read(&mut buffer).map_err(file("read", path))?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        hash.update(piece);
        length += read as u64;
    }
    let sha256 = hash.finish().as_ref().try_into().unwrap_or_default();
    Ok(Package::new(
        (name, architecture),
        (version, from),
        length,
        sha256,
    ))
}

/// Which scripts it has.
fn runs(path: &Path) -> Result<Vec<&'static str>, FolderError> {
    let said = dpkg_deb(&["--info"], path)?;
    let named = |script: &str| {
        said.lines()
            .any(|line| line.split_whitespace().any(|word| word == script))
    };
    Ok(SCRIPTS.into_iter().filter(|script| named(script)).collect())
}

fn dpkg_deb(args: &[&str], path: &Path) -> Result<String, FolderError> {
    // A name that begins with `-` is no option.
    let whole = fs::canonicalize(path).map_err(file("read", path))?;
    let output = Command::new("dpkg-deb")
        .args(args)
        .arg(&whole)
        .env("LC_ALL", "C")
        .output();
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => odd(
            path,
            "dpkg-deb is not here: bundles are made where Debian's dpkg is",
        ),
        _ => FolderError::File {
            step: "ask dpkg-deb about",
            path: path.to_owned(),
            source: error,
        },
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().next().unwrap_or_default().escape_debug().to_string();
    Err(odd(path, &format!("it is no Debian package: {why}")))
}

fn file(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::File { step, path, source }
}

fn odd(path: &Path, why: &(impl ToString + ?Sized)) -> FolderError {
    FolderError::Odd {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package with these scripts, as dpkg-deb builds one.
    fn package(dir: &Path, name: &str, version: &str, scripts: &[&str]) -> Option<PathBuf> {
        let tree = dir.join(name);
        fs::create_dir_all(tree.join("DEBIAN")).expect("a folder");
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Tests <tests@example.invalid>\n\
             Description: for a test\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).expect("a file");
        for script in scripts {
            let path = tree.join("DEBIAN").join(script);
            fs::write(&path, "#!/bin/sh\n").expect("a file");
            let runs = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
            fs::set_permissions(&path, runs).expect("ours");
        }
        let deb = dir.join(format!("{name}.deb"));
        let built = Command::new("dpkg-deb")
            .args(["--root-owner-group", "-b"])
            .arg(&tree)
            .arg(&deb)
            .output();
        match built {
            Ok(built) => {
                assert!(built.status.success(), "{built:?}");
                Some(deb)
            }
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "dpkg-deb: {error}");
                eprintln!("skipped: dpkg-deb is missing");
                None
            }
        }
    }

    #[test]
    fn a_bundle_says_what_is_in_it_and_is_read_as_it_was_made() {
        let dir = tempfile::tempdir().expect("a folder");
        let Some(one) = package(dir.path(), "b-tool", "1:2.0-1", &["postinst", "prerm"]) else {
            return;
        };
        let other = package(dir.path(), "a-tool", "3.1", &[]).expect("dpkg-deb is here");
        let out = dir.path().join("set.hwb");
        let pins = ["b-tool=1:1.9".parse().expect("a pin")];
        let made = make(&out, &[one.clone(), other], &pins).expect("made");
        let words = made.words();
        for said in [
            "2 packages",
            "a-tool 3.1 (all)",
            "b-tool 1:2.0-1 (all)",
            "only where 1:1.9",
            "postinst, prerm",
            "FORWARD ONLY",
        ] {
            assert!(words.contains(said), "{said}: {words}");
        }
        let read = read(&out).expect("a bundle");
        assert_eq!((read.length, read.sha256), (made.length, made.sha256));
        assert_eq!(read.length, fs::metadata(&out).expect("there").len());
        assert!(!out.with_added_extension("new").exists());

        for pins in [
            &["c-tool=1".parse().expect("a pin")][..],
            &["b-tool=1:2.0-1".parse().expect("a pin")],
        ] {
            assert!(make(&out, std::slice::from_ref(&one), pins).is_err());
        }
        assert!(
            make(&out, &[one.clone(), one], &[]).is_err(),
            "one stands twice in it"
        );
        fs::write(dir.path().join("-f"), "no package").expect("a file");
        let no = make(&out, &[dir.path().join("-f")], &[]).err().expect("none");
        assert!(no.to_string().contains("no Debian package"), "{no}");
    }
}
