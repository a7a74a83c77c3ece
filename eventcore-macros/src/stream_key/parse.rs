//! Reads `#[stream_key(…)]`.

use syn::{Data, DeriveInput, Fields, LitStr, Path, Type};

use crate::attributes::{Argument, Errors, Reader, assigned, assigned_path, named};

const ARGUMENTS: &[Argument] = &[
    Argument::once("category", "category = \"account\""),
    Argument::once("event", "event = AccountEvent"),
    Argument::once("crate", "crate = path::to::eventcore"),
];

/// What the attribute says.
#[derive(Default)]
pub(super) struct Arguments {
    pub(super) category: Option<LitStr>,
    pub(super) event: Option<Type>,
    pub(super) krate: Option<Path>,
}

pub(super) fn arguments(input: &DeriveInput, errors: &mut Errors) -> Arguments {
    let mut arguments = Arguments::default();
    let mut reader = Reader::new("stream_key", ARGUMENTS);
    let mut found = false;
    let before = errors.is_empty();
    for attribute in named(&input.attrs, "stream_key") {
        found = true;
        reader.read(attribute, errors, |name, _, value| {
            match name {
                "category" => arguments.category = Some(assigned(value)?),
                "event" => arguments.event = Some(assigned(value)?),
                _ => arguments.krate = Some(assigned_path(value)?),
            }
            Ok(())
        });
    }
    // A misspelt argument is reported already; that the right one is missing says nothing new.
    let read_well = before == errors.is_empty();
    if !found {
        errors.at(
            &input.ident,
            "`derive(StreamKey)` needs the category and the events of the streams; write \
             `#[stream_key(category = \"account\", event = AccountEvent)]` above",
        );
    } else if read_well && arguments.category.is_none() {
        errors.at(
            &input.ident,
            "the category is missing; add `category = \"account\"` to `#[stream_key(…)]`",
        );
    }
    if found && read_well && arguments.event.is_none() {
        errors.at(
            &input.ident,
            "the event type is missing; add `event = AccountEvent` to `#[stream_key(…)]`",
        );
    }
    misplaced(input, errors);
    arguments
}

fn misplaced(input: &DeriveInput, errors: &mut Errors) {
    let Data::Struct(data) = &input.data else {
        return;
    };
    let (Fields::Named(_) | Fields::Unnamed(_)) = data.fields else {
        return;
    };
    for attribute in data
        .fields
        .iter()
        .flat_map(|field| named(&field.attrs, "stream_key"))
    {
        errors.at(
            attribute,
            "`#[stream_key(…)]` belongs above the struct, not on its field",
        );
    }
}
