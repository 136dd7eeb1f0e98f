//! `--calibrate-only`: loads the model in this process, measures it, and prints tables for a person to read.

use super::model;
use crate::{
    build_info,
    config::{Environment, ServeConfig},
    llama::{Measurements, load_generating},
};
use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};

/// Measures the model of a configuration. Returns the tables.
///
/// # Errors
/// The model cannot be found or loaded, or does not generate.
pub(super) fn calibrate(config: &ServeConfig, environment: &Environment) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("the runtime cannot be started")?;
    let found = runtime.block_on(model::find(config.clone(), environment.clone()))?;
    let model = load_generating(&found.options, |_| {})?;
    let mut runner = model.runner()?;
    let measured = model.measurements(&mut runner);
    let info = model.info(&runner);
    let title = format!("{}, {}, on {}, {} threads, {}", info.name, info.quantization, info.device, info.threads, build_info::ENGINE);
    Ok(format!("{title}\n\n{}\n", tables(&measured)))
}

fn tables(measured: &Measurements) -> String {
    let rate = |(count, seconds): &(u32, f64)| [count.to_string(), ms(*seconds), format!("{:.1}", f64::from(*count) / seconds)];
    let attention = measured.attention.iter().map(|size| {
        let [plain, flash] = [size.plain, size.flash].map(ms);
        [
            size.sequences.to_string(),
            size.rows.to_string(),
            size.positions.to_string(),
            plain,
            flash,
            format!("{:.2}", size.plain / size.flash),
        ]
    });
    let tables = [
        table(["sequences", "rows", "positions", "plain attention, ms", "flash, ms", "plain / flash"], attention),
        table(["rows of a prompt", "step, ms", "rows/s"], measured.chunks.iter().map(rate)),
        table(["streams", "step, ms", "tokens/s"], measured.decode.iter().map(rate)),
    ];
    tables.map(|table| table.to_string()).join("\n\n")
}

fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header).add_rows(rows);
    table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

fn ms(seconds: f64) -> String {
    format!("{:.2}", 1000.0 * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llama::AttentionMeasurement;

    #[test]
    fn tables_have_a_line_for_each_measurement() {
        let attention = AttentionMeasurement { sequences: 4, rows: 1, positions: 150, plain: 0.003, flash: 0.002 };
        let text = tables(&Measurements { attention: vec![attention], chunks: vec![(16, 0.4)], decode: vec![(2, 0.1)] });

        let lines: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in ["| 4 | 1 | 150 | 3.00 | 2.00 | 1.50 |", "| 16 | 400.00 | 40.0 |", "| 2 | 100.00 | 20.0 |"] {
            assert!(lines.iter().any(|found| found == line), "{text}");
        }
    }
}
