//! Names that are the platform's or look like another organisation's.

use diesel::prelude::*;

use crate::account::service::{self, SignUp};
use crate::account::{names, store};
use crate::base::app::App;
use crate::base::auth::{OrgKind, Role};
use crate::base::db::schema::organizations;
use crate::base::error::Error;
use crate::testing::{self, PASSWORD, each_backend};

fn input(slug: &str, name: &str) -> SignUp {
    SignUp {
        email: format!("{}@x.example", crate::base::ids::new("u")),
        name: "A person".into(),
        password: PASSWORD.into(),
        kind: "vendor".into(),
        slug: slug.into(),
        name_zh: name.into(),
        name_en: String::new(),
    }
}

/// Code of a refusal, or of its first field.
fn code(error: &Error) -> &'static str {
    error.fields.first().map_or(error.code, |field| field.code)
}

async fn resembled(app: &App, slug: &'static str) -> Option<String> {
    app.db.read(move |conn| Ok(store::find_organization_by_slug(conn, slug)?.unwrap().resembles)).await.unwrap()
}

#[tokio::test]
async fn nobody_signs_up_as_the_platform_or_as_another() {
    each_backend(|app| async move {
        for (slug, name) in [
            ("platform", "Any name"),
            ("admin", "Any name"),
            ("p1thead", "Any name"),
            ("any-name", "Ｐｉｔｈｅａｄ"),
            ("any-name", "坑口平台运营"),
            ("any-name", "坑口\u{3000}平台"),
            ("any-name", "Pithead 官方"),
            ("piithead", "Any name"),
            ("any-name", "坑口工业互联网平台运营有限公司"),
        ] {
            let refused = service::sign_up(&app, input(slug, name)).await.unwrap_err();
            assert_eq!(code(&refused), "name-reserved", "{slug} {name}");
        }
        service::sign_up(&app, input("acme", "乌兰矿业")).await.unwrap();
        for (slug, name) in [("ac-me", "Any name"), ("any-name", "ACME"), ("any-name", "аcme"), ("any-name", "乌兰 矿业")] {
            let refused = service::sign_up(&app, input(slug, name)).await.unwrap_err();
            assert_eq!(code(&refused), "name-taken", "{slug} {name}");
        }
        assert_eq!(code(&service::sign_up(&app, input("acme", "Any name")).await.unwrap_err()), "slug-taken");
        // A refused sign-up claims nothing.
        service::sign_up(&app, input("any-name", "Any name")).await.unwrap();
        assert_eq!(resembled(&app, "any-name").await, None);
    })
    .await;
}

#[tokio::test]
async fn what_resembles_a_name_is_shown_to_those_who_moderate() {
    each_backend(|app| async move {
        let administrator = testing::platform(&app, Role::Administrator).await;
        service::sign_up(&app, input("acme", "乌兰矿业")).await.unwrap();
        service::sign_up(&app, input("wulan", "乌兰矿业科技有限公司")).await.unwrap();
        service::sign_up(&app, input("helpers", "Pithead helpers")).await.unwrap();
        // The word is an ordinary one: an honest mine is taken, and those who moderate look at it.
        service::sign_up(&app, input("kengkou-coal", "坑口煤矿")).await.unwrap();
        assert_eq!(resembled(&app, "kengkou-coal").await.as_deref(), Some("坑口"));
        assert_eq!(
            (resembled(&app, "wulan").await.as_deref(), resembled(&app, "helpers").await.as_deref()),
            (Some("acme"), Some("pithead"))
        );
        assert_eq!(resembled(&app, "acme").await, None);
        let (status, shown) = testing::page(&app, &administrator, actix_web::http::Method::GET, "/admin/organizations", "").await;
        assert_eq!(status, 200);
        assert!(shown.contains("looks like “acme”") && shown.contains("looks like “pithead”"));
    })
    .await;
}

#[tokio::test]
async fn a_platform_whose_name_was_taken_before_gets_its_administrator() {
    each_backend(|app| async move {
        // As it could be done before there were reserved names.
        let organization = super::super::model::Organization {
            id: crate::base::ids::new("org"),
            kind: OrgKind::Vendor,
            slug: "platform".into(),
            name_zh: "Pithead".into(),
            name_en: "Pithead".into(),
            created_at: app.clock.now(),
            resembles: None,
        };
        app.db.write(move |conn| Ok(store::insert_organization(conn, &organization)?)).await.unwrap();
        names::fill(&app).await.unwrap();
        names::fill(&app).await.unwrap();
        let add = async |email: &str, slug: Option<&str>| {
            let slug = slug.map(ToOwned::to_owned);
            service::add_platform_person(&app, Role::Administrator, email, "Lin", PASSWORD, "Pithead", slug).await
        };
        assert_eq!(add("a@platform.example", Some("platform")).await.unwrap_err().code, "slug-taken");
        add("a@platform.example", None).await.unwrap();
        add("b@platform.example", None).await.unwrap();
        let platforms = app.db.read(|conn| {
            let all = organizations::table.filter(organizations::kind.eq(OrgKind::Platform));
            Ok(all.select(organizations::slug).load::<String>(conn)?)
        });
        assert_eq!(platforms.await.unwrap(), ["platform-2"]);
        assert_eq!(resembled(&app, "platform").await.as_deref(), Some("platform-2"), "who had the name is shown");
        let cookie = service::sign_in(&app, "b@platform.example", PASSWORD.into(), "10.0.0.1", "t").await.unwrap();
        let actor = service::authenticate_session(&app, &cookie).await.unwrap();
        assert_eq!(actor.person().unwrap().kind, OrgKind::Platform);
    })
    .await;
    each_backend(|app| async move {
        let slug = Some("operations".to_owned());
        service::add_platform_person(&app, Role::Administrator, "a@x.example", "Lin", PASSWORD, "Pithead", slug).await.unwrap();
        assert_eq!(resembled(&app, "operations").await, None);
    })
    .await;
}
