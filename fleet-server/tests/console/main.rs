//! The console through its router: who is let in, what forms must carry, and what pages say.
#![expect(clippy::disallowed_methods, reason = "tests: golden files")]

#[path = "support/scenario.rs"]
mod scenario;

#[path = "console/api.rs"]
mod api;

use std::path::PathBuf;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use homeward_fleet::access::Sight;
use homeward_fleet::access::{self, Needs, Role, Verb};
use homeward_fleet::clock::Clock;
use homeward_fleet::store::care::{Known, known, placements};
use homeward_fleet::store::users;
use homeward_fleet::web;
use homeward_protocol::id::TeamId;
use http_body_util::BodyExt;
use scenario::{PASSWORD, World, at, csrf, empty, filled, session};
use tower::ServiceExt;

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    /// The value of the hidden form token.
    fn csrf(&self) -> &str {
        let (_, rest) = self
            .text
            .split_once("name=\"csrf\" value=\"")
            .expect("a form token");
        rest.split('"').next().expect("an end")
    }
}

async fn ask(world: &World, method: Method, path: &str, cookie: &str, form: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "fleet.example")
        .header(header::COOKIE, cookie)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()));
    send(world, request.expect("a request")).await
}

async fn send(world: &World, request: Request<Body>) -> Answer {
    let response = web::router(world.desk.clone())
        .oneshot(request)
        .await
        .expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let stream = headers
        .get("content-type")
        .is_some_and(|t| t.as_bytes().starts_with(b"text/event-stream"));
    let bytes = if stream {
        Vec::new()
    } else {
        response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes()
            .to_vec()
    };
    Answer {
        status,
        headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

async fn get(world: &World, path: &str, cookie: &str) -> Answer {
    ask(world, Method::GET, path, cookie, "").await
}

fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("writes");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{} has changed; look at it, then UPDATE_GOLDEN=1\n{text}",
        path.display()
    );
}

#[test]
fn the_table_of_routes_and_roles_is_the_one_that_was_agreed() {
    golden("access.txt", &access::table());
}

#[test]
fn every_page_is_in_the_table_and_every_line_of_the_table_is_a_page() {
    let served: Vec<(Verb, &str)> = web::pages()
        .into_iter()
        .map(|(verb, path, _)| (verb, path))
        .collect();
    let listed = access::ROUTES
        .iter()
        .filter(|r| !matches!(r.needs, Needs::Token(_)));
    let listed: Vec<(Verb, &str)> = listed
        .map(|r| (r.verb, r.path))
        .filter(|(_, path)| !path.starts_with("/api/"))
        .collect();
    assert_eq!(served, listed);
}

#[tokio::test]
async fn each_visitor_gets_exactly_what_the_table_says() {
    let world = filled().await;
    let operator = session(&world, "olga").await;
    let nurse = session(&world, "nina").await;
    let pages = access::ROUTES.iter().filter(|r| !r.path.starts_with("/api/"));
    for route in pages {
        let path = route
            .path
            .replace("{file}", "console.css")
            .replace("{gateway}", "gw-12aaaa")
            .replace("{incident}", "none")
            .replace("{user}", "nobody");
        let method = match route.verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
        };
        if path == "/sign-out" {
            continue; // ends the session; its own test below
        }
        let visitors = [
            (None, String::new(), String::new()),
            (
                Some(Role::Operator),
                operator.clone(),
                format!("csrf={}", csrf("olga")),
            ),
            (Some(Role::Nurse), nurse.clone(), format!("csrf={}", csrf("nina"))),
        ];
        for (role, cookie, form) in visitors {
            let answer = ask(&world, method.clone(), &path, &cookie, &form).await;
            let to_sign_in =
                answer.status == StatusCode::SEE_OTHER && answer.header("location") == "/sign-in";
            let shut = to_sign_in
                || answer.status == StatusCode::UNAUTHORIZED
                || answer.text.contains("You may not see this");
            let open = match route.needs {
                Needs::Nothing => true,
                Needs::Person(roles) => role.is_some_and(|r| roles.contains(&r)),
                Needs::Token(_) => false,
            };
            let setup = path == "/setup"; // closed to everybody once there is somebody
            assert!(
                setup || open != shut,
                "{role:?} {method} {path}: {} {}",
                answer.status,
                answer.text
            );
        }
    }
}

#[tokio::test]
async fn a_form_without_its_token_or_from_elsewhere_changes_nothing() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let good = format!("csrf={}&team=east&name=East", csrf("olga"));
    for bad in [
        "team=east&name=East",
        "csrf=&team=east&name=East",
        "csrf=WRONG&team=east&name=East",
    ] {
        let answer = ask(&world, Method::POST, "/teams", &cookie, bad).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{bad}");
    }
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let request = Request::post("/teams")
            .header(header::HOST, "fleet.example")
            .header(header::COOKIE, &cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(name, value)
            .body(Body::from(good.clone()));
        let answer = send(&world, request.expect("a request")).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    assert!(!get(&world, "/placements", &cookie).await.text.contains("east"));
    let answer = ask(&world, Method::POST, "/teams", &cookie, &good).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(get(&world, "/placements", &cookie).await.text.contains("east"));
}

