//! Draws plots as SVG text, without external fonts, files or scripts.

use anyhow::anyhow;
use plotters::prelude::{
    ChartBuilder, Color, IntoDrawingArea, LineSeries, Palette, Palette99, PathElement, RGBColor, SVGBackend, SeriesLabelPosition,
};

const SIZE: (u32, u32) = (720, 320);
const INK: RGBColor = RGBColor(40, 40, 40);

/// A line of a plot.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// The cumulative distribution: for each value, the share of values up to it.
pub(super) fn cumulative(mut values: Vec<f64>) -> Vec<(f64, f64)> {
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len() as f64;
    let point = |(index, value): (usize, f64)| (value, (index + 1) as f64 / count);
    // A plot needs no more points than it has pixels.
    let step = values.len().div_ceil(1_000).max(1);
    let last = values.len().saturating_sub(1);
    values.into_iter().enumerate().filter(|(index, _)| index % step == 0 || *index == last).map(point).collect()
}

/// Draws lines over a plane from 0 to their largest values.
///
/// # Errors
/// None is known: the plot is drawn into memory.
pub(super) fn lines(title: &str, x_name: &str, y_name: &str, lines: &[Line]) -> anyhow::Result<String> {
    let mut svg = String::new();
    draw(&mut svg, [title, x_name, y_name], lines).map_err(|error| anyhow!("drawing {title}: {error}"))?;
    Ok(svg)
}

fn draw(svg: &mut String, [title, x_name, y_name]: [&str; 3], lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let most = |of: fn(&(f64, f64)) -> f64| lines.iter().flat_map(|line| line.points.iter().map(of)).fold(0.0, f64::max);
    let (most_x, most_y) = (most(|point| point.0).max(1e-6), most(|point| point.1).max(1e-6));
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..most_x, 0.0..most_y * 1.02)?;
    chart.configure_mesh().x_desc(x_name).y_desc(y_name).light_line_style(INK.mix(0.06)).draw()?;
    for (index, line) in lines.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?
            .label(line.name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().position(SeriesLabelPosition::LowerRight).border_style(INK.mix(0.3)).draw()?;
    area.present()?;
    Ok(())
}
