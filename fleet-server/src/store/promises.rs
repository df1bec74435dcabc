//! What the store promises, as tests that both engines pass.
//!
//! Each promise is a function over a [`Home`]: a fresh database that can be opened again and again. On the
//! embedded engine each is a test of its own; on `PostgreSQL` one test runs them all on one server, each in a
//! database of its own, because a server takes a second to make.
#![expect(clippy::disallowed_methods, reason = "test: damages a file, starts threads")]

mod advisories;
mod attest;
mod calendar;
mod campaigns;
mod copies;
mod deadlines;
mod dossiers;
mod drafts;
mod facts;
mod forces;
mod identity;
pub(crate) mod kept;
mod policies;
mod quiets;
mod server;
mod spare;
mod statements;
mod support;
mod suspicions;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use homeward_protocol::time::Timestamp;

use super::{Store, StoreConfig, StoreError, Tx, audit, migrate, open, signals};
use crate::audit::Action;

/// A database that can be opened again.
pub(crate) struct Home {
    config: StoreConfig,
    dir: Option<tempfile::TempDir>,
}

impl Home {
    pub(crate) fn embedded() -> Home {
        let dir = tempfile::tempdir().expect("a directory");
        let config = StoreConfig::Sqlite(dir.path().join("homeward.db"));
        Home {
            config,
            dir: Some(dir),
        }
    }

    /// Where the embedded one lies.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.dir.as_ref().expect("an embedded one").path()
    }

    pub(crate) fn open(&self) -> Store {
        open(&self.config).expect("opens")
    }
}

pub(crate) fn block<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $name() { super::promise::$name(&super::Home::embedded()); })*
        }
        const ALL: &[(&str, fn(&Home))] = &[$((stringify!($name), promise::$name)),*];
    };
}

