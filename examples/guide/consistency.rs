//! The chapter on consistency: rules that concern several streams.
#![allow(dead_code, reason = "a chapter shows more than its tests use")]

mod courses {
    use eventcore::{Command, CommandLogic, Event, StreamKey, StreamState, require};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
    enum CourseEvent {
        Defined { capacity: u32 },
        CapacityChanged { capacity: u32 },
        SeatTaken,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
    enum StudentEvent {
        Subscribed { course: CourseId },
    }

    #[derive(Debug, Default)]
    struct Course {
        capacity: u32,
        taken: u32,
    }

    impl StreamState<CourseEvent> for Course {
        fn apply(&mut self, event: CourseEvent) {
            match event {
                CourseEvent::Defined { capacity } | CourseEvent::CapacityChanged { capacity } => {
                    self.capacity = capacity;
                }
                CourseEvent::SeatTaken => self.taken += 1,
            }
        }
    }

    #[derive(Debug, Default)]
    struct Student {
        courses: Vec<CourseId>,
    }

    impl StreamState<StudentEvent> for Student {
        fn apply(&mut self, StudentEvent::Subscribed { course }: StudentEvent) {
            self.courses.push(course);
        }
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamKey)]
    #[stream_key(category = "course", event = CourseEvent, state = Course, traits(From))]
    struct CourseId(String);

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "student", event = StudentEvent, state = Student, traits(From))]
    struct StudentId(String);

    #[derive(Debug, PartialEq, thiserror::Error)]
    enum Refused {
        #[error("the course is full")]
        Full,
        #[error("the student has this course already")]
        Already,
        #[error("a student takes at most five courses")]
        TooMany,
    }

    #[derive(Debug, Command)]
    struct Subscribe {
        #[stream]
        course: CourseId,
        #[stream]
        student: StudentId,
    }

    impl CommandLogic for Subscribe {
        type State = ();
        type Error = Refused;

        fn handle(&self, (): &(), streams: SubscribeStreams<'_>) -> Result<(), Refused> {
            let (course, student) = (streams.course, streams.student);
            require!(course.taken < course.capacity, Refused::Full);
            require!(student.courses.len() < 5, Refused::TooMany);
            require!(!student.courses.contains(&self.course), Refused::Already);
            course.append(CourseEvent::SeatTaken);
            let course = self.course.clone();
            student.append(StudentEvent::Subscribed { course });
            Ok(())
        }
    }

    #[test]
    fn a_course_takes_its_capacity_and_a_student_five() {
        use eventcore::testing::given;

        let math = CourseId::from("math");
        let subscribe = |course: &str, student: &str| Subscribe {
            course: course.into(),
            student: student.into(),
        };
        let mut history = given().events(&math, [CourseEvent::Defined { capacity: 2 }]);
        for course in ["a", "b", "c", "d"] {
            history.record(
                &CourseId::from(course),
                [CourseEvent::Defined { capacity: 9 }],
            );
            history = history.executed(subscribe(course, "ada"));
        }
        history
            .executed(subscribe("math", "ada"))
            .when(subscribe("a", "ada"))
            .then_error(Refused::TooMany)
            .when(subscribe("a", "bob"))
            .then_events(&CourseId::from("a"), [CourseEvent::SeatTaken])
            .then_events(
                &StudentId::from("bob"),
                [StudentEvent::Subscribed { course: "a".into() }],
            )
            .when(subscribe("a", "bob"))
            .then_error(Refused::Already)
            .into_given()
            .executed(subscribe("math", "bob"))
            .when(subscribe("math", "eve"))
            .then_error(Refused::Full)
            .into_given()
            .events(&math, [CourseEvent::CapacityChanged { capacity: 3 }])
            .executed(subscribe("math", "eve"));
    }
}

mod user_names {
    use eventcore::{Command, CommandLogic, Event, StreamKey, StreamState, require};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
    enum UserNameEvent {
        Claimed { account: AccountId },
        Released,
    }

    #[derive(Debug, Default)]
    struct UserName {
        taken_by: Option<AccountId>,
    }

