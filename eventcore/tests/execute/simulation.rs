//! The pipeline in a small world, in every order: which command goes on, which call fails and how, whether a process dies.
//! Nothing here waits or runs at the same time; a world is played from its start for each sequence of choices, until there
//! is no further one. Larger worlds are played by chance, from seeds; those that once failed are kept.
//!
//! The threads of the SQLite store are not simulated: their queues are tokio's, and to drive them one would have to build
//! the library with others. What its writer does with a batch has a model of its own (`sqlite/write/thread/tests.rs`);
//! histories (`tests/history`) and `ChaosStore` (`tests/execute/chaos.rs`) try all of it as it is.
#![cfg(feature = "macros")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    cell::Cell,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use eventcore::{
    Command, CommandError, CommandLogic, CommitId, Event, EventStore, EventStoreError,
    ExecuteOptions, IdempotencyKey, RecordedEvent, RetryPolicy, StreamKey, StreamState,
    execute::{ExecutePipeline, ReadStep, Step},
    memory::MemoryEventStore,
    require,
    store::{AppendRequest, ExpectedVersion, StateCache, StoreFuture, StreamPage},
    testing::history,
};
use serde::{Deserialize, Serialize};

/// Command `by` wrote part `part`, having seen this many events in its streams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
struct Wrote {
    by: usize,
    part: usize,
    seen: usize,
}

/// The number of events of a stream.
#[derive(Debug, Default)]
struct Seen(usize);

impl StreamState<Wrote> for Seen {
    fn apply(&mut self, _: Wrote) {
        self.0 += 1;
    }
}

#[derive(Debug, Clone, StreamKey)]
#[stream_key(category = "stream", event = Wrote, state = Seen)]
struct Key(u64);

/// Writes an event to each of some streams, unless it has seen too many in them and in those that it only reads.
#[derive(Debug, Clone, Command)]
struct Put {
    #[stream]
    to: Vec<Key>,
    #[stream(read)]
    guards: Vec<Key>,
    by: usize,
    most: usize,
}

#[derive(Debug)]
struct TooMany;

impl CommandLogic for Put {
    type State = ();
    type Error = TooMany;

    fn handle(&self, (): &(), streams: PutStreams<'_>) -> Result<(), TooMany> {
        let all = streams.to.iter().map(|(_, to)| to.0);
        let guards = streams.guards.iter().map(|(_, guard)| guard.0);
        let seen = all.sum::<usize>() + guards.sum::<usize>();
        require!(seen <= self.most, TooMany);
        for (part, (_, to)) in streams.to.into_iter().enumerate() {
            to.append(Wrote {
                by: self.by,
                part,
                seen,
            });
        }
        Ok(())
    }
}

/// The source of choices.
enum Choices {
    /// The ones so far, each with how many there were to choose from; beyond them, the first.
    Every {
        path: Vec<(usize, usize)>,
        next: usize,
    },
    Chance(fastrand::Rng),
}

impl Choices {
    fn of(&mut self, count: usize) -> usize {
        match self {
            Self::Chance(random) => random.usize(0..count),
            Self::Every { path, next } => {
                if *next == path.len() {
                    path.push((0, count));
                }
                let (choice, before) = path[*next];
                assert_eq!(
                    before, count,
                    "the world is not the same when it is played again"
                );
                *next += 1;
                choice
            }
        }
    }

    /// Moves on to the next sequence; says whether there is one.
    fn advance(&mut self) -> bool {
        let Self::Every { path, next } = self else {
            return false;
        };
        *next = 0;
        while let Some((choice, count)) = path.pop() {
            if choice + 1 < count {
                path.push((choice + 1, count));
                return true;
            }
        }
        false
    }
}

/// A promise that the store of a control breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A commit that is sent again is taken for another one.
    ForgetsOwnCommits,
    /// Only the versions of written streams are checked.
    ReadOnlyUnchecked,
    /// A key is as good as no key.
    ForgetsKeys,
}

#[derive(Clone)]
struct World {
    commands: Vec<(Put, Option<&'static str>)>,
    /// The number of calls that may fail, and of processes that may die.
    failures: usize,
    deaths: usize,
    /// `true` if commands continue from cached states.
    remembers: bool,
    /// The number of times that one did.
    recalled: Cell<u64>,
    fault: Fault,
}

/// A command between two steps.
enum Live {
    Step(Step<Put>),
    /// The store has answered, and the answer is still on its way.
    Answered(ReadStep<Put>, StreamPage),
}

/// The knowledge about a command in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Acknowledged,
    Repeated,
    NothingWritten,
    Unknown,
}

