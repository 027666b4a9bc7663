//! The tables of what must hold: every row names tests that exist, or the reason why there is none.

use std::collections::{BTreeMap, HashSet};

use sansock_tests::table::{Row, all_tests, rows};

/// Says what is wrong with the rows of a table; `name` says what a row is about.
fn problems(rows: &[Row], name: impl Fn(&Row) -> String) -> Vec<String> {
    let known = all_tests();
    let mut problems = Vec::new();
    let mut names = HashSet::new();
    for row in rows {
        let (line, name) = (row.line, name(row));
        if row.get("tests").is_empty() && row.get("reason").is_empty() {
            problems.push(format!("line {line}: no test and no reason: {name}"));
        }
        for test in row.tests().filter(|test| !known.contains(*test)) {
            problems.push(format!("line {line}: there is no test {test}"));
        }
        if !names.insert(name.clone()) {
            problems.push(format!("line {line}: stands there already: {name}"));
        }
    }
    problems
}

#[track_caller]
fn assert_sound(problems: &[String]) {
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_requirement_has_a_test_or_a_reason() {
    let rows = rows("requirements.csv");
    let of = |row: &Row| {
        ["rfc", "section", "level", "who", "requirement"].map(|name| row.get(name).to_owned())
    };
    assert_sound(&problems(&rows, |row| of(row).join(" ")));
    for row in &rows {
        let level = row.get("level");
        assert!(
            ["MUST", "MUST NOT", "SHOULD", "SHOULD NOT"].contains(&level),
            "line {}: {level}",
            row.line
        );
        assert!(
            ["client", "server", "both", "extension", "intermediary"].contains(&row.get("who")),
            "line {}: {}",
            row.line,
            row.get("who")
        );
    }
    let mut by_rfc = BTreeMap::new();
    for row in &rows {
        *by_rfc.entry(row.get("rfc")).or_insert(0) += 1;
    }
    let rfcs = ["6455", "7692", "8441", "9113", "9220"];
    assert!(by_rfc.keys().eq(rfcs.iter()), "{:?}", by_rfc.keys());
    let tested = rows
        .iter()
        .filter(|row| row.tests().next().is_some())
        .count();
    println!(
        "{} requirements, {tested} with tests: {by_rfc:?}",
        rows.len()
    );
}

#[test]
fn every_fault_has_a_test_or_a_reason() {
    let rows = rows("faults.csv");
    assert_sound(&problems(&rows, |row| row.get("id").to_owned()));
    for row in &rows {
        assert!(!row.get("description").is_empty(), "line {}", row.line);
    }
}
