//! Refuses models that cannot be served, with the reason, before a call that would end the process instead of failing.
//!
//! Three checks: the file's header, the architecture (decoders and encoders can be served), the vocabulary (llama.cpp
//! asserts or throws for vocabularies that ask for a BOS or for byte tokens and lack them).

use super::text_limits::is_hopeless;
use crate::protocol::LoadError;
use llama_cpp_2::{model::LlamaModel, token::LlamaToken};
use std::{collections::HashSet, fs::File, io::Read, path::Path};

/// Bytes of magic, version, tensor count and metadata count.
const HEADER_BYTES: usize = 4 + 4 + 8 + 8;

/// Maximum number of tensors or of metadata entries. No model has more, and with a larger count llama.cpp would
/// allocate first and check later.
const MAX_HEADER_COUNT: u64 = 1 << 20;

/// Architectures that neither generate from left to right nor embed (llama.cpp's `LLM_ARCH_NAMES`): encoders with a
/// decoder, diffusion models, speculative heads, vocoders and projectors.
const NEITHER: [&str; 10] =
    ["t5", "t5encoder", "dream", "llada", "llada-moe", "rnd1", "gemma4-assistant", "eagle3", "dflash", "wavtokenizer-dec"];

/// Checks the first bytes of the file at `path`, which users call `name`.
///
/// # Errors
/// `NotFound`, or `NotGguf` with the reason.
pub(super) fn check_header(path: &Path, name: &Path) -> Result<(), LoadError> {
    let name = || name.display().to_string();
    if !path.is_file() {
        return Err(LoadError::NotFound(name()));
    }
    let mut header = [0_u8; HEADER_BYTES];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.map_err(|error| LoadError::NotGguf(format!("{}: {error}", name())))?;
    header_fault(&header).map_or(Ok(()), |fault| Err(LoadError::NotGguf(format!("{}: {fault}", name()))))
}

fn header_fault(header: &[u8; HEADER_BYTES]) -> Option<String> {
    if &header[..4] != b"GGUF" {
        return Some("it does not begin with GGUF".to_owned());
    }
    let number = |at: usize, len: usize| header[at..at + len].iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    match (number(4, 4), number(8, 8), number(16, 8)) {
        (2 | 3, tensors, entries) if tensors <= MAX_HEADER_COUNT && entries <= MAX_HEADER_COUNT => None,
        (2 | 3, tensors, entries) => Some(format!("{tensors} tensors and {entries} metadata entries are not plausible")),
        (version, ..) => Some(format!("version {version} is not supported, or the file is big-endian")),
    }
}

/// Refuses a loaded model that cannot be served.
///
/// # Errors
/// `Unsupported` with the name of the missing part.
pub(super) fn check_model(model: &LlamaModel, embeds: bool) -> Result<(), LoadError> {
    check_architecture(&architecture(model))?;
    let vocab = model.vocab();
    if vocab.n_tokens() < 1 {
        return refuse("it has no vocabulary".to_owned());
    }
    let kind = model.meta_val_str("tokenizer.ggml.model").unwrap_or_default();
    match kind.as_str() {
        "" | "none" | "no_vocab" => return refuse("it has no vocabulary".to_owned()),
        "bert" if embeds => return check_word_pieces(model),
        "bert" => return refuse("its vocabulary is that of an encoder".to_owned()),
        _ => {}
    }
    if is_hopeless(&model.meta_val_str("tokenizer.ggml.pre").unwrap_or_default()) {
        return refuse("llama.cpp needs minutes to split some texts for its vocabulary".to_owned());
    }
    // llama.cpp asserts if a vocabulary wants a BOS in front of a text and has none.
    if vocab.should_add_bos() && vocab.bos() == LlamaToken::new(-1) {
        return refuse("its vocabulary wants a beginning-of-sequence token and has none".to_owned());
    }
    if embeds && vocab.should_add_eos() && vocab.eos() == LlamaToken::new(-1) {
        return refuse("its vocabulary wants an end-of-sequence token and has none".to_owned());
    }
    // SentencePiece and PLaMo fall back to byte tokens and throw if one is missing; other vocabularies skip the byte.
    if matches!(kind.as_str(), "llama" | "plamo2") {
        let texts: HashSet<&[u8]> = vocab.tokens().filter_map(|token| Some(vocab.text(token)?.to_bytes())).collect();
        if let Some(byte) = missing_byte(&texts) {
            return refuse(format!("its vocabulary has no token for byte 0x{byte:02X}, which any text may need"));
        }
    }
    Ok(())
}

