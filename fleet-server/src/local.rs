//! Shell: what the machine the server runs on may ask: alive, ready, metrics. Plain HTTP on a loopback address.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// What the local listener answers from.
#[derive(Clone)]
pub struct Local {
    /// The metrics gathered so far.
    pub metrics: PrometheusHandle,
    /// Asked whether it answers, for readiness.
    pub store: Store,
    /// Set once the server began to stop.
    pub stop: CancellationToken,
}

/// Serves until asked to stop.
pub async fn serve(listener: TcpListener, local: Local) -> std::io::Result<()> {
    let stop = local.stop.clone();
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(local));
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

async fn ready(State(local): State<Arc<Local>>) -> Response {
    if local.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    match local
        .store
        .read(|tx| tx.row("SELECT value FROM meta WHERE key = $1", &["ready".into()]))
        .await
    {
        Ok(_) => "ready\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")).into_response(),
    }
}

async fn metrics(State(local): State<Arc<Local>>) -> Response {
    local.metrics.run_upkeep();
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        local.metrics.render(),
    )
        .into_response()
}
