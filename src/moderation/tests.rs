//! Cases on both backends, with a real app of the demo that is pushed, submitted and decided on.

use actix_web::http::Method;
use diesel::prelude::*;

use super::model::{CaseState, ModerationDecision};
use super::service;
use crate::base::app::App;
use crate::base::auth::Role;
use crate::base::db::schema::memberships;
use crate::base::error::Kind;
use crate::release;
use crate::release::model::{Channel, ReleaseState};
use crate::testing::shop::{APP, open_case_of, submitted};
use crate::testing::{self, each_backend, page};

async fn release_state(app: &App, id: &str) -> ReleaseState {
    let id = id.to_owned();
    app.db.read(move |conn| release::service::get(conn, &id)).await.unwrap().state
}

#[tokio::test]
async fn a_case_is_decided_once_and_with_a_reason() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let moderator = testing::platform(&app, Role::Moderator).await;
        let auditor = testing::platform(&app, Role::Auditor).await;
        let (release, case) = submitted(&app, &acme, "1.0.0", Channel::Stable).await;
        for who in [&auditor, &acme] {
            assert_eq!(service::decide(&app, who, &case, ModerationDecision::Approve, "").await.unwrap_err().kind, Kind::Forbidden);
        }
        let short = service::decide(&app, &moderator, &case, ModerationDecision::RequestChanges, "短").await.unwrap_err();
        assert_eq!((short.fields[0].field.as_str(), short.fields[0].code), ("reason", "too-short"));
        assert_eq!(service::decide(&app, &moderator, "cas_none", ModerationDecision::Approve, "").await.unwrap_err().code, "case");
        assert_eq!(release_state(&app, &release).await, ReleaseState::InReview);

        let reason = "<script>alert(1)</script> 请补充金标样本";
        service::decide(&app, &moderator, &case, ModerationDecision::RequestChanges, reason).await.unwrap();
        assert_eq!(release_state(&app, &release).await, ReleaseState::ChangesRequested);
        assert_eq!(service::decide(&app, &moderator, &case, ModerationDecision::Approve, "").await.unwrap_err().code, "case-decided");
        let id = release.clone();
        let read = app.db.read(move |conn| service::latest_decision(conn, &id)).await.unwrap().unwrap();
        assert_eq!((read.state, read.reason.as_str()), (CaseState::ChangesRequested, reason));

        // The vendor submits again: a new case. Approval signs and lists.
        super::submission::submit(&app, &acme, &release, Channel::Stable).await.unwrap();
        let second = open_case_of(&app, &release).await;
        assert_ne!(second, case);
        let (status, shown) = page(&app, &moderator, Method::GET, &format!("/admin/cases/{second}"), "").await;
        assert_eq!(status, 200, "{shown}");
        assert!(shown.contains("&#60;script&#62;") || shown.contains("&lt;script&gt;"), "the earlier reason is shown as text");
        assert!(!shown.contains("<script>alert"));
        assert!(shown.contains(&format!("?preview={release}")) && shown.contains("value=\"request-changes\""));
        service::decide(&app, &moderator, &second, ModerationDecision::Approve, "").await.unwrap();
        assert_eq!(release_state(&app, &release).await, ReleaseState::Published);
        let listed = app.db.read(|conn| crate::catalog::service::find_listing(conn, "acme", APP)).await.unwrap();
        assert_eq!(listed.release_id.as_deref(), Some(release.as_str()));
        testing::assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn nobody_decides_their_own_case() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let moderator = testing::platform(&app, Role::Moderator).await;
        let (release, case) = submitted(&app, &acme, "1.0.0", Channel::Stable).await;
        // The moderator also works for the vendor.
        let (user_id, vendor_id) = (moderator.person().unwrap().user_id.clone(), acme.person().unwrap().organization_id.clone());
        let now = app.clock.now();
        app.db
            .write(move |conn| {
                let both = (
                    memberships::organization_id.eq(vendor_id),
                    memberships::user_id.eq(user_id),
                    memberships::role.eq("member"),
                    memberships::created_at.eq(now),
                );
                diesel::insert_into(memberships::table).values(both).execute(conn)?;
                Ok(())
            })
            .await
            .unwrap();
        for decision in [ModerationDecision::Approve, ModerationDecision::Reject] {
            let error = service::decide(&app, &moderator, &case, decision, "因为我可以这样做,不是吗").await.unwrap_err();
            assert_eq!((error.code, error.kind), ("own-case", Kind::Forbidden));
        }
        assert_eq!(release_state(&app, &release).await, ReleaseState::InReview);
        let (status, shown) = page(&app, &moderator, Method::GET, &format!("/admin/cases/{case}"), "").await;
        assert_eq!(status, 200);
        assert!(!shown.contains("name=\"decision\""));
    })
    .await;
}

