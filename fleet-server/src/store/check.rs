//! Whether what is stored hangs together: the audit trail, each stream against its signed envelopes, and the outboxes
//! of each gateway against one another.
//!
//! Records are not counted against their stream: those that came again in another epoch have moved there, also out of
//! one that never forked ([`super::records`]). What must not be is that one stands in two.
//!
//! Reads only. The chain of each stream is worked out anew from the envelopes that are kept; those that retention
//! has deleted cannot be, so a walk begins at the oldest that is there.

use homeward_protocol::envelope::ChainHash;
use homeward_protocol::id::Seq;

use super::streams::{self, Named};
use super::{StoreError, Tx, audit};
use crate::ingest::Arrived;

/// Streams, and envelopes, read at a time.
const PAGE: i64 = 200;
/// Doubled readings that are counted of one gateway.
const MOST_DOUBLED: i64 = 1000;

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows of the audit trail.
    pub audit_rows: i64,
    /// The newest audit row's hash: keep it somewhere else, because rows cut off at the end cannot be seen from here.
    pub audit_head: String,
    /// Streams.
    pub streams: u64,
    /// Signed envelopes.
    pub envelopes: u64,
    /// One sentence for each thing that is wrong.
    pub faults: Vec<String>,
}

/// Looks at everything, in one moment of the database.
pub fn check(tx: &mut dyn Tx) -> Result<Report, StoreError> {
    let mut report = Report::default();
    match audit::check(tx)? {
        Ok(chain) => {
            report.audit_rows = chain.last();
            report.audit_head = chain.head().to_string();
        }
        Err(broken) => report.faults.push(broken.to_string()),
    }
    let mut after = None;
    loop {
        let page = streams::list(tx, after.as_ref(), PAGE)?;
        for named in &page {
            report.streams += 1;
            check_stream(tx, named, &mut report)?;
        }
        match page.into_iter().next_back() {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    find_doubled(tx, &mut report)?;
    Ok(report)
}

/// Readings that stand in more than one epoch of a gateway. Those from below its clock's floor cannot be told apart.
fn find_doubled(tx: &mut dyn Tx, report: &mut Report) -> Result<(), StoreError> {
    let mut after = String::new();
    loop {
        let page = tx.rows(
            "SELECT gateway FROM streams WHERE gateway > $1 GROUP BY gateway HAVING count(DISTINCT epoch) > 1
             ORDER BY gateway LIMIT $2",
            &[(&after).into(), PAGE.into()],
        )?;
        for row in &page {
            row.text(0)?.clone_into(&mut after);
            let doubled = tx.row(DOUBLED, &[(&after).into(), MOST_DOUBLED.into()])?;
            let doubled = doubled.map_or(Ok(0), |row| row.int(0))?;
            if doubled > 0 {
                let at_least = if doubled == MOST_DOUBLED { "at least " } else { "" };
                report.faults.push(format!(
                    "gateway {after}: {at_least}{doubled} readings stand in two of its outboxes"
                ));
            }
        }
        if page.is_empty() {
            return Ok(());
        }
    }
}

const DOUBLED: &str = "SELECT count(*) FROM
    (SELECT 1 FROM readings WHERE gateway = $1 AND clock <> 'floor'
     GROUP BY sensor, kind, taken_at, mantissa, exponent, state HAVING count(DISTINCT epoch) > 1 LIMIT $2) twice";

fn check_stream(tx: &mut dyn Tx, named: &Named, report: &mut Report) -> Result<(), StoreError> {
    let mut end: Option<(Seq, ChainHash)> = None;
    let mut after = Seq::ZERO;
    loop {
        let page = streams::envelopes(tx, named, after, PAGE)?;
        for arrived in &page {
            report.envelopes += 1;
            if let Some((last, head)) = end {
                let joined = joins(arrived, last, head) || streams::gap_stands(tx, named, last.next())?;
                if !joined && !streams::gap_stands(tx, named, arrived.first())? {
                    report.faults.push(format!(
                        "{}: record {} does not continue record {last}, and no gap says so",
                        name(named),
                        arrived.first()
                    ));
                }
            }
            end = Some((arrived.last(), arrived.head()));
        }
        match end {
            Some((last, _)) if !page.is_empty() => after = last,
            _ => break,
        }
    }
    let stored = (named.stream.up_to, named.stream.head);
    if end != Some(stored) {
        let found = end.map_or_else(|| "none".to_owned(), |(last, _)| last.to_string());
        report.faults.push(format!(
            "{}: is said to be stored up to record {}, but its newest envelope ends at {found}, or in another chain",
            name(named),
            stored.0
        ));
    }
    Ok(())
}

/// Whether the chain of an envelope agrees with the one that ends at `last`.
fn joins(arrived: &Arrived, last: Seq, head: ChainHash) -> bool {
    // A loss that begins in what is stored has no chain at `last` to compare.
    arrived.first() <= last.next() && arrived.chain_at(last).is_none_or(|chain| chain == head)
}

fn name(named: &Named) -> String {
    format!(
        "gateway {}, outbox {}, lane {}",
        named.gateway, named.epoch, named.lane
    )
}
