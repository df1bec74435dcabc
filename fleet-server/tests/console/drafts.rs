//! Drafts of policies on the console: written, read by another person, signed elsewhere, brought back.

use axum::http::{Method, StatusCode};
use homeward_fleet::policy::paper::Papers;

use super::scenario::policies::{House, document};
use super::scenario::{World, csrf, filled, session};
use super::visit::{Answer, ask, get};

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

/// A person with an open session.
struct Person<'a> {
    world: &'a World,
    name: &'static str,
    cookie: String,
}

impl Person<'_> {
    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = format!("csrf={}", csrf(self.name));
        for (name, value) in fields {
            form.push_str(&format!("&{name}={}", encoded(value)));
        }
        ask(self.world, Method::POST, path, &self.cookie, &form).await
    }

    async fn text(&self, path: &str) -> String {
        get(self.world, path, &self.cookie).await.text
    }

    /// Opens a page that says all of these.
    async fn sees(&self, path: &str, all: &[&str]) -> String {
        let text = self.text(path).await;
        for said in all {
            assert!(text.contains(said), "{path}: {said}: {text}");
        }
        text
    }

    /// Posts, and is sent on.
    async fn done(&self, path: &str, fields: &[(&str, &str)]) {
        let answer = self.post(path, fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}: {}", answer.text);
    }

    /// Posts, and is turned down with these words.
    async fn refused(&self, path: &str, fields: &[(&str, &str)], said: &str) {
        let answer = self.post(path, fields).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{path}: {}",
            answer.text
        );
        assert!(answer.text.contains(said), "{path}: {said}: {}", answer.text);
    }
}

async fn person<'a>(world: &'a World, name: &'static str) -> Person<'a> {
    let cookie = session(world, name).await;
    Person { world, name, cookie }
}

/// What a page's form says of the text that it is about.
fn digest(page: &str) -> &str {
    let (_, rest) = page.split_once("name=\"digest\" value=\"").expect("a digest");
    rest.split('"').next().expect("an end")
}

/// Olga begins from policy 7, writes, and asks for a review. Gives the text.
async fn written(olga: &Person<'_>) -> String {
    let begun = olga
        .post("/drafts", &[("title", "keys only"), ("from", "7")])
        .await;
    assert_eq!(begun.header("location"), "/drafts/4", "{}", begun.text);
    let said = [
        "from <a href=\"/policies/7\">policy 7</a>",
        "version = 8",
        "Nothing is wrong with it",
        "password_login = &#34;no&#34;",
    ];
    olga.sees("/drafts/4", &said).await;
    let written = document(8, "no").replace("hub", "wireless");
    let mailed = written.replace('\n', "\r\n");
    let save = [("text", mailed.as_str()), ("over", "1"), ("do", "save")];
    olga.done("/drafts/4", &save).await;
    olga.done("/drafts/4/ask", &[("revision", "2")]).await;
    written
}

#[tokio::test]
async fn a_draft_is_approved_by_another_person_who_sees_what_changes_on_which_boxes() {
    let world = filled().await;
    let (olga, omar) = (person(&world, "olga").await, person(&world, "omar").await);
    let written = written(&olga).await;
    // The author cannot, whatever the form says.
    let own = olga.sees("/drafts/4/review", &["You wrote a part of it"]).await;
    assert!(!own.contains("value=\"approve\""), "{own}");
    let named = digest(&own).to_owned();
    let yes = [("do", "approve"), ("digest", named.as_str())];
    let refused = "another person has to";
    olga.refused("/drafts/4/review", &yes, refused).await;
    let said = [
        "What changes from policy 7",
        "<strong>usb</strong>",
        "will change on",
        "2 boxes that have policy 7",
        "gw-01aaaa",
        "h-3: A stranger signs in to the box.",
        &named,
    ];
    omar.sees("/drafts/4/review", &said).await;
    // Nothing is brought before it was read.
    let path = "/drafts/4/signed";
    omar.refused(path, &[("papers", "x")], "That is not what").await;
    let signed = world.house.papers(&written).to_string();
    let early = "Nobody reviewed its newest text";
    olga.refused(path, &[("papers", &signed)], early).await;
    omar.done("/drafts/4/review", &yes).await;
    // Byte for byte what was read goes to the people of the keyring.
    let file = get(&world, "/drafts/4/document", &olga.cookie).await;
    assert_eq!(file.text, written);
    let name = "attachment; filename=\"policy-8.toml\"";
    assert_eq!(file.header("content-disposition"), name);
    let digits = format!("--digest {}", &named[..12]);
    olga.sees("/drafts/4", &[&digits]).await;
}

