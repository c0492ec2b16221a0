//! CSV → tensor, for time series, tables and sound.
//!
//! RFC 4180 as `csv-core` reads it: comma; LF, CRLF or CR; UTF-8, whose byte-order mark is passed over. The first record names the columns.
//! That reader finds a meaning in every input, so what can be meant otherwise is refused here, with its row: a quotation mark that does not
//! close, a row of other length than the header, a needed column that stands there twice, another separator. A row before those that are
//! needed may be cut or oddly quoted on its line, as loggers leave them: it changes no number. [`check`] refuses that, too. Rows are counted
//! from the first below the header; blank lines are none. Only the rows and columns that the step needs are parsed as numbers, and one row is
//! in memory. What stands for a cell that is missing (empty, or `nan`, `na`, `null` in any case) is the column's rule.

use std::{collections::VecDeque, str};

use app_package::{
    pipeline::{Column, ColumnKind, Missing, PreColumns, PreWindow, WindowLayout},
    text,
};
use csv_core::{ReadRecordResult, Reader};

use crate::error::{AppError, Result};

/// Longest row in bytes, without its quotation marks.
const MAX_ROW: usize = 1 << 20;
/// Most fields of a row, as many as spreadsheets have.
const MAX_FIELDS: usize = 16_384;
/// What other programs write between fields.
const OTHER_SEPARATORS: [(char, &str); 3] = [(';', "semicolons"), ('\t', "tabs"), ('|', "bars")];

/// The shape of a window's tensor.
pub fn window_shape(pre: &PreWindow) -> Vec<i64> {
    if let Some(spectrum) = &pre.spectrum {
        return spectrum.shape(u64::from(pre.length), pre.columns.len());
    }
    let (rows, columns) = (i64::from(pre.length), i64::try_from(pre.columns.len()).unwrap_or(i64::MAX));
    match pre.layout {
        WindowLayout::TimeMajor => vec![1, rows, columns],
        WindowLayout::ChannelMajor => vec![1, columns, rows],
        WindowLayout::Flat => vec![1, rows.saturating_mul(columns)],
    }
}

/// The last `length` rows of the named columns as `(value - mean) / std`. Codes `input-not-csv`, `csv-quote`, `csv-row-too-long`,
/// `csv-field-count`, `csv-separator`, `csv-column-missing`, `csv-column-twice`, `csv-too-few-rows`, `csv-not-a-number`.
pub fn window(pre: &PreWindow, bytes: &[u8], out: &mut Vec<f32>) -> Result<()> {
    let mut table = Table::open(bytes)?;
    let places = table.places(&names(&pre.columns))?;
    let length = pre.length as usize;
    let head = table.at;
    // Where the last rows begin.
    let mut last = VecDeque::with_capacity(length.min(65_536));
    let mut begin = table.at;
    while table.pass()? {
        if last.len() == length {
            last.pop_front();
        }
        last.push_back(begin);
        begin = table.at;
    }
    let Some(&first) = last.front().filter(|_| last.len() == length) else {
        return Err(AppError::new("csv-too-few-rows", format!("{length} rows are needed, the input has {}", last.len())));
    };
    out.clear();
    out.resize(length * pre.columns.len(), 0.0);
    let mut row = 0;
    let mut above = table.above(pre, &places, (head, first))?;
    while table.advance()? {
        for (column, (&place, rule)) in places.iter().zip(&pre.columns).enumerate() {
            let mean = f64::from(pre.mean.get(column).copied().unwrap_or(0.0));
            let std = f64::from(pre.std.get(column).copied().unwrap_or(1.0));
            // A spectrum reads one column after the other.
            let at = match pre.layout {
                WindowLayout::TimeMajor | WindowLayout::Flat if pre.spectrum.is_none() => row * pre.columns.len() + column,
                _ => column * length + row,
            };
            let last = above.get_mut(column);
            let value = table.number(place, rule, last.as_ref().and_then(|last| **last))?;
            if let Some(last) = last.filter(|_| value.is_finite()) {
                *last = Some(value);
            }
            if let Some(cell) = out.get_mut(at) {
                *cell = table.as_f32(&rule.name, (value - mean) / std)?;
            }
        }
        row += 1;
    }
    Ok(())
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A number, NaN where one is missing and the column says so.
    Number(f64),
    Text(String),
}

/// The named columns of the first data row. Codes as [`window`].
pub fn row(pre: &PreColumns, bytes: &[u8]) -> Result<Vec<Cell>> {
    let mut table = Table::open(bytes)?;
    let places = table.places(&names(&pre.names))?;
    if !table.advance()? {
        return Err(AppError::new("csv-too-few-rows", "one row is needed, the input has none"));
    }
    let cell = |(&place, rule): (&usize, &Column)| match rule.kind {
        ColumnKind::Number => table.number(place, rule, None).map(Cell::Number),
        ColumnKind::Text => table.text(place, rule).map(Cell::Text),
    };
    places.iter().zip(&pre.names).map(cell).collect()
}

