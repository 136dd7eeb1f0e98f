//! The parameters of an explained request, with their defaults filled in. Of DRY only the multiplier is shown.

use crate::{
    api::openai::{
        chat::{self, request::ChatRequest},
        completions,
        shared::ending::Ending,
    },
    chat::output::{Calls, OutputSpec},
    protocol::{Constraint, SamplingParams, SequenceRequest, Token},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// The parameters that both kinds of request have, and those of one kind.
#[derive(Debug, Serialize)]
pub(super) struct Parameters {
    max_tokens: u32,
    n: usize,
    stream: bool,
    #[serde(flatten)]
    sampling: Chosen,
    #[serde(flatten)]
    ending: EndingObject,
    /// The constraint on the output; `null` without one.
    constraint: Option<&'static str>,
    #[serde(flatten)]
    own: Own,
}

/// The parameters for drawing tokens.
#[derive(Debug, Serialize)]
struct Chosen {
    temperature: f32,
    dynatemp_range: f32,
    dynatemp_exponent: f32,
    top_n_sigma: f32,
    top_p: f32,
    top_k: u32,
    typical_p: f32,
    min_p: f32,
    xtc_probability: f32,
    xtc_threshold: f32,
    presence_penalty: f32,
    frequency_penalty: f32,
    repetition_penalty: f32,
    /// Number of last tokens that penalties look at; `null` is all tokens.
    repeat_last_n: Option<u32>,
    /// DRY's multiplier; 0 is off, and the other `dry_*` then have no effect.
    dry_multiplier: f32,
    logit_bias: BTreeMap<u32, f32>,
    /// The request's seed; with `null` one is drawn.
    seed: Option<i64>,
}

/// The ends of the text other than `max_tokens`.
#[derive(Debug, Serialize)]
struct EndingObject {
    stop: Vec<String>,
    include_stop_str_in_output: bool,
    stop_token_ids: Vec<u32>,
    min_tokens: u32,
    ignore_eos: bool,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Own {
    Completion {
        best_of: usize,
        suffix: Option<String>,
        logprobs: Option<u8>,
        prompt_logprobs: Option<u8>,
        echo: bool,
        skip_special_tokens: bool,
    },
    Chat {
        /// Number of alternatives per token; `null` reports no log-probabilities.
        top_logprobs: Option<u8>,
        /// Names of the functions that the prompt or the constraint offers.
        tools: Vec<String>,
        tool_choice: String,
        parallel_tool_calls: bool,
        add_generation_prompt: bool,
        continue_final_message: bool,
        include_reasoning: bool,
        skip_special_tokens: bool,
    },
}

impl Parameters {
    /// The parameters of a completions request.
    pub(super) fn of_completion(prepared: completions::PreparedCompletion) -> Self {
        let request = prepared.request;
        let own = Own::Completion {
            best_of: request.best_of,
            suffix: request.suffix,
            logprobs: request.logprobs,
            prompt_logprobs: request.prompt_logprobs,
            echo: request.echo,
            skip_special_tokens: !request.show_special,
        };
        Self::of(prepared.sequences, request.sampling.seed, request.ending, (request.n, request.stream), own)
    }

    /// The parameters of a chat request.
    pub(super) fn of_chat(prepared: chat::PreparedChat) -> Self {
        let ChatRequest { switches, n, sampling, ending, logprobs, include_reasoning, show_special, stream, .. } = prepared.request;
        let OutputSpec { tools, calls, parallel, .. } = &*prepared.output;
        let own = Own::Chat {
            top_logprobs: logprobs,
            tools: if *calls == Calls::None { Vec::new() } else { tools.iter().map(|tool| tool.name.clone()).collect() },
            tool_choice: match calls {
                Calls::None => "none".to_owned(),
                Calls::Auto => "auto".to_owned(),
                Calls::Required => "required".to_owned(),
                Calls::Named(name) => name.clone(),
            },
            parallel_tool_calls: *parallel,
            add_generation_prompt: switches.add_generation_prompt,
            continue_final_message: switches.continue_final_message,
            include_reasoning,
            skip_special_tokens: !show_special,
        };
        Self::of(prepared.sequences, sampling.seed, ending, (n, stream), own)
    }

    fn of(sequences: Vec<SequenceRequest>, seed: Option<i64>, ending: Ending, (n, stream): (usize, bool), own: Own) -> Self {
        let max_tokens = sequences.iter().map(|sequence| sequence.max_tokens).max().unwrap_or(0);
        let first = sequences.into_iter().next().unwrap_or_default();
        Self {
            max_tokens,
            n,
            stream,
            constraint: first.constraint.as_ref().map(kind),
            sampling: Chosen::of(first.sampling, seed),
            ending: EndingObject {
                stop: ending.strings,
                include_stop_str_in_output: ending.include,
                stop_token_ids: ending.tokens.into_iter().map(|Token(id)| id).collect(),
                min_tokens: ending.min_tokens,
                ignore_eos: ending.ignore_eos,
            },
            own,
        }
    }
}

impl Chosen {
    fn of(params: SamplingParams, seed: Option<i64>) -> Self {
        Self {
            temperature: params.temperature,
            dynatemp_range: params.dynatemp_range,
            dynatemp_exponent: params.dynatemp_exponent,
            top_n_sigma: params.top_n_sigma,
            top_p: params.top_p,
            top_k: params.top_k,
            typical_p: params.typical_p,
            min_p: params.min_p,
            xtc_probability: params.xtc_probability,
            xtc_threshold: params.xtc_threshold,
            presence_penalty: params.presence_penalty,
            frequency_penalty: params.frequency_penalty,
            repetition_penalty: params.repetition_penalty,
            repeat_last_n: params.repeat_last_n,
            dry_multiplier: params.dry.map_or(0.0, |dry| dry.multiplier),
            logit_bias: params.logit_bias.into_iter().map(|(Token(id), bias)| (id, bias)).collect(),
            seed,
        }
    }
}

fn kind(constraint: &Constraint) -> &'static str {
    match constraint {
        Constraint::JsonObject => "json_object",
        Constraint::JsonSchema(_) => "json_schema",
        Constraint::Regex(_) => "regex",
        Constraint::Choice(_) => "choice",
        Constraint::Grammar(_) => "grammar",
    }
}
