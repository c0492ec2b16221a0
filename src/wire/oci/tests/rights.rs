//! Who may do what: strangers, tokens, sessions, buyers and their nodes.

use futures_util::{StreamExt as _, stream};

use super::*;
use crate::account::team;

pub(super) fn with_scopes(actor: &Actor, scopes: &[Scope]) -> Actor {
    let Actor::Person(person, _) = actor else { panic!("a person") };
    Actor::Person(person.clone(), Via::Token { id: "tok_x".into(), scopes: scopes.to_vec() })
}

#[tokio::test]
async fn strangers_are_challenged_and_tokens_carry_rights() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let digest = push_blob(&app, &acme, "acme/belt", b"weights").await;
        let nobody = Actor::Anonymous;
        let host = ("x-forwarded-host", "evil.example");
        let answer = send(&app, &nobody, Method::GET, "/v2/", &[host], b"").await.expect(401);
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer realm=\"http://127.0.0.1:8080/token\",service=\"pithead\"",
            "not where the request says that it was sent"
        );
        assert_eq!(answer.code(), "UNAUTHORIZED");
        let blob = format!("/v2/acme/belt/blobs/{digest}");
        let answer = send(&app, &nobody, Method::GET, &blob, &[host], b"").await.expect(401);
        assert!(answer.header("www-authenticate").ends_with(",scope=\"repository:acme/belt:pull\""));
        let answer = send(&app, &nobody, Method::POST, "/v2/acme/belt/blobs/uploads/", &[], b"").await.expect(401);
        assert!(answer.header("www-authenticate").ends_with(",scope=\"repository:acme/belt:pull,push\""));
        get(&app, &nobody, "/v2/acme/absent/tags/list").await.expect(401);
        get(&app, &nobody, "/v2/nothing").await.expect(401);

        // Asked for pull, held more: all of it, since some clients keep their first token.
        let token_of = |answer: Answer| serde_json::from_slice::<Value>(&answer.body).unwrap()["token"].as_str().unwrap().to_owned();
        let ask = "/token?service=pithead&scope=repository:acme/belt:pull&scope=repository:bolt/pump:*";
        let token = token_of(get(&app, &acme, ask).await.expect(200));
        let claims = token::verify(&app, &pulls(), &token).unwrap();
        assert_eq!(claims.access.len(), 1);
        assert_eq!(claims.access[0].actions, ["pull", "push", "delete"]);
        assert_eq!((claims.aud.as_str(), claims.exp - claims.iat), ("pithead", 900));
        let bearer = format!("Bearer {token}");
        assert_eq!(send(&app, &nobody, Method::GET, &blob, &[("authorization", &bearer)], b"").await.expect(200).body, &b"weights"[..]);
        send(&app, &nobody, Method::POST, "/v2/acme/belt/blobs/uploads/", &[("authorization", &bearer)], b"").await.expect(202);
        // A name that the token does not hold, but its owner does: a wider one can be had.
        let answer =
            send(&app, &nobody, Method::POST, "/v2/acme/other/blobs/uploads/", &[("authorization", &bearer)], b"").await.expect(401);
        assert!(answer.header("www-authenticate").contains("error=\"insufficient_scope\""));

        // Scopes of an API token narrow the registry token too.
        let reader = with_scopes(&acme, &[Scope::Pull]);
        let narrow = token_of(get(&app, &reader, ask).await.expect(200));
        assert_eq!(token::verify(&app, &pulls(), &narrow).unwrap().access[0].actions, ["pull"]);
        assert_eq!(send(&app, &reader, Method::POST, "/v2/acme/belt/blobs/uploads/", &[], b"").await.expect(403).code(), "DENIED");
        assert_eq!(token::verify(&app, &pulls(), &token_of(get(&app, &nobody, ask).await.expect(200))).unwrap().access, []);

        // Forged, changed, of another key or kind, too old: all the same.
        let parts: Vec<&str> = token.split('.').collect();
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        for bad in
            [format!("{none}.{}.", parts[1]), format!("{}.{}.{}", parts[0], parts[1], "A".repeat(86)), "x".into(), "x".repeat(20_000)]
        {
            let answer = send(&app, &acme, Method::GET, &blob, &[("authorization", &format!("Bearer {bad}"))], b"").await.expect(401);
            assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
        }
        app.clock.advance(TimeDelta::minutes(16));
        send(&app, &nobody, Method::GET, &blob, &[("authorization", &bearer)], b"").await.expect(401);
        // Bad credentials at the token endpoint are an error, missing rights are not.
        send(&app, &nobody, Method::GET, ask, &[("authorization", "Basic YTpi")], b"").await.expect(401);
    })
    .await;
}