/// The numbers of the named columns of the first data row. Codes as [`window`].
pub fn columns(pre: &PreColumns, bytes: &[u8], out: &mut Vec<f32>) -> Result<()> {
    out.clear();
    for (cell, column) in row(pre, bytes)?.iter().zip(&pre.names) {
        let Cell::Number(number) = cell else { continue };
        out.push(as_f32(*number).ok_or_else(|| too_large(&named(1), &column.name))?);
    }
    Ok(())
}

fn names(columns: &[Column]) -> Vec<&str> {
    columns.iter().map(|column| column.name.as_str()).collect()
}

/// The number as FP32; `None` where it is too large for that.
#[expect(clippy::cast_possible_truncation, reason = "tensors are FP32")]
fn as_f32(number: f64) -> Option<f32> {
    Some(number as f32).filter(|short| short.is_finite() || number.is_nan())
}

fn too_large(row: &str, name: &str) -> AppError {
    AppError::new("csv-not-a-number", format!("{row}, column `{name}`: too large for FP32"))
}

/// The names of the columns. Codes as [`window`].
pub fn header(bytes: &[u8]) -> Result<Vec<String>> {
    let table = Table::open(bytes)?;
    Ok((0..table.found).map(|place| table.field(place).to_owned()).collect())
}

/// The last `rows` rows of each column as numbers, with its name; none where a cell holds no number. Codes as [`window`].
pub fn numbers(bytes: &[u8], rows: usize) -> Result<Vec<(String, Vec<Option<f64>>)>> {
    let mut table = Table::open(bytes)?;
    let names: Vec<String> = (0..table.found).map(|place| table.field(place).trim().to_owned()).collect();
    let mut last: VecDeque<Vec<Option<f64>>> = VecDeque::new();
    while table.advance()? {
        if last.len() >= rows {
            last.pop_front();
        }
        last.push_back(
            (0..names.len()).map(|place| table.field(place).trim().parse().ok().filter(|number: &f64| number.is_finite())).collect(),
        );
    }
    let column = |place: usize| last.iter().map(|row| row.get(place).copied().flatten()).collect();
    Ok(names.into_iter().enumerate().map(|(place, name)| (name, column(place))).collect())
}

/// The columns that have a cell in which a number is missing. Codes as [`window`].
pub fn gaps(bytes: &[u8]) -> Result<Vec<String>> {
    let mut table = Table::open(bytes)?;
    let mut columns: Vec<(String, bool)> = (0..table.found).map(|place| (table.field(place).to_owned(), false)).collect();
    while table.advance()? {
        for (place, (_, gap)) in columns.iter_mut().enumerate() {
            *gap |= is_missing(table.field(place).trim());
        }
    }
    Ok(columns.into_iter().filter_map(|(name, gap)| gap.then_some(name)).collect())
}

/// Whether this is a table at all: a header, a row, and as many fields in every row. Codes as [`window`].
pub fn check(bytes: &[u8]) -> Result<()> {
    let mut table = Table::open(bytes)?;
    if table.found == 1
        && let Some(separator) = OTHER_SEPARATORS.iter().find(|(separator, _)| table.field(0).contains(*separator))
    {
        return Err(other_separator(separator.1));
    }
    if !table.advance()? {
        return Err(AppError::new("csv-too-few-rows", "there is no row below the header"));
    }
    while table.advance()? {}
    Ok(())
}

fn other_separator(name: &str) -> AppError {
    AppError::new("csv-separator", format!("{name} stand between the columns of the header; write commas"))
}

/// A record in words, by its number from 0.
fn named(record: usize) -> String {
    if record == 0 { "the header".to_owned() } else { format!("row {record}") }
}

/// A table that is read row by row.
struct Table<'a> {
    text: &'a str,
    /// Where the next record begins.
    at: usize,
    reader: Reader,
    /// Records read so far, the header among them.
    records: usize,
    /// Fields that each row must have, those of the header.
    width: usize,
    /// The record read last: its fields one after the other, where each ends, and how many there are.
    fields: Vec<u8>,
    ends: Vec<usize>,
    found: usize,
}

