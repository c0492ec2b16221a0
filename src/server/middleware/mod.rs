//! The middleware that every request passes, outermost first: [`request_id`] (id, span, log, metrics), [`head_as_get`],
//! [`security_headers`], [`errors`] (writes the body of page and problem errors), [`open_requests`] (bounds what one address holds open),
//! [`shed`] (a turn for each class of requests), [`authenticate`], [`csrf`]; and [`no_route`], for what they lead nowhere.

pub mod authenticate;
pub mod csrf;
pub mod errors;
pub mod head_as_get;
pub mod no_route;
pub mod open_requests;
pub mod request_id;
pub mod security_headers;
pub mod shed;
