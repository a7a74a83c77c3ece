//! The script that kills a writer, with few rounds, and its control.
#![cfg(unix)]

mod program;

use std::{path::Path, process::Output};

use program::{err, out, program};

fn kill9(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut command = program("bash", root, &["scripts/kill9.sh"]);
    command
        .args(arguments)
        .env("ROUNDS", "4")
        .env("KILL9_BIN", env!("CARGO_BIN_EXE_kill9"))
        .output()
        .unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_doubled_or_torn() {
    let output = kill9(&[]);
    let said = out(&output);
    assert!(output.status.success(), "{said}{}", err(&output));
    assert!(
        said.contains("lost 0, doubled 0, torn 0, positions out of order 0"),
        "{said}"
    );
    assert!(!said.contains("acknowledged 0,"), "{said}");
}

#[test]
fn acknowledging_too_early_is_found_out() {
    let output = kill9(&["--control"]);
    let said = out(&output);
    assert!(output.status.success(), "{said}{}", err(&output));
    assert!(
        said.contains("as it must") && !said.contains(" lost 0,"),
        "{said}"
    );
}
