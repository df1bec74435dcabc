//! The ports to devices: registers ([`Registers`]), and Bluetooth sensors ([`ble`]); and what can go wrong on the way.

pub mod ble;

use std::future::Future;
use std::io;
use std::time::Duration;

use crate::modbus::{Answer, Ask, Request};

/// A line to devices that have registers. One question at a time; after an error the next question starts on a
/// clean line.
pub trait Registers: Send {
    /// Puts one question to `unit`.
    ///
    /// Comes back within the time limit that the line was made with, and only with an answer that fits the
    /// question: as many words as were asked for, the echo of the very write.
    fn call(&mut self, unit: u8, ask: Ask) -> impl Future<Output = Result<Answer, LinkError>> + Send;

    /// Asks `unit` for the registers of `request`.
    ///
    /// Comes back with exactly `request.count` words (a coil or an input is 0 or 1), within the time limit that
    /// the line was made with.
    fn read(
        &mut self,
        unit: u8,
        request: Request,
    ) -> impl Future<Output = Result<Vec<u16>, LinkError>> + Send;
}

/// Why registers could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no way to the device.
    #[error("could not reach {address}: is it switched on, and is the address right?")]
    Unreachable {
        /// The endpoint or the port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// No answer came in time. What is on the way belongs to nobody: the line was dropped.
    #[error("no answer within {} ms", .after.as_millis())]
    TimeLimit {
        /// How long was waited.
        after: Duration,
    },
    /// The line broke while the question was open.
    #[error("the line broke")]
    Broken {
        /// What the system said.
        source: io::Error,
    },
    /// The device refused by a Modbus exception.
    #[error("the device refused: exception {code} ({})", exception(*.code))]
    Exception {
        /// The exception code of the Modbus application protocol, section 7.
        code: u8,
    },
    /// The answer has another number of registers than was asked for.
    #[error("the answer holds {got} registers, {asked} were asked for")]
    Count {
        /// How many were asked for.
        asked: u16,
        /// How many came.
        got: usize,
    },
    /// The answer belongs to another question.
    #[error("an answer to another question came")]
    Mismatch,
    /// There is no trusted way to the device: the TLS handshake failed.
    #[error("{address} is not trusted, or does not trust us: do the certificates fit?")]
    Untrusted {
        /// The endpoint.
        address: String,
        /// What the TLS library said.
        source: io::Error,
    },
    /// The device took a write and holds another value.
    #[error("the device confirmed a write and holds another value")]
    NotTaken,
    /// Others use the line; nothing was asked.
    #[error("the line is busy")]
    Busy,
}

impl LinkError {
    /// Whether the device itself answered: it lives, though it gave nothing.
    pub const fn answered(&self) -> bool {
        matches!(self, LinkError::Exception { .. } | LinkError::NotTaken)
    }

    /// Whether the line must be dropped before the next question.
    pub const fn spoils_the_line(&self) -> bool {
        !self.answered() && !matches!(self, LinkError::Busy)
    }
}

/// What a Modbus exception code means. Source: Modbus application protocol 1.1b3, section 7.
const fn exception(code: u8) -> &'static str {
    match code {
        1 => "it does not know this function",
        2 => "it has no such register: does the profile fit this model?",
        3 => "it does not allow this range of registers",
        4 => "it failed",
        5 => "it needs more time",
        6 => "it is busy",
        8 => "its memory is damaged",
        10 => "the Modbus gateway has no way to it",
        11 => "the Modbus gateway got no answer from it",
        _ => "a code of its own",
    }
}
