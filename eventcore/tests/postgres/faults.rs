//! PostgreSQL behind connections that break, and servers that die: every command is there once if it succeeded, and its
//! caller is left without an answer only if the server stayed away past the deadline.

use std::{
    collections::HashMap,
    convert::Infallible,
    io::{BufRead, BufReader, Read},
    process::{Child, Command as Program, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use eventcore::{
    Command, CommandError, CommandLogic, CommitId, Event, EventFilter, EventStore, EventStoreError,
    MetricsHook, Position, RetryContext, RetryPolicy, RetryReason, StreamKey, execute,
    postgres::{PostgresConfig, PostgresEventStore},
    store::{
        AppendRequest, CommitReceipt, FeedPage, MAX_PAGE_EVENTS, ReadFeedRequest,
        ReadStreamsRequest, StoreFuture, StreamPage,
    },
};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::{
    proxy::{FAULTS, Fault, Mode, Proxy},
    server,
};

#[derive(Debug, Serialize, Deserialize, Event)]
struct Wrote {
    number: u64,
}

#[derive(Debug, StreamKey)]
#[stream_key(category = "own", event = Wrote)]
struct Own(u64);

#[derive(Debug, StreamKey)]
#[stream_key(category = "shared", event = Wrote)]
struct Shared(u64);

/// Writes its number to a stream of its own and to one that it competes for.
#[derive(Debug, Command)]
struct Write {
    #[stream]
    own: Own,
    #[stream]
    shared: Shared,
    number: u64,
}

impl Write {
    fn new(number: u64) -> Self {
        Self {
            own: Own(number),
            shared: Shared(number % 4),
            number,
        }
    }
}

impl CommandLogic for Write {
    type State = ();
    type Error = Infallible;

    fn apply(&self, (): &mut (), _: WriteEvent<'_>) {}

    fn handle(&self, (): &(), streams: WriteStreams<'_>) -> Result<(), Infallible> {
        let number = self.number;
        streams.own.append(Wrote { number });
        streams.shared.append(Wrote { number });
        Ok(())
    }
}

type Outcome = Result<(), CommandError<Infallible>>;

/// Returns the content of the database, read without the proxy.
#[derive(Debug, Default)]
struct Found {
    /// Of each command, its events.
    events: HashMap<u64, Vec<CommitId>>,
}

impl Found {
    async fn new(store: &PostgresEventStore) -> Self {
        let (mut found, mut after) = (Self::default(), Position::START);
        let mut versions = HashMap::new();
        loop {
            let request = ReadFeedRequest {
                after,
                filter: EventFilter::All,
                limit: MAX_PAGE_EVENTS,
            };
            let page = store.read_feed(request).await.unwrap();
            if page.events.is_empty() {
                return found;
            }
            for event in page.events {
                assert_eq!(event.position, after.plus(1), "positions are dense");
                after = event.position;
                let version = versions.entry(event.stream.clone()).or_insert(0);
                *version += 1;
                assert_eq!(event.version.get(), *version, "versions are dense");
                let Wrote { number } = event.decode().unwrap();
                found
                    .events
                    .entry(number)
                    .or_default()
                    .push(event.commit_id());
            }
        }
    }

    /// In how many commits a command is. Each must be whole.
    fn times(&self, number: u64) -> usize {
        let Some(events) = self.events.get(&number) else {
            return 0;
        };
        let mut commits = HashMap::new();
        for commit in events {
            *commits.entry(*commit).or_insert(0) += 1;
        }
        assert!(
            commits.values().all(|events| *events == 2),
            "command {number} is torn: {commits:?}"
        );
        commits.len()
    }

    /// Asserts that what succeeded is there once, what has no known outcome at most once, and what failed not at all.
    fn fits(&self, outcomes: &[(u64, Outcome)]) {
        for (number, outcome) in outcomes {
            let times = self.times(*number);
            let allowed = match outcome {
                Ok(()) => 1..=1,
                Err(CommandError::OutcomeUnknown { .. }) => 0..=1,
                Err(_) => 0..=0,
            };
            assert!(
                allowed.contains(&times),
                "command {number} is there {times} times, and its outcome is {outcome:?}"
            );
        }
    }
}

/// Counts how often an outcome was open.
#[derive(Default)]
struct Unknown(AtomicUsize);

impl MetricsHook for Unknown {
    fn on_retry_attempt(&self, context: &RetryContext) {
        if context.reason == RetryReason::OutcomeUnknown {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A schema of its own, and the same one through a proxy.
struct Broken {
    config: PostgresConfig,
    direct: PostgresEventStore,
    proxy: Proxy,
}

/// A busy machine answers sooner, or else hardly any command would come to its end.
const REQUEST: Duration = Duration::from_secs(5);
/// Longer than a store waits for an answer.
const LONG: Duration = Duration::from_millis(5400);

impl Broken {
    async fn new(seed: u64) -> Self {
        let url = server::url();
        let (who, address, database) = parts(&url);
        let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
        let direct = PostgresConfig::new(&url).unwrap().schema(&schema).unwrap();
        let direct = server::patient(direct);
        let direct = connect(&direct).await;
        let proxy = Proxy::start(address, seed, LONG).await;
        let through = format!(
            "{who}@{}/{database}?sslmode=disable&schema={schema}",
            proxy.address
        );
        let config = PostgresConfig::new(&through)
            .unwrap()
            .pool_size(4)
            .migrate_on_connect(false)
            .connect_timeout(REQUEST)
            .request_timeout(REQUEST);
        Self {
            config,
            direct,
            proxy,
        }
    }

    async fn store(&self) -> PostgresEventStore {
        connect(&self.config).await
    }
}

/// On a busy machine an answer may take longer than is allowed.
async fn connect(config: &PostgresConfig) -> PostgresEventStore {
    let mut tries = 0..300;
    loop {
        match config.connect().await {
            Err(error) if error.is_transient() && tries.next().is_some() => {}
            connected => return connected.unwrap(),
        }
    }
}

/// User and password, address, and database.
fn parts(url: &str) -> (&str, &str, &str) {
    let (who, rest) = url.rsplit_once('@').unwrap();
    let (address, database) = rest.split_once('/').unwrap();
    (who, address, database.split('?').next().unwrap())
}

const CLIENTS: u64 = 6;

/// A command ends when its outcome is known, however long a busy machine takes for that.
fn patient_policy() -> RetryPolicy {
    RetryPolicy::new()
        .deadline(Duration::from_hours(1))
        .max_attempts(u32::MAX)
}

/// A call that a broken bound would keep for ever ends the test. On a busy machine, seconds may pass before it ends well.
async fn ends<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(2), call)
        .await
        .expect("the call ends by its own bound")
}

/// The counts of a load of commands, and the signal to continue.
#[derive(Default)]
struct Load {
    enough: AtomicBool,
    made: AtomicUsize,
}

impl Load {
    /// Waits until so many more commands have succeeded.
    async fn goes_on(&self, further: usize) {
        let until = self.made.load(Ordering::Relaxed) + further;
        while self.made.load(Ordering::Relaxed) < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Runs commands on each of these stores, as two processes would.
async fn run<S: EventStore + Clone + 'static>(
    stores: [S; 2],
    commands: u64,
    policy: &RetryPolicy,
) -> Vec<(u64, Outcome)> {
    run_under(Arc::default(), stores, commands, policy).await
}

/// Ends earlier, too.
async fn run_under<S: EventStore + Clone + 'static>(
    load: Arc<Load>,
    stores: [S; 2],
    commands: u64,
    policy: &RetryPolicy,
) -> Vec<(u64, Outcome)> {
    let mut clients = Vec::new();
    for (place, store) in (0..).zip(stores) {
        for client in 0..CLIENTS {
            let (store, policy, load) = (store.clone(), policy.clone(), load.clone());
            let first = (place * CLIENTS + client) * commands;
            clients.push(tokio::spawn(async move {
                let mut outcomes = Vec::new();
                for number in first..first + commands {
                    if load.enough.load(Ordering::Relaxed) {
                        break;
                    }
                    let outcome = execute(&store, Write::new(number), policy.clone()).await;
                    load.made
                        .fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
                    outcomes.push((number, outcome.map(drop)));
                }
                outcomes
            }));
        }
    }
    let ended = join_all(clients).await;
    ended.into_iter().flat_map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_ends_once_whatever_breaks_on_the_way() {
    let unknown = Arc::new(Unknown::default());
    let mut met = HashMap::new();
    let all_met = |met: &HashMap<_, _>| FAULTS.iter().all(|fault| met.contains_key(fault));
    // Until every fault has met an append, which is mostly so after the first three.
    for seed in 0.. {
        if seed >= 3 && all_met(&met) && unknown.0.load(Ordering::Relaxed) > 10 {
            break;
        }
        let broken = Broken::new(seed).await;
        let stores = [broken.store().await, broken.store().await];
        broken.proxy.percent(4);
        let policy = patient_policy().metrics_hook(unknown.clone());
        let outcomes = run(stores, 10, &policy).await;
        for (number, outcome) in &outcomes {
            assert!(
                outcome.is_ok(),
                "seed {seed}: the server came back, and command {number} got {outcome:?}"
            );
        }
        Found::new(&broken.direct).await.fits(&outcomes);
        for (fault, times) in broken.proxy.met() {
            *met.entry(fault).or_insert(0) += times;
        }
    }
}

/// A store that does not know its own commits again: each attempt has an id of its own.
#[derive(Clone)]
struct Forgetful(PostgresEventStore);

impl EventStore for Forgetful {
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        self.0.read_streams(request)
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        let renamed = AppendRequest::new(
            CommitId::generate(),
            request.expected().to_vec(),
            request.events().to_vec(),
            request.metadata().clone(),
            request.idempotency_key().cloned(),
        );
        Box::pin(async move { self.0.append(renamed.unwrap()).await })
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        self.0.read_feed(request)
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        self.0.wait_for_event(after)
    }
}

/// The control: what the test above relies on, switched off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_check_for_its_own_commit_a_command_is_made_twice() {
    let broken = Broken::new(1).await;
    let stores = [
        Forgetful(broken.store().await),
        Forgetful(broken.store().await),
    ];
    broken.proxy.percent(4);
    // Whatever comes by chance: the first append is made, and nobody hears of it.
    broken.proxy.next_append(Fault::DropResponse, Mode::Forward);
    let outcomes = run(stores, 10, &patient_policy()).await;
    let found = Found::new(&broken.direct).await;
    let doubled = outcomes
        .iter()
        .filter(|(number, _)| found.times(*number) > 1);
    assert!(doubled.count() > 0, "{:?}", broken.proxy.met());
}

/// One command whose append meets `fault`, on a server that stays away then. How often it is there, and how it ended.
async fn lone(fault: Fault, then: Mode) -> (usize, Outcome) {
    // On a busy machine a command may come to its deadline before it appends anything.
    loop {
        let broken = Broken::new(0).await;
        let store = broken.store().await;
        broken.proxy.next_append(fault, then);
        let policy = if then == Mode::Forward {
            patient_policy()
        } else {
            RetryPolicy::new().deadline(Duration::from_secs(1))
        };
        let outcome = ends(execute(&store, Write::new(7), policy)).await;
        if !broken.proxy.met().contains_key(&fault) {
            continue;
        }
        let times = Found::new(&broken.direct).await.times(7);
        // The server is back, and the same store goes on with it.
        broken.proxy.mode(Mode::Forward);
        execute(&store, Write::new(8), patient_policy())
            .await
            .unwrap();
        return (times, outcome.map(drop));
    }
}

#[tokio::test]
async fn an_outcome_is_unknown_only_if_the_server_stays_away() {
    for (fault, then, times) in [
        (Fault::DropRequest, Mode::Refuse, 0),
        (Fault::CutRequest, Mode::Refuse, 0),
        (Fault::DropResponse, Mode::Refuse, 1),
        (Fault::CutResponse, Mode::Refuse, 1),
        (Fault::DropRequest, Mode::Pause, 0),
        (Fault::DropResponse, Mode::Pause, 1),
        // It says that its disk is full, as it does when a statement is refused. But here the commit is made.
        (Fault::Panic, Mode::Refuse, 1),
    ] {
        let (found, outcome) = lone(fault, then).await;
        assert!(
            matches!(outcome, Err(CommandError::OutcomeUnknown { .. })),
            "{fault:?} {then:?}: {outcome:?}"
        );
        assert_eq!(found, times, "{fault:?} {then:?}");
    }
    for fault in FAULTS.into_iter().chain([Fault::Panic]) {
        let (found, outcome) = lone(fault, Mode::Forward).await;
        assert!(outcome.is_ok(), "{fault:?}: {outcome:?}");
        assert_eq!(found, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_connection_that_carries_nothing_ends_by_the_deadline() {
    let broken = Broken::new(0).await;
    let store = broken.store().await;
    broken.proxy.mode(Mode::Pause);
    let policy = RetryPolicy::new().deadline(Duration::from_secs(1));
    let outcome = ends(execute(&store, Write::new(7), policy)).await;
    assert!(
        matches!(
            outcome,
            Err(
                CommandError::EventStoreError(EventStoreError::Unavailable { .. })
                    | CommandError::DeadlineExceeded { .. }
            )
        ),
        "{outcome:?}"
    );
    let request = ReadFeedRequest {
        after: Position::START,
        filter: EventFilter::All,
        limit: 1,
    };
    assert!(ends(store.read_feed(request)).await.is_err());
    broken.proxy.mode(Mode::Forward);
    execute(&store, Write::new(7), patient_policy())
        .await
        .unwrap();
    assert_eq!(Found::new(&broken.direct).await.times(7), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_given_up_at_any_point_leaves_all_or_nothing() {
    let broken = Broken::new(0).await;
    let config = broken.config.clone().pool_size(2);
    // A store that loses a connection at each of these points would be out of both of them at once.
    let store = connect(&config).await;
    let mut random = fastrand::Rng::with_seed(3);
    let (mut outcomes, mut numbers) = (Vec::new(), 1000..);
    // Until some were given up before their commit was sent and some after it, and some were not given up.
    loop {
        // What a command takes now: a machine is not always as busy.
        let mut usual = Vec::new();
        for number in numbers.by_ref().take(20) {
            let started = Instant::now();
            let outcome = execute(&store, Write::new(number), patient_policy()).await;
            outcomes.push((number, outcome.map(drop)));
            usual.push(u64::try_from(started.elapsed().as_micros()).unwrap());
        }
        usual.sort_unstable();
        let usual = usual[10];
        let mut given_up = Vec::new();
        for number in numbers.by_ref().take(200) {
            let patience = match number % 4 {
                0 => Duration::from_hours(1),
                1 => Duration::from_micros(random.u64(0..usual / 2)),
                _ => Duration::from_micros(random.u64(0..6 * usual)),
            };
            let run = execute(&store, Write::new(number), patient_policy());
            match tokio::time::timeout(patience, run).await {
                Ok(outcome) => outcomes.push((number, outcome.map(drop))),
                Err(_) => given_up.push(number),
            }
            let request = ReadFeedRequest {
                after: Position::START,
                filter: EventFilter::All,
                limit: 1,
            };
            let patience = Duration::from_micros(random.u64(0..usual));
            let _ = tokio::time::timeout(patience, store.read_feed(request)).await;
        }
        // Nothing is left behind: no connection that answers an old question, and none too few.
        let policy = patient_policy();
        let after = run([store.clone(), store.clone()], 5, &policy);
        assert!(ends(after).await.iter().all(|(_, outcome)| outcome.is_ok()));
        let found = Found::new(&broken.direct).await;
        found.fits(&outcomes);
        assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
        let times: Vec<_> = given_up.iter().map(|number| found.times(*number)).collect();
        assert!(times.iter().all(|times| *times <= 1));
        if times.len() > 20 && times.contains(&0) && times.contains(&1) {
            break;
        }
    }
    store.close().await;
}

/// A server that may be killed. It is gone when this is dropped, or the test's process ends.
struct Victim {
    script: Child,
    url: String,
    crash: String,
}

impl Victim {
    fn start() -> Self {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let mut script = Program::new("bash")
            .current_dir(root)
            .args(["scripts/postgres", "bash", "-c"])
            .arg("echo $EVENTCORE_POSTGRES_URL $EVENTCORE_POSTGRES_CRASH; read -r _ || true")
            .env_remove("EVENTCORE_POSTGRES_URL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = script.stdout.as_mut().unwrap();
        BufReader::new(stdout.by_ref())
            .read_line(&mut line)
            .unwrap();
        let (url, crash) = line.trim().split_once(' ').expect("the server started");
        Self {
            script,
            url: url.to_owned(),
            crash: crash.to_owned(),
        }
    }

    async fn crash(&self, argument: &'static str) {
        let mut program = Program::new(&self.crash);
        program.arg(argument).current_dir("/");
        let ended = tokio::task::spawn_blocking(move || program.status());
        assert!(ended.await.unwrap().unwrap().success());
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_when_a_killed_server_is_back() {
    let victim = Victim::start();
    let config = PostgresConfig::new(&victim.url)
        .unwrap()
        .pool_size(4)
        .request_timeout(Duration::from_secs(2));
    let stores = [connect(&config).await, connect(&config).await];
    let unknown = Arc::new(Unknown::default());
    let policy = patient_policy().metrics_hook(unknown.clone());
    let load = Arc::new(Load::default());
    let running = tokio::spawn({
        let (load, stores) = (load.clone(), stores.clone());
        async move { run_under(load, stores, 100_000, &policy).await }
    });
    let mut kills = 0;
    // Until a kill has met a commit. Each comes while commands succeed again.
    while kills < 2 || unknown.0.load(Ordering::Relaxed) == 0 {
        load.goes_on(100).await;
        assert!(!running.is_finished(), "the load ended before the kill");
        victim.crash("").await;
        victim.crash("start").await;
        kills += 1;
    }
    load.goes_on(100).await;
    load.enough.store(true, Ordering::Relaxed);
    let outcomes = running.await.unwrap();
    for (number, outcome) in &outcomes {
        assert!(outcome.is_ok(), "command {number}: {outcome:?}");
    }
    let found = Found::new(&stores[0]).await;
    found.fits(&outcomes);
    assert_eq!(found.events.len(), outcomes.len());
}
