//! Sensor bytes to values.
//!
//! Knows devices and their profiles, not gateways, people or clocks: what comes out is a [`sample::Sample`]
//! without a time or an owner. Words and bytes from devices never panic anything here.
//!
//! # Design
//! Everything about a Modbus device is data: a [`profile::Profile`] says which registers it has and what they mean,
//! and the code below it knows Modbus only. A new device is a text file, not a new build. What Bluetooth health
//! sensors send is standardised instead: [`ble`] has one decoder for each characteristic.

pub mod ble;
pub mod bluez;
pub mod exact;
pub mod link;
pub mod modbus;
pub mod profile;
pub mod sample;
pub mod simulated;
pub mod unit;
