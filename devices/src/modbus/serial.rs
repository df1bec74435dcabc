//! Shell: registers over Modbus RTU on a serial line.
//!
//! # Design
//! An RTU frame carries no number, so a late answer is taken for the answer to the next question, and every value
//! after it is one off. After any error the line is therefore resynchronised: close, wait the longest time an answer
//! may take, open, throw away what is there, ask once and throw that answer away too, close and open again.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: opens the serial port, waits and limits the wait"
)]

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_modbus::Slave;
use tokio_modbus::client::{Client, Context, rtu};
use tokio_modbus::slave::SlaveContext;
use tokio_serial::{DataBits, SerialPortBuilderExt, SerialStream, StopBits};

use crate::link::{LinkError, Registers};
use crate::modbus::{Answer, Ask, Request, wire};
use crate::profile::{LineSettings, Parity};

/// A line is quiet after this: longer than the gap within a frame at 1200 baud, 3.5 characters or 32 ms.
const QUIET: Duration = Duration::from_millis(40);
/// Most octets thrown away before a line counts as babbling: some 10 s at 9600 baud.
const MOST_NOISE: usize = 10_000;

/// Opens the line, again and again.
pub trait Open: Send {
    /// The open line.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Opens it; the one opened before is closed by then.
    fn open(&mut self) -> io::Result<Self::Stream>;
    /// What to call it in errors.
    fn name(&self) -> &str;
}

/// A serial port of this box.
#[derive(Debug, Clone)]
pub struct Port {
    /// Such as `/dev/ttyUSB0`.
    pub path: String,
    /// Speed and framing.
    pub settings: LineSettings,
}

impl Open for Port {
    type Stream = SerialStream;

    fn open(&mut self) -> io::Result<SerialStream> {
        let parity = match self.settings.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        };
        let stop = if self.settings.stop_bits == 2 {
            StopBits::Two
        } else {
            StopBits::One
        };
        let line = tokio_serial::new(&self.path, self.settings.baud)
            .data_bits(DataBits::Eight)
            .parity(parity)
            .stop_bits(stop);
        line.open_native_async().map_err(io::Error::from)
    }

    fn name(&self) -> &str {
        &self.path
    }
}

enum Line {
    /// Not opened yet.
    Closed,
    /// Every question so far got its own answer.
    Clean(Context),
    /// An answer may still be on the way.
    Spoilt,
}

/// The devices on one serial line. We are its only master.
pub struct Rtu<O> {
    port: O,
    limit: Duration,
    line: Line,
}

impl<O: Open> Rtu<O> {
    /// For that port; opens it at the first question. `limit` is the longest time an answer may take.
    pub fn new(port: O, limit: Duration) -> Self {
        Rtu {
            port,
            limit,
            line: Line::Closed,
        }
    }

    /// Opens the port and throws away what comes until it is quiet.
    async fn open(&mut self) -> Result<Context, LinkError> {
        let mut stream = self.port.open().map_err(|source| LinkError::Unreachable {
            address: self.port.name().to_owned(),
            source,
        })?;
        let mut waste = [0; 256];
        let mut noise = 0;
        while let Ok(read) = timeout(QUIET, stream.read(&mut waste)).await {
            match read.map_err(|source| LinkError::Broken { source })? {
                0 => {
                    return Err(LinkError::Broken {
                        source: io::ErrorKind::UnexpectedEof.into(),
                    });
                }
                read => noise += read,
            }
            if noise > MOST_NOISE {
                return Err(LinkError::Mismatch);
            }
        }
        Ok(rtu::attach(stream))
    }

    async fn resynchronise(&mut self, unit: u8, ask: &Ask) -> Result<Context, LinkError> {
        sleep(self.limit).await;
        let mut trial = self.open().await?;
        // A write is not tried: what is asked here is thrown away.
        let tried = match ask {
            Ask::Write(write) => Ask::Read(write.read_back()),
            reading => reading.clone(),
        };
        match put(&mut trial, self.limit, unit, &tried).await {
            Err(error) if error.spoils_the_line() => return Err(error),
            _unused => drop(trial),
        }
        self.open().await
    }
}

impl<O: Open> Registers for Rtu<O> {
    async fn call(&mut self, unit: u8, ask: Ask) -> Result<Answer, LinkError> {
        // Whoever gives up in between (also by being dropped) leaves the line spoilt.
        let mut line = match std::mem::replace(&mut self.line, Line::Spoilt) {
            Line::Clean(context) => context,
            Line::Closed => self.open().await?,
            Line::Spoilt => self.resynchronise(unit, &ask).await?,
        };
        let result = put(&mut line, self.limit, unit, &ask).await;
        if !matches!(&result, Err(error) if error.spoils_the_line()) {
            self.line = Line::Clean(line);
        }
        result
    }

    async fn read(&mut self, unit: u8, request: Request) -> Result<Vec<u16>, LinkError> {
        let answer = self.call(unit, Ask::Read(request)).await?;
        answer.words().ok_or(LinkError::Mismatch)
    }
}

async fn put(on: &mut Context, limit: Duration, unit: u8, ask: &Ask) -> Result<Answer, LinkError> {
    on.set_slave(Slave(unit));
    match timeout(limit, on.call(wire::question(ask))).await {
        Ok(answer) => wire::answer(ask, answer),
        Err(_) => Err(LinkError::TimeLimit { after: limit }),
    }
}