    impl StreamState<UserNameEvent> for UserName {
        fn apply(&mut self, event: UserNameEvent) {
            self.taken_by = match event {
                UserNameEvent::Claimed { account } => Some(account),
                UserNameEvent::Released => None,
            };
        }
    }

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "user_name", event = UserNameEvent, state = UserName)]
    struct UserNameId(String);

    impl UserNameId {
        /// Names that differ only in case, or in the spaces around them, are one stream.
        fn new(name: &str) -> Result<Self, eventcore::StreamIdError> {
            Self::from_text(&eventcore::encode_key(&name.trim().to_lowercase()))
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
    enum AccountEvent {
        Registered { user_name: String },
        UserNameChanged { user_name: String },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamKey)]
    #[stream_key(category = "account", event = AccountEvent)]
    struct AccountId(u64);

    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("this name is taken")]
    struct Taken;

    #[derive(Debug, Command)]
    struct Register {
        #[stream]
        account: AccountId,
        #[stream]
        name: UserNameId,
        user_name: String,
    }

    impl CommandLogic for Register {
        type State = ();
        type Error = Taken;

        fn handle(&self, (): &(), streams: RegisterStreams<'_>) -> Result<(), Taken> {
            require!(streams.name.taken_by.is_none(), Taken);
            let (account, user_name) = (self.account.clone(), self.user_name.clone());
            streams.name.append(UserNameEvent::Claimed { account });
            streams
                .account
                .append(AccountEvent::Registered { user_name });
            Ok(())
        }
    }

    #[derive(Debug, Command)]
    struct Rename {
        #[stream]
        account: AccountId,
        #[stream]
        from: UserNameId,
        #[stream]
        to: UserNameId,
        user_name: String,
    }

    impl CommandLogic for Rename {
        type State = ();
        type Error = Taken;

        fn handle(&self, (): &(), streams: RenameStreams<'_>) -> Result<(), Taken> {
            let (account, user_name) = (self.account.clone(), self.user_name.clone());
            require!(streams.from.taken_by.as_ref() == Some(&account), Taken);
            require!(streams.to.taken_by.is_none(), Taken);
            streams.from.append(UserNameEvent::Released);
            streams.to.append(UserNameEvent::Claimed { account });
            let renamed = AccountEvent::UserNameChanged { user_name };
            streams.account.append(renamed);
            Ok(())
        }
    }

    #[test]
    fn a_name_is_one_account_s_until_it_is_released() {
        use eventcore::testing::given;

        let name = |name: &str| UserNameId::new(name).unwrap();
        let register = |account, user_name: &str| Register {
            account: AccountId(account),
            name: UserNameId::new(user_name).unwrap(),
            user_name: user_name.into(),
        };
        let rename = |account, from: &str, to: &str| Rename {
            account: AccountId(account),
            from: name(from),
            to: name(to),
            user_name: to.into(),
        };
        assert!(UserNameId::new(" ").is_err());
        given()
            .executed(register(1, "Ada"))
            .when(register(2, "ada "))
            .then_error(Taken)
            .when(rename(2, "ada", "grace"))
            .then_error(Taken)
            .into_given()
            .executed(rename(1, "ada", "what?"))
            .executed(register(2, "ada"))
            .when(register(3, "What?"))
            .then_error(Taken);
    }
}

mod invoices {
    use eventcore::{Command, CommandLogic, Event, StreamKey};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
    enum SeriesEvent {
        InvoiceCreated { number: u64, cents: u64 },
    }

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "invoices", event = SeriesEvent)]
    struct SeriesId(u32); // one series for each year

    #[derive(Debug, Command)]
    struct CreateInvoice {
        #[stream]
        series: SeriesId,
        cents: u64,
    }

    impl CommandLogic for CreateInvoice {
        type State = ();
        type Error = std::convert::Infallible;

        fn handle(&self, (): &(), streams: CreateInvoiceStreams<'_>) -> Result<(), Self::Error> {
            let (number, cents) = (streams.series.version().get() + 1, self.cents);
            let created = SeriesEvent::InvoiceCreated { number, cents };
            streams.series.append(created);
            Ok(())
        }
    }

    #[test]
    fn numbers_have_no_gap() {
        use eventcore::testing::given;

        let create = |cents| CreateInvoice {
            series: SeriesId(2026),
            cents,
        };
        let (number, cents) = (3, 9);
        given()
            .executed(create(7))
            .executed(create(8))
            .when(create(9))
            .then_events(
                &SeriesId(2026),
                [SeriesEvent::InvoiceCreated { number, cents }],
            );
    }
}

