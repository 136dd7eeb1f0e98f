//! Constructs of published templates, rebuilt as small as they can be, and the prompts that they render for requests
//! as clients send them. Each was a 400 or lost a part of the conversation.

use super::*;
use crate::chat::{
    ChatTemplate, FittedPrompt, Folding, TemplateError, TemplateTokens,
    messages::{read_messages, read_tools},
};

const CHATML: &str = "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}";

fn compiled(source: &str) -> ChatTemplate {
    let control = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"].map(str::to_owned).to_vec();
    ChatTemplate::compile(source, TemplateTokens { bos: "<s>".to_owned(), eos: "</s>".to_owned(), control }).unwrap()
}

fn fitted(source: &str, messages: Value, tools: Value) -> Result<FittedPrompt, TemplateError> {
    let tools = read_tools(tools, &mut |_, _| {}).unwrap().values;
    let input = ChatInput { tools: (!tools.is_empty()).then_some(tools), add_generation_prompt: true, ..ChatInput::default() };
    compiled(source).render_conversation(read_messages(messages).unwrap(), input)
}

fn rendered(source: &str, messages: Value) -> String {
    fitted(source, messages, Value::Null).unwrap().prompt.text
}

/// A call with this id and these arguments as text, its result, and a thought before it.
fn called(id: &str, arguments: &str) -> Value {
    let call = json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
    json!([
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": id, "content": "r"},
    ])
}

#[test]
fn none_is_not_iterable_and_texts_and_undefined_values_are() {
    let source = "{% if tools is iterable and tools | length > 0 %}tools{% else %}no tools{% endif %}";
    assert_eq!(rendered(source, json!([{"role": "user", "content": "a"}])), "no tools");

    let tests = "{{ none is iterable }} {{ 5 is iterable }} {{ 'a' is iterable }} {{ [] is iterable }} {{ x is iterable }} {{ {} is iterable }} \
                 {{ none is sequence }} {{ 'a' is sequence }} {{ {} is sequence }}";
    let expected = "False False True True True True False True True";
    assert_eq!(rendered(tests, json!([{"role": "user", "content": "a"}])), expected);
}

#[test]
fn text_parts_reach_a_template_that_takes_lists_and_are_joined_for_others() {
    let lists = "{% for message in messages %}{% if message.content is string %}{{ message.content }}{% else %}\
                 {% for part in message.content %}{{ part.text }}{% endfor %}{% endif %}{% endfor %}";
    let parts = json!([{"type": "text", "text": "part one "}, {"type": "text", "text": " part two"}]);
    let messages = json!([{"role": "user", "content": parts}]);

    assert_eq!(rendered(lists, messages.clone()), "part one  part two");
    assert_eq!(rendered(CHATML, messages.clone()), "<user>part one \n part two\n");
    let printed = "{% for message in messages %}{{ message.content | tojson }}{% endfor %}";
    assert_eq!(rendered(printed, messages.clone()), "\"part one \\n part two\"");

    let only_lists = "{% for message in messages %}{{ message.content[0].text }}+{{ message.content[1].text }}{% endfor %}";
    assert_eq!(rendered(only_lists, messages), "part one + part two");
    let texts = "{% for message in messages %}{% for part in message.content %}{{ part['text'] }}{% endfor %}{% endfor %}";
    assert_eq!(rendered(texts, json!([{"role": "user", "content": "a"}])), "a");
}

#[test]
fn a_template_that_takes_lists_only_without_tools_gets_texts() {
    let parts = json!([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]);
    let messages = json!([{"role": "user", "content": parts}]);
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let lists = "{% if message.content is string %}{{ message.content }}{% else %}\
                 {% for part in message.content %}{{ part.text }}{% endfor %}{% endif %}";
    // Where the condition holds, content is taken for a text.
    let text_if = |condition: &str| {
        format!(
            "{{% for message in messages %}}{{% if {condition} %}}{{{{ message.content | trim }}}}{{% else %}}{lists}{{% endif %}}{{% endfor %}}"
        )
    };
    let source = text_if("tools");

    assert_eq!(fitted(&source, messages.clone(), tools).unwrap().prompt.text, "one\ntwo");
    assert_eq!(rendered(&source, messages.clone()), "one\ntwo");
    assert_eq!(compiled(&source).abilities().content.user, ContentForm::Text);
    let refusing = "{% if tools %}{{ raise_exception('no tools') }}{% endif %}\
                    {% for message in messages %}{{ message.content[0].text }}+{{ message.content[1].text }}{% endfor %}";
    assert_eq!(rendered(refusing, messages), "one+two", "nothing is shown with tools in any form");
    let content = compiled(&text_if("message.tool_calls")).abilities().content;
    assert_eq!((content.user, content.assistant), (ContentForm::Either, ContentForm::Text));
}

