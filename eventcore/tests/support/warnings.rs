//! A subscriber that keeps the warnings of the current thread.

use std::{
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};

/// Keeps the warnings.
#[derive(Clone, Default)]
pub struct Warnings(pub Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

impl Warnings {
    /// Keeps the warnings of this thread until the guards are dropped.
    ///
    /// While there is only one subscriber, the thread that first comes to a message decides whether it is ever logged, and
    /// the threads of the other tests have no subscriber. So there is a second one.
    pub fn listen() -> (Self, (DefaultGuard, Dispatch)) {
        let warnings = Self::default();
        let guard = tracing::subscriber::set_default(warnings.clone());
        let second = Dispatch::new(warnings.clone());
        (warnings, (guard, second))
    }
}
