//! The test kit tested: what passes, and above all what must fail, with which words.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
};

use eventcore::{
    Command, CommandError, CommandLogic, Event, ExecuteOptions, IdempotencyKey, StreamId,
    StreamKey, StreamResolver, require,
    testing::{Given, given},
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
enum AccountEvent {
    Opened {
        owner: String,
    },
    #[event(alias = "account.deposit")]
    Deposited {
        amount: u64,
    },
    Withdrawn {
        amount: u64,
    },
    Linked {
        other: u64,
    },
    Measured(f64),
}
use AccountEvent::{Deposited, Linked, Opened, Withdrawn};

#[derive(Debug, Clone, PartialEq, StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
struct AccountId(u64);

const ADA: AccountId = AccountId(1);
const GRACE: AccountId = AccountId(2);

#[derive(Debug, Clone, Command)]
struct Transfer {
    #[stream]
    from: AccountId,
    #[stream]
    to: AccountId,
    amount: u64,
}

#[derive(Debug, PartialEq)]
enum BankError {
    Insufficient { available: u64 },
    Nothing,
}

impl CommandLogic for Transfer {
    type State = u64;
    type Error = BankError;

    fn apply(&self, available: &mut u64, event: TransferEvent<'_>) {
        match event {
            TransferEvent::From(Deposited { amount }) => *available += amount,
            TransferEvent::From(Withdrawn { amount }) => *available -= amount,
            _ => {}
        }
    }

    fn handle(&self, available: &u64, streams: TransferStreams<'_>) -> Result<(), BankError> {
        require!(self.amount > 0, BankError::Nothing);
        require!(
            *available >= self.amount,
            BankError::Insufficient {
                available: *available
            }
        );
        streams.from.append(Withdrawn {
            amount: self.amount,
        });
        streams.to.append(Deposited {
            amount: self.amount,
        });
        Ok(())
    }
}

fn transfer(amount: u64) -> Transfer {
    Transfer {
        from: ADA,
        to: GRACE,
        amount,
    }
}

fn rich() -> Given {
    given().events(&ADA, [Deposited { amount: 10 }])
}

/// The words with which a test fails.
fn failure(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("the test passed");
    match panic.downcast::<String>() {
        Ok(said) => *said,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    }
}

fn assert_contains(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "no `{part}` in:\n{said}");
    }
}

#[test]
fn what_was_expected_passes() {
    rich()
        .when(transfer(3))
        .then_events(&GRACE, [Deposited { amount: 3 }])
        .then_events(&ADA, [Withdrawn { amount: 3 }])
        .then_state(|available| assert_eq!(*available, 7))
        .when(transfer(8))
        .then_error(BankError::Insufficient { available: 7 })
        .then_state(|available| assert_eq!(*available, 7))
        .when(transfer(0))
        .then_error_matching(|error| matches!(error, BankError::Nothing));
}

#[test]
fn the_event_that_differs_is_named_and_shown() {
    let said = failure(|| {
        let _ = rich()
            .when(transfer(3))
            .then_events(&ADA, [Withdrawn { amount: 4 }]);
    });
    assert_contains(
        &said,
        &[
            "given_when_then.rs:",
            "in stream `account-1`, event 1 differs (1 expected, 1 appended)",
            "  -         amount: 4,\n  +         amount: 3,\n",
        ],
    );
    let missing = failure(|| {
        let both = [Withdrawn { amount: 3 }, Withdrawn { amount: 1 }];
        let _ = rich().when(transfer(3)).then_events(&ADA, both);
    });
    assert_contains(
        &missing,
        &["event 2 is missing (2 expected, 1 appended)", "amount: 1"],
    );
    let unexpected = failure(|| {
        let _ = rich().when(transfer(3)).then_events(&ADA, []);
    });
    assert_contains(
        &unexpected,
        &["event 1 was not expected (0 expected, 1 appended)"],
    );
}

#[test]
fn a_stream_that_no_check_names_is_found_at_the_end() {
    let said = failure(|| {
        let _ = rich()
            .when(transfer(3))
            .then_events(&ADA, [Withdrawn { amount: 3 }]);
    });
    assert_contains(
        &said,
        &[
            "it also appended what no `then_events` names:",
            "account-2: AccountDeposited {\"amount\":3}",
        ],
    );
    let next = failure(|| {
        let _ = rich()
            .when(transfer(3))
            .then_events(&ADA, [Withdrawn { amount: 3 }])
            .when(transfer(1));
    });
    assert_contains(&next, &["it also appended what no `then_events` names:"]);
}

