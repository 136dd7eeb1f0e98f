//! What the engine can do at best: W1's tokens through `llamero::llama` alone, without server, scheduler and sampler.
//!
//! `benches/peers` holds the server against it. Decodes fixed tokens, because their values change nothing about the time;
//! logits are asked for as a sampler would. Prints one JSON object per batch size.

use clap::{Arg, ArgAction, Command, value_parser};
use llamero::{
    engine::runner::{KvOp, ModelRunner, Row, Slot, Step, StepError},
    llama::load,
    protocol::{EngineOptions, SequenceId, Token},
};
use serde_json::json;
use std::{path::PathBuf, time::Instant};

/// Ids of ordinary tokens in every vocabulary of 32,000 and more.
const FIRST_ID: u32 = 1_000;
const IDS: u32 = 29_000;

/// Sequences of one shape.
#[derive(Clone, Copy)]
struct Shape {
    prompt: u32,
    output: u32,
    batch: u32,
}

fn command() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).default_value(default).value_parser(value_parser!(u32).range(1..=100_000)).help(help)
    };
    Command::new("raw_engine")
        .arg(Arg::new("model").long("model").required(true).value_parser(value_parser!(PathBuf)).help("A GGUF file"))
        .arg(number("threads", "2", "CPU threads of a step"))
        .arg(number("max-model-len", "2048", "Positions of a sequence"))
        .arg(number("prompt", "104", "Tokens of each prompt"))
        .arg(number("output", "64", "Tokens to generate after each"))
        .arg(number("batch", "1", "Sequences at a time; several are measured one after the other").action(ArgAction::Append))
        .arg(number("rounds", "2", "Batches of each size"))
        // `cargo bench` says so to every program.
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut matches = command().get_matches();
    let number = |name: &str| matches.get_one::<u32>(name).copied().unwrap_or_default();
    let (threads, max_model_len, rounds) = (number("threads"), number("max-model-len"), number("rounds"));
    let (prompt, output) = (number("prompt"), number("output"));
    let batches: Vec<u32> = matches.remove_many("batch").into_iter().flatten().collect();
    let options = EngineOptions {
        max_model_len: Some(max_model_len),
        max_num_seqs: batches.iter().copied().max().unwrap_or(1),
        threads: Some(threads),
        swap_space_bytes: Some(0),
        ..EngineOptions::new(matches.remove_one("model").unwrap_or_default())
    };
    let loaded = load(&options, |_| {})?;
    let mut runner = loaded.runner()?;
    run(&mut runner, Shape { prompt, output: 2, batch: 1 })?; // Warms caches and threads up.
    for batch in batches {
        let shape = Shape { prompt, output, batch };
        let begun = Instant::now();
        for _ in 0..rounds {
            run(&mut runner, shape)?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let tokens = rounds * batch * output;
        println!("{}", json!({"batch": batch, "seconds": seconds, "output_tokens_per_second": f64::from(tokens) / seconds}));
    }
    Ok(())
}

/// One batch from its prompts to its last tokens. Leaves the slots empty.
fn run(runner: &mut dyn ModelRunner, shape: Shape) -> Result<(), StepError> {
    let prompts: Vec<Row> =
        (0..shape.batch).flat_map(|slot| (0..shape.prompt).map(move |pos| row(slot, pos, pos + 1 == shape.prompt))).collect();
    for rows in prompts.chunks(runner.limits().max_rows as usize) {
        execute(runner, rows.to_vec())?;
    }
    // The logits of a prompt's last row give the first token.
    for pos in shape.prompt..shape.prompt + shape.output - 1 {
        execute(runner, (0..shape.batch).map(|slot| row(slot, pos, true)).collect())?;
    }
    let kv = (0..shape.batch).map(|slot| KvOp::Truncate { slot: Slot(slot), keep: 0 }).collect();
    runner.execute(&Step { kv, rows: Vec::new() })
}

fn row(slot: u32, pos: u32, sample: bool) -> Row {
    let token = Token(FIRST_ID + (slot * 7_919 + pos * 104_729) % IDS);
    Row { seq: SequenceId(slot.into()), slot: Slot(slot), pos, token, sample }
}

fn execute(runner: &mut dyn ModelRunner, rows: Vec<Row>) -> Result<(), StepError> {
    let last = rows.len() - 1;
    runner.execute(&Step { kv: Vec::new(), rows })?;
    // Reading waits for a device that computes on its own.
    std::hint::black_box(runner.logits(last));
    Ok(())
}
