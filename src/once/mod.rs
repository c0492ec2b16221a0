//! Requests that are made once, however often they are sent (draft-ietf-httpapi-idempotency-key-header-07). Owns `kept_answers`.
//!
//! Invariants: the answer is kept in the transaction of the change that it tells of, so a crash neither makes the thing twice nor forgets
//! that it was made. What was refused has changed nothing and is not kept: it may be sent again with its key. A key is its person's
//! in an organisation; with another request it is refused. A secret of an answer is told once and never kept ([`model::Answer::kept`]).

pub mod model;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