#[test]
fn a_failure_that_nothing_expects_fails_the_test() {
    let said = failure(|| {
        let _ = given().when(transfer(3)).then_state(|_| {});
    });
    assert_contains(
        &said,
        &["nothing expects a failure, and it refused with Insufficient {\n    available: 0,"],
    );
    let events = failure(|| {
        let _ = given().when(transfer(3)).then_events(&ADA, []);
    });
    assert_contains(
        &events,
        &["it was expected to succeed, and it refused with Insufficient"],
    );
    let nothing = failure(|| {
        let _ = given().when(transfer(3)).then_nothing();
    });
    assert_contains(&nothing, &["it was expected to succeed, and it refused"]);
    let history = failure(|| {
        let _ = given().executed(transfer(3));
    });
    assert_contains(&history, &["given: the command failed", "Insufficient"]);
}

#[test]
fn a_success_where_a_failure_was_expected_shows_what_was_appended() {
    let said = failure(|| {
        let _ = rich().when(transfer(3)).then_error(BankError::Nothing);
    });
    assert_contains(
        &said,
        &[
            "expected Nothing, and it succeeded and appended",
            "account-1: AccountWithdrawn {\"amount\":3}",
        ],
    );
    let nothing = failure(|| {
        let _ = rich().when(transfer(3)).then_nothing();
    });
    assert_contains(&nothing, &["account-1: AccountWithdrawn {\"amount\":3}"]);
    let matching = failure(|| {
        let _ = rich().when(transfer(3)).then_error_matching(|_| true);
    });
    assert_contains(&matching, &["and it succeeded"]);
    let failed = failure(|| {
        let _ = rich().when(transfer(3)).then_failure(|_| true);
    });
    assert_contains(&failed, &["and it succeeded"]);
}

#[test]
fn another_error_is_shown_beside_the_expected_one() {
    let said = failure(|| {
        let _ = rich()
            .when(transfer(30))
            .then_error(BankError::Insufficient { available: 9 });
    });
    assert_contains(
        &said,
        &[
            "it refused with another error",
            "-     available: 9,",
            "+     available: 10,",
        ],
    );
    let matching = failure(|| {
        let _ = rich().when(transfer(30)).then_error_matching(|_| false);
    });
    assert_contains(&matching, &["it refused with another error: Insufficient"]);
    let other = failure(|| {
        let same = Transfer {
            from: ADA,
            to: ADA,
            amount: 1,
        };
        let _ = rich().when(same).then_error(BankError::Nothing);
    });
    assert_contains(&other, &["expected Nothing, and", "DuplicateStream"]);
}

#[test]
fn a_test_without_a_check_fails() {
    let said = failure(|| {
        let _ = rich().when(transfer(3));
    });
    assert_contains(&said, &["nothing is checked; add `then_events`"]);
    let result_only = failure(|| {
        let outcome = rich().when(transfer(3));
        assert!(outcome.result().is_ok());
    });
    assert_contains(&result_only, &["nothing is checked"]);
}

/// Adds the number that a global counter happens to have.
#[derive(Debug, Command)]
struct Impure {
    #[stream]
    account: AccountId,
}

static CLOCK: AtomicU64 = AtomicU64::new(0);

impl CommandLogic for Impure {
    type State = ();
    type Error = BankError;

    fn apply(&self, (): &mut (), _: ImpureEvent<'_>) {}

    fn handle(&self, (): &(), streams: ImpureStreams<'_>) -> Result<(), BankError> {
        let amount = CLOCK.fetch_add(1, Ordering::Relaxed);
        streams.account.append(Deposited { amount });
        Ok(())
    }
}

#[test]
fn a_decision_that_depends_on_more_than_the_state_is_found_out() {
    let said = failure(|| {
        let _ = given().when(Impure { account: ADA });
    });
    assert_contains(
        &said,
        &[
            "`handle` is not pure",
            "account-1: AccountDeposited {\"amount\":0}\nand then",
            "account-1: AccountDeposited {\"amount\":1}\n",
        ],
    );
}

/// Pays a bonus into every account that is linked, directly or not.
#[derive(Debug, Command)]
#[command(discovers(linked: Vec<AccountId>))]
struct PayBonus {
    #[stream]
    account: AccountId,
}

#[derive(Debug, Default)]
struct Links(Vec<u64>);

impl CommandLogic for PayBonus {
    type State = Links;
    type Error = BankError;

