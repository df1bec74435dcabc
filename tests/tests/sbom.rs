//! The SBOM of this box, held against the schema of CycloneDX by another program's validator.
#![expect(clippy::disallowed_methods, reason = "shell: tests run programs")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use homeward_agent::posture::software::Software;
use homeward_protocol::posture::inventory::cyclonedx::{About, document};
use homeward_protocol::time::Timestamp;
use homeward_tests::programs::finish;
use homeward_tests::shared;
use serde_json::Value;

const LIMIT: Duration = Duration::from_mins(2);

/// Reads a document from standard input; says what is wrong with it, a line each.
const VALIDATOR: &str = r#"
import json, pathlib, sys
from jsonschema import Draft7Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7
folder = pathlib.Path(sys.argv[1])
def load(name):
    return json.loads((folder / name).read_text())
names = ["spdx.schema.json", "jsf-0.82.schema.json", "cryptography-defs.schema.json"]
registry = Registry()
for name in names:
    if (folder / name).exists():
        schema = load(name)
        resource = Resource.from_contents(schema, default_specification=DRAFT7)
        registry = registry.with_resource("http://cyclonedx.org/schema/" + name, resource)
schema = load("bom-1.6.schema.json")
validator = Draft7Validator(schema, registry=registry, format_checker=FormatChecker())
for error in list(validator.iter_errors(json.load(sys.stdin)))[:20]:
    print("/".join(map(str, error.absolute_path)), error.message[:200])
"#;

/// What a validator that knows nothing of ours finds wrong.
fn faults(python: &Path, schema: &Path, document: &Value) -> String {
    let mut command = Command::new(python);
    command.args(["-c", VALIDATOR]).arg(schema);
    let done = finish(&mut command, document.to_string().as_bytes(), LIMIT);
    assert!(done.status.success(), "the validator failed: {}", done.stderr);
    done.stdout
}

/// A Python with jsonschema, where `tests/run --install` puts it.
fn python() -> Option<std::path::PathBuf> {
    let ours = shared::tools().join("venv/bin/python3");
    let usable = ours.is_file()
        && finish(Command::new(&ours).args(["-c", "import jsonschema"]), b"", LIMIT)
            .status
            .success();
    if !usable {
        shared::missing("jsonschema for Python", "run tests/run --install");
    }
    usable.then_some(ours)
}

#[test]
fn the_sbom_of_this_box_is_valid_cyclonedx_and_lists_what_dpkg_lists() {
    let (Some(python), Some(schema)) = (python(), shared::data("data/sbom/schema")) else {
        return;
    };
    let software = Software::of_this_box(Some([0xab; 32]));
    let about = About {
        name: software.name(),
        subject: "gw-1",
        taken_at: Timestamp::synced(1_795_000_000_000),
        tool: ("homeward-agent", "0.1.0"),
    };
    let sbom = document(&software.list, &about);
    assert_eq!(faults(&python, &schema, &sbom), "");
    let mut broken = sbom.clone();
    broken["components"][1]["type"] = "no such type".into();
    assert!(
        !faults(&python, &schema, &broken).is_empty(),
        "the validator finds nothing wrong with nonsense"
    );

    let Some(query) = shared::debian("dpkg-query", "dpkg") else {
        return;
    };
    let format = "${db:Status-Status} ${Package} ${Version} ${Architecture}\n";
    let done = finish(Command::new(query).args(["-W", "-f", format]), b"", LIMIT);
    let listed = done.stdout;
    let mut theirs: Vec<String> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("installed ").map(str::to_owned))
        .collect();
    let debs = software.list.components.iter().filter(|c| c.kind.name() == "deb");
    let word = |c: &homeward_protocol::posture::inventory::Component| {
        let arch = c.arch.as_ref().map_or("", |arch| arch.as_str());
        format!("{} {} {arch}", c.name.as_str(), c.version.as_str())
    };
    let mut ours: Vec<String> = debs.map(word).collect();
    theirs.sort();
    ours.sort();
    assert_eq!(ours, theirs);
}