promises![
    the_hours_of_a_home_come_from_its_own_readings_and_a_steady_device_costs_no_more,
    a_filled_database_of_an_older_release_keeps_its_rows,
    a_committed_write_is_seen_after_reopening,
    work_that_fails_leaves_nothing_and_takes_nobody_along,
    work_that_may_run_again_is_undone_alone_and_keeps_its_turn,
    work_that_panics_leaves_nothing_and_the_next_is_done,
    an_error_that_work_swallows_still_undoes_it,
    a_second_row_with_the_same_key_is_a_conflict,
    works_are_done_in_the_order_of_their_submission,
    many_writers_at_once_lose_no_count,
    a_reader_sees_one_moment_and_cannot_write,
    a_row_that_is_not_what_its_table_promises_is_corrupt,
    values_of_each_type_come_back_as_they_were,
    the_audit_trail_is_whole_and_a_changed_row_is_found,
    audit_rows_of_two_processes_share_one_trail,
    signals_are_read_once_each_and_in_order,
    a_spare_key_speaks_for_sensors_alone,
    a_clock_that_ran_ahead_once_freezes_nothing,
    a_gateway_that_came_with_its_spare_key_counts_as_away_for_its_policy,
    a_fact_may_be_longer_than_an_index_takes,
    a_list_of_software_that_a_gateway_does_not_name_is_not_kept,
    a_spell_that_was_only_left_out_goes_on_and_spells_have_a_bound,
    an_envelope_is_stored_once_and_its_reading_is_the_latest,
    what_is_known_of_a_reading_is_kept_and_it_stands_no_higher_than_its_reasons,
    a_reading_that_comes_again_after_a_fork_stands_in_the_new_epoch_only,
    a_spare_key_has_outboxes_of_its_own_and_lowers_nothing_that_the_other_said,
    what_cannot_be_read_is_kept_up_to_a_bound_and_counted,
    an_alarm_and_an_outage_that_come_again_after_a_fork_stand_once,
    a_write_attempt_that_comes_again_is_told_once,
    whatever_disks_come_again_each_record_stands_once,
    a_report_with_a_sensor_twice_is_stored_like_any_other,
    facts_are_folded_and_only_what_changed_is_history,
    a_list_of_software_is_asked_for_once_and_shared_and_goes_when_nobody_has_it,
    suspicions_stand_until_a_report_leaves_them_out,
    a_device_that_two_gateways_have_is_found_at_both,
    suspicions_that_are_over_grow_old_and_those_that_stand_do_not,
    a_connection_that_ends_late_leaves_the_newer_one_alone,
    comings_and_goings_stand_alike_one_by_one_and_together,
    connections_that_were_open_when_the_server_went_have_ended,
    a_dossier_opens_one_task_for_each_device_in_service_that_lacks_it,
    what_ended_with_its_instructions_is_asked_for_again_with_them,
    what_was_decided_for_one_home_is_asked_for_in_the_next,
    a_task_is_seen_by_its_own_team_and_moves_once_for_each_order,
    a_task_waits_for_a_person_to_look_again_when_its_box_stands_in_another_home,
    newer_instructions_take_the_place_of_older_ones_and_what_is_not_published_any_more_ends,
    a_device_that_no_box_reads_gets_the_newer_instructions_in_the_place_of_the_older,
    an_advisory_opens_a_task_for_each_device_that_it_is_about_whichever_came_first,
    what_is_weighed_is_seen_by_its_own_team_and_decided_by_a_clinician,
    a_later_revision_asks_again_only_where_it_says_something_else,
    what_a_device_shows_and_that_it_is_gone_is_followed,
    what_is_to_be_weighed_is_told_once_a_week_and_when_its_day_comes,
    instructions_of_a_maker_find_the_devices_of_the_register,
    an_advisory_that_should_not_have_come_in_is_taken_out_and_what_it_replaced_is_asked_again,
    what_was_decided_stays_on_record_whatever_becomes_of_the_task,
    every_table_has_said_how_long_it_keeps_its_rows,
    old_rows_go_in_bounded_steps_and_the_newest_envelopes_stay,
    a_check_finds_what_was_changed_behind_the_streams_back,
    a_claim_is_bound_once_approved_once_and_void_when_claimed_anew,
    a_revoked_gateway_takes_its_certificates_along_and_stays_so,
    an_incident_stands_once_until_a_person_closes_it,
    a_number_is_used_once_in_time_and_by_its_own_gateway,
    a_judgement_and_what_it_was_of_outlast_a_restart_and_end_by_themselves,
    each_kind_of_bad_evidence_has_its_judgement,
    a_reading_is_verified_only_by_our_own_record_and_a_failure_takes_it_back,
    only_a_person_opens_a_gateway_and_only_evidence_makes_it_good,
    firmware_is_learned_noted_and_accepted_side_by_side,
    a_release_whose_row_was_changed_is_not_believed,
    a_chain_of_postures_is_checked_and_what_is_missing_is_on_record_and_counts_once,
    old_evidence_goes_and_its_judgement_stays,
    a_draft_comes_to_its_signatures_over_another_person_and_outlasts_a_restart,
    what_was_signed_signs_the_draft_that_says_it_and_no_other,
    two_who_write_at_once_lose_nothing_and_a_changed_text_is_not_believed,
    drafts_that_wait_have_a_bound_and_those_that_were_given_up_leave_room,
    a_policy_is_kept_only_as_signed_and_its_number_stands_for_one_content,
    who_shall_have_what_follows_assignments_groups_and_withdrawals,
    what_boxes_say_stands_and_what_drifted_has_a_history,
    an_isolation_has_one_number_and_counts_as_held_only_when_the_box_says_so,
    a_return_is_dated_when_it_was_first_heard_and_stopped_flows_are_counted,
    a_support_session_is_asked_for_once_and_stands_as_its_box_says,
    sessions_that_only_a_box_knows_of_are_shown_and_bounded,
    a_campaign_goes_on_from_its_rows_and_each_word_is_said_once,
    a_newer_campaign_takes_the_homes_of_the_one_before,
    a_home_counts_as_well_only_when_its_rows_bear_that_out,
    records_that_are_missing_since_an_update_count_against_it,
    a_home_that_was_given_up_on_is_seen_to_be_back,
    a_box_says_nothing_of_who_asked,
    a_session_that_was_cancelled_before_the_box_answered_blocks_nobody_for_long,
    an_older_session_that_its_box_opened_late_is_the_one_under_way,
    whoever_was_there_when_the_server_was_killed_is_told_as_gone,
    a_token_that_was_taken_back_stands_no_more,
    a_deadline_asks_once_and_compensates_once_also_over_restarts,
    an_order_to_force_is_kept_as_signed_sent_to_who_waits_and_answered_once,
    a_compensation_that_cannot_be_is_said_and_one_that_is_outlasts_its_word,
    a_message_is_tried_until_it_is_out_or_given_up,
    quiet_is_said_until_its_box_names_it_and_ends_by_itself,
];

