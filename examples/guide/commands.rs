//! The chapter on commands: a library that lends copies of books.
#![allow(dead_code, reason = "a chapter shows more than its tests use")]

mod borrowing {
    use eventcore::{Command, CommandLogic, Event, StreamKey, StreamState, require};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize, Event)]
    enum CopyEvent {
        Lent { to: MemberId },
        Returned,
    }

    #[derive(Debug, Serialize, Deserialize, Event)]
    enum MemberEvent {
        Borrowed { copy: CopyId },
        Returned { copy: CopyId },
    }

    #[derive(Debug, Serialize, Deserialize, Event)]
    enum RulesEvent {
        LimitSet { most: usize },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamKey)]
    #[stream_key(category = "copy", event = CopyEvent, state = Lending)]
    struct CopyId(String);

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamKey)]
    #[stream_key(category = "member", event = MemberEvent, state = Member)]
    struct MemberId(u64);

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "rules", event = RulesEvent, state = Rules)]
    struct RulesId(String);

    #[derive(Debug, Default)]
    struct Lending {
        lent_to: Option<MemberId>,
    }

    impl StreamState<CopyEvent> for Lending {
        fn apply(&mut self, event: CopyEvent) {
            self.lent_to = match event {
                CopyEvent::Lent { to } => Some(to),
                CopyEvent::Returned => None,
            };
        }
    }

    #[derive(Debug, Default)]
    struct Member {
        borrowed: usize,
    }

    impl StreamState<MemberEvent> for Member {
        fn apply(&mut self, event: MemberEvent) {
            match event {
                MemberEvent::Borrowed { .. } => self.borrowed += 1,
                MemberEvent::Returned { .. } => self.borrowed -= 1,
            }
        }
    }

    #[derive(Debug, Default)]
    struct Rules {
        most: usize,
    }

    impl StreamState<RulesEvent> for Rules {
        fn apply(&mut self, RulesEvent::LimitSet { most }: RulesEvent) {
            self.most = most;
        }
    }

    #[derive(Debug, Command)]
    struct Borrow {
        #[stream]
        copy: CopyId,
        #[stream]
        member: MemberId,
        #[stream(read)]
        rules: RulesId,
    }

    #[derive(Debug, PartialEq, thiserror::Error)]
    enum BorrowError {
        #[error("this copy is already lent")]
        Lent,
        #[error("a member may have at most {0} books")]
        TooMany(usize),
    }

    impl CommandLogic for Borrow {
        type State = ();
        type Error = BorrowError;

        fn handle(&self, (): &(), streams: BorrowStreams<'_>) -> Result<(), BorrowError> {
            require!(streams.copy.lent_to.is_none(), BorrowError::Lent);
            let most = streams.rules.most;
            require!(streams.member.borrowed < most, BorrowError::TooMany(most));
            let (copy, to) = (self.copy.clone(), self.member.clone());
            streams.copy.append(CopyEvent::Lent { to });
            streams.member.append(MemberEvent::Borrowed { copy });
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
            CommandError::BusinessRuleViolation(BorrowError::Lent)
        ));
        let refused = run(borrow("emma-1", 7)).await.unwrap_err();
        assert!(matches!(
            refused,
            CommandError::BusinessRuleViolation(BorrowError::TooMany(1))
        ));
        assert_eq!(borrowed(&store, MemberId(7)).await.unwrap(), 1);
        let (copy, members) = (CopyId("moby-1".into()), [MemberId(7), MemberId(8)]);
        let positions = read(&store, &copy, &members).await.unwrap();
        assert_eq!(positions, [3, 3]);
    }

    async fn borrowed(
        store: &impl eventcore::EventStore,
        member: MemberId,
    ) -> Result<usize, eventcore::LoadError> {
        use eventcore::load;

        let member = load(store, &member).await?;
        if member.exists() {
            println!("{} books, at version {}", member.borrowed, member.version());
        }
        Ok(member.borrowed)
    }

    async fn read(
        store: &impl eventcore::EventStore,
        copy: &CopyId,
        members: &[MemberId],
    ) -> Result<Vec<u64>, eventcore::LoadError> {
        use eventcore::{Position, load, load_at};

        let (copy, members) = load(store, (copy, members)).await?;
        println!("{:?}, {} members", copy.lent_to, members.len());
        let then = load_at(store, &MemberId(7), Position::new(1)).await?;
        assert_eq!((then.borrowed, then.exists()), (0, false));
        Ok(members.iter().map(|one| one.position().get()).collect())
    }

    use eventcore::StreamResolver;

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
        fn discover_related_streams(
            &self,
            (): &(),
            streams: BringBackKnownStreams<'_>,
        ) -> BringBackDiscovered {
            BringBackDiscovered {
                member: streams.copy.lent_to.clone(),
            }
        }
    }

    impl CommandLogic for BringBack {
        type State = ();
        type Error = NotLent;

        fn handle(&self, (): &(), streams: BringBackStreams<'_>) -> Result<(), NotLent> {
            let member = streams.member.ok_or(NotLent)?;
            let copy = self.copy.clone();
            streams.copy.append(CopyEvent::Returned);
            member.append(MemberEvent::Returned { copy });
            Ok(())
        }
    }

    #[test]
    fn a_copy_is_brought_back_by_the_member_who_borrowed_it() {
        use eventcore::testing::given;

        let copy = CopyId("moby-1".into());
        let bring_back = || BringBack {
            copy: CopyId("moby-1".into()),
        };
        given().when(bring_back()).then_error(NotLent);
        let member = MemberId(7);
        let mut history = given();
        history.record(&copy, [CopyEvent::Lent { to: member.clone() }]);
        history.record(&member, [MemberEvent::Borrowed { copy }]);
        assert_eq!(history.execute(bring_back()).unwrap().events_written(), 2);
        assert_eq!(history.events_of(&MemberId(7)).len(), 2);
        assert!(history.execute(bring_back()).is_err());
    }
}

