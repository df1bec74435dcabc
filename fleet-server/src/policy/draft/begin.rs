//! What a draft starts from: a policy that is loaded, under the next number; or an empty document that explains itself.

use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::{Policy, PolicyVersion};
use homeward_protocol::time::Timestamp;

use super::text::Text;

/// An empty document with a word on each rule.
const EMPTY: &str = include_str!("empty.toml");
/// How long one that starts empty holds, seconds.
const YEAR_S: i64 = 366 * 86_400;

/// An empty one of this number, from now on.
pub fn empty(version: u64, now: Timestamp) -> Text {
    let text = EMPTY
        .replace("VERSION", &version.to_string())
        .replace("ISSUED", &Moment::from_secs(now.secs()).to_string())
        .replace("EXPIRES", &Moment::from_secs(now.secs() + YEAR_S).to_string());
    // It is far from too long: a test reads it.
    Text::parse(&text).unwrap_or_default()
}

/// What this policy says, under this number, from now on, for as long as it held. `written` is the document that it was
/// signed from, when that is known: its comments stay. None when it is too long for a document.
pub fn next(policy: &Policy, written: Option<&Text>, version: u64, now: Timestamp) -> Option<Text> {
    let lasts = policy.expires.secs() - policy.issued.secs();
    let next = Policy {
        version: PolicyVersion(version),
        issued: Moment::from_secs(now.secs()),
        expires: Moment::from_secs(now.secs() + lasts),
        ..policy.clone()
    };
    let kept = written.and_then(|text| renumbered(text, &next));
    kept.filter(|text| text.policy().as_ref() == Some(&next))
        .or_else(|| plain(&next))
}

/// The same document with the head of `next`.
fn renumbered(written: &Text, next: &Policy) -> Option<Text> {
    let heads = [
        ("version", next.version.to_string()),
        ("issued", format!("\"{}\"", next.issued)),
        ("expires", format!("\"{}\"", next.expires)),
    ];
    let mut in_head = true;
    let mut text = String::new();
    for line in written.as_str().split_inclusive('\n') {
        in_head &= !line.trim_start().starts_with('[');
        let key = line.split_once('=').map_or("", |(key, _)| key.trim());
        let head = heads.iter().find(|(name, _)| in_head && *name == key);
        match head {
            // Neither a number nor a moment holds the sign that begins a comment.
            Some((name, value)) => match line.split_once('#') {
                Some((_, comment)) => text.push_str(&format!("{name} = {value} #{comment}")),
                None => text.push_str(&format!("{name} = {value}\n")),
            },
            None => text.push_str(line),
        }
    }
    Text::parse(&text).ok()
}

/// A policy as a document without comments.
fn plain(policy: &Policy) -> Option<Text> {
    let text = toml::to_string(policy).ok()?;
    Text::parse(&text).ok()
}
