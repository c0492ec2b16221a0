//! Six key pages as their readers get them, held against files of before: whatever changes one of them shows in the difference.
//! `UPDATE_GOLDEN=1 cargo test --lib six_key_pages` writes them anew.

use std::collections::BTreeMap;
use std::path::Path;

use actix_web::http::Method;
use serde_json::Map;

use crate::base::auth::Role;
use crate::catalog::model::PlanKind;
use crate::fleet::service::{self as fleet, DeployInput};
use crate::testing::shop::{draft, license, open_case_of, shop};
use crate::testing::{self, drain_jobs, each_backend, page};

/// Replaces what is drawn by lot: ids, digests and the version of static files, each by a number in the order in which it comes.
fn without_lots(html: &str) -> String {
    let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut out = String::new();
    let mut rest = html;
    while let Some(at) = rest.find(['_', ':', '/']) {
        let (head, tail) = rest.split_at(at + 1);
        out.push_str(head);
        rest = tail;
        let length = if head.ends_with("sha256:") {
            64
        } else if head.ends_with('_') {
            32
        } else if head == "static/" {
            tail.find('/').unwrap_or(0)
        } else {
            continue;
        };
        let Some((lot, after)) = tail.split_at_checked(length).filter(|(lot, _)| !lot.is_empty() && is_hex(lot)) else { continue };
        let next = seen.len() + 1;
        out.push('#');
        out.push_str(&seen.entry(lot.to_owned()).or_insert(next).to_string());
        rest = after;
    }
    out + rest
}

/// The part of a page between head and foot.
fn main_of(html: &str) -> &str {
    let (begin, end) = (html.find("<main").unwrap(), html.find("</main>").unwrap());
    html.get(begin..end).unwrap()
}

#[tokio::test]
async fn six_key_pages_are_as_before() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let license = license(&app, &shop, PlanKind::Subscription, 2).await;
        let node = testing::node(&app, &shop.operator).await;
        let input = DeployInput {
            release_id: shop.listing.release_id.clone(),
            license_id: license.id.clone(),
            node_ids: vec![node.label().trim_start_matches("node:").to_owned()],
            parameters: Map::new(),
        };
        let deployment = fleet::deploy(&app, &shop.operator, input).await.unwrap().remove(0);
        drain_jobs(&app).await;
        let case = open_case_of(&app, &draft(&app, &shop, "1.1.0").await).await;
        let moderator = testing::platform(&app, Role::Moderator).await;
        let nobody = crate::base::auth::Actor::Anonymous;
        let pages = [
            ("home", &nobody, "/".to_owned()),
            ("listing", &nobody, "/apps/acme/belt".to_owned()),
            ("today", &shop.operator, "/mine".to_owned()),
            ("license", &shop.operator, format!("/mine/licenses/{}", license.id)),
            ("deployment", &shop.operator, format!("/mine/deployments/{deployment}")),
            ("case", &moderator, format!("/admin/cases/{case}")),
        ];
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        for (name, reader, address) in pages {
            let (status, html) = page(&app, reader, Method::GET, &address, "").await;
            assert_eq!(status, 200, "{address}");
            // Head and foot are the same on all public pages, and on all of an organisation: one of each kind holds them.
            let part = if matches!(name, "home" | "today") { html.as_str() } else { main_of(&html) };
            let (found, file) = (without_lots(&part.replace(&app.keys.get().approve.kid, "#key")), folder.join(format!("{name}.html")));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&file, found).unwrap();
                continue;
            }
            let known = std::fs::read_to_string(&file).unwrap();
            let differs = known.lines().zip(found.lines()).position(|(a, b)| a != b);
            let line = differs.unwrap_or_else(|| known.lines().count().min(found.lines().count()));
            assert!(
                known == found,
                "{}:{}\n- {}\n+ {}\nUPDATE_GOLDEN=1 writes what is right now",
                file.display(),
                line + 1,
                known.lines().nth(line).unwrap_or_default(),
                found.lines().nth(line).unwrap_or_default()
            );
        }
    })
    .await;
}

