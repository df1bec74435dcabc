//! fleet-server
