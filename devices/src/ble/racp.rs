//! Record Access Control Point (2A52): asking a device for the measurements it stored.
//!
//! # Design
//! Deleting has no command here: a meter is its patient's own memory. An answer that says "done" is the only end of
//! a transfer; a link lost before it means to ask again.

use super::bytes::Bytes;
use super::field::Field;
use super::{Characteristic, DecodeError};

/// What a device is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Send these records.
    Send(Which),
    /// Say how many of these there are.
    Count(Which),
    /// Stop sending.
    Abort,
}

/// Which records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// All.
    All,
    /// The oldest.
    First,
    /// The newest.
    Last,
    /// From this sequence number (CGM: minute of the session) on.
    From(u16),
    /// From the first to the second number, both included.
    Between(u16, u16),
}

/// What a device answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// There are so many.
    Count(u16),
    /// The end of a procedure.
    Done {
        /// The operation that was asked for, as the device says.
        request: u8,
        /// How it ended.
        code: Code,
    },
    /// Not an answer: a command, as a device would get it.
    Command {
        /// The operation.
        operation: u8,
        /// The operator.
        operator: u8,
    },
}

/// How a procedure ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// 1: all of it was done.
    Success,
    /// 2: the device does not know the operation.
    OperationUnsupported,
    /// 3: the operator does not fit the operation.
    OperatorInvalid,
    /// 4: the device does not know the operator: ask for all.
    OperatorUnsupported,
    /// 5: the operand does not fit.
    OperandInvalid,
    /// 6: no such record.
    NoRecords,
    /// 7: could not stop.
    AbortFailed,
    /// 8: was not completed.
    NotCompleted,
    /// 9: the device does not know the operand: ask for all.
    OperandUnsupported,
    /// 10: busy.
    Busy,
    /// Any other number.
    Other(u8),
}

const SEND: u8 = 1;
const ABORT: u8 = 3;
const COUNT: u8 = 4;
const COUNTED: u8 = 5;
const ANSWER: u8 = 6;
const BY_SEQUENCE: u8 = 1;

impl Command {
    /// The octets to write.
    pub fn encode(self) -> Vec<u8> {
        let (operation, which) = match self {
            Command::Abort => return vec![ABORT, 0],
            Command::Send(which) => (SEND, which),
            Command::Count(which) => (COUNT, which),
        };
        let mut octets = vec![operation, which.operator()];
        match which {
            Which::All | Which::First | Which::Last => {}
            Which::From(first) => {
                octets.push(BY_SEQUENCE);
                octets.extend(first.to_le_bytes());
            }
            Which::Between(first, last) => {
                octets.push(BY_SEQUENCE);
                octets.extend(first.to_le_bytes());
                octets.extend(last.to_le_bytes());
            }
        }
        octets
    }
}

impl Which {
    const fn operator(self) -> u8 {
        match self {
            Which::All => 1,
            Which::From(_) => 3,
            Which::Between(..) => 4,
            Which::First => 5,
            Which::Last => 6,
        }
    }
}

impl Answer {
    /// The `request` of a [`Answer::Done`] that ends a [`Command::Send`].
    pub const SENT: u8 = SEND;

    /// Reads an indication of 2A52. Fails when it is too short for what it says it is.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        Answer::read(&mut Bytes::new(value))
    }
}

impl Code {
    const fn of(number: u8) -> Self {
        match number {
            1 => Code::Success,
            2 => Code::OperationUnsupported,
            3 => Code::OperatorInvalid,
            4 => Code::OperatorUnsupported,
            5 => Code::OperandInvalid,
            6 => Code::NoRecords,
            7 => Code::AbortFailed,
            8 => Code::NotCompleted,
            9 => Code::OperandUnsupported,
            10 => Code::Busy,
            other => Code::Other(other),
        }
    }

