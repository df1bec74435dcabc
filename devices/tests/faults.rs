//! Devices that misbehave, each fault through the real line code: what the Modbus library would believe, hang on or
//! panic at must come out as an error, and the next value must be the right one.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests play devices on sockets and measure the wait"
)]

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use homeward_devices::link::{LinkError, Registers};
use homeward_devices::modbus::Request;
use homeward_devices::modbus::serial::{Open, Rtu};
use homeward_devices::modbus::tcp::Tcp;
use homeward_devices::profile::Function;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, WriteHalf, duplex};
use tokio::net::{TcpListener, TcpStream};

const LIMIT: Duration = Duration::from_millis(300);

/// One holding register. The fakes answer with the address as the value.
fn at(address: u16) -> Request {
    Request {
        function: Function::HoldingRegisters,
        address,
        count: 1,
    }
}

/// What the fake does with one question.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Play {
    Well,
    /// Answers well and closes the connection.
    WellThenClose,
    Late(Duration),
    /// Answers with that many registers.
    Count(u8),
    Nothing,
    /// Refuses by that exception.
    Refuse(u8),
    /// Sends half an answer and closes.
    Half,
    /// Another transaction number (TCP), a wrong checksum (RTU).
    Wrong,
    /// Sends noise before the answer.
    Noise,
    /// Flips these bits of that octet of the answer; header and checksum are made for the result.
    Garbled(usize, u8),
}

/// What is still to be played; well when nothing is left.
#[derive(Debug, Clone)]
struct Plays(Arc<Mutex<VecDeque<Play>>>);

impl Plays {
    fn new(plays: &[Play]) -> Self {
        Plays(Arc::new(Mutex::new(plays.iter().copied().collect())))
    }

    fn next(&self) -> Play {
        self.0
            .lock()
            .expect("unpoisoned")
            .pop_front()
            .unwrap_or(Play::Well)
    }
}

/// The answer to the question `[function, address, address, count, count]`, without header and checksum.
fn pdu(question: &[u8], play: Play) -> Vec<u8> {
    let (function, address) = (question[0], u16::from_be_bytes([question[1], question[2]]));
    let count = match play {
        Play::Refuse(code) => return vec![function | 0x80, code],
        Play::Count(count) => count,
        _ => question[4],
    };
    let mut out = vec![function, count * 2];
    (0..u16::from(count)).for_each(|n| out.extend((address + n).to_be_bytes()));
    if let Play::Garbled(at, bits) = play {
        out[at] ^= bits;
    }
    out
}

async fn tcp_fake(plays: &[Play]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let plays = Plays::new(plays);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(tcp_serve(stream, plays.clone()));
        }
    });
    address
}

async fn tcp_serve(mut stream: TcpStream, plays: Plays) -> io::Result<()> {
    loop {
        let mut frame = [0; 12];
        stream.read_exact(&mut frame).await?;
        let play = plays.next();
        let body = pdu(&frame[7..], play);
        let mut out = frame[..4].to_vec();
        out.extend(u16::try_from(body.len() + 1).expect("short").to_be_bytes());
        out.push(frame[6]);
        out.extend(body);
        match play {
            Play::Nothing => continue,
            Play::Late(wait) => tokio::time::sleep(wait).await,
            Play::Half => return stream.write_all(&out[..8]).await,
            Play::Wrong => out[1] = out[1].wrapping_add(1),
            _ => {}
        }
        stream.write_all(&out).await?;
        if play == Play::WellThenClose {
            return Ok(());
        }
    }
}

/// Plays one fault on a fresh connection and gives the error; the ten values after it must be right.
async fn tcp_fault(play: Play) -> LinkError {
    let mut line = Tcp::new(tcp_fake(&[Play::Well, play]).await, LIMIT);
    assert_eq!(line.read(1, at(10)).await.expect("answers"), [10]);
    let error = line.read(1, at(20)).await.expect_err("the fault shows");
    assert_eq!(line.is_connected(), error.answered(), "{error}");
    for address in 30..40 {
        assert_eq!(line.read(1, at(address)).await.expect("answers"), [address]);
    }
    error
}

#[tokio::test]
async fn tcp_an_exception_names_its_code_and_keeps_the_connection() {
    let error = tcp_fault(Play::Refuse(2)).await;
    assert!(matches!(error, LinkError::Exception { code: 2 }), "{error:?}");
}

