//! Pages for people, a folder for each kind of reader: address, file, template and sidebar agree. A page's file holds its routes, the
//! values of its template and their reading; one `db.read` may read several slices.

pub mod account;
pub mod admin;
pub mod duty;
pub mod events;
pub mod market;
pub mod mine;
pub mod parts;
pub mod vendor;

#[cfg(test)]
mod tests;
