//! What lies on the disk lies sealed: a key for the box's data, and what opens it.
//!
//! The data key is random and sealed once for each secret that this box has and its disk has not: a slot each. Any one
//! slot opens it, so that a network card that was replaced does not take the waiting readings with it; and so the
//! weakest slot is how strong the vault is. A TPM or a credential of systemd, where there is one, is the only slot.
//!
//! | source | a stolen disk alone | a stolen box |
//! |---|---|---|
//! | TPM | does not open | opens on itself |
//! | credential of systemd | does not open where systemd sealed it to a TPM; else its key may be on the same disk | opens |
//! | facts of the machine (serial numbers, addresses of its cards) | does not open without them; they can be guessed or read off the box | opens |
//! | the file | opens: this is no protection, and `status` says so | opens |
//!
//! # Design
//! AES-256-GCM with a random 96-bit nonce for each record. Below 2^32 records of one key the chance that a nonce came
//! twice stays below 2^-32 (NIST SP 800-38D, section 8.3): at ten readings a second, more than a home gives, that is
//! thirteen years. A new claim with the folder set aside makes a new key. What a record is for stands in its associated data, so that one cannot be put in the
//! place of another. Slots are sealed by HKDF-SHA256 (RFC 5869) of the secret, with a random salt a vault.

pub mod chip;
pub mod disk;
pub mod sources;

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homeward_protocol::posture::Sealing;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::hmac;
use serde::{Deserialize, Serialize};

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Most slots that are read.
pub const MOST_SLOTS: usize = 32;
/// What stands before HKDF's own input, so that the same secret used elsewhere gives another key.
const INFO: &[u8] = b"homeward vault slot 1";

/// Where a secret comes from, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Unsealed by the TPM of this box.
    Tpm,
    /// A credential that systemd gave to the service.
    Credential,
    /// Something that this machine has and its disk has not.
    Machine,
    /// The vault's own file: no protection.
    File,
}

impl Kind {
    /// In plain words, for status and people.
    pub const fn words(self) -> &'static str {
        match self {
            Kind::Tpm => "sealed by this box's TPM",
            Kind::Credential => "sealed by a credential of systemd",
            Kind::Machine => {
                "sealed by facts of this machine: a stolen disk alone does not open, a stolen box does"
            }
            Kind::File => "not sealed: whoever has the disk reads it",
        }
    }
}

impl From<Kind> for Sealing {
    fn from(kind: Kind) -> Sealing {
        match kind {
            Kind::Tpm => Sealing::Tpm,
            Kind::Credential => Sealing::Credential,
            Kind::Machine => Sealing::Machine,
            Kind::File => Sealing::Nothing,
        }
    }
}

/// A secret that opens a slot. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Source {
    /// Where it comes from.
    pub kind: Kind,
    /// The secret, of any length.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({:?})", self.kind)
    }
}

/// Why a vault does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The file is not one.
    #[error("it is no vault of this version")]
    Form,
    /// No secret of this box opens it.
    #[error("it was sealed by another box, or by a part of this one that is gone")]
    Foreign,
    /// The library refused.
    #[error("a key could not be used")]
    Key,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({:?})", self.0.weakest)
    }
}

/// The random bytes that making needs.
pub struct Random {
    /// The data key.
    pub key: [u8; KEY_LEN],
    /// The salt of the slots.
    pub salt: [u8; KEY_LEN],
    /// The secret of a vault that has nothing else.
    pub own: [u8; KEY_LEN],
    /// Nonces: one is used up for each slot.
    pub nonces: Nonces,
}

/// Random nonces, each to be used once.
pub struct Nonces(Vec<[u8; NONCE_LEN]>);

impl Nonces {
    /// Enough for every slot that a vault can have, from as many random bytes.
    pub fn new(random: &[u8; NONCE_LEN * MOST_SLOTS]) -> Nonces {
        Nonces(random.as_chunks().0.to_vec())
    }

    /// The next one. None is used twice: without one nothing is sealed.
    fn next(&mut self) -> Result<[u8; NONCE_LEN], VaultError> {
        self.0.pop().ok_or(VaultError::Key)
    }
}

