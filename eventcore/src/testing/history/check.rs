//! Compares a history with the log, to find lost, torn, duplicated and phantom events, and commands
//! that cannot be ordered.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use uuid::Uuid;

use super::{
    NO_EVENTS,
    entry::{Attempt, Ended, Entry, Outcome},
    graph::{Before, Graph},
    mark,
};
use crate::RecordedEvent;

/// A violation of the store contract.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Anomaly {
    /// The log has a gap or is out of order.
    Misplaced(String),
    /// An acknowledged commit is missing.
    Lost(String),
    /// A commit is only partially in the log.
    Torn(String),
    /// A commit is in the log more than once.
    Doubled(String),
    /// The log contains an event that no command committed, or lacks an event that a command read.
    Phantom(String),
    /// A commit was made although a stream was not at the version that it expected.
    ExpectedVersion(String),
    /// The store returned a wrong result to a command.
    WrongAnswer(String),
    /// A cycle of commands, each of which must precede the next: no serial order is consistent with
    /// their reads, writes and times.
    Cycle(String),
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, what) = match self {
            Self::Misplaced(what) => ("misplaced", what),
            Self::Lost(what) => ("lost", what),
            Self::Torn(what) => ("torn", what),
            Self::Doubled(what) => ("doubled", what),
            Self::Phantom(what) => ("phantom", what),
            Self::ExpectedVersion(what) => ("expected version", what),
            Self::WrongAnswer(what) => ("wrong answer", what),
            Self::Cycle(what) => ("cycle", what),
        };
        write!(f, "{kind}: {what}")
    }
}

/// The result of [`check`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The number of commands that started.
    pub commands: usize,
    /// The number of commands that were acknowledged and wrote events.
    pub committed: usize,
    /// The number of commands that were acknowledged and wrote nothing.
    pub read_only: usize,
    /// The number of commands that a business rule rejected.
    pub rejected: usize,
    /// The number of commands that failed.
    pub failed: usize,
    /// The number of commands with an unknown outcome, including those that never ended.
    pub unknown: usize,
    /// The number of commit attempts that were not made because of a conflict or a failure.
    pub retried: usize,
    /// The number of events in the log.
    pub events: usize,
    /// The anomalies.
    pub anomalies: Vec<Anomaly>,
}

impl Verdict {
    /// Returns `true` if there is no anomaly.
    pub fn is_clean(&self) -> bool {
        self.anomalies.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} commands: {} committed, {} only read, {} refused, {} failed, {} unknown; {} commits tried again; {} events; \
             {} anomalies",
            self.commands,
            self.committed,
            self.read_only,
            self.rejected,
            self.failed,
            self.unknown,
            self.retried,
            self.events,
            self.anomalies.len()
        )?;
        for anomaly in &self.anomalies {
            write!(f, "\n  {anomaly}")?;
        }
        Ok(())
    }
}

/// Searches for anomalies in the histories of all processes that wrote to a store, given the
/// store's complete final log.
///
/// Every commit in the log must come from a command in the histories. Takes time and memory
/// proportional to the size of both.
pub fn check(entries: &[Entry], log: &[RecordedEvent]) -> Verdict {
    let mut check = Check {
        commands: commands(entries),
        verdict: Verdict {
            events: log.len(),
            ..Verdict::default()
        },
    };
    let log = check.log(log);
    check.count(&log);
    check.commits(&log);
    check.reads(&log);
    check.cycles(&log);
    check.verdict
}

/// The entries of one command.
#[derive(Default)]
struct Command<'a> {
    start: u64,
    attempts: Vec<&'a Attempt>,
    end: Option<&'a Ended>,
}

impl Command<'_> {
    fn outcome(&self) -> &Outcome {
        self.end.map_or(&Outcome::Unknown, |end| &end.outcome)
    }
}

fn commands(entries: &[Entry]) -> BTreeMap<&str, Command<'_>> {
    let mut commands: BTreeMap<&str, Command<'_>> = BTreeMap::new();
    for entry in entries {
        match entry {
            Entry::Started(started) => {
                commands.entry(&started.command).or_default().start = started.at;
            }
            Entry::Appending(attempt) => {
                let command = commands.entry(&attempt.command).or_default();
                command.attempts.push(attempt);
            }
            Entry::Ended(ended) => commands.entry(&ended.command).or_default().end = Some(ended),
        }
    }
    commands
}

/// The log, indexed by commit and by stream.
struct Log<'a> {
    commits: Vec<Commit<'a>>,
    by_id: HashMap<Uuid, usize>,
    streams: HashMap<&'a str, Vec<StreamEvent<'a>>>,
}

