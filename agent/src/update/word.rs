//! Shell: what a word of the director means, by a repository that was just brought up to date.
//!
//! # Design
//! Two have to agree: the director, whose key the repository names, says which target this box shall have; the offline keys of
//! the repository say that the target is software for it. Nothing else makes a plan.
#![expect(clippy::disallowed_methods, reason = "shell: a file")]

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use homeward_protocol::release::DIRECTOR_KEY;
use homeward_protocol::release::assignment::Assignment;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::tuf::client::Client;
use homeward_protocol::tuf::role::Role;

use super::decide::{Decision, Floor, Own, Refusal, decide};
use super::tuf::{Fetch, Store, UpdateError, download, find};

/// Longest public key, bytes of PEM.
const MAX_KEY: u64 = 1024;

/// What a word means.
#[derive(Debug)]
pub enum Meaning {
    /// It is not the director's: why.
    NotTheirs(&'static str),
    /// It is, has this number, and says so.
    Decided(u64, Result<Decision, Refusal>),
}

/// Where the repository's files come from, and where what is believed of them lies.
#[derive(Debug, Clone, Copy)]
pub struct Repository<'a, F, S> {
    /// Its metadata.
    pub metadata: &'a F,
    /// Its targets.
    pub targets: &'a F,
    /// What is believed.
    pub store: &'a S,
    /// The folder for the director's key.
    pub folder: &'a Path,
}

/// Finds out what `word` means for a box that is `own` and has this `floor`. `client` was refreshed just now.
///
/// # Errors
/// When the repository could not be asked, or is not believed: then nothing is known of the word.
pub async fn means<F: Fetch, S: Store>(
    word: &[u8],
    client: &mut Client,
    repository: Repository<'_, F, S>,
    own: &Own,
    floor: &Floor,
) -> Result<Meaning, UpdateError> {
    let Repository {
        metadata,
        targets,
        store,
        folder,
    } = repository;
    let Ok(path) = DIRECTOR_KEY.parse() else {
        return Ok(Meaning::NotTheirs("the director's key has no place"));
    };
    let found = find(client, path, metadata, store).await?;
    let Some(found) = found.filter(|found| found.by == Role::Targets && found.target.length <= MAX_KEY)
    else {
        return Ok(Meaning::NotTheirs("the repository names no director"));
    };
    let place = folder.join("director.pub");
    download(&found, targets, &place).await?;
    let key = read(&place).ok().and_then(|pem| director(&pem));
    let Some(key) = key else {
        return Ok(Meaning::NotTheirs("the director's key in the repository is none"));
    };
    let Ok(assigned) = Assignment::verify(word, &key) else {
        let why = "it is not signed by the director that the repository names";
        return Ok(Meaning::NotTheirs(why));
    };
    let found = match assigned.get().path() {
        Some(path) => find(client, path, metadata, store).await?,
        None => None,
    };
    let decision = decide(&assigned, found.as_ref(), own, floor);
    Ok(Meaning::Decided(assigned.get().counter, decision))
}

/// Whatever lies there: no more than a key is long.
fn read(place: &Path) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    fs::File::open(place)?.take(MAX_KEY).read_to_end(&mut pem)?;
    Ok(pem)
}

/// The key in a PEM of `PUBLIC KEY`.
fn director(pem: &[u8]) -> Option<PublicKey> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    PublicKey::from_spki(&pem.contents).filter(|_| pem.label == "PUBLIC KEY")
}
