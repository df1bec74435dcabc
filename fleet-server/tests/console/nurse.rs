//! What a nurse sees.

use homeward_fleet::access::Sight;
use homeward_fleet::store::care::{Known, known, placements};
use homeward_protocol::id::TeamId;

use super::golden;
use super::scenario::{at, filled, session};
use super::visit::get;

#[tokio::test]
async fn a_nurse_sees_the_homes_of_the_own_team_and_no_other() {
    let world = filled().await;
    for (nurse, own, other) in [("nina", "home-01", "home-9"), ("sam", "home-90", "home-0")] {
        let cookie = session(&world, nurse).await;
        for path in ["/care", "/care/rows", "/care?q=home", "/care/rows?q=home"] {
            let text = get(&world, path, &cookie).await.text;
            assert!(text.contains(own), "{nurse} does not see {own} on {path}");
            assert!(!text.contains(other), "{nurse} sees {other} on {path}");
        }
    }
}

#[tokio::test]
async fn however_homes_are_shared_out_a_team_sees_exactly_its_own() {
    let world = filled().await;
    for round in 0u64..20 {
        let share = world.desk.store.write(move |tx| {
            let homes = placements(tx, &Sight::Fleet)?;
            for (n, home) in homes.iter().enumerate() {
                let bits = (round * 7919 + 1).wrapping_mul(n as u64 * 104_729 + 17);
                let team = if bits >> 7 & 1 == 0 { "north" } else { "south" };
                let with = [team.into(), home.id.as_str().into()];
                tx.execute("UPDATE placements SET team = $1 WHERE id = $2", &with)?;
            }
            let teams = ["north", "south"].map(|t| t.parse::<TeamId>().expect("an id"));
            let all = (placements(tx, &Sight::Fleet)?, known(tx, &Sight::Fleet, at(0))?);
            for team in teams {
                let sight = Sight::Team(team.clone());
                let own: Vec<_> = all.0.iter().filter(|p| p.team == team).cloned().collect();
                let in_own = |k: &&Known| {
                    k.placement
                        .as_ref()
                        .is_some_and(|p| own.iter().any(|o| o.id == *p))
                };
                let boxes: Vec<_> = all.1.iter().filter(in_own).cloned().collect();
                assert_eq!(placements(tx, &sight)?, own);
                assert_eq!(known(tx, &sight, at(0))?, boxes);
            }
            assert_eq!(known(tx, &Sight::Nobody, at(0))?, Vec::new());
            Ok(())
        });
        share.await.expect("holds");
    }
}

#[tokio::test]
async fn the_nurses_page_answers_first_and_tells_the_worst_first() {
    let world = filled().await;
    let cookie = session(&world, "nina").await;
    let text = get(&world, "/care", &cookie).await.text;
    golden("care.html", &text);
    assert!(
        text.contains("<h1>2 people&#39;s devices need you</h1>"),
        "{text}"
    );
    let place = |home: &str| {
        text.find(&format!("<h2>{home}</h2>"))
            .unwrap_or_else(|| panic!("{home} is missing"))
    };
    assert!(place("home-01") < place("home-02"), "red before grey");
    assert!(place("home-02") < place("home-03"), "grey before yellow");
    assert!(place("home-03") < place("home-04"), "yellow before green");
}

#[tokio::test]
async fn the_nurses_first_page_is_small() {
    let world = filled().await;
    let cookie = session(&world, "nina").await;
    let mut bytes = 0;
    for path in [
        "/care",
        "/assets/console.css",
        "/assets/live.js",
        "/assets/htmx.min.js",
        "/assets/icon.svg",
    ] {
        bytes += get(&world, path, &cookie).await.text.len();
    }
    assert!(bytes < 65_000, "{bytes} bytes before compression");
}
