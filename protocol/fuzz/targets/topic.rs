//! Topics and filters: one spelling each.
#![no_main]

use homeward_protocol::topic::{Filter, MAX_TOPIC, Topic};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(topic) = text.parse::<Topic>() {
        assert_eq!(topic.to_string(), text);
        // The one name that may be heard by itself.
        let heard_alone = matches!(topic, Topic::Ack(_));
        assert!(text.len() <= MAX_TOPIC && text.parse::<Filter>().is_ok() == heard_alone);
    }
    if let Ok(filter) = text.parse::<Filter>() {
        assert_eq!(filter.to_string(), text);
        assert!(text.len() <= MAX_TOPIC);
    }
});
