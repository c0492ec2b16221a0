//! Pictures become the tensors that `OpenCV` and Pillow make of them. `filters.py` says how the expected values were made.

use std::collections::BTreeMap;
use std::path::Path;

use app_package::pipeline::PreImage;
use inference::picture;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    file: String,
    pre: serde_json::Value,
    values: String,
    count: usize,
    /// Most difference in steps of 255, where pixels are not scaled otherwise.
    tolerance: f32,
}

#[test]
fn pictures_become_what_opencv_and_pillow_make_of_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filters");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let bytes = std::fs::read(folder.join("cases.bin")).unwrap();
    let mut rest = bytes.as_slice();
    let (mut largest, mut wrong) = (BTreeMap::<String, (f32, usize, usize)>::new(), Vec::new());
    for case in cases {
        let float = case.values == "float";
        let (values, after) = rest.split_at(case.count * if float { 4 } else { 1 });
        rest = after;
        let wanted: Vec<f32> = if float {
            values.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
        } else {
            values.iter().map(|value| f32::from(*value)).collect()
        };
        let pre: PreImage = serde_json::from_value(case.pre.clone()).unwrap();
        let mut tensor = Vec::new();
        let decoded = picture::decode(&std::fs::read(folder.join(&case.file)).unwrap()).unwrap();
        picture::to_tensor(&pre, &decoded, &mut tensor).unwrap();
        assert_eq!(tensor.len(), wanted.len(), "{} {}", case.file, case.pre);
        let differences = || tensor.iter().zip(&wanted).map(|(ours, theirs)| (ours - theirs).abs());
        let difference = differences().fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a });
        // Files that are only decoded say nothing about a filter.
        let group = if case.pre.get("filter").is_some() { format!("{:?}", pre.filter) } else { case.file.clone() };
        let (most, differing, all) = largest.entry(group).or_default();
        (*most, *differing, *all) =
            (most.max(difference), *differing + differences().filter(|difference| *difference > 0.001).count(), *all + wanted.len());
        if difference.is_nan() || difference > case.tolerance {
            wrong.push(format!("{} {}: differs by {difference}", case.file, case.pre));
        }
    }
    for (group, (most, differing, all)) in largest {
        println!("{group}: at most {most} of 255; {differing} of {all} differ");
    }
    assert!(rest.is_empty() && wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_copy_of_a_turned_picture_counts_as_memory() {
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filters/turned-6.png")).unwrap();
    let both = 24 * 16 * (3 + 4);
    let turned = picture::decode_shown(&bytes, both).unwrap();
    assert_eq!((turned.width(), turned.height()), (16, 24));
    assert_eq!(picture::decode_shown(&bytes, both - 1).unwrap_err().code, "input-too-large");
}
