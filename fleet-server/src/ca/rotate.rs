//! Shell: the authority's keys follow one another.
//!
//! # Design
//! Each step is made in a copy of the folder, which then takes the folder's place in one step of the file system: a
//! power cut leaves the old authority or the new one, never a mixture. A running server looks at the folder when it is
//! told to and hourly.
//!
//! Roots follow one another in three steps. From the first day members trust two roots, so the *next* one may become
//! the active one at once: its key signs new intermediates, and a link that introduces the one after it. Members fetch
//! the new bundle and say that they have it. Only then does the old root leave.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use homeward_protocol::time::Timestamp;
use rcgen::{Issuer, KeyPair};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustls::pki_types::CertificateDer;

use super::bundle::{hex, number, parse};
use super::files::{cert, file, issuer, key, key_in, pem, read, serial, write, write_key};
use super::passphrase::Passphrase;
use super::profile::{self, Purpose};
use super::signer::{is_key, issue, listed, published, root_key};
use super::{CaError, TrustDomain, leaf, sealed};

/// How the keys are opened and sealed in a step.
#[derive(Clone, Copy)]
pub struct Opener<'a> {
    /// The file with the root's key.
    pub root_key: &'a Path,
    /// What opens it, when it is sealed, and what seals new keys.
    pub passphrase: Option<&'a Passphrase>,
}

/// New intermediates under the active root. Those of gateways before stay, for what they issued.
pub fn issuing(dir: &Path, by: Opener<'_>, now: Timestamp) -> Result<(), CaError> {
    let root = cert(dir, "root.crt")?;
    let root = signer_of(&root, by)?;
    in_a_copy(dir, |copy| renew_issuing(copy, &root, by.passphrase, now))
}

/// The next root becomes the active one, with new intermediates, and there is a new next one, whose key goes to
/// `new_key_to`. Gives the file of that key.
pub fn root(dir: &Path, by: Opener<'_>, new_key_to: &Path, now: Timestamp) -> Result<PathBuf, CaError> {
    let domain = domain(dir)?;
    let before = published(dir)?;
    let active = signer_of(&before.next, by)?;
    let ordinal = number(&before.next)? + 1;
    let (place, name) = (format!("root {ordinal}"), root_key(ordinal));
    let path = new_key_to.join(&name);
    if path.exists() {
        return Err(CaError::Asked(format!(
            "{} is there already: choose an empty place",
            path.display()
        )));
    }
    let next_key = key()?;
    let next = profile::root(&domain, &place, &next_key, serial()?, now)?;
    let link = profile::link(&domain, &place, &next_key, serial()?, now, &active)?;
    // The key is safe before anything trusts its certificate.
    write_key(new_key_to, &name, &next_key, by.passphrase)?;
    in_a_copy(dir, |copy| {
        let old = number(&before.active)?;
        write(copy, &format!("leaving-{old}.crt"), &pem(&before.active))?;
        write(copy, &format!("link-{ordinal}.crt"), &pem(&link))?;
        write(copy, "root.crt", &pem(&before.next))?;
        write(copy, "next-root.crt", &pem(&next))?;
        renew_issuing(copy, &active, by.passphrase, now)
    })?;
    Ok(path)
}

/// Members trust the leaving roots no more. They are kept for what was signed in their time.
pub fn drop_leaving(dir: &Path) -> Result<usize, CaError> {
    let leaving: Result<Vec<u32>, CaError> = published(dir)?.leaving.iter().map(number).collect();
    let leaving = leaving?;
    in_a_copy(dir, |copy| {
        for old in &leaving {
            let path = copy.join(format!("leaving-{old}.crt"));
            let former = copy.join(format!("former-{old}.crt"));
            fs::rename(&path, former).map_err(file("rename", &path))?;
        }
        Ok(())
    })?;
    Ok(leaving.len())
}

