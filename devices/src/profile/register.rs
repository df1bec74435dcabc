//! One register of a profile: where it is, how its value lies there, and what the value says.

use homeward_protocol::reading::{Kind, State};
use homeward_protocol::unit::Decimal;
use serde::Deserialize;

use crate::unit::{Conversion, DeviceUnit};

/// A read function of Modbus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "u8")]
pub enum Function {
    /// 1, read coils.
    Coils,
    /// 2, read discrete inputs.
    DiscreteInputs,
    /// 3, read holding registers.
    HoldingRegisters,
    /// 4, read input registers.
    InputRegisters,
}

impl Function {
    /// The number in the frame.
    pub const fn code(self) -> u8 {
        match self {
            Function::Coils => 1,
            Function::DiscreteInputs => 2,
            Function::HoldingRegisters => 3,
            Function::InputRegisters => 4,
        }
    }

    /// Whether it reads single bits.
    pub const fn reads_bits(self) -> bool {
        matches!(self, Function::Coils | Function::DiscreteInputs)
    }
}

impl TryFrom<u8> for Function {
    type Error = String;
    fn try_from(code: u8) -> Result<Self, String> {
        match code {
            1 => Ok(Function::Coils),
            2 => Ok(Function::DiscreteInputs),
            3 => Ok(Function::HoldingRegisters),
            4 => Ok(Function::InputRegisters),
            other => Err(format!("function {other} does not read: 1 to 4 do")),
        }
    }
}

/// Which word of a pair comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WordOrder {
    /// The high word, as the Modbus specification shows it.
    #[default]
    HighFirst,
    /// The low word.
    LowFirst,
}

/// How a value lies in its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One bit.
    Coil,
    /// One word, a code.
    Enum,
    /// One word.
    U16,
    /// One word, two's complement.
    I16,
    /// Two words.
    U32(WordOrder),
    /// Two words, two's complement.
    I32(WordOrder),
    /// Two words, IEEE 754 single.
    F32(WordOrder),
}

impl Format {
    /// How many words (or bits) it takes.
    pub const fn words(self) -> u16 {
        match self {
            Format::Coil | Format::Enum | Format::U16 | Format::I16 => 1,
            Format::U32(_) | Format::I32(_) | Format::F32(_) => 2,
        }
    }

    /// The smallest and the largest whole number it can hold; none for a float.
    pub const fn bounds(self) -> Option<(i64, i64)> {
        match self {
            Format::Coil => Some((0, 1)),
            Format::Enum | Format::U16 => Some((0, u16::MAX as i64)),
            Format::I16 => Some((i16::MIN as i64, i16::MAX as i64)),
            Format::U32(_) => Some((0, u32::MAX as i64)),
            Format::I32(_) => Some((i32::MIN as i64, i32::MAX as i64)),
            Format::F32(_) => None,
        }
    }
}

/// How a raw number becomes one in the unit of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// What is measured.
    pub kind: Kind,
    /// Multiplies the raw number.
    pub scale: Decimal,
    /// The unit after scaling, as the device has it.
    pub unit: DeviceUnit,
    /// The way to the unit of the kind.
    pub conversion: Conversion,
    /// The power of ten that the result is rounded to: the scale's own where nothing is converted.
    pub resolution: i8,
    /// Lowest and highest value that makes sense, in the unit of the kind.
    pub range: Option<(Decimal, Decimal)>,
}

/// What a register's value says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A number.
    Number(Number),
    /// A state by its code.
    State {
        /// What has that state.
        kind: Kind,
        /// Every code the manual names.
        codes: Vec<(i64, State)>,
    },
}

impl Meaning {
    /// What is measured.
    pub const fn kind(&self) -> Kind {
        match self {
            Meaning::Number(number) => number.kind,
            Meaning::State { kind, .. } => *kind,
        }
    }
}

/// One register, or the pair of registers that holds one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// Its name in the manual, in `snake_case`.
    pub name: String,
    /// The read function.
    pub function: Function,
    /// The number in the frame.
    pub address: u16,
    /// How the value lies in its words.
    pub format: Format,
    /// What it says; none for a register that is read for its alarm or as a fingerprint only.
    pub meaning: Option<Meaning>,
    /// Raw values that mean "no value" or "not fitted".
    pub absent: Vec<i64>,
    /// Raw values that may mean "not fitted", or be a value.
    pub doubtful: Vec<i64>,
    /// Raw values by which the device reports an alarm or a fault.
    pub alarm: Vec<i64>,
    /// The raw value that this model always has here.
    pub expect: Option<i64>,
}

impl Register {
    /// One past its last word.
    pub const fn end(&self) -> u32 {
        self.address as u32 + self.format.words() as u32
    }
}