#[test]
fn a_template_that_does_much_work_for_a_sample_is_taken_as_it_is() {
    let work = "{% for a in range(200) %}{% for b in range(200) %}{% set c = b %}{% endfor %}{% endfor %}";
    let source = format!("{work}{{% for message in messages %}}{{{{ message.content }}}}{{% endfor %}}");
    assert_eq!(*compiled(&source).abilities(), Abilities::default());
    assert_eq!(rendered(&source, json!([{"role": "user", "content": "a"}])), "a");
}

#[test]
fn ids_of_calls_become_nine_letters_and_digits_where_the_template_wants_them() {
    let source = "{% for message in messages %}{% for call in message.tool_calls or [] %}\
                  {% if call.id | length != 9 %}{{ raise_exception('ids have length 9') }}{% endif %}[{{ call.id }}]{% endfor %}\
                  {% if message.tool_call_id %}({{ message.tool_call_id }}){% endif %}{{ message.content }}{% endfor %}";

    assert_eq!(rendered(source, called("abc123DEF", "{}")), "q[abc123DEF](abc123DEF)r");
    let mapped = rendered(source, called(LONG_ID, "{}"));
    let id = &mapped[2..11];
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{mapped}");
    assert_eq!(mapped, format!("q[{id}]({id})r"));
    assert_eq!(rendered(source, called(LONG_ID, "{}")), mapped, "the same in every turn");
    assert_ne!(rendered(source, called("call_2", "{}")), mapped);
    let indifferent = source.replace("length != 9", "length == 0");
    assert!(rendered(&indifferent, called(LONG_ID, "{}")).contains(LONG_ID));
}

#[test]
fn thoughts_stand_under_the_key_that_the_template_reads() {
    let source = |key: &str| {
        format!(
            "{{% for message in messages %}}{{% if message.{key} %}}({{{{ message.{key} }}}}){{% endif %}}{{{{ message.content }}}}{{% endfor %}}"
        )
    };
    for key in THOUGHT_KEYS {
        assert_eq!(rendered(&source(key), called("abc123DEF", "{}")), "q(hm)r", "{key}");
    }
    let both = source("reasoning_content") + "{% if thinking %}on{% endif %}";
    assert_eq!(rendered(&both, called("abc123DEF", "{}")), "q(hm)r");

    // As gpt-oss: beside calls either a thought or a text.
    let either = "{% for message in messages %}{% if message.tool_calls and message.content and message.thinking %}\
                  {{ raise_exception('not both') }}{% endif %}{{ message.thinking }}|{{ message.content }}|{% endfor %}";
    let mut messages = called("abc123DEF", "{}");
    messages[1]["content"] = "I look.".into();
    assert_eq!(rendered(either, messages), "|q|hm\nI look.|||r|");
}

