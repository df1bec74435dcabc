//! A policy comes to be, from its first word to the boxes that shall have it: two people in real browsers before a real
//! server, and the people of the keyring with the command line, on a machine that the server knows nothing of.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests write files and start programs"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use homeward_tests::browser::Led;
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::programs::{Finished, binary, finish};
use serde_json::{Value, json};

const PASSWORD: &str = "a long enough password 17";
const LIMIT: Duration = Duration::from_mins(1);
const ANY_PORT: &str = "\n[listen]\ngate = \"127.0.0.1:0\"\nenrol = \"127.0.0.1:0\"\nrenewal = \"127.0.0.1:0\"\n\
                        console = \"127.0.0.1:0\"\nlocal = \"127.0.0.1:0\"\n";

/// The desk of those who sign: their keys, and what they were given.
struct Desk(PathBuf);

impl Desk {
    fn new(folder: &Path, root_key: &str) -> Desk {
        fs::create_dir(folder).expect("our own folder");
        let desk = Desk(folder.to_owned());
        for name in ["ann", "ben"] {
            desk.policy(&["keygen", "--in-the-clear", "--out", &format!("{name}.key")])
                .ok();
        }
        let people = [
            "--author",
            "Ann Smith=ann.pub",
            "--reviewer",
            "Ben Okafor=ben.pub",
        ];
        let made = ["--root-key", root_key, "--out", "made.txt"];
        desk.policy(&[&["keyring"], people.as_slice(), &made].concat())
            .ok();
        desk
    }

    fn policy(&self, args: &[&str]) -> Finished {
        let mut command = Command::new(binary("homeward-fleet"));
        command.current_dir(&self.0);
        finish(command.arg("policy").args(args), b"", LIMIT)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("text").to_owned()
    }

    fn sign(&self, file: &str, digest: &str, out: &str) -> Finished {
        self.policy(&[
            "sign",
            file,
            "--digest",
            digest,
            "--key",
            "ann.key",
            "--keyring",
            "keyring.txt",
            "--out",
            out,
        ])
    }
}

/// A browser in which both people are signed in.
struct Browser {
    led: Led,
    console: String,
}

impl Browser {
    /// Does it, and gives the path and the words that the person then sees.
    fn act(&mut self, person: &str, mut order: Value) -> (String, String) {
        order["person"] = person.into();
        order["url"] = self.console.clone().into();
        order["password"] = PASSWORD.into();
        self.led.tell(&order.to_string());
        let seen: Value = serde_json::from_str(&self.led.hear()).expect("what is seen");
        assert_eq!(seen["faults"], json!([]), "{person}: {order}");
        let text = |key: &str| seen[key].as_str().unwrap_or_default().to_owned();
        (text("path"), text("text"))
    }

    /// The same; the words hold these.
    fn sees(&mut self, person: &str, order: Value, said: &[&str]) -> String {
        let (path, text) = self.act(person, order);
        for said in said {
            assert!(
                text.contains(said),
                "{person} at {path} does not see `{said}`: {text}"
            );
        }
        text
    }

    fn open(&mut self, person: &str, path: &str, said: &[&str]) -> String {
        let page = format!("{}{path}", self.console);
        self.sees(person, json!({ "goto": page }), said)
    }
}

/// A server whose roots' keys were never on it, with a gateway that waits, and two operators.
fn served(folder: &Path) -> (Fleet, String) {
    let media = folder.join("media");
    fs::create_dir(&media).expect("our own folder");
    let to = media.to_str().expect("text");
    let mut fleet = Fleet::init(
        &folder.join("fleet"),
        &["--name", "localhost", "--offline-root", to],
    );
    let config = fleet.dir().join("fleet.toml");
    let text = fs::read_to_string(&config).expect("init makes it");
    fs::write(&config, text + ANY_PORT).expect("our own folder");
    for name in ["anna", "omar"] {
        fleet
            .tell(&["user", "add", name, "--role", "operator"], PASSWORD)
            .ok();
    }
    fleet.serve::<&str>(&[]);
    let root = media.join("root-1.key").to_str().expect("text").to_owned();
    (fleet, root)
}

/// Where a picture goes, to be looked at.
fn picture(name: &str) -> String {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || homeward_tests::shared::workspace().join("target"),
        PathBuf::from,
    );
    let folder = target.join("screens");
    fs::create_dir_all(&folder).expect("a folder for pictures");
    folder.join(format!("{name}.png")).to_string_lossy().into_owned()
}

