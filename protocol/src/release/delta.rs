//! Deltas: what makes one build out of another, so that little has to be fetched.
//!
//! A delta is a target of its own, named by the SHA-256 of the build that it is for and of the one that comes of it
//! ([`delta_path`]). The repository's word on the *result* decides: a delta that does not do costs its bytes, never truth.
//!
//! # Design
//! The form is a zstd frame with the old build as its prefix, with a checksum. Measured against bsdiff and xdelta3 it is the
//! quickest to apply, not the smallest. Old and new build are in memory while one is applied, beside nothing else, so both
//! are limited ([`MAX_BUILD`]) and a frame that wants a larger window is refused. Source: RFC 8878; zstd manual,
//! `ZSTD_CCtx_refPrefix`.

use std::io::{self, BufRead, Read as _, Write as _};

use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;
use zstd::zstd_safe::CParameter;

use crate::tuf::read::to_hex;

/// The folder of deltas among the targets.
pub const DELTA_FOLDER: &str = "homeward/delta/";
/// Longest build that a delta is made from, or makes, bytes.
pub const MAX_BUILD: u64 = 1 << WINDOW_LOG;
/// A delta is worth its bytes up to this share of the whole, percent: it is written to the disk beside what comes of it.
pub const WORTH_PERCENT: u64 = 25;

/// The window reaches over the whole old build.
const WINDOW_LOG: u32 = 26;
const LEVEL: i32 = 19;
/// What is remembered of both builds while a delta is made: a place for each byte of the window, twice. The level's own
/// choice is an eighth of it, and forgets most of the old build: 1,215,524 bytes for a build of 42.9 MB with 13 bytes more at
/// its end, where this makes 5,090.
const CHAIN_LOG: u32 = WINDOW_LOG + 1;
const HASH_LOG: u32 = 24;
/// Bytes of the result that are handed on at once.
const CHUNK: usize = 64 * 1024;

/// Where the delta lies among the targets that makes the build `new` out of `old`, by their SHA-256.
pub fn delta_path(old: &[u8; 32], new: &[u8; 32]) -> String {
    format!("{DELTA_FOLDER}{}/{}", to_hex(old), to_hex(new))
}

/// Whether a delta of so many bytes is worth it for a whole of so many.
pub const fn is_worth(delta: u64, whole: u64) -> bool {
    delta.saturating_mul(100) <= whole.saturating_mul(WORTH_PERCENT)
}

