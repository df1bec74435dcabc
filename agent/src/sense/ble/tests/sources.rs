//! `AndroidAPS` #199: whoever sent a glucose value was taken for the sensor. Here a value counts as the sensor's only
//! from the device that was paired, by its bond; everything else is not taken, or says what it is.

use super::sessions::{CGM, cgm, glucose, no_records};
use super::*;

const UP: Uptime = Uptime(1000);

/// What a source that is tied to the adapter like this brings when it sends one live glucose value.
fn brings(association: Option<Association>, held: BondState, notice: Notice) -> Vec<Reading> {
    let mut source = device("cgm", association, None, UP);
    settle_with(&mut source, Input::Tick, &CGM, held, UP, |_| vec![0; 9]);
    no_records(&mut source, UP);
    let effects = source.handle(Input::Value(notice), stamp(UP), UP);
    readings(&effects).into_iter().cloned().collect()
}

#[test]
fn the_paired_sensor_is_the_source_and_nobody_else_is() {
    let paired = || Some(association(Some(GOOD)));
    let own = brings(paired(), BondState::Held(GOOD), glucose(104, 600));
    assert_eq!(own.len(), 1);
    assert_eq!((own[0].grade, own[0].details.reasons.len()), (Grade::Verified, 0));

    // At its address, without its key: not one value is taken.
    let weaker = Bond {
        class: KeyClass::SecureUnauthenticated,
        ..GOOD
    };
    for held in [BondState::None, BondState::Held(weaker)] {
        assert_eq!(brings(paired(), held, glucose(39, 600)), [], "{held:?}");
    }
    // A transmitter that nobody paired is not even connected.
    assert_eq!(brings(None, BondState::Held(GOOD), glucose(39, 600)), []);
    // One that somebody else paired, or whose key nobody could look at, is shown with what is against it.
    let legacy = Bond {
        class: KeyClass::LegacyAuthenticated,
        ..GOOD
    };
    for held in [BondState::Held(GOOD), BondState::Unread] {
        let taken = brings(Some(association(Some(legacy))), held, glucose(39, 600));
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].grade, Grade::Unverified);
        assert_eq!(taken[0].details.reasons, [Reason::BondChanged]);
    }
}

#[test]
fn what_no_patient_has_is_no_value_and_a_makers_own_frame_is_none_either() {
    let paired = || Some(association(Some(GOOD)));
    // The sensor says that its session was stopped: flags say a status octet, and its first bit is set.
    let stopped = Notice {
        at: cgm(0x2AA7),
        value: vec![7, 0x80, 104, 0, 0x58, 2, 1],
    };
    let told = brings(paired(), BondState::Held(GOOD), stopped);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].value, told[0].details.marks.as_slice()),
        (Value::Absent, &[Mark::Invalid][..])
    );
    // The same octets from where no profile subscribed, and octets that are damaged.
    let foreign = Notice {
        at: At {
            service: 0xFEBC,
            characteristic: 0x2AA7,
        },
        ..glucose(104, 600)
    };
    assert_eq!(brings(paired(), BondState::Held(GOOD), foreign), []);
    let mut cut = glucose(104, 600);
    cut.value.pop();
    assert_eq!(brings(paired(), BondState::Held(GOOD), cut), []);
}
