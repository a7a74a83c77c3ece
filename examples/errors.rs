//! The messages of errors with their causes. Shared by the examples.

use std::error::Error;

/// Returns the message of an error, followed by those of its causes.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
