//! Agrees on permessage-deflate in the opening handshake (RFC 7692 sections 5 and 7.1).
//!
//! Parameters are pairs of a name and a value that the header's grammar has taken apart and unquoted.
//! The rules: what is malformed, unknown or given twice declines an offer, and fails the connection
//! when it stands in an answer (section 7.1); a number of bits is written `8` to `15`, and in no other way.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use super::Deflate;
use crate::escape::escaped;

/// The name of the extension, in `Sec-WebSocket-Extensions`.
pub(super) const EXTENSION_NAME: &str = "permessage-deflate";

/// Parameters of the extension as they are written: names, and values where there are any.
pub(super) type ParameterList = Vec<(&'static str, Option<&'static str>)>;

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The window where nothing else was agreed (section 7.1.2).
const MAX_WINDOW_BITS: u8 = 15;

/// What a server allows where nothing else was configured: histories of 4 KiB.
const SERVER_DEFAULT_WINDOW_BITS: u8 = 12;

/// How the messages of one direction are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Context {
    window_bits: u8,
    takeover: bool,
}

impl Context {
    fn new(window_bits: Option<u8>, no_context_takeover: bool) -> Self {
        Self {
            window_bits: window_bits.unwrap_or(MAX_WINDOW_BITS),
            takeover: !no_context_takeover,
        }
    }

    /// Returns the size of the window, as the exponent of a power of two of bytes: 8 to 15.
    #[must_use]
    pub(super) const fn window_bits(self) -> u8 {
        self.window_bits
    }

    /// Whether a message may refer to the messages before it.
    #[must_use]
    pub(super) const fn takeover(self) -> bool {
        self.takeover
    }

    /// Returns the size of the window in bytes.
    pub(super) const fn window(self) -> usize {
        1 << self.window_bits
    }
}

/// What both sides agreed on, as one side sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Parameters {
    ours: Context,
    theirs: Context,
}

impl Parameters {
    /// Returns how the messages that we send are compressed.
    #[must_use]
    pub(super) const fn ours(self) -> Context {
        self.ours
    }

    /// Returns how the messages that we receive are compressed.
    #[must_use]
    pub(super) const fn theirs(self) -> Context {
        self.theirs
    }
}

/// Why an offer or answer of permessage-deflate cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub(super) enum ParameterError {
    /// The extension has no such parameter.
    UnknownParameter(Box<str>),
    /// The parameter came twice.
    DuplicateParameter(&'static str),
    /// The parameter has no such value; `None` where it needs one and came without.
    InvalidValue(&'static str, Option<Box<str>>),
    /// The server did not grant what the client asked for.
    NotGranted(&'static str),
    /// The server answered what the client did not offer.
    NotOffered(&'static str),
    /// The client does not offer what the server requires.
    Required(&'static str),
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownParameter(name) => {
                write!(f, "unknown parameter \"{}\"", escaped(&**name))
            }
            Self::DuplicateParameter(name) => write!(f, "duplicate parameter {name}"),
            Self::InvalidValue(name, Some(value)) => {
                write!(f, "invalid value \"{}\" of {name}", escaped(&**value))
            }
            Self::InvalidValue(name, None) => write!(f, "missing value of {name}"),
            Self::NotGranted(name) => write!(f, "{name} was asked for and not granted"),
            Self::NotOffered(name) => write!(f, "{name} was answered and not offered"),
            Self::Required(name) => write!(f, "{name} is required and not offered"),
        }
    }
}

impl core::error::Error for ParameterError {}

/// A bound for the client's window, in an offer with or without a number (section 7.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientWindow {
    Any,
    AtMost(u8),
}

/// The parameters of one offer or answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Terms {
    pub(super) server_no_context_takeover: bool,
    pub(super) client_no_context_takeover: bool,
    pub(super) server_max_window_bits: Option<u8>,
    pub(super) client_max_window_bits: Option<ClientWindow>,
}

impl Terms {
    fn parse<'a>(
        pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, ParameterError> {
        let mut terms = Self::default();
        for (name, value) in pairs {
            terms.read(name, value)?;
        }
        Ok(terms)
    }

