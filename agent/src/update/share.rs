//! What neighbours may ask of a box that shares: a file, by the SHA-256 of its bytes, and nothing else.
//!
//! # Design
//! HTTP/1.1, so that a mirror is a neighbour too; of it just this: `GET /sha256/HEX`, and `Range: bytes=N-`. The answer
//! names no program, no version and no time. Who asks is not asked back: the hash is all that a stranger learns something
//! by, and all that the one who asks believes. Source: RFC 9112, sections 2 and 3; RFC 9110, section 14.

use homeward_protocol::tuf::read::hex;

use crate::slot::Digest;

pub mod serve;

/// Longest head of a request, bytes.
pub const MAX_HEAD: usize = 2 * 1024;
/// Where files are, by their SHA-256 in lower case hex.
pub const FOLDER: &str = "sha256/";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Which bytes.
    pub sha256: Digest,
    /// From which on.
    pub from: u64,
}

/// Why nothing is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is no request that could be answered.
    Odd,
    /// There is no such file here.
    Absent,
    /// The file ends before.
    Beyond,
}

/// Reads the head of a request: all up to the empty line.
///
/// # Errors
/// What is to be answered instead.
pub fn asked(head: &[u8]) -> Result<Asked, Refused> {
    let head = str::from_utf8(head).map_err(|_| Refused::Odd)?;
    let mut lines = head.strip_suffix("\r\n\r\n").ok_or(Refused::Odd)?.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some("GET"), Some(path), Some("HTTP/1.1"), None) =
        (first.next(), first.next(), first.next(), first.next())
    else {
        return Err(Refused::Odd);
    };
    let name = path.strip_prefix('/').ok_or(Refused::Odd)?;
    let name = name.strip_prefix(FOLDER).ok_or(Refused::Absent)?;
    let lower = name.bytes().all(|b| !b.is_ascii_uppercase());
    let sha256 = hex(name)
        .filter(|_| lower)
        .and_then(|bytes| bytes.try_into().ok());
    let sha256 = Digest(sha256.ok_or(Refused::Absent)?);
    let mut from = 0;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Refused::Odd)?;
        if name.eq_ignore_ascii_case("range") {
            from = beginning(value.trim()).unwrap_or(0);
        }
    }
    Ok(Asked { sha256, from })
}

/// Of `bytes=N-`, N; another range may be left out of account.
fn beginning(range: &str) -> Option<u64> {
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// The head of the answer that gives a file of `length` bytes from `from` on.
///
/// # Errors
/// When it ends before.
pub fn head(from: u64, length: u64) -> Result<String, Refused> {
    let rest = length.checked_sub(from).filter(|rest| *rest > 0 || from == 0);
    let rest = rest.ok_or(Refused::Beyond)?;
    let status = if from == 0 {
        "200 OK\r\n".to_owned()
    } else {
        let last = length - 1;
        format!("206 Partial Content\r\nContent-Range: bytes {from}-{last}/{length}\r\n")
    };
    Ok(format!(
        "HTTP/1.1 {status}Content-Length: {rest}\r\nConnection: close\r\n\r\n"
    ))
}

impl Refused {
    /// The whole answer.
    pub const fn answer(self) -> &'static str {
        match self {
            Refused::Odd => "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            Refused::Absent => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            Refused::Beyond => {
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(byte: u8) -> String {
        Digest([byte; 32]).to_string()
    }

    fn ask(head: &str) -> Result<Asked, Refused> {
        asked(head.as_bytes())
    }

    #[test]
    fn a_file_is_asked_for_by_its_hash_and_from_any_byte_on() {
        let name = name(0xab);
        let plain = format!("GET /sha256/{name} HTTP/1.1\r\nHost: 192.0.2.1:8600\r\n\r\n");
        let sha256 = Digest([0xab; 32]);
        assert_eq!(ask(&plain), Ok(Asked { sha256, from: 0 }));
        let later = format!("GET /sha256/{name} HTTP/1.1\r\nrAnGe:  bytes=17- \r\n\r\n");
        assert_eq!(ask(&later), Ok(Asked { sha256, from: 17 }));
        let part = format!("GET /sha256/{name} HTTP/1.1\r\nRange: bytes=17-20\r\n\r\n");
        assert_eq!(ask(&part), Ok(Asked { sha256, from: 0 }));
    }

    #[test]
    fn nothing_else_is_a_request() {
        let name = name(0xab);
        for odd in [
            String::new(),
            "\r\n\r\n".into(),
            format!("GET /sha256/{name} HTTP/1.1\r\n"),
            format!("POST /sha256/{name} HTTP/1.1\r\n\r\n"),
            format!("GET /sha256/{name} HTTP/1.0\r\n\r\n"),
            format!("GET /sha256/{name} x HTTP/1.1\r\n\r\n"),
            format!("GET sha256/{name} HTTP/1.1\r\n\r\n"),
            format!("GET /sha256/{name} HTTP/1.1\r\nno header\r\n\r\n"),
        ] {
            assert_eq!(ask(&odd), Err(Refused::Odd), "{odd:?}");
        }
        for absent in [
            "/",
            "/metadata/timestamp.json",
            "/sha256/",
            "/sha256/../../identity/key",
            "/sha256/ab",
            &format!("/sha256/{}", name.to_uppercase()),
            &format!("/sha256/{name}/"),
            &format!("/sha256/{name}00"),
        ] {
            assert_eq!(
                ask(&format!("GET {absent} HTTP/1.1\r\n\r\n")),
                Err(Refused::Absent),
                "{absent}"
            );
        }
    }

    #[test]
    fn an_answer_says_where_it_begins_and_nothing_of_who_gives_it() {
        let whole = head(0, 10).expect("there");
        assert_eq!(
            whole,
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"
        );
        let rest = head(4, 10).expect("there");
        assert!(rest.starts_with("HTTP/1.1 206 ") && rest.contains("Content-Range: bytes 4-9/10\r\n"));
        assert!(rest.contains("Content-Length: 6\r\n"));
        assert_eq!(
            (head(10, 10), head(11, 10)),
            (Err(Refused::Beyond), Err(Refused::Beyond))
        );
        assert!(head(0, 0).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_a_stranger_sends_is_a_request_as_it_should_be_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(asked(&bytes).is_err(), "64 hexadecimal digits by chance");
        }

        #[test]
        fn a_request_with_any_headers_is_read_or_refused(headers in "([ -~]{0,20}\r\n){0,5}", from in any::<u64>()) {
            let request = format!("GET /sha256/{} HTTP/1.1\r\nRange: bytes={from}-\r\n{headers}\r\n", name(7));
            match ask(&request) {
                Ok(asked) => prop_assert_eq!(asked.sha256, Digest([7; 32])),
                Err(refused) => prop_assert_eq!(refused, Refused::Odd),
            }
        }
    }
}
