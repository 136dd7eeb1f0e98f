//! What the header `x-llamero-warnings` says of fields that were ignored, on every route.

use axum::http::HeaderName;

/// The header.
pub(super) const X_LLAMERO_WARNINGS: HeaderName = HeaderName::from_static("x-llamero-warnings");
/// Fields named at most, and characters of each.
const MAX_NAMES: usize = 16;
const MAX_NAME_LENGTH: usize = 64;

/// Names ignored fields, `None` if there are none. The names are the client's: only visible ASCII of them is repeated.
pub(super) fn of_ignored(fields: &[String]) -> Option<String> {
    let visible = |name: &String| name.chars().filter(char::is_ascii_graphic).take(MAX_NAME_LENGTH).collect::<String>();
    let names: Vec<String> = fields.iter().take(MAX_NAMES).map(visible).collect();
    let rest = match fields.len() - names.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    (!names.is_empty()).then(|| format!("ignored fields: {}{rest}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_name_what_was_ignored_in_plain_characters() {
        let names = |count: usize| (0..count).map(|i| format!("f{i}")).collect::<Vec<_>>();

        assert_eq!(of_ignored(&[]), None);
        assert_eq!(of_ignored(&["min_tokens".into(), "a\r\nb: ü".into()]).unwrap(), "ignored fields: min_tokens, ab:");
        assert!(of_ignored(&names(16)).unwrap().ends_with(", f15"));
        assert!(of_ignored(&names(17)).unwrap().ends_with(", f15, and 1 more"));
        assert_eq!(of_ignored(&["x".repeat(1000)]).unwrap().len(), "ignored fields: ".len() + 64);
    }
}
