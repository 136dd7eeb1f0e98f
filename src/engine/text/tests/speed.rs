//! The time of the search for stop strings. Prints figures and asserts nothing: run by hand before and after a change.
//! `cargo test --release --lib engine::text::tests::speed -- --ignored --nocapture`
//!
//! In November 2026, on a core of the 2-core machine: 0.01 µs per token without stop strings, 0.3 µs with 64 long ones,
//! 0.5 µs if all of them are partly there at each byte, 1.3 µs with 256. A step takes 5 ms or more.

use crate::engine::text::TextAssembler;
use std::{hint::black_box, time::Instant};

const TOKENS: u32 = 512;
/// Words of English, 4 bytes each with their spaces, as many as tokens.
const WORDS: [&str; 8] = ["the ", "cat ", "sat ", "on a", " mat", ", so", " we\n", "User"];

/// The fastest of many rounds, nanoseconds per token: the one that no other process disturbed.
fn nanoseconds(stops: &[String], token: impl Fn(u32) -> &'static str) -> u128 {
    const ROUNDS: usize = 300;
    let round = |_| {
        let mut text = TextAssembler::new(stops, false);
        let begun = Instant::now();
        for index in 0..TOKENS {
            black_box(text.push(black_box(token(index)).as_bytes(), None));
        }
        begun.elapsed().as_nanos() / u128::from(TOKENS)
    };
    (0..ROUNDS).map(round).min().unwrap_or_default()
}

#[test]
#[ignore = "prints figures; nothing to assert"]
fn nanoseconds_per_token() {
    let words = |index: u32| WORDS[(index as usize) % WORDS.len()];
    let long = |count: usize| (0..count).map(|index| format!("\nUser {index}: {}", "x".repeat(240))).collect::<Vec<_>>();
    // Each byte of the text fits the beginning of every string, and the strings are never complete.
    let hostile: Vec<String> = (0..64).map(|index| format!("{}{index:02}", "a".repeat(254))).collect();
    println!("no stop strings              {:>6} ns", nanoseconds(&[], words));
    for count in [4, 16, 64, 256] {
        println!("{count:>3} of 250 bytes             {:>6} ns", nanoseconds(&long(count), words));
    }
    println!(" 64 of 256 bytes, all partly {:>6} ns", nanoseconds(&hostile, |_| "aaaa"));
}
