//! Codes that depend on the device or the fluid, and so not on the kind alone.

use homeward_protocol::code::Code;
use homeward_protocol::reading::Kind;

use super::Fields;

impl Fields {
    /// The codes of a sample of `kind` that came out of this value; none when none is certain.
    ///
    /// Source: as for [`Code`].
    pub fn code(&self, kind: Kind) -> Option<Code> {
        match (self, kind) {
            (Fields::SpotCheck(_) | Fields::Continuous(_), Kind::PulseRate) => Some(Code {
                mdc: 149_530,
                reference: "MDC_PULS_OXIM_PULS_RATE",
                loinc: Some("8867-4"),
            }),
            (Fields::Glucose(read), Kind::BloodGlucose) => {
                let told = read.concentration?;
                glucose(told.fluid.0)
            }
            _ => Code::of(kind),
        }
    }
}

/// The two fluids whose codes were verified.
const fn glucose(fluid: u8) -> Option<Code> {
    let (mdc, reference) = match fluid {
        1 => (160_184, "MDC_CONC_GLU_CAPILLARY_WHOLEBLOOD"),
        8 => (160_368, "MDC_CONC_GLU_UNDETERMINED_PLASMA"),
        _ => return None,
    };
    Some(Code {
        mdc,
        reference,
        loinc: None,
    })
}