#[tokio::test]
async fn tcp_a_late_answer_is_never_taken_for_the_next_one() {
    let error = tcp_fault(Play::Late(LIMIT * 2)).await;
    assert!(
        matches!(error, LinkError::TimeLimit { after: LIMIT }),
        "{error:?}"
    );
}

#[tokio::test]
async fn tcp_an_answer_with_another_count_is_refused_in_every_build() {
    for count in [0, 2, 100] {
        let error = tcp_fault(Play::Count(count)).await;
        assert!(
            matches!(error, LinkError::Count { asked: 1, .. }),
            "{count}: {error:?}"
        );
    }
}

#[tokio::test]
async fn tcp_silence_ends_at_the_time_limit() {
    let start = Instant::now();
    let error = tcp_fault(Play::Nothing).await;
    assert!(
        matches!(error, LinkError::TimeLimit { after: LIMIT }),
        "{error:?}"
    );
    assert!(start.elapsed() >= LIMIT);
}

#[tokio::test]
async fn tcp_an_answer_to_another_question_is_refused() {
    let error = tcp_fault(Play::Wrong).await;
    assert!(matches!(error, LinkError::Mismatch), "{error:?}");
}

#[tokio::test]
async fn tcp_a_connection_closed_in_the_middle_of_an_answer_is_an_error() {
    let mut line = Tcp::new(tcp_fake(&[Play::Half]).await, LIMIT);
    let error = line.read(1, at(10)).await.expect_err("half an answer");
    assert!(matches!(error, LinkError::Broken { .. }), "{error:?}");
    assert_eq!(line.read(1, at(20)).await.expect("answers"), [20]);
}

#[tokio::test]
async fn tcp_an_idle_connection_that_the_device_closed_is_no_failure() {
    let mut line = Tcp::new(tcp_fake(&[Play::WellThenClose, Play::WellThenClose]).await, LIMIT);
    for address in 10..13 {
        assert_eq!(
            line.read(1, at(address)).await.expect("connects again"),
            [address]
        );
    }
}

#[tokio::test]
async fn tcp_a_question_that_is_given_up_takes_its_connection_with_it() {
    let mut line = Tcp::new(tcp_fake(&[Play::Late(LIMIT / 2)]).await, LIMIT);
    let given_up = tokio::time::timeout(LIMIT / 10, line.read(1, at(10))).await;
    assert!(given_up.is_err() && !line.is_connected());
    assert_eq!(line.read(1, at(20)).await.expect("answers"), [20]);
}

#[tokio::test]
async fn tcp_nobody_there_says_where() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let error = Tcp::new(address.clone(), LIMIT)
        .read(1, at(1))
        .await
        .expect_err("nobody");
    assert!(error.to_string().contains(&address), "{error}");
}

/// Every octet of an answer to one question, garbled in some ways: other functions, exceptions, lengths that lie.
fn garbled() -> impl Iterator<Item = Play> {
    let ways = [0x01, 0x02, 0x04, 0x10, 0x2b ^ 0x03, 0x80, 0xff];
    (0..2).flat_map(move |at| ways.map(|bits| Play::Garbled(at, bits)))
}

#[tokio::test]
async fn tcp_no_garbled_answer_panics_or_spoils_the_next_value() {
    let limit = Duration::from_millis(40);
    for play in garbled() {
        let mut line = Tcp::new(tcp_fake(&[play]).await, limit);
        assert!(line.read(1, at(10)).await.is_err(), "{play:?} was believed");
        // The machine may be slower than this short limit; the value may not be wrong.
        let next = line.read(1, at(20)).await;
        assert!(
            matches!(next, Ok(ref words) if *words == [20]) || next.is_err(),
            "{play:?}: {next:?}"
        );
    }
}

/// CRC-16/MODBUS. Source: Modbus over serial line 1.02, section 6.2.2.
fn crc(frame: &[u8]) -> [u8; 2] {
    let mut crc = 0xffff_u16;
    for octet in frame {
        crc ^= u16::from(*octet);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 };
        }
    }
    crc.to_le_bytes()
}

/// A serial line to a fake device, which outlives closing and opening as real ones do: what it has still to send
/// goes to whoever has the port open then.
#[derive(Clone)]
struct FakePort {
    plays: Plays,
    wire: Arc<tokio::sync::Mutex<Option<WriteHalf<DuplexStream>>>>,
    opened: Arc<Mutex<usize>>,
}

