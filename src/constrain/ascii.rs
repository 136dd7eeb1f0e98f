//! Regular expressions in which `\d`, `\w` and `\s` mean ASCII, as in xgrammar and llama.cpp. llguidance reads them as
//! Rust does, where `\d` has some 700 characters.

/// The expression with these classes and their complements written out.
pub(super) fn shorthands(regex: &str) -> String {
    let mut written = String::with_capacity(regex.len());
    let mut chars = regex.chars().peekable();
    let mut depth = 0_usize; // of brackets of classes
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(kind) => push_escape(&mut written, kind, depth > 0),
                None => written.push('\\'),
            },
            '[' => {
                depth += 1;
                written.push('[');
                if chars.peek() == Some(&'^') {
                    written.extend(chars.next());
                }
                // A bracket that closes nothing yet is a character.
                if chars.peek() == Some(&']') {
                    chars.next();
                    written.push_str(r"\]");
                }
            }
            ']' => {
                depth = depth.saturating_sub(1);
                written.push(']');
            }
            _ => written.push(c),
        }
    }
    written
}

/// Writes what a backslash and this character stand for.
fn push_escape(written: &mut String, kind: char, is_in_class: bool) {
    let members = match kind.to_ascii_lowercase() {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        // The space is escaped, since `(?x)` ignores others.
        's' => r"\t\n\x0B\f\r\x20",
        _ => return written.extend(['\\', kind]),
    };
    let not = if kind.is_ascii_uppercase() { "^" } else { "" };
    // A hyphen beside a class is itself and begins no range.
    if is_in_class && written.ends_with('-') && !written.ends_with("--") && !written.ends_with(r"\-") {
        written.insert(written.len() - 1, '\\');
    }
    written.extend(["[", not, members, "]"]);
}

#[cfg(test)]
mod tests {
    use super::shorthands;

    #[test]
    fn each_class_is_written_out_where_it_stands() {
        for (regex, written) in [
            (r"\d{4}-\D", "[0-9]{4}-[^0-9]"),
            (r"[\d.]+[^\w-]", "[[0-9].]+[^[0-9A-Za-z_]-]"),
            (r"[\s-:][+-\d]", r"[[\t\n\x0B\f\r\x20]-:][+\-[0-9]]"),
            (r"[a\S]", r"[a[^\t\n\x0B\f\r\x20]]"),
            (r"\\d\.\p{L}", r"\\d\.\p{L}"),
            (r"[]\d][^]\d]", r"[\][0-9]][^\][0-9]]"),
            (r"[[:alpha:]\d]\]", r"[[:alpha:][0-9]]\]"),
            (r"[[\d]&&[1]]\d", r"[[[0-9]]&&[1]][0-9]"),
            (r"é\w", "é[0-9A-Za-z_]"),
            (r"a\", r"a\"),
        ] {
            assert_eq!(shorthands(regex), written, "{regex}");
        }
    }
}
