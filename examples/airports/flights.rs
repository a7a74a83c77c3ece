//! The list of flights, read from a CSV file, and the share of one process.

use std::{path::Path, str::FromStr, sync::Arc};

use serde::Deserialize;

use crate::domain::{AirportId, Flight};

#[derive(Deserialize)]
struct Row {
    departure: String,
    origin: String,
    destination: String,
    distance_miles: u32,
    delay_minutes: i32,
}

/// Reads the flights; they are numbered from 1.
pub fn read(path: &Path) -> Result<Vec<Flight>, Box<dyn std::error::Error>> {
    let failed = |why: csv::Error| format!("{}: {why}", path.display());
    let mut rows = csv::Reader::from_path(path).map_err(failed)?;
    let mut flights = Vec::new();
    for (number, row) in (1_u32..).zip(rows.deserialize::<Row>()) {
        let row = row.map_err(failed)?;
        // A command may name a stream only once.
        if row.origin == row.destination {
            return Err(format!(
                "{}: flight {number} goes from {} to itself",
                path.display(),
                row.origin
            )
            .into());
        }
        flights.push(Flight {
            origin: AirportId(row.origin),
            destination: AirportId(row.destination),
            number,
            departure: row.departure,
            distance_miles: row.distance_miles,
            delay_minutes: row.delay_minutes,
        });
    }
    Ok(flights)
}

/// One of several shares of the list: `2/3` is the second flight, and every third one after it.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    part: usize,
    of: usize,
}

impl Share {
    /// Returns the flights of this share.
    pub fn of(self, flights: &[Flight]) -> impl Iterator<Item = &Flight> {
        flights.iter().skip(self.part - 1).step_by(self.of)
    }
}

impl FromStr for Share {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text
            .split_once('/')
            .and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((part, of)) if 1 <= part && part <= of => Ok(Self { part, of }),
            _ => Err("a share is written `2/3`: the second of three"),
        }
    }
}

/// Returns the flights to replay: once, or endlessly, with numbers that continue after the end of the list.
pub fn to_fly(
    flights: &Arc<[Flight]>,
    listed: usize,
    endless: bool,
) -> Box<dyn Iterator<Item = Flight> + Send> {
    let flights = flights.clone();
    let lap = move |first: u32| {
        let flights = flights.clone();
        (0..flights.len())
            .filter_map(move |index| flights.get(index).cloned())
            .map(move |flight| Flight {
                number: first.saturating_add(flight.number),
                ..flight
            })
    };
    let listed = listed.max(1);
    if endless {
        Box::new((0..u32::MAX).step_by(listed).flat_map(lap))
    } else {
        Box::new(lap(0))
    }
}
