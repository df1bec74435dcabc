//! Every page of the console in a real browser: no fault that axe-core finds, none that the browser complains of,
//! no page wider than its window, with scripts and without.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests write files and start programs"
)]

use std::collections::BTreeMap;
use std::fs;

use homeward_tests::browser::{self, Page, SignIn, Visit};
use homeward_tests::programs::fleet::Fleet;

const PASSWORD: &str = "a long enough password 17";
const PAGES: [&str; 18] = [
    "/care",
    "/fleet",
    "/claims",
    "/policies",
    "/policies/check",
    "/drafts",
    "/rules",
    "/releases",
    "/campaigns",
    "/dossiers",
    "/advisories",
    "/implants",
    "/approvals",
    "/incidents",
    "/placements",
    "/users",
    "/audit",
    "/password",
];
/// A telephone and a desk.
const WIDTHS: [u32; 2] = [390, 1280];
const ANY_PORT: &str = "\n[listen]\ngate = \"127.0.0.1:0\"\nenrol = \"127.0.0.1:0\"\nrenewal = \"127.0.0.1:0\"\n\
                        console = \"127.0.0.1:0\"\nlocal = \"127.0.0.1:0\"\n";

#[test]
fn no_page_has_a_fault_that_a_browser_or_axe_finds() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut fleet = Fleet::init(dir.path(), &["--name", "localhost"]);
    let config = dir.path().join("fleet.toml");
    let text = fs::read_to_string(&config).expect("init makes it");
    fs::write(&config, text + ANY_PORT).expect("our own folder");
    fleet
        .tell(&["user", "add", "anna", "--role", "operator"], PASSWORD)
        .ok();
    fleet.serve::<&str>(&[]);
    fleet
        .run(&["claim", "new", "--placement", "home-0042", "--team", "north"])
        .ok();

    let console = format!("https://localhost:{}", fleet.port("console"));
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for scripts in [true, false] {
        let pages = PAGES
            .iter()
            .flat_map(|path| WIDTHS.map(|width| Page::new(format!("{console}{path}"), width)));
        let visit = Visit {
            sign_in: Some(SignIn {
                url: format!("{console}/sign-in"),
                fields: BTreeMap::from([field("name", "anna"), field("password", PASSWORD)]),
            }),
            scripts,
            pages: pages.collect(),
        };
        let Some(seen) = browser::visit(&visit) else {
            return;
        };
        for page in seen {
            assert_eq!(page.status, 200, "{page:?}");
            assert!(!page.heading.is_empty(), "{} has no heading", page.url);
            assert!(!page.overflows, "{} is wider than its window", page.url);
            assert!(page.violations.is_empty(), "{}: {:#?}", page.url, page.violations);
            assert!(page.complaints.is_empty(), "{}: {:#?}", page.url, page.complaints);
        }
    }
}
