//! The chapter on commands: a library that lends copies of books.
#![allow(dead_code, reason = "a chapter shows more than its tests use")]

mod borrowing {
    use eventcore::{Command, CommandLogic, Event, StreamKey, require};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize, Event)]
    enum CopyEvent {
        Lent { to: u64 },
        Returned,
    }

    #[derive(Debug, Serialize, Deserialize, Event)]
    enum MemberEvent {
        Borrowed { copy: String },
        Returned { copy: String },
    }

    #[derive(Debug, Serialize, Deserialize, Event)]
    enum RulesEvent {
        LimitSet { most: usize },
    }

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "copy", event = CopyEvent)]
    struct CopyId(String);

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "member", event = MemberEvent)]
    struct MemberId(u64);

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "rules", event = RulesEvent)]
    struct RulesId(String);

    #[derive(Debug, Command)]
    struct Borrow {
        #[stream]
        copy: CopyId,
        #[stream]
        member: MemberId,
        #[stream(read)]
        rules: RulesId,
    }

    #[derive(Default)]
    struct Loans {
        is_lent: bool,
        borrowed: usize,
        most: usize,
    }

    #[derive(Debug, PartialEq, thiserror::Error)]
    enum BorrowError {
        #[error("copy {0} is lent already")]
        Lent(String),
        #[error("a member has at most {0} books")]
        TooMany(usize),
    }

    impl CommandLogic for Borrow {
        type State = Loans;
        type Error = BorrowError;

        fn apply(&self, loans: &mut Loans, event: BorrowEvent<'_>) {
            match event {
                BorrowEvent::Copy(CopyEvent::Lent { .. }) => loans.is_lent = true,
                BorrowEvent::Copy(CopyEvent::Returned) => loans.is_lent = false,
                BorrowEvent::Member(MemberEvent::Borrowed { .. }) => loans.borrowed += 1,
                BorrowEvent::Member(MemberEvent::Returned { .. }) => loans.borrowed -= 1,
                BorrowEvent::Rules(RulesEvent::LimitSet { most }) => loans.most = most,
            }
        }

        fn handle(&self, loans: &Loans, streams: BorrowStreams<'_>) -> Result<(), BorrowError> {
            let copy = || self.copy.0.clone();
            require!(!loans.is_lent, BorrowError::Lent(copy()));
            require!(
                loans.borrowed < loans.most,
                BorrowError::TooMany(loans.most)
            );
            streams.copy.append(CopyEvent::Lent { to: self.member.0 });
            streams
                .member
                .append(MemberEvent::Borrowed { copy: copy() });
            Ok(())
        }
    }

    #[derive(Debug, Command)]
    struct SetLimit {
        #[stream]
        rules: RulesId,
        most: usize,
    }

    impl CommandLogic for SetLimit {
        type State = ();
        type Error = BorrowError;

        fn apply(&self, (): &mut (), _: SetLimitEvent<'_>) {}

        fn handle(&self, (): &(), streams: SetLimitStreams<'_>) -> Result<(), BorrowError> {
            streams
                .rules
                .append(RulesEvent::LimitSet { most: self.most });
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_copy_is_lent_once_and_a_member_borrows_up_to_the_limit() {
        use eventcore::{CommandError, RetryPolicy, execute, memory::MemoryEventStore};

        let store = MemoryEventStore::new();
        let rules = || RulesId("house".into());
        let limit = SetLimit {
            rules: rules(),
            most: 1,
        };
        execute(&store, limit, RetryPolicy::new()).await.unwrap();
        let borrow = |copy: &str, member| Borrow {
            copy: CopyId(copy.into()),
            member: MemberId(member),
            rules: rules(),
        };
        let run = async |command| execute(&store, command, RetryPolicy::new()).await;
        assert_eq!(run(borrow("moby-1", 7)).await.unwrap().events_written(), 2);
        let refused = run(borrow("moby-1", 8)).await.unwrap_err();
        assert!(matches!(
            refused,
            CommandError::BusinessRuleViolation(BorrowError::Lent(_))
        ));
        let refused = run(borrow("emma-1", 7)).await.unwrap_err();
        assert!(matches!(
            refused,
            CommandError::BusinessRuleViolation(BorrowError::TooMany(1))
        ));
    }
}

mod discovery {
    use eventcore::{Command, CommandLogic, Event, StreamKey, StreamResolver};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize, Event)]
    enum CopyEvent {
        Lent { to: u64 },
        Returned,
    }

    #[derive(Debug, Serialize, Deserialize, Event)]
    enum MemberEvent {
        Borrowed { copy: String },
        Returned { copy: String },
    }

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "copy", event = CopyEvent)]
    struct CopyId(String);

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "member", event = MemberEvent)]
    struct MemberId(u64);

    #[derive(Debug, Command)]
    #[command(discovers(member: Option<MemberId>))]
    struct BringBack {
        #[stream]
        copy: CopyId,
    }

    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("this copy is not lent")]
    struct NotLent;

    impl StreamResolver for BringBack {
        fn discover_related_streams(&self, lent_to: &Option<u64>) -> BringBackDiscovered {
            BringBackDiscovered {
                member: lent_to.map(MemberId),
            }
        }
    }

    impl CommandLogic for BringBack {
        type State = Option<u64>;
        type Error = NotLent;

        fn apply(&self, lent_to: &mut Option<u64>, event: BringBackEvent<'_>) {
            match event {
                BringBackEvent::Copy(CopyEvent::Lent { to }) => *lent_to = Some(to),
                BringBackEvent::Copy(CopyEvent::Returned) => *lent_to = None,
                BringBackEvent::Member(_) => {}
            }
        }

        fn handle(&self, _: &Option<u64>, streams: BringBackStreams<'_>) -> Result<(), NotLent> {
            let member = streams.member.ok_or(NotLent)?;
            streams.copy.append(CopyEvent::Returned);
            member.append(MemberEvent::Returned {
                copy: self.copy.0.clone(),
            });
            Ok(())
        }
    }

    #[test]
    fn a_copy_is_brought_back_by_whom_it_was_lent_to() {
        use eventcore::testing::given;

        let copy = CopyId("moby-1".into());
        let bring_back = || BringBack {
            copy: CopyId("moby-1".into()),
        };
        given().when(bring_back()).then_error(NotLent);
        let mut history = given();
        history.record(&copy, [CopyEvent::Lent { to: 7 }]);
        assert_eq!(history.execute(bring_back()).unwrap().events_written(), 2);
        assert_eq!(history.events_of(&MemberId(7)).len(), 1);
        assert!(history.execute(bring_back()).is_err());
    }
}

