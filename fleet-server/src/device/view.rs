//! A claim for people: a sheet of text, a QR code for the terminal, a QR code as SVG. JSON is the claim's own.

use homeward_protocol::claim::Claim;
use homeward_protocol::time::Timestamp;
use qrcode::render::{svg, unicode};
use qrcode::types::QrError;
use qrcode::{EcLevel, QrCode};

/// What an installer reads, without the QR code.
pub fn sheet(claim: &Claim) -> String {
    let until = Timestamp::synced(claim.expires.saturating_mul(1000));
    format!(
        "Gateway  {}\nServer   {}\nCode     {}\nValid    until {until}, for one box, once\n\n{claim}\n",
        claim.gateway, claim.server, claim.code
    )
}

/// The QR code in half blocks, for a terminal: two modules a character, light on dark.
pub fn qr_terminal(claim: &Claim) -> Result<String, QrError> {
    let code = code(claim)?;
    let drawn = code
        .render::<unicode::Dense1x2>()
        .dark_color(unicode::Dense1x2::Light)
        .light_color(unicode::Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    Ok(drawn + "\n")
}

/// The QR code as an SVG image with its quiet zone, black on white, to be printed.
pub fn qr_svg(claim: &Claim) -> Result<String, QrError> {
    let drawn = code(claim)?
        .render::<svg::Color<'_>>()
        .min_dimensions(320, 320)
        .quiet_zone(true)
        .build();
    Ok(drawn)
}

fn code(claim: &Claim) -> Result<QrCode, QrError> {
    QrCode::with_error_correction_level(claim.to_string(), EcLevel::M)
}

#[cfg(test)]
mod tests {
    use homeward_protocol::claim::{Code, Pin};

    use super::*;

    fn claim(host: &str) -> Claim {
        Claim {
            server: format!("{host}:8443").parse().expect("an endpoint"),
            pin: Pin([7; 32]),
            gateway: "gw-7f3k".parse().expect("an id"),
            code: Code::from_random([0xff; 10]),
            expires: 1_795_000_000,
        }
    }

    #[test]
    fn the_sheet_holds_the_line_that_a_box_reads() {
        let claim = claim("fleet.example");
        let sheet = sheet(&claim);
        let line = sheet
            .lines()
            .find(|line| line.starts_with("homeward:"))
            .expect("a line");
        assert_eq!(line.parse(), Ok(claim));
        assert!(sheet.contains("ZZZZ-ZZZZ-ZZZZ-ZZZZ") && sheet.contains("2026-11-18"));
    }

    #[test]
    fn the_longest_claim_still_fits_a_qr_code() {
        let long = claim(&"a".repeat(253));
        // The quiet zone is light, so on a dark terminal it is what is drawn.
        assert!(qr_terminal(&long).expect("fits").starts_with('█'));
        let svg = qr_svg(&long).expect("fits");
        assert!(svg.contains("<svg") && svg.contains("viewBox"));
    }
}