    fn apply(&self, links: &mut Links, event: PayBonusEvent<'_>) {
        if let PayBonusEvent::Account(Linked { other })
        | PayBonusEvent::Linked((_, Linked { other })) = event
        {
            links.0.push(other);
        }
    }

    fn handle(&self, _: &Links, streams: PayBonusStreams<'_>) -> Result<(), BankError> {
        for (_, linked) in streams.linked {
            linked.append(Deposited { amount: 1 });
        }
        Ok(())
    }
}

impl StreamResolver for PayBonus {
    fn discover_related_streams(
        &self,
        links: &Links,
        _: PayBonusKnownStreams<'_>,
    ) -> PayBonusDiscovered {
        PayBonusDiscovered {
            linked: links.0.iter().copied().map(AccountId).collect(),
        }
    }
}

#[test]
fn streams_are_discovered_and_folded_in_commit_order() {
    let bonus = || PayBonus { account: ADA };
    given()
        .events(&AccountId(3), [Linked { other: 4 }])
        .events(&ADA, [Linked { other: 3 }])
        .when(bonus())
        .then_events(&AccountId(3), [Deposited { amount: 1 }])
        .then_events(&AccountId(4), [Deposited { amount: 1 }])
        // The fold goes in commit order: 3's link came first.
        .then_state(|links| assert_eq!(links.0, [4, 3]));
    given().when(bonus()).then_nothing();
}

#[test]
fn the_limits_of_the_options_hold() {
    given()
        .events(&ADA, [Linked { other: 3 }])
        .when_with(
            PayBonus { account: ADA },
            ExecuteOptions::new().max_streams(1),
        )
        .then_failure(|error| matches!(error, CommandError::TooManyStreams { limit: 1, .. }));
    let key = || ExecuteOptions::new().idempotency_key(IdempotencyKey::new("once").unwrap());
    rich()
        .when_with(transfer(1), key())
        .then_events(&ADA, [Withdrawn { amount: 1 }])
        .then_events(&GRACE, [Deposited { amount: 1 }])
        .into_given()
        .when_with(transfer(1), key())
        .then_nothing();
}

#[test]
fn old_stored_forms_are_read_and_unknown_ones_are_met() {
    given()
        .stored(&ADA, "account.deposit", r#"{"amount":4}"#)
        .when(transfer(5))
        .then_error(BankError::Insufficient { available: 4 });
    given()
        .stored(&ADA, "account.forgotten", "{}")
        .when(transfer(5))
        .then_failure(|error| matches!(error, CommandError::UnreadableEvent { .. }));
    let raw = StreamId::new("account-1").unwrap();
    let kept = given().events(
        &raw,
        [Opened {
            owner: "Ada".into(),
        }],
    );
    assert_eq!(
        kept.events_of(&ADA),
        [Opened {
            owner: "Ada".into()
        }]
    );
}

#[test]
fn a_history_that_cannot_be_is_refused() {
    let said = failure(|| {
        let _ = given().events(&ADA, [AccountEvent::Measured(f64::NAN)]);
    });
    assert_contains(
        &said,
        &["event `AccountMeasured` of stream `account-1` cannot be stored"],
    );
}

#[test]
fn one_look_at_the_state_gives_back_what_it_saw() {
    let looks = Cell::new(0);
    let available = rich().state_of(&transfer(1), |available| {
        looks.set(looks.get() + 1);
        *available
    });
    assert_eq!((available, looks.get()), (10, 1));
}

/// Histories longer than one page of a store.
#[test]
fn long_histories_are_read_to_their_end() {
    let many = 5_000;
    let mut history = given();
    for _ in 0..many {
        history.record(&ADA, [Deposited { amount: 1 }]);
    }
    assert_eq!(history.events_of(&ADA).len(), many);
    history
        .when(transfer(6_000))
        .then_error(BankError::Insufficient { available: 5_000 });
}
