//! The bank as a web service: POSTs run commands, GETs return the state of one account or the read model of all, and a live feed
//! pushes events.
//! `web --help` says how to start it; then open the address that it prints.

mod api;
#[path = "../bank/domain.rs"]
#[allow(dead_code, reason = "the service sets no limits")]
mod domain;
#[path = "../errors.rs"]
mod errors;
mod live;
mod problem;
mod read_model;

use std::{error::Error, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use eventcore::{projection::ProjectionRunner, sqlite::SqliteEventStore};
use tokio::{net::TcpListener, sync::watch};

/// The longest time that the read model is out of date after a service was killed; readers wait longer.
const LEASE: Duration = Duration::from_secs(2);

#[derive(Parser)]
#[command(about = "A bank as a web service, on one SQLite file", version)]
struct Arguments {
    /// The database file, which is created if it does not exist
    #[arg(long, default_value = "web.db")]
    database: PathBuf,

    /// The address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { database, listen } = Arguments::parse();
    let store = SqliteEventStore::open(&database).await?;
    let projection = ProjectionRunner::new(store.clone(), read_model::Accounts)
        .lease(LEASE)
        .start();
    let accounts = read_model::Reader::new(store.clone());

    let (stop, stopped) = watch::channel(());
    let service = api::service(store.clone(), accounts, stopped);
    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, service)
        .with_graceful_shutdown(async move {
            let _ = tokio::signal::ctrl_c().await;
            // Ends the live feeds, which otherwise never end.
            drop(stop);
        })
        .await?;

    projection.stop().await?;
    store.close().await;
    Ok(())
}