#[test]
fn the_postgres_engine_keeps_every_promise() {
    let Some(server) = server::Server::start() else {
        return;
    };
    let mut broken = Vec::new();
    for (name, promise) in ALL {
        let home = Home {
            config: StoreConfig::Postgres(server.database(name)),
            dir: None,
        };
        if std::panic::catch_unwind(|| promise(&home)).is_err() {
            broken.push(*name);
        }
    }
    assert!(broken.is_empty(), "not kept on PostgreSQL: {broken:?}");
}

#[test]
fn the_postgres_engine_comes_back_after_its_server_was_killed() {
    let Some(mut server) = server::Server::start() else {
        return;
    };
    let store = open(&StoreConfig::Postgres(server.database("comes_back"))).expect("opens");
    block(store.write(|tx| put(tx, "before", "1"))).expect("stored");
    server.kill();
    // The server's child that serves us goes when it notices, a moment later.
    let away =
        (0..10_000).find_map(|n| block(store.write(move |tx| put(tx, &format!("away{n}"), "1"))).err());
    assert!(matches!(away, Some(StoreError::Unavailable { .. })), "{away:?}");
    assert!(block(store.read(|tx| get(tx, "before"))).is_err());
    server.restart();
    block(store.write(|tx| put(tx, "after", "1"))).expect("connected again");
    let kept = block(store.read(|tx| Ok((get(tx, "before")?, get(tx, "after")?)))).expect("read");
    assert_eq!(kept, (Some("1".into()), Some("1".into())));
}

#[test]
fn two_processes_that_start_at_once_migrate_one_database() {
    let Some(server) = server::Server::start() else {
        return;
    };
    let url = server.database("two_starts");
    let both: Vec<_> = (0..2)
        .map(|_| {
            let config = StoreConfig::Postgres(url.clone());
            std::thread::spawn(move || open(&config).map(drop))
        })
        .collect();
    for opened in both {
        opened.join().expect("no panic").expect("opens");
    }
}

#[test]
fn a_full_disk_is_said_and_what_was_stored_stays() {
    let home = Home::embedded();
    let store = home.open();
    block(store.write(|tx| put(tx, "before", "1"))).expect("stored");
    block(store.write(|tx| tx.rows("PRAGMA max_page_count = 150", &[]))).expect("a limit");
    let mut refused = 0;
    for round in 0..40 {
        let key = format!("k{round}");
        let big = "x".repeat(40_000);
        refused += usize::from(block(store.write(move |tx| put(tx, &key, &big))).is_err());
    }
    assert!(refused > 0, "the limit was not felt");
    block(store.write(|tx| tx.rows("PRAGMA max_page_count = 100000", &[]))).expect("room again");
    block(store.write(|tx| put(tx, "after", "1"))).expect("goes on when there is room");
    drop(store);
    let kept = block(home.open().read(|tx| Ok((get(tx, "before")?, count(tx)?)))).expect("read");
    assert_eq!(
        kept,
        (Some("1".into()), 2 + 40 - i64::try_from(refused).expect("small"))
    );
}

#[test]
fn a_damaged_file_ends_the_store_and_the_process_is_told() {
    let home = Home::embedded();
    let store = home.open();
    let fill = |tx: &mut dyn Tx| (0..800).try_for_each(|n| put(tx, &format!("k{n}"), &"x".repeat(2000)));
    block(store.write(fill)).expect("filled");
    drop(store);
    let StoreConfig::Sqlite(path) = &home.config else {
        unreachable!("embedded")
    };
    checkpoint(path);
    let mut bytes = std::fs::read(path).expect("the file");
    let half = bytes.len() / 2; // the first half holds the schema
    bytes[half..].fill(0x5a);
    std::fs::write(path, bytes).expect("damaged");
    let store = home.open();
    let told = block(store.write(|tx| tx.execute("UPDATE meta SET value = 'y'", &[])));
    assert!(matches!(told, Err(StoreError::Unavailable { .. })), "{told:?}");
    assert!(block(store.ended()).contains("cannot be used any more"));
    assert!(block(store.write(|tx| get(tx, "k1"))).is_err());
}

fn checkpoint(path: &std::path::Path) {
    let db = rusqlite::Connection::open(path).expect("opens");
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .expect("checkpoint");
}

fn put(tx: &mut dyn Tx, key: &str, value: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta (key, value) VALUES ($1, $2)";
    tx.execute(sql, &[key.into(), value.into()]).map(drop)
}

fn get(tx: &mut dyn Tx, key: &str) -> Result<Option<String>, StoreError> {
    let row = tx.row("SELECT value FROM meta WHERE key = $1", &[key.into()])?;
    row.map(|row| row.text(0).map(str::to_owned)).transpose()
}

