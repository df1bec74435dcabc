//! What the TPM's part of a bundle proves, by the attestation key that the gateway's enrolment proved.

use std::collections::BTreeMap;

use homeward_protocol::event_log::{Bank, EventLog};
use homeward_protocol::evidence::Evidence;
use homeward_protocol::evidence::bundle::{Tail, TpmPart};
use homeward_protocol::tpm::quote::{self, Registers};
use homeward_protocol::tpm::statement::StatementError;

use super::baseline::LEARNED;
use super::{Chip, Log, Quote, TpmFacts};
use crate::enrol::chip::Chip as Enrolled;

/// The TPM's number of SHA-256.
const SHA256: u16 = 0x000b;

/// Checks it. Registers of other banks are not looked at; those that are learned have to be there.
pub fn facts(part: &TpmPart, evidence: &Evidence, enrolled: &Enrolled) -> TpmFacts {
    let registers = registers(part);
    let quote = quote(part, evidence, enrolled, &registers);
    TpmFacts {
        chip: if enrolled.vouched {
            Chip::Known
        } else {
            Chip::Nobodys
        },
        quote,
        log: if quote == Quote::Holds {
            part.log
                .as_ref()
                .map_or(Log::None, |log| replayed(log, &registers))
        } else {
            Log::None
        },
        registers,
    }
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

/// Whether the firmware's log gives the registers that it touches and that were quoted. A part of a log cannot say.
fn replayed(log: &Tail, registers: &Registers) -> Log {
    let whole = usize::try_from(log.whole).is_ok_and(|whole| whole == log.bytes.0.len());
    if log.from != 0 || !whole {
        return Log::Incomplete;
    }
    let Some(replay) = EventLog::parse(&log.bytes.0)
        .ok()
        .and_then(|log| log.replay(Bank(SHA256)))
    else {
        return Log::Differs;
    };
    let replay: BTreeMap<u8, Vec<u8>> = replay
        .into_iter()
        .filter_map(|(index, value)| Some((u8::try_from(index).ok()?, value)))
        .collect();
    let firmware = |index: &u8| *index <= 7;
    let fits = |(index, value): (&u8, &[u8; 32])| {
        replay
            .get(index)
            .map_or(*value == [0; 32], |replayed| replayed == value)
    };
    if registers.iter().filter(|(index, _)| firmware(index)).all(fits) {
        Log::Replays
    } else {
        Log::Differs
    }
}
