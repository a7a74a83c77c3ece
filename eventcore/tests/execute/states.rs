//! The states of streams in the cache: the same verdicts as without it, and less to read.
#![cfg(all(feature = "macros", feature = "sqlite"))]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    cell::Cell,
    pin::pin,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use eventcore::{
    Command, CommandError, CommandLogic, CommitId, Event, EventStore, ExecuteOptions,
    ExecutionResponse, IdempotencyKey, LoadError, Metadata, Position, RetryPolicy, StreamId,
    StreamKey, StreamState, Version, execute, load, load_at,
    memory::MemoryEventStore,
    require,
    sqlite::SqliteEventStore,
    store::{
        AppendRequest, CommitReceipt, ExpectedVersion, FeedPage, NewEvent, ReadFeedRequest,
        ReadStreamsRequest, StateCache, StoreFuture, StreamCursor, StreamHead, StreamPage,
    },
    testing::given,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[cfg(feature = "postgres")]
use crate::server;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
enum AccountEvent {
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}
use AccountEvent::{Deposited, Withdrawn};

thread_local! {
    // Each test has a thread of its own.
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

/// The state of an account. It cannot be copied.
#[derive(Debug, Default)]
struct Account {
    balance: u64,
    events: u64,
}

impl StreamState<AccountEvent> for Account {
    fn apply(&mut self, event: AccountEvent) {
        if let Deposited { amount: 13 } = event {
            assert!(!PANICS.get(), "13 is not a good number");
        }
        self.events += 1;
        match event {
            Deposited { amount } => self.balance += amount,
            Withdrawn { amount } => self.balance -= amount,
        }
    }
}

#[derive(Debug, Clone, PartialEq, StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Account)]
struct AccountId(u64);

fn id(account: u64) -> StreamId {
    AccountId(account).stream_id().unwrap()
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("insufficient")]
struct Insufficient {
    available: u64,
}

/// Pays in or out; as much as it says, or everything.
#[derive(Debug, Clone, Command)]
struct Book {
    #[stream]
    account: AccountId,
    amount: i64,
}

impl CommandLogic for Book {
    type State = ();
    type Error = Insufficient;

    fn handle(&self, (): &(), streams: BookStreams<'_>) -> Result<(), Insufficient> {
        assert_eq!(streams.account.version().get(), streams.account.events);
        assert_eq!(streams.account.key(), &self.account);
        let amount = self.amount.unsigned_abs();
        if self.amount >= 0 {
            streams.account.append(Deposited { amount });
        } else {
            let available = streams.account.balance;
            require!(available >= amount, Insufficient { available });
            streams.account.append(Withdrawn { amount });
        }
        Ok(())
    }
}

fn book(account: u64, amount: i64) -> Book {
    Book {
        account: AccountId(account),
        amount,
    }
}

/// Counts the events in each list of accounts.
#[derive(Debug, Clone, Command)]
struct Lists {
    #[stream]
    left: Vec<AccountId>,
    #[stream]
    right: Vec<AccountId>,
    #[stream(read)]
    guard: Option<AccountId>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Counts {
    left: u64,
    right: u64,
    guard: u64,
}

impl CommandLogic for Lists {
    type State = ();
    type Error = Counts;

    /// Its answer is what it sees.
    fn handle(&self, (): &(), streams: ListsStreams<'_>) -> Result<(), Counts> {
        Err(Counts {
            left: streams.left.iter().map(|(_, account)| account.events).sum(),
            right: streams
                .right
                .iter()
                .map(|(_, account)| account.events)
                .sum(),
            guard: streams.guard.map_or(0, |account| account.events),
        })
    }
}

fn lists(left: &[u64], right: &[u64], guard: Option<u64>) -> Lists {
    let accounts = |numbers: &[u64]| numbers.iter().copied().map(AccountId).collect();
    Lists {
        left: accounts(left),
        right: accounts(right),
        guard: guard.map(AccountId),
    }
}

/// A store that can become another one, as when a backup is restored, that writes down how many events it gives out, and
/// that may have no cache.
struct Watched {
    store: RwLock<Arc<dyn EventStore>>,
    states: Option<StateCache>,
    given_out: Mutex<Vec<usize>>,
    before_append: Mutex<Option<Before>>,
}

/// A change that is made once, at the next append.
enum Before {
    /// Another process is faster.
    Somebody(u64),
    /// The store becomes this one.
    Restored(Arc<dyn EventStore>),
    Hang,
}

impl Watched {
    fn new(store: impl EventStore + 'static) -> Self {
        Self {
            store: RwLock::new(Arc::new(store)),
            states: Some(StateCache::new()),
            given_out: Mutex::default(),
            before_append: Mutex::default(),
        }
    }

    fn without_cache(store: impl EventStore + 'static) -> Self {
        Self {
            states: None,
            ..Self::new(store)
        }
    }

    fn become_other(&self, store: Arc<dyn EventStore>) {
        *self.store.write().unwrap() = store;
    }

    fn inner(&self) -> Arc<dyn EventStore> {
        self.store.read().unwrap().clone()
    }

    fn states(&self) -> &StateCache {
        self.states.as_ref().unwrap()
    }

    /// Returns the number of events that each read since the last call has returned.
    fn given_out(&self) -> Vec<usize> {
        std::mem::take(&mut *self.given_out.lock().unwrap())
    }
}

impl EventStore for Watched {
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        Box::pin(async move {
            let page = self.inner().read_streams(request).await?;
            self.given_out.lock().unwrap().push(page.events.len());
            Ok(page)
        })
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        Box::pin(async move {
            let before = self.before_append.lock().unwrap().take();
            match before {
                Some(Before::Somebody(account)) => {
                    plant(&*self.inner(), account, &[Deposited { amount: 1 }]).await;
                }
                Some(Before::Restored(other)) => self.become_other(other),
                Some(Before::Hang) => std::future::pending().await,
                None => {}
            }
            self.inner().append(request).await
        })
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        Box::pin(async move { self.inner().read_feed(request).await })
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        Box::pin(async move { self.inner().wait_for_event(after).await })
    }

    fn states(&self) -> Option<&StateCache> {
        self.states.as_ref()
    }
}

/// Appends as another process would, past the cache.
async fn plant(store: &(impl EventStore + ?Sized), account: u64, events: &[AccountEvent]) {
    let payload = |event: &AccountEvent| {
        let event = NewEvent::new(0, event).unwrap();
        (event.type_name, event.payload)
    };
    plant_raw(store, account, events.iter().map(payload).collect()).await;
}

async fn plant_raw(
    store: &(impl EventStore + ?Sized),
    account: u64,
    events: Vec<(&'static str, Bytes)>,
) {
    let stream = id(account);
    let cursor = StreamCursor::new(stream.clone(), Version::new(u64::MAX));
    let read = ReadStreamsRequest {
        streams: vec![cursor],
        snapshot: None,
        limit: 1,
        idempotency_key: None,
    };
    let version = store.read_streams(read).await.unwrap().versions()[0];
    let event = |(type_name, payload)| NewEvent {
        stream: 0,
        type_name,
        payload,
    };
    let request = AppendRequest::new(
        CommitId::generate(),
        vec![ExpectedVersion {
            stream,
            version,
            event_id: None,
        }],
        events.into_iter().map(event).collect(),
        Metadata::default(),
        None,
    );
    store.append(request.unwrap()).await.unwrap();
}

async fn run<C: CommandLogic>(
    store: &(impl EventStore + ?Sized),
    command: C,
) -> Result<ExecutionResponse, CommandError<C::Error>> {
    execute(store, command, RetryPolicy::new()).await
}

/// The state of an account as a command sees it: as much as can be taken out.
async fn available(store: &(impl EventStore + ?Sized), account: u64) -> u64 {
    match run(store, book(account, i64::MIN + 1)).await.unwrap_err() {
        CommandError::BusinessRuleViolation(Insufficient { available }) => available,
        other => panic!("{other:?}"),
    }
}

async fn sqlite() -> SqliteEventStore {
    let folder = tempfile::tempdir().unwrap().keep();
    SqliteEventStore::open(folder.join("cached.db"))
        .await
        .unwrap()
}

/// 10 events of the past, with 100 in the account.
async fn filled(store: impl EventStore + 'static) -> Watched {
    let store = Watched::new(store);
    plant(&store, 1, &vec![Deposited { amount: 10 }; 10]).await;
    store.given_out();
    store
}

#[tokio::test]
async fn a_command_reads_what_came_after_the_one_before() {
    for store in [
        filled(MemoryEventStore::new()).await,
        filled(sqlite().await).await,
    ] {
        run(&store, book(1, 5)).await.unwrap();
        assert_eq!(store.given_out(), [10]);
        // What the first command has written.
        run(&store, book(1, 5)).await.unwrap();
        assert_eq!(store.given_out(), [1]);
        plant(&store, 1, &vec![Withdrawn { amount: 1 }; 20]).await;
        store.given_out();
        assert_eq!(available(&store, 1).await, 90);
        assert_eq!(store.given_out(), [21]);
        assert_eq!(available(&store, 1).await, 90);
        assert_eq!(store.given_out(), [0]);
        let counts = store.states().counts();
        assert_eq!((counts.hits, counts.misses, counts.states), (3, 1, 1));
    }
}

#[tokio::test]
async fn what_another_process_appends_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared.db");
    let (here, there) = (
        SqliteEventStore::open(&path).await.unwrap(),
        SqliteEventStore::open(&path).await.unwrap(),
    );
    run(&here, book(1, 10)).await.unwrap();
    for round in 0..10 {
        assert_eq!(available(&here, 1).await, 10 + round);
        run(&there, book(1, 1)).await.unwrap();
    }
    assert_eq!(here.states().unwrap().counts().hits, 10);
}

#[tokio::test]
async fn more_than_a_page_is_read_from_where_it_was() {
    let store = Watched::new(MemoryEventStore::new());
    plant(&store, 1, &vec![Deposited { amount: 1 }; 2000]).await;
    assert_eq!(available(&store, 1).await, 2000);
    plant(&store, 1, &vec![Deposited { amount: 1 }; 3000]).await;
    store.given_out();
    assert_eq!(available(&store, 1).await, 5000);
    assert_eq!(store.given_out(), [128, 1024, 1024, 824]);
}

/// A history that a restored backup and later commits hold in place of 20 deposits of 10.
fn other_pasts() -> Vec<(&'static str, Vec<AccountEvent>)> {
    vec![
        ("nothing", vec![]),
        ("less", vec![Deposited { amount: 10 }; 12]),
        ("others", {
            let mut events = vec![Deposited { amount: 10 }; 12];
            events.extend(vec![Deposited { amount: 7 }; 8]);
            events
        }),
        ("others and more", vec![Deposited { amount: 7 }; 30]),
    ]
}

#[tokio::test]
async fn a_store_that_has_gone_back_is_read_from_the_start() {
    for (name, events) in other_pasts() {
        for on_sqlite in [false, true] {
            let new = || async {
                let store: Arc<dyn EventStore> = if on_sqlite {
                    Arc::new(sqlite().await)
                } else {
                    Arc::new(MemoryEventStore::new())
                };
                store
            };
            let store = Watched::new(new().await);
            plant(&store, 1, &vec![Deposited { amount: 10 }; 20]).await;
            assert_eq!(available(&store, 1).await, 200);
            let restored = new().await;
            if !events.is_empty() {
                plant(&*restored, 1, &events).await;
            }
            store.become_other(restored);
            let right = run(
                &Watched::without_cache(store.inner()),
                book(1, i64::MIN + 1),
            )
            .await;
            let seen = run(&store, book(1, i64::MIN + 1)).await;
            assert_eq!(format!("{seen:?}"), format!("{right:?}"), "{name}");
            store.given_out();
            // What is right is remembered now.
            run(&store, book(1, 5)).await.unwrap();
            assert_eq!(store.given_out(), [0], "{name}");
            run(&store, book(1, 5)).await.unwrap();
            let sum: u64 = events
                .iter()
                .map(|event| match event {
                    Deposited { amount } | Withdrawn { amount } => amount,
                })
                .sum();
            assert_eq!(available(&store, 1).await, sum + 10, "{name}");
        }
    }
}

/// A last event that looks the same in all but its id: version, position, type and payload.
async fn another_past_that_ends_alike(
    before: impl EventStore + 'static,
    after: impl EventStore + 'static,
) {
    let store = Watched::new(before);
    plant(
        &store,
        2,
        &[Deposited { amount: 1 }, Deposited { amount: 2 }],
    )
    .await;
    run(&store, book(2, 0)).await.unwrap();
    assert_eq!(available(&store, 2).await, 3);
    plant(
        &after,
        2,
        &[
            Deposited { amount: 2 },
            Deposited { amount: 2 },
            Deposited { amount: 0 },
        ],
    )
    .await;
    store.become_other(Arc::new(after));
    // With 3, as it is remembered, this would be refused.
    run(&store, book(2, -4)).await.unwrap();
    assert_eq!(available(&store, 2).await, 0);
}

#[tokio::test]
async fn a_past_is_known_by_the_id_of_its_last_event_and_not_by_its_looks() {
    another_past_that_ends_alike(MemoryEventStore::new(), MemoryEventStore::new()).await;
    another_past_that_ends_alike(sqlite().await, sqlite().await).await;
    #[cfg(feature = "postgres")]
    another_past_that_ends_alike(server::store().await, server::store().await).await;
}

/// Returns the sum of two accounts.
#[derive(Debug, Clone, Command)]
struct Total {
    #[stream(read)]
    one: AccountId,
    #[stream(read)]
    other: AccountId,
}

impl CommandLogic for Total {
    type State = ();
    type Error = Insufficient;

    /// Its answer is what it sees.
    fn handle(&self, (): &(), streams: TotalStreams<'_>) -> Result<(), Insufficient> {
        let available = streams.one.balance + streams.other.balance;
        Err(Insufficient { available })
    }
}

async fn total(store: &Watched) -> u64 {
    let (one, other) = (AccountId(1), AccountId(2));
    match run(store, Total { one, other }).await.unwrap_err() {
        CommandError::BusinessRuleViolation(Insufficient { available }) => available,
        other => panic!("{other:?}"),
    }
}

/// The last event of all is the very same one, and the stream before it has another past.
async fn another_past_of_the_older_stream(
    before: impl EventStore + 'static,
    after: impl EventStore + 'static,
) {
    let store = Watched::new(before);
    plant(&store, 1, &[Deposited { amount: 1 }]).await;
    plant(&after, 1, &[Deposited { amount: 5 }]).await;
    let same = AppendRequest::new(
        CommitId::generate(),
        vec![ExpectedVersion::new(id(2), StreamHead::EMPTY)],
        vec![NewEvent::new(0, &Deposited { amount: 1 }).unwrap()],
        Metadata::default(),
        None,
    )
    .unwrap();
    store.append(same.clone()).await.unwrap();
    after.append(same).await.unwrap();
    assert_eq!(total(&store).await, 2);
    store.become_other(Arc::new(after));
    assert_eq!(total(&store).await, 6);
}

#[tokio::test]
async fn every_stream_is_known_by_its_last_event() {
    another_past_of_the_older_stream(MemoryEventStore::new(), MemoryEventStore::new()).await;
    another_past_of_the_older_stream(sqlite().await, sqlite().await).await;
    #[cfg(feature = "postgres")]
    another_past_of_the_older_stream(server::store().await, server::store().await).await;
}

/// Between the read and the append the store becomes another one, whose stream has the same version.
async fn a_backup_is_restored_under_a_command(
    before: impl EventStore + 'static,
    after: impl EventStore + 'static,
) {
    let store = Watched::without_cache(before);
    plant(&store, 1, &[Deposited { amount: 7 }]).await;
    plant(&after, 1, &[Deposited { amount: 2 }]).await;
    *store.before_append.lock().unwrap() = Some(Before::Restored(Arc::new(after)));
    let error = run(&store, book(1, -5)).await.unwrap_err();
    let available = match error {
        CommandError::BusinessRuleViolation(Insufficient { available }) => available,
        other => panic!("{other:?}"),
    };
    assert_eq!(available, 2, "decided on what is not there");
}

#[tokio::test]
async fn a_decision_does_not_outlive_the_history_that_it_rests_on() {
    a_backup_is_restored_under_a_command(MemoryEventStore::new(), MemoryEventStore::new()).await;
    a_backup_is_restored_under_a_command(sqlite().await, sqlite().await).await;
    #[cfg(feature = "postgres")]
    a_backup_is_restored_under_a_command(server::store().await, server::store().await).await;
}

/// A store in which the last event is the same, after another history.
#[tokio::test]
async fn a_stream_that_is_shorter_than_it_was_is_noticed() {
    let store = Watched::new(MemoryEventStore::new());
    for account in [1, 1, 2] {
        plant(&store, account, &[Deposited { amount: 1 }]).await;
    }
    assert_eq!(counted(&store, lists(&[1], &[2], None)).await, (2, 1, 0));
    let restored = MemoryEventStore::new();
    for account in [1, 3, 2] {
        plant(&restored, account, &[Deposited { amount: 1 }]).await;
    }
    store.become_other(Arc::new(restored));
    assert_eq!(counted(&store, lists(&[1], &[2], None)).await, (1, 1, 0));
}

#[tokio::test]
async fn a_refused_command_leaves_a_right_state() {
    let store = filled(MemoryEventStore::new()).await;
    run(&store, book(1, -101)).await.unwrap_err();
    store.given_out();
    run(&store, book(1, -100)).await.unwrap();
    assert_eq!(store.given_out(), [0]);
    assert_eq!(available(&store, 1).await, 0);
}

#[tokio::test]
async fn a_conflict_catches_up_and_leaves_others_their_state() {
    let store = filled(MemoryEventStore::new()).await;
    assert_eq!(available(&store, 1).await, 100);
    for round in 0..5 {
        *store.before_append.lock().unwrap() = Some(Before::Somebody(1));
        let done = run(&store, book(1, -10)).await.unwrap();
        assert_eq!(done.attempts(), 2);
        assert_eq!(available(&store, 1).await, 91 - 9 * round);
    }
    assert_eq!(store.states().counts().misses, 1);
}

#[tokio::test]
async fn a_cancelled_command_leaves_no_trace() {
    for before in [false, true] {
        let store = filled(MemoryEventStore::new()).await;
        if before {
            assert_eq!(available(&store, 1).await, 100);
        }
        plant(&store, 1, &[Withdrawn { amount: 1 }]).await;
        *store.before_append.lock().unwrap() = Some(Before::Hang);
        {
            let mut running = pin!(run(&store, book(1, -60)));
            let poll = running
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(poll, Poll::Pending));
        }
        assert_eq!(available(&store, 1).await, 99);
    }
}

#[tokio::test]
async fn a_panic_in_apply_ends_the_command_and_nothing_else() {
    let store = filled(MemoryEventStore::new()).await;
    assert_eq!(available(&store, 1).await, 100);
    let events = [
        Deposited { amount: 1 },
        Deposited { amount: 13 },
        Deposited { amount: 1 },
    ];
    plant(&store, 1, &events).await;
    PANICS.set(true);
    for _ in 0..2 {
        let error = run(&store, book(1, 1)).await.unwrap_err();
        let CommandError::StatePanicked {
            version, message, ..
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!(version.get(), 12);
        assert!(message.contains("13 is not a good number"), "{message}");
        let error = load(&store, &AccountId(1)).await.unwrap_err();
        assert!(
            matches!(error, LoadError::StatePanicked { .. }),
            "{error:?}"
        );
        // Nobody else is affected.
        run(&store, book(2, 1)).await.unwrap();
    }
    PANICS.set(false);
    assert_eq!(available(&store, 1).await, 115);
}

/// A page with an unreadable event leaves nothing in the cache.
#[tokio::test]
async fn an_unreadable_event_is_an_error_every_time() {
    let store = filled(MemoryEventStore::new()).await;
    assert_eq!(available(&store, 1).await, 100);
    let events = [
        ("AccountDeposited", Bytes::from_static(b"{\"amount\":1}")),
        ("AccountFrozen", Bytes::from_static(b"{}")),
        ("AccountDeposited", Bytes::from_static(b"{\"amount\":1}")),
    ];
    plant_raw(&store, 1, events.to_vec()).await;
    let uncached = Watched::without_cache(store.inner());
    let right = run(&uncached, book(1, 1)).await.unwrap_err().to_string();
    assert!(right.contains("event 12 of stream `account-1`"), "{right}");
    for _ in 0..3 {
        assert_eq!(
            run(&store, book(1, 1)).await.unwrap_err().to_string(),
            right
        );
    }
    let mended = MemoryEventStore::new();
    plant(&mended, 1, &vec![Deposited { amount: 10 }; 10]).await;
    store.become_other(Arc::new(mended));
    assert_eq!(available(&store, 1).await, 100);
}

/// A state that counts its copies.
#[derive(Debug, Default)]
struct Copied(u64);

thread_local! {
    static COPIES: Cell<usize> = const { Cell::new(0) };
}

impl Clone for Copied {
    fn clone(&self) -> Self {
        COPIES.set(COPIES.get() + 1);
        Self(self.0)
    }
}

impl StreamState<AccountEvent> for Copied {
    fn apply(&mut self, _: AccountEvent) {
        self.0 += 1;
    }
}

/// The same streams, with a state of another type.
#[derive(Debug, Clone, PartialEq, StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Copied)]
struct CopiedId(u64);

/// A state is changed in place. While it is in use, it is copied, or folded again if it cannot be.
#[tokio::test]
async fn a_state_in_use_stays_as_it_is() {
    let store = filled(MemoryEventStore::new()).await;
    let one = [Deposited { amount: 1 }];
    for _ in 0..3 {
        load(&store, &CopiedId(1)).await.unwrap();
        plant(&store, 1, &one).await;
    }
    assert_eq!(COPIES.get(), 0);
    let held = load(&store, &CopiedId(1)).await.unwrap();
    plant(&store, 1, &one).await;
    store.given_out();
    assert_eq!(load(&store, &CopiedId(1)).await.unwrap().0, 14);
    assert_eq!((held.0, COPIES.get()), (13, 1));
    assert_eq!(store.given_out(), [1]);

    let held = load(&store, &AccountId(1)).await.unwrap();
    plant(&store, 1, &one).await;
    store.given_out();
    assert_eq!(available(&store, 1).await, 105);
    assert_eq!((held.balance, held.version().get()), (104, 14));
    assert_eq!(store.given_out(), [1, 15], "it is folded again");
    drop(held);
    plant(&store, 1, &one).await;
    store.given_out();
    assert_eq!(available(&store, 1).await, 106);
    assert_eq!(store.given_out(), [1]);
}

async fn counted(store: &Watched, command: Lists) -> (u64, u64, u64) {
    match run(store, command).await.unwrap_err() {
        CommandError::BusinessRuleViolation(Counts { left, right, guard }) => (left, right, guard),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_state_serves_whichever_field_names_its_stream() {
    let store = Watched::new(MemoryEventStore::new());
    plant(&store, 1, &vec![Deposited { amount: 1 }; 1]).await;
    plant(&store, 2, &vec![Deposited { amount: 1 }; 10]).await;
    for _ in 0..2 {
        assert_eq!(counted(&store, lists(&[1], &[2], None)).await, (1, 10, 0));
        assert_eq!(counted(&store, lists(&[2], &[1], None)).await, (10, 1, 0));
        assert_eq!(counted(&store, lists(&[1, 2], &[], None)).await, (11, 0, 0));
        assert_eq!(counted(&store, lists(&[], &[1, 2], None)).await, (0, 11, 0));
        assert_eq!(counted(&store, lists(&[1], &[], Some(2))).await, (1, 0, 10));
        assert_eq!(counted(&store, lists(&[1], &[], None)).await, (1, 0, 0));
    }
    let counts = store.states().counts();
    assert_eq!((counts.hits, counts.misses, counts.states), (20, 2, 2));
}

#[tokio::test]
async fn two_stores_share_nothing() {
    let (one, other) = (MemoryEventStore::new(), MemoryEventStore::new());
    run(&one, book(1, 10)).await.unwrap();
    run(&other, book(1, 20)).await.unwrap();
    assert_eq!(
        (available(&one, 1).await, available(&other, 1).await),
        (10, 20)
    );
    run(&one, book(1, 5)).await.unwrap();
    assert_eq!(
        (available(&one, 1).await, available(&other, 1).await),
        (15, 20)
    );
    assert_eq!(one.states().unwrap().counts().misses, 1);
    assert_eq!(one.states().unwrap().counts().states, 1);
    let handle = sqlite().await;
    let states = |store: &SqliteEventStore| std::ptr::from_ref(store.states().unwrap());
    assert_eq!(
        states(&handle),
        states(&handle.clone()),
        "one for all handles of a store"
    );
    assert_ne!(states(&handle), states(&sqlite().await));
}

#[tokio::test]
async fn the_state_that_was_not_used_for_longest_is_forgotten() {
    let store = Watched::new(MemoryEventStore::new());
    let states = store.states();
    states.set_capacity(2);
    for account in 1..=3 {
        plant(&store, account, &[Deposited { amount: account }]).await;
    }
    let misses = |accounts: Vec<u64>| {
        let store = &store;
        async move {
            let before = store.states().counts().misses;
            for account in accounts {
                assert_eq!(available(store, account).await, account);
            }
            store.states().counts().misses - before
        }
    };
    assert_eq!(misses(vec![1, 2, 1, 2, 1]).await, 2);
    assert_eq!(misses(vec![3, 1, 3]).await, 1, "2 made way, 1 did not");
    assert_eq!(states.counts().states, 2);
    states.set_capacity(1);
    assert_eq!(misses(vec![3, 1]).await, 1);
    states.clear();
    assert_eq!(states.counts().states, 0);
    assert_eq!(misses(vec![1, 1]).await, 1);
    states.set_capacity(0);
    assert_eq!(misses(vec![1, 1]).await, 2);
    assert_eq!(states.counts().states, 0);
    states.set_capacity(10);
    assert_eq!(misses(vec![1, 1, 2, 2, 3, 3]).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_count_right() {
    let store = Arc::new(sqlite().await);
    let tasks = (0..16).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                run(&*store, book(1, 3)).await.unwrap();
                run(&*store, book(1, -2)).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(available(&*store, 1).await, 16 * 20);
    let counts = store.states().unwrap().counts();
    assert!(counts.hits > counts.misses, "{counts:?}");
}

/// A step of a store or its commands.
#[derive(Debug, Clone)]
enum Act {
    Book(u64, i64, Option<u8>),
    Lists(Vec<u64>, Vec<u64>, Option<u64>),
    Plant(u64, Vec<u64>),
    SomebodyBefore(u64),
    Capacity(usize),
    Clear,
    /// The store loses its events after the first so many, and gets others.
    GoBack(usize, Vec<u64>),
}

fn acts() -> impl Strategy<Value = Act> {
    let account = || 1..=3_u64;
    let key = prop::option::weighted(0.2, 0..6_u8);
    prop_oneof![
        8 => (account(), -15..=10_i64, key).prop_map(|(a, n, k)| Act::Book(a, n, k)),
        4 => (prop::sample::subsequence(vec![1, 2, 3], 0..=3), any::<bool>(), any::<bool>()).prop_map(
            |(mut left, split, guarded)| {
                let guard = guarded.then(|| left.pop()).flatten();
                let right = if split { left.split_off(left.len() / 2) } else { vec![] };
                Act::Lists(left, right, guard)
            }
        ),
        3 => (account(), prop::collection::vec(1..10_u64, 1..4)).prop_map(|(a, n)| Act::Plant(a, n)),
        2 => account().prop_map(Act::SomebodyBefore),
        1 => (0..4_usize).prop_map(Act::Capacity),
        1 => Just(Act::Clear),
        1 => (0..20_usize, prop::collection::vec(1_000..1_000_000_000_u64, 0..4)).prop_map(|(n, others)| Act::GoBack(n, others)),
    ]
}

fn shown<E: std::fmt::Debug>(result: &Result<ExecutionResponse, CommandError<E>>) -> String {
    match result {
        Ok(done) => format!(
            "{} {} {} {} {:?}",
            done.attempts(),
            done.position(),
            done.events_written(),
            done.is_repeated(),
            done.versions()
        ),
        Err(error) => format!("{error:?}"),
    }
}

async fn act(store: &Watched, act: &Act) -> String {
    match act {
        Act::Book(account, amount, key) => {
            let mut options = ExecuteOptions::from(RetryPolicy::new());
            if let Some(key) = key {
                options = options.idempotency_key(IdempotencyKey::new(key.to_string()).unwrap());
            }
            shown(&execute(store, book(*account, *amount), options).await)
        }
        Act::Lists(left, right, guard) => shown(&run(store, lists(left, right, *guard)).await),
        Act::Plant(account, amounts) => {
            let events = amounts.iter().map(|amount| Deposited { amount: *amount });
            plant(&store.inner(), *account, &events.collect::<Vec<_>>()).await;
            String::new()
        }
        Act::SomebodyBefore(account) => {
            *store.before_append.lock().unwrap() = Some(Before::Somebody(*account));
            String::new()
        }
        Act::Capacity(states) => {
            store
                .states
                .iter()
                .for_each(|cache| cache.set_capacity(*states));
            String::new()
        }
        Act::Clear => {
            store.states.iter().for_each(StateCache::clear);
            String::new()
        }
        Act::GoBack(keep, others) => {
            let restored = MemoryEventStore::new();
            let log = eventcore::testing::history::log(&store.inner())
                .await
                .unwrap();
            for event in log.into_iter().take(*keep) {
                let account = event.stream.key().parse().unwrap();
                plant(&restored, account, &[event.decode().unwrap()]).await;
            }
            for (number, amount) in others.iter().enumerate() {
                plant(
                    &restored,
                    number as u64 % 3 + 1,
                    &[Deposited { amount: *amount }],
                )
                .await;
            }
            store.become_other(Arc::new(restored));
            String::new()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cached_command_answers_like_one_that_is_not(acts in prop::collection::vec(acts(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (cached, plain) = (Watched::new(MemoryEventStore::new()), Watched::without_cache(MemoryEventStore::new()));
        for one in &acts {
            let (said, right) = runtime.block_on(async { (act(&cached, one).await, act(&plain, one).await) });
            prop_assert_eq!(said, right, "after {:?}", one);
        }
    }
}

/// A state that depends on more than its events.
#[derive(Debug, Default)]
struct Moody(u64);

impl StreamState<AccountEvent> for Moody {
    fn apply(&mut self, _: AccountEvent) {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        self.0 += CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Moody)]
struct MoodyId(u64);

#[derive(Debug, Command)]
struct Fee {
    #[stream]
    account: MoodyId,
}

impl CommandLogic for Fee {
    type State = ();
    type Error = Insufficient;

    fn handle(&self, (): &(), streams: FeeStreams<'_>) -> Result<(), Insufficient> {
        let amount = streams.account.0;
        streams.account.append(Withdrawn { amount });
        Ok(())
    }
}

#[test]
#[should_panic(expected = "is not pure")]
fn given_finds_a_state_that_is_not_pure() {
    let _ = given()
        .events(&AccountId(1), vec![Deposited { amount: 1 }; 3])
        .when(Fee {
            account: MoodyId(1),
        });
}

#[test]
fn given_knows_the_states_of_streams() {
    given()
        .events(&AccountId(1), vec![Deposited { amount: 1 }; 3])
        .executed(book(1, -2))
        .when(book(1, -2))
        .then_error(Insufficient { available: 1 })
        .then_state_of(&AccountId(1), |account| assert_eq!(account.events, 4));
    let deposited = given().events(&AccountId(1), vec![Deposited { amount: 5 }; 3]);
    assert_eq!(
        deposited.stream_state(&AccountId(1), |account| account.balance),
        15
    );
    deposited
        .when(book(1, 1))
        .then_events(&AccountId(1), [Deposited { amount: 1 }])
        .then_state_of(&AccountId(1), |account| assert_eq!(account.balance, 16));
}

#[tokio::test]
async fn loads_are_of_one_snapshot_and_tell_what_is_there() {
    for store in [
        filled(MemoryEventStore::new()).await,
        filled(sqlite().await).await,
        #[cfg(feature = "postgres")]
        filled(server::store().await).await,
    ] {
        plant(&store, 2, &[Deposited { amount: 7 }]).await;
        store.given_out();
        let keys = [AccountId(1), AccountId(3), AccountId(1)];
        let (all, one) = load(&store, (&keys[..], &AccountId(2))).await.unwrap();
        assert_eq!(store.given_out(), [11], "one round trip, each stream once");
        let balances: Vec<u64> = all.iter().map(|account| account.balance).collect();
        assert_eq!(balances, [100, 0, 100]);
        let exists: Vec<bool> = all.iter().map(eventcore::Loaded::exists).collect();
        assert_eq!(exists, [true, false, true]);
        assert_eq!(
            (one.balance, one.version().get(), one.position().get()),
            (7, 1, 11)
        );
        assert!(
            all.iter()
                .all(|account| account.position() == one.position())
        );
        drop(one);
        run(&store, book(2, 1)).await.unwrap();
        store.given_out();
        assert_eq!(load(&store, &AccountId(2)).await.unwrap().balance, 8);
        assert_eq!(store.given_out(), [1], "commands and loads share states");
        let two = load(&store, (&AccountId(1), &CopiedId(1)))
            .await
            .unwrap_err();
        assert!(matches!(two, LoadError::TwoStates { .. }), "{two:?}");
    }
}

#[tokio::test]
async fn a_state_of_the_past_is_what_it_was_then() {
    for store in [
        filled(MemoryEventStore::new()).await,
        filled(sqlite().await).await,
        #[cfg(feature = "postgres")]
        filled(server::store().await).await,
    ] {
        load(&store, &AccountId(1)).await.unwrap();
        for position in 0..=10_u64 {
            let at = Position::new(position);
            let then = load_at(&store, &AccountId(1), at).await.unwrap();
            assert_eq!(
                (then.balance, then.version().get()),
                (10 * position, position)
            );
            assert_eq!(then.position(), at);
        }
        let error = load_at(&store, &AccountId(1), Position::new(11))
            .await
            .unwrap_err();
        let LoadError::NotYet { latest, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(latest.get(), 10);
    }
}

#[tokio::test]
async fn a_command_can_demand_the_version_that_was_shown() {
    let store = filled(MemoryEventStore::new()).await;
    let shown = load(&store, &AccountId(1)).await.unwrap().version();
    let demanding = |key: u64| ExecuteOptions::new().expect_version(&AccountId(key), shown);
    execute(&store, book(1, 1), demanding(1)).await.unwrap();
    let error = execute(&store, book(1, 1), demanding(1)).await.unwrap_err();
    let CommandError::VersionMoved {
        expected, actual, ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!((expected, actual.get()), (shown, 11));
    let error = execute(&store, book(1, 1), demanding(2)).await.unwrap_err();
    assert!(
        matches!(error, CommandError::UnknownExpectation { .. }),
        "{error:?}"
    );
    // It is looked at again after a conflict.
    let shown = load(&store, &AccountId(1)).await.unwrap().version();
    *store.before_append.lock().unwrap() = Some(Before::Somebody(1));
    let options = ExecuteOptions::new().expect_version(&AccountId(1), shown);
    let error = execute(&store, book(1, 1), options).await.unwrap_err();
    assert!(
        matches!(error, CommandError::VersionMoved { .. }),
        "{error:?}"
    );
}

/// A command on streams whose events it does not need reads none of them.
#[tokio::test]
async fn a_stream_without_a_state_costs_no_events() {
    #[derive(Debug, Clone, StreamKey)]
    #[stream_key(category = "account", event = AccountEvent)]
    struct LogId(u64);

    #[derive(Debug, Command)]
    struct Note {
        #[stream]
        log: LogId,
    }

    impl CommandLogic for Note {
        type State = ();
        type Error = std::convert::Infallible;

        fn handle(&self, (): &(), streams: NoteStreams<'_>) -> Result<(), Self::Error> {
            streams.log.append(Deposited {
                amount: streams.log.version().get(),
            });
            Ok(())
        }
    }

    for store in [
        filled(MemoryEventStore::new()).await,
        filled(sqlite().await).await,
        #[cfg(feature = "postgres")]
        filled(server::store().await).await,
    ] {
        for _ in 0..3 {
            run(&store, Note { log: LogId(1) }).await.unwrap();
        }
        assert_eq!(store.given_out(), [0, 0, 0]);
        assert_eq!(load(&store, &LogId(1)).await.unwrap().version().get(), 13);
        assert_eq!(available(&store, 1).await, 100 + 10 + 11 + 12);
    }
}
