//! Whether the way to the server costs by the byte, as `NetworkManager` says on a message bus of the test's own.
#![expect(clippy::disallowed_methods, reason = "shell: a test waits for a bus")]

use std::time::Duration;

use homeward_agent::update::rate::Link;
use homeward_agent::update::rate::metered::ask;
use homeward_tests::fake_bluez::bus::Bus;
use zbus::Connection;
use zbus::connection::Builder;

const SERVICE: &str = "org.freedesktop.NetworkManager";
const PLACE: &str = "/org/freedesktop/NetworkManager";

/// `NMMetered`: unknown, yes, no, guessed yes, guessed no.
struct Manager(u32);

#[zbus::interface(name = "org.freedesktop.NetworkManager")]
impl Manager {
    #[zbus(property)]
    fn metered(&self) -> u32 {
        self.0
    }
}

async fn connect(bus: &Bus) -> Connection {
    let address = bus.address();
    let builder = Builder::address(address.as_str());
    builder.build().await.expect("a bus")
}

async fn manager(bus: &Bus, says: u32) -> zbus::Result<Connection> {
    let address = bus.address();
    let builder = Builder::address(address.as_str()).name(SERVICE);
    builder.serve_at(PLACE, Manager(says)).build().await
}

#[tokio::test]
async fn a_link_costs_when_networkmanager_knows_or_guesses_so_and_not_when_it_does_not_know() {
    let Some(bus) = Bus::start() else { return };
    let asker = connect(&bus).await;
    for (says, link) in [
        (0, Link::Free),
        (1, Link::Metered),
        (2, Link::Free),
        (3, Link::Metered),
        (4, Link::Free),
        (77, Link::Free),
    ] {
        // The name of the one before is free once the bus has seen it go.
        let mut tries = 0;
        let manager = loop {
            match manager(&bus, says).await {
                Ok(manager) => break manager,
                Err(error) => assert!(tries < 1_000, "{error}"),
            }
            tries += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(ask(&asker).await.expect("an answer"), link, "{says}");
        manager.close().await.expect("closed");
    }
}

#[tokio::test]
async fn without_networkmanager_a_link_does_not_cost() {
    let Some(bus) = Bus::start() else { return };
    assert_eq!(ask(&connect(&bus).await).await.expect("an answer"), Link::Free);
}
