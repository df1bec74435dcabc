//! Shell: what this box's TPM says of this boot.
use homeward_protocol::attest::{Held, Nonce};
use homeward_protocol::evidence::bundle::{Register, TpmPart};
use homeward_protocol::ima;
use homeward_protocol::postures::TpmClock;
use homeward_protocol::tpm::statement::Statement;
use homeward_protocol::wire::Bytes;

use super::Quoting;
use super::logs::Places;
use crate::tpm::thread::Tpm;

/// The registers that are quoted: firmware and its settings (0 to 7), what the loader measured (8, 9, 11), the owner's
/// keys of the loader (14); where the kernel measures what it runs, that one too.
const REGISTERS: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14];
/// The TPM's number of SHA-256.
const SHA256: u16 = 0x000b;
/// A TPM and the attestation key of this enrolment.
pub struct Quoter {
    tpm: Tpm,
    unique: [u8; 32],
    logs: Places,
}

impl Quoter {
    /// By the attestation key that `unique` makes in this TPM, with the logs of this machine.
    pub fn new(tpm: Tpm, unique: [u8; 32]) -> Quoter {
        Quoter::beside(tpm, unique, Places::default())
    }

    /// The same with logs elsewhere.
    pub fn beside(tpm: Tpm, unique: [u8; 32], logs: Places) -> Quoter {
        Quoter { tpm, unique, logs }
    }
}

impl Quoting for Quoter {
    fn quote(&self, binding: [u8; 32], boot: Nonce, held: Option<&Held>) -> Result<TpmPart, String> {
        let unique = self.unique;
        let kernel = self.logs.kernel_measures();
        let wanted: Vec<u8> = REGISTERS
            .into_iter()
            .chain(kernel.then_some(ima::REGISTER))
            .collect();
        let quoted = self.tpm.wait(move |chip| chip.quote(&unique, &binding, &wanted));
        let (stated, registers) = quoted.map_err(|e| e.to_string())?;
        // After the quote: what it covers is in the logs by now.
        let held = held.filter(|held| held.boot == boot);
        let (bytes, entries) = held.map_or((0, 0), |held| (held.log_bytes, held.ima_entries));
        let (log, ima) = self.logs.since(bytes, entries, kernel);
        let register = |(index, value): (u8, [u8; 32])| Register {
            bank: SHA256,
            index,
            value: Bytes(value.to_vec()),
        };
        Ok(TpmPart {
            attest: Bytes(stated.statement),
            signature: Bytes(stated.signature),
            registers: registers.into_iter().map(register).collect(),
            log,
            ima,
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