#[tokio::test]
async fn every_form_carries_its_token_and_no_page_has_a_script_or_style_in_it() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    for path in PAGES {
        let text = get(&world, path, &cookie).await.text;
        let forms = text.matches("method=\"post\"").count();
        assert_eq!(text.matches("name=\"csrf\"").count(), forms, "{path}");
        for inline in ["<script>", "style=", "onclick", "onload", "<style", "javascript:"] {
            assert!(!text.contains(inline), "{path} has {inline}");
        }
    }
}

#[tokio::test]
async fn silence_is_never_green_on_any_page() {
    let mut world = filled().await;
    let cookie = session(&world, "olga").await;
    for path in [
        "/care",
        "/fleet",
        "/care/rows",
        "/fleet/rows",
        "/gateways/gw-04aaaa",
    ] {
        assert!(
            get(&world, path, &cookie).await.text.contains("all-working"),
            "{path}: nothing green to lose"
        );
    }
    world.desk.clock = Clock::from_fn(|| at(-600));
    for path in [
        "/care",
        "/fleet",
        "/care/rows",
        "/fleet/rows",
        "/gateways/gw-04aaaa",
    ] {
        let text = get(&world, path, &cookie).await.text;
        assert!(
            !text.contains("home all-working") && !text.contains("single all-working"),
            "{path}: {text}"
        );
        assert!(text.contains("Not heard since 14:"), "{path}: {text}");
    }
}

const PAGES: [&str; 12] = [
    "/care",
    "/fleet",
    "/gateways/gw-01aaaa",
    "/gateways/gw-12aaaa",
    "/gateways/gw-12aaaa/approve",
    "/gateways/gw-12aaaa/revoke",
    "/claims",
    "/approvals",
    "/incidents",
    "/placements",
    "/users",
    "/audit",
];

#[tokio::test]
async fn every_answer_says_what_browsers_should_insist_on() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    for path in PAGES
        .into_iter()
        .chain(["/sign-in", "/nowhere", "/assets/live.js"])
    {
        let answer = get(&world, path, &cookie).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert!(!policy.contains("unsafe"), "{path}");
        assert!(
            answer.header("strict-transport-security").contains("max-age"),
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        let cached = if path.starts_with("/assets") {
            "no-cache"
        } else {
            "no-store"
        };
        assert_eq!(answer.header("cache-control"), cached, "{path}");
    }
}

#[tokio::test]
async fn signing_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use() {
    let world = filled().await;
    let answer = sign_in(&world, "nina", PASSWORD).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::SEE_OTHER, "/care")
    );
    let cookie = answer.header("set-cookie");
    for part in ["__Host-hw=", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().expect("a pair");
    let page = get(&world, "/care", cookie).await;
    assert_eq!(page.status, StatusCode::OK);
    let out = ask(
        &world,
        Method::POST,
        "/sign-out",
        cookie,
        &format!("csrf={}", page.csrf()),
    )
    .await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
    assert_eq!(get(&world, "/care", cookie).await.header("location"), "/sign-in");
}

async fn sign_in(world: &World, name: &str, password: &str) -> Answer {
    let form = get(world, "/sign-in", "").await;
    let cookie = form
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    let fields = format!(
        "csrf={}&name={name}&password={}",
        form.csrf(),
        password.replace(' ', "+")
    );
    ask(world, Method::POST, "/sign-in", &cookie, &fields).await
}

#[tokio::test]
async fn a_wrong_name_a_wrong_password_and_a_disabled_person_get_the_same_answer() {
    let world = filled().await;
    let mut said = Vec::new();
    for (name, password) in [
        ("nina", "wrong wrong wrong"),
        ("nobody", PASSWORD),
        ("gone", PASSWORD),
        ("É", PASSWORD),
    ] {
        let answer = sign_in(&world, name, password).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
        said.push(answer.text.replace(answer.csrf(), ""));
    }
    said.dedup();
    assert_eq!(said.len(), 1);
}

#[tokio::test]
async fn five_wrong_passwords_close_the_door_for_a_while_also_to_the_right_one() {
    let world = filled().await;
    for _ in 0..5 {
        sign_in(&world, "nina", "wrong wrong wrong").await;
    }
    assert_eq!(
        sign_in(&world, "nina", PASSWORD).await.status,
        StatusCode::UNAUTHORIZED
    );
    let later = at(-31);
    let kept = world
        .desk
        .store
        .read(|tx| users::kept(tx, &"nina".parse().expect("a name")))
        .await;
    let until = kept
        .expect("reads")
        .expect("is there")
        .locked_until
        .expect("is locked");
    assert!(until.ms > at(0).ms && until.ms < later.ms);
}

