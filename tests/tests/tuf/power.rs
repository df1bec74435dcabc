//! The power fails between two saves, and the box goes on from what it kept.

use homeward_tests::tuf::forge::Ours;
use homeward_tests::tuf::house::House;

/// A repository that is three roots, and a version of everything else, ahead of the box.
fn ahead() -> House {
    let mut house = House::new(Box::new(Ours));
    house.delegate("targets", "pumps", &["pumps/*"], true);
    house.add_target("pumps", "pumps/a", b"first");
    house.publish_all(&["pumps", "targets", "snapshot", "timestamp"]);
    house.get("pumps/a").expect("the first");
    for _ in 0..3 {
        let last = house.signers["root"].clone();
        house.new_keys("root", 2, 2);
        let mut both = house.signers["root"].clone();
        both.extend(last);
        house.signers.insert("root".into(), both);
        house.publish("root");
    }
    for role in ["timestamp", "snapshot", "targets"] {
        house.new_keys(role, 1, 1);
    }
    house.publish("root");
    house.add_target("pumps", "pumps/a", b"second");
    house.publish_all(&["pumps", "targets", "snapshot", "timestamp"]);
    house
}

#[test]
fn a_power_cut_between_any_two_saves_costs_nothing_but_time() {
    let whole = {
        let house = ahead();
        let before = house.disk.saves();
        house.get("pumps/a").expect("goes through");
        house.disk.saves() - before
    };
    assert_eq!(whole, 4 + 4, "four roots, and one save a role");
    for saves in 0..whole {
        let house = ahead();
        house.disk.cut_after(Some(saves));
        assert!(house.get("pumps/a").is_err(), "cut after {saves}");
        house.disk.cut_after(None);
        assert_eq!(
            house.get("pumps/a").as_deref(),
            Ok(b"second".as_slice()),
            "after {saves} saves"
        );
        // Two cuts in one refresh.
        let house = ahead();
        for _ in 0..2 {
            house.disk.cut_after(Some(saves / 2));
            let _ = house.get("pumps/a");
        }
        house.disk.cut_after(None);
        assert_eq!(
            house.get("pumps/a").as_deref(),
            Ok(b"second".as_slice()),
            "twice after {}",
            saves / 2
        );
    }
}

/// An attacker who cuts the power where he likes and then serves old files gains nothing.
#[test]
fn after_a_power_cut_what_was_kept_still_keeps_old_files_out() {
    for saves in 0..8 {
        let house = ahead();
        let old = {
            let house = House::new(Box::new(Ours));
            house.metadata.all()
        };
        house.disk.cut_after(Some(saves));
        let _ = house.get("pumps/a");
        house.disk.cut_after(None);
        let kept = house.all();
        for (name, bytes) in &old {
            house.metadata.put(name.clone(), bytes.clone());
        }
        let _ = house.refresh();
        let now = house.all();
        assert!(
            now.iter().zip(kept).all(|(now, kept)| *now >= kept),
            "{kept:?} {now:?}"
        );
    }
}

/// Files in the store that are torn, foreign or empty do no harm, but for the root, without which nothing can be proved.
#[test]
fn a_damaged_store_is_filled_again() {
    for name in ["timestamp.json", "snapshot.json", "targets.json", "pumps.json"] {
        for damage in [b"".as_slice(), b"{\"signed\":", b"\xff\xfe", b"{}"] {
            let house = ahead();
            house.get("pumps/a").expect("goes through");
            house.disk.set(name, Some(damage.to_vec()));
            assert_eq!(
                house.get("pumps/a").as_deref(),
                Ok(b"second".as_slice()),
                "{name}"
            );
        }
    }
    let house = ahead();
    house.disk.set("root.json", Some(b"{}".to_vec()));
    assert!(house.refresh().is_err());
}
