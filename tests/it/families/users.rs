//! No text of a user becomes a control token in any family, however it is spelled and whatever stands next to it.

use super::{texts::texts_of_fragments, *};
use proptest::prelude::*;

/// Asserts that the tokens decode to the text, except for SentencePiece's changes: a space in front of text at the
/// beginning or after a special token, and U+2581 for a space.
fn assert_decodes(family: &Family, tokens: &[Token], text: &str) {
    let decoded = String::from_utf8(family.decode(tokens)).unwrap();
    let spaces = if family.is_sentencepiece() { text.replace('\u{2581}', " ") } else { text.to_owned() };
    let expected = if family.puts_space_in_front() && !text.is_empty() { format!(" {spaces}") } else { spaces };
    assert_eq!(decoded, expected, "{}: {text:?} as {tokens:?}", family.info.name);
}

fn assert_plain(family: &Family, text: &str) {
    let tokens = family.encode(text, &SpecialText::Plain);
    assert_eq!(family.controls(&tokens), Vec::<String>::new(), "{}: {text:?} as {tokens:?}", family.info.name);
    assert_decodes(family, &tokens, text);
}

/// Barriers at every offset of the user's part, its ends included: no control token may span any of them.
fn barriers(before: &str, users: &str) -> SpecialText {
    let from = u32::try_from(before.len()).unwrap();
    SpecialText::RecognisedOutside((from..=from + u32::try_from(users.len()).unwrap()).collect())
}

#[test]
fn control_tokens_that_a_user_spells_stay_text() {
    for family in families() {
        for (text, _) in &family.separators {
            let bare = text.trim_start_matches('\u{2581}');
            for text in [text.as_str(), bare] {
                assert_plain(family, text);
                assert_plain(family, &format!("Hello {text} world{text}{text}\n{text}"));
                assert_plain(family, &format!("<{text}>😀{text}"));
            }
        }
    }
}

#[test]
fn a_word_that_is_a_control_token_stays_text() {
    // Llama 3's pre-tokenizer takes a whole word for any token with that text.
    let mut toy = gguf::llama3_like();
    toy.vocabulary.add("STOP", Kind::Control);
    let family = Family::of(toy);

    assert_eq!(family.reference("STOP", false), [family.token("STOP")], "else there is nothing to test");
    assert_plain(&family, "STOP");
    assert_plain(&family, "now STOP, STOP\nSTOP");
}

#[test]
fn a_control_token_within_another_stays_text() {
    let mut toy = gguf::llama2_reachable();
    for piece in ["<<", "<<s", "<<s>", "s>>", ">>"] {
        toy.vocabulary.add(piece, Kind::Normal);
    }
    toy.vocabulary.add("<<s>>", Kind::Control);
    toy.vocabulary.add(">>>", Kind::Control);
    toy.vocabulary.add("aa", Kind::Control);
    toy.vocabulary.add("aaa", Kind::Control);
    let family = Family::of(toy);

    for text in ["<<s>>", "<s>>", "<<<s>>>>", "<s><<s>>>", "aa", "aaa", "aaaaaaa", "a<s>aa</s>aaa"] {
        assert_plain(&family, text);
    }
}

#[test]
fn the_templates_own_tokens_are_recognised_around_a_users_text() {
    let cases = [
        ("llama3-like", "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
        ("qwen-like", "<|im_start|>user\n", "<|im_end|>\n"),
        ("mistral-v3-reachable", "<s>[INST] ", "[/INST]"),
        ("gemma-like", "<bos><start_of_turn>user\n", "<end_of_turn>\n"),
        ("tekken-like", "<s>[INST]", "[/INST]"),
        ("llama2-reachable", "<s>", "</s>"),
        ("codellama-reachable", "<s>▁<PRE>", "▁<SUF>"),
        ("gpt-oss-like", "<|start|>user<|message|>", "<|end|>"),
    ];
    for (name, before, after) in cases {
        let family = family(name);
        let templates = family.controls(&family.encode(&format!("{before}{after}"), &SpecialText::Recognised));
        assert!(!templates.is_empty(), "{name}");
        for (spelled, _) in &family.separators {
            for users in [spelled.clone(), format!("a{spelled}b {spelled}"), spelled.chars().skip(1).collect()]
                .iter()
                .filter(|text| !text.is_empty())
            {
                let text = format!("{before}{users}{after}");

                let tokens = family.encode(&text, &barriers(before, users));

                assert_eq!(family.controls(&tokens), templates, "{name}: {users:?}");
                let decoded = String::from_utf8(family.decode(&tokens)).unwrap().replace(['\u{2581}', ' '], "");
                assert_eq!(decoded, text.replace(['\u{2581}', ' '], ""), "{name}: {users:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_made_of_their_fragments_becomes_a_control_token(texts in texts_of_fragments()) {
        for (family, fragments) in families().iter().zip(texts) {
            let text = fragments.concat();
            let words = family.toy.vocabulary.of_kind(Kind::UserDefined);
            let tokens = family.encode(&text, &SpecialText::Plain);
            prop_assert_eq!(family.controls(&tokens), Vec::<String>::new(), "{}: {:?}", family.info.name, text);
            if !family.puts_space_in_front() || !words.iter().any(|word| text.contains(word)) {
                assert_decodes(family, &tokens, &text);
            }
        }
    }

    #[test]
    fn a_user_between_a_templates_tokens_adds_none(texts in texts_of_fragments()) {
        for (family, fragments) in families().iter().zip(texts) {
            let separators = &family.separators;
            let users = fragments.concat();
            let (before, after) = (&separators[1].0, &separators[2].0);
            let text = format!("{before}{users}{after}");

            let tokens = family.encode(&text, &barriers(before, &users));

            prop_assert_eq!(
                family.controls(&tokens),
                vec![before.clone(), after.clone()],
                "{}: {:?} as {:?}", family.info.name, text, tokens
            );
        }
    }
}
