//! Compares what was acknowledged with what is stored.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use eventcore::{
    CommitId, EventFilter, EventStore, Position,
    store::{MAX_PAGE_EVENTS, ReadFeed},
};

use crate::domain::{PARTS, Wrote};

/// What the checker counted.
#[derive(Debug, Default)]
pub struct Verdict {
    acknowledged: usize,
    pub lost: usize,
    doubled: usize,
    torn: usize,
    misplaced: usize,
    stored: usize,
    /// How often an event was recorded before the one that it follows. Time orders nothing, so that is fine.
    clock_back: usize,
    /// The longest time between two acknowledgements, of whichever writer, in milliseconds.
    stall: u64,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.torn + self.misplaced == 0
    }

    pub fn print(&self) {
        println!(
            "acknowledged {}, lost {}, doubled {}, torn {}, positions out of order {} ({} commits stored, the clock went back {} \
             times), longest stall {}.{:03} s",
            self.acknowledged,
            self.lost,
            self.doubled,
            self.torn,
            self.misplaced,
            self.stored,
            self.clock_back,
            self.stall / 1000,
            self.stall % 1000,
        );
    }
}

/// The parts of one command that are stored, and the commits that they are in.
#[derive(Default)]
struct Stored {
    parts: [usize; PARTS],
    commits: HashSet<CommitId>,
}

pub async fn check(
    store: &impl EventStore,
    acknowledged: &[PathBuf],
) -> Result<Verdict, Box<dyn Error>> {
    let mut verdict = Verdict::default();
    let mut stored: HashMap<u64, Stored> = HashMap::new();
    let mut after = Position::START;
    let mut recorded_at = SystemTime::UNIX_EPOCH;
    loop {
        let events = store
            .read_feed(ReadFeed {
                after,
                filter: EventFilter::All,
                limit: MAX_PAGE_EVENTS,
            })
            .await?
            .events;
        if events.is_empty() {
            break;
        }
        for event in events {
            verdict.misplaced += usize::from(event.position != after.plus(1));
            after = event.position;
            verdict.clock_back += usize::from(event.recorded_at < recorded_at);
            recorded_at = event.recorded_at;
            let Wrote { number, part } = event.decode()?;
            let command = stored.entry(number).or_default();
            command.commits.insert(event.commit_id());
            *command
                .parts
                .get_mut(part)
                .ok_or("an event with an unknown part")? += 1;
        }
    }
    for command in stored.values() {
        verdict.doubled +=
            usize::from(command.parts.iter().any(|count| *count > 1) || command.commits.len() > 1);
        verdict.torn += usize::from(command.parts.contains(&0));
    }
    let mut times = Vec::new();
    for path in acknowledged {
        for (number, time) in acknowledgements(path)? {
            verdict.acknowledged += 1;
            verdict.lost += usize::from(!stored.contains_key(&number));
            times.push(time);
        }
    }
    times.sort_unstable();
    let gaps = times.iter().zip(times.iter().skip(1));
    verdict.stall = gaps.map(|(one, next)| next - one).max().unwrap_or(0);
    verdict.stored = stored.len();
    Ok(verdict)
}

/// The numbers and times in a file, one pair a line. A last line without its end was not acknowledged.
fn acknowledgements(path: &Path) -> Result<Vec<(u64, u64)>, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| {
            let (number, time) = line.split_once(' ').ok_or("a line without a time")?;
            Ok((number.parse()?, time.parse()?))
        })
        .collect()
}
