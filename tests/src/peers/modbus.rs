//! Shell: Modbus devices by pymodbus, over TCP, TLS and a serial line, the certificates of a site by OpenSSL: peers
//! that know nothing of ours.
#![expect(clippy::disallowed_methods, reason = "shell: starts processes, writes files")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{READY, free_port, python_with_pymodbus, wait_port};
use crate::programs::{Program, finish, wait_for};
use crate::shared;

/// Serves the holding and input registers given as JSON `{"address": value}` on unit 1.
const SERVER: &str = r#"
import asyncio, json, ssl, sys
from pymodbus import FramerType, ModbusDeviceIdentification
from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext
try:
    from pymodbus.datastore import ModbusDeviceContext
except ImportError:
    from pymodbus.datastore import ModbusSlaveContext as ModbusDeviceContext
from pymodbus.server import StartAsyncSerialServer, StartAsyncTcpServer, StartAsyncTlsServer
way, more = sys.argv[1], json.loads(sys.argv[3])
registers = {int(k): v for k, v in json.loads(sys.argv[2]).items()}
def block():
    # Blocks count from 1, the protocol from 0.
    return ModbusSequentialDataBlock(1, [registers.get(address, 0) for address in range(65535)])
context = ModbusServerContext(ModbusDeviceContext(hr=block(), ir=block()), single=True)
identity = ModbusDeviceIdentification(info_name=more["identity"]) if "identity" in more else None
if way.startswith("/"):
    serving = StartAsyncSerialServer(context, identity=identity, port=way, baudrate=9600)
elif "certificate" in more:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(more["certificate"], more["key"])
    tls.load_verify_locations(more["authority"])
    tls.verify_mode = ssl.CERT_REQUIRED
    if more.get("old"):
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
    # Its own framer for TLS leaves the header out; devices by the specification send it.
    serving = StartAsyncTlsServer(context, framer=FramerType.SOCKET, identity=identity,
                                  address=("127.0.0.1", int(way)), sslctx=tls)
else:
    serving = StartAsyncTcpServer(context, identity=identity, address=("127.0.0.1", int(way)))
asyncio.run(serving)
"#;

/// A Modbus device by pymodbus: an implementation that knows nothing of ours.
#[derive(Debug)]
pub struct Pymodbus {
    /// The device.
    pub program: Program,
    /// Its port; 0 on a serial line.
    pub port: u16,
}

impl Pymodbus {
    /// Starts it with these registers (address as in the protocol, from 0) in both register tables.
    ///
    /// # Panics
    /// When it is there and cannot be started.
    pub fn start(registers: &[(u16, u16)]) -> Option<Pymodbus> {
        Pymodbus::on(free_port(), registers, &json!({}))
    }

    /// Starts it on that port, saying by function 43/14 that it is this product of "Example".
    ///
    /// # Panics
    /// When it is there and cannot be started.
    pub fn named(port: u16, product: &str, registers: &[(u16, u16)]) -> Option<Pymodbus> {
        let identity = json!({"VendorName": "Example", "ProductCode": product, "MajorMinorRevision": "1.0"});
        Pymodbus::on(port, registers, &json!({"identity": identity}))
    }

    /// Starts it behind mutual TLS by the certificate `who` of `site`: 1.2 at most when it is `old`.
    ///
    /// # Panics
    /// When it is there and cannot be started.
    pub fn secured(site: &Site, who: &str, old: bool, registers: &[(u16, u16)]) -> Option<Pymodbus> {
        let more = json!({
            "authority": site.file("authority.pem"), "certificate": site.file(&format!("{who}.pem")),
            "key": site.file(&format!("{who}.key")), "old": old,
        });
        Pymodbus::on(free_port(), registers, &more)
    }

    fn on(port: u16, registers: &[(u16, u16)], more: &Value) -> Option<Pymodbus> {
        let mut program = serve(&port.to_string(), registers, more)?;
        wait_port(&mut program, port);
        Some(Pymodbus { program, port })
    }

    /// Starts it on a serial port. It listens a little later: ask until it answers.
    ///
    /// # Panics
    /// When it is there and cannot be started.
    pub fn serial(port: &Path, registers: &[(u16, u16)]) -> Option<Pymodbus> {
        let program = serve(&port.to_string_lossy(), registers, &json!({}))?;
        Some(Pymodbus { program, port: 0 })
    }
}