#[tokio::test]
async fn only_what_was_reviewed_and_two_people_signed_is_brought_back_and_given_to_boxes() {
    let world = filled().await;
    let (olga, omar) = (person(&world, "olga").await, person(&world, "omar").await);
    let written = written(&olga).await;
    let page = omar.text("/drafts/4/review").await;
    let yes = [("do", "approve"), ("digest", digest(&page))];
    omar.done("/drafts/4/review", &yes).await;
    let signed = world.house.papers(&written);
    let whole = signed.to_string();
    let half = Papers {
        review: None,
        ..signed
    };
    for (papers, said) in [
        (
            world.house.papers(&document(8, "yes")),
            "What was signed is not what was reviewed: sshd/password-login",
        ),
        (half, "The second signature is missing"),
        (House::new().papers(&written), "No box would take it"),
    ] {
        let papers = papers.to_string();
        let brought = [("papers", papers.as_str())];
        olga.refused("/drafts/4/signed", &brought, said).await;
    }
    olga.sees("/drafts/4", &["read exactly this text"]).await;
    olga.done("/drafts/4/signed", &[("papers", &whole)]).await;
    let said = ["It is <a href=\"/policies/8\">policy 8</a>", "Nobody gets it yet"];
    olga.sees("/drafts/4", &said).await;
    let said = ["draft 4, keys only</a>, by olga"];
    olga.sees("/policies/8", &said).await;

    let all = [("to", "all"), ("name", "")];
    let shown = olga.post("/policies/8/assign", &all).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
    assert!(shown.text.contains("boxes that have policy 6"), "{}", shown.text);
    let sure = [("to", "all"), ("name", ""), ("sure", "1")];
    olga.done("/policies/8/assign", &sure).await;
    olga.sees("/drafts/4", &["It is assigned"]).await;
    let again = [("text", "x"), ("over", "2"), ("do", "save")];
    let over = "It was signed as policy 8";
    olga.refused("/drafts/4", &again, over).await;
    let trail = [
        "draft-begun",
        "draft-saved",
        "draft-review-asked",
        "draft-reviewed",
        "policy-loaded",
        "draft-signed",
        "policy-assigned",
    ];
    olga.sees("/audit", &trail).await;
    // The next one begins from the text that was signed, and is held against that line by line.
    olga.done("/drafts", &[("title", "the next"), ("from", "8")])
        .await;
    let said = [
        "What changes from policy 8",
        "<del>version = 8</del>",
        "<ins>version = 9</ins>",
    ];
    olga.sees("/drafts/5", &said).await;
    let papers = get(&world, "/policies/8/papers", &olga.cookie).await.text;
    let papers = Papers::parse(&papers).expect("papers");
    assert_eq!(papers.policy, Papers::parse(&whole).expect("papers").policy);
    let ring = get(&world, "/policies/keyring", &olga.cookie).await.text;
    assert_eq!(Papers::parse(&ring).expect("papers").keyring, papers.keyring);
}

#[tokio::test]
async fn who_saves_over_a_newer_revision_is_told_sees_both_and_loses_nothing() {
    let world = filled().await;
    let (olga, omar) = (person(&world, "olga").await, person(&world, "omar").await);
    let theirs = document(8, "no").replace("120", "300");
    let mine = document(8, "no").replace("120", "600") + "# <b>mine</b>\n";
    olga.done("/drafts/1", &[("text", &theirs), ("over", "1"), ("do", "save")])
        .await;
    let answer = omar
        .post("/drafts/1", &[("text", &mine), ("over", "1"), ("do", "save")])
        .await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    for said in [
        "olga saved revision 2 while you were writing",
        "What your text changes from revision 2, by olga",
        "<del>300 s</del>",
        "<ins>600 s</ins>",
        "<ins># &#60;b&#62;mine&#60;/b&#62;</ins>",
        "name=\"over\" value=\"2\"",
        "confirm_s = 600",
    ] {
        assert!(answer.text.contains(said), "{said}: {}", answer.text);
    }
    assert!(
        olga.text("/drafts/1").await.contains("confirm_s = 300"),
        "theirs stands"
    );
    omar.done("/drafts/1", &[("text", &mine), ("over", "2"), ("do", "save")])
        .await;
    let old = olga.text("/drafts/1/revisions/2").await;
    assert!(
        old.contains("confirm_s = 300") && old.contains("By olga"),
        "{old}"
    );
    // Now both are authors, and what olga had asked for is asked no more.
    let text = omar.text("/drafts/1").await;
    assert!(text.contains("Ask for a review of revision 3"), "{text}");
}

