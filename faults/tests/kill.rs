//! The fault `kill` and its control, with few rounds, through the program that `scripts/faults` runs.
#![cfg(unix)]

use std::process::{Command, Output};

fn faults(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_faults"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_and_the_control_loses_something() {
    let output = faults(&["inject", "kill", "--rounds", "4"]);
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{out}{err}");
    let rows = out
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect::<Vec<_>>();
    let [_, _, kill, control] = rows[..] else {
        panic!("{out}");
    };
    let cells = |row: &str| {
        row.split('|')
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let (kill, control) = (cells(kill), cells(control));
    assert_eq!(kill[4..7], ["0", "0", "0"], "{out}");
    assert_ne!(kill[3], "0", "{out}");
    assert_ne!(control[4], "0", "{out}");
}
