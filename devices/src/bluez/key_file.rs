//! What `bluetoothd` wrote down of a bond's key: its class and its size, never the key.
//!
//! # Design
//! The class of a key stands nowhere on the bus, only in files that root alone may read
//! (`/var/lib/bluetooth/ADAPTER/DEVICE/info`). The agent is not root: a helper of a few lines (`homeward-bond`,
//! started by systemd for one question) reads the file and answers. Question and answer are the text lines here.

use std::fmt;
use std::str::FromStr;

use homeward_protocol::bond::{BleAddress, Bond, KeyClass};

/// The longest question or answer, octets with its end of line.
pub const MAX_LINE: usize = 64;

/// Why a key file could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// A key without its class or its size, or with one that is no such number.
    #[error("the key file's {section} has no readable {key}")]
    Key {
        /// The section of the key.
        section: String,
        /// `Authenticated` or `EncSize`.
        key: &'static str,
    },
}

/// Reads the `info` file of a device. `None`: it holds no LE key, so there is no bond.
///
/// Legacy pairing leaves a key for each direction; the weaker of the two counts. Source: `BlueZ`, `src/adapter.c`
/// (`store_ltk_group`); the class numbers as in [`KeyClass`].
pub fn parse(info: &str) -> Result<Option<Bond>, KeyFileError> {
    let mut weakest: Option<Bond> = None;
    for (section, lines) in sections(info).filter(|(name, _)| is_long_term_key(name)) {
        let number = |key: &'static str| {
            value(lines, key)
                .and_then(|text| text.parse::<u8>().ok())
                .ok_or_else(|| KeyFileError::Key {
                    section: section.to_owned(),
                    key,
                })
        };
        let class = class(number("Authenticated")?).ok_or_else(|| KeyFileError::Key {
            section: section.to_owned(),
            key: "Authenticated",
        })?;
        let bond = Bond {
            class,
            key_size: number("EncSize")?,
        };
        weakest = Some(weakest.map_or(bond, |known| Bond {
            class: known.class.min(bond.class),
            key_size: known.key_size.min(bond.key_size),
        }));
    }
    Ok(weakest)
}

/// `SlaveLongTermKey` is what older releases call the peripheral's; newer ones write both.
fn is_long_term_key(section: &str) -> bool {
    matches!(
        section,
        "LongTermKey" | "PeripheralLongTermKey" | "SlaveLongTermKey"
    )
}

const fn class(number: u8) -> Option<KeyClass> {
    match number {
        0 => Some(KeyClass::LegacyUnauthenticated),
        1 => Some(KeyClass::LegacyAuthenticated),
        2 => Some(KeyClass::SecureUnauthenticated),
        3 => Some(KeyClass::SecureAuthenticated),
        4 => Some(KeyClass::Debug),
        _ => None,
    }
}

const fn number(class: KeyClass) -> u8 {
    match class {
        KeyClass::LegacyUnauthenticated => 0,
        KeyClass::LegacyAuthenticated => 1,
        KeyClass::SecureUnauthenticated => 2,
        KeyClass::SecureAuthenticated => 3,
        KeyClass::Debug => 4,
    }
}

/// The sections of a key file: name, then everything up to the next.
fn sections(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let after_first = text
        .split_once('[')
        .filter(|(before, _)| before.is_empty() || before.ends_with('\n'));
    let rest = after_first.map_or("", |(_, rest)| rest);
    rest.split("\n[").filter_map(|part| part.split_once(']'))
}

fn value<'a>(lines: &'a str, key: &str) -> Option<&'a str> {
    lines
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(str::trim)
}

/// A question to the helper: which bond of which adapter. Its text is `ADAPTER DEVICE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The adapter's own address.
    pub adapter: BleAddress,
    /// The sensor's.
    pub device: BleAddress,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.adapter, self.device)
    }
}

impl FromStr for Question {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (adapter, device) = text.trim_end().split_once(' ').ok_or("write ADAPTER DEVICE")?;
        Ok(Question {
            adapter: adapter.parse()?,
            device: device.parse()?,
        })
    }
}

/// The helper's answer. Its text is `none`, `unread`, or `CLASS SIZE` in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// No key is kept for that device.
    None,
    /// There may be one, but it could not be read.
    Unread,
    /// This one.
    Held(Bond),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::None => f.write_str("none"),
            Answer::Unread => f.write_str("unread"),
            Answer::Held(bond) => write!(f, "{} {}", number(bond.class), bond.key_size),
        }
    }
}

