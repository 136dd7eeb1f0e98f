//! The meaning of fields, the keys that an answer repeats, and the names in refusals.

use super::*;
use crate::{field_path::PathStyle, protocol::Constraint};

fn read(fields: Value) -> Result<ResponsesRequest, FieldError> {
    let Value::Object(mut map) = fields else { panic!("{fields} is no object") };
    map.entry("input").or_insert(json!("Hi"));
    let limits = RequestLimits { vocabulary_size: 100, max_num_seqs: 16, max_stop_strings: 4, max_logprobs: None };
    ResponsesRequest::read(Fields::new(map), &limits)
}

/// The names of fields without effect, in the order in which warnings list them.
fn ignored(fields: Value) -> Ignored {
    let mut chat = read(fields).unwrap().chat;
    chat.ignored.extend(chat.ignored_last);
    chat.ignored
}

/// The request that chat's reader makes of a body with the same message.
fn of_chat(mut fields: Value) -> ChatRequest {
    fields["messages"] = json!([{"role": "user", "content": "Hi"}]);
    let Value::Object(map) = fields else { panic!("an object") };
    let limits = RequestLimits { vocabulary_size: 100, max_num_seqs: 16, max_stop_strings: 4, max_logprobs: None };
    ChatRequest::read(Fields::new(map), &limits).unwrap()
}

#[test]
fn flat_tools_and_choices_are_those_of_chat_and_flat_in_the_answer() {
    let tool = json!({"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true});
    let choice = json!({"type": "function", "name": "f"});

    let request = read(json!({"tools": [tool], "tool_choice": choice})).unwrap();

    let function = json!({"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true});
    let nested = json!([{"type": "function", "function": function}]);
    let chat = of_chat(json!({"tools": nested, "tool_choice": {"type": "function", "function": {"name": "f"}}}));
    assert_eq!((request.chat.tools, request.chat.calls), (chat.tools, chat.calls));
    assert_eq!((&request.echo["tools"], &request.echo["tool_choice"]), (&json!([tool]), &choice));
    let plain = read(json!({})).unwrap();
    assert_eq!((&plain.echo["tools"], &plain.echo["tool_choice"]), (&json!([]), &json!("auto")));
}

/// Codex's tools (issue 14).
#[test]
fn tools_that_nothing_here_can_run_are_left_out_and_the_others_are_offered() {
    let patch = json!({"type": "custom", "name": "apply_patch", "description": "d", "format": {"type": "text"}});
    let kinds = ["web_search", "web_search_preview", "file_search", "mcp", "image_generation", "code_interpreter", "brand_new"];
    let mut tools: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind, "name": "x", "colour": "red"})).collect();
    tools.insert(1, patch.clone());

    let request = read(json!({"tools": tools})).unwrap();

    let names: Vec<&str> = request.chat.tools.specs.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!((names, request.chat.calls), (vec!["apply_patch"], Calls::Auto));
    assert_eq!(request.echo["tools"], json!([patch]));
    assert_eq!(request.chat.ignored_last, [""; 0]);
    let told = request.chat.left_out.warnings();
    assert_eq!(told.len(), kinds.len());
    assert_eq!(told[1], ("tools[2]".into(), "tools of type 'web_search_preview' were left out: nothing here can run them".into()));
    assert_eq!(read(json!({"tools": [{"type": "local_shell"}]})).unwrap().chat.calls, Calls::None);
}

#[test]
fn a_namespace_is_taken_apart_and_its_names_are_translated() {
    let function = |name: &str| json!({"type": "function", "name": name, "description": "d", "parameters": null, "strict": false});
    let group = |name: &str, tools: Vec<Value>| json!({"type": "namespace", "name": name, "description": "About.", "tools": tools});
    let custom = json!({"type": "custom", "name": "c"});
    let tools = json!([group("a", vec![function("f"), function("g")]), group("b", vec![function("f"), custom]), function("h")]);

    let request = read(json!({"tools": tools})).unwrap();

    let offered = &request.chat.tools;
    let names: Vec<&str> = offered.specs.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["a__f", "g", "b__f", "c", "h"]);
    let told: Vec<&Value> = offered.values.iter().map(|tool| &tool["function"]["description"]).collect();
    assert_eq!(told, [&json!("About.\n\nd"), &json!("d"), &json!("About.\n\nd"), &Value::Null, &json!("d")]);
    assert_eq!(request.names.for_client("b__f".into()), (Some("b".into()), "f".into()));
    assert_eq!(request.echo["tools"], tools);
    let chosen = |choice: Value| read(json!({"tools": tools, "tool_choice": choice})).unwrap().chat.calls;
    assert_eq!(chosen(json!({"type": "function", "namespace": "b", "name": "f"})), Calls::Named("b__f".into()));
    assert_eq!(chosen(json!({"type": "custom", "name": "c"})), Calls::Named("c".into()));

    let twice = read(json!({"tools": [group("a", vec![function("f"), function("f")])]})).unwrap().chat.tools;
    assert_eq!((twice.specs.len(), twice.specs[0].name.as_str()), (1, "f"), "the same tool twice is one");
}

