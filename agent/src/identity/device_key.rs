//! Shell: the key that speaks for this box: for TLS, for certificate requests and for envelopes. It is in the program,
//! or in the TPM, which then does each signature.
#![expect(clippy::disallowed_methods, reason = "shell: randomness, and the TPM")]

use std::fmt;
use std::sync::Arc;

use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::{PublicKey, Signer};
use homeward_protocol::tpm::Public;
use homeward_protocol::tpm::signature::Ecdsa;
use rcgen::{CertificateParams, DistinguishedName, DnType, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::SigningKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::keys::KeyError;
use crate::tpm::TpmError;
use crate::tpm::chip::{Chip, Wrapped};
use crate::tpm::thread::Tpm;

/// A private key that signs. It has no `Debug`.
pub struct DeviceKey(Arc<Kept>);

/// Where it is.
pub(super) enum Kept {
    File(FileKey),
    Chip(ChipKey),
}

/// A key that the program holds.
pub(super) struct FileKey {
    pkcs8: PrivatePkcs8KeyDer<'static>,
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

/// A key that only the TPM can use.
pub struct ChipKey {
    tpm: Tpm,
    wrapped: Wrapped,
    public: PublicKey,
    unique: [u8; 32],
}

impl DeviceKey {
    /// A new key in software.
    pub fn make() -> Result<DeviceKey, KeyError> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| KeyError::Make)?;
        DeviceKey::from_pkcs8(document.as_ref().to_vec().into()).ok_or(KeyError::Make)
    }

    pub(super) fn from_pkcs8(pkcs8: PrivatePkcs8KeyDer<'static>) -> Option<DeviceKey> {
        let random = SystemRandom::new();
        let der = pkcs8.secret_pkcs8_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random).ok()?;
        Some(DeviceKey(Arc::new(Kept::File(FileKey { pkcs8, pair, random }))))
    }

    /// A new key in a TPM.
    pub(super) fn make_in(tpm: &Tpm) -> Result<DeviceKey, KeyError> {
        let mut unique = [0; 32];
        SystemRandom::new()
            .fill(&mut unique)
            .map_err(|_| KeyError::Make)?;
        let wrapped = tpm.wait(Chip::make_tls_key)?;
        DeviceKey::in_chip(tpm, wrapped, unique).ok_or(KeyError::Make)
    }

    pub(super) fn in_chip(tpm: &Tpm, wrapped: Wrapped, unique: [u8; 32]) -> Option<DeviceKey> {
        let public = Public::parse(&wrapped.public).ok()?.p256()?;
        Some(DeviceKey(Arc::new(Kept::Chip(ChipKey {
            tpm: tpm.clone(),
            wrapped,
            public,
            unique,
        }))))
    }

    /// Where it is.
    pub(super) fn kept(&self) -> &Kept {
        &self.0
    }

    /// The public half.
    pub fn public(&self) -> Result<PublicKey, KeyError> {
        match &*self.0 {
            Kept::File(key) => PublicKey::from_point(key.pair.public_key().as_ref()).ok_or(KeyError::Make),
            Kept::Chip(key) => Ok(key.public.clone()),
        }
    }

    /// The key in the TPM, when it is there.
    pub fn chip(&self) -> Option<&ChipKey> {
        match &*self.0 {
            Kept::File(_) => None,
            Kept::Chip(key) => Some(key),
        }
    }

    /// For TLS.
    pub fn for_tls(&self) -> Result<Arc<dyn SigningKey>, KeyError> {
        match &*self.0 {
            Kept::File(key) => {
                let der = PrivateKeyDer::Pkcs8(key.pkcs8.clone_key());
                rustls::crypto::ring::sign::any_ecdsa_type(&der).map_err(|_| KeyError::Make)
            }
            Kept::Chip(_) => Ok(Arc::new(Speaker(Arc::clone(&self.0)))),
        }
    }

    /// DER, as TLS and certificate requests have it.
    fn sign_der(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        self.sign(message).map(|fixed| Ecdsa(fixed).der())
    }

    /// A certificate signing request (PKCS#10, DER). The server overwrites every name in it.
    pub fn request(&self, gateway: &GatewayId) -> Result<Vec<u8>, KeyError> {
        let asking = Asking {
            point: self.public()?,
            key: self,
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, gateway.as_str());
        let request = params.serialize_request(&asking).map_err(|_| KeyError::Make)?;
        Ok(request.der().to_vec())
    }
}

impl Signer for DeviceKey {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        match &*self.0 {
            Kept::File(key) => {
                let signed = key.pair.sign(&key.random, message);
                let signature = signed.map_err(|_| "the random source failed".to_owned())?;
                let fixed = signature.as_ref().try_into();
                fixed.map_err(|_| "a signature of another length".to_owned())
            }
            Kept::Chip(key) => key
                .sign(message)
                .map(|signed| signed.0)
                .map_err(|e| e.to_string()),
        }
    }
}

impl FileKey {
    /// PKCS #8 (DER).
    pub(super) fn der(&self) -> &[u8] {
        self.pkcs8.secret_pkcs8_der()
    }
}

impl ChipKey {
    fn sign(&self, message: &[u8]) -> Result<Ecdsa, TpmError> {
        let (wrapped, message) = (self.wrapped.clone(), message.to_vec());
        self.tpm.wait(move |chip| chip.sign(&wrapped, &message))
    }

    /// The TPM.
    pub fn tpm(&self) -> &Tpm {
        &self.tpm
    }

    /// The key as the TPM wrapped it.
    pub fn wrapped(&self) -> &Wrapped {
        &self.wrapped
    }

    /// What makes the attestation key this enrolment's own.
    pub fn unique(&self) -> [u8; 32] {
        self.unique
    }

    /// Whether the TPM uses the key now: it is there, and it is the one that made it.
    pub async fn check(&self) -> Result<(), TpmError> {
        let wrapped = self.wrapped.clone();
        let used = self
            .tpm
            .call(move |chip| chip.sign(&wrapped, b"homeward: is it there?"));
        used.await.map(drop)
    }
}

/// The key in the TPM, as TLS asks for it. It waits for the TPM on the thread that it is called on.
struct Speaker(Arc<Kept>);

impl fmt::Debug for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Speaker")
    }
}

impl SigningKey for Speaker {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        let known = offered.contains(&SignatureScheme::ECDSA_NISTP256_SHA256);
        known.then(|| Box::new(Speaker(Arc::clone(&self.0))) as Box<dyn rustls::sign::Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let public = DeviceKey(Arc::clone(&self.0)).public().ok()?;
        Some(public.spki().into())
    }
}

impl rustls::sign::Signer for Speaker {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        DeviceKey(Arc::clone(&self.0)).sign_der(message).map_err(|why| {
            tracing::error!(error = %why, "the TPM did not sign a handshake");
            rustls::Error::General(why)
        })
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

/// The key, as a certificate request needs it.
struct Asking<'a> {
    point: PublicKey,
    key: &'a DeviceKey,
}

impl PublicKeyData for Asking<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.point.point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Asking<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key
            .sign_der(message)
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_key_signs_verifies() {
        let key = DeviceKey::make().expect("a key");
        let signature = key.sign(b"message").expect("signs");
        let public = key.public().expect("a point");
        ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, public.point())
            .verify(b"message", &signature)
            .expect("verifies");
    }
}
