#![no_main]

use libfuzzer_sys::fuzz_target;
use sansock_fuzz::{check, properties::EXTENSIONS};

fuzz_target!(|data: &[u8]| check(&EXTENSIONS, data));
