//! Parts of a schema that texts are not held to, in words for its author.

/// Largest number of notes; the others are counted.
const MAX_NOTES: usize = 8;
/// Longest note, characters.
const MAX_LENGTH: usize = 240;

/// Notes in the order of the schema, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::constrain) struct Notes {
    notes: Vec<String>,
    others: usize,
}

impl Notes {
    /// Adds a note. Only visible ASCII and spaces of it are kept, since it goes into a header.
    pub(super) fn add(&mut self, note: &str) {
        let note: String = note.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(MAX_LENGTH).collect();
        if self.notes.contains(&note) {
            return;
        }
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        } else {
            self.others += 1;
        }
    }

    /// Adds the notes of another schema.
    pub(in crate::constrain) fn append(&mut self, other: &Self) {
        other.notes.iter().for_each(|note| self.add(note));
        self.others += other.others;
    }

    /// All notes as texts.
    pub(in crate::constrain) fn into_texts(self) -> Vec<String> {
        let others = (self.others > 0).then(|| format!("{} more parts of the schema are not enforced", self.others));
        self.notes.into_iter().chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_short_few_and_fit_into_a_header() {
        let mut notes = Notes::default();
        for n in 0..10 {
            notes.add(&format!("note {n}\r\n\u{e9}"));
            notes.add(&format!("note {n}"));
        }
        notes.add(&"x".repeat(1_000));

        let texts = notes.into_texts();

        assert_eq!((texts.len(), texts[0].as_str(), texts[8].as_str()), (9, "note 0", "5 more parts of the schema are not enforced"));
    }
}
