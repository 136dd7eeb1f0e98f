//! The reported facts of each family, and the tokens that begin and end its texts.

use super::*;
use llamero::engine::runner::{ModelRunner, Row, Slot, Step};
use llamero::protocol::{FimTokens, SequenceId};

/// Name, kind of vocabulary, BOS, true if BOS is put in front, EOS.
const FACTS: [(&str, &str, &str, bool, &str); 8] = [
    ("llama2-like", "llama", "<s>", true, "</s>"),
    ("codellama-like", "llama", "<s>", true, "</s>"),
    ("mistral-v3-like", "llama", "<s>", true, "</s>"),
    ("gemma-like", "llama", "<bos>", true, "<eos>"),
    ("tekken-like", "gpt2", "<s>", true, "</s>"),
    // The file does not say so: llama.cpp knows it for this kind of byte pairs.
    ("llama3-like", "gpt2", "<|begin_of_text|>", true, "<|eot_id|>"),
    ("qwen-like", "gpt2", "<|endoftext|>", false, "<|im_end|>"),
    ("gpt-oss-like", "gpt2", "<|startoftext|>", false, "<|return|>"),
];

#[test]
fn each_family_reports_its_vocabulary() {
    for (name, kind, bos, adds_bos, eos) in FACTS {
        let family = family(name);
        let info = &family.info;

        assert_eq!(info.tokenizer, kind, "{name}");
        assert_eq!((info.bos, info.adds_bos), (Some(family.token(bos)), adds_bos), "{name}");
        assert_eq!(info.eos, Some(family.token(eos)), "{name}");
        assert_eq!(info.vocabulary_size as usize, family.toy.vocabulary.len(), "{name}");
        assert_eq!((info.architecture.as_str(), info.quantization.as_str()), ("llama", "all F32"), "{name}");
    }
}

#[test]
fn the_chat_template_of_the_file_is_the_default_one() {
    for (name, speaks_of) in [
        ("llama2-like", "<<SYS>>"),
        ("mistral-v3-like", "[/INST]"),
        ("tekken-like", "'[INST]' + turn.content"),
        ("gemma-like", "<start_of_turn>"),
        ("llama3-like", "<|start_header_id|>"),
        ("qwen-like", "<|im_start|>"),
    ] {
        let templates = &family(name).info.chat_templates;

        assert_eq!(templates.len(), 1, "{name}");
        assert_eq!(templates[0].0, "default", "{name}");
        assert!(templates[0].1.contains(speaks_of), "{name}: {}", templates[0].1);
    }
    assert!(family("gpt-oss-like").info.chat_templates.is_empty());
}

#[test]
fn a_template_with_a_name_is_listed_beside_the_default_one() {
    let family = Family::of(gguf::llama3_like().with("tokenizer.chat_template.tool_use", "{{ tools }}"));

    let names: Vec<&str> = family.info.chat_templates.iter().map(|(name, _)| name.as_str()).collect();

    assert!(names.contains(&"default") && names.contains(&"tool_use") && names.len() == 2, "{names:?}");
}

