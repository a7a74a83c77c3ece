//! What was acknowledged, held against what is stored. Shared by the programs that are killed, or whose servers are.

use std::{
    error::Error,
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use eventcore::{
    EventFilter, EventStore, Position, RecordedEvent,
    store::{MAX_PAGE_EVENTS, ReadFeed},
};

/// Notes that a command is acknowledged, by its number, and when. The line is out of this process before anything else
/// is done: the kernel keeps it when the process is killed.
pub fn acknowledge(mut to: impl Write, number: impl fmt::Display) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_err(io::Error::other)?.as_millis();
    to.write_all(format!("{number} {now}\n").as_bytes())
}

/// What was counted.
#[derive(Debug, Default)]
pub struct Verdict {
    acknowledged: usize,
    lost: usize,
    /// Commands that are stored more than once.
    pub doubled: usize,
    /// Commands of which a part is missing.
    pub torn: usize,
    /// Commands that are stored although their callers were told that they are not.
    pub refused_yet_stored: usize,
    misplaced: usize,
    /// Commands that are stored.
    pub stored: usize,
    /// How often an event was recorded before the one that it follows. Time orders nothing, so that is fine.
    clock_back: usize,
    /// The longest time between two acknowledgements, of whichever writer, in milliseconds.
    stall: u64,
}

impl Verdict {
    /// Reads the whole log, page by page, hands over each event, and returns the position of the last.
    pub async fn read_log<E: Into<Box<dyn Error>>>(
        &mut self,
        store: &impl EventStore,
        mut each: impl FnMut(&RecordedEvent) -> Result<(), E>,
    ) -> Result<Position, Box<dyn Error>> {
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
                return Ok(after);
            }
            for event in events {
                self.misplaced += usize::from(event.position != after.plus(1));
                after = event.position;
                self.clock_back += usize::from(event.recorded_at < recorded_at);
                recorded_at = event.recorded_at;
                each(&event).map_err(Into::into)?;
            }
        }
    }

    /// Counts the acknowledgements in `files`, and those of commands that are not stored.
    pub fn count(
        &mut self,
        files: &[PathBuf],
        is_stored: impl Fn(u64) -> bool,
    ) -> Result<(), Box<dyn Error>> {
        let mut times = Vec::new();
        for path in files {
            for (number, time) in acknowledgements(path)? {
                self.acknowledged += 1;
                self.lost += usize::from(!is_stored(number));
                times.push(time);
            }
        }
        times.sort_unstable();
        let gaps = times.iter().zip(times.iter().skip(1));
        self.stall = gaps.map(|(one, next)| next - one).max().unwrap_or(0);
        Ok(())
    }

    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.torn + self.refused_yet_stored + self.misplaced == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "acknowledged {}, lost {}, doubled {}, torn {}, positions out of order {} ({} commits stored, the clock went back {} \
             times), longest stall {}.{:03} s, refused yet stored {}",
            self.acknowledged,
            self.lost,
            self.doubled,
            self.torn,
            self.misplaced,
            self.stored,
            self.clock_back,
            self.stall / 1000,
            self.stall % 1000,
            self.refused_yet_stored,
        )
    }
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
