//! Shell: whole operations of a TPM, each leaving nothing behind in it.
//!
//! A chip has three places for keys when no resource manager stands before it, so what was loaded is flushed as soon
//! as it was used, also when the use failed. Only the TLS key stays, because each reconnect needs it.
#![expect(clippy::disallowed_methods, reason = "shell: the TPM, and waiting for it")]

use std::time::Duration;

use homeward_protocol::tpm::quote::{Registers, digest_of};
use homeward_protocol::tpm::signature::Ecdsa;
use homeward_protocol::tpm::statement::{Body, Statement};
use homeward_protocol::tpm::template::{self, Endorsement};
use homeward_protocol::tpm::{EndorsementKey, FormError, MAX_STRUCTURE, Public, Reader, alg};
use ring::digest;

use super::command::{self, Answer, Command, ENDORSEMENT, FIRST_LOADED_SESSION, FIRST_TRANSIENT, OWNER};
use super::device::{self, Device};
use super::{Address, TpmError};

/// How often a command that the chip puts off is sent again, and after what wait: some ten seconds altogether, longer
/// than a self-test.
const AGAIN: u32 = 100;
const AGAIN_WAIT: Duration = Duration::from_millis(100);
/// Most bytes of an endorsement certificate.
const MAX_CERTIFICATE: usize = 8 * 1024;
/// What one read of a chip's memory may ask for: all chips take it.
const NV_PART: u16 = 512;
/// Where makers and provisioning tools keep endorsement keys. Source: TCG Provisioning Guidance, section 7.8.
const KEPT: [(Endorsement, u32); 3] = [
    (Endorsement::Rsa2048, 0x8101_0001),
    (Endorsement::P256, 0x8101_0002),
    (Endorsement::P384, 0x8101_0016),
];

/// A key or sealed data as its chip wrapped it. Only that chip opens it. It has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// The public area.
    pub public: Vec<u8>,
    /// The rest, encrypted.
    pub private: Vec<u8>,
}

/// Who the chip is.
#[derive(Debug, Clone)]
pub struct Endorsed {
    /// Which kind of endorsement key.
    pub kind: Endorsement,
    /// The key.
    pub key: EndorsementKey,
    /// Its maker's certificate (DER), when there is one in the chip.
    pub certificate: Option<Vec<u8>>,
}

/// A statement of the chip with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// `TPMS_ATTEST`.
    pub statement: Vec<u8>,
    /// `TPMT_SIGNATURE`.
    pub signature: Vec<u8>,
}

/// A chip, opened when it is first needed and again after it was gone.
pub struct Chip {
    at: Address,
    device: Option<Box<dyn Device>>,
    /// The TLS key that is loaded: its area and its handle.
    signing: Option<(Vec<u8>, u32)>,
}

impl Chip {
    /// The chip at an address; nothing is opened yet.
    pub fn new(at: Address) -> Chip {
        Chip {
            at,
            device: None,
            signing: None,
        }
    }

    /// A chip behind a device that is open already.
    pub fn over(at: Address, device: Box<dyn Device>) -> Chip {
        Chip {
            device: Some(device),
            ..Chip::new(at)
        }
    }

    /// Whether a chip answers. Removes what a client before us left in it.
    pub fn probe(&mut self) -> Result<(), TpmError> {
        self.run(&command::handles(FIRST_TRANSIENT)).map(|_| ())
    }

    /// Who the chip is: by the key that its maker certified, else by a P-256 key, else by an RSA key.
    pub fn endorsed(&mut self) -> Result<Endorsed, TpmError> {
        let mut chosen = None;
        for kind in Endorsement::ALL {
            if let Some(certificate) = self.certificate(kind)? {
                chosen = Some((kind, Some(certificate)));
                break;
            }
        }
        let (kind, certificate) = match chosen {
            Some(chosen) => chosen,
            None if self.with_endorsement(Endorsement::P256, |_, _, _| Ok(())).is_ok() => {
                (Endorsement::P256, None)
            }
            None => (Endorsement::Rsa2048, None),
        };
        Ok(Endorsed {
            kind,
            key: self.endorsement(kind)?,
            certificate,
        })
    }

    /// The endorsement key of a kind.
    pub fn endorsement(&mut self, kind: Endorsement) -> Result<EndorsementKey, TpmError> {
        let area = self.with_endorsement(kind, |_, _, area| Ok(area.to_vec()))?;
        Public::parse(&area)
            .and_then(EndorsementKey::check)
            .map_err(answer("CreatePrimary"))
    }

