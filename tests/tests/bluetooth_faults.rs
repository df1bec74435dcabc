//! What our Bluetooth shell makes of a stack that misbehaves: each check plays `devices::bluez`, with btleplug and zbus
//! below it, over a fake `org.bluez` on a bus of its own. Where there is no `dbus-daemon` they skip aloud.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests wait, and are programs on a bus"
)]

use std::time::Duration;

use homeward_devices::bluez::Bluez;
use homeward_devices::link::ble::{At, Central as _, Notice, Peripheral};
use homeward_protocol::bond::BleAddress;
use homeward_tests::fake_bluez::alone::SOON;
use tokio::time::timeout;

#[path = "bluetooth_faults/calls.rs"]
mod calls;
#[path = "bluetooth_faults/life.rs"]
mod life;
#[path = "bluetooth_faults/pairing.rs"]
mod pairing;
#[path = "bluetooth_faults/values.rs"]
mod values;

const STRAP: BleAddress = BleAddress([0xC1, 0, 0, 0, 0, 1]);
const CUFF: BleAddress = BleAddress([0xC1, 0, 0, 0, 0, 2]);
const CLIP: BleAddress = BleAddress([0xC1, 0, 0, 0, 0, 3]);
const METER: BleAddress = BleAddress([0xC1, 0, 0, 0, 0, 4]);
const BATTERY: At = At {
    service: 0x180F,
    characteristic: 0x2A19,
};
/// One window of a scan; the fake is heard at once.
const WINDOW: Duration = Duration::from_millis(100);
/// Where nothing more may come.
const QUIET: Duration = Duration::from_millis(700);

type Link = <Bluez as homeward_devices::link::ble::Central>::Link;

/// Listens once; whether `address` was heard.
async fn hears(bluez: &Bluez, address: BleAddress) -> bool {
    let heard = bluez.scan(WINDOW, &[]).await.expect("a scan");
    heard.iter().any(|advert| advert.address == address)
}

async fn connect(bluez: &Bluez, address: BleAddress) -> Link {
    assert!(hears(bluez, address).await, "{address} is not heard");
    bluez.connect(address, SOON).await.expect("a link")
}

/// The next value.
async fn next(link: &mut Link) -> Notice {
    let notice = timeout(SOON, link.next()).await.expect("a value in time");
    notice.expect("a link")
}

/// Nothing comes.
async fn silence(link: &mut Link) {
    let more = timeout(QUIET, link.next()).await;
    assert!(more.is_err(), "{more:?}");
}

/// The link is told to be gone, and stays so.
async fn gone(link: &mut Link) {
    assert_eq!(timeout(SOON, link.next()).await.expect("is noticed"), None);
    assert_eq!(link.next().await, None);
}
