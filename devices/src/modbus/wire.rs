//! Our questions and answers in the words of the Modbus library, and back.
//!
//! # Design
//! The library's typed readers are not used: they check the length of an answer by a debug assertion, so a device
//! that answers with another count would panic a debug build and be believed by a release build. Here the length
//! is checked always. For the same reason nothing is indexed.

use std::borrow::Cow;
use std::io;

use tokio_modbus::prelude::ReadCode;
use tokio_modbus::{Error, Request as Question, Response};

use crate::link::LinkError;
use crate::modbus::{Answer, Ask, Identity, Request, Write};
use crate::profile::Function;

/// What is sent for `ask`.
pub(super) fn question(ask: &Ask) -> Question<'static> {
    match ask {
        Ask::Read(request) => reading(*request),
        Ask::Write(Write::Coil { address, on }) => Question::WriteSingleCoil(*address, *on),
        Ask::Write(Write::Register { address, value }) => Question::WriteSingleRegister(*address, *value),
        Ask::Write(Write::Coils { address, on }) => {
            Question::WriteMultipleCoils(*address, Cow::Owned(on.clone()))
        }
        Ask::Write(Write::Registers { address, values }) => {
            Question::WriteMultipleRegisters(*address, Cow::Owned(values.clone()))
        }
        Ask::Identify(object) => Question::ReadDeviceIdentification(ReadCode::Basic, *object),
    }
}

fn reading(request: Request) -> Question<'static> {
    let Request {
        function,
        address,
        count,
    } = request;
    match function {
        Function::Coils => Question::ReadCoils(address, count),
        Function::DiscreteInputs => Question::ReadDiscreteInputs(address, count),
        Function::HoldingRegisters => Question::ReadHoldingRegisters(address, count),
        Function::InputRegisters => Question::ReadInputRegisters(address, count),
    }
}

/// The answer to `ask`, when it is one.
pub(super) fn answer(ask: &Ask, answer: tokio_modbus::Result<Response>) -> Result<Answer, LinkError> {
    let response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(exception)) => {
            return Err(LinkError::Exception {
                code: exception.into(),
            });
        }
        Err(Error::Protocol(_)) => return Err(LinkError::Mismatch),
        Err(Error::Transport(source)) => {
            return Err(LinkError::Broken {
                source: named(source),
            });
        }
    };
    match (ask, response) {
        (Ask::Read(request), response) => words(*request, response).map(Answer::Words),
        (Ask::Write(write), response) if echoes(write, &response) => Ok(Answer::Written),
        (Ask::Identify(_), Response::ReadDeviceIdentification(part)) => {
            let objects = part.device_id_objects.iter().map(|o| (o.id, &o.value[..]));
            let next = part.more_follows.then_some(part.next_object_id);
            Ok(Answer::Identity(Identity::new(objects, next)))
        }
        _ => Err(LinkError::Mismatch),
    }
}

/// Whether the device confirmed this very write. The library checks that by a debug assertion only.
fn echoes(write: &Write, response: &Response) -> bool {
    match (write, response) {
        (Write::Coil { address, on }, Response::WriteSingleCoil(at, echo)) => (address, on) == (at, echo),
        (Write::Register { address, value }, Response::WriteSingleRegister(at, echo)) => {
            (address, value) == (at, echo)
        }
        (Write::Coils { address, .. }, Response::WriteMultipleCoils(at, count))
        | (Write::Registers { address, .. }, Response::WriteMultipleRegisters(at, count)) => {
            address == at && write.count() == *count
        }
        _ => false,
    }
}

/// The words of the answer to `request`: exactly as many as were asked for.
fn words(request: Request, response: Response) -> Result<Vec<u16>, LinkError> {
    let asked = usize::from(request.count);
    let (words, wanted) = match (request.function, response) {
        (Function::Coils, Response::ReadCoils(bits))
        | (Function::DiscreteInputs, Response::ReadDiscreteInputs(bits)) => {
            // Bits travel in whole octets.
            (bits.into_iter().map(u16::from).collect(), asked.div_ceil(8) * 8)
        }
        (Function::HoldingRegisters, Response::ReadHoldingRegisters(words))
        | (Function::InputRegisters, Response::ReadInputRegisters(words)) => (words, asked),
        _ => return Err(LinkError::Mismatch),
    };
    if words.len() == wanted {
        Ok(words.into_iter().take(asked).collect())
    } else {
        Err(LinkError::Count {
            asked: request.count,
            got: words.len(),
        })
    }
}

/// The library reports a closed connection by whatever error the thread saw last, often "would block".
fn named(source: io::Error) -> io::Error {
    match source.raw_os_error() {
        Some(0) => io::ErrorKind::UnexpectedEof.into(),
        Some(_) if source.kind() == io::ErrorKind::WouldBlock => io::ErrorKind::UnexpectedEof.into(),
        _ => source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(function: Function, count: u16) -> Request {
        Request {
            function,
            address: 7,
            count,
        }
    }

    /// The words that `given` brings for `request`.
    fn words(request: Request, given: tokio_modbus::Result<Response>) -> Result<Vec<u16>, LinkError> {
        let words = answer(&Ask::Read(request), given)?.words();
        Ok(words.expect("a read brings words"))
    }

    #[test]
    fn an_answer_with_another_count_is_refused_in_every_build() {
        let request = ask(Function::HoldingRegisters, 2);
        for got in [0, 1, 3, 125] {
            let answer = Ok(Ok(Response::ReadHoldingRegisters(vec![9; got])));
            assert!(matches!(
                words(request, answer),
                Err(LinkError::Count { asked: 2, .. })
            ));
        }
        let request = ask(Function::Coils, 3);
        for got in [0, 16] {
            let answer = Ok(Ok(Response::ReadCoils(vec![true; got])));
            assert!(matches!(
                words(request, answer),
                Err(LinkError::Count { asked: 3, .. })
            ));
        }
    }

    #[test]
    fn bits_come_without_their_padding() {
        let answer = Ok(Ok(Response::ReadCoils(vec![
            true, false, true, true, true, true, true, true,
        ])));
        assert_eq!(words(ask(Function::Coils, 3), answer).expect("good"), [1, 0, 1]);
    }

    #[test]
    fn an_answer_of_another_kind_is_no_answer() {
        let answer = Ok(Ok(Response::ReadHoldingRegisters(vec![1])));
        let got = words(ask(Function::InputRegisters, 1), answer);
        assert!(matches!(got, Err(LinkError::Mismatch)));
    }

    #[test]
    fn a_write_is_confirmed_by_its_own_echo_only() {
        let write = Write::Register { address: 7, value: 9 };
        let tell = |response| answer(&Ask::Write(write.clone()), Ok(Ok(response)));
        assert_eq!(
            tell(Response::WriteSingleRegister(7, 9)).expect("confirmed"),
            Answer::Written
        );
        for other in [
            Response::WriteSingleRegister(8, 9),
            Response::WriteSingleRegister(7, 8),
            Response::WriteSingleCoil(7, true),
            Response::WriteMultipleRegisters(7, 1),
        ] {
            assert!(matches!(tell(other), Err(LinkError::Mismatch)));
        }
        let several = Ask::Write(Write::Registers {
            address: 7,
            values: vec![1, 2],
        });
        let short = answer(&several, Ok(Ok(Response::WriteMultipleRegisters(7, 1))));
        assert!(matches!(short, Err(LinkError::Mismatch)));
    }
}