#[tokio::test]
async fn the_first_operator_needs_the_code_and_the_code_burns() {
    let world = empty();
    assert_eq!(get(&world, "/sign-in", "").await.header("location"), "/setup");
    let made = access::setup::setup_code(&world.desk.store, at(0))
        .await
        .expect("makes");
    let code = made.expect("nobody is there").to_string();
    let set_up = async |code: &str, password: &str| {
        let form = get(&world, "/setup", "").await;
        let cookie = form
            .header("set-cookie")
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned();
        let fields = format!("csrf={}&code={code}&name=olga&password={password}", form.csrf());
        ask(&world, Method::POST, "/setup", &cookie, &fields).await
    };
    assert_eq!(
        set_up("0000-0000-0000-0000", "correct+horse").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        set_up(&code, "short").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let answer = set_up(&code, "correct+horse").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::SEE_OTHER, "/fleet")
    );
    assert_eq!(get(&world, "/setup", "").await.header("location"), "/sign-in");
    let again = access::setup::setup_code(&world.desk.store, at(0))
        .await
        .expect("asks");
    assert!(again.is_none(), "a second set-up code was made");
}

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
async fn the_pages_look_as_they_were_agreed() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    for (path, name) in [
        ("/fleet", "fleet.html"),
        ("/gateways/gw-01aaaa", "gateway.html"),
        ("/approvals", "approvals.html"),
        ("/gateways/gw-12aaaa/approve", "approve.html"),
        ("/claims", "claims.html"),
        ("/nowhere", "nothing_here.html"),
    ] {
        golden(name, &get(&world, path, &cookie).await.text);
    }
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

#[tokio::test]
async fn a_claim_is_shown_once_with_its_code_and_never_again() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let form = format!(
        "csrf={}&gateway=gw-new1&placement=home-11&approval=operator",
        csrf("olga")
    );
    let made = ask(&world, Method::POST, "/claims", &cookie, &form).await;
    let claim = made
        .text
        .split("homeward:claim?")
        .nth(1)
        .expect("the claim's text");
    assert!(
        claim.contains("g=gw-new1") && made.text.contains("<svg"),
        "{}",
        made.text
    );
    let code = claim
        .split("c=")
        .nth(1)
        .and_then(|c| c.get(..19))
        .expect("the code");
    for path in ["/claims", "/gateways/gw-new1", "/audit", "/fleet"] {
        let text = get(&world, path, &cookie).await.text;
        assert!(text.contains("gw-new1"), "{path}");
        assert!(!text.contains(code), "{path} shows the code");
    }
}

#[tokio::test]
async fn an_operator_approves_the_key_that_was_compared_and_revokes_with_a_reason() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let token = csrf("olga");
    let act = async |what: &str, fields: &str| {
        let path = format!("/gateways/gw-12aaaa/{what}");
        ask(
            &world,
            Method::POST,
            &path,
            &cookie,
            &format!("csrf={token}&{fields}"),
        )
        .await
    };
    assert_eq!(
        act("approve", "fingerprint=0000").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let page = get(&world, "/gateways/gw-12aaaa/approve", &cookie).await.text;
    let print = page
        .split("name=\"fingerprint\" value=\"")
        .nth(1)
        .and_then(|t| t.split('"').next());
    let print = print.expect("a fingerprint").to_owned();
    assert_eq!(
        act("approve", &format!("fingerprint={}", print.replace(' ', "+")))
            .await
            .status,
        StatusCode::SEE_OTHER
    );
    assert!(
        !get(&world, "/approvals", &cookie)
            .await
            .text
            .contains("gw-12aaaa")
    );
    assert_eq!(
        act("revoke", "reason=+").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(act("revoke", "reason=lost").await.status, StatusCode::SEE_OTHER);
    assert!(
        get(&world, "/audit", &cookie)
            .await
            .text
            .contains("gateway-revoked")
    );
    let page = get(&world, "/gateways/gw-12aaaa", &cookie).await.text;
    assert!(page.contains("out of service: lost"), "{page}");
}

#[tokio::test]
async fn what_people_type_is_never_markup() {
    let world = filled().await;
    let cookie = session(&world, "olga").await;
    let form = format!(
        "csrf={}&team=odd&name=%3Cscript%3Ealert(1)%3C%2Fscript%3E%22",
        csrf("olga")
    );
    ask(&world, Method::POST, "/teams", &cookie, &form).await;
    let text = get(&world, "/placements", &cookie).await.text;
    assert!(
        text.contains("&#60;script&#62;") && !text.contains("<script>alert"),
        "{text}"
    );
    let text = get(&world, "/care?q=%22%3E%3Cimg%20src%3Dx%3E", &cookie)
        .await
        .text;
    assert!(!text.contains("<img"), "{text}");
}

#[tokio::test]
async fn a_disabled_persons_session_ends_at_once() {
    let world = filled().await;
    let (olga, sam) = (session(&world, "olga").await, session(&world, "sam").await);
    assert_eq!(get(&world, "/care", &sam).await.status, StatusCode::OK);
    let form = format!("csrf={}", csrf("olga"));
    ask(&world, Method::POST, "/users/sam/disable", &olga, &form).await;
    assert_eq!(get(&world, "/care", &sam).await.header("location"), "/sign-in");
    assert_eq!(
        get(&world, "/care/rows", &sam).await.header("location"),
        "/sign-in"
    );
    let own = ask(&world, Method::POST, "/users/olga/disable", &olga, &form).await;
    assert_eq!(own.status, StatusCode::UNPROCESSABLE_ENTITY);
}
