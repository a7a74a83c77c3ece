//! Tests of the bank's rules, without a store or a runtime.

use eventcore::testing::{Given, given};

use crate::domain::{
    AccountEvent, AccountId, BankError, Deposit, LimitsEvent, LimitsId, OpenAccount, SetLimit,
    Transfer, Withdraw,
};

fn account(name: &str) -> AccountId {
    AccountId(name.to_owned())
}

fn opened(owner: &str) -> AccountEvent {
    AccountEvent::Opened {
        owner: owner.to_owned(),
    }
}

fn deposited(amount: u64) -> AccountEvent {
    AccountEvent::Deposited { amount }
}

fn withdrawn(amount: u64) -> AccountEvent {
    AccountEvent::Withdrawn { amount }
}

/// Returns a bank where Ada has 100 and Grace has nothing.
fn a_bank() -> Given {
    given()
        .events(&account("ada"), [opened("Ada"), deposited(100)])
        .events(&account("grace"), [opened("Grace")])
}

fn transfer(amount: u64) -> Transfer {
    Transfer {
        from: account("ada"),
        to: account("grace"),
        limits: LimitsId::from("bank"),
        amount,
    }
}

#[test]
fn a_transfer_moves_the_money_from_one_account_to_the_other() {
    a_bank()
        .when(transfer(30))
        .then_events(&account("ada"), [withdrawn(30)])
        .then_events(&account("grace"), [deposited(30)])
        .when(transfer(70))
        .then_events(&account("ada"), [withdrawn(70)])
        .then_events(&account("grace"), [deposited(70)])
        .when(transfer(1))
        .then_error(BankError::InsufficientFunds("ada".into(), 0, 1));
}

#[test]
fn the_limit_that_holds_is_the_latest() {
    let over = |asked, most| BankError::OverLimit { asked, most };
    a_bank()
        .events(
            &LimitsId::from("bank"),
            [LimitsEvent::Set {
                most_per_transfer: 10,
            }],
        )
        .when(transfer(11))
        .then_error(over(11, 10))
        .into_given()
        .executed(SetLimit {
            limits: LimitsId::from("bank"),
            most_per_transfer: 20,
        })
        .executed(transfer(11))
        .when(transfer(21))
        .then_error(over(21, 20));
}

#[test]
fn an_account_is_opened_once_and_before_anything_else() {
    let nobody = || BankError::NoSuchAccount("eve".into());
    let eve = account("eve");
    let (deposit, withdraw) = (
        Deposit {
            account: eve.clone(),
            amount: 1,
        },
        Withdraw {
            account: eve.clone(),
            amount: 1,
        },
    );
    let open = |owner: &str| OpenAccount {
        account: account("eve"),
        owner: owner.to_owned(),
    };
    a_bank()
        .when(deposit)
        .then_error(nobody())
        .when(withdraw)
        .then_error(nobody())
        .when(open("Eve"))
        .then_events(&eve, [opened("Eve")])
        .then_state_of(&eve, |account| {
            assert_eq!(account.owner.as_deref(), Some("Eve"));
        })
        .when(open("Mallory"))
        .then_error(BankError::AlreadyOpen("eve".into(), "Eve".into()));
}

#[test]
fn no_account_is_paid_nothing_or_more_than_it_can_hold() {
    let deposit = |amount| Deposit {
        account: account("ada"),
        amount,
    };
    a_bank()
        .when(deposit(0))
        .then_error(BankError::NothingToMove)
        .when(deposit(u64::MAX))
        .then_error(BankError::TooRich("ada".into()));
}