/// The file: JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    version: u8,
    salt: String,
    slots: Vec<Slot>,
    /// The secret of a vault that nothing seals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Slot {
    kind: Kind,
    sealed: String,
}

/// The data key, ready to seal and open. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Vault(Arc<Keys>);

struct Keys {
    key: LessSafeKey,
    names: hmac::Key,
    weakest: Kind,
}

impl Vault {
    /// A vault around a key.
    fn of(key: &[u8; KEY_LEN], weakest: Kind) -> Result<Vault, VaultError> {
        let aead = UnboundKey::new(&AES_256_GCM, key).map_err(|_| VaultError::Key)?;
        // A key of its own for names, from the data key by a hash under a label.
        let names = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"homeward vault names 1");
        Ok(Vault(Arc::new(Keys {
            key: LessSafeKey::new(aead),
            names: hmac::Key::new(hmac::HMAC_SHA256, names.as_ref()),
            weakest,
        })))
    }

    /// One that lives as long as the process, for tests and load generators.
    pub fn of_process(key: &[u8; KEY_LEN]) -> Result<Vault, VaultError> {
        Vault::of(key, Kind::File)
    }

    /// How strong it is: its weakest slot.
    pub fn kind(&self) -> Kind {
        self.0.weakest
    }

    /// Seals `plain`; `what` says what it is for. `nonce` is random, new for each.
    pub fn seal(&self, what: &[u8], plain: &[u8], nonce: [u8; NONCE_LEN]) -> Result<Vec<u8>, VaultError> {
        let mut text = plain.to_vec();
        let at = Nonce::assume_unique_for_key(nonce);
        let sealed = self
            .0
            .key
            .seal_in_place_append_tag(at, Aad::from(what), &mut text);
        sealed.map_err(|_| VaultError::Key)?;
        Ok([&nonce[..], &text].concat())
    }

    /// Opens what [`Vault::seal`] gave; `None` when it was not sealed by this key for this purpose, or was changed.
    pub fn open(&self, what: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let at = Nonce::assume_unique_for_key(*nonce);
        let plain = self.0.key.open_in_place(at, Aad::from(what), &mut text).ok()?;
        let length = plain.len();
        text.truncate(length);
        Some(text)
    }

    /// The keyed hash of a name, 64 hex digits: to look a row up by what shall not stand in the file.
    pub fn name(&self, name: &str) -> String {
        let tag = hmac::sign(&self.0.names, name.as_bytes());
        tag.as_ref().iter().fold(String::new(), |mut text, b| {
            // Writing to a string does not fail.
            let _ = write!(text, "{b:02x}");
            text
        })
    }
}

/// Makes a vault; gives it and the text of its file. Of the sources the strongest kind gets slots, and only it; without
/// any, the file holds its own secret.
pub fn make(sources: &[Source], mut random: Random) -> Result<(Vault, String), VaultError> {
    let best = sources.iter().map(|source| source.kind).min();
    let own = Source {
        kind: Kind::File,
        secret: random.own.to_vec(),
    };
    let used: Vec<&Source> = match best {
        Some(best) => sources.iter().filter(|source| source.kind == best).collect(),
        None => vec![&own],
    };
    let mut slots = Vec::new();
    for source in used.into_iter().take(MOST_SLOTS) {
        slots.push(slot(source, &random.salt, &random.key, random.nonces.next()?)?);
    }
    let stored = Stored {
        version: 1,
        salt: STANDARD.encode(random.salt),
        slots,
        open: best.is_none().then(|| STANDARD.encode(random.own)),
    };
    let text = serde_json::to_string_pretty(&stored).map_err(|_| VaultError::Form)?;
    Ok((Vault::of(&random.key, best.unwrap_or(Kind::File))?, text))
}

/// Opens a vault by any secret that fits one of its slots.
pub fn open(text: &str, sources: &[Source]) -> Result<Vault, VaultError> {
    let stored = parse(text)?;
    let salt = bytes(&stored.salt)?;
    let weakest = stored
        .slots
        .iter()
        .map(|slot| slot.kind)
        .max()
        .ok_or(VaultError::Form)?;
    let key = key_in(&stored, &salt, sources).ok_or(VaultError::Foreign)?;
    Vault::of(&key, weakest)
}

