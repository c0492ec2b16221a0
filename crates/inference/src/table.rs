//! CSV → tensor, for time series, tables and sound.
//!
//! RFC 4180 with comma, LF or CRLF, UTF-8 (a byte-order mark is skipped); the first record names the columns. Only the
//! rows and columns that the step needs are parsed as numbers.

use std::{borrow::Cow, collections::VecDeque};

use app_package::manifest::{PreColumns, PreWindow, WindowLayout};

use crate::error::{AppError, Result};

/// The shape of a window's tensor.
pub fn window_shape(pre: &PreWindow) -> Vec<i64> {
    let (rows, columns) = (i64::from(pre.length), i64::try_from(pre.columns.len()).unwrap_or(i64::MAX));
    match pre.layout {
        WindowLayout::TimeMajor => vec![1, rows, columns],
        WindowLayout::ChannelMajor => vec![1, columns, rows],
        WindowLayout::Flat => vec![1, rows.saturating_mul(columns)],
    }
}

/// The last `length` rows of the named columns as `(value - mean) / std`.
/// Codes `input-not-csv`, `csv-column-missing`, `csv-too-few-rows`, `csv-field-count`, `csv-not-a-number`.
#[expect(clippy::cast_possible_truncation, reason = "tensors are FP32")]
pub fn window(pre: &PreWindow, bytes: &[u8], out: &mut Vec<f32>) -> Result<()> {
    let mut records = Records::new(bytes)?;
    let header = header(records.next(), &pre.columns)?;
    let length = pre.length as usize;
    let mut last = VecDeque::with_capacity(length.min(65_536));
    for (number, record) in records.enumerate() {
        if last.len() == length {
            last.pop_front();
        }
        last.push_back((number + 1, record));
    }
    if last.len() < length {
        return Err(AppError::new("csv-too-few-rows", format!("{length} rows are needed, the input has {}", last.len())));
    }
    out.clear();
    out.resize(length * pre.columns.len(), 0.0);
    let mut row_values = vec![0.0; pre.columns.len()];
    for (row, (number, record)) in last.iter().enumerate() {
        numbers(record, *number, &header, &pre.columns, &mut row_values)?;
        for (column, value) in row_values.iter_mut().enumerate() {
            let mean = f64::from(pre.mean.get(column).copied().unwrap_or(0.0));
            let std = f64::from(pre.std.get(column).copied().unwrap_or(1.0));
            *value = (*value - mean) / std;
            let at = match pre.layout {
                WindowLayout::ChannelMajor => column * length + row,
                WindowLayout::TimeMajor | WindowLayout::Flat => row * pre.columns.len() + column,
            };
            if let Some(cell) = out.get_mut(at) {
                *cell = *value as f32;
            }
        }
    }
    Ok(())
}

/// The named columns of the first data row. Codes as [`window`].
#[expect(clippy::cast_possible_truncation, reason = "tensors are FP32")]
pub fn columns(pre: &PreColumns, bytes: &[u8], out: &mut Vec<f32>) -> Result<()> {
    let mut records = Records::new(bytes)?;
    let header = header(records.next(), &pre.names)?;
    let record = records.next().ok_or_else(|| AppError::new("csv-too-few-rows", "one row is needed, the input has none"))?;
    let mut values = vec![0.0; pre.names.len()];
    numbers(record, 1, &header, &pre.names, &mut values)?;
    out.clear();
    out.extend(values.iter().map(|&v| v as f32));
    Ok(())
}

/// Whether this is a table at all: a header, a row, and as many fields in every row. Codes as [`window`].
pub fn check(bytes: &[u8]) -> Result<()> {
    let mut records = Records::new(bytes)?;
    let header = records.next().map_or(0, |record| fields(record).count());
    let mut rows = 0usize;
    for (at, record) in records.enumerate() {
        let found = fields(record).count();
        if found != header {
            return Err(AppError::new("csv-field-count", format!("row {} has {found} fields, the header has {header}", at + 1)));
        }
        rows += 1;
    }
    if rows == 0 { Err(AppError::new("csv-too-few-rows", "there is no row below the header")) } else { Ok(()) }
}

/// The first record, as far as the step needs it.
struct Header {
    /// Fields that each record must have.
    fields: usize,
    /// For each field that is needed, the column it fills; sorted by field.
    places: Vec<(usize, usize)>,
}

fn header(record: Option<&str>, names: &[String]) -> Result<Header> {
    let header: Vec<Cow<'_, str>> = fields(record.unwrap_or_default()).collect();
    let mut places = Vec::with_capacity(names.len());
    for (column, name) in names.iter().enumerate() {
        let field = header
            .iter()
            .position(|field| field.trim() == name)
            .ok_or_else(|| AppError::new("csv-column-missing", format!("the input has no column `{name}`")))?;
        places.push((field, column));
    }
    places.sort_unstable();
    Ok(Header { fields: header.len(), places })
}

