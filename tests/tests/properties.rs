//! Replays the inputs that the fuzzer has found worth keeping, and what lies next to them.

use std::fs;
use std::path::Path;

use allocation_counter::measure;
use sansock_tests::properties::{ALL, Property};
use sansock_tests::random::Random;

/// Names the input for which a property does not hold.
struct Named<'a>(&'a str, &'a [u8]);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} does not hold for {:02x?}", self.0, self.1);
        }
    }
}

fn check(property: &Property, input: &[u8]) {
    let _named = Named(property.name, input);
    let info = measure(|| (property.holds)(input));
    let bytes = info.bytes_max;
    assert!(bytes <= property.most_bytes, "{bytes} bytes at once");
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let files = fs::read_dir(folder).expect("a corpus");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("an input"))
        .collect()
}

#[test]
fn they_hold_for_every_input_of_the_corpora() {
    for property in ALL {
        let inputs = corpus(property.name);
        assert!(inputs.len() > 1, "{} has no corpus", property.name);
        for input in &inputs {
            check(&property, input);
        }
    }
}

/// A little of what the fuzzer does, in every run of the tests.
#[test]
fn they_hold_for_inputs_next_to_them() {
    for property in ALL {
        let inputs = corpus(property.name);
        let mut random = Random::new(1);
        for _ in 0..300 {
            let mut input = inputs[random.below(inputs.len())].clone();
            for _ in 0..1 + random.below(4) {
                change(&mut input, &inputs, &mut random);
            }
            check(&property, &input);
        }
    }
}

fn change(input: &mut Vec<u8>, inputs: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    match random.below(5) {
        0 => input.truncate(at),
        1 => input.insert(at, random.below(256) as u8),
        2 => {
            let other = &inputs[random.below(inputs.len())];
            let from = random.below(other.len() + 1);
            let end = input.split_off(at);
            input.extend(&other[from..]);
            input.extend(end);
            input.truncate(5000);
        }
        _ if at < input.len() => input[at] ^= 1 << random.below(8),
        _ => {}
    }
}
