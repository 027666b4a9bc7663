//! Where messages and notes are written.
//!
//! On a terminal a message may come while a line is being typed. It is put above that line, which stays
//! as it is. What came from a server is printed without its control characters there: they would be
//! orders to the terminal.

use std::borrow::Cow;
use std::io::{IsTerminal, Write, stderr, stdin, stdout};

pub(crate) struct Console {
    /// Somebody types, and reads what comes.
    interactive: bool,
    quiet: bool,
}

impl Console {
    const PROMPT: &str = "> ";

    /// Save the cursor, make room below, insert a line above.
    const ABOVE: &str = "\x1b7\n\x1b[A\x1b[L\r";
    /// Put the cursor back, in the line that has moved down.
    const BACK: &str = "\x1b8\x1b[B";

    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            interactive: stdin().is_terminal() && stdout().is_terminal(),
            quiet,
        }
    }

    pub(crate) const fn is_interactive(&self) -> bool {
        self.interactive
    }

    pub(crate) fn prompt(&self) {
        if self.interactive {
            self.put(&mut stdout(), Self::PROMPT.as_bytes());
        }
    }

    /// Prints a text message.
    pub(crate) fn text(&self, text: &str) {
        match self.interactive {
            true => text.split('\n').for_each(|line| self.insert("< ", line)),
            false => self.put(&mut stdout(), format!("{text}\n").as_bytes()),
        }
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        self.put(&mut stdout(), bytes);
    }

    /// Says something about the connection.
    pub(crate) fn note(&self, text: &str) {
        match (self.interactive, self.quiet) {
            (true, false) => text.split('\n').for_each(|line| self.insert("* ", line)),
            (false, false) => self.put(&mut stderr(), format!("{text}\n").as_bytes()),
            (_, true) => {}
        }
    }

    /// Takes the prompt away.
    pub(crate) fn finish(&self) {
        if self.interactive {
            self.put(&mut stdout(), b"\r\x1b[K");
        }
    }

    fn insert(&self, sign: &str, line: &str) {
        let (above, line, back) = (Self::ABOVE, printable(line), Self::BACK);
        self.put(
            &mut stdout(),
            format!("{above}{sign}{line}{back}").as_bytes(),
        );
    }

    /// Ends the program, as `println!` does, only more quietly, where nobody reads any more.
    fn put(&self, out: &mut impl Write, bytes: &[u8]) {
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            std::process::exit(1);
        }
    }
}

/// Shows control characters instead of sending them.
fn printable(text: &str) -> Cow<'_, str> {
    let harmless = |char: char| char == '\t' || !char.is_control();
    if text.chars().all(harmless) {
        return text.into();
    }
    let shown = text.chars().map(|char| match harmless(char) {
        true => char.to_string(),
        false => char.escape_default().to_string(),
    });
    shown.collect::<String>().into()
}
