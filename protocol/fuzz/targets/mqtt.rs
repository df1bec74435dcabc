//! What an admitted gateway can send: bytes to packets to the session, and every answer written.
#![no_main]

use bytes::BytesMut;
use homeward_fleet::gate::codec::{self, MAX_CONNECT, MAX_PACKET};
use homeward_fleet::gate::session::{Effect, Input, Session};
use homeward_protocol::time::Uptime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let gateway = "gw-1".parse().expect("an id");
    let mut session = Session::new(gateway, Uptime(10_000));
    let (mut inbox, mut outbox) = (BytesMut::from(bytes), BytesMut::new());
    let mut todo: Vec<Input> = Vec::new();
    let mut limit = MAX_CONNECT;
    for now in 0..10_000 {
        let input = match todo.pop() {
            Some(input) => input,
            None if !session.takes_packets() => Input::Tick,
            None => match codec::read(&mut inbox, limit) {
                Ok(Some(packet)) => Input::Packet(packet),
                Ok(None) => break,
                Err(why) => Input::Unreadable(why),
            },
        };
        for effect in session.handle(input, Uptime(now)) {
            match effect {
                Effect::Send(packet) => codec::write(&packet, &mut outbox).expect("our own packets can be written"),
                Effect::Enter => {
                    limit = MAX_PACKET;
                    todo.push(Input::Entered);
                }
                Effect::Deliver { payload, id, .. } => {
                    assert!(payload.len() <= MAX_PACKET);
                    todo.extend(id.map(Input::Stored));
                }
                Effect::Testify { id, .. } => todo.extend(id.map(Input::Stored)),
                Effect::Close(_) => return,
            }
        }
    }
    // An answer is never longer than what it answers, by much: nobody makes the gate shout.
    assert!(outbox.len() <= 4 * bytes.len() + 64, "{} bytes for {}", outbox.len(), bytes.len());
});
