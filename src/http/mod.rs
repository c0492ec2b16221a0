//! The toolkit of HTTP: the four error dialects ([`page`], [`api`], [`oci`], [`margo`]) and who gets which ([`dialect`]), extractors, cookies, paging, static files, forms
//! that wait for a click ([`held`]). It uses [`crate::base`] only.

pub mod address;
pub mod ago;
pub mod api;
pub mod assets;
pub mod conditional;
pub mod cookies;
pub mod csrf;
pub mod csv;
pub mod dialect;
pub mod error_page;
pub mod extract;
pub mod held;
pub mod margo;
pub mod oci;
pub mod page;
pub mod paging;
#[cfg(test)]
mod tests;
