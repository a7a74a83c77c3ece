//! Statements, which are written for the schema `eventcore`, and their parameters.

use tokio_postgres::types::{ToSql, Type};

/// A statement with the types of its parameters.
pub(crate) struct Query {
    /// It is prepared under this name, once for each connection.
    pub(crate) name: &'static str,
    pub(crate) sql: String,
    pub(crate) types: &'static [Type],
}

impl Query {
    /// From a statement that is written for the schema `eventcore`.
    pub(crate) fn new(name: &'static str, sql: &str, types: &'static [Type], schema: &str) -> Self {
        Self {
            name,
            sql: of_schema(sql, schema),
            types,
        }
    }
}

pub(crate) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A statement that is written for the schema `eventcore`, for another one.
pub(crate) fn of_schema(sql: &str, schema: &str) -> String {
    sql.replace("eventcore.", &format!("\"{schema}\"."))
}

/// A name as it stands in a statement.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as it stands in a statement.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