#[test]
fn fim_tokens_are_found_in_the_families_that_have_them_and_in_no_other() {
    let of = |family: &Family, prefix, suffix, middle| FimTokens {
        prefix: family.token(prefix),
        suffix: family.token(suffix),
        middle: family.token(middle),
        repository: None,
        file: None,
    };
    for family in families() {
        let expected = match family.info.name.as_str() {
            name if name.starts_with("codellama") => Some(of(family, "▁<PRE>", "▁<SUF>", "▁<MID>")),
            "qwen-like" => Some(FimTokens {
                repository: Some(family.token("<|repo_name|>")),
                file: Some(family.token("<|file_sep|>")),
                ..of(family, "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
            }),
            _ => None,
        };

        assert_eq!(family.info.fim, expected, "{}", family.info.name);
    }
    let codellama = family("codellama-like").info.fim.unwrap();
    assert_eq!((codellama.suffix.0, codellama.middle.0), (codellama.prefix.0 + 1, codellama.prefix.0 + 2));
}

#[test]
fn a_vocabulary_with_only_some_fim_tokens_has_no_fim() {
    let mut toy = gguf::llama2_like();
    toy.vocabulary.add("▁<PRE>", Kind::Control);
    toy.vocabulary.add("▁<SUF>", Kind::Control);

    assert_eq!(Family::of(toy).info.fim, None);
}

#[test]
fn every_separator_is_among_the_control_tokens_and_no_word_is() {
    for family in families() {
        let mut separators = family.separators.clone();
        separators.sort_by_key(|(_, token)| *token);

        assert_eq!(family.info.control_tokens, separators, "{}", family.info.name);
    }
}

#[test]
fn generation_ends_with_the_tokens_of_each_family_that_say_so() {
    let ends: [(&str, &[&str]); 9] = [
        ("llama2-like", &["</s>"]),
        ("codellama-like", &["</s>", "▁<EOT>"]),
        // The file does not say so for `▁<EOT>`.
        ("codellama-reachable", &["</s>", "▁<EOT>"]),
        ("mistral-v3-like", &["</s>"]),
        ("gemma-like", &["<eos>", "<end_of_turn>"]),
        ("tekken-like", &["</s>"]),
        ("llama3-like", &["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"]),
        // Also the tokens of repositories: after them another file begins.
        ("qwen-like", &["<|endoftext|>", "<|im_end|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"]),
        // `<|end|>` ends a message, and another message may follow.
        ("gpt-oss-like", &["<|endoftext|>", "<|return|>", "<|call|>"]),
    ];
    for (name, expected) in ends {
        let family = family(name);
        let mut expected: Vec<Token> = expected.iter().map(|text| family.token(text)).collect();
        expected.sort_unstable();

        let found: Vec<Token> = (0..family.info.vocabulary_size).map(Token).filter(|token| family.tokenizer.is_eog(*token)).collect();

        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn bos_is_put_in_front_where_the_family_wants_it_and_never_twice() {
    for family in families() {
        let name = &family.info.name;
        let bos = family.info.bos.unwrap();
        let spelled = String::from_utf8(family.decode(&[bos])).unwrap();
        let with_special = |text: &str, special| family.tokenizer.encode(text, true, &special).unwrap();
        let plain = family.encode("Hello world", &SpecialText::Plain);
        let begun = [[bos].as_slice(), &plain].concat();

        assert_eq!(
            with_special("Hello world", SpecialText::Recognised),
            if family.info.adds_bos { &begun } else { &plain }.clone(),
            "{name}"
        );
        assert_eq!(with_special(&format!("{spelled}Hello world"), SpecialText::Recognised), begun, "{name}");
        assert_eq!(family.encode("", &SpecialText::Recognised), [], "{name}");
        let of_nothing = with_special("", SpecialText::Recognised);
        assert_eq!(of_nothing, if family.info.adds_bos { vec![bos] } else { Vec::new() }, "{name}");
        // A `<s>` that the user wrote is not the beginning.
        let users = with_special(&spelled, SpecialText::Plain);
        assert_eq!(users.iter().filter(|token| **token == bos).count(), usize::from(family.info.adds_bos), "{name}: {users:?}");
    }
}

#[test]
fn a_file_may_say_that_bos_is_not_wanted() {
    let family = Family::of(gguf::llama3_like().with("tokenizer.ggml.add_bos_token", false));

    assert!(!family.info.adds_bos && family.info.bos.is_some());
    assert_eq!(family.tokenizer.encode("Hello", true, &SpecialText::Plain).unwrap(), family.encode("Hello", &SpecialText::Plain));
}

#[test]
fn a_toy_says_what_it_was_told_to() {
    let family = Family::of(gguf::llama2_like().saying(&["▁the", "▁quick", "</s>"]));
    let mut runner = family.loaded.runner().unwrap();
    let mut said = Vec::new();
    let mut token = family.info.bos.unwrap();

    for pos in 0..4 {
        let row = Row { seq: SequenceId(0), slot: Slot(0), pos, token, sample: true };
        runner.execute(&Step { kv: Vec::new(), rows: vec![row] }).unwrap();
        let logits = runner.logits(0).unwrap();
        token = (0..).map(Token).zip(logits).max_by(|(_, left), (_, right)| left.total_cmp(right)).unwrap().0;
        said.push(token);
    }

    assert_eq!(said, ["▁the", "▁quick", "</s>", "▁the"].map(|text| family.token(text)));
}
