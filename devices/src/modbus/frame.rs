//! Questions that other masters ask us over Modbus/TCP, and how they are answered: frames to meaning and back.
//!
//! # Design
//! The library's server takes connections without a limit, waits for ever for the rest of a frame, and ends as a
//! whole when one connection fails to begin. Its codec for servers is not public. The guard faces whoever is on the
//! network, so frames are read here: strictly, without memory that a peer could fill, and without indexing.
//!
//! A function that is not known to read only counts as a write: what a maker's own function does, nobody knows.
//!
//! Source: Modbus application protocol 1.1b3, sections 4 to 6; Modbus messaging on TCP/IP 1.0b, section 3.1.3.

use crate::modbus::{Identity, Request, Write};
use crate::profile::Function;

/// Octets before the PDU.
pub const HEADER: usize = 7;
/// Most octets of a PDU.
pub const MAX_PDU: usize = 253;
/// Functions beside 1 to 4 that only read: exception status, event counter, event log, server id, file record, FIFO.
const READ_ONLY: [u8; 6] = [7, 11, 12, 17, 20, 24];
/// Encapsulated interface: reads when its type is 14, device identification.
const ENCAPSULATED: (u8, u8) = (43, 14);

/// The MBAP header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The number of the question, given back with the answer.
    pub transaction: u16,
    /// Which unit is asked.
    pub unit: u8,
    /// Octets of the PDU that follows: 1 to [`MAX_PDU`].
    pub length: usize,
}

impl Header {
    /// Reads one; none when it is not Modbus, or announces more than a frame may hold. After that nobody knows
    /// where the next frame begins: the connection is of no more use.
    pub fn read(octets: [u8; HEADER]) -> Option<Header> {
        let [t1, t0, p1, p0, l1, l0, unit] = octets;
        let length = usize::from(u16::from_be_bytes([l1, l0])).checked_sub(1)?;
        let sound = [p1, p0] == [0, 0] && (1..=MAX_PDU).contains(&length);
        sound.then_some(Header {
            transaction: u16::from_be_bytes([t1, t0]),
            unit,
            length,
        })
    }

    /// The whole frame of the answer `pdu` to the question of this header.
    pub fn answer(self, pdu: &[u8]) -> Vec<u8> {
        let length = u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX);
        let mut out = Vec::with_capacity(HEADER + pdu.len());
        out.extend(self.transaction.to_be_bytes());
        out.extend([0, 0]);
        out.extend(length.to_be_bytes());
        out.push(self.unit);
        out.extend(pdu);
        out
    }
}

/// What another master asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// To read by functions 1 to 4.
    Read(Request),
    /// To write by functions 5, 6, 15 or 16.
    Write(Write),
    /// Who the device is: function 43/14, by the level and the first object of the question.
    Identify {
        /// 1 basic, 2 regular, 3 extended, 4 one object.
        level: u8,
        /// The object to begin with.
        object: u8,
    },
    /// Another function, or one whose octets make no sense.
    Other {
        /// The number of the function.
        function: u8,
        /// What follows it as an address, when there is one.
        address: Option<u16>,
        /// Whether it is, or may be, more than a read.
        writes: bool,
        /// Whether we know the function, and its octets are wrong.
        malformed: bool,
    },
}

impl Question {
    /// Reads a PDU. Every one has a meaning, an empty one too: function 0, which no device knows.
    pub fn read(pdu: &[u8]) -> Question {
        let (function, rest) = pdu.split_first().map_or((0, pdu), |(f, rest)| (*f, rest));
        let known = match function {
            1..=4 => reading(function, rest),
            5 | 6 => single(function, rest),
            15 | 16 => several(function, rest),
            43 => identification(rest),
            _ => None,
        };
        known.unwrap_or_else(|| other(function, rest))
    }

    /// The number of the function.
    pub const fn function(&self) -> u8 {
        match self {
            Question::Read(request) => request.function.code(),
            Question::Write(write) => write.function(),
            Question::Identify { .. } => ENCAPSULATED.0,
            Question::Other { function, .. } => *function,
        }
    }

    /// Whether it is, or may be, more than a read.
    pub const fn writes(&self) -> bool {
        match self {
            Question::Read(_) | Question::Identify { .. } => false,
            Question::Write(_) => true,
            Question::Other { writes, .. } => *writes,
        }
    }

    /// The first address and how many, when it names them.
    pub fn place(&self) -> Option<(u16, u16)> {
        match self {
            Question::Read(request) => Some((request.address, request.count)),
            Question::Write(write) => Some((write.address(), write.count())),
            Question::Identify { .. } => None,
            Question::Other { address, .. } => address.map(|address| (address, 1)),
        }
    }
}

