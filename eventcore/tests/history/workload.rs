//! Commands that get in each other's way: over one to four of a few streams, with read-only ones, with discovery, with
//! refusals, and with commands that write nothing.

use std::{
    fmt,
    io::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use eventcore::{
    Command, CommandLogic, Event, EventStore, RetryPolicy, StreamKey, StreamResolver, StreamState,
    require,
    testing::history::{Entry, History, WrittenEvent},
};
use serde::{Deserialize, Serialize};

/// Every one is different, so that it shows whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
enum RegisterEvent {
    Wrote { by: String, number: u64, seen: u64 },
    Linked { by: String, number: u64, other: u64 },
}
use RegisterEvent::{Linked, Wrote};

/// The number of events of a register, and those that it is linked to.
#[derive(Debug, Default)]
struct Written {
    events: u64,
    linked: Vec<Register>,
}

impl StreamState<RegisterEvent> for Written {
    fn apply(&mut self, event: RegisterEvent) {
        self.events += 1;
        if let Linked { other, .. } = event
            && !self.linked.contains(&Register(other))
        {
            self.linked.push(Register(other));
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, StreamKey)]
#[stream_key(category = "register", event = RegisterEvent, state = Written)]
struct Register(u64);

/// Writes to some registers if those that it reads have changed an even number of times.
#[derive(Debug, Command)]
struct Put {
    #[stream]
    to: Vec<Register>,
    #[stream(read)]
    guards: Vec<Register>,
    by: String,
    number: u64,
}

#[derive(Debug)]
struct Odd;

impl CommandLogic for Put {
    type State = ();
    type Error = Odd;

    fn handle(&self, (): &(), streams: PutStreams<'_>) -> Result<(), Odd> {
        let guards: u64 = streams.guards.iter().map(|(_, guard)| guard.events).sum();
        require!(guards.is_multiple_of(2), Odd);
        let to: u64 = streams.to.iter().map(|(_, to)| to.events).sum();
        for (_, register) in streams.to {
            register.append(Wrote {
                by: self.by.clone(),
                number: self.number,
                seen: to + guards,
            });
        }
        Ok(())
    }
}

/// Links a register to another one, and writes to all that it is linked to already.
#[derive(Debug, Command)]
#[command(discovers(linked: Vec<Register>))]
struct Link {
    #[stream]
    from: Register,
    other: u64,
    by: String,
    number: u64,
}

impl CommandLogic for Link {
    type State = ();
    type Error = Odd;

    fn handle(&self, (): &(), streams: LinkStreams<'_>) -> Result<(), Odd> {
        streams.from.append(Linked {
            by: self.by.clone(),
            number: self.number,
            other: self.other,
        });
        for (_, to) in &streams.linked {
            to.append(Wrote {
                by: self.by.clone(),
                number: self.number,
                seen: streams.from.linked.len() as u64,
            });
        }
        Ok(())
    }
}

impl StreamResolver for Link {
    fn discover_related_streams(&self, (): &(), streams: LinkKnownStreams<'_>) -> LinkDiscovered {
        let linked = streams.from.linked.iter();
        let others = linked.filter(|other| **other != self.from);
        LinkDiscovered {
            linked: others.take(2).cloned().collect(),
        }
    }
}

/// So few that commands conflict all the time.
const REGISTERS: u64 = 8;
/// The lists of registers that come up more often than others, so that their states are remembered.
const USUAL: u64 = 6;
const TASKS: u64 = 6;

/// The number of `Put` commits; each must have decided on the events of its streams, all and once.
pub fn assert_states(entries: &[Entry]) -> usize {
    let mut checked = 0;
    for entry in entries {
        let Entry::Appending(attempt) = entry else {
            continue;
        };
        let there: u64 = attempt.expected.iter().map(|(_, version)| version).sum();
        let is_link = |event: &WrittenEvent| event.type_name == "RegisterLinked";
        if attempt.events.iter().any(is_link) {
            continue;
        }
        for event in &attempt.events {
            match RegisterEvent::decode(&event.type_name, event.payload.as_bytes()).unwrap() {
                Wrote { seen, .. } => assert_eq!(seen, there, "{attempt:?}"),
                Linked { .. } => unreachable!(),
            }
        }
        checked += 1;
    }
    checked
}

/// Two lists of registers, without one in common.
fn registers(
    random: &mut fastrand::Rng,
    to: usize,
    guards: usize,
) -> (Vec<Register>, Vec<Register>) {
    let mut numbers: Vec<u64> = (0..REGISTERS).collect();
    random.shuffle(&mut numbers);
    let mut all = numbers.into_iter().map(Register);
    (all.by_ref().take(to).collect(), all.take(guards).collect())
}

/// Runs commands in several tasks, and gives back what was written down.
pub async fn run<W: Write + Send + fmt::Debug>(
    store: &impl EventStore,
    out: W,
    name: &str,
    commands: u64,
) -> W {
    let history = History::new(name, out);
    let next = AtomicU64::new(0);
    let task = async |task: u64| {
        let seed = name.bytes().map(u64::from).sum::<u64>() * 31 + task;
        let mut random = fastrand::Rng::with_seed(seed);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= commands {
                return;
            }
            let by = name.to_owned();
            let policy = RetryPolicy::new();
            if random.u8(0..8) == 0 {
                let command = Link {
                    from: Register(random.u64(0..REGISTERS)),
                    other: random.u64(0..REGISTERS),
                    by,
                    number,
                };
                let _ = history.execute(store, command, policy).await.unwrap();
            } else {
                // Often none to write to: a command that only reads.
                let to = random.usize(0..4);
                let guards = random.usize(usize::from(to == 0)..3);
                let (to, guards) = if random.bool() {
                    let mut usual = fastrand::Rng::with_seed(random.u64(0..USUAL));
                    registers(&mut usual, to, guards)
                } else {
                    registers(&mut random, to, guards)
                };
                let command = Put {
                    to,
                    guards,
                    by,
                    number,
                };
                let _ = history.execute(store, command, policy).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    futures_join(TASKS, task).await;
    history.into_inner()
}

/// All tasks at once, on the threads of the runtime where they may; they borrow, so they are polled together.
async fn futures_join<F: Future<Output = ()>>(count: u64, task: impl Fn(u64) -> F) {
    let mut tasks: Vec<_> = (0..count)
        .map(|number| Some(Box::pin(task(number))))
        .collect();
    std::future::poll_fn(|context| {
        for task in &mut tasks {
            if task
                .as_mut()
                .is_some_and(|task| task.as_mut().poll(context).is_ready())
            {
                *task = None;
            }
        }
        if tasks.iter().all(Option::is_none) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}
