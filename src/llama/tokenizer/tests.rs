//! Tests against llama.cpp on the test model, and on small vocabularies that are written here.

use super::*;
use crate::llama::{backend::backend, testing::model_path};
use llama_cpp_2::model::params::LlamaModelParams;
use std::io::Write as _;

/// The vocabulary of the test model; a file that contains only a vocabulary will do.
fn vocabulary() -> Option<Arc<LlamaModel>> {
    let params = LlamaModelParams::default().with_vocab_only(true);
    model_path().map(|path| Arc::new(LlamaModel::load_from_file(backend().unwrap(), path, &params).unwrap()))
}

/// Special tokens that are cut out here must be those that llama.cpp would have cut out.
#[test]
fn texts_become_the_tokens_that_llama_cpp_makes_of_them() {
    let Some(model) = vocabulary() else { return };
    let tokenizer = LlamaTokenizer::new(Arc::clone(&model));
    let vocab = model.vocab();
    // Some special tokens of this vocabulary, with all kinds of text around them.
    let written = |id| String::from_utf8_lossy(tokenizer.piece(Token(id), true)).into_owned();
    let specials = (0..tokenizer.vocabulary_size()).filter(|&id| tokenizer.piece(Token(id), false).is_empty()).map(written);
    let mut texts: Vec<String> =
        ["", " ", "Hello  world\n\n x", "é😀中 \0 <s> </s> <|im_start|> [INST] \t\t    x"].map(str::to_owned).into();
    for special in specials.filter(|text| !text.is_empty()).take(40) {
        texts.push(special.clone());
        texts.push(format!("a {special} b {special}{special}\n c{special}"));
        texts.push(format!("{special}user\nHi there{special}<{special}>"));
    }

    for text in &texts {
        let expected: Vec<Token> =
            vocab.tokenize(text.as_bytes(), false, true).iter().map(|token| Token(token.0.cast_unsigned())).collect();

        assert_eq!(tokenizer.encode(text, false, &SpecialText::Recognised).unwrap(), expected, "{text:?}");
    }
}

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const BYTE: i32 = 6;

/// A file with only a vocabulary like CodeLlama's: `<unk>`, `<s>`, `</s>`, bytes, and `pieces`.
fn sentencepiece(pieces: &[&str], adds_space: bool) -> LlamaTokenizer {
    let bytes = (0..=255_u8).map(|byte| (format!("<0x{byte:02X}>"), BYTE));
    let special = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)].map(|(text, kind)| (text.to_owned(), kind));
    let normal = pieces.iter().map(|piece| ((*piece).to_owned(), NORMAL));
    let tokens: Vec<(String, i32)> = special.into_iter().chain(bytes).chain(normal).collect();

    let mut entries = described("llama", "llama", &tokens);
    entries.push(("tokenizer.ggml.scores", array(6, (0..tokens.len()).map(|rank| (-(rank as f32)).to_le_bytes().to_vec()))));
    entries.push(("tokenizer.ggml.add_space_prefix", [7_u32.to_le_bytes().to_vec(), vec![u8::from(adds_space)]].concat()));
    load(&entries)
}

/// A file with only a vocabulary like BERT's.
fn word_pieces(pieces: &[(&str, i32)]) -> LlamaTokenizer {
    let tokens: Vec<(String, i32)> = pieces.iter().map(|(text, kind)| ((*text).to_owned(), *kind)).collect();
    let id = |id: u32| [4_u32.to_le_bytes(), id.to_le_bytes()].concat();
    let mut entries = described("bert", "bert", &tokens);
    entries.push(("tokenizer.ggml.unknown_token_id", id(0)));
    entries.push(("tokenizer.ggml.bos_token_id", id(1)));
    entries.push(("tokenizer.ggml.seperator_token_id", id(2)));
    entries.push(("tokenizer.ggml.padding_token_id", id(1)));
    entries.push(("tokenizer.ggml.mask_token_id", id(1)));
    load(&entries)
}

