//! A fleet server's enrolment and renewal listeners on free ports, and the programs that talk to them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use homeward_fleet::ca::{Authority, DAY_MS, Identity, signer};
use homeward_fleet::clock::Clock;
use homeward_fleet::device::Approval;
use homeward_fleet::device::register::{self, NewClaim, Revoking};
use homeward_fleet::enrol::est::{EstState, renewal_router, router};
use homeward_fleet::https::{self, Limits};
use homeward_fleet::store::{Store, StoreConfig, StoreError, Tx, certificates};
use homeward_fleet::tls::Trust;
use homeward_fleet::tls::doors::Doors;
use homeward_protocol::claim::{Code, ServerInfo};
use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use rustls::pki_types::ServerName;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Whether all these programs are here. Says aloud what is missing; in CI that is a failure.
pub(crate) fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs
        .iter()
        .filter(|p| Command::new(p).arg("--help").output().is_err())
        .collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "missing in CI: {missing:?}");
    eprintln!("skipped: {missing:?} not installed");
    false
}

/// The server, moved in time as a test likes.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) enrol: SocketAddr,
    pub(crate) renewal: SocketAddr,
    pub(crate) authority: Arc<Authority>,
    stop: CancellationToken,
    store: Store,
    clock: Clock,
    shift_ms: Arc<AtomicI64>,
    identity: Identity,
    doors: Doors,
    runtime: Runtime,
    files: AtomicU16,
}

/// A key and a request of its own, as files.
pub(crate) struct Device {
    pub(crate) key: PathBuf,
    pub(crate) request: PathBuf,
    pub(crate) base64: PathBuf,
}

