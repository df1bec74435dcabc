use super::*;

#[test]
fn a_message_goes_all_ways_that_lead_to_its_person() {
    let reach = Reach {
        mail: BTreeSet::from(["nora".to_owned()]),
        webhook: true,
    };
    assert_eq!(reach.ways("nora"), [Way::Mail, Way::Webhook]);
    assert_eq!(reach.ways("olga"), [Way::Webhook]);
    assert_eq!(Reach::default().ways("nora"), []);
}

#[test]
fn each_wait_is_longer_up_to_an_hour_and_there_is_a_last_try() {
    let waits: Vec<u64> = (1..=TRIES).map_while(wait).map(|wait| wait.as_secs()).collect();
    assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600]);
    assert_eq!(wait(TRIES), None);
    assert_eq!(wait(u32::MAX), None);
}

#[test]
fn a_signature_is_the_one_that_others_compute() {
    // RFC 4231, test case 2.
    let signed = signature(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(
        signed,
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}
