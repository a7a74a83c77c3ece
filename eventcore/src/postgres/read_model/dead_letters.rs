//! The dead letters of a projection.

use tokio_postgres::Row;

use crate::postgres::{
    convert::{big, number},
    error::Failure,
    read_model::{lease::damaged, open::OpenTransaction, target::Target},
};
use crate::{Position, projection::DeadLetter, store::EventStoreError};

impl Target {
    pub(super) async fn dead_letters(
        &self,
        after: Position,
    ) -> Result<Vec<DeadLetter>, EventStoreError> {
        let sql =
            "SELECT position, error, attempts, parked_at, to_replay FROM eventcore.dead_letters
                    WHERE projection = $1 AND position > $2 ORDER BY position LIMIT 1000";
        let after = big(after.get());
        let rows = self.query(sql, &[&self.key, &after]).await?;
        let letters: Result<_, _> = rows.iter().map(letter).collect();
        letters.map_err(damaged)
    }

    pub(super) async fn replay(
        &self,
        position: Option<Position>,
    ) -> Result<usize, EventStoreError> {
        let sql = "UPDATE eventcore.dead_letters SET to_replay = true
                    WHERE projection = $1 AND ($2::bigint IS NULL OR position = $2) RETURNING position";
        let position = position.map(|position| big(position.get()));
        let marked = self.query(sql, &[&self.key, &position]).await?;
        Ok(marked.len())
    }

    pub(super) async fn park(
        &self,
        open: &mut OpenTransaction,
        letter: &DeadLetter,
    ) -> Result<(), Failure> {
        let sql =
            "INSERT INTO eventcore.dead_letters (projection, position, error, attempts, parked_at)
                   VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (projection, position) DO UPDATE
                   SET error = $3, attempts = $4, parked_at = $5, to_replay = false";
        // PostgreSQL's texts cannot contain NUL.
        let error = letter.error.replace('\0', "\u{fffd}");
        let (position, attempts) = (big(letter.position.get()), i64::from(letter.attempts));
        open.execute(
            &self.sql(sql),
            &[&self.key, &position, &error, &attempts, &letter.parked_at],
        )
        .await
        .map(drop)
    }

    pub(super) async fn remove_letter(
        &self,
        open: &mut OpenTransaction,
        position: Position,
    ) -> Result<(), Failure> {
        let sql = "DELETE FROM eventcore.dead_letters WHERE projection = $1 AND position = $2";
        open.execute(&self.sql(sql), &[&self.key, &big(position.get())])
            .await
            .map(drop)
    }
}

fn letter(row: &Row) -> Result<DeadLetter, tokio_postgres::Error> {
    Ok(DeadLetter {
        position: Position::new(number(row, 0)?),
        error: row.try_get(1)?,
        attempts: u32::try_from(number(row, 2)?).unwrap_or(u32::MAX),
        parked_at: row.try_get(3)?,
        to_replay: row.try_get(4)?,
    })
}
