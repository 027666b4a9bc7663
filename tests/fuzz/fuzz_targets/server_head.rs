#![no_main]

use libfuzzer_sys::fuzz_target;
use sansock_fuzz::{check, properties::SERVER_HEAD};

fuzz_target!(|data: &[u8]| check(&SERVER_HEAD, data));
