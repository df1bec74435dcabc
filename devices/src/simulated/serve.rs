//! Shell: a simulated device on a TCP socket, served by the Modbus library.

use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::Server;
use tokio_modbus::{ExceptionCode, Request as Question, Response, SlaveRequest};

use crate::modbus::Request;
use crate::profile::Function;
use crate::simulated::{Behaviour, Simulated};

/// A device on the network. Every unit id reaches it.
#[derive(Clone)]
pub struct Device {
    /// What it is.
    pub simulated: Simulated,
    /// How long it has been running.
    pub elapsed: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// How it behaves, now and later.
    pub behaviour: watch::Receiver<Behaviour>,
}

impl Device {
    /// Serves on `listener` until dropped.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let device = Arc::new(self);
        let on_connected = move |stream: TcpStream, _| {
            let device = Arc::clone(&device);
            async move { Ok(Some((device, stream))) }
        };
        let on_error = |error: io::Error| tracing::debug!(%error, "a client of the simulated device left");
        Server::new(listener).serve(&on_connected, on_error).await
    }

    fn answer(&self, question: &Question<'_>) -> Result<Option<Response>, ExceptionCode> {
        let behaviour = *self.behaviour.borrow();
        match behaviour {
            Behaviour::Silent => return Ok(None),
            Behaviour::Refusing(code) => return Err(ExceptionCode::new(code)),
            Behaviour::Well | Behaviour::Alarming | Behaviour::Resting => {}
        }
        let (function, address, count) = match *question {
            Question::ReadCoils(address, count) => (Function::Coils, address, count),
            Question::ReadDiscreteInputs(address, count) => (Function::DiscreteInputs, address, count),
            Question::ReadHoldingRegisters(address, count) => (Function::HoldingRegisters, address, count),
            Question::ReadInputRegisters(address, count) => (Function::InputRegisters, address, count),
            _ => return Err(ExceptionCode::IllegalFunction),
        };
        let request = Request {
            function,
            address,
            count,
        };
        let words = self
            .simulated
            .words(request, (self.elapsed)(), behaviour)
            .ok_or(ExceptionCode::IllegalDataAddress)?;
        let bits = || words.iter().map(|w| *w != 0).collect();
        Ok(Some(match function {
            Function::Coils => Response::ReadCoils(bits()),
            Function::DiscreteInputs => Response::ReadDiscreteInputs(bits()),
            Function::HoldingRegisters => Response::ReadHoldingRegisters(words),
            Function::InputRegisters => Response::ReadInputRegisters(words),
        }))
    }
}

impl Service for Device {
    type Request = SlaveRequest<'static>;
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Option<Response>, ExceptionCode>>;

    fn call(&self, request: SlaveRequest<'static>) -> Self::Future {
        ready(self.answer(&request.request))
    }
}
