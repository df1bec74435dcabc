//! Path patterns of delegations: `*` and `?`, neither of which crosses a `/`.
//!
//! Source: TUF specification, section 4.5 (`PATHPATTERN`). Off spec: bracket expressions are not patterns here, as in no
//! other client; a `[` stands for itself.

/// Whether `path` as a whole matches `pattern`. Case counts. Both may be hostile.
///
/// Takes at most `pattern.len() * path.len()` steps: when a `*` has to give back, only the newest one is asked again, as
/// an earlier one could gain nothing that the newest cannot.
pub fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.split('/'), path.split('/'));
    let mut path = path.fuse();
    let all = pattern.map(|part| path.next().is_some_and(|text| part_matches(part, text)));
    let mut fits = true;
    for one in all {
        fits &= one;
        if !fits {
            return false;
        }
    }
    path.next().is_none()
}

/// One part between slashes.
fn part_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the newest `*` stands, and from where in the text what follows it was tried.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match (pattern.get(p), star) {
            (Some('*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(c), _) if *c == '?' || Some(c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            (_, Some((at, tried))) => {
                star = Some((at, tried + 1));
                p = at + 1;
                t = tried + 1;
            }
            (_, None) => return false,
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The obvious definition, in exponential time.
    fn by_definition(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), first) => {
                by_definition(rest, text)
                    || first.is_some_and(|(c, text)| *c != '/' && by_definition(pattern, text))
            }
            (Some(('?', rest)), Some((c, text))) => *c != '/' && by_definition(rest, text),
            (Some((p, rest)), Some((c, text))) => p == c && by_definition(rest, text),
            _ => false,
        }
    }

    #[test]
    fn stars_stay_within_one_part() {
        for (pattern, path) in [
            ("*", "a"),
            ("a*c", "abbc"),
            ("*.zip", "y.zip"),
            ("r/*/*", "r/x/y"),
            ("?", "é"),
            ("*", ""),
            ("a**b", "ab"),
            ("*a*b*", "xaxbx"),
            ("", ""),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*", "a/b"),
            ("?", "/"),
            ("a?c", "a/c"),
            ("r/*", "r/x/y"),
            ("r/*/*", "r/x"),
            ("A", "a"),
            ("*.zip", "zip"),
            ("?", ""),
            ("a", ""),
            ("", "a"),
            ("*", "/"),
            ("[ab]", "a"),
            ("a/", "a"),
            ("/a", "a"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn is_what_the_definition_says(pattern in "[ab*?/]{0,9}", path in "[ab/]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            proptest::prop_assert_eq!(matches(&pattern, &path), by_definition(&chars(&pattern), &chars(&path)));
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_their_length() {
        let pattern = format!("{}b", "*a".repeat(2_000));
        assert!(!matches(&pattern, &"a".repeat(4_000)));
    }
}