#[test]
fn live_parts_name_topics_that_exist() {
    let mut found = 0;
    for entry in walkdir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("templates")) {
        let template = std::fs::read_to_string(&entry).unwrap();
        assert!(!template.contains("data-confirm=") && !template.contains("data-event="), "{}: see docs/UI.md", entry.display());
        for part in template.split("data-live=\"").skip(1) {
            // An id is written by the template.
            let ids = ["{{ id }}", "{{ id +}}", "{{ node_id }}", "{{ view.id }}"];
            let topics = ids.iter().fold(part.split('"').next().unwrap().to_owned(), |topics, id| topics.replace(id, "x"));
            assert!(
                topics.split_whitespace().count() > 0 && topics.split_whitespace().all(crate::base::live::known),
                "{}: {topics}",
                entry.display()
            );
            // What another replica has changed is told by no event.
            assert!(part.split('>').next().unwrap().contains("data-poll=\""), "{}: {topics} is not polled", entry.display());
            found += 1;
        }
    }
    assert!(found > 10, "{found}");
}

fn walkdir(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walkdir(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn the_chain_says_uploaded_until_an_app_is_listed() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let draft = draft(&app, &shop, "1.1.0").await;
        let first = async |release: String| {
            let reader = crate::site::parts::chain::Reader::of(&shop.vendor, crate::base::i18n::Lang::En, app.clock.now());
            let read = app.db.read(move |conn| Ok(crate::site::parts::chain::of_release(conn, &reader, &release)?));
            read.await.unwrap().remove(0).key
        };
        assert_eq!(first(shop.listing.release_id.clone()).await, "listed");
        assert_eq!(first(draft).await, "uploaded");
        crate::catalog::service::set_hidden(&app, &shop.vendor, "belt".into(), true).await.unwrap();
        assert_eq!(first(shop.listing.release_id.clone()).await, "uploaded");
    })
    .await;
}

#[tokio::test]
async fn who_may_not_is_told_who_may() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let organization = shop.operator.organization_id().unwrap().to_owned();
        let user = crate::account::service::add_member(&app, &organization, Role::Member, "bo@mine.example", "Bo", testing::PASSWORD)
            .await
            .unwrap();
        let member = crate::account::service::actor_for(&app, &user, &organization).await.unwrap();
        let get = async |path: &str| page(&app, &member, Method::GET, path, "").await;
        let (status, refused) = get("/mine/deploy").await;
        assert!(status == 403 && refused.contains("roles=owner deployer"), "{refused}");
        let (status, today) = get("/mine").await;
        assert!(status == 200 && !today.contains("href=\"/mine/deploy\"") && today.contains("up to owner, deployer"), "{today}");
        let (_, today) = page(&app, &shop.operator, Method::GET, "/mine", "").await;
        assert!(today.contains("href=\"/mine/deploy\""));
    })
    .await;
}

#[tokio::test]
async fn unfinished_uploads_are_listed_with_the_way_on() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let repository = testing::repository(&app, &shop.vendor, "acme/belt").await;
        let user = shop.vendor.person().unwrap().user_id.clone();
        for _ in 0..2 {
            crate::registry::uploads::start(&app, &user, &repository).await.unwrap();
        }
        let (_, html) = page(&app, &shop.vendor, Method::GET, "/vendor/apps", "").await;
        assert!(!html.contains("Unfinished uploads"), "nothing has arrived");
        arrived(&app).await;
        let (_, html) = page(&app, &shop.vendor, Method::GET, "/vendor/apps", "").await;
        assert!(html.contains("Unfinished uploads") && html.contains("Files: 2") && html.contains("href=\"/vendor/apps/belt\""), "{html}");
        app.clock.advance(chrono::TimeDelta::days(30));
        let (_, html) = page(&app, &shop.vendor, Method::GET, "/vendor/apps", "").await;
        assert!(!html.contains("Unfinished uploads"), "over");
        crate::registry::uploads::start(&app, &user, &repository).await.unwrap();
        arrived(&app).await;
        app.clock.advance(chrono::TimeDelta::minutes(1));
        draft(&app, &shop, "1.1.0").await;
        let (_, html) = page(&app, &shop.vendor, Method::GET, "/vendor/apps", "").await;
        assert!(!html.contains("Unfinished uploads"), "the version has gone up");
    })
    .await;
}

