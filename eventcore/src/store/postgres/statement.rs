//! Statements, which are written for the schema `eventcore`, and their parameters.

use tokio_postgres::types::{ToSql, Type};

/// A statement with the types of its parameters.
pub(super) struct Query {
    /// It is prepared under this name, once for each connection.
    pub(super) name: &'static str,
    pub(super) sql: String,
    pub(super) types: &'static [Type],
}

impl Query {
    /// From a statement that is written for the schema `eventcore`.
    pub(super) fn new(name: &'static str, sql: &str, types: &'static [Type], schema: &str) -> Self {
        Self {
            name,
            sql: of_schema(sql, schema),
            types,
        }
    }
}

pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A statement that is written for the schema `eventcore`, for another one.
pub(super) fn of_schema(sql: &str, schema: &str) -> String {
    sql.replace("eventcore.", &format!("\"{schema}\"."))
}
