//! Basic authentication (RFC 7617): credentials in a header, and the challenge that asks for them.
//!
//! Credentials are compared in constant time and never shown by `Debug`.

use alloc::{string::String, vec::Vec};
use core::{fmt, hint::black_box};

use base64::{Engine, engine::general_purpose::STANDARD};

/// A user name and a password.
///
/// Comparing two of them takes a time that depends on their lengths only.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// Returns credentials of this user and password, either of which may be empty.
    ///
    /// # Errors
    ///
    /// The user has a colon, or either has a control character (RFC 7617 section 2).
    pub fn new(
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> Result<Self, InvalidCredentials> {
        let (user, password) = (user.into(), password.into());
        if user.contains(':') {
            return Err(InvalidCredentials::ColonInUser);
        }
        if user.chars().chain(password.chars()).any(char::is_control) {
            return Err(InvalidCredentials::ControlCharacter);
        }
        Ok(Self { user, password })
    }

    /// Parses the value of an `Authorization` header.
    ///
    /// # Errors
    ///
    /// The scheme is not Basic, or what follows is malformed.
    pub fn from_header(value: &[u8]) -> Result<Self, InvalidCredentials> {
        let token = basic_token(value)?;
        let decoded = STANDARD
            .decode(token)
            .map_err(|_| InvalidCredentials::Base64)?;
        let pair = String::from_utf8(decoded).map_err(|_| InvalidCredentials::Utf8)?;
        let (user, password) = pair
            .split_once(':')
            .ok_or(InvalidCredentials::MissingColon)?;
        Self::new(user, password)
    }

    /// Returns the value of the `Authorization` header that sends these credentials.
    #[must_use]
    pub fn header_value(&self) -> String {
        let mut pair = Vec::with_capacity(self.user.len().saturating_add(self.password.len()));
        pair.extend_from_slice(self.user.as_bytes());
        pair.push(b':');
        pair.extend_from_slice(self.password.as_bytes());
        let mut value = String::from("Basic ");
        STANDARD.encode_string(pair, &mut value);
        value
    }

    /// Returns the user name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        let user = equal_in_constant_time(self.user.as_bytes(), other.user.as_bytes());
        let password = equal_in_constant_time(self.password.as_bytes(), other.password.as_bytes());
        user & password
    }
}

impl Eq for Credentials {}

/// Shows neither user nor password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(<redacted>)")
    }
}

/// Returns the value of the `WWW-Authenticate` header that asks for Basic credentials.
///
/// The realm is shown to people; control characters in it are refused when the header is added.
#[must_use]
pub fn basic_challenge(realm: &str) -> String {
    let mut value = String::from("Basic realm=\"");
    for character in realm.chars() {
        if matches!(character, '"' | '\\') {
            value.push('\\');
        }
        value.push(character);
    }
    value.push_str("\", charset=\"UTF-8\"");
    value
}

/// Why credentials cannot be sent or were not understood. None of it tells what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidCredentials {
    /// The scheme of the header is not Basic.
    Scheme,
    /// The scheme is not followed by one space and base64.
    Base64,
    /// The decoded text is not UTF-8.
    Utf8,
    /// No colon separates user and password.
    MissingColon,
    /// The user has a colon.
    ColonInUser,
    /// The user or password has a control character.
    ControlCharacter,
}

impl fmt::Display for InvalidCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "authentication scheme is not Basic",
            Self::Base64 => "credentials are not base64",
            Self::Utf8 => "credentials are not UTF-8",
            Self::MissingColon => "credentials have no colon between user and password",
            Self::ColonInUser => "user name has a colon",
            Self::ControlCharacter => "credentials have a control character",
        })
    }
}

impl core::error::Error for InvalidCredentials {}

fn basic_token(value: &[u8]) -> Result<&[u8], InvalidCredentials> {
    let mut parts = value.splitn(2, |byte| *byte == b' ');
    let scheme = parts.next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err(InvalidCredentials::Scheme);
    }
    parts.next().ok_or(InvalidCredentials::Base64)
}

fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    black_box(differences) == 0 && a.len() == b.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials::new(user, password).unwrap()
    }

    #[test]
    fn what_was_sent_is_parsed() {
        let sent = credentials("Aladdin", "open sesame");
        assert_eq!(sent.header_value(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        for (user, password) in [("", ""), ("a", ""), ("", "b"), ("ü", "p:w:é"), ("a b", " ")] {
            let sent = credentials(user, password);
            let parsed = Credentials::from_header(sent.header_value().as_bytes()).unwrap();
            assert_eq!(parsed, sent);
            assert_eq!((parsed.user(), parsed.password()), (user, password));
        }
    }

    #[test]
    fn the_scheme_is_compared_without_case() {
        assert_eq!(
            Credentials::from_header(b"bAsIc Ojo="),
            Ok(credentials("", ":"))
        );
    }

    #[test]
    fn malformed_headers_are_told_apart() {
        let cases: [(&[u8], InvalidCredentials); 10] = [
            (b"", InvalidCredentials::Scheme),
            (b"Bearer abc", InvalidCredentials::Scheme),
            (b"Basicabc", InvalidCredentials::Scheme),
            (b"Basic", InvalidCredentials::Base64),
            (b"Basic  Ojo=", InvalidCredentials::Base64),
            (b"Basic Ojo", InvalidCredentials::Base64),
            (b"Basic Ojo= x", InvalidCredentials::Base64),
            (b"Basic /zo=", InvalidCredentials::Utf8),
            (b"Basic YWJj", InvalidCredentials::MissingColon),
            (b"Basic AAo6", InvalidCredentials::ControlCharacter),
        ];
        for (value, error) in cases {
            let result = Credentials::from_header(value);
            assert_eq!(result, Err(error), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let colon = Credentials::new("a:b", "c");
        assert_eq!(colon, Err(InvalidCredentials::ColonInUser));
        let control = Credentials::new("a", "b\n");
        assert_eq!(control, Err(InvalidCredentials::ControlCharacter));
    }

    #[test]
    fn comparison_heeds_every_byte_and_the_length() {
        let ours = credentials("user", "secret");
        for (user, password) in [
            ("user", "secreT"),
            ("user", "secre"),
            ("user", "secrets"),
            ("User", "secret"),
            // Two differences that are alike do not make up for each other.
            ("vser", "secqeu"),
            ("resu", "secret"),
            ("user", "terces"),
            ("", ""),
        ] {
            assert_ne!(ours, credentials(user, password));
        }
        assert_eq!(ours, ours.clone());
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        for (error, text) in [
            (
                InvalidCredentials::Scheme,
                "authentication scheme is not Basic",
            ),
            (InvalidCredentials::Base64, "credentials are not base64"),
            (InvalidCredentials::Utf8, "credentials are not UTF-8"),
            (
                InvalidCredentials::MissingColon,
                "credentials have no colon between user and password",
            ),
            (InvalidCredentials::ColonInUser, "user name has a colon"),
            (
                InvalidCredentials::ControlCharacter,
                "credentials have a control character",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn debug_shows_neither_user_nor_password() {
        let debug = format!("{:?}", credentials("alice", "secret"));
        assert_eq!(debug, "Credentials(<redacted>)");
    }

    #[test]
    fn a_challenge_quotes_its_realm() {
        let challenge = basic_challenge(r#"a "b" \c"#);
        assert_eq!(challenge, r#"Basic realm="a \"b\" \\c", charset="UTF-8""#);
    }
}