/// A document with this setting of sshd.
fn document(login: &str) -> String {
    "name = \"all homes\"\nversion = 1\nissued = \"2026-01-01T00:00:00Z\"\nexpires = \"2099-01-01T00:00:00Z\"\n\
     on_expiry = \"keep\"\nconfirm_s = 60\naudience = \"all\"\n\n[hazards]\nh-1 = \"A stranger signs in.\"\n\n\
     # Installers have keys.\n[sshd]\nhazard = \"h-1\"\n"
        .to_owned()
        + &format!("password_login = \"{login}\"\nroot_login = \"no\"\non_drift = \"put-back\"\n")
}

fn save(text: &str) -> Value {
    json!({ "fill": { "#text": text }, "click": "button[value=save]" })
}

fn ask() -> Value {
    json!({ "click": "form[action$=ask] button" })
}

/// Anna begins with nothing, makes a mistake, and mends it.
fn written(browser: &mut Browser, plain: bool) {
    let begin = format!("{}/drafts", browser.console);
    let begin = json!({ "plain": plain, "goto": begin, "fill": { "#title": "ssh by keys" }, "click": "main form button" });
    let said = ["Nothing is wrong with it", "Ask for a review of revision 1"];
    browser.sees("anna", begin, &said);
    let said = [
        "1 thing keeps it from being signed",
        "15",
        "password_login = \"maybe\"",
    ];
    browser.sees("anna", save(&document("maybe")), &said);
    let good = document("no");
    let check = json!({ "fill": { "#text": &good }, "click": "button[value=check]" });
    browser.sees("anna", check, &["This was only checked", "it holds for 26"]);
    let text = browser.sees("anna", save(&good), &["Ask for a review of revision 3"]);
    assert!(!text.contains("only checked"), "{text}");
    let said = ["waits for a review", "somebody else has to read it, and not anna"];
    browser.sees("anna", ask(), &said);
    let own = browser.open("anna", "/drafts/1/review", &["you cannot approve it"]);
    assert!(!own.contains("Approve exactly this text"), "{own}");
}

/// Omar gives it back; it is written on, and he reads that. Gives the text that he read, and its digest.
fn reviewed(browser: &mut Browser) -> (String, String) {
    browser.open("omar", "/drafts", &["Drafts: 1 waits for a review"]);
    let back = json!({ "goto": format!("{}/drafts/1/review", browser.console),
        "fill": { "#reason": "say why" }, "click": "button[value=return]" });
    browser.sees("omar", back, &["omar gave it back", "say why"]);
    let better = document("no").replace("have keys.", "have keys; a password can be guessed.");
    browser.open("omar", "/drafts/1", &["revision 3"]);
    browser.open("anna", "/drafts/1", &["say why"]);
    browser.sees("anna", save(&better), &["revision 4"]);
    // Omar mends it himself, over the text of before: he is told, and thinks better of it.
    let both = [
        "anna saved revision 4 while you were writing",
        "Nothing of yours is lost",
    ];
    let mine = document("no").replace("put-back", "report");
    let mut late = save(&mine);
    late["picture"] = picture("drafts-conflict").into();
    browser.sees("omar", late, &both);
    browser.sees("anna", ask(), &["waits for a review"]);
    let said = ["h-1: A stranger signs in.", "sshd/password-login"];
    let read = browser.open("omar", "/drafts/1/review", &said);
    let digest = read.split_whitespace().find(|word| word.len() == 64);
    let digest = digest.expect("a digest").to_owned();
    // He looks at it for a while; in the meantime Anna saves something else, and takes it back.
    browser.sees("anna", save(&document("yes")), &["revision 5"]);
    let approve = || json!({ "tick": ["#read"], "click": "button[value=approve]" });
    let other = ["The text is another than the one that you read"];
    browser.sees("omar", approve(), &other);
    browser.sees("anna", save(&better), &["revision 6"]);
    browser.sees("anna", ask(), &["waits for a review"]);
    browser.open("omar", "/drafts/1/review", &[&digest]);
    browser.sees("omar", approve(), &["omar read exactly this text", "Sign it"]);
    (better, digest)
}

