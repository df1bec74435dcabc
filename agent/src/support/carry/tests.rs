use homeward_protocol::envelope::Lane;
use homeward_protocol::id::Epoch;
use homeward_protocol::policy::net::Net;
use homeward_protocol::posture::ShortText;
use homeward_protocol::support::Session;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::identity::tls;
use crate::support::share::TRICKLE;

fn grant(port: u16, to: &[&str]) -> Grant {
    Grant {
        session: Session {
            session: SessionNumber(7),
            ticket: ShortText::cut("INC-1"),
            by: ShortText::cut("olga"),
            reason: ShortText::cut("silent"),
            port,
            lasts_s: 600,
        },
        until: Uptime(u64::MAX),
        to: to.iter().map(|net| net.parse::<Net>().expect("a net")).collect(),
    }
}

/// A box whose alarms wait, and whose server is behind this door.
fn carrying(
    door: (&str, u16),
) -> (
    Carrying,
    watch::Sender<Option<Grant>>,
    watch::Receiver<(SessionNumber, Moved)>,
) {
    let clock = Arc::new(Clock::with_floor(0));
    let config = Arc::new(tls::unverified(&clock).expect("a configuration"));
    let mut ledger = Ledger::fresh(Epoch(7));
    ledger.lane_mut(Lane::Urgent).items = 1;
    let (moved_tx, moved) = watch::channel((SessionNumber::default(), Moved::default()));
    let (granting, grant) = watch::channel(None);
    let carrying = Carrying {
        door: (door.0.to_owned(), door.1),
        tls: Box::new(move || Arc::clone(&config)),
        clock,
        ledger: watch::channel(ledger).1,
        grant,
        moved: moved_tx,
    };
    (carrying, granting, moved)
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

/// A server that says GO on each link and takes what comes.
fn server(listener: TcpListener, alpn: &[u8]) -> JoinHandle<()> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    if !alpn.is_empty() {
        config.alpn_protocols = vec![alpn.to_vec()];
    }
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut link) = acceptor.accept(tcp).await else {
                continue;
            };
            let mut taken = Vec::new();
            let _named = link.read_u64().await;
            let _went = link.write_all(&[GO]).await;
            let _ended = link.read_to_end(&mut taken).await;
        }
    })
}

#[tokio::test]
async fn a_server_where_the_policy_allows_none_is_not_even_dialled() {
    let (listener, port) = listener().await;
    let (carrying, _granting, _moved) = carrying(("127.0.0.1", port));
    let failed = carrying.dial(&grant(22, &["192.0.2.0/24"])).await.err();
    assert!(matches!(failed, Some(LinkError::Elsewhere(_))), "{failed:?}");
    let came = timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(came.is_err(), "it was dialled: {came:?}");
}

#[tokio::test]
async fn who_does_not_speak_of_support_gets_no_link() {
    let (listener, port) = listener().await;
    let server = server(listener, b"");
    let (carrying, _granting, _moved) = carrying(("127.0.0.1", port));
    let failed = carrying.dial(&grant(22, &["127.0.0.0/8"])).await.err();
    assert!(matches!(failed, Some(LinkError::Stranger)), "{failed:?}");
    server.abort();
}

#[tokio::test]
async fn a_server_that_is_gone_is_noticed_while_nobody_types() {
    let (listener, port) = listener().await;
    let address = ([127, 0, 0, 1], port).into();
    let stream = dial(address).await.expect("a connection");
    assert!(sockopt::socket_keepalive(&stream).expect("asked"));
    assert_eq!(sockopt::tcp_keepidle(&stream).expect("asked"), ALIVE.0);
    drop(listener);
}

/// A port of the box that sends a whole burst on each connection and closes it.
fn bursts(listener: TcpListener) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _went = tcp.write_all(&vec![b'x'; 16 * 1024]).await;
                let _gone = tcp.shutdown().await;
            });
        }
    })
}

/// Takes four seconds.
#[tokio::test]
async fn one_short_link_after_the_other_gets_no_more_than_one_share_while_alarms_wait() {
    let ((gate, door), (local, port)) = (listener().await, listener().await);
    let (server, local) = (server(gate, ALPN), bursts(local));
    let (carrying, granting, moved) = carrying(("127.0.0.1", door));
    granting.send_replace(Some(grant(port, &[])));
    let stop = CancellationToken::new();
    let (clock, from) = (Arc::clone(&carrying.clock), carrying.clock.uptime());
    let task = tokio::spawn(carrying.run(stop.clone()));
    sleep(Duration::from_secs(4)).await;
    let (_, went) = *moved.borrow();
    let ms = u64::try_from(clock.uptime().since(from).as_millis()).expect("short");
    let most = BURST + TRICKLE * ms / 1000 + TRICKLE;
    assert!(
        went.links > 0 && went.out_bytes <= most,
        "{went:?} in {ms} ms, at most {most}"
    );
    stop.cancel();
    task.await.expect("ends");
    server.abort();
    local.abort();
}
