#![no_main]

use libfuzzer_sys::fuzz_target;
use sansock_fuzz::{check, properties::DEFLATE};

fuzz_target!(|data: &[u8]| check(&DEFLATE, data));
