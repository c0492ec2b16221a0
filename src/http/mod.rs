//! The toolkit of HTTP: the four error dialects ([`page`], [`api`], [`oci`], [`margo`]), extractors, cookies, paging, static files. It
//! uses [`crate::base`] only.

pub mod api;
pub mod assets;
pub mod cookies;
pub mod csrf;
pub mod extract;
pub mod margo;
pub mod oci;
pub mod page;
pub mod paging;
#[cfg(test)]
mod tests;
