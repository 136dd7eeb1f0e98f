//! Bodies of messages are read into the same requests as chat's, and faults are named by their paths.

use super::*;
use crate::{
    chat::{Abilities, messages::Tools, output::Calls},
    field_path::PathStyle,
};

const LIMITS: RequestLimits = RequestLimits { vocabulary_size: 100, max_num_seqs: 16, max_stop_strings: 64, max_logprobs: None };

fn read(mut body: Value) -> Result<MessageRequest, FieldError> {
    let fields = body.as_object_mut().unwrap();
    fields.entry("max_tokens").or_insert(json!(8));
    fields.entry("messages").or_insert(json!([{"role": "user", "content": "Hi"}]));
    MessageRequest::read(Fields::new(fields.clone()), MessagesEndpoint::Create, &LIMITS)
}

fn chat(body: Value) -> ChatRequest {
    let chat = read(body).unwrap().chat;
    assert_eq!((&chat.ignored, &chat.ignored_last), (&Ignored::default(), &Ignored::default()));
    chat
}

/// The messages of a body as a template sees them.
fn messages(body: Value) -> Value {
    chat(body).conversation.for_template(&Abilities::default()).into()
}

/// The request that chat's reader makes of a body with the same message.
fn of_chat(mut fields: Value) -> ChatRequest {
    fields["messages"] = json!([{"role": "user", "content": "Hi"}]);
    let Value::Object(map) = fields else { panic!("an object") };
    ChatRequest::read(Fields::new(map), &LIMITS).unwrap()
}

/// The path and the message of the fault.
fn fault(body: &Value) -> (String, String) {
    let error = read(body.clone()).expect_err(&body.to_string());
    (error.path.spelled(PathStyle::Dots), error.sentence(PathStyle::Dots))
}

#[test]
fn the_system_prompt_is_the_first_message() {
    let system = json!([{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "B"}]);

    let read = messages(json!({"system": system}));

    assert_eq!(read, json!([{"role": "system", "content": "A\nB"}, {"role": "user", "content": "Hi"}]));
    assert_eq!(messages(json!({"system": ""})), json!([{"role": "user", "content": "Hi"}]));
}

#[test]
fn a_round_of_tools_keeps_its_order() {
    let read = messages(json!({"messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "abc"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"city": "Paris"}, "caller": {"type": "direct"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "9"}, {"type": "text", "text": "C"}]},
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": "gone", "is_error": true},
            {"type": "tool_result", "tool_use_id": "toolu_3", "content": "ERROR 5", "is_error": true},
            {"type": "tool_result", "tool_use_id": "toolu_4"},
            {"type": "text", "text": "So?", "cache_control": {"type": "ephemeral"}},
        ]},
    ]}));

    let call = json!({"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": {"city": "Paris"}}});
    let expected = json!([
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "I look.", "reasoning_content": "Hm.", "tool_calls": [call]},
        {"role": "tool", "content": "9\nC", "tool_call_id": "toolu_1"},
        {"role": "tool", "content": "Error: gone", "tool_call_id": "toolu_2"},
        {"role": "tool", "content": "ERROR 5", "tool_call_id": "toolu_3"},
        {"role": "tool", "content": "", "tool_call_id": "toolu_4"},
        {"role": "user", "content": "So?"},
    ]);
    assert_eq!(read, expected);
}

#[test]
fn messages_of_one_role_in_a_row_are_one() {
    let read = messages(json!({"messages": [
        {"role": "user", "content": "A"},
        {"role": "user", "content": [{"type": "text", "text": "B"}]},
        {"role": "assistant", "content": "C"},
        {"role": "assistant", "content": "D"},
        {"role": "user", "content": "E"},
    ]}));

    let expected = json!([{"role": "user", "content": "A\nB"}, {"role": "assistant", "content": "C\nD"}, {"role": "user", "content": "E"}]);
    assert_eq!(read, expected);
}

