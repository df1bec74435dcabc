//! What the TPM's part of a bundle proves, by the attestation key that the gateway's enrolment proved.

use homeward_protocol::attest::Nonce;
use homeward_protocol::evidence::Evidence;
use homeward_protocol::evidence::bundle::TpmPart;
use homeward_protocol::tpm::quote::{self, Registers};
use homeward_protocol::tpm::statement::StatementError;

use super::baseline::LEARNED;
use super::logs::Logs;
use super::{Chip, Ima, Log, Quote, TpmFacts};
use crate::enrol::chip::Chip as Enrolled;

/// The TPM's number of SHA-256.
const SHA256: u16 = 0x000b;

/// Checks it. Registers of other banks are not looked at; those that are learned have to be there. `before` is what is
/// held of its logs; what is held now comes back when the quote holds.
pub fn facts(
    part: &TpmPart,
    evidence: &Evidence,
    enrolled: &Enrolled,
    before: Option<&Logs>,
) -> (TpmFacts, Option<Logs>) {
    let registers = registers(part);
    let quote = quote(part, evidence, enrolled, &registers);
    let boot = Nonce(evidence.boot_seed);
    let taken = (quote == Quote::Holds).then(|| Logs::take(before, boot, part, &registers));
    let (log, ima, logs) = match taken {
        Some((log, ima, logs)) => (log, ima, Some(logs)),
        None => (Log::None, Ima::None, None),
    };
    let chip = if enrolled.vouched {
        Chip::Known
    } else {
        Chip::Nobodys
    };
    let facts = TpmFacts {
        chip,
        quote,
        registers,
        log,
        ima,
    };
    (facts, logs)
}

fn registers(part: &TpmPart) -> Registers {
    let of_bank = part.registers.iter().filter(|register| register.bank == SHA256);
    let value = |index: u8, bytes: &[u8]| Some((index, bytes.try_into().ok()?));
    of_bank
        .filter_map(|register| value(register.index, &register.value.0))
        .collect()
}

fn quote(part: &TpmPart, evidence: &Evidence, enrolled: &Enrolled, registers: &Registers) -> Quote {
    let Ok(binding) = evidence.binding() else {
        return Quote::Malformed;
    };
    let checked = quote::check(
        &enrolled.attestation,
        &part.attest.0,
        &part.signature.0,
        &binding,
        registers,
    );
    match checked {
        Ok(quoted) if LEARNED.iter().all(|index| quoted.registers().contains_key(index)) => Quote::Holds,
        Ok(_) | Err(StatementError::OtherRegisters) => Quote::OtherRegisters,
        Err(StatementError::OtherKey) => Quote::OtherKey,
        Err(StatementError::OtherExtra) => Quote::OtherNonce,
        Err(StatementError::Malformed(_) | StatementError::OtherKind | StatementError::OtherObject) => {
            Quote::Malformed
        }
    }
}
