//! What is written to a device: the four functions of Modbus that set coils and holding registers.
//!
//! The agent itself never writes. A write comes from another master, through the guard, and only where a profile
//! and the guard's rules allow it.

use crate::modbus::Request;
use crate::profile::Function;

/// One write, with the function that it travels by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Function 5: one coil.
    Coil {
        /// The number in the frame.
        address: u16,
        /// On or off.
        on: bool,
    },
    /// Function 6: one holding register.
    Register {
        /// The number in the frame.
        address: u16,
        /// The word.
        value: u16,
    },
    /// Function 15: neighbouring coils, 1 to 1968.
    Coils {
        /// The number in the frame of the first.
        address: u16,
        /// On or off, each.
        on: Vec<bool>,
    },
    /// Function 16: neighbouring holding registers, 1 to 123.
    Registers {
        /// The number in the frame of the first.
        address: u16,
        /// The words.
        values: Vec<u16>,
    },
}

impl Write {
    /// The number of the function in the frame.
    pub const fn function(&self) -> u8 {
        match self {
            Write::Coil { .. } => 5,
            Write::Register { .. } => 6,
            Write::Coils { .. } => 15,
            Write::Registers { .. } => 16,
        }
    }

    /// The number in the frame of the first coil or register.
    pub const fn address(&self) -> u16 {
        match self {
            Write::Coil { address, .. }
            | Write::Register { address, .. }
            | Write::Coils { address, .. }
            | Write::Registers { address, .. } => *address,
        }
    }

    /// How many coils or registers.
    pub fn count(&self) -> u16 {
        let count = match self {
            Write::Coil { .. } | Write::Register { .. } => 1,
            Write::Coils { on, .. } => on.len(),
            Write::Registers { values, .. } => values.len(),
        };
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// The question that shows whether the write was taken.
    pub fn read_back(&self) -> Request {
        let function = match self {
            Write::Coil { .. } | Write::Coils { .. } => Function::Coils,
            Write::Register { .. } | Write::Registers { .. } => Function::HoldingRegisters,
        };
        Request {
            function,
            address: self.address(),
            count: self.count(),
        }
    }

    /// What [`Write::read_back`] brings when the write was taken.
    pub fn words(&self) -> Vec<u16> {
        match self {
            Write::Coil { on, .. } => vec![u16::from(*on)],
            Write::Register { value, .. } => vec![*value],
            Write::Coils { on, .. } => on.iter().map(|on| u16::from(*on)).collect(),
            Write::Registers { values, .. } => values.clone(),
        }
    }
}
