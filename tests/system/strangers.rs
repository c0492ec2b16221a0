//! Every route that changes something, with the real ids of others' things, asked for by people who have no right to them: nothing
//! happens, and they do not learn whether the thing exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use diesel::prelude::*;
use pithead::base::db::schema::{
    api_tokens, apps, audit_records, cases, deployments, evaluation_sets, licenses, memberships, nodes, orders, organizations, plans,
    releases, sessions, sites,
};
use serde_json::json;

use crate::demo::{Demo, Reader};
use crate::sources::{self, is_for_programs};

/// Ids of what belongs to the demo's people.
struct Theirs {
    mine: String,
    member: String,
    token: String,
    session: String,
    site: String,
    node: String,
    order: String,
    license: String,
    app: String,
    release: String,
    version: String,
    plan: String,
    case: String,
    deployment: String,
    set: String,
}

async fn theirs(demo: &Demo) -> Theirs {
    demo.read(|conn| {
        let mine: String = organizations::table.filter(organizations::slug.eq("wulan-mine")).select(organizations::id).first(conn)?;
        let (app, release): (String, Option<String>) =
            apps::table.filter(apps::slug.eq("belt-foreign-object")).select((apps::id, apps::release_id)).first(conn)?;
        let release = release.unwrap();
        Ok(Theirs {
            member: memberships::table
                .filter(memberships::organization_id.eq(&mine).and(memberships::role.eq("approver")))
                .select(memberships::user_id)
                .first(conn)?,
            token: api_tokens::table.filter(api_tokens::organization_id.eq(&mine)).select(api_tokens::id).first(conn)?,
            session: sessions::table.filter(sessions::organization_id.eq(&mine)).select(sessions::token_hash).first(conn)?,
            site: sites::table.filter(sites::organization_id.eq(&mine)).select(sites::id).first(conn)?,
            node: nodes::table.filter(nodes::organization_id.eq(&mine)).select(nodes::id).first(conn)?,
            order: orders::table.filter(orders::organization_id.eq(&mine)).select(orders::id).first(conn)?,
            license: licenses::table.filter(licenses::organization_id.eq(&mine)).select(licenses::id).first(conn)?,
            version: releases::table.find(&release).select(releases::version).first(conn)?,
            plan: plans::table.filter(plans::app_id.eq(&app)).select(plans::id).first(conn)?,
            case: cases::table.filter(cases::release_id.eq(&release)).select(cases::id).first(conn)?,
            deployment: deployments::table.filter(deployments::organization_id.eq(&mine)).select(deployments::id).first(conn)?,
            set: evaluation_sets::table.select(evaluation_sets::id).order(evaluation_sets::id).first(conn)?,
            app,
            release,
            mine,
        })
    })
    .await
}

/// A try: its route in the source, its address, and its form; none for JSON.
type Attempt<'a> = (&'static str, String, Vec<(&'static str, &'a str)>);

