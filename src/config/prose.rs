//! Breaks sentences into lines, for comments of configurations and for documents.

/// Longest line of prose, characters.
const MAX_LINE_CHARS: usize = 120;

/// `text` in lines of at most 120 characters. The first line begins with `first`, each other one with `rest`.
///
/// A word that is longer than a line has a line of its own.
pub(crate) fn wrapped(first: &str, rest: &str, text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            None => lines.push(format!("{first}{word}")),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= MAX_LINE_CHARS => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(format!("{rest}{word}")),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_continues_on_lines_that_begin_with_the_rest() {
        let text = wrapped("- ", "  ", &["a"; 80].join(" "));

        let lines: Vec<&str> = text.lines().collect();

        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("- a a") && lines[1].starts_with("  a a"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= MAX_LINE_CHARS), "{text}");
    }

    #[test]
    fn text_that_fits_stays_on_one_line() {
        let word = "a".repeat(MAX_LINE_CHARS - 4);

        assert_eq!(wrapped("- ", "  ", &format!("{word} b")), format!("- {word} b"));
        assert_eq!(wrapped("- ", "  ", &format!("{word}c b")), format!("- {word}c\n  b"));
    }
}
