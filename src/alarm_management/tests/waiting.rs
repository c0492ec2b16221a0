//! What waits for whom on the mine's first page.

use actix_web::http::Method;
use chrono::TimeDelta;

use super::desk;
use crate::base::auth::Role;
use crate::testing::{self, each_backend};

#[tokio::test]
async fn a_person_sees_what_they_may_do_and_nothing_twice() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        let mine = operator.organization_id().unwrap().to_owned();
        let approver = testing::member(&app, &mine, Role::Approver, "approver@north.example").await;
        let deployer = testing::member(&app, &mine, Role::Deployer, "deployer@north.example").await;
        desk.beat(&app, 1, None).await;
        let (_, html) = testing::page(&app, operator, Method::GET, "/mine", "").await;
        assert!(html.contains("Nothing waits for you"), "{html}");

        desk.raise(&app, 2, &[("bolt", "warning"), ("fire", "critical"), ("word", "notice")]).await;
        app.clock.advance(TimeDelta::minutes(2));
        let (alarms, nodes) = ("Alarms without an answer: 2", "Nodes lost: 1");
        for (who, answers, mends) in [(operator, true, true), (&deployer, true, true), (&approver, false, false)] {
            for path in ["/mine", "/mine/fragment"] {
                let (status, html) = testing::page(&app, who, Method::GET, path, "").await;
                assert_eq!((status, html.contains(alarms), html.contains(nodes)), (200, answers, mends), "{path}: {html}");
                // Who may do nothing about it still sees how it stands.
                assert_eq!((html.contains("Alarms that call"), html.contains("1 offline")), (!answers, !mends), "{path}: {html}");
            }
        }
        // Licences are for those who may order.
        let (_, html) = testing::page(&app, &deployer, Method::GET, "/mine", "").await;
        assert!(html.contains("Licences ending"), "{html}");
        let (_, html) = testing::page(&app, operator, Method::GET, "/mine", "").await;
        assert!(!html.contains("Licences ending"), "{html}");
    })
    .await;
}
