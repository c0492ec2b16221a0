//! Files that lie.

use super::*;

/// Odd dimensions, in every place of every shape that a family looks at.
const ODD: [i64; 9] = [i64::MIN, -2, -1, 0, 1, 3, 6, 300, i64::MAX];

fn all_written(signature: &Signature, metadata: &Metadata) {
    let found = plainly(signature, metadata);
    let listing = write::Listing { name: "app".into(), ..write::Listing::default() };
    let part = parts::Part { name: "app".into(), path: "model.onnx".into(), file: "m.onnx".into(), readings: found.clone() };
    // Whatever is proposed is YAML; whether app.yaml takes such a tensor is for its reader to say.
    let text = write::app_yaml(&[part], &listing, "en");
    if text.len() < 8_000 {
        let _ = app_package::validate::parse(&text);
    }
    assert!(found.is_empty() || text.len() < 2_000_000, "{}", text.len());
    assert_eq!(obstacle(signature, metadata, &Given::default()).is_none(), !found.is_empty());
}

#[test]
fn shapes_that_lie() {
    let named = ultralytics("segment", "{0: 'a', 1: 'b'}", &[]);
    for a in ODD {
        for b in ODD {
            for c in ODD {
                let outputs: [Vec<(&str, u64, &[i64])>; 4] = [
                    vec![("output0", F32, &[1, 6, 525])],
                    vec![("dets", F32, &[1, 300, 4]), ("labels", F32, &[1, 300, 4])],
                    vec![("boxes", F32, &[1, 4]), ("labels", I64, &[1]), ("scores", F32, &[1])],
                    vec![("probabilities", F32, &[1, 2])],
                ];
                for outputs in &outputs {
                    all_written(&signature(&[("images", F32, &[a, b, c, c])], outputs), &named);
                    all_written(&signature(&[("images", F32, &[a, b, c])], outputs), &Metadata::default());
                }
                let (last, masks, flat) = ([a, b, c], [1, c, a, b], [b, c]);
                let outputs: [Vec<(&str, u64, &[i64])>; 4] = [
                    vec![("output0", F32, &last), ("output1", F32, &masks)],
                    vec![("dets", F32, &last), ("labels", F32, &last)],
                    vec![("output", F32, &last)],
                    vec![("y", F32, &flat)],
                ];
                for outputs in &outputs {
                    for metadata in [&named, &Metadata::default()] {
                        all_written(&signature(&[("images", F32, &[1, 3, 640, 640])], outputs), metadata);
                    }
                }
            }
        }
    }
}

#[test]
fn metadata_that_lie() {
    let long = "x".repeat(60_000);
    let names = [
        "{0: 'a', 4294967295: 'b'}".to_owned(),
        "{1023: 'a'}".to_owned(),
        "{-1: 'a'}".to_owned(),
        format!("{{0: '{long}', 1: '{long}'}}"),
        format!("[{}]", "'a',".repeat(1_000)),
        "{0: {0: {0: 'a'}}}".to_owned(),
        "[".repeat(60_000),
        "{0: '\\ud83d\\ude00', 1: '\\x00\\x1b[2J'}".to_owned(),
        "{0: '\u{202e}a\u{feff}', 1: '# edit\\nsteps: []'}".to_owned(),
        "{0: \"{place}: ' # \\\\\", 1: '- ? & * ! | > % @ `'}".to_owned(),
    ];
    let sizes = ["[640, 640]", "[0, 0]", "[-1, 5]", "[99999999999, 1]", "640", "[[640, 640], 1]"];
    for names in &names {
        for size in sizes {
            let metadata = metadata(&[
                ("author", "Ultralytics"),
                ("task", &long),
                ("stride", "32"),
                ("names", names),
                ("imgsz", size),
                ("version", "18446744073709551616.x"),
                ("kpt_shape", "[400, 400]"),
                ("args", names),
                ("license", &long),
            ]);
            for outputs in [[1, 6, 525], [1, 300, 6], [-1, -1, -1]] {
                all_written(&signature(&[("images", F32, &[-1, 3, -1, -1])], &[("output0", F32, &outputs)]), &metadata);
            }
        }
    }
    // Hostile names give a manifest that is read back all the same.
    let odd = ultralytics("detect", &names[8], &[]);
    let found = plainly(&signature(&[("images", F32, &[1, 3, 64, 64])], &[("output0", F32, &[1, 6, 84])]), &odd);
    let part = parts::Part { name: "app".into(), path: "model.onnx".into(), file: "m.onnx\nformat: 9".into(), readings: found.clone() };
    let text = write::app_yaml(&[part], &write::Listing { name: "app".into(), ..Default::default() }, "zh");
    let read = app_package::validate::parse(&text).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
    assert_eq!(read.posts().collect::<Vec<_>>(), found.first().map(|p| p.step.post.iter().collect::<Vec<_>>()).unwrap_or_default());
}

#[test]
fn names_of_tensors_that_lie() {
    let names = ["", "a: b", "# x", "\"", "\u{1b}[2J", "\u{2028}", "安全", "- a", "*a", "{", "null", "1e5", "0x10"];
    for name in names {
        let long = "n".repeat(4_000);
        for name in [name, &long] {
            all_written(&signature(&[(name, F32, &[1, 3, 64, 64])], &[(name, F32, &[1, 6, 84])]), &Metadata::default());
            all_written(&signature(&[(name, F32, &[1, 4])], &[(name, F32, &[1, 1])]), &Metadata::default());
        }
    }
}
