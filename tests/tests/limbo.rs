//! The way by which a gateway judges its server, on the cases of x509-limbo.
#![expect(clippy::disallowed_methods, reason = "shell: reads the suite, and the time")]

use std::collections::BTreeSet;

use homeward_tests::limbo::{Outcome, Suite, librarys, ours};
use homeward_tests::shared;
use rustls::pki_types::UnixTime;

/// Where the library, and so we, answer otherwise than the suite expects, by the beginning of the case's name, and why
/// that does not matter here: our own authority is the only one under which a chain can stand.
const OTHERWISE: &[(&str, &str)] = &[
    (
        "pathlen::validation-ignores-pathlen-in-leaf",
        "refused: a CA's certificate is no server's",
    ),
    (
        "pathlen::self-issued-certs-pathlen",
        "refused: two CAs of one name; ours have one each",
    ),
    (
        "webpki::aki::root-with-aki-",
        "an anchor's own extensions are not looked at: it is trusted as it was pinned",
    ),
    (
        "webpki::cn::",
        "the common name is not looked at: only names in subjectAltName count",
    ),
    (
        "webpki::eku::ee-anyeku",
        "anyExtendedKeyUsage stands for all of them",
    ),
    (
        "webpki::eku::ee-critical-eku",
        "a rule for public authorities; the usage itself is held",
    ),
    (
        "webpki::eku::ee-without-eku",
        "no stated usage is no limit; our authority always states one",
    ),
    (
        "webpki::eku::root-has-eku",
        "an anchor's own extensions are not looked at",
    ),
    (
        "webpki::nc::intermediate-permitted-excluded-subtrees-both-",
        "empty constraints constrain nothing; ours has none",
    ),
    (
        "webpki::san::public-suffix-",
        "which names are public suffixes is for public authorities",
    ),
    (
        "webpki::san::san-critical-with-nonempty-subject",
        "a rule of form; the name itself is held",
    ),
    (
        "webpki::malformed-aia",
        "that extension is not looked at: nothing is fetched from it",
    ),
    (
        "webpki::forbidden-p192-leaf",
        "the handshake's signature refuses such a key, after the chain",
    ),
    (
        "webpki::forbidden-dsa-leaf",
        "the handshake's signature refuses such a key, after the chain",
    ),
    (
        "webpki::forbidden-weak-rsa-in-leaf",
        "the handshake's signature refuses such a key, after the chain",
    ),
    (
        "webpki::forbidden-rsa-not-divisible-by-8-in-root",
        "a rule of form for public authorities",
    ),
    (
        "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf",
        "a rule of form for public authorities",
    ),
];

#[test]
fn nothing_is_accepted_that_the_library_refuses_and_every_difference_is_explained() {
    let Some(file) = shared::data("data/x509/limbo.json") else {
        return;
    };
    let suite: Suite = serde_json::from_slice(&std::fs::read(file).expect("read")).expect("a suite");
    let now = UnixTime::now();
    let (ours, librarys) = (ours(&suite, now), librarys(&suite, now));
    let mut run = 0;
    let mut differs = BTreeSet::new();
    for ((case, ours), librarys) in suite.testcases.iter().zip(&ours.results).zip(&librarys.results) {
        assert_eq!((&case.id, &case.id), (&ours.id, &librarys.id));
        assert_eq!(
            ours.actual_result, librarys.actual_result,
            "{}: {}",
            case.id, ours.context
        );
        if ours.actual_result == Outcome::Skipped {
            continue;
        }
        run += 1;
        if ours.actual_result != case.expected_result {
            differs.insert((case.id.as_str(), ours.actual_result, ours.context.as_str()));
        }
    }
    assert!(run >= 70, "only {run} cases were run");
    let explains = |id: &str, start: &str| id.starts_with(start);
    for (id, _, why) in &differs {
        assert!(
            OTHERWISE.iter().any(|(start, _)| explains(id, start)),
            "{id} is not explained: {why}"
        );
    }
    for (start, _) in OTHERWISE {
        assert!(
            differs.iter().any(|(id, ..)| explains(id, start)),
            "{start} answers as expected by now"
        );
    }
}