impl FakePort {
    fn new(plays: &[Play]) -> Self {
        FakePort {
            plays: Plays::new(plays),
            wire: Arc::default(),
            opened: Arc::default(),
        }
    }

    fn opened(&self) -> usize {
        *self.opened.lock().expect("unpoisoned")
    }

    async fn answer(&self, frame: [u8; 8], play: Play) {
        let mut out = vec![frame[0]];
        out.extend(pdu(&frame[1..], play));
        out.extend(crc(&out));
        match play {
            Play::Nothing => return,
            Play::Late(wait) => tokio::time::sleep(wait).await,
            Play::Wrong => out.iter_mut().rev().take(1).for_each(|octet| *octet ^= 0xff),
            Play::Noise => out = [&[0xff, 0x00, 0x81, 0x5a], out.as_slice()].concat(),
            _ => {}
        }
        if let Some(wire) = self.wire.lock().await.as_mut() {
            // Nobody may have the port open.
            let _ = wire.write_all(&out).await;
        }
    }
}

impl Open for FakePort {
    type Stream = DuplexStream;

    fn open(&mut self) -> io::Result<DuplexStream> {
        *self.opened.lock().expect("unpoisoned") += 1;
        let (near, far) = duplex(1024);
        let (mut questions, answers) = tokio::io::split(far);
        let fake = self.clone();
        tokio::spawn(async move {
            *fake.wire.lock().await = Some(answers);
            let mut frame = [0; 8];
            while questions.read_exact(&mut frame).await.is_ok() {
                let (device, play) = (fake.clone(), fake.plays.next());
                tokio::spawn(async move { device.answer(frame, play).await });
            }
        });
        Ok(near)
    }

    fn name(&self) -> &'static str {
        "the fake port"
    }
}

/// Plays one fault and gives the error; the values after it must be right.
async fn rtu_fault(play: Play) -> LinkError {
    let port = FakePort::new(&[Play::Well, play]);
    let mut line = Rtu::new(port.clone(), LIMIT);
    assert_eq!(line.read(1, at(10)).await.expect("answers"), [10]);
    let error = line.read(1, at(20)).await.expect_err("the fault shows");
    for address in 30..35 {
        assert_eq!(line.read(1, at(address)).await.expect("answers"), [address]);
    }
    let wanted = if error.answered() { 1 } else { 3 };
    assert_eq!(
        port.opened(),
        wanted,
        "after {error}: once, then for a trial, then anew"
    );
    error
}

#[tokio::test]
async fn rtu_a_late_answer_is_never_taken_for_the_next_one() {
    // In the wait before the port is opened again, while it is emptied, and during the trial.
    for late in [
        LIMIT + LIMIT / 2,
        LIMIT * 2 + Duration::from_millis(20),
        LIMIT * 2 + Duration::from_millis(60),
    ] {
        let error = rtu_fault(Play::Late(late)).await;
        assert!(matches!(error, LinkError::TimeLimit { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn rtu_silence_and_a_wrong_checksum_end_at_the_time_limit() {
    for play in [Play::Nothing, Play::Wrong] {
        let error = rtu_fault(play).await;
        assert!(matches!(error, LinkError::TimeLimit { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn rtu_an_answer_with_another_count_is_refused_in_every_build() {
    let error = rtu_fault(Play::Count(2)).await;
    assert!(
        matches!(error, LinkError::Count { asked: 1, got: 2 }),
        "{error:?}"
    );
}

#[tokio::test]
async fn rtu_no_garbled_answer_panics_or_spoils_the_next_value() {
    for play in garbled() {
        let mut line = Rtu::new(FakePort::new(&[play]), Duration::from_millis(40));
        assert!(line.read(1, at(10)).await.is_err(), "{play:?} was believed");
        let next = line.read(1, at(20)).await;
        assert!(
            matches!(next, Ok(ref words) if *words == [20]) || next.is_err(),
            "{play:?}: {next:?}"
        );
    }
}

#[tokio::test]
async fn rtu_an_exception_keeps_the_line() {
    let error = rtu_fault(Play::Refuse(6)).await;
    assert!(matches!(error, LinkError::Exception { code: 6 }), "{error:?}");
}

#[tokio::test]
async fn rtu_noise_before_an_answer_is_skipped() {
    let mut line = Rtu::new(FakePort::new(&[Play::Noise]), LIMIT);
    assert_eq!(line.read(1, at(50)).await.expect("answers"), [50]);
}
