//! Any JSON value in any documented field of any documented POST route: never a 5xx, and a value that its schema does
//! not allow is a 4xx that names it.

use super::{
    bench::{Bench, RICH, Seen},
    *,
};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};

/// Number of values per field.
const CASES: u32 = 48;

/// Any value, three levels deep.
fn any_json() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-3_i64..300).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3.0_f64..3.0).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        select(vec!["auto", "none", "required", "text", "json_object", "system", "user", "type", "name", "function", "{}", "a"])
            .prop_map(Value::from),
    ];
    let keys = select(vec!["type", "text", "role", "content", "name", "function", "schema", "json_schema", "5", "id", "x", "arguments"]);
    leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((keys.clone(), inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
    .boxed()
}

/// A valid value with one part of it replaced.
fn mutated(example: Value) -> BoxedStrategy<Value> {
    let mut places = Vec::new();
    pointers(&example, String::new(), &mut places);
    (select(places), any_json())
        .prop_map(move |(place, value)| {
            let mut mutated = example.clone();
            if let Some(part) = mutated.pointer_mut(&place) {
                *part = value;
            }
            mutated
        })
        .boxed()
}

fn pointers(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| pointers(item, format!("{at}/{index}"), places)),
        Value::Object(map) => map.iter().for_each(|(key, item)| pointers(item, format!("{at}/{key}"), places)),
        _ => {}
    }
    places.push(at);
}

/// Numbers at the ends of a schema's range and one past them.
fn ends(schema: &Value) -> Vec<Value> {
    let step = if schema["type"] == "integer" { 1.0 } else { 0.001 };
    let ends = ["minimum", "maximum"].iter().filter_map(|key| schema[*key].as_f64());
    let near = ends.flat_map(|end| [end - step, end, end + step]);
    near.map(|number| if number.fract() == 0.0 { json!(number as i64) } else { json!(number) }).collect()
}

fn values(field: &dyn AnySpec) -> BoxedStrategy<Value> {
    let example: Value = serde_json::from_str(field.example()).unwrap();
    let schema: Value = field.schema();
    let ends = ends(&schema);
    let near = if ends.is_empty() { any_json() } else { select(ends).boxed() };
    prop_oneof![any_json(), mutated(example), near].boxed()
}

/// A field whose fault may be reported for another: fields that only have an effect together.
fn relatives(name: &str) -> &'static [&'static str] {
    match name {
        "max_completion_tokens" => &["max_tokens", "min_tokens", "messages"],
        "max_tokens" => &["min_tokens", "max_completion_tokens"],
        "stream" => &["best_of", "prompt_logprobs"],
        "n" => &["best_of"],
        "text_1" | "text_2" | "data_1" | "data_2" | "queries" | "items" => &["text_1", "text_2"],
        "tools" => &["tool_choice"],
        "content" => &["prompt"],
        "prompt" => &["content"],
        "add_generation_prompt" => &["continue_final_message"],
        // The template refuses such inputs, and its refusal names the messages.
        "continue_final_message" | "chat_template_kwargs" => &["messages"],
        _ => &[],
    }
}

/// The fault in an answer to a body with this value.
fn fault(field: &dyn AnySpec, value: &Value, seen: &Seen) -> Option<String> {
    let schema: Value = field.schema();
    let allowed = value.is_null() || jsonschema::is_valid(&schema, value);
    let named = |param: &str| {
        let names = |name: &str| param == name || param.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', '[']));
        names(field.name()) || relatives(field.name()).iter().any(|name| names(name))
    };
    match seen.status {
        500.. => Some("the server failed".to_owned()),
        400..=499 if seen.param.as_deref().is_some_and(named) => None,
        400..=499 => Some(format!("it names {:?}", seen.param)),
        _ if allowed || field.support() == Support::Refused => None,
        _ if seen.warnings.contains(field.name()) => None,
        _ => Some("its schema does not allow it, and it is accepted".to_owned()),
    }
}

#[test]
fn no_value_of_any_field_fails_the_server_and_what_is_wrong_is_named() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (generating, embedding) = runtime.block_on(async { (Bench::generating(RICH).await, Bench::embedding().await) });
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let mut faults = Vec::new();
    for operation in OPERATIONS.iter().filter(|operation| operation.body.is_some()) {
        let embeds = ["embed", "rerank", "score"].iter().any(|word| operation.path.contains(word));
        let bench = if embeds { &embedding } else { &generating };
        for field in fields(operation) {
            let result = runner.run(&values(field), |value| {
                let mut body = body_with(operation, field);
                body.insert(field.name().to_owned(), value.clone());
                if body.contains_key("model") && field.name() != "model" {
                    body.insert("model".to_owned(), json!("tiny"));
                }
                let seen = runtime.block_on(bench.post(operation.path, &Value::Object(body)));
                match fault(field, &value, &seen) {
                    None => Ok(()),
                    Some(what) => Err(TestCaseError::fail(format!("{} {} = {value}: {what}: {seen:?}", operation.path, field.name()))),
                }
            });
            if let Err(error) = result {
                let shown: String = error.to_string().chars().take(600).collect();
                faults.push(format!("{} {}: {shown}", operation.path, field.name()));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
