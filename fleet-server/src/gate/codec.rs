//! Bytes to MQTT 3.1.1 packets and back.
//!
//! # Design
//! The codec is rumqttc's; nothing is parsed by hand but the protocol level, because a CONNECT of another version
//! has another layout and still deserves its answer. What the codec lets pass (reserved bits, trailing bytes, lengths
//! written too long) is found by one rule: *a packet is taken only when writing it again gives the same bytes*. A
//! publish has no room for such faults beyond its first byte, and is not written again.

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Connect, Packet};
use rumqttc::mqttbytes::{Error, QoS, check, valid_filter};

use super::Why;

/// Longest CONNECT, bytes: an id of at most 40, and room for a user name and a password that nobody reads.
pub const MAX_CONNECT: usize = 4 * 1024;
/// Longest packet after that, bytes without its fixed header: one envelope and its topic.
pub const MAX_PACKET: usize = 64 * 1024;

/// Takes one packet off the front of `buffer`; `None` when its end has not come yet.
///
/// `limit` is the longest packet, in bytes without the fixed header. Fails with [`Why::TooLarge`] as soon as a
/// longer one is announced, [`Why::Version`] for a CONNECT of another protocol version, and [`Why::Malformed`] for
/// everything else that is no packet. Never panics; the connection has to be closed after a failure.
pub fn read(buffer: &mut BytesMut, limit: usize) -> Result<Option<Packet>, Why> {
    let length = match check(buffer.iter(), limit) {
        Ok(header) => header.frame_length(),
        Err(Error::InsufficientBytes(_)) => return Ok(None),
        Err(Error::PayloadSizeLimitExceeded(_)) => return Err(Why::TooLarge),
        Err(_) => return Err(Why::Malformed),
    };
    let packet = if buffer[0] >> 4 == PUBLISH {
        Packet::read(buffer, limit).map_err(|_| Why::Malformed)?
    } else {
        let frame = buffer.split_to(length);
        if other_version(&frame) {
            return Err(Why::Version);
        }
        let packet = Packet::read(&mut frame.clone(), limit).map_err(|_| Why::Malformed)?;
        if written(&packet)? != frame {
            return Err(Why::Malformed);
        }
        packet
    };
    if sound(&packet) {
        Ok(Some(packet))
    } else {
        Err(Why::Malformed)
    }
}

/// Appends one packet to `buffer`. Our own packets are all within their limits.
pub fn write(packet: &Packet, buffer: &mut BytesMut) -> Result<(), Why> {
    packet
        .write(buffer, usize::MAX)
        .map(drop)
        .map_err(|_| Why::Malformed)
}

const PUBLISH: u8 = 3;
const CONNECT: u8 = 0x10;

fn written(packet: &Packet) -> Result<BytesMut, Why> {
    let mut again = BytesMut::new();
    write(packet, &mut again)?;
    Ok(again)
}

/// A CONNECT whose protocol is MQTT, at another level than 4. MQTT 3.1 called itself `MQIsdp`.
fn other_version(frame: &[u8]) -> bool {
    let Some((&CONNECT, rest)) = frame.split_first() else {
        return false;
    };
    let body = rest
        .iter()
        .position(|byte| byte & 0x80 == 0)
        .and_then(|end| rest.get(end + 1..));
    let body = body.unwrap_or_default();
    match body.strip_prefix(b"\0\x04MQTT") {
        Some(rest) => rest.first().is_some_and(|&level| level != 4),
        None => body.starts_with(b"\0\x06MQIsdp"),
    }
}

/// What neither the codec nor writing again finds.
fn sound(packet: &Packet) -> bool {
    match packet {
        // MQTT-3.3.1-2: a message that is never sent twice is no duplicate.
        Packet::Publish(publish) => !(publish.dup && publish.qos == QoS::AtMostOnce),
        Packet::Connect(connect) => sound_login(connect),
        Packet::Subscribe(subscribe) => {
            subscribe.pkid != 0 && subscribe.filters.iter().all(|filter| sound_filter(&filter.path))
        }
        Packet::Unsubscribe(unsubscribe) => {
            let topics = &unsubscribe.topics;
            unsubscribe.pkid != 0 && !topics.is_empty() && topics.iter().all(|topic| sound_filter(topic))
        }
        Packet::PubAck(ack) => ack.pkid != 0,
        _ => true,
    }
}

/// MQTT-3.1.2-22: no password without a user name. A client id and a topic are held against ours later.
fn sound_login(connect: &Connect) -> bool {
    let login = connect.login.as_ref();
    login.is_none_or(|login| !login.username.is_empty() && sound_text(&login.username))
}

/// MQTT-4.7.1-2, -3 and 4.7.3-1: where wildcards may stand, and at least one character.
fn sound_filter(filter: &str) -> bool {
    sound_text(filter) && valid_filter(filter)
}

