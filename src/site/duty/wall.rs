//! /duty/wall: the mine on a wall, read from across the room.

use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;

use super::picture::Picture;
use super::row::Row;
use crate::alarm_management::board::up_to;
use crate::alarm_management::figures::ratio;
use crate::alarm_management::wall::{self, Wall, Zone};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::http::page::{Ago, Page, PageResult};
use crate::telemetry::model::Level;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/duty/wall", web::get().to(show));
}

async fn show(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let wall = wall::wall(&app, &actor).await?;
    let mut page = Page::of(&req, "duty-wall-title");
    // Control rooms are dark, whatever the browser of the screen prefers.
    "dark".clone_into(&mut page.theme);
    let view = WallPage::of(page, &wall);
    view.page.clone().render(&view)
}

/// Where each specialty works on the map, and where its words stand, in its units.
const SPOTS: [(&str, [f64; 4]); 9] = [
    ("hoisting", [262.0, 268.0, 26.0, 240.0]),
    ("coal-washing", [534.0, 74.0, 330.0, 14.0]),
    ("coking", [882.0, 94.0, 800.0, 14.0]),
    ("main-haulage", [480.0, 335.0, 330.0, 250.0]),
    ("safety-supervision", [760.0, 335.0, 590.0, 250.0]),
    ("coal-mining", [1010.0, 380.0, 930.0, 428.0]),
    ("rock-burst", [984.0, 246.0, 850.0, 178.0]),
    ("aux-haulage", [440.0, 430.0, 300.0, 444.0]),
    ("tunnelling", [738.0, 424.0, 600.0, 444.0]),
];

/// Room of a text on the map, in Latin letters; others take two.
const ROOM: usize = 22;
/// Height of the bars of hours.
const BARS: f64 = 150.0;

/// A place on the map.
pub struct Spot {
    pub x: f64,
    pub y: f64,
    pub text_x: f64,
    pub text_y: f64,
    pub name: String,
    /// Nodes that are up, of all.
    pub nodes: String,
    pub is_up: bool,
    /// What calls there first, and its level.
    pub calls: Option<(Level, String, Ago)>,
    pub more: usize,
}

/// A site in the table.
pub struct PlaceRow {
    pub name: String,
    pub nodes: String,
    pub is_up: bool,
    pub apps: usize,
    pub worst: Option<Level>,
    pub worst_word: String,
    pub last: Option<Ago>,
}

/// An hour's bars, the critical ones on top.
pub struct Bar {
    pub x: usize,
    pub warning_y: f64,
    pub warning: f64,
    pub critical_y: f64,
    pub critical: f64,
    pub words: String,
}

/// `/duty/wall`.
#[derive(Template)]
#[template(path = "duty/wall.html")]
pub struct WallPage {
    pub page: Page,
    pub organization: String,
    pub critical: String,
    pub warning: String,
    pub spots: Vec<Spot>,
    pub places: Vec<PlaceRow>,
    pub rows: Vec<Row>,
    pub picture: Option<Picture>,
    pub bars: Vec<Bar>,
    pub most: usize,
    pub day: usize,
    pub made: String,
}

impl WallPage {
    fn of(page: Page, wall: &Wall) -> Self {
        let rows: Vec<Row> = wall.open.iter().map(|entry| Row::of(&page, entry)).collect();
        let picture = wall.open.first().and_then(Picture::of);
        let most = wall.hours.iter().map(|hour| hour.critical + hour.warning).max().unwrap_or(0).max(5);
        let bars = wall.hours.iter().enumerate().map(|(i, hour)| {
            let (warning, critical) = (BARS * ratio(hour.warning, most), BARS * ratio(hour.critical, most));
            Bar {
                x: i * 20,
                warning_y: BARS - warning,
                warning,
                critical_y: BARS - warning - critical,
                critical,
                words: format!("{}: {}", page.datetime(&hour.begin), hour.critical + hour.warning),
            }
        });
        let places = wall.places.iter().map(|place| PlaceRow {
            name: place.name.clone(),
            nodes: format!("{} / {}", place.online, place.nodes),
            is_up: place.online == place.nodes,
            apps: place.apps,
            worst: place.worst,
            worst_word: place.worst.map(|level| page.tk("telemetry-level-", level)).unwrap_or_default(),
            last: place.last.map(|at| page.ago(&at)),
        });
        Self {
            organization: page.viewer.as_ref().map(|viewer| viewer.organization.clone()).unwrap_or_default(),
            critical: up_to(wall.summary.critical),
            warning: up_to(wall.summary.warning),
            spots: wall.zones.iter().filter_map(|zone| spot(&page, zone)).collect(),
            places: places.collect(),
            picture,
            bars: bars.collect(),
            most,
            day: wall.hours.iter().map(|hour| hour.critical + hour.warning).sum(),
            made: page.now.clone(),
            rows,
            page,
        }
    }
}

fn spot(page: &Page, zone: &Zone) -> Option<Spot> {
    let (_, [x, y, text_x, text_y]) = SPOTS.iter().find(|(slug, _)| *slug == zone.slug)?;
    let calls = zone.calls.as_ref().map(|entry| {
        let row = Row::of(page, entry);
        (entry.level, short(&row.text), row.ago)
    });
    Some(Spot {
        x: *x,
        y: *y,
        text_x: *text_x,
        text_y: *text_y,
        name: page.name(&zone.name).to_owned(),
        nodes: format!("{} / {}", zone.online, zone.nodes),
        is_up: zone.online == zone.nodes,
        more: zone.calling.saturating_sub(1),
        calls,
    })
}

/// A text as far as it has room.
fn short(text: &str) -> String {
    let mut taken = 0;
    let fits = |c: &char| {
        taken += if c.is_ascii() { 1 } else { 2 };
        taken <= ROOM
    };
    let kept: String = text.chars().take_while(fits).collect();
    if kept.len() < text.len() { kept + "…" } else { kept }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_text_stays_in_its_box() {
        assert_eq!(super::short("皮带上发现锚杆，请立即停机取出"), "皮带上发现锚杆，请立即…");
        assert_eq!(super::short("A bolt lies on the bel"), "A bolt lies on the bel");
    }
}
