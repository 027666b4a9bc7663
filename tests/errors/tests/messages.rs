//! What the compiler answers to mistakes: each file of `cases/` fails with the message beside it.
//!
//! The words around our own are those of one version of the compiler. With another one, nothing is compared.

use std::process::Command;

const WRITTEN_WITH: &str = "rustc 1.95.";

#[test]
fn mistakes_are_explained() {
    let version = Command::new("rustc").arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    if !version.starts_with(WRITTEN_WITH) {
        println!("left out: the messages are those of {WRITTEN_WITH}, this is {version}");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("cases/*.rs");
}
