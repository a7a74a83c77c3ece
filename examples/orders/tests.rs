//! Tests of the shop's rules, without a store or a runtime.

use eventcore::{
    CommandError, DeclarationError,
    testing::{Given, given},
};

use crate::domain::{
    CouponEvent, CouponId, CustomerEvent, CustomerId, OrderError, OrderEvent, OrderId,
    PaymentEvent, PaymentId, PlaceOrder, PriceEvent, PriceListId, Sku, StockEvent,
};

fn lamp() -> Sku {
    Sku::from("lamp")
}

fn desk() -> Sku {
    Sku::from("desk")
}

fn order(number: &str, lines: &[(&str, u64)], coupon: Option<&str>) -> PlaceOrder {
    PlaceOrder::new(number, "ada", lines, coupon)
}

/// Returns a shop with five lamps, two desks, a coupon, and Ada, who pays by card.
fn a_shop() -> Given {
    let price = |sku: Sku, cents| PriceEvent::Set { sku, cents };
    given()
        .events(
            &PriceListId::from("list"),
            [price(lamp(), 4_000), price(desk(), 15_000)],
        )
        .events(&lamp(), [StockEvent::Received { units: 5 }])
        .events(&desk(), [StockEvent::Received { units: 2 }])
        .events(
            &CouponId::from("ten"),
            [CouponEvent::Issued { percent: 10 }],
        )
        .events(
            &PaymentId::from("card"),
            [PaymentEvent::Authorized { cents: 30_000 }],
        )
        .events(&CustomerId::from("ada"), [chosen("card")])
}

fn chosen(payment: &str) -> CustomerEvent {
    CustomerEvent::PaymentChosen {
        payment: payment.into(),
    }
}

fn reserved(order: &str, units: u64) -> StockEvent {
    StockEvent::Reserved {
        order: order.into(),
        units,
    }
}

#[test]
fn an_order_reserves_every_line_redeems_the_coupon_and_charges_the_payment_found_from_state() {
    let number = OrderId::from("1");
    a_shop()
        .when(order("1", &[("lamp", 2), ("desk", 1)], Some("ten")))
        .then_events(&lamp(), [reserved("1", 2)])
        .then_events(&desk(), [reserved("1", 1)])
        .then_events(
            &CouponId::from("ten"),
            [CouponEvent::Redeemed {
                order: number.clone(),
            }],
        )
        .then_events(
            &PaymentId::from("card"),
            [PaymentEvent::Charged {
                order: number.clone(),
                cents: 20_700,
            }],
        )
        .then_events(
            &number,
            [OrderEvent::Placed {
                customer: "ada".into(),
                cents: 20_700,
                paid_with: "card".into(),
            }],
        );
}

#[test]
fn a_line_that_is_short_refuses_the_whole_order() {
    a_shop()
        .when(order("1", &[("lamp", 1), ("desk", 3)], None))
        .then_error(OrderError::OutOfStock {
            sku: desk(),
            left: 2,
        });
}

#[test]
fn a_coupon_is_used_once_and_must_exist() {
    a_shop()
        .executed(order("1", &[("lamp", 1)], Some("ten")))
        .when(order("2", &[("lamp", 1)], Some("ten")))
        .then_error(OrderError::CouponUsed {
            coupon: "ten".into(),
            by: "1".into(),
        })
        .when(order("2", &[("lamp", 1)], Some("none")))
        .then_error(OrderError::NoSuchCoupon("none".into()));
}

#[test]
fn a_payment_method_must_be_chosen_and_suffice() {
    let grace = CustomerId::from("grace");
    let (cash, gold) = (PaymentId::from("cash"), PaymentId::from("gold"));
    let a_lamp_for_grace = || PlaceOrder::new("1", "grace", &[("lamp", 1)], None);
    a_shop()
        .when(a_lamp_for_grace())
        .then_error(OrderError::NoPaymentMethod(grace.clone()))
        .into_given()
        .events(&cash, [PaymentEvent::Authorized { cents: 3_999 }])
        .events(&grace, [chosen("cash")])
        .when(a_lamp_for_grace())
        .then_error(OrderError::Declined {
            payment: cash,
            cents: 4_000,
            left: 3_999,
        })
        .into_given()
        .events(&gold, [PaymentEvent::Authorized { cents: 4_000 }])
        .events(&grace, [chosen("gold")])
        .executed(a_lamp_for_grace());
}

#[test]
fn an_order_is_placed_once_has_lines_and_knows_its_prices() {
    a_shop()
        .executed(order("1", &[("lamp", 1)], None))
        .when(order("1", &[("lamp", 1)], None))
        .then_error(OrderError::AlreadyPlaced("1".into()))
        .when(order("2", &[], None))
        .then_error(OrderError::Empty)
        .when(order("2", &[("lamp", 0)], None))
        .then_error(OrderError::Empty)
        .when(order("2", &[("sofa", 1)], None))
        .then_error(OrderError::NoPrice("sofa".into()));
}

#[test]
fn the_same_line_twice_is_an_error_before_anything_is_read() {
    a_shop()
        .when(order("1", &[("lamp", 1), ("lamp", 1)], None))
        .then_failure(|error| {
            matches!(
                error,
                CommandError::Declaration(DeclarationError::DuplicateStream {
                    first: "lines",
                    second: "lines",
                    ..
                })
            )
        });
}