/// Seals the keys that issue, or opens them for good. Gives how many there were.
pub fn seal(dir: &Path, old: Option<&Passphrase>, new: Option<&Passphrase>) -> Result<usize, CaError> {
    let mut count = 0;
    in_a_copy(dir, |copy| {
        // Listed first: a folder that is written to while it is read may name a file twice.
        for name in listed(copy)? {
            // The listeners' own key is no authority: it lasts 90 days and is needed unattended.
            if is_key(&name) && name != "server.key" {
                let key = key_in(&copy.join(&name), old)?;
                write_key(copy, &name, &key, new)?;
                count += 1;
            }
        }
        Ok(())
    })?;
    Ok(count)
}

fn domain(dir: &Path) -> Result<TrustDomain, CaError> {
    leaf::domain_of(&cert(dir, "gateways.crt")?)
}

/// The root that signs, with its key from wherever it is kept.
fn signer_of(root: &CertificateDer<'static>, by: Opener<'_>) -> Result<Issuer<'static, KeyPair>, CaError> {
    let key = key_in(by.root_key, by.passphrase)?;
    let name = parse(root)?.subject().to_string();
    issuer(root, key, by.root_key.to_string_lossy().as_ref()).map_err(|_| {
        CaError::Asked(format!(
            "{} is not the key of the root that is needed: {name}",
            by.root_key.display()
        ))
    })
}

fn renew_issuing(
    copy: &Path,
    root: &Issuer<'_, KeyPair>,
    passphrase: Option<&Passphrase>,
    now: Timestamp,
) -> Result<(), CaError> {
    let domain = domain(copy)?;
    let old_key = copy.join("gateways.key");
    if passphrase.is_none() && sealed::is_sealed(&String::from_utf8_lossy(&read(&old_key)?)) {
        // New keys would be in the clear beside sealed ones.
        return Err(CaError::Sealed(old_key));
    }
    let old = cert(copy, "gateways.crt")?;
    let retired = format!("gateways-{}", short(&old)?);
    for end in ["crt", "key"] {
        let (from, to) = (
            copy.join(format!("gateways.{end}")),
            copy.join(format!("{retired}.{end}")),
        );
        fs::rename(&from, &to).map_err(file("rename", &from))?;
    }
    for purpose in [Purpose::Gateways, Purpose::Servers] {
        issue(copy, purpose, &domain, root, passphrase, now)?;
    }
    Ok(())
}

/// The first eight digits of a certificate's number.
fn short(der: &CertificateDer<'_>) -> Result<String, CaError> {
    let cert = parse(der)?;
    let mut text = hex(cert.raw_serial());
    text.truncate(8);
    Ok(text)
}

/// Does something to a copy of the folder, and puts the copy in its place.
fn in_a_copy(dir: &Path, work: impl FnOnce(&Path) -> Result<(), CaError>) -> Result<(), CaError> {
    let copy = dir.with_extension("new");
    remove(&copy)?;
    let made = DirBuilder::new().mode(0o700).create(&copy);
    made.map_err(file("make the folder", &copy))?;
    for entry in fs::read_dir(dir).map_err(file("list", dir))? {
        let from = entry.map_err(file("list", dir))?.path();
        let Some(name) = from.file_name() else { continue };
        let to = copy.join(name);
        fs::copy(&from, &to)
            .and_then(|_| File::open(&to)?.sync_all())
            .map_err(file("copy", &from))?;
    }
    work(&copy)?;
    let parent = dir.parent().unwrap_or(Path::new("."));
    let sync = |path: &Path| {
        File::open(path)
            .and_then(|f| f.sync_all())
            .map_err(file("sync", path))
    };
    sync(&copy)?;
    renameat_with(CWD, &copy, CWD, dir, RenameFlags::EXCHANGE)
        .map_err(|e| file("put the new folder in place of", dir)(e.into()))?;
    sync(parent)?;
    remove(&copy)
}

fn remove(folder: &Path) -> Result<(), CaError> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(file("remove", folder)(e)),
        _ => Ok(()),
    }
}