#[test]
fn a_last_message_of_the_assistant_begins_the_answer_if_it_has_text() {
    let ends_with =
        |content: Value| read(json!({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}]}));

    let continued = ends_with(json!("Hello,")).unwrap().chat;
    assert!(continued.switches.continue_final_message && !continued.switches.add_generation_prompt);
    assert_eq!(continued.conversation.messages[1].content[0].text(), "Hello,");
    for empty in [json!(""), json!([]), json!([{"type": "text", "text": ""}])] {
        let chat = ends_with(empty.clone()).unwrap().chat;
        assert_eq!((chat.switches.continue_final_message, chat.conversation.messages.len()), (false, 1), "{empty}");
    }
    let call = ends_with(json!([{"type": "text", "text": "x"}, {"type": "tool_use", "id": "t", "name": "f", "input": {}}]));
    assert_eq!(call.unwrap_err().param(), Some("messages"));
}

#[test]
fn limits_and_samplers_are_those_of_chat() {
    let read = chat(json!({"stop_sequences": ["x"], "temperature": 0.5, "top_p": 1, "top_k": 3, "stream": true, "seed": 7,
        "metadata": {"user_id": "me"}, "service_tier": "auto", "cache_control": {"type": "ephemeral"}, "speed": "standard"}));

    let same = of_chat(json!({"max_tokens": 8, "stop": ["x"], "temperature": 0.5, "top_p": 1.0, "top_k": 3, "stream": true, "seed": 7}));
    assert_eq!((read.limit, read.ending, read.stream), (Some(TokenLimit::at_most("max_tokens", 8)), same.ending, true));
    assert_eq!(read.sampling, same.sampling);
}

