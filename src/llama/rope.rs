//! The rotation of positions beyond the context that a model was trained for.
//!
//! llama.cpp's `llama_context` has the same three ways. `--rope-scale` says how often the context is stretched, as
//! there; without it, that follows from `--max-model-len`.

use crate::protocol::{EngineOptions, LoadError, RopeScaling};

pub(super) fn unsupported<T>(reason: String) -> Result<T, LoadError> {
    Err(LoadError::Unsupported(reason))
}

/// The context that a model was trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trained {
    /// Its length, tokens; 0 if the file does not say it.
    pub length: u32,
    /// The number of times that the file itself stretches a shorter context, in thousandths (`rope.scaling.factor`);
    /// 1,000 is not at all.
    pub stretched_thousandths: u32,
    /// True if positions are rotations, which can be computed for any position. Other models have a table of them.
    pub rotates: bool,
}

/// The way in which positions are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rope {
    /// As the model's file says.
    Model,
    /// Without any scale.
    Unscaled,
    /// All positions are divided.
    Linear(Stretch),
    /// `YaRN`.
    Yarn(Stretch),
}

/// The number of times that a context is stretched: `to / from`, besides what the file itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    from: u32,
    to: u32,
    stretched_thousandths: u32,
}

impl Stretch {
    /// llama.cpp's `rope_freq_scale`: the inverse of the number of times.
    #[expect(clippy::cast_possible_truncation, reason = "an f32 of llama.cpp's")]
    pub(super) fn freq_scale(self) -> f32 {
        let file = 1000.0 / f64::from(self.stretched_thousandths.max(1));
        (f64::from(self.from) / f64::from(self.to) * file) as f32
    }
}

/// The number of times that the model's file stretches a shorter context, in thousandths (llama.cpp's
/// `LLM_KV_ROPE_SCALING_FACTOR` and its earlier name). `metadata` reads an entry of the file.
pub(super) fn stretched_thousandths(architecture: &str, metadata: impl Fn(&str) -> Option<String>) -> u32 {
    let named = ["rope.scaling.factor", "rope.scale_linear"].iter().find_map(|key| metadata(&format!("{architecture}.{key}")));
    let times = named.and_then(|text| text.parse::<f64>().ok()).filter(|times| *times >= 1.0);
    rounded(1000.0 * times.unwrap_or(1.0))
}

/// The longest context that the options allow, tokens.
///
/// # Errors
/// `Unsupported`, with the option to change.
pub(super) fn longest(options: &EngineOptions, trained: Trained) -> Result<u32, LoadError> {
    let length = trained.length;
    if length == 0 {
        return unsupported("the file does not say which context the model was trained for".to_owned());
    }
    if options.rope_scaling != RopeScaling::Model && !trained.rotates {
        return unsupported("--rope-scaling is for models whose positions are rotations; this model has a table of positions".to_owned());
    }
    match (options.max_model_len, options.rope_scaling) {
        (Some(0), _) => unsupported("--max-model-len must be at least 1".to_owned()),
        (Some(wanted), RopeScaling::Model) if wanted > length => {
            let stretch = if trained.rotates { ", or stretch its context with --rope-scaling yarn" } else { "" };
            unsupported(format!(
                "--max-model-len {wanted} is longer than the {length} tokens that the model was trained for; \
                 ask for at most {length}{stretch}"
            ))
        }
        (Some(wanted), _) => Ok(wanted),
        (None, RopeScaling::Model | RopeScaling::None) => Ok(length),
        (None, RopeScaling::Linear | RopeScaling::Yarn) => Ok(options.rope_scale.map_or(length, |times| trained.stretched(times))),
    }
}

/// The way in which positions up to `max_model_len` are rotated. A context that is not stretched stays as it was
/// trained.
pub(super) fn choose(options: &EngineOptions, trained: Trained, max_model_len: u32) -> Rope {
    let to = options.rope_scale.map_or(max_model_len.max(trained.length), |times| trained.stretched(times));
    let stretch = Stretch { from: trained.length, to, stretched_thousandths: trained.stretched_thousandths };
    match options.rope_scaling {
        RopeScaling::None => Rope::Unscaled,
        RopeScaling::Linear if stretch.to > stretch.from => Rope::Linear(stretch),
        RopeScaling::Yarn if stretch.to > stretch.from => Rope::Yarn(stretch),
        RopeScaling::Model | RopeScaling::Linear | RopeScaling::Yarn => Rope::Model,
    }
}

