//! Columns of tables: their names, their types, and what stands for an empty cell.

use serde::{Deserialize, Serialize};

use super::super::is_default;

/// One row of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreColumns {
    /// Columns in tensor order.
    pub names: Vec<Column>,
    /// Each column is an input `[1, 1]` of the model that has the column's name, as `skl2onnx` makes them for a `DataFrame`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub each: bool,
}

/// A column; in YAML its name, or `{name: …, type: text, missing: nan}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct Column {
    /// As the header writes it.
    pub name: String,
    /// What its cells hold.
    pub kind: ColumnKind,
    /// What stands for an empty cell.
    pub missing: Missing,
}

impl Column {
    /// A column of numbers, none of which may be missing.
    pub fn plain(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ColumnKind::default(), missing: Missing::default() }
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// Numbers, converted to the type of the input.
    #[default]
    Number,
    /// Texts, as they are but for blanks around them.
    Text,
}

/// What stands for an empty cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// An error to the caller.
    #[default]
    Refuse,
    /// NaN, for models that have learnt what is missing.
    Nan,
    /// The last number above it, in the window or before it; an error to the caller where there is none.
    Last,
    /// The empty text.
    Empty,
    /// This number.
    #[serde(untagged)]
    Number(f64),
}

/// How a column is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Name(String),
    Full(Full),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Full {
    name: String,
    #[serde(rename = "type", default, skip_serializing_if = "is_default")]
    kind: ColumnKind,
    #[serde(default, skip_serializing_if = "is_default")]
    missing: Missing,
}

impl From<Form> for Column {
    fn from(form: Form) -> Self {
        match form {
            Form::Name(name) => Self::plain(name),
            Form::Full(Full { name, kind, missing }) => Self { name, kind, missing },
        }
    }
}

impl From<Column> for Form {
    fn from(Column { name, kind, missing }: Column) -> Self {
        // As format 1 writes it, whose packages keep their bytes.
        if is_default(&kind) && is_default(&missing) { Self::Name(name) } else { Self::Full(Full { name, kind, missing }) }
    }
}
