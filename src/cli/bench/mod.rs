//! `llamero bench`: puts load on any server with OpenAI's completions or chat, and measures the waiting times of its
//! clients.
//!
//! ```text
//! BenchPlan ─ workload ─▶ BenchRequest … ─ load ─▶ client ─▶ RequestRecord … ─ summary ─▶ Report ─▶ JSON
//! ```
//!
//! It is only a client: it knows no server of its own, so that other servers are measured by the same rule. Owns its
//! connections and its clock. Everything is streamed, because only a stream shows when tokens come.

mod client;
mod compare;
mod html;
mod load;
mod plan;
mod plot;
mod record;
mod report;
mod summary;
#[cfg(test)]
mod tests;
mod workload;

pub(super) use plan::{Action, command, read};

use anyhow::{Context, bail};
use client::Client;
use plan::BenchPlan;
use report::Report;
use std::time::{SystemTime, UNIX_EPOCH};

/// Runs the measurement or the comparison.
///
/// # Errors
/// A server or a file is missing, or every request of the run failed.
pub(super) fn run(action: Action) -> anyhow::Result<()> {
    match action {
        Action::Compare { a, b } => super::print(&compare::table(&Report::read(&a)?, &Report::read(&b)?)),
        Action::Measure(plan) => measure(&plan),
    }
}

fn measure(plan: &BenchPlan) -> anyhow::Result<()> {
    let requests = workload::bench_requests(plan)?;
    // Two threads: the load generator must leave the cores to the server that it measures.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (model, run) = runtime.block_on(async {
        let client = Client::new(plan)?;
        let model = match &plan.model {
            Some(model) => model.clone(),
            None => client.first_model().await.context("no --model was given, and the server names none")?,
        };
        let run = load::run(client, plan, &model, requests).await;
        Ok::<_, anyhow::Error>((model, run))
    })?;
    let report = Report::new(plan, model, begun, &run);
    if let Some(file) = &plan.json {
        std::fs::write(file, report.to_json()?).with_context(|| format!("writing {}", file.display()))?;
    }
    if let Some(file) = &plan.records {
        std::fs::write(file, run.json_lines()?).with_context(|| format!("writing {}", file.display()))?;
    }
    if let Some(file) = &plan.html {
        std::fs::write(file, html::page(&report, &run)?).with_context(|| format!("writing {}", file.display()))?;
    }
    super::print(&report.table())?;
    match run.records.iter().find_map(|record| record.error.as_deref()) {
        Some(error) if run.records.iter().all(|record| record.error.is_some()) => bail!("every request failed, the first with: {error}"),
        Some(_) | None => Ok(()),
    }
}
