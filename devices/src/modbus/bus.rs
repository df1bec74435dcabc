//! Shell: one line shared by the agent's own polling and by guests, who ask through the guard.
//!
//! # Design
//! Questions on a line go one after the other, so a guest can delay a vital read. How long is bounded: one question
//! of all guests waits for the line at a time, and after each the guests rest as long as it took. A poll therefore
//! waits for at most one guest question, and guests get at most half of the line, also when they ask for a unit
//! that does not answer.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: measures how long guests took, and lets them rest"
)]

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use crate::link::{LinkError, Registers};
use crate::modbus::serial::{Port, Rtu};
use crate::modbus::tcp::Tcp;
use crate::modbus::{Answer, Ask, Request};

/// Longest rest after one question of a guest.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// A line of any kind.
pub enum Master {
    /// Modbus/TCP, plain or inside TLS.
    Tcp(Box<Tcp>),
    /// Modbus RTU on a serial port.
    Serial(Rtu<Port>),
}

impl Registers for Master {
    async fn call(&mut self, unit: u8, ask: Ask) -> Result<Answer, LinkError> {
        match self {
            Master::Tcp(line) => line.call(unit, ask).await,
            Master::Serial(line) => line.call(unit, ask).await,
        }
    }

    async fn read(&mut self, unit: u8, request: Request) -> Result<Vec<u16>, LinkError> {
        match self {
            Master::Tcp(line) => line.read(unit, request).await,
            Master::Serial(line) => line.read(unit, request).await,
        }
    }
}

/// The agent's own end of a shared line.
pub struct Bus<R> {
    line: Arc<Mutex<R>>,
    /// Held by the guest whose question waits or runs; says from when on the next may.
    turn: Arc<Mutex<Instant>>,
}

impl<R: Registers> Bus<R> {
    /// Shares `line`.
    pub fn new(line: R) -> Self {
        Bus {
            line: Arc::new(Mutex::new(line)),
            turn: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// An end for guests. `patience` is how long a question may wait for its turn.
    pub fn guest(&self, patience: Duration) -> Guest<R> {
        Guest {
            line: Arc::clone(&self.line),
            turn: Arc::clone(&self.turn),
            patience,
        }
    }
}

impl<R: Registers> Registers for Bus<R> {
    async fn call(&mut self, unit: u8, ask: Ask) -> Result<Answer, LinkError> {
        self.line.lock().await.call(unit, ask).await
    }

    async fn read(&mut self, unit: u8, request: Request) -> Result<Vec<u16>, LinkError> {
        self.line.lock().await.read(unit, request).await
    }
}

/// The end of a shared line through which others ask. Cloning gives the same end.
pub struct Guest<R> {
    line: Arc<Mutex<R>>,
    turn: Arc<Mutex<Instant>>,
    patience: Duration,
}

impl<R> Clone for Guest<R> {
    fn clone(&self) -> Self {
        Guest {
            line: Arc::clone(&self.line),
            turn: Arc::clone(&self.turn),
            patience: self.patience,
        }
    }
}

impl<R: Registers> Guest<R> {
    /// Puts one question when it is the guests' turn; [`LinkError::Busy`] when that takes too long.
    ///
    /// A write is read back before anybody else uses the line: a device that confirmed it and holds another value
    /// gives [`LinkError::NotTaken`]. Where the device does not let it be read, its confirmation must do.
    pub async fn call(&self, unit: u8, ask: Ask) -> Result<Answer, LinkError> {
        let waiting = async {
            let turn = self.turn.lock().await;
            sleep_until(*turn).await;
            (turn, self.line.lock().await)
        };
        let (mut turn, mut line) = timeout(self.patience, waiting)
            .await
            .map_err(|_| LinkError::Busy)?;
        let start = Instant::now();
        let result = put(&mut *line, unit, ask).await;
        *turn = Instant::now() + start.elapsed().min(LONGEST_REST);
        result
    }
}

async fn put<R: Registers>(line: &mut R, unit: u8, ask: Ask) -> Result<Answer, LinkError> {
    let written = match &ask {
        Ask::Write(write) => Some((write.read_back(), write.words())),
        Ask::Read(_) | Ask::Identify(_) => None,
    };
    let answer = line.call(unit, ask).await?;
    let Some((question, wanted)) = written else {
        return Ok(answer);
    };
    match line.read(unit, question).await {
        Ok(words) if words != wanted => Err(LinkError::NotTaken),
        Ok(_) | Err(LinkError::Exception { .. }) => Ok(answer),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests: play a line and its users")]
mod tests;