#[test]
fn names_and_stop_sequences_have_anthropics_limits_and_not_openais() {
    let tool = |length: usize| json!({"name": "n".repeat(length), "input_schema": {"type": "object"}});
    let called = |length: usize| {
        let call = json!({"type": "tool_use", "id": "t", "name": "n".repeat(length), "input": {}});
        let result = json!({"type": "tool_result", "tool_use_id": "t", "content": "x"});
        json!({"messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ]})
    };
    let stops = |count: usize| json!({"stop_sequences": vec!["x"; count]});

    let chosen = chat(json!({"tools": [tool(128)], "tool_choice": {"type": "tool", "name": "n".repeat(128)}}));
    assert_eq!(chosen.calls, Calls::Named("n".repeat(128)));
    assert_eq!(chat(called(128)).conversation.messages[1].calls[0].name.len(), 128);
    assert_eq!(chat(stops(64)).ending.strings.len(), 64);

    let (path, sentence) = fault(&json!({"tools": [tool(129)]}));
    assert_eq!(path, "tools.0.name");
    assert!(sentence.contains("expected 1 to 128 letters"), "{sentence}");
    assert_eq!(chat(called(129)).conversation.messages[1].calls[0].name.len(), 129, "the history has no rule for names");
    let (path, sentence) = fault(&stops(65));
    assert_eq!(path, "stop_sequences");
    assert!(sentence.contains("at most 64 are accepted"), "{sentence}");
}

#[test]
fn only_an_answer_needs_max_tokens() {
    let body = || Fields::new(json!({"messages": [{"role": "user", "content": "Hi"}]}).as_object().unwrap().clone());

    let error = MessageRequest::read(body(), MessagesEndpoint::Create, &LIMITS).unwrap_err();

    assert_eq!(error.to_string(), "Missing required parameter: 'max_tokens'.");
    assert_eq!(MessageRequest::read(body(), MessagesEndpoint::Count, &LIMITS).unwrap().chat.limit, None);
}

#[test]
fn tools_and_their_choice_are_functions_and_theirs() {
    let tools = json!([
        {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}, "type": "custom", "strict": true,
         "cache_control": {"type": "ephemeral"}, "allowed_callers": ["direct"], "defer_loading": false},
        {"name": "g", "input_schema": {}},
    ]);
    let choose = |choice: Value| chat(json!({"tools": tools, "tool_choice": choice}));

    let read = choose(json!({"type": "any", "disable_parallel_tool_use": true}));

    let f = json!({"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}, "strict": true});
    let nested = json!([{"type": "function", "function": f}, {"type": "function", "function": {"name": "g", "parameters": {}}}]);
    assert_eq!((read.tools, read.calls, read.parallel), (of_chat(json!({"tools": nested})).tools, Calls::Required, false));
    assert_eq!(choose(json!({"type": "auto"})).calls, Calls::Auto);
    assert_eq!(choose(json!({"type": "none"})).calls, Calls::None);
    assert_eq!(choose(json!({"type": "tool", "name": "g"})).calls, Calls::Named("g".to_owned()));
    let none = chat(json!({"tool_choice": {"type": "auto"}}));
    assert_eq!((none.tools, none.calls, none.parallel), (Tools::default(), Calls::None, true));
}

#[test]
fn too_many_tools_are_refused_before_any_of_them_is_read() {
    let tools = |count: usize| json!({"tools": vec![json!({"name": "no name"}); count]});

    let most = read(tools(128)).unwrap_err();
    let more = read(tools(60_000)).unwrap_err();

    assert_eq!(most.param(), Some("tools[0].name"));
    assert_eq!(more.to_string(), "Invalid 'tools': expected at most 128 tools, but got 60000 instead.");
}

#[test]
fn thinking_and_effort_are_one_switch_of_chats() {
    let effort = |body: Value| {
        let chat = read(body).unwrap().chat;
        let ignored: Vec<String> = chat.ignored_last.shown().map(str::to_owned).collect();
        (chat.switches.effort().map(|(word, field)| (word.to_owned(), field.to_owned())), ignored)
    };
    let rows = [
        (json!({}), None, vec![]),
        (json!({"thinking": {"type": "disabled"}}), Some(("none", "thinking")), vec![]),
        (json!({"thinking": {"type": "adaptive"}}), Some(("medium", "thinking")), vec![]),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}), Some(("medium", "thinking")), vec![]),
        (json!({"output_config": {"effort": "max"}}), Some(("xhigh", "output_config.effort")), vec![]),
        (
            json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
            Some(("low", "thinking, output_config.effort")),
            vec![],
        ),
        (
            json!({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}),
            Some(("none", "thinking")),
            vec!["output_config.effort".to_owned()],
        ),
        (json!({"output_config": {"effort": "much"}}), None, vec!["output_config.effort".to_owned()]),
    ];
    for (body, expected, ignored) in rows {
        let expected = expected.map(|(word, field): (&str, &str)| (word.to_owned(), field.to_owned()));
        assert_eq!(effort(body.clone()), (expected, ignored), "{body}");
    }
    let budget = read(json!({"thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}})).unwrap();
    assert_eq!(budget.chat.partly, [("thinking.budget_tokens", "thinking.budget_tokens is not enforced")]);
    assert!(!budget.shows_thoughts);
    for (budget, told) in [(json!(-1), 1), (json!(0), 1), (json!(u64::MAX), 1), (json!(1e300), 1), (Value::Null, 0)] {
        let read = read(json!({"thinking": {"type": "enabled", "budget_tokens": budget}})).unwrap();
        assert_eq!(read.chat.partly.len(), told, "{budget}");
    }
}

#[test]
fn samplers_have_chats_ranges_and_an_empty_stop_string_is_left_out_and_reported() {
    let mut chat = read(json!({"temperature": 1.5, "top_k": -1, "stop_sequences": ["", "x"]})).unwrap().chat;

    let params = chat.sampling.for_choice(0, 0);
    assert_eq!((params.temperature, params.top_k, chat.ending.strings.as_slice()), (1.5, 0, ["x".to_owned()].as_slice()));
    let told = ("stop_sequences".to_owned(), "stop_sequences: an empty string was left out".to_owned());
    assert_eq!(chat.ignored_last.take_changed(), [told]);
}

#[test]
fn a_format_of_either_name_rules_the_answer() {
    let schema = json!({"type": "object"});
    let constrained = |path: &str| Some(Constrained { constraint: Constraint::JsonSchema(schema.to_string()), path: path.into() });
    let format = json!({"type": "json_schema", "schema": schema});

    assert_eq!(chat(json!({"output_config": {"format": format}})).constrained, constrained("output_config.format"));
    assert_eq!(chat(json!({"output_format": format})).constrained, constrained("output_format"));
    assert_eq!(fault(&json!({"output_format": format, "output_config": {"format": format}})).0, "output_format");
}

#[test]
fn what_has_no_effect_is_named_by_its_place() {
    let request = read(json!({
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi", "citations": [{"type": "char_location"}], "x": 1}], "id": "y"},
            {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "abc"}, {"type": "text", "text": "Ha"}]},
            {"role": "user", "content": "Go"},
        ],
        "tools": [{"name": "f", "input_schema": {}, "defer_loading": true, "allowed_callers": ["code_execution_20250825"], "input_examples": []}],
        "tool_choice": {"type": "auto", "y": 1},
        "speed": "fast",
        "diagnostics": {"previous_message_id": "msg_1"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
        "output_config": {"task_budget": {}, "format": {"type": "json_schema", "schema": {}, "colour": "red"}},
        "frobnicate": 1,
        "logprobs": true,
    }))
    .unwrap();

    let expected = "speed diagnostics context_management messages.0.content.0.citations messages.0.content.0.x messages.0.id \
                    messages.1.content.0 tools.0.defer_loading tools.0.allowed_callers tools.0.input_examples tool_choice.y \
                    output_config.format.colour output_config.task_budget frobnicate logprobs";
    assert_eq!(request.chat.ignored_last.shown().collect::<Vec<_>>(), expected.split_whitespace().collect::<Vec<_>>());
    assert_eq!(request.chat.logprobs, None, "a field of chat's is none of this route's");
}

#[test]
fn tools_and_blocks_of_anthropics_own_are_left_out_and_told() {
    let block = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}});
    let said = json!({"role": "assistant", "content": [block, {"type": "text", "text": "a"}]});
    let turns = json!([{"role": "user", "content": "q"}, said, {"role": "user", "content": "r"}]);
    let tools = json!([{"type": "web_search_20250305", "name": "web_search"}, {"name": "f", "input_schema": {}}]);

    let request = chat(json!({"messages": turns, "tools": tools}));

    assert_eq!(request.tools.specs.len(), 1);
    let expected = [
        ("tools[0]", "tools of type 'web_search_20250305' were left out: nothing here can run them"),
        ("messages[1].content[0]", "blocks of type 'server_tool_use' were left out of the prompt"),
    ];
    assert_eq!(request.left_out.warnings(), expected.map(|(at, text)| (at.to_owned(), text.to_owned())));
}

