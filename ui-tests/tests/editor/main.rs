//! An editor's help with the code of a command, by way of rust-analyzer: completion and go-to-definition know the types that
//! the derives generate, also while a derive reports a mistake, and completion works inside the attributes.
//!
//! The test needs rustup's component `rust-analyzer`. Without it the test is skipped, unless `EVENTCORE_NEEDS_RUST_ANALYZER` is
//! set, as `scripts/test` does.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what it expects"
)]

mod client;

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use client::{Client, Place};

/// The code that is edited.
const PROGRAM: &str = include_str!("program.rs");

const STATEMENT: &str = "streams.from.append(AccountEvent::Withdrawn { amount: 1 });";
const PATTERN: &str = "TransferEvent::From(_)";

/// Mistakes in attributes, and unfinished code, as replacements in the program.
const MISTAKES: [(&str, &str); 8] = [
    ("", ""),
    ("#[stream(read)]", "#[stream(raed)]"),
    ("#[stream(read)]", "#[stream(read)] #[stream]"),
    ("#[stream(read)]", "#[stream(event = )]"),
    ("#[derive(Command)]", "#[derive(Command)] #[command(cache)]"),
    ("category = ", "kategory = "),
    ("    Deposited", "    #[event(nmae = \"Paid\")] Deposited"),
    ("to: AccountId", "to: AccountI"),
];

/// Applies replacements to the program, and returns the place of the cursor, `▮`.
fn edited(changes: &[(&str, &str)]) -> (String, Place) {
    let mut text = PROGRAM.to_owned();
    for (from, to) in changes {
        assert!(from.is_empty() || text.matches(from).count() == 1, "{from}");
        text = text.replacen(from, to, 1);
    }
    let (before, after) = text.split_once('▮').expect("a cursor");
    let place = place(before);
    (format!("{before}{after}"), place)
}

/// The place behind a text.
fn place(before: &str) -> Place {
    let line = before.matches('\n').count();
    let column = before.len() - before.rfind('\n').map_or(0, |end| end + 1);
    Place {
        line: line as u64,
        column: column as u64,
    }
}

#[test]
fn an_editor_knows_what_the_derives_generate() {
    let version = Command::new("rust-analyzer")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !version.is_ok_and(|status| status.success()) {
        let is_needed = env::var_os("EVENTCORE_NEEDS_RUST_ANALYZER").is_some();
        assert!(!is_needed, "rust-analyzer does not run");
        eprintln!("skipped: `rustup component add rust-analyzer` installs what it needs");
        return;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.join("editor");
    write_crate(&folder);
    let mut client = Client::start(&folder, &target.join("editor-target"));
    for mistake in MISTAKES {
        completes_generated_names(&mut client, mistake);
        finds_definitions(&mut client, mistake);
    }
    completes_arguments(&mut client);
}

fn completes_generated_names(client: &mut Client, mistake: (&str, &str)) {
    for (code, typed, names) in [
        (STATEMENT, "streams.▮", &["from", "to", "limits"][..]),
        (STATEMENT, "streams.from.▮", &["append", "version"]),
        (PATTERN, "TransferEvent::▮", &["From", "To", "Limits"]),
    ] {
        let (text, place) = edited(&[mistake, (code, typed)]);
        client.edit(&text);
        let offered = client.complete(place);
        for name in names {
            assert!(
                offered
                    .iter()
                    .any(|offer| offer.trim_end_matches("()") == *name),
                "`{typed}` with the mistake {mistake:?} offers {offered:?}"
            );
        }
    }
}

fn finds_definitions(client: &mut Client, mistake: (&str, &str)) {
    for (code, cursor, defined_at) in [
        // A handle and a variant are where the field of the command is.
        ("streams.from", "streams.fr▮om", "    #[stream]\n    "),
        (PATTERN, "TransferEvent::Fr▮om(_)", "    #[stream]\n    "),
        ("TransferStreams<", "TransferStr▮eams<", "pub struct "),
    ] {
        let (text, place_of_cursor) = edited(&[mistake, (code, cursor)]);
        client.edit(&text);
        let found = client.definitions(place_of_cursor);
        let name = if cursor.contains("Str") {
            "Transfer {"
        } else {
            "from: "
        };
        let start = text
            .find(&format!("{defined_at}{name}"))
            .expect("it is there");
        let expected = place(&text[..start + defined_at.len()]);
        assert!(
            matches!(&found[..], [(file, at)] if file.ends_with("editor/src/lib.rs") && *at == expected),
            "`{cursor}` with the mistake {mistake:?} is defined at {expected:?}, not at {found:?}"
        );
    }
    let (text, place) = edited(&[mistake, ("from.append", "from.app▮end")]);
    client.edit(&text);
    let found = client.definitions(place);
    assert!(
        matches!(&found[..], [(file, _)] if file.ends_with("eventcore/src/command/handle.rs")),
        "`append` with the mistake {mistake:?} is defined at {found:?}"
    );
}

fn completes_arguments(client: &mut Client) {
    for (code, typed, names) in [
        ("#[stream(read)]", "#[stream(▮)]", &["read", "event"][..]),
        ("#[stream(read)]", "#[stream(re▮)]", &["read", "event"]),
        ("#[stream(read)]", "#[stream(read, ▮)]", &["read", "event"]),
        (
            "#[derive(Command)]",
            "#[derive(Command)] #[command(dis▮)]",
            &["discovers", "streams", "event", "discovered"],
        ),
        (
            "#[derive(Command)]",
            "#[derive(Command)] #[command(discovers(#[stream(▮)] x: Option<AccountId>))]",
            &["read", "event"],
        ),
        (
            "category = \"account\", event",
            "category = \"account\", ev▮",
            &["category", "event"],
        ),
        (
            "    Deposited",
            "    #[event(▮)] Deposited",
            &["name", "alias", "upcast"],
        ),
    ] {
        let (text, place) = edited(&[(code, typed)]);
        client.edit(&text);
        let offered = client.complete(place);
        for name in names {
            assert!(
                offered.contains(&(*name).to_owned()),
                "`{typed}` offers {offered:?}"
            );
        }
    }
}

/// Writes a crate of its own, so that only what it needs is compiled.
fn write_crate(folder: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = format!(
        r#"[package]
name = "editor"
version = "0.0.0"
edition = "2024"

[dependencies]
eventcore = {{ path = "{}", default-features = false, features = ["macros"] }}
serde = {{ version = "1", features = ["derive"] }}

[workspace]
"#,
        root.join("eventcore").display()
    );
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/lib.rs"), PROGRAM).unwrap();
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
}
