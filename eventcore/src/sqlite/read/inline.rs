//! Work on the caller's own thread while few calls are in progress, when a thread switch would cost
//! more: short reads, and a short spin for the response to an append.
//!
//! The caller may be a worker of an async runtime, so inline work is bounded: few streams, events
//! and bytes, and no waiting for a lock. While the disk is slow, all reads go to the threads; under
//! high load they do too, because one snapshot then serves many reads. A caller that spins yields
//! to the runtime's other tasks.

use std::{
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::oneshot::{Receiver, error::TryRecvError},
    task::yield_now,
};

use crate::sqlite::{
    read::interner::StreamIds,
    read::thread::{PageLimits, Reader},
    schema,
};
use crate::store::{EventStoreError, ReadStreamsRequest, StreamPage};

/// The maximum number of calls in progress for inline reads; above it, reads go to the threads.
const FEW_CALLS: usize = 4;
const FEW_STREAMS: usize = 16;
const SHORT: PageLimits = PageLimits {
    events: 32,
    bytes: 64 * 1024,
    is_strict: true,
};
/// A short read takes about 10 µs; one that takes this long has waited for the disk.
const SLOW: Duration = Duration::from_millis(1);
/// The number of reads that go to the threads after a slow one.
const PAUSE: u32 = 100;
/// The longest spin of a lone caller: a few commits on a fast disk, and a small fraction of one on
/// a slow disk.
const AWAKE: Duration = Duration::from_micros(400);

pub(crate) struct Direct {
    calls: AtomicUsize,
    /// `true` if spinning leaves a processor for the writer.
    has_spare_core: bool,
    /// `None` once the store is closed.
    connection: Mutex<Option<Short>>,
}

struct Short {
    reader: Reader,
    pause: u32,
}

/// A call in progress.
pub(crate) struct Call<'d>(&'d Direct);

impl Direct {
    pub(crate) fn open(path: &Path, ids: StreamIds) -> Result<Self, EventStoreError> {
        let connection = schema::open_reader(path, Duration::ZERO)?;
        let short = Short {
            reader: Reader::new(connection, SHORT, ids),
            pause: 0,
        };
        Ok(Self {
            calls: AtomicUsize::new(0),
            has_spare_core: has_spare_core(),
            connection: Mutex::new(Some(short)),
        })
    }

    pub(crate) fn call(&self) -> Call<'_> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Call(self)
    }

    pub(crate) fn close(&self) {
        let connection = self.connection.lock();
        *connection.unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Call<'_> {
    /// Returns the page if it is short and can be read immediately. A failed read returns `None`;
    /// the threads will report the error.
    pub(crate) fn read(&self, request: &ReadStreamsRequest) -> Option<StreamPage> {
        if self.0.calls.load(Ordering::Relaxed) > FEW_CALLS || request.streams.len() > FEW_STREAMS {
            return None;
        }
        let mut connection = self.0.connection.try_lock().ok()?;
        let short = connection.as_mut()?;
        if short.pause > 0 {
            short.pause -= 1;
            return None;
        }
        let started = Instant::now();
        let page = short.reader.short_page(request);
        if started.elapsed() > SLOW {
            short.pause = PAUSE;
        }
        page
    }

    /// Returns the response if it arrives soon and this is the only call in progress.
    pub(crate) async fn stay_awake<T>(&self, answer: &mut Receiver<T>) -> Option<T> {
        let started = Instant::now();
        while self.0.has_spare_core
            && self.0.calls.load(Ordering::Relaxed) == 1
            && started.elapsed() < AWAKE
        {
            match answer.try_recv() {
                Ok(answer) => return Some(answer),
                Err(TryRecvError::Empty) => yield_now().await,
                Err(TryRecvError::Closed) => return None,
            }
        }
        None
    }
}

/// Returns `true` if one thread can spin without delaying another.
pub(crate) fn has_spare_core() -> bool {
    thread::available_parallelism().is_ok_and(|cores| cores.get() > 1)
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        StreamId, Version,
        store::{MAX_PAGE_EVENTS, StreamCursor},
    };

    /// Creates a file with 31 short events, 32 short ones and 2 long ones, each group in its own
    /// stream.
    fn file(folder: &tempfile::TempDir) -> Direct {
        let path = folder.path().join("direct.db");
        let connection = schema::open(&path).unwrap();
        connection
            .execute_batch(
                "INSERT INTO event_types (category, name) VALUES ('s', 'Noted');
                 INSERT INTO streams (name) VALUES ('s-short'), ('s-many'), ('s-large');",
            )
            .unwrap();
        let rows = [(1, 31, 1), (2, 32, 1), (3, 2, 40_000)];
        let mut position = 0;
        for (stream, events, bytes) in rows {
            for version in 1..=events {
                position += 1;
                let insert = "INSERT INTO events (position, stream, version, type, event_id, recorded_at, payload)
                     VALUES (?1, ?2, ?3, 1, zeroblob(16), 1, ?4)";
                let payload = "1".repeat(bytes);
                let values = rusqlite::params![position, stream, version, payload];
                connection.execute(insert, values).unwrap();
            }
        }
        Direct::open(&path, StreamIds::default()).unwrap()
    }

    fn request(streams: &[&str]) -> ReadStreamsRequest {
        let cursor = |name: &&str| StreamCursor::new(StreamId::new(name).unwrap(), Version::EMPTY);
        ReadStreamsRequest {
            streams: streams.iter().map(cursor).collect(),
            snapshot: None,
            limit: MAX_PAGE_EVENTS,
            idempotency_key: None,
        }
    }

    #[test]
    fn only_a_short_page_is_read_directly() {
        let folder = tempfile::tempdir().unwrap();
        let direct = file(&folder);
        let read = |request: &ReadStreamsRequest| {
            // Ignore how slow the disk was just now.
            direct.connection.lock().unwrap().as_mut().unwrap().pause = 0;
            direct.call().read(request).map(|page| page.events.len())
        };
        assert_eq!(read(&request(&["s-short"])), Some(31));
        assert_eq!(read(&request(&["s-many"])), None, "there may be more");
        let few = ReadStreamsRequest {
            limit: 20,
            ..request(&["s-many"])
        };
        assert_eq!(read(&few), Some(20), "all that was asked for");
        assert_eq!(read(&request(&["s-large"])), None, "too many bytes");
        let names: Vec<_> = (0..=FEW_STREAMS).map(|n| format!("s-new{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(read(&request(&names)), None, "too many streams");
        assert_eq!(read(&request(&names[1..])), Some(0));
        let calls: Vec<_> = (0..FEW_CALLS).map(|_| direct.call()).collect();
        assert_eq!(read(&request(&["s-short"])), None, "too many calls");
        drop(calls);
        assert_eq!(read(&request(&["s-short"])), Some(31));
    }

    #[test]
    fn a_busy_or_slow_or_closed_connection_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let direct = file(&folder);
        let read = || direct.call().read(&request(&["s-short"])).is_some();
        let busy = direct.connection.lock().unwrap();
        assert!(!read());
        drop(busy);
        direct.connection.lock().unwrap().as_mut().unwrap().pause = 2;
        assert_eq!([read(), read(), read()], [false, false, true]);
        direct.close();
        assert!(!read());
    }
}
