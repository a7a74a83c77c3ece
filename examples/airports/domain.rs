//! Airports and the flights between them. Nothing here knows a file, a database or a clock.

use std::convert::Infallible;

use eventcore::{Command, CommandLogic, Event, StreamKey, StreamState};
use serde::{Deserialize, Serialize};

/// An airport, by its IATA code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, StreamKey)]
#[stream_key(category = "airport", event = AirportEvent, state = Movements, snapshot(revision = 1))]
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

/// The number of movements at an airport. The streams of airports are long, so the store keeps snapshots.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Movements(u64);

impl StreamState<AirportEvent> for Movements {
    fn apply(&mut self, _: AirportEvent) {
        self.0 += 1;
    }
}

/// One flight: a departure at one airport and an arrival at another, both or neither.
#[derive(Debug, Clone, Command)]
pub struct Flight {
    #[stream]
    pub origin: AirportId,
    #[stream]
    pub destination: AirportId,
    /// The number in the list of flights.
    pub number: u32,
    pub departure: String,
    pub distance_miles: u32,
    pub delay_minutes: i32,
}

impl CommandLogic for Flight {
    type State = ();
    type Error = Infallible;

    fn handle(&self, (): &(), streams: FlightStreams<'_>) -> Result<(), Infallible> {
        streams.origin.append(AirportEvent::Departed {
            movement: streams.origin.0 + 1,
            flight: self.number,
            to: self.destination.clone(),
            at: self.departure.clone(),
            distance_miles: self.distance_miles,
        });
        streams.destination.append(AirportEvent::Arrived {
            movement: streams.destination.0 + 1,
            flight: self.number,
            from: self.origin.clone(),
            delay_minutes: self.delay_minutes,
        });
        Ok(())
    }
}
