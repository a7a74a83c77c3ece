//! The counts that a fault is judged by; shared with the example `airports`, which `scripts/ha` runs as a writer.

pub mod verdict;
