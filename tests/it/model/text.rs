//! The tokenizer: round trips, BOS, special tokens, hostile texts.

use super::*;
use crate::support::assert_linear;
use llamero::llama::TOKENIZER_STACK_BYTES;

fn tokenizer() -> Option<std::sync::Arc<dyn Tokenizer>> {
    loaded(KvLayout::Split).map(|loaded| loaded.tokenizer() as _)
}

fn decode(tokenizer: &dyn Tokenizer, tokens: &[Token], special: bool) -> Vec<u8> {
    tokens.iter().flat_map(|&token| tokenizer.piece(token, special).to_vec()).collect()
}

#[test]
fn texts_come_back_byte_for_byte() {
    let Some(tokenizer) = tokenizer() else { return };
    let texts = [
        "",
        "Hello",
        " Hello",
        "   three spaces, and two behind  ",
        "line\nline\r\n\n\ttab",
        "zero\0byte",
        "😀 👩‍👩‍👧‍👦 🇩🇪",
        "naïve café, 中文字, العربية, हिन्दी",
        "\u{fffd}\u{feff}\u{200b}",
        "1234567890 3.14159",
    ];
    for text in texts {
        let tokens = tokenizer.encode(text, false, &SpecialText::Recognised).unwrap();

        assert_eq!(String::from_utf8(decode(&*tokenizer, &tokens, false)).unwrap(), text);
        assert!(tokens.iter().all(|token| token.0 < tokenizer.vocabulary_size()), "{text:?}");
    }
}

/// The vocabulary puts no space in front, so words around a hole are tokenized like others.
#[test]
fn a_continuation_is_tokenized_as_any_text() {
    let Some(tokenizer) = tokenizer() else { return };
    for text in ["foo(bar)", " foo", "\n    return x;\n", "(", "é😀", "<|im_end|>"] {
        let plain = tokenizer.encode(text, false, &SpecialText::Plain).unwrap();

        assert_eq!(tokenizer.encode(text, false, &SpecialText::Continuation).unwrap(), plain, "{text:?}");
        assert_eq!(decode(&*tokenizer, &plain, false), text.as_bytes());
    }
}

#[test]
fn a_word_in_a_sentence_keeps_its_leading_space() {
    let Some(tokenizer) = tokenizer() else { return };

    let tokens = tokenizer.encode("Hello world", false, &SpecialText::Recognised).unwrap();

    assert_eq!(decode(&*tokenizer, &tokens[1..], false), b" world");
}

#[test]
fn special_tokens_are_recognised_and_shown_only_when_asked_for() {
    let Some(tokenizer) = tokenizer() else { return };

    let tokens = tokenizer.encode("<|im_start|>user\nHi<|im_end|>", false, &SpecialText::Recognised).unwrap();

    let (first, last) = (tokens[0], *tokens.last().unwrap());
    assert_eq!(tokenizer.piece(first, true), b"<|im_start|>");
    assert_eq!(tokenizer.piece(first, false), b"");
    assert_eq!(decode(&*tokenizer, &tokens, false), b"user\nHi");
    assert!(tokenizer.is_eog(last) && !tokenizer.is_eog(tokens[1]), "{tokens:?}");
}

#[test]
fn bos_is_put_in_front_at_most_once() {
    let Some(loaded) = loaded(KvLayout::Split) else { return };
    let tokenizer = loaded.tokenizer();
    let bos = tokenizer.bos().expect("the test model has one");
    let spelled = String::from_utf8(tokenizer.piece(bos, true).to_vec()).unwrap();

    let plain = tokenizer.encode("Hi", false, &SpecialText::Recognised).unwrap();
    let with_special = tokenizer.encode("Hi", true, &SpecialText::Recognised).unwrap();
    let spelled_out = tokenizer.encode(&format!("{spelled}Hi"), true, &SpecialText::Recognised).unwrap();

    assert_eq!(spelled_out, [[bos].as_slice(), &plain].concat());
    // SmolLM2 does not ask for BOS; another model in LLAMERO_TEST_MODEL may.
    assert!(with_special == plain || with_special == spelled_out, "{with_special:?}");
}

#[test]
fn ids_outside_the_vocabulary_are_empty_and_end_nothing() {
    let Some(tokenizer) = tokenizer() else { return };
    for id in [tokenizer.vocabulary_size(), u32::MAX] {
        assert_eq!(tokenizer.piece(Token(id), true), b"");
        assert!(!tokenizer.is_eog(Token(id)));
    }
}

/// One unit repeated, on a stack like the engine's, gives tokens or an error. Times are in `llama/text_limits.rs`.
#[test]
fn no_text_overflows_the_stack_or_takes_more_than_linear_time() {
    let Some(tokenizer) = tokenizer() else { return };
    let newlines = "\n".repeat(1000) + "a";
    let units = "A| |7|!|😀|中|é|a |\n |\n|!\n|\0|<|The river. |a</s>".split('|').chain(["<|im_end|>", "a<|im_end|>", &newlines]);
    // As long as a run may be if runs are limited; and 2 MB, the size of a request body, of the slowest units.
    let at_the_limit = units.map(|unit| (unit, 300_000 / unit.chars().count()));
    let large = ["\n", " ", "a<|im_end|>"].map(|unit| (unit, 2_000_000 / unit.len()));
    let texts: Vec<(String, usize)> = at_the_limit.chain(large).map(|(unit, times)| (unit.to_owned(), times)).collect();
    let work = move || {
        for (unit, times) in texts {
            let encode = |times| tokenizer.encode(&unit.repeat(times), false, &SpecialText::Recognised);
            let tokens = assert_linear(&format!("times {unit:?}"), times, encode);
            assert!(tokens.is_err() || tokens.is_ok_and(|tokens| !tokens.is_empty()), "{unit:?}");
        }
    };
    std::thread::Builder::new().stack_size(TOKENIZER_STACK_BYTES).spawn(work).unwrap().join().unwrap();
}
