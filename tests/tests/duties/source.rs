//! What the library offers, from its source: an operation without a row in the table fails.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{opening, operations};

/// Methods that neither use the transport nor wait, so that no duty can be broken by them. What they queue or
/// ask for is moved by the operations.
const WITHOUT_IO: &[(&str, &[&str])] = &[
    (
        "WebSocket",
        &[
            "new",
            "into_parts",
            "close_result",
            "subprotocol",
            "state",
            "closed",
            "latency",
            "stats",
            "connection",
            "get_ref",
            "get_mut",
            "close_read",
            "writer",
            "split",
            "into_byte_stream",
            "start_send",
        ],
    ),
    ("Receiver", &["sender", "closed", "close_result", "stats"]),
    (
        "Sender",
        &["writer", "closed", "close_result", "stats", "start_send"],
    ),
    ("ByteStream", &["into_inner"]),
    ("Upgrade", &["request", "get_ref"]),
    (
        "Socket",
        &[
            "request",
            "path",
            "peer",
            "handle",
            "subprotocol",
            "draining",
            "close_read",
            "writer",
            "with",
            "state",
            "closed",
            "close_result",
            "latency",
            "stats",
            "split",
            "into_byte_stream",
            "into_inner",
            "start_send",
        ],
    ),
];

/// Traits of other crates whose methods are operations.
const OPERATIONS_OF: [&str; 4] = ["Stream", "Sink", "AsyncRead", "AsyncWrite"];

/// Traits whose methods are not.
const OTHER_TRAITS: [&str; 5] = ["Clone", "Debug", "Drop", "FragmentSink", "From"];

/// Returns all public methods of a source file, each as its type and its name.
fn methods(source: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut header: Option<String> = None;
    let mut block = None;
    for line in source.lines() {
        if line.starts_with("impl") {
            header = Some(String::new());
        }
        if let Some(text) = &mut header {
            text.push_str(line);
            text.push(' ');
            if line.trim_end().ends_with('{') {
                block = Some(Block::parse(text));
                header = None;
            }
            continue;
        }
        if line.starts_with('}') {
            block = None;
        }
        let Some(block) = &block else {
            continue;
        };
        if let Some(name) = block.method(line) {
            found.push((block.of.clone(), name.to_owned()));
        }
    }
    found
}

/// The methods of a type, or of a trait for a type.
struct Block {
    of: String,
    /// Whether the methods are those of a trait, which are public without saying so.
    is_trait: bool,
    /// Whether they are operations, or may be.
    counts: bool,
}

impl Block {
    /// Reads what comes between `impl` and the methods.
    #[track_caller]
    fn parse(header: &str) -> Self {
        let header = header.split(" where ").next().unwrap_or(header);
        let header = header.trim_start_matches("impl").trim();
        let header = match header.strip_prefix('<') {
            Some(rest) => behind_generics(rest),
            None => header,
        };
        match header.split_once(" for ") {
            Some((name, of)) => {
                let name = ident(name);
                let counts = OPERATIONS_OF.contains(&name);
                assert!(
                    counts || OTHER_TRAITS.contains(&name),
                    "is {name} a trait of operations?"
                );
                Self {
                    of: ident(of).into(),
                    is_trait: true,
                    counts,
                }
            }
            None => Self {
                of: ident(header).into(),
                is_trait: false,
                counts: true,
            },
        }
    }

    /// Returns the name of the public method that begins in a line.
    fn method<'a>(&self, line: &'a str) -> Option<&'a str> {
        let rest = line.strip_prefix("    ")?;
        let rest = match self.is_trait {
            true => rest,
            false => rest.strip_prefix("pub ")?,
        };
        let rest = rest.strip_prefix("const ").unwrap_or(rest);
        let rest = rest.strip_prefix("async ").unwrap_or(rest);
        let rest = rest.strip_prefix("fn ")?;
        self.counts.then(|| ident(rest))
    }
}

/// Returns what follows generic parameters whose first bracket was taken.
fn behind_generics(text: &str) -> &str {
    let mut depth = 1;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'<' => depth += 1,
            b'>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text[index + 1..].trim();
        }
    }
    text
}

/// Returns the last part of the path at the beginning.
fn ident(text: &str) -> &str {
    let text = text
        .trim_start_matches('&')
        .trim_start_matches("mut ")
        .trim();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    let path = &text[..end.unwrap_or(text.len())];
    path.rsplit("::").next().unwrap_or(path)
}

fn sources() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../adapters/src");
    let folder = std::fs::read_dir(root.join("websocket")).expect("the sources");
    let mut sources: Vec<PathBuf> = folder.map(|file| file.unwrap().path()).collect();
    sources.push(root.join("serve/socket.rs"));
    sources
}

#[test]
fn every_public_operation_has_a_row() {
    let mut public = BTreeSet::new();
    for file in sources() {
        let source = std::fs::read_to_string(&file).unwrap();
        public.extend(methods(&source));
    }
    assert!(public.len() > 100, "{} methods were found", public.len());
    let pair = |of: &str, name: &str| (of.to_owned(), name.to_owned());
    let mut known: BTreeSet<_> = operations::all()
        .iter()
        .map(|row| pair(row.of, row.method))
        .collect();
    known.extend(opening::ALL.iter().map(|row| pair(row.of(), row.method())));
    let rows = known.len();
    for (of, names) in WITHOUT_IO {
        for name in *names {
            assert!(
                known.insert(pair(of, name)),
                "{of}::{name} is in both lists"
            );
        }
    }
    assert!(rows > 60, "{rows} rows");
    let missing: Vec<_> = public.difference(&known).collect();
    assert!(
        missing.is_empty(),
        "without a row, and not known to do no I/O: {missing:?}"
    );
    let gone: Vec<_> = known.difference(&public).collect();
    assert!(gone.is_empty(), "no longer in the sources: {gone:?}");
}

/// The rows of a type are those of the type itself, whatever the owner.
#[test]
fn every_owner_of_a_writer_has_its_rows() {
    let rows = operations::all();
    let writers = rows.iter().filter(|row| row.of == "MessageWriter");
    assert_eq!(writers.count(), 6);
}

#[test]
fn the_parser_finds_what_is_public() {
    let source = "\
impl<S, T> WebSocket<S, T>
where
    S: AsyncRead,
{
    /// Documentation.
    pub async fn one(&mut self) {
        pub_fn();
    }

    pub(crate) fn no(&self) {}

    pub const fn two<'a, F: Fn(&'a u8) -> u8>(
        &self,
    ) {
    }

    fn private() {}
}

impl<T: Iterator<Item = u8>> Sink<Message> for &mut halves::Sender<T> {
    fn poll_ready(self: Pin<&mut Self>) {}
}

impl fmt::Debug for Sender {
    fn fmt(&self) {}
}

pub fn free() {}
";
    let pairs = [
        ("WebSocket", "one"),
        ("WebSocket", "two"),
        ("Sender", "poll_ready"),
    ];
    let pairs = pairs.map(|(of, name)| (of.to_owned(), name.to_owned()));
    assert_eq!(methods(source), pairs);
}
