//! Hostile addresses and forms on both backends: a clear error, never a fault of the server.

use actix_web::http::Method;

use crate::base::auth::{Actor, Role};
use crate::testing::page;
use crate::testing::{self, each_backend};

/// PostgreSQL takes no NUL in a text, SQLite does.
#[tokio::test(flavor = "multi_thread")]
async fn a_nul_anywhere_is_no_fault_of_the_server() {
    each_backend(|app| async move {
        let vendor = testing::vendor(&app, "acme").await;
        let operator = testing::operator(&app, "mine").await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let finance = testing::platform(&app, Role::Finance).await;
        let everyone = [
            "/apps/%00/x",
            "/apps/x/%00",
            "/apps?specialty=%00&scenario=%00&input=%00&plan=%00&sort=%00&q=%00",
            "/apps?after=%00",
            "/compare?app=%00/x",
            "/vendors/%00",
            "/media/a/%00/b",
            "/invitations/%00",
            "/new-password?secret=%00",
            "/confirm-address?secret=%00",
            "/v2/acme/x/manifests/%00",
        ];
        let addresses: [(&Actor, &[&str]); 5] = [
            (&Actor::Anonymous, &everyone),
            (
                &vendor,
                &[
                    "/vendor/apps/%00",
                    "/vendor/apps/x/releases/%00",
                    "/vendor/drafts/%00",
                    "/vendor/drafts/%00/archive",
                    "/vendor/apps?before=%00",
                    "/vendor/registry?after=%00",
                    "/account/messages?before=%00",
                ],
            ),
            (
                &operator,
                &[
                    "/mine/orders/%00",
                    "/mine/orders?before=%00",
                    "/mine/licenses/%00",
                    "/mine/webhooks/%00",
                    "/api/v1/orders/%00",
                    "/api/v1/nodes?before=%00",
                    "/api/v1/alarms?deployment=%00&before=%00",
                    "/mine/nodes/%00",
                    "/mine/nodes?before=%00",
                    "/mine/deployments/%00",
                    "/mine/deploy?license=%00",
                    "/duty/board?site=%00&after=%00&alarm=%00",
                    "/duty/alarms/%00/picture",
                    "/api/v1/alarms/%00/picture?whole=true",
                    "/apps/x/y/order?plan=%00",
                ],
            ),
            (
                &admin,
                &[
                    "/admin/organizations?q=%00&before=%00",
                    "/admin/organizations/%00",
                    "/admin/people?q=%00",
                    "/admin/people/%00",
                    "/admin/listings/%00",
                    "/admin/releases/%00",
                    "/admin/stops/recall-release/%00",
                    "/admin/stops/end-session/%00",
                    "/admin/stops/%00/x",
                    "/admin/cases/%00",
                    "/admin/people?before=%00",
                    "/admin/messages?before=%00&state=%00",
                    "/admin/people/%00/reset-password",
                    "/admin/audit?q=%00&action=%00",
                    "/admin/evaluation?before=%00",
                ],
            ),
            (&finance, &["/admin/payments?q=%00", "/admin/payments/%00", "/admin/payments/received?before=%00"]),
        ];
        crate::site::market::follow::refresh(&app, None).await.unwrap();
        for (who, paths) in addresses {
            for path in paths {
                let (status, body) = page(&app, who, Method::GET, path, "").await;
                assert!(status < 500, "{path}: {status} {body}");
            }
        }
        let forms = [
            (&Actor::Anonymous, "/sign-in", "email=%00&password=%00"),
            (
                &Actor::Anonymous,
                "/sign-up",
                "email=a%00@b.example&name=%00&password=a+lamp+in+the+dark&kind=vendor&slug=%00&organization=%00",
            ),
            (&operator, "/scenarios/%00/follow", "next=%00"),
            (&operator, "/scenarios/%00/unfollow", ""),
            (&operator, "/mine/sites", "name=%00"),
            (&operator, "/mine/nodes/new", "site_id=%00&name=n-1"),
            (&operator, "/mine/deploy", "license=%00&release=%00&node=%00"),
            (&operator, "/account/team/remove", "id=%00"),
            (&operator, "/account/address", "email=%00%40b.cn&current_password=%00"),
            (&operator, "/account/password", "current_password=%00&new_password=%00aaaaaaaaaaaa"),
            (&Actor::Anonymous, "/forgotten-password", "email=%00%40b.cn"),
            (&admin, "/admin/people/%00/confirm-address", "email=%00"),
            (&vendor, "/account/tokens", "name=%00&scopes=%00&days=1"),
            (&vendor, "/vendor/keys/revoke", "id=%00"),
            (&vendor, "/vendor/webhooks", "url=%00&kinds=%00"),
            (&operator, "/mine/webhooks/%00/again", "message=%00"),
            (&admin, "/admin/stops/disable-person/%00", "reason=%00%00%00%00"),
        ];
        for (who, path, form) in forms {
            let (status, body) = page(&app, who, Method::POST, path, form).await;
            assert!(status < 500, "{path}: {status} {body}");
        }
    })
    .await;
}