    /// The maker's certificate of an endorsement key; none when there is none.
    fn certificate(&mut self, kind: Endorsement) -> Result<Option<Vec<u8>>, TpmError> {
        let index = kind.certificate_index();
        let described = match self.run(&command::nv_read_public(index)) {
            Ok(answer) => answer,
            Err(TpmError::Refused { code, .. }) if code.is_absent() => return Ok(None),
            Err(error) => return Err(error),
        };
        let size = command::size_in(&described.parameters).map_err(answer("NV_ReadPublic"))?;
        let mut found = Vec::new();
        while found.len() < usize::from(size).min(MAX_CERTIFICATE) {
            let offset = u16::try_from(found.len()).unwrap_or(size);
            let length = NV_PART.min(size - offset);
            let part = self.run(&command::nv_read(index, length, offset))?;
            let part = one(&part.parameters).map_err(answer("NV_Read"))?;
            if part.is_empty() {
                break;
            }
            found.extend(part);
        }
        Ok(whole_der(found))
    }

    /// The public area of the attestation key of one enrolment.
    pub fn attestation(&mut self, unique: &[u8; 32]) -> Result<Vec<u8>, TpmError> {
        self.with_attestation(unique, |_, _, area| Ok(area.to_vec()))
    }

    /// Opens a credential that was made for the attestation key of this enrolment.
    pub fn activate(
        &mut self,
        kind: Endorsement,
        unique: &[u8; 32],
        credential: &[u8],
        secret: &[u8],
    ) -> Result<Vec<u8>, TpmError> {
        self.with_attestation(unique, |chip, attestation, _| {
            chip.with_endorsement(kind, |chip, endorsement, _| {
                let session = chip.endorsement_session(kind)?;
                let activate = command::activate(attestation, endorsement, session, credential, secret);
                let result = chip.run(&activate);
                if result.is_err() {
                    // A session ends with its use, and only with that.
                    chip.flush(session);
                }
                one(&result?.parameters).map_err(answer("ActivateCredential"))
            })
        })
    }

    fn endorsement_session(&mut self, kind: Endorsement) -> Result<u32, TpmError> {
        let hash = if kind == Endorsement::P384 {
            alg::SHA384
        } else {
            alg::SHA256
        };
        // The caller's number protects sessions with secrets; this one has none.
        let begun = self.run(&command::policy_session(hash, &[0; 16]))?;
        let session = handle(&begun, "StartAuthSession")?;
        let mut met = self.run(&command::policy_secret(ENDORSEMENT, session));
        if met.is_ok() && kind == Endorsement::P384 {
            let branches = [&template::POLICY_A_SHA384[..], &template::POLICY_C_SHA384[..]];
            met = self.run(&command::policy_or(session, branches));
        }
        match met {
            Ok(_) => Ok(session),
            Err(error) => {
                self.flush(session);
                Err(error)
            }
        }
    }

    /// Makes a TLS key.
    pub fn make_tls_key(&mut self) -> Result<Wrapped, TpmError> {
        self.create(&template::tls(), &[])
    }

    /// Seals up to 128 bytes: only this chip gives them back.
    pub fn seal(&mut self, data: &[u8]) -> Result<Wrapped, TpmError> {
        self.create(&template::sealed(), data)
    }

    /// Gives back what [`Self::seal`] sealed.
    pub fn unseal(&mut self, sealed: &Wrapped) -> Result<Vec<u8>, TpmError> {
        self.with_loaded(sealed, |chip, item| {
            let answered = chip.run(&command::unseal(item))?;
            one(&answered.parameters).map_err(answer("Unseal"))
        })
    }

    fn create(&mut self, template: &[u8], data: &[u8]) -> Result<Wrapped, TpmError> {
        self.with_primary(OWNER, &template::storage(), |chip, parent, _| {
            let made = chip.run(&command::create(parent, template, data))?;
            let mut from = Reader::new(&made.parameters, "a new key");
            let mut part = || {
                from.sized(MAX_STRUCTURE)
                    .map(<[u8]>::to_vec)
                    .map_err(answer("Create"))
            };
            Ok(Wrapped {
                private: part()?,
                public: part()?,
            })
        })
    }

    /// Signs `message` with a TLS key, which stays loaded.
    pub fn sign(&mut self, key: &Wrapped, message: &[u8]) -> Result<Ecdsa, TpmError> {
        let digest = digest::digest(&digest::SHA256, message);
        let signed = match self.sign_loaded(key, digest.as_ref()) {
            // The chip may have forgotten the key: after a suspend, or after it was reset.
            Err(TpmError::Refused { command: "Sign", .. } | TpmError::Unreachable { .. }) => {
                self.forget();
                self.sign_loaded(key, digest.as_ref())
            }
            other => other,
        }?;
        Ecdsa::parse(&signed.parameters).map_err(answer("Sign"))
    }

