//! The chapter on long streams: tills, and the days that they are closed after.
#![allow(dead_code, reason = "a chapter shows more than its tests use")]

use eventcore::{Command, CommandLogic, Event, EventStore, StreamKey, StreamState, require};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
enum TillEvent {
    PaidIn { cents: u64 },
    PaidOut { cents: u64 },
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Till {
    cents: u64,
}

impl StreamState<TillEvent> for Till {
    fn apply(&mut self, event: TillEvent) {
        match event {
            TillEvent::PaidIn { cents } => self.cents += cents,
            TillEvent::PaidOut { cents } => self.cents -= cents,
        }
    }
}

#[derive(Debug, Clone, PartialEq, StreamKey)]
#[stream_key(category = "till", event = TillEvent, state = Till, snapshot(revision = 1))]
struct TillId(u32);

#[derive(Debug, Command)]
struct PayIn {
    #[stream]
    till: TillId,
    cents: u64,
}

impl CommandLogic for PayIn {
    type State = ();
    type Error = std::convert::Infallible;

    fn handle(&self, (): &(), streams: PayInStreams<'_>) -> Result<(), Self::Error> {
        let cents = self.cents;
        streams.till.append(TillEvent::PaidIn { cents });
        Ok(())
    }
}

fn bound(store: &impl EventStore) {
    if let Some(states) = store.states() {
        states.set_capacity(1_000_000);
        states.set_max_bytes(1024 * 1024 * 1024);
        println!("{:?}", states.counts()); // hits, misses, states, bytes
    }
}

async fn clear(store: &impl EventStore) -> Result<(), eventcore::EventStoreError> {
    store.clear_snapshots().await?;
    Ok(())
}

async fn check(copy: &impl EventStore) {
    use eventcore::testing::assert_snapshots_agree;

    let streams = assert_snapshots_agree::<TillId>(copy).await;
    assert!(streams > 0, "the copy has no tills");
}

mod sized {
    use super::*;

    #[derive(Default)]
    struct Journal {
        lines: Vec<String>,
    }

    impl StreamState<TillEvent> for Journal {
        fn apply(&mut self, event: TillEvent) {
            self.lines.push(format!("{event:?}"));
        }

        fn size_in_memory(&self) -> usize {
            size_of::<Self>() + self.lines.iter().map(String::capacity).sum::<usize>()
        }
    }

    #[test]
    fn a_journal_counts_its_lines() {
        let mut journal = Journal::default();
        let empty = journal.size_in_memory();
        journal.apply(TillEvent::PaidIn { cents: 1 });
        assert!(journal.size_in_memory() > empty);
    }
}

mod revised {
    use super::*;

    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Till {
        cents: u64,
        payments: u64, // new
    }

    impl StreamState<TillEvent> for Till {
        fn apply(&mut self, event: TillEvent) {
            self.payments += 1;
            match event {
                TillEvent::PaidIn { cents } => self.cents += cents,
                TillEvent::PaidOut { cents } => self.cents -= cents,
            }
        }
    }

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "till", event = TillEvent, state = Till, snapshot(revision = 2))]
    struct TillId(u32);
}

/// The same stream under keys that differ in their snapshots, as in two builds of one program.
mod forgotten {
    use super::*;
    use eventcore::{RetryPolicy, execute, load, memory::MemoryEventStore};

    /// Counts each payment twice, by mistake.
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Wrong(u64);

    impl StreamState<TillEvent> for Wrong {
        fn apply(&mut self, _: TillEvent) {
            self.0 += 2;
        }
    }

    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Fixed(u64);

    impl StreamState<TillEvent> for Fixed {
        fn apply(&mut self, _: TillEvent) {
            self.0 += 1;
        }
    }