#[tokio::test]
async fn the_step_of_the_nodes_carries_typed_parameters() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let license = license(&app, &shop, PlanKind::Subscription, 2).await;
        let node = testing::node(&app, &shop.operator).await;
        let (license, release, node) = (license.id, shop.listing.release_id.clone(), node.label().trim_start_matches("node:").to_owned());
        let address = format!("/mine/deploy?license={license}&release={release}&node={node}&p.bolt_score=0.73");
        let (_, html) = page(&app, &shop.operator, Method::GET, &address, "").await;
        assert!(html.contains("<input type=\"hidden\" name=\"p.bolt_score\" value=\"0.73\">"), "{html}");
        let (_, html) = page(&app, &shop.operator, Method::GET, &format!("{address}&step=parameters"), "").await;
        assert!(html.contains("value=\"0.73\"") && html.contains("formaction=\"/mine/deploy\""), "{html}");
    })
    .await;
}

#[tokio::test]
async fn a_recall_is_said_where_the_app_is_offered_and_where_it_runs() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let license = license(&app, &shop, PlanKind::Subscription, 2).await;
        let node = testing::node(&app, &shop.operator).await.label().trim_start_matches("node:").to_owned();
        let release = shop.listing.release_id.clone();
        let input =
            DeployInput { release_id: release.clone(), license_id: license.id, node_ids: vec![node.clone()], parameters: Map::new() };
        fleet::deploy(&app, &shop.operator, input).await.unwrap();
        let moderator = testing::platform(&app, Role::Moderator).await;
        let nobody = crate::base::auth::Actor::Anonymous;
        let pages = [
            (&nobody, "/".to_owned()),
            (&nobody, "/apps".to_owned()),
            (&nobody, "/vendors/acme".to_owned()),
            (&nobody, "/compare?app=acme/belt".to_owned()),
            (&shop.operator, format!("/mine/nodes/{node}")),
        ];
        for recalled in [false, true] {
            if recalled {
                let stop = crate::stops::model::Stop::RecallRelease;
                crate::stops::service::act(&app, &moderator, stop, &release, "It misses tears.").await.unwrap();
            }
            for (reader, address) in &pages {
                let (_, html) = page(&app, reader, Method::GET, address, "").await;
                assert_eq!(html.contains("Recalled"), recalled, "{address}: {html}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_says_what_was_stopped_and_leads_where_its_reader_may_go() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let nobody = crate::base::auth::Actor::Anonymous;
        let get = async |reader: &crate::base::auth::Actor, path: &str| page(&app, reader, Method::GET, path, "").await;

        // The case of the chain is for those who may see cases.
        for (role, case) in [(Role::Finance, false), (Role::Moderator, true)] {
            let reader = testing::platform(&app, role).await;
            let (status, html) = get(&reader, "/apps/acme/belt").await;
            assert_eq!((status, html.contains("href=\"/admin/cases/")), (200, case), "{role}: {html}");
        }

        let said = "Suspended by the platform";
        assert!(!get(&nobody, "/vendors/acme").await.1.contains(said));
        let mark = crate::site::market::follow::refresh(&app, None).await.unwrap();
        let stop = crate::stops::model::Stop::SuspendOrganization;
        crate::stops::service::act(&app, &admin, stop, shop.vendor.organization_id().unwrap(), "Two complaints.").await.unwrap();
        assert_ne!(crate::site::market::follow::refresh(&app, Some(&mark)).await.unwrap(), mark);
        let (status, html) = get(&nobody, "/vendors/acme").await;
        assert!(status == 200 && html.contains(said) && !html.contains("No listed apps") && !html.contains("Two complaints"), "{html}");
    })
    .await;
}

/// Says of all uploads that something of them has arrived.
async fn arrived(app: &crate::base::app::App) {
    use crate::base::db::schema::uploads;
    use diesel::prelude::*;
    let write = app.db.write(|conn| Ok(diesel::update(uploads::table).set(uploads::offset_bytes.eq(5_i64)).execute(conn)?));
    write.await.unwrap();
}
