//! The guide, chapter by chapter. A test, `examples/guide`, compiles and runs its code.
#![allow(
    clippy::test_attr_in_doctest,
    reason = "the tests in a chapter run in `examples/guide`"
)]

#[cfg_attr(not(doctest), doc = include_str!("../docs/commands.md"))]
pub mod commands {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/consistency.md"))]
pub mod consistency {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/long-streams.md"))]
pub mod long_streams {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/compiler-errors.md"))]
pub mod compiler_errors {}

#[cfg(feature = "testing")]
#[cfg_attr(not(doctest), doc = include_str!("../docs/guarantees.md"))]
pub mod guarantees {}

#[cfg(all(feature = "macros", feature = "testing"))]
#[cfg_attr(not(doctest), doc = include_str!("../docs/testing.md"))]
#[cfg_attr(
    not(doctest),
    doc = "\n## A whole store\n\nThis is `tests/store/foreign.rs`, which passes the contract suite:\n\n```rust"
)]
#[cfg_attr(not(doctest), doc = include_str!("../tests/store/foreign.rs"))]
#[cfg_attr(not(doctest), doc = "```")]
pub mod testing {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/subscriptions.md"))]
pub mod subscriptions {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/projections.md"))]
pub mod projections {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/automations.md"))]
pub mod automations {}

#[cfg(feature = "postgres")]
#[cfg_attr(not(doctest), doc = include_str!("../docs/postgres.md"))]
#[doc = "\n```sql"]
#[doc = include_str!("postgres/sql/schema_version.sql")]
#[doc = "```\n\n```sql"]
#[doc = include_str!("postgres/sql/schema_1.sql")]
#[doc = "```"]
pub mod postgres {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/high-availability.md"))]
pub mod high_availability {}

#[doc = include_str!("../docs/side-by-side.md")]
#[doc = "\n"]
#[doc = include_str!("../docs/side-by-side-memory.svg")]
#[doc = include_str!("../docs/side-by-side-embedded.svg")]
#[doc = include_str!("../docs/side-by-side-postgres.svg")]
pub mod side_by_side {}
