//! Support sessions in plain English.

use super::{Kept, Stands};

/// How one stands.
pub fn stands(stands: Stands) -> String {
    match stands {
        Stands::Asked => "asked for; the box has not answered".to_owned(),
        Stands::Lapsed => "lapsed: the box did not answer in time".to_owned(),
        Stands::Refused(why) => format!("refused by the box: {why}"),
        Stands::Open(_) => "open".to_owned(),
        Stands::Ending => "its end is ordered; the box has not said so yet".to_owned(),
        Stands::Over => "over by the box's own clock; its word of it has not come".to_owned(),
        Stands::Ended(cause) => format!("ended: {cause}"),
    }
}

/// Who asked for it.
pub fn by(kept: &Kept) -> String {
    let by = kept.session.by.as_str();
    if kept.foreign {
        format!("only the box told of it, and says that it was {by}")
    } else {
        by.to_owned()
    }
}

/// What went through it: what the box counted, else what this server did.
pub fn moved(kept: &Kept) -> String {
    let counted = kept.ended.as_ref().and_then(|(ended, _)| ended.moved);
    if let Some(moved) = counted {
        return format!(
            "{} connections, {} bytes in, {} bytes out",
            moved.links, moved.in_bytes, moved.out_bytes
        );
    }
    let (links, in_bytes, out_bytes) = kept.through;
    format!("{links} connections through this server, {in_bytes} bytes in, {out_bytes} bytes out")
}
