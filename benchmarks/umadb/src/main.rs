//! The bank on UmaDB's engine, embedded: one tag per account, an append condition on the tags that were read, and UmaDB's own
//! writer thread, which commits queued requests together.

use std::{path::Path, sync::Arc};

use tokio::sync::{mpsc, oneshot, watch};
use umadb_core::{
    db::UmaDb,
    mvcc::{Mvcc, StorageOptions},
    writer_thread_blocking::writer_thread_blocking,
    writer_thread_request::WriterThreadRequest,
};
use umadb_dcb::{DcbAppendCondition, DcbEvent, DcbEventStoreSync, DcbQuery, DcbQueryItem};
use workload::{Accounts, Failure, Parser, Run};

struct Bank {
    reader: UmaDb,
    writer: mpsc::Sender<WriterThreadRequest>,
}

impl Bank {
    fn open(path: &str) -> Result<Self, Failure> {
        let mvcc = Arc::new(Mvcc::new(false, StorageOptions::default().db_path(Path::new(path)))?);
        let (writer, queue) = mpsc::channel(4096);
        let engine = mvcc.clone();
        std::thread::spawn(move || writer_thread_blocking(engine, queue, watch::channel(None).0, 2000));
        Ok(Self { reader: UmaDb::from_arc(mvcc), writer })
    }

    /// Returns the balance and number of the events that a query finds, and the head of the log.
    fn load(&self, query: &DcbQuery) -> Result<(i64, u64, Option<u64>), Failure> {
        tokio::task::block_in_place(|| {
            let (events, head) = self.reader.read_with_head(Some(query.clone()), None, false, None)?;
            let amounts = events.iter().map(|found| {
                let amount: i64 = std::str::from_utf8(&found.event.data)?.parse()?;
                Ok(if found.event.event_type == "Withdrawn" { -amount } else { amount })
            });
            let balance = amounts.sum::<Result<i64, Failure>>()?;
            Ok((balance, events.len() as u64, head))
        })
    }

    async fn command(&self, query: DcbQuery, events: Vec<DcbEvent>) -> Result<(), Failure> {
        let (_, _, head) = self.load(&query)?;
        let (response_tx, response) = oneshot::channel();
        let request = WriterThreadRequest::Append {
            events,
            condition: Some(DcbAppendCondition::new(query).after(head)),
            tracking_info: None,
            response_tx,
            cancel: None,
        };
        self.writer.send(request).await?;
        response.await??;
        Ok(())
    }
}

fn tag(account: u32) -> String {
    format!("account-{account}")
}

fn of(accounts: &[u32]) -> DcbQuery {
    DcbQuery::with_items(accounts.iter().map(|account| DcbQueryItem::new().tags([tag(*account)])))
}

fn event(account: u32, name: &str) -> DcbEvent {
    DcbEvent::new().event_type(name).data("1").tags([tag(account)])
}

impl Accounts for Bank {
    const TRANSFERS: bool = true;

    async fn deposit(&self, account: u32, times: u32) -> Result<(), Failure> {
        let events = (0..times).map(|_| event(account, "Deposited")).collect();
        self.command(of(&[account]), events).await
    }

    async fn transfer(&self, from: u32, to: u32) -> Result<(), Failure> {
        self.command(of(&[from, to]), vec![event(from, "Withdrawn"), event(to, "Deposited")]).await
    }

    async fn fold(&self, account: u32) -> Result<(i64, u64), Failure> {
        let (balance, events, _) = self.load(&of(&[account]))?;
        Ok((balance, events))
    }
}

fn main() -> Result<(), Failure> {
    let run = Run::parse();
    workload::runtime()?.block_on(async {
        let bank = Bank::open(&run.target)?;
        run.measure(bank).await
    })
}
