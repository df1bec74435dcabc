//! Asking the console's router as a browser does.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use homeward_fleet::clock::Clock;
use homeward_fleet::web;
use homeward_protocol::time::Timestamp;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::scenario::{World, at};

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    /// The value of the hidden form token.
    pub(crate) fn csrf(&self) -> &str {
        let (_, rest) = self
            .text
            .split_once("name=\"csrf\" value=\"")
            .expect("a form token");
        rest.split('"').next().expect("an end")
    }
}

/// Sends a form, or opens a page.
pub(crate) async fn ask(world: &World, method: Method, path: &str, cookie: &str, form: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "fleet.example")
        .header(header::COOKIE, cookie)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()));
    send(world, request.expect("a request")).await
}

/// Sends a request as it is.
pub(crate) async fn send(world: &World, request: Request<Body>) -> Answer {
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

/// Opens a page.
pub(crate) async fn get(world: &World, path: &str, cookie: &str) -> Answer {
    ask(world, Method::GET, path, cookie, "").await
}

/// Fills the form for signing in.
pub(crate) async fn sign_in(world: &World, name: &str, password: &str) -> Answer {
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

/// Every page that an operator can open.
pub(crate) const PAGES: [&str; 23] = [
    "/care",
    "/fleet",
    "/gateways/gw-01aaaa",
    "/gateways/gw-12aaaa",
    "/gateways/gw-12aaaa/approve",
    "/gateways/gw-12aaaa/revoke",
    "/claims",
    "/policies",
    "/policies/7",
    "/drafts",
    "/drafts/1",
    "/drafts/1/review",
    "/drafts/2",
    "/drafts/3",
    "/drafts/3/revisions/2",
    "/approvals",
    "/campaigns",
    "/incidents",
    "/support",
    "/placements",
    "/users",
    "/audit",
    "/password",
];

/// The cookie that an answer sets, as a browser sends it back.
pub(crate) fn cookie(answer: &Answer) -> String {
    let line = answer.header("set-cookie");
    line.split(';').next().unwrap_or_default().to_owned()
}

/// Puts the console's clock under the test's hand; it stands at the scenario's moment.
pub(crate) fn hand(world: &mut World) -> impl Fn(i64) + use<> {
    let ms = Arc::new(AtomicI64::new(at(0).ms));
    let shown = Arc::clone(&ms);
    world.desk.clock = Clock::from_fn(move || Timestamp::synced(shown.load(Ordering::SeqCst)));
    move |minutes| ms.store(at(-60 * minutes).ms, Ordering::SeqCst)
}