/// What curl got.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn real_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp::synced(i64::try_from(since.as_millis()).expect("fits"))
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let shift_ms = Arc::new(AtomicI64::new(0));
        let shift = Arc::clone(&shift_ms);
        let clock = Clock::from_fn(move || real_now().plus_ms(shift.load(Ordering::SeqCst)));
        let ca = folder.path().join("ca");
        let long_ago = real_now().plus_ms(-300 * DAY_MS);
        let authority =
            Authority::init(&ca, "homeward".parse().expect("a domain"), long_ago).expect("an authority");
        let authority = Arc::new(authority);
        let names = ["localhost", "127.0.0.1"].map(|n| ServerName::try_from(n).expect("a name"));
        let identity = authority
            .server_identity(&ca, &names, real_now())
            .expect("an identity");
        let trust = Trust::of(&authority, &[], real_now()).expect("a list");
        let doors = Doors::open(&identity, &identity, &trust, &clock).expect("doors");
        let config = StoreConfig::Sqlite(folder.path().join("homeward.db"));
        let store = homeward_fleet::store::open(&config).expect("a store");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let bind = || {
            runtime
                .block_on(TcpListener::bind("127.0.0.1:0"))
                .expect("a port")
        };
        let (enrol, renewal) = (bind(), bind());
        let state = EstState {
            store: store.clone(),
            authority: tokio::sync::watch::channel(Arc::clone(&authority)).1,
            clock: clock.clone(),
            info: ServerInfo {
                gate: "localhost:8883".parse().expect("an endpoint"),
                renewal: format!("localhost:{}", renewal.local_addr().expect("bound").port())
                    .parse()
                    .expect("an endpoint"),
            },
            lists: doors.lists(),
            guesses: Arc::default(),
            makers: Arc::default(),
        };
        let stop = CancellationToken::new();
        let (here, there) = (
            enrol.local_addr().expect("bound"),
            renewal.local_addr().expect("bound"),
        );
        runtime.spawn(https::serve(
            enrol,
            doors.enrol(),
            router(state.clone()),
            limits,
            stop.clone(),
        ));
        runtime.spawn(https::serve(
            renewal,
            doors.renewal(),
            renewal_router(state),
            limits,
            stop.clone(),
        ));
        let roots: String = authority.trust_bundle().iter().map(|c| pem(c)).collect();
        fs::write(folder.path().join("ca.pem"), roots).expect("written");
        World {
            folder,
            enrol: here,
            renewal: there,
            authority,
            stop,
            store,
            clock,
            shift_ms,
            identity,
            doors,
            runtime,
            files: AtomicU16::new(0),
        }
    }

    /// Moves the server's clock to this many days from the real time.
    pub(crate) fn at_days(&self, days: i64) {
        self.shift_ms.store(days * DAY_MS, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file name that was not used yet.
    pub(crate) fn fresh(&self, ending: &str) -> PathBuf {
        let n = self.files.fetch_add(1, Ordering::SeqCst);
        self.path(&format!("{n}.{ending}"))
    }

    pub(crate) fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Tx, Timestamp) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        let now = self.clock.now();
        let done = self.store.write(move |tx| work(tx, now));
        self.runtime.block_on(done).expect("the store works")
    }

    /// A claim for a new gateway: its id and `id:code`.
    pub(crate) fn claim(&self, approval: Approval) -> (GatewayId, String) {
        let random = signer::random().expect("random");
        let id = homeward_fleet::device::gateway_id(random);
        let user = self.claim_for(&id, approval);
        (id, user)
    }

    /// A claim for this gateway: `id:code`.
    pub(crate) fn claim_for(&self, id: &GatewayId, approval: Approval) -> String {
        let code = Code::from_random(signer::random().expect("random"));
        let user = format!("{id}:{}", code.plain());
        let id = id.clone();
        self.write(move |tx, now| {
            let new = NewClaim {
                gateway: &id,
                code: &code,
                approval,
                expires_at: now.plus_ms(7 * DAY_MS),
                placement: None,
                by: "anna",
            };
            register::claim_new(tx, &new, now)
        });
        user
    }

    pub(crate) fn revoke(&self, id: &GatewayId) -> Revoking {
        let id = id.clone();
        self.write(move |tx, now| register::revoke(tx, &id, "stolen", "anna", now))
    }

    /// What `run` does on a signal: puts the newest revocation list in force.
    pub(crate) fn refresh(&self) {
        let revoked = self.write(|tx, now| certificates::revoked(tx, now.plus_ms(-200 * DAY_MS)));
        let trust = Trust::of(&self.authority, &revoked, self.now()).expect("a list");
        self.doors
            .refresh(&self.identity, &self.identity, &trust)
            .expect("refreshed");
    }

    /// A new P-256 key with a request that asks for this subject and these extensions.
    pub(crate) fn device(&self, asks: &[&str]) -> Device {
        let key = self.fresh("key.pem");
        run(Command::new("openssl")
            .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"])
            .arg(&key));
        let (request, base64) = (self.fresh("der"), self.fresh("b64"));
        run(Command::new("openssl")
            .args(["req", "-new", "-outform", "DER", "-key"])
            .arg(&key)
            .args(["-subj", "/CN=whatever"])
            .args(asks)
            .arg("-out")
            .arg(&request));
        run(Command::new("openssl")
            .args(["base64", "-in"])
            .arg(&request)
            .arg("-out")
            .arg(&base64));
        Device { key, request, base64 }
    }

    pub(crate) fn est(at: SocketAddr, what: &str) -> String {
        format!("https://localhost:{}/.well-known/est/{what}", at.port())
    }

    pub(crate) fn curl(&self, args: &[&str]) -> Result<Reply, String> {
        let (head, body) = (self.fresh("head"), self.fresh("body"));
        let out = Command::new("curl")
            .args(["-sS", "--max-time", "30", "-w", "%{http_code}", "--cacert"])
            .arg(self.path("ca.pem"))
            .arg("-D")
            .arg(&head)
            .arg("-o")
            .arg(&body)
            .args(args)
            .output()
            .expect("curl runs");
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into_owned());
        }
        Ok(Reply {
            status: String::from_utf8_lossy(&out.stdout)
                .trim()
                .parse()
                .expect("a status"),
            head: fs::read_to_string(head).unwrap_or_default().to_ascii_lowercase(),
            body: fs::read(body).unwrap_or_default(),
        })
    }

    /// Asks for a first certificate.
    pub(crate) fn simpleenroll(&self, user: &str, request: &Path) -> Reply {
        let url = World::est(self.enrol, "simpleenroll");
        self.post(&["-u", user], request, &url).expect("an answer")
    }

    /// Asks for the next certificate, by the one in `cert`.
    pub(crate) fn reenroll(
        &self,
        at: SocketAddr,
        key: &Path,
        cert: &Path,
        request: &Path,
    ) -> Result<Reply, String> {
        let url = World::est(at, "simplereenroll");
        self.post(&["--key", &text(key), "--cert", &text(cert)], request, &url)
    }

    pub(crate) fn post(&self, more: &[&str], body: &Path, url: &str) -> Result<Reply, String> {
        let body = format!("@{}", body.display());
        let mut args = vec!["-H", "Content-Type: application/pkcs10", "--data-binary", &body];
        args.extend(more);
        args.push(url);
        self.curl(&args)
    }

    /// Enrols a new gateway without approval: its id, its key and the file of its certificate.
    pub(crate) fn enrolled(&self) -> (GatewayId, Device, PathBuf) {
        let (id, user) = self.claim(Approval::Automatic);
        let device = self.device(&[]);
        let reply = self.simpleenroll(&user, &device.base64);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let cert = self.keep(&reply);
        (id, device, cert)
    }

    /// The certificates of an answer, by openssl, as DER.
    pub(crate) fn certs(&self, reply: &Reply) -> Vec<Vec<u8>> {
        let pem = fs::read(self.keep(reply)).expect("kept");
        let (mut certs, mut rest) = (Vec::new(), pem.as_slice());
        while let Ok((after, block)) = x509_parser::pem::parse_x509_pem(rest) {
            certs.push(block.contents);
            rest = after;
        }
        certs
    }

    /// Keeps the certificates of an answer as a PEM file, by openssl.
    pub(crate) fn keep(&self, reply: &Reply) -> PathBuf {
        let (packed, der, pem) = (self.fresh("b64"), self.fresh("p7"), self.fresh("pem"));
        fs::write(&packed, &reply.body).expect("written");
        run(Command::new("openssl")
            .args(["base64", "-d", "-A", "-in"])
            .arg(&packed)
            .arg("-out")
            .arg(&der));
        run(Command::new("openssl")
            .args(["pkcs7", "-inform", "DER", "-print_certs", "-in"])
            .arg(&der)
            .arg("-out")
            .arg(&pem));
        pem
    }

    /// Asks the listeners to stop; gives how long they took.
    pub(crate) fn stop(&self) -> Duration {
        let begun = std::time::Instant::now();
        self.stop.cancel();
        while std::net::TcpStream::connect(self.enrol).is_ok() && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        begun.elapsed()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Runs a program that must succeed; gives what it said.
pub(crate) fn run(command: &mut Command) -> String {
    let out = command.output().expect("runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {said}{errors}");
    said
}

pub(crate) fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|i| &text[i..(i + 64).min(text.len())])
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}
