//! Chat templates of the families in our own wording: the prompts are the same as theirs, the loops are short.
//!
//! The authors' own templates are tested elsewhere.

/// `[INST] <<SYS>>…<</SYS>>` in text, `<s>` and `</s>` around each turn.
pub(super) const LLAMA_2: &str = "{% if messages[0].role == 'system' %}\
    {% set system = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' %}{% set turns = messages[1:] %}\
    {% else %}{% set system = '' %}{% set turns = messages %}{% endif %}\
    {% for turn in turns %}{% if turn.role == 'user' %}\
    {{ bos_token + '[INST] ' + (system if loop.first else '') + turn.content.strip() + ' [/INST]' }}\
    {% else %}{{ ' ' + turn.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}";

/// `<|start_header_id|>role<|end_header_id|>`, two newlines, the words, `<|eot_id|>`.
pub(super) const LLAMA_3: &str = "{{ bos_token }}{% for turn in messages %}\
    {{ '<|start_header_id|>' + turn.role + '<|end_header_id|>\\n\\n' + turn.content.strip() + '<|eot_id|>' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}";

/// `[INST]` followed by a space, as in its SentencePiece vocabulary.
pub(super) const MISTRAL_V3: &str = "{{ bos_token }}{% for turn in messages %}{% if turn.role == 'user' %}\
    {{ '[INST] ' + turn.content + '[/INST]' }}{% else %}{{ ' ' + turn.content + eos_token }}{% endif %}{% endfor %}";

/// `[INST]` without spaces.
pub(super) const MISTRAL_TEKKEN: &str = "{{ bos_token }}{% for turn in messages %}{% if turn.role == 'user' %}\
    {{ '[INST]' + turn.content + '[/INST]' }}{% else %}{{ turn.content + eos_token }}{% endif %}{% endfor %}";

/// `<|im_start|>role`, a newline, the words, `<|im_end|>`.
pub(super) const CHATML: &str = "{% for turn in messages %}\
    {{ '<|im_start|>' + turn.role + '\\n' + turn.content + '<|im_end|>\\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// `<start_of_turn>role`, a newline, the words, `<end_of_turn>`; the assistant is called model.
pub(super) const GEMMA: &str = "{{ bos_token }}{% for turn in messages %}\
    {% set role = 'model' if turn.role == 'assistant' else turn.role %}\
    {{ '<start_of_turn>' + role + '\\n' + turn.content.strip() + '<end_of_turn>\\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}";
