//! What a home's calendar is made of: the hours of its readings, and no more rows than it needs.

use homeward_protocol::id::GatewayId;

use super::{Home, NOW, block};
use crate::calendar::MOST_READINGS;
use crate::store::StoreError;
use crate::store::calendar::of;

const HOUR_MS: i64 = 3_600_000;

pub(super) fn the_hours_of_a_home_come_from_its_own_readings_and_a_steady_device_costs_no_more(home: &Home) {
    let store = home.open();
    let written = store.write(move |tx| {
        for gateway in ["gw-1", "gw-2"] {
            tx.execute(
                "INSERT INTO gateways (id, state, created_at, enrolled_at) VALUES ($1, 'enrolled', 1, 1)",
                &[gateway.into()],
            )?;
        }
        for (gateway, sensor, every_ms, many) in
            [("gw-1", "cuff", 24 * HOUR_MS, 20), ("gw-1", "fridge", 1_000, MOST_READINGS + 500), ("gw-2", "cuff", HOUR_MS, 99)]
        {
            tx.execute(
                "INSERT INTO latest (gateway, sensor, kind, quality, grade, taken_at, clock, received_at)
                 VALUES ($1, $2, 'k', 'good', 'green', 1, 'synced', 1)",
                &[gateway.into(), sensor.into()],
            )?;
            for n in 0..many {
                let at = NOW.ms - n * every_ms;
                tx.execute(
                    "INSERT INTO readings (gateway, epoch, seq, sensor, kind, quality, grade, taken_at, clock, received_at)
                     VALUES ($1, $2, $3, $2, 'k', 'good', 'green', $4, 'synced', $4)",
                    &[gateway.into(), sensor.into(), n.into(), at.into()],
                )?;
            }
        }
        Ok::<_, StoreError>(())
    });
    block(written).expect("written");
    let id: GatewayId = "gw-1".parse().expect("an id");
    let calendar = block(store.read(move |tx| of(tx, &id, NOW)))
        .expect("read")
        .expect("it is there");
    let names =
        |all: &[homeward_protocol::id::SensorId]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&calendar.record.telling), ["cuff"]);
    assert_eq!(names(&calendar.record.steady), ["fridge"]);
    assert_eq!(calendar.policy, None);
    let used = calendar.spans.iter().map(|span| span.used).max();
    assert_eq!(used, Some(20), "of this home alone");
    let nobody: GatewayId = "gw-9".parse().expect("an id");
    assert!(
        block(store.read(move |tx| of(tx, &nobody, NOW)))
            .expect("read")
            .is_none()
    );
}