type Entry = (&'static str, Vec<u8>);

/// The entries that the file of every vocabulary has.
fn described(architecture: &str, kind: &str, tokens: &[(String, i32)]) -> Vec<Entry> {
    vec![
        ("general.architecture", string(architecture)),
        ("tokenizer.ggml.model", string(kind)),
        ("tokenizer.ggml.tokens", array(8, tokens.iter().map(|(text, _)| text_bytes(text)))),
        ("tokenizer.ggml.token_type", array(5, tokens.iter().map(|(_, kind)| kind.to_le_bytes().to_vec()))),
    ]
}

fn load(entries: &[Entry]) -> LlamaTokenizer {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"GGUF").unwrap();
    file.write_all(&3_u32.to_le_bytes()).unwrap();
    file.write_all(&0_u64.to_le_bytes()).unwrap();
    file.write_all(&(entries.len() as u64).to_le_bytes()).unwrap();
    for (key, value) in entries {
        file.write_all(&text_bytes(key)).unwrap();
        file.write_all(value).unwrap();
    }
    file.write_all(&[0; 64]).unwrap();
    file.flush().unwrap();
    let params = LlamaModelParams::default().with_vocab_only(true);
    LlamaTokenizer::new(Arc::new(LlamaModel::load_from_file(backend().unwrap(), file.path(), &params).unwrap()))
}

fn text_bytes(text: &str) -> Vec<u8> {
    [(text.len() as u64).to_le_bytes().to_vec(), text.as_bytes().to_vec()].concat()
}

fn string(text: &str) -> Vec<u8> {
    [8_u32.to_le_bytes().to_vec(), text_bytes(text)].concat()
}

fn array(kind: u32, items: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = [9_u32.to_le_bytes(), kind.to_le_bytes()].concat();
    bytes.extend((items.len() as u64).to_le_bytes());
    bytes.extend(items.flatten());
    bytes
}

/// The text of each token.
fn spelled(tokenizer: &LlamaTokenizer, text: &str, special: &SpecialText) -> Vec<String> {
    let tokens = tokenizer.encode(text, false, special).unwrap();
    tokens.iter().map(|token| String::from_utf8_lossy(tokenizer.piece(*token, true)).into_owned()).collect()
}

/// The counterpart of Meta's `encode_infilling` for a suffix, where `encode` puts a space in front.
#[test]
fn a_continuation_gets_no_space_in_front_and_keeps_its_own() {
    let pieces = ["▁", "a", "b", "(", ")", "▁a", "▁b", "ab", "▁ab", "▁▁", "▁<PRE>", "▁<SUF>", "▁<MID>"];
    let tokenizer = sentencepiece(&pieces, true);
    let rows: [(&str, &[&str], &[&str]); 7] = [
        ("ab", &[" ab"], &["ab"]),
        (" ab", &[" ", " ab"], &[" ab"]),
        ("(ab)", &[" ", "(", "ab", ")"], &["(", "ab", ")"]),
        ("\nab", &[" ", "\n", "ab"], &["\n", "ab"]),
        ("\u{1}b", &[" ", "\u{1}", "b"], &["\u{1}", "b"]),
        ("é", &[" ", "\u{FFFD}", "\u{FFFD}"], &["\u{FFFD}", "\u{FFFD}"]),
        ("", &[], &[]),
    ];
    for (text, plain, continuation) in rows {
        assert_eq!(spelled(&tokenizer, text, &SpecialText::Plain), plain, "{text:?}");
        assert_eq!(spelled(&tokenizer, text, &SpecialText::Continuation), continuation, "{text:?}");
    }
}

#[test]
fn a_vocabulary_without_the_space_takes_a_continuation_as_any_text() {
    let tokenizer = sentencepiece(&["▁", "a", "b", "▁a"], false);

    assert_eq!(spelled(&tokenizer, "ab", &SpecialText::Plain), ["a", "b"]);
    assert_eq!(spelled(&tokenizer, "ab", &SpecialText::Continuation), ["a", "b"]);
}

