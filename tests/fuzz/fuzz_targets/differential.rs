#![no_main]

use libfuzzer_sys::fuzz_target;
use sansock_fuzz::{check, properties::DIFFERENTIAL};

fuzz_target!(|data: &[u8]| check(&DIFFERENTIAL, data));