fn other(function: u8, rest: &[u8]) -> Question {
    let reads = matches!(function, 1..=4)
        || READ_ONLY.contains(&function)
        || (function == ENCAPSULATED.0 && rest.first() == Some(&ENCAPSULATED.1));
    let addressed = matches!(function, 1..=6 | 15 | 16 | 22 | 24);
    Question::Other {
        function,
        address: if addressed { word(rest, 0) } else { None },
        writes: !reads,
        malformed: matches!(function, 1..=6 | 15 | 16 | 43),
    }
}

fn word(octets: &[u8], at: usize) -> Option<u16> {
    let pair = octets.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([*pair.first()?, *pair.get(1)?]))
}

/// Whether `count` places from `address` on lie within the 65536 that there are.
fn fits(address: u16, count: u16, most: u16) -> bool {
    (1..=most).contains(&count) && u32::from(address) + u32::from(count) <= 0x1_0000
}

fn reading(function: u8, rest: &[u8]) -> Option<Question> {
    let function = Function::try_from(function).ok()?;
    let (address, count) = (word(rest, 0)?, word(rest, 2)?);
    let most = if function.reads_bits() { 2000 } else { 125 };
    (rest.len() == 4 && fits(address, count, most)).then_some(Question::Read(Request {
        function,
        address,
        count,
    }))
}

fn single(function: u8, rest: &[u8]) -> Option<Question> {
    let (address, value) = (word(rest, 0)?, word(rest, 2)?);
    let write = match (function, value) {
        (5, 0xff00) => Write::Coil { address, on: true },
        (5, 0) => Write::Coil { address, on: false },
        (6, value) => Write::Register { address, value },
        _ => return None,
    };
    (rest.len() == 4).then_some(Question::Write(write))
}

fn several(function: u8, rest: &[u8]) -> Option<Question> {
    let (address, count, octets) = (word(rest, 0)?, word(rest, 2)?, *rest.get(4)?);
    let data = rest.get(5..)?;
    let (most, wanted) = match function {
        15 => (1968, usize::from(count).div_ceil(8)),
        _ => (123, usize::from(count) * 2),
    };
    if !fits(address, count, most) || data.len() != wanted || usize::from(octets) != wanted {
        return None;
    }
    let write = if function == 15 {
        let bits = data
            .iter()
            .flat_map(|octet| (0..8).map(move |bit| octet >> bit & 1 == 1));
        Write::Coils {
            address,
            on: bits.take(usize::from(count)).collect(),
        }
    } else {
        let words = (0..usize::from(count)).filter_map(|n| word(data, n * 2));
        Write::Registers {
            address,
            values: words.collect(),
        }
    };
    Some(Question::Write(write))
}

fn identification(rest: &[u8]) -> Option<Question> {
    match rest {
        [kind, level @ 1..=4, object] if *kind == ENCAPSULATED.1 => Some(Question::Identify {
            level: *level,
            object: *object,
        }),
        _ => None,
    }
}

/// The answer to `request`: `words` are as many as it asks for, a coil or an input 0 or 1.
pub fn read_answer(request: Request, words: &[u16]) -> Vec<u8> {
    let data: Vec<u8> = if request.function.reads_bits() {
        let octet = |bits: &[u16]| {
            let set = bits.iter().enumerate().filter(|(_, bit)| **bit != 0);
            set.fold(0u8, |octet, (at, _)| octet | 1 << at)
        };
        words.chunks(8).map(octet).collect()
    } else {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    };
    let length = u8::try_from(data.len()).unwrap_or(u8::MAX);
    let mut out = vec![request.function.code(), length];
    out.extend(data);
    out
}

/// The answer to a write that was taken.
pub fn write_answer(write: &Write) -> Vec<u8> {
    let mut out = vec![write.function()];
    out.extend(write.address().to_be_bytes());
    let told = match write {
        Write::Coil { on, .. } => u16::from(*on) * 0xff00,
        Write::Register { value, .. } => *value,
        Write::Coils { .. } | Write::Registers { .. } => write.count(),
    };
    out.extend(told.to_be_bytes());
    out
}

/// The answer to the question who the device is: the basic level, as much of it as `identity` holds.
pub fn identity_answer(identity: &Identity) -> Vec<u8> {
    let (function, kind) = ENCAPSULATED;
    let (follows, next) = identity.next().map_or((0, 0), |next| (0xff, next));
    let objects: Vec<(u8, &str)> = identity.objects().collect();
    let mut out = vec![function, kind, 1, 1, follows, next];
    out.push(u8::try_from(objects.len()).unwrap_or(u8::MAX));
    for (id, text) in objects {
        out.extend([id, u8::try_from(text.len()).unwrap_or(u8::MAX)]);
        out.extend(text.as_bytes());
    }
    out
}

