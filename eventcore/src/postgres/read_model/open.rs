//! An open transaction on a pooled connection: [`OpenTransaction`].

use std::time::Duration;

use tokio_postgres::Row;

use crate::postgres::{
    connection::{
        pool::{Connection, Pool, QUALIFIED},
        statement::Parameters,
    },
    error::Failure,
};

/// A transaction that is rolled back when it is dropped.
pub(super) struct OpenTransaction {
    /// `None` once it has ended.
    connection: Option<Connection>,
}

impl OpenTransaction {
    /// Runs the statements that begin a transaction.
    pub(super) async fn begin(pool: &Pool, begin: &str) -> Result<Self, Failure> {
        let mut connection = pool.get().await?;
        let answer = connection.batch(begin).await;
        Self::begun(connection, answer).map(|(open, ())| open)
    }

    /// Runs the statements that begin a transaction and, in the same round trip, a query whose
    /// parameters are texts.
    pub(super) async fn begin_with(
        pool: &Pool,
        begin: &str,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<(Self, Vec<Row>), Failure> {
        let mut connection = pool.get().await?;
        let answer = connection.begin(begin, sql, parameters).await;
        Self::begun(connection, answer)
    }

    fn begun<T>(connection: Connection, answer: Result<T, Failure>) -> Result<(Self, T), Failure> {
        match answer {
            Ok(answer) => {
                let connection = Some(connection);
                Ok((Self { connection }, answer))
            }
            Err(failure) => {
                connection.discard();
                Err(failure)
            }
        }
    }

    pub(super) fn connection(&mut self) -> Result<&mut Connection, Failure> {
        self.connection
            .as_mut()
            .ok_or(Failure::NoAnswer(Duration::ZERO))
    }

    pub(super) async fn query(
        &mut self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Failure> {
        let connection = self.connection()?;
        connection.query_sql(QUALIFIED, sql, parameters).await
    }

    /// Returns the texts in the first column of a query.
    pub(super) async fn names(
        &mut self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<String>, Failure> {
        let rows = self.query(sql, parameters).await?;
        let names: Result<_, _> = rows.iter().map(|row| row.try_get(0)).collect();
        Ok(names?)
    }

    /// Runs the statements that a query generates.
    pub(super) async fn run_generated(
        &mut self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<(), Failure> {
        let statements = self.names(sql, parameters).await?;
        if statements.is_empty() {
            return Ok(());
        }
        self.batch(&statements.join("; ")).await
    }

    pub(super) async fn execute(
        &mut self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<u64, Failure> {
        let connection = self.connection()?;
        connection.execute_sql(QUALIFIED, sql, parameters).await
    }

    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        self.connection()?.batch(sql).await
    }

    pub(super) async fn commit(mut self) -> Result<(), Failure> {
        let Some(mut connection) = self.connection.take() else {
            return Ok(());
        };
        let committed = connection.batch("COMMIT").await;
        if committed.is_err() {
            connection.discard();
        }
        committed
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    if connection.batch("ROLLBACK").await.is_err() {
                        connection.discard();
                    }
                });
            }
            Err(_) => connection.discard(),
        }
    }
}