struct Played {
    ends: Vec<End>,
    log: Vec<RecordedEvent>,
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the store in memory never waits"),
    }
}

fn unavailable(what: &str) -> EventStoreError {
    EventStoreError::Unavailable {
        source: what.into(),
    }
}

fn unknown() -> EventStoreError {
    EventStoreError::OutcomeUnknown {
        source: "simulated".into(),
    }
}

impl World {
    fn play(&self, choices: &mut Choices) -> Played {
        let store = MemoryEventStore::new();
        let (mut failures, mut deaths) = (self.failures, self.deaths);
        let states = StateCache::new();
        let mut live: Vec<(usize, Live)> = Vec::new();
        for (number, (command, key)) in self.commands.iter().enumerate() {
            let mut options = ExecuteOptions::from(RetryPolicy::new());
            if let Some(key) = key {
                options = options.idempotency_key(IdempotencyKey::new(key).unwrap());
            }
            let id = CommitId::from_uuid(uuid::Uuid::from_u128((number as u128 + 1) << 64));
            live.push((
                number,
                Live::Step(ExecutePipeline::new(command.clone(), options, id).start()),
            ));
        }
        let mut ends = vec![End::Unknown; self.commands.len()];
        while !live.is_empty() {
            let (number, step) = live.swap_remove(choices.of(live.len()));
            if deaths > 0 && choices.of(2) == 1 {
                deaths -= 1;
                // With its last call made and its answer never seen, or not even made.
                if let Live::Step(Step::Append(append)) = &step
                    && choices.of(2) == 1
                {
                    let _ = self.append(&store, append.request());
                }
                continue;
            }
            match self.step(&store, step, &mut failures, &states, choices) {
                Live::Step(Step::Done { result, .. }) => {
                    ends[number] = match result {
                        Ok(done) if done.is_repeated() => End::Repeated,
                        Ok(_) => End::Acknowledged,
                        Err(CommandError::OutcomeUnknown { .. }) => End::Unknown,
                        Err(_) => End::NothingWritten,
                    };
                }
                step => live.push((number, step)),
            }
        }
        let log = ready(history::log(&store)).unwrap();
        self.recalled
            .set(self.recalled.get() + states.counts().hits);
        Played { ends, log }
    }

    fn step(
        &self,
        store: &MemoryEventStore,
        step: Live,
        failures: &mut usize,
        states: &StateCache,
        choices: &mut Choices,
    ) -> Live {
        let in_time = Duration::ZERO;
        let too_late = Duration::from_hours(1);
        let may_fail = *failures > 0;
        let step = match step {
            Live::Step(step) => step,
            Live::Answered(read, page) => return Live::Step(read.resume(Ok(page), in_time)),
        };
        Live::Step(match step {
            Step::ReadStreams(read) => {
                let read = if self.remembers {
                    read.share(states)
                } else {
                    read
                };
                if may_fail && choices.of(2) == 1 {
                    *failures -= 1;
                    return Live::Step(read.resume(Err(unavailable("simulated")), in_time));
                }
                let page = ready(store.read_streams(read.request().clone()));
                let late = matches!(choices, Choices::Chance(_)) && choices.of(2) == 1;
                if self.remembers && late {
                    return Live::Answered(read, page.unwrap());
                }
                read.resume(page, in_time)
            }
            Step::Append(append) => {
                let failure = if may_fail { choices.of(6) } else { 0 };
                *failures -= usize::from(failure > 0);
                let request = append.request().clone();
                match failure {
                    1 => append.resume(Err(unavailable("simulated")), in_time),
                    2 => append.resume(Err(unknown()), in_time),
                    3 => append.resume(Err(unknown()), too_late),
                    made => {
                        let result = self.append(store, &request);
                        match (made, result) {
                            (0, result) => append.resume(result, in_time),
                            // The connection is cut before the answer, whatever it was.
                            (4, _) => append.resume(Err(unknown()), in_time),
                            _ => append.resume(Err(unknown()), too_late),
                        }
                    }
                }
            }
            Step::Sleep(sleep) => sleep.resume(),
            done @ Step::Done { .. } => done,
        })
    }

