//! Grammars of header values: lists of tokens and of extensions (RFC 6455 section 9.1, RFC 9110
//! section 5.6).
//!
//! Several lines of one header are one list, and empty elements of a list are skipped. Every
//! parser here goes over its input once, from left to right, and never back.

use alloc::vec::Vec;
use core::{
    fmt, mem,
    ops::Deref,
    str::{self, FromStr},
};

use bytestring::ByteString;

use crate::handshake::{
    HandshakeError,
    ascii::{is_token, is_token_byte},
    headers::Lines,
};

/// Where a header value departs from its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrammarError {
    expected: &'static str,
    offset: usize,
}

impl GrammarError {
    pub(super) const fn new(expected: &'static str, offset: usize) -> Self {
        Self { expected, offset }
    }

    /// Returns what should have stood there.
    #[must_use]
    pub const fn expected(&self) -> &'static str {
        self.expected
    }

    /// Returns the offset in bytes from the start of the header line's value.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for GrammarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at offset {}", self.expected, self.offset)
    }
}

impl core::error::Error for GrammarError {}

/// An extension with its parameters, as offered by a client or accepted by a server.
///
/// Names and values are tokens; whether they make sense is for the extension to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionOffer {
    name: ByteString,
    params: Vec<ExtensionParam>,
}

impl ExtensionOffer {
    /// Returns an extension without parameters. The name must be a token.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name: ByteString::from_static(name),
            params: Vec::new(),
        }
    }

    /// Adds a parameter with a number or without a value. The name must be a token.
    #[must_use]
    pub fn with_param(mut self, name: &'static str, value: Option<u8>) -> Self {
        self.params.push(ExtensionParam {
            name: ByteString::from_static(name),
            value: value.map(|number| alloc::format!("{number}").into()),
        });
        self
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the parameters in order, repeated ones too.
    #[must_use]
    pub fn params(&self) -> &[ExtensionParam] {
        &self.params
    }

    /// Returns the error that refuses the way in which the server accepted this extension.
    pub(crate) fn error(&self, problem: impl Into<ByteString>) -> HandshakeError {
        HandshakeError::Extension {
            name: self.name.clone(),
            problem: problem.into(),
        }
    }
}

/// Writes `name; param; param=value`.
impl fmt::Display for ExtensionOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for ExtensionParam { name, value } in &self.params {
            write!(f, "; {name}")?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// A parameter of an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionParam {
    name: ByteString,
    value: Option<ByteString>,
}

impl ExtensionParam {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the value with quotes and escapes resolved.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

/// The extensions of a `Sec-WebSocket-Extensions` header, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtensionList(Vec<ExtensionOffer>);

impl ExtensionList {
    /// Returns a list without extensions.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Parses all lines of a header as one list; no line is an empty list.
    pub(super) fn from_lines(lines: &Lines<'_>) -> Result<Self, HandshakeError> {
        let mut list = Self::new();
        for line in lines.iter() {
            list.parse_line(line)
                .map_err(|cause| lines.invalid(cause))?;
        }
        Ok(list)
    }

    /// Adds an extension after the others.
    pub fn push(&mut self, extension: ExtensionOffer) {
        self.0.push(extension);
    }

    fn parse_line(&mut self, line: &[u8]) -> Result<(), GrammarError> {
        let mut cursor = Cursor::new(line);
        let before = self.0.len();
        while cursor.next_element()? {
            self.0.push(cursor.extension()?);
        }
        match self.0.len() > before {
            true => Ok(()),
            false => Err(cursor.expected("an extension")),
        }
    }
}

impl Deref for ExtensionList {
    type Target = [ExtensionOffer];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl FromIterator<ExtensionOffer> for ExtensionList {
    fn from_iter<I: IntoIterator<Item = ExtensionOffer>>(extensions: I) -> Self {
        Self(extensions.into_iter().collect())
    }
}

impl FromStr for ExtensionList {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        let mut list = Self::new();
        list.parse_line(text.as_bytes())?;
        Ok(list)
    }
}

/// Writes the list as the value of one header line.
impl fmt::Display for ExtensionList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, extension) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{extension}")?;
        }
        Ok(())
    }
}

/// Returns the elements of a list of tokens.
///
/// Fails where the header is there and has no element.
pub(super) fn tokens<'a>(
    lines: &Lines<'a>,
) -> impl Iterator<Item = Result<&'a str, HandshakeError>> {
    elements(lines, Cursor::token)
}

