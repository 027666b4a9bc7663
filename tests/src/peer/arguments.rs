//! The command line: a role, what belongs to it, and options with a value each, in any order.

use std::collections::BTreeMap;

use super::Outcome;

/// What a peer was asked to do.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    positional: Vec<String>,
    options: BTreeMap<String, String>,
}

impl Arguments {
    pub(crate) fn of_process() -> Outcome<Self> {
        Self::parse(std::env::args().skip(1))
    }

    fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            if word.starts_with("--") {
                let value = words.next().ok_or(format!("{word} needs a value"))?;
                arguments.options.insert(word, value);
            } else {
                arguments.positional.push(word);
            }
        }
        Ok(arguments)
    }

    /// The role and what belongs to it.
    pub(crate) fn positional(&self) -> Vec<&str> {
        self.positional.iter().map(String::as_str).collect()
    }

    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Fails where there are options that the peer does not know.
    pub(crate) fn allow(&self, known: &[&str]) -> Outcome {
        match self.options.keys().find(|name| !known.contains(&&***name)) {
            Some(name) => Err(format!("unknown option {name}").into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_may_stand_anywhere() {
        let words = [
            "client",
            "--runtime",
            "smol",
            "URL",
            "--deflate",
            "",
            "text",
        ];
        let arguments = Arguments::parse(words.map(String::from).into_iter()).unwrap();
        assert_eq!(arguments.positional(), ["client", "URL", "text"]);
        assert_eq!(arguments.option("--runtime"), Some("smol"));
        assert_eq!(arguments.option("--deflate"), Some(""));
        assert!(arguments.allow(&["--runtime"]).is_err());
    }
}
