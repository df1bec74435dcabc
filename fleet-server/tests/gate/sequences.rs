//! The packet sequences of mosquitto's own test suite, played against the gate.
//!
//! Each is played as it is written, and once more with topics, filters and client ids of ours in place of the
//! suite's, which gets further. Every answer that differs from the suite's is explained by one rule of [`RULES`];
//! a difference without a rule fails, and so does a rule that explains nothing.
//!
//! Source: Eclipse Mosquitto, `test/broker/data`; the format is in `SOURCE.md` beside the sequences.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Connect, Packet};
use rustls::ClientConfig;
use serde::Deserialize;

use crate::client::{Client, bytes_of};
use crate::house::House;

const GATEWAY: &str = "gw-seq";
const TOPIC: &str = "hw1/gw-seq/up/vital";
const CONNACK_VERSION: &[u8] = &[0x20, 2, 0, 1];
const CONNACK_CLIENT_ID: &[u8] = &[0x20, 2, 0, 2];
const CONNACK_NOT_AUTHORISED: &[u8] = &[0x20, 2, 0, 5];

/// Why an answer differs from the suite's.
struct Rule {
    name: &'static str,
    /// For people.
    reason: &'static str,
    explains: fn(&Case, &Transcript) -> bool,
}

const RULES: [Rule; 11] = [
    Rule {
        name: "version",
        reason: "only MQTT 3.1.1 is spoken: another version is answered by CONNACK 1, or closed when it is broken",
        explains: |case, ours| {
            case.version != 4 && ours.closed && ours.answers.iter().all(|answer| answer == CONNACK_VERSION)
        },
    },
    Rule {
        name: "version in its own words",
        reason: "CONNACK 1 is what 3.1.1 has for another level; the suite expects MQTT 5's code 0x84",
        explains: |case, ours| {
            let other = case
                .expected
                .first()
                .is_some_and(|answer| answer[..] == [0x20, 3, 0, 0x84, 0]);
            other && ours.closed && ours.answers == [CONNACK_VERSION]
        },
    },
    Rule {
        name: "client id",
        reason: "the client id is the name in the certificate",
        explains: |_, ours| ours.closed && ours.answers == [CONNACK_CLIENT_ID],
    },
    Rule {
        name: "will",
        reason: "presence comes from the list of connections: a will is refused",
        explains: |case, ours| {
            let will = case
                .sent
                .iter()
                .any(|packet| packet[0] == 0x10 && packet.get(9).is_some_and(|f| f & 4 != 0));
            will && ours.closed && ours.answers == [CONNACK_NOT_AUTHORISED]
        },
    },
    Rule {
        name: "retain",
        reason: "a gateway's records are stored, not retained",
        explains: |case, ours| {
            ours.closed_without_a_word() && case.sent.iter().any(|packet| packet[0] == 0x31)
        },
    },
    Rule {
        name: "QoS 2",
        reason: "the application acknowledges: QoS 2 and its packets are refused",
        explains: |case, ours| {
            let second = |packet: &BytesMut| matches!(packet[0], 0x34 | 0x3c | 0x50 | 0x62 | 0x70);
            ours.closed_without_a_word() && case.sent.iter().any(second)
        },
    },
    Rule {
        name: "topic",
        reason: "a gateway publishes to its own topics only",
        explains: |case, ours| {
            let own = |packet: &BytesMut| {
                packet
                    .windows(TOPIC.len())
                    .any(|window| window == TOPIC.as_bytes())
            };
            let foreign = |packet: &BytesMut| matches!(packet[0], 0x30 | 0x32 | 0x3a) && !own(packet);
            ours.closed_without_a_word() && case.sent.iter().any(foreign)
        },
    },
    Rule {
        name: "level first",
        reason: "the level decides the layout: a broken CONNECT of level 5 is answered by its level",
        explains: |case, ours| {
            case.closed
                && ours.closed
                && ours.answers == [CONNACK_VERSION]
                && case.sent[0][2..9] == *b"\0\x04MQTT\x05"
        },
    },
    Rule {
        name: "empty user name",
        reason: "nobody reads user names here, and the codec cannot tell an empty one from none",
        explains: |case, ours| {
            let name = case
                .sent
                .first()
                .is_some_and(|packet| packet[0] == 0x10 && packet[9] & 0x80 != 0);
            name && case.sent[0].ends_with(&[0, 0]) && ours.closed_without_a_word()
        },
    },
    Rule {
        name: "filter",
        reason: "a gateway subscribes to its own filters only: another one fails with 0x80",
        explains: |case, ours| {
            let refused =
                |answer: &BytesMut| answer[0] == 0x90 && answer[4..].iter().all(|code| *code == 0x80);
            let same =
                |(ours, suite): (&BytesMut, &BytesMut)| ours == suite || refused(ours) && suite[0] == 0x90;
            ours.closed == case.closed
                && ours.answers.len() == case.expected.len()
                && ours.answers.iter().zip(&case.expected).all(same)
        },
    },
    Rule {
        name: "QoS 2 filter",
        reason: "what is asked for at QoS 2 is granted at QoS 1",
        explains: |case, ours| !ours.closed && case.expected.iter().any(|a| a[..] == [0x90, 3, 4, 0xd2, 2]),
    },
];

