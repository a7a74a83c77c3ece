//! The story that `orders` tells.

mod program;

use program::{err, out, program};

#[test]
fn the_story_has_two_orders_placed_and_four_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = program(env!("CARGO_BIN_EXE_orders"), folder.path(), &[])
        .output()
        .unwrap();
    let said = out(&output);
    assert!(output.status.success(), "{said}{}", err(&output));
    let told: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(": ") && line.contains("orders"))
        .collect();
    assert_eq!(
        told,
        [
            "Ada orders 2 lamps and a desk, with the coupon: placed, 5 events",
            "Ada orders a lamp, with the same coupon: refused, coupon ten was used for order 1",
            "Ada orders 4 lamps and a desk: refused, only 3 of lamp left",
            "Ada orders a desk: refused, 15000 cents are more than the 9300 left on card",
            "Grace orders a lamp: refused, grace has chosen no payment method",
            "Grace orders a lamp again: placed, 3 events",
        ]
    );
    assert!(
        said.contains("order-6") && !said.contains("order-2"),
        "{said}"
    );
}
