//! What is read, and what is refused where.

use super::*;

fn pre(layout: WindowLayout) -> PreWindow {
    PreWindow {
        columns: vec![Column::plain("b"), Column::plain("a")],
        length: 2,
        layout,
        mean: vec![1.0, 0.0],
        std: vec![2.0, 1.0],
        spectrum: None,
    }
}

/// The last rows of column `a`.
fn last(length: u32, csv: impl AsRef<[u8]>) -> Result<Vec<f32>> {
    let mut out = Vec::new();
    let pre = PreWindow {
        columns: vec![Column::plain("a")],
        length,
        layout: WindowLayout::Flat,
        mean: Vec::new(),
        std: Vec::new(),
        spectrum: None,
    };
    window(&pre, csv.as_ref(), &mut out).map(|()| out)
}

#[test]
fn window_takes_the_last_rows_in_tensor_order() {
    let csv = "\u{feff}time,a,\"b\"\r\n\"08:00, shift 1\",1,9\r\n\r\nx,2,3\r\ny,4,5";
    let mut out = Vec::new();
    window(&pre(WindowLayout::TimeMajor), csv.as_bytes(), &mut out).unwrap();
    assert_eq!(out, [1.0, 2.0, 2.0, 4.0]);
    window(&pre(WindowLayout::ChannelMajor), csv.as_bytes(), &mut out).unwrap();
    assert_eq!(out, [1.0, 2.0, 2.0, 4.0]);
    window(&PreWindow { length: 3, ..pre(WindowLayout::ChannelMajor) }, csv.as_bytes(), &mut out).unwrap();
    assert_eq!(out, [4.0, 1.0, 2.0, 1.0, 2.0, 4.0]);
}

#[test]
fn a_mark_within_a_field_is_text() {
    assert_eq!(last(3, "a,note\n1,ok\n2,ok\n3,5\" pipe\n4,ok\n5,6\" pipe\n").unwrap(), [3.0, 4.0, 5.0]);
    assert_eq!(last(3, "a,note\n1,5\" pipe\n2,ok\n3,6\" pipe\n4,ok\n5,ok\n").unwrap(), [3.0, 4.0, 5.0]);
    assert_eq!(last(1, "a,note\n1, \"x\"\n").unwrap(), [1.0]);
    assert_eq!(last(2, "a,\"say \"\"hi\"\"\"\n\"1\",\"x,\n\"\"\"\n\"2\",\"\"\n").unwrap(), [1.0, 2.0]);
}

#[test]
fn a_quote_that_does_not_close_is_refused_with_its_row() {
    for (csv, place) in [
        ("a,note\n1,x\n2,x\n3,x\n4,\"broken\n5,x\n6,x\n7,x\n", "row 4, field 2:"),
        // Closed by a mark that opens another field, rows later.
        ("a,note\n1,\"broken\n2,x\n3,\"again\n4,x\n", "row 1, field 2:"),
        ("note,a\n\"5\"\",1\n\"6\"\",2\nx,3\n", "row 1, field 1:"),
        ("a,note\n1,x\n2,\"x\" \n", "row 2, field 2:"),
        ("a,\"note\n1,x\n", "the header, field 2:"),
        ("a\n1\n\"", "row 2, field 1:"),
    ] {
        let error = last(1, csv).unwrap_err();
        assert_eq!((error.code, error.message.starts_with(place)), ("csv-quote", true), "{csv:?}: {error}");
        assert_eq!(check(csv.as_bytes()).unwrap_err().code, "csv-quote");
    }
}

#[test]
fn an_odd_row_before_the_window_refuses_no_input_but_no_table_has_one() {
    for (odd, code) in [("1,5,x", "csv-field-count"), ("1", "csv-field-count"), ("1,\"x\" ", "csv-quote"), ("1,\"x\"y\"", "csv-quote")] {
        let csv = format!("a,note\n{odd}\n2,x\n3,\"y\"\n");
        assert_eq!(last(2, &csv).unwrap(), [2.0, 3.0], "{odd}");
        assert_eq!(last(3, &csv).unwrap_err().code, code, "{odd}");
        let refused = check(csv.as_bytes()).unwrap_err();
        assert_eq!((refused.code, refused.message.starts_with("row 1")), (code, true), "{odd}: {refused}");
    }
    // A mark that swallows lines makes it unsure which rows there are.
    assert_eq!(last(1, "a,note\n1,\"x\n2,\"y\n3,z\n").unwrap_err().code, "csv-quote");
}

#[test]
fn lines_end_in_any_way_and_blank_ones_are_none() {
    for end in ["\n", "\r\n", "\r"] {
        let csv = ["a,b", "1,x", "", "2,y", "  ", "3,\"z\r\n\"", "", ""].join(end);
        assert_eq!(last(3, &csv).unwrap(), [1.0, 2.0, 3.0], "{end:?}");
        assert_eq!(last(4, &csv).unwrap_err().message, "4 rows are needed, the input has 3");
    }
    // A row of one empty field is no blank line.
    assert_eq!(last(1, "a\n1\n\"\"\n").unwrap_err().message, "row 2, column `a`: empty");
}

