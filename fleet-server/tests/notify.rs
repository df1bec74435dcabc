//! Messages to people, by real connections: a mail server and a service that speak as real ones do, and some that do not.
#![expect(clippy::disallowed_methods, reason = "tests: sockets, files and waiting")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use homeward_fleet::clock::Clock;
use homeward_fleet::config::Config;
use homeward_fleet::notify::serve::{Tell, Ways, trial};
use homeward_fleet::notify::{Message, TRIES, Way, signature};
use homeward_fleet::store::incidents::{self, Kind};
use homeward_fleet::store::{Store, StoreConfig, notices, open};
use homeward_protocol::time::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

const NOW: i64 = 1_795_680_000_000;
const PASSWORD: &str = "kept-in-a-file";
const SECRET: &str = "shared with the service";

/// A server certificate for `localhost` that is its own root.
struct Own {
    pem: String,
    acceptor: TlsAcceptor,
}

fn own() -> Own {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("a server");
    Own {
        pem: certificate.pem(),
        acceptor: TlsAcceptor::from(Arc::new(config)),
    }
}

/// One conversation as a mail server has it (RFC 5321, RFC 4954); gives all that the client said.
async fn smtp<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> String {
    let mut stream = BufReader::new(stream);
    let mut heard = String::new();
    stream
        .write_all(b"220 mail.example ESMTP\r\n")
        .await
        .expect("writes");
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return heard;
        }
        heard.push_str(&line);
        let verb = line.split([' ', '\r']).next().unwrap_or_default().to_owned();
        let answer = match verb.as_str() {
            "EHLO" => "250-mail.example\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN\r\n",
            "AUTH" => "235 2.7.0 accepted\r\n",
            "MAIL" | "RCPT" => "250 2.1.0 ok\r\n",
            "DATA" => "354 go on\r\n",
            "QUIT" => "221 bye\r\n",
            _ => "500 what?\r\n",
        };
        stream.write_all(answer.as_bytes()).await.expect("writes");
        if verb == "DATA" {
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.expect("reads");
                if line == ".\r\n" {
                    break;
                }
                heard.push_str(&line);
            }
            stream.write_all(b"250 2.0.0 queued\r\n").await.expect("writes");
        }
    }
}

/// One request as a service takes it; gives its head and its body.
async fn http<S: AsyncRead + AsyncWrite + Unpin>(stream: S, answer: &str) -> (String, Vec<u8>) {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("reads");
        if line == "\r\n" {
            break;
        }
        let lower = line.to_lowercase();
        if let Some(given) = lower.strip_prefix("content-length:") {
            length = given.trim().parse().expect("a number");
        }
        head.push_str(&lower);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("reads");
    stream.write_all(answer.as_bytes()).await.expect("writes");
    stream.flush().await.expect("flushes");
    (head, body)
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(work)
}

/// A folder with the secrets, and the ways by this `[notify]`.
fn ways(folder: &Path, ca: &str, notify: &str) -> Ways {
    std::fs::write(folder.join("ca.pem"), ca).expect("written");
    std::fs::write(folder.join("mail.password"), format!("{PASSWORD}\n")).expect("written");
    std::fs::write(folder.join("hook.secret"), format!("{SECRET}\n")).expect("written");
    let text = format!("[notify]\nca = \"ca.pem\"\n{notify}\n");
    let config = Config::parse(&text, folder).expect("a configuration");
    Ways::open(&config.notify).expect("opens")
}

fn mail(port: u16, security: &str) -> String {
    format!(
        "mail_server = \"localhost:{port}\"\nmail_security = \"{security}\"\nmail_from = \"homeward@fleet.example\"\n\
         mail_user = \"homeward\"\nmail_password_file = \"mail.password\"\npeople = {{ nora = \"nora@care.example\" }}"
    )
}

fn hook(url: &str) -> String {
    format!("webhook = \"{url}\"\nwebhook_secret_file = \"hook.secret\"")
}

