//! Whether a set of packages may be installed: what is there, what apt says would happen, and what is there afterwards.
//!
//! # Design
//! apt knows what packages need of one another, and is only asked. It is asked without any list of what could be fetched:
//! a package that needs another one which neither is installed nor in the set cannot be installed then. Its answer has to
//! name exactly the set. dpkg, which fetches nothing and chooses nothing, installs.

use std::collections::BTreeMap;

use homeward_protocol::release::bundle::debian::{Architecture, DebName, DebVersion};
use homeward_protocol::release::bundle::{Index, Package};

use super::ask::fit;

/// The fields that `dpkg-query --show` is asked for, one package a line.
pub const FORMAT: &str =
    "${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Want}\\t${db:Status-Status}\\n";

/// Why a set is not installed. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It may work another time.
    Later(String),
    /// Never, as the box is.
    Refused(String),
}

/// A package that dpkg knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    version: DebVersion,
    held: bool,
    whole: bool,
}

/// Packages of the box's own architecture that are there, whole or not, by `dpkg-query`'s answer.
pub fn known(text: &str, native: &Architecture) -> BTreeMap<DebName, Known> {
    let one = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, architecture, version, want, status] = fields.as_slice() else {
            return None;
        };
        let architecture: Architecture = architecture.parse().ok()?;
        let there = !matches!(*status, "not-installed" | "config-files");
        let known = Known {
            version: version.parse().ok()?,
            held: *want == "hold",
            whole: *status == "installed",
        };
        (there && architecture.runs_on(native)).then_some((name.parse().ok()?, known))
    };
    text.lines().filter_map(one).collect()
}

/// Those of a set that are not there yet as it says. None of them may go back, and none that a person holds is touched.
///
/// # Errors
/// Why the set is not for this box as it is.
pub fn due<'a>(
    index: &'a Index,
    native: &Architecture,
    known: &BTreeMap<DebName, Known>,
) -> Result<Vec<&'a Package>, Why> {
    let mut due = Vec::new();
    for one in index.packages() {
        let name = &one.name;
        if !one.architecture.runs_on(native) {
            let why = format!("{name} is for {}, and this box is {native}", one.architecture);
            return Err(Why::Refused(why));
        }
        let there = known.get(name);
        if there.is_some_and(|there| there.whole && there.version == one.version) {
            continue;
        }
        if let Some(newer) = there
            .map(|there| &there.version)
            .filter(|there| **there > one.version)
        {
            let why = format!("{name} {newer} is installed, and {} is older", one.version);
            return Err(Why::Refused(why));
        }
        if there.is_some_and(|there| there.held) {
            return Err(Why::Later(format!("somebody holds {name} on this box")));
        }
        // What is there and not whole may be what was begun.
        let comes = there.map(|there| &there.version);
        if let Some(from) = one
            .from
            .as_ref()
            .filter(|from| comes != Some(from) && comes != Some(&one.version))
        {
            let is = comes.map_or("none is".to_owned(), |version| format!("{version} is"));
            let why = format!(
                "{name} {} comes only after {from}, and {is} installed",
                one.version
            );
            return Err(Why::Refused(why));
        }
        due.push(one);
    }
    Ok(due)
}

/// Those that are due, in the order in which apt would install them; `said` is what its simulation printed.
///
/// # Errors
/// When that would do anything else than install exactly these.
pub fn ordered<'a>(due: &[&'a Package], said: &str) -> Result<Vec<&'a Package>, Why> {
    let mut order: Vec<&Package> = Vec::new();
    for line in said.lines() {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let name = rest.split([' ', ':']).next().unwrap_or_default();
        match verb {
            "Inst" => {
                let one = due.iter().find(|one| one.name.to_string() == name);
                let one = one.ok_or_else(|| Why::Refused(format!("it would pull in {}", fit(name))))?;
                let version = rest
                    .split_once('(')
                    .and_then(|(_, after)| after.split([' ', ')']).next());
                if version.and_then(|version| version.parse().ok()).as_ref() != Some(&one.version) {
                    return Err(Why::Refused(format!("another version of {name} would come")));
                }
                order.push(one);
            }
            "Remv" | "Purg" => return Err(Why::Refused(format!("{} would be removed", fit(name)))),
            _ => {}
        }
    }
    if let Some(left) = due
        .iter()
        .find(|one| !order.iter().any(|other| other.name == one.name))
    {
        return Err(Why::Refused(format!("{} would not be installed", left.name)));
    }
    Ok(order)
}