/// Returns the elements of a list of protocols: tokens, some with a version, such as `HTTP/2.0`.
fn protocols<'a>(lines: &Lines<'a>) -> impl Iterator<Item = Result<&'a str, HandshakeError>> {
    elements(lines, Cursor::protocol)
}

type ReadElement<'a> = fn(&mut Cursor<'a>) -> Result<&'a [u8], GrammarError>;

fn elements<'a>(
    lines: &Lines<'a>,
    read: ReadElement<'a>,
) -> impl Iterator<Item = Result<&'a str, HandshakeError>> {
    lines
        .iter()
        .flat_map(move |line| Elements::new(line, read))
        .map(|element| element.map(as_str).map_err(|cause| lines.invalid(cause)))
}

/// Whether a list of protocols has this one, in any case. The whole list must be well-formed.
pub(super) fn has_token(lines: &Lines<'_>, wanted: &str) -> Result<bool, HandshakeError> {
    let mut found = lines.is(wanted);
    if !found {
        for protocol in protocols(lines) {
            found |= protocol?.eq_ignore_ascii_case(wanted);
        }
    }
    Ok(found)
}

struct Elements<'a> {
    cursor: Cursor<'a>,
    read: ReadElement<'a>,
    is_empty: bool,
}

impl<'a> Elements<'a> {
    const fn new(line: &'a [u8], read: ReadElement<'a>) -> Self {
        Self {
            cursor: Cursor::new(line),
            read,
            is_empty: true,
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8], GrammarError>;

    fn next(&mut self) -> Option<Self::Item> {
        let was_empty = mem::replace(&mut self.is_empty, false);
        let element = match self.cursor.next_element() {
            Ok(true) => (self.read)(&mut self.cursor),
            Ok(false) if was_empty => Err(self.cursor.expected("a token")),
            Ok(false) => return None,
            Err(error) => Err(error),
        };
        if element.is_err() {
            // The error is the last element.
            self.cursor = Cursor::new(&[]);
        }
        Some(element)
    }
}

/// A place in a header value that only moves forward.
struct Cursor<'a> {
    rest: &'a [u8],
    whole: usize,
    /// How many bytes were looked at.
    #[cfg(test)]
    work: usize,
}

impl<'a> Cursor<'a> {
    const fn new(value: &'a [u8]) -> Self {
        Self {
            rest: value,
            whole: value.len(),
            #[cfg(test)]
            work: 0,
        }
    }

    /// Goes to the next element of a list; false at its end.
    fn next_element(&mut self) -> Result<bool, GrammarError> {
        let at_start = self.rest.len() == self.whole;
        self.skip_whitespace();
        if !at_start && !self.rest.is_empty() && !self.skip(b',') {
            return Err(self.expected("a comma"));
        }
        self.take_while(|byte| matches!(byte, b' ' | b'\t' | b','));
        Ok(!self.rest.is_empty())
    }

    fn protocol(&mut self) -> Result<&'a [u8], GrammarError> {
        let start = self.rest;
        self.token()?;
        if self.skip(b'/') {
            self.token()?;
        }
        let length = start.len().saturating_sub(self.rest.len());
        Ok(start.get(..length).unwrap_or_default())
    }

    fn extension(&mut self) -> Result<ExtensionOffer, GrammarError> {
        let name = as_str(self.token()?).into();
        let mut params = Vec::new();
        while self.skip_past_whitespace(b';') {
            self.skip_whitespace();
            params.push(self.param()?);
        }
        Ok(ExtensionOffer { name, params })
    }

    fn param(&mut self) -> Result<ExtensionParam, GrammarError> {
        let name = as_str(self.token()?).into();
        let value = match self.skip_past_whitespace(b'=') {
            true => Some(self.param_value()?),
            false => None,
        };
        Ok(ExtensionParam { name, value })
    }

    fn param_value(&mut self) -> Result<ByteString, GrammarError> {
        self.skip_whitespace();
        match self.skip(b'"') {
            true => self.quoted_token(),
            false => Ok(as_str(self.token()?).into()),
        }
    }

    /// §9.1: a quoted value must be a token once quotes and escapes are resolved.
    fn quoted_token(&mut self) -> Result<ByteString, GrammarError> {
        let invalid = self.expected("a quoted token");
        let mut value = Vec::new();
        loop {
            value.extend_from_slice(self.take_while(|byte| !matches!(byte, b'"' | b'\\')));
            match self.next() {
                Some(b'"') if is_token(&value) => return Ok(as_str(&value).into()),
                Some(b'"') => return Err(invalid),
                Some(_) => value.extend(self.next()),
                None => return Err(self.expected("a closing quote")),
            }
        }
    }

    fn token(&mut self) -> Result<&'a [u8], GrammarError> {
        match self.take_while(is_token_byte) {
            [] => Err(self.expected("a token")),
            token => Ok(token),
        }
    }

    fn skip_past_whitespace(&mut self, byte: u8) -> bool {
        self.skip_whitespace();
        self.skip(byte)
    }

    fn skip_whitespace(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn skip(&mut self, byte: u8) -> bool {
        let rest = self.rest.strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !wanted(*byte));
        let (taken, rest) = self
            .rest
            .split_at_checked(end.unwrap_or(self.rest.len()))
            .unwrap_or_default();
        self.rest = rest;
        #[cfg(test)]
        {
            self.work += taken.len() + 1;
        }
        taken
    }

    const fn expected(&self, what: &'static str) -> GrammarError {
        GrammarError::new(what, self.whole.saturating_sub(self.rest.len()))
    }
}

