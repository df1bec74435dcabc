//! Which languages a reader wants, by what the browser says.

use axum::http::{HeaderMap, header};
use homeward_protocol::release::notes::Language;

/// Most wishes that are looked at.
const MOST: usize = 16;

/// The languages of a reader, the dearest first: `asked` before what the browser's `Accept-Language` says. What is no
/// language is passed over. Source: RFC 9110, section 12.5.4.
pub fn wanted(headers: &HeaderMap, asked: Option<&str>) -> Vec<Language> {
    let header = headers.get(header::ACCEPT_LANGUAGE);
    let header = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut wishes: Vec<(u16, Language)> = header.split(',').take(MOST).filter_map(wish).collect();
    wishes.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let asked = asked.and_then(|tag| tag.parse().ok());
    let wishes = wishes.into_iter().map(|(_, language)| language);
    asked.into_iter().chain(wishes).collect()
}

/// `de-AT;q=0.8`: its weight in thousandths, and the language. Nothing for one that is refused.
fn wish(text: &str) -> Option<(u16, Language)> {
    let (tag, rest) = text.split_once(';').unwrap_or((text, ""));
    let tag = tag.trim();
    // Browsers write what narrows a language in upper case, and some the language itself.
    let (language, narrows) = tag.split_once('-').unwrap_or((tag, ""));
    let tag = [language.to_ascii_lowercase(), narrows.to_owned()];
    let tag = if narrows.is_empty() {
        tag[0].clone()
    } else {
        tag.join("-")
    };
    let weight = match rest.trim().strip_prefix("q=") {
        None => 1_000,
        Some(weight) => thousandths(weight.trim())?,
    };
    Some((weight, tag.parse().ok()?)).filter(|_| weight > 0)
}

fn thousandths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    let part: u16 = format!("{part:0<3}").parse().ok().filter(|_| digits)?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(header: &str, asked: Option<&str>) -> Vec<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, header.parse().expect("a header"));
        wanted(&headers, asked).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_dearest_language_comes_first_and_what_is_none_is_passed_over() {
        assert_eq!(said("fr;q=0.5, de-AT, en;q=0.75", None), ["de-AT", "en", "fr"]);
        assert_eq!(said("DE, *;q=0.1, it;q=0", None), ["de"]);
        assert_eq!(said("de;q=2, fr;q=0.9999, nl;q=x, es", None), ["es"]);
        assert_eq!(said("en", Some("nl")), ["nl", "en"]);
        assert_eq!(said("<script>, en", Some("\"><script>")), ["en"]);
        assert!(said("", None).is_empty());
        assert!(wanted(&HeaderMap::new(), None).is_empty());
        let many = vec!["de"; 10_000].join(",");
        assert_eq!(said(&many, None).len(), MOST);
    }
}
