//! The public areas from which a TPM makes the keys of a gateway.
//!
//! | Key | Under | Attributes |
//! |---|---|---|
//! | endorsement (EK) | endorsement hierarchy | `000300b2`, the TCG's policy |
//! | attestation (AK) | endorsement hierarchy | `00050472`: restricted, signs; 32 random bytes make it one enrolment's |
//! | storage (SRK) | owner hierarchy | `00030472` |
//! | TLS | the storage key | `00040472`: signs |
//! | sealed data | the storage key | `00000452` |
//!
//! `0x400` (noDA) stands in all of ours: without it each power cut in a boot that used the key counts as a wrong
//! password, and after some the TPM locks it away.
//!
//! Source: TCG EK Credential Profile 2.5, appendix B (templates L-1, L-2 and H-3); Provisioning Guidance, section 7.5.1.

use super::{Writer, alg};

/// Attributes of endorsement keys of the low range (policy only).
pub const EK_LOW: u32 = 0x0003_00b2;
/// Attributes of endorsement keys of the high range (policy, or a password).
pub const EK_HIGH: u32 = 0x0003_00f2;
/// Attributes of the attestation key.
pub const AK: u32 = 0x0005_0472;
/// Attributes of the storage key.
pub const SRK: u32 = 0x0003_0472;
/// Attributes of the TLS key.
pub const TLS: u32 = 0x0004_0472;
/// Attributes of sealed data: fixed to the TPM and its parent, opened by the empty password, noDA.
pub const SEALED: u32 = 0x0000_0452;

/// `PolicySecret` of the endorsement hierarchy, SHA-256: policy A of the profile.
pub const POLICY_A_SHA256: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd,
    0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// `PolicyOR` of policy A and the owner's, SHA-384: policy B of the profile.
pub const POLICY_B_SHA384: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a, 0x07,
    0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47,
    0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];
/// Policy A by SHA-384: the first branch of [`POLICY_B_SHA384`].
pub const POLICY_A_SHA384: [u8; 48] = [
    0x8b, 0xbf, 0x22, 0x66, 0x53, 0x7c, 0x17, 0x1c, 0xb5, 0x6e, 0x40, 0x3c, 0x4d, 0xc1, 0xd4, 0xb6, 0x4f,
    0x43, 0x26, 0x11, 0xdc, 0x38, 0x6e, 0x6f, 0x53, 0x20, 0x50, 0xc3, 0x27, 0x8c, 0x93, 0x0e, 0x14, 0x3e,
    0x8b, 0xb1, 0x13, 0x38, 0x24, 0xcc, 0xb4, 0x31, 0x05, 0x38, 0x71, 0xc6, 0xdb, 0x53,
];
/// `PolicyAuthorizeNV` of the owner's index by SHA-384: the other branch of [`POLICY_B_SHA384`].
pub const POLICY_C_SHA384: [u8; 48] = [
    0xd6, 0x03, 0x2c, 0xe6, 0x1f, 0x2f, 0xb3, 0xc2, 0x40, 0xeb, 0x3c, 0xf6, 0xa3, 0x32, 0x37, 0xef, 0x2b,
    0x6a, 0x16, 0xf4, 0x29, 0x3c, 0x22, 0xb4, 0x55, 0xe2, 0x61, 0xcf, 0xfd, 0x21, 0x7a, 0xd5, 0xb4, 0x94,
    0x7c, 0x2d, 0x73, 0xe6, 0x30, 0x05, 0xee, 0xd2, 0xdc, 0x2b, 0x35, 0x93, 0xd1, 0x65,
];

/// Which endorsement key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endorsement {
    /// RSA of 2048 bits (template L-1).
    Rsa2048,
    /// P-256 (template L-2).
    P256,
    /// P-384 (template H-3).
    P384,
}

impl Endorsement {
    /// All of them, in the order in which a box tries them: elliptic curves are quick.
    pub const ALL: [Endorsement; 3] = [Endorsement::P384, Endorsement::P256, Endorsement::Rsa2048];

    /// Where the maker leaves its certificate in the TPM's memory. Source: EK Credential Profile, section 2.2.1.4/5.
    pub const fn certificate_index(self) -> u32 {
        match self {
            Endorsement::Rsa2048 => 0x01c0_0002,
            Endorsement::P256 => 0x01c0_000a,
            Endorsement::P384 => 0x01c0_0016,
        }
    }

    /// The area to make it from.
    pub fn template(self) -> Vec<u8> {
        match self {
            Endorsement::Rsa2048 => head(alg::RSA, alg::SHA256, EK_LOW, &POLICY_A_SHA256)
                .u16(alg::AES)
                .u16(128)
                .u16(alg::CFB)
                .u16(alg::NULL)
                .u16(2048)
                .u32(0)
                .sized(&[0; 256])
                .done(),
            Endorsement::P256 => ecc(
                head(alg::ECC, alg::SHA256, EK_LOW, &POLICY_A_SHA256),
                Some(128),
                None,
                alg::P256,
                [&[0; 32], &[0; 32]],
            ),
            Endorsement::P384 => ecc(
                head(alg::ECC, alg::SHA384, EK_HIGH, &POLICY_B_SHA384),
                Some(256),
                None,
                alg::P384,
                [&[], &[]],
            ),
        }
    }
}

/// The attestation key of one enrolment: `unique` are its 32 random bytes.
pub fn attestation(unique: &[u8; 32]) -> Vec<u8> {
    let head = head(alg::ECC, alg::SHA256, AK, &[]);
    ecc(head, None, Some(alg::SHA256), alg::P256, [unique, &[0; 32]])
}

/// The storage key.
pub fn storage() -> Vec<u8> {
    let head = head(alg::ECC, alg::SHA256, SRK, &[]);
    ecc(head, Some(128), None, alg::P256, [&[0; 32], &[0; 32]])
}

/// The TLS key.
pub fn tls() -> Vec<u8> {
    let head = head(alg::ECC, alg::SHA256, TLS, &[]);
    ecc(head, None, Some(alg::SHA256), alg::P256, [&[], &[]])
}

/// Sealed data.
pub fn sealed() -> Vec<u8> {
    head(alg::KEYED_HASH, alg::SHA256, SEALED, &[])
        .u16(alg::NULL)
        .sized(&[])
        .done()
}

fn head(kind: u16, name: u16, attributes: u32, policy: &[u8]) -> Writer {
    Writer::new().u16(kind).u16(name).u32(attributes).sized(policy)
}

/// Cipher (AES of so many bits, CFB), scheme (ECDSA with this hash), curve, no derivation, the point.
fn ecc(head: Writer, aes: Option<u16>, ecdsa: Option<u16>, curve: u16, unique: [&[u8]; 2]) -> Vec<u8> {
    let head = match aes {
        Some(bits) => head.u16(alg::AES).u16(bits).u16(alg::CFB),
        None => head.u16(alg::NULL),
    };
    let head = match ecdsa {
        Some(hash) => head.u16(alg::ECDSA).u16(hash),
        None => head.u16(alg::NULL),
    };
    let [x, y] = unique;
    head.u16(curve).u16(alg::NULL).sized(x).sized(y).done()
}
