//! Modules that do what they should not.

use super::*;

fn refused(bytes: &[u8]) -> &'static str {
    own(json!({}), bytes).map(|_| ()).unwrap_err().code
}

#[test]
fn modules_that_do_not_fit_are_refused_with_why() {
    let whole = |what: &str| wat::parse_str(format!("(module {what})")).unwrap();
    let abi = r#"(func (export "pithead_abi") (result i32) i32.const 1)"#;
    let alloc = r#"(func (export "alloc") (param i32) (result i32) i32.const 8)"#;
    let run = r#"(func (export "run") (param i32 i32) (result i64) i64.const 0)"#;
    let memory = r#"(memory (export "memory") 1)"#;
    let all = format!("{abi} {alloc} {run} {memory}");
    assert!(own(json!({}), &whole(&all)).is_ok());
    for (what, code) in [
        (format!("{abi} {alloc} {run}"), "wasm-export-missing"),
        (format!("{abi} {alloc} {memory}"), "wasm-export-missing"),
        (format!("{alloc} {run} {memory}"), "wasm-export-missing"),
        (format!("{abi} {run} {memory} (global (export \"alloc\") i32 (i32.const 8))"), "wasm-export-missing"),
        (all.replace("(param i32 i32) (result i64) i64", "(param i32 i32) (result i32) i32"), "wasm-abi"),
        (all.replace("(result i32) i32.const 1)", "(result i32) i32.const 2)"), "wasm-abi"),
        (all.replace("(result i32) i32.const 1)", "(result i32) unreachable)"), "wasm-trap"),
        (all.replace("(result i32) i32.const 1)", "(result i32) (loop $l (br $l)) unreachable)"), "wasm-out-of-fuel"),
        // Nothing is imported but the log, with its own type.
        (format!(r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))) {all}"#), "wasm-import"),
        (format!(r#"(import "pithead" "log" (func (param i32))) {all}"#), "wasm-import"),
        (format!(r#"(import "pithead" "log" (global i32)) {all}"#), "wasm-import"),
        (format!(r#"(import "env" "memory" (memory 1)) {abi} {alloc} {run}"#), "wasm-import"),
        // What is beyond WebAssembly 2.0 without vectors.
        (format!("{all} (memory 1)"), "wasm-invalid"),
        (all.replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") i64 1)"), "wasm-invalid"),
        (all.replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 1 1 shared)"), "wasm-invalid"),
        (format!("{all} (func (drop (v128.const i64x2 1 1)))"), "wasm-invalid"),
        (format!("{all} (func $f (return_call $f))"), "wasm-invalid"),
        (format!("{all} (tag)"), "wasm-invalid"),
        // Bounds.
        (all.replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 65536)"), "wasm-memory"),
        (format!("{all} (table 100001 funcref)"), "wasm-memory"),
        (format!("{all} (table 1 funcref) (table 1 funcref)"), "wasm-memory"),
        (format!("{all} (data (i32.const 65530) \"0123456789\")"), "wasm-trap"),
        (format!("{all} {}", "(func)".repeat(10_001)), "wasm-invalid"),
        (format!("{all} (func $s (loop $l (br $l))) (start $s)"), "wasm-out-of-fuel"),
        (format!("{all} (func $s unreachable) (start $s)"), "wasm-trap"),
        (format!("{all} (func $s (loop $l (drop (memory.grow (i32.const 1))) (br $l))) (start $s)"), "wasm-memory"),
    ] {
        let bytes = whole(&what);
        let shown: String = what.chars().take(120).collect();
        assert_eq!(own(json!({}), &bytes).map(|_| ()).unwrap_err().code, code, "{shown}");
    }
    assert_eq!(refused(b""), "wasm-not-core");
    assert_eq!(refused(b"\0asm\x0d\0\x01\0"), "wasm-not-core");
    assert_eq!(refused(b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f"), "wasm-invalid");
    assert_eq!(refused(b"\x7fELF"), "wasm-not-core");
    // A data segment that claims more bytes than there are.
    let mut cut = whole(&format!("{all} (data (i32.const 0) \"{}\")", "x".repeat(1_000)));
    cut.truncate(cut.len() - 500);
    assert_eq!(refused(&cut), "wasm-invalid");
    // Cut anywhere and with any byte changed, it is refused or it loads, and nothing else happens.
    let bytes = whole(&all);
    for at in 0..bytes.len() {
        drop(own(json!({}), &bytes[..at]));
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = value;
            drop(own(json!({}), &changed));
        }
    }
}

#[test]
fn runs_that_do_what_they_should_not_end_and_say_why() {
    let recursion = "(func $deep (param i32) (result i32) (call $deep (local.get 0)))";
    let table = "(table $t 1 funcref)";
    for (more, alloc, run, code) in [
        ("", "i32.const 8", "(loop $l (br $l)) unreachable", "wasm-out-of-fuel"),
        ("", "(loop $l (br $l)) unreachable", "i64.const 0", "wasm-out-of-fuel"),
        ("", "i32.const 8", "unreachable", "wasm-trap"),
        ("", "i32.const 8", "(i64.div_u (i64.const 1) (i64.const 0))", "wasm-trap"),
        ("", "i32.const 8", "(i64.load (i32.const -8))", "wasm-trap"),
        (recursion, "i32.const 8", "(drop (call $deep (i32.const 1))) i64.const 0", "wasm-trap"),
        (table, "i32.const 8", "(call_indirect (i32.const 0)) i64.const 0", "wasm-trap"),
        (table, "i32.const 8", "(call_indirect (i32.const 9)) i64.const 0", "wasm-trap"),
        (table, "i32.const 8", "(loop $l (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $l)) i64.const 0", "wasm-memory"),
        ("", "i32.const 8", "(loop $l (drop (memory.grow (i32.const 1))) (br $l)) i64.const 0", "wasm-memory"),
        ("", "i32.const 8", "(drop (memory.grow (i32.const 60000))) i64.const 0", "wasm-memory"),
        // Work that one instruction does is paid for by its size.
        (
            "",
            "i32.const 8",
            "(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 131072)) (br $l)) i64.const 0",
            "wasm-out-of-fuel",
        ),
        (
            "",
            "i32.const 8",
            "(loop $l (memory.copy (i32.const 0) (i32.const 1) (i32.const 131071)) (br $l)) i64.const 0",
            "wasm-out-of-fuel",
        ),
        ("", "i32.const 8", "(loop $l (call $log (i32.const 0) (i32.const 9)) (br $l)) i64.const 0", "wasm-out-of-fuel"),
        ("", "i32.const 8", "(call $log (i32.const 131071) (i32.const 2)) i64.const 0", "wasm-trap"),
        ("", "i32.const 8", "(call $log (i32.const -1) (i32.const -1)) i64.const 0", "wasm-trap"),
        // An `alloc` that lies.
        ("", "i32.const 0", "i64.const 0", "wasm-memory"),
        ("", "i32.const -1", "i64.const 0", "wasm-answer"),
        ("", "i32.const 131064", "i64.const 0", "wasm-answer"),
        ("", "i32.const 2147483647", "i64.const 0", "wasm-answer"),
        // An answer that is none.
        ("", "i32.const 8", "i64.const -1", "wasm-answer"),
        ("", "i32.const 8", "i64.const 0xffffffff", "wasm-answer"),
        ("", "i32.const 8", "i64.const 0x0002000000000010", "wasm-answer"),
        ("", "i32.const 8", "i64.const 0x0001fff800000010", "wasm-answer"),
        ("", "i32.const 8", "i64.const 0x0000000000000001", "wasm-answer"),
        ("", "i32.const 8", "i64.const 0x0000100000000100", "wasm-answer"),
        ("(data (i32.const 4096) \"{\\\"detections\\\": []}\")", "i32.const 8", "i64.const 0x0000100000000012", "wasm-answer"),
        ("(data (i32.const 4096) \"PHT1\\ff\\ff\\ff\\ff\")", "i32.const 8", "i64.const 0x0000100000001000", "wasm-answer"),
    ] {
        let mut own = own(json!({"memory_mib": 4}), &module(more, alloc, run)).unwrap();
        let found = asked(&mut own).map(|_| ()).unwrap_err();
        assert_eq!(found.code, code, "{more} {alloc} {run}: {found}");
        assert!(found.message.starts_with("step `own`: "), "{found}");
    }
    // What is given over the module's own data and code is its own loss: it is answered or refused.
    let over = module("(data (i32.const 0) \"data\")", "i32.const 1", "(i64.extend_i32_u (i32.load (i32.const 1)))");
    assert_eq!(asked(&mut own(json!({}), &over).unwrap()).map(|_| ()).unwrap_err().code, "wasm-answer");
    // A frame for which there is no room is told before the module is asked.
    let mut own = own(json!({"in": ["frame"], "memory_mib": 1}), &answering(&[])).unwrap();
    let large = DynamicImage::new_rgb8(1_000, 400);
    let seen = Seen { frame: Some(&large), ..Seen::default() };
    assert_eq!(own.run(&seen, &mut AppOutput::default()).map(|_| ()).unwrap_err().code, "wasm-memory");
}

#[test]
fn rubbish_in_an_answer_is_named_and_changes_nothing() {
    let row = [0.0, 0.5, 1.0, 1.0, 2.0, 2.0];
    let with = |at: usize, number: f32| {
        let mut row = row;
        row[at] = number;
        block(&[("objects", floats(&[1, 6], &row))])
    };
    let many = |n: usize| block(&[("objects", floats(&[i64::try_from(n).unwrap(), 6], &row.repeat(n)))]);
    assert_eq!(asked(&mut own(json!({}), &answering(&many(300))).unwrap()).unwrap().0.detections.len(), 300);
    let given = |shape: &[i64], numbers: &[f32]| block(&[("given", floats(shape, numbers))]);
    let mut cases = vec![
        (json!({}), many(301)),
        (json!({}), many(10_000)),
        (json!({}), block(&[("boxes", floats(&[1, 6], &row))])),
        (json!({}), block(&[("objects", floats(&[1, 6], &row)), ("objects", floats(&[1, 6], &row))])),
        (json!({}), block(&[("objects", floats(&[6], &row))])),
        (json!({}), block(&[("objects", floats(&[2, 3], &row))])),
        (json!({}), block(&[("objects", tensor(&[1, 6], Data::I32(vec![0; 6])))])),
        (json!({}), given(&[1, 2], &[0.0, 0.5])),
        (json!({}), given(&[3, 2], &[0.0; 6])),
        (json!({}), given(&[2, 2], &[0.0, 0.5, 2.0, 0.5])),
        (json!({}), given(&[2, 2], &[0.0, f32::NAN, 1.0, 0.5])),
        (json!({"in": ["frame"]}), given(&[2, 2], &[0.0, 0.5, 1.0, 0.5])),
        (json!({"of": {}}), given(&[2, 2], &[0.0, 0.5, 1.0, 0.5])),
        (json!({"out": "values", "items": [{"id": "a", "text": {"en": "a"}}]}), block(&[("values", floats(&[1], &[f32::INFINITY]))])),
        (json!({"out": "values", "items": [{"id": "a", "text": {"en": "a"}}]}), block(&[("values", floats(&[2], &[1.0, 2.0]))])),
        (json!({"out": "classes", "labels": [{"id": "a", "text": {"en": "a"}}]}), block(&[("scores", floats(&[1], &[f32::NAN]))])),
        (json!({"out": "texts"}), block(&[("texts", floats(&[1], &[1.0]))])),
        (json!({"out": "texts"}), block(&[("texts", tensor(&[33], Data::Text(vec![String::new(); 33])))])),
        (json!({"out": "texts"}), block(&[("texts", tensor(&[1], Data::Text(vec!["x".repeat(1_001)])))])),
        (json!({"out": "texts"}), block(&[("texts", tensor(&[1], Data::Text(vec!["a\u{202e}b".into()])))])),
        (json!({"out": "texts"}), block(&[("texts", tensor(&[1], Data::Text(vec!["a".into()]))), ("scores", floats(&[1], &[2.0]))])),
    ];
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        cases.extend((0..6).map(|at| (json!({}), with(at, number))));
    }
    for (at, number) in [(0, 2.0), (0, -1.0), (0, 0.5), (0, 1e30), (1, -0.1), (1, 1.01), (4, -1.0), (5, -1.0)] {
        cases.push((json!({}), with(at, number)));
    }
    for (i, (keys, answer)) in cases.into_iter().enumerate() {
        let mut own = own(keys, &answering(&answer)).unwrap();
        let (before, picture) = (found(), picture());
        let mut after = before.clone();
        let outcome = own.run(&Seen::of(&before, Some(&picture)), &mut after);
        assert_eq!(outcome.map(|_| ()).unwrap_err().code, "wasm-answer", "case {i}");
        assert_eq!(after, before, "case {i}");
    }
}
