//! Finds the files into which a model was split, by their names.

use std::path::{Path, PathBuf};

/// The files of the model to which the given file belongs: all of `name-00001-of-00003.gguf` (`llama_split_path`), or
/// just the given one.
pub(super) fn parts(model: &Path) -> Vec<PathBuf> {
    let split = || {
        let (start, of) = model.file_stem()?.to_str()?.rsplit_once("-of-")?;
        let (name, part) = start.rsplit_once('-')?;
        let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        let count: u32 = of.parse().ok().filter(|count| *count > 0 && is_number(of) && is_number(part))?;
        Some((1..=count).map(|part| model.with_file_name(format!("{name}-{part:05}-of-{of}.gguf"))).collect())
    };
    split().unwrap_or_else(|| vec![model.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_of_a_model_count() {
        let names = |model: &str| parts(Path::new(model)).iter().map(|part| part.display().to_string()).collect::<Vec<_>>();

        assert_eq!(names("a/m-00001-of-00002.gguf"), ["a/m-00001-of-00002.gguf", "a/m-00002-of-00002.gguf"]);
        for whole in ["a/m.gguf", "a/best-of-both.gguf", "a/m-1-of-2.gguf", "a/m-00001-of-00000.gguf"] {
            assert_eq!(names(whole), [whole]);
        }
    }
}