/// Why apt would not do it, by what it printed.
pub fn failed(stdout: &str, stderr: &str) -> Why {
    let lines = || stdout.lines().chain(stderr.lines());
    let mut needs = lines().filter(|line| line.starts_with(' ') && line.contains(" : "));
    let removed = lines()
        .skip_while(|line| !line.contains("will be REMOVED"))
        .nth(1);
    let error = lines().find(|line| line.starts_with("E: "));
    let why = match (needs.next(), removed) {
        (Some(needs), _) => format!("it needs what is not here: {needs}"),
        (None, Some(removed)) => format!("it would remove {removed}"),
        (None, None) => format!("apt would not: {}", error.unwrap_or("it says not why")),
    };
    Why::Refused(fit(&why))
}

/// Packages that are not whole, by what `dpkg --audit` prints: a sentence for people, then a line for each, indented by one.
pub fn audited(said: &str) -> Option<String> {
    let lines = said.lines().filter(|line| line.starts_with(' '));
    let names: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    match names.as_slice() {
        [] if said.trim().is_empty() => None,
        [] => Some(fit(said)),
        names => Some(fit(&names.join(", "))),
    }
}

/// What of a set is not there as it says: none when all is.
pub fn lacking(index: &Index, known: &BTreeMap<DebName, Known>) -> Vec<String> {
    let lacks = |one: &&Package| {
        let there = known.get(&one.name);
        !there.is_some_and(|there| there.whole && there.version == one.version)
    };
    let said = |one: &Package| match known.get(&one.name) {
        None => format!("{} is not installed", one.name),
        Some(there) if there.whole => format!("{} is {}", one.name, there.version),
        Some(there) => format!("{} {} is not configured", one.name, there.version),
    };
    index.packages().iter().filter(lacks).map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native() -> Architecture {
        "amd64".parse().expect("an architecture")
    }

    fn package(name: &str, version: &str, from: Option<&str>) -> Package {
        Package::new(
            (name.parse().expect("a name"), "all".parse().expect("one")),
            (
                version.parse().expect("a version"),
                from.map(|from| from.parse().expect("a version")),
            ),
            1,
            [1; 32],
        )
    }

    fn index(all: &[(&str, &str, Option<&str>)]) -> Index {
        let all = all
            .iter()
            .map(|(name, version, from)| package(name, version, *from));
        Index::new(all.collect()).expect("an index")
    }

    fn there(lines: &[&str]) -> BTreeMap<DebName, Known> {
        known(&lines.join("\n").replace(' ', "\t"), &native())
    }

    fn names(index: &Index, lines: &[&str]) -> Result<Vec<String>, Why> {
        let due = due(index, &native(), &there(lines))?;
        Ok(due.iter().map(|one| one.name.to_string()).collect())
    }

    #[test]
    fn what_is_there_is_left_and_what_is_not_whole_is_due_again() {
        let set = index(&[("a-tool", "1.1", None), ("b-tool", "2.0", None)]);
        assert_eq!(names(&set, &[]).expect("due"), ["a-tool", "b-tool"]);
        let one = "a-tool amd64 1.1 install installed";
        assert_eq!(
            names(&set, &[one, "b-tool all 1.9 install installed"]).expect("due"),
            ["b-tool"]
        );
        for status in [
            "half-configured",
            "unpacked",
            "half-installed",
            "triggers-pending",
        ] {
            let line = format!("b-tool all 2.0 install {status}");
            assert_eq!(names(&set, &[one, &line]).expect("due"), ["b-tool"], "{status}");
            assert_eq!(
                lacking(&set, &there(&[one, &line])),
                ["b-tool 2.0 is not configured"]
            );
        }
        // Of another architecture, or gone but for its settings: not there.
        for line in [
            "b-tool arm64 9 install installed",
            "b-tool all 9 deinstall config-files",
        ] {
            assert_eq!(names(&set, &[one, line]).expect("due"), ["b-tool"]);
        }
        assert!(lacking(&set, &there(&[one, "b-tool all 2.0 install installed"])).is_empty());
    }

    #[test]
    fn nothing_goes_back_and_nothing_held_or_pinned_otherwise_is_touched() {
        let set = index(&[("a-tool", "1.1", Some("1.0"))]);
        let why = |lines: &[&str]| names(&set, lines).expect_err("not");
        for newer in ["installed", "half-configured"] {
            let line = format!("a-tool all 1:0 install {newer}");
            assert!(matches!(why(&[&line]), Why::Refused(why) if why.contains("1.1 is older")));
        }
        assert!(matches!(why(&["a-tool all 1.0 hold installed"]), Why::Later(_)));
        assert!(matches!(why(&[]), Why::Refused(why) if why.contains("only after 1.0, and none is")));
        assert!(matches!(
            why(&["a-tool all 0.9 install installed"]),
            Why::Refused(_)
        ));
        assert_eq!(
            names(&set, &["a-tool all 1.0 install installed"]).expect("due"),
            ["a-tool"]
        );
        assert_eq!(
            names(&set, &["a-tool all 1.1 install unpacked"]).expect("due"),
            ["a-tool"]
        );
        let foreign = Package::new(
            ("a-tool".parse().expect("a name"), "arm64".parse().expect("one")),
            ("1".parse().expect("a version"), None),
            1,
            [1; 32],
        );
        let foreign = Index::new(vec![foreign]).expect("an index");
        assert!(matches!(
            due(&foreign, &native(), &BTreeMap::new()),
            Err(Why::Refused(_))
        ));
    }

    #[test]
    fn apt_has_to_name_exactly_the_set() {
        let set = index(&[("a-tool", "1.1", None), ("b-tool", "2.0", None)]);
        let all: Vec<&Package> = set.packages().iter().collect();
        let good = "Reading package lists...\nInst b-tool (2.0 local-deb [all])\nInst a-tool:amd64 [1.0] (1.1 local-deb \
                    [all])\nConf b-tool (2.0 local-deb [all])\nConf x (1 [all])\n";
        let order: Vec<String> = ordered(&all, good)
            .expect("in order")
            .iter()
            .map(|one| one.name.to_string())
            .collect();
        assert_eq!(order, ["b-tool", "a-tool"]);
        for (more, words) in [
            ("Inst cowsay (3.03 Debian:12 [all])", "pull in cowsay"),
            ("Remv c-tool [1.0]", "c-tool would be removed"),
            ("Purg c-tool [1.0]", "c-tool would be removed"),
            (
                "Inst a-tool [1.0] (1.2 Debian [all])",
                "another version of a-tool",
            ),
        ] {
            let said = format!("{good}{more}\n");
            assert!(
                matches!(ordered(&all, &said), Err(Why::Refused(why)) if why.contains(words)),
                "{more}"
            );
        }
        assert!(
            matches!(ordered(&all, "Inst b-tool (2.0 x [all])"), Err(Why::Refused(why)) if why.contains("a-tool"))
        );
        assert!(ordered(&[], "").expect("nothing").is_empty());
    }

    #[test]
    fn what_is_not_whole_is_named() {
        let said = "The following packages are only half configured, probably due to problems\nconfiguring them the first \
                    time.\n hw-e                 x\n hw-f                 y\n\n";
        assert_eq!(audited(said).as_deref(), Some("hw-e, hw-f"));
        assert_eq!(audited("something else\n").as_deref(), Some("something else"));
        assert_eq!(audited("\n"), None);
    }

    #[test]
    fn why_apt_would_not_is_told_in_a_line() {
        let needs = "The following packages have unmet dependencies:\n c-tool : Depends: cowsay but it is not installable\n";
        assert_eq!(
            failed(needs, "E: Unable to correct problems"),
            Why::Refused(
                "it needs what is not here: c-tool : Depends: cowsay but it is not installable".into()
            )
        );
        let removes = "The following packages will be REMOVED:\n  a-tool\n";
        assert_eq!(
            failed(removes, "E: x"),
            Why::Refused("it would remove a-tool".into())
        );
        assert_eq!(
            failed("", "E: broken\n"),
            Why::Refused("apt would not: E: broken".into())
        );
        assert_eq!(
            failed("", ""),
            Why::Refused("apt would not: it says not why".into())
        );
    }
}
