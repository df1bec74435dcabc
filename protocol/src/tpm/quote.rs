//! Quotes: registers that a TPM vouches for, over a number that was asked.

use std::collections::BTreeMap;

use ring::digest;

use super::public::AttestationKey;
use super::statement::{Body, Clock, StatementError, signed_by};

/// Registers of the SHA-256 bank, by number.
pub type Registers = BTreeMap<u8, [u8; 32]>;

/// What a quote proved: [`check`] is its only maker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted {
    registers: Registers,
    clock: Clock,
    firmware: u64,
}

impl Quoted {
    /// The registers that it covers, with their values.
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// The TPM's time when it was made.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The TPM's firmware version, as its maker numbers it.
    pub fn firmware(&self) -> u64 {
        self.firmware
    }
}

/// What a quote has to cover for a challenge: the challenge's number and the token beside it.
pub fn extra(nonce: &[u8; 32], token_payload: &[u8]) -> [u8; 32] {
    let token = digest::digest(&digest::SHA256, token_payload);
    let mut ctx = digest::Context::new(&digest::SHA256);
    ctx.update(nonce);
    ctx.update(token.as_ref());
    let mut out = [0; 32];
    out.copy_from_slice(ctx.finish().as_ref());
    out
}

/// The hash that a quote of exactly these registers holds.
pub fn digest_of(registers: &Registers) -> [u8; 32] {
    let mut ctx = digest::Context::new(&digest::SHA256);
    for value in registers.values() {
        ctx.update(value);
    }
    let mut out = [0; 32];
    out.copy_from_slice(ctx.finish().as_ref());
    out
}

/// Checks a quote (`TPMS_ATTEST` and `TPMT_SIGNATURE` as the TPM made them) by `key` over `extra`, with the values of
/// the registers that were sent beside it: exactly those that it covers. Never panics.
///
/// What is wrong is found in this order: form, key, challenge, registers.
pub fn check(
    key: &AttestationKey,
    statement: &[u8],
    signature: &[u8],
    extra: &[u8; 32],
    registers: &Registers,
) -> Result<Quoted, StatementError> {
    let statement = signed_by(key, statement, signature, extra)?;
    let Body::Quote {
        registers: numbers,
        digest,
    } = statement.body
    else {
        return Err(StatementError::OtherKind);
    };
    if !registers.keys().eq(numbers.iter()) || digest != digest_of(registers) {
        return Err(StatementError::OtherRegisters);
    }
    Ok(Quoted {
        registers: registers.clone(),
        clock: statement.clock,
        firmware: statement.firmware,
    })
}
