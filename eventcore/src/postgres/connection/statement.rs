//! Statements, which are written for the schema `eventcore`, and their parameters.

use tokio_postgres::types::{ToSql, Type};

/// A statement with the types of its parameters.
pub(crate) struct Query {
    /// The name under which it is prepared, once for each connection.
    pub(crate) name: &'static str,
    pub(crate) sql: String,
    pub(crate) types: &'static [Type],
}

impl Query {
    /// Creates a query from a statement that is written for the schema `eventcore`.
    pub(crate) fn new(name: &'static str, sql: &str, types: &'static [Type], schema: &str) -> Self {
        Self {
            name,
            sql: of_schema(sql, schema),
            types,
        }
    }
}

pub(crate) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Rewrites a statement for the schema `eventcore` for another schema.
pub(crate) fn of_schema(sql: &str, schema: &str) -> String {
    sql.replace("eventcore.", &format!("\"{schema}\"."))
}

/// Quotes a name as an identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text as a string literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