mod fines {
    use eventcore::{Command, CommandLogic, Event, StreamKey, require};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
    enum MemberEvent {
        ReturnedLate { days: u64 },
        Paid { cents: u64 },
    }

    #[derive(Debug, Serialize, Deserialize, Event)]
    enum RulesEvent {
        FineSet { cents_per_day: u64 },
    }

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "member", event = MemberEvent)]
    struct MemberId(u64);

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "rules", event = RulesEvent)]
    struct RulesId(String);

    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("only {0} cents are owed")]
    struct OwesLess(u64);

    #[derive(Debug, Command)]
    struct Pay {
        #[stream]
        member: MemberId,
        #[stream(read)]
        rules: RulesId,
        cents: u64,
    }

    #[derive(Default)]
    struct Fines {
        cents_per_day: u64,
        owed: u64,
    }

    impl CommandLogic for Pay {
        type State = Fines;
        type Error = OwesLess;

        fn apply(&self, fines: &mut Fines, event: PayEvent<'_>) {
            match event {
                PayEvent::Rules(RulesEvent::FineSet { cents_per_day }) => {
                    fines.cents_per_day = cents_per_day;
                }
                PayEvent::Member(MemberEvent::ReturnedLate { days }) => {
                    fines.owed += days * fines.cents_per_day; // the fine of that time
                }
                PayEvent::Member(MemberEvent::Paid { cents }) => fines.owed -= cents,
            }
        }

        fn handle(&self, fines: &Fines, streams: PayStreams<'_>) -> Result<(), OwesLess> {
            let cents = self.cents;
            require!(cents <= fines.owed, OwesLess(fines.owed));
            streams.member.append(MemberEvent::Paid { cents });
            Ok(())
        }
    }

    #[test]
    fn each_day_costs_the_fine_of_its_time() {
        use eventcore::testing::given;

        let (member, rules) = (MemberId(7), RulesId("house".into()));
        let pay = |cents| Pay {
            member: MemberId(7),
            rules: RulesId("house".into()),
            cents,
        };
        given()
            .events(&rules, [RulesEvent::FineSet { cents_per_day: 10 }])
            .events(&member, [MemberEvent::ReturnedLate { days: 2 }])
            .events(&rules, [RulesEvent::FineSet { cents_per_day: 50 }])
            .events(&member, [MemberEvent::ReturnedLate { days: 1 }])
            .when(pay(71))
            .then_error(OwesLess(70))
            .when(pay(70))
            .then_events(&member, [MemberEvent::Paid { cents: 70 }]);
    }
}

mod shown_version {
    use super::accounts::*;
    use eventcore::{
        CommandError, EventStore, ExecuteOptions, RetryPolicy, execute, load,
        memory::MemoryEventStore,
    };

    async fn answer(
        store: &impl EventStore,
        account: AccountId,
        command: Withdraw,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let shown = load(store, &account).await?.version(); // goes out as the `ETag`
        // …
        let options = ExecuteOptions::new().expect_version(&account, shown);
        match execute(store, command, options).await {
            Err(moved @ CommandError::VersionMoved { .. }) => println!("412: {moved}"),
            done => println!("200: {}", done?.position()),
        }
        Ok(())
    }

    #[tokio::test]
    async fn what_was_shown_can_be_demanded() {
        let store = MemoryEventStore::new();
        let account = || AccountId(1);
        let withdraw = || Withdraw { account: account() };
        answer(&store, account(), withdraw()).await.unwrap();
        let shown = load(&store, &account()).await.unwrap().version();
        let demanding = || ExecuteOptions::new().expect_version(&account(), shown);
        execute(&store, withdraw(), RetryPolicy::new())
            .await
            .unwrap();
        let moved = execute(&store, withdraw(), demanding()).await.unwrap_err();
        assert!(matches!(moved, CommandError::VersionMoved { .. }));
    }
}

mod accounts {
    use eventcore::{Command, CommandLogic, Event, StreamKey};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize, Event)]
    pub enum AccountEvent {
        Withdrawn,
    }

    #[derive(Debug, StreamKey)]
    #[stream_key(category = "account", event = AccountEvent)]
    pub struct AccountId(pub u64);

    #[derive(Debug, Command)]
    pub struct Withdraw {
        #[stream]
        pub account: AccountId,
    }

    impl CommandLogic for Withdraw {
        type State = ();
        type Error = std::convert::Infallible;

        fn handle(&self, (): &(), streams: WithdrawStreams<'_>) -> Result<(), Self::Error> {
            streams.account.append(AccountEvent::Withdrawn);
            Ok(())
        }
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
