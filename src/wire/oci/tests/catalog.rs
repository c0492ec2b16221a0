//! `/v2/_catalog`: who sees which repositories, page by page.

use super::rights::{release_and_license, with_scopes};
use super::*;

async fn listed(app: &App, who: &Actor, query: &str) -> (Vec<String>, String) {
    let answer = get(app, who, &format!("/v2/_catalog{query}")).await.expect(200);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let names = body["repositories"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    (names, answer.header("link").to_owned())
}

#[tokio::test]
async fn everybody_sees_what_they_may_read() {
    each_backend(|app| async move {
        let (acme, bolt) = (testing::vendor(&app, "acme").await, testing::vendor(&app, "bolt").await);
        let (mine, other) = (testing::operator(&app, "mine").await, testing::operator(&app, "other").await);
        let published = push_layer(&app, &acme, "acme/belt", b"published", None).await.to_bytes();
        put_manifest(&app, &acme, "acme/belt", "1.0.0", &published).await.expect(201);
        push_blob(&app, &acme, "acme/hoist", b"x").await;
        push_blob(&app, &bolt, "bolt/pump", b"x").await;
        release_and_license(&app, &acme, &mine, &Digest::of(&published)).await;
        let node = testing::node(&app, &mine).await;
        let (moderator, finance) = (testing::platform(&app, Role::Moderator).await, testing::platform(&app, Role::Finance).await);
        let sees: [(&Actor, &[&str]); 8] = [
            (&acme, &["acme/belt", "acme/hoist"]),
            (&bolt, &["bolt/pump"]),
            (&mine, &["acme/belt"]),
            (&node, &["acme/belt"]),
            (&other, &[]),
            (&moderator, &["acme/belt", "acme/hoist", "bolt/pump"]),
            (&finance, &[]),
            (&with_scopes(&mine, &[Scope::Pull]), &["acme/belt"]),
        ];
        for (who, names) in sees {
            assert_eq!(listed(&app, who, "").await, (names.iter().map(|&n| n.to_owned()).collect(), String::new()), "{}", who.label());
        }
        assert_eq!(get(&app, &with_scopes(&acme, &[Scope::Read]), "/v2/_catalog").await.expect(403).code(), "DENIED");
        let stranger = get(&app, &Actor::Anonymous, "/v2/_catalog").await.expect(401);
        assert!(stranger.header("www-authenticate").ends_with(",scope=\"registry:catalog:*\""), "{}", stranger.header("www-authenticate"));

        // A registry token lists with that scope alone.
        let bearer = async |scope: &str| format!("Bearer {}", token::issue(&app, &acme, &[scope.into()]).await.unwrap().token);
        let ask = async |bearer: &str| send(&app, &Actor::Anonymous, Method::GET, "/v2/_catalog", &[("authorization", bearer)], b"").await;
        let narrow = ask(&bearer("repository:acme/belt:pull").await).await.expect(401);
        assert!(narrow.header("www-authenticate").contains("scope=\"registry:catalog:*\",error=\"insufficient_scope\""));
        assert!(String::from_utf8_lossy(&ask(&bearer("registry:catalog:*").await).await.expect(200).body).contains("acme/hoist"));
        // It opens no repository, and nobody gets it for nothing.
        let catalog = bearer("registry:catalog:*").await;
        send(&app, &Actor::Anonymous, Method::GET, "/v2/acme/belt/tags/list", &[("authorization", &catalog)], b"").await.expect(401);
        let nobody = token::issue(&app, &Actor::Anonymous, &["registry:catalog:*".into()]).await.unwrap();
        assert_eq!(nobody.scope, "");

        // The licence ends, with its days of grace: its buyer reads nothing of the app any more.
        app.clock.advance(TimeDelta::days(3));
        assert_eq!(listed(&app, &mine, "").await.0, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn the_catalogue_comes_in_pages_in_ascii_order() {
    each_backend(|app| async move {
        let (acme, other) = (testing::vendor(&app, "acme").await, testing::vendor(&app, "acme-x").await);
        for name in ["acme/zinc", "acme/belt", "acme/belt/weights", "acme/b-2"] {
            push_blob(&app, &acme, name, b"x").await;
        }
        push_blob(&app, &other, "acme-x/belt", b"x").await;
        let moderator = testing::platform(&app, Role::Moderator).await;
        let (mut query, mut pages) = ("?n=2".to_owned(), Vec::new());
        loop {
            let (names, link) = listed(&app, &moderator, &query).await;
            pages.push(names);
            let Some((next, _)) = link.strip_prefix("</v2/_catalog").and_then(|l| l.split_once(">; rel=\"next\"")) else { break };
            query = next.to_owned();
        }
        assert_eq!(pages, [vec!["acme-x/belt", "acme/b-2"], vec!["acme/belt", "acme/belt/weights"], vec!["acme/zinc"]]);
        assert_eq!(listed(&app, &acme, "?last=acme/belt/weights").await.0, ["acme/zinc"], "the last name itself never comes");
        assert_eq!(listed(&app, &acme, "?last=zzz").await.0, Vec::<String>::new());
    })
    .await;
}
