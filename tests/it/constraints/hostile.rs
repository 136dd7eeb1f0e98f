//! Constraints that are made to be slow, large or deep: each compiles or is refused, and the trial process survives or
//! is replaced.

use super::{trial, words};
use llamero::protocol::{Constraint, ConstraintError, ConstraintErrorKind::TooCostly};
use rustix::process::{Pid, Signal, kill_process};

/// The result of each constraint, in order: its memory in bytes or a final error, never `Busy`.
fn results(constraints: impl IntoIterator<Item = Constraint>) -> Vec<Result<u64, ConstraintError>> {
    let mut trial = trial();
    let try_out = |constraint: Constraint| {
        let shown: String = format!("{constraint:?}").chars().take(100).collect();
        let result = trial.try_out(&constraint, &words);
        assert!(result.as_ref().err().is_none_or(ConstraintError::is_final), "{shown}: {result:?}");
        result
    };
    constraints.into_iter().map(try_out).collect()
}

#[test]
fn every_hostile_schema_compiles_or_is_refused() {
    let chain = |n: usize, step: &dyn Fn(usize) -> String| {
        let definitions: Vec<String> = (0..n).map(|i| format!(r#""d{i}":{}"#, step(i))).collect();
        format!(r##"{{"$ref":"#/$defs/d0","$defs":{{{},"d{n}":{{"type":"null"}}}}}}"##, definitions.join(","))
    };
    let reference = |i: usize| format!(r##"{{"$ref":"#/$defs/d{}"}}"##, i + 1);
    let nested = |n: usize| format!("{}{}{}", r#"{"items":"#.repeat(n), "{}", "}".repeat(n));
    let names = |n: usize, schema: &str| (0..n).map(|i| format!(r#""p{i}":{schema}"#)).collect::<Vec<_>>().join(",");
    let cases = [
        chain(200, &|i| format!(r#"{{"anyOf":[{},{}]}}"#, reference(i), reference(i))),
        chain(200, &|i| format!(r#"{{"allOf":[{},{}]}}"#, reference(i), reference(i))),
        chain(200, &|i| format!(r#"{{"type":"object","properties":{{"a":{},"b":{}}}}}"#, reference(i), reference(i))),
        chain(200, &|i| format!(r#"{{"oneOf":[{},{}]}}"#, reference(i), reference(i))),
        nested(30),
        nested(33),
        nested(5_000),
        format!(r#"{{"properties":{{{}}}}}"#, names(3_000, "{}")),
        format!(r#"{{"properties":{{{}}},"required":["p2999"]}}"#, names(2_000, r#"{"type":"string","maxLength":99999}"#)),
        format!(r#"{{"enum":[{}]}}"#, (0..1_000).map(|i| format!(r#""value {i}""#)).collect::<Vec<_>>().join(",")),
        format!(
            r#"{{"allOf":[{0},{0},{0}]}}"#,
            format!(r#"{{"enum":[{}]}}"#, (0..900).map(|i| i.to_string()).collect::<Vec<_>>().join(","))
        ),
        r#"{"type":"array","minItems":100000,"maxItems":100000,"items":{"type":"array","minItems":100000}}"#.to_owned(),
        r#"{"type":"string","minLength":100000,"pattern":"a.*b.*c.*d"}"#.to_owned(),
        r#"{"type":"string","pattern":"(((((a{1,99}){1,99}){1,99}){1,99}){1,99}){1,99}"}"#.to_owned(),
        r#"{"type":"string","pattern":"^(.*a){12}.{40}$","format":"email"}"#.to_owned(),
        format!(r#"{{"type":"string","pattern":"{}"}}"#, "(".repeat(5_000)),
        r#"{"type":"number","multipleOf":1e-300}"#.to_owned(),
        r#"{"type":"integer","multipleOf":4294967291}"#.to_owned(),
        r#"{"type":"number","minimum":-1e308,"maximum":1e308}"#.to_owned(),
        format!(r#"{{"patternProperties":{{{}}}}}"#, (0..200).map(|i| format!(r#""(a|b)*x.{{{i}}}":{{}}"#)).collect::<Vec<_>>().join(",")),
        format!(r#"{{"type":"{}"}}"#, "é".repeat(200)),
        r##"{"allOf":[{"$ref":"#"},false]}"##.to_owned(),
        r##"{"type":"object","properties":{"next":{"$ref":"#"}},"required":["next","x"],"additionalProperties":false}"##.to_owned(),
    ];
    results(cases.map(Constraint::JsonSchema));
}

#[test]
fn every_hostile_regex_choice_and_grammar_compiles_or_is_refused() {
    let rules = |n: usize| (0..n).map(|i| format!("r{i} ::= r{0} | r{0}\n", i + 1)).collect::<String>();
    let cases = [
        Constraint::Regex("(a*)*".repeat(1_000)),
        Constraint::Regex("(.*a){20}.{200}".to_owned()),
        Constraint::Regex("((((a{1,999}){1,999}){1,999}){1,999}){1,999}".to_owned()),
        Constraint::Regex("[ab]*a[ab]{60}".to_owned()),
        Constraint::Regex("(".repeat(8_000)),
        Constraint::Regex("a".repeat(8_193)),
        Constraint::Regex("\\p{L}{1,500}".repeat(100)),
        Constraint::Choice((0..1_000).map(|i| format!("{i}{}", "x".repeat(4_000))).collect()),
        Constraint::Choice(vec!["x".to_owned(); 1_001]),
        Constraint::Grammar(format!("root ::= r0\n{}r1000 ::= \"a\"\n", rules(1_000))),
        Constraint::Grammar(format!("root ::= {}", "(".repeat(30_000))),
        Constraint::Grammar("root ::= (((\"a\"{2000}){2000}){2000}){2000}".to_owned()),
        Constraint::Grammar("root ::= root root root | \"a\" | \"\"".to_owned()),
        Constraint::Grammar("start: a\na: a a a | \"x\" |\n".to_owned()),
        Constraint::Grammar(format!("start: {}", "(".repeat(60_000))),
        Constraint::Grammar(format!("start: {}\"a\"", "~".repeat(60_000))),
        Constraint::Grammar(format!("start: %json {}1{}", "[".repeat(90), "]".repeat(90))),
        Constraint::Grammar("start: /a/{2000000000}".to_owned()),
        Constraint::Grammar("x".repeat(65_537)),
        Constraint::Grammar(String::new()),
    ];
    results(cases);
}

#[test]
fn a_constraint_that_takes_too_much_cpu_time_is_refused_and_the_next_one_has_a_process() {
    let names: Vec<String> = (0..600).map(|i| format!(r#""^a{i}$":{{}}"#)).collect();
    let slow = Constraint::JsonSchema(format!(r#"{{"type":"object","patternProperties":{{{}}}}}"#, names.join(",")));

    let results = results([Constraint::JsonObject, slow, Constraint::JsonObject]);

    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    let refused = results[1].as_ref().unwrap_err();
    assert_eq!(refused.kind, TooCostly);
    assert!(refused.message.contains("2 s of CPU time"), "{refused:?}");
}

#[test]
fn a_process_that_somebody_kills_between_two_constraints_is_replaced() {
    let mut trial = trial();
    assert!(trial.try_out(&Constraint::JsonObject, &words).is_ok());
    let first = trial.pid().unwrap();

    kill_process(Pid::from_raw(i32::try_from(first).unwrap()).unwrap(), Signal::KILL).unwrap();

    assert!(trial.try_out(&Constraint::Regex("a".to_owned()), &words).is_ok());
    assert_ne!(trial.pid(), Some(first));
}

#[test]
fn more_work_for_a_token_than_is_allowed_is_found_before_a_text_begins() {
    let names: Vec<String> = (0..1_500).map(|i| format!(r#""p{i}":{{"type":"integer"}}"#)).collect();
    let schema = format!(r#"{{"type":"object","properties":{{{}}}}}"#, names.join(","));

    let refused = results([Constraint::JsonSchema(schema)]).remove(0).unwrap_err();

    assert_eq!(refused.kind, TooCostly);
    assert!(refused.message.contains("more work for a token"), "{refused:?}");
}

#[test]
fn the_memory_that_a_constraint_takes_is_measured() {
    let required = |n: usize| {
        let names: Vec<String> = (0..n).map(|i| format!("\"p{i}\"")).collect();
        let properties: Vec<String> = names.iter().map(|name| format!("{name}:{{}}")).collect();
        Constraint::JsonSchema(format!(r#"{{"type":"object","properties":{{{}}},"required":[{}]}}"#, properties.join(","), names.join(",")))
    };

    let results = results([Constraint::JsonObject, required(2_000), required(1_999), Constraint::Regex("a".to_owned())]);

    let bytes: Vec<u64> = results.into_iter().map(|result| result.unwrap_or(0)).collect();
    // The second large one reuses memory that the first one did not return, but is counted all the same. So does the
    // small one after them, unless the allocator has given that memory back by then.
    assert!(bytes[1] > (1 << 20) && bytes[2] > (1 << 20) && bytes[0] < bytes[1] && bytes[3] <= bytes[2], "{bytes:?}");
}

#[test]
fn the_schemas_of_many_tools_together_are_no_more_than_is_allowed() {
    let description = "A description that is as long as those that agents send. ".repeat(20);
    let field = |i: usize| format!(r#""field{i}":{{"type":"string","description":"{description}"}}"#);
    let tool = |i: usize| {
        let (name, fields) = (format!("tool_{i}"), (0..2).map(field).collect::<Vec<_>>().join(","));
        let arguments = format!(r#"{{"type":"object","properties":{{{fields}}},"required":["field0"],"x-llamero-loose":true}}"#);
        format!(
            r#"{{"type":"object","properties":{{"name":{{"const":"{name}"}},"parameters":{arguments}}},"required":["name","parameters"],"additionalProperties":false}}"#
        )
    };
    let tools: Vec<String> = (0..58).map(tool).collect();
    let schema = format!(r#"{{"type":"array","items":{{"anyOf":[{}]}},"minItems":1}}"#, tools.join(","));
    assert!(schema.len() > 118_000, "{}", schema.len());

    let result = results([Constraint::JsonSchema(schema)]).remove(0);

    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn schemas_made_to_be_compared_with_each_other_are_decided_or_refused_in_time() {
    let object = |i: usize| {
        let names = (0..20).map(|k| format!(r#""p{k}":{{"enum":["x","y","z"]}}"#)).collect::<Vec<_>>().join(",");
        let required = (0..20).map(|k| format!(r#""p{k}""#)).collect::<Vec<_>>().join(",");
        format!(r#"{{"type":"object","properties":{{{names},"k":{{"const":{i}}}}},"required":[{required},"k"]}}"#)
    };
    let values: Vec<String> = (0..999).map(|i| i.to_string()).collect();
    let listed = |i: usize| format!(r#"{{"enum":[{},"{i}"]}}"#, values.join(","));
    let nested = (0..30).fold("{}".to_owned(), |inner, _| format!(r#"{{"oneOf":[{{"items":{inner}}},{{"anyOf":[{{}},{{}}]}}]}}"#));
    let cases = [
        format!(r#"{{"oneOf":[{}]}}"#, (0..200).map(object).collect::<Vec<_>>().join(",")),
        format!(r#"{{"oneOf":[{}]}}"#, (0..50).map(listed).collect::<Vec<_>>().join(",")),
        nested,
        format!(r#"{{"oneOf":[{}]}}"#, vec!["{}"; 20_000].join(",")),
        format!(
            r#"{{"propertyNames":{{"enum":[{}]}},"additionalProperties":{}}}"#,
            values.iter().map(|v| format!("\"{v}\"")).collect::<Vec<_>>().join(","),
            object(0)
        ),
        format!(r#"{{"items":{{"enum":[{}]}},"uniqueItems":true}}"#, values.join(",")),
    ];
    results(cases.map(Constraint::JsonSchema));
}