#[test]
fn a_table_has_a_header_and_rows_as_long() {
    assert!(check(b"a,b\n1,x\n").is_ok());
    for (bytes, code) in [
        (&b""[..], "csv-too-few-rows"),
        (b"a,b\n", "csv-too-few-rows"),
        (b"a,b\n1\n", "csv-field-count"),
        (b"a;b\n1;2\n", "csv-separator"),
        (b"a\tb\n1\t2\n", "csv-separator"),
        (b"a\n\xff", "input-not-csv"),
    ] {
        assert_eq!(check(bytes).unwrap_err().code, code);
    }
}

#[test]
fn faults_have_codes_and_places() {
    for (csv, code, words) in [
        (&b"a,b\n"[..], "csv-too-few-rows", "1 rows are needed, the input has 0"),
        (b"", "csv-column-missing", "`a`"),
        (b"A,b\n1,2\n", "csv-column-missing", "`a`"),
        (b"b;a\n1;2\n", "csv-separator", "semicolons"),
        (b"x,\"b\"\t\"a\"\n1,2\n", "csv-separator", "tabs"),
        (b"sep=;\nb|a\n1|2\n", "csv-column-missing", "`a`"),
        (b"a,b,a\n1,2,3\n", "csv-column-twice", "field 1 and 3"),
        (b"a,b\n1,5,2\n", "csv-field-count", "row 1 has 3 fields, the header has 2"),
        (b"a,b\n1,2\n1\n", "csv-field-count", "row 2 has 1 fields"),
        (b"a,b\n1,2\n1,2,\n", "csv-field-count", "row 2 has 3 fields"),
        (b"a\n1\nx\n", "csv-not-a-number", "row 2, column `a`: not a number"),
        (b"a,b\n,1\n", "csv-not-a-number", "row 1, column `a`: empty"),
        (b"a\n\"1,5\"\n", "csv-not-a-number", "write decimals with a point"),
        (b"a\ninf\n", "csv-not-a-number", "not a finite number"),
        (b"a\nNaN\n", "csv-not-a-number", "not a finite number"),
        (b"a\n1e400\n", "csv-not-a-number", "not a finite number"),
        (b"a\n-1e39\n", "csv-not-a-number", "too large for FP32"),
        (b"a\n0x10\n", "csv-not-a-number", "not a number"),
        (b"a\n1_000\n", "csv-not-a-number", "not a number"),
        ("a\n１２\n".as_bytes(), "csv-not-a-number", "not a number"),
        ("a\n１,５\n".as_bytes(), "csv-field-count", "row 1"),
        (b"a\n1\n2\xff", "input-not-csv", "line 3 is not UTF-8"),
        (b"a\n1\0\n", "input-not-csv", "line 2 has a zero byte"),
        (b"\xff\xfea\0\n\0", "input-not-csv", "UTF-16"),
        (b"\0a\0\n\x001", "input-not-csv", "UTF-16"),
    ] {
        let error = last(1, csv).unwrap_err();
        assert_eq!(error.code, code, "{error} of {:?}", String::from_utf8_lossy(csv));
        assert!(error.message.contains(words), "{error}");
    }
    assert_eq!(last(4, " a \n 1.5\t\n+.5\n-2.\n1E-400").unwrap(), [1.5, 0.5, -2.0, 0.0]);
}

#[test]
fn scaling_may_not_leave_the_finite_numbers() {
    let pre = PreWindow { std: vec![1e-30, 1.0], mean: Vec::new(), ..pre(WindowLayout::Flat) };
    let error = window(&pre, b"a,b\n1,1\n1,1e20\n", &mut Vec::new()).unwrap_err();
    assert_eq!(error.message, "row 2, column `b`: too large for FP32");
}

#[test]
fn rows_are_bounded() {
    let wide = |fields: usize| format!("a{}\n1{}", ",".repeat(fields - 1), ",".repeat(fields - 1));
    assert_eq!(last(1, wide(MAX_FIELDS)).unwrap(), [1.0]);
    assert_eq!(last(1, wide(MAX_FIELDS) + "\n").unwrap(), [1.0]);
    for csv in [wide(MAX_FIELDS + 1), "a,".repeat(5_000_000), format!("a\n{}", "1,".repeat(5_000_000))] {
        let error = last(1, csv).unwrap_err();
        assert!(error.code == "csv-row-too-long" && error.message.ends_with("16384 fields"), "{error}");
    }
    let long = |bytes: usize| format!("a,note\n1,\"{}\"\n2,y\n", "x".repeat(bytes));
    assert_eq!(last(2, long(MAX_ROW - 1)).unwrap(), [1.0, 2.0]);
    let error = last(2, long(MAX_ROW + 1)).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), ("csv-row-too-long", "row 1 has more than 1048576 bytes"));
}

