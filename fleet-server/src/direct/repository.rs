//! Shell: lets gateways fetch releases at the door where they show their certificate: the published repository, read and
//! nothing else. Any mirror will do as well; nobody believes who carries it.
//!
//! # Design
//! So many boxes fetch software at the same time, and no more: after an outage all come at once, and readings come over the
//! same line. Who finds no place is told when to come again, and goes on where it stopped. Metadata is small, and always given.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as Asked, State};
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::try_unfold;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;
/// Longest path that is asked for.
const MAX_PATH: usize = 1024;

/// Most answers with software that are under way at once.
pub const AT_ONCE: usize = 128;
/// When who found no place may come again, seconds; boxes add a part of their own to it.
const AGAIN_S: u64 = 120;

#[derive(Clone)]
struct Shelf {
    repository: PathBuf,
    places: Arc<Semaphore>,
}

/// `GET /release/{metadata|targets}/…` below the folder `repository`; at most `at_once` targets at the same time.
pub fn router(repository: PathBuf, at_once: usize) -> Router {
    let shelf = Shelf {
        repository,
        places: Arc::new(Semaphore::new(at_once)),
    };
    Router::new()
        .route("/release/{*file}", get(file))
        .with_state(shelf)
}

async fn file(State(shelf): State<Shelf>, Asked(asked): Asked<String>, headers: HeaderMap) -> Response {
    let Some(path) = place(&shelf.repository, &asked) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let permit = match shelf.places.try_acquire_owned() {
        _ if asked.starts_with("metadata/") => None,
        Ok(permit) => Some(permit),
        // RFC 9110, section 10.2.3.
        Err(_) => return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, AGAIN_S)]).into_response(),
    };
    let from = headers
        .get(RANGE)
        .and_then(|range| range.to_str().ok())
        .map(beginning);
    match open(&path, from.flatten().unwrap_or(0)).await {
        Ok(Some((file, from, length))) => sent(file, from, length, permit),
        Ok(None) => StatusCode::RANGE_NOT_SATISFIABLE.into_response(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::warn!(error = %error, "a file of the release repository could not be read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Where a file lies; nothing for what is no file of a repository. No step up, no hidden name.
fn place(repository: &Path, asked: &str) -> Option<PathBuf> {
    let known = asked.starts_with("metadata/") || asked.starts_with("targets/");
    let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['\\', '\0']);
    let good = known && asked.len() <= MAX_PATH && asked.split('/').all(plain);
    good.then(|| repository.join(asked))
}

/// Of `bytes=N-`, N: all that a box asks for. Source: RFC 9110, section 14.1.2.
fn beginning(range: &str) -> Option<u64> {
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// The file, from where, and its length; nothing when it is shorter.
async fn open(path: &Path, from: u64) -> io::Result<Option<(File, u64, u64)>> {
    let mut file = File::open(path).await?;
    let meta = file.metadata().await?;
    if !meta.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if from > 0 && from >= meta.len() {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(from)).await?;
    Ok(Some((file, from, meta.len())))
}

/// The place is free again when the last piece was taken, or nobody waits for it any more.
fn sent(file: File, from: u64, length: u64, permit: Option<OwnedSemaphorePermit>) -> Response {
    let rest = length - from;
    let pieces = try_unfold((file, rest, permit), |(mut file, rest, permit)| async move {
        if rest == 0 {
            return Ok::<_, io::Error>(None);
        }
        let most = usize::try_from(rest).map_or(CHUNK, |rest| rest.min(CHUNK));
        let mut piece = vec![0; most];
        file.read_exact(&mut piece).await?;
        let rest = rest - most as u64;
        Ok(Some((Bytes::from(piece), (file, rest, permit))))
    });
    let mut answer = Response::new(Body::from_stream(pieces));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_LENGTH, rest.into());
    headers.insert(
        CONTENT_TYPE,
        axum::http::HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(ACCEPT_RANGES, axum::http::HeaderValue::from_static("bytes"));
    if from > 0 {
        let range = format!("bytes {from}-{}/{length}", length - 1);
        if let Ok(range) = range.parse() {
            headers.insert(CONTENT_RANGE, range);
        }
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    answer
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(router: &Router, path: &str, range: Option<&str>) -> (StatusCode, Vec<u8>) {
        let mut request = Request::get(path);
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let request = request.body(Body::empty()).expect("a request");
        let answer = router.clone().oneshot(request).await.expect("answers");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, body.to_vec())
    }

    #[tokio::test]
    async fn files_of_the_repository_are_served_from_any_byte_on_and_nothing_beside_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let repository = folder.path().join("repository");
        std::fs::create_dir_all(repository.join("metadata")).expect("made");
        std::fs::create_dir_all(repository.join("targets/agent")).expect("made");
        std::fs::write(folder.path().join("secret"), "secret").expect("written");
        std::fs::write(repository.join("metadata/.hidden"), "hidden").expect("written");
        std::fs::write(repository.join("other"), "other").expect("written");
        let long: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        std::fs::write(repository.join("targets/agent/ab.x y"), &long).expect("written");
        let router = router(repository, 1);
        let whole = ask(&router, "/release/targets/agent/ab.x%20y", None).await;
        assert_eq!(whole, (StatusCode::OK, long.clone()));
        for from in [1, 65_536, 199_999] {
            let range = format!("bytes={from}-");
            let rest = ask(&router, "/release/targets/agent/ab.x%20y", Some(&range)).await;
            assert_eq!(rest, (StatusCode::PARTIAL_CONTENT, long[from..].to_vec()));
        }
        let beyond = ask(&router, "/release/targets/agent/ab.x%20y", Some("bytes=200000-")).await;
        assert_eq!(beyond.0, StatusCode::RANGE_NOT_SATISFIABLE);
        for nowhere in [
            "/release/targets/agent/none",
            "/release/targets/agent",
            "/release/targets/../../secret",
            "/release/targets/%2e%2e/%2e%2e/secret",
            "/release/targets/..%2f..%2fsecret",
            "/release/targets//../secret",
            "/release/metadata/.hidden",
            "/release/other",
            "/release/",
            "/elsewhere",
        ] {
            assert_eq!(
                ask(&router, nowhere, None).await.0,
                StatusCode::NOT_FOUND,
                "{nowhere}"
            );
        }
    }

    #[tokio::test]
    async fn who_finds_no_place_is_told_when_to_come_again_and_one_that_went_away_frees_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("metadata")).expect("made");
        std::fs::create_dir_all(folder.path().join("targets")).expect("made");
        std::fs::write(folder.path().join("metadata/1.root.json"), "{}").expect("written");
        std::fs::write(folder.path().join("targets/agent"), vec![7; 3 * CHUNK]).expect("written");
        let router = router(folder.path().to_owned(), 2);
        let begin = || async {
            let request = Request::get("/release/targets/agent").body(Body::empty());
            router
                .clone()
                .oneshot(request.expect("a request"))
                .await
                .expect("answers")
        };
        let (first, second) = (begin().await, begin().await);
        assert_eq!(
            (first.status(), second.status()),
            (StatusCode::OK, StatusCode::OK)
        );
        let third = begin().await;
        assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(third.headers()[RETRY_AFTER], "120");
        let metadata = ask(&router, "/release/metadata/1.root.json", None).await;
        assert_eq!(metadata, (StatusCode::OK, b"{}".to_vec()));
        let all = first.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(all.len(), 3 * CHUNK);
        assert_eq!(begin().await.status(), StatusCode::OK, "the first one is done");
        drop(second);
        assert_eq!(begin().await.status(), StatusCode::OK, "the second one went away");
    }
}
