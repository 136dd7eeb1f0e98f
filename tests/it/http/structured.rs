//! Structured output end to end: the text obeys the constraint, whatever the model would prefer.

use crate::support::server::{Answer, TestServer};
use llamero::gateway::{error::CheckError, keys::KeyId};
use llamero::protocol::{Constraint, Finish, GenerationError, SequenceRequest, Token};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

fn request(prompt: &str, extra: &Value) -> Value {
    let mut body = json!({"model": "fake", "prompt": prompt, "max_tokens": 100, "temperature": 1.0, "seed": 1});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

async fn post(server: &TestServer, prompt: &str, extra: &Value) -> Answer {
    server.post("/v1/completions", &request(prompt, extra)).await
}

fn text(answer: &Answer) -> String {
    answer.json()["choices"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn finish(answer: &Answer) -> String {
    answer.json()["choices"][0]["finish_reason"].as_str().unwrap().to_owned()
}

/// A small generator: the schema for a number is always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

const NAMES: [&str; 6] = ["id", "name", "first name", "größe", "a\"b", "tags"];

fn schema(dice: &mut Dice, depth: u32) -> Value {
    let kinds = if depth == 0 { 8 } else { 13 };
    match dice.below(kinds) {
        0 => json!({"type": "integer", "minimum": -20, "maximum": 3000}),
        1 => json!({"type": "number", "minimum": -1.5, "exclusiveMaximum": 40}),
        2 => json!({"type": "boolean"}),
        3 => json!({"type": ["null", "integer"], "multipleOf": 3, "minimum": 0, "maximum": 999}),
        4 => json!({"type": "string", "maxLength": 1 + dice.below(12)}),
        5 => json!({"enum": ["red", "green", 3, null, {"deep": [1]}]}),
        6 => json!({"type": "string", "pattern": "^[A-Z][a-z]{2,5}-\\d{3}$"}),
        7 => json!({"type": "string", "format": dice.pick(&["uuid", "ipv4"])}),
        8 => json!({"type": "array", "items": schema(dice, depth - 1), "minItems": dice.below(2), "maxItems": 3}),
        9 => json!({"anyOf": [schema(dice, depth - 1), schema(dice, depth - 1)]}),
        10 => json!({"type": "array", "prefixItems": [schema(dice, depth - 1), schema(dice, 0)], "items": false, "minItems": 2}),
        _ => object(dice, depth),
    }
}

fn object(dice: &mut Dice, depth: u32) -> Value {
    let mut properties = Map::new();
    for name in &NAMES[..usize::try_from(1 + dice.below(5)).unwrap()] {
        properties.insert((*name).to_owned(), schema(dice, depth - 1));
    }
    let required: Vec<String> = properties.keys().filter(|_| dice.below(2) == 0).cloned().collect();
    let mut object = json!({"type": "object", "properties": properties, "required": required});
    if dice.below(3) > 0 {
        object["additionalProperties"] = json!(false);
    } else if dice.below(2) == 0 {
        object["additionalProperties"] = json!({"type": "boolean"});
    }
    object
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_varied_schemas_give_valid_json_whenever_the_text_is_complete() {
    let server = TestServer::start().await;
    let mut complete = 0;
    for n in 0..200 {
        let schema = schema(&mut Dice(n), 3);
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        let asked = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
            "seed": n, "max_tokens": 1500, "top_p": if n % 2 == 0 { 1.0 } else { 0.9 }});

        let answer = post(&server, &format!("prompt {n}"), &asked).await;

        assert_eq!(answer.status, 200, "{schema}: {answer:?}");
        if finish(&answer) == "stop" {
            complete += 1;
            match serde_json::from_str(&text(&answer)) {
                Ok(value) => assert!(validator.is_valid(&value), "{value} is not valid for {schema}"),
                // JSON limits no number (RFC 8259 6), and a value without a schema may have any exponent.
                Err(error) if error.to_string().starts_with("number out of range") => {}
                Err(error) => panic!("{error}: {:?} for {schema}", text(&answer)),
            }
        }
    }
    assert!(complete >= 150, "only {complete} of 200 texts ended by themselves");
    eprintln!("{complete} of 200 texts ended by themselves, all of them valid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forced_is_not_waited_for_token_by_token() {
    let server = TestServer::start().await;
    let choice = json!(["abcdefghijklmnop", "zyxwvutsrqponmlk"]);

    let forced = post(&server, "hello", &json!({"guided_choice": choice, "stream": true})).await;
    let drawn = post(&server, "hello", &json!({"guided_choice": choice, "stream": true, "logprobs": 0})).await;

    let frames = |answer: &Answer| answer.text.matches("data: {").count();
    assert!(frames(&forced) <= 3 && frames(&drawn) >= 16, "{forced:?} {drawn:?}");
}

/// With log-probabilities every token is drawn. Without them, a token that is the only one allowed is known before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_forced_are_those_that_would_be_drawn() {
    let server = TestServer::start().await;
    for n in 0..60 {
        let schema = schema(&mut Dice(n), 2);
        let asked = |more: Value| {
            let mut asked = json!({"json_schema": schema, "seed": n, "max_tokens": 1 + n * 7, "stop": ["3", "e\""]});
            asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            asked
        };

        let forced = post(&server, &format!("prompt {n}"), &asked(json!({}))).await;
        let drawn = post(&server, &format!("prompt {n}"), &asked(json!({"logprobs": 0}))).await;

        assert_eq!((text(&forced), finish(&forced)), (text(&drawn), finish(&drawn)), "{schema}");
        let tokens = |answer: &Answer| answer.json()["usage"]["completion_tokens"].clone();
        assert_eq!(tokens(&forced), tokens(&drawn), "{schema}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn greedy_and_sampled_texts_obey_every_kind_of_constraint() {
    let server = TestServer::start().await;
    let cases = [
        json!({"guided_choice": ["alpha", "beta"]}),
        json!({"guided_regex": "[0-9]{4}-[0-9]{2}"}),
        json!({"structured_outputs": {"grammar": "start: \"<\" /[a-f]{3}/ \">\""}}),
        json!({"grammar": "root ::= \"(\" root? \")\""}),
        json!({"json_schema": {"const": {"a": [1, null]}}}),
    ];
    let is_right = |case: usize, text: &str| match case {
        0 => ["alpha", "beta"].contains(&text),
        1 => text.len() == 7 && text.as_bytes()[4] == b'-',
        2 => text.len() == 5 && text.starts_with('<') && text.ends_with('>'),
        3 => text.len().is_multiple_of(2) && text == "(".repeat(text.len() / 2) + &")".repeat(text.len() / 2),
        _ => serde_json::from_str::<Value>(text).unwrap() == json!({"a": [1, null]}),
    };
    for (case, constraint) in cases.iter().enumerate() {
        for (temperature, seed) in [(0.0, 0), (1.0, 1), (2.0, 2), (1.0, 3)] {
            let mut asked = constraint.clone();
            asked["temperature"] = json!(temperature);
            asked["seed"] = json!(seed);
            asked["ignore_eos"] = json!(seed == 3);

            let answer = post(&server, "hello", &asked).await;

            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(finish(&answer), "stop", "{answer:?}");
            assert!(is_right(case, &text(&answer)), "{asked}: {:?}", text(&answer));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_constraints_are_refused_before_anything_is_generated() {
    let server = TestServer::start().await;
    let cases = [
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}}),
            "response_format",
            "'not'",
        ),
        (json!({"guided_json": {"type": "integer", "minimum": 2, "maximum": 1}}), "guided_json", "minimum"),
        (json!({"guided_json": "{"}), "guided_json", "not JSON"),
        (json!({"guided_regex": "("}), "guided_regex", ""),
        (json!({"guided_grammar": "start: nothing"}), "guided_grammar", "nothing"),
        (json!({"grammar": "root ::= nothing"}), "grammar", "nothing"),
        (json!({"grammar": "root ::= \"a\"", "guided_regex": "a"}), "grammar", "'guided_regex'"),
        (json!({"structured_outputs": {"regex": "a", "structural_tag": "b"}}), "structured_outputs.structural_tag", "not supported"),
    ];
    for (asked, param, reason) in cases {
        let answer = post(&server, "hello", &asked).await;

        let error = &answer.json()["error"];
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(error["param"], param, "{answer:?}");
        assert!(error["message"].as_str().unwrap().contains(reason), "{answer:?}");
    }
    assert_eq!(server.engine.stats().totals.steps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_constraint_that_was_never_checked_fails_closed() {
    let server = TestServer::start().await;
    let request = SequenceRequest {
        prompt: vec![Token(65)],
        max_tokens: 10,
        constraint: Some(Constraint::Regex("(".to_owned())),
        ..SequenceRequest::default()
    };

    let mut generation = server.engine.submit(vec![request]).unwrap();

    let event = generation.next().await.unwrap();
    assert!(matches!(event.output.finish, Some(Finish::Failed(GenerationError::Constraint(_)))), "{event:?}");
    assert!(event.output.tokens.is_empty() && event.output.text.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_and_stop_strings_end_a_constrained_text_as_any_other() {
    let server = TestServer::start().await;

    let cut = post(&server, "hello", &json!({"guided_regex": "[a-z]{50}", "max_tokens": 5})).await;
    assert_eq!((finish(&cut).as_str(), cut.json()["usage"]["completion_tokens"].as_u64()), ("length", Some(5)));

    let stopped = post(&server, "hello", &json!({"guided_regex": "abc=[0-9]{50}", "stop": "="})).await;
    assert_eq!((text(&stopped).as_str(), finish(&stopped).as_str()), ("abc", "stop"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_probabilities_are_the_model_s_own_under_a_constraint_too() {
    let server = TestServer::start().await;

    let free = post(&server, "hello", &json!({"temperature": 0, "logprobs": 3, "max_tokens": 1})).await.json();
    let bound = post(&server, "hello", &json!({"temperature": 0, "logprobs": 3, "guided_regex": "~+", "max_tokens": 1})).await.json();

    let (free, bound) = (&free["choices"][0]["logprobs"], &bound["choices"][0]["logprobs"]);
    assert_eq!(bound["tokens"][0], "~");
    assert!(bound["token_logprobs"][0].as_f64() < free["token_logprobs"][0].as_f64());
    let likeliest = free["tokens"][0].as_str().unwrap();
    assert_eq!(bound["top_logprobs"][0][likeliest], free["top_logprobs"][0][likeliest], "{bound} {free}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bias_that_bans_everything_a_constraint_allows_is_an_error_and_no_free_text() {
    let server = TestServer::start().await;

    let answer = post(&server, "hello", &json!({"guided_regex": "~", "logit_bias": {"126": -100}})).await;

    assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].as_str()), (400, Some("invalid_value")), "{answer:?}");
}

/// A schema that uses all the CPU time that one may have; each `n` gives another schema.
fn slow(n: usize) -> Constraint {
    let names: Vec<String> = (0..600).map(|i| format!(r#""^a{n}b{i}$":{{}}"#)).collect();
    Constraint::JsonSchema(format!(r#"{{"type":"object","patternProperties":{{{}}}}}"#, names.join(",")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_constraints_of_one_caller_do_not_hold_up_another_s() {
    let server = TestServer::start().await;
    let mut checks = JoinSet::new();
    for n in 0..8 {
        let engine = server.engine.of_caller(KeyId::Key(1));
        let mut check = Box::pin(async move { engine.check_constraint(slow(n)).await });
        // The first poll puts the check into the queue.
        assert!(futures_util::poll!(&mut check).is_pending());
        checks.spawn(check);
    }

    let honest = server.engine.of_caller(KeyId::Key(2)).check_constraint(Constraint::Regex("[0-9]{3}".to_owned())).await;

    assert_eq!(honest, Ok(Vec::new()));
    // If the honest check had waited behind the slow ones, all of these would have been answered.
    let answered = std::iter::from_fn(|| checks.try_join_next()).count();
    assert!(answered < 8, "{answered} of 8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_too_long_is_refused_as_such_and_a_caller_with_many_of_them_is_told_to_come_back() {
    let server = TestServer::start().await;
    let mut checks: JoinSet<_> = (0..24)
        .map(|n| {
            let engine = server.engine.of_caller(KeyId::Key(1));
            async move { engine.check_constraint(slow(n)).await }
        })
        .collect();

    let (mut refused, mut busy) = (0, 0);
    while let Some(answer) = checks.join_next().await {
        match answer.unwrap() {
            Err(CheckError::Refused(reason)) => {
                assert!(reason.contains("2 s of CPU time"), "{reason}");
                refused += 1;
            }
            Err(CheckError::Busy { retry_after, .. }) => {
                assert!(!retry_after.is_zero());
                busy += 1;
            }
            other => panic!("{other:?}"),
        }
    }

    assert!(refused >= 1 && busy >= 7, "{refused} refused, {busy} busy");
    assert_eq!(server.engine.restarts(), 0);
}