#[tokio::test]
async fn a_check_says_lines_and_hazards_and_keeps_nothing() {
    let world = filled().await;
    let olga = person(&world, "olga").await;
    let faulty = document(8, "perhaps").replace("h-1 =", "h-2 =");
    let answer = olga
        .post("/drafts/2", &[("text", &faulty), ("over", "1"), ("do", "check")])
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    for said in [
        "This was only checked",
        "<title>Faulty: another hazard",
        "keeps it from being signed",
        "<th scope=\"row\">15</th>",
        "password_login = &#34;perhaps&#34;",
        "aria-invalid=\"true\"",
    ] {
        assert!(answer.text.contains(said), "{said}: {}", answer.text);
    }
    let low = document(7, "no").replace("\"all\"", "{ groups = [\"ring-9\"] }");
    let answer = olga
        .post("/drafts/2", &[("text", &low), ("over", "1"), ("do", "check")])
        .await;
    for said in [
        "boxes never go back, so it needs 8 or a higher one",
        "no gateway in service is in its group ring-9",
        "h-3: A stranger signs in to the box.",
        "<ins>groups ring-9</ins>",
    ] {
        assert!(answer.text.contains(said), "{said}: {}", answer.text);
    }
    let kept = olga.text("/drafts/2").await;
    assert!(
        kept.contains("revision 1 by omar") && kept.contains("read exactly this text"),
        "{kept}"
    );
    let long = "# a comment\n".repeat(3000);
    let saved = [("text", long.as_str()), ("over", "1"), ("do", "save")];
    olga.refused("/drafts/2", &saved, "The document has 36000 bytes")
        .await;
}

#[tokio::test]
async fn a_review_is_of_one_text_and_an_edit_voids_it() {
    let world = filled().await;
    let (olga, omar) = (person(&world, "olga").await, person(&world, "omar").await);
    let page = omar.text("/drafts/1/review").await;
    let old = digest(&page).to_owned();
    let edited = document(8, "no") + "# quietly\n";
    olga.done("/drafts/1", &[("text", &edited), ("over", "1"), ("do", "save")])
        .await;
    let yes = [("do", "approve"), ("digest", old.as_str())];
    let other = "The text is another than the one that you read";
    omar.refused("/drafts/1/review", &yes, other).await;
    olga.done("/drafts/1/ask", &[("revision", "2")]).await;
    omar.refused("/drafts/1/review", &yes, other).await;
    olga.done("/drafts/3", &[("text", &edited), ("over", "2"), ("do", "save")])
        .await;
    olga.refused("/drafts/3/ask", &[("revision", "2")], "Somebody saved revision 3")
        .await;
    let page = omar.text("/drafts/1/review").await;
    let new = digest(&page).to_owned();
    let no = [("do", "return"), ("digest", new.as_str()), ("reason", " ")];
    omar.refused("/drafts/1/review", &no, "A reason is needed").await;
    let no = [
        ("do", "return"),
        ("digest", new.as_str()),
        ("reason", "not <i>quietly</i>"),
    ];
    omar.done("/drafts/1/review", &no).await;
    let text = olga.text("/drafts/1").await;
    assert!(text.contains("not &#60;i&#62;quietly&#60;/i&#62;"), "{text}");

    // The reviewed one: an edit makes its reader an author, who can then review it no more.
    let text = olga.text("/drafts/2").await;
    assert!(text.contains("read exactly this text"), "{text}");
    olga.done("/drafts/2", &[("text", &edited), ("over", "1"), ("do", "save")])
        .await;
    let text = olga.text("/drafts/2").await;
    assert!(
        !text.contains("read exactly this text") && text.contains("revision 1, which was reviewed"),
        "{text}"
    );
    olga.done("/drafts/2/ask", &[("revision", "2")]).await;
    let page = olga.text("/drafts/2/review").await;
    let yes = [("do", "approve"), ("digest", digest(&page))];
    olga.refused("/drafts/2/review", &yes, "another person has to")
        .await;
    olga.done("/drafts/2/drop", &[("reason", "nobody needs it")])
        .await;
    omar.refused("/drafts/2/review", &yes, "It was given up").await;
}

#[tokio::test]
async fn what_people_write_in_drafts_is_never_markup_and_lists_say_what_waits() {
    let world = filled().await;
    let olga = person(&world, "olga").await;
    let odd = "</textarea><script>alert(1)</script>";
    let begun = olga.post("/drafts", &[("title", odd), ("from", "")]).await;
    assert_eq!(begun.header("location"), "/drafts/4");
    let text = olga.text("/drafts/4").await;
    assert!(text.contains("# A policy says what boxes should be"), "{text}");
    olga.done("/drafts/4", &[("text", odd), ("over", "1"), ("do", "save")])
        .await;
    for path in [
        "/drafts",
        "/drafts/4",
        "/drafts/4/review",
        "/drafts/4/revisions/2",
    ] {
        let text = olga.text(path).await;
        assert!(!text.contains("<script>alert"), "{path}: {text}");
        assert!(text.contains("&#60;script&#62;"), "{path}: {text}");
    }
    let list = olga.text("/drafts").await;
    for said in [
        "Drafts: 1 waits for a review",
        "waits for a review</span><br>asked for by olga",
        "to be signed</span><br>reviewed by olga",
    ] {
        assert!(list.contains(said), "{said}: {list}");
    }
    let policies = olga.text("/policies").await;
    assert!(policies.contains("1 draft waits for a review"), "{policies}");
    olga.refused("/drafts", &[("title", " "), ("from", "")], "A title is needed")
        .await;
    for path in [
        "/drafts/99",
        "/drafts/99/review",
        "/drafts/1/revisions/9",
        "/drafts/99/document",
    ] {
        let answer = get(&world, path, &olga.cookie).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
}
