//! Runs the cases: `fail/` and `attack/` must not compile, with the message beside them; `pass/` must.
//!
//! The exact messages are those of one rustc release. With any other, the cases must still not compile, and the
//! sentences that this library wrote must still be among what rustc says; rustc's own wording is free.

#![allow(clippy::expect_used, reason = "a test says what it expects")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The release whose wording the `.stderr` files hold.
const PINNED: &str = "1.95.";

/// Pieces of this library's own sentences. What they are in does not depend on the release of rustc.
const OURS: &[&str] = &[
    "`#[",
    "derive it",
    "= note: wrap it",
    "read-only",
    "cannot be appended",
    "is not an event",
];

fn rustc_is_pinned() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("--version")
        .output()
        .expect("rustc runs");
    let version = String::from_utf8_lossy(&output.stdout);
    version
        .split_whitespace()
        .nth(1)
        .is_some_and(|version| version.starts_with(PINNED))
}

fn cases_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .expect("the cases")
        .map(|entry| entry.expect("a case").path());
    entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

#[test]
fn cases() {
    let cases = trybuild::TestCases::new();
    cases.pass("pass/*.rs");
    if rustc_is_pinned() {
        cases.compile_fail("fail/*.rs");
        cases.compile_fail("attack/*.rs");
    }
}

/// With another release: lets trybuild write that release's messages into a copy, and compares our sentences.
#[test]
fn our_sentences_with_another_release() {
    if rustc_is_pinned() {
        return; // `cases` compares every character.
    }
    let copy = Path::new("wip/other-release");
    let _ = fs::remove_dir_all(copy);
    fs::create_dir_all(copy).expect("a folder for the copy");
    for folder in ["fail", "attack"] {
        for case in cases_in(Path::new(folder)) {
            fs::copy(&case, copy.join(case.file_name().expect("a name"))).expect("a copy");
        }
    }
    let test = env::current_exe().expect("this test");
    let status = Command::new(test)
        .args(["--ignored", "--exact", "write_messages"])
        .env("TRYBUILD", "overwrite")
        .status();
    assert!(
        status.expect("the test runs").success(),
        "a case compiles that must not"
    );
    for folder in ["fail", "attack"] {
        for case in cases_in(Path::new(folder)) {
            let wanted = fs::read_to_string(case.with_extension("stderr")).expect("the message");
            let said = copy
                .join(case.file_name().expect("a name"))
                .with_extension("stderr");
            let said = fs::read_to_string(said).expect("the message of this release");
            let ours = |line: &&str| {
                OURS.iter().any(|piece| line.contains(piece)) && !line.contains(" | ")
            };
            for sentence in wanted.lines().filter(ours) {
                assert!(
                    said.contains(sentence.trim()),
                    "{}: `{sentence}` is not in\n{said}",
                    case.display()
                );
            }
        }
    }
}

/// Run by [`our_sentences_with_another_release`].
#[test]
#[ignore = "part of another test"]
fn write_messages() {
    trybuild::TestCases::new().compile_fail("wip/other-release/*.rs");
}

#[test]
fn there_are_enough_cases_and_each_has_a_message() {
    let cases: Vec<_> = ["fail", "attack"]
        .iter()
        .flat_map(|folder| cases_in(Path::new(folder)))
        .collect();
    assert!(cases.len() >= 40, "only {} cases", cases.len());
    for case in cases {
        let said = fs::read_to_string(case.with_extension("stderr")).unwrap_or_default();
        assert!(
            said.starts_with("error"),
            "{} has no message beside it",
            case.display()
        );
        assert!(
            !said.contains("panicked"),
            "{}: a derive panicked",
            case.display()
        );
    }
}
