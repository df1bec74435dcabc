//! Support sessions for people at the box.

use homeward_protocol::support::{Became, Session, SupportRecord};

use super::Saved;

/// Who is on the box now, until when at the latest, and who was.
pub fn show(saved: &Saved) -> String {
    let mut text = match &saved.open {
        None => "No support session is open on this box.\n".to_owned(),
        Some((session, since)) => format!(
            "A SUPPORT SESSION IS OPEN: {}\n  since {since}, until {} at the latest\n  end it: homeward-agent support end\n",
            who(session),
            since.plus_ms(i64::from(session.lasts_s) * 1000),
        ),
    };
    if !saved.past.is_empty() {
        text.push_str("What was asked for, the newest first:\n");
    }
    for record in saved.past.iter().rev() {
        text.push_str(&format!("  {}\n", line(record)));
    }
    text
}

fn who(session: &Session) -> String {
    format!(
        "{} for ticket {} ({}), to port {}",
        session.by.as_str(),
        session.ticket.as_str(),
        session.reason.as_str(),
        session.port
    )
}

fn line(record: &SupportRecord) -> String {
    let what = match record.became {
        Became::Opened => "opened".to_owned(),
        Became::Refused(why) => format!("refused, because {why}"),
        Became::Ended(ended) => {
            let after = ended.lasted_s.map_or(String::new(), |s| format!(" after {s} s"));
            let moved = ended.moved.map_or(", amount unknown".to_owned(), |moved| {
                format!(
                    ", {} connections, {} bytes in, {} bytes out",
                    moved.links, moved.in_bytes, moved.out_bytes
                )
            });
            format!("ended{after}, because {}{moved}", ended.cause)
        }
    };
    format!("{}: {what}: {}", record.at, who(&record.of))
}
