//! Who a device says it is: the objects of function 43/14, device identification.
//!
//! Self-declared, so it proves nothing; but another device at the end of a moved cable says something else.
//! Source: Modbus application protocol 1.1b3, section 6.21.

use std::collections::BTreeMap;
use std::fmt;

/// Longest object kept, bytes: makers' and products' names are far shorter.
const MAX_OBJECT: usize = 64;

/// The basic objects: maker (0), product code (1), revision (2); or a part of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    objects: BTreeMap<u8, String>,
    next: Option<u8>,
}

impl Identity {
    /// From the objects of one answer. `next` is the object to ask for when it did not hold all of them.
    pub fn new<'a>(objects: impl Iterator<Item = (u8, &'a [u8])>, next: Option<u8>) -> Identity {
        let basic = objects.filter(|(id, _)| *id <= 2);
        Identity {
            objects: basic.map(|(id, value)| (id, plain(value))).collect(),
            next,
        }
    }

    /// Adds the answer to the question for the [next](Identity::next) object.
    pub fn join(&mut self, more: Identity) {
        self.objects.extend(more.objects);
        self.next = more.next;
    }

    /// The object to ask for next; none when this is all, or when the device only repeats itself.
    pub fn next(&self) -> Option<u8> {
        self.next
            .filter(|next| *next <= 2 && !self.objects.contains_key(next))
    }

    /// The objects, in order: number and text.
    pub fn objects(&self) -> impl Iterator<Item = (u8, &str)> {
        self.objects.iter().map(|(id, text)| (*id, text.as_str()))
    }

    /// Maker and product without the revision, which an update changes.
    pub fn model(&self) -> String {
        self.words(0..=1)
    }

    fn words(&self, which: std::ops::RangeInclusive<u8>) -> String {
        let texts: Vec<&str> = self.objects.range(which).map(|(_, text)| text.as_str()).collect();
        texts.join(" ")
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words(0..=2))
    }
}

/// Printable ASCII of it; other octets become `?`.
fn plain(value: &[u8]) -> String {
    let shown = |octet: &u8| match octet {
        b' '..=b'~' => char::from(*octet),
        _ => '?',
    };
    let text: String = value.iter().take(MAX_OBJECT).map(shown).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_and_an_answer_that_repeats_itself_ends_it() {
        let mut found = Identity::new([(0, &b"Vaisala"[..])].into_iter(), Some(1));
        assert_eq!(found.next(), Some(1));
        found.join(Identity::new(
            [(1, &b"GMP251"[..]), (2, b"1.3\n")].into_iter(),
            Some(1),
        ));
        assert_eq!(found.next(), None);
        assert_eq!(found.to_string(), "Vaisala GMP251 1.3?");
        assert_eq!(found.model(), "Vaisala GMP251");
    }
}
