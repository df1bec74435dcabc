//! What a TPM 2.0 says, read and checked: public areas, names, statements (quote, certify), signatures.
//!
//! A gateway sends these structures as its TPM made them, because they are what its TPM signed. Here they are read
//! strictly (every length checked, nothing left over) and judged; nothing here talks to a TPM.
//!
//! # Design
//! - A structure keeps the bytes that it was read from: names and signatures are over those.
//! - Proof is a type. [`AttestationKey::check`] is the only maker of a key that may vouch, and only it can make a
//!   [`quote::Quoted`] or a [`certify::Certified`]. An unrestricted key of a TPM signs any bytes, a forged quote
//!   among them: so the attributes are checked before a signature means anything.
//! - A codec of our own, of what is needed here, rather than a crate: these bytes come from strangers, and the one
//!   healthy crate for them reads them with `unsafe`.
//!
//! Source: TCG TPM 2.0 Library, part 1 (names: section 16), part 2 (structures), part 3 (commands).

mod bytes;
pub mod certify;
pub mod enrol;
pub mod public;
pub mod quote;
pub mod signature;
pub mod statement;
pub mod template;

use std::fmt;

pub use bytes::{Reader, Writer};
pub use public::{AttestationKey, EndorsementKey, Kind, Public};

/// Numbers of algorithms. Source: TCG Algorithm Registry, table 3.
pub mod alg {
    /// RSA.
    pub const RSA: u16 = 0x0001;
    /// SHA-1.
    pub const SHA1: u16 = 0x0004;
    /// A keyed hash, or sealed data.
    pub const KEYED_HASH: u16 = 0x0008;
    /// AES.
    pub const AES: u16 = 0x0006;
    /// SHA-256.
    pub const SHA256: u16 = 0x000b;
    /// SHA-384.
    pub const SHA384: u16 = 0x000c;
    /// None.
    pub const NULL: u16 = 0x0010;
    /// ECDSA.
    pub const ECDSA: u16 = 0x0018;
    /// Elliptic curves.
    pub const ECC: u16 = 0x0023;
    /// The CFB mode.
    pub const CFB: u16 = 0x0043;
    /// P-256, among the curves.
    pub const P256: u16 = 0x0003;
    /// P-384, among the curves.
    pub const P384: u16 = 0x0004;
}

/// Most bytes of a structure of a TPM that is read here: what one response can hold.
pub const MAX_STRUCTURE: usize = 4096;

/// Why bytes are not the structure that they should be, or not one that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// They end inside of it, or go on behind it, or are longer than a TPM makes them.
    #[error("{0}: a length is wrong")]
    Length(&'static str),
    /// A value that does not stand in the specification, or that is not taken here.
    #[error("{0}")]
    Rule(&'static str),
}

/// An object's name: the number of its hash, then the hash over its public area.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(pub(crate) Vec<u8>);

impl Name {
    /// As it travels.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Name")
    }
}

/// The ring algorithm of a hash that is taken here.
pub(crate) fn hash(number: u16) -> Option<&'static ring::digest::Algorithm> {
    match number {
        alg::SHA256 => Some(&ring::digest::SHA256),
        alg::SHA384 => Some(&ring::digest::SHA384),
        _ => None,
    }
}
