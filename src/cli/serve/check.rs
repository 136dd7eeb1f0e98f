//! `--check-config`: checks the models as far as that goes without fetching or loading them, and lists the notes that a
//! start would log.

use crate::{
    config::{ConfigErrors, Environment, LoadedConfig},
    models::{Catalog, LocalModel, ModelSearch, Resolved},
    protocol::{EngineOptions, RopeScaling},
};

/// Checks the models of a configuration. Returns the report, a line for each fact.
///
/// # Errors
/// A model cannot be used, or not with the context that was asked for.
pub(super) fn check(loaded: &LoadedConfig, environment: &Environment) -> Result<String, ConfigErrors> {
    let config = &loaded.config;
    let search = ModelSearch { models_dir: config.models_dir.as_deref(), environment, catalog: Catalog::embedded() };
    let mut report: Vec<String> = loaded.notes.iter().map(|note| format!("note: {note}")).collect();
    let models = [("model", Some(&config.model)), ("draft_model", config.draft_model.as_ref())];
    for (option, name) in models.into_iter().filter_map(|(option, name)| Some((option, name?))) {
        let problem = |message: String| ConfigErrors::one(option, message);
        match search.look(name).map_err(|error| problem(format!("{:#}", anyhow::Error::from(error))))? {
            LocalModel::Here(model) => {
                // A draft model that was trained for less is used as far as that goes.
                if option == "model" {
                    check_length(&model, &config.engine).map_err(problem)?;
                }
                report.push(format!("{option}: {}", described(&model)));
            }
            LocalModel::ToBeFetched => report.push(format!("{option}: {name} is not here yet; the start fetches it")),
        }
    }
    report.push("the configuration is fine\n".to_owned());
    Ok(report.join("\n"))
}

/// llama.cpp's rule, of which the engine would tell after the model was loaded.
fn check_length(model: &Resolved, options: &EngineOptions) -> Result<(), String> {
    match (options.max_model_len, model.summary.context_length) {
        (Some(wanted), Some(trained)) if wanted > trained && options.rope_scaling == RopeScaling::Model => Err(format!(
            "--max-model-len {wanted} is longer than the {trained} tokens that {} was trained for, and --rope-scaling is not given",
            model.path.display()
        )),
        _ => Ok(()),
    }
}

fn described(model: &Resolved) -> String {
    let kind = model.summary.quantization().map_or_else(String::new, |kind| format!(", {kind}"));
    let trained = model.summary.context_length.map_or_else(String::new, |length| format!(", trained for {length} tokens"));
    format!("{} ({}{kind}{trained})", model.path.display(), model.summary.architecture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, load};

    fn checked(flags: &[(&'static str, &str)], environment: &Environment) -> Result<String, ConfigErrors> {
        let values = flags.iter().map(|(key, value)| (*key, vec![(*value).to_owned()])).collect();
        check(&load(&Flags { values, ..Flags::default() }, environment).unwrap(), environment)
    }

    #[test]
    fn the_path_of_the_model_and_its_length_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.gguf");
        std::fs::write(&file, crate::models::gguf::tests::tiny_gguf()).unwrap();
        let model = file.to_str().unwrap();
        let environment = Environment::of([("LLAMERO_MODLE", "x"), ("LLAMERO_MODELS_DIR", folder.path().to_str().unwrap())]);

        let fine = checked(&[("model", model), ("max_model_len", "2048")], &environment).unwrap();
        let long = checked(&[("model", model), ("max_model_len", "2049")], &environment).unwrap_err();
        let missing = checked(&[("model", "/no/such.gguf")], &environment).unwrap_err();
        let draft = checked(&[("model", model), ("draft_model", "./none.gguf")], &environment).unwrap_err();
        let known = checked(&[("model", "codellama-7b")], &environment).unwrap();

        let expected = format!(
            "note: LLAMERO_MODLE is not an option and is ignored; did you mean LLAMERO_MODEL?\n\
             model: {model} (llama, Q4_1, trained for 2048 tokens)\nthe configuration is fine\n"
        );
        assert_eq!(fine, expected);
        assert!(long.to_string().starts_with("model: --max-model-len 2049 is longer than the 2048 tokens"), "{long}");
        assert_eq!(missing.to_string(), "model: there is no file /no/such.gguf");
        assert_eq!(draft.to_string(), "draft_model: there is no file ./none.gguf");
        assert!(known.contains("model: codellama-7b is not here yet; the start fetches it"), "{known}");
    }
}