#[test]
fn a_choice_in_a_namespace_is_one_of_its_tools() {
    let long = |letter: &str| letter.repeat(64);
    let group = |name: &str, tool: &str| json!({"type": "namespace", "name": name, "tools": [{"type": "function", "name": tool}]});
    let tools = json!([group("a", "f"), group(&long("n"), &long("t")), group(&long("m"), &long("t"))]);
    let choose = |namespace: Value, name: &str| {
        let choice = json!({"type": "function", "namespace": namespace, "name": name});
        read(json!({"tools": tools, "tool_choice": choice}))
    };

    assert_eq!(choose(json!("a"), "f").unwrap().chat.calls, Calls::Named("f".into()));
    assert_eq!(choose(Value::Null, "f").unwrap().chat.calls, Calls::Named("f".into()));
    let qualified = format!("{}__{}", long("n"), long("t"));
    assert_eq!(choose(json!(long("n")), &long("t")).unwrap().chat.calls, Calls::Named(qualified));
    let unknown = choose(json!("b"), "f").unwrap_err();
    let told = "Invalid 'tool_choice.name': 'b.f' is not among 'tools'.";
    assert_eq!(unknown.sentence(PathStyle::Brackets), told);
    assert_eq!(choose(json!(5), "f").unwrap_err().path.as_str(), "tool_choice.namespace");
}

/// Codex and Copilot ask for tools that nothing here can run (issue 14).
#[test]
fn a_choice_of_a_tool_that_was_left_out_is_not_applied_and_told() {
    let search = json!({"type": "web_search"});
    let function = json!({"type": "function", "name": "f"});
    let rows = [
        (json!({"tools": [search], "tool_choice": {"type": "web_search"}}), Calls::None),
        (json!({"tools": [search], "tool_choice": "required"}), Calls::None),
        (json!({"tools": [search, function], "tool_choice": {"type": "web_search"}}), Calls::Auto),
    ];
    for (body, calls) in rows {
        let request = read(body.clone()).unwrap();
        let told = ("tool_choice", "tool_choice was not applied: the tool was left out");
        assert_eq!((request.chat.calls, request.chat.partly), (calls, vec![told]), "{body}");
        assert_eq!(request.echo["tool_choice"], "auto");
    }
}

#[test]
fn the_tools_of_all_namespaces_are_counted_before_their_names_are_compared() {
    let many: Vec<Value> = (0..200).map(|index| json!({"type": "function", "name": format!("f{index}")})).collect();
    let group = json!({"type": "namespace", "name": "n", "tools": many});

    assert_eq!(read(json!({"tools": [group]})).unwrap_err().param(), Some("tools"));
}

#[test]
fn the_format_of_a_text_is_the_format_of_an_answer() {
    let schema = json!({"type": "object"});
    let format = json!({"type": "json_schema", "name": "n", "schema": schema, "strict": true});
    let constrained = |constraint| Some(Constrained { constraint, path: "text.format".into() });

    let request = read(json!({"text": {"format": format, "verbosity": "low"}})).unwrap();

    assert_eq!(request.chat.constrained, constrained(Constraint::JsonSchema(schema.to_string())));
    assert_eq!(request.echo["text"], json!({"format": format, "verbosity": "low"}));
    let object = read(json!({"text": {"format": {"type": "json_object"}}})).unwrap();
    assert_eq!(object.chat.constrained, constrained(Constraint::JsonObject));
    assert_eq!(read(json!({})).unwrap().echo["text"], json!({"format": {"type": "text"}, "verbosity": "medium"}));
    let both = read(json!({"text": {"format": {"type": "json_object"}}, "guided_regex": "a"})).unwrap_err();
    assert_eq!(both.to_string(), "Invalid 'guided_regex': it cannot be used together with 'text.format'; send one of them.");
}

#[test]
fn limits_and_samplers_are_those_of_chat() {
    let fields = json!({"max_output_tokens": 5, "temperature": 0.5, "top_k": 3, "seed": 1, "stop": "x"});

    let request = read(fields).unwrap().chat;

    let chat = of_chat(json!({"max_completion_tokens": 5, "temperature": 0.5, "seed": 1, "top_k": 3, "stop": "x"}));
    assert_eq!(
        (request.limit, request.sampling, request.ending),
        (Some(TokenLimit::at_most("max_output_tokens", 5)), chat.sampling, chat.ending)
    );
}

