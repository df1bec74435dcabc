//! Facts as a person reads them: what `homeward-agent posture` prints.

use homeward_protocol::posture::facts::FactSet;
use serde_json::{Value, json};

/// For a person: a line a fact, what it is about in words, where it was read.
pub fn text(facts: &FactSet) -> String {
    let mut lines = Vec::new();
    let mut heading = "";
    for fact in facts.facts() {
        let what = fact.id.what();
        let group = what.name().split('.').next().unwrap_or_default();
        if group != heading {
            lines.push(format!("{}{group}", if heading.is_empty() { "" } else { "\n" }));
            heading = group;
        }
        let subject = fact
            .id
            .subject()
            .map(|subject| format!(" {subject}"))
            .unwrap_or_default();
        let name = format!("{}{subject}", what.said());
        lines.push(format!("  {name}: {}  ({})", fact.value, fact.source.as_str()));
    }
    lines.join("\n")
}

/// For programs: the facts as they travel, with the words of each.
pub fn json(facts: &FactSet) -> Value {
    let one = |fact: &homeward_protocol::posture::fact::Fact| {
        json!({
            "id": fact.id.to_string(),
            "what": fact.id.what().said(),
            "value": fact.value,
            "said": fact.value.to_string(),
            "source": fact.source.as_str(),
            "taken_at": fact.taken_at.to_string(),
        })
    };
    json!({ "mark": facts.mark().to_string(), "facts": facts.facts().map(one).collect::<Vec<_>>() })
}