#[tokio::test]
async fn a_mail_goes_out_over_tls_with_our_password_and_names_itself() {
    let (own, folder) = (own(), tempfile::tempdir().expect("a folder"));
    let (listener, port) = listener().await;
    let server = spawn(async move {
        let (tcp, _) = listener.accept().await.expect("somebody");
        smtp(own.acceptor.accept(tcp).await.expect("TLS")).await
    });
    let ways = ways(folder.path(), &own.pem, &mail(port, "tls"));
    let done = trial(&ways, "nora", "n-17", Timestamp::synced(NOW)).await;
    assert!(matches!(&done[..], [(Way::Mail, Ok(()))]), "{done:?}");
    let heard = server.await.expect("ends");
    let login = base64::engine::general_purpose::STANDARD.encode(format!("\0homeward\0{PASSWORD}"));
    for part in [
        &format!("AUTH PLAIN {login}"),
        "MAIL FROM:<homeward@fleet.example>",
        "RCPT TO:<nora@care.example>",
        "Subject: A test of Homeward's messages",
        "Message-ID: <n-17@fleet.example>",
        "nora: this is a test. Nothing has to be done.",
    ] {
        assert!(heard.contains(part), "{part} is not in\n{heard}");
    }
}

#[tokio::test]
async fn nothing_is_said_to_a_mail_server_that_nobody_vouches_for() {
    let (own_one, other, folder) = (own(), own(), tempfile::tempdir().expect("a folder"));
    let (listener, port) = listener().await;
    let server = spawn(async move {
        let (tcp, _) = listener.accept().await.expect("somebody");
        own_one.acceptor.accept(tcp).await.is_ok()
    });
    let ways = ways(folder.path(), &other.pem, &mail(port, "tls"));
    let done = trial(&ways, "nora", "n", Timestamp::synced(NOW)).await;
    assert!(matches!(&done[..], [(Way::Mail, Err(_))]), "{done:?}");
    assert!(!format!("{done:?}").contains(PASSWORD));
    assert!(!server.await.expect("ends"), "the handshake went through");
}

#[tokio::test]
async fn a_server_without_starttls_gets_neither_the_password_nor_the_message() {
    let (own, folder) = (own(), tempfile::tempdir().expect("a folder"));
    let (listener, port) = listener().await;
    let server = spawn(async move {
        let (tcp, _) = listener.accept().await.expect("somebody");
        smtp(tcp).await
    });
    let ways = ways(folder.path(), &own.pem, &mail(port, "starttls"));
    let done = trial(&ways, "nora", "n", Timestamp::synced(NOW)).await;
    assert!(matches!(&done[..], [(Way::Mail, Err(_))]), "{done:?}");
    let heard = server.await.expect("ends");
    assert!(!heard.contains("AUTH") && !heard.contains("MAIL"), "{heard}");
}

#[tokio::test]
async fn a_service_can_tell_by_the_signature_that_a_message_is_ours() {
    let (own, folder) = (own(), tempfile::tempdir().expect("a folder"));
    let (listener, port) = listener().await;
    let server = spawn(async move {
        let (tcp, _) = listener.accept().await.expect("somebody");
        let stream = own.acceptor.accept(tcp).await.expect("TLS");
        http(stream, "HTTP/1.1 204 No Content\r\n\r\n").await
    });
    let url = format!("https://localhost:{port}/in?box=3");
    let ways = ways(folder.path(), &own.pem, &hook(&url));
    let done = trial(&ways, "anybody", "n-17", Timestamp::synced(NOW)).await;
    assert!(matches!(&done[..], [(Way::Webhook, Ok(()))]), "{done:?}");
    let (head, body) = server.await.expect("ends");
    assert!(head.starts_with("post /in?box=3 http/1.1\r\n"), "{head}");
    let signed = signature(SECRET.as_bytes(), &body);
    assert!(
        head.contains(&format!("x-homeward-signature: {signed}\r\n")),
        "{head}"
    );
    assert!(head.contains("x-homeward-notice: n-17\r\n"), "{head}");
    let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        (&json["id"], &json["person"]),
        (&"n-17".into(), &"anybody".into())
    );
}

#[tokio::test]
async fn what_answers_with_a_redirection_or_a_fault_has_not_taken_it() {
    let (own, folder) = (own(), tempfile::tempdir().expect("a folder"));
    for answer in [
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n\r\n",
        "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
        "what?\r\n\r\n",
        "",
    ] {
        let (listener, port) = listener().await;
        let server = spawn(async move {
            let (tcp, _) = listener.accept().await.expect("somebody");
            http(tcp, answer).await
        });
        let ways = ways(
            folder.path(),
            &own.pem,
            &hook(&format!("http://127.0.0.1:{port}/")),
        );
        let done = trial(&ways, "nora", "n", Timestamp::synced(NOW)).await;
        assert!(
            matches!(&done[..], [(Way::Webhook, Err(_))]),
            "{answer}: {done:?}"
        );
        server.await.expect("ends");
    }
}

