//! A result: the figures and the conditions of the measurement, as JSON and as a table.

use super::{
    plan::{Arrival, BenchPlan, Slo, Workload},
    record::{BenchRun, RequestRecord},
    summary::{Summary, Times},
    workload::Group,
};
use crate::build_info;
use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// The result of a run. Results of earlier versions can be read as long as their `version` is 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) version: u32,
    /// The program that made the measurement, with its version.
    pub(super) tool: String,
    pub(super) label: String,
    pub(super) url: String,
    pub(super) model: String,
    /// Unix time of the beginning, s.
    pub(super) began: u64,
    pub(super) duration_seconds: f64,
    pub(super) workload: String,
    pub(super) arrival: String,
    pub(super) seed: u64,
    pub(super) slo: Slo,
    pub(super) groups: BTreeMap<Group, Summary>,
}

impl Report {
    /// Creates the result of a run.
    pub(super) fn new(plan: &BenchPlan, model: String, began: u64, run: &BenchRun) -> Self {
        let seconds = run.duration.as_secs_f64();
        let mut groups: BTreeMap<Group, Vec<&RequestRecord>> = BTreeMap::new();
        for record in &run.records {
            groups.entry(record.group).or_default().push(record);
        }
        Self {
            version: 1,
            tool: format!("llamero bench {}", build_info::VERSION),
            label: plan.label.clone().unwrap_or_else(|| plan.url.clone()),
            url: plan.url.clone(),
            model,
            began,
            duration_seconds: seconds,
            workload: name(&plan.workload),
            arrival: match plan.arrival {
                Arrival::Closed { .. } if plan.workload == Workload::W3 => "4 streams beside long prompts, one at a time".to_owned(),
                Arrival::Closed { concurrency } => format!("{concurrency} at a time"),
                Arrival::Open { per_second } => format!("{per_second} a second, Poisson"),
            },
            seed: plan.seed,
            slo: plan.slo,
            groups: groups.into_iter().map(|(group, records)| (group, Summary::of(&records, seconds, plan.slo))).collect(),
        }
    }

    /// Reads a file that [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// There is no such file, or it is another kind of file.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no result of llamero bench", file.display()))
    }

    /// The result as JSON, for other programs and for `--compare`.
    ///
    /// # Errors
    /// None is known.
    pub(super) fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The result as a table, for people.
    pub(super) fn table(&self) -> String {
        let mut text = format!("{}: {} of {}, {}, {:.2} s\n", self.label, self.workload, self.model, self.arrival, self.duration_seconds);
        for (group, summary) in &self.groups {
            text.push_str(&section(*group, summary));
        }
        text
    }
}

fn name(workload: &Workload) -> String {
    match workload {
        Workload::W1 => "w1".to_owned(),
        Workload::W2 => "w2".to_owned(),
        Workload::W3 => "w3".to_owned(),
        Workload::W4 => "w4".to_owned(),
        Workload::W5 => "w5".to_owned(),
        Workload::File(file) => file.file_name().map_or_else(|| "file".to_owned(), |name| name.to_string_lossy().into_owned()),
    }
}

/// The name of a group in tables.
pub(super) fn title(group: Group) -> &'static str {
    match group {
        Group::Requests => "requests",
        Group::Streams => "streams",
        Group::LongPrompts => "long prompts",
    }
}

fn section(group: Group, summary: &Summary) -> String {
    let Summary { requests, failed, prompt_tokens, cached_tokens, completion_tokens, .. } = summary;
    let mut text = format!(
        "\n{requests} {}, {failed} failed; {prompt_tokens} prompt tokens ({cached_tokens} cached), {completion_tokens} generated\n\
         {:.2} requests/s (good: {:.2}), {:.1} output tokens/s\n",
        title(group),
        summary.requests_per_second,
        summary.goodput_per_second,
        summary.output_tokens_per_second,
    );
    for (error, count) in &summary.errors {
        text.push_str(&format!("{count} × {error}\n"));
    }
    text.push_str(&times_table(summary));
    text
}

fn times_table(summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["ms", "mean", "p50", "p90", "p95", "p99", "max"]);
    for (name, times) in times(summary) {
        let figures: [fn(&Times) -> f64; 6] = [|t| t.mean, |t| t.p50, |t| t.p90, |t| t.p95, |t| t.p99, |t| t.max];
        let figures = figures.map(|of| times.figure(of).map_or_else(|| "-".to_owned(), |value| format!("{value:.1}")));
        table.add_row(std::iter::once(name.to_owned()).chain(figures));
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    format!("{}\n", table.trim_fmt())
}

/// The distributions of a summary, with their names.
pub(super) fn times(summary: &Summary) -> [(&'static str, Times); 4] {
    [("TTFT", summary.ttft_ms), ("TPOT", summary.tpot_ms), ("ITL", summary.itl_ms), ("E2E", summary.e2e_ms)]
}
