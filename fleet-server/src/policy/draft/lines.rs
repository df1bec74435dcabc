//! How two texts differ, line by line.

/// Most pairs of lines that are compared for the shortest difference; beyond it, what differs is shown as replaced. Two
/// documents of a thousand lines each that have nothing in common.
const MOST_PAIRS: usize = 1_000_000;
/// Lines that are shown around a change.
const AROUND: usize = 3;

/// A line of the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// In both; its number in the text after.
    Same(usize, &'a str),
    /// Only in the text before; its number there.
    Gone(usize, &'a str),
    /// Only in the text after; its number there.
    New(usize, &'a str),
    /// So many lines that are in both are not shown.
    Cut(usize),
}

/// What changes from `before` to `after`, with some lines around each change. Empty for the same.
pub fn differ<'a>(before: &'a str, after: &'a str) -> Vec<Line<'a>> {
    if before == after {
        return Vec::new();
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (old.get(head..).unwrap_or(&[]), new.get(head..).unwrap_or(&[]));
    let tail = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let middle_old = old_rest.get(..old_rest.len() - tail).unwrap_or(&[]);
    let middle_new = new_rest.get(..new_rest.len() - tail).unwrap_or(&[]);
    let same = |(i, line): (usize, &&'a str)| Line::Same(i + 1, line);
    let mut all: Vec<Line<'a>> = new.iter().enumerate().take(head).map(same).collect();
    all.extend(middle(middle_old, middle_new, head));
    all.extend(new.iter().enumerate().skip(new.len() - tail).map(same));
    shortened(&all)
}

/// The part between the first and the last change.
fn middle<'a>(old: &[&'a str], new: &[&'a str], head: usize) -> Vec<Line<'a>> {
    let gone = |i: usize| Line::Gone(head + i + 1, old.get(i).copied().unwrap_or_default());
    let fresh = |j: usize| Line::New(head + j + 1, new.get(j).copied().unwrap_or_default());
    if old.len().saturating_mul(new.len()) > MOST_PAIRS {
        return (0..old.len())
            .map(gone)
            .chain((0..new.len()).map(fresh))
            .collect();
    }
    let common = common(old, new);
    let width = new.len() + 1;
    let at = |i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    let (mut i, mut j, mut all) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                all.push(Line::Same(head + j + 1, b));
                (i, j) = (i + 1, j + 1);
            }
            (Some(_), other) if other.is_none() || at(i + 1, j) >= at(i, j + 1) => {
                all.push(gone(i));
                i += 1;
            }
            _ => {
                all.push(fresh(j));
                j += 1;
            }
        }
    }
    all
}

/// For each pair of places, how many lines the rests from there on have in common, in order.
fn common(old: &[&str], new: &[&str]) -> Vec<u32> {
    let width = new.len() + 1;
    let mut table = vec![0u32; (old.len() + 1) * width];
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let at = |i: usize, j: usize| table.get(i * width + j).copied().unwrap_or(0);
            let longest = if a == b {
                at(i + 1, j + 1) + 1
            } else {
                at(i + 1, j).max(at(i, j + 1))
            };
            if let Some(cell) = table.get_mut(i * width + j) {
                *cell = longest;
            }
        }
    }
    table
}

/// Without the lines that are far from every change.
fn shortened<'a>(all: &[Line<'a>]) -> Vec<Line<'a>> {
    let is_change = |line: &Line<'_>| matches!(line, Line::Gone(..) | Line::New(..));
    let near = |i: usize| {
        let around = i.saturating_sub(AROUND)..(i + AROUND + 1).min(all.len());
        all.get(around).is_some_and(|lines| lines.iter().any(is_change))
    };
    let (mut out, mut cut) = (Vec::new(), 0);
    for (i, line) in all.iter().enumerate() {
        if near(i) {
            if cut > 0 {
                out.push(Line::Cut(cut));
                cut = 0;
            }
            out.push(*line);
        } else {
            cut += 1;
        }
    }
    if cut > 0 {
        out.push(Line::Cut(cut));
    }
    out
}
