//! Device Information (service 180A): what a device says of itself. Self-declared, so it proves nothing.

use super::bytes::Bytes;
use super::field::Field;
use super::{Characteristic, DecodeError};

/// A text of the service: maker, model, serial number or a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceText(pub String);

/// System ID (2A23): an EUI-64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemId(pub u64);

/// Plug-and-play identity (2A50).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PnpId {
    /// Who gave out the vendor number: 1 the Bluetooth SIG, 2 the USB Implementers Forum.
    pub source: u8,
    /// Vendor.
    pub vendor: u16,
    /// Product, by the vendor.
    pub product: u16,
    /// Version of the product, by the vendor.
    pub version: u16,
}

impl Characteristic for DeviceText {
    /// UTF-8. Zeros at the end, which many devices send, are left off; other control characters become spaces.
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let octets = bytes.take_rest();
        let text = std::str::from_utf8(octets).map_err(|_| DecodeError::Malformed {
            field: "text",
            fault: "is not UTF-8",
        })?;
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let text: String = text.trim_end_matches('\0').chars().map(plain).collect();
        Ok(DeviceText(text.trim().to_owned()))
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::text("text", self.0.as_str())]
    }
}

impl Characteristic for SystemId {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        bytes.array("system_id").map(u64::from_le_bytes).map(SystemId)
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::text("system_id", format!("{:016x}", self.0))]
    }
}

impl Characteristic for PnpId {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let source = bytes.u8("source")?;
        bytes.note_reserved(u32::from(!matches!(source, 1 | 2)));
        Ok(PnpId {
            source,
            vendor: bytes.u16("vendor")?,
            product: bytes.u16("product")?,
            version: bytes.u16("version")?,
        })
    }

    fn fields(&self) -> Vec<Field> {
        let source = match self.source {
            1 => "Bluetooth SIG".to_owned(),
            2 => "USB Implementers Forum".to_owned(),
            other => format!("unknown code {other}"),
        };
        let hex = |name, word: u16| Field::text(name, format!("{word:04x}"));
        vec![
            Field::text("source", source),
            hex("vendor", self.vendor),
            hex("product", self.product),
            hex("version", self.version),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fields, decode};

    #[test]
    fn a_text_is_shown_without_what_would_harm_a_terminal() {
        let got = decode(0x2a29, b"Acme\x1b[2J \0\0").expect("decodes").remove(0);
        assert!(matches!(got.fields, Fields::DeviceText(text) if text.0 == "Acme [2J"));
        assert!(decode(0x2a29, &[0xff, 0xfe]).is_err());
    }

    #[test]
    fn an_identity_reads_as_its_hexadecimal_form() {
        let got = decode(0x2a23, &[1, 2, 3, 0xfe, 0xff, 6, 7, 8])
            .expect("decodes")
            .remove(0);
        assert_eq!(
            format!("{:?}", got.fields.list()[0].said),
            "Text(\"080706fffe030201\")"
        );
    }
}
