//! Names of files that are often taken for GGUF files, by their first bytes.

/// Bytes that are looked at.
pub(super) const BYTES: u64 = 64;

/// A description of a file that does not begin as a GGUF file does, and the remedy where one is known.
pub(super) fn describe(beginning: &[u8]) -> String {
    let text = beginning.trim_ascii_start();
    let is_safetensors = beginning.get(8..10) == Some(b"{\"");
    let known = match beginning {
        [] => "it is empty",
        _ if beginning.starts_with(b"version https://git-lfs") => "it is a Git LFS pointer; `git lfs pull` fetches the model itself",
        _ if text.starts_with(b"<") => "it is a web page, which the download saved instead of the model",
        _ if is_safetensors => "it is a safetensors file; llama.cpp's convert_hf_to_gguf.py converts the model",
        _ if text.starts_with(b"{") => "it is JSON, perhaps the answer to a download that failed",
        _ if beginning.starts_with(b"PK\x03\x04") => "it is a ZIP archive, perhaps with PyTorch weights",
        _ if beginning.starts_with(&[0x1f, 0x8b]) => "it is compressed with gzip; unpack it first",
        _ if [b"lmgg", b"tjgg", b"fmgg", b"algg"].iter().any(|magic| beginning.starts_with(*magic)) => {
            "it is a GGML file of the time before GGUF; fetch a newer one"
        }
        _ => return format!("it begins with \"{}\"", beginning.get(..4).unwrap_or(beginning).escape_ascii()),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn files_that_are_no_models_have_their_names() {
        let rows: [(&[u8], &str); 11] = [
            (b"", "it is empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer; `git lfs pull`"),
            (b"<!DOCTYPE html>", "a web page"),
            (b"\n  <html>", "a web page"),
            (b"\x10\0\0\0\0\0\0\0{\"__metadata__\"", "a safetensors file"),
            (b"{\"error\":\"Entry not found\"}", "JSON"),
            (b"PK\x03\x04archive", "ZIP archive"),
            (&[0x1f, 0x8b, 8, 0], "gzip"),
            (b"tjgg\x03\0\0\0", "before GGUF"),
            (b"abcdef", r#"it begins with "abcd""#),
            (b"a\"", r#"it begins with "a\"""#),
        ];
        for (beginning, words) in rows {
            assert!(describe(beginning).contains(words), "{beginning:?}: {}", describe(beginning));
        }
    }
}
