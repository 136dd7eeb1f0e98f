//! Tests of calls that must be made: the constraint, and outputs that obey it.

use super::*;
use crate::protocol::Constraint;
use serde_json::Value;

fn forced(calls: Calls) -> OutputSpec {
    let mut spec = OutputSpec { calls, ..spec(ToolFormat::Hermes) };
    spec.tools[0].parameters = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"city": {"$ref": "#/$defs/city"}, "default": {"$ref": "#"}, "n": {"enum": [{"$ref": "#/data"}]}},
        "$defs": {"city": {"type": "string"}},
    });
    spec
}

fn schema(spec: &OutputSpec) -> Value {
    match forced_constraint(spec) {
        Some(Constraint::JsonSchema(schema)) => serde_json::from_str(&schema).unwrap(),
        other => panic!("not a schema: {other:?}"),
    }
}

#[test]
fn a_named_function_is_forced_by_its_arguments_alone() {
    let expected = json!({
        "properties": {"city": {"$ref": "#/$defs/city"}, "default": {"$ref": "#"}, "n": {"enum": [{"$ref": "#/data"}]}},
        "$defs": {"city": {"type": "string"}},
        "type": "object",
        "x-llamero-loose": true,
    });
    assert_eq!(schema(&forced(Calls::Named("get_weather".to_owned()))), expected);
    let none = json!({"properties": {}, "additionalProperties": false, "type": "object", "x-llamero-loose": true});
    assert_eq!(schema(&forced(Calls::Named("add".to_owned()))), none);
    let mut strict = forced(Calls::Named("add".to_owned()));
    strict.tools[1].strict = true;
    assert_eq!(schema(&strict)["x-llamero-loose"], Value::Null);
}

#[test]
fn any_function_is_forced_by_a_list_whose_references_still_lead_home() {
    let list = schema(&forced(Calls::Required));
    assert_eq!((&list["type"], &list["minItems"], &list["maxItems"]), (&json!("array"), &json!(1), &Value::Null));
    let call = &list["items"]["anyOf"][0];
    assert_eq!(call["properties"]["name"], json!({"const": "get_weather"}));
    assert_eq!(call["required"], json!(["name", "parameters"]));
    let properties = &call["properties"]["parameters"]["properties"];
    assert_eq!(properties["default"]["$ref"], json!("#/items/anyOf/0/properties/parameters"));
    assert_eq!(properties["n"]["enum"], json!([{"$ref": "#/data"}]), "data is no reference");
    let target = properties["city"]["$ref"].as_str().unwrap();
    assert_eq!(list.pointer(&target[1..]), Some(&json!({"type": "string"})));
    assert_eq!(schema(&OutputSpec { parallel: false, ..forced(Calls::Required) })["maxItems"], json!(1));
}

#[test]
fn nothing_is_forced_where_the_model_decides_or_there_is_nothing_to_call() {
    assert_eq!(forced_constraint(&forced(Calls::Auto)), None);
    assert_eq!(forced_constraint(&forced(Calls::None)), None);
    assert_eq!(forced_constraint(&forced(Calls::Named("rm".to_owned()))), None);
    assert_eq!(forced_constraint(&OutputSpec { tools: Vec::new(), ..forced(Calls::Required) }), None);
}

#[test]
fn forced_outputs_are_calls_wherever_they_are_cut() {
    let required = " [{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}}, {\"name\": \"add\", \"parameters\": {}}]";
    let named = "\n{\"city\": \"Paris\"} ";
    let cases = [
        (Calls::Required, required, said("", &[PARIS, ("add", "{}")])),
        (Calls::Required, &required[..50], said("", &[("get_weather", "{\"city\": \"")])),
        (Calls::Named("get_weather".to_owned()), named, said("", &[PARIS])),
        (Calls::Named("get_weather".to_owned()), "{\"city\": \"P", said("", &[("get_weather", "{\"city\": \"P")])),
        (Calls::Named("get_weather".to_owned()), "", said("", &[])),
        (Calls::Named("get_weather".to_owned()), "\nno", said("", &[])),
    ];
    for (calls, text, expected) in cases {
        // Under a constraint there is no reasoning, even if the template opened it.
        let spec = || OutputSpec { calls: calls.clone(), reasoning: THINKING, ..spec(ToolFormat::Mistral) };
        assert_eq!(meaning(spec(), [text]), expected, "{text}");
        for (cut, _) in text.char_indices() {
            let (left, right) = text.split_at(cut);
            assert_eq!(meaning(spec(), [left, right]), expected, "{left} | {right}");
        }
    }
}

#[test]
fn text_that_is_prescribed_around_calls_is_never_content_wherever_the_output_ends() {
    let list =
        "[\n{\n \"name\": \"get_weather\",\n \"parameters\": {\"city\": \"Paris\"}\n}\n,\n{\n \"name\": \"add\", \"parameters\": {}}\n]";
    for (calls, text) in [(Calls::Required, list), (Calls::Named("get_weather".to_owned()), "\n{\"city\": \"Paris\"}\n")] {
        for parallel in [true, false] {
            for (end, _) in text.char_indices() {
                let spec = OutputSpec { calls: calls.clone(), parallel, ..spec(ToolFormat::Hermes) };
                let single = text[..end].char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]);

                let heard = meaning(spec, single);

                assert_eq!((heard.content.as_str(), heard.reasoning.as_str()), ("", ""), "{}", &text[..end]);
            }
        }
    }
}

#[test]
fn messages_about_a_schema_name_the_tool_and_the_place_in_its_own_schema() {
    let said = |calls: Calls, text: &str| in_words_of_tools(&forced(calls), text.to_owned());
    assert_eq!(said(Calls::Required, "no (#/items/anyOf/1/properties/parameters/properties/x)"), "no (add#/properties/x)");
    assert_eq!(said(Calls::Named("add".to_owned()), "#/not: no"), "add#/not: no");
    assert_eq!(said(Calls::Auto, "#/not: no"), "#/not: no");
}

#[test]
fn a_name_is_put_into_a_message_once_and_the_message_stays_short_enough_for_a_header() {
    let mut spec = forced(Calls::Required);
    spec.tools[1].name = "n".repeat(128);
    let named = OutputSpec { calls: Calls::Named("n".repeat(128)), ..spec.clone() };
    let places = format!("#/properties/{} is not enforced", "#/".repeat(100));
    assert!(places.len() < 240);

    let message = in_words_of_tools(&named, places);
    assert!(message.starts_with(&format!("{}#/properties/#/#/", "n".repeat(128))), "{message}");
    assert_eq!((message.len(), message.matches('n').count()), (240, 128));
    let place = "#/items/anyOf/1/properties/parameters";
    let message = in_words_of_tools(&spec, format!("{place}/{place}: no"));
    assert_eq!(message, format!("{}#/{place}: no", "n".repeat(128)));
    let long = "x".repeat(500);
    assert_eq!(in_words_of_tools(&named, long.clone()), long, "only a name's length is made up for");
}
