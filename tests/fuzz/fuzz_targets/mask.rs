#![no_main]

use libfuzzer_sys::fuzz_target;
use sansock_fuzz::{check, properties::MASK};

fuzz_target!(|data: &[u8]| check(&MASK, data));