/// One sequence, ready to play.
struct Case {
    name: String,
    version: u8,
    /// Whether a CONNECT goes before it.
    connect: bool,
    steps: Vec<Step>,
    sent: Vec<BytesMut>,
    expected: Vec<BytesMut>,
    closed: bool,
}

enum Step {
    Send(BytesMut),
    Receive,
}

/// What the gate said, and whether it closed the connection.
#[derive(Debug)]
struct Transcript {
    answers: Vec<BytesMut>,
    closed: bool,
}

impl Transcript {
    fn closed_without_a_word(&self) -> bool {
        self.closed && self.answers.is_empty()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_from_mosquittos_suite_has_its_reason() {
    let Some(folder) = folder() else {
        assert!(
            env::var_os("CI").is_none(),
            "the packet sequences are missing: set HOMEWARD_SHARED"
        );
        println!(
            "skipped: no packet sequences beside the workspace; set HOMEWARD_SHARED to the folder that holds them"
        );
        return;
    };
    let house = House::open().await;
    let credentials = house.credentials(GATEWAY);
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unexplained = Vec::new();
    for case in cases(&folder) {
        let ours = play(&house, &credentials, &case).await;
        if ours.closed == case.closed && ours.answers == case.expected {
            *used.entry("(the same)").or_default() += 1;
        } else if let Some(rule) = RULES.iter().find(|rule| (rule.explains)(&case, &ours)) {
            *used.entry(rule.name).or_default() += 1;
        } else {
            let (expected, closed) = (&case.expected, case.closed);
            unexplained.push(format!(
                "{}\n  suite: {expected:02x?} closed: {closed}\n  gate: {ours:02x?}",
                case.name
            ));
        }
    }
    println!("{used:#?}");
    assert!(
        unexplained.is_empty(),
        "no rule explains these:\n{}",
        unexplained.join("\n")
    );
    for rule in &RULES {
        assert!(
            used.contains_key(rule.name),
            "\"{}\" ({}) explains nothing any more",
            rule.name,
            rule.reason
        );
    }
    assert!(
        used["(the same)"] > 200,
        "most of 3.1.1 is answered as the suite has it"
    );
    house.serves_an_honest_gateway().await;
}

async fn play(house: &House, credentials: &Arc<ClientConfig>, case: &Case) -> Transcript {
    let mut client = Client::dial(house.address, Arc::clone(credentials))
        .await
        .expect("TLS");
    let mut answers = Vec::new();
    if case.connect {
        client.send_bytes(&connect(case.version)).await.expect("sent");
        match client.receive_bytes().await {
            Some(answer) if answer[..] == [0x20, 2, 0, 0] => {}
            Some(answer) => answers.push(answer),
            None => {}
        }
    }
    for step in &case.steps {
        match step {
            Step::Send(bytes) => drop(client.send_bytes(bytes).await),
            Step::Receive => match client.receive_bytes().await {
                Some(answer) => answers.push(answer),
                None => {
                    return Transcript {
                        answers,
                        closed: true,
                    };
                }
            },
        }
    }
    // A connection that lives answers this one.
    let _ = client.send_bytes(&bytes_of(&Packet::PingReq)).await;
    loop {
        match client.receive_bytes().await {
            Some(answer) if answer[..] == [0xd0, 0] => {
                return Transcript {
                    answers,
                    closed: false,
                };
            }
            Some(answer) => answers.push(answer),
            None => {
                return Transcript {
                    answers,
                    closed: true,
                };
            }
        }
    }
}

fn connect(version: u8) -> BytesMut {
    match version {
        3 => BytesMut::from(&b"\x10\x14\0\x06MQIsdp\x03\x02\0\x0a\0\x06gw-seq"[..]),
        5 => BytesMut::from(&b"\x10\x13\0\x04MQTT\x05\x02\0\x0a\0\0\x06gw-seq"[..]),
        _ => bytes_of(&Packet::Connect(Connect::new(GATEWAY))),
    }
}

#[derive(Deserialize)]
struct Group {
    #[serde(rename = "group")]
    name: String,
    ver: u8,
    connect: Option<bool>,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    name: String,
    ver: Option<u8>,
    connect: Option<bool>,
    expect_disconnect: Option<bool>,
    msgs: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    r#type: Kind,
    payload: String,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Send,
    Recv,
}

fn folder() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let beside = [workspace.join("shared"), workspace.parent()?.join("shared")];
    let named = env::var_os("HOMEWARD_SHARED").map(PathBuf::from);
    let mut folders = named
        .into_iter()
        .chain(beside)
        .map(|shared| shared.join("data/mqtt/packet-sequences"));
    folders.find(|folder| folder.is_dir())
}

fn cases(folder: &Path) -> Vec<Case> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|f| f.expect("an entry").path())
        .collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|e| e == "json"))
    {
        let groups: Vec<Group> =
            serde_json::from_slice(&fs::read(file).expect("readable")).expect("sequences");
        for group in groups {
            for test in &group.tests {
                cases.push(case(&group, test, false));
                if test.ver.unwrap_or(group.ver) == 4 {
                    cases.push(case(&group, test, true));
                }
            }
        }
    }
    assert!(cases.len() > 1300, "only {} sequences were found", cases.len());
    cases
}

