use homeward_protocol::reading::{Kind, State};
use proptest::prelude::*;

use super::*;
use crate::profile::{shipped, shipped_ids};

fn profile(id: &str) -> Profile {
    shipped(id).expect("shipped")
}

fn read(id: &str, function: Function, address: u16, words: &[u16]) -> Decoded {
    let count = u16::try_from(words.len()).expect("few words");
    samples(
        &profile(id),
        Request {
            function,
            address,
            count,
        },
        words,
    )
    .expect("the count is right")
}

fn value(decoded: &Decoded, kind: Kind) -> (String, Quality) {
    let sample = decoded
        .samples
        .iter()
        .find(|s| s.kind == kind)
        .expect("the kind is there");
    let text = match sample.value {
        Value::Number(number) => number.to_string(),
        Value::State(state) => state.name().to_owned(),
        Value::Absent => "absent".to_owned(),
    };
    (text, sample.quality)
}

fn good(text: &str) -> (String, Quality) {
    (text.to_owned(), Quality::Good)
}

#[test]
fn neighbours_travel_together_and_foreign_registers_stay_unread() {
    let shown = |id: &str| -> Vec<(u8, u16, u16)> {
        let all = requests(&profile(id));
        all.iter()
            .map(|r| (r.function.code(), r.address, r.count))
            .collect()
    };
    assert_eq!(shown("tripp-lite-modbuscard"), [(4, 1054, 5), (4, 1060, 4)]);
    assert_eq!(
        shown("tsi-pressura-rpc30"),
        [(4, 0, 1), (4, 2, 3), (4, 7, 1), (4, 13, 1)]
    );
    assert_eq!(shown("vaisala-gmp251"), [(3, 0, 2), (3, 4, 2)]);
    assert_eq!(
        shown("parker-db5-20"),
        [(1, 0, 1), (1, 7, 3), (1, 11, 1), (4, 0, 1)]
    );
}

#[test]
fn gaps_and_the_most_registers_are_obeyed() {
    let mut tsi = profile("tsi-pressura-rpc30");
    tsi.widest_gap = 5;
    let counts = |p: &Profile| requests(p).iter().map(|r| r.count).collect::<Vec<_>>();
    assert_eq!(counts(&tsi), [14]);
    tsi.most_registers = 4;
    assert_eq!(counts(&tsi), [4, 4, 1]);
}

#[test]
fn a_ups_in_trouble_reads_as_one() {
    let first = read(
        "tripp-lite-modbuscard",
        Function::InputRegisters,
        1054,
        &[2, 1, 3, 75, 18],
    );
    assert_eq!(value(&first, Kind::BatteryCondition), good("to be replaced"));
    assert_eq!(value(&first, Kind::BatteryActivity), good("running on battery"));
    assert_eq!(value(&first, Kind::TimeOnBattery), good("75"));
    assert_eq!(value(&first, Kind::TimeRemaining), good("18"));
    let set: Vec<_> = first
        .alarms
        .iter()
        .filter(|a| a.1)
        .map(|a| a.0.as_str())
        .collect();
    assert_eq!(set, ["battery_condition", "battery_status"]);

    let second = read(
        "tripp-lite-modbuscard",
        Function::InputRegisters,
        1060,
        &[273, 12, 31, 64],
    );
    assert_eq!(value(&second, Kind::BatteryVoltage), good("27.3"));
    assert_eq!(value(&second, Kind::BatteryCurrent), good("1.2"));
    assert_eq!(value(&second, Kind::BatteryCharge), good("64"));
}

#[test]
fn negative_pressure_arrives_in_pascal_with_its_sign() {
    // -0.0100 inH2O x 249.08891 Pa = -2.4908891 Pa
    let room = read("tsi-pressura-rpc30", Function::InputRegisters, 0, &[0xff9c]);
    assert_eq!(value(&room, Kind::RoomPressure), good("-2.49"));
    // 71.6 degF = 22 degC, exactly
    let air = read("tsi-pressura-rpc30", Function::InputRegisters, 2, &[120, 0, 716]);
    assert_eq!(value(&air, Kind::AirTemperature), good("22.00"));
    assert_eq!(value(&air, Kind::AirChanges), good("12.0"));
    assert_eq!(value(&air, Kind::RelativeHumidity), good("absent"));
    let ante = read(
        "tsi-pressura-rpc30-anteroom",
        Function::InputRegisters,
        8,
        &[0xfc18, 1],
    );
    assert_eq!(value(&ante, Kind::RoomPressure), good("-2.491"));
    assert_eq!(value(&ante, Kind::Door), good(State::Closed.name()));
}