#[tokio::test]
async fn a_registry_token_ends_with_what_it_was_asked_for_with() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let digest = push_blob(&app, &acme, "acme/belt", b"weights").await;
        let blob = format!("/v2/acme/belt/blobs/{digest}");
        let ask = "/token?service=pithead&scope=repository:acme/belt:pull";
        let token_of = |answer: Answer| serde_json::from_slice::<Value>(&answer.body).unwrap()["token"].as_str().unwrap().to_owned();
        let pulls = async |bearer: &str| {
            let bearer = format!("Bearer {bearer}");
            send(&app, &Actor::Anonymous, Method::GET, &blob, &[("authorization", &bearer)], b"").await.status.as_u16()
        };
        let signed = |text: String| {
            let app = app.clone();
            async move { crate::account::service::authenticate_token(&app, &text).await.unwrap() }
        };
        let cookie =
            crate::account::service::sign_in(&app, "owner@acme.example", testing::PASSWORD.into(), "10.0.0.1", "test").await.unwrap();
        let by_session = crate::account::service::authenticate_session(&app, &cookie).await.unwrap();
        let one = signed(crate::account::tokens::create(&app, &acme, "one", &["pull"], 9).await.unwrap()).await;
        let two = signed(crate::account::tokens::create(&app, &acme, "two", &["pull"], 9).await.unwrap()).await;
        let of_one = token_of(get(&app, &one, ask).await.expect(200));
        let of_two = token_of(get(&app, &two, ask).await.expect(200));
        let of_session = token_of(get(&app, &by_session, ask).await.expect(200));
        assert_eq!((pulls(&of_one).await, pulls(&of_two).await, pulls(&of_session).await), (200, 200, 200));

        // The person revokes one, an administrator ends the session.
        let Actor::Person(_, Via::Token { id, .. }) = &one else { panic!("a token") };
        crate::account::tokens::revoke(&app, &acme, id.clone()).await.unwrap();
        assert_eq!((pulls(&of_one).await, pulls(&of_two).await, pulls(&of_session).await), (401, 200, 200));
        let hash = crate::base::ids::hash_secret(&cookie);
        crate::stops::service::act(&app, &admin, crate::stops::model::Stop::EndSession, &hash, "lost phone").await.unwrap();
        assert_eq!((pulls(&of_two).await, pulls(&of_session).await), (200, 401));
        // A person who is disabled takes all of them along.
        let user = acme.person().unwrap().user_id.clone();
        crate::stops::service::act(&app, &admin, crate::stops::model::Stop::DisablePerson, &user, "left").await.unwrap();
        assert_eq!(pulls(&of_two).await, 401);
    })
    .await;
}

