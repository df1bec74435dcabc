//! Many sockets that want nothing good, and a house with too little room.

use std::net::SocketAddr;
use std::time::Duration;

use homeward_fleet::gate::Limits;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::Client;
use crate::house::{House, PATIENCE, until};

async fn sockets(address: SocketAddr, count: usize, first: &[u8]) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        let mut socket = TcpStream::connect(address).await.expect("a socket");
        socket.write_all(first).await.expect("the first bytes");
        sockets.push(socket);
    }
    sockets
}

fn client_hello(house: &House) -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = ClientConnection::new(house.credentials("gw-stops"), name).expect("a client");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("written");
    hello
}

async fn is_closed(socket: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(PATIENCE, socket.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_delay_nobody() {
    for count in [1, 64, 1000] {
        let house = House::open().await;
        let _silent = sockets(house.address, count, b"").await;
        house.serves_an_honest_gateway().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_stop_after_their_greeting_delay_nobody() {
    for count in [64, 900] {
        let house = House::open().await;
        let _stopped = sockets(house.address, count, &client_hello(&house)).await;
        house.serves_an_honest_gateway().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_speak_something_else_delay_nobody() {
    let house = House::open().await;
    let mut talkers = sockets(house.address, 100, b"GET / HTTP/1.1\r\nhost: gate\r\n\r\n").await;
    talkers.extend(sockets(house.address, 100, &[0x16, 3, 1, 0xff, 0xff]).await);
    assert!(is_closed(&mut talkers[0]).await);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_too_many_waiting_sockets_loses_its_oldest_one() {
    let limits = Limits {
        waiting_per_address: 50,
        ..Limits::default()
    };
    let house = House::with(limits, 10).await;
    let mut silent = sockets(house.address, 150, b"").await;
    for socket in &mut silent[..100] {
        assert!(is_closed(socket).await);
    }
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_in_time_is_closed() {
    let limits = Limits {
        hello: Duration::from_millis(100),
        handshake: Duration::from_millis(400),
        connect: Duration::from_millis(400),
        ..Limits::default()
    };
    let house = House::with(limits, 10).await;
    let mut silent = sockets(house.address, 1, b"").await;
    let mut stopped = sockets(house.address, 1, &client_hello(&house)).await;
    assert!(is_closed(&mut silent[0]).await);
    assert!(is_closed(&mut stopped[0]).await);
    let mut wordless = Client::dial(house.address, house.credentials("gw-1"))
        .await
        .expect("TLS");
    assert!(wordless.closed().await);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_house_refuses_retries_and_has_room_again() {
    let house = House::with(Limits::default(), 3).await;
    let mut inside = Vec::new();
    for name in ["gw-1", "gw-2", "gw-3"] {
        inside.push(house.connect(name).await);
    }
    for _ in 0..5 {
        let mut fourth = Client::dial(house.address, house.credentials("gw-4"))
            .await
            .expect("TLS");
        let answer = fourth.connect(Connect::new("gw-4")).await;
        assert_eq!(answer, Some(ConnectReturnCode::ServiceUnavailable));
        assert!(fourth.closed().await);
    }
    // Who is inside may come back at any time.
    inside.push(house.connect("gw-3").await);
    assert!(inside[2].closed().await);
    inside.swap_remove(0).goodbye().await;
    until("there is room", || house.connections.count() == 2).await;
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_stops_ends_every_connection() {
    let mut house = House::open().await;
    let mut connected = house.connect("gw-1").await;
    let mut silent = sockets(house.address, 10, b"").await;
    house.stop.cancel();
    timeout(PATIENCE, &mut house.served)
        .await
        .expect("it stops")
        .expect("without a panic");
    assert!(connected.closed().await);
    assert!(is_closed(&mut silent[0]).await);
    assert!(TcpStream::connect(house.address).await.is_err());
}