#[test]
fn zero_that_may_mean_not_fitted_is_doubtful_and_kept() {
    let air = read("tsi-pressura-rpc30", Function::InputRegisters, 2, &[0, 40, 716]);
    assert_eq!(
        value(&air, Kind::AirChanges),
        ("0.0".to_owned(), Quality::Doubtful)
    );
}

#[test]
fn low_word_first_floats_and_their_missing_value() {
    let bits = 412.6f32.to_bits();
    let words =
        |bits: u32| [u16::try_from(bits & 0xffff), u16::try_from(bits >> 16)].map(|w| w.expect("16 bits"));
    let co2 = |bits| {
        value(
            &read("vaisala-gmp251", Function::HoldingRegisters, 0, &words(bits)),
            Kind::CarbonDioxide,
        )
    };
    assert_eq!(co2(bits), good("413"));
    assert_eq!(co2(f32::NAN.to_bits()), good("absent"));
    assert_eq!(
        co2(f32::INFINITY.to_bits()),
        ("absent".to_owned(), Quality::Doubtful)
    );
    assert_eq!(co2((-5.0f32).to_bits()), ("-5".to_owned(), Quality::OutOfRange));
}

#[test]
fn an_unknown_code_is_doubtful_and_a_wild_value_out_of_range() {
    let ups = read(
        "tripp-lite-modbuscard",
        Function::InputRegisters,
        1054,
        &[9, 0, 0, 0, 0],
    );
    assert_eq!(
        value(&ups, Kind::BatteryCondition),
        ("absent".to_owned(), Quality::Doubtful)
    );
    let ups = read(
        "tripp-lite-modbuscard",
        Function::InputRegisters,
        1060,
        &[273, 12, 31, 250],
    );
    assert_eq!(
        value(&ups, Kind::BatteryCharge),
        ("250".to_owned(), Quality::OutOfRange)
    );
}

#[test]
fn coils_alarm_and_a_changed_setting_is_noticed() {
    let coils = read("parker-db5-20", Function::Coils, 7, &[1, 0, 1]);
    assert_eq!(coils.unexpected, ["oxygen_in_ppm"]);
    assert_eq!(
        coils.alarms,
        [
            ("shutdown_alarm".to_owned(), false),
            ("high_o2_alarm".to_owned(), true)
        ]
    );
}

#[test]
fn an_answer_of_another_length_is_refused() {
    let ups = profile("tripp-lite-modbuscard");
    let request = requests(&ups)[0];
    for words in [&[][..], &[0, 0, 0, 0], &[0; 6]] {
        let got = samples(&ups, request, words);
        assert!(matches!(got, Err(LinkError::Count { asked: 5, .. })), "{got:?}");
    }
}

#[test]
fn errors_can_name_the_registers() {
    let ups = profile("tripp-lite-modbuscard");
    assert_eq!(names(&ups, requests(&ups)[1]), "battery_voltage to battery_level");
    let nobody = Request {
        function: Function::Coils,
        address: 1,
        count: 1,
    };
    assert_eq!(names(&ups, nobody), "function 1 address 1 count 1");
}

proptest! {
    #[test]
    fn no_words_panic_and_every_sample_has_the_kind_of_its_register(
        which in 0usize..shipped_ids().count(),
        function in 1u8..=4,
        address in any::<u16>(),
        words in proptest::collection::vec(any::<u16>(), 0..140),
        count in any::<u16>(),
    ) {
        let profile = profile(shipped_ids().nth(which).expect("counted"));
        let function = Function::try_from(function).expect("1 to 4");
        let _ = samples(&profile, Request { function, address, count }, &words);
    }

    #[test]
    fn every_question_gives_each_of_its_registers_once(
        which in 0usize..shipped_ids().count(),
        word in any::<u16>(),
        gap in 0u16..20,
        most in 2u16..126,
    ) {
        let mut profile = profile(shipped_ids().nth(which).expect("counted"));
        (profile.widest_gap, profile.most_registers) = (gap, most);
        let mut kinds = Vec::new();
        for request in requests(&profile) {
            prop_assert!(request.count <= most);
            let words = vec![word; usize::from(request.count)];
            let decoded = samples(&profile, request, &words).expect("the count is right");
            kinds.extend(decoded.samples.iter().map(|s| s.kind));
        }
        let mut wanted: Vec<_> = profile.registers.iter().filter_map(|r| Some(r.meaning.as_ref()?.kind())).collect();
        kinds.sort();
        wanted.sort();
        prop_assert_eq!(kinds, wanted);
    }
}
