//! A version beside another one in words.

use crate::http::page::Page;
use crate::release::difference::{Change, Difference, Figure, Flag, Measure, SHOWN};
use crate::site::parts::plot::{self, Plot, Series};
use crate::site::parts::report::{measured, percent, time};

/// Differences from another version, in words.
pub struct ComparisonView {
    /// The other version.
    pub from: String,
    /// This version.
    pub to: String,
    /// Why a moderator should look twice, in words.
    pub flags: Vec<String>,
    /// Both cards were measured in one place.
    pub comparable: bool,
    /// Figures side by side.
    pub figures: Vec<FigureRow>,
    /// Times of both; none without figures, and none where they cannot be compared.
    pub plot: Option<Plot>,
    /// Tensors, keys of app.yaml and files that differ.
    pub lists: Vec<ChangeList>,
    /// Notes on the lists: that a package is gone, that a list was cut.
    pub notes: Vec<String>,
}

/// Differences of one kind.
pub struct ChangeList {
    /// Heading.
    pub title: String,
    /// Text where nothing differs.
    pub none: String,
    pub changes: Vec<Change>,
}

/// A figure of two versions.
pub struct FigureRow {
    /// Name of the figure.
    pub name: String,
    /// The figure of the other version.
    pub before: String,
    /// The figure of this version.
    pub after: String,
    /// The change with its sign, or that it is noise; empty where no change can be given.
    pub change: String,
    /// A moderator should look at this figure twice.
    pub flagged: bool,
}

impl ComparisonView {
    /// The view of a difference between the versions `from` and `to`.
    pub fn of(page: &Page, from: &str, to: &str, difference: &Difference) -> Self {
        let told = |kind: Measure, value: f64, (labelled, total): (u32, usize), per_frame: bool| match kind {
            Measure::Accuracy => format!("{} · {}", percent(value), page.t2("card-labelled", "n", labelled, "total", total)),
            _ => measured(page, kind, value, per_frame),
        };
        // What is measured elsewhere differs by the machine; only these two do not.
        let judged = |kind: Measure| difference.comparable || matches!(kind, Measure::Accuracy | Measure::Model);
        let row = |figure: &Figure| FigureRow {
            name: page.tk("measure-", figure.kind),
            before: told(figure.kind, figure.before, difference.samples.0, difference.per_frame.0),
            after: told(figure.kind, figure.after, difference.samples.1, difference.per_frame.1),
            change: match figure {
                _ if !judged(figure.kind) => String::new(),
                figure if figure.noise => page.t("difference-noise"),
                figure => changed(*figure),
            },
            flagged: is_flagged(figure, &difference.flags),
        };
        let mut notes = Vec::new();
        if difference.files_total.is_none() {
            notes.push(page.t("difference-files-gone"));
        }
        for (key, total) in [("difference-files-cut", difference.files_total.unwrap_or(0)), ("difference-keys-cut", difference.keys_total)]
        {
            if total > SHOWN {
                notes.push(page.t2(key, "shown", SHOWN, "total", total));
            }
        }
        Self {
            from: from.to_owned(),
            to: to.to_owned(),
            flags: difference.flags.iter().map(|flag| page.tk("flag-text-", flag)).collect(),
            comparable: difference.comparable,
            figures: difference.figures.iter().map(row).collect(),
            plot: if difference.comparable { latencies(page, from, to, difference) } else { None },
            lists: [("tensors", &difference.tensors), ("keys", &difference.keys), ("files", &difference.files)]
                .map(|(kind, changes)| ChangeList {
                    title: page.tk("difference-", kind),
                    none: page.tk("difference-same-", kind),
                    changes: changes.clone(),
                })
                .into(),
            notes,
        }
    }
}

