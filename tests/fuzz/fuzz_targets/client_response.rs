#![no_main]

use libfuzzer_sys::fuzz_target;
use sansock_fuzz::{check, properties::CLIENT_RESPONSE};

fuzz_target!(|data: &[u8]| check(&CLIENT_RESPONSE, data));