/// Text that no vocabulary of words can express is one unknown token; the words that spell that token are words.
#[test]
fn unknown_text_is_the_unknown_token_and_its_spelling_is_not() {
    // The converter writes all three as control tokens.
    let pieces =
        [("[UNK]", CONTROL), ("[CLS]", CONTROL), ("[SEP]", CONTROL), ("▁a", NORMAL), ("▁[", NORMAL), ("▁]", NORMAL), ("▁unk", NORMAL)];
    let tokenizer = word_pieces(&pieces);
    let ids = |text| tokenizer.encode(text, false, &SpecialText::Plain).unwrap();

    assert_eq!(ids("a 🗼 a"), [3, 0, 3].map(Token));
    assert_eq!(ids("[UNK] a"), [4, 6, 5, 3].map(Token));
}

/// A search through the text for each unknown token would take hours.
#[test]
fn a_text_of_nothing_but_unknown_words_takes_time_linear_in_its_length() {
    let tokenizer = word_pieces(&[("[UNK]", UNKNOWN), ("[CLS]", CONTROL), ("[SEP]", CONTROL), ("▁a", NORMAL)]);

    let tokens = tokenizer.encode(&"🗼 ".repeat(400_000), false, &SpecialText::Plain).unwrap();

    assert_eq!(tokens, vec![Token(0); 400_000]);
}

/// A word of any length may be one unknown token, and bytes that are no piece are dropped; other bytes are tokens of
/// their own.
#[test]
fn the_bytes_of_a_text_say_how_many_tokens_it_has_at_least_where_nothing_of_it_is_lost() {
    let words = word_pieces(&[("[UNK]", UNKNOWN), ("[CLS]", CONTROL), ("[SEP]", CONTROL), ("▁a", NORMAL)]);
    let pieces = sentencepiece(&["▁", "a", "▁<PRE>", "aaaaaaaaaaaa"], true);

    assert_eq!((words.piece_bytes(), pieces.piece_bytes()), (None, Some((12, [].as_slice()))));
    for unit in ["a", " ", "\n", "</s>", "The river ran. ", "😀", "<|endoftext|>"] {
        let text = unit.repeat(600);
        let tokens = pieces.encode(&text, false, &SpecialText::Recognised).unwrap();
        assert!(tokens.len() >= text.len().div_ceil(12), "{unit:?}: {} tokens", tokens.len());
    }
    // The default model lacks some control characters.
    if let Some(smollm2) = vocabulary().map(LlamaTokenizer::new) {
        let (longest, dropped) = smollm2.piece_bytes().unwrap();
        assert_eq!((longest > 12, &dropped[..2]), (true, [4, 6].as_slice()));
        assert_eq!(smollm2.encode("\u{4}\u{6}", false, &SpecialText::Plain), Ok(Vec::new()));
    }
}

/// The tokens for filling in the middle are control tokens, though the file says otherwise; a user who writes them gets
/// plain text.
#[test]
fn no_text_of_a_user_becomes_a_token_of_the_hole() {
    let tokenizer = sentencepiece(&["▁", "<", ">", "PRE", "▁<PRE>", "▁<SUF>", "▁<MID>"], true);
    let control: Vec<Token> = tokenizer.control_tokens().into_iter().map(|(_, token)| token).collect();
    assert!(control.len() >= 5, "{control:?}");

    for text in ["<PRE>", " <PRE>", "x <MID> <SUF>", "<s></s>", "▁<MID>"] {
        for special in [SpecialText::Plain, SpecialText::Continuation] {
            let tokens = tokenizer.encode(text, false, &special).unwrap();

            assert!(!tokens.iter().any(|token| control.contains(token)), "{text:?} {special:?}: {tokens:?}");
        }
    }
}
