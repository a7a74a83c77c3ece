//! The outcomes of orders.

use eventcore::CommandError;

use crate::{
    domain::{CustomerId, OrderError, OrderId, PlaceOrder, Sku},
    shop::Shop,
};

async fn refusal(shop: &Shop, order: PlaceOrder) -> OrderError {
    match shop.place(order).await {
        Err(CommandError::BusinessRuleViolation(why)) => why,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn an_order_reserves_every_line_redeems_the_coupon_and_charges_the_payment_found_from_state()
{
    let shop = Shop::new().await.unwrap();
    let before = shop.log().await.unwrap().len();
    let done = shop
        .place(PlaceOrder::new(
            "1",
            "ada",
            &[("lamp", 2), ("desk", 1)],
            Some("ten"),
        ))
        .await
        .unwrap();
    assert_eq!(done.events_written(), 5);
    let log = shop.log().await.unwrap();
    let written: Vec<Vec<&str>> = log[before..]
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let expected = [
        ("stock-lamp", r#"{"order":"1","units":2}"#),
        ("stock-desk", r#"{"order":"1","units":1}"#),
        ("coupon-ten", r#"{"order":"1"}"#),
        ("payment-card", r#"{"order":"1","cents":20700}"#),
        (
            "order-1",
            r#"{"customer":"ada","cents":20700,"paid_with":"card"}"#,
        ),
    ];
    for (line, (stream, payload)) in written.iter().zip(expected) {
        assert_eq!((line[1], line[3]), (stream, payload));
    }
}

#[tokio::test]
async fn a_line_that_is_short_refuses_the_whole_order() {
    let shop = Shop::new().await.unwrap();
    let before = shop.log().await.unwrap();
    let why = refusal(
        &shop,
        PlaceOrder::new("1", "ada", &[("lamp", 1), ("desk", 3)], None),
    )
    .await;
    assert_eq!(
        why,
        OrderError::OutOfStock {
            sku: Sku::from("desk"),
            left: 2
        }
    );
    assert_eq!(shop.log().await.unwrap(), before);
}

#[tokio::test]
async fn a_coupon_is_used_once_and_must_exist() {
    let shop = Shop::new().await.unwrap();
    shop.place(PlaceOrder::new("1", "ada", &[("lamp", 1)], Some("ten")))
        .await
        .unwrap();
    let why = refusal(
        &shop,
        PlaceOrder::new("2", "ada", &[("lamp", 1)], Some("ten")),
    )
    .await;
    assert_eq!(
        why,
        OrderError::CouponUsed {
            coupon: "ten".into(),
            by: OrderId::from("1")
        }
    );
    let why = refusal(
        &shop,
        PlaceOrder::new("2", "ada", &[("lamp", 1)], Some("none")),
    )
    .await;
    assert_eq!(why, OrderError::NoSuchCoupon("none".into()));
}

#[tokio::test]
async fn a_payment_method_must_be_chosen_and_suffice() {
    let shop = Shop::new().await.unwrap();
    let why = refusal(&shop, PlaceOrder::new("1", "grace", &[("lamp", 1)], None)).await;
    assert_eq!(why, OrderError::NoPaymentMethod(CustomerId::from("grace")));
    shop.choose_payment("grace", "cash", 3_999).await.unwrap();
    let why = refusal(&shop, PlaceOrder::new("1", "grace", &[("lamp", 1)], None)).await;
    assert_eq!(
        why,
        OrderError::Declined {
            payment: "cash".into(),
            cents: 4_000,
            left: 3_999
        }
    );
    shop.choose_payment("grace", "gold", 4_000).await.unwrap();
    shop.place(PlaceOrder::new("1", "grace", &[("lamp", 1)], None))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_order_is_placed_once_has_lines_and_knows_its_prices() {
    let shop = Shop::new().await.unwrap();
    shop.place(PlaceOrder::new("1", "ada", &[("lamp", 1)], None))
        .await
        .unwrap();
    let why = refusal(&shop, PlaceOrder::new("1", "ada", &[("lamp", 1)], None)).await;
    assert_eq!(why, OrderError::AlreadyPlaced("1".into()));
    assert_eq!(
        refusal(&shop, PlaceOrder::new("2", "ada", &[], None)).await,
        OrderError::Empty
    );
    assert_eq!(
        refusal(&shop, PlaceOrder::new("2", "ada", &[("lamp", 0)], None)).await,
        OrderError::Empty
    );
    let why = refusal(&shop, PlaceOrder::new("2", "ada", &[("sofa", 1)], None)).await;
    assert_eq!(why, OrderError::NoPrice("sofa".into()));
}

#[tokio::test]
async fn the_same_line_twice_is_an_error_before_anything_is_read() {
    let shop = Shop::new().await.unwrap();
    let error = shop
        .place(PlaceOrder::new(
            "1",
            "ada",
            &[("lamp", 1), ("lamp", 1)],
            None,
        ))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "stream `stock-lamp` is declared by `lines` and by `lines`; a command names each stream once"
    );
}
