use super::*;
use crate::posture::ShortText;

fn at(ms: i64) -> Timestamp {
    Timestamp::synced(ms)
}

fn fact(what: What, subject: &str, value: Value) -> Fact {
    Fact::new(FactId::about(what, subject), value, "a test", at(1))
}

fn sockets(ports: &[u32]) -> FactSet {
    FactSet::new(ports.iter().map(|port| {
        let id = format!("tcp/0.0.0.0:{port}");
        fact(What::Listen, &id, Value::Text(ShortText::cut("sshd")))
    }))
}

#[test]
fn what_differs_leads_from_the_base_to_the_state() {
    let (base, now) = (sockets(&[22, 80]), sockets(&[22, 443, 8080]));
    let report = now.since(8, (7, &base), at(5));
    assert_eq!(report.facts.len(), 2);
    assert!(matches!(&report.span, Span::Since { base: 7, gone } if gone.len() == 1));
    assert!(report.check().is_ok());
    assert_eq!(base.after(&report), Some(now.clone()));
    assert_eq!(FactSet::default().after(&now.full(9, at(5))), Some(now));
}

#[test]
fn a_lost_report_of_changes_spoils_nothing() {
    let (base, end) = (sockets(&[22]), sockets(&[443]));
    let _lost = sockets(&[80]).since(8, (7, &base), at(5));
    assert_eq!(base.after(&end.since(9, (7, &base), at(6))), Some(end));
}

#[test]
fn a_report_on_another_base_is_noticed() {
    let now = sockets(&[22, 443]);
    let report = now.since(8, (7, &sockets(&[22])), at(5));
    assert_eq!(sockets(&[23]).after(&report), None);
}

#[test]
fn too_much_is_left_out_and_counted() {
    let many: Vec<u32> = (1..=1000).collect();
    let set = sockets(&many);
    let left = set
        .get(&FactId::about(What::LeftOut, "net.listen"))
        .expect("it is said");
    assert_eq!(left.value, Value::Count(1000 - MAX_OF_A_KIND as u64));
    let long = "x".repeat(200);
    let all = What::ALL.iter().flat_map(|what| {
        let list = Value::List(vec![ShortText::cut(&long); crate::posture::value::MAX_LIST]);
        (0..100).map(move |n| fact(*what, &format!("{n}"), list.clone()))
    });
    let set = FactSet::new(all);
    let report = set.full(1, at(1));
    assert!(report.check().is_ok());
    assert!(crate::wire::encode(&report, MAX_REPORT).is_ok());
    assert!(set.facts().any(|fact| fact.id.what() == What::LeftOut));
}

#[test]
fn small_moves_are_settled_and_changes_are_told() {
    let old = FactSet::new([fact(What::DiskFree, "/", Value::Percent(50))]);
    let near = old.settled(FactSet::new([fact(What::DiskFree, "/", Value::Percent(55))]));
    assert_eq!(near, old);
    let far = old.settled(FactSet::new([fact(What::DiskFree, "/", Value::Percent(20))]));
    assert_eq!(changes(&old, &far, at(9)).len(), 1);
    let gone = changes(&old, &FactSet::default(), at(9));
    assert_eq!((gone[0].is.clone(), gone[0].at), (None, at(9)));
}

#[test]
fn nothing_changed_is_small() {
    let set = sockets(&[22]);
    let still = Still {
        number: u64::MAX,
        mark: set.mark(),
        software: Some(set.mark()),
    };
    let bytes = still.encode().expect("it fits");
    assert!(bytes.len() < 90, "{} bytes", bytes.len());
    assert_eq!(Still::decode(&bytes).expect("reads"), still);
}

#[test]
fn a_report_that_is_out_of_order_is_refused() {
    let mut report = sockets(&[22, 80]).full(1, at(1));
    report.facts.reverse();
    assert!(report.check().is_err());
    report.facts.dedup_by(|_, _| true);
    report.facts.push(report.facts[0].clone());
    assert!(report.check().is_err());
}