fn case(group: &Group, test: &Test, ours: bool) -> Case {
    let bytes = |message: &Message| {
        let tokens = tokens(&message.payload);
        encode(&if ours && message.r#type == Kind::Send {
            as_ours(tokens)
        } else {
            tokens
        })
    };
    let of = |kind: Kind| {
        test.msgs
            .iter()
            .filter(move |message| message.r#type == kind)
            .map(bytes)
            .collect()
    };
    let step = |message: &Message| match message.r#type {
        Kind::Send => Step::Send(bytes(message)),
        Kind::Recv => Step::Receive,
    };
    Case {
        name: format!(
            "{} / {}{}",
            group.name,
            test.name,
            if ours { " (with our names)" } else { "" }
        ),
        version: test.ver.unwrap_or(group.ver),
        connect: test.connect.or(group.connect).unwrap_or(true),
        steps: test.msgs.iter().map(step).collect(),
        sent: of(Kind::Send),
        expected: of(Kind::Recv),
        closed: test.expect_disconnect.unwrap_or(true),
    }
}

/// One token of the suite's notation.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// A text between quotes.
    Text(String),
    /// A number and how it is written: `i` 8, `H k m s` 16 and `L` 32 bits, `r v` in groups of seven bits.
    Number(char, u32),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let (word, after) = if let Some(quoted) = rest.strip_prefix('\'') {
            let (quoted, after) = quoted.split_once('\'').expect("a closing quote");
            tokens.push(Token::Text(quoted.to_owned()));
            ("", after)
        } else {
            rest.split_once(' ').unwrap_or((rest, ""))
        };
        if "iHLkmrsvNM".contains(first) {
            tokens.push(Token::Number(first, word[1..].parse().expect("a number")));
        } else if !word.is_empty() {
            let pair = |at: usize| u8::from_str_radix(&word[at..at + 2], 16).expect("hexadecimal");
            tokens.push(Token::Bytes((0..word.len()).step_by(2).map(pair).collect()));
        }
        rest = after.trim_start();
    }
    tokens
}

fn encode(tokens: &[Token]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for token in tokens {
        match token {
            Token::Bytes(some) => bytes.extend_from_slice(some),
            Token::Text(text) => bytes.extend_from_slice(text.as_bytes()),
            Token::Number('i', n) => bytes.extend_from_slice(&n.to_be_bytes()[3..]),
            Token::Number('L', n) => bytes.extend_from_slice(&n.to_be_bytes()),
            Token::Number('r' | 'v', n) => bytes.extend(in_groups_of_seven(*n)),
            Token::Number(_, n) => bytes.extend_from_slice(&n.to_be_bytes()[2..]),
        }
    }
    bytes
}

fn in_groups_of_seven(mut n: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(n % 128).expect("seven bits");
        n /= 128;
        bytes.push(low | if n > 0 { 0x80 } else { 0 });
        if n == 0 {
            return bytes;
        }
    }
}

/// The same packet with our names: the client id of a CONNECT, the topic of a PUBLISH, the filters of a SUBSCRIBE.
fn as_ours(mut tokens: Vec<Token>) -> Vec<Token> {
    let kind = match tokens.first() {
        Some(Token::Bytes(bytes)) => bytes[0] >> 4,
        _ => return tokens,
    };
    let mut longer = 0;
    for at in 1..tokens.len() {
        let (Token::Number('s', length), Token::Text(text)) = (&tokens[at - 1], &tokens[at]) else {
            continue;
        };
        let after_keep_alive = matches!(tokens[at.saturating_sub(2)], Token::Number('k', _));
        let name = match (kind, text.as_str()) {
            (1, "p") if after_keep_alive => GATEWAY,
            (3, "topic") => TOPIC,
            (8 | 10, "p") => "hw1/gw-seq/down/#",
            (8 | 10, "q") => "hw1/fleet/#",
            _ => continue,
        };
        let name_length = u32::try_from(name.len()).expect("short");
        longer += name_length - length;
        tokens[at - 1] = Token::Number('s', name_length);
        tokens[at] = Token::Text(name.to_owned());
    }
    if let Some(Token::Number('r', length)) = tokens.get_mut(1) {
        *length += longer;
    }
    tokens
}
