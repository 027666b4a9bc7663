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

pub use deflate::deflate;
pub use differential::differential;
pub use extensions::extensions;
pub use frames::frames;
pub use handshake::{client_response, server_head};
pub use mask::mask;
pub use pair::pair;
pub use text::text;
pub use workload::workload;

/// A property, by the name of its fuzz target.
pub type Property = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Property; 10] = [
    ("server_head", server_head),
    ("client_response", client_response),
    ("extensions", extensions),
    ("frames", frames),
    ("workload", workload),
    ("deflate", deflate),
    ("text", text),
    ("mask", mask),
    ("pair", pair),
    ("differential", differential),
];