/// Ann and Ben sign what was read, on a machine of their own: `reviewed.txt`. `signed.txt` has Ann's signature only, and
/// `other.txt` hers under another text.
fn signed(browser: &mut Browser, desk: &Desk, (text, digest): (&str, &str)) {
    let page = format!("{}/drafts/1", browser.console);
    let download = json!({ "goto": page, "save": "a[href$=document]", "to": desk.path("policy-1.toml") });
    browser.act("anna", download);
    let ring = json!({ "save": "a[href$=keyring]", "to": desk.path("keyring.txt") });
    browser.act("anna", ring);
    let saved = fs::read_to_string(desk.path("policy-1.toml")).expect("saved");
    assert_eq!(saved, text);
    let other = text.replace("_login = \"no\"\nroot", "_login = \"yes\"\nroot");
    fs::write(desk.path("changed.toml"), other).expect("our own folder");
    let said = desk.sign("changed.toml", &digest[..12], "x.txt").failed();
    assert!(said.contains("it is not the text that was reviewed"), "{said}");
    let said = desk.sign("policy-1.toml", &digest[..12], "signed.txt").ok();
    assert!(said.contains(digest), "{said}");
    let read = desk.policy(&["review", "signed.txt"]).ok();
    let given = read.split("--digest ").nth(1);
    let given = given
        .and_then(|rest| rest.split(' ').next())
        .expect("a digest to give");
    let as_ben = ["--key", "ben.key", "--digest", given, "--out", "reviewed.txt"];
    desk.policy(&[&["review", "signed.txt"], as_ben.as_slice()].concat())
        .ok();
    let as_ann = [
        "--key",
        "ann.key",
        "--keyring",
        "keyring.txt",
        "--out",
        "other.txt",
    ];
    desk.policy(&[&["sign", "changed.toml"], as_ann.as_slice()].concat())
        .ok();
}

/// It comes back, and boxes are given it.
fn given(browser: &mut Browser, desk: &Desk, plain: bool) {
    let page = format!("{}/drafts/1", browser.console);
    let bring = |name: &str| {
        let field = "#papers";
        if plain {
            let text = fs::read_to_string(desk.path(name)).expect("signed");
            json!({ "goto": page, "fill": { field: text }, "click": "form[action$=signed] button" })
        } else {
            json!({ "goto": page, "file": { "#papers-file": desk.path(name) }, "until": field,
                "click": "form[action$=signed] button" })
        }
    };
    let other = ["What was signed is not what was reviewed: sshd/"];
    browser.sees("anna", bring("other.txt"), &other);
    browser.sees("anna", bring("signed.txt"), &["The second signature is missing"]);
    let said = ["It is policy 1", "Nobody gets it yet"];
    browser.sees("anna", bring("reviewed.txt"), &said);
    // Who gets it is said only after what changes was shown.
    let give = json!({ "goto": format!("{}/policies/1", browser.console), "tick": ["#to-all"],
        "click": "form[action$=assign] button" });
    browser.sees("omar", give, &["Give policy 1 to all gateways?"]);
    let sure = json!({ "click": "form[action$=assign] button" });
    browser.sees("omar", sure, &["all gateways, by omar"]);
    browser.open("anna", "/drafts/1", &["It is assigned"]);
}

/// From its first word to the boxes; scripts run, or do not.
fn whole_way(plain: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let (fleet, root) = served(folder.path());
    let desk = Desk::new(&folder.path().join("desk"), &root);
    fleet.run(&["policy", "load", &desk.path("made.txt")]).ok();
    let Some(led) = Led::start("steps.cjs") else {
        return;
    };
    let console = format!("https://localhost:{}", fleet.port("console"));
    let mut browser = Browser { led, console };
    written(&mut browser, plain);
    let (text, digest) = reviewed(&mut browser);
    signed(&mut browser, &desk, (&text, &digest));
    given(&mut browser, &desk, plain);
    let all = fleet.json(&["policy", "list"]);
    assert_eq!(all[0]["author"], "Ann Smith", "{all}");
    let trail = [
        "draft-signed",
        "draft-reviewed",
        "draft-returned",
        "policy-assigned",
    ];
    browser.open("omar", "/audit", &trail);
}

#[test]
fn a_policy_is_written_in_a_browser_read_signed_elsewhere_and_given_to_boxes() {
    whole_way(false);
}

#[test]
fn the_same_in_a_browser_without_scripts() {
    whole_way(true);
}
