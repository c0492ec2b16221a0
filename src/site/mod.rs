//! Pages for people, a folder for each kind of reader: address, file, template and sidebar agree.

pub mod events;
pub mod parts;