    fn read(&mut self, name: &str, value: Option<&str>) -> Result<(), ParameterError> {
        match name {
            SERVER_NO_CONTEXT_TAKEOVER => read_flag(
                SERVER_NO_CONTEXT_TAKEOVER,
                value,
                &mut self.server_no_context_takeover,
            ),
            CLIENT_NO_CONTEXT_TAKEOVER => read_flag(
                CLIENT_NO_CONTEXT_TAKEOVER,
                value,
                &mut self.client_no_context_takeover,
            ),
            SERVER_MAX_WINDOW_BITS => {
                let bits = window_bits(SERVER_MAX_WINDOW_BITS, value)?;
                set_once(
                    SERVER_MAX_WINDOW_BITS,
                    bits,
                    &mut self.server_max_window_bits,
                )
            }
            CLIENT_MAX_WINDOW_BITS => {
                let window = match value {
                    None => ClientWindow::Any,
                    Some(_) => ClientWindow::AtMost(window_bits(CLIENT_MAX_WINDOW_BITS, value)?),
                };
                set_once(
                    CLIENT_MAX_WINDOW_BITS,
                    window,
                    &mut self.client_max_window_bits,
                )
            }
            _ => Err(ParameterError::UnknownParameter(name.into())),
        }
    }

    fn to_list(self) -> ParameterList {
        let flag = |set: bool, name| set.then_some((name, None));
        let server_window = self
            .server_max_window_bits
            .map(|bits| (SERVER_MAX_WINDOW_BITS, Some(written(bits))));
        let client_window = self.client_max_window_bits.map(|window| match window {
            ClientWindow::Any => (CLIENT_MAX_WINDOW_BITS, None),
            ClientWindow::AtMost(bits) => (CLIENT_MAX_WINDOW_BITS, Some(written(bits))),
        });
        let parameters = [
            flag(self.server_no_context_takeover, SERVER_NO_CONTEXT_TAKEOVER),
            flag(self.client_no_context_takeover, CLIENT_NO_CONTEXT_TAKEOVER),
            server_window,
            client_window,
        ];
        parameters.into_iter().flatten().collect()
    }

    /// Checks an answer against what was offered, as a client.
    fn check_answer(self, answer: Self) -> Result<Parameters, ParameterError> {
        // Section 7.1.1.1: the server grants this, or declines the offer.
        if self.server_no_context_takeover && !answer.server_no_context_takeover {
            return Err(ParameterError::NotGranted(SERVER_NO_CONTEXT_TAKEOVER));
        }
        let client_no_context_takeover =
            self.client_no_context_takeover || answer.client_no_context_takeover;
        Ok(Parameters {
            ours: Context::new(
                self.agreed_client_window(answer)?,
                client_no_context_takeover,
            ),
            theirs: Context::new(
                self.agreed_server_window(answer)?,
                answer.server_no_context_takeover,
            ),
        })
    }

    /// Section 7.1.2.1: a bound that was asked for is answered with that or a smaller one.
    fn agreed_server_window(self, answer: Self) -> Result<Option<u8>, ParameterError> {
        match (self.server_max_window_bits, answer.server_max_window_bits) {
            (None, answered) => Ok(answered),
            (Some(asked), Some(answered)) if answered <= asked => Ok(Some(answered)),
            (Some(_), _) => Err(ParameterError::NotGranted(SERVER_MAX_WINDOW_BITS)),
        }
    }

    /// Section 7.1.2.2: an answer has a number, not above the one offered, and needs an offer.
    fn agreed_client_window(self, answer: Self) -> Result<Option<u8>, ParameterError> {
        use ClientWindow::{Any, AtMost};
        match (self.client_max_window_bits, answer.client_max_window_bits) {
            (_, Some(Any)) => Err(ParameterError::InvalidValue(CLIENT_MAX_WINDOW_BITS, None)),
            (None, Some(AtMost(_))) => Err(ParameterError::NotOffered(CLIENT_MAX_WINDOW_BITS)),
            (None | Some(Any), None) => Ok(None),
            (Some(AtMost(offered)), None) => Ok(Some(offered)),
            (Some(Any), Some(AtMost(answered))) => Ok(Some(answered)),
            (Some(AtMost(offered)), Some(AtMost(answered))) if answered <= offered => {
                Ok(Some(answered))
            }
            (Some(AtMost(_)), Some(AtMost(_))) => {
                Err(ParameterError::NotGranted(CLIENT_MAX_WINDOW_BITS))
            }
        }
    }

    /// Returns the answer to an offer, as a server that is configured with these terms.
    fn answer(self, offer: Self) -> Self {
        Self {
            server_no_context_takeover: self.server_no_context_takeover
                || offer.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover
                || offer.client_no_context_takeover,
            server_max_window_bits: self.answered_server_window(offer),
            client_max_window_bits: self.answered_client_window(offer),
        }
    }

