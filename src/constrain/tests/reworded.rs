//! Keywords that restrict nothing where they stand, and keywords that are said in other words.

use super::{Automaton, compiler, left_open, schema};
use crate::protocol::Constraint;
use serde_json::{Value, json};

fn automaton(schema_value: &Value) -> Automaton {
    schema(&schema_value.to_string()).unwrap_or_else(|reason| panic!("{schema_value}: {reason}"))
}

/// Compares with an independent validator: texts that can be generated are valid, and those in `valid` can be.
#[track_caller]
fn check(schema: &Value, valid: &[Value], invalid: &[Value]) {
    let validator = jsonschema::validator_for(schema).unwrap();
    let automaton = automaton(schema);
    for value in valid {
        assert!(validator.is_valid(value), "the test is wrong about {value}: {schema}");
        assert!(automaton.accepts(&value.to_string()), "{value} cannot be generated: {schema}");
    }
    for value in invalid {
        assert!(!validator.is_valid(value), "the test is wrong about {value}: {schema}");
        assert!(!automaton.accepts(&value.to_string()), "{value} can be generated: {schema}");
    }
}

fn notes(schema: &Value) -> Vec<String> {
    compiler().compile(&Constraint::JsonSchema(left_open(&schema.to_string()))).unwrap().notes().to_vec()
}

