//! Metrics and health, on loopback.

use crate::{
    error::{RelayerError, Result},
    metrics::Metrics,
};
use axum::{extract::State, http::StatusCode, routing::get, Router};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long a duty may fail before the relayer counts as not ready.
const PATIENCE: Duration = Duration::from_secs(120);

/// When each duty last went through.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Mutex<Vec<Beat>>>);

#[derive(Clone, Copy, Debug)]
struct Beat {
    duty: &'static str,
    /// Since the last round that went through; before the first, since the start.
    last: Instant,
    once: bool,
}

impl Pulse {
    /// A duty begins.
    pub fn begin(&self, duty: &'static str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Beat { duty, last: Instant::now(), once: false });
    }

    /// A duty went through a round.
    pub fn beat(&self, duty: &'static str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(beat) = all.iter_mut().find(|beat| beat.duty == duty) {
            *beat = Beat { duty, last: Instant::now(), once: true };
        }
    }

    /// Duties that did not go through for too long; `None` while one has yet to for the first time.
    fn stuck(&self) -> Option<Vec<&'static str>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let late = |beat: &&Beat| beat.last.elapsed() > PATIENCE;
        let stuck: Vec<_> = all.iter().filter(late).map(|beat| beat.duty).collect();
        let starting = all.is_empty() || all.iter().any(|beat| !beat.once);
        (!stuck.is_empty() || !starting).then_some(stuck)
    }
}

/// Serves `/metrics`, `/health` (the process lives) and `/ready` (its duties go through) until
/// `stop`. Gives the bound address.
pub async fn serve(
    listen: SocketAddr,
    metrics: Metrics,
    pulse: Pulse,
    stop: CancellationToken,
) -> Result<SocketAddr> {
    if !listen.ip().is_loopback() {
        return Err(RelayerError::Config(format!(
            "{listen} is not on loopback: metrics are not for the world"
        )));
    }
    let listener = TcpListener::bind(listen)
        .await
        .map_err(RelayerError::io(format!("listening on {listen}")))?;
    let bound = listener.local_addr().map_err(RelayerError::io("reading the bound address"))?;
    let router = Router::new()
        .route(
            "/metrics",
            get(|State((metrics, _)): State<(Metrics, Pulse)>| async move { metrics.text() }),
        )
        .route("/health", get(|| async { "ok" }))
        .route(
            "/ready",
            get(|State((_, pulse)): State<(Metrics, Pulse)>| async move {
                match pulse.stuck() {
                    None => (StatusCode::SERVICE_UNAVAILABLE, "starting".to_string()),
                    Some(stuck) if stuck.is_empty() => (StatusCode::OK, "ok".to_string()),
                    Some(stuck) => {
                        (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {}", stuck.join(", ")))
                    }
                }
            }),
        )
        .with_state((metrics, pulse));
    tokio::spawn(async move {
        let stopped = async move { stop.cancelled().await };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::warn!(%error, "metrics are not served any more");
        }
    });
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_needs_every_duty_once() {
        let pulse = Pulse::default();
        assert_eq!(pulse.stuck(), None);
        pulse.begin("anchor");
        pulse.begin("watch");
        pulse.beat("anchor");
        assert_eq!(pulse.stuck(), None);
        pulse.beat("watch");
        assert_eq!(pulse.stuck(), Some(vec![]));
        // A round that is long ago, where the clock reaches back so far.
        if let Some(before) = Instant::now().checked_sub(2 * PATIENCE) {
            pulse.0.lock().unwrap()[0].last = before;
            assert_eq!(pulse.stuck(), Some(vec!["anchor"]));
        }
    }
}
