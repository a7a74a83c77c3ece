//! Formats an error with its causes, for logs and for texts that are stored.

use std::error::Error;

/// Formats an error and its sources on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut last = error.to_string();
    let mut text = last.clone();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Errors of some libraries pass on their source's message as their own.
        if cause_text != last {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        last = cause_text;
        source = cause.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Layer {
        #[error("{0}")]
        Message(&'static str, #[source] Box<Self>),
        #[error("{0}")]
        Same(#[source] Box<Self>),
        #[error("disk\nfull")]
        Cause,
    }

    #[test]
    fn each_cause_is_named_once_on_one_line() {
        let error = Layer::Same(Box::new(Layer::Message(
            "not saved",
            Box::new(Layer::Cause),
        )));
        let error = Layer::Message("full", Box::new(error));
        assert_eq!(chain(&error), "full: not saved: disk full");
        assert_eq!(chain(&Layer::Cause), "disk full");
    }
}
