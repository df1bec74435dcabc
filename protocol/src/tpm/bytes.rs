//! Big-endian numbers and sized byte strings (`TPM2B`), read strictly and written.

use super::FormError;

/// Reads from the front of bytes; `what` names the structure in errors.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// From the first byte on.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Reader<'a> {
        Reader { rest: bytes, what }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], FormError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(FormError::Length(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormError> {
        let what = self.what;
        self.take(N)?.try_into().map_err(|_| FormError::Length(what))
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, FormError> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, FormError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, FormError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, FormError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A byte string behind its length of two bytes; at most `most` bytes.
    pub fn sized(&mut self, most: usize) -> Result<&'a [u8], FormError> {
        let length = usize::from(self.u16()?);
        if length > most {
            return Err(FormError::Length(self.what));
        }
        self.take(length)
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), FormError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(FormError::Length(self.what))
        }
    }
}

/// Writes what [`Reader`] reads.
#[derive(Debug, Clone, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Nothing yet.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// One byte.
    #[must_use]
    pub fn u8(self, value: u8) -> Writer {
        self.raw(&[value])
    }

    /// Two bytes.
    #[must_use]
    pub fn u16(self, value: u16) -> Writer {
        self.raw(&value.to_be_bytes())
    }

    /// Four bytes.
    #[must_use]
    pub fn u32(self, value: u32) -> Writer {
        self.raw(&value.to_be_bytes())
    }

    /// Bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Writer {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes behind their length of two bytes. Nothing of ours is longer than that can say; what would be is cut.
    #[must_use]
    pub fn sized(self, bytes: &[u8]) -> Writer {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let bytes = bytes.get(..usize::from(length)).unwrap_or(bytes);
        self.u16(length).raw(bytes)
    }

    /// What was written.
    pub fn done(self) -> Vec<u8> {
        self.0
    }
}
