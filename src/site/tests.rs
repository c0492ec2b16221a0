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
            let (found, file) = (without_lots(&part.replace(&app.keys.kid, "#key")), folder.join(format!("{name}.html")));
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
