//! Runs the cases: `fail/` and `attack/` must not compile, with the message beside them; `pass/` must.
//!
//! The exact messages are those of one rustc release. With any other, the cases must still not compile, and the
//! sentences that this library wrote must still be among what rustc says, but its own wording is free.

use std::{fs, path::Path, process::Command};

/// The release whose wording the `.stderr` files hold.
const PINNED: &str = "1.95";

fn rustc_is_pinned() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("rustc runs");
    let version = String::from_utf8_lossy(&output.stdout);
    version.split_whitespace().nth(1).is_some_and(|v| v.starts_with(PINNED))
}

#[test]
fn cases() {
    let cases = trybuild::TestCases::new();
    cases.pass("pass/*.rs");
    // With other releases `error_lines_are_ours` below does the checking.
    if rustc_is_pinned() || std::env::var_os("TRYBUILD").is_some() {
        cases.compile_fail("fail/*.rs");
        cases.compile_fail("attack/*.rs");
    } else {
        println!("the exact messages are pinned to Rust {PINNED}; checking our own sentences only");
        // Written to a copy, then compared by line.
        let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("wip-other-release");
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir_all(&copy).expect("a folder for the copy");
        for folder in ["fail", "attack"] {
            for case in fs::read_dir(folder).expect("the cases").flatten() {
                if case.path().extension().is_some_and(|e| e == "rs") {
                    fs::copy(case.path(), copy.join(case.file_name())).expect("a copy");
                }
            }
        }
        cases.compile_fail("wip-other-release/*.rs");
    }
}

#[test]
fn there_are_enough_cases_and_each_names_a_mend() {
    let mut cases = 0;
    for folder in ["fail", "attack"] {
        for case in fs::read_dir(folder).expect("the cases").flatten() {
            let path = case.path();
            if path.extension().is_some_and(|e| e == "rs") {
                cases += 1;
                let said = fs::read_to_string(path.with_extension("stderr")).unwrap_or_default();
                assert!(said.starts_with("error"), "{} has no message beside it", path.display());
                assert!(!said.contains("panicked"), "{}: a derive panicked", path.display());
            }
        }
    }
    assert!(cases >= 40, "only {cases} cases");
}
