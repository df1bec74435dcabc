//! `SQLite` numbers `$n` by first use and `PostgreSQL` by the number: every statement's first uses have to ascend.

use std::path::Path;

/// The string literals of a Rust source that hold a parameter; good enough for our own sources.
fn statements(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut text = String::new();
    let (mut inside, mut escaped) = (false, false);
    for line in source.lines() {
        if !inside && line.trim_start().starts_with("//") {
            continue;
        }
        for c in line.replace("'\"'", "").chars() {
            match (inside, c) {
                (true, _) if escaped => escaped = false,
                (true, '\\') => escaped = true,
                (true, '"') => {
                    inside = false;
                    found.push(std::mem::take(&mut text));
                }
                (true, c) => text.push(c),
                (false, '"') => inside = true,
                (false, _) => {}
            }
        }
        text.push(if inside { '\n' } else { ' ' });
        if !inside {
            text.clear();
        }
    }
    found.retain(|text| text.contains("$1"));
    found
}

/// The numbers of the parameters in the order of their first use.
fn first_uses(statement: &str) -> Vec<usize> {
    let mut seen = Vec::new();
    for part in statement.split('$').skip(1) {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        match digits.parse() {
            Ok(n) if !seen.contains(&n) => seen.push(n),
            _ => {}
        }
    }
    seen
}

fn sources(dir: &Path, all: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source");
            all.push((path.display().to_string(), text));
        }
    }
}

#[test]
fn every_statement_uses_its_parameters_in_ascending_order() {
    let mut all = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut all);
    let mut checked = 0;
    all.retain(|(path, _)| !path.ends_with("promises/statements.rs"));
    for (path, source) in all {
        for statement in statements(&source) {
            let uses = first_uses(&statement);
            assert!(
                uses.iter().copied().eq(1..=uses.len()),
                "{path}: parameters first used as {uses:?} in\n{statement}"
            );
            checked += 1;
        }
    }
    assert!(
        checked > 40,
        "only {checked} statements were found: the search is broken"
    );
}

#[test]
fn the_search_finds_a_statement_whose_parameters_do_not_ascend() {
    let source = "fn f() { g(\"SELECT $2,\n $1\", '\"', \"a \\\" $1 $2\") } // \"$9 $1\"";
    let found = statements(source);
    assert_eq!(first_uses(&found[0]), [2, 1]);
    assert_eq!(first_uses(&found[1]), [1, 2]);
}
