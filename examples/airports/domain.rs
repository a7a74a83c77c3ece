//! Airports and the flights between them. Nothing here knows a file, a database or a clock.

use std::convert::Infallible;

use eventcore::{Command, CommandLogic, Event, StreamKey};
use serde::{Deserialize, Serialize};

/// An airport, by its IATA code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, StreamKey)]
#[stream_key(category = "airport", event = AirportEvent)]
pub struct AirportId(pub String);

/// An event at an airport. Movements are numbered, from 1, at each airport.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum AirportEvent {
    Departed {
        movement: u64,
        flight: u32,
        to: AirportId,
        at: String,
        distance_miles: u32,
    },
    Arrived {
        movement: u64,
        flight: u32,
        from: AirportId,
        delay_minutes: i32,
    },
}

/// One flight: it departs at one airport and arrives at another, both or neither.
///
/// Airports have long histories, and the same pairs come up again and again, so the state of each is remembered.
#[derive(Debug, Clone, Command)]
#[command(cached)]
pub struct Flight {
    #[stream]
    pub origin: AirportId,
    #[stream]
    pub destination: AirportId,
    /// Its number in the list of flights.
    pub number: u32,
    pub departure: String,
    pub distance_miles: u32,
    pub delay_minutes: i32,
}

/// The number of movements at either airport.
#[derive(Debug, Clone, Default)]
pub struct Movements {
    origin: u64,
    destination: u64,
}

impl CommandLogic for Flight {
    type State = Movements;
    type Error = Infallible;

    fn apply(&self, seen: &mut Movements, event: FlightEvent<'_>) {
        match event {
            FlightEvent::Origin(_) => seen.origin += 1,
            FlightEvent::Destination(_) => seen.destination += 1,
        }
    }

    fn handle(&self, seen: &Movements, streams: FlightStreams<'_>) -> Result<(), Infallible> {
        streams.origin.append(AirportEvent::Departed {
            movement: seen.origin + 1,
            flight: self.number,
            to: self.destination.clone(),
            at: self.departure.clone(),
            distance_miles: self.distance_miles,
        });
        streams.destination.append(AirportEvent::Arrived {
            movement: seen.destination + 1,
            flight: self.number,
            from: self.origin.clone(),
            delay_minutes: self.delay_minutes,
        });
        Ok(())
    }
}
