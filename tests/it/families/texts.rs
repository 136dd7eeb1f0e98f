//! Texts are decoded to themselves, and have the same tokens as with llama.cpp.

use super::*;
use proptest::prelude::*;

const TEXTS: [&str; 14] = [
    "Hello",
    "Hello world",
    " Hello",
    "   three spaces, and two behind  ",
    "line\nline\r\n\n\ttab",
    "zero\0byte",
    "😀 👩‍👩‍👧‍👦 🇩🇪",
    "naïve café, 中文字, العربية, हिन्दी",
    "\u{fffd}\u{feff}\u{200b}",
    "1234567890 3.14159",
    "def add(x, y):\n    return x + y\n",
    "<0x41> <0xFF",
    "Ġworld Ċ",
    "a < b > c [x] |y|",
];

/// The decoded text of a text's tokens: SentencePiece puts a space in front.
fn decoded(family: &Family, text: &str) -> Vec<u8> {
    if family.puts_space_in_front() && !text.is_empty() { format!(" {text}").into_bytes() } else { text.as_bytes().to_vec() }
}

#[test]
fn texts_come_back_byte_for_byte_in_every_family() {
    for family in families() {
        for text in TEXTS {
            let tokens = family.encode(text, &SpecialText::Plain);

            assert_eq!(family.decode(&tokens), decoded(family, text), "{}: {text:?}", family.info.name);
        }
    }
}

#[test]
fn what_a_sentencepiece_vocabulary_lacks_becomes_its_bytes() {
    for name in ["llama2-like", "mistral-v3-like"] {
        let family = family(name);

        let tokens = family.encode("😀", &SpecialText::Plain);

        let bytes = ["▁", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>"].map(|text| family.token(text));
        assert_eq!(tokens, bytes, "{name}");
        assert_eq!(tokens[1..].iter().flat_map(|token| family.tokenizer.piece(*token, false)).count(), 4, "{name}");
    }
}

#[test]
fn a_word_behind_another_keeps_its_space() {
    for family in families() {
        let tokens = family.encode("Hello world", &SpecialText::Plain);

        let space = if family.is_sentencepiece() { "▁" } else { "Ġ" };
        let first = if family.puts_space_in_front() { "▁Hello" } else { "Hello" };
        assert_eq!(tokens, [family.token(first), family.token(&format!("{space}world"))], "{}", family.info.name);
        // This is how the pieces of a completion follow each other.
        assert_eq!(family.tokenizer.piece(tokens[1], false), b" world", "{}", family.info.name);
    }
}

#[test]
fn a_sentencepiece_file_may_say_that_no_space_goes_in_front() {
    let family = Family::of(gguf::mistral_v3_like().with("tokenizer.ggml.add_space_prefix", false));

    let tokens = family.encode("[INST]Hello world", &SpecialText::Recognised);

    assert_eq!(tokens, ["[INST]", "Hello", "▁world"].map(|text| family.token(text)));
    assert_eq!(family.decode(&family.encode("Hello", &SpecialText::Plain)), b"Hello");
}

#[test]
fn whole_words_come_before_merges_in_llama_3s_way() {
    // A token to which no merge leads.
    let mut toy = gguf::llama3_like();
    toy.vocabulary.add("Ġzebra", Kind::Normal);
    let llama = Family::of(toy.clone());
    let qwen = Family::of(toy.with("tokenizer.ggml.pre", "qwen2"));

    assert_eq!(llama.encode(" zebra", &SpecialText::Plain), [llama.token("Ġzebra")]);
    assert!(qwen.encode(" zebra", &SpecialText::Plain).len() > 1);
}

/// Beginnings and ends of special tokens, and words between them.
fn fragments(family: &Family) -> Vec<String> {
    let words = ["Hello", " world", " ", "\n", "é", "😀", "x", "<", ">", "[", "]", "/", "|", "_", "\u{2581}", "Ġ"].map(str::to_owned);
    let spelled = family.toy.vocabulary.of_kind(Kind::UserDefined).into_iter().map(str::to_owned);
    let separators: Vec<String> = family.separators.iter().map(|(text, _)| text.clone()).collect();
    let halves = separators.iter().flat_map(|text| {
        let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
        [text[..half].to_owned(), text[half..].to_owned(), text.trim_start_matches('\u{2581}').to_owned()]
    });
    words.into_iter().chain(spelled).chain(halves).chain(separators.clone()).collect()
}

/// For each family, a text of up to twelve fragments.
pub(super) fn texts_of_fragments() -> impl Strategy<Value = Vec<Vec<String>>> {
    families().iter().map(|family| proptest::collection::vec(proptest::sample::select(fragments(family)), 0..12)).collect::<Vec<_>>()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn recognised_text_becomes_the_tokens_that_llama_cpp_makes_of_it(texts in texts_of_fragments()) {
        for (family, fragments) in families().iter().zip(texts) {
            let text = fragments.concat();
            prop_assert_eq!(
                family.encode(&text, &SpecialText::Recognised),
                family.reference(&text, true),
                "{}: {:?}", family.info.name, text
            );
        }
    }

    #[test]
    fn text_without_control_tokens_becomes_the_same_as_plain_text(texts in texts_of_fragments()) {
        for (family, fragments) in families().iter().zip(texts) {
            let text = fragments.concat();
            let expected = family.reference(&text, false);
            // If llama.cpp itself makes control tokens of plain text, the tests of users' texts define the right
            // result.
            if family.controls(&expected).is_empty() {
                prop_assert_eq!(family.encode(&text, &SpecialText::Plain), expected, "{}: {:?}", family.info.name, text);
            }
        }
    }
}
