//! The properties, and of the package of the tests no more than they need: the fuzzer watches every
//! branch of what is linked, and looks at all of them after each input.

use allocation_counter::measure;
use properties::Property;

#[path = "../../src/deflate.rs"]
pub mod deflate;
#[path = "../../src/end.rs"]
pub mod end;
#[path = "../../src/properties/mod.rs"]
pub mod properties;
#[path = "../../src/random.rs"]
pub mod random;
#[path = "../../src/seen.rs"]
pub mod seen;
#[path = "../../src/wire.rs"]
pub mod wire;

/// Checks a property, and what it allocates.
pub fn check(property: &Property, input: &[u8]) {
    let info = measure(|| (property.holds)(input));
    assert!(
        info.bytes_max <= property.most_bytes,
        "{} bytes at once",
        info.bytes_max
    );
}
