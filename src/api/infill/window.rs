//! Cuts the texts around the cursor to the context: an editor sends more than fits and expects an answer.
//!
//! llama-server cuts to a batch, three parts prefix to one part suffix, and fills the rest of the context with other
//! files. Here only the context limits the prompt, room for the answer is set aside first, and every cut is reported.
//!
//! ```text
//! BOS │ other files, whole ones, the last of them │ PRE │ end of the prefix │ SUF │ begin of the suffix │ MID │ answer
//! ```

use super::request::{ExtraFile, Texts};
use crate::{
    api::{
        error::ApiError,
        openai::{
            completions::fim::{FimPrompt, FimTexts, begin},
            shared::room::{self, TokenLimit},
        },
    },
    gateway::handle::EngineHandle,
    protocol::{FimTokens, ModelInfo, SpecialText, Token},
};
use futures_util::future::try_join_all;

/// The names that the repository and the file with the cursor get, because requests do not name them. They are
/// llama-server's.
const REPOSITORY: &str = "myproject\n";
const FILE: &str = "filename\n";
/// The text before each other file if the vocabulary has no mark for files (llama-server's).
const SNIPPET: &str = "\n\n--- snippet ---\n\n";
/// Number of tokens for BOS and the three marks.
const MARKS: usize = 4;

/// A prompt that fits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// The prompt with all marks.
    pub(super) prompt: Vec<Token>,
    /// The maximum number of tokens to generate after the prompt.
    pub(super) max_tokens: u32,
    /// True if `max_tokens` is less than asked for.
    pub(super) is_cut_short: bool,
    /// Fields that were cut, each with its warning.
    pub(super) cuts: Vec<(&'static str, String)>,
}

/// Tokenizes the texts and fits them into the context.
///
/// # Errors
/// A text cannot be tokenized, or the engine is not available.
pub(super) async fn fit(
    engine: &EngineHandle,
    model: &ModelInfo,
    marks: &FimTokens,
    texts: Texts,
    limit: TokenLimit,
) -> Result<Window, ApiError> {
    let prompt = FimPrompt { prefix: texts.prefix, suffix: texts.suffix };
    let (hole, extra) =
        tokio::try_join!(prompt.tokenize(engine, "input_prefix", "input_suffix"), Extra::tokenize(engine, marks, texts.extra))?;
    Ok(cut(model, marks, hole, &extra, limit))
}

/// Other files as tokens.
#[derive(Debug, Default, PartialEq, Eq)]
struct Extra {
    /// The tokens before the files, if the prompt contains any file.
    before: Vec<Token>,
    /// The tokens of each file, with its mark and name.
    files: Vec<Vec<Token>>,
    /// The tokens after the files.
    after: Vec<Token>,
}

impl Extra {
    async fn tokenize(engine: &EngineHandle, marks: &FimTokens, files: Vec<ExtraFile>) -> Result<Self, ApiError> {
        if files.is_empty() {
            return Ok(Self::default());
        }
        let plain = async |mark: Option<Token>, text: String| {
            let tokens = engine.tokenize(text, false, SpecialText::Plain).await;
            let tokens = tokens.map_err(|error| ApiError::of_text("input_extra", error))?;
            Ok::<_, ApiError>(mark.into_iter().chain(tokens).collect::<Vec<Token>>())
        };
        let written =
            |ExtraFile { filename, text }| if marks.file.is_some() { format!("{filename}\n{text}") } else { format!("{SNIPPET}{text}") };
        let files = try_join_all(files.into_iter().map(|file| plain(marks.file, written(file)))).await?;
        let before = if marks.repository.is_some() { plain(marks.repository, REPOSITORY.to_owned()).await? } else { Vec::new() };
        let after = if marks.file.is_some() { plain(marks.file, FILE.to_owned()).await? } else { Vec::new() };
        Ok(Self { before, files, after })
    }

    /// The tokens of the last files that fit into `room` together, and the number of files left out.
    fn within(&self, room: usize) -> (Vec<Token>, usize) {
        let mut left = room.saturating_sub(self.before.len() + self.after.len());
        let fits = |file: &&Vec<Token>| {
            let fits = file.len() <= left;
            left = left.saturating_sub(file.len());
            fits
        };
        let shown = self.files.iter().rev().take_while(fits).count();
        let dropped = self.files.len() - shown;
        if shown == 0 {
            return (Vec::new(), dropped);
        }
        ([&self.before[..], &self.files[dropped..].concat(), &self.after].concat(), dropped)
    }
}

/// Fits tokens into the context; see the module.
fn cut(model: &ModelInfo, marks: &FimTokens, mut hole: FimTexts, extra: &Extra, limit: TokenLimit) -> Window {
    let context = usize::try_from(model.max_model_len).unwrap_or(usize::MAX);
    let asked = limit.tokens().map(|most| usize::try_from(most).unwrap_or(usize::MAX));
    // The answer gets at least one token.
    let reserved = usize::try_from(room::reserved(limit.cap, model.max_model_len.into())).unwrap_or(context).max(1);
    let room = context.saturating_sub(reserved + MARKS);

    let mut cuts = Vec::new();
    let suffix = hole.suffix.len().min(room.saturating_sub(hole.prefix.len()).max(room / 4));
    let prefix = hole.prefix.len().min(room - suffix);
    if prefix < hole.prefix.len() {
        hole.prefix.drain(..hole.prefix.len() - prefix);
        cuts.push(("input_prefix", format!("input_prefix was cut to its last {prefix} tokens")));
    }
    if suffix < hole.suffix.len() {
        hole.suffix.truncate(suffix);
        cuts.push(("input_suffix", format!("input_suffix was cut to its first {suffix} tokens")));
    }
    let (context_tokens, dropped) = extra.within(room - prefix - suffix);
    if dropped > 0 {
        cuts.push(("input_extra", format!("the first {dropped} entries of input_extra were left out")));
    }
    let prompt = hole.assemble(begin(model), marks, &context_tokens);
    let left = context.saturating_sub(prompt.len());
    let max_tokens = asked.map_or(left, |asked| asked.min(left));
    if asked.is_some_and(|asked| asked > left) {
        cuts.push((limit.field, room::reduced(limit.field, left)));
    }
    Window {
        prompt,
        max_tokens: u32::try_from(max_tokens).unwrap_or(model.max_model_len),
        is_cut_short: asked.is_none_or(|asked| asked > left),
        cuts,
    }
}

#[cfg(test)]
mod tests;