/// Checks a vocabulary of word pieces. llama.cpp puts its classification and separator tokens around every text, and
/// its unknown token for text without a piece, whatever the file says about them.
fn check_word_pieces(model: &LlamaModel) -> Result<(), LoadError> {
    /// llama.cpp's default for files that name none (`llama_vocab::impl::load`).
    const DEFAULT_UNKNOWN: i32 = 100;

    let vocab = model.vocab();
    let named = model.meta_val_str("tokenizer.ggml.unknown_token_id").ok().and_then(|id| id.parse().ok());
    let unknown = LlamaToken::new(named.unwrap_or(DEFAULT_UNKNOWN));
    for (name, token) in [("classification", vocab.bos()), ("separator", vocab.sep()), ("unknown", unknown)] {
        if !(0..vocab.n_tokens()).contains(&token.0) {
            return refuse(format!("its vocabulary of word pieces has no {name} token"));
        }
    }
    Ok(())
}

/// The entry `general.architecture`; empty if the file has none.
pub(super) fn architecture(model: &LlamaModel) -> String {
    model.meta_val_str("general.architecture").unwrap_or_default()
}

fn check_architecture(architecture: &str) -> Result<(), LoadError> {
    if NEITHER.contains(&architecture) {
        return refuse(format!("{architecture} models neither generate text from left to right nor embed it"));
    }
    Ok(())
}

/// The first byte that has neither a token `<0xHH>` nor one of the byte itself.
fn missing_byte(texts: &HashSet<&[u8]>) -> Option<u8> {
    (0..=u8::MAX).find(|byte| {
        let spelled = format!("<0x{byte:02X}>");
        !texts.contains(spelled.as_bytes()) && !texts.contains([*byte].as_slice())
    })
}

fn refuse<T>(reason: String) -> Result<T, LoadError> {
    Err(LoadError::Unsupported(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn header(magic: &[u8; 4], version: u32, tensors: u64, entries: u64) -> [u8; HEADER_BYTES] {
        let bytes = [magic.as_slice(), &version.to_le_bytes(), &tensors.to_le_bytes(), &entries.to_le_bytes()].concat();
        bytes.try_into().unwrap()
    }

    #[test]
    fn a_plausible_header_passes_and_each_fault_is_named() {
        assert_eq!(header_fault(&header(b"GGUF", 3, 272, 33)), None);
        assert_eq!(header_fault(&header(b"GGUF", 2, MAX_HEADER_COUNT, MAX_HEADER_COUNT)), None);
        assert!(header_fault(&header(b"GGML", 3, 1, 1)).unwrap().contains("begin with GGUF"));
        assert!(header_fault(&header(b"GGUF", 1, 1, 1)).unwrap().contains("version 1"));
        assert!(header_fault(&header(b"GGUF", 3_u32.swap_bytes(), 1, 1)).unwrap().contains("big-endian"));
        assert!(header_fault(&header(b"GGUF", 3, MAX_HEADER_COUNT + 1, 1)).unwrap().contains("not plausible"));
        assert!(header_fault(&header(b"GGUF", 3, 1, u64::MAX)).unwrap().contains("not plausible"));
    }

    #[test]
    fn a_missing_file_and_a_cut_one_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let cut = folder.path().join("cut.gguf");
        File::create(&cut).unwrap().write_all(b"GGUF\x03").unwrap();

        let check = |path: &Path| check_header(path, Path::new("model"));
        assert_eq!(check(&folder.path().join("none.gguf")), Err(LoadError::NotFound("model".to_owned())));
        assert!(matches!(check(folder.path()), Err(LoadError::NotFound(_))));
        assert!(matches!(check(&cut), Err(LoadError::NotGguf(_))));
    }

    #[test]
    fn decoders_and_encoders_are_served_and_nothing_else() {
        assert_eq!(check_architecture("llama"), Ok(()));
        assert_eq!(check_architecture("nomic-bert"), Ok(()));
        assert!(check_architecture("t5").is_err());
        assert!(check_architecture("llada").is_err());
    }

    #[test]
    fn a_vocabulary_without_a_byte_is_found_out() {
        let spelled: Vec<String> = (0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>")).collect();
        let mut texts: HashSet<&[u8]> = spelled.iter().map(String::as_bytes).collect();
        assert_eq!(missing_byte(&texts), None);

        texts.remove(b"<0x0A>".as_slice());
        assert_eq!(missing_byte(&texts), Some(b'\n'));
        texts.insert(b"\n");
        assert_eq!(missing_byte(&texts), None);
    }
}
