//! The contract suite for store authors.
