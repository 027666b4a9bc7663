//! What a line of the input means.

use std::fmt::Write;

use sansock::{CloseCode, Message};

pub(crate) enum Command {
    Send(Message),
    Ping,
    Close(CloseCode, String),
    Help,
}

impl Command {
    /// Parses a line; slashes mean nothing where there are no commands. The error is for people.
    pub(crate) fn parse(line: Vec<u8>, commands: bool, binary: bool) -> Result<Self, String> {
        if commands && line.starts_with(b"/") && !line.starts_with(b"//") {
            return Self::parse_command(&text(line)?);
        }
        let escaped = commands && line.starts_with(b"//");
        let message = if escaped { line[1..].to_vec() } else { line };
        Ok(Self::Send(match binary {
            true => Message::binary(message),
            false => Message::text(text(message)?),
        }))
    }

    fn parse_command(line: &str) -> Result<Self, String> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        match name {
            "/binary" => Ok(Self::Send(Message::binary(parse_hex(rest)?))),
            "/ping" => Ok(Self::Ping),
            "/close" => parse_close(rest),
            "/help" => Ok(Self::Help),
            _ => Err(format!("there is no command {name}; see /help")),
        }
    }
}

/// Returns the command that sends these bytes.
pub(crate) fn binary(bytes: &[u8]) -> String {
    let mut line = String::from("/binary ");
    for byte in bytes {
        // A string takes all that is written to it.
        let _ = write!(line, "{byte:02x}");
    }
    line
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| "the line is not UTF-8; send it with --binary".into())
}

fn parse_close(rest: &str) -> Result<Command, String> {
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let code = match code {
        "" => CloseCode::NORMAL,
        number => match number.parse() {
            Ok(number) => CloseCode::new(number),
            Err(_) => {
                return Err(format!(
                    "{number} is not a close code, such as 1000 or 4000"
                ));
            }
        },
    };
    Ok(Command::Close(code, reason.into()))
}

fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.chars().filter(|char| !char.is_whitespace());
    let digits = digits
        .map(|char| char.to_digit(16))
        .collect::<Option<Vec<_>>>();
    let digits = digits.filter(|digits| digits.len() % 2 == 0);
    let digits = digits.ok_or("bytes are pairs of hexadecimal digits, such as 00 ff")?;
    Ok(digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect())
}