#[test]
fn keywords_that_restrict_nothing_where_they_stand_are_accepted() {
    let cases = [
        json!({"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {"type": "integer"}}),
        json!({"type": "object", "propertyNames": {"title": "a name"}, "additionalProperties": {"type": "integer"}}),
        json!({"type": "object", "propertyNames": true, "additionalProperties": {"type": "integer"}}),
        json!({"type": "object", "additionalProperties": {"type": "integer"}, "dependentRequired": {"a": []}, "dependentSchemas": {"a": true}}),
        json!({"type": "object", "additionalProperties": {"type": "integer"}, "then": {"required": ["x"]}, "else": false}),
        json!({"type": "object", "additionalProperties": {"type": "integer"}, "if": {"required": ["x"]}}),
        json!({"type": "object", "additionalProperties": {"type": "integer"}, "uniqueItems": true, "contains": {"type": "null"}}),
        json!({"type": "object", "additionalProperties": {"type": "integer"}, "not": false, "minContains": 1, "maxContains": 1}),
        json!({"type": "object", "additionalProperties": {"type": "integer"}, "unevaluatedProperties": false, "unevaluatedItems": false}),
        json!({"type": "object", "unevaluatedProperties": {"type": "integer"}, "$dynamicAnchor": "x"}),
    ];
    for schema in cases {
        check(&schema, &[json!({}), json!({"a": 1, "b": 2})], &[json!({"a": "x"}), json!([])]);
    }
    check(&json!({"type": "array", "minItems": 1.0, "maxItems": 2.0}), &[json!([1]), json!([1, 2])], &[json!([]), json!([1, 2, 3])]);
    check(&json!({"type": "array", "uniqueItems": true, "maxItems": 1}), &[json!([]), json!([1])], &[json!([1, 2])]);
    check(
        &json!({"type": "array", "uniqueItems": true, "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": false}),
        &[json!([1, "1"]), json!([1])],
        &[json!([1, 1])],
    );
    check(
        &json!({"type": "array", "contains": {"type": "null"}, "minContains": 0, "maxItems": 1}),
        &[json!([1]), json!([null])],
        &[json!([1, 2])],
    );
}

#[test]
fn names_of_properties_are_held_to_lists_patterns_formats_and_lengths() {
    let of_names = |names: Value| json!({"type": "object", "propertyNames": names, "additionalProperties": {"type": "integer"}});
    for names in [json!({"enum": ["a", "b"]}), json!({"type": "string", "pattern": "^[ab]$"}), json!({"maxLength": 1})] {
        check(&of_names(names), &[json!({}), json!({"a": 1}), json!({"a": 1, "b": 2})], &[json!({"abc": 1}), json!({"a": "x"})]);
    }
    check(
        &of_names(json!({"format": "uuid"})),
        &[json!({"123e4567-e89b-12d3-a456-426614174000": 1}), json!({})],
        &[json!({"123e4567-e89b-12d3-a456-426614174000": "x"})],
    );
    check(&of_names(json!(false)), &[json!({})], &[json!({"a": 1})]);
    check(
        &json!({"type": "object", "propertyNames": {"$ref": "#/$defs/n"}, "required": ["a"], "$defs": {"n": {"enum": ["a", "b"]}}}),
        &[json!({"a": null}), json!({"a": 1, "b": []})],
        &[json!({"b": 1}), json!({"a": 1, "c": 1})],
    );
    check(
        &json!({"type": "object", "propertyNames": {"const": "a"}, "properties": {"a": {"type": "null"}, "b": {"type": "integer"}}}),
        &[json!({"a": null}), json!({})],
        &[json!({"b": 1}), json!({"a": 1})],
    );
    for refused in [
        json!({"propertyNames": {"pattern": "^a", "minLength": 2}}),
        json!({"propertyNames": {"pattern": "^a"}, "properties": {"b": {}}}),
        json!({"propertyNames": {"not": {"const": "a"}}}),
        json!({"propertyNames": {"maxLength": 3}, "patternProperties": {"^a": {}}}),
    ] {
        let reason = schema(&json!({"properties": {"x": refused}}).to_string()).unwrap_err();
        assert!(reason.contains("'propertyNames'") && reason.contains("#/properties/x/propertyNames"), "{reason}");
    }
}

#[test]
fn names_whose_rules_cannot_all_be_found_are_refused_at_their_place() {
    let chain = |i: usize| (format!("d{i}"), json!({"$ref": format!("#/$defs/d{}", i + 1)}));
    let mut definitions: serde_json::Map<String, Value> = (0..10).map(chain).collect();
    definitions.insert("d10".to_owned(), json!({"enum": ["a"]}));
    let of_names = |names: &Value| json!({"type": "object", "propertyNames": names, "$defs": definitions});
    for names in [
        json!(5),
        json!({"$ref": 5}),
        json!({"allOf": [5]}),
        json!({"allOf": {}}),
        json!({"$ref": "https://x/y"}),
        json!({"$ref": "#/$defs/none"}),
        json!({"$ref": "#/$defs/d0"}),
        json!({"$ref": "#/propertyNames"}),
    ] {
        let reason = schema(&of_names(&names).to_string()).unwrap_err();
        assert!(reason.contains("'propertyNames'") && reason.contains("#/propertyNames"), "{names}: {reason}");
    }
    let loose = json!({"type": "object", "propertyNames": 5, "x-llamero-loose": true});
    assert!(notes(&loose)[0].contains("(#/propertyNames), and not enforced"), "{:?}", notes(&loose));
    check(
        &json!({"type": "object", "propertyNames": {"$ref": "#/$defs/d5"}, "$defs": definitions}),
        &[json!({"a": 1})],
        &[json!({"b": 1})],
    );
}

#[test]
fn names_obey_the_narrowest_of_several_lengths() {
    let of_names = |names: Value| json!({"type": "object", "propertyNames": names});
    check(
        &of_names(json!({"minLength": 1, "maxLength": 3.0, "allOf": [{"minLength": 2.0, "maxLength": 5}]})),
        &[json!({"ab": 1}), json!({"abc": 1})],
        &[json!({"a": 1}), json!({"abcd": 1})],
    );
    for names in [json!({"maxLength": 1.5}), json!({"minLength": -1}), json!({"minLength": 3, "maxLength": 2})] {
        let reason = schema(&of_names(names.clone()).to_string()).unwrap_err();
        assert!(reason.contains("#/propertyNames"), "{names}: {reason}");
    }
}

#[test]
fn references_are_followed_in_properties_that_are_called_as_keywords_are() {
    for name in ["default", "const", "enum", "examples"] {
        for target in ["#/$defs/x/oneOf/0", "#/$defs/text"] {
            check(
                &json!({"type": "object", "properties": {name: {"$ref": target}}, "required": [name], "additionalProperties": false, "$defs": {
                    "x": {"oneOf": [{"type": "string"}, {"type": "null"}]},
                    "text": {"type": "string"},
                }}),
                &[json!({name: "a"})],
                &[json!({name: 1}), json!({name: null}), json!({})],
            );
        }
    }
}

#[test]
fn items_of_few_values_are_unique() {
    let of_items = |items: Value| json!({"type": "array", "items": items, "uniqueItems": true});
    check(
        &of_items(json!({"enum": ["a", "b", 1, 1.0]})),
        &[json!([]), json!(["b", "a"]), json!([1, "a", "b"])],
        &[json!(["a", "a"]), json!(["b", 1, "b"]), json!(["c"])],
    );
    check(
        &json!({"type": "array", "items": {"$ref": "#/$defs/e"}, "uniqueItems": true, "minItems": 1, "$defs": {"e": {"type": "string", "enum": ["a", "b"]}}}),
        &[json!(["a"]), json!(["b", "a"])],
        &[json!([]), json!(["a", "a"])],
    );
    check(&of_items(json!({"type": "boolean"})), &[json!([true, false]), json!([false])], &[json!([true, true])]);
    let untyped = json!({"items": {"enum": [1, 2]}, "uniqueItems": true});
    check(&untyped, &[json!([2, 1]), json!("text"), json!({"a": [1, 1]})], &[json!([1, 1])]);
    for many in [of_items(json!({"type": "string"})), of_items(json!({"enum": [1, 2, 3, 4, 5, 6, 7, 8, 9]}))] {
        let reason = schema(&many.to_string()).unwrap_err();
        assert!(reason.contains("up to 8 values") && reason.contains("#/uniqueItems"), "{reason}");
    }
}

#[test]
fn alternatives_exclude_each_other_across_references() {
    let kinds = json!({"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}, {"type": "null"}], "$defs": {
        "a": {"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]},
        "b": {"type": "object", "properties": {"kind": {"enum": ["b", "c"]}}, "required": ["kind"]},
    }});
    check(&kinds, &[json!({"kind": "a"}), json!({"kind": "c"}), json!(null)], &[json!({"kind": "x"}), json!({})]);
    check(
        &json!({"oneOf": [{"$ref": "#/$defs/s"}, {"type": "null"}], "$defs": {"s": {"type": "string"}}}),
        &[json!("x"), json!(null)],
        &[json!(1)],
    );
    check(
        &json!({"type": "object", "required": ["w"], "additionalProperties": false, "properties": {
            "v": {"oneOf": [{"type": "integer"}, {"oneOf": [{"const": "x"}, {"const": "y"}]}]},
            "w": {"$ref": "#/properties/v/oneOf/1/oneOf/0"},
        }}),
        &[json!({"w": "x"}), json!({"v": 1, "w": "x"})],
        &[json!({"v": null, "w": "x"}), json!({"w": "y"})],
    );
    check(
        &json!({"anyOf": [{"type": "string"}, {"type": "integer"}], "oneOf": [{"const": 1}, {"const": "a"}]}),
        &[json!(1), json!("a")],
        &[json!(2), json!("b")],
    );
    let one_or_other = json!({"oneOf": [
        {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": false},
        {"type": "object", "properties": {"b": {}}, "required": ["b"], "additionalProperties": false},
    ]});
    check(&one_or_other, &[json!({"a": 1}), json!({"b": 1})], &[json!({"a": 1, "b": 1}), json!({})]);
}

#[test]
fn references_to_alternatives_lead_to_the_same_schema_in_any_order_of_keywords() {
    let any_of = r#""anyOf":[{"type":"string"},{"type":"integer"}]"#;
    let one_of = r#""oneOf":[{"const":"a"},{"const":1}]"#;
    let all_of = r#""allOf":[{"anyOf":[{"const":1},{"type":"string"}]}]"#;
    for keywords in [[one_of, all_of, any_of], [all_of, one_of, any_of], [any_of, one_of, all_of]] {
        let text = format!(
            r##"{{"type":"object","properties":{{"v":{{{}}},"w":{{"$ref":"#/properties/v/oneOf/0"}}}},"required":["w"],"additionalProperties":false}}"##,
            keywords.join(",")
        );
        check(
            &serde_json::from_str(&text).unwrap(),
            &[json!({"w": "a"}), json!({"v": 1, "w": "a"})],
            &[json!({"w": 1}), json!({"w": "b"}), json!({"v": "b", "w": "a"})],
        );
    }
}

#[test]
fn hundreds_of_alternatives_of_one_value_each_exclude_each_other() {
    let references: Vec<Value> = (0..200).map(|i| json!({"$ref": format!("#/$defs/c{i}")})).collect();
    let constants: serde_json::Map<String, Value> = (0..200).map(|i| (format!("c{i}"), json!({"const": format!("value {i}")}))).collect();
    check(&json!({"oneOf": references, "$defs": constants}), &[json!("value 0"), json!("value 199")], &[json!("value 200"), json!(1)]);
}

#[test]
fn alternatives_that_overlap_are_refused_at_their_place() {
    for overlapping in [
        json!({"oneOf": [{"$ref": "#/$defs/n"}, {"type": "integer"}]}),
        json!({"oneOf": [{"type": "string"}, {"enum": ["a", 1]}]}),
        json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
        json!({"oneOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}]}),
    ] {
        let reason = schema(&json!({"properties": {"x": overlapping}, "$defs": {"n": {"type": "number"}}}).to_string()).unwrap_err();
        assert!(reason.starts_with("#/properties/x/oneOf: the alternatives of a 'oneOf' must exclude each other"), "{reason}");
    }
}

#[test]
fn formats_that_are_not_known_are_annotations_and_reported() {
    let schema =
        json!({"type": "object", "properties": {"p": {"type": "string", "format": "cuid2", "pattern": "^[a-z]+$"}}, "required": ["p"]});

    check(&schema, &[json!({"p": "abc"})], &[json!({"p": "A"})]);
    assert_eq!(notes(&schema), ["format 'cuid2' is not enforced (#/properties/p)"]);
    assert_eq!(notes(&json!({"type": "string", "format": "uuid"})), Vec::<String>::new());
}

#[test]
fn a_required_property_that_is_excluded_is_named() {
    for (text, expected) in [
        (
            r#"{"type":"object","required":["a"],"additionalProperties":false}"#,
            "#/required: 'a' is required, but it is not among 'properties'",
        ),
        (r#"{"type":"object","properties":{"a":false},"required":["a"]}"#, "#/required: 'a' is required, but its schema is false"),
        (
            r##"{"type":"object","properties":{"x":{"$ref":"#/$defs/t"}},"required":["x"],"$defs":{"t":{"type":"object","required":["b"],"additionalProperties":false}}}"##,
            "#/$defs/t/required: 'b' is required",
        ),
        (r#"{"type":"array","minItems":2,"prefixItems":[{}],"items":false}"#, "#/minItems: 2 items are required"),
        (r#"{"allOf":[{"oneOf":[false]}]}"#, "#/allOf/0/oneOf: no value can fulfil any of the alternatives"),
        (r#"{"allOf":[{"anyOf":[false]}]}"#, "#/allOf/0/anyOf: no value can fulfil any of the alternatives"),
        (r##"{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}"##, "its '$ref's never come to an end"),
        (r##"{"allOf":[{"$ref":"#"},false]}"##, "#/allOf/1: the schema 'false' allows nothing"),
        (
            r##"{"type":"object","properties":{"next":{"$ref":"#"}},"required":["next","x"],"additionalProperties":false}"##,
            "#/required: 'x' is required",
        ),
    ] {
        let reason = schema(text).unwrap_err();
        assert!(reason.contains(expected), "{text}: {reason}");
    }
}

#[test]
fn a_loose_schema_is_obeyed_as_far_as_it_can_be() {
    let part = |loose: bool| json!({"type": "object", "properties": {"a": {"type": "integer", "not": {"const": 1}}}, "required": ["a"], "x-llamero-loose": loose});
    let whole = |loose: bool| json!({"type": "array", "items": part(loose), "minItems": 1, "maxItems": 1});

    assert!(schema(&whole(false).to_string()).unwrap_err().contains("'not' is not supported (#/items/properties/a/not)"));

    let automaton = automaton(&whole(true));
    assert!(automaton.accepts(r#"[{"a":1}]"#) && !automaton.accepts(r#"[{"a":"x"}]"#) && !automaton.accepts("[{}]"));
    assert_eq!(notes(&whole(true)), ["the keyword 'not' is not supported (#/items/properties/a/not), and not enforced"]);
}

#[test]
fn a_loose_schema_that_cannot_be_compiled_is_any_object_and_the_rest_stays() {
    let tools = json!({"type": "array", "minItems": 1, "items": {"anyOf": [
        {"type": "object", "properties": {"n": {"const": "f"}, "p": {"type": "object", "properties": {"a": {"pattern": "\\bx"}}, "x-llamero-loose": true}},
            "required": ["n", "p"]},
        {"type": "object", "properties": {"n": {"const": "g"}, "p": {"type": "object", "required": ["b"], "x-llamero-loose": true}}, "required": ["n", "p"]},
    ]}});

    let automaton = automaton(&tools);
    assert!(automaton.accepts(r#"[{"n":"f","p":{"a":1}}]"#) && !automaton.accepts(r#"[{"n":"h","p":{}}]"#));
    assert!(notes(&tools)[0].starts_with("#/items/anyOf/0/properties/p is not enforced: "), "{:?}", notes(&tools));

    let placed = tools.to_string().replace(r#"{"pattern":"\\bx"}"#, r#"{"minLength":-1}"#);
    let automaton = schema(&placed).unwrap();
    assert!(automaton.accepts(r#"[{"n":"f","p":{"a":1}}]"#) && !automaton.accepts(r#"[{"n":"g","p":{}}]"#));
}

/// An array of at least one call of the tools, each with its name and its parameters.
fn calls_of(tools: &[(String, Value)]) -> Value {
    let call = |(name, parameters): &(String, Value)| {
        let mut parameters = parameters.clone();
        parameters["x-llamero-loose"] = json!(true);
        json!({"type": "object", "properties": {"n": {"const": name}, "p": parameters}, "required": ["n", "p"]})
    };
    json!({"type": "array", "minItems": 1, "items": {"anyOf": tools.iter().map(call).collect::<Vec<_>>()}})
}

#[test]
fn only_the_loose_schema_at_fault_is_loosened_although_the_error_names_no_place() {
    let sound = || json!({"type": "object", "required": ["b"]});
    let faulty = json!({"type": "object", "properties": {"a": {"pattern": "\\bx"}}});
    let tools = calls_of(&[("f".to_owned(), sound()), ("g".to_owned(), faulty), ("h".to_owned(), sound())]);

    let automaton = automaton(&tools);

    for (text, accepted) in [
        (r#"[{"n":"g","p":{"a":1}}]"#, true),
        (r#"[{"n":"f","p":{"b":1}}]"#, true),
        (r#"[{"n":"f","p":{}}]"#, false),
        (r#"[{"n":"h","p":{}}]"#, false),
    ] {
        assert_eq!(automaton.accepts(text), accepted, "{text}");
    }
    assert!(notes(&tools)[0].starts_with("#/items/anyOf/1/properties/p is not enforced: "), "{:?}", notes(&tools));
}

#[test]
fn more_faulty_loose_schemas_than_are_loosened_one_by_one_are_loosened_together() {
    let faulty = |i: usize| (format!("t{i}"), json!({"type": "object", "properties": {"a": {"minLength": -1}}}));
    for count in [3, 9, 12] {
        let tools = calls_of(&(0..count).map(faulty).collect::<Vec<_>>());
        let automaton = automaton(&tools);
        assert!(automaton.accepts(r#"[{"n":"t2","p":{"a":1}}]"#) && !automaton.accepts(r#"[{"n":"x","p":{}}]"#), "{count}");
    }
}

#[test]
fn a_pattern_with_look_around_is_refused_at_its_place() {
    let reason = schema(r#"{"properties":{"a":{"pattern":"^(?=.*[A-Z]).{8,}$"}}}"#).unwrap_err();

    assert!(reason.starts_with("#/properties/a/pattern: look-around") && reason.ends_with("is not supported"), "{reason}");
}