/// Rows of ours in `meta`, without those of the first migration.
fn count(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    let row = tx.row(
        "SELECT count(*) FROM meta WHERE key NOT IN ('audit', 'signals')",
        &[],
    )?;
    row.map_or(Ok(0), |row| row.int(0))
}

fn refuse(why: &str) -> StoreError {
    StoreError::Conflict(why.into())
}

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

mod promise {
    use super::*;

    pub(super) use super::advisories::*;
    pub(super) use super::attest::*;
    pub(super) use super::calendar::*;
    pub(super) use super::campaigns::*;
    pub(super) use super::deadlines::*;
    pub(super) use super::dossiers::*;
    pub(super) use super::drafts::*;
    pub(super) use super::facts::*;
    pub(super) use super::forces::*;
    pub(super) use super::identity::*;
    pub(super) use super::kept::*;
    pub(super) use super::policies::*;
    pub(super) use super::quiets::*;
    pub(super) use super::spare::*;
    pub(super) use super::support::*;
    pub(super) use super::suspicions::*;

    pub(super) fn a_filled_database_of_an_older_release_keeps_its_rows(home: &Home) {
        migrate::as_of_version(&home.config, 8).expect("as it was");
        let store = home.open();
        let row = store.read(|tx| {
            let row = tx.row(
                "SELECT g.by_spare, c.spare, s.spare, s.up_to FROM gateways g
                 JOIN certificates c ON c.gateway = g.id JOIN streams s ON s.gateway = g.id",
                &[],
            )?;
            let row = row.expect("one of each");
            Ok([row.int(0)?, row.int(1)?, row.int(2)?, row.int(3)?])
        });
        assert_eq!(block(row).expect("reads"), [0, 0, 0, 7]);
        block(home.open().write(|tx| put(tx, "a", "1"))).expect("it can be written, opened again");
    }

    pub(super) fn a_committed_write_is_seen_after_reopening(home: &Home) {
        block(home.open().write(|tx| put(tx, "a", "1"))).expect("stored");
        assert_eq!(
            block(home.open().read(|tx| get(tx, "a"))).expect("read"),
            Some("1".into())
        );
    }

    pub(super) fn work_that_fails_leaves_nothing_and_takes_nobody_along(home: &Home) {
        let store = home.open();
        let outcomes = block(async {
            let works = (0..50).map(|n| {
                store.write(move |tx| {
                    put(tx, &format!("k{n}"), "1")?;
                    if n % 5 == 0 {
                        Err(refuse("as asked"))
                    } else {
                        Ok(())
                    }
                })
            });
            futures_util::future::join_all(works).await
        });
        assert_eq!(outcomes.iter().filter(|o| o.is_err()).count(), 10);
        let kept = block(store.read(|tx| Ok((count(tx)?, get(tx, "k5")?, get(tx, "k6")?)))).expect("read");
        assert_eq!(kept, (40, None, Some("1".into())));
    }

    pub(super) fn work_that_may_run_again_is_undone_alone_and_keeps_its_turn(home: &Home) {
        let store = home.open();
        let seen = block(async {
            let mut pending = Vec::new();
            for n in 0..120 {
                let work = move |tx: &mut dyn Tx| {
                    put(tx, &format!("k{n}"), "1")?;
                    match n % 20 {
                        7 => Err(refuse("as asked")),
                        11 => put(tx, "k0", "a second time").map(|()| 0),
                        13 => panic!("as the test asks"),
                        _ => count(tx),
                    }
                };
                // The last third has others in between.
                let submitted = if n > 80 && n % 3 == 0 {
                    store.submit(work).await
                } else {
                    store.submit_repeatable(work).await
                };
                pending.push(submitted.expect("submitted"));
            }
            let mut seen = Vec::new();
            for work in pending {
                seen.push(work.committed().await.ok());
            }
            seen
        });
        let failed = |n: &i64| [7, 11, 13].contains(&(n % 20));
        let kept = |n: i64| (0..=n).filter(|n| !failed(n)).count();
        for (n, seen) in (0_i64..).zip(seen) {
            let due = (!failed(&n)).then(|| i64::try_from(kept(n)).expect("small"));
            assert_eq!(seen, due, "work {n}");
        }
        let stored = block(store.read(|tx| Ok((count(tx)?, get(tx, "k7")?, get(tx, "k13")?))));
        assert_eq!(stored.expect("read"), (102, None, None));
    }

