//! Campaigns on the console and in the API: the list, the board, and what a person orders.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use homeward_fleet::access::Scope;
use homeward_fleet::campaign::draft::{Draft, Release, Wish};
use homeward_fleet::campaign::signs::Way;
use homeward_fleet::direct::deadline::{Each, Rule, Terms};
use homeward_fleet::store::campaigns::{self, fleet};
use homeward_fleet::store::records::Origin;
use homeward_fleet::store::updates::{self, Assigned};
use homeward_fleet::store::{StoreError, Tx};
use homeward_protocol::envelope::Lane;
use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::state::{Ended, Outcome, Progress, UpdateMark, UpdateState};
use homeward_protocol::release::{Custom, Disruption, Installer, Version};

use serde_json::{Value, json};

use super::api;
use super::golden;
use super::scenario::{World, at, csrf, filled, session, token};
use super::visit::{ask, get};

const NAME: &str = "agent-1.4.0";

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

type Said = (Option<(u64, Progress)>, Option<(u64, Outcome)>);

fn say(tx: &mut dyn Tx, gateway: &GatewayId, said: Said) -> Result<(), StoreError> {
    say_beside(tx, gateway, said, &[])
}

/// The same, and that so much else restarts things there.
fn say_beside(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    (now, ended): Said,
    beside: &[&str],
) -> Result<(), StoreError> {
    let confirmed = matches!(ended, Some((_, Outcome::Confirmed)));
    let mark = |counter| UpdateMark {
        counter,
        installer: Installer::AgentSlot,
        version: version("1.4.0"),
    };
    let state = UpdateState {
        runs: version(if confirmed { "1.4.0" } else { "1.3.0" }),
        packaged: false,
        build: None,
        installers: Vec::new(),
        undecided: None,
        met: None,
        quiet: None,
        beside: beside.iter().map(|text| ShortText::cut(text)).collect(),
        forces: Vec::new(),
        now: now.map(|(counter, progress)| (mark(counter), progress)),
        ended: ended.map(|(counter, outcome)| Ended {
            counter: Some(counter),
            outcome,
            at: at(60),
        }),
        taken_at: at(60),
    };
    let origin = Origin {
        gateway: gateway.as_str(),
        epoch: "01",
        lane: Lane::Urgent,
        spare: false,
        now: at(60),
    };
    updates::put(tx, &origin, &state)
}

fn release(text: &str) -> Release {
    Release {
        path: format!("agent/{text}"),
        sha256: [7; 32],
        custom: Custom {
            installer: Installer::AgentSlot,
            hw: vec!["x86_64".into()],
            version: version(text),
            min_version: None,
            disruption: Disruption::AgentRestart,
            security_floor: Version::ZERO,
        },
        notes: None,
    }
}

/// A campaign whose canary is well, and whose next homes are told, wait, and try it.
fn begin(tx: &mut dyn Tx) -> Result<(), StoreError> {
    for home in fleet::homes(tx)? {
        say(tx, &home.gateway, (None, None))?;
    }
    let rule = Rule {
        compensate: 8,
        afterwards: 9,
    };
    let wish = Wish {
        name: NAME.parse().expect("a name"),
        paths: vec!["agent/1.4.0".into()],
        soak: Duration::ZERO,
        confirmed_percent: 90,
        failed_percent: 10,
        act_within: Duration::from_hours(2),
        within: Duration::from_hours(24 * 30),
        at_once: 50,
        each: Some(Each {
            terms: Terms::new("A stranger could read measurements.", "nora", Some(rule)).expect("terms"),
            within: Duration::from_hours(24 * 7),
        }),
    };
    let draft = Draft::new(wish, &[release("1.3.0"), release("1.4.0")], &fleet::homes(tx)?).expect("a plan");
    assert!(campaigns::start(
        tx,
        draft.start("olga", at(7200)),
        "as read",
        at(7200)
    )?);
    tx.execute(
        "UPDATE gateways SET connected_at = 1 WHERE connected_at IS NULL",
        &[],
    )?;
    let mut turn = 0;
    for _ in 0..4 {
        for (gateway, number, way) in look(tx)? {
            assert_eq!(way, Way::On);
            let quiet = Progress::Waiting(vec![ShortText::cut("infusion pump is in use, for 3 min so far")]);
            let said = match turn {
                0 | 1 => (None, Some((number, Outcome::Confirmed))),
                2 => (Some((number, quiet)), None),
                3 => (Some((number, Progress::Acting)), None),
                _ => (None, None),
            };
            turn += 1;
            say(tx, &gateway, said)?;
        }
    }
    Ok(())
}

/// One look of the server.
fn look(tx: &mut dyn Tx) -> Result<Vec<(GatewayId, u64, Way)>, StoreError> {
    let name = NAME.parse().expect("a name");
    let mut read = campaigns::get(tx, &name)?.expect("it is there");
    let signs = campaigns::signs::of(tx, &name, at(90_000))?;
    read.kept.look(&signs, at(60));
    let mut told = Vec::new();
    for (gateway, way) in read.kept.due(&signs, at(60)) {
        let counter = updates::next(tx, &gateway)?;
        let word = Assigned {
            gateway: gateway.clone(),
            counter,
            path: "agent/1.4.0".into(),
            version: version("1.4.0"),
            not_before: at(60),
            deadline: at(-86_400),
            at: at(60),
            by: "campaign".into(),
            word: vec![1],
        };
        assert!(updates::assign(tx, &word)?);
        read.kept.told(&gateway, (counter, way), &signs[&gateway], at(60));
        told.push((gateway, counter, way));
    }
    if read.kept.has_changed() {
        campaigns::save(tx, &mut read, at(60))?;
    }
    Ok(told)
}