mod opt_in {
    use eventcore::{Command, CommandLogic, Event, StreamKey, StreamState};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
    enum SignUpEvent {
        Requested { email: String, minute: u64 },
        Confirmed,
    }

    #[derive(Debug, Default)]
    struct SignUp {
        requested_at: Option<u64>,
        is_confirmed: bool,
    }

    impl StreamState<SignUpEvent> for SignUp {
        fn apply(&mut self, event: SignUpEvent) {
            match event {
                SignUpEvent::Requested { minute, .. } => self.requested_at = Some(minute),
                SignUpEvent::Confirmed => self.is_confirmed = true,
            }
        }
    }

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "sign_up", event = SignUpEvent, state = SignUp)]
    struct SignUpId(String); // the email address and the token

    #[derive(Debug, PartialEq, thiserror::Error)]
    enum Invalid {
        #[error("there is no such sign-up")]
        Unknown,
        #[error("this token was used")]
        Used,
        #[error("this token has expired")]
        Expired,
    }

    #[derive(Debug, Command)]
    struct Confirm {
        #[stream]
        sign_up: SignUpId,
        minute: u64, // the time is a field, so `handle` stays pure
    }

    impl CommandLogic for Confirm {
        type State = ();
        type Error = Invalid;

        fn handle(&self, (): &(), streams: ConfirmStreams<'_>) -> Result<(), Invalid> {
            match streams.sign_up.requested_at {
                None => return Err(Invalid::Unknown),
                Some(_) if streams.sign_up.is_confirmed => return Err(Invalid::Used),
                Some(minute) if self.minute > minute + 60 => return Err(Invalid::Expired),
                Some(_) => streams.sign_up.append(SignUpEvent::Confirmed),
            }
            Ok(())
        }
    }

    #[test]
    fn a_token_is_used_once_and_in_time() {
        use eventcore::testing::given;

        let id = SignUpId("ada@example.org 123456".into());
        let email = "ada@example.org".to_owned();
        let confirm = |minute| Confirm {
            sign_up: SignUpId("ada@example.org 123456".into()),
            minute,
        };
        given()
            .when(confirm(5))
            .then_error(Invalid::Unknown)
            .into_given()
            .events(&id, [SignUpEvent::Requested { email, minute: 5 }])
            .when(confirm(66))
            .then_error(Invalid::Expired)
            .into_given()
            .executed(confirm(65))
            .when(confirm(65))
            .then_error(Invalid::Used);
    }
}

mod prices {
    use eventcore::{Command, CommandLogic, Event, StreamKey, StreamState, require};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
    enum ProductEvent {
        PriceSet { cents: u64, minute: u64 },
    }

    #[derive(Debug, Default)]
    struct Product {
        /// The current price, the one before it, and the time of the change.
        cents: Option<u64>,
        before: Option<u64>,
        changed_at: u64,
    }

    impl StreamState<ProductEvent> for Product {
        fn apply(&mut self, ProductEvent::PriceSet { cents, minute }: ProductEvent) {
            (self.before, self.cents) = (self.cents, Some(cents));
            self.changed_at = minute;
        }
    }

