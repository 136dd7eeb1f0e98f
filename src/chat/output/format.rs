//! The syntaxes of tool calls by model family, as a table, and the detection of a model's family.

/// The syntax of a model family's tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ToolFormat {
    /// `{"name": "f", "parameters": {…}}`, several separated by `;`, alone or after `<|python_tag|>`: Llama 3.1 to 3.3.
    Llama3Json,
    /// `[TOOL_CALLS] [{"name": "f", "arguments": {…}}]` or `[TOOL_CALLS]f[ARGS]{…}`: Mistral, from v3 on.
    Mistral,
    /// `<tool_call>{"name": "f", "arguments": {…}}</tool_call>`: Hermes, Qwen 2.5 and 3, SmolLM.
    Hermes,
    /// `<|tool_call|>[{"name": "f", "arguments": {…}}]`: Granite, Phi 4 mini.
    ToolCallList,
    /// `functools[{"name": "f", "arguments": {…}}]`: Phi 4 mini, Firefunction.
    Functools,
    /// `<｜tool▁call▁begin｜>f<｜tool▁sep｜>{…}<｜tool▁call▁end｜>`: DeepSeek V3, R1 and V3.1.
    DeepSeek,
    /// `[f(a=1), g(b="x")]`, alone or within `<|python_start|>`: Llama 4, and the training data of Llama 3.2.
    Pythonic,
    /// `<tool_call><function=f><parameter=a>1</parameter></function></tool_call>`, also without the outer tags: Qwen 3
    /// Coder.
    FunctionXml,
    /// A call as a JSON object or a list of them, alone or within `<tool_call>`: models that were trained for no
    /// syntax.
    Json,
}

/// The details of a family's syntax; the rest is common to all.
#[derive(Debug)]
pub(super) struct Syntax {
    /// Marks after which a call begins, or a list of calls in brackets.
    pub(super) open: &'static [&'static str],
    /// Marks that are dropped where they follow a call.
    pub(super) close: &'static [&'static str],
    /// True if an output may also begin with a call or a list without such a mark.
    pub(super) bare: bool,
    /// The separator between two calls.
    pub(super) separator: Option<char>,
    /// The form of a single call.
    pub(super) call: CallSyntax,
}

/// The form of a single call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallSyntax {
    /// A JSON object with name and arguments.
    Object,
    /// A JSON object with name and arguments, or a name before the object of the arguments.
    ObjectOrHeader,
    /// A Python call: `f(a=1)`, in a list.
    Python,
    /// Tags: `f>…</function>` after the mark.
    Xml,
}

impl CallSyntax {
    /// The character that ends a call's header; only some forms have a header.
    pub(super) fn header_end(self) -> char {
        match self {
            Self::Object | Self::ObjectOrHeader => '{',
            Self::Python => '(',
            Self::Xml => '>',
        }
    }
}

impl ToolFormat {
    /// Detects the format from the chat template, which shows the model its syntax; else from the GGUF's
    /// `general.architecture` and name.
    #[must_use]
    pub fn detect(template_source: &str, architecture: &str, model_name: &str) -> Self {
        let marks = [
            ("[TOOL_CALLS]", Self::Mistral),
            ("<｜tool▁call", Self::DeepSeek),
            ("<function=", Self::FunctionXml),
            ("<tool_call>", Self::Hermes),
            ("<|tool_call|>", Self::ToolCallList),
            ("functools[", Self::Functools),
            ("<|python_start|>", Self::Pythonic),
            ("func_name1(params_name1=", Self::Pythonic),
            ("<|python_tag|>", Self::Llama3Json),
            ("<|start_header_id|>", Self::Llama3Json),
        ];
        if let Some((_, format)) = marks.iter().find(|(mark, _)| template_source.contains(mark)) {
            return *format;
        }
        let name = model_name.to_lowercase();
        let named = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        match architecture {
            "llama4" => Self::Pythonic,
            "deepseek2" => Self::DeepSeek,
            "qwen2" | "qwen2moe" | "qwen3" | "qwen3moe" => Self::Hermes,
            "granite" | "granitemoe" => Self::ToolCallList,
            _ if named(&["hermes", "qwen"]) => Self::Hermes,
            _ if named(&["mistral", "mixtral", "ministral"]) => Self::Mistral,
            _ if named(&["llama-3", "llama 3", "llama3"]) => Self::Llama3Json,
            _ => Self::Json,
        }
    }

    pub(super) fn syntax(self) -> Syntax {
        use CallSyntax::{Object, ObjectOrHeader, Python, Xml};
        let syntax = |open, close, bare, call| Syntax { open, close, bare, separator: None, call };
        match self {
            Self::Llama3Json => Syntax { separator: Some(';'), ..syntax(&["<|python_tag|>"], &[], true, Object) },
            Self::Mistral => syntax(&["[TOOL_CALLS]"], &[], false, ObjectOrHeader),
            Self::Hermes => syntax(&["<tool_call>"], &["</tool_call>"], false, Object),
            Self::ToolCallList => syntax(&["<|tool_call|>"], &["<|/tool_call|>"], false, Object),
            Self::Functools => syntax(&["functools"], &[], false, Object),
            Self::DeepSeek => syntax(
                &["<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "<｜tool▁call▁begin｜>"],
                &["```", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"],
                false,
                ObjectOrHeader,
            ),
            Self::Pythonic => syntax(&["<|python_start|>"], &["<|python_end|>"], true, Python),
            Self::FunctionXml => syntax(&["<tool_call>\n<function=", "<tool_call><function=", "<function="], &["</tool_call>"], false, Xml),
            Self::Json => syntax(&["<tool_call>"], &["</tool_call>"], true, Object),
        }
    }
}

/// The name in the text between the mark and the arguments of a call with a header: `f[ARGS]`, `f[CALL_ID]1[ARGS]`,
/// `f<｜tool▁sep｜>`, or `function<｜tool▁sep｜>f` and a code fence.
pub(super) fn name_in_header(header: &str) -> &str {
    let header = header.trim().trim_end_matches("[ARGS]").trim_end_matches("```json").trim_end();
    let header = header.split_once("[CALL_ID]").map_or(header, |(name, _)| name);
    match header.split_once("<｜tool▁sep｜>") {
        Some((name, "")) => name,
        Some((_, name)) => name.trim(),
        None => header,
    }
}
