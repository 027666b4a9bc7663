//! The header of extensions, against a grammar of its own (RFC 6455 section 9.1), and what a server
//! answers to it.

use std::sync::LazyLock;

use sansock_core::deflate::Deflate;
use sansock_core::handshake::{ExtensionList, Request, ServerOptions};
use sansock_core::{Config, Connection, FixedSeed, Negotiated, ServerConnection, Side};

type Param = (String, Option<String>);
type Offer = (String, Vec<Param>);

/// A header is parsed as its grammar says, written as it can be parsed again, and answered with what can
/// be agreed on.
pub(super) fn extensions(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let parsed: Result<ExtensionList, _> = text.parse();
    let expected = list(text);
    let seen = parsed.as_ref().ok().map(offers);
    assert_eq!(seen, expected);
    let Ok(parsed) = parsed else {
        return;
    };
    let again: ExtensionList = parsed.to_string().parse().expect("what was written");
    assert_eq!(offers(&again), offers(&parsed));
    answer(text, &offers(&parsed));
}

fn offers(list: &ExtensionList) -> Vec<Offer> {
    let offers = list.iter().map(|offer| {
        let params = offer.params().iter();
        let params =
            params.map(|param| (param.name().to_owned(), param.value().map(str::to_owned)));
        (offer.name().to_owned(), params.collect())
    });
    offers.collect()
}

/// What can be accepted is; what is accepted fits an offer and can be agreed on, by both sides alike.
fn answer(text: &str, offers: &[Offer]) {
    let mut request = Request::get("/").expect("a request");
    let headers = request.headers_mut();
    for (name, value) in [
        ("Host", "a"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ] {
        headers.append(name, value).expect("a header");
    }
    if headers.append("Sec-WebSocket-Extensions", text).is_err() {
        return;
    }
    static CONFIG: LazyLock<Config> = LazyLock::new(|| {
        let config = Config::new().entropy(FixedSeed([3; 32]));
        config.deflate(Deflate::new())
    });
    let config = &*CONFIG;
    let mut server = ServerConnection::new(ServerOptions::new().into(), config.clone());
    let response = server.accept(&request);
    assert_eq!(
        response.status().number(),
        101,
        "{:?}",
        server.handshake_error()
    );
    let fitting: Vec<Terms> = offers.iter().filter_map(terms).collect();
    let answer = response.headers().get_str("Sec-WebSocket-Extensions");
    assert_eq!(answer.is_some(), !fitting.is_empty(), "{answer:?}");
    let Some(answer) = answer else {
        return;
    };
    let answered = list(answer).expect("a list");
    let [answered] = &answered[..] else {
        panic!("accepted twice: {answer}");
    };
    let answered = terms(answered).expect("well-formed");
    let fits = fitting.iter().any(|offer| fits(offer, &answered));
    assert!(fits, "{answer}");
    for side in [Side::Client, Side::Server] {
        let negotiated = Negotiated {
            extensions: answer.parse().expect("an answer"),
            ..Negotiated::default()
        };
        let agreed = Connection::new(side, negotiated, config.clone());
        assert!(agreed.is_ok(), "{answer}: {:?}", agreed.err());
    }
}

/// The parameters of permessage-deflate; the value of the first two is none, that of the last may be.
const PARAMETERS: [&str; 4] = [
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
];

/// Which of them there are, with their numbers; 0 stands for none.
type Terms = [Option<u8>; 4];

/// The terms of an offer or an answer, `None` where they are malformed (RFC 7692 section 7.1).
fn terms((name, params): &Offer) -> Option<Terms> {
    if name != "permessage-deflate" {
        return None;
    }
    let mut terms = Terms::default();
    for (name, value) in params {
        let index = PARAMETERS.iter().position(|known| known == name)?;
        let bits = match value.as_deref() {
            None => 0,
            Some(value) => (8..16).find(|bits| bits.to_string() == value)?,
        };
        let may_be = [bits == 0, bits == 0, bits > 0, true];
        if !may_be[index] || terms[index].replace(bits).is_some() {
            return None;
        }
    }
    Some(terms)
}

/// Whether a server may answer an offer so (RFC 7692 sections 7.1.1 and 7.1.2).
fn fits(offer: &Terms, answer: &Terms) -> bool {
    let grants = offer[0].is_none() || answer[0].is_some();
    let keeps = |answer: u8, most: u8| answer > 0 && (most == 0 || answer <= most);
    let server = offer[2].is_none_or(|most| answer[2].is_some_and(|bits| keeps(bits, most)));
    let client = answer[3].is_none_or(|bits| offer[3].is_some_and(|most| keeps(bits, most)));
    grants && server && client
}

fn is_token_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_token_character)
}

/// Splits at a character that does not stand in quotes; `None` where quotes are not closed.
fn split(text: &str, at: char) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == at && !quoted => {
                parts.push(&text[start..index]);
                start = index + at.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn list(text: &str) -> Option<Vec<Offer>> {
    let elements = split(text, ',')?;
    let elements = elements
        .into_iter()
        .map(trim)
        .filter(|element| !element.is_empty());
    let offers: Vec<Offer> = elements.map(offer).collect::<Option<_>>()?;
    (!offers.is_empty()).then_some(offers)
}

fn offer(text: &str) -> Option<Offer> {
    let mut parts = split(text, ';')?.into_iter().map(trim);
    let name = parts.next().filter(|name| is_token(name))?.to_owned();
    Some((name, parts.map(param).collect::<Option<_>>()?))
}

fn param(text: &str) -> Option<Param> {
    let Some((name, value)) = text.split_once('=') else {
        return is_token(text).then(|| (text.to_owned(), None));
    };
    let (name, value) = (trim(name), trim(value));
    let value = match value.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => value.to_owned(),
    };
    (is_token(name) && is_token(&value)).then(|| (name.to_owned(), Some(value)))
}

/// Resolves escapes up to the closing quote, which must be the end.
fn unquoted(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(value),
            '\\' => value.push(characters.next()?),
            c => value.push(c),
        }
    }
}
