#![no_main]

use libfuzzer_sys::fuzz_target;
use sansock_fuzz::{check, properties::PAIR};

fuzz_target!(|data: &[u8]| check(&PAIR, data));
