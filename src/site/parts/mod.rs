//! Parts that pages of several readers share.

pub mod chain;