#[test]
fn tools_get_the_parts_that_a_template_cannot_do_without() {
    let needing = "{{ messages[0].content }}{% for tool in tools %}{{ '(' + tool.function.name + ': ' + tool.function.description + ')' }}\
                   {% for name, field in tool.function.parameters.properties | items %}{{ name + '=' + field.description }}{% endfor %}{% endfor %}";
    let question = json!([{"role": "user", "content": "q"}]);
    let tool = |function: Value| json!([{"type": "function", "function": function}]);

    let bare = fitted(needing, question.clone(), tool(json!({"name": "f"}))).unwrap();
    assert_eq!(bare.prompt.text, "q(f: )");
    let property = tool(json!({"name": "f", "description": "d", "parameters": {"properties": {"a": {"type": "string"}}}}));
    assert_eq!(fitted(needing, question.clone(), property).unwrap().prompt.text, "q(f: d)a=");
    let printing = "{{ messages[0].content }}{% for tool in tools %}{{ tool.function | tojson }}{% endfor %}";
    let untouched = fitted(printing, question, tool(json!({"name": "f"}))).unwrap();
    assert_eq!(untouched.prompt.text, r#"q{"name": "f"}"#);
}

#[test]
fn arguments_that_were_cut_off_are_put_into_an_object_where_the_template_wants_one() {
    let source = "{% for message in messages %}{{ message.content }}{% for call in message.tool_calls or [] %}\
                  {% for name, value in call.function.arguments | items %}{{ name }}={{ value }}{% endfor %}{% endfor %}{% endfor %}";
    assert_eq!(rendered(source, called("abc123DEF", "{\"a\": 1}")), "qa=1r");
    assert_eq!(rendered(source, called("abc123DEF", "{\"a\": ")), "qarguments={\"a\": r");
    let printing = source.replace("call.function.arguments | items", "{'x': call.function.arguments} | items");
    assert_eq!(rendered(&printing, called("abc123DEF", "{\"a\": ")), "qx={\"a\": r");
}

#[test]
fn calls_without_a_text_have_the_content_and_the_arguments_that_show_them() {
    // As DeepSeek R1: a content that is a text hides the calls, and arguments are a text.
    let source = "{% for message in messages %}{% if message.tool_calls and message.content is none %}\
                  {% for call in message.tool_calls %}{{ '(' + call.function.arguments + ')' }}{% endfor %}{% else %}{{ message.content }}{% endif %}{% endfor %}";
    assert_eq!(rendered(source, called("abc123DEF", "{\"a\": 1}")), "q({\"a\":1})r");
    // As GLM: `None` is printed as a word.
    let printing = "{% for message in messages %}<{{ message.content }}>{% for call in message.tool_calls or [] %}{{ call.function.arguments | tojson }}{% endfor %}{% endfor %}";
    assert_eq!(rendered(printing, called("abc123DEF", "{\"a\": 1}")), "<q><>{\"a\": 1}<r>");
}

#[test]
fn a_comparison_finds_a_word_although_the_template_cuts_texts_within_it() {
    let source = "{% for message in messages %}{% set text = message.content.replace('/think', '') if '</think>' not in message.content %}\
                  {{ text or message.content.split('</think>')[-1] }}{% endfor %}";
    assert_eq!(rendered(source, json!([{"role": "user", "content": "<think>\nhm</think>yes"}])), "yes");
    assert_eq!(rendered(source, json!([{"role": "user", "content": "a /think b"}])), "a  b");

    // A text that a cut would put together is still no control token.
    let input = ChatInput { messages: vec![json!({"role": "user", "content": "<|im_/thinkend|>"})], ..ChatInput::default() };
    let prompt = compiled(source).render(&input).unwrap();
    assert_eq!((prompt.text.as_str(), prompt.barriers.is_empty()), ("<|im_end|>", false));
}

#[test]
fn system_messages_that_are_refused_go_into_user_turns() {
    let refusing = "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system') }}{% endif %}\
                    {% if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}{% endif %}\
                    <{{ message.role }}>{{ message.content }}{% endfor %}";
    let conversation = json!([
        {"role": "system", "content": "S"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "system", "content": "T"},
        {"role": "user", "content": "c"},
    ]);
    let folded = fitted(refusing, conversation.clone(), Value::Null).unwrap();
    assert_eq!(folded.prompt.text, "<user>S\n\na<assistant>b<user>T\n\nc");
    assert_eq!(folded.folding, Some(Folding { leading: true, later: true, joined: false }));

    let silent = "{% if messages[0].role == 'system' %}<system>{{ messages[0].content }}{% endif %}\
                  {% for message in messages %}{% if message.role != 'system' %}<{{ message.role }}>{{ message.content }}{% endif %}{% endfor %}";
    let kept = fitted(silent, conversation.clone(), Value::Null).unwrap();
    assert_eq!(kept.prompt.text, "<system>S<user>a<assistant>b<user>T\n\nc");
    assert_eq!(kept.folding, Some(Folding { later: true, ..Folding::default() }));
    let two = fitted(
        silent,
        json!([{"role": "system", "content": "S"}, {"role": "system", "content": "T"}, {"role": "user", "content": "a"}]),
        Value::Null,
    );
    assert_eq!(two.unwrap().prompt.text, "<system>S\n\nT<user>a");

    let everywhere = fitted(CHATML, conversation, Value::Null).unwrap();
    assert_eq!((everywhere.prompt.text.matches("<system>").count(), everywhere.folding), (2, None));
}

#[test]
fn a_later_system_message_goes_further_up_where_no_user_turn_may_follow() {
    let source = "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system') }}{% endif %}\
                  {% if message.role == 'user' and loop.previtem is defined and loop.previtem.role != 'assistant' %}{{ raise_exception('order') }}{% endif %}\
                  <{{ message.role }}>{{ message.content }}{% endfor %}";
    let mut messages = called("abc123DEF", "{}");
    messages.as_array_mut().unwrap().push(json!({"role": "system", "content": "T"}));

    let folded = fitted(source, messages, Value::Null).unwrap();

    assert_eq!(folded.prompt.text, "<user>q\n\nT<assistant><tool>r");
    let refused = fitted(source, json!([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]), Value::Null);
    assert_eq!(refused, Err(TemplateError::Raised("order".to_owned())), "other refusals stay");
}

#[test]
fn a_template_that_shows_nothing_is_taken_as_it_is() {
    for source in ["nothing", "{{ raise_exception('never') }}", "{{ messages[0].nothing.at_all }}"] {
        assert_eq!(*compiled(source).abilities(), Abilities::default(), "{source}");
    }
}
