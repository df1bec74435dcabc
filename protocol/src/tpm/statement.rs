//! Statements that a TPM signs about itself (`TPMS_ATTEST`): quotes of registers, certifications of keys.
//!
//! Source: TPM 2.0 Library, part 2, section 10.12; clock and counters: part 1, section 36.

use super::public::AttestationKey;
use super::signature::Ecdsa;
use super::{FormError, MAX_STRUCTURE, Reader, alg};

/// What every statement of a TPM begins with, and nothing that a restricted key signs for somebody else does.
pub const MAGIC: u32 = 0xff54_4347;
/// Registers of one bank that a selection can name.
pub const REGISTERS: u8 = 24;

const CERTIFY: u16 = 0x8017;
const QUOTE: u16 = 0x8018;
/// Longest name: a hash's number and a SHA-512.
const MAX_NAME: usize = 66;

/// The TPM's own time. Reset and restart counts tell reboots apart, and two machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds in which the TPM had power, over its life.
    pub clock_ms: u64,
    /// Power cycles.
    pub reset_count: u32,
    /// Suspends since the last of them.
    pub restart_count: u32,
    /// Whether the clock cannot have gone back. After a power cut it is not: weather, no attack.
    pub safe: bool,
}

/// What is stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The registers of the SHA-256 bank named here hash to this.
    Quote {
        /// Their numbers, rising.
        registers: Vec<u8>,
        /// The hash over their values in that order.
        digest: Vec<u8>,
    },
    /// The object of this name is in the TPM.
    Certify {
        /// The object's name.
        name: Vec<u8>,
    },
}

/// A statement, read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What the asker gave in, to tell it from a recording.
    pub extra: Vec<u8>,
    /// The TPM's time.
    pub clock: Clock,
    /// The TPM's firmware version, as its maker numbers it.
    pub firmware: u64,
    /// What is stated.
    pub body: Body,
}

impl Statement {
    /// Reads a statement without the length before it. Never panics. Whose it is, is for [`signed_by`].
    pub fn parse(bytes: &[u8]) -> Result<Statement, FormError> {
        const WHAT: &str = "a statement";
        if bytes.len() > MAX_STRUCTURE {
            return Err(FormError::Length(WHAT));
        }
        let mut from = Reader::new(bytes, WHAT);
        if from.u32()? != MAGIC {
            return Err(FormError::Rule("no TPM made this statement"));
        }
        let kind = from.u16()?;
        let _signer = from.sized(MAX_NAME)?;
        let extra = from.sized(MAX_NAME)?.to_vec();
        let clock = Clock {
            clock_ms: from.u64()?,
            reset_count: from.u32()?,
            restart_count: from.u32()?,
            safe: match from.u8()? {
                0 => false,
                1 => true,
                _ => return Err(FormError::Rule("neither yes nor no")),
            },
        };
        let firmware = from.u64()?;
        let body = match kind {
            QUOTE => quote(&mut from)?,
            CERTIFY => certify(&mut from)?,
            _ => {
                return Err(FormError::Rule(
                    "another statement than a quote or a certification",
                ));
            }
        };
        from.end()?;
        Ok(Statement {
            extra,
            clock,
            firmware,
            body,
        })
    }
}

fn quote(from: &mut Reader<'_>) -> Result<Body, FormError> {
    let one_bank = "a quote of another bank than SHA-256, or of more than one";
    if from.u32()? != 1 || from.u16()? != alg::SHA256 {
        return Err(FormError::Rule(one_bank));
    }
    let length = usize::from(from.u8()?);
    let bits = from.take(length)?;
    let numbers = bits.iter().zip(0u16..).flat_map(|(byte, at)| {
        (0..8)
            .filter(move |bit| byte >> bit & 1 == 1)
            .map(move |bit| at * 8 + bit)
    });
    let registers: Result<Vec<u8>, _> = numbers.map(u8::try_from).collect();
    let registers = registers.map_err(|_| FormError::Rule(one_bank))?;
    if registers.iter().any(|number| *number >= REGISTERS) {
        return Err(FormError::Rule("a quote of a register that no TPM has"));
    }
    let digest = from.sized(64)?.to_vec();
    Ok(Body::Quote { registers, digest })
}

fn certify(from: &mut Reader<'_>) -> Result<Body, FormError> {
    let name = from.sized(MAX_NAME)?.to_vec();
    let _qualified = from.sized(MAX_NAME)?;
    Ok(Body::Certify { name })
}

/// Why a statement does not vouch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Malformed(#[from] FormError),
    /// The attestation key did not sign it.
    #[error("it is not signed by this gateway's attestation key")]
    OtherKey,
    /// It answers another question.
    #[error("it answers another challenge, or covers another token")]
    OtherExtra,
    /// It is of another kind.
    #[error("it states something else")]
    OtherKind,
    /// The registers beside it are not those that it covers.
    #[error("the registers sent with it are not those that it covers")]
    OtherRegisters,
    /// It certifies another object.
    #[error("it certifies another key")]
    OtherObject,
}

/// Reads a statement that `key` signed over `extra`, as all that a TPM is believed must be.
pub fn signed_by(
    key: &AttestationKey,
    statement: &[u8],
    signature: &[u8],
    extra: &[u8; 32],
) -> Result<Statement, StatementError> {
    let signature = Ecdsa::parse(signature)?;
    let parsed = Statement::parse(statement)?;
    if !signature.is_of(&key.point()?, statement) {
        return Err(StatementError::OtherKey);
    }
    if parsed.extra != extra {
        return Err(StatementError::OtherExtra);
    }
    Ok(parsed)
}
