//! The history between two days or moments.

use actix_web::http::Method;
use chrono::TimeDelta;
use serde_json::Value;

use super::{desk, rules};
use crate::alarm_management::board;
use crate::alarm_management::model::{Filter, Show};
use crate::base::db::Timestamp;
use crate::base::i18n::local_offset;
use crate::testing::{self, each_backend};

/// The day of a moment, as a form sends it.
fn day(at: Timestamp) -> String {
    at.utc().with_timezone(&local_offset()).format("%Y-%m-%d").to_string()
}

#[tokio::test]
async fn a_history_goes_from_one_day_to_another() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        desk.raise(&app, 1, &[("first", "warning")]).await;
        let first = app.clock.now();
        app.clock.advance(TimeDelta::days(2));
        desk.raise(&app, 2, &[("second", "critical")]).await;
        let second = app.clock.now();
        let of = async |from: Option<Timestamp>, to: Option<Timestamp>| {
            let filter = Filter { show: Show::History, from, to, ..Filter::default() };
            rules(&board::list(&app, operator, filter, None, 9).await.unwrap())
        };
        assert_eq!(of(Some(second), None).await, ["second"]);
        assert_eq!(of(None, Some(second)).await, ["first"], "an end is no more of it");

        let history = "/duty/board?show=history";
        for (days, seen) in [
            (format!("&from={}", day(second)), [false, true]),
            (format!("&to={}", day(first)), [true, false]),
            (format!("&from={}&to={}", day(first), day(second)), [true, true]),
            (format!("&from={}&shift=now", day(first)), [false, true]),
            ("&from=&to=".to_owned(), [true, true]),
        ] {
            let (status, html) = testing::page(&app, operator, Method::GET, &format!("{history}{days}"), "").await;
            assert_eq!(status, 200, "{days}");
            assert_eq!(html.matches("class=\"board-row").count(), seen.iter().filter(|seen| **seen).count(), "{days}: {html}");
            let (status, csv) = testing::page(&app, operator, Method::GET, &format!("/duty/board/export?x=1{days}"), "").await;
            assert_eq!((status, ["first", "second"].map(|rule| csv.contains(&format!("\"{rule}\"")))), (200, seen), "{days}: {csv}");
        }
        // Both stay in the address of the file.
        let (from, to) = (day(first), day(second));
        let (_, html) = testing::page(&app, operator, Method::GET, &format!("{history}&from={from}&to={to}"), "").await;
        let link = html.split("/duty/board/export?").nth(1).unwrap().split('"').next().unwrap();
        assert!(link.contains(&format!("from={from}")) && link.contains(&format!("to={to}")), "{link}");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_day_is_told_and_shows_nothing() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        desk.raise(&app, 1, &[("bolt", "warning")]).await;
        for days in [
            "from=9999-99-99",
            "to=2026-02-30",
            "from=2026-11-28&to=2026-11-27",
            "from=%00",
            "to=%3Cscript%3Ealert(1)%3C/script%3E",
            "from=1000000-01-01",
        ] {
            let (status, html) = testing::page(&app, operator, Method::GET, &format!("/duty/board?show=history&{days}"), "").await;
            assert_eq!(status, 422, "{days}");
            assert!(html.contains("id=\"wrong-days\"") && !html.contains("class=\"board-row"), "{days}: {html}");
            assert!(!html.contains("<script>alert"), "{days}");
            let (status, _) = testing::page(&app, operator, Method::GET, &format!("/duty/board/export?{days}"), "").await;
            assert_eq!(status, 422, "{days}");
        }
    })
    .await;
}

#[tokio::test]
async fn programs_ask_between_two_moments() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        desk.raise(&app, 1, &[("first", "warning")]).await;
        app.clock.advance(TimeDelta::hours(1));
        let between = app.clock.now().rfc3339();
        app.clock.advance(TimeDelta::hours(1));
        desk.raise(&app, 2, &[("second", "warning")]).await;
        for (query, seen) in [(format!("from={between}"), "second"), (format!("to={between}"), "first")] {
            let (status, told) = testing::page(&app, operator, Method::GET, &format!("/api/v1/alarms?{query}"), "").await;
            let told: Value = serde_json::from_str(&told).unwrap();
            assert_eq!(
                (status, told["items"].as_array().unwrap().len(), told["items"][0]["rule"].as_str()),
                (200, 1, Some(seen)),
                "{query}"
            );
        }
        for query in ["from=2026-11-27", "to=9999-99-99T00:00:00Z", "from=", "from=2026-11-28T00:00:00Z&to=2026-11-27T00:00:00Z"] {
            let (status, _) = testing::page(&app, operator, Method::GET, &format!("/api/v1/alarms?{query}"), "").await;
            assert_eq!(status, 422, "{query}");
        }
    })
    .await;
}
