//! Running a program and reading what it said.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

/// The program, to be run in `folder` with its output kept.
pub fn program(path: &str, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(path);
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
