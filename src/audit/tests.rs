//! The audit log as people read it, on both backends.

mod thief;

use actix_web::http::Method;

use super::model::Filter;
use super::service;
use crate::account::tokens;
use crate::base::auth::Role;
use crate::base::error::Kind;
use crate::site::admin::audit;
use crate::testing::page;
use crate::testing::{self, each_backend};

fn filter(q: &str, action: &str) -> Filter {
    Filter { q: q.into(), action: action.into(), ..Filter::default() }
}

#[tokio::test]
async fn the_log_is_searched_by_what_people_know() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let mine = testing::operator(&app, "mine").await;
        let auditor = testing::platform(&app, Role::Auditor).await;
        tokens::create(&app, &acme, "ci", &["publish"], 10).await.unwrap();
        let id = acme.person().unwrap().user_id.clone();
        let found = async |filter: Filter| -> Vec<String> {
            let found = audit::read_page(&app, &auditor, None, filter).await.unwrap();
            found.records.into_iter().map(|r| r.action).collect()
        };
        // By address, part of the name, id, slug of the organisation; signs of patterns are only text.
        for q in ["owner@acme.example", "OWNER of ac", &id] {
            assert_eq!(found(filter(q, "")).await, ["token.created"], "{q}");
        }
        assert_eq!(found(filter("acme", "organization.created")).await.len(), 1);
        for q in ["%", "nobody@acme.example", "PH-20260101-0001"] {
            assert!(found(filter(q, "")).await.is_empty(), "{q}");
        }
        assert_eq!(found(filter("", "token.created")).await.len(), 1);
        // The clock stands at 08:00 of the first of January where the platform is.
        let day = |from: &str, to: &str| Filter { from: from.into(), to: to.into(), ..Filter::default() };
        let all = found(Filter::default()).await.len();
        assert!(all > 3);
        assert_eq!(found(day("2026-01-01", "2026-01-01")).await.len(), all);
        assert!(found(day("2026-01-02", "")).await.is_empty() && found(day("", "2025-12-31")).await.is_empty());
        assert_eq!(audit::read_page(&app, &mine, None, Filter::default()).await.unwrap_err().kind, Kind::Forbidden);

        let (status, shown) = page(&app, &auditor, Method::GET, "/admin/audit", "").await;
        assert_eq!(status, 200);
        for words in ["Token created", "Owner of acme", "Scopes", "Publish apps", "<b>Organisation signed up</b>"] {
            assert!(shown.contains(words), "{words}");
        }
        assert!(!shown.contains("<b>token.created</b>") && !shown.contains("{&#34;"), "no codes and no JSON");
        let (_, shown) = page(&app, &auditor, Method::GET, "/admin/audit?q=nobody%40acme.example", "").await;
        assert!(shown.contains("Nothing found") && shown.contains("value=\"nobody@acme.example\""));
        let (status, file) = page(&app, &auditor, Method::GET, "/admin/audit/export?action=token.created", "").await;
        assert_eq!((status, file.lines().count()), (200, 2));
        assert!(file.contains("\"Token created\"") && file.contains("\"Owner of acme\""));
        assert_eq!(page(&app, &mine, Method::GET, "/admin/audit/export", "").await.0, 403);
    })
    .await;
}

#[tokio::test]
async fn an_export_holds_all_records_once() {
    each_backend(|app| async move {
        let auditor = testing::platform(&app, Role::Auditor).await;
        // More than two portions, many of the same time.
        let many = usize::try_from(service::EXPORT).unwrap() * 2 + 7;
        for part in 0..3 {
            let numbers = (0..many).filter(move |n| n % 3 == part).collect::<Vec<_>>();
            crate::audit::change(&app, &crate::base::auth::Actor::System, move |c| {
                for n in &numbers {
                    c.audit("quota.set", &format!("thing-{n}"), &serde_json::json!({}));
                }
                Ok(())
            })
            .await
            .unwrap();
        }
        let (status, file) = page(&app, &auditor, Method::GET, "/admin/audit/export?action=quota.set", "").await;
        assert_eq!((status, file.lines().count()), (200, many + 1));
        assert!(file.starts_with("\u{feff}chain,sequence,at,") && file.matches("chain,sequence").count() == 1);
        for n in 0..many {
            assert_eq!(file.matches(&format!("\"thing-{n}\"")).count(), 2, "as id and as name: thing-{n}");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_follow_one_another_within_a_search() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let auditor = testing::platform(&app, Role::Auditor).await;
        for _ in 0..=service::PAGE {
            tokens::create(&app, &acme, "ci", &["read"], 10).await.unwrap();
        }
        let path = "/admin/audit?q=owner%40acme.example&action=token.created";
        let (_, shown) = page(&app, &auditor, Method::GET, path, "").await;
        let next = shown.split("href=\"").filter_map(|rest| rest.split('"').next()).find(|href| href.contains("before=")).unwrap();
        let next = next.replace("&#38;", "&").replace("&amp;", "&");
        assert!(next.contains("q=owner%40acme.example") && next.contains("action=token.created"), "{next}");
        let (_, shown) = page(&app, &auditor, Method::GET, &next, "").await;
        assert_eq!(shown.matches("<b>Token created</b>").count(), 1);
        assert!(!shown.split("href=\"").filter_map(|rest| rest.split('"').next()).any(|href| href.contains("before=")));
    })
    .await;
}