/// MQTT-1.5.3-2: no NUL in a text; the other control characters should not be there, and we hold senders to it.
fn sound_text(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use rumqttc::mqttbytes::v4::{Login, PubAck, Publish, Subscribe, Unsubscribe};

    use super::*;

    fn take(bytes: &[u8]) -> Result<Option<Packet>, Why> {
        read(&mut BytesMut::from(bytes), MAX_PACKET)
    }

    fn bytes_of(packet: &Packet) -> BytesMut {
        written(packet).expect("a packet")
    }

    fn subscribe() -> Packet {
        let mut subscribe = Subscribe::new("hw1/fleet/#", QoS::AtLeastOnce);
        subscribe.pkid = 7;
        Packet::Subscribe(subscribe)
    }

    #[test]
    fn whole_packets_are_read_one_by_one_and_half_ones_waited_for() {
        let mut publish = Publish::new("hw1/gw-1/up/vital", QoS::AtLeastOnce, vec![1, 2, 3]);
        publish.pkid = 9;
        let all = [
            Packet::Connect(Connect::new("gw-1")),
            subscribe(),
            Packet::Publish(publish),
            Packet::PubAck(PubAck::new(3)),
            Packet::PingReq,
            Packet::Disconnect,
        ];
        let mut sent = BytesMut::new();
        for packet in &all {
            write(packet, &mut sent).expect("written");
        }
        let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
        for byte in sent {
            buffer.extend_from_slice(&[byte]);
            got.extend(read(&mut buffer, MAX_PACKET).expect("sound"));
        }
        assert_eq!(got, all);
    }

    #[test]
    fn other_versions_are_told_apart_from_nonsense() {
        let connect = bytes_of(&Packet::Connect(Connect::new("gw-1")));
        for level in [0, 2, 3, 5, 6, 0x84] {
            let mut other = connect.clone();
            other[8] = level;
            assert_eq!(take(&other), Err(Why::Version), "level {level}");
        }
        assert_eq!(
            take(b"\x10\x0f\0\x06MQIsdp\x03\x02\0\x0a\0\x01p"),
            Err(Why::Version)
        );
        assert_eq!(
            take(b"\x10\x0d\0\x04MQTU\x04\x02\0\x0a\0\x01p"),
            Err(Why::Malformed)
        );
    }

    #[test]
    fn reserved_bits_trailing_bytes_and_empty_ids_are_refused() {
        let spoiled = |packet: &Packet, at: usize, bit: u8| {
            let mut bytes = bytes_of(packet);
            bytes[at] ^= bit;
            bytes
        };
        let mut longer = bytes_of(&Packet::PubAck(PubAck::new(3)));
        longer[1] += 1;
        longer.extend_from_slice(&[0]);
        let mut nul = Connect::new("gw-1");
        nul.login = Some(Login::new("a\0b", "x"));
        let mut nameless = Connect::new("gw-1");
        nameless.login = Some(Login::new("", "x"));
        let mut unsubscribe = Unsubscribe::new("hw1/fleet/#");
        unsubscribe.topics.clear();
        unsubscribe.pkid = 1;
        for (what, bytes) in [
            ("a flag in PINGREQ's header", spoiled(&Packet::PingReq, 0, 1)),
            ("a flag in SUBSCRIBE's header", spoiled(&subscribe(), 0, 1)),
            (
                "CONNECT's reserved bit",
                spoiled(&Packet::Connect(Connect::new("gw-1")), 9, 1),
            ),
            ("a reserved QoS bit", {
                let mut bytes = bytes_of(&subscribe());
                let last = bytes.len() - 1;
                bytes[last] |= 0x40;
                bytes
            }),
            ("a byte after PUBACK", longer),
            ("PUBACK of nothing", bytes_of(&Packet::PubAck(PubAck::new(0)))),
            ("a length written too long", BytesMut::from(&b"\xc0\x80\x00"[..])),
            (
                "a length of five bytes",
                BytesMut::from(&b"\xc0\x80\x80\x80\x80\x01"[..]),
            ),
            (
                "a duplicate that is never sent twice",
                BytesMut::from(&b"\x38\x03\0\x01a"[..]),
            ),
            ("NUL in a user name", bytes_of(&Packet::Connect(nul))),
            ("a password without a user", bytes_of(&Packet::Connect(nameless))),
            ("no filter", bytes_of(&Packet::Unsubscribe(unsubscribe))),
            ("an empty packet", BytesMut::from(&b"\x82\0"[..])),
            ("type 0", BytesMut::from(&b"\0\0"[..])),
            ("type 15", BytesMut::from(&b"\xf0\0"[..])),
        ] {
            assert_eq!(take(&bytes), Err(Why::Malformed), "{what}");
        }
    }

    #[test]
    fn the_longest_packet_is_refused_when_announced() {
        assert_eq!(take(&[0x30, 0xff, 0xff, 0xff, 0x7f]), Err(Why::TooLarge));
        let publish = |size| {
            let publish = Publish::from_bytes("t", QoS::AtMostOnce, Bytes::from(vec![0; size]));
            bytes_of(&Packet::Publish(publish))
        };
        assert!(take(&publish(MAX_PACKET - 3)).is_ok_and(|packet| packet.is_some()));
        assert_eq!(take(&publish(MAX_PACKET - 2)), Err(Why::TooLarge));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_it(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_u8..16) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = (*first & 0x0f) | (kind << 4);
            }
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = read(&mut buffer, MAX_PACKET) {}
        }
    }
}
