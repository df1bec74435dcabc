//! Shell: what this box's TPM says of this boot.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: the firmware's log is a file, and the TPM a thread"
)]

use std::fs::File;
use std::io::Read as _;

use homeward_protocol::attest::{Held, Nonce};
use homeward_protocol::evidence::bundle::{MAX_TAIL, Register, Tail, TpmPart};
use homeward_protocol::postures::TpmClock;
use homeward_protocol::tpm::statement::Statement;
use homeward_protocol::wire::Bytes;

use super::Quoting;
use crate::tpm::thread::Tpm;

/// The registers that are quoted: firmware and its settings (0 to 7), what the loader measured (8, 9, 11), the owner's
/// keys of the loader (14). Not 10: the kernel's log grows between reading and quoting.
const REGISTERS: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14];
/// The TPM's number of SHA-256.
const SHA256: u16 = 0x000b;
/// Where the kernel shows the firmware's log. Debian lets only root read it: then it is left out, and said to be.
const LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";
/// Longest log that is counted, bytes: ten times the longest seen.
const MOST_LOG: u64 = 1 << 20;

/// A TPM and the attestation key of this enrolment.
pub struct Quoter {
    tpm: Tpm,
    unique: [u8; 32],
}

impl Quoter {
    /// By the attestation key that `unique` makes in this TPM.
    pub fn new(tpm: Tpm, unique: [u8; 32]) -> Quoter {
        Quoter { tpm, unique }
    }
}

impl Quoting for Quoter {
    fn quote(&self, binding: [u8; 32], _boot: Nonce, _held: Option<&Held>) -> Result<TpmPart, String> {
        let unique = self.unique;
        let quoted = self
            .tpm
            .wait(move |chip| chip.quote(&unique, &binding, &REGISTERS));
        let (stated, registers) = quoted.map_err(|e| e.to_string())?;
        let register = |(index, value): (u8, [u8; 32])| Register {
            bank: SHA256,
            index,
            value: Bytes(value.to_vec()),
        };
        Ok(TpmPart {
            attest: Bytes(stated.statement),
            signature: Bytes(stated.signature),
            registers: registers.into_iter().map(register).collect(),
            log: log(),
            ima: None,
        })
    }

    fn clock(&self) -> Result<TpmClock, String> {
        let unique = self.unique;
        // No challenge has this number: such a quote answers none.
        let quoted = self
            .tpm
            .wait(move |chip| chip.quote(&unique, &[0; 32], &REGISTERS[..1]));
        let (stated, _) = quoted.map_err(|e| e.to_string())?;
        let clock = Statement::parse(&stated.statement)
            .map_err(|e| e.to_string())?
            .clock;
        Ok(TpmClock {
            clock_ms: clock.clock_ms,
            resets: clock.reset_count,
            restarts: clock.restart_count,
            safe: clock.safe,
        })
    }
}

/// The firmware's log from its beginning, as much as travels at once.
fn log() -> Option<Tail> {
    let mut bytes = Vec::new();
    File::open(LOG)
        .ok()?
        .take(MOST_LOG)
        .read_to_end(&mut bytes)
        .ok()?;
    let whole = u32::try_from(bytes.len()).ok()?;
    bytes.truncate(MAX_TAIL);
    Some(Tail {
        from: 0,
        whole,
        bytes: Bytes(bytes),
    })
}
