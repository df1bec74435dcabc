//! Configuration files as somebody wrote them: read, or refused with words.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = homeward_fleet::config::Config::parse(text, Path::new("data")) {
        assert!(!error.to_string().is_empty());
    }
    if let Err(error) = homeward_agent::config::Config::parse(text) {
        assert!(!error.to_string().is_empty());
    }
});
