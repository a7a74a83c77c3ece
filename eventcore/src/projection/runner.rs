//! Configures and starts a projection: [`ProjectionRunner`].

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use super::{
    ErrorPolicy, Lease, Projection, ProjectionDatabase, ProjectionError, ProjectionHandle,
    leader::{Run, Setup},
    name::check_name,
    pages::head,
    shutdown::Shutdown,
    status::Report,
};
use crate::{EventFilter, EventStore};

/// Runs one projection in this process. Any number of projections can run side by side; they share
/// the store's connections.
///
/// If several processes run the same projection, one leads and the others stand by. If the leader
/// stops, another takes over immediately; if it is killed or hangs, after the lease's term. A
/// former leader that resumes later cannot write.
///
/// ```no_run
/// # #[cfg(feature = "sqlite")] mod example {
/// # use eventcore::{RecordedEvent, projection::{Projection, ProjectionRunner}, sqlite::{SqliteEventStore, SqliteTransaction, rusqlite}};
/// # struct Balances;
/// # impl Projection<SqliteTransaction> for Balances {
/// #     type Feed = RecordedEvent; type Error = rusqlite::Error; const NAME: &'static str = "balances";
/// #     async fn apply(&self, _: RecordedEvent, _: &RecordedEvent, _: &mut SqliteTransaction) -> Result<(), rusqlite::Error> { Ok(()) }
/// # }
/// # async fn f(store: SqliteEventStore, done: eventcore::ExecutionResponse) -> Result<(), Box<dyn std::error::Error>> {
/// let balances = ProjectionRunner::new(store, Balances).start();
/// // … after a command:
/// balances.wait_for(done.position(), std::time::Duration::from_secs(2)).await?;
/// // … at the end:
/// balances.stop().await?;
/// # Ok(()) }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "it runs when it is started"]
pub struct ProjectionRunner<S, D, P> {
    pub(super) setup: Setup<S, D, P>,
}

impl<S: Clone, D: Clone, P> Clone for ProjectionRunner<S, D, P> {
    fn clone(&self) -> Self {
        Self {
            setup: self.setup.clone(),
        }
    }
}

#[allow(
    clippy::mismatching_type_param_order,
    reason = "the store is its own database"
)]
impl<S, P> ProjectionRunner<S, S, P>
where
    S: EventStore + ProjectionDatabase,
    P: Projection<S::Transaction>,
{
    /// Creates a runner for a read model in the event store's database.
    pub fn new(store: S, projection: P) -> Self {
        Self::with_database(store.clone(), store, projection)
    }
}

impl<S, D, P> ProjectionRunner<S, D, P>
where
    S: EventStore + Clone + 'static,
    D: ProjectionDatabase,
    P: Projection<D::Transaction>,
{
    /// Creates a runner for a read model in a different database than the events, or in memory.
    ///
    /// Does not compile if [`Projection::NAME`] is not a valid name.
    pub fn with_database(store: S, database: D, projection: P) -> Self {
        const { check_name(P::NAME) };
        let instance = format!("{}-{:08x}", std::process::id(), fastrand::u32(..));
        let setup = Setup {
            store,
            database,
            projection: Arc::new(projection),
            policy: ErrorPolicy::default(),
            term: Duration::from_secs(10),
            former_feeds: Vec::new(),
            instance: instance.into(),
        };
        Self { setup }
    }

    /// Sets the policy for events that cannot be applied; [`ErrorPolicy::retry`] by default.
    pub fn on_error(mut self, policy: ErrorPolicy) -> Self {
        self.setup.policy = policy;
        self
    }

    /// Sets the term of the lease, which is how long the projection has no leader after a crash; 10
    /// seconds by default. The term is limited to between 100 milliseconds and one day.
    pub fn lease(mut self, term: Duration) -> Self {
        const DAY: Duration = Duration::from_hours(24);
        self.setup.term = term.clamp(Duration::from_millis(100), DAY);
        self
    }

    /// Accepts a read model that was built from a former feed of this projection. The projection
    /// continues from the checkpoint, so events before it that only the new feed selects are never
    /// applied. Without this, a projection whose feed differs from the one that is recorded with the
    /// checkpoint ends with [`ProjectionError::FeedChanged`].
    ///
    /// Use it for automations and for read models outside of the database, and where no earlier event
    /// is concerned. Otherwise [rebuild](Self::start_rebuild) the read model; a rebuild ignores this
    /// setting. Call it once for each former feed.
    ///
    /// ```no_run
    /// # #[cfg(feature = "sqlite")] mod example {
    /// # use eventcore::{RecordedEvent, projection::{Projection, ProjectionRunner}, sqlite::{SqliteEventStore, SqliteTransaction, rusqlite}};
    /// # struct Notify;
    /// # impl Projection<SqliteTransaction> for Notify {
    /// #     type Feed = RecordedEvent; type Error = rusqlite::Error; const NAME: &'static str = "notify";
    /// #     async fn apply(&self, _: RecordedEvent, _: &RecordedEvent, _: &mut SqliteTransaction) -> Result<(), rusqlite::Error> { Ok(()) }
    /// # }
    /// # fn f(store: SqliteEventStore) {
    /// use eventcore::{EventFilter, EventSelector};
    ///
    /// // Until now, the projection read the events of orders only.
    /// let orders = EventFilter::any_of([EventSelector::category("order")]);
    /// let running = ProjectionRunner::new(store, Notify).former_feed(&orders).start();
    /// # }
    /// # }
    /// ```
    pub fn former_feed(mut self, filter: &EventFilter) -> Self {
        self.setup.former_feeds.push(filter.to_string());
        self
    }

    /// Sets the name under which this process leads; its process id and a random number by default.
    /// NUL is replaced by U+FFFD, because some databases cannot store it.
    pub fn instance(mut self, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        self.setup.instance = if name.contains('\0') {
            name.replace('\0', "\u{fffd}").into()
        } else {
            name
        };
        self
    }

    /// Spawns the projection as a tokio task.
    ///
    /// # Panics
    /// Panics if called outside of a tokio runtime.
    pub fn start(self) -> ProjectionHandle<S, D> {
        let report = Report::new(P::NAME);
        let (store, database) = (self.setup.store.clone(), self.setup.database.clone());
        let told = report.clone();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            // Also resolves if the handle is dropped.
            self.run(told, async { drop(stopped.await) }).await
        });
        ProjectionHandle::new(store, database, report, stop, task)
    }

    /// Runs the projection until `shutdown` resolves, then finishes the current batch, releases the
    /// lease and returns.
    ///
    /// # Errors
    /// Returns [`ProjectionError`] if the error policy stops the projection, or if the store or the
    /// database fails permanently.
    pub async fn run_until(
        self,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ProjectionError> {
        self.run(Report::new(P::NAME), shutdown).await
    }

    async fn run(
        self,
        report: Report,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ProjectionError> {
        let shutdown = pin!(shutdown);
        let setup = self.setup.of(self.setup.database.live(P::NAME));
        let mut run = Run::new(setup, report, Shutdown::new(shutdown), None);
        let end = run.stand_by().await.map(drop);
        run.report.ended(end.as_ref().err());
        end
    }

    /// Fills a read model up to the current end of the feed. Returns the lease that it still holds,
    /// or `None` if a shutdown was requested.
    pub(super) async fn run_to_end(
        &self,
        read_model: D::ReadModel,
        report: Report,
        shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Lease>, ProjectionError> {
        let head = head(&self.setup.store).await?;
        let setup = self.setup.of(read_model);
        let mut run = Run::new(setup, report, Shutdown::new(shutdown), Some(head));
        run.stand_by().await
    }
}
