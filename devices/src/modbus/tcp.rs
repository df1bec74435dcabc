//! Shell: registers over Modbus/TCP.
//!
//! # Design
//! The library has no time limit, no retry and no reconnect, and after a time limit each later answer would be
//! taken for the one before. So the connection is kept only while every question got its own answer: it is taken
//! out before asking and put back after a good answer, and a question that is given up (also by being dropped)
//! takes its connection with it.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: connects to the device and limits the wait"
)]

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_modbus::Slave;
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::slave::SlaveContext;

use crate::link::{LinkError, Registers};
use crate::modbus::{Request, wire};

/// A device, or a gateway to several, at one TCP endpoint.
pub struct Tcp {
    address: String,
    limit: Duration,
    connection: Option<Context>,
}

impl Tcp {
    /// For the endpoint `host:port`; connects at the first question. `limit` holds for connecting and for each
    /// answer.
    pub fn new(address: String, limit: Duration) -> Self {
        Tcp {
            address,
            limit,
            connection: None,
        }
    }

    /// Whether a connection is kept.
    pub const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    async fn attempt(&mut self, unit: u8, request: Request) -> Result<Vec<u16>, LinkError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.address, self.limit).await?,
        };
        connection.set_slave(Slave(unit));
        let result = match timeout(self.limit, connection.call(wire::question(request))).await {
            Ok(answer) => wire::words(request, answer),
            Err(_) => Err(LinkError::TimeLimit { after: self.limit }),
        };
        if !matches!(&result, Err(error) if error.spoils_the_line()) {
            self.connection = Some(connection);
        }
        result
    }
}

impl Registers for Tcp {
    async fn read(&mut self, unit: u8, request: Request) -> Result<Vec<u16>, LinkError> {
        let kept = self.is_connected();
        match self.attempt(unit, request).await {
            // Many devices close a connection that was idle; that is no failure of this question.
            Err(LinkError::Broken { .. }) if kept => self.attempt(unit, request).await,
            result => result,
        }
    }
}

async fn connect(address: &str, limit: Duration) -> Result<Context, LinkError> {
    let stream = timeout(limit, TcpStream::connect(address))
        .await
        .map_err(|_| LinkError::TimeLimit { after: limit })?
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|source| LinkError::Unreachable {
            address: address.to_owned(),
            source,
        })?;
    Ok(tcp::attach(stream))
}