impl Trained {
    /// The context that is `times` as long as the one before the file's own stretch: llama.cpp's `--rope-scale`
    /// replaces that stretch.
    fn stretched(self, times: f32) -> u32 {
        rounded(f64::from(self.length) * f64::from(times) * 1000.0 / f64::from(self.stretched_thousandths.max(1)))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number ≥ 0, cut at u32::MAX by `as`")]
fn rounded(number: f64) -> u32 {
    number.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAINED: Trained = Trained { length: 8192, stretched_thousandths: 1000, rotates: true };

    fn options(rope_scaling: RopeScaling, max_model_len: Option<u32>) -> EngineOptions {
        EngineOptions { rope_scaling, max_model_len, ..EngineOptions::new("model.gguf".into()) }
    }

    fn refusal(options: &EngineOptions, trained: Trained) -> String {
        longest(options, trained).unwrap_err().to_string()
    }

    #[test]
    fn a_context_longer_than_the_training_context_is_refused_with_the_options_to_change() {
        let refused = refusal(&options(RopeScaling::Model, Some(8193)), TRAINED);

        assert!(refused.contains("--max-model-len 8193") && refused.contains("--rope-scaling yarn"), "{refused}");
        assert_eq!(longest(&options(RopeScaling::Model, Some(8192)), TRAINED).unwrap(), 8192);
    }

    #[test]
    fn with_any_way_of_scaling_a_context_may_be_longer_and_is_stretched_as_often_as_that_takes() {
        for way in [RopeScaling::None, RopeScaling::Linear, RopeScaling::Yarn] {
            assert_eq!(longest(&options(way, Some(32_768)), TRAINED).unwrap(), 32_768, "{way:?}");
        }
        let Rope::Yarn(stretch) = choose(&options(RopeScaling::Yarn, None), TRAINED, 32_768) else { panic!("not stretched") };

        assert!((stretch.freq_scale() - 0.25).abs() < 1e-9, "{stretch:?}");
        assert_eq!(choose(&options(RopeScaling::None, None), TRAINED, 32_768), Rope::Unscaled);
    }

    #[test]
    fn a_context_that_is_no_longer_than_the_training_context_is_computed_as_the_model_was_trained() {
        for way in [RopeScaling::Model, RopeScaling::Linear, RopeScaling::Yarn] {
            assert_eq!(choose(&options(way, None), TRAINED, 4096), Rope::Model, "{way:?}");
        }
    }

    #[test]
    fn a_scale_that_was_asked_for_is_kept_and_gives_the_default_length() {
        let asked = EngineOptions { rope_scale: Some(4.0), ..options(RopeScaling::Linear, None) };

        assert_eq!(longest(&asked, TRAINED).unwrap(), 32_768);
        let Rope::Linear(stretch) = choose(&asked, TRAINED, 2048) else { panic!("not stretched") };
        assert!((stretch.freq_scale() - 0.25).abs() < 1e-9, "{stretch:?}");
    }

    #[test]
    fn a_model_that_is_stretched_by_its_own_file_is_stretched_further() {
        let twice = Trained { stretched_thousandths: 2000, ..TRAINED };

        let Rope::Yarn(stretch) = choose(&options(RopeScaling::Yarn, None), twice, 32_768) else { panic!("not stretched") };

        assert!((stretch.freq_scale() - 0.125).abs() < 1e-9, "{stretch:?}");
        let asked = |times| EngineOptions { rope_scale: Some(times), ..options(RopeScaling::Yarn, None) };
        assert_eq!(choose(&asked(2.0), twice, 8192), Rope::Model, "the scale that was asked for is the file's");
        assert_eq!(longest(&asked(8.0), twice).unwrap(), 32_768);
    }

    #[test]
    fn a_model_with_a_table_of_positions_has_no_positions_beyond_it() {
        let table = Trained { rotates: false, ..TRAINED };

        assert!(refusal(&options(RopeScaling::Yarn, Some(16_384)), table).contains("table"));
        assert!(!refusal(&options(RopeScaling::Model, Some(16_384)), table).contains("yarn"));
        assert!(refusal(&options(RopeScaling::Model, None), Trained { length: 0, ..TRAINED }).contains("does not say"));
    }
}