    pub(super) fn work_that_panics_leaves_nothing_and_the_next_is_done(home: &Home) {
        let store = home.open();
        let panicked = block(store.write(|tx| {
            put(tx, "lost", "1")?;
            assert!(count(tx)? != 1, "as the test asks");
            Ok(())
        }));
        assert!(matches!(panicked, Err(StoreError::Unavailable { .. })));
        block(store.write(|tx| put(tx, "kept", "1"))).expect("stored");
        let kept = block(store.read(|tx| Ok((get(tx, "lost")?, get(tx, "kept")?)))).expect("read");
        assert_eq!(kept, (None, Some("1".into())));
    }

    pub(super) fn an_error_that_work_swallows_still_undoes_it(home: &Home) {
        let store = home.open();
        block(store.write(|tx| put(tx, "a", "1"))).expect("stored");
        let swallowed = block(store.write(|tx| {
            put(tx, "b", "1")?;
            let _ = put(tx, "a", "2");
            Ok(())
        }));
        assert!(matches!(swallowed, Err(StoreError::Conflict(_))), "{swallowed:?}");
        assert_eq!(block(store.read(|tx| get(tx, "b"))).expect("read"), None);
    }

    pub(super) fn a_second_row_with_the_same_key_is_a_conflict(home: &Home) {
        let store = home.open();
        block(store.write(|tx| put(tx, "a", "1"))).expect("stored");
        let second = block(store.write(|tx| put(tx, "a", "2")));
        assert!(matches!(second, Err(StoreError::Conflict(_))), "{second:?}");
        let orphan = block(store.write(|tx| {
            let sql =
                "INSERT INTO placements (id, team, dependency, created_at) VALUES ('p-1', 'none', 'low', 1)";
            tx.execute(sql, &[])
        }));
        assert!(matches!(orphan, Err(StoreError::Conflict(_))), "{orphan:?}");
    }

    pub(super) fn works_are_done_in_the_order_of_their_submission(home: &Home) {
        let store = home.open();
        let seen = block(async {
            let mut pending = Vec::new();
            for n in 0..200 {
                let work = move |tx: &mut dyn Tx| {
                    put(tx, &format!("k{n}"), "1")?;
                    count(tx)
                };
                pending.push(store.submit(work).await.expect("submitted"));
            }
            let mut seen = Vec::new();
            for work in pending {
                seen.push(work.committed().await.expect("stored"));
            }
            seen
        });
        assert_eq!(seen, (1..=200).collect::<Vec<i64>>());
    }

    pub(super) fn many_writers_at_once_lose_no_count(home: &Home) {
        let stores = [home.open(), home.open()]; // two processes
        block(stores[0].write(|tx| put(tx, "n", "0"))).expect("stored");
        let add = |tx: &mut dyn Tx| {
            tx.execute("UPDATE meta SET value = value WHERE key = 'n'", &[])?;
            let n: i64 = get(tx, "n")?.unwrap_or_default().parse().unwrap_or(-1000);
            let next = (n + 1).to_string();
            tx.execute("UPDATE meta SET value = $1 WHERE key = 'n'", &[(&next).into()])
        };
        let outcomes = block(async {
            let works = (0..200).map(|n| stores[n % 2].write(add));
            futures_util::future::join_all(works).await
        });
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(
            block(stores[1].read(|tx| get(tx, "n"))).expect("read"),
            Some("200".into())
        );
    }

    pub(super) fn a_reader_sees_one_moment_and_cannot_write(home: &Home) {
        let store = home.open();
        let writer = store.clone();
        let (before, after) = block(store.read(move |tx| {
            let before = count(tx)?;
            let other = std::thread::spawn(move || block(writer.write(|tx| put(tx, "late", "1"))));
            other.join().expect("no panic")?;
            Ok((before, count(tx)?))
        }))
        .expect("read");
        assert_eq!((before, after), (0, 0));
        assert!(block(store.read(|tx| put(tx, "x", "1"))).is_err());
        assert_eq!(block(store.read(count)).expect("read"), 1);
    }

    pub(super) fn a_row_that_is_not_what_its_table_promises_is_corrupt(home: &Home) {
        let store = home.open();
        block(store.write(|tx| put(tx, "gateway", "NOT AN ID"))).expect("stored");
        let read = block(store.read(|tx| {
            let row = tx.row("SELECT value FROM meta WHERE key = 'gateway'", &[])?;
            row.map(|row| row.parse::<homeward_protocol::id::GatewayId>(0))
                .transpose()
        }));
        assert!(
            matches!(read, Err(StoreError::Corrupt { column: 0, .. })),
            "{read:?}"
        );
        let wrong_type = block(store.read(|tx| {
            let row = tx.row("SELECT value FROM meta WHERE key = 'gateway'", &[])?;
            row.map(|row| row.int(0)).transpose()
        }));
        assert!(matches!(wrong_type, Err(StoreError::Corrupt { .. })));
    }

