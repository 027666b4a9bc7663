//! What became of the scenarios on one runtime.

use std::fmt;

/// The scenarios that passed and failed, and notes.
#[derive(Debug, Default)]
pub struct Report {
    passed: usize,
    failures: Vec<String>,
    notes: Vec<String>,
}

impl Report {
    /// Adds the result of a scenario.
    pub fn add(&mut self, scenario: &str, result: Result<(), Box<dyn std::error::Error>>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => self.failures.push(format!("{scenario}: {error}")),
        }
    }

    /// Adds something that the row shows.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed, failures, ..
        } = self;
        match failures.len() {
            0 => write!(f, "ok    {passed} scenarios")?,
            failed => write!(f, "FAIL  {failed} of {} scenarios", passed + failed)?,
        }
        for note in &self.notes {
            write!(f, "; {note}")?;
        }
        for failure in failures {
            write!(f, "\n    {failure}")?;
        }
        Ok(())
    }
}
