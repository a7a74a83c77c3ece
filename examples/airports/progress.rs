//! How far it is: a bar on a terminal, plain lines elsewhere.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use indicatif::{ProgressBar, ProgressStyle};

#[derive(Clone)]
pub enum Progress {
    Bar(ProgressBar),
    Lines {
        done: Arc<AtomicU64>,
        all: u64,
    },
    /// There is no end to be near to.
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
