//! The special tokens before and after an input that is embedded: a text, or a query with a document.
//!
//! Taken from the vocabulary, as llama.cpp's own tokenizer and its server's `format_rerank` do, or from the file's
//! `rerank` template.

use super::tokenizer::LlamaTokenizer;
use crate::{
    engine::runner::Tokenizer,
    protocol::{LoadError, SpecialText, Token},
};
use llama_cpp_2::{model::LlamaModel, token::LlamaToken};

/// Maximum length of a template, bytes: it is tokenized on the engine thread, whose stack is small.
const MAX_TEMPLATE_BYTES: usize = 4096;

/// Tokens before a query, between the query and the document, and after the document.
type PairAffixes = (Vec<Token>, Vec<Token>, Vec<Token>);

/// The special tokens around a text, and around the two parts of a pair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SpecialTokenAffixes {
    /// Tokens before and after a text.
    pub(super) text: (Vec<Token>, Vec<Token>),
    pub(super) pair: PairAffixes,
}

/// The special tokens of a vocabulary; `None` for those that it does not put around a text.
#[derive(Debug, Clone, Copy)]
struct Specials {
    word_pieces: bool,
    bos: Option<Token>,
    eos: Option<Token>,
    sep: Option<Token>,
}

/// Reads the affixes of a model. The returned tokenizer adds those of a text.
///
/// # Errors
/// `Unsupported` for a malformed template.
pub(super) fn read(model: &LlamaModel, tokenizer: LlamaTokenizer) -> Result<(SpecialTokenAffixes, LlamaTokenizer), LoadError> {
    let vocab = model.vocab();
    let word_pieces = model.meta_val_str("tokenizer.ggml.model").is_ok_and(|kind| kind == "bert");
    let wanted = |token: LlamaToken, wanted: bool| u32::try_from(token.0).ok().filter(|_| wanted).map(Token);
    let specials = Specials {
        word_pieces,
        bos: wanted(vocab.bos(), word_pieces || vocab.should_add_bos()),
        eos: wanted(vocab.eos(), vocab.should_add_eos()),
        sep: wanted(vocab.sep(), word_pieces || vocab.should_add_sep()),
    };
    let mut affixes = affixes_of(specials);
    let opening = affixes.text.0.first().copied();
    let tokenizer = tokenizer.around(opening, affixes.text.1.first().copied());
    if let Ok(template) = model.meta_val_str("tokenizer.chat_template.rerank") {
        affixes.pair = of_template(&template, &tokenizer)?;
    }
    Ok((affixes, tokenizer))
}

/// The affixes of a vocabulary: BERT's `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`; RoBERTa's `<s> a </s>` and
/// `<s> a </s></s> b </s>`; others likewise.
fn affixes_of(specials: Specials) -> SpecialTokenAffixes {
    let list = |token: Option<Token>| token.into_iter().collect::<Vec<_>>();
    let Specials { word_pieces, bos, eos, sep } = specials;
    if word_pieces {
        return SpecialTokenAffixes { text: (list(bos), list(sep)), pair: (list(bos), list(sep), list(sep)) };
    }
    SpecialTokenAffixes { text: (list(bos), list(eos)), pair: (list(bos), eos.into_iter().chain(sep).collect(), list(eos)) }
}

/// The parts of a template before, between and after `{query}` and `{document}`, as tokens.
fn of_template(template: &str, tokenizer: &LlamaTokenizer) -> Result<PairAffixes, LoadError> {
    let refuse = |reason: String| LoadError::Unsupported(format!("its rerank template {reason}"));
    if template.len() > MAX_TEMPLATE_BYTES {
        return Err(refuse(format!("is longer than {MAX_TEMPLATE_BYTES} bytes")));
    }
    let parts = template.split_once("{query}").and_then(|(before, rest)| Some((before, rest.split_once("{document}")?)));
    let Some((before, (between, after))) = parts else { return Err(refuse("does not name {query} and then {document}".to_owned())) };
    let tokens = |text: &str| tokenizer.encode(text, false, &SpecialText::Recognised).map_err(|error| refuse(error.to_string()));
    Ok((tokens(before)?, tokens(between)?, tokens(after)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_put_together_as_the_models_were_trained() {
        let [bos, eos, sep] = [0, 1, 2].map(Token);
        let bert = affixes_of(Specials { word_pieces: true, bos: Some(bos), eos: None, sep: Some(sep) });
        let roberta = affixes_of(Specials { word_pieces: false, bos: Some(bos), eos: Some(eos), sep: Some(sep) });
        let decoder = affixes_of(Specials { word_pieces: false, bos: None, eos: Some(eos), sep: None });

        assert_eq!((bert.text, bert.pair), ((vec![bos], vec![sep]), (vec![bos], vec![sep], vec![sep])));
        assert_eq!((roberta.text, roberta.pair), ((vec![bos], vec![eos]), (vec![bos], vec![eos, sep], vec![eos])));
        assert_eq!((decoder.text, decoder.pair), ((vec![], vec![eos]), (vec![], vec![eos], vec![eos])));
    }
}