    #[derive(Debug, StreamKey)]
    #[stream_key(category = "till", event = TillEvent, state = Wrong,
        snapshot(revision = 1, every = 2, name = "Payments"))]
    struct Before(u32);

    #[derive(Debug, StreamKey)]
    #[stream_key(category = "till", event = TillEvent, state = Fixed,
        snapshot(revision = 1, every = 2, name = "Payments"))]
    struct Forgotten(u32);

    #[derive(Debug, StreamKey)]
    #[stream_key(category = "till", event = TillEvent, state = Fixed,
        snapshot(revision = 2, every = 2, name = "Payments"))]
    struct Raised(u32);

    /// Loads both after a restart, which leaves no cached states.
    async fn payments(store: &MemoryEventStore) -> (u64, u64) {
        let restart = || store.states().unwrap().clear();
        restart();
        let forgotten = load(store, &Forgotten(1)).await.unwrap().0;
        restart();
        let raised = load(store, &Raised(1)).await.unwrap().0;
        (forgotten, raised)
    }

    #[tokio::test]
    async fn a_state_whose_revision_was_not_raised_goes_on_from_the_wrong_one() {
        let store = MemoryEventStore::new();
        for _ in 0..3 {
            let pay = PayIn {
                till: TillId(1),
                cents: 2,
            };
            execute(&store, pay, RetryPolicy::new()).await.unwrap();
        }
        bound(&store);
        assert_eq!(load(&store, &Before(1)).await.unwrap().0, 6);
        assert_eq!(payments(&store).await, (6, 3));
        clear(&store).await.unwrap();
        assert_eq!(payments(&store).await, (3, 3));
        check(&store).await;
    }

    #[tokio::test]
    #[should_panic(expected = "raise the revision")]
    async fn the_check_finds_a_forgotten_revision() {
        let store = MemoryEventStore::new();
        for _ in 0..3 {
            let pay = PayIn {
                till: TillId(1),
                cents: 2,
            };
            execute(&store, pay, RetryPolicy::new()).await.unwrap();
        }
        load(&store, &Before(1)).await.unwrap();
        eventcore::testing::assert_snapshots_agree::<Forgotten>(&store).await;
    }
}

mod closed {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
    enum DayEvent {
        Opened { cents: u64 },
        PaidIn { cents: u64 },
        PaidOut { cents: u64 },
        Closed,
    }

    /// The stream of one till on one day, such as `till-7/2026-11-27`.
    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "till", event = DayEvent, state = Day)]
    struct DayId(String);

    #[derive(Debug, Default)]
    struct Day {
        is_open: bool,
        cents: u64,
    }

    impl StreamState<DayEvent> for Day {
        fn apply(&mut self, event: DayEvent) {
            match event {
                DayEvent::Opened { cents } => (self.is_open, self.cents) = (true, cents),
                DayEvent::PaidIn { cents } => self.cents += cents,
                DayEvent::PaidOut { cents } => self.cents -= cents,
                DayEvent::Closed => self.is_open = false,
            }
        }
    }

    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("this day is not open")]
    struct NotOpen;

    #[derive(Debug, Command)]
    struct CloseDay {
        #[stream]
        today: DayId,
        #[stream]
        tomorrow: DayId,
    }

    impl CommandLogic for CloseDay {
        type State = ();
        type Error = NotOpen;

        fn handle(&self, (): &(), streams: CloseDayStreams<'_>) -> Result<(), NotOpen> {
            require!(streams.today.is_open, NotOpen);
            let cents = streams.today.cents;
            streams.today.append(DayEvent::Closed);
            streams.tomorrow.append(DayEvent::Opened { cents });
            Ok(())
        }
    }

    #[test]
    fn a_day_opens_with_what_the_day_before_left() {
        use eventcore::testing::given;

        let (today, tomorrow) = (DayId("7/2026-11-27".into()), DayId("7/2026-11-28".into()));
        let close = || CloseDay {
            today: DayId("7/2026-11-27".into()),
            tomorrow: DayId("7/2026-11-28".into()),
        };
        given()
            .events(&today, [DayEvent::Opened { cents: 5 }])
            .events(&today, [DayEvent::PaidIn { cents: 3 }])
            .when(close())
            .then_events(&today, [DayEvent::Closed])
            .then_events(&tomorrow, [DayEvent::Opened { cents: 8 }])
            .when(close())
            .then_error(NotOpen);
    }
}
