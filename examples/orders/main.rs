//! A shop, in memory or in a database: orders over any number of streams, one of which is discovered from the state of another.

#[path = "../database.rs"]
mod database;
mod domain;
mod shop;
#[cfg(test)]
mod tests;

use std::{error::Error, fmt::Display, sync::Arc};

use clap::Parser;
use database::Database;
use domain::PlaceOrder;
use eventcore::{CommandError, memory::MemoryEventStore};
use shop::Shop;

#[derive(Parser)]
#[command(about = "A shop that tells a story of six orders", version)]
struct Arguments {
    /// A new SQLite file, or the URL of a `PostgreSQL` database (`postgres://…`) without events; in memory by default
    #[arg(long)]
    database: Option<Database>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop = match Arguments::parse().database {
        None => Shop::new(Arc::new(MemoryEventStore::new())).await?,
        Some(database) => Shop::new(database.open().await?.into()).await?,
    };
    println!("The shop has 5 lamps at 40.00 and 2 desks at 150.00, and a coupon for 10 %.");
    println!("Ada pays with a card (300.00), Grace has chosen no payment method yet.");

    tell(
        "Ada orders 2 lamps and a desk, with the coupon",
        &shop,
        PlaceOrder::new("1", "ada", &[("lamp", 2), ("desk", 1)], Some("ten")),
    )
    .await?;
    tell(
        "Ada orders a lamp, with the same coupon",
        &shop,
        PlaceOrder::new("2", "ada", &[("lamp", 1)], Some("ten")),
    )
    .await?;
    tell(
        "Ada orders 4 lamps and a desk",
        &shop,
        PlaceOrder::new("3", "ada", &[("desk", 1), ("lamp", 4)], None),
    )
    .await?;
    tell(
        "Ada orders a desk",
        &shop,
        PlaceOrder::new("4", "ada", &[("desk", 1)], None),
    )
    .await?;
    tell(
        "Grace orders a lamp",
        &shop,
        PlaceOrder::new("5", "grace", &[("lamp", 1)], None),
    )
    .await?;
    shop.choose_payment("grace", "transfer", 5_000).await?;
    println!("Grace chooses bank transfer (50.00).");
    tell(
        "Grace orders a lamp again",
        &shop,
        PlaceOrder::new("6", "grace", &[("lamp", 1)], None),
    )
    .await?;

    println!("\nWhat was written:");
    for line in shop.log().await? {
        println!("{line}");
    }
    Ok(())
}

/// Places an order and prints the outcome. A refusal is part of the story; any other error ends the program.
async fn tell(what: impl Display, shop: &Shop, order: PlaceOrder) -> Result<(), Box<dyn Error>> {
    match shop.place(order).await {
        Ok(done) => println!("{what}: placed, {} events", done.events_written()),
        Err(CommandError::BusinessRuleViolation(why)) => println!("{what}: refused, {why}"),
        Err(other) => return Err(other.into()),
    }
    Ok(())
}
