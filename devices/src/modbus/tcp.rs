//! Shell: registers over Modbus/TCP, plain or inside TLS.
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
use tokio_rustls::TlsConnector;

use crate::link::{LinkError, Registers};
use crate::modbus::role::Role;
use crate::modbus::tls::Secured;
use crate::modbus::{Answer, Ask, Request, wire};

/// How long a handshake may take at least: small devices compute seconds for one.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A device, or a gateway to several, at one TCP endpoint.
pub struct Tcp {
    address: String,
    limit: Duration,
    secured: Option<Secured>,
    connection: Option<Context>,
}

impl Tcp {
    /// For the endpoint `host:port`; connects at the first question. `limit` holds for connecting and for each
    /// answer.
    pub fn new(address: String, limit: Duration) -> Self {
        Tcp {
            address,
            limit,
            secured: None,
            connection: None,
        }
    }

    /// The same by Modbus/TCP Security. There is no way back to the plain protocol.
    pub fn secured(address: String, limit: Duration, secured: Secured) -> Self {
        Tcp {
            secured: Some(secured),
            ..Tcp::new(address, limit)
        }
    }

    /// Whether a connection is kept.
    pub const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// What our certificate lets us do there; none without TLS, or without a role.
    pub fn role(&self) -> Option<&Role> {
        self.secured.as_ref()?.role.as_ref()
    }

    async fn attempt(&mut self, unit: u8, ask: &Ask) -> Result<Answer, LinkError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.address, self.limit, self.secured.as_ref()).await?,
        };
        connection.set_slave(Slave(unit));
        let result = match timeout(self.limit, connection.call(wire::question(ask))).await {
            Ok(answer) => wire::answer(ask, answer),
            Err(_) => Err(LinkError::TimeLimit { after: self.limit }),
        };
        if !matches!(&result, Err(error) if error.spoils_the_line()) {
            self.connection = Some(connection);
        }
        result
    }
}

impl Registers for Tcp {
    async fn call(&mut self, unit: u8, ask: Ask) -> Result<Answer, LinkError> {
        let again = self.is_connected() && !matches!(ask, Ask::Write(_));
        match self.attempt(unit, &ask).await {
            // Many devices close a connection that was idle; that is no failure of this question. A write is not
            // put twice: nobody knows whether the device took it.
            Err(LinkError::Broken { .. }) if again => self.attempt(unit, &ask).await,
            result => result,
        }
    }

    async fn read(&mut self, unit: u8, request: Request) -> Result<Vec<u16>, LinkError> {
        let answer = self.call(unit, Ask::Read(request)).await?;
        answer.words().ok_or(LinkError::Mismatch)
    }
}

async fn connect(address: &str, limit: Duration, secured: Option<&Secured>) -> Result<Context, LinkError> {
    let stream = timeout(limit, TcpStream::connect(address))
        .await
        .map_err(|_| LinkError::TimeLimit { after: limit })?
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|source| LinkError::Unreachable {
            address: address.to_owned(),
            source,
        })?;
    let Some(secured) = secured else {
        return Ok(tcp::attach(stream));
    };
    let limit = limit.max(HANDSHAKE);
    let connector = TlsConnector::from(secured.config.clone());
    let shaken = timeout(limit, connector.connect(secured.name.clone(), stream)).await;
    match shaken {
        Ok(Ok(stream)) => Ok(tcp::attach(stream)),
        Ok(Err(source)) => Err(LinkError::Untrusted {
            address: address.to_owned(),
            source,
        }),
        Err(_) => Err(LinkError::TimeLimit { after: limit }),
    }
}
