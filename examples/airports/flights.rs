//! The list of flights, read from a CSV file.

use std::path::Path;

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
        // A flight that returns to where it started is one airport twice; a command names each stream once.
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
