//! Who is let in where, what forms must carry, and what browsers are told to insist on.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use homeward_fleet::access::{self, Needs, Role, Verb};
use homeward_fleet::web;

use super::golden;
use super::scenario::{csrf, filled, session};
use super::visit::{PAGES, ask, get, send};

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
