//! What `{:?}` shows of a connection, as a tree: so that everything it holds is part of the state, whether it can be
//! asked for or not.
//!
//! What grows for ever or has no effect is taken out or told relatively: times to the present, places in the stream to
//! what was taken of it, pings to the last one. A field that is renamed is no longer told relatively, and the states
//! have no end: a test fails.

use std::fmt::Write;
use std::time::Duration;

/// A value as `derive(Debug)` prints it.
#[derive(Debug)]
struct Value<'a> {
    name: &'a str,
    /// With their names, which are empty in tuples and lists.
    fields: Vec<(&'a str, Value<'a>)>,
}

/// What has no effect on what a connection does, or is part of the state in another form.
const LEFT_OUT: [&str; 10] = [
    "buffer",
    "config",
    "counters",
    "generator",
    "handshake",
    "last",
    "latency",
    "options",
    "scanner",
    "taken",
];

/// Returns what a connection holds at this time, in a form that is the same wherever it will act the same.
pub fn normal(shown: &str, now: Duration) -> String {
    let mut rest = shown;
    let root = Value::parse(&mut rest);
    let origin = Origin {
        now: i128::try_from(now.as_nanos()).expect("time does not end"),
        received: root.number(&["link", "counters", "bytes_received"]),
        taken: root.number(&["link", "output", "taken"]),
        last: root.number(&["link", "pings", "last"]),
    };
    let mut out = String::new();
    origin.write(&root, &mut out);
    out
}

/// What the rest is told relatively to.
struct Origin {
    now: i128,
    received: i128,
    taken: i128,
    last: i128,
}

impl Origin {
    fn write(&self, value: &Value<'_>, out: &mut String) {
        out.push_str(value.name);
        for (name, field) in &value.fields {
            if LEFT_OUT.contains(name) || (*name, field.name) == ("sent", "Instant") {
                continue;
            }
            let _ = write!(out, " {name}");
            match self.relative(value.name, name, field) {
                Some(number) => {
                    let _ = write!(out, " {number}");
                }
                None => self.write(field, out),
            }
        }
        out.push(';');
    }

    fn relative(&self, parent: &str, name: &str, field: &Value<'_>) -> Option<i128> {
        let number = || field.name.parse::<i128>().ok();
        let inner = || field.fields.first()?.1.name.parse::<i128>().ok();
        match (parent, name) {
            ("At", _) => Some(nanos(field.name) - self.now),
            ("Instant", "nanos") => Some(number()? - self.now),
            ("PingId", _) => Some(self.last - number()?),
            (_, "answered") => Some(self.last - number()?),
            // Whether output was taken since the deadline was armed.
            (_, "progress") => Some((self.taken - number()?).min(1)),
            ("SentPing", "ends") | (_, "close_ends" | "pong_ends") => {
                Some((number()? - self.taken).max(0))
            }
            // The first deadline, in nanoseconds.
            ("Deadlines", "first") => match number()? {
                never if never == i128::from(u64::MAX) => None,
                first => Some(first - self.now),
            },
            // What has arrived already has no effect.
            (_, "arrives" | "delivered_at") => Some((inner()? - self.now).max(0)),
            ("Keepalive", "counted") => Some(self.taken - number()?),
            // Whether something came since.
            ("AwaitedPong", "received") => Some((self.received - number()?).min(1)),
            ("AwaitedPong", "full_at") => Some((self.taken - inner()?).min(1)),
            ("AwaitedPong", "position") => {
                let (_, end) = field.name.split_once("..")?;
                Some((end.parse::<i128>().ok()? - self.taken).max(0))
            }
            _ => None,
        }
    }
}

impl<'a> Value<'a> {
    fn parse(rest: &mut &'a str) -> Self {
        let end = match rest.starts_with('"') {
            true => end_of_text(rest),
            false => rest
                .find([',', '{', '}', '(', ')', '[', ']', ' '])
                .unwrap_or(rest.len()),
        };
        let name = take(rest, end);
        let mut fields = Vec::new();
        let opening = rest.trim_start();
        if let Some(inner) = opening.strip_prefix(['{', '(', '[']) {
            *rest = inner.trim_start();
            while !rest.starts_with(['}', ')', ']']) {
                fields.push(Self::parse_field(rest));
            }
            take(rest, 1);
        }
        Self { name, fields }
    }

    fn parse_field(rest: &mut &'a str) -> (&'a str, Self) {
        let name = match rest.split_once(": ") {
            Some((name, after))
                if name
                    .bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) =>
            {
                *rest = after;
                name
            }
            _ => "",
        };
        let value = Self::parse(rest);
        *rest = rest.trim_start_matches([',', ' ']);
        (name, value)
    }

    /// Returns the number at the end of a path, of which the names before the first may be left out.
    fn number(&self, path: &[&str]) -> i128 {
        self.find(path)
            .unwrap_or_else(|| panic!("a connection shows no {path:?}"))
    }

    fn find(&self, path: &[&str]) -> Option<i128> {
        let Some((first, after)) = path.split_first() else {
            return self.name.parse().ok();
        };
        let field = self.fields.iter().find(|(name, _)| name == first);
        match field {
            Some((_, value)) => value.find(after),
            None => self.fields.iter().find_map(|(_, value)| value.find(path)),
        }
    }
}

fn take<'a>(rest: &mut &'a str, count: usize) -> &'a str {
    let (taken, after) = rest.split_at(count);
    *rest = after;
    taken
}

/// Where a text in quotes ends.
fn end_of_text(rest: &str) -> usize {
    let mut escaped = false;
    let end = rest.char_indices().skip(1).find(|(_, character)| {
        let ends = *character == '"' && !escaped;
        escaped = *character == '\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |(at, _)| at + 1)
}

/// A duration as it is printed, in nanoseconds.
fn nanos(shown: &str) -> i128 {
    let unit =
        shown.trim_start_matches(|character: char| character == '.' || character.is_ascii_digit());
    let number: f64 = shown[..shown.len() - unit.len()]
        .parse()
        .expect("a duration");
    let of_unit = match unit {
        "s" => Duration::from_secs(1),
        "ms" => Duration::from_millis(1),
        "ns" => Duration::from_nanos(1),
        _ => panic!("{shown} is no multiple of a tick"),
    };
    (number * of_unit.as_nanos() as f64).round() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_places_and_pings_are_told_relatively() {
        let shown = |now: u64, at: &str, ends: u32, id: u32| {
            let shown = format!(
                "Connection {{ link: Link {{ counters: Counters {{ bytes_received: 7 }}, \
                 output: Output {{ taken: {}, reason: \"a, \\\" }}\" }}, \
                 pings: Pings {{ waiting: Some([SentPing {{ id: PingId({id}), ends: {ends} }}]), last: {} }}, \
                 close: At({at}), now: Instant {{ nanos: {now} }} }}, negotiated: None }}",
                ends - 4,
                id + 1,
            );
            normal(&shown, Duration::from_secs(now / 1_000_000_000 + 1))
        };
        let one = shown(1_000_000_000, "2.5s", 10, 1);
        assert_eq!(one, shown(2_000_000_000, "3.5s", 20, 7));
        for other in [
            shown(1_000_000_000, "2s", 10, 1),
            shown(1_000_000_001, "2.5s", 10, 1),
        ] {
            assert_ne!(one, other);
        }
    }
}