#[test]
fn log_probabilities_are_there_if_they_are_included() {
    let included = json!({"include": ["message.output_text.logprobs", "file_search_call.results"], "top_logprobs": 2});

    assert_eq!(read(included).unwrap().chat.logprobs, Some(2));
    let request = read(json!({"top_logprobs": 2})).unwrap().chat;
    assert_eq!((request.logprobs, request.ignored_last == ["top_logprobs"]), (None, true));
}

#[test]
fn an_answer_repeats_the_request_and_says_what_always_holds() {
    let fields =
        json!({"instructions": "i", "temperature": 0, "metadata": {"a": "b"}, "user": "u", "max_output_tokens": 9, "max_tool_calls": 3});

    let echo = Value::from(read(fields).unwrap().echo);

    let expected = json!({
        "tools": [], "tool_choice": "auto", "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "reasoning": {"effort": null, "summary": null}, "top_logprobs": 0, "instructions": "i", "temperature": 0, "top_p": 1.0,
        "parallel_tool_calls": true, "max_output_tokens": 9, "metadata": {"a": "b"}, "user": "u", "safety_identifier": null,
        "prompt_cache_key": null, "max_tool_calls": 3, "previous_response_id": null, "background": false, "store": false,
        "service_tier": "default", "truncation": "disabled",
    });
    assert_eq!(echo, expected);
}

#[test]
fn what_is_not_done_is_reported() {
    let rows = [
        (json!({"store": true}), "store"),
        (json!({"include": ["reasoning.encrypted_content"]}), "include[0]"),
        (json!({"include": ["everything"]}), "include[0]"),
        (json!({"reasoning": {"summary": "auto"}}), "reasoning.summary"),
        (json!({"reasoning": {"mode": "pro"}}), "reasoning.mode"),
        (json!({"text": {"colour": "red"}}), "text.colour"),
        (json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "colour": "red"}}}), "text.format.colour"),
        (json!({"text": {"format": {"type": "json_schema", "schema": {}, "description": "d"}}}), "text.format.description"),
        (json!({"text": {"format": {"type": "json_object", "json_schema": {}}}}), "text.format.json_schema"),
        (json!({"tools": [{"type": "function", "name": "f", "defer_loading": true}]}), "tools[0].defer_loading"),
        (json!({"stream": true, "stream_options": {"include_obfuscation": true}}), "stream_options.include_obfuscation"),
        (json!({"stream": true, "stream_options": {"include_usage": true}}), "stream_options.include_usage"),
        (json!({"stream_options": {"include_obfuscation": false}}), "stream_options"),
        (json!({"context_management": [{"type": "compaction"}]}), "context_management"),
        (json!({"moderation": {"model": "x"}}), "moderation"),
        (json!({"background_options": {"completion_window": "2h"}}), "background_options"),
        (json!({"reasoning": {"effort": "much"}}), "reasoning.effort"),
        (json!({"text": {"verbosity": "chatty"}}), "text.verbosity"),
        (json!({"prompt_cache_options": {"prewarm": true}}), "prompt_cache_options.prewarm"),
        (json!({"prompt_cache_options": {"comparison_response_id": "resp_1"}}), "prompt_cache_options.comparison_response_id"),
        (json!({"prompt_cache_options": {"ttl": "30m", "colour": "red"}}), "prompt_cache_options.colour"),
        (
            json!({"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "function", "name": "f", "colour": "red"}}),
            "tool_choice.colour",
        ),
    ];
    for (fields, name) in rows {
        assert_eq!(ignored(fields.clone()), [name], "{fields}");
    }
}

#[test]
fn chats_own_names_are_no_fields_of_this_route() {
    let names = ["messages", "n", "response_format", "max_tokens", "max_completion_tokens", "logprobs", "reasoning_effort", "functions"];
    for name in names {
        assert_eq!(ignored(json!({name: 3})), [name]);
    }
}

#[test]
fn fields_that_say_what_is_done_anyway_are_quiet() {
    let quiet = json!({
        "store": false, "background": false, "truncation": "disabled", "service_tier": "auto", "prompt_cache_retention": "24h",
        "reasoning": {"effort": null, "summary": null, "context": "auto", "mode": "standard"}, "top_logprobs": 0,
        "prompt_cache_options": {"ttl": "30m", "prewarm": false}, "tools": [], "include": [], "prompt_embeds": [],
        "context_management": [], "moderation": {}, "background_options": {},
    });
    assert_eq!(ignored(quiet), [""; 0]);
}

