//! Acknowledged commands, compared with what is stored.

use std::{
    error::Error,
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use eventcore::{
    EventFilter, EventStore, Position, RecordedEvent,
    store::{MAX_PAGE_EVENTS, ReadFeedRequest},
};
use serde::{Deserialize, Serialize};

/// Records that the command with this number was acknowledged, and when. The line leaves the process before anything else
/// is done, so the kernel keeps it when the process is killed.
///
/// # Errors
/// If the line cannot be written.
pub fn acknowledge(mut to: impl Write, number: impl fmt::Display) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_err(io::Error::other)?.as_millis();
    to.write_all(format!("{number} {now}\n").as_bytes())
}

/// The counts of a check.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// Acknowledgements in the files that were checked.
    pub acknowledged: usize,
    /// Acknowledged commands that are not stored.
    pub lost: usize,
    /// Commands that are stored more than once.
    pub doubled: usize,
    /// Commands of which a part is missing.
    pub torn: usize,
    /// Commands that are stored although their error said that nothing was written.
    pub refused_yet_stored: usize,
    /// Events whose position does not follow the one before.
    pub misplaced: usize,
    /// Commands that are stored.
    pub stored: usize,
    /// Events that were recorded at an earlier time than the one before them. Nothing is ordered by time, so that is no fault.
    pub clock_back: usize,
    /// The longest time between two acknowledgements, of any writers, in milliseconds.
    pub stall_ms: u64,
}

impl Verdict {
    /// Reads the whole log, page by page, passes each event to `each`, and returns the position of the last.
    ///
    /// # Errors
    /// Those of the store and of `each`.
    pub async fn read_log<E: Into<Box<dyn Error>>>(
        &mut self,
        store: &impl EventStore,
        mut each: impl FnMut(&RecordedEvent) -> Result<(), E>,
    ) -> Result<Position, Box<dyn Error>> {
        let mut after = Position::START;
        let mut recorded_at = SystemTime::UNIX_EPOCH;
        loop {
            let request = ReadFeedRequest {
                after,
                filter: EventFilter::All,
                limit: MAX_PAGE_EVENTS,
            };
            let events = store.read_feed(request).await?.events;
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
    ///
    /// # Errors
    /// If a file cannot be read, or holds something else.
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
        self.stall_ms = gaps.map(|(one, next)| next - one).max().unwrap_or(0);
        Ok(())
    }

    /// Returns `true` if nothing is lost, doubled, torn, out of order, or stored despite an error that excludes it.
    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.torn + self.refused_yet_stored + self.misplaced == 0
    }

    /// Adds the counts of another check.
    pub fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.torn += other.torn;
        self.refused_yet_stored += other.refused_yet_stored;
        self.misplaced += other.misplaced;
        self.stored += other.stored;
        self.clock_back += other.clock_back;
        self.stall_ms = self.stall_ms.max(other.stall_ms);
    }

    /// Writes the counts to a file, as JSON.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_vec(self)?)
    }

    /// Reads the counts that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, or holds something else.
    pub fn load(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
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
            self.stall_ms / 1000,
            self.stall_ms % 1000,
            self.refused_yet_stored,
        )
    }
}

/// Returns the numbers and times in a file, one pair on each line. A last line without its end was not acknowledged.
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
