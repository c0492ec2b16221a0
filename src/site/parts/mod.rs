//! Parts that pages of several readers share.

pub mod browser;
pub mod card;
pub mod chain;
pub mod comparison;
pub mod figures;
pub mod license;
pub mod listing;
pub mod node;
pub mod once;
pub mod order;
pub mod pipeline;
pub mod plot;
pub mod release;
pub mod report;
pub mod scenario;
pub mod scores;
pub mod token;
pub mod trust;
pub mod webhooks;