#[test]
fn a_choice_of_a_tool_that_was_left_out_is_not_applied_and_told() {
    let search = json!({"type": "web_search_20250305", "name": "web_search"});
    let function = json!({"name": "f", "input_schema": {}});
    let rows = [
        (json!({"tools": [search], "tool_choice": {"type": "any"}}), Calls::None),
        (json!({"tools": [search, function], "tool_choice": {"type": "tool", "name": "web_search"}}), Calls::Auto),
    ];
    for (body, calls) in rows {
        let request = chat(body.clone());
        let told = ("tool_choice", "tool_choice was not applied: the tool was left out");
        assert_eq!((request.calls, request.partly), (calls, vec![told]), "{body}");
    }
}

/// Claude Code's search for tools (issue 14).
#[test]
fn tools_that_a_search_found_are_texts_of_its_result() {
    let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "ToolSearch", "input": {}}]});
    let found = json!([{"type": "tool_reference", "tool_name": "WebFetch"}, {"type": "tool_reference", "tool_name": "Cron"}]);
    let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": found}]});

    let seen = messages(json!({"messages": [{"role": "user", "content": "q"}, call, result]}));

    assert_eq!(seen[2]["content"], "Tool WebFetch can be called now.\nTool Cron can be called now.");
}

#[test]
fn changes_of_the_tools_in_system_turns_are_left_out_and_told() {
    let block = |kind: &str| json!({"type": kind, "tool": {"name": "f"}});
    let system = json!([block("tool_removal"), {"type": "text", "text": "Be kind."}]);
    let turns = json!([{"role": "user", "content": "q"}, {"role": "system", "content": [block("tool_addition")]}]);

    let request = chat(json!({"system": system, "messages": turns}));

    let roles: Vec<&str> = request.conversation.messages.iter().map(|message| message.role.name()).collect();
    assert_eq!(roles, ["system", "user"]);
    let expected = [
        ("system[0]", "blocks of type 'tool_removal' were left out of the prompt"),
        ("messages[1].content[0]", "blocks of type 'tool_addition' were left out of the prompt"),
    ];
    assert_eq!(request.left_out.warnings(), expected.map(|(at, text)| (at.to_owned(), text.to_owned())));
}