    fn sign_loaded(&mut self, key: &Wrapped, digest: &[u8]) -> Result<Answer, TpmError> {
        let handle = match &self.signing {
            Some((area, handle)) if *area == key.public => *handle,
            _ => {
                self.forget();
                let handle = self.load(key)?;
                self.signing = Some((key.public.clone(), handle));
                handle
            }
        };
        self.run(&command::sign(handle, digest))
    }

    fn forget(&mut self) {
        if let Some((_, handle)) = self.signing.take() {
            self.flush(handle);
        }
    }

    /// Certifies a TLS key by the attestation key of this enrolment, over `extra`.
    pub fn certify(
        &mut self,
        key: &Wrapped,
        unique: &[u8; 32],
        extra: &[u8; 32],
    ) -> Result<Stated, TpmError> {
        self.with_attestation(unique, |chip, attestation, _| {
            chip.with_loaded(key, |chip, object| {
                stated(
                    &chip.run(&command::certify(object, attestation, extra))?,
                    "Certify",
                )
            })
        })
    }

    /// Quotes registers by the attestation key of this enrolment, over `extra`; with their values.
    ///
    /// Reading and quoting are two commands. When something was measured in between, both are done once more.
    pub fn quote(
        &mut self,
        unique: &[u8; 32],
        extra: &[u8; 32],
        registers: &[u8],
    ) -> Result<(Stated, Registers), TpmError> {
        self.with_attestation(unique, |chip, attestation, _| {
            let mut once = || {
                let values = chip.registers(registers)?;
                let quoted = stated(
                    &chip.run(&command::quote(attestation, extra, registers))?,
                    "Quote",
                )?;
                Ok((quoted, values))
            };
            let (quoted, values) = once()?;
            if fits(&quoted, &values) {
                Ok((quoted, values))
            } else {
                once()
            }
        })
    }

    /// Values of registers of the SHA-256 bank; eight a command, so all of one moment only by a quote.
    pub fn registers(&mut self, wanted: &[u8]) -> Result<Registers, TpmError> {
        let mut found = Registers::new();
        for part in wanted.chunks(8) {
            let read = self.run(&command::pcr_read(part))?;
            found.extend(command::registers_in(&read.parameters).map_err(answer("PCR_Read"))?);
        }
        if found.len() == wanted.len() {
            Ok(found)
        } else {
            Err(TpmError::Nothing("registers of the SHA-256 bank"))
        }
    }

    /// Measures into a register.
    pub fn extend(&mut self, register: u8, digest: &[u8; 32]) -> Result<(), TpmError> {
        self.run(&command::pcr_extend(register, digest)).map(|_| ())
    }

    fn with_attestation<T>(
        &mut self,
        unique: &[u8; 32],
        work: impl FnOnce(&mut Chip, u32, &[u8]) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        self.with_primary(ENDORSEMENT, &template::attestation(unique), work)
    }

