//! Tables that name tests, and the tests that there are.
//!
//! A table is a file of comma-separated values with a header. A test is named by its file and its
//! function: `close::nothing_is_read_behind_a_close_frame` stands in `tests/close.rs`, a test of a
//! crate's own has the crate before its path, as in `core/frame/mask::…`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A row, by the names of its columns.
#[derive(Debug)]
pub struct Row {
    names: Vec<String>,
    fields: Vec<String>,
    /// The line on which it stands.
    pub line: usize,
}

impl Row {
    /// Returns what stands in a column.
    ///
    /// # Panics
    /// If the table has no such column.
    #[must_use]
    #[track_caller]
    pub fn get(&self, name: &str) -> &str {
        let index = self.names.iter().position(|known| known == name);
        &self.fields[index.expect("a column of this name")]
    }

    /// The tests that it names.
    pub fn tests(&self) -> impl Iterator<Item = &str> {
        self.get("tests").split(';').filter(|name| !name.is_empty())
    }
}

/// Reads a table of this folder.
///
/// # Panics
/// If the file cannot be read, or a row has other columns than the header.
#[must_use]
pub fn rows(file: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(path).expect("the table");
    let mut lines = text.lines().map(fields);
    let names = lines.next().expect("a header");
    let rows = lines.zip(2..).map(|(fields, line)| {
        assert_eq!(fields.len(), names.len(), "columns of {file}:{line}");
        let names = names.clone();
        Row {
            names,
            fields,
            line,
        }
    });
    rows.collect()
}

/// The fields of a line; one in quotes may hold commas, and quotes that are doubled.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let field = fields.last_mut().expect("a field");
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            character => field.push(character),
        }
    }
    fields
}

/// All tests of this package and of the published crates.
#[must_use]
pub fn all_tests() -> BTreeSet<String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = BTreeSet::new();
    for (folder, prefix) in [
        ("tests", ""),
        ("../core/src", "core/"),
        ("../adapters/src", "adapters/"),
    ] {
        collect(&package.join(folder), prefix, &mut names);
    }
    names
}

fn collect(folder: &Path, prefix: &str, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            collect(&path, &format!("{prefix}{stem}/"), names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("a source");
            let functions = tests_in(&source);
            names.extend(functions.map(|name| format!("{prefix}{stem}::{name}")));
        }
    }
}

/// The functions that follow the attribute `test`, those that are ignored aside.
fn tests_in(source: &str) -> impl Iterator<Item = &str> {
    let (mut is_test, mut is_ignored) = (false, false);
    source.lines().filter_map(move |line| {
        let line = line.trim();
        is_test |= line.starts_with("#[test]");
        is_ignored |= line.starts_with("#[ignore");
        let (_, name) = line.split_once("fn ")?;
        let counts = std::mem::take(&mut is_test) & !std::mem::take(&mut is_ignored);
        counts.then(|| name.split(['(', '<']).next().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_be_quoted() {
        let line = r#"a,"b, ""c""",,d"#;
        assert_eq!(fields(line), ["a", r#"b, "c""#, "", "d"]);
    }

    #[test]
    fn only_tests_that_run_are_tests() {
        let source = "#[test]\nfn one() {\n  helper();\n}\nfn helper() {}\n#[test]\n#[ignore = \"slow\"]\nfn two() {}\n#[test]\nfn three() {}\n";
        assert_eq!(tests_in(source).collect::<Vec<_>>(), ["one", "three"]);
    }

    #[test]
    fn this_test_is_found() {
        let all = all_tests();
        assert!(all.contains("core/frame/mask::masks_as_the_rfc_says_at_every_length_and_offset"));
        assert!(all.contains("guide/main::fragmentation_frames_up_to_fin_make_a_message"));
    }
}
