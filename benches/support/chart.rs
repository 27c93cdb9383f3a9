//! Lines over sizes that grow tenfold, as SVG that reads on light and dark pages.

use std::fmt::Write as _;

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// Panels beside each other.
pub(crate) struct Chart<'a> {
    pub(crate) x: &'a str,
    pub(crate) labels: &'a [String],
    pub(crate) panels: &'a [Panel<'a>],
}

/// One line; a value for each label.
pub(crate) struct Panel<'a> {
    pub(crate) title: &'a str,
    pub(crate) values: &'a [f64],
}

impl Chart<'_> {
    pub(crate) fn svg(&self) -> Result<String, std::fmt::Error> {
        let width = WIDTH * self.panels.len() as f64;
        let mut svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" font-size="11" fill="#808080">
"##
        );
        for (place, panel) in self.panels.iter().enumerate() {
            writeln!(svg, r#"<g transform="translate({} 0)">"#, WIDTH * place as f64)?;
            self.panel(&mut svg, panel)?;
            writeln!(svg, "</g>")?;
        }
        writeln!(svg, "</svg>")?;
        Ok(svg)
    }

    fn panel(&self, svg: &mut String, panel: &Panel<'_>) -> std::fmt::Result {
        let top = ceiling(panel.values.iter().copied().fold(0.0, f64::max));
        let steps = (panel.values.len().max(2) - 1) as f64;
        let x = |place: usize| LEFT + (WIDTH - LEFT - RIGHT) * place as f64 / steps;
        let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top;
        writeln!(svg, r#"<text x="{LEFT}" y="20" font-size="13" font-weight="bold">{}</text>"#, panel.title)?;
        for quarter in 0..=4 {
            let value = top * f64::from(quarter) / 4.0;
            let height = y(value);
            writeln!(
                svg,
                r##"<line x1="{LEFT}" x2="{}" y1="{height:.1}" y2="{height:.1}" stroke="#808080" stroke-opacity="0.3"/>"##,
                WIDTH - RIGHT
            )?;
            writeln!(
                svg,
                r#"<text x="{}" y="{:.1}" text-anchor="end">{value}</text>"#,
                LEFT - 8.0,
                height + 4.0
            )?;
        }
        let mut points = String::new();
        for (place, (&value, label)) in panel.values.iter().zip(self.labels).enumerate() {
            write!(points, "{:.1},{:.1} ", x(place), y(value))?;
            writeln!(svg, r##"<circle cx="{:.1}" cy="{:.1}" r="3" fill="#2f81f7"/>"##, x(place), y(value))?;
            writeln!(
                svg,
                r#"<text x="{:.1}" y="{}" text-anchor="middle">{label}</text>"#,
                x(place),
                HEIGHT - BOTTOM + 18.0
            )?;
        }
        writeln!(
            svg,
            r##"<polyline points="{}" fill="none" stroke="#2f81f7" stroke-width="2"/>"##,
            points.trim_end()
        )?;
        writeln!(
            svg,
            r#"<text x="{}" y="{}" text-anchor="middle">{}</text>"#,
            f64::midpoint(LEFT, WIDTH - RIGHT),
            HEIGHT - 10.0,
            self.x
        )
    }
}

/// The next number that is 1, 2, 4, 6 or 8 with zeros behind it.
fn ceiling(value: f64) -> f64 {
    let magnitude = 10_f64.powf(value.max(1.0).log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * magnitude).find(|top| *top >= value).unwrap_or(value)
}