    /// Appends as the fault wants it.
    fn append(
        &self,
        store: &MemoryEventStore,
        request: &AppendRequest,
    ) -> Result<eventcore::store::CommitReceipt, EventStoreError> {
        let changed = match self.fault {
            Fault::None => return ready(store.append(request.clone())),
            Fault::ForgetsKeys => with(request, request.commit_id(), false),
            Fault::ForgetsOwnCommits => with(request, CommitId::generate(), true),
            Fault::ReadOnlyUnchecked => {
                let written =
                    |stream: &usize| request.events().iter().any(|event| event.stream == *stream);
                let expected: Vec<ExpectedVersion> = (0..request.expected().len())
                    .filter(written)
                    .map(|stream| request.expected()[stream].clone())
                    .collect();
                let mut events = request.events().to_vec();
                for event in &mut events {
                    let name = &request.expected()[event.stream].stream;
                    event.stream = expected
                        .iter()
                        .position(|kept| kept.stream == *name)
                        .unwrap();
                }
                let (metadata, key) = (
                    request.metadata().clone(),
                    request.idempotency_key().cloned(),
                );
                AppendRequest::new(request.commit_id(), expected, events, metadata, key).unwrap()
            }
        };
        let future: StoreFuture<'_, _> = store.append(changed);
        ready(future)
    }

    /// Returns the violation in the way that it ended, if there is one.
    fn verdict(&self, played: &Played) -> Result<(), String> {
        let mut parts = vec![0; self.commands.len()];
        let mut commits: Vec<Vec<CommitId>> = vec![Vec::new(); self.commands.len()];
        for event in &played.log {
            let Wrote { by, seen, .. } = event.decode().unwrap();
            let (command, _) = &self.commands[by];
            parts[by] += 1;
            if !commits[by].contains(&event.commit_id()) {
                commits[by].push(event.commit_id());
                let streams = command.to.iter().chain(&command.guards);
                let streams: Vec<_> = streams.map(|key| key.stream_id().unwrap()).collect();
                let there = played
                    .log
                    .iter()
                    .take_while(|before| before.commit_id() != event.commit_id());
                let there = there
                    .filter(|before| streams.contains(&before.stream))
                    .count();
                if there != seen {
                    return Err(format!(
                        "command {by} saw {seen} events, and {there} were there"
                    ));
                }
                if seen > command.most {
                    return Err(format!("command {by} wrote although it saw {seen}"));
                }
            }
        }
        for (number, (command, key)) in self.commands.iter().enumerate() {
            let (whole, there) = (command.to.len(), parts[number]);
            if there != 0 && there != whole {
                return Err(format!(
                    "{there} of {whole} events of command {number} are there"
                ));
            }
            let fits = match played.ends[number] {
                End::Acknowledged => there == whole,
                End::NothingWritten | End::Repeated => there == 0,
                End::Unknown => true,
            };
            if !fits {
                let end = played.ends[number];
                return Err(format!(
                    "command {number} ended as {end:?}, and {there} events are there"
                ));
            }
            // Commands of one key are one command that was sent several times.
            let Some(key) = key else { continue };
            let of_key = self
                .commands
                .iter()
                .zip(&parts)
                .filter(|((_, other), _)| *other == Some(key));
            let made = of_key.filter(|(_, parts)| **parts > 0).count();
            if made > 1 {
                return Err(format!("{made} commits were made under key {key}"));
            }
            if played.ends[number] == End::Repeated && made != 1 {
                return Err(format!(
                    "command {number} repeats a commit that is not there"
                ));
            }
        }
        Ok(())
    }

    /// Plays every sequence of choices; gives back how many there were, or the first that went wrong.
    fn explore(&self) -> Result<u64, String> {
        let mut choices = Choices::Every {
            path: Vec::new(),
            next: 0,
        };
        let mut count = 0;
        loop {
            let played = self.play(&mut choices);
            count += 1;
            if let Err(why) = self.verdict(&played) {
                let Choices::Every { path, .. } = choices else {
                    unreachable!()
                };
                let path: Vec<_> = path.into_iter().map(|(choice, _)| choice).collect();
                return Err(format!("{why}; after the choices {path:?}"));
            }
            if !choices.advance() {
                return Ok(count);
            }
        }
    }

    fn by_chance(&self, seed: u64) -> Result<(), String> {
        let played = self.play(&mut Choices::Chance(fastrand::Rng::with_seed(seed)));
        self.verdict(&played)
            .map_err(|why| format!("seed {seed}: {why}"))
    }
}

/// The part of a commit that a fault leaves as it is.
fn with(request: &AppendRequest, id: CommitId, keeps_key: bool) -> AppendRequest {
    let key = request.idempotency_key().filter(|_| keeps_key).cloned();
    let (expected, events) = (request.expected().to_vec(), request.events().to_vec());
    AppendRequest::new(id, expected, events, request.metadata().clone(), key).unwrap()
}

fn put(by: usize, to: &[u64], guards: &[u64]) -> (Put, Option<&'static str>) {
    let keys = |numbers: &[u64]| numbers.iter().copied().map(Key).collect();
    let command = Put {
        to: keys(to),
        guards: keys(guards),
        by,
        most: 1,
    };
    (command, None)
}

