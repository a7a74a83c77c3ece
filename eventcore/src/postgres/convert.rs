//! Conversions of numbers and JSON to PostgreSQL's types and back.

use std::{error::Error, fmt};

use bytes::{BufMut, BytesMut};
use tokio_postgres::{
    Row,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};

use crate::store::MAX_PAGE_EVENTS;

/// Converts a number that the limits on commits keep far below 2³¹.
pub(crate) fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Converts a number for PostgreSQL. Counting beyond `i64::MAX` would take centuries.
pub(crate) fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns the maximum number of events of a page.
pub(crate) fn limit(asked: usize) -> i32 {
    int(asked.clamp(1, MAX_PAGE_EVENTS))
}

/// Reads a version, a position or a count from a row.
pub(crate) fn number(row: &Row, column: usize) -> Result<u64, tokio_postgres::Error> {
    row.try_get::<_, i64>(column).map(i64::unsigned_abs)
}

/// JSON text that is transferred unchanged, byte for byte.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(super) T);

impl<T: AsRef<[u8]> + fmt::Debug> ToSql for Json<T> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.as_ref());
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::JSON
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Json<&'a [u8]> {
    fn from_sql(_: &Type, json: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(json))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::JSON
    }
}