/// Adds the slots of the same kind that are missing, so that a new part of the machine opens it too; `None` when there is
/// nothing to add. A vault that opens is not sealed anew by a stronger source here: that takes a new vault.
pub fn refreshed(text: &str, sources: &[Source], nonces: &mut Nonces) -> Result<Option<String>, VaultError> {
    let mut stored = parse(text)?;
    let salt = bytes(&stored.salt)?;
    let key = key_in(&stored, &salt, sources).ok_or(VaultError::Foreign)?;
    let before = stored.slots.len();
    for source in sources {
        let known = |slot: &Slot| slot.kind == source.kind;
        let opens = stored
            .slots
            .iter()
            .any(|slot| unsealed(slot, &salt, source).is_some());
        if !opens && stored.slots.iter().any(known) && stored.slots.len() < MOST_SLOTS {
            stored.slots.push(slot(source, &salt, &key, nonces.next()?)?);
        }
    }
    if stored.slots.len() == before {
        return Ok(None);
    }
    serde_json::to_string_pretty(&stored)
        .map(Some)
        .map_err(|_| VaultError::Form)
}

/// How strong the vault of this file is, without opening it.
pub fn kind_in(text: &str) -> Option<Kind> {
    parse(text).ok()?.slots.iter().map(|slot| slot.kind).max()
}

fn parse(text: &str) -> Result<Stored, VaultError> {
    let stored: Stored = serde_json::from_str(text).map_err(|_| VaultError::Form)?;
    if stored.version == 1 && stored.slots.len() <= MOST_SLOTS {
        Ok(stored)
    } else {
        Err(VaultError::Form)
    }
}

fn key_in(stored: &Stored, salt: &[u8], sources: &[Source]) -> Option<[u8; KEY_LEN]> {
    let own = stored
        .open
        .as_deref()
        .and_then(|text| bytes(text).ok())
        .map(|secret| Source {
            kind: Kind::File,
            secret,
        });
    let all = || sources.iter().chain(&own);
    stored
        .slots
        .iter()
        .find_map(|slot| all().find_map(|source| unsealed(slot, salt, source)))
}

fn unsealed(slot: &Slot, salt: &[u8], source: &Source) -> Option<[u8; KEY_LEN]> {
    if slot.kind != source.kind {
        return None;
    }
    let sealed = bytes(&slot.sealed).ok()?;
    let plain = wrapping(source, salt).ok()?.open(INFO, &sealed)?;
    plain.try_into().ok()
}

fn slot(
    source: &Source,
    salt: &[u8],
    key: &[u8; KEY_LEN],
    nonce: [u8; NONCE_LEN],
) -> Result<Slot, VaultError> {
    let sealed = wrapping(source, salt)?.seal(INFO, key, nonce)?;
    Ok(Slot {
        kind: source.kind,
        sealed: STANDARD.encode(sealed),
    })
}

