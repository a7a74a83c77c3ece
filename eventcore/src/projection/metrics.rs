//! Reports metrics of projections through the `metrics` facade if the feature `metrics` is enabled.
//! The guide's chapter on projections documents the metric names. Metrics are reported only in this
//! file.

use std::time::Duration;

use super::ProjectionStatus;
use crate::Position;

#[cfg(feature = "metrics")]
#[allow(clippy::cast_precision_loss, reason = "gauges are floats")]
mod on {
    use super::{Duration, Position, ProjectionStatus};

    pub const ENABLED: bool = true;

    pub fn batch(projection: &'static str, position: Position, events: u64, took: Duration) {
        metrics::counter!("eventcore_projection_events_total", "projection" => projection)
            .increment(events);
        metrics::gauge!("eventcore_projection_position", "projection" => projection)
            .set(position.get() as f64);
        metrics::histogram!("eventcore_projection_batch_seconds", "projection" => projection)
            .record(took);
    }

    pub fn error(projection: &'static str) {
        metrics::counter!("eventcore_projection_errors_total", "projection" => projection)
            .increment(1);
    }

    pub fn parked(projection: &'static str) {
        metrics::counter!("eventcore_projection_parked_total", "projection" => projection)
            .increment(1);
    }

    pub fn leads(projection: &'static str, leads: bool) {
        metrics::gauge!("eventcore_projection_leads", "projection" => projection)
            .set(f64::from(u8::from(leads)));
    }

    pub fn lag(projection: &str, status: &ProjectionStatus) {
        let projection = projection.to_owned();
        metrics::gauge!("eventcore_projection_lag_events", "projection" => projection.clone())
            .set(status.lag as f64);
        metrics::gauge!("eventcore_projection_lag_seconds", "projection" => projection)
            .set(status.lag_time.as_secs_f64());
    }
}

#[cfg(not(feature = "metrics"))]
mod on {
    use super::{Duration, Position, ProjectionStatus};

    pub const ENABLED: bool = false;

    pub fn batch(_: &'static str, _: Position, _: u64, _: Duration) {}
    pub fn error(_: &'static str) {}
    pub fn parked(_: &'static str) {}
    pub fn leads(_: &'static str, _: bool) {}
    pub fn lag(_: &str, _: &ProjectionStatus) {}
}

pub(super) use on::{ENABLED, batch, error, lag, leads, parked};
