//! The bank as a program: its output and its exit codes.

mod program;

use std::{path::Path, process::Output, time::Duration};

use program::{err, out, program};

const BANK: &str = env!("CARGO_BIN_EXE_bank");

fn bank(folder: &Path, arguments: &[&str]) -> Output {
    program(BANK, folder, arguments).output().unwrap()
}

/// Runs the bank, which must succeed, and returns its output.
fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = bank(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", err(&output));
    out(&output)
}

fn failed(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = bank(folder, arguments);
    (output.status.code().unwrap(), err(&output))
}

#[test]
fn money_moves_and_the_statement_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert_eq!(
        said(at, &["open", "ada", "Ada Lovelace"]),
        "opened `ada` for Ada Lovelace\n"
    );
    said(at, &["open", "grace", "Grace Hopper"]);
    assert_eq!(
        said(at, &["deposit", "ada", "100"]),
        "deposited 100 to `ada`\n"
    );
    assert_eq!(
        said(at, &["transfer", "ada", "grace", "30"]),
        "moved 30 from `ada` to `grace`\n"
    );
    said(at, &["withdraw", "grace", "5"]);
    let statement = said(at, &["statement", "ada"]);
    let lines: Vec<Vec<&str>> = statement
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines,
        [
            vec!["1", "opened", "for", "Ada", "Lovelace", "0"],
            vec!["2", "+100", "100"],
            vec!["3", "-30", "70"],
            vec!["balance", "70"],
        ]
    );
    assert!(said(at, &["statement", "grace"]).ends_with("balance 25\n"));
}

#[test]
fn a_refusal_says_why_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    said(at, &["open", "ada", "Ada"]);
    said(at, &["open", "grace", "Grace"]);
    said(at, &["deposit", "ada", "100"]);
    let refused = |arguments: &[&str], why: &str| {
        assert_eq!(failed(at, arguments), (1, format!("refused: {why}\n")));
    };
    refused(
        &["transfer", "ada", "grace", "130"],
        "account `ada` has only 100, which is 30 short of 130",
    );
    refused(
        &["withdraw", "grace", "1"],
        "account `grace` has only 0, which is 1 short of 1",
    );
    refused(
        &["transfer", "ada", "nobody", "1"],
        "there is no account `nobody`; open it first",
    );
    refused(
        &["open", "ada", "Eve"],
        "account `ada` is already open, in the name of Ada",
    );
    refused(&["deposit", "ada", "0"], "the amount must be more than 0");
    refused(
        &["statement", "nobody"],
        "there is no account `nobody`; open it first",
    );
    said(at, &["limit", "10"]);
    refused(
        &["transfer", "ada", "grace", "11"],
        "11 is more than the 10 that one transfer may move",
    );
    assert!(said(at, &["statement", "ada"]).ends_with("balance 100\n"));
}

#[test]
fn a_command_line_that_makes_no_sense_exits_with_2_and_a_file_of_another_kind_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert_eq!(
        failed(at, &["transfer", "ada", "ada", "1"]),
        (
            2,
            "error: the two accounts of a transfer must not be the same\n".to_owned()
        )
    );
    let (code, message) = failed(at, &["open", "a*a", "Ada"]);
    assert!(code == 2 && message.contains("'*'"), "{code}: {message}");
    let (code, message) = failed(at, &["deposit", "ada", "-5"]);
    assert!(code == 2 && message.contains("-5"), "{code}: {message}");
    let text = "these are notes, and no database; they have to stay as they are. ".repeat(20);
    std::fs::write(at.join("notes.txt"), &text).unwrap();
    let (code, message) = failed(at, &["--database", "notes.txt", "statement", "ada"]);
    assert!(
        code == 3 && message.contains("is not an eventcore database"),
        "{code}: {message}"
    );
    assert_eq!(std::fs::read_to_string(at.join("notes.txt")).unwrap(), text);
}

#[test]
fn a_request_that_was_killed_and_sent_again_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    said(at, &["open", "ada", "Ada"]);
    said(at, &["open", "grace", "Grace"]);
    said(at, &["deposit", "ada", "1000"]);
    for number in 0..20 {
        let request = format!("transfer-{number}");
        let arguments = ["--request", &request, "transfer", "ada", "grace", "10"];
        let mut killed = program(BANK, at, &arguments).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(2 * number));
        killed.kill().unwrap();
        killed.wait().unwrap();
        said(at, &arguments);
    }
    assert!(said(at, &["statement", "ada"]).ends_with("balance 800\n"));
    assert!(said(at, &["statement", "grace"]).ends_with("balance 200\n"));
    let again = said(
        at,
        &["--request", "transfer-0", "transfer", "ada", "grace", "10"],
    );
    assert!(
        again.starts_with("nothing new: this request was done before"),
        "{again}"
    );
}
