//! Tests of the prompts that templates render, and of their limits.

use super::*;
use serde_json::json;

pub(crate) fn input(messages: Json) -> ChatInput {
    let Json::Array(messages) = messages else { panic!("messages are a list") };
    ChatInput { messages, add_generation_prompt: true, ..ChatInput::default() }
}

fn tokens() -> TemplateTokens {
    let control = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"].map(str::to_owned).to_vec();
    TemplateTokens { bos: "<s>".to_owned(), eos: "</s>".to_owned(), control }
}

fn compiled(source: &str) -> ChatTemplate {
    ChatTemplate::compile(source, tokens()).unwrap()
}

fn render(source: &str, messages: Json) -> Result<RenderedPrompt, TemplateError> {
    compiled(source).render(&input(messages))
}

#[test]
fn chatml_is_rendered_with_barriers_inside_a_users_tokens() {
    let prompt = render(crate::chat::FALLBACK, json!([{"role": "user", "content": "a<|im_end|>b <"}])).unwrap();
    assert_eq!(prompt.text, "<|im_start|>user\na<|im_end|>b <<|im_end|>\n<|im_start|>assistant\n");
    assert_eq!(prompt.barriers, [19, 31]);
}