/// Whether a moderator should look at a figure twice. Of the times only one that has grown: the flag says that one of the two has, and the
/// other may have fallen.
fn is_flagged(figure: &Figure, flags: &[Flag]) -> bool {
    let flag = match figure.kind {
        Measure::Median | Measure::P95 if figure.after > figure.before => Flag::Slower,
        Measure::Accuracy => Flag::LessAccurate,
        _ => return false,
    };
    !figure.noise && flags.contains(&flag)
}

/// Latencies of both versions side by side.
fn latencies(page: &Page, from: &str, to: &str, difference: &Difference) -> Option<Plot> {
    let times = |f: &&Figure| matches!(f.kind, Measure::Median | Measure::P95 | Measure::P99);
    let times: Vec<&Figure> = difference.figures.iter().filter(times).collect();
    let groups: Vec<String> = times.iter().map(|f| page.tk("measure-", f.kind)).collect();
    let series = |name: &str, tone: &'static str, of: fn(&Figure) -> f64| Series {
        name: name.to_owned(),
        tone,
        values: times.iter().map(|f| (of(f), time(page, of(f), difference.per_frame.1))).collect(),
    };
    let both = [series(from, "grey", |f| f.before), series(to, "steel", |f| f.after)];
    plot::bars("plot-versions", page.t2("difference-plot", "from", from, "to", to), &groups, &both, &[])
}

fn changed(figure: Figure) -> String {
    match (figure.kind, figure.change()) {
        // A share changes by percentage points, not by a percentage of itself.
        (Measure::Accuracy, _) => format!("{:+.1}", (figure.after - figure.before) * 100.0),
        (_, Some(change)) => format!("{:+.0} %", change * 100.0),
        (_, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn what_was_measured_elsewhere_is_put_side_by_side_and_not_judged() {
        let page = Page::of(&TestRequest::default().to_http_request(), "");
        let figure = |kind: &Measure| Figure { kind: *kind, before: 0.5, after: 2.0, noise: *kind == Measure::Load };
        let difference =
            |comparable| Difference { comparable, figures: Measure::ALL.iter().map(figure).collect(), ..Difference::default() };
        let view = |comparable| ComparisonView::of(&page, "1.0.0", "2.0.0", &difference(comparable));
        let (here, elsewhere) = (view(true), view(false));
        assert!(here.plot.is_some() && elsewhere.plot.is_none());
        assert!(here.figures.iter().all(|row| !row.change.is_empty()));
        let changes: Vec<(&str, &str)> =
            Measure::ALL.iter().zip(&elsewhere.figures).map(|(k, row)| (k.as_str(), row.change.as_str())).collect();
        let judged: Vec<_> = changes.into_iter().filter(|(_, change)| !change.is_empty()).collect();
        assert_eq!(judged, [("accuracy", "+150.0"), ("model", "+300 %")]);
        assert!(elsewhere.figures.iter().all(|row| !row.before.is_empty() && !row.after.is_empty()));
    }

    #[test]
    fn of_the_times_of_a_slower_version_those_that_have_grown_are_flagged() {
        let flagged =
            |kind: Measure, before: f64, after: f64, noise: bool, flags: &[Flag]| is_flagged(&Figure { kind, before, after, noise }, flags);
        let slower = [Flag::Slower];
        assert!(flagged(Measure::Median, 10.0, 13.0, false, &slower) && flagged(Measure::P95, 10.0, 13.0, false, &slower));
        assert!(!flagged(Measure::Median, 10.0, 7.0, false, &slower), "the other one is slower");
        assert!(!flagged(Measure::P95, 10.0, 13.0, true, &slower), "noise");
        assert!(!flagged(Measure::P95, 10.0, 13.0, false, &[Flag::LessAccurate]), "not by so much that it counts");
        assert!(!flagged(Measure::Load, 10.0, 13.0, false, &slower));
        assert!(
            flagged(Measure::Accuracy, 0.9, 0.5, false, &[Flag::LessAccurate]) && !flagged(Measure::Accuracy, 0.9, 0.5, false, &slower)
        );
    }
}