/// Claude Code reads a picture by a tool (issue 14).
#[test]
fn an_image_in_a_tools_result_is_a_note_and_a_users_own_is_refused() {
    let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Read", "input": {}}]});
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    let result = json!({"type": "tool_result", "tool_use_id": "t", "content": [image]});
    let body = |blocks: Value| json!({"messages": [{"role": "user", "content": "q"}, call, {"role": "user", "content": blocks}]});

    let request = read(body(json!([result]))).unwrap().chat;

    let seen = request.conversation.for_template(&Abilities::default());
    assert_eq!(seen[2]["content"], "[image left out: this model reads text only]");
    assert_eq!(request.ignored_last.shown().collect::<Vec<_>>(), ["messages.2.content.0.content.0"]);
    assert_eq!(fault(&body(json!([result, image]))).0, "messages.2.content.1");
}

#[test]
fn empty_contents_are_empty_texts_and_missing_ids_follow_from_the_order() {
    let read = messages(json!({"messages": [
        {"role": "user", "content": []},
        {"role": "assistant", "content": [{"type": "tool_use", "name": "mcp.f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "content": []}]},
        {"role": "assistant", "content": null},
        {"role": "user", "content": "q"},
    ]}));

    let call = json!({"id": "call_1", "type": "function", "function": {"name": "mcp.f", "arguments": {}}});
    let expected = json!([
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "", "tool_call_id": "call_1"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "q"},
    ]);
    assert_eq!(read, expected);
}

#[test]
fn documents_of_text_and_search_results_are_their_texts() {
    let text = json!([{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]);
    let document =
        |source: Value| json!({"type": "document", "title": "T", "context": "C", "source": source, "citations": {"enabled": false}});
    let plain = json!({"type": "text", "media_type": "text/plain", "data": "a"});
    let found = json!({"type": "search_result", "source": "https://x", "title": "S", "content": text, "citations": {"enabled": false}});
    let result = json!({"type": "tool_result", "tool_use_id": "t", "content": [found, document(plain.clone())]});
    let rows = [
        (document(plain.clone()), "T\nC\na"),
        (json!({"type": "document", "source": plain}), "a"),
        (document(json!({"type": "content", "content": "b"})), "T\nC\nb"),
        (document(json!({"type": "content", "content": text})), "T\nC\nc\nd"),
        (found.clone(), "S\nhttps://x\nc\nd"),
        (result, "S\nhttps://x\nc\nd\nT\nC\na"),
    ];
    for (block, expected) in rows {
        for later in [json!([]), json!([{"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}])] {
            let mut turns = vec![json!({"role": "user", "content": [block]})];
            turns.extend(later.as_array().unwrap().clone());
            assert_eq!(messages(json!({"messages": turns}))[0]["content"], expected, "{block}");
        }
    }
    assert_eq!(messages(json!({"system": [found]}))[0]["content"], "S\nhttps://x\nc\nd");
}

#[test]
fn a_document_of_a_file_and_an_unknown_block_are_notes_in_older_turns() {
    let file = json!({"type": "document", "source": {"type": "base64", "data": "x"}});
    let asked = json!({"role": "user", "content": [file, {"type": "poem"}, {"type": "text", "text": "q"}]});
    let turns = json!([asked, {"role": "assistant", "content": "a"}, {"role": "user", "content": "r"}]);

    let request = read(json!({"messages": turns})).unwrap().chat;

    let seen = request.conversation.for_template(&Abilities::default());
    let notes = "[document left out: this model reads text only]\n[poem left out: this model reads text only]\nq";
    assert_eq!(seen[0]["content"], notes);
    assert_eq!(request.ignored_last.shown().collect::<Vec<_>>(), ["messages.0.content.0", "messages.0.content.1"]);
}

#[test]
fn citations_that_are_asked_for_are_told() {
    let document = json!({"type": "document", "source": {"type": "text", "data": "a", "x": 1}, "citations": {"enabled": true}});

    let request = read(json!({"messages": [{"role": "user", "content": [document]}]})).unwrap().chat;

    let told: Vec<&str> = request.ignored_last.shown().collect();
    assert_eq!(told, ["messages.0.content.0.citations", "messages.0.content.0.source.x"]);
}

#[test]
fn what_is_wrong_is_named_by_its_place() {
    let user = |block: Value| json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, block]}]});
    let assistant = |block: Value| json!({"messages": [{"role": "assistant", "content": [block]}, {"role": "user", "content": "x"}]});
    let tool = |tool: Value| json!({"tools": [tool]});
    let rows = [
        (json!({"messages": []}), "messages"),
        (json!({"messages": "x"}), "messages"),
        (json!({"messages": ["x"]}), "messages.0"),
        (json!({"messages": [{"content": "x"}]}), "messages.0.role"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), "messages.0.role"),
        (json!({"messages": [{"role": "user"}]}), "messages.0.content"),
        (json!({"messages": [{"role": "user", "content": null}]}), "messages.0.content"),
        (json!({"messages": [{"role": "user", "content": 5}]}), "messages.0.content"),
        (user(json!({"type": "image", "source": {}})), "messages.0.content.1"),
        (user(json!({"type": "document"})), "messages.0.content.1.source"),
        (user(json!({"type": "document", "source": {"type": "url", "url": "x"}})), "messages.0.content.1"),
        (user(json!({"type": "search_result", "source": "x"})), "messages.0.content.1.content"),
        (user(json!({"type": "poem"})), "messages.0.content.1"),
        (user(json!({"type": "tool_use"})), "messages.0.content.1"),
        (user(json!({"text": "x"})), "messages.0.content.1.type"),
        (user(json!({"type": "text"})), "messages.0.content.1.text"),
        (user(json!({"type": "tool_result", "tool_use_id": 5})), "messages.0.content.1.tool_use_id"),
        (user(json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "thinking"}]})), "messages.0.content.1.content.0"),
        (
            user(json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference"}]})),
            "messages.0.content.1.content.0.tool_name",
        ),
        (user(json!({"type": "tool_reference", "tool_name": "f"})), "messages.0.content.1"),
        (user(json!({"type": "tool_addition"})), "messages.0.content.1"),
        (user(json!({"type": "tool_result", "tool_use_id": "t", "is_error": "no"})), "messages.0.content.1.is_error"),
        (assistant(json!({"type": "tool_use", "id": "t", "name": "f"})), "messages.0.content.0.input"),
        (assistant(json!({"type": "tool_use", "id": "t", "name": "", "input": {}})), "messages.0.content.0.name"),
        (assistant(json!({"type": "thinking"})), "messages.0.content.0.thinking"),
        (json!({"system": [{"type": "image"}]}), "system.0"),
        (json!({"system": 5}), "system"),
        (tool(json!({"type": 5, "name": "f", "input_schema": {}})), "tools.0.type"),
        (tool(json!({"name": "f"})), "tools.0.input_schema"),
        (tool(json!({"name": "f", "input_schema": {"type": "array"}})), "tools.0.input_schema.type"),
        (tool(json!({"name": "", "input_schema": {}})), "tools.0.name"),
        (json!({"tools": [{"name": "f", "input_schema": {}}, {"name": "f", "input_schema": {"type": "object"}}]}), "tools.1.name"),
        (json!({"tool_choice": {"type": "any"}}), "tool_choice"),
        (json!({"tool_choice": {"type": "tool", "name": "f"}}), "tool_choice.name"),
        (json!({"tool_choice": {"type": "some"}}), "tool_choice.type"),
        (json!({"tool_choice": "auto"}), "tool_choice"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"temperature": 2.1}), "temperature"),
        (json!({"top_p": -0.1}), "top_p"),
        (json!({"top_k": -2}), "top_k"),
        (json!({"stop_sequences": "x"}), "stop_sequences"),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 1.5}}), "thinking.budget_tokens"),
        (json!({"thinking": {"type": "between_tools"}}), "thinking.type"),
        (json!({"thinking": {"type": "adaptive", "display": "x"}}), "thinking.display"),
        (json!({"output_config": {"effort": 1}}), "output_config.effort"),
        (json!({"output_config": {"format": {"type": "text"}}}), "output_config.format.type"),
        (json!({"output_format": {"type": "json_schema"}}), "output_format.schema"),
        (json!({"container": "c"}), "container"),
        (json!({"mcp_servers": [{}]}), "mcp_servers"),
        (json!({"metadata": 5}), "metadata"),
    ];
    for (body, place) in rows {
        let (param, message) = fault(&body);
        assert_eq!(param, place, "{body}");
        assert!(message.contains(&format!("'{place}'")), "{message}");
    }
    assert!(read(json!({"mcp_servers": [], "container": null})).is_ok());
}
