//! What other systems call a kind of measurement: its MDC and LOINC codes.
//!
//! # Design
//! Only codes that were read together with their names in the examples of the HL7 Personal Health Device guide are
//! here. A kind whose code depends on the device or the fluid (a cuff's pulse, blood glucose) has none; a wrong code
//! is worse than none.

use crate::reading::Kind;

/// The codes of one kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// IEEE 11073-10101, partition x 65536 + term.
    pub mdc: u32,
    /// Its reference id.
    pub reference: &'static str,
    /// LOINC; none where it was not verified.
    pub loinc: Option<&'static str>,
}

impl Code {
    /// The codes of `kind`; none when none is certain.
    pub const fn of(kind: Kind) -> Option<Self> {
        let (mdc, reference, loinc) = match kind {
            Kind::OxygenSaturation => (150_456, "MDC_PULS_OXIM_SAT_O2", Some("2708-6")),
            Kind::SystolicPressure => (150_021, "MDC_PRESS_BLD_NONINV_SYS", Some("8480-6")),
            Kind::DiastolicPressure => (150_022, "MDC_PRESS_BLD_NONINV_DIA", Some("8462-4")),
            Kind::MeanPressure => (150_023, "MDC_PRESS_BLD_NONINV_MEAN", None),
            Kind::BodyTemperature => (150_364, "MDC_TEMP_BODY", Some("8310-5")),
            _ => return None,
        };
        Some(Code {
            mdc,
            reference,
            loinc,
        })
    }
}