/// What takes a thing of another organisation, or a right that strangers lack. The routes left out are in [`FOR_ALL`].
fn attempts(their: &Theirs) -> Vec<Attempt<'_>> {
    let app = "belt-foreign-object";
    vec![
        ("/account/organization", "/account/organization".into(), vec![("organization", &their.mine)]),
        ("/account/team/remove", "/account/team/remove".into(), vec![("id", &their.member)]),
        ("/account/team/revoke", "/account/team/revoke".into(), vec![("id", &their.member)]),
        ("/account/tokens/revoke", "/account/tokens/revoke".into(), vec![("id", &their.token)]),
        ("/account/sessions/revoke", "/account/sessions/revoke".into(), vec![("id", &their.session)]),
        // The demo's vendors have no keys: an id that is none says the same as one of another's.
        ("/vendor/keys/revoke", "/vendor/keys/revoke".into(), vec![("id", &their.token)]),
        // The demo has no drafts either.
        ("/vendor/drafts/{id}", format!("/vendor/drafts/{}", their.token), vec![("name", "x")]),
        ("/vendor/drafts/{id}/archive", format!("/vendor/drafts/{}/archive", their.token), vec![("name", "x")]),
        ("/vendor/drafts/{id}/answer", format!("/vendor/drafts/{}/answer", their.token), vec![("name", "x")]),
        ("/vendor/drafts/{id}/upload", format!("/vendor/drafts/{}/upload", their.token), vec![("name", "x")]),
        ("/vendor/drafts/{id}/remove", format!("/vendor/drafts/{}/remove", their.token), vec![]),
        ("/invitations/{secret}", "/invitations/not-a-secret".into(), vec![("name", "x"), ("password", "a lamp in the dark")]),
        ("/vendor/apps/{slug}/plans", format!("/vendor/apps/{app}/plans"), vec![("kind", "perpetual"), ("price", "1.00")]),
        ("/vendor/apps/{slug}/plans/retire", format!("/vendor/apps/{app}/plans/retire"), vec![("id", &their.plan)]),
        ("/vendor/apps/{slug}/visibility", format!("/vendor/apps/{app}/visibility"), vec![("hidden", "true")]),
        ("/vendor/apps/{slug}/releases/{version}/submit", format!("/vendor/apps/{app}/releases/{}/submit", their.version), vec![]),
        ("/admin/releases/{id}/measure", format!("/admin/releases/{}/measure", their.release), vec![]),
        ("/vendor/apps/{slug}/releases/{version}/measure", format!("/vendor/apps/{app}/releases/{}/measure", their.version), vec![]),
        ("/vendor/apps/{slug}/releases/{version}/recheck", format!("/vendor/apps/{app}/releases/{}/recheck", their.version), vec![]),
        ("/vendor/apps/{slug}/releases/{version}/promote", format!("/vendor/apps/{app}/releases/{}/promote", their.version), vec![]),
        (
            "/vendor/apps/{slug}/releases/{version}/deprecate",
            format!("/vendor/apps/{app}/releases/{}/deprecate", their.version),
            vec![("message_en", "x")],
        ),
        ("/admin/cases/{id}", format!("/admin/cases/{}", their.case), vec![("decision", "reject"), ("reason", "because")]),
        ("/admin/audit/verify", "/admin/audit/verify".into(), vec![]),
        ("/admin/people/{id}/reset-password", format!("/admin/people/{}/reset-password", their.member), vec![]),
        ("/admin/people/{id}/confirm-address", format!("/admin/people/{}/confirm-address", their.member), vec![("email", "x@y.cn")]),
        ("/admin/evaluation/new", "/admin/evaluation/new?scenario=belt-tear&name_zh=xx&name_en=xx&metric=mae".into(), vec![]),
        ("/admin/evaluation/{id}/retire", format!("/admin/evaluation/{}/retire", their.set), vec![]),
        ("/admin/evaluation/{id}/score", format!("/admin/evaluation/{}/score", their.set), vec![]),
        (
            "/admin/payments/{id}",
            format!("/admin/payments/{}", their.order),
            vec![("amount", "1.00"), ("bank_serial", "X-1"), ("payer", "x")],
        ),
        ("/admin/payments/{id}/cancel", format!("/admin/payments/{}/cancel", their.order), vec![("reason", "because")]),
        ("/admin/licenses/{id}/{decision}", format!("/admin/licenses/{}/revoke", their.license), vec![("reason", "because")]),
        ("/admin/stops/{stop}/{id}", format!("/admin/stops/recall-release/{}", their.release), vec![("reason", "because")]),
        ("/admin/stops/{stop}/{id}", format!("/admin/stops/suspend-listing/{}", their.app), vec![("reason", "because")]),
        ("/admin/stops/{stop}/{id}", format!("/admin/stops/suspend-organization/{}", their.mine), vec![("reason", "because")]),
        ("/admin/stops/{stop}/{id}", format!("/admin/stops/disable-person/{}", their.member), vec![("reason", "because")]),
        ("/admin/stops/{stop}/{id}", format!("/admin/stops/end-sessions/{}", their.member), vec![("reason", "because")]),
        ("/admin/stops/{stop}/{id}", format!("/admin/stops/revoke-token/{}", their.token), vec![("reason", "because")]),
        ("/mine/orders/{id}/cancel", format!("/mine/orders/{}/cancel", their.order), vec![]),
        ("/mine/licenses/{id}/seats/{node}/release", format!("/mine/licenses/{}/seats/{}/release", their.license, their.node), vec![]),
        ("/mine/nodes/new", "/mine/nodes/new".into(), vec![("site_id", &their.site), ("name", "intruder")]),
        ("/mine/nodes/{id}/code", format!("/mine/nodes/{}/code", their.node), vec![]),
        ("/mine/nodes/{id}/remove", format!("/mine/nodes/{}/remove", their.node), vec![]),
        ("/mine/deploy", "/mine/deploy".into(), deployment(their)),
        // The demo has no webhooks: an id that is none says the same as one of another's.
        ("/mine/webhooks/{id}/renew", format!("/mine/webhooks/{}/renew", their.token), vec![]),
        ("/mine/webhooks/{id}/test", format!("/mine/webhooks/{}/test", their.token), vec![]),
        ("/mine/webhooks/{id}/again", format!("/mine/webhooks/{}/again", their.token), vec![("message", &their.token)]),
        ("/mine/webhooks/{id}/on", format!("/mine/webhooks/{}/on", their.token), vec![]),
        ("/mine/webhooks/{id}/remove", format!("/mine/webhooks/{}/remove", their.token), vec![]),
        ("/vendor/webhooks/{id}/renew", format!("/vendor/webhooks/{}/renew", their.token), vec![]),
        ("/vendor/webhooks/{id}/test", format!("/vendor/webhooks/{}/test", their.token), vec![]),
        ("/vendor/webhooks/{id}/again", format!("/vendor/webhooks/{}/again", their.token), vec![("message", &their.token)]),
        ("/vendor/webhooks/{id}/on", format!("/vendor/webhooks/{}/on", their.token), vec![]),
        ("/vendor/webhooks/{id}/remove", format!("/vendor/webhooks/{}/remove", their.token), vec![]),
        // Alarms of the demo come by themselves, at a time of their own: an id that is none says the same as one of another's.
        ("/duty/board/acknowledge", "/duty/board/acknowledge".into(), vec![("ids", &their.token)]),
        ("/duty/board/{id}/acknowledge", format!("/duty/board/{}/acknowledge", their.token), vec![]),
        ("/duty/board/{id}/judge", format!("/duty/board/{}/judge", their.token), vec![("verdict", "false")]),
        ("/duty/board/{id}/shelve", format!("/duty/board/{}/shelve", their.token), vec![("minutes", "5"), ("note", "because")]),
        ("/duty/board/{id}/unshelve", format!("/duty/board/{}/unshelve", their.token), vec![]),
        ("/duty/board/{id}/take-out", format!("/duty/board/{}/take-out", their.token), vec![("note", "because")]),
        ("/duty/board/{id}/put-back", format!("/duty/board/{}/put-back", their.token), vec![]),
        ("/duty/board/{id}/fetch-picture", format!("/duty/board/{}/fetch-picture", their.token), vec![]),
        ("/mine/deployments/{id}/remove", format!("/mine/deployments/{}/remove", their.deployment), vec![]),
    ]
}

