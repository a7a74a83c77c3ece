//! Connections to PostgreSQL: the pool, TLS, prepared statements, and pipelined statements.

pub(crate) mod pipelined;
pub(crate) mod pool;
pub(crate) mod statement;
pub(crate) mod tls;
