#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| aegis_common::testing::parsers::block(bytes));
