//! The box's TPM 2.0: what is asked of it, and what its answers mean.
//!
//! Decides only: commands as bytes, responses as values. [`device`] carries bytes, [`chip`] does whole operations,
//! [`thread`] owns the chip for the life of the program.
//!
//! # Design
//! - Pure Rust over the kernel's device: a box without a TPM, or without libtss2, runs the same program.
//! - Keys are made from templates and live in the chip; on the disk lies only what the chip has wrapped for itself.
//!   A copied disk holds nothing that another chip would open.
//! - Nobody waits for the chip on the async runtime: it signs in tens of milliseconds, and more when it is busy.
//!
//! Source: TCG TPM 2.0 Library, part 3 (commands) and part 1, section 19 (sessions).

pub mod chip;
pub mod command;
pub mod device;
pub mod thread;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use homeward_protocol::tpm::FormError;

/// Where a TPM is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The kernel's device, with its resource manager: `device:/dev/tpmrm0`.
    Device(PathBuf),
    /// A simulator's TCP port: `swtpm:HOST:PORT`. For tests and simulators: nothing protects the connection.
    Tcp(String),
    /// A simulator's socket: `swtpm:/PATH`. For tests and simulators.
    Unix(PathBuf),
}

/// A text is no address of a TPM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no TPM: write device:/dev/tpmrm0, or swtpm:HOST:PORT or swtpm:/PATH for a simulator")]
pub struct AddressError(String);

impl Address {
    /// The usual one.
    pub fn usual() -> Address {
        Address::Device(PathBuf::from("/dev/tpmrm0"))
    }
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Address, AddressError> {
        match text.split_once(':') {
            Some(("device", path)) if path.starts_with('/') => Ok(Address::Device(path.into())),
            Some(("swtpm", path)) if path.starts_with('/') => Ok(Address::Unix(path.into())),
            Some(("swtpm", place)) if place.contains(':') => Ok(Address::Tcp(place.to_owned())),
            _ => Err(AddressError(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Device(path) => write!(f, "device:{}", path.display()),
            Address::Tcp(place) => write!(f, "swtpm:{place}"),
            Address::Unix(path) => write!(f, "swtpm:{}", path.display()),
        }
    }
}

/// What the chip answered instead of doing it (`TPM_RC`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u32);

impl Code {
    /// Whether the same command is to be sent again: yielded, testing, retry.
    pub const fn is_again(self) -> bool {
        matches!(self.0, 0x908 | 0x90a | 0x922)
    }

    /// Whether a wrapped key or sealed data is not this chip's: its integrity does not hold here.
    pub const fn is_foreign(self) -> bool {
        matches!(self.number(), Some(0x1f))
    }

    /// Whether all places for keys are taken.
    pub const fn is_full(self) -> bool {
        self.0 == 0x902
    }

    /// Whether there is nothing at a handle or index.
    pub const fn is_absent(self) -> bool {
        matches!(self.number(), Some(0x0b)) || matches!(self.0, 0x910..=0x916)
    }

    /// Whether the chip's owner has set a password, or locked it for wrong ones.
    pub const fn is_locked(self) -> bool {
        matches!(self.number(), Some(0x22 | 0x0e)) || self.0 == 0x921
    }

    /// The number of a format-one error, without what it is about.
    const fn number(self) -> Option<u32> {
        if self.0 & 0x80 == 0 {
            None
        } else {
            Some(self.0 & 0x3f)
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#05x}", self.0)
    }
}

/// Why the TPM did not do something.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// It cannot be reached.
    #[error("the TPM at {at} cannot be reached")]
    Unreachable {
        /// Where.
        at: Address,
        /// What the system said.
        source: std::io::Error,
    },
    /// It refused a command.
    #[error("the TPM refused {command}: {code}{}", hint(*.code))]
    Refused {
        /// Which.
        command: &'static str,
        /// How.
        code: Code,
    },
    /// It kept saying "again".
    #[error("the TPM is too busy for {0}")]
    Busy(&'static str),
    /// Its answer cannot be read.
    #[error("the TPM's answer to {command} cannot be read")]
    Answer {
        /// To what.
        command: &'static str,
        /// Why.
        source: FormError,
    },
    /// It has nothing of the kind.
    #[error("the TPM has no {0}")]
    Nothing(&'static str),
    /// Its thread is over, or did not answer in time.
    #[error("the TPM does not answer")]
    Silent,
}

impl TpmError {
    /// Whether a key or sealed data is another chip's.
    pub fn is_foreign(&self) -> bool {
        matches!(self, TpmError::Refused { code, .. } if code.is_foreign())
    }
}

fn hint(code: Code) -> &'static str {
    if code.is_foreign() {
        " (this key or data was made by another TPM, or was changed)"
    } else if code.is_locked() {
        " (a password is set in it, or it locked itself after wrong ones)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_and_wrong_ones_say_what_to_write() {
        for text in [
            "device:/dev/tpmrm0",
            "swtpm:localhost:2321",
            "swtpm:/run/tpm.sock",
        ] {
            assert_eq!(
                text.parse::<Address>().map(|a| a.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in ["", "/dev/tpm0", "device:tpm", "swtpm:localhost", "tcp:a:1"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn codes_mean_what_the_specification_says() {
        for again in [0x908, 0x90a, 0x922] {
            assert!(Code(again).is_again());
        }
        // Integrity of the first parameter; value of the first handle; authorisation failed; lockout.
        assert!(Code(0x1df).is_foreign());
        assert!(Code(0x18b).is_absent() && Code(0x910).is_absent());
        assert!(Code(0x9a2).is_locked() && Code(0x98e).is_locked() && Code(0x921).is_locked());
        assert!(!Code(0x101).is_foreign() && !Code(0x922).is_locked());
    }
}
