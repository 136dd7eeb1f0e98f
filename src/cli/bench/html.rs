//! Writes a result as one page: the table, distributions of the times, and tokens over time. The page loads nothing.

use super::{
    plot::{Line, cumulative, lines},
    record::{BenchRun, RequestRecord},
    report::{Report, title},
    workload::Group,
};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#222}\
pre{background:#f6f6f6;padding:1em;overflow:auto}svg{width:100%;height:auto}";

/// The page as HTML.
///
/// # Errors
/// None is known.
pub(super) fn page(report: &Report, run: &BenchRun) -> anyhow::Result<String> {
    let groups: Vec<Group> = report.groups.keys().copied().collect();
    let well = |group: Group| run.records.iter().filter(move |record| record.group == group && record.error.is_none());
    let distribution = |of: fn(&RequestRecord) -> Vec<f64>| -> Vec<Line> {
        let line = |group: &Group| {
            let values: Vec<f64> = well(*group).flat_map(of).map(|seconds| seconds * 1e3).collect();
            Line { name: title(*group).to_owned(), points: cumulative(values) }
        };
        groups.iter().map(line).filter(|line| !line.points.is_empty()).collect()
    };
    let ttft = distribution(|record| record.ttft().into_iter().collect());
    let itl = distribution(|record| record.gaps().collect());
    let plots = [
        lines("Time to first token", "ms", "share of requests", &ttft)?,
        lines("Gaps between pieces of text", "ms", "share of gaps", &itl)?,
        lines("Pieces of text over time", "s", "pieces in the second before", &[rate(run)])?,
    ];
    let heading = escaped(&report.label);
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{heading}</title><style>{STYLE}</style>\n\
         <h1>{heading}</h1>\n<pre>{}</pre>\n{}\n<p>Made by {} at Unix time {}.</p>\n</html>\n",
        escaped(&report.table()),
        plots.join("\n"),
        escaped(&report.tool),
        report.began,
    ))
}

/// Number of pieces that came in each second.
fn rate(run: &BenchRun) -> Line {
    let mut seconds: Vec<f64> = Vec::new();
    for at in run.records.iter().flat_map(|record| record.pieces.iter().map(|piece| record.start + piece)) {
        // The value is not negative. The cast saturates.
        let second = at as usize;
        if seconds.len() <= second {
            seconds.resize(second + 1, 0.0);
        }
        seconds[second] += 1.0;
    }
    Line { name: "all".to_owned(), points: (1..).map(f64::from).zip(seconds).collect() }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
