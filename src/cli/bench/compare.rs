//! Shows two results side by side, with their ratio.

use super::report::{Report, times, title};
use comfy_table::{CellAlignment, Table, presets};

/// A table with a row for each figure: A, B, and B over A.
pub(super) fn table(a: &Report, b: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "A", "B", "B / A"]);
    for (group, of_a) in &a.groups {
        let Some(of_b) = b.groups.get(group) else { continue };
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let mut row = |name: &str, a: Option<f64>, b: Option<f64>| {
            let ratio = a.zip(b).filter(|(a, _)| *a > 0.0).map(|(a, b)| b / a);
            table.add_row([format!("{} {name}", title(*group)), shown(a), shown(b), shown(ratio)]);
        };
        row("failed", Some(of_a.failed as f64), Some(of_b.failed as f64));
        row("requests/s", Some(of_a.requests_per_second), Some(of_b.requests_per_second));
        row("good requests/s", Some(of_a.goodput_per_second), Some(of_b.goodput_per_second));
        row("output tokens/s", Some(of_a.output_tokens_per_second), Some(of_b.output_tokens_per_second));
        for ((name, of_a), (_, of_b)) in times(of_a).into_iter().zip(times(of_b)) {
            row(&format!("{name} p50 ms"), of_a.figure(|times| times.p50), of_b.figure(|times| times.p50));
            row(&format!("{name} p99 ms"), of_a.figure(|times| times.p99), of_b.figure(|times| times.p99));
        }
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    let heads = [("A", a), ("B", b)].map(|(name, report)| {
        format!("{name}: {}, {} of {}, {}, seed {}\n", report.label, report.workload, report.model, report.arrival, report.seed)
    });
    let alike = (&a.workload, &a.arrival, a.seed) == (&b.workload, &b.arrival, b.seed);
    let warning =
        if alike { "" } else { "The two were measured with different workloads, arrivals or seeds, so their ratio means little.\n" };
    format!("{}{warning}\n{}\n", heads.concat(), table.trim_fmt())
}
