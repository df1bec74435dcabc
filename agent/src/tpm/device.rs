//! Shell: carries commands to a TPM and brings its answers.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: the TPM's device, and a simulator's socket"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::Address;
use super::command::MAX_ANSWER;

/// How long a simulator may take. The kernel's device has limits of its own, up to minutes for making an RSA key.
const PATIENCE: Duration = Duration::from_mins(1);

/// Something that answers commands one by one.
pub trait Device: Send {
    /// Sends a whole command, waits for the whole answer.
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// Opens the TPM at an address.
pub fn open(at: &Address) -> io::Result<Box<dyn Device>> {
    Ok(match at {
        Address::Device(path) => Box::new(Kernel(OpenOptions::new().read(true).write(true).open(path)?)),
        Address::Tcp(place) => {
            let stream = TcpStream::connect(place)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Box::new(Simulator(stream))
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Box::new(Simulator(stream))
        }
    })
}

/// The kernel's device: one write is a command, one read its answer.
struct Kernel(File);

impl Device for Kernel {
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        let written = self.0.write(command)?;
        if written != command.len() {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "a command was cut"));
        }
        let mut answer = vec![0; MAX_ANSWER];
        let length = self.0.read(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }
}

/// A simulator's stream: the length stands in each answer.
struct Simulator<S>(S);

impl<S: Read + Write + Send> Device for Simulator<S> {
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        self.0.flush()?;
        let mut answer = vec![0; 10];
        self.0.read_exact(&mut answer)?;
        let length = answer
            .get(2..6)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u32::from_be_bytes);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if !(10..=MAX_ANSWER).contains(&length) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "an answer of an odd length",
            ));
        }
        answer.resize(length, 0);
        self.0.read_exact(answer.get_mut(10..).unwrap_or_default())?;
        Ok(answer)
    }
}
