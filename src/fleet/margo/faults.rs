//! Faults of a node's document as domain errors.

use app_package::margo::{FieldFault, SEMANTIC};

use crate::base::error::{Error, FieldError};

/// The error for a document with wrong fields; 50 fields at most.
pub fn semantic(faults: Vec<FieldFault>) -> Error {
    let field = |f: FieldFault| FieldError { field: f.field, code: "margo-field", args: vec![("message", f.message)] };
    Error { fields: faults.into_iter().take(50).map(field).collect(), ..Error::invalid(SEMANTIC) }
}

pub fn field(name: &str, message: &str) -> Error {
    semantic(vec![FieldFault { field: name.to_owned(), message: message.to_owned() }])
}

/// Reads JSON: what is none is a bad request; a number that no type holds is JSON all the same.
pub fn json(body: &[u8]) -> Result<serde_json::Value, Error> {
    serde_json::from_slice(body).map_err(|e| {
        if e.to_string().starts_with("number out of range") {
            return field("", "holds a number that is too large");
        }
        Error::json(e)
    })
}
