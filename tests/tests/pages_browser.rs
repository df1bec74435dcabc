//! Every page of the console in a real browser: no axe-core violation, no complaint of the browser, nothing wider
//! than the window; with and without scripts; on a phone, on a desk, and on paper.
#![expect(clippy::disallowed_methods, reason = "tests: a listener, pictures")]

#[path = "../../fleet-server/tests/support/scenario.rs"]
#[expect(dead_code, reason = "shared with the console's own tests")]
mod scenario;

use std::path::PathBuf;
use std::sync::Arc;

use homeward_fleet::bus::Event;
use homeward_fleet::https::{Limits, serve::serve};
use homeward_fleet::web;
use homeward_tests::browser::{Led, Page, Seen, SignIn, Visit, visit};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use scenario::{PASSWORD, World, empty, filled};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const WIDTHS: [u32; 2] = [390, 1280];
/// Pages of one visit, which has an end on a busy machine, too.
const PART: usize = 16;
const OPERATOR: [&str; 31] = [
    "/fleet",
    "/fleet?state=not-heard",
    "/care",
    "/gateways/gw-01aaaa",
    "/gateways/gw-01aaaa/windows",
    "/gateways/gw-12aaaa/approve",
    "/gateways/gw-12aaaa/revoke",
    "/claims",
    "/policies",
    "/policies/7",
    "/policies/check",
    "/rules",
    "/rules?point=sshd/password-login",
    "/gateways/gw-05aaaa",
    "/approvals",
    "/incidents",
    "/releases",
    "/releases/note?path=agent/1.4.0",
    "/releases/note?path=packages/2026.7.1&lang=de",
    "/releases/note?path=agent/1.3.0",
    "/campaigns",
    "/dossiers",
    "/advisories",
    "/advisories/1",
    "/implants",
    "/support",
    "/placements",
    "/users",
    "/audit",
    "/password",
    "/nowhere",
];

const DRAFTS: [&str; 6] = [
    "/drafts",
    "/drafts/1",
    "/drafts/1/review",
    "/drafts/2",
    "/drafts/3",
    "/drafts/3/revisions/2",
];

/// A served console; it ends with the runtime.
struct Console {
    runtime: tokio::runtime::Runtime,
    url: String,
    desk: web::Desk,
    stop: CancellationToken,
}

impl Drop for Console {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn console() -> Console {
    serve_on(async || {
        let world = filled().await;
        let advised = world.desk.store.write(scenario::advised::advise).await;
        advised.expect("advises");
        world
    })
}

/// A console over the world that `make` makes.
fn serve_on<W: Future<Output = World>>(make: impl FnOnce() -> W) -> Console {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let stop = CancellationToken::new();
    let (url, desk, served) = runtime.block_on(async {
        let world = make().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("listens");
        let url = format!(
            "https://localhost:{}",
            listener.local_addr().expect("an address").port()
        );
        let (keep, tls) = watch::channel(tls());
        let router = web::router(world.desk.clone());
        let served = serve(listener, tls, router, Limits::default(), stop.clone());
        let desk = world.desk.clone();
        (url, desk, async move {
            let _kept = (world, keep);
            served.await
        })
    });
    runtime.spawn(served);
    Console {
        runtime,
        url,
        desk,
        stop,
    }
}

fn tls() -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key);
    Arc::new(config.expect("a configuration"))
}

fn sign_in(console: &Console, name: &str) -> SignIn {
    let fields = [("name", name), ("password", PASSWORD)].map(|(k, v)| (k.to_owned(), v.to_owned()));
    SignIn {
        url: format!("{}/sign-in", console.url),
        fields: fields.into(),
    }
}

/// Where pictures go, to be looked at.
fn picture(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || homeward_tests::shared::workspace().join("target"),
        PathBuf::from,
    );
    let folder = target.join("screens");
    std::fs::create_dir_all(&folder).expect("a folder for pictures");
    folder.join(format!("{name}.png"))
}