    /// The endorsement key: the one that lies in the chip already, where it is of the kind, else made.
    fn with_endorsement<T>(
        &mut self,
        kind: Endorsement,
        work: impl FnOnce(&mut Chip, u32, &[u8]) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let kept = KEPT
            .iter()
            .find(|(of, _)| *of == kind)
            .map_or(0, |(_, handle)| *handle);
        match self.run(&command::read_public(kept)) {
            Ok(answered) => {
                let area = one(&answered.parameters).map_err(answer("ReadPublic"))?;
                if is_from(&area, &kind.template()) {
                    return work(self, kept, &area);
                }
            }
            Err(TpmError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        self.with_primary(ENDORSEMENT, &kind.template(), work)
    }

    fn with_primary<T>(
        &mut self,
        hierarchy: u32,
        template: &[u8],
        work: impl FnOnce(&mut Chip, u32, &[u8]) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let made = self.run(&command::create_primary(hierarchy, template))?;
        let key = handle(&made, "CreatePrimary")?;
        let area = one(&made.parameters).map_err(answer("CreatePrimary"));
        let result = area.and_then(|area| work(self, key, &area));
        self.flush(key);
        result
    }

    fn with_loaded<T>(
        &mut self,
        key: &Wrapped,
        work: impl FnOnce(&mut Chip, u32) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let loaded = self.load(key)?;
        let result = work(self, loaded);
        self.flush(loaded);
        result
    }

    fn load(&mut self, key: &Wrapped) -> Result<u32, TpmError> {
        self.with_primary(OWNER, &template::storage(), |chip, parent, _| {
            let loaded = chip.run(&command::load(parent, &key.private, &key.public))?;
            handle(&loaded, "Load")
        })
    }

    /// Forgets a key. One that cannot be forgotten is gone already.
    fn flush(&mut self, handle: u32) {
        if let Err(error) = self.run(&command::flush(handle)) {
            tracing::debug!(error = %error, "could not flush {handle:#010x}");
        }
    }

    /// Sends a command, again while the chip asks for that.
    fn run(&mut self, command: &Command) -> Result<Answer, TpmError> {
        let bytes = command.bytes();
        for _ in 0..AGAIN {
            match command.answer(&self.exchange(&bytes)?) {
                Err(TpmError::Refused { code, .. }) if code.is_again() => std::thread::sleep(AGAIN_WAIT),
                // Without a resource manager the TLS key may be the one key too many.
                Err(TpmError::Refused { code, .. }) if code.is_full() && self.signing.is_some() => {
                    self.forget();
                }
                other => return other,
            }
        }
        Err(TpmError::Busy(command.name))
    }

    fn exchange(&mut self, bytes: &[u8]) -> Result<Vec<u8>, TpmError> {
        let answered = match &mut self.device {
            Some(device) => device.exchange(bytes),
            None => self.open().and_then(|device| device.exchange(bytes)),
        };
        answered.map_err(|source| {
            // What was loaded went with the connection.
            self.device = None;
            self.signing = None;
            TpmError::Unreachable {
                at: self.at.clone(),
                source,
            }
        })
    }

    fn open(&mut self) -> std::io::Result<&mut Box<dyn Device>> {
        let mut device = device::open(&self.at)?;
        clear(device.as_mut())?;
        Ok(self.device.insert(device))
    }
}

/// Removes keys and sessions that a client before us left behind. A resource manager shows us only our own: none.
fn clear(device: &mut dyn Device) -> std::io::Result<()> {
    for first in [FIRST_TRANSIENT, FIRST_LOADED_SESSION] {
        let ask = command::handles(first);
        let answered = ask.answer(&device.exchange(&ask.bytes())?);
        let left = answered
            .ok()
            .and_then(|a| command::handles_in(&a.parameters).ok());
        for handle in left.unwrap_or_default() {
            device.exchange(&command::flush(handle).bytes())?;
        }
    }
    Ok(())
}

fn fits(quoted: &Stated, values: &Registers) -> bool {
    let parsed = Statement::parse(&quoted.statement).map(|s| s.body);
    matches!(parsed, Ok(Body::Quote { digest, .. }) if digest == digest_of(values))
}

fn stated(answered: &Answer, command: &'static str) -> Result<Stated, TpmError> {
    let mut from = Reader::new(&answered.parameters, "a statement");
    let statement = from.sized(MAX_STRUCTURE).map_err(answer(command))?.to_vec();
    Ok(Stated {
        statement,
        signature: from.rest().to_vec(),
    })
}

/// Whether a public area was made from a template: the same up to where the key's own numbers begin.
fn is_from(area: &[u8], template: &[u8]) -> bool {
    let (Ok(area), Ok(wanted)) = (Public::parse(area), head(template)) else {
        return false;
    };
    area.as_bytes().starts_with(wanted)
}

/// A template's kind, hash, attributes and policy.
fn head(template: &[u8]) -> Result<&[u8], FormError> {
    let mut from = Reader::new(template, "a template");
    let _fixed = from.take(8)?;
    let _policy = from.sized(64)?;
    let length = template.len() - from.rest().len();
    Ok(template.get(..length).unwrap_or_default())
}

/// The first sized part of an answer.
fn one(parameters: &[u8]) -> Result<Vec<u8>, FormError> {
    Reader::new(parameters, "an answer")
        .sized(MAX_STRUCTURE)
        .map(<[u8]>::to_vec)
}

/// A DER structure without what a maker left behind it; nothing when it is none.
fn whole_der(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let length = match bytes.as_slice() {
        [0x30, 0x82, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        [0x30, 0x81, length, ..] => 3 + usize::from(*length),
        _ => return None,
    };
    bytes.truncate(length);
    (bytes.len() == length).then_some(bytes)
}

fn handle(answered: &Answer, command: &'static str) -> Result<u32, TpmError> {
    answered.handle.ok_or(TpmError::Answer {
        command,
        source: FormError::Rule("no handle in it"),
    })
}

fn answer(command: &'static str) -> impl Fn(FormError) -> TpmError {
    move |source| TpmError::Answer { command, source }
}
