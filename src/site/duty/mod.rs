//! Pages of the duty room: the board, pictures of alarms, the wall, the shift's report, the chief's figures.

use actix_web::web::ServiceConfig;

pub mod board;
mod export;
pub mod figures;
mod image;
pub mod kiosk;
mod picture;
mod queue;
pub mod report;
mod row;
pub mod wall;

/// Routes of all these pages.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.configure(board::configure)
        .configure(export::configure)
        .configure(figures::configure)
        .configure(image::configure)
        .configure(kiosk::configure)
        .configure(report::configure)
        .configure(wall::configure);
}
