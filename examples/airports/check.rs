//! Reads the whole log, page by page, and compares it with the list of flights.

use std::{collections::HashMap, convert::Infallible, error::Error, path::PathBuf};

use eventcore::{CommitId, EventStore, Position, RecordedEvent, StreamKey};
use eventcore_faults::verdict::Verdict;

use crate::{
    board::Row,
    domain::{AirportEvent, AirportId, Flight},
};

/// The maximum number of problems that are shown.
const SHOWN: usize = 20;

/// The content of the log.
#[derive(Debug, Default)]
pub struct Report {
    pub events: u64,
    pub departures: u64,
    pub arrivals: u64,
    /// The number of movements at each airport.
    pub movements: HashMap<AirportId, u64>,
    /// The position of the last event.
    pub end: Position,
    pub verdict: Verdict,
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

    /// Checks that the board shows each movement once.
    pub fn expect_board(&mut self, rows: &[Row]) {
        let shown = rows.len();
        self.expect(shown == self.movements.len(), || {
            format!("the board shows {shown} airports")
        });
        for row in rows {
            let movements = self.movements.get(&AirportId(row.airport.clone()));
            let (movements, shown) = (movements.copied(), row.departures + row.arrivals);
            self.expect(movements.map(i64::try_from) == Some(Ok(shown)), || {
                format!(
                    "the board shows {shown} movements at {}, the log {}",
                    row.airport,
                    movements.unwrap_or_default()
                )
            });
        }
    }
}

/// The commits in which a flight departed and arrived.
#[derive(Default)]
struct Seen {
    departed: Vec<CommitId>,
    arrived: Vec<CommitId>,
}

/// Checks that each of the `complete` flights is in the log, that no flight is stored twice or in part, and that positions, versions
/// and movement numbers have no gaps; counts flights of the `acknowledged` files that are lost.
pub async fn check(
    store: &impl EventStore,
    listed: &[Flight],
    complete: impl Iterator<Item = &Flight>,
    acknowledged: &[PathBuf],
) -> Result<Report, Box<dyn Error>> {
    let mut log = Log {
        listed,
        seen: HashMap::new(),
        report: Report::default(),
    };
    let mut verdict = Verdict::default();
    let read = verdict.read_log(store, |recorded| {
        log.add(recorded);
        Ok::<_, Infallible>(())
    });
    log.report.end = read.await?;
    let seen = log.judge(complete, &mut verdict);
    let is_stored =
        |number: u64| u32::try_from(number).is_ok_and(|number| seen.contains_key(&number));
    verdict.count(acknowledged, is_stored)?;
    let mut report = log.report;
    report.expect(verdict.is_clean(), || verdict.to_string());
    report.verdict = verdict;
    Ok(report)
}

/// The events read so far.
struct Log<'a> {
    listed: &'a [Flight],
    seen: HashMap<u32, Seen>,
    report: Report,
}

impl<'a> Log<'a> {
    /// Returns the flight of a number. In an endless replay the list repeats, and the numbers continue.
    fn listed(&self, number: u32) -> Option<&'a Flight> {
        let line = usize::try_from(number.checked_sub(1)?).ok()?;
        self.listed.get(line.checked_rem(self.listed.len())?)
    }

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
        let movements = report.movements.entry(airport.clone()).or_default();
        *movements += 1;
        let expected = *movements;
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
        report.expect((version, movement) == (expected, expected), || {
            format!(
                "{}: movement number {movement}, version {version}, where {expected} should be",
                recorded.stream
            )
        });
        let as_listed = self
            .listed(number)
            .is_some_and(|flight| (&flight.origin, &flight.destination) == (&route.0, &route.1));
        self.report.expect(as_listed, || {
            format!(
                "flight {number} from {} to {} is not in the list",
                route.0.0, route.1.0
            )
        });
    }

    /// Checks each flight, and returns what was found of them.
    fn judge<'b>(
        &mut self,
        complete: impl Iterator<Item = &'b Flight>,
        verdict: &mut Verdict,
    ) -> HashMap<u32, Seen> {
        let seen = std::mem::take(&mut self.seen);
        let report = &mut self.report;
        for flight in complete {
            report.expect(seen.contains_key(&flight.number), || {
                format!("flight {} is missing", flight.number)
            });
        }
        for (number, Seen { departed, arrived }) in &seen {
            verdict.doubled += usize::from(departed.len().max(arrived.len()) > 1);
            verdict.torn += usize::from(departed != arrived);
            report.expect(departed.len() == 1 && departed == arrived, || {
                let (departed, arrived) = (departed.len(), arrived.len());
                format!("flight {number} departed {departed} time(s), arrived {arrived} time(s): not once, in one commit")
            });
        }
        verdict.stored = seen.len();
        let (departures, arrivals) = (report.departures, report.arrivals);
        report.expect(departures == arrivals, || {
            format!("{departures} departures, but {arrivals} arrivals")
        });
        seen
    }
}

fn read(recorded: &RecordedEvent) -> Result<(AirportId, AirportEvent), String> {
    let airport = AirportId::from_stream_id(&recorded.stream).map_err(|why| why.to_string())?;
    let event = recorded.decode().map_err(|error| match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    })?;
    Ok((airport, event))
}
