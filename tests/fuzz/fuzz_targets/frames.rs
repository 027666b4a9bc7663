#![no_main]

use libfuzzer_sys::fuzz_target;
use sansock_tests::properties;

fuzz_target!(|data: &[u8]| properties::frames(data));