/// What a slot is sealed with.
fn wrapping(source: &Source, salt: &[u8]) -> Result<Vault, VaultError> {
    let mut key = [0; KEY_LEN];
    let prk = Salt::new(HKDF_SHA256, salt).extract(&source.secret);
    let okm = prk
        .expand(&[INFO], Length(KEY_LEN))
        .map_err(|_| VaultError::Key)?;
    okm.fill(&mut key).map_err(|_| VaultError::Key)?;
    Vault::of(&key, source.kind)
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn bytes(text: &str) -> Result<Vec<u8>, VaultError> {
    STANDARD.decode(text).map_err(|_| VaultError::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(kind: Kind, secret: &str) -> Source {
        Source {
            kind,
            secret: secret.as_bytes().to_vec(),
        }
    }

    fn nonces() -> Nonces {
        Nonces((1..=4).map(|n| [n; NONCE_LEN]).collect())
    }

    fn random() -> Random {
        Random {
            key: [1; KEY_LEN],
            salt: [2; KEY_LEN],
            own: [3; KEY_LEN],
            nonces: nonces(),
        }
    }

    #[test]
    fn any_part_of_the_machine_opens_it_and_another_machine_does_not() {
        let here = [
            source(Kind::Machine, "serial 1"),
            source(Kind::Machine, "card 02:00"),
        ];
        let (vault, text) = make(&here, random()).expect("made");
        assert_eq!(vault.kind(), Kind::Machine);
        let sealed = vault
            .seal(b"reading", b"118 mmHg", [9; NONCE_LEN])
            .expect("sealed");
        for part in &here {
            let again = open(&text, std::slice::from_ref(part)).expect("opens");
            assert_eq!(again.open(b"reading", &sealed).as_deref(), Some(&b"118 mmHg"[..]));
        }
        let there = [
            source(Kind::Machine, "serial 2"),
            source(Kind::Credential, "serial 1"),
        ];
        assert_eq!(open(&text, &there).err(), Some(VaultError::Foreign));
        assert_eq!(open(&text, &[]).err(), Some(VaultError::Foreign));
        assert_eq!(open("{}", &here).err(), Some(VaultError::Form));
    }

    #[test]
    fn the_strongest_source_is_the_only_slot_and_without_any_it_says_so() {
        let all = [source(Kind::Machine, "serial 1"), source(Kind::Tpm, "unsealed")];
        let (vault, text) = make(&all, random()).expect("made");
        assert_eq!(vault.kind(), Kind::Tpm);
        assert_eq!(
            open(&text, &all[..1]).err(),
            Some(VaultError::Foreign),
            "the machine alone does not open it"
        );
        assert!(open(&text, &all[1..]).is_ok());
        let (vault, text) = make(&[], random()).expect("made");
        assert_eq!(vault.kind(), Kind::File);
        assert_eq!(open(&text, &[]).expect("opens by itself").kind(), Kind::File);
    }

    #[test]
    fn a_new_part_of_the_machine_gets_a_slot() {
        let old = source(Kind::Machine, "card 02:00");
        let new = source(Kind::Machine, "card 02:01");
        let (_, text) = make(std::slice::from_ref(&old), random()).expect("made");
        let mut spare = nonces();
        let both = [old.clone(), new.clone()];
        assert_eq!(refreshed(&text, std::slice::from_ref(&old), &mut spare), Ok(None));
        let text = refreshed(&text, &both, &mut spare)
            .expect("opens")
            .expect("one more");
        assert!(open(&text, &[new]).is_ok() && open(&text, &[old]).is_ok());
        // Another kind does not slip in beside: it may be weaker.
        let tpm = source(Kind::Tpm, "unsealed");
        let (_, text) = make(std::slice::from_ref(&tpm), random()).expect("made");
        assert_eq!(refreshed(&text, &[tpm, both[0].clone()], &mut spare), Ok(None));
    }

    #[test]
    fn without_a_nonce_left_nothing_is_sealed() {
        let parts: Vec<Source> = (0..5)
            .map(|n| source(Kind::Machine, &format!("card {n}")))
            .collect();
        assert_eq!(make(&parts, random()).err(), Some(VaultError::Key));
        assert!(make(&parts[..4], random()).is_ok());
    }

    #[test]
    fn a_changed_bit_or_another_purpose_does_not_open() {
        let (vault, _) = make(&[], random()).expect("made");
        let sealed = vault
            .seal(b"reading", b"118 mmHg", [9; NONCE_LEN])
            .expect("sealed");
        assert!(!sealed.windows(4).any(|w| w == b"mmHg"));
        assert_eq!(vault.open(b"alarm", &sealed), None);
        for at in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert_eq!(vault.open(b"reading", &changed), None, "bit {at}");
        }
        for short in 0..sealed.len() {
            assert_eq!(vault.open(b"reading", &sealed[..short]), None);
        }
        assert_ne!(vault.name("cuff"), vault.name("scale"));
        assert_eq!(vault.name("cuff"), vault.name("cuff"));
    }
}