/// Why a delta could not be made or applied.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// A build is too long.
    #[error("a build of {0} bytes is too long for a delta: at most {MAX_BUILD} are")]
    TooLong(u64),
    /// It is no delta for these bytes, or it wants more memory than it may have.
    #[error("it is no delta for the build that is here")]
    Broken(#[source] io::Error),
    /// What comes of it is longer than the target.
    #[error("more than {0} bytes come of it")]
    More(u64),
    /// What came of it could not be kept.
    #[error("could not keep what comes of it")]
    Keep(#[source] io::Error),
}

/// Makes the delta that makes `new` out of `old`. Takes half a minute and three quarters of a gigabyte for builds of 43 MB.
pub fn make(old: &[u8], new: &[u8]) -> Result<Vec<u8>, DeltaError> {
    for build in [old, new] {
        let length = build.len() as u64;
        if length > MAX_BUILD {
            return Err(DeltaError::TooLong(length));
        }
    }
    let made = || {
        let mut delta = Encoder::with_ref_prefix(Vec::new(), LEVEL, old)?;
        delta.long_distance_matching(true)?;
        delta.window_log(WINDOW_LOG)?;
        delta.set_parameter(CParameter::ChainLog(CHAIN_LOG))?;
        delta.set_parameter(CParameter::HashLog(HASH_LOG))?;
        delta.include_checksum(true)?;
        // With its length in the frame the box needs no more memory than that.
        delta.set_pledged_src_size(Some(new.len() as u64))?;
        delta.write_all(new)?;
        delta.finish()
    };
    made().map_err(DeltaError::Broken)
}

/// Hands what `delta` makes out of `old` to `take`, piece by piece, at most `length` bytes.
///
/// What was handed on before a failure is no build. Nor is what comes without one, before its hash was checked.
pub fn apply(
    old: &[u8],
    delta: impl BufRead,
    length: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), DeltaError> {
    if length > MAX_BUILD {
        return Err(DeltaError::TooLong(length));
    }
    let mut result = Decoder::with_ref_prefix(delta, old)
        .map_err(DeltaError::Broken)?
        .single_frame();
    result.window_log_max(WINDOW_LOG).map_err(DeltaError::Broken)?;
    let (mut left, mut buffer) = (length, vec![0; CHUNK]);
    loop {
        let read = result.read(&mut buffer).map_err(DeltaError::Broken)?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            return Ok(());
        }
        left = left
            .checked_sub(piece.len() as u64)
            .ok_or(DeltaError::More(length))?;
        take(piece).map_err(DeltaError::Keep)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that repeat nowhere, the same each time. Source: Marsaglia, Xorshift RNGs (2003).
    fn noise(seed: u64, bytes: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..bytes).map(|_| next()).collect()
    }

    fn applied(old: &[u8], delta: &[u8], length: u64) -> Result<Vec<u8>, DeltaError> {
        let mut all = Vec::new();
        apply(old, delta, length, |piece| {
            all.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn a_delta_of_a_build_with_a_line_more_is_small_and_makes_it_again() {
        let old = noise(1, 3_000_000);
        let mut new = old.clone();
        new.splice(1_000_000..1_000_010, noise(2, 500));
        let delta = make(&old, &new).expect("made");
        assert!(delta.len() < 5_000, "{} bytes", delta.len());
        assert_eq!(applied(&old, &delta, new.len() as u64).expect("applied"), new);
    }

    #[test]
    fn a_delta_for_another_build_or_a_longer_result_is_refused() {
        let (old, other) = (noise(1, 100_000), noise(3, 100_000));
        let mut new = old.clone();
        new.extend(noise(4, 1_000));
        let delta = make(&old, &new).expect("made");
        let length = new.len() as u64;
        assert!(matches!(
            applied(&other, &delta, length),
            Err(DeltaError::Broken(_))
        ));
        assert!(matches!(applied(&[], &delta, length), Err(DeltaError::Broken(_))));
        assert!(matches!(
            applied(&old, &delta, length - 1),
            Err(DeltaError::More(_))
        ));
        for upto in [0, 1, 10, delta.len() - 1] {
            assert!(applied(&old, &delta[..upto], length).is_err() || upto == 0);
        }
        let full = |_: &[u8]| Err(io::ErrorKind::StorageFull.into());
        assert!(matches!(
            apply(&old, &delta[..], length, full),
            Err(DeltaError::Keep(_))
        ));
    }

    #[test]
    fn a_window_beyond_the_limit_is_refused_before_memory_is_taken_for_it() {
        let mut wide = Encoder::new(Vec::new(), 1).expect("an encoder");
        wide.window_log(WINDOW_LOG + 1).expect("a window");
        wide.include_contentsize(false).expect("set");
        wide.write_all(&noise(5, 1_000)).expect("written");
        let wide = wide.finish().expect("finished");
        assert!(matches!(applied(&[], &wide, 1_000), Err(DeltaError::Broken(_))));
    }

    #[test]
    fn a_bomb_ends_at_the_length_of_the_target() {
        let bomb = make(b"", &vec![0; 30_000_000]).expect("made");
        assert!(bomb.len() < 10_000);
        let mut kept = 0;
        let ended = apply(b"", &bomb[..], 1_000_000, |piece| {
            kept += piece.len();
            Ok(())
        });
        assert!(matches!(ended, Err(DeltaError::More(1_000_000))));
        assert!(kept <= 1_000_000, "{kept} bytes were handed on");
    }

    #[test]
    fn a_build_too_long_is_refused() {
        let long = vec![0; usize::try_from(MAX_BUILD).expect("fits") + 1];
        assert!(matches!(make(&long, b""), Err(DeltaError::TooLong(_))));
        assert!(matches!(make(b"", &long), Err(DeltaError::TooLong(_))));
        assert!(matches!(
            applied(b"", b"", MAX_BUILD + 1),
            Err(DeltaError::TooLong(_))
        ));
    }

    #[test]
    fn what_a_delta_saves_is_held_against_what_it_costs_the_disk() {
        assert!(is_worth(25, 100));
        assert!(!is_worth(26, 100));
        assert!(!is_worth(u64::MAX, 100));
        assert!(delta_path(&[1; 32], &[0xab; 32]).ends_with(&"ab".repeat(32)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_spoilt_delta_ends_within_its_length_and_never_as_another_build_unseen(
            at in 0_usize..2_000, value in any::<u8>(), cut in any::<bool>(),
        ) {
            let old = noise(1, 20_000);
            let mut new = old.clone();
            new.splice(5_000..5_100, noise(9, 300));
            let good = make(&old, &new).expect("made");
            let mut delta = good.clone();
            let at = at % delta.len();
            if cut { delta.truncate(at) } else { delta[at] = value }
            if let Ok(made) = applied(&old, &delta, new.len() as u64) {
                // Nothing, of no frame at all; or a byte that says nothing about the content.
                prop_assert!(made.is_empty() || made == new);
            }
        }

        #[test]
        fn any_bytes_end_within_the_length(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let mut framed = vec![0x28, 0xb5, 0x2f, 0xfd];
            framed.extend(&bytes);
            for delta in [bytes, framed] {
                let made = applied(b"an old build", &delta, 10_000);
                prop_assert!(made.map_or(0, |made| made.len()) <= 10_000);
            }
        }
    }
}