fn deployment(their: &Theirs) -> Vec<(&'static str, &str)> {
    vec![("license", &their.license), ("release", &their.release), ("node", &their.node)]
}

/// Routes that strangers may use on things of their own, or that have tests of their own (registry, nodes, upload by JSON below).
const FOR_ALL: [&str; 27] = [
    "/sign-up",
    "/sign-in",
    "/sign-out",
    "/language",
    "/theme",
    "/forgotten-password",
    "/new-password",
    "/confirm-address",
    "/account/password",
    "/account/address",
    "/account/address/proof",
    "/account/sessions/end-others",
    "/account/team",
    "/account/tokens",
    "/vendor/keys",
    "/vendor/upload/check",
    "/vendor/upload/finish",
    "/vendor/upload/models",
    "/vendor/upload/models/check",
    "/apps/{vendor}/{app}/order",
    "/duty/kiosk",
    "/mine/sites",
    "/mine/pictures",
    "/mine/webhooks",
    "/vendor/webhooks",
    "/scenarios/{slug}/follow",
    "/scenarios/{slug}/unfollow",
];

/// Routes of the source that take POST from people.
fn post_routes() -> BTreeSet<String> {
    sources::routes("post").into_iter().filter(|route| !is_for_programs(route)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_change_nothing() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let demo = Demo::shared();
    // So that the mine has a session.
    demo.sign_in("operator-owner").await;
    let their = theirs(&demo).await;
    let attempts = attempts(&their);
    let covered: BTreeSet<String> = attempts.iter().map(|(route, ..)| (*route).to_owned()).collect();
    let uncovered: Vec<String> = post_routes().difference(&covered).filter(|r| !FOR_ALL.contains(&r.as_str())).cloned().collect();
    assert!(uncovered.is_empty(), "say in `attempts` or `FOR_ALL` what strangers get at {uncovered:?}");

    let strangers: BTreeMap<&str, Reader> = BTreeMap::from([
        ("nobody", Reader::nobody(&demo.base).await),
        ("another vendor", demo.sign_up("vendor", "stranger-vendor").await),
        ("another mine", demo.sign_up("operator", "stranger-mine").await),
        // Of the platform, but with other duties; of the mine, but without rights over nodes.
        ("the auditor", demo.sign_in("auditor").await),
    ]);
    let before = decided(&demo, &their).await;
    let mut wrong = Vec::new();
    for (who, reader) in &strangers {
        for (route, path, fields) in &attempts {
            if (*who, *route) == ("the auditor", "/admin/audit/verify") {
                continue;
            }
            let response = reader.form(path, fields).await;
            let status = response.status().as_u16();
            let to = response.headers().get("location").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
            // Revoking says "over" of what is over, of what others have and of what there is not, so it tells nothing.
            let over = status == 409 && path.ends_with("/revoke");
            let refused = over || matches!(status, 403 | 404 | 410) || (*who == "nobody" && (status == 401 || to.starts_with("/sign-in")));
            if !refused {
                wrong.push(format!("{who} at {route}: {status} {to}"));
            }
        }
        // An upload that ends in another vendor's app goes by the asker's own name, never by one that is sent.
        let yaml = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps/coke-quality/app.yaml")).unwrap();
        let response = reader.json("/vendor/upload/finish?app=coke-quality", &json!({"yaml": yaml, "files": []})).await;
        if response.status().is_success() {
            let text = response.text().await.unwrap();
            assert!(text.contains("faults"), "{who} finished an upload of nothing: {text}");
        }
    }
    assert!(wrong.is_empty(), "not refused:\n{}", wrong.join("\n"));
    assert_eq!(decided(&demo, &their).await, before, "something was decided");
}

/// Records of people's decisions about these things; the demo's nodes go on meanwhile.
async fn decided(demo: &Demo, their: &Theirs) -> i64 {
    let Theirs { mine, member, token, session: _, site, node, order, license, app, release, version: _, plan, case, deployment, set } =
        their;
    let things = [mine, member, token, site, node, order, license, app, release, plan, case, deployment, set].map(Clone::clone);
    demo.read(move |conn| {
        let about = audit_records::table.filter(audit_records::subject.eq_any(things));
        Ok(about.filter(audit_records::actor.not_like("node:%")).count().get_result(conn)?)
    })
    .await
}

/// HEAD is what load balancers and link checkers ask with.
#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_as_get_without_the_body() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let demo = Demo::shared();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in ["/", "/apps", "/sign-in", "/healthz", "/readyz"] {
        let response = client.head(format!("{}{path}", demo.base)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert!(response.bytes().await.unwrap().is_empty(), "{path}");
    }
    assert_eq!(client.head(format!("{}/no-such-page", demo.base)).send().await.unwrap().status(), 404);
}
