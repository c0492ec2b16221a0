//! Bars that the server draws: SVG with no script or style of its own, so it prints, works where no script runs, follows the theme by its
//! classes (`static/css/plots.css`) and keeps its letters at their size however wide the page is. A description carries the numbers for
//! those who do not see them.

/// Most groups of bars; of more only the tallest are drawn.
pub const MAX_GROUPS: usize = 12;
/// Part of the width that the longest bar takes, in percent; right of it stand the values.
const REACH: f64 = 78.0;
/// Heights in pixels: of a group's name, of a bar with its value, and between groups.
const NAME: u32 = 18;
const BAR: u32 = 16;
const GAP: u32 = 8;

/// Bars of one colour, one for each group.
pub struct Series {
    pub name: String,
    /// `steel` or `grey`.
    pub tone: &'static str,
    /// Length and words of each bar.
    pub values: Vec<(f64, String)>,
}

/// A line across all bars.
pub struct Mark {
    pub name: String,
    pub value: f64,
    /// The value in words.
    pub text: String,
}

/// A drawn plot, for the macro `bars` of `parts/plot.html`.
pub struct Plot {
    /// Of its title and description; one on a page.
    pub id: &'static str,
    pub title: String,
    /// All numbers in words.
    pub description: String,
    pub height: u32,
    pub names: Vec<(u32, String)>,
    pub bars: Vec<Bar>,
    /// Place from the left, in percent, of each mark.
    pub lines: Vec<String>,
    /// What colours and lines mean: class and words; without the first where there is one series.
    pub keys: Vec<(String, String)>,
}

/// One bar.
pub struct Bar {
    pub y: u32,
    /// Length in percent.
    pub width: String,
    pub tone: &'static str,
    pub text_y: u32,
    pub text: String,
}

