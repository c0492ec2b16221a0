//! Which figures are the best, and addresses of comparisons.

use super::*;

fn best(values: &[Option<(f64, &str)>], higher: bool) -> Vec<bool> {
    let values = values.iter().map(|v| v.map(|(n, text)| (n, text.to_owned()))).collect();
    cells(values, higher).iter().map(|cell| cell.best).collect()
}

#[test]
fn the_best_is_named_only_where_figures_differ() {
    let three = [Some((1.0, "1 %")), None, Some((2.0, "2 %"))];
    assert_eq!(best(&three, false), [true, false, false]);
    assert_eq!(best(&three, true), [false, false, true]);
    // Alone, or the same as shown: nothing is better.
    assert_eq!(best(&[Some((1.0, "1 %")), None], false), [false; 2]);
    assert_eq!(best(&[Some((1.001, "1 %")), Some((1.002, "1 %"))], false), [false; 2]);
    // Two that read the same are both the best.
    assert_eq!(best(&[Some((1.001, "1 %")), Some((1.002, "1 %")), Some((3.0, "3 %"))], false), [true, true, false]);
    assert_eq!(cells(vec![None], true), [Cell { text: NONE.into(), best: false }]);
}

#[test]
fn an_address_names_each_app_once_and_four_at_the_most() {
    let pairs = |values: &[&str]| values.iter().map(|v| ("app".to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    let is = |vendor: &str, app: &str| (vendor.to_owned(), app.to_owned());
    assert_eq!(wanted(Vec::new()), (Vec::new(), false));
    assert_eq!(wanted(pairs(&["a/x", "b/y", "a/x"])), (vec![is("a", "x"), is("b", "y")], false));
    assert_eq!(wanted(vec![("other".into(), "a/x".into())]), (Vec::new(), false));
    let (apps, cut) = wanted(pairs(&["a/1", "a/2", "a/3", "a/4", "a/4", "a/5"]));
    assert_eq!((apps.len(), cut), (MAX, true));
    // Hostile values name nothing, and count as one.
    let long = format!("{}/{}", "矿".repeat(5000), "x".repeat(5000));
    let (apps, _) = wanted(pairs(&["", "no-slash", "a/b/c", "a/\0", "<b>/x", &long, "a/x"]));
    assert_eq!(apps, [is("", ""), is("a", "x")]);
}

#[test]
fn the_address_of_some_apps_is_read_back() {
    assert_eq!(address([]), "/compare");
    assert_eq!(address([("a", "x"), ("b", "y")]), "/compare?app=a/x&app=b/y");
}
