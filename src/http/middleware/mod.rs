//! What every request passes, outermost first: [`request_id`] (id, span, log, metrics), [`security_headers`], [`errors`] (writes the body
//! of page and problem errors), [`authenticate`], [`csrf`].

pub mod authenticate;
pub mod csrf;
pub mod errors;
pub mod request_id;
pub mod security_headers;