#[test]
fn columns_reads_the_first_row() {
    let mut out = Vec::new();
    let pre = PreColumns { names: vec![Column::plain("q\"")], each: false };
    columns(&pre, b"x,\"q\"\"\"\n1,2\n", &mut out).unwrap();
    assert_eq!(out, [2.0]);
    assert_eq!(columns(&pre, b"x,\"q\"\"\"\n1,2,\n", &mut out).unwrap_err().code, "csv-field-count");
    assert_eq!(columns(&pre, b"x,\"q\"\"\"\n", &mut out).unwrap_err().code, "csv-too-few-rows");
    columns(&pre, b"x,\"q\"\"\"\n\"1,5\",2\n", &mut out).unwrap();
}

#[test]
fn an_empty_cell_is_what_the_column_says() {
    let column = |missing| Column { missing, ..Column::plain("a") };
    let row = |missing, csv: &str| {
        let mut out = Vec::new();
        columns(&PreColumns { names: vec![column(missing)], each: false }, csv.as_bytes(), &mut out).map(|()| out).map_err(|e| e.code)
    };
    for cell in ["", " ", "nan", "NaN", "NA", "null"] {
        let csv = format!("b,a\n1,{cell}\n");
        assert_eq!(row(Missing::Number(7.5), &csv), Ok(vec![7.5]), "{cell:?}");
        assert!(row(Missing::Nan, &csv).unwrap()[0].is_nan(), "{cell:?}");
        assert_eq!(row(Missing::Refuse, &csv), Err("csv-not-a-number"), "{cell:?}");
        assert_eq!(row(Missing::Last, &csv), Err("csv-not-a-number"), "{cell:?}");
    }
    for cell in ["x", "inf", "-", "n/a"] {
        assert_eq!(row(Missing::Nan, &format!("b,a\n1,{cell}\n")), Err("csv-not-a-number"), "{cell:?}");
    }
    let window = |missing, csv: &str| {
        let mut out = Vec::new();
        let (columns, mean, std) = (vec![column(missing)], vec![1.0], vec![2.0]);
        let pre = PreWindow { columns, length: 3, layout: WindowLayout::Flat, mean, std, spectrum: None };
        window(&pre, csv.as_bytes(), &mut out).map(|()| out).map_err(|e| e.message)
    };
    assert_eq!(window(Missing::Last, "b,a\n1,5\n1,\n1,nan\n").unwrap(), [2.0, 2.0, 2.0]);
    assert!(window(Missing::Last, "b,a\n1,\n1,5\n1,5\n").unwrap_err().contains("no number stands above it"));
    // What stands above the window counts, but for odd rows.
    assert_eq!(window(Missing::Last, "b,a\n1,7\n1,x\n1,9,9\n1,\n1,5\n1,5\n").unwrap(), [3.0, 2.0, 2.0]);
    assert_eq!(window(Missing::Last, "b,a\n1,7\n1,\n1,x\n1,5\n").unwrap_err(), "row 3, column `a`: not a number");
    assert_eq!(window(Missing::Number(1.0), "b,a\n1,\n1,5\n1,\n").unwrap(), [0.0, 2.0, 0.0]);
}

#[test]
fn texts_are_read_as_they_are() {
    let text = |missing| Column { name: "maker".into(), kind: ColumnKind::Text, missing };
    let cells = |missing, csv: &str| row(&PreColumns { names: vec![text(missing), Column::plain("a")], each: true }, csv.as_bytes());
    let csv = "a,maker\n2,\" Nan Feng, 2 \"\n";
    assert_eq!(cells(Missing::Refuse, csv).unwrap(), [Cell::Text("Nan Feng, 2".into()), Cell::Number(2.0)]);
    assert_eq!(cells(Missing::Refuse, "a,maker\n2,\n").unwrap_err().code, "csv-empty");
    assert_eq!(cells(Missing::Empty, "a,maker\n2,\n").unwrap()[0], Cell::Text(String::new()));
    // A maker may be called so.
    assert_eq!(cells(Missing::Empty, "a,maker\n2,NA\n").unwrap()[0], Cell::Text("NA".into()));
}

#[test]
fn columns_are_seen_as_numbers_and_gaps() {
    let text = b"\xef\xbb\xbft,\"gas, %\",maker\n1,0.5,a\n2,,\"b, c\"\n3,NA,d\n";
    let columns = numbers(text, 2).unwrap();
    let seen: Vec<(&str, &[Option<f64>])> = columns.iter().map(|(name, numbers)| (name.as_str(), numbers.as_slice())).collect();
    assert_eq!(seen, [("t", &[Some(2.0), Some(3.0)][..]), ("gas, %", &[None, None]), ("maker", &[None, None])]);
    assert_eq!(gaps(text).unwrap(), ["gas, %"]);
    assert_eq!(numbers(b"a,b\n1\n", 9).unwrap_err().code, "csv-field-count");
    assert!(numbers(b"", 9).unwrap().is_empty() && gaps(b"a\n").unwrap().is_empty());
}