    pub(super) fn values_of_each_type_come_back_as_they_were(home: &Home) {
        let store = home.open();
        for (int, bytes) in [(i64::MIN, vec![]), (0, vec![0, 255]), (i64::MAX, vec![7; 70_000])] {
            let kept = bytes.clone();
            let row = block(store.write(move |tx| {
                tx.execute("DELETE FROM audit", &[])?;
                let sql = "INSERT INTO audit (id, at, actor, action, subject, detail, hash)
                           VALUES (1, $1, $2, '', '', '', $3)";
                tx.execute(sql, &[int.into(), "żółw 🐢".into(), kept.as_slice().into()])?;
                tx.row("SELECT at, actor, hash, NULL, at = at FROM audit", &[])
            }))
            .expect("stored")
            .expect("a row");
            assert_eq!(
                (row.int(0).expect("int"), row.text(1).expect("text")),
                (int, "żółw 🐢")
            );
            assert_eq!(row.blob(2).expect("bytes"), bytes);
            assert_eq!(
                (row.opt_text(3).expect("null"), row.int(4).expect("truth")),
                (None, 1)
            );
        }
    }

    pub(super) fn the_audit_trail_is_whole_and_a_changed_row_is_found(home: &Home) {
        let store = home.open();
        for n in 0..5 {
            let subject = format!("gw-{n}");
            let add =
                move |tx: &mut dyn Tx| audit::record(tx, NOW, "anna", Action::GatewayApproved, &subject, "");
            block(store.write(add)).expect("recorded");
        }
        let whole = block(store.read(audit::check)).expect("read").expect("whole");
        assert_eq!(whole.last(), 5);
        assert_eq!(
            block(store.read(|tx| audit::list(tx, 4, 2))).expect("read")[0].subject,
            "gw-2"
        );
        block(store.write(|tx| tx.execute("UPDATE audit SET actor = 'eve' WHERE id = 3", &[])))
            .expect("tampered");
        let broken = block(store.read(audit::check)).expect("read");
        assert_eq!(broken, Err(crate::audit::Broken::Hash { id: 3 }));
    }

    pub(super) fn audit_rows_of_two_processes_share_one_trail(home: &Home) {
        let stores = [home.open(), home.open()];
        let outcomes = block(async {
            let add = |tx: &mut dyn Tx| audit::record(tx, NOW, "cli", Action::TokenMade, "t", "");
            futures_util::future::join_all((0..60).map(|n| stores[n % 2].write(add))).await
        });
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        let whole = block(stores[0].read(audit::check)).expect("read").expect("whole");
        assert_eq!(whole.last(), 60);
    }

    pub(super) fn signals_are_read_once_each_and_in_order(home: &Home) {
        let stores = Arc::new([home.open(), home.open()]);
        assert_eq!(block(stores[0].read(signals::newest)).expect("read"), 0);
        let done = Arc::new(AtomicUsize::new(0));
        let reading = {
            let (stores, done) = (Arc::clone(&stores), Arc::clone(&done));
            std::thread::spawn(move || {
                let (mut at, mut seen) = (0, Vec::new());
                loop {
                    let last_look = done.load(Ordering::SeqCst) == 2;
                    let new = block(stores[1].read(move |tx| signals::since(tx, at, 7))).expect("read");
                    at = new.last().map_or(at, |signal| signal.id);
                    let nothing = new.is_empty();
                    seen.extend(new.into_iter().map(|signal| signal.subject));
                    if nothing && last_look {
                        return seen;
                    }
                }
            })
        };
        let raising: Vec<_> = (0..2)
            .map(|process| {
                let (stores, done) = (Arc::clone(&stores), Arc::clone(&done));
                std::thread::spawn(move || {
                    for n in 0..40 {
                        let subject = format!("{process}-{n}");
                        let raise =
                            move |tx: &mut dyn Tx| signals::raise(tx, signals::Kind::Gateway, &subject, NOW);
                        block(stores[process].write(raise)).expect("raised");
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        for thread in raising {
            thread.join().expect("no panic");
        }
        let seen = reading.join().expect("no panic");
        let distinct: std::collections::HashSet<&String> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len()), (80, 80));
    }
}
