//! The upper bound of the server's speed: computes W1's tokens through `llamero::llama` alone, without server,
//! scheduler and sampler.
//!
//! `benches/peers` compares the server with it, and it compares options of the engine. `--beside` adds rows of one more
//! prompt to each step: one graph with `--kv-layout unified`, two with `split`. The tokens are fixed, because their
//! values change nothing about the time; logits are read as a sampler would. Prints one JSON object per batch size.

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use clap::{Arg, ArgAction, Command, value_parser};
use llamero::{
    engine::runner::{KvOp, ModelRunner, Row, Slot, Step, StepError},
    llama::load_generating,
    protocol::{EngineOptions, FlashAttention, KvLayout, KvType, SequenceId, Token},
};
use serde_json::json;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// Ids of ordinary tokens in every vocabulary of 32,000 and more.
const FIRST_ID: u32 = 1_000;
const IDS: u32 = 29_000;

/// Sequences of one shape.
#[derive(Clone, Copy)]
struct Shape {
    prompt: u32,
    output: u32,
    batch: u32,
    /// Rows of one more prompt in each step that decodes.
    beside: u32,
    /// True if all sequences have one prompt, which is computed once.
    shared: bool,
}

/// The times of the parts of a run.
#[derive(Clone, Copy, Default)]
struct Times {
    prompts: Duration,
    decoding: Duration,
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
        .arg(number("beside", "0", "Rows of one more prompt in each step that decodes").value_parser(value_parser!(u32).range(..=1_000)))
        .arg(number("rounds", "2", "Batches of each size"))
        .arg(choice("kv-layout", ["split", "unified"]))
        .arg(choice("kv-cache-dtype", ["f16", "q8_0", "q4_0"]))
        .arg(choice("flash-attn", ["auto", "on", "off"]))
        .arg(Arg::new("shared").long("shared").action(ArgAction::SetTrue).help("One prompt for all sequences, computed once"))
        // `cargo bench` says so to every program.
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
}

fn choice<const N: usize>(name: &'static str, words: [&'static str; N]) -> Arg {
    Arg::new(name).long(name).default_value(words[0]).value_parser(words).help("As of `llamero serve`")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut matches = command().get_matches();
    let number = |name: &str| matches.get_one::<u32>(name).copied().unwrap_or_default();
    let (threads, max_model_len, rounds) = (number("threads"), number("max-model-len"), number("rounds"));
    let (prompt, output, beside, shared) = (number("prompt"), number("output"), number("beside"), matches.get_flag("shared"));
    let word = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let kv_layout = if word("kv-layout") == "unified" { KvLayout::Unified } else { KvLayout::Split };
    let kinds = [KvType::F16, KvType::Q8_0, KvType::Q4_0];
    let kv_cache_dtype = kinds.into_iter().find(|kind| kind.name() == word("kv-cache-dtype")).unwrap_or_default();
    let flash_attn = match word("flash-attn") {
        "on" => FlashAttention::On,
        "off" => FlashAttention::Off,
        _ => FlashAttention::Auto,
    };
    let batches: Vec<u32> = matches.remove_many("batch").into_iter().flatten().collect();
    if beside > prompt {
        return Err("--beside is more than --prompt, which that prompt has too".into());
    }
    let options = EngineOptions {
        max_model_len: Some(max_model_len),
        max_num_seqs: Some(batches.iter().copied().max().unwrap_or(1) + u32::from(beside > 0)),
        threads: Some(threads),
        kv_layout,
        kv_cache_dtype,
        flash_attn,
        swap_space_bytes: Some(0),
        ..EngineOptions::new(matches.remove_one("model").unwrap_or_default())
    };
    let loaded = load_generating(&options, |_| {})?;
    let mut runner = loaded.runner()?;
    run(&mut runner, Shape { prompt: prompt.min(200), output: 2, batch: 1, beside: 0, shared })?; // Warms caches and threads up.
    for batch in batches {
        let shape = Shape { prompt, output, batch, beside, shared };
        let mut times = Times::default();
        for _ in 0..rounds {
            let round = run(&mut runner, shape)?;
            times.prompts += round.prompts;
            times.decoding += round.decoding;
        }
        let seconds = (times.prompts + times.decoding).as_secs_f64();
        let tokens = f64::from(rounds * batch * output);
        let steps = f64::from(rounds * (output - 1).max(1));
        let step_ms = times.decoding.as_secs_f64() * 1e3 / steps;
        println!(
            "{}",
            json!({"batch": batch, "beside": beside, "seconds": seconds, "output_tokens_per_second": tokens / seconds, "decode_step_ms": step_ms})
        );
    }
    Ok(())
}

/// One batch from its prompts to its last tokens. Leaves the slots empty.
fn run(runner: &mut dyn ModelRunner, shape: Shape) -> Result<Times, StepError> {
    let begun = Instant::now();
    let computed = if shape.shared { 1 } else { shape.batch };
    let prompts: Vec<Row> =
        (0..computed).flat_map(|slot| (0..shape.prompt).map(move |pos| row(slot, pos, pos + 1 == shape.prompt))).collect();
    for rows in prompts.chunks(runner.limits().max_rows as usize) {
        execute(runner, rows.to_vec(), rows.len() - 1)?;
    }
    let copies: Vec<KvOp> = (computed..shape.batch).map(|slot| KvOp::Copy { from: Slot(0), to: Slot(slot), len: shape.prompt }).collect();
    runner.execute(&Step { kv: copies, rows: Vec::new() })?;
    let prompts = begun.elapsed();
    let begun = Instant::now();
    let mut filled = 0;
    // The logits of a prompt's last row give the first token.
    for pos in shape.prompt..shape.prompt + shape.output - 1 {
        let mut rows: Vec<Row> = (0..shape.batch).map(|slot| row(slot, pos, true)).collect();
        if filled + shape.beside > shape.prompt {
            runner.execute(&Step { kv: vec![KvOp::Truncate { slot: Slot(shape.batch), keep: 0 }], rows: Vec::new() })?;
            filled = 0;
        }
        rows.extend((filled..filled + shape.beside).map(|pos| row(shape.batch, pos, false)));
        filled += shape.beside;
        execute(runner, rows, shape.batch as usize - 1)?;
    }
    let decoding = begun.elapsed();
    let slots = shape.batch + u32::from(shape.beside > 0);
    let kv = (0..slots).map(|slot| KvOp::Truncate { slot: Slot(slot), keep: 0 }).collect();
    runner.execute(&Step { kv, rows: Vec::new() })?;
    Ok(Times { prompts, decoding })
}

fn row(slot: u32, pos: u32, sample: bool) -> Row {
    let token = Token(FIRST_ID + (slot * 7_919 + pos * 104_729) % IDS);
    Row { seq: SequenceId(slot.into()), slot: Slot(slot), pos, token, sample }
}

/// Computes the rows, and waits for the logits of `last`.
fn execute(runner: &mut dyn ModelRunner, rows: Vec<Row>, last: usize) -> Result<(), StepError> {
    runner.execute(&Step { kv: Vec::new(), rows })?;
    // Reading waits for a device that computes on its own.
    std::hint::black_box(runner.logits(last));
    Ok(())
}
