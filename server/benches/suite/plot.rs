//! The scanner's engine as a picture: what a pair costs, by the number of view keys.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::register_font;

use crate::Measured;
use crate::scan::{SIZES, name, paths};

/// From Debian's package `fonts-dejavu-core`.
const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
/// Characters of the longest bar.
const WIDTH: f64 = 60.0;

/// Microseconds a pair, by view keys.
type Line = Vec<(f64, f64)>;

/// The plain loop, then each path.
fn lines(results: &[Measured]) -> Vec<(String, Line)> {
    let point = |path: &str, keys: usize| {
        let wanted = format!("scan.{path}.{keys}");
        results.iter().find(|one| one.name == wanted).unwrap_or_else(|| panic!("no {wanted}"))
    };
    let names: Vec<String> = paths().map(name).collect();
    let line = |of: &dyn Fn(usize) -> f64| SIZES.map(|(keys, _)| (keys as f64, 1e6 / of(keys))).to_vec();
    let plain = line(&|keys| point(&names[0], keys).baseline.unwrap());
    let mut lines = vec![("one by one".to_owned(), plain)];
    lines.extend(names.iter().map(|name| (name.clone(), line(&|keys| point(name, keys).value))));
    lines
}

/// Bars whose lengths grow with the logarithm of the cost.
pub fn terminal(results: &[Measured]) {
    let lines = lines(results);
    let all = lines.iter().flat_map(|(_, line)| line).map(|(_, micros)| *micros);
    let (least, most) = all.fold((f64::MAX, 0.0_f64), |(least, most), one| (least.min(one), most.max(one)));
    println!("\nmicroseconds for a transaction key and a view key, logarithmic");
    for (at, (keys, _)) in SIZES.iter().enumerate() {
        for (name, line) in &lines {
            let micros = line[at].1;
            let part = (micros / least).ln() / (most / least).ln();
            let bar = "█".repeat(1 + (part * WIDTH).round() as usize);
            println!("{keys:>6} keys  {name:<10} {micros:>7.2}  {bar}");
        }
    }
}

/// The same as lines in a PNG file, both axes logarithmic.
pub fn picture(results: &[Measured], file: &Path) {
    let font: &'static [u8] = Box::leak(std::fs::read(FONT).unwrap().into_boxed_slice());
    register_font("sans-serif", FontStyle::Normal, font).unwrap_or_else(|_| panic!("{FONT} is no font"));
    let canvas = BitMapBackend::new(file, (1_000, 640)).into_drawing_area();
    canvas.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&canvas)
        .caption("What a pair of a transaction key and a view key costs", ("sans-serif", 24))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d((1.0..10_000.0).log_scale(), (0.5..50.0).log_scale())
        .unwrap();
    chart.configure_mesh().x_desc("view keys").y_desc("microseconds").draw().unwrap();
    for (number, (name, line)) in lines(results).into_iter().enumerate() {
        let color = Palette99::pick(number).stroke_width(3);
        let drawn = chart.draw_series(LineSeries::new(line, color)).unwrap();
        drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw().unwrap();
    canvas.present().unwrap();
}