    /// Section 7.1.2.1: the answer may have the parameter though the offer did not. Some clients fail then, so that
    /// the default window is used without being sent.
    fn answered_server_window(self, offer: Self) -> Option<u8> {
        match offer.server_max_window_bits {
            Some(asked) => Some(self.server_window().min(asked)),
            None => self
                .server_max_window_bits
                .filter(|limit| *limit < MAX_WINDOW_BITS),
        }
    }

    /// Returns the largest window in which a server compresses.
    fn server_window(self) -> u8 {
        self.server_max_window_bits
            .unwrap_or(SERVER_DEFAULT_WINDOW_BITS)
    }

    /// Section 7.1.2.2: only a client that offered the parameter can be given a bound.
    fn answered_client_window(self, offer: Self) -> Option<ClientWindow> {
        let limit = match self.client_max_window_bits {
            Some(ClientWindow::AtMost(bits)) => bits,
            Some(ClientWindow::Any) | None => SERVER_DEFAULT_WINDOW_BITS,
        };
        let bits = match offer.client_max_window_bits? {
            ClientWindow::AtMost(offered) => limit.min(offered),
            ClientWindow::Any if limit == MAX_WINDOW_BITS => return None,
            ClientWindow::Any => limit,
        };
        Some(ClientWindow::AtMost(bits))
    }

    /// Returns what a server that is configured with these terms has agreed on by its answer.
    fn agreed_by_answer(self, answer: Self) -> Parameters {
        let server_window = answer.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
        let client_window = match answer.client_max_window_bits {
            Some(ClientWindow::AtMost(bits)) => Some(bits),
            Some(ClientWindow::Any) | None => None,
        };
        Parameters {
            ours: Context::new(
                Some(server_window.min(self.server_window())),
                answer.server_no_context_takeover,
            ),
            theirs: Context::new(client_window, answer.client_no_context_takeover),
        }
    }
}

fn read_flag(
    name: &'static str,
    value: Option<&str>,
    flag: &mut bool,
) -> Result<(), ParameterError> {
    if let Some(value) = value {
        return Err(ParameterError::InvalidValue(name, Some(value.into())));
    }
    if core::mem::replace(flag, true) {
        return Err(ParameterError::DuplicateParameter(name));
    }
    Ok(())
}

fn set_once<T>(name: &'static str, value: T, slot: &mut Option<T>) -> Result<(), ParameterError> {
    match slot.replace(value) {
        Some(_) => Err(ParameterError::DuplicateParameter(name)),
        None => Ok(()),
    }
}

/// Section 7.1.2: a decimal number from 8 to 15 without leading zeros.
const WINDOW_BITS: [(u8, &str); 8] = [
    (8, "8"),
    (9, "9"),
    (10, "10"),
    (11, "11"),
    (12, "12"),
    (13, "13"),
    (14, "14"),
    (15, "15"),
];

fn window_bits(name: &'static str, value: Option<&str>) -> Result<u8, ParameterError> {
    WINDOW_BITS
        .iter()
        .find(|(_, text)| Some(*text) == value)
        .map(|(bits, _)| *bits)
        .ok_or_else(|| ParameterError::InvalidValue(name, value.map(Into::into)))
}

fn written(bits: u8) -> &'static str {
    WINDOW_BITS
        .iter()
        .find(|(number, _)| *number == bits)
        .map_or("15", |(_, text)| *text)
}

impl Deflate {
    /// Returns what a server has agreed on by its own answer.
    pub(super) fn agreed_by_answer<'a>(
        &self,
        answer: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Parameters, ParameterError> {
        Ok(self.terms.agreed_by_answer(Terms::parse(answer)?))
    }

    /// Returns the parameters of the client's offers, in the order of preference.
    pub(super) fn offers(&self) -> impl Iterator<Item = ParameterList> {
        self.offered().map(Terms::to_list)
    }

    /// Checks the parameters in a server's answer, as the client that made the [`offers`](Self::offers).
    ///
    /// The answer does not say which offer it accepts: the first one that it fits counts.
    ///
    /// # Errors
    ///
    /// Where the answer is malformed or fits none of the offers; the client must then fail the
    /// connection (RFC 7692 section 7.1).
    pub(super) fn check_answer<'a>(
        &self,
        answer: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Parameters, ParameterError> {
        let answer = Terms::parse(answer)?;
        let mut offered = self.offered();
        let preferred = self.terms.check_answer(answer);
        preferred.or_else(|error| {
            offered
                .find_map(|terms| terms.check_answer(answer).ok())
                .ok_or(error)
        })
    }

