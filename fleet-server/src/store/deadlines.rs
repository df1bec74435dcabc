//! Deadlines of updates: what goes with a word, and what was done about it.

use homeward_protocol::id::GatewayId;
use homeward_protocol::release::Version;
use homeward_protocol::time::Timestamp;

use super::policies::unsigned;
use super::updates::Assigned;
use super::{Row, StoreError, Tx, audit};
use crate::audit::Action;
use crate::direct::deadline::{Case, Done, Rule, Stands, Terms};

/// Notes what goes with a word that was assigned.
pub fn put(tx: &mut dyn Tx, one: &Assigned, terms: &Terms) -> Result<(), StoreError> {
    let number = |of: fn(Rule) -> u64| number(Some(terms), of);
    tx.execute(
        "INSERT INTO deadlines (gateway, counter, version, at, not_before, deadline, reason, person, compensate, afterwards)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            one.gateway.as_str().into(),
            signed(one.counter).into(),
            one.version.to_string().as_str().into(),
            one.at.ms.into(),
            one.not_before.ms.into(),
            one.deadline.ms.into(),
            terms.reason().into(),
            terms.person().into(),
            number(|rule| rule.compensate).into(),
            number(|rule| rule.afterwards).into(),
        ],
    )?;
    let rule = terms.rule.map_or_else(
        || "no policy makes up for it".to_owned(),
        |rule| {
            format!(
                "policy {} makes up for it, {} afterwards",
                rule.compensate, rule.afterwards
            )
        },
    );
    let detail = format!(
        "word {}, by {}: {}; {} is asked; {rule}",
        one.counter,
        one.deadline,
        terms.reason(),
        terms.person()
    );
    audit::record(
        tx,
        one.at,
        &one.by,
        Action::DeadlineSet,
        one.gateway.as_str(),
        &detail,
    )
}

/// Those that are not over, behind this gateway and word, in their order; at most `limit`.
pub fn open_after(
    tx: &mut dyn Tx,
    (gateway, counter): (&str, u64),
    limit: i64,
) -> Result<Vec<Case>, StoreError> {
    let rows = tx.rows(
        "SELECT d.gateway, d.counter, d.version, d.at, d.not_before, d.deadline, d.reason, d.person, d.compensate,
           d.afterwards, d.asked_at, d.passed_at, d.compensates, d.ended_at, a.counter, g.state,
           a.version
         FROM deadlines d JOIN gateways g ON g.id = d.gateway LEFT JOIN assignments a ON a.gateway = d.gateway
         WHERE d.ended_at IS NULL AND (d.gateway > $1 OR (d.gateway = $1 AND d.counter > $2))
         ORDER BY d.gateway, d.counter LIMIT $3",
        &[gateway.into(), signed(counter).into(), limit.into()],
    )?;
    rows.iter().map(case).collect()
}

/// The one of this word.
pub fn get(tx: &mut dyn Tx, gateway: &GatewayId, counter: u64) -> Result<Option<Case>, StoreError> {
    let row = tx.row(
        "SELECT d.gateway, d.counter, d.version, d.at, d.not_before, d.deadline, d.reason, d.person, d.compensate,
           d.afterwards, d.asked_at, d.passed_at, d.compensates, d.ended_at, a.counter, g.state,
           a.version
         FROM deadlines d JOIN gateways g ON g.id = d.gateway LEFT JOIN assignments a ON a.gateway = d.gateway
         WHERE d.gateway = $1 AND d.counter = $2",
        &[gateway.as_str().into(), signed(counter).into()],
    )?;
    row.as_ref().map(case).transpose()
}

/// Notes that its person is asked; false when that was done before, or it is over.
pub fn ask(tx: &mut dyn Tx, case: &Case, now: Timestamp) -> Result<bool, StoreError> {
    let touched = tx.execute(
        "UPDATE deadlines SET asked_at = $1
         WHERE gateway = $2 AND counter = $3 AND asked_at IS NULL AND ended_at IS NULL",
        &[
            now.ms.into(),
            case.gateway.as_str().into(),
            signed(case.counter).into(),
        ],
    )?;
    Ok(touched == 1)
}