#[tokio::test]
async fn two_moderators_at_once_decide_once() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let moderator = testing::platform(&app, Role::Moderator).await;
        let administrator = testing::platform(&app, Role::Administrator).await;
        let (_, case) = submitted(&app, &acme, "1.0.0", Channel::Stable).await;
        let (a, b) = tokio::join!(
            service::decide(&app, &moderator, &case, ModerationDecision::Approve, ""),
            service::decide(&app, &administrator, &case, ModerationDecision::Reject, "模型在现场数据上误报过多"),
        );
        assert_eq!([a.is_ok(), b.is_ok()].into_iter().filter(|ok| *ok).count(), 1);
        assert_eq!(a.err().or(b.err()).unwrap().code, "case-decided");
    })
    .await;
}

#[tokio::test]
async fn the_pages_show_what_waits() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let moderator = testing::platform(&app, Role::Moderator).await;
        let finance = testing::platform(&app, Role::Finance).await;
        let (release, case) = submitted(&app, &acme, "1.0.0", Channel::Stable).await;
        for path in ["/admin", "/admin/queue"] {
            let (status, shown) = page(&app, &moderator, Method::GET, path, "").await;
            assert_eq!(status, 200, "{path}");
            assert!(shown.contains(&format!("/admin/cases/{case}")), "{path}");
        }
        // Both pages put words for what a node fills in.
        for path in [format!("/admin/cases/{case}"), format!("/apps/acme/{APP}?preview={release}")] {
            let (status, shown) = page(&app, &moderator, Method::GET, &path, "").await;
            assert!(status == 200 && shown.contains("[place]: forecast CSR is [") && !shown.contains("{value"), "{path}");
        }
        // Finance sees the overview without cases; tenants see nothing of it.
        let (status, shown) = page(&app, &finance, Method::GET, "/admin", "").await;
        assert_eq!(status, 200);
        assert!(!shown.contains("/admin/cases/"));
        assert_eq!(page(&app, &finance, Method::GET, "/admin/queue", "").await.0, 403);
        assert_eq!(page(&app, &acme, Method::GET, "/admin", "").await.0, 403);
        assert_eq!(page(&app, &acme, Method::GET, &format!("/admin/cases/{case}"), "").await.0, 403);
        let path = format!("/admin/cases/{case}");
        assert_eq!(page(&app, &moderator, Method::POST, &path, "decision=reject&reason=no").await.0, 422);
        assert_eq!(page(&app, &moderator, Method::POST, &path, "decision=nonsense&reason=").await.0, 422);
        assert_eq!(page(&app, &moderator, Method::POST, &path, "decision=approve&reason=").await.0, 303);
        // What is decided is said first, and what was typed is kept.
        for form in ["decision=approve&reason=", "decision=reject&reason=short", "decision=nonsense&reason=my+words"] {
            let (status, shown) = page(&app, &moderator, Method::POST, &path, form).await;
            assert!(status == 409 && shown.contains("decided this case already"), "{form}");
            assert_eq!(shown.contains("my words"), form.ends_with("my+words"), "{form}");
        }
        let auditor = testing::platform(&app, Role::Auditor).await;
        assert_eq!(page(&app, &auditor, Method::POST, &path, "decision=nonsense&reason=").await.0, 403, "the role comes first");
        let (_, shown) = page(&app, &moderator, Method::GET, "/admin/queue?state=decided", "").await;
        assert!(shown.contains(&path));
    })
    .await;
}