    /// Returns a server's answer to the parameters of one offer, and what both sides have agreed on with it.
    ///
    /// # Errors
    ///
    /// Where the offer is malformed or lacks what is required; the server then declines it and
    /// considers the next one.
    pub(super) fn answer<'a>(
        &self,
        offer: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<(ParameterList, Parameters), ParameterError> {
        let offer = Terms::parse(offer)?;
        if self.requires_client_window && offer.client_max_window_bits.is_none() {
            return Err(ParameterError::Required(CLIENT_MAX_WINDOW_BITS));
        }
        let answer = self.terms.answer(offer);
        Ok((answer.to_list(), self.terms.agreed_by_answer(answer)))
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, vec};

    use super::ParameterError::{
        DuplicateParameter, InvalidValue, NotGranted, NotOffered, Required, UnknownParameter,
    };
    use super::*;

    type Pair<'a> = (&'a str, Option<&'a str>);

    /// Takes apart what the header's grammar would, as in `a; b=8`.
    fn pairs(text: &str) -> impl Iterator<Item = Pair<'_>> {
        let parameters = text.split("; ").filter(|parameter| !parameter.is_empty());
        parameters.map(|parameter| match parameter.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (parameter, None),
        })
    }

    fn text(list: &ParameterList) -> String {
        let parameters: Vec<_> = list
            .iter()
            .map(|(name, value)| match value {
                Some(value) => format!("{name}={value}"),
                None => (*name).into(),
            })
            .collect();
        parameters.join("; ")
    }

    fn answer(server: &Deflate, offer: &str) -> Result<String, ParameterError> {
        server.answer(pairs(offer)).map(|(list, _)| text(&list))
    }

    fn context(window_bits: u8, takeover: bool) -> Context {
        Context {
            window_bits,
            takeover,
        }
    }

    #[test]
    fn offers_are_written_in_the_order_of_the_rfc() {
        let offers = |client: Deflate| client.offers().map(|list| text(&list)).collect::<Vec<_>>();
        assert_eq!(offers(Deflate::new()), ["client_max_window_bits"]);
        let plain = Deflate::new().omit_client_max_window_bits();
        assert_eq!(offers(plain.clone()), [""]);
        let first = Deflate::new().or(&plain);
        assert_eq!(offers(first), ["client_max_window_bits", ""]);
        let again = plain.client_max_window_bits(15);
        assert_eq!(offers(again), ["client_max_window_bits=15"]);
        let client = Deflate::new()
            .client_max_window_bits(9)
            .server_max_window_bits(10)
            .client_no_context_takeover()
            .server_no_context_takeover();
        let all = "server_no_context_takeover; client_no_context_takeover; \
                   server_max_window_bits=10; client_max_window_bits=9";
        assert_eq!(offers(client.clone()), [all]);
        let middle = Deflate::new()
            .server_max_window_bits(11)
            .or(&Deflate::new());
        assert_eq!(
            offers(client.or(&middle)),
            [
                all,
                "server_max_window_bits=11; client_max_window_bits",
                "client_max_window_bits",
            ]
        );
    }

    #[test]
    fn a_server_answers_by_the_smaller_of_its_own_and_the_offered_window() {
        let default = Deflate::new();
        let large = Deflate::new()
            .server_max_window_bits(15)
            .client_max_window_bits(15);
        let small = Deflate::new().server_max_window_bits(11);
        let omitting = Deflate::new().omit_client_max_window_bits();
        for (server, offer, expected) in [
            (&default, "", ""),
            (
                &omitting,
                "client_max_window_bits",
                "client_max_window_bits=12",
            ),
            (
                &default,
                "client_max_window_bits",
                "client_max_window_bits=12",
            ),
            (&small, "", "server_max_window_bits=11"),
            (
                &default,
                "client_max_window_bits=10; server_max_window_bits=15",
                "server_max_window_bits=12; client_max_window_bits=10",
            ),
            (
                &default,
                "server_max_window_bits=8; client_max_window_bits=15",
                "server_max_window_bits=8; client_max_window_bits=12",
            ),
            (&large, "", ""),
            (&large, "client_max_window_bits", ""),
            (
                &large,
                "client_max_window_bits=15; server_max_window_bits=15",
                "server_max_window_bits=15; client_max_window_bits=15",
            ),
            (
                &large,
                "client_max_window_bits=8; server_max_window_bits=9",
                "server_max_window_bits=9; client_max_window_bits=8",
            ),
        ] {
            assert_eq!(answer(server, offer).as_deref(), Ok(expected), "{offer}");
        }
    }

    #[test]
    fn either_side_can_turn_context_takeover_off() {
        let base = Deflate::new().server_max_window_bits(15);
        for (server, offer, expected) in [
            (base.clone(), "", ""),
            (
                base.clone(),
                "client_no_context_takeover; server_no_context_takeover",
                "server_no_context_takeover; client_no_context_takeover",
            ),
            (
                base.clone().server_no_context_takeover(),
                "",
                "server_no_context_takeover",
            ),
            (
                base.client_no_context_takeover(),
                "server_no_context_takeover",
                "server_no_context_takeover; client_no_context_takeover",
            ),
        ] {
            assert_eq!(answer(&server, offer).as_deref(), Ok(expected), "{offer}");
        }
    }

    #[test]
    fn a_server_may_require_to_bound_the_window_of_the_client() {
        let server = Deflate::new().require_client_max_window_bits();
        assert_eq!(answer(&server, ""), Err(Required(CLIENT_MAX_WINDOW_BITS)));
        assert!(answer(&server, "client_max_window_bits").is_ok());
    }

    #[test]
    fn malformed_parameters_decline_an_offer_and_fail_an_answer() {
        for (text, expected) in [
            ("unknown", UnknownParameter("unknown".into())),
            ("unknown=8", UnknownParameter("unknown".into())),
            (
                "Server_Max_Window_Bits=8",
                UnknownParameter("Server_Max_Window_Bits".into()),
            ),
            (
                "server_max_window_bits",
                InvalidValue(SERVER_MAX_WINDOW_BITS, None),
            ),
            (
                "server_no_context_takeover=1",
                InvalidValue(SERVER_NO_CONTEXT_TAKEOVER, Some("1".into())),
            ),
            (
                "client_no_context_takeover=",
                InvalidValue(CLIENT_NO_CONTEXT_TAKEOVER, Some("".into())),
            ),
            (
                "server_no_context_takeover; server_no_context_takeover",
                DuplicateParameter(SERVER_NO_CONTEXT_TAKEOVER),
            ),
            (
                "client_no_context_takeover; client_no_context_takeover",
                DuplicateParameter(CLIENT_NO_CONTEXT_TAKEOVER),
            ),
            (
                "server_max_window_bits=10; server_max_window_bits=10",
                DuplicateParameter(SERVER_MAX_WINDOW_BITS),
            ),
            (
                "client_max_window_bits=10; client_max_window_bits=11",
                DuplicateParameter(CLIENT_MAX_WINDOW_BITS),
            ),
        ] {
            assert_eq!(answer(&Deflate::new(), text), Err(expected.clone()));
            assert_eq!(Deflate::new().check_answer(pairs(text)), Err(expected));
        }
    }

    #[test]
    fn window_bits_are_8_to_15_and_written_in_one_way() {
        let mut values: Vec<String> = (0..1000).map(|number| format!("{number}")).collect();
        for odd in [
            "", "08", "010", "+8", "-8", " 8", "8 ", "8.0", "0x8", "\"8\"", "８",
        ] {
            values.push(odd.into());
        }
        for value in &values {
            let is_valid = (8..=15).any(|bits| *value == format!("{bits}"));
            for name in [SERVER_MAX_WINDOW_BITS, CLIENT_MAX_WINDOW_BITS] {
                let list = [(name, Some(value.as_str()))];
                let invalid = InvalidValue(
                    if name == SERVER_MAX_WINDOW_BITS {
                        SERVER_MAX_WINDOW_BITS
                    } else {
                        CLIENT_MAX_WINDOW_BITS
                    },
                    Some(value.as_str().into()),
                );
                let answered = Deflate::new().answer(list);
                let checked = Deflate::new().check_answer(list);
                if is_valid {
                    assert!(answered.is_ok() && checked.is_ok(), "{value}");
                } else {
                    assert_eq!(answered.unwrap_err(), invalid, "{value}");
                    assert_eq!(checked, Err(invalid), "{value}");
                }
            }
        }
    }

    #[test]
    fn a_client_checks_what_it_asked_for() {
        let any = Deflate::new();
        let bounded = Deflate::new().client_max_window_bits(10);
        let asking = Deflate::new().server_max_window_bits(10);
        let independent = Deflate::new().server_no_context_takeover();
        for (client, answer, expected) in [
            (&any, "", Ok((15, 15))),
            (&any, "server_max_window_bits=9", Ok((15, 9))),
            (&any, "client_max_window_bits=8", Ok((8, 15))),
            (
                &any,
                "client_max_window_bits",
                Err(InvalidValue(CLIENT_MAX_WINDOW_BITS, None)),
            ),
            (&bounded, "", Ok((10, 15))),
            (&bounded, "client_max_window_bits=9", Ok((9, 15))),
            (&bounded, "client_max_window_bits=10", Ok((10, 15))),
            (
                &bounded,
                "client_max_window_bits=11",
                Err(NotGranted(CLIENT_MAX_WINDOW_BITS)),
            ),
            (&asking, "", Err(NotGranted(SERVER_MAX_WINDOW_BITS))),
            (&asking, "server_max_window_bits=10", Ok((15, 10))),
            (&asking, "server_max_window_bits=8", Ok((15, 8))),
            (
                &asking,
                "server_max_window_bits=11",
                Err(NotGranted(SERVER_MAX_WINDOW_BITS)),
            ),
            (
                &independent,
                "",
                Err(NotGranted(SERVER_NO_CONTEXT_TAKEOVER)),
            ),
            (&independent, "server_no_context_takeover", Ok((15, 15))),
        ] {
            let agreed = client.check_answer(pairs(answer));
            let windows = agreed.map(|agreed| (agreed.ours.window_bits, agreed.theirs.window_bits));
            assert_eq!(windows, expected, "{answer:?}");
        }
    }

    #[test]
    fn a_client_that_offers_no_bound_accepts_none() {
        let client = Deflate::new().omit_client_max_window_bits();
        let answer = pairs("client_max_window_bits=10");
        let expected = Err(NotOffered(CLIENT_MAX_WINDOW_BITS));
        assert_eq!(client.check_answer(answer), expected);
        let agreed = client.check_answer(pairs("")).unwrap();
        assert_eq!(agreed.ours(), context(15, true));
    }

    #[test]
    fn an_answer_may_fit_a_fallback_only() {
        let client = Deflate::new()
            .server_max_window_bits(9)
            .or(&Deflate::new().server_max_window_bits(11))
            .or(&Deflate::new().server_no_context_takeover());
        let theirs = |answer| client.check_answer(pairs(answer)).map(Parameters::theirs);
        assert_eq!(theirs("server_max_window_bits=9"), Ok(context(9, true)));
        assert_eq!(theirs("server_max_window_bits=11"), Ok(context(11, true)));
        assert_eq!(theirs("server_no_context_takeover"), Ok(context(15, false)));
        let refused = Err(NotGranted(SERVER_MAX_WINDOW_BITS));
        assert_eq!(theirs("server_max_window_bits=12"), refused);
        assert_eq!(theirs(""), refused);
    }

    #[test]
    fn both_sides_agree_on_the_same() {
        let options: Vec<Deflate> = (7..=15)
            .flat_map(|bits| {
                let base = match bits {
                    7 => Deflate::new(),
                    _ => Deflate::new().server_max_window_bits(bits),
                };
                vec![
                    base.clone(),
                    base.clone().client_no_context_takeover(),
                    base.clone()
                        .client_max_window_bits(9)
                        .server_no_context_takeover(),
                    base.client_max_window_bits(14),
                ]
            })
            .collect();
        for client in &options {
            for server in &options {
                let offer = client.offers().next().unwrap();
                let (answer, at_server) = server.answer(offer).unwrap();
                let at_client = client.check_answer(answer).unwrap();
                assert_eq!(at_client.ours(), at_server.theirs());
                // A server may compress in a smaller window than it has sent.
                assert!(at_server.ours().window_bits() <= at_client.theirs().window_bits());
                assert_eq!(at_server.ours().takeover(), at_client.theirs().takeover());
            }
        }
    }

    #[test]
    fn errors_name_the_parameter() {
        for (error, shown) in [
            (
                UnknownParameter("x\u{202e}".into()),
                r#"unknown parameter "x\u{202e}""#,
            ),
            (DuplicateParameter("x"), "duplicate parameter x"),
            (
                InvalidValue("x", Some("7\x1b".into())),
                r#"invalid value "7\u{1b}" of x"#,
            ),
            (InvalidValue("x", None), "missing value of x"),
            (NotGranted("x"), "x was asked for and not granted"),
            (NotOffered("x"), "x was answered and not offered"),
            (Required("x"), "x is required and not offered"),
        ] {
            assert_eq!(format!("{error}"), shown);
        }
    }
}
