//! The chapter on compiler errors: what compiles instead.
#![allow(
    dead_code,
    clippy::needless_pass_by_value,
    reason = "this code is only compiled"
)]

use eventcore::{Command, Event, StreamId, StreamKey};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
enum AccountEvent {
    Deposited { amount: u64 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
enum OrderEvent {
    Placed,
}

#[derive(Debug, Clone, PartialEq, StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
struct AccountId(u64);

#[derive(Debug, Clone, PartialEq, StreamKey)]
#[stream_key(category = "order", event = OrderEvent)]
struct OrderId(u64);

#[derive(Debug, Clone, PartialEq, StreamKey)]
#[stream_key(category = "audit", event = AccountEvent)]
struct AuditId(u64);

#[derive(Debug, thiserror::Error)]
#[error("refused")]
struct Refused;

mod declared {
    use super::*;

    #[derive(Command)]
    struct Transfer {
        #[stream]
        from: AccountId,
        #[stream]
        to: AccountId,
        #[stream]
        audit: AuditId,
        amount: u64,
    }

    impl eventcore::CommandLogic for Transfer {
        type State = ();
        type Error = Refused;

        fn handle(&self, (): &(), streams: TransferStreams<'_>) -> Result<(), Refused> {
            let amount = self.amount;
            streams.audit.append(AccountEvent::Deposited { amount });
            streams.from.append(AccountEvent::Deposited { amount: 1 });
            Ok(())
        }
    }
}

mod of_another_stream {
    use super::*;

    #[derive(Command)]
    struct Transfer {
        #[stream]
        from: AccountId,
        #[stream]
        order: OrderId,
    }

    fn handle(streams: TransferStreams<'_>) {
        streams.order.append(OrderEvent::Placed);
    }
}

mod optional {
    use super::*;

    #[derive(Command)]
    struct Deposit {
        #[stream]
        account: Option<AccountId>,
    }

    fn handle(streams: DepositStreams<'_>) {
        if let Some(account) = streams.account {
            account.append(AccountEvent::Deposited { amount: 1 });
        }
    }
}

mod several {
    use super::*;

    #[derive(Command)]
    struct Deposit {
        #[stream]
        accounts: Vec<AccountId>,
    }

    fn handle(streams: DepositStreams<'_>) {
        for (_, account) in &streams.accounts {
            account.append(AccountEvent::Deposited { amount: 1 });
        }
    }
}

mod derived {
    use super::*;

    #[derive(Command)]
    struct Deposit {
        #[stream]
        account: AccountId,
    }
}

mod keyed {
    use super::*;

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "account", event = AccountEvent)]
    struct AccountNumber(u64);
}

mod raw {
    use super::*;

    #[derive(Command)]
    struct Deposit {
        #[stream(event = AccountEvent)]
        account: StreamId,
    }
}

mod renamed {
    use super::*;

    enum DepositEvent {
        Made,
    }

    #[derive(Command)]
    #[command(event = DepositStreamEvent)]
    struct Deposit {
        #[stream]
        account: AccountId,
    }

    fn apply(_: DepositStreamEvent<'_>) {}
}

mod with_serde {
    use super::*;

    #[derive(Serialize, Deserialize, Event)]
    enum AccountEvent {
        Opened,
    }
}

mod states {
    use super::*;
    use eventcore::{CommandLogic, StreamState, require};

    #[derive(Default, Serialize, Deserialize)]
    struct Account {
        balance: u64,
    }

    impl StreamState<AccountEvent> for Account {
        fn apply(&mut self, AccountEvent::Deposited { amount }: AccountEvent) {
            self.balance += amount;
        }
    }

    #[derive(StreamKey)]
    #[stream_key(category = "account", event = AccountEvent, state = Account, snapshot(revision = 1))]
    struct AccountId(u64);

    #[derive(Default)]
    struct Order {
        is_placed: bool,
    }

    impl StreamState<OrderEvent> for Order {
        fn apply(&mut self, event: OrderEvent) {
            self.is_placed |= event == OrderEvent::Placed;
        }
    }

    #[derive(Command)]
    struct Deposit {
        #[stream]
        account: AccountId,
        amount: u64,
    }

    impl CommandLogic for Deposit {
        type State = ();
        type Error = Refused;

        fn handle(&self, (): &(), streams: DepositStreams<'_>) -> Result<(), Refused> {
            let amount = self.amount;
            let balance = streams.account.balance + amount;
            require!(balance < 1_000, Refused);
            streams.account.append(AccountEvent::Deposited { amount });
            Ok(())
        }
    }
}

mod executed {
    use super::*;
    use eventcore::{CommandError, Position, RetryPolicy, execute, memory::MemoryEventStore};

    #[derive(Command)]
    struct Transfer {
        #[stream]
        account: AccountId,
    }

    impl eventcore::CommandLogic for Transfer {
        type State = ();
        type Error = Refused;

        fn handle(&self, (): &(), _: TransferStreams<'_>) -> Result<(), Refused> {
            Ok(())
        }
    }

    async fn run(
        store: MemoryEventStore,
        transfer: Transfer,
    ) -> Result<Position, CommandError<Refused>> {
        let done = execute(&store, transfer, RetryPolicy::new()).await?;
        Ok(done.position())
    }
}

mod kept {
    use eventcore::{
        EventStore,
        projection::{Projection, ProjectionDatabase, ProjectionRunner},
    };

    async fn run<S, D, P>(
        runner: ProjectionRunner<S, D, P>,
    ) -> Result<(), eventcore::projection::ProjectionError>
    where
        S: EventStore + Clone + 'static,
        D: ProjectionDatabase,
        P: Projection<D::Transaction>,
    {
        let balances = runner.start();
        // …
        balances.stop().await
    }
}