fn page(console: &Console, path: &str, width: u32, who: &str) -> Page {
    let name = path.trim_start_matches('/').replace(['/', '?', '='], "-");
    Page {
        picture: Some(picture(&format!("{who}-{name}-{width}"))),
        ..Page::new(format!("{}{path}", console.url), width)
    }
}

fn check(seen: &[Seen]) {
    for page in seen {
        assert!(page.violations.is_empty(), "{}: {:#?}", page.url, page.violations);
        let complaints: Vec<&String> = page.complaints.iter().filter(|c| !c.contains("404")).collect();
        assert!(complaints.is_empty(), "{}: {complaints:#?}", page.url);
        assert!(!page.overflows, "{} is wider than its window", page.url);
    }
}

fn look(console: &Console, order: &Visit) -> Option<Vec<Seen>> {
    let _guard = console.runtime.enter();
    visit(order)
}

#[test]
fn no_page_has_an_axe_violation_on_a_phone_or_a_desk() {
    let console = console();
    let pages = |paths: &[&str], who: &str| -> Vec<Page> {
        let each = |path: &&str| WIDTHS.map(|width| page(&console, path, width, who));
        paths.iter().flat_map(each).collect()
    };
    let orders = [
        (None, pages(&["/sign-in"], "anybody")),
        (
            Some(sign_in(&console, "nina")),
            pages(
                &[
                    "/care",
                    "/care/quiet?home=home-01",
                    "/fleet",
                    "/releases",
                    "/advisories",
                    "/advisories/1",
                    "/implants",
                    "/password",
                ],
                "nurse",
            ),
        ),
        (Some(sign_in(&console, "olga")), pages(&OPERATOR, "operator")),
    ];
    for (sign_in, pages) in orders {
        for part in pages.chunks(PART) {
            let order = Visit {
                sign_in: sign_in.clone(),
                scripts: true,
                pages: part.to_vec(),
            };
            let Some(seen) = look(&console, &order) else {
                return;
            };
            assert_eq!(seen.len(), part.len());
            check(&seen.into_iter().filter(|s| s.status != 403).collect::<Vec<_>>());
        }
    }
}

#[test]
fn no_page_of_drafts_has_an_axe_violation_on_a_phone_or_a_desk() {
    let console = console();
    let each = |path: &&str| WIDTHS.map(|width| page(&console, path, width, "operator"));
    let order = Visit {
        sign_in: Some(sign_in(&console, "olga")),
        scripts: true,
        pages: DRAFTS.iter().flat_map(each).collect(),
    };
    let Some(seen) = look(&console, &order) else {
        return;
    };
    assert!(seen.iter().all(|page| page.status == 200), "{seen:#?}");
    check(&seen);
}

/// The page that the first form on `path` answers with.
fn answer(console: &Console, path: &str, width: u32, name: &str, fields: &[(&str, &str)]) -> Page {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Page {
        form: Some(fields.iter().map(own).collect()),
        picture: Some(picture(&format!("{name}-{width}"))),
        ..Page::new(format!("{}{path}", console.url), width)
    }
}

#[test]
fn the_page_that_shows_a_new_claim_has_no_fault_on_a_screen_or_on_paper() {
    let console = console();
    let fields = [("gateway", "")];
    let made = |width| answer(&console, "/claims", width, "operator-claim-made", &fields);
    let paper = Page {
        print: true,
        picture: Some(picture("paper-claim-made")),
        ..made(800)
    };
    let order = Visit {
        sign_in: Some(sign_in(&console, "olga")),
        scripts: true,
        pages: WIDTHS.map(made).into_iter().chain([paper]).collect(),
    };
    let Some(seen) = look(&console, &order) else {
        return;
    };
    check(&seen);
    for page in &seen {
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.heading.starts_with("Claim for gw-"), "{page:?}");
        assert!(page.text.contains("homeward:claim?"), "{page:?}");
    }
}