fn keyed(by: usize, to: &[u64]) -> (Put, Option<&'static str>) {
    (put(by, to, &[]).0, Some("request"))
}

fn world(commands: Vec<(Put, Option<&'static str>)>, failures: usize, deaths: usize) -> World {
    World {
        commands,
        failures,
        deaths,
        remembers: false,
        recalled: Cell::new(0),
        fault: Fault::None,
    }
}

/// Two that write to a stream in common, and each to one of its own.
fn crossing(failures: usize, deaths: usize) -> World {
    world(
        vec![put(0, &[1, 2], &[]), put(1, &[2, 3], &[])],
        failures,
        deaths,
    )
}

/// Each writes where the other one only reads: one after the other, the second one sees what the first has written.
fn write_skew(failures: usize, deaths: usize) -> World {
    world(
        vec![put(0, &[1], &[2]), put(1, &[2], &[1])],
        failures,
        deaths,
    )
}

/// The same request twice.
fn one_request_twice(failures: usize, deaths: usize) -> World {
    world(vec![keyed(0, &[1]), keyed(1, &[1])], failures, deaths)
}

/// Commands on the same streams, which go on from what the one before has folded.
fn remembering(alike: usize, failures: usize, deaths: usize) -> World {
    let commands = (0..alike).map(|by| put(by, &[1], &[2]));
    let mut world = world(commands.collect(), failures, deaths);
    world.commands.push(put(alike, &[2], &[]));
    for (command, _) in &mut world.commands {
        command.most = alike - 1;
    }
    World {
        remembers: true,
        ..world
    }
}

fn many(failures: usize, deaths: usize) -> World {
    let commands = vec![
        put(0, &[1, 2], &[3]),
        put(1, &[2, 3], &[]),
        keyed(2, &[1, 3]),
        keyed(3, &[1, 3]),
        put(4, &[3], &[1, 2]),
    ];
    let mut world = world(commands, failures, deaths);
    for (command, _) in &mut world.commands {
        command.most = 4;
    }
    world
}

#[test]
fn every_order_of_two_commands_with_failures_and_a_death() {
    for world in [
        crossing(2, 0),
        crossing(1, 1),
        write_skew(2, 0),
        write_skew(1, 1),
    ] {
        let count = world.explore().unwrap();
        println!("{count} ways");
        assert!(count > 1_000, "only {count}");
    }
}

#[test]
fn every_order_of_a_request_that_is_sent_twice() {
    for world in [one_request_twice(3, 0), one_request_twice(2, 1)] {
        let count = world.explore().unwrap();
        println!("{count} ways");
        assert!(count > 1_000, "only {count}");
    }
}

#[test]
fn every_order_of_commands_that_remember() {
    for world in [remembering(2, 1, 0), remembering(2, 0, 1)] {
        let count = world.explore().unwrap();
        println!("{count} ways, {} recalled", world.recalled.get());
        assert!(count > 1_000, "only {count}");
        assert!(world.recalled.get() > 100, "only {}", world.recalled.get());
    }
}

/// Seeds that once failed. 5: a command whose outcome was unknown was told that it repeated another one under its key, when
/// it met its own commit.
const KEPT: &[u64] = &[5];

#[test]
fn larger_worlds_by_chance() {
    let further: u64 =
        std::env::var("EVENTCORE_SIMULATION_SEEDS").map_or(3_000, |text| text.parse().unwrap());
    for seed in KEPT.iter().copied().chain(0..further) {
        many(4, 1).by_chance(seed).unwrap();
        remembering(4, 4, 1).by_chance(seed).unwrap();
    }
}

fn control(world: World, fault: Fault) -> String {
    World { fault, ..world }.explore().unwrap_err()
}

#[test]
fn control_a_store_that_forgets_its_own_commits_doubles_them() {
    let said = control(crossing(1, 0), Fault::ForgetsOwnCommits);
    assert!(
        said.contains("ended as NothingWritten, and 2 events are there"),
        "{said}"
    );
}

#[test]
fn control_read_only_streams_that_are_not_checked_are_found_out() {
    let said = control(write_skew(0, 0), Fault::ReadOnlyUnchecked);
    assert!(said.contains("saw 0 events, and 1 were there"), "{said}");
}

#[test]
fn control_keys_that_are_forgotten_are_found_out() {
    let said = control(one_request_twice(0, 0), Fault::ForgetsKeys);
    assert!(said.contains("2 commits were made under key"), "{said}");
}