#[test]
fn fields_at_fault_are_refused_by_name() {
    let long = "x".repeat(64 * 1024);
    let rows = [
        (json!({"input": null}), "input"),
        (json!({"instructions": 5}), "instructions"),
        (json!({"previous_response_id": "resp_1"}), "previous_response_id"),
        (json!({"conversation": {"id": "conv_1"}}), "conversation"),
        (json!({"background": true}), "background"),
        (json!({"prompt": {"id": "pmpt_1"}}), "prompt"),
        (json!({"max_tool_calls": -1}), "max_tool_calls"),
        (json!({"prompt_embeds": [1]}), "prompt_embeds"),
        (json!({"truncation": "some"}), "truncation"),
        (json!({"include": [5]}), "include[0]"),
        (json!({"include": "all"}), "include"),
        (json!({"tools": {}}), "tools"),
        (json!({"tools": ["f"]}), "tools[0]"),
        (json!({"tools": [{"name": "f"}]}), "tools[0].type"),
        (json!({"tools": [{"type": "web_search"}], "tool_choice": {"type": "mcp"}}), "tool_choice.type"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"tools": [{"type": "custom"}]}), "tools[0].name"),
        (json!({"tools": [{"type": "custom", "name": "f", "format": {"type": "grammar", "syntax": "x"}}]}), "tools[0].format.syntax"),
        (json!({"tools": [{"type": "namespace", "tools": []}]}), "tools[0].name"),
        (json!({"tools": [{"type": "namespace", "name": "n", "tools": {}}]}), "tools[0].tools"),
        (json!({"tools": [{"type": "namespace", "name": "n", "tools": [{"name": "f"}]}]}), "tools[0].tools[0].type"),
        (json!({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]}), "tools[0].tools[0].name"),
        (json!({"tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "f"}]}), "tools[1].name"),
        (json!({"text": {"format": "json"}}), "text.format"),
        (json!({"stream": "yes"}), "stream"),
        (json!({"stream_options": []}), "stream_options"),
        (json!({"metadata": {"a": long}}), "metadata"),
        (json!({"user": 5}), "user"),
    ];
    for (fields, param) in rows {
        assert_eq!(read(fields.clone()).unwrap_err().param(), Some(param), "{fields}");
    }
}

#[test]
fn metadata_is_repeated_and_what_exceeds_openais_limits_is_reported() {
    let entries = |count: usize| (0..count).map(|i| (format!("{i:064}"), json!("v".repeat(512)))).collect::<Map<_, _>>();

    assert_eq!(read(json!({"metadata": entries(16)})).unwrap().echo["metadata"], Value::from(entries(16)));
    assert_eq!(read(json!({"metadata": entries(16)})).unwrap().chat.ignored_last.take_changed(), []);
    for metadata in [Value::from(entries(17)), json!({"a": "v".repeat(513)}), json!({"k".repeat(65): "v"}), json!({"a": 1})] {
        let mut request = read(json!({"metadata": metadata})).unwrap();
        let changed = request.chat.ignored_last.take_changed();
        assert_eq!((&request.echo["metadata"], changed.len(), changed[0].0.as_str()), (&metadata, 1, "metadata"));
    }
}

#[test]
fn allowed_tools_are_the_only_ones_that_are_offered_and_all_are_repeated() {
    let tool = |name: &str| json!({"type": "function", "name": name, "description": null, "parameters": null, "strict": false});
    let group = json!({"type": "namespace", "name": "n", "description": null, "tools": [tool("g"), tool("h")]});
    let tools = json!([tool("f"), tool("g"), group]);
    let choice = |entries: Value| json!({"type": "allowed_tools", "mode": "required", "tools": entries});
    let allowed = choice(json!([{"type": "function", "name": "f"}, {"type": "function", "namespace": "n", "name": "g"}]));

    let request = read(json!({"tools": tools, "tool_choice": allowed})).unwrap();

    let names: Vec<&str> = request.chat.tools.specs.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!((names, request.chat.calls), (vec!["f", "n__g"], Calls::Required));
    assert_eq!((&request.echo["tools"], &request.echo["tool_choice"]), (&tools, &allowed));
    let unknown = choice(json!([{"type": "function", "name": "x"}]));
    let error = read(json!({"tools": tools, "tool_choice": unknown})).unwrap_err();
    assert_eq!(error.to_string(), "Invalid 'tool_choice.tools[0]': 'x' is not among 'tools'.");
}