struct Commit<'a> {
    id: Uuid,
    events: Vec<&'a RecordedEvent>,
}

impl<'a> Commit<'a> {
    fn content(&self) -> Vec<(&'a str, &'a str, &'a [u8])> {
        let content =
            |event: &&'a RecordedEvent| (event.stream.as_str(), &*event.type_name, &*event.payload);
        self.events.iter().map(content).collect()
    }
}

/// One event of a stream, with the index of its commit and the hash of the stream up to it.
struct StreamEvent<'a> {
    commit: usize,
    position: u64,
    mark: u64,
    event: &'a RecordedEvent,
}

impl<'a> Log<'a> {
    fn stream(&self, stream: &str) -> &[StreamEvent<'a>] {
        self.streams.get(stream).map_or(&[], Vec::as_slice)
    }

    /// Returns the version of a stream in the snapshot that ends at a position.
    fn version_at(&self, stream: &str, position: u64) -> u64 {
        let events = self.stream(stream);
        number(events.partition_point(|event| event.position <= position))
    }

    /// Returns the index of the commit that wrote a version.
    fn writer(&self, stream: &str, version: u64) -> Option<usize> {
        let place = usize::try_from(version).ok()?.checked_sub(1)?;
        self.stream(stream).get(place).map(|event| event.commit)
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

struct Check<'a> {
    commands: BTreeMap<&'a str, Command<'a>>,
    verdict: Verdict,
}

impl Check<'_> {
    fn found(&mut self, anomaly: Anomaly) {
        self.verdict.anomalies.push(anomaly);
    }

