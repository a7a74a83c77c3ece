//! Reads the whole log, page by page, and holds it against the list of flights.

use std::collections::HashMap;

use eventcore::{
    CommitId, EventFilter, EventStore, EventStoreError, Position, RecordedEvent, StreamKey,
    store::{MAX_PAGE_EVENTS, ReadFeed},
};

use crate::domain::{AirportEvent, AirportId, Flight};

/// The most problems that are kept to be shown.
const SHOWN: usize = 20;

/// What the log holds.
#[derive(Debug, Default)]
pub struct Report {
    pub events: u64,
    pub departures: u64,
    pub arrivals: u64,
    pub airports: usize,
    pub problems: Vec<String>,
    pub more_problems: u64,
}

impl Report {
    fn expect(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        match (holds, self.problems.len() < SHOWN) {
            (true, _) => {}
            (false, true) => self.problems.push(problem()),
            (false, false) => self.more_problems += 1,
        }
    }
}

/// The commits in which a flight departed and arrived.
#[derive(Default)]
struct Seen {
    departed: Vec<CommitId>,
    arrived: Vec<CommitId>,
}

/// Checks that each of the first `complete` flights is in the log, that no flight is there twice or half, and that
/// positions, versions and the airports' own movement numbers have no gap.
pub async fn check(
    store: &impl EventStore,
    flights: &[Flight],
    complete: usize,
) -> Result<Report, EventStoreError> {
    let mut log = Log {
        known: flights
            .iter()
            .map(|flight| (flight.number, flight))
            .collect(),
        ..Log::default()
    };
    let mut after = Position::START;
    loop {
        let events = store
            .read_feed(ReadFeed {
                after,
                filter: EventFilter::All,
                limit: MAX_PAGE_EVENTS,
            })
            .await?
            .events;
        let Some(last) = events.last() else { break };
        after = last.position;
        for recorded in &events {
            log.add(recorded);
        }
    }
    Ok(log.finish(flights.get(..complete).unwrap_or(flights)))
}

/// What was read so far.
#[derive(Default)]
struct Log<'a> {
    known: HashMap<u32, &'a Flight>,
    seen: HashMap<u32, Seen>,
    movements: HashMap<AirportId, u64>,
    report: Report,
}

impl Log<'_> {
    fn add(&mut self, recorded: &RecordedEvent) {
        let report = &mut self.report;
        report.events += 1;
        let (events, position) = (report.events, recorded.position);
        report.expect(position.get() == events, || {
            format!("event number {events} has position {position}")
        });
        let (airport, event) = match read(recorded) {
            Ok(read) => read,
            Err(why) => return report.expect(false, || format!("position {position}: {why}")),
        };
        let expected = self.movements.entry(airport.clone()).or_default();
        *expected += 1;
        let (number, movement, route, commits) = match event {
            AirportEvent::Departed {
                movement,
                flight,
                to,
                ..
            } => {
                report.departures += 1;
                (
                    flight,
                    movement,
                    (airport, to),
                    &mut self.seen.entry(flight).or_default().departed,
                )
            }
            AirportEvent::Arrived {
                movement,
                flight,
                from,
                ..
            } => {
                report.arrivals += 1;
                (
                    flight,
                    movement,
                    (from, airport),
                    &mut self.seen.entry(flight).or_default().arrived,
                )
            }
        };
        commits.push(recorded.commit_id());
        let version = recorded.version.get();
        report.expect((version, movement) == (*expected, *expected), || {
            format!(
                "{}: movement number {movement}, version {version}, where {expected} should be",
                recorded.stream
            )
        });
        let as_listed = self
            .known
            .get(&number)
            .is_some_and(|flight| (&flight.origin, &flight.destination) == (&route.0, &route.1));
        report.expect(as_listed, || {
            format!(
                "flight {number} from {} to {} is not in the list",
                route.0.0, route.1.0
            )
        });
    }

    fn finish(self, complete: &[Flight]) -> Report {
        let Self {
            seen,
            movements,
            mut report,
            ..
        } = self;
        for flight in complete {
            report.expect(seen.contains_key(&flight.number), || {
                format!("flight {} is missing", flight.number)
            });
        }
        for (number, Seen { departed, arrived }) in &seen {
            report.expect(departed.len() == 1 && departed == arrived, || {
                let (departed, arrived) = (departed.len(), arrived.len());
                format!("flight {number} departed {departed} time(s), arrived {arrived} time(s): not once, in one commit")
            });
        }
        let (departures, arrivals) = (report.departures, report.arrivals);
        report.expect(departures == arrivals, || {
            format!("{departures} departures, but {arrivals} arrivals")
        });
        report.airports = movements.len();
        report
    }
}

fn read(recorded: &RecordedEvent) -> Result<(AirportId, AirportEvent), String> {
    let airport = AirportId::from_stream_id(&recorded.stream).map_err(|why| why.to_string())?;
    let event = recorded.decode().map_err(|why| why.to_string())?;
    Ok((airport, event))
}