/// Draws bars that begin at zero, a group below the other. None where there is nothing to draw.
pub fn bars(id: &'static str, title: String, groups: &[String], series: &[Series], marks: &[Mark]) -> Option<Plot> {
    let length = |value: f64| if value.is_finite() { value.max(0.0) } else { 0.0 };
    let tallest = |group: usize| series.iter().filter_map(|s| s.values.get(group)).map(|(value, _)| length(*value)).fold(0.0, f64::max);
    let mut drawn: Vec<usize> = (0..groups.len()).collect();
    if drawn.len() > MAX_GROUPS {
        drawn.sort_by(|a, b| tallest(*b).total_cmp(&tallest(*a)));
        drawn.truncate(MAX_GROUPS);
        drawn.sort_unstable();
    }
    let most = drawn.iter().map(|group| tallest(*group)).chain(marks.iter().map(|mark| length(mark.value))).fold(0.0, f64::max);
    if drawn.is_empty() || series.is_empty() || most <= 0.0 {
        return None;
    }
    let percent = |value: f64| format!("{:.2}%", length(value) / most * REACH);
    let (mut y, mut names, mut out, mut said) = (0, Vec::new(), Vec::new(), Vec::new());
    for group in drawn {
        let Some(name) = groups.get(group) else { continue };
        names.push((y + NAME - 5, name.clone()));
        y += NAME;
        let mut of_group = Vec::new();
        for s in series {
            if let Some((value, text)) = s.values.get(group) {
                out.push(Bar { y: y + 2, width: percent(*value), tone: s.tone, text_y: y + BAR - 4, text: text.clone() });
                of_group.push(if series.len() > 1 { format!("{} {text}", s.name) } else { text.clone() });
                y += BAR;
            }
        }
        said.push(format!("{name}: {}", of_group.join(", ")));
        y += GAP;
    }
    said.extend(marks.iter().map(|mark| format!("{}: {}", mark.name, mark.text)));
    let colours = series.iter().filter(|_| series.len() > 1).map(|s| (format!("bar-{}", s.tone), s.name.clone()));
    let lines = marks.iter().enumerate().map(|(at, mark)| (format!("mark-{at}"), format!("{} {}", mark.name, mark.text)));
    Some(Plot {
        id,
        title,
        description: said.join("; "),
        height: y,
        names,
        bars: out,
        lines: marks.iter().map(|mark| percent(mark.value)).collect(),
        keys: colours.chain(lines).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(tone: &'static str, values: &[f64]) -> Series {
        Series { name: tone.to_owned(), tone, values: values.iter().map(|v| (*v, format!("{v} ms"))).collect() }
    }

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|n| format!("s{n}")).collect()
    }

    #[test]
    fn bars_and_lines_have_one_scale_and_are_said_in_words() {
        let mark = |name: &str, value: f64| Mark { name: name.to_owned(), value, text: format!("{value} ms") };
        let marks = [mark("median", 5.0), mark("p95", 20.0)];
        let plot = bars("p", "Times".into(), &names(2), &[series("steel", &[10.0, 5.0])], &marks).unwrap();
        assert_eq!(plot.bars.iter().map(|bar| bar.width.as_str()).collect::<Vec<_>>(), ["39.00%", "19.50%"]);
        assert_eq!(plot.lines, ["19.50%", "78.00%"]);
        assert_eq!(plot.description, "s0: 10 ms; s1: 5 ms; median: 5 ms; p95: 20 ms");
        assert_eq!(plot.keys.len(), 2);
        let two = bars("p", String::new(), &names(1), &[series("steel", &[1.0]), series("grey", &[2.0])], &[]).unwrap();
        assert_eq!((two.description.as_str(), two.keys.len()), ("s0: steel 1 ms, grey 2 ms", 2));
        assert!(two.bars[1].y > two.bars[0].y && two.height > two.bars[1].text_y);
    }

    #[derive(askama::Template)]
    #[template(source = "{% import \"parts/plot.html\" as plots %}{{ plots::bars(plot) }}", ext = "html")]
    struct Drawn<'a> {
        plot: &'a Plot,
    }

    #[test]
    fn what_is_drawn_needs_no_script_and_no_style_and_is_named() {
        let mark = Mark { name: "median".into(), value: 1.0, text: "1 ms".into() };
        let marks = [mark, Mark { name: "p95".into(), value: 2.0, text: "2 ms".into() }];
        let plot = bars("p", "Times".into(), &["<b>".to_owned()], &[series("steel", &[1.0])], &marks).unwrap();
        let html = askama::Template::render(&Drawn { plot: &plot }).unwrap();
        for part in [
            "aria-labelledby=\"p-title p-text\"",
            "<title id=\"p-title\">Times</title>",
            "class=\"plot-mark mark-0\"",
            "class=\"plot-mark mark-1\"",
            "class=\"bar-steel\"",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(!html.contains("<b>") && !html.contains("style=") && !html.contains("<script"), "{html}");
    }

    #[test]
    fn of_many_bars_the_tallest_are_drawn_in_their_order() {
        let values: Vec<f64> = (0..50).map(f64::from).rev().collect();
        let plot = bars("p", String::new(), &names(50), &[series("steel", &values)], &[]).unwrap();
        assert_eq!(plot.names.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>(), names(MAX_GROUPS));
    }

    #[test]
    fn nothing_or_nonsense_draws_nothing() {
        assert!(bars("p", String::new(), &[], &[series("steel", &[])], &[]).is_none());
        assert!(bars("p", String::new(), &names(1), &[], &[]).is_none());
        assert!(bars("p", String::new(), &names(2), &[series("steel", &[f64::NAN, -1.0])], &[]).is_none());
        let odd = bars("p", String::new(), &names(3), &[series("steel", &[f64::INFINITY, 2.0])], &[]).unwrap();
        assert_eq!(odd.bars.iter().map(|bar| bar.width.as_str()).collect::<Vec<_>>(), ["0.00%", "78.00%"]);
    }
}