fn numbers(record: &str, row: usize, header: &Header, names: &[String], out: &mut [f64]) -> Result<()> {
    // A decimal comma makes one field two and shifts all that follow: such a row has no meaning.
    let found = fields(record).count();
    if found != header.fields {
        let message = format!("row {row} has {found} fields, the header has {}; write decimals with a point", header.fields);
        return Err(AppError::new("csv-field-count", message));
    }
    let bad = |column: usize, what: &str| {
        let name = names.get(column).map_or("", String::as_str);
        AppError::new("csv-not-a-number", format!("row {row}, column `{name}`: {what}"))
    };
    let mut wanted = header.places.iter().peekable();
    for (index, field) in fields(record).enumerate() {
        while let Some(&&(_, column)) = wanted.peek().filter(|(field, _)| *field == index) {
            let value: f64 = field.trim().parse().map_err(|_| bad(column, "not a number"))?;
            if !value.is_finite() {
                return Err(bad(column, "not a finite number"));
            }
            if let Some(cell) = out.get_mut(column) {
                *cell = value;
            }
            wanted.next();
        }
        if wanted.peek().is_none() {
            return Ok(());
        }
    }
    match wanted.next() {
        Some(&(_, column)) => Err(bad(column, "missing")),
        None => Ok(()),
    }
}

/// Records of a CSV text, blank ones left out.
struct Records<'a> {
    rest: &'a str,
}

impl<'a> Records<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| AppError::new("input-not-csv", "the input is not UTF-8 text"))?;
        if text.contains('\0') {
            return Err(AppError::new("input-not-csv", "the input is not a CSV text"));
        }
        Ok(Self { rest: text.trim_start_matches('\u{feff}') })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        while !self.rest.is_empty() {
            let mut quoted = false;
            let end = self.rest.bytes().position(|byte| {
                quoted ^= byte == b'"';
                byte == b'\n' && !quoted
            });
            let (record, rest) = end.and_then(|end| self.rest.split_at_checked(end)).unwrap_or((self.rest, ""));
            self.rest = rest.strip_prefix('\n').unwrap_or(rest);
            let record = record.strip_suffix('\r').unwrap_or(record);
            if !record.trim().is_empty() {
                return Some(record);
            }
        }
        None
    }
}

/// Fields of one record, unquoted.
fn fields(record: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut quoted = false;
    record
        .split(move |c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        })
        .map(|field| {
            let inner = field.trim().strip_prefix('"').and_then(|f| f.strip_suffix('"'));
            match inner {
                Some(inner) if inner.contains("\"\"") => inner.replace("\"\"", "\"").into(),
                Some(inner) => inner.into(),
                None => field.into(),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pre(layout: WindowLayout) -> PreWindow {
        PreWindow { columns: vec!["b".into(), "a".into()], length: 2, layout, mean: vec![1.0, 0.0], std: vec![2.0, 1.0] }
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
    fn a_table_has_a_header_and_rows_as_long() {
        assert!(check(b"a,b\n1,x\n").is_ok());
        for (bytes, code) in [
            (&b""[..], "csv-too-few-rows"),
            (b"a,b\n", "csv-too-few-rows"),
            (b"a,b\n1\n", "csv-field-count"),
            (b"a\n\xff", "input-not-csv"),
        ] {
            assert_eq!(check(bytes).unwrap_err().code, code);
        }
    }

    #[test]
    fn faults_have_codes() {
        let mut out = Vec::new();
        let code = |csv: &[u8], out: &mut Vec<f32>| window(&pre(WindowLayout::Flat), csv, out).unwrap_err().code;
        assert_eq!(code(b"a,b\n1,2\n", &mut out), "csv-too-few-rows");
        assert_eq!(code(b"", &mut out), "csv-column-missing");
        assert_eq!(code(b"a,c\n1,2\n1,2\n", &mut out), "csv-column-missing");
        assert_eq!(code(b"a,b\n1,2\n1,x\n", &mut out), "csv-not-a-number");
        assert_eq!(code(b"a,b\n1,2\n1,inf\n", &mut out), "csv-not-a-number");
        assert_eq!(code(b"a,b\n1,2\n1,\n", &mut out), "csv-not-a-number");
        assert_eq!(code(b"a,b\n1,2\n1\n", &mut out), "csv-field-count");
        assert_eq!(code(b"a,b\n1,2\n1,5,2\n", &mut out), "csv-field-count");
        assert_eq!(code(b"a,b,c\n1,2,3\n1,5,2,3\n", &mut out), "csv-field-count");
        assert_eq!(code(b"a,b\n\xff\xfe", &mut out), "input-not-csv");
        let pre = PreColumns { names: vec!["q\"".into()] };
        columns(&pre, b"x,\"q\"\"\"\n1,2\n", &mut out).unwrap();
        assert_eq!(out, [2.0]);
        assert_eq!(columns(&pre, b"x,\"q\"\"\"\n1,2,\n", &mut out).unwrap_err().code, "csv-field-count");
        columns(&pre, b"x,\"q\"\"\"\n\"1,5\",2\n", &mut out).unwrap();
    }
}