fn message() -> Message {
    Message {
        gateway: Some("gw-1".parse().expect("an id")),
        person: "nora".to_owned(),
        subject: "Update 1.4.0 of gw-1 needs a quiet moment".to_owned(),
        body: "nora: please find a time.".to_owned(),
    }
}

async fn kept(folder: &Path, ways: &Ways) -> Store {
    let store = open(&StoreConfig::Sqlite(folder.join("fleet.db"))).expect("opens");
    let reach = ways.reach();
    let put = store.write(move |tx| {
        let all = reach.ways("nora");
        notices::put(tx, "n", &message(), &all, Timestamp::synced(NOW))
    });
    put.await.expect("put");
    store
}

async fn out(store: &Store) -> BTreeSet<String> {
    let read = store.read(|tx| {
        let rows = tx.rows("SELECT way FROM notices WHERE sent_at IS NOT NULL", &[])?;
        rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
    });
    read.await.expect("reads")
}

#[tokio::test]
async fn a_service_that_hangs_holds_up_no_mail_and_is_tried_again() {
    let (own, folder) = (own(), tempfile::tempdir().expect("a folder"));
    let (mails, mail_port) = listener().await;
    let (hooks, hook_port) = listener().await;
    let server = spawn(async move {
        let (tcp, _) = mails.accept().await.expect("somebody");
        smtp(own.acceptor.accept(tcp).await.expect("TLS")).await
    });
    let hangs = spawn(async move {
        // The first is never answered, the second is.
        let (first, _) = hooks.accept().await.expect("somebody");
        let (second, _) = hooks.accept().await.expect("somebody");
        let taken = http(second, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        drop(first);
        taken
    });
    let notify = format!(
        "{}\n{}",
        hook(&format!("http://127.0.0.1:{hook_port}/")),
        mail(mail_port, "tls")
    );
    let ways = ways(folder.path(), &own.pem, &notify).patient_for(Duration::from_millis(1500));
    let store = kept(folder.path(), &ways).await;
    let now = Arc::new(AtomicI64::new(NOW));
    let clock = Arc::clone(&now);
    let tell = Tell {
        store: store.clone(),
        ways,
        clock: Clock::from_fn(move || Timestamp::synced(clock.load(Ordering::SeqCst))),
    };
    tell.look().await.expect("looks");
    assert_eq!(out(&store).await, BTreeSet::from(["mail".to_owned()]));
    assert!(server.await.expect("ends").contains("please find a time"));
    // Not at once, and then it is taken.
    tell.look().await.expect("looks");
    assert_eq!(out(&store).await.len(), 1);
    now.fetch_add(30_000, Ordering::SeqCst);
    tell.look().await.expect("looks");
    assert_eq!(out(&store).await.len(), 2);
    let (_, body) = hangs.await.expect("ends");
    assert!(String::from_utf8_lossy(&body).contains("please find a time"));
}

#[tokio::test]
async fn what_gets_out_on_no_way_is_given_up_and_becomes_an_incident() {
    let (own, folder) = (own(), tempfile::tempdir().expect("a folder"));
    // Ports at which nobody is.
    let (gone, port) = listener().await;
    drop(gone);
    let notify = format!(
        "{}\n{}",
        hook(&format!("http://127.0.0.1:{port}/")),
        mail(port, "tls")
    );
    let ways = ways(folder.path(), &own.pem, &notify);
    let store = kept(folder.path(), &ways).await;
    for hour in 0..i64::from(TRIES) {
        let now = Timestamp::synced(NOW + hour * 2 * 3_600_000);
        let open = store.read(|tx| incidents::open(tx, 10)).await.expect("reads");
        assert_eq!(open, [], "try {hour}");
        let tell = Tell {
            store: store.clone(),
            ways: ways.clone(),
            clock: Clock::from_fn(move || now),
        };
        tell.look().await.expect("looks");
    }
    let open = store.read(|tx| incidents::open(tx, 10)).await.expect("reads");
    let [one] = &open[..] else {
        panic!("{open:?}");
    };
    assert_eq!(one.kind, Kind::NoticesFailed);
    assert!(
        one.said.contains("nora could not be told") && one.said.contains("notify test"),
        "{}",
        one.said
    );
    assert!(!one.said.contains(SECRET) && !one.said.contains(PASSWORD));
    let later = Timestamp::synced(NOW + 1_000 * 3_600_000);
    let left = store
        .write(move |tx| notices::take(tx, 10, later))
        .await
        .expect("reads");
    assert_eq!(left, []);
}
