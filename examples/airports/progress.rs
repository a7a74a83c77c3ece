//! Progress reports: a bar on a terminal, plain lines elsewhere.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use eventcore::projection::RebuildProgress;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

#[derive(Clone)]
pub enum Progress {
    Bar(ProgressBar),
    Lines {
        done: Arc<AtomicU64>,
        all: u64,
    },
    /// The replay is endless.
    Silent,
}

impl Progress {
    pub fn new(all: Option<u64>) -> Self {
        let Some(all) = all else {
            return Self::Silent;
        };
        if !std::io::stderr().is_terminal() {
            return Self::Lines {
                done: Arc::default(),
                all,
            };
        }
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len} flights, {per_sec}, {eta} left");
        Self::Bar(
            ProgressBar::new(all)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
        )
    }

    pub fn one_more(&self) {
        match self {
            Self::Bar(bar) => bar.inc(1),
            Self::Lines { done, all } => {
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                if done.is_multiple_of((all / 20).max(1)) {
                    eprintln!("{done}/{all} flights");
                }
            }
            Self::Silent => {}
        }
    }

    pub fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.abandon();
        }
    }
}

/// The progress of a rebuild.
pub struct Bar {
    /// The bar; `None` if the output is not a terminal.
    bar: Option<ProgressBar>,
    /// The last printed twentieth.
    shown: u64,
}

impl Bar {
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {msg}");
        let bar = std::io::stderr().is_terminal().then(|| {
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, shown: 0 }
    }

    pub fn show(&mut self, progress: &RebuildProgress) {
        let RebuildProgress { done, total, .. } = *progress;
        let left = progress.remaining.map_or_else(String::new, |left| {
            format!(", {} left", HumanDuration(left))
        });
        let message = format!("{:.0}/s{left}", progress.events_per_second);
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(message);
            return;
        }
        let twentieth = done * 20 / total.max(1);
        if twentieth > self.shown {
            self.shown = twentieth;
            eprintln!("{done}/{total} events, {message}");
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
