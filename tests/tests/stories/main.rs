//! The stories: the two programs, real devices, people at the console, and what goes wrong in the years of a home.
//!
//! Each module is one story, each test one promise. They share this binary because they share the harness.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: stories with real processes, files and time"
)]

mod advised;
mod bad_input;
mod beside;
mod bluetooth;
mod campaigned;
mod clocks;
mod cut;
mod dark;
mod descriptors;
mod dossiers;
mod doubted;
mod forced;
mod full_disk;
mod guarded;
mod hostile_handshakes;
mod hushed;
mod known;
mod locked_out;
mod mirrored;
mod moved_cable;
mod noted;
mod nurse;
mod on_postgres;
mod overdue;
mod packaged;
mod policed;
mod policies;
mod proved;
mod put_back;
mod quiet;
mod restored;
mod returned;
mod revoked;
mod roots;
mod secured;
mod service;
mod serviced;
mod stage;
mod stolen_disk;
mod supported;
mod updates;
mod windows;