    impl Product {
        /// A price that was shown stays valid for ten minutes after a change.
        fn accepts(&self, cents: u64, minute: u64) -> bool {
            let is_recent = minute < self.changed_at + 10;
            self.cents == Some(cents) || (is_recent && self.before == Some(cents))
        }
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamKey)]
    #[stream_key(category = "product", event = ProductEvent, state = Product)]
    struct ProductId(u64);

    #[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
    enum OrderEvent {
        Placed { cents: u64 },
    }

    #[derive(Debug, Clone, PartialEq, StreamKey)]
    #[stream_key(category = "order", event = OrderEvent)]
    struct OrderId(String); // chosen by the client

    #[derive(Debug, PartialEq, thiserror::Error)]
    enum Refused {
        #[error("the price of {0:?} has changed")]
        PriceChanged(ProductId),
        #[error("this order was placed before")]
        PlacedBefore,
    }

    #[derive(Debug, Command)]
    struct PlaceOrder {
        #[stream]
        order: OrderId,
        #[stream(read)]
        products: Vec<ProductId>,
        shown: Vec<u64>, // the price of each product, as the customer saw it
        minute: u64,
    }

    impl CommandLogic for PlaceOrder {
        type State = ();
        type Error = Refused;

        fn handle(&self, (): &(), streams: PlaceOrderStreams<'_>) -> Result<(), Refused> {
            let is_new = streams.order.version().get() == 0;
            require!(is_new, Refused::PlacedBefore);
            for ((id, product), shown) in streams.products.iter().zip(&self.shown) {
                let accepted = product.accepts(*shown, self.minute);
                require!(accepted, Refused::PriceChanged(id.clone()));
            }
            let cents = self.shown.iter().sum();
            streams.order.append(OrderEvent::Placed { cents });
            Ok(())
        }
    }

    #[test]
    fn a_shown_price_holds_for_ten_minutes_and_an_order_is_placed_once() {
        use eventcore::testing::given;

        let (lamp, desk) = (ProductId(1), ProductId(2));
        let set = |cents, minute| [ProductEvent::PriceSet { cents, minute }];
        let place = |order: &str, shown: [u64; 2], minute| PlaceOrder {
            order: OrderId(order.into()),
            products: vec![ProductId(1), ProductId(2)],
            shown: shown.to_vec(),
            minute,
        };
        given()
            .events(&lamp, set(40, 0))
            .events(&desk, set(90, 0))
            .events(&lamp, set(50, 30))
            .when(place("a", [40, 90], 40))
            .then_error(Refused::PriceChanged(lamp))
            .when(place("a", [45, 90], 39))
            .then_error(Refused::PriceChanged(ProductId(1)))
            .into_given()
            .executed(place("a", [40, 90], 39))
            .executed(place("b", [50, 90], 40))
            .when(place("a", [50, 90], 40))
            .then_error(Refused::PlacedBefore);
    }
}

mod known_already {
    use eventcore::{
        Command, CommandError, CommandLogic, DeclarationError, Event, StreamKey, StreamResolver,
        StreamState,
    };
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
    enum PageEvent {
        LinkedTo { page: PageId },
        Deleted,
    }

    #[derive(Debug, Default)]
    struct Page {
        links: Vec<PageId>,
    }

    impl StreamState<PageEvent> for Page {
        fn apply(&mut self, event: PageEvent) {
            if let PageEvent::LinkedTo { page } = event {
                self.links.push(page);
            }
        }
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamKey)]
    #[stream_key(category = "page", event = PageEvent, state = Page)]
    struct PageId(u64);

    #[derive(Debug, Command)]
    #[command(discovers(links: Vec<PageId>))]
    struct Delete {
        #[stream]
        page: PageId,
        filters: bool,
    }

    impl Delete {
        fn filtered(&self, streams: &DeleteKnownStreams<'_>) -> Vec<PageId> {
            let links = streams.page.links.iter().filter(|page| **page != self.page); // a page may link to itself
            links.cloned().collect()
        }
    }

    impl StreamResolver for Delete {
        fn discover_related_streams(
            &self,
            (): &(),
            streams: DeleteKnownStreams<'_>,
        ) -> DeleteDiscovered {
            let links = if self.filters {
                self.filtered(&streams)
            } else {
                streams.page.links.clone()
            };
            DeleteDiscovered { links }
        }
    }

    impl CommandLogic for Delete {
        type State = ();
        type Error = std::convert::Infallible;

        fn handle(&self, (): &(), streams: DeleteStreams<'_>) -> Result<(), Self::Error> {
            streams.page.append(PageEvent::Deleted);
            for (_, page) in &streams.links {
                page.append(PageEvent::Deleted);
            }
            Ok(())
        }
    }

    #[test]
    fn a_found_stream_that_is_declared_is_refused() {
        use eventcore::testing::given;

        let link = |page| PageEvent::LinkedTo { page: PageId(page) };
        let delete = |filters| Delete {
            page: PageId(1),
            filters,
        };
        given()
            .events(&PageId(1), [link(1), link(2)])
            .when(delete(false))
            .then_failure(|error| {
                matches!(
                    error,
                    CommandError::Declaration(DeclarationError::DuplicateStream {
                        first: "page",
                        second: "links",
                        ..
                    })
                )
            })
            .into_given()
            .when(delete(true))
            .then_events(&PageId(1), [PageEvent::Deleted])
            .then_events(&PageId(2), [PageEvent::Deleted]);
    }
}