/// Tokens are ASCII.
fn as_str(token: &[u8]) -> &str {
    str::from_utf8(token).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::Headers;

    fn headers(name: &str, lines: &[&str]) -> Headers {
        let mut headers = Headers::new();
        for line in lines {
            headers.append(name, line).unwrap();
        }
        headers
    }

    fn parse_protocols(lines: &[&str]) -> Result<Vec<String>, HandshakeError> {
        protocols(&headers("Upgrade", lines).lines("Upgrade"))
            .map(|token| token.map(String::from))
            .collect()
    }

    fn extensions(line: &str) -> Result<String, GrammarError> {
        line.parse::<ExtensionList>().map(|list| list.to_string())
    }

    #[test]
    fn lists_skip_empty_elements_and_span_lines() {
        let cases: [(&[&str], &[&str]); 9] = [
            (&[], &[]),
            (&["a"], &["a"]),
            (&["keep-alive, Upgrade"], &["keep-alive", "Upgrade"]),
            (&["a,b"], &["a", "b"]),
            (&[" a \t,\t b "], &["a", "b"]),
            (&[",, a,,b, ,"], &["a", "b"]),
            (&["a, b", "c"], &["a", "b", "c"]),
            (&["a, a"], &["a", "a"]),
            (&["HTTP/2.0, websocket"], &["HTTP/2.0", "websocket"]),
        ];
        for (lines, expected) in cases {
            assert_eq!(parse_protocols(lines).unwrap(), expected, "{lines:?}");
        }
    }

    #[test]
    fn malformed_lists_are_refused_at_their_offset() {
        let cases: [(&[&str], &str, usize); 10] = [
            (&[""], "a token", 0),
            (&[",,"], "a token", 2),
            (&["a b"], "a comma", 2),
            (&["a; b"], "a comma", 1),
            (&["a, \"b\""], "a token", 3),
            (&["a/"], "a token", 2),
            (&["a/b/c"], "a comma", 3),
            (&["/a"], "a token", 0),
            (&["a", ","], "a token", 1),
            (&["é"], "a token", 0),
        ];
        for (lines, expected, offset) in cases {
            let cause = GrammarError::new(expected, offset);
            let name = "Upgrade";
            let error = HandshakeError::InvalidHeader { name, cause };
            assert_eq!(parse_protocols(lines), Err(error), "{lines:?}");
        }
    }

    #[test]
    fn a_token_has_no_version() {
        let headers = headers("Upgrade", &["a, b/1"]);
        let elements: Vec<_> = tokens(&headers.lines("Upgrade")).collect();
        let cause = GrammarError::new("a comma", 4);
        let name = "Upgrade";
        let invalid = Err(HandshakeError::InvalidHeader { name, cause });
        assert_eq!(elements, [Ok("a"), Ok("b"), invalid]);
    }

    #[test]
    fn a_token_counts_only_in_a_wellformed_list() {
        let has = |line| has_token(&headers("Upgrade", &[line]).lines("Upgrade"), "websocket");
        assert_eq!(has("h2c, WebSocket"), Ok(true));
        assert_eq!(has("websocket, h2c"), Ok(true));
        assert_eq!(has("websockets, webs"), Ok(false));
        assert!(has("websocket, (").is_err());
    }

    #[test]
    fn extensions_are_parsed_and_written() {
        let cases = [
            ("a", "a"),
            ("a,b", "a, b"),
            ("a;x", "a; x"),
            ("a ;\tx = 1 ; y , b;z", "a; x=1; y, b; z"),
            (r#"a; x="1""#, "a; x=1"),
            (r#"a; x="1\2\3";y"#, "a; x=123; y"),
            (",a,,b,", "a, b"),
            ("a; x; x", "a; x; x"),
        ];
        for (line, expected) in cases {
            assert_eq!(extensions(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn malformed_extensions_are_refused_at_their_offset() {
        let cases = [
            ("", "an extension", 0),
            (" , ,", "an extension", 4),
            (";", "a token", 0),
            ("a;", "a token", 2),
            ("a; ;x", "a token", 3),
            ("a;x=", "a token", 4),
            ("a;=1", "a token", 2),
            ("a b", "a comma", 2),
            ("a;x=1 2", "a comma", 6),
            (r#"a;x="1"#, "a closing quote", 6),
            (r#"a;x="1\"#, "a closing quote", 7),
            (r#"a;x="""#, "a quoted token", 5),
            (r#"a;x="1 2""#, "a quoted token", 5),
            (r#"a;x="\"""#, "a quoted token", 5),
            (r#"a;x="1"2"#, "a comma", 7),
            (r#"a;x="1\"2""#, "a quoted token", 5),
            (r#"a;b="\c\c\c"#, "a closing quote", 11),
        ];
        for (line, expected, offset) in cases {
            let error = Err(GrammarError::new(expected, offset));
            assert_eq!(extensions(line), error, "{line}");
        }
    }

    #[test]
    fn lines_of_extensions_are_one_list() {
        let parse = |lines| ExtensionList::from_lines(&headers("X", lines).lines("X"));
        let list = parse(&["a; x=1, b", "c"]).unwrap();
        let names: Vec<_> = list.iter().map(ExtensionOffer::name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let [param] = list[0].params() else { panic!() };
        assert_eq!((param.name(), param.value()), ("x", Some("1")));
        assert_eq!(parse(&[]), Ok(ExtensionList::new()));
        assert!(parse(&["a", ""]).is_err());
    }

    #[test]
    fn a_built_offer_equals_a_parsed_one() {
        let built = ExtensionOffer::new("permessage-deflate")
            .with_param("client_max_window_bits", None)
            .with_param("server_max_window_bits", Some(10));
        let text = "permessage-deflate; client_max_window_bits; server_max_window_bits=10";
        assert_eq!(Ok(ExtensionList::from_iter([built])), text.parse());
    }

    #[test]
    fn an_error_says_what_should_have_stood_where() {
        let error = extensions("a, b;").unwrap_err();
        assert_eq!((error.expected(), error.offset()), ("a token", 5));
        assert_eq!(error.to_string(), "expected a token at offset 5");
    }

    #[test]
    fn extensions_are_added_behind_the_others() {
        let mut list: ExtensionList = "a; x=1".parse().unwrap();
        list.push(ExtensionOffer::new("b").with_param("y", Some(2)));
        assert_eq!(list.to_string(), "a; x=1, b; y=2");
    }

    #[test]
    fn parsing_is_linear_in_hostile_input() {
        // Five looks at what there is, and one behind each.
        assert!(work("a;b=c,d") >= 7, "the work is counted");
        for unit in [
            " ",
            ",",
            "a,",
            "a;",
            "a;b=",
            "\\c",
            "\t,",
            "a/",
            "\"",
            "a ; b = \"\\c\" , ",
        ] {
            for start in ["", "a;b=\""] {
                for size in [1_000, 64_000] {
                    let line = format!("{start}{}", unit.repeat(size));
                    assert!(work(&line) <= 4 * line.len() + 16, "{start}{unit}");
                }
            }
        }
    }

    fn work(line: &str) -> usize {
        let mut cursor = Cursor::new(line.as_bytes());
        while matches!(cursor.next_element(), Ok(true)) && cursor.extension().is_ok() {}
        cursor.work
    }
}