    /// The number in the answer.
    pub const fn number(self) -> u8 {
        match self {
            Code::Success => 1,
            Code::OperationUnsupported => 2,
            Code::OperatorInvalid => 3,
            Code::OperatorUnsupported => 4,
            Code::OperandInvalid => 5,
            Code::NoRecords => 6,
            Code::AbortFailed => 7,
            Code::NotCompleted => 8,
            Code::OperandUnsupported => 9,
            Code::Busy => 10,
            Code::Other(number) => number,
        }
    }

    /// In plain words.
    pub const fn name(self) -> &'static str {
        match self {
            Code::Success => "done",
            Code::OperationUnsupported => "it does not know the operation",
            Code::OperatorInvalid => "the operator does not fit the operation",
            Code::OperatorUnsupported => "it does not know the operator",
            Code::OperandInvalid => "the operand does not fit",
            Code::NoRecords => "it has no such record",
            Code::AbortFailed => "it could not stop",
            Code::NotCompleted => "it did not complete",
            Code::OperandUnsupported => "it does not know the operand",
            Code::Busy => "it is busy",
            Code::Other(_) => "a code of its own",
        }
    }

    /// Whether the device may still send everything when it is asked without a filter.
    pub const fn wants_all(self) -> bool {
        matches!(self, Code::OperatorUnsupported | Code::OperandUnsupported)
    }
}

impl Characteristic for Answer {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let operation = bytes.u8("operation")?;
        let operator = bytes.u8("operator")?;
        let answers = matches!(operation, COUNTED | ANSWER);
        bytes.note_reserved(u32::from(answers && operator != 0));
        Ok(match operation {
            COUNTED => Answer::Count(bytes.u16("count")?),
            ANSWER => Answer::Done {
                request: bytes.u8("request")?,
                code: Code::of(bytes.u8("code")?),
            },
            _ => {
                bytes.take_rest();
                Answer::Command { operation, operator }
            }
        })
    }

    fn fields(&self) -> Vec<Field> {
        match *self {
            Answer::Count(count) => vec![Field::count("records", count)],
            Answer::Done { request, code } => {
                let said = match code {
                    Code::Other(number) => format!("{} ({number})", code.name()),
                    known => known.name().to_owned(),
                };
                vec![Field::count("request", request), Field::text("answer", said)]
            }
            Answer::Command { operation, operator } => vec![
                Field::count("operation", operation),
                Field::count("operator", operator),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_the_octets_of_the_service() {
        for (command, octets) in [
            (Command::Send(Which::All), &[1, 1][..]),
            (Command::Send(Which::First), &[1, 5]),
            (Command::Send(Which::Last), &[1, 6]),
            (Command::Send(Which::From(0x0203)), &[1, 3, 1, 3, 2]),
            (Command::Send(Which::Between(1, 2)), &[1, 4, 1, 1, 0, 2, 0]),
            (Command::Count(Which::All), &[4, 1]),
            (Command::Abort, &[3, 0]),
        ] {
            assert_eq!(command.encode(), octets, "{command:?}");
        }
    }

    #[test]
    fn answers_are_told_from_each_other() {
        let done = |request, code| Ok(Answer::Done { request, code });
        assert_eq!(Answer::decode(&[6, 0, 1, 1]), done(1, Code::Success));
        assert_eq!(Answer::decode(&[6, 0, 1, 6]), done(1, Code::NoRecords));
        assert_eq!(Answer::decode(&[6, 0, 12, 77]), done(12, Code::Other(77)));
        assert_eq!(Answer::decode(&[5, 0, 3, 0]), Ok(Answer::Count(3)));
        for short in [&[][..], &[6], &[6, 0], &[6, 0, 1], &[5, 0, 1]] {
            assert!(Answer::decode(short).is_err(), "{short:?}");
        }
    }

    #[test]
    fn only_a_filter_that_is_not_known_makes_us_ask_for_all() {
        let all = (0..=255).map(Code::of).filter(|code| code.wants_all());
        assert_eq!(all.count(), 2);
        assert!((0..=255).all(|number| Code::of(number).number() == number));
    }
}
