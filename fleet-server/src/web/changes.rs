//! Shell: what changes between two policies, as every page says it.

use homeward_protocol::policy::diff::Change;

/// One change in words. A hazard that stays the same is said once.
pub struct Word {
    /// The point, or the part of the policy's head.
    pub what: String,
    /// What was wanted before; none when nothing was.
    pub before: Option<String>,
    /// What is wanted now; none when nothing is.
    pub after: Option<String>,
    /// What it guards against, before as after; empty when that is another, or none.
    pub against: String,
}

impl Word {
    /// Of these changes.
    pub fn of(changes: &[Change]) -> Vec<Word> {
        changes.iter().map(Word::one).collect()
    }

    fn one(change: &Change) -> Word {
        let parted = |text: &Option<String>| {
            let text = text.as_deref()?.strip_suffix(')')?;
            let (wanted, against) = text.split_once(" (against ")?;
            Some((wanted.to_owned(), against.to_owned()))
        };
        let whole = Word {
            what: change.what.clone(),
            before: change.before.clone(),
            after: change.after.clone(),
            against: String::new(),
        };
        match (parted(&change.before), parted(&change.after)) {
            (Some((before, one)), Some((after, other))) if one == other => Word {
                before: Some(before),
                after: Some(after),
                against: one,
                ..whole
            },
            (None, Some((after, against))) if change.before.is_none() => Word {
                after: Some(after),
                against,
                ..whole
            },
            (Some((before, against)), None) if change.after.is_none() => Word {
                before: Some(before),
                against,
                ..whole
            },
            _ => whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: Option<&str>, after: Option<&str>) -> Change {
        Change {
            what: "usb".into(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        }
    }

    #[test]
    fn a_hazard_that_stays_is_said_once_and_one_that_changes_on_both_sides() {
        let said = |before, after| {
            let word = Word::one(&change(before, after));
            (word.before, word.after, word.against)
        };
        let own = |text: &str| Some(text.to_owned());
        assert_eq!(
            said(
                Some("hub (against h-3: A stranger.)"),
                Some("none (against h-3: A stranger.)")
            ),
            (own("hub"), own("none"), "h-3: A stranger.".into())
        );
        assert_eq!(
            said(
                Some("hub (against h-3: A stranger.)"),
                Some("hub (against h-4: A thief.)")
            ),
            (
                own("hub (against h-3: A stranger.)"),
                own("hub (against h-4: A thief.)"),
                String::new()
            )
        );
        assert_eq!(
            said(None, Some("hub (against h-3: A stranger.)")),
            (None, own("hub"), "h-3: A stranger.".into())
        );
        assert_eq!(
            said(Some("60 s"), Some("90 s")),
            (own("60 s"), own("90 s"), String::new())
        );
    }
}
