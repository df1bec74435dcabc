//! Shell: the few files that pages refer to, built in.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::error::Failure;
use crate::access::token;

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const ASSETS: [Asset; 6] = [
    Asset {
        name: "file.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../assets/file.js"),
    },
    Asset {
        name: "left.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../assets/left.js"),
    },
    Asset {
        name: "console.css",
        kind: "text/css; charset=utf-8",
        bytes: include_bytes!("../../assets/console.css"),
    },
    Asset {
        name: "live.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../assets/live.js"),
    },
    Asset {
        name: "htmx.min.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../assets/htmx.min.js"),
    },
    Asset {
        name: "icon.svg",
        kind: "image/svg+xml",
        bytes: include_bytes!("../../assets/icon.svg"),
    },
];

/// One file. A browser keeps it and asks whether it has changed.
pub async fn get(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    let asset = ASSETS
        .iter()
        .find(|a| a.name == file)
        .ok_or(Failure::NothingHere)?;
    let tag = format!(
        "\"{}\"",
        token::public_id(ring::digest::digest(&ring::digest::SHA256, asset.bytes).as_ref())
    );
    let kept = [
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, tag.clone()),
    ];
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|t| t.as_bytes() == tag.as_bytes());
    if known {
        return Ok((StatusCode::NOT_MODIFIED, kept).into_response());
    }
    Ok((kept, [(header::CONTENT_TYPE, asset.kind)], asset.bytes).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// htmx 4.0.1 as published (`dist/htmx.min.js` of the package `htmx.org`), 0BSD; see `assets/htmx.LICENSE`.
    const HTMX: &str = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130";

    #[test]
    fn the_library_in_pages_is_the_one_that_was_published() {
        let htmx = ASSETS
            .iter()
            .find(|asset| asset.name == "htmx.min.js")
            .expect("htmx is built in");
        let digest = ring::digest::digest(&ring::digest::SHA256, htmx.bytes);
        assert_eq!(crate::store::hex(digest.as_ref()), HTMX);
    }
}
