use std::time::{Duration, Instant};

use homeward_devices::modbus::tcp::Tcp;
use homeward_devices::profile::shipped;
use homeward_devices::simulated::serve::Device;
use homeward_devices::simulated::{Behaviour, Simulated};
use homeward_protocol::alarm::Condition;
use homeward_protocol::envelope::Item;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::sense::{SensorConfig, lines};

const UPS: &str = "tripp-lite-modbuscard";

fn clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || {
        let ms = u64::try_from(start.elapsed().as_millis()).expect("a short test");
        (Timestamp::synced(i64::try_from(ms).expect("short")), Uptime(ms))
    })
}

/// A simulated device, its address, and the lever that makes it fail.
async fn device() -> (
    String,
    watch::Sender<Behaviour>,
    tokio::task::JoinHandle<std::io::Result<()>>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let (lever, behaviour) = watch::channel(Behaviour::Well);
    let start = Instant::now();
    let device = Device {
        simulated: Simulated::new(shipped(UPS).expect("shipped"), 7),
        elapsed: Arc::new(move || start.elapsed()),
        behaviour,
    };
    (address, lever, tokio::spawn(device.serve(listener)))
}

fn sensor(id: &str, address: &str, limit_ms: u64) -> Sensor {
    let config = SensorConfig {
        id: id.parse().expect("an id"),
        profile: UPS.parse().expect("a profile"),
        address: address.parse().expect("an address"),
        tls: None,
        baud: None,
        unit: None,
        interval_ms: Some(50),
        identity: None,
    };
    let mut profile = shipped(UPS).expect("shipped");
    profile.time_limit = Duration::from_millis(limit_ms);
    profile.silent_after = Duration::from_millis(400);
    config.resolve(&[profile]).expect("a sensor")
}

/// Takes what is heard until `wanted` says so; fails after 20 s.
async fn until(heard: &mut mpsc::Receiver<Heard>, what: &str, mut wanted: impl FnMut(&Heard) -> bool) {
    let search = async {
        while let Some(one) = heard.recv().await {
            if wanted(&one) {
                return;
            }
        }
        panic!("the line ended before {what}");
    };
    tokio::time::timeout(Duration::from_secs(20), search)
        .await
        .unwrap_or_else(|_| panic!("never {what}"));
}

fn alarm(heard: &Heard, condition: Condition, active: bool) -> bool {
    let is = |item: &Item| matches!(item, Item::Alarm(a) if a.condition == condition && a.active == active);
    heard.items.iter().any(is)
}

#[tokio::test]
async fn a_device_is_read_goes_silent_is_noticed_and_comes_back() {
    let (address, lever, server) = device().await;
    let line = lines(vec![sensor("ups", &address, 100)], Uptime(0))
        .expect("no fault")
        .remove(0);
    let (out, mut heard) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let bus = Bus::new(Tcp::new(address.clone(), line.time_limit()));
    let (_judge, judged) = watch::channel(Judged::NOT_YET);
    let polling = tokio::spawn(run(
        bus,
        line,
        (clock(), judged, watch::channel(Arc::default()).1),
        out,
        None,
        stop.clone(),
    ));

    until(&mut heard, "read", |h| {
        h.items.iter().filter(|i| matches!(i, Item::Reading(_))).count() == 8
    })
    .await;
    lever.send_replace(Behaviour::Silent);
    until(&mut heard, "silent", |h| alarm(h, Condition::SensorSilent, true)).await;
    lever.send_replace(Behaviour::Well);
    until(&mut heard, "back", |h| alarm(h, Condition::SensorSilent, false)).await;
    lever.send_replace(Behaviour::Alarming);
    until(&mut heard, "alarming", |h| alarm(h, Condition::DeviceAlarm, true)).await;
    lever.send_replace(Behaviour::Refusing(4));
    until(&mut heard, "refused", |h| {
        let error = h.state.last_error.as_ref().map_or("", |e| e.as_str());
        error.contains("battery_condition") && error.contains("exception 4")
    })
    .await;

    stop.cancel();
    drop(heard);
    polling.await.expect("the line ends when asked");
    server.abort();
}

#[tokio::test]
async fn one_poll_from_the_command_line_says_what_is_wrong() {
    let (address, lever, server) = device().await;
    let sensor = sensor("ups", &address, 1000);
    let ask = || once(&sensor, Tcp::new(address.clone(), sensor.profile.time_limit));
    let good = ask().await;
    assert_eq!((good.answers.len(), &good.error), (2, &None));
    lever.send_replace(Behaviour::Refusing(2));
    let refused = ask().await;
    let says = refused.error.expect("an error");
    assert!(says.contains("does the profile fit this model?"), "{says}");
    server.abort();
    let _ = server.await;
    let gone = ask().await.error.expect("an error");
    assert!(gone.contains("could not reach"), "{gone}");
}