mod long_streams {
    use eventcore::{Command, CommandLogic, Event, StreamKey, require};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
    enum TillEvent {
        PaidIn { cents: u64 },
        PaidOut { cents: u64 },
    }

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "till", event = TillEvent)]
    struct TillId(u32);

    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("there is not so much in the till")]
    struct TooMuch;

    #[derive(Debug, Command)]
    #[command(cached)]
    struct PayOut {
        #[stream]
        till: TillId,
        cents: u64,
    }

    #[derive(Default, Clone)]
    struct Till {
        cents: u64,
    }

    impl CommandLogic for PayOut {
        type State = Till;
        type Error = TooMuch;

        fn apply(&self, till: &mut Till, event: PayOutEvent<'_>) {
            match event {
                PayOutEvent::Till(TillEvent::PaidIn { cents }) => till.cents += cents,
                PayOutEvent::Till(TillEvent::PaidOut { cents }) => till.cents -= cents,
            }
        }

        fn handle(&self, till: &Till, streams: PayOutStreams<'_>) -> Result<(), TooMuch> {
            require!(till.cents >= self.cents, TooMuch);
            streams
                .till
                .append(TillEvent::PaidOut { cents: self.cents });
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_cached_command_reads_only_newer_events() {
        use eventcore::{
            EventStore, RetryPolicy, execute, memory::MemoryEventStore, testing::given,
        };

        let store = MemoryEventStore::new();
        let pay = |cents| PayOut {
            till: TillId(1),
            cents,
        };
        for _ in 0..3 {
            execute(&store, pay(0), RetryPolicy::new()).await.unwrap();
        }
        assert!(execute(&store, pay(1), RetryPolicy::new()).await.is_err());
        assert_eq!(store.states().unwrap().counts().hits, 2);
        given()
            .events(&TillId(1), [TillEvent::PaidIn { cents: 5 }])
            .executed(pay(2))
            .when(pay(4))
            .then_error(TooMuch);
    }
}

mod changed_events {
    use eventcore::{Command, CommandLogic, Event, StreamKey};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
    enum TicketEvent {
        #[event(name = "TicketIssued.2", upcast(from = IssuedV1, with = IssuedV1::upgrade))]
        Issued { garage: String, plate: String },
        #[event(alias = "TicketClosed")] // its earlier name
        Paid { cents: u64 },
    }

    #[derive(Debug, Serialize, Deserialize, Event)]
    #[event(name = "TicketIssued")] // the name under which such events are stored
    struct IssuedV1 {
        plate: String,
    }

    impl IssuedV1 {
        fn upgrade(self) -> TicketEvent {
            TicketEvent::Issued {
                garage: "main".into(), // there was only one
                plate: self.plate,
            }
        }
    }

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "ticket", event = TicketEvent)]
    struct TicketId(u64);

    #[derive(Debug, Command)]
    struct Pay {
        #[stream]
        ticket: TicketId,
    }

    impl CommandLogic for Pay {
        type State = Vec<TicketEvent>;
        type Error = std::convert::Infallible;

        fn apply(&self, events: &mut Self::State, PayEvent::Ticket(event): PayEvent<'_>) {
            events.push(event);
        }

        fn handle(&self, _: &Self::State, _: PayStreams<'_>) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    #[test]
    fn old_events_are_read_as_todays() {
        let (ticket, plate) = (TicketId(1), || "B-1".to_owned());
        let issued = |garage: &str| TicketEvent::Issued {
            garage: garage.to_owned(),
            plate: plate(),
        };
        let old = eventcore::testing::given()
            .stored(&ticket, "TicketIssued", r#"{"plate":"B-1"}"#)
            .stored(&ticket, "TicketClosed", r#"{"cents":5}"#)
            .events(&ticket, [issued("north")]);
        let pay = Pay {
            ticket: TicketId(1),
        };
        assert_eq!(
            old.state_of(&pay, Clone::clone),
            [
                issued("main"),
                TicketEvent::Paid { cents: 5 },
                issued("north")
            ]
        );
    }
}

mod once {
    use eventcore::{CommandError, CommandLogic, EventStore};

    async fn run<C>(store: &impl EventStore, command: C) -> Result<bool, Box<dyn std::error::Error>>
    where
        C: CommandLogic,
        CommandError<C::Error>: std::error::Error + 'static,
    {
        use eventcore::{ExecuteOptions, IdempotencyKey, execute};

        let once = ExecuteOptions::new().idempotency_key(IdempotencyKey::new("request-7")?);
        let done = execute(store, command, once).await?;
        Ok(done.is_repeated())
    }

    fn of_client(
        client: &str,
        body: &serde_json::Value,
    ) -> Result<eventcore::IdempotencyKey, Box<dyn std::error::Error>> {
        use eventcore::IdempotencyKey;

        let key =
            IdempotencyKey::new("request-7")?.for_request(&(client, "POST /transfers", body))?;
        Ok(key)
    }
}
