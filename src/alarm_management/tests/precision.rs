//! Precision of an app at a mine, from its alarms to the deployment's page.

use actix_web::http::Method;

use super::{act, desk};
use crate::alarm_management::model::{Act, Show, Verdict};
use crate::alarm_management::precision::of_app;
use crate::testing::{self, each_backend};

#[tokio::test]
async fn a_deployment_shows_how_often_its_app_was_right_once_enough_was_judged() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        let path = format!("/mine/deployments/{}", desk.deployment);
        let app_id = desk.shop.listing.app_id.clone();
        desk.raise(&app, 1, &[("bolt", "warning"); 7]).await;
        let ids: Vec<String> = desk.list(&app, Show::Open).await.iter().map(|(entry, _)| entry.id.clone()).collect();
        let judge = async |id: &str, verdict| act(&app, operator, id, Act::Judge { verdict, instead_of: None }, "").await.unwrap();
        for (id, verdict) in ids.iter().zip([Verdict::Real, Verdict::Real, Verdict::Real, Verdict::False, Verdict::Test, Verdict::Test]) {
            judge(id, verdict).await;
        }
        assert!(of_app(&app, operator, &app_id).await.unwrap().is_empty(), "four verdicts that count are too few");
        assert!(!testing::page(&app, operator, Method::GET, &path, "").await.1.contains("id=\"precision-card\""));

        judge(&ids[6], Verdict::False).await;
        let weeks = of_app(&app, operator, &app_id).await.unwrap();
        assert_eq!(weeks.iter().map(|week| (week.version.as_str(), week.real, week.judged_false)).collect::<Vec<_>>(), [("1.0.0", 3, 2)]);
        let (_, html) = testing::page(&app, operator, Method::GET, &path, "").await;
        assert!(
            html.contains("id=\"precision-card\"") && html.contains("60 % (3 / 5)") && html.contains("id=\"precision-text\""),
            "{html}"
        );

        // Another mine has its own, and a vendor none.
        let stranger = testing::operator(&app, "stranger").await;
        assert!(of_app(&app, &stranger, &app_id).await.unwrap().is_empty());
        assert_eq!(of_app(&app, &desk.shop.vendor, &app_id).await.unwrap_err().code, "not-permitted");
    })
    .await;
}
