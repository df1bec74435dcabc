//! The octets of one value, taken from the front, little-endian as GATT sends them.

use super::DecodeError;
use super::date_time::DateTime;
use super::number::Number;

/// What is left of a value, and whether something in it was not understood.
#[derive(Debug)]
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
    reserved: bool,
}

impl<'a> Bytes<'a> {
    pub(super) const fn new(value: &'a [u8]) -> Self {
        Bytes {
            rest: value,
            reserved: false,
        }
    }

    /// The octets nobody took.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// All octets that are left.
    pub(super) const fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// Notes that bits are set which the definition keeps for later; `bits` holds those only.
    pub(super) const fn note_reserved(&mut self, bits: u32) {
        self.reserved = self.reserved || bits != 0;
    }

    /// Whether such bits were set.
    pub(super) const fn reserved(&self) -> bool {
        self.reserved
    }

    /// The next `N` octets; `field` names them in the error.
    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Short {
            field,
            missing: N - self.rest.len().min(N),
        })?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[octet]| octet)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(super) fn i16(&mut self, field: &'static str) -> Result<i16, DecodeError> {
        self.array(field).map(i16::from_le_bytes)
    }

    pub(super) fn u24(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field)
            .map(|[low, middle, high]| u32::from_le_bytes([low, middle, high, 0]))
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn sfloat(&mut self, field: &'static str) -> Result<Number, DecodeError> {
        self.u16(field).map(Number::from_sfloat)
    }

    pub(super) fn float(&mut self, field: &'static str) -> Result<Number, DecodeError> {
        self.array(field)
            .map(|octets| Number::from_float(u32::from_le_bytes(octets)))
    }

    pub(super) fn date_time(&mut self, field: &'static str) -> Result<DateTime, DecodeError> {
        self.array(field).map(DateTime::from_octets)
    }
}

/// `Some` of what `take` reads when `present`, else nothing is taken.
pub(super) fn when<T>(
    present: bool,
    take: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if present { take().map(Some) } else { Ok(None) }
}
