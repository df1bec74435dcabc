//! Shell: when work on a box suits its home: the next seven days, for whoever plans a visit or an update.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, page};
use super::guard::Visitor;
use super::rules::Mark;
use crate::calendar::{self, Span, Suits};
use crate::care::State as Care;
use crate::store::calendar::{Calendar, of};

/// One day.
struct Day {
    name: String,
    rows: Vec<Row>,
}

/// One stretch of it.
struct Row {
    from: String,
    until: String,
    mark: Mark,
    why: String,
}

#[derive(Template)]
#[template(path = "calendar.html")]
struct Page {
    frame: Frame,
    gateway: GatewayId,
    whole: Calendar,
    days: Vec<Day>,
}

impl Page {
    fn home(&self) -> &str {
        self.whole.placement.as_deref().unwrap_or("no home yet")
    }

    fn policy_says(&self) -> String {
        calendar::now_words(self.whole.rule(), self.frame.now)
    }

    /// Devices that tell when they are used, and those that do not.
    fn devices(&self) -> String {
        let names = |all: &[homeward_protocol::id::SensorId]| {
            let all: Vec<&str> = all.iter().map(homeward_protocol::id::SensorId::as_str).collect();
            all.join(", ")
        };
        let record = &self.whole.record;
        match (record.telling.as_slice(), record.steady.as_slice()) {
            ([], []) => "No device gave a reading in this time.".to_owned(),
            (telling, []) => format!("Told by the readings of {}.", names(telling)),
            ([], steady) => format!("{} tell nothing of it: they are read all day.", names(steady)),
            (telling, steady) => format!(
                "Told by the readings of {}; {} tell nothing of it, as they are read all day.",
                names(telling),
                names(steady)
            ),
        }
    }
}

const fn care(suits: Suits) -> Care {
    match suits {
        Suits::Well => Care::AllWorking,
        Suits::Perhaps => Care::CheckToday,
        Suits::Badly => Care::NeedsAction,
        Suits::Unknown | Suits::Closed => Care::NotHeard,
    }
}

/// `Friday 27 November`.
fn day_name(at: Timestamp) -> String {
    const DAYS: [&str; 7] = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (_, month, day, ..) = at.civil();
    let of_week = usize::try_from(at.secs().div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
    let month = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    format!("{} {day} {month}", DAYS.get(of_week).copied().unwrap_or_default())
}

/// `07:00`; the end of a day is `24:00`.
fn clock(at: Timestamp, is_end: bool) -> String {
    let (_, _, _, hour, minute, _) = at.civil();
    if is_end && (hour, minute) == (0, 0) {
        "24:00".to_owned()
    } else {
        format!("{hour:02}:{minute:02}")
    }
}

fn days(whole: &Calendar) -> Vec<Day> {
    let mut days: Vec<Day> = Vec::new();
    for span in &whole.spans {
        let name = day_name(span.from);
        let row = row(span, whole);
        match days.last_mut() {
            Some(day) if day.name == name => day.rows.push(row),
            _ => days.push(Day {
                name,
                rows: vec![row],
            }),
        }
    }
    days
}

fn row(span: &Span, whole: &Calendar) -> Row {
    Row {
        from: clock(span.from, false),
        until: clock(span.until, true),
        mark: Mark::new(care(span.suits), span.suits.name().1),
        why: span.why(&whole.record),
    }
}

/// The page.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(gateway): Path<String>,
) -> Result<Response, Failure> {
    let gateway: GatewayId = gateway.parse().map_err(|_| Failure::NothingHere)?;
    let (now, id) = (desk.clock.now(), gateway.clone());
    let whole = desk.store.read(move |tx| of(tx, &id, now)).await?;
    let whole = whole.ok_or(Failure::NothingHere)?;
    Ok(page(&Page {
        frame: Frame::new("Times for work", "/fleet", &visitor, now),
        gateway,
        days: days(&whole),
        whole,
    }))
}
