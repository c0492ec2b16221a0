//! Pages for people, a folder for each kind of reader: address, file, template and sidebar agree. A page's file holds its routes, the
//! values that its template shows and how they are read; several slices may be read in one `db.read`.

pub mod account;
pub mod admin;
pub mod events;
pub mod market;
pub mod mine;
pub mod parts;
pub mod vendor;