fn serve(way: &str, registers: &[(u16, u16)], more: &Value) -> Option<Program> {
    let table: serde_json::Map<_, _> = registers
        .iter()
        .map(|(address, value)| (address.to_string(), (*value).into()))
        .collect();
    let mut command = Command::new(python_with_pymodbus()?);
    command.arg("-c").arg(SERVER).arg(way);
    command
        .arg(Value::Object(table).to_string())
        .arg(more.to_string());
    Some(Program::start("pymodbus", &mut command))
}

/// A wire between two serial ports, by socat. It is cut when this goes.
#[derive(Debug)]
pub struct Wire {
    _socat: Program,
    /// As long as somebody holds a port open, the wire stays when its users come and go.
    _held: [File; 2],
    /// The port of the device.
    pub device: PathBuf,
    /// The port of the box.
    pub ours: PathBuf,
}

/// Lays a wire between two serial ports in `dir`.
///
/// # Panics
/// When socat is there and cannot do it.
pub fn serial_line(dir: &Path) -> Option<Wire> {
    let socat = shared::debian("socat", "socat")?;
    let (device, ours) = (dir.join("device.tty"), dir.join("ours.tty"));
    let end = |port: &Path| format!("pty,raw,echo=0,link={}", port.display());
    let mut program = Program::start("socat", Command::new(socat).arg(end(&device)).arg(end(&ours)));
    wait_for("the wire to be laid", READY, || {
        assert!(program.runs(), "socat ended:\n{}", program.said().join("\n"));
        (device.exists() && ours.exists()).then_some(())
    });
    let open = |port: &Path| File::options().read(true).write(true).open(port);
    let held = [&device, &ours].map(|port| open(port).expect("a port that was just made"));
    Some(Wire {
        _socat: program,
        _held: held,
        device,
        ours,
    })
}

/// The certificates of a site, made by OpenSSL.
#[derive(Debug)]
pub struct Site {
    dir: PathBuf,
    openssl: PathBuf,
}

impl Site {
    /// Makes an authority in `dir`, which must be there: `authority.pem`.
    ///
    /// # Panics
    /// When OpenSSL is there and cannot do it.
    pub fn found(dir: &Path) -> Option<Site> {
        let site = Site {
            openssl: shared::debian("openssl", "openssl")?,
            dir: dir.to_owned(),
        };
        site.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "authority.key",
            "-out",
            "authority.pem",
            "-subj",
            "/CN=a site",
            "-days",
            "30",
        ]);
        Some(site)
    }

    /// Makes a certificate for `127.0.0.1` with that role: `NAME.pem` and `NAME.key`.
    ///
    /// # Panics
    /// When OpenSSL cannot do it.
    pub fn issue(&self, name: &str, role: Option<&str>) {
        let [key, request, certificate, extensions] =
            ["key", "csr", "pem", "ext"].map(|end| format!("{name}.{end}"));
        let role = role.map(|role| format!("1.3.6.1.4.1.50316.802.1=ASN1:UTF8String:{role}\n"));
        let text = format!("subjectAltName=IP:127.0.0.1\n{}", role.unwrap_or_default());
        fs::write(self.file(&extensions), text).expect("the test's folder");
        let subject = format!("/CN={name}");
        self.openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &request,
            "-subj",
            &subject,
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "authority.pem",
            "-CAkey",
            "authority.key",
            "-CAcreateserial",
            "-days",
            "30",
            "-extfile",
            &extensions,
            "-out",
            &certificate,
        ]);
    }

    /// One of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// OpenSSL's client, towards a server that has to show a certificate of this site.
    pub fn client(&self, port: u16, more: &[&str]) -> Command {
        let mut command = Command::new(&self.openssl);
        command
            .current_dir(&self.dir)
            .args(["s_client", "-quiet", "-verify_return_error"]);
        command.args([
            "-CAfile",
            "authority.pem",
            "-connect",
            &format!("127.0.0.1:{port}"),
        ]);
        command.args(more);
        command
    }

    fn openssl(&self, args: &[&str]) {
        let mut command = Command::new(&self.openssl);
        finish(command.current_dir(&self.dir).args(args), b"", READY).ok();
    }
}