/// The answer that refuses a question of `function` by exception `code`.
pub fn exception(function: u8, code: u8) -> Vec<u8> {
    vec![function | 0x80, code]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(hex: &[u8]) -> Question {
        Question::read(hex)
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        // Sections 6.3, 6.5, 6.6, 6.11 and 6.12.
        let asked = Question::Read(Request {
            function: Function::HoldingRegisters,
            address: 0x6b,
            count: 3,
        });
        assert_eq!(read(&[3, 0, 0x6b, 0, 3]), asked);
        let coil = Write::Coil {
            address: 0xac,
            on: true,
        };
        assert_eq!(read(&[5, 0, 0xac, 0xff, 0]), Question::Write(coil.clone()));
        assert_eq!(write_answer(&coil), [5, 0, 0xac, 0xff, 0]);
        let register = Write::Register { address: 1, value: 3 };
        assert_eq!(read(&[6, 0, 1, 0, 3]), Question::Write(register.clone()));
        assert_eq!(write_answer(&register), [6, 0, 1, 0, 3]);
        let on = [1, 0, 1, 1, 0, 0, 1, 1, 1, 0].map(|bit| bit == 1).to_vec();
        let coils = Write::Coils { address: 0x13, on };
        assert_eq!(
            read(&[15, 0, 0x13, 0, 10, 2, 0xcd, 1]),
            Question::Write(coils.clone())
        );
        assert_eq!(write_answer(&coils), [15, 0, 0x13, 0, 10]);
        let registers = Write::Registers {
            address: 1,
            values: vec![10, 0x102],
        };
        assert_eq!(
            read(&[16, 0, 1, 0, 2, 4, 0, 10, 1, 2]),
            Question::Write(registers.clone())
        );
        assert_eq!(write_answer(&registers), [16, 0, 1, 0, 2]);
        assert_eq!(read(&[43, 14, 1, 0]), Question::Identify { level: 1, object: 0 });
    }

    #[test]
    fn answers_carry_words_and_packed_bits() {
        let ask = |function, count| Request {
            function,
            address: 0,
            count,
        };
        let words = read_answer(ask(Function::HoldingRegisters, 3), &[0x22b, 0, 0x64]);
        assert_eq!(words, [3, 6, 2, 0x2b, 0, 0, 0, 0x64]);
        let bits = [1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0];
        assert_eq!(read_answer(ask(Function::Coils, 11), &bits), [1, 2, 0xcd, 3]);
        assert_eq!(exception(3, 2), [0x83, 2]);
    }

    #[test]
    fn what_is_not_known_to_read_counts_as_a_write() {
        let reads: Vec<u8> = (0..=255).filter(|f| !read(&[*f]).writes()).collect();
        assert_eq!(reads, [1, 2, 3, 4, 7, 11, 12, 17, 20, 24]);
        // Function 43 reads as device identification only; a write that makes no sense is still an attempt.
        assert!(!read(&[43, 14]).writes() && read(&[43, 13, 1, 0]).writes());
        for pdu in [
            &[5, 0, 1, 0xff, 1][..],
            &[6, 0, 1],
            &[16, 0, 1, 0, 2, 4, 0, 10],
            &[22, 0, 7, 0, 0, 0, 1],
        ] {
            assert!(read(pdu).writes(), "{pdu:?}");
        }
    }

    #[test]
    fn counts_and_ends_are_held_to() {
        for pdu in [
            &[3, 0, 0, 0, 0][..],
            &[3, 0, 0, 0, 126],
            &[1, 0, 0, 7, 0xd1],
            &[3, 0xff, 0xff, 0, 2],
            &[3, 0, 0, 0, 1, 0],
            &[16, 0, 0, 0, 1, 3, 0, 0, 0],
        ] {
            assert!(
                matches!(read(pdu), Question::Other { malformed: true, .. }),
                "{pdu:?}"
            );
        }
    }

    #[test]
    fn a_header_that_is_not_modbus_is_refused() {
        let good = [0, 7, 0, 0, 0, 6, 9];
        let header = Header::read(good).expect("good");
        assert_eq!((header.transaction, header.unit, header.length), (7, 9, 5));
        assert_eq!(header.answer(&[0x83, 2]), [0, 7, 0, 0, 0, 3, 9, 0x83, 2]);
        for (at, with) in [(2, 1), (3, 1), (4, 1), (5, 0), (5, 1)] {
            let mut bad = good;
            bad[at] = with;
            assert_eq!(Header::read(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic_and_what_is_read_fits_a_frame(pdu in prop::collection::vec(any::<u8>(), 0..300)) {
            let question = Question::read(&pdu);
            prop_assert_eq!(question.function(), pdu.first().copied().unwrap_or(0));
            if let Question::Read(request) = question {
                let words = vec![1; usize::from(request.count)];
                prop_assert!(read_answer(request, &words).len() <= MAX_PDU);
            }
        }

        #[test]
        fn any_header_is_read_or_refused(octets in any::<[u8; HEADER]>()) {
            if let Some(header) = Header::read(octets) {
                prop_assert!(header.length <= MAX_PDU);
            }
        }
    }
}