/// Notes that its time is over, and whether a policy makes up for it; false when that was done before, or it is over.
pub fn pass(tx: &mut dyn Tx, case: &Case, compensates: bool, now: Timestamp) -> Result<bool, StoreError> {
    let touched = tx.execute(
        "UPDATE deadlines SET passed_at = $1, compensates = $2
         WHERE gateway = $3 AND counter = $4 AND passed_at IS NULL AND ended_at IS NULL",
        &[
            now.ms.into(),
            i64::from(compensates).into(),
            case.gateway.as_str().into(),
            signed(case.counter).into(),
        ],
    )?;
    Ok(touched == 1)
}

/// Notes that there is nothing more to do; false when that was so before.
pub fn end(tx: &mut dyn Tx, case: &Case, now: Timestamp) -> Result<bool, StoreError> {
    let touched = tx.execute(
        "UPDATE deadlines SET ended_at = $1, compensates = 0 WHERE gateway = $2 AND counter = $3 AND ended_at IS NULL",
        &[
            now.ms.into(),
            case.gateway.as_str().into(),
            signed(case.counter).into(),
        ],
    )?;
    Ok(touched == 1)
}

/// Whether anything about this gateway is not over.
pub fn has_open(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<bool, StoreError> {
    let row = tx.row(
        "SELECT counter FROM deadlines WHERE gateway = $1 AND ended_at IS NULL LIMIT 1",
        &[gateway.as_str().into()],
    )?;
    Ok(row.is_some())
}

/// What goes with a word, of four columns from this one on: the reason, the person, and the numbers of both policies.
pub fn terms(row: &Row, first: usize) -> Result<Option<Terms>, StoreError> {
    let (Some(reason), Some(person)) = (row.opt_text(first)?, row.opt_text(first + 1)?) else {
        return Ok(None);
    };
    let rule = match row.opt_int(first + 2)? {
        None => None,
        Some(_) => Some(Rule {
            compensate: unsigned(row, first + 2)?,
            afterwards: unsigned(row, first + 3)?,
        }),
    };
    let terms = Terms::new(reason, person, rule);
    Ok(Some(terms.map_err(|e| row.corrupt(first, e))?))
}

/// The number of one of the policies that make up for an update, where there is one, as it is kept.
pub fn number(terms: Option<&Terms>, of: fn(Rule) -> u64) -> Option<i64> {
    terms?.rule.map(|rule| signed(of(rule)))
}

fn case(row: &Row) -> Result<Case, StoreError> {
    let moment = |column| Ok::<_, StoreError>(row.opt_int(column)?.map(Timestamp::synced));
    let counter = unsigned(row, 1)?;
    let newest = row.opt_int(14)?.map(|_| unsigned(row, 14)).transpose()?;
    let state: crate::device::State = row.parse(15)?;
    let stands = match newest {
        _ if state == crate::device::State::Revoked => Stands::Gone,
        Some(newest) if newest > counter => Stands::Superseded,
        _ => Stands::Newest,
    };
    let version: Version = row.parse(2)?;
    let newest: Option<Version> = row.opt_text(16)?.map(|_| row.parse(16)).transpose()?;
    Ok(Case {
        gateway: row.parse(0)?,
        counter,
        version,
        newest_brings: newest.is_some_and(|newest| newest >= version),
        at: Timestamp::synced(row.int(3)?),
        not_before: Timestamp::synced(row.int(4)?),
        deadline: Timestamp::synced(row.int(5)?),
        terms: terms(row, 6)?.ok_or_else(|| row.corrupt(6, "no reason"))?,
        stands,
        done: Done {
            asked: moment(10)?,
            passed: moment(11)?,
            compensates: row.int(12)? == 1,
            ended: moment(13)?,
        },
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