#[test]
fn the_first_start_page_has_no_fault_also_when_it_turns_something_down() {
    let console = serve_on(async || empty());
    let fields = [
        ("code", "0000-0000-0000-0000"),
        ("name", "olga"),
        ("password", PASSWORD),
    ];
    let plain = WIDTHS.map(|width| page(&console, "/setup", width, "anybody"));
    let refused = WIDTHS.map(|width| answer(&console, "/setup", width, "anybody-setup-refused", &fields));
    for scripts in [true, false] {
        let order = Visit {
            sign_in: None,
            scripts,
            pages: plain.iter().chain(&refused).cloned().collect(),
        };
        let Some(seen) = look(&console, &order) else {
            return;
        };
        // A browser says on its console that an answer was a 422; that is what it should be.
        let complaint = |page: &Seen| page.complaints.iter().any(|c| !c.contains("422"));
        assert!(!seen.iter().any(complaint), "{seen:#?}");
        check(&seen.iter().cloned().map(without_complaints).collect::<Vec<_>>());
        assert_eq!(
            seen.iter().map(|s| s.status).collect::<Vec<_>>(),
            [200, 200, 422, 422]
        );
        assert!(
            seen[3].text.contains("The code is not the one"),
            "{}",
            seen[3].text
        );
    }
}

fn without_complaints(page: Seen) -> Seen {
    Seen {
        complaints: Vec::new(),
        ..page
    }
}

#[test]
fn the_nurses_page_works_without_scripts_and_on_paper() {
    let console = console();
    let paper = Page {
        print: true,
        ..page(&console, "/care", 800, "paper")
    };
    let order = Visit {
        sign_in: Some(sign_in(&console, "nina")),
        scripts: false,
        pages: vec![
            page(&console, "/care", 390, "plain"),
            page(&console, "/care?q=home-02", 390, "plain"),
            paper,
        ],
    };
    let Some(seen) = look(&console, &order) else {
        return;
    };
    check(&seen);
    assert_eq!(seen[0].heading, "2 people's devices need you");
    assert!(seen[1].text.contains("Not heard since 12:10"), "{}", seen[1].text);
    assert!(
        seen[2].text.contains("home-04"),
        "a printed round sheet names every home: {}",
        seen[2].text
    );
}

#[test]
fn the_nurses_page_follows_what_happens_and_never_looks_fine_when_it_is_old() {
    let console = console();
    let Some(mut browser) = Led::start("live.cjs") else {
        return;
    };
    let heading = "2 people's devices need you";
    let order =
        serde_json::json!({ "url": console.url, "name": "nina", "password": PASSWORD, "heading": heading });
    browser.tell(&order.to_string());
    assert_eq!(browser.hear(), heading);

    let desk = console.desk.clone();
    let end = desk
        .store
        .write(|tx| tx.execute("UPDATE alarms SET active = 0", &[]));
    console.runtime.block_on(end).expect("ends the alarm");
    let tell = desk.bus.clone();
    let gateway: homeward_protocol::id::GatewayId = "gw-01aaaa".parse().expect("an id");
    let stop = CancellationToken::new();
    let telling = stop.clone();
    console.runtime.spawn(async move {
        // A hint may come before the page listens, and a lost hint costs time only: say it until it was seen.
        while !telling.is_cancelled() {
            tell.publish(Event::Stored(gateway.clone()));
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    });
    browser.tell("changed");
    assert_eq!(browser.hear(), "1 person's devices need you");
    stop.cancel();
    assert_eq!(browser.hear(), "Showing 1 of 12, found by “home-02”. Show all");

    console.stop.cancel();
    browser.tell("gone");
    assert_eq!(browser.hear(), "Showing 14:49. Reconnecting…");
    let old = browser.hear();
    assert!(old.contains("Not up to date: this was known at 14:49"), "{old}");
    assert!(!old.contains("All working"), "an old page looks fine: {old}");
}
