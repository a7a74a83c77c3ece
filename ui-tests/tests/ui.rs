//! Runs the cases: `fail/` and `attack/` must not compile, with the message beside them; `pass/` must.
//!
//! The exact messages are those of one rustc release. With any other, the cases must still not compile, and the
//! sentences that this library wrote must still be among what rustc says; rustc's own wording is free. So that this does
//! not rot, it is done with the pinned release as well, for a sample of the cases, or for all of them with
//! `EVENTCORE_UI_RELEASE=other`.

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
    "= note: `execute` takes the store first",
    "read-only",
    "cannot be appended",
    "is not an event",
    "is not a stream key",
    "is not the event of",
    "names its events itself",
    "does not say which events",
    "a `Vec` field has several",
    "cannot be empty",
];

/// Of how many cases one is compared by sentences, where all are compared by every character.
const SAMPLE: usize = 12;

fn rustc_is_pinned() -> bool {
    if let Some(release) = env::var_os("EVENTCORE_UI_RELEASE") {
        assert!(
            release == "other",
            "EVENTCORE_UI_RELEASE is `other` or not set"
        );
        return false;
    }
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
    let mut cases: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    cases.sort();
    cases
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

/// Lets trybuild write the messages of whatever release this is into a copy, and compares our sentences.
#[test]
fn our_sentences_with_another_release() {
    let copy = Path::new("wip/other-release");
    let _ = fs::remove_dir_all(copy);
    fs::create_dir_all(copy).expect("a folder for the copy");
    let all = ["fail", "attack"].map(Path::new).map(cases_in).concat();
    let step = if rustc_is_pinned() { SAMPLE } else { 1 };
    let cases: Vec<PathBuf> = all.into_iter().step_by(step).collect();
    for case in &cases {
        fs::copy(case, copy.join(case.file_name().expect("a name"))).expect("a copy");
    }
    let test = env::current_exe().expect("this test");
    let output = Command::new(test)
        .args(["--ignored", "--exact", "write_messages"])
        .env("TRYBUILD", "overwrite")
        .output()
        .expect("the test runs");
    assert!(
        output.status.success(),
        "a case compiles that must not:\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let mut compared = 0;
    for case in cases {
        let wanted = fs::read_to_string(case.with_extension("stderr")).expect("the message");
        let said = copy
            .join(case.file_name().expect("a name"))
            .with_extension("stderr");
        let said = fs::read_to_string(said).expect("the message of this release");
        for sentence in wanted.lines().filter(|line| is_ours(line)) {
            compared += 1;
            assert!(
                said.contains(sentence.trim()),
                "{}: `{sentence}` is not in\n{said}",
                case.display()
            );
        }
    }
    assert!(compared >= 5, "only {compared} sentences were compared");
    fs::remove_dir_all(copy).expect("the copy is removed");
}

/// Returns whether a line is a sentence of this library, from a derive or from a trait's message.
fn is_ours(line: &str) -> bool {
    let of_a_derive = line.starts_with("error: ") && line.contains('`');
    let quotes_code = line.contains(" | ");
    (of_a_derive || OURS.iter().any(|piece| line.contains(piece))) && !quotes_code
}

/// Run by [`our_sentences_with_another_release`].
#[test]
#[ignore = "part of another test"]
fn write_messages() {
    let cases = trybuild::TestCases::new();
    // With a case that passes, cases are built and not only checked, which some errors need.
    cases.pass("pass/projection_name.rs");
    cases.compile_fail("wip/other-release/*.rs");
}

#[test]
fn there_are_enough_cases_and_each_has_a_message() {
    let cases: Vec<_> = ["fail", "attack"]
        .iter()
        .flat_map(|folder| cases_in(Path::new(folder)))
        .collect();
    assert!(cases.len() >= 90, "only {} cases", cases.len());
    for case in cases {
        let said = fs::read_to_string(case.with_extension("stderr")).unwrap_or_default();
        assert!(
            said.starts_with("error"),
            "{} has no message beside it",
            case.display()
        );
        // With the component `rust-src` rustc shows it, and without it does not.
        assert!(
            !said.contains("$RUST/"),
            "{}: its message depends on whether std's source is installed; use a bound of your own",
            case.display()
        );
        assert!(
            !said.contains("derive panicked"),
            "{}: a derive panicked",
            case.display()
        );
    }
}