async fn world() -> World {
    let world = filled().await;
    world.desk.store.write(begin).await.expect("begins");
    world
}

#[tokio::test]
async fn the_list_and_the_board_look_as_they_were_agreed() {
    let world = world().await;
    let cookie = session(&world, "olga").await;
    golden("campaigns.html", &get(&world, "/campaigns", &cookie).await.text);
    let board = get(&world, &format!("/campaigns/{NAME}"), &cookie).await.text;
    assert!(board.contains("infusion pump is in use"), "{board}");
    golden("campaign.html", &board);
    let rows = get(&world, &format!("/campaigns/{NAME}/rows"), &cookie)
        .await
        .text;
    assert!(rows.starts_with("<div id=\"live\""), "{rows}");
    for nowhere in ["/campaigns/none", "/campaigns/%3Cscript%3E"] {
        assert_eq!(get(&world, nowhere, &cookie).await.status, StatusCode::NOT_FOUND);
    }
    let nurse = session(&world, "nina").await;
    assert_eq!(
        get(&world, "/campaigns", &nurse).await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn who_else_restarts_a_box_is_said_on_its_page() {
    let world = world().await;
    let cookie = session(&world, "olga").await;
    let page = async || get(&world, "/gateways/gw-04aaaa", &cookie).await.text;
    let warning = "Not only Homeward disturbs this home.";
    assert!(!page().await.contains(warning));
    let say = |tx: &mut dyn Tx| {
        let gateway = "gw-04aaaa".parse().expect("an id");
        let beside = ["the box <reboots> by itself"];
        say_beside(tx, &gateway, (None, None), &beside)
    };
    world.desk.store.write(say).await.expect("said");
    let page = page().await;
    assert!(page.contains(warning), "{page}");
    assert!(
        page.contains("<li>the box &#60;reboots&#62; by itself</li>"),
        "{page}"
    );
}

#[tokio::test]
async fn a_person_stops_a_campaign_with_a_reason_and_lets_it_go_on() {
    let world = world().await;
    let cookie = session(&world, "olga").await;
    let order = format!("/campaigns/{NAME}/order");
    let form = |fields: &str| format!("csrf={}&{fields}", csrf("olga"));
    let bare = ask(
        &world,
        Method::POST,
        &order,
        &cookie,
        &form("order=halt&reason=+"),
    )
    .await;
    assert_eq!(bare.status, StatusCode::UNPROCESSABLE_ENTITY);
    let done = ask(
        &world,
        Method::POST,
        &order,
        &cookie,
        &form("order=halt&reason=a+holiday"),
    )
    .await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    let page = || get(&world, "/campaigns/agent-1.4.0", &cookie);
    let text = page().await.text;
    assert!(text.contains("stopped by olga: a holiday"), "{text}");
    assert!(
        text.contains("let it go on") && !text.contains("value=\"halt\""),
        "{text}"
    );
    let again = ask(
        &world,
        Method::POST,
        &order,
        &cookie,
        &form("order=halt&reason=again"),
    )
    .await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    let on = ask(
        &world,
        Method::POST,
        &order,
        &cookie,
        &form("order=resume&reason=back"),
    )
    .await;
    assert_eq!(on.status, StatusCode::SEE_OTHER);
    assert!(page().await.text.contains("It runs;"));
    let trail = get(&world, "/audit", &cookie).await.text;
    assert!(
        trail.contains("campaign-stopped") && trail.contains("campaign-resumed"),
        "{trail}"
    );
}

#[tokio::test]
async fn programs_see_campaigns_and_may_stop_one() {
    let world = world().await;
    token(&world, "hw_READS", vec![Scope::FleetRead]).await;
    token(&world, "hw_WRITES", vec![Scope::FleetWrite]).await;
    let look = |path: String| {
        let world = &world;
        async move { api::ask(world, Method::GET, &path, "hw_READS", Value::Null).await }
    };
    let (_, list, _) = look("/api/v1/campaigns".into()).await;
    assert_eq!(list["campaigns"][0]["campaign"], NAME);
    let path = format!("/api/v1/campaigns/{NAME}");
    let (_, board, _) = look(path.clone()).await;
    assert_eq!(
        (&board["state"], &board["targets"][0]),
        (&"running".into(), &"agent/1.4.0".into())
    );
    let homes = board["homes"].as_array().expect("homes");
    assert!(homes.iter().any(|home| home["step"] == "waiting"), "{board}");
    let halt = |bearer: &'static str| {
        let (world, path) = (&world, format!("{path}/halt"));
        async move {
            let why = json!({ "reason": "too warm" });
            api::ask(world, Method::POST, &path, bearer, why).await.0
        }
    };
    assert_eq!(halt("hw_READS").await, StatusCode::FORBIDDEN);
    assert_eq!(halt("hw_WRITES").await, StatusCode::NO_CONTENT);
    assert_eq!(halt("hw_WRITES").await, StatusCode::CONFLICT);
    assert_eq!(
        look("/api/v1/campaigns/none".into()).await.0,
        StatusCode::NOT_FOUND
    );
}
