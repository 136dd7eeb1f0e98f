//! The identity of a model's files: the SHA-256 of their contents.
//!
//! Computed once for each file and stored in a folder of the caller's; a file that was changed since is read again.

use super::{
    checksum, marker,
    opened::{OpenedModel, difference},
    progress::Progress,
};
use std::{fs, io, path::Path};

/// The SHA-256 of a model, in hexadecimal: that of its file, or those of its parts joined by `+`. The first call reads
/// all files.
///
/// # Errors
/// A file cannot be read or is not the one that was opened, or `notes` cannot be written to.
pub fn model_checksum(model: &OpenedModel, notes: &Path) -> io::Result<String> {
    let mut sums = Vec::new();
    for file in &model.files {
        sums.push(file_checksum(&file.name, notes)?);
        if let Some(difference) = difference(file, &file.name)? {
            return Err(io::Error::other(format!("{}: {difference}; start again", file.name.display())));
        }
    }
    Ok(sums.join("+"))
}

fn file_checksum(file: &Path, notes: &Path) -> io::Result<String> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let note = notes.join(format!("{name}.ok"));
    if let Some(known) = marker::checksum(&note, file) {
        return Ok(known);
    }
    let progress = Progress::new(&format!("Checksum of {name}"), fs::metadata(file)?.len());
    let sum = checksum::of_file(file, &progress)?;
    progress.finish();
    marker::write(&note, file, Some(sum.clone()))?;
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_known_by_its_contents_and_read_once() {
        let (models, notes) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let model = models.path().join("m.gguf");
        fs::write(&model, "abc").unwrap();
        let opened = OpenedModel::open(&model).unwrap();
        let sum = model_checksum(&opened, notes.path()).unwrap();
        // FIPS 180-4, the example of one block.
        assert_eq!(sum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

        let note = notes.path().join("m.gguf.ok");
        marker::write(&note, &model, Some("noted".to_owned())).unwrap();
        assert_eq!(model_checksum(&opened, notes.path()).unwrap(), "noted", "it was not read again");

        fs::write(&model, "abcd").unwrap();
        assert!(model_checksum(&opened, notes.path()).unwrap_err().to_string().contains("4 bytes, and had 3"));
        let changed = model_checksum(&OpenedModel::open(&model).unwrap(), notes.path()).unwrap();
        assert!(changed != sum && changed != "noted", "another file by the same name");
    }
}
