//! The parts of the page of `/metrics` that the exporter cannot write.

use crate::telemetry::engine_process::ProcessReading;
use std::fmt::Write as _;

const ENGINE_CPU: &str = "llamero:engine_process_cpu_seconds_total";

/// The page with the bounds of buckets as vLLM's Python client writes them: `le="1.0"` where the exporter writes
/// `le="1"`. Queries compare these labels as text, and vLLM's dashboards ask for `le="1.0"`.
pub(super) fn with_float_bounds(page: &str) -> String {
    let mut text = String::with_capacity(page.len() + page.len() / 32);
    let mut rest = page;
    while let Some(at) = rest.find("le=\"") {
        let (before, bound) = rest.split_at(at + 4);
        text.push_str(before);
        let is_label = rest[..at].ends_with(['{', ',']);
        let digits = bound.bytes().take_while(u8::is_ascii_digit).count();
        text.push_str(&bound[..digits]);
        if is_label && digits > 0 && bound[digits..].starts_with('"') {
            text.push_str(".0");
        }
        rest = &bound[digits..];
    }
    text.push_str(rest);
    text
}

/// Adds the CPU time of the engine process: the exporter's counters are whole numbers.
pub(super) fn write_engine_process(page: &mut String, model_name: &str, process: &ProcessReading) {
    let label = model_name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let help = "CPU time of the engine process, user and system, s; begins anew with each process.";
    let value = process.cpu_seconds;
    // Writing to a string cannot fail.
    let _ = write!(page, "# HELP {ENGINE_CPU} {help}\n# TYPE {ENGINE_CPU} counter\n{ENGINE_CPU}{{model_name=\"{label}\"}} {value}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_bounds_are_changed() {
        let page = "a_bucket{le=\"1\"} 1\na_bucket{le=\"0.5\"} 2\na_bucket{m=\"x\",le=\"+Inf\"} 3\nb{title=\"7\"} 4\n";

        let written = "a_bucket{le=\"1.0\"} 1\na_bucket{le=\"0.5\"} 2\na_bucket{m=\"x\",le=\"+Inf\"} 3\nb{title=\"7\"} 4\n";
        assert_eq!(with_float_bounds(page), written);
    }
}
