//! What must hold for every input: the fuzzer looks for inputs for which it does not, and the tests
//! replay those that it has found worth keeping.
//!
//! A property takes bytes, which are an input as it stands on the wire, behind a few that say how it is
//! cut; or a sequence of choices. It panics where it does not hold. References are written from the RFCs,
//! independent of the library.

mod deflate;
mod differential;
mod extensions;
mod frames;
mod handshake;
mod input;
mod mask;
mod pair;
mod reference;
mod text;
mod workload;

/// A property of whatever receives an input.
#[derive(Debug, Clone, Copy)]
pub struct Property {
    /// The name of its fuzz target, and of the folder of its corpus.
    pub name: &'static str,
    /// Panics where it does not hold.
    pub holds: fn(&[u8]),
    /// How many bytes may be allocated at once for an input of 4 KiB, what the property itself needs among them.
    pub most_bytes: u64,
}

/// All of them.
pub const ALL: [Property; 10] = [
    SERVER_HEAD,
    CLIENT_RESPONSE,
    EXTENSIONS,
    FRAMES,
    WORKLOAD,
    DEFLATE,
    TEXT,
    MASK,
    PAIR,
    DIFFERENTIAL,
];

/// Requests that a server receives.
pub const SERVER_HEAD: Property = Property {
    name: "server_head",
    holds: handshake::server_head,
    // With a decompressor, where messages follow.
    most_bytes: 160 << 10,
};

/// Responses that a client receives.
pub const CLIENT_RESPONSE: Property = Property {
    name: "client_response",
    holds: handshake::client_response,
    // With a decompressor, where messages follow.
    most_bytes: 160 << 10,
};

/// The header in which extensions are negotiated.
pub const EXTENSIONS: Property = Property {
    name: "extensions",
    holds: extensions::extensions,
    most_bytes: 128 << 10,
};

/// Frames, in every delivery.
pub const FRAMES: Property = Property {
    name: "frames",
    holds: frames::frames,
    most_bytes: 128 << 10,
};

/// Commands, feeds and times in any order.
pub const WORKLOAD: Property = Property {
    name: "workload",
    holds: workload::workload,
    most_bytes: 64 << 10,
};

/// Compressed messages, both ways.
pub const DEFLATE: Property = Property {
    name: "deflate",
    holds: deflate::deflate,
    most_bytes: 1 << 20,
};

/// Text in fragments.
pub const TEXT: Property = Property {
    name: "text",
    holds: text::text,
    most_bytes: 64 << 10,
};

/// Masking.
pub const MASK: Property = Property {
    name: "mask",
    holds: mask::mask,
    most_bytes: 64 << 10,
};

/// Two connections against each other.
pub const PAIR: Property = Property {
    name: "pair",
    holds: pair::pair,
    most_bytes: 2 << 20,
};

/// Frames, beside another library.
pub const DIFFERENTIAL: Property = Property {
    name: "differential",
    holds: differential::differential,
    most_bytes: 256 << 10,
};
