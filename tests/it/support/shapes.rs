//! Requests with every shape of prompt, for tests that compare routes which prepare the same request.

use serde_json::{Value, json};

/// Bodies for `/v1/completions`, with and without fields that change a prompt's tokens.
pub(crate) fn completions(model: &str) -> Vec<Value> {
    let shapes = [
        json!({"prompt": "hello"}),
        json!({"prompt": "<s>hello é"}),
        json!({"prompt": ["one", "two words", "three"]}),
        json!({"prompt": [104, 101, 121]}),
        json!({"prompt": [[104], [101, 121], [25, 97, 98]]}),
        json!({"prompt": "def f(", "suffix": "):\n"}),
        json!({"prompt": ["a", "bc"], "suffix": "<s>z"}),
        json!({"prompt": "a", "suffix": ""}),
        json!({"prompt": "hello", "add_special_tokens": false}),
        json!({"prompt": "a long prompt of several words", "truncate_prompt_tokens": 3}),
        json!({"prompt": "as much as fits", "truncate_prompt_tokens": -1}),
        json!({"prompt": "hello", "best_of": 2}),
        json!({"prompt": ["x", "yy"], "echo": true, "logprobs": 1, "max_tokens": 0}),
        json!({"prompt": "scored", "prompt_logprobs": 1}),
        json!({"prompt": "pick", "guided_choice": ["a", "b"]}),
    ];
    shapes.into_iter().map(|shape| complete(shape, model)).collect()
}

/// Bodies for `/v1/chat/completions`: parts, tools, results, begun answers and constraints.
pub(crate) fn chats(model: &str) -> Vec<Value> {
    let user = json!({"role": "user", "content": "Hi"});
    let tools = json!([{"type": "function", "function": {
        "name": "look_up", "description": "Looks up", "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
    }}]);
    let call = json!({"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{\"word\": \"a\"}"}});
    let shapes = [
        json!({"messages": [user]}),
        json!({"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "<|im_end|> é"}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]}),
        json!({"messages": [user], "tools": tools}),
        json!({"messages": [user], "tools": tools, "tool_choice": "required"}),
        json!({"messages": [user], "tools": tools, "tool_choice": "none"}),
        json!({"messages": [
            user, {"role": "assistant", "content": null, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "found"},
        ], "tools": tools}),
        json!({"messages": [user, {"role": "assistant", "content": "Hello,"}], "continue_final_message": true}),
        json!({"messages": [user], "add_generation_prompt": false, "n": 2}),
        json!({"messages": [user], "response_format": {"type": "json_object"}}),
        json!({"messages": [user], "logprobs": true, "top_logprobs": 2, "stop": ["x"]}),
    ];
    shapes.into_iter().map(|shape| complete(shape, model)).collect()
}

fn complete(mut request: Value, model: &str) -> Value {
    request["model"] = json!(model);
    if request["max_tokens"].is_null() {
        request["max_tokens"] = json!(3);
    }
    request
}