    /// Indexes the log, and checks that it has no gaps and that each commit is contiguous.
    fn log<'l>(&mut self, events: &'l [RecordedEvent]) -> Log<'l> {
        let mut log = Log {
            commits: Vec::new(),
            by_id: HashMap::new(),
            streams: HashMap::new(),
        };
        for (before, event) in events.iter().enumerate() {
            let position = event.position.get();
            if position != number(before) + 1 {
                self.found(Anomaly::Misplaced(format!(
                    "event {} of the log is at position {position}",
                    before + 1
                )));
            }
            let id = event.commit_id().as_uuid();
            let last = log.commits.last().is_some_and(|last| last.id == id);
            if !last {
                if log.by_id.contains_key(&id) {
                    self.found(Anomaly::Torn(format!(
                        "commit {id} goes on at position {position}, after others"
                    )));
                }
                log.by_id.entry(id).or_insert(log.commits.len());
                log.commits.push(Commit {
                    id,
                    events: Vec::new(),
                });
            }
            let commit = log.commits.len() - 1;
            if let Some(commit) = log.commits.last_mut() {
                commit.events.push(event);
            }
            let stream = log.streams.entry(event.stream.as_str()).or_default();
            let version = event.version.get();
            if version != number(stream.len()) + 1 {
                self.found(Anomaly::Misplaced(format!(
                    "event {} of stream `{}` has version {version}",
                    stream.len() + 1,
                    event.stream
                )));
            }
            let so_far = stream.last().map_or(NO_EVENTS, |last| last.mark);
            stream.push(StreamEvent {
                commit,
                position,
                mark: mark(so_far, &event.type_name, &event.payload),
                event,
            });
        }
        log
    }

    fn count(&mut self, log: &Log<'_>) {
        for command in self.commands.values() {
            let verdict = &mut self.verdict;
            verdict.commands += 1;
            *match command.outcome() {
                Outcome::Committed { events: 0, .. } => &mut verdict.read_only,
                Outcome::Committed { .. } => &mut verdict.committed,
                Outcome::Rejected => &mut verdict.rejected,
                Outcome::Failed(_) => &mut verdict.failed,
                Outcome::Unknown => &mut verdict.unknown,
            } += 1;
            let tried = command.attempts.len();
            let made = command.attempts.iter().any(|attempt| {
                attempt.events.is_empty() && matches!(command.outcome(), Outcome::Committed { .. })
                    || log.by_id.contains_key(&attempt.commit)
            });
            verdict.retried += tried - usize::from(made).min(tried);
        }
    }

    /// Checks that every commit in the log was attempted by a command and not reported as failed,
    /// that every acknowledged commit is in the log, and that each commit is complete and occurs
    /// once.
    fn commits(&mut self, log: &Log<'_>) {
        let mut found = Vec::new();
        let mut asked: HashMap<Uuid, (&str, &Command<'_>)> = HashMap::new();
        for (name, command) in &self.commands {
            for attempt in &command.attempts {
                asked.insert(attempt.commit, (name, command));
            }
        }
        let of_commands = log
            .commits
            .iter()
            .filter(|commit| asked.contains_key(&commit.id));
        let contents: HashMap<_, _> = of_commands
            .map(|commit| (commit.content(), commit.id))
            .collect();
        for commit in &log.commits {
            let Some((name, command)) = asked.get(&commit.id) else {
                found.push(match contents.get(&commit.content()) {
                    Some(original) => Anomaly::Doubled(format!(
                        "commit {} has the events of commit {original} again",
                        commit.id
                    )),
                    None => Anomaly::Phantom(format!("nobody asked for commit {}", commit.id)),
                });
                continue;
            };
            if matches!(command.outcome(), Outcome::Rejected | Outcome::Failed(_)) {
                found.push(Anomaly::Phantom(format!(
                    "command {name} was told that nothing was written, and commit {} is there",
                    commit.id
                )));
            }
            if let Some(attempt) = command.attempts.last() {
                found.extend(compare(name, attempt, commit));
                found.extend(versions(name, attempt, commit, log));
            }
        }
        for (name, command) in &self.commands {
            found.extend(answer(name, command, log));
        }
        self.verdict.anomalies.append(&mut found);
    }

    /// Checks that every decision is based on events of the log, and that every successful command
    /// decided on the versions that its commit expected.
    fn reads(&mut self, log: &Log<'_>) {
        let mut found = Vec::new();
        for (name, command) in &self.commands {
            let Some(end) = command.end else { continue };
            if let Outcome::Failed(_) | Outcome::Committed { repeated: true, .. } = end.outcome {
                continue;
            }
            for read in &end.read {
                let events = log.stream(&read.stream);
                let place = usize::try_from(read.version).unwrap_or(usize::MAX);
                let after = usize::try_from(read.after).unwrap_or(usize::MAX);
                let so_far = match (after, place.checked_sub(1)) {
                    (_, None) => Some(NO_EVENTS),
                    (0, Some(last)) => events.get(last).map(|event| event.mark),
                    (after, Some(_)) => events.get(after..place).map(|events| {
                        events
                            .iter()
                            .fold(NO_EVENTS, |so_far, StreamEvent { event, .. }| {
                                mark(so_far, &event.type_name, &event.payload)
                            })
                    }),
                };
                let (stream, version) = (&read.stream, read.version);
                match so_far {
                    None => found.push(Anomaly::Phantom(format!(
                        "command {name} has read version {version} of stream `{stream}`, which ends at {}",
                        events.len()
                    ))),
                    Some(so_far) if so_far != read.mark => found.push(Anomaly::WrongAnswer(format!(
                        "command {name} has read other events of stream `{stream}` up to version {version} than are there"
                    ))),
                    Some(_) => {}
                }
            }
            let Some(attempt) = command.attempts.last() else {
                continue;
            };
            for (stream, version) in &attempt.expected {
                let read = end.read.iter().find(|read| read.stream == *stream);
                if read.is_none_or(|read| read.version != *version)
                    && matches!(end.outcome, Outcome::Committed { .. })
                {
                    found.push(Anomaly::ExpectedVersion(format!(
                        "command {name} was conditional on version {version} of stream `{stream}`, and has read {:?}",
                        read.map(|read| read.version)
                    )));
                }
            }
        }
        self.verdict.anomalies.append(&mut found);
    }

    fn cycles(&mut self, log: &Log<'_>) {
        let (mut graph, mut names, mut spans) = (Graph::default(), Vec::new(), Vec::new());
        let mut read: Vec<(usize, &str, u64)> = Vec::new();
        let mut by_commit: HashMap<Uuid, (&str, &Command<'_>)> = HashMap::new();
        for (name, command) in &self.commands {
            for attempt in &command.attempts {
                by_commit.insert(attempt.commit, (name, command));
            }
        }
        for commit in &log.commits {
            let node = graph.node();
            if let Some(before) = node.checked_sub(1) {
                graph.edge(before, node, Before::Log);
            }
            let Some((name, command)) = by_commit.get(&commit.id) else {
                names.push(format!("commit {}", commit.id));
                continue;
            };
            names.push(format!("command {name}"));
            let acknowledged = matches!(command.outcome(), Outcome::Committed { .. });
            let end = command.end.filter(|_| acknowledged);
            spans.push((node, command.start, end.map(|end| end.at)));
            for (stream, version) in command
                .attempts
                .last()
                .iter()
                .flat_map(|last| &last.expected)
            {
                read.push((node, stream, *version));
            }
        }
        for (name, command) in &self.commands {
            let Some(end) = command.end else { continue };
            let snapshot = match end.outcome {
                Outcome::Committed {
                    events: 0,
                    repeated: false,
                    ..
                } => true,
                Outcome::Rejected => end.one_snapshot,
                _ => false,
            };
            if !snapshot {
                continue;
            }
            let node = graph.node();
            names.push(format!("command {name}"));
            spans.push((node, command.start, Some(end.at)));
            read.extend(
                end.read
                    .iter()
                    .map(|read| (node, &*read.stream, read.version)),
            );
        }
        for (node, stream, version) in read {
            if let Some(writer) = log.writer(stream, version) {
                graph.edge(writer, node, Before::WroteRead);
            }
            if let Some(writer) = log.writer(stream, version + 1) {
                graph.edge(node, writer, Before::ReadWrote);
            }
        }
        graph.in_time(&spans);
        for cycle in graph.cycles(names.len()) {
            let mut text = String::new();
            for (node, why) in &cycle {
                text.push_str(names.get(*node).map_or("", String::as_str));
                text.push(' ');
                text.push_str(&why.to_string());
                text.push(' ');
            }
            let first = cycle.first().and_then(|(first, _)| names.get(*first));
            text.push_str(first.map_or("", String::as_str));
            self.found(Anomaly::Cycle(text));
        }
    }
}

/// Checks that a commit in the log has exactly the requested events.
fn compare(name: &str, attempt: &Attempt, commit: &Commit<'_>) -> Option<Anomaly> {
    let id = commit.id;
    let (asked, there) = (attempt.events.len(), commit.events.len());
    if there < asked {
        return Some(Anomaly::Torn(format!(
            "command {name} wrote {asked} events, of which commit {id} has {there}"
        )));
    }
    if there > asked {
        return Some(Anomaly::Doubled(format!(
            "command {name} wrote {asked} events, of which commit {id} has {there}"
        )));
    }
    let differs = attempt
        .events
        .iter()
        .zip(&commit.events)
        .any(|(asked, there)| {
            let stream = attempt
                .expected
                .get(asked.stream)
                .map(|(stream, _)| stream.as_str());
            stream != Some(there.stream.as_str())
                || *asked.type_name != *there.type_name
                || *asked.payload.as_bytes() != *there.payload
        });
    differs.then(|| {
        Anomaly::Torn(format!(
            "commit {id} holds other events than command {name} wrote"
        ))
    })
}

/// Checks that every stream was at its expected version just before the commit.
fn versions(name: &str, attempt: &Attempt, commit: &Commit<'_>, log: &Log<'_>) -> Option<Anomaly> {
    let before = commit.events.first()?.position.get() - 1;
    attempt.expected.iter().find_map(|(stream, expected)| {
        let actual = log.version_at(stream, before);
        (actual != *expected).then(|| {
            Anomaly::ExpectedVersion(format!(
                "command {name} committed after position {before} on version {expected} of stream `{stream}`, which was at \
                 {actual}"
            ))
        })
    })
}

/// Checks that the response to a successful command is correct.
fn answer(name: &str, command: &Command<'_>, log: &Log<'_>) -> Option<Anomaly> {
    let Outcome::Committed {
        position,
        events,
        repeated: false,
    } = *command.outcome()
    else {
        return None;
    };
    let attempt = command.attempts.last()?;
    if attempt.events.is_empty() {
        return attempt.expected.iter().find_map(|(stream, expected)| {
            let actual = log.version_at(stream, position);
            (actual != *expected).then(|| {
                Anomaly::ExpectedVersion(format!(
                    "command {name} succeeded at position {position} on version {expected} of stream `{stream}`, which was \
                     at {actual}"
                ))
            })
        });
    }
    let commit = log
        .by_id
        .get(&attempt.commit)
        .and_then(|place| log.commits.get(*place));
    let Some(commit) = commit else {
        return Some(Anomaly::Lost(format!(
            "command {name} was acknowledged, and its commit {} is not there",
            attempt.commit
        )));
    };
    let last = commit.events.last().map_or(0, |last| last.position.get());
    (last != position || events != attempt.events.len()).then(|| {
        Anomaly::WrongAnswer(format!(
            "command {name} was told that it wrote {events} events up to position {position}; it wrote {} up to {last}",
            attempt.events.len()
        ))
    })
}