#[tokio::test]
async fn a_registry_token_ends_with_an_idle_session() {
    let soon = |settings: &mut crate::base::config::Settings| settings.sessions.idle_minutes = 10;
    testing::each_backend_with(soon, |app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let path = format!("/v2/acme/belt/blobs/{}", push_blob(&app, &acme, "acme/belt", b"weights").await);
        let cookie =
            crate::account::service::sign_in(&app, "owner@acme.example", testing::PASSWORD.into(), "10.0.0.1", "test").await.unwrap();
        let session = crate::account::service::authenticate_session(&app, &cookie).await.unwrap();
        let issued = token::issue(&app, &session, &["repository:acme/belt:pull".into()]).await.unwrap().token;
        let bearer = format!("Bearer {issued}");
        for (minutes, expected) in [(9, 200), (2, 401)] {
            app.clock.advance(TimeDelta::minutes(minutes));
            send(&app, &Actor::Anonymous, Method::GET, &path, &[("authorization", &bearer)], b"").await.expect(expected);
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_needs_its_csrf_value_to_push() {
    each_backend(|app| async move {
        let Actor::Person(person, _) = testing::vendor(&app, "acme").await else { panic!("a person") };
        let session = Actor::Person(person, Via::Session { csrf: "secret".into(), token_hash: "h".into() });
        let path = "/v2/acme/belt/blobs/uploads/";
        let masked = crate::http::csrf::masked("secret");
        for headers in [&[][..], &[("x-csrf-token", "wrong")], &[("x-csrf-token", "secret")]] {
            send(&app, &session, Method::POST, path, headers, b"").await.expect(403);
        }
        send(&app, &session, Method::POST, path, &[("x-csrf-token", &masked)], b"").await.expect(202);
        get(&app, &session, "/v2/acme/belt/tags/list").await.expect(200);
    })
    .await;
}

/// A listed app `acme/belt`, its published release 1.0.0 of a digest, and a licence of an organisation that covers every version.
pub(super) async fn release_and_license(app: &App, vendor: &Actor, buyer: &Actor, digest: &Digest) {
    let (v, b) = (vendor.person().unwrap().clone(), buyer.person().unwrap().clone());
    let digest = digest.to_string();
    let at = "'2025-12-01 00:00:00'";
    let sql = format!(
        "INSERT INTO apps (id, organization_id, slug, title_zh, title_en, summary_zh, summary_en, specialty, scenario, input, safety, state, deployments, created_at, updated_at) \
         SELECT 'app_1', '{vo}', 'belt', 't', 't', 's', 's', specialty, slug, 'image', FALSE, 'listed', 0, {at}, {at} FROM scenarios ORDER BY slug LIMIT 1;
         INSERT INTO plans (id, app_id, kind, price_fen, trial_days, trial_nodes, active, created_at) VALUES ('pln_1', 'app_1', 'perpetual', 1, 0, 0, TRUE, {at});
         INSERT INTO releases (id, app_id, version, digest, manifest, size_bytes, state, created_by, created_at, updated_at) \
         VALUES ('rel_1', 'app_1', '1.0.0', '{digest}', 'x', 1, 'published', '{vu}', {at}, {at});
         UPDATE manifests SET visibility = 'public' WHERE digest = '{digest}';
         INSERT INTO orders (id, number, organization_id, vendor_id, app_id, plan_id, plan_kind, unit_price_fen, trial_days, nodes, amount_fen, reference, state, placed_by, placed_at, updated_at) \
         VALUES ('ord_1', 'n1', '{bo}', '{vo}', 'app_1', 'pln_1', 'perpetual', 1, 0, 1, 1, 'r1', 'paid', '{bu}', {at}, {at});
         INSERT INTO licenses (id, order_id, organization_id, vendor_id, app_id, plan_kind, versions, node_limit, nodes_active, starts_at, ends_at, grace_days, enforcement, safety, state, created_at, updated_at) \
         VALUES ('lic_1', 'ord_1', '{bo}', '{vo}', 'app_1', 'perpetual', '*', 1, 0, {at}, '2026-01-02 00:00:00', 1, 'block', FALSE, 'active', {at}, {at});",
        vo = v.organization_id, vu = v.user_id, bo = b.organization_id, bu = b.user_id,
    );
    app.db.write(move |conn| Ok(conn.batch_execute(&sql)?)).await.unwrap();
}

#[tokio::test]
async fn a_licence_opens_published_releases_and_nothing_else() {
    each_backend(|app| async move {
        let (acme, mine, other) =
            (testing::vendor(&app, "acme").await, testing::operator(&app, "mine").await, testing::operator(&app, "other").await);
        let moderator = testing::platform(&app, Role::Moderator).await;
        let finance = testing::platform(&app, Role::Finance).await;
        let published = push_layer(&app, &acme, "acme/belt", b"published", None).await.to_bytes();
        let draft = push_layer(&app, &acme, "acme/belt", b"draft", None).await.to_bytes();
        put_manifest(&app, &acme, "acme/belt", "1.0.0", &published).await.expect(201);
        put_manifest(&app, &acme, "acme/belt", "2.0.0", &draft).await.expect(201);
        let digest = Digest::of(&published);
        let signature =
            push_layer(&app, &acme, "acme/belt", b"signature", Some(Descriptor::of(MANIFEST_TYPE, &published))).await.to_bytes();
        put_manifest(&app, &acme, "acme/belt", Digest::of(&signature).as_str(), &signature).await.expect(201);
        get(&app, &mine, "/v2/acme/belt/manifests/1.0.0").await.expect(404);
        release_and_license(&app, &acme, &mine, &digest).await;

        let node = testing::node(&app, &mine).await;
        for buyer in [&mine, &node] {
            get(&app, buyer, "/v2/acme/belt/manifests/1.0.0").await.expect(200);
            get(&app, buyer, &format!("/v2/acme/belt/blobs/{}", Digest::of(b"published"))).await.expect(200);
            let list = get(&app, buyer, &format!("/v2/acme/belt/referrers/{digest}")).await.expect(200);
            assert_eq!(serde_json::from_slice::<Value>(&list.body).unwrap()["manifests"].as_array().unwrap().len(), 1);
            get(&app, buyer, &format!("/v2/acme/belt/manifests/{}", Digest::of(&signature))).await.expect(200);
            // What is not published is not there.
            get(&app, buyer, "/v2/acme/belt/manifests/2.0.0").await.expect(404);
            let tags = get(&app, buyer, "/v2/acme/belt/tags/list").await.expect(200);
            assert_eq!(serde_json::from_slice::<Value>(&tags.body).unwrap()["tags"], serde_json::json!(["1.0.0"]));
            assert_eq!(send(&app, buyer, Method::POST, "/v2/acme/belt/blobs/uploads/", &[], b"").await.expect(403).code(), "DENIED");
        }
        get(&app, &other, "/v2/acme/belt/manifests/1.0.0").await.expect(404);
        get(&app, &finance, "/v2/acme/belt/manifests/1.0.0").await.expect(404);
        get(&app, &moderator, "/v2/acme/belt/manifests/2.0.0").await.expect(200);

        // A node's token works for that node only.
        let issued = token::issue(&app, &node, &["repository:acme/belt:pull".into()]).await.unwrap().token;
        let bearer = format!("Bearer {issued}");
        send(&app, &node, Method::GET, "/v2/acme/belt/manifests/1.0.0", &[("authorization", &bearer)], b"").await.expect(200);
        let thief = Actor::Node { node_id: "nod_2".into(), organization_id: "org_x".into() };
        send(&app, &thief, Method::GET, "/v2/acme/belt/manifests/1.0.0", &[("authorization", &bearer)], b"").await.expect(401);

        // Nor does it outlive the node.
        let Actor::Node { node_id, .. } = &node else { panic!("no node") };
        crate::fleet::service::remove_node(&app, &mine, node_id).await.unwrap();
        send(&app, &Actor::Anonymous, Method::GET, "/v2/acme/belt/manifests/1.0.0", &[("authorization", &bearer)], b"").await.expect(401);

        // What customers rely on cannot be taken away; what the vendor has attached to it can.
        for path in ["manifests/1.0.0".to_owned(), format!("manifests/{digest}"), format!("blobs/{}", Digest::of(b"published"))] {
            send(&app, &acme, Method::DELETE, &format!("/v2/acme/belt/{path}"), &[], b"").await.expect(409);
        }
        for path in [format!("manifests/{}", Digest::of(&signature)), format!("blobs/{}", Digest::of(b"signature"))] {
            send(&app, &acme, Method::DELETE, &format!("/v2/acme/belt/{path}"), &[], b"").await.expect(202);
        }
        send(&app, &acme, Method::DELETE, "/v2/acme/belt/manifests/2.0.0", &[], b"").await.expect(202);

        // The licence ends on the second, its grace a day later.
        app.clock.advance(TimeDelta::hours(47));
        get(&app, &mine, "/v2/acme/belt/manifests/1.0.0").await.expect(200);
        app.clock.advance(TimeDelta::hours(2));
        get(&app, &mine, "/v2/acme/belt/manifests/1.0.0").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn who_leaves_while_the_body_comes_pushes_nothing() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let organization = acme.person().unwrap().organization_id.clone();
        let leaver = testing::member(&app, &organization, Role::Owner, "two@acme.example").await;
        let manifest: Bytes = push_layer(&app, &acme, "acme/belt", b"weights", None).await.to_bytes().into();
        let put = async |who: &Actor, between: Option<String>| {
            let (half, app_then, acme) = (manifest.len() / 2, app.clone(), acme.clone());
            let (head, tail) = (manifest.slice(..half), manifest.slice(half..));
            let rest = async move {
                if let Some(user_id) = between {
                    team::remove(&app_then, &acme, user_id).await.unwrap();
                }
                Ok(tail)
            };
            let body = stream::iter([Ok(head)]).chain(stream::once(rest));
            let headers = [("content-type", MANIFEST_TYPE)];
            send_pieces(&app, who, Method::PUT, "/v2/acme/belt/manifests/1.0.0", &headers, Box::pin(body)).await
        };
        put(&leaver, Some(leaver.person().unwrap().user_id.clone())).await.expect(401);
        get(&app, &acme, "/v2/acme/belt/manifests/1.0.0").await.expect(404);
        put(&acme, None).await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn a_buyer_gets_the_versions_of_a_licence_and_the_blobs_that_they_name() {
    each_backend(|app| async move {
        let (acme, mine) = (testing::vendor(&app, "acme").await, testing::operator(&app, "mine").await);
        let mut digests = Vec::new();
        for (version, bytes) in [("1.0.0", &b"one"[..]), ("2.0.0", &b"two"[..]), ("3.0.0", &b"draft"[..])] {
            let manifest = push_layer(&app, &acme, "acme/belt", bytes, None).await.to_bytes();
            put_manifest(&app, &acme, "acme/belt", version, &manifest).await.expect(201);
            digests.push(Digest::of(&manifest));
            let subject = Descriptor::of(MANIFEST_TYPE, &manifest);
            let note = push_layer(&app, &acme, "acme/belt", &[bytes, b" note"].concat(), Some(subject)).await.to_bytes();
            put_manifest(&app, &acme, "acme/belt", Digest::of(&note).as_str(), &note).await.expect(201);
        }
        push_blob(&app, &acme, "acme/belt", b"never named").await;
        release_and_license(&app, &acme, &mine, &digests[0]).await;
        let (vendor, second) = (acme.person().unwrap().user_id.clone(), digests[1].to_string());
        let at = "'2025-12-01 00:00:00'";
        let sql = format!(
            "INSERT INTO releases (id, app_id, version, digest, manifest, size_bytes, state, created_by, created_at, updated_at) \
             VALUES ('rel_2', 'app_1', '2.0.0', '{second}', 'x', 1, 'published', '{vendor}', {at}, {at}); \
             UPDATE manifests SET visibility = 'public' WHERE digest = '{second}'; UPDATE licenses SET versions = '^1'"
        );
        let run = |sql: String| app.db.write(move |conn| Ok(conn.batch_execute(&sql)?));
        run(sql).await.unwrap();
        let node = testing::node(&app, &mine).await;
        let status = async |who: &Actor, path: String| get(&app, who, &format!("/v2/acme/belt/{path}")).await.status.as_u16();
        // Manifest by tag and by digest, its blob, the blob of what refers to it.
        let paths = |at: usize, version: &str, bytes: &[u8]| {
            [
                format!("manifests/{version}"),
                format!("manifests/{}", digests[at]),
                format!("blobs/{}", Digest::of(bytes)),
                format!("blobs/{}", Digest::of(&[bytes, b" note"].concat())),
            ]
        };
        let expect = async |who: &Actor, paths: [String; 4], expected: u16| {
            for path in paths {
                assert_eq!(status(who, path.clone()).await, expected, "{} {path}", who.label());
            }
        };
        let referrers = async |who: &Actor, at: usize| {
            let list = get(&app, who, &format!("/v2/acme/belt/referrers/{}", digests[at])).await.expect(200);
            serde_json::from_slice::<Value>(&list.body).unwrap()["manifests"].as_array().unwrap().len()
        };
        for buyer in [&mine, &node] {
            expect(buyer, paths(0, "1.0.0", b"one"), 200).await;
            expect(buyer, paths(1, "2.0.0", b"two"), 404).await;
            expect(buyer, paths(2, "3.0.0", b"draft"), 404).await;
            assert_eq!(status(buyer, format!("blobs/{}", Digest::of(b"never named"))).await, 404);
            assert_eq!((referrers(buyer, 0).await, referrers(buyer, 1).await), (1, 0));
        }
        expect(&acme, paths(2, "3.0.0", b"draft"), 200).await;

        // A safety app whose licence is over: people get nothing more, its node what it runs.
        let (operator, Actor::Node { node_id, .. }) = (mine.person().unwrap().clone(), &node) else { panic!("no node") };
        let sql = format!(
            "UPDATE licenses SET safety = TRUE, enforcement = 'advisory', ends_at = '2025-12-20 00:00:00', grace_days = 0; \
             INSERT INTO deployments (id, organization_id, node_id, app_id, release_id, license_id, parameters, wanted, digest, target_version, \
             adopted_version, state, created_by, created_at, updated_at) VALUES ('dep_1', '{}', '{node_id}', 'app_1', 'rel_1', 'lic_1', '{{}}', \
             TRUE, '', 0, 0, 'pending', '{}', {at}, {at})",
            operator.organization_id, operator.user_id
        );
        run(sql).await.unwrap();
        expect(&mine, paths(0, "1.0.0", b"one"), 404).await;
        expect(&node, paths(0, "1.0.0", b"one"), 200).await;
        expect(&node, paths(1, "2.0.0", b"two"), 404).await;
        let other = Actor::Node { node_id: "nod_other".into(), organization_id: operator.organization_id.clone() };
        expect(&other, paths(0, "1.0.0", b"one"), 404).await;
        run("UPDATE deployments SET wanted = FALSE".into()).await.unwrap();
        expect(&node, paths(0, "1.0.0", b"one"), 404).await;
        // Reinstated, people read on.
        run("UPDATE licenses SET ends_at = NULL".into()).await.unwrap();
        expect(&mine, paths(0, "1.0.0", b"one"), 200).await;
    })
    .await;
}

/// Who only looks makes no repository, and a browser that follows a link of another site looks only.
#[tokio::test]
async fn only_what_is_pushed_makes_a_repository() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let there = async || {
            let name = |conn: &mut crate::base::db::Conn| service::repository(conn, "acme/new");
            app.db.read(name).await.unwrap().is_some()
        };
        for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
            let answer = send(&app, &acme, method.clone(), "/v2/acme/new/blobs/uploads/upl_1", &[], b"x").await.expect(404);
            assert_eq!(answer.code(), "BLOB_UPLOAD_UNKNOWN", "{method}");
        }
        for path in ["latest", "latest?tag=no/tag"] {
            send(&app, &acme, Method::PUT, &format!("/v2/acme/new/manifests/{path}"), &[], b"{").await.expect(400);
        }
        assert!(!there().await);
        // Others are refused as before.
        let other = testing::vendor(&app, "other").await;
        send(&app, &other, Method::GET, "/v2/acme/new/blobs/uploads/upl_1", &[], b"").await.expect(404);
        start(&app, &acme, "acme/new").await;
        assert!(there().await);
    })
    .await;
}

/// Refusals that no protocol has a code for are told as all others: with our code, in words, in the reader's language.
#[tokio::test]
async fn every_refusal_is_in_the_dialect() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let blob = push_blob(&app, &acme, "acme/belt", b"0123").await;
        let tags = (0..11).map(|n| format!("tag=t{n}")).collect::<Vec<_>>().join("&");
        let (blob, many) = (format!("/v2/acme/belt/blobs/{blob}"), format!("/v2/acme/belt/manifests/latest?{tags}"));
        for (method, path, header, status, code) in [
            (Method::POST, "/v2/acme/belt/tags/list", None, 405, "method-not-allowed"),
            (Method::PUT, "/token", None, 405, "method-not-allowed"),
            (Method::PUT, many.as_str(), None, 414, "too-many-tags-at-once"),
            (Method::GET, blob.as_str(), Some(("range", "bytes=4-")), 416, "range-not-satisfiable"),
            (Method::GET, blob.as_str(), Some(("if-match", "\"x\"")), 412, "precondition-failed"),
        ] {
            for (language, zh) in [("en", false), ("zh-CN", true)] {
                let headers: Vec<(&str, &str)> = header.into_iter().chain([("accept-language", language)]).collect();
                let answer = send(&app, &acme, method.clone(), path, &headers, b"").await.expect(status);
                let body: Value = serde_json::from_slice(&answer.body).unwrap();
                let error = &body["errors"][0];
                assert_eq!(error["detail"]["code"], code, "{path}");
                let message = error["message"].as_str().unwrap();
                assert_eq!(message.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)), zh, "{message}");
                assert!(message.contains(' ') || zh, "{message}");
                assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
                assert_eq!(answer.headers.contains_key("allow"), status == 405, "{path}");
            }
        }
    })
    .await;
}