impl<'a> Table<'a> {
    /// Reads the header.
    fn open(bytes: &'a [u8]) -> Result<Self> {
        let not_csv = |message: String| AppError::new("input-not-csv", message);
        if text::is_utf16(bytes) {
            return Err(not_csv("the input is UTF-16; save it as UTF-8".into()));
        }
        let line = |at: usize| 1 + bytes.iter().take(at).filter(|&&byte| byte == b'\n').count();
        let text =
            str::from_utf8(bytes).map_err(|e| not_csv(format!("line {} is not UTF-8; save the input as UTF-8", line(e.valid_up_to()))))?;
        if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
            return Err(not_csv(format!("line {} has a zero byte, which no CSV text has", line(at))));
        }
        let mut table = Self {
            text,
            at: 0,
            reader: Reader::new(),
            records: 0,
            width: 0,
            // No record is longer than the text, and none has more fields than commas and one.
            fields: vec![0; text.len().min(MAX_ROW) + 1],
            ends: vec![0; (text.len() + 1).min(MAX_FIELDS)],
            found: 0,
        };
        if table.advance()? {
            table.width = table.found;
        }
        Ok(table)
    }

    /// Goes back to the first row of a window, and says the last number above it of the columns that need one. `head` is where the rows
    /// below the header begin.
    fn above(&mut self, pre: &PreWindow, places: &[usize], (head, first): (usize, usize)) -> Result<Vec<Option<f64>>> {
        let mut above = vec![None; places.len()];
        if pre.columns.iter().all(|column| column.missing != Missing::Last) {
            self.at = first;
            self.records -= pre.length as usize;
            return Ok(above);
        }
        (self.at, self.records) = (head, 1);
        while self.at < first && self.pass()? {
            // An odd row says nothing.
            for (last, &place) in above.iter_mut().zip(places).filter(|_| self.found == self.width) {
                *last = self.field(place).trim().parse().ok().filter(|number: &f64| number.is_finite()).or(*last);
            }
        }
        Ok(above)
    }

    /// Reads the next record and checks it whole; `false` at the end.
    fn advance(&mut self) -> Result<bool> {
        let Some(raw) = self.next_record()? else { return Ok(false) };
        self.check_quotes(raw)?;
        // A decimal comma makes one field two and shifts all that follow: such a row has no meaning.
        if self.records > 1 && self.found != self.width {
            let message = format!("{} has {} fields, the header has {}; write decimals with a point", self.place(), self.found, self.width);
            return Err(AppError::new("csv-field-count", message));
        }
        Ok(true)
    }

    /// Passes over the next record, which may be odd as long as it is sure where it ends; `false` at the end.
    fn pass(&mut self) -> Result<bool> {
        let Some(raw) = self.next_record()? else { return Ok(false) };
        if raw.contains(['\r', '\n']) {
            self.check_quotes(raw)?;
        }
        Ok(true)
    }

    /// Reads the next record that is no blank line; its text, or `None` at the end.
    fn next_record(&mut self) -> Result<Option<&'a str>> {
        let text = self.text;
        loop {
            let begin = self.at;
            if !self.record()? {
                return Ok(None);
            }
            let raw = text.get(begin..self.at).unwrap_or_default();
            // The reader has passed over the byte-order mark.
            let raw = raw.strip_prefix('\u{feff}').filter(|_| begin == 0).unwrap_or(raw).trim_matches(['\r', '\n']);
            if !raw.trim().is_empty() {
                self.records += 1;
                return Ok(Some(raw));
            }
        }
    }

    /// The record read last, in words.
    fn place(&self) -> String {
        named(self.records.saturating_sub(1))
    }

    /// Refuses the record read last, written as `raw`, where its quotation marks can be meant otherwise.
    fn check_quotes(&self, raw: &str) -> Result<()> {
        if !raw.contains('"') {
            return Ok(());
        }
        let Some(field) = self.ill_quoted(raw) else { return Ok(()) };
        let between = |(separator, _): &&(char, &str)| self.records == 1 && raw.contains(&format!("\"{separator}\""));
        if let Some((_, name)) = OTHER_SEPARATORS.iter().find(between) {
            return Err(other_separator(name));
        }
        let message = format!("{}, field {}: a quotation mark does not close, or text follows the closing one", self.place(), field + 1);
        Err(AppError::new("csv-quote", message))
    }

    /// Reads one record, blank or not; `false` at the end.
    fn record(&mut self) -> Result<bool> {
        let mut written = 0;
        self.found = 0;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let fields = self.fields.get_mut(written..).unwrap_or_default();
            let ends = self.ends.get_mut(self.found..).unwrap_or_default();
            // An empty rest says that the input is over; then comes the last record, or the end.
            let (outcome, read, wrote, ended) = self.reader.read_record(rest, fields, ends);
            self.at += read;
            written += wrote;
            self.found += ended;
            let place = || named(self.records);
            match outcome {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::End => return Ok(false),
                ReadRecordResult::OutputFull => {
                    return Err(AppError::new("csv-row-too-long", format!("{} has more than {MAX_ROW} bytes", place())));
                }
                ReadRecordResult::OutputEndsFull => {
                    return Err(AppError::new("csv-row-too-long", format!("{} has more than {MAX_FIELDS} fields", place())));
                }
            }
        }
    }

    /// A field of the record read last.
    fn field(&self, at: usize) -> &str {
        let ends = self.ends.get(..self.found).unwrap_or_default();
        let begin = at.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied());
        let bytes = begin.zip(ends.get(at)).and_then(|(begin, &end)| self.fields.get(begin..end));
        bytes.and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The first field of the record read last that is not written in `raw` as RFC 4180 writes it: quoted whole, with each mark in it
    /// twice, or not quoted at all.
    fn ill_quoted(&self, raw: &str) -> Option<usize> {
        let mut rest = raw;
        for at in 0..self.found {
            let field = self.field(at);
            let after = match rest.strip_prefix('"') {
                Some(quoted) => unquoted(quoted, field),
                None => rest.strip_prefix(field),
            };
            rest = match after {
                Some("") => "",
                Some(after) => match after.strip_prefix(',') {
                    Some(next) => next,
                    None => return Some(at),
                },
                None => return Some(at),
            };
        }
        None
    }

    /// Where the named columns are in the header, which was read last.
    fn places(&self, names: &[&str]) -> Result<Vec<usize>> {
        let header: Vec<&str> = (0..self.found).map(|at| self.field(at).trim()).collect();
        let place = |name: &&str| {
            let mut found = header.iter().enumerate().filter(|(_, field)| *field == name).map(|(at, _)| at);
            match (found.next(), found.next()) {
                (Some(at), None) => Ok(at),
                (Some(one), Some(two)) => {
                    let message = format!("the header has column `{name}` twice, as field {} and {}", one + 1, two + 1);
                    Err(AppError::new("csv-column-twice", message))
                }
                (None, _) => {
                    let holds = |field: &str, separator| field.split(separator).any(|part| part.trim().trim_matches('"') == *name);
                    let other = OTHER_SEPARATORS.iter().find(|(separator, _)| header.iter().any(|field| holds(field, *separator)));
                    Err(other.map_or_else(
                        || AppError::new("csv-column-missing", format!("the input has no column `{name}`")),
                        |(_, separator)| other_separator(separator),
                    ))
                }
            }
        };
        names.iter().map(place).collect()
    }

    /// A number of the row read last; what the column says where it is missing, `above` for the last one.
    fn number(&self, place: usize, column: &Column, above: Option<f64>) -> Result<f64> {
        let bad = |what: &str| AppError::new("csv-not-a-number", format!("{}, column `{}`: {what}", self.place(), column.name));
        let field = self.field(place).trim();
        if is_missing(field) {
            match column.missing {
                Missing::Nan => return Ok(f64::NAN),
                Missing::Number(number) => return Ok(number),
                Missing::Last => return above.ok_or_else(|| bad("empty, and no number stands above it")),
                Missing::Refuse | Missing::Empty => {}
            }
        }
        let value: f64 = field.parse().map_err(|_| match field {
            "" => bad("empty"),
            text if text.contains(',') => bad("not a number; write decimals with a point"),
            _ => bad("not a number"),
        })?;
        if value.is_finite() { Ok(value) } else { Err(bad("not a finite number")) }
    }

    /// A text of the row read last.
    fn text(&self, place: usize, column: &Column) -> Result<String> {
        let field = self.field(place).trim();
        if field.is_empty() && column.missing != Missing::Empty {
            return Err(AppError::new("csv-empty", format!("{}, column `{}`: empty", self.place(), column.name)));
        }
        Ok(field.to_owned())
    }

    /// A number of the row read last as FP32.
    fn as_f32(&self, name: &str, number: f64) -> Result<f32> {
        as_f32(number).ok_or_else(|| too_large(&self.place(), name))
    }
}

/// Whether a cell says that there is no number.
fn is_missing(field: &str) -> bool {
    field.is_empty() || ["nan", "na", "null"].iter().any(|word| field.eq_ignore_ascii_case(word))
}

/// What follows a quoted field, from behind its opening mark.
fn unquoted<'a>(mut rest: &'a str, field: &str) -> Option<&'a str> {
    for (at, part) in field.split('"').enumerate() {
        if at > 0 {
            rest = rest.strip_prefix("\"\"")?;
        }
        rest = rest.strip_prefix(part)?;
    }
    rest.strip_prefix('"')
}

#[cfg(test)]
mod tests;