impl FromStr for Answer {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim_end() {
            "none" => Ok(Answer::None),
            "unread" => Ok(Answer::Unread),
            held => {
                let wrong = || format!("`{}` is no answer about a bond", held.escape_debug());
                let (kind, size) = held.split_once(' ').ok_or_else(wrong)?;
                let kind = kind.parse().ok().and_then(class).ok_or_else(wrong)?;
                let key_size = size.parse().map_err(|_| wrong())?;
                Ok(Answer::Held(Bond {
                    class: kind,
                    key_size,
                }))
            }
        }
    }
}

impl From<Result<Option<Bond>, KeyFileError>> for Answer {
    fn from(read: Result<Option<Bond>, KeyFileError>) -> Self {
        match read {
            Ok(Some(bond)) => Answer::Held(bond),
            Ok(None) => Answer::None,
            Err(_) => Answer::Unread,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `bluetoothd` 5.66 wrote it after a numeric comparison, with another key.
    const SECURE: &str = "[General]\nName=AT-GLU\nAddressType=static\nTrusted=false\n\n\
        [PeripheralLongTermKey]\nKey=00112233445566778899AABBCCDDEEFF\nAuthenticated=3\nEncSize=16\nEDiv=0\nRand=0\n\n\
        [SlaveLongTermKey]\nKey=00112233445566778899AABBCCDDEEFF\nAuthenticated=3\nEncSize=16\nEDiv=0\nRand=0\n";

    fn bond(class: KeyClass, key_size: u8) -> Bond {
        Bond { class, key_size }
    }

    #[test]
    fn class_and_size_are_read_for_every_class() {
        for (text, class) in [
            ("0", KeyClass::LegacyUnauthenticated),
            ("1", KeyClass::LegacyAuthenticated),
            ("2", KeyClass::SecureUnauthenticated),
            ("3", KeyClass::SecureAuthenticated),
            ("4", KeyClass::Debug),
        ] {
            let info = SECURE.replace("Authenticated=3", &format!("Authenticated={text}"));
            assert_eq!(parse(&info), Ok(Some(bond(class, 16))), "{text}");
        }
    }

    #[test]
    fn the_weaker_of_two_keys_counts() {
        let one_short = SECURE.replacen("EncSize=16", "EncSize=7", 1);
        assert_eq!(
            parse(&one_short),
            Ok(Some(bond(KeyClass::SecureAuthenticated, 7)))
        );
        let one_legacy = format!("{SECURE}\n[LongTermKey]\nAuthenticated=0\nEncSize=16\n");
        assert_eq!(
            parse(&one_legacy),
            Ok(Some(bond(KeyClass::LegacyUnauthenticated, 16)))
        );
    }

    #[test]
    fn a_file_without_a_key_is_no_bond_and_a_key_without_its_class_is_not_believed() {
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("[General]\nName=[LongTermKey]\nTrusted=false\n"), Ok(None));
        // BR/EDR keys are none of ours.
        assert_eq!(parse("[LinkKey]\nKey=00\nType=4\nPINLength=0\n"), Ok(None));
        for lacking in ["Authenticated=3\n", "EncSize=16\n"] {
            assert!(parse(&SECURE.replace(lacking, "")).is_err(), "{lacking}");
        }
        assert!(parse(&SECURE.replace("Authenticated=3", "Authenticated=9")).is_err());
        assert!(parse(&SECURE.replace("EncSize=16", "EncSize=many")).is_err());
    }

    #[test]
    fn questions_and_answers_read_as_they_print_and_hold_no_path() {
        let question: Question = "A0:B1:C2:D3:E4:F5 C1:00:00:00:00:02\n"
            .parse()
            .expect("a question");
        assert_eq!(question.to_string(), "A0:B1:C2:D3:E4:F5 C1:00:00:00:00:02");
        assert!(question.to_string().len() < MAX_LINE);
        for bad in [
            "",
            "A0:B1:C2:D3:E4:F5",
            "../../etc shadow",
            "A0:B1:C2:D3:E4:F5 ../x",
        ] {
            assert!(bad.parse::<Question>().is_err(), "{bad}");
        }
        for answer in [
            Answer::None,
            Answer::Unread,
            Answer::Held(bond(KeyClass::LegacyAuthenticated, 16)),
        ] {
            assert_eq!(answer.to_string().parse(), Ok(answer));
        }
        assert!("7 16".parse::<Answer>().is_err());
    }
}
