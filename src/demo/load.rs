//! The demo's people, apps, orders and nodes.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Map;

use super::nodes::Fleet;
use super::publish::{self, to_anyhow};
use super::{SignIn, sets};
use crate::account::service::{self as account, SignUp};
use crate::account::tokens;
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::catalog::plans::{self, PlanForm};
use crate::fleet::service::{DeployInput, create_node, create_site, deploy};
use crate::trade::model::PlaceOrder;
use crate::trade::service as trade;

/// Password of everyone in the demo. The demo listens on loopback only.
const PASSWORD: &str = "pithead-demo-2026";

/// The demo's actors.
#[derive(Debug, Default)]
pub struct People {
    /// Actors by role name as in `sign-ins.json`; vendors also by slug.
    actors: HashMap<String, Actor>,
    /// Content of `sign-ins.json`.
    pub sign_ins: Vec<SignIn>,
}

impl People {
    /// The actor of a role or vendor slug.
    pub fn get(&self, name: &str) -> anyhow::Result<&Actor> {
        self.actors.get(name).ok_or_else(|| anyhow::anyhow!("no {name} in the demo"))
    }

    async fn add(
        &mut self,
        app: &App,
        names: &[&str],
        email: &str,
        user_id: &str,
        organization_id: &str,
        scopes: &[&str],
    ) -> anyhow::Result<()> {
        let actor = account::actor_for(app, user_id, organization_id).await.map_err(to_anyhow)?;
        let token = tokens::create(app, &actor, "demo", scopes, 365).await.map_err(to_anyhow)?;
        let organization = actor.person().map_err(to_anyhow)?.organization_slug.clone();
        let role = names.first().copied().unwrap_or_default().to_owned();
        self.sign_ins.push(SignIn { role, email: email.to_owned(), password: PASSWORD.to_owned(), organization, token });
        for name in names {
            self.actors.insert((*name).to_owned(), actor.clone());
        }
        Ok(())
    }
}

fn organization(kind: &str, slug: &str, zh: &str, en: &str, person: &str) -> SignUp {
    SignUp {
        email: format!("owner@{slug}.example"),
        name: person.into(),
        password: PASSWORD.into(),
        kind: kind.into(),
        slug: slug.into(),
        name_zh: zh.into(),
        name_en: en.into(),
    }
}

/// Vendors of the demo: slug, names, person, and the apps that they list.
const VENDORS: [(&str, &str, &str, &str, &[&str]); 3] = [
    (
        "heitan-vision",
        "黑炭视觉科技",
        "Heitan Vision",
        "韩雪",
        &["belt-foreign-object", "smoke-fire", "walk-drive-conflict", "gangue-sorting"],
    ),
    ("ordos-signal", "鄂尔多斯信号智能", "Ordos Signal", "乌日娜", &["hoist-vibration", "roadheader-fault", "roof-weighting"]),
    ("taihang-ai", "太行数智", "Taihang AI", "郭建平", &["drill-cuttings", "coke-quality"]),
];

/// Yearly price per node of each app in yuan.
const PRICES: [(&str, &str); 9] = [
    ("belt-foreign-object", "12,800.00"),
    ("smoke-fire", "9,600.00"),
    ("walk-drive-conflict", "15,600.00"),
    ("gangue-sorting", "18,000.00"),
    ("hoist-vibration", "8,800.00"),
    ("roadheader-fault", "7,600.00"),
    ("roof-weighting", "11,200.00"),
    ("drill-cuttings", "3,200.00"),
    ("coke-quality", "6,400.00"),
];

/// Makes organisations and people.
pub async fn people(app: &App) -> anyhow::Result<People> {
    let mut people = People::default();
    let platform = organization("platform", "pithead", "坑口平台运营", "Pithead operations", "管理员");
    let email = "administrator@pithead.example";
    let platform = SignUp { email: email.into(), ..platform };
    let (user, platform_id) = account::create_platform(app, platform, Role::Administrator).await.map_err(to_anyhow)?;
    people.add(app, &["administrator"], email, &user, &platform_id, &["read"]).await?;
    for (role, name) in [(Role::Moderator, "审核员 林静"), (Role::Finance, "财务 赵敏"), (Role::Auditor, "审计员 孙浩")] {
        let email = format!("{role}@pithead.example");
        let user = account::add_member(app, &platform_id, role, &email, name, PASSWORD).await.map_err(to_anyhow)?;
        people.add(app, &[role.as_str()], &email, &user, &platform_id, &["read"]).await?;
    }
    for (i, (slug, zh, en, person, _)) in VENDORS.iter().enumerate() {
        let input = organization("vendor", slug, zh, en, person);
        let email = input.email.clone();
        let (user, id) = account::sign_up(app, input).await.map_err(to_anyhow)?;
        let names: &[&str] = if i == 0 { &["vendor-owner", slug] } else { &[slug] };
        people.add(app, names, &email, &user, &id, &["read", "publish", "pull"]).await?;
    }
    let mine = organization("operator", "wulan-mine", "乌兰煤矿", "Wulan Mine", "矿长 巴特尔");
    let email = mine.email.clone();
    let (user, mine_id) = account::sign_up(app, mine).await.map_err(to_anyhow)?;
    people.add(app, &["operator-owner"], &email, &user, &mine_id, &["read", "pull", "order", "deploy", "answer"]).await?;
    for (role, name) in [(Role::Member, "调度员 王磊"), (Role::Approver, "副矿长 李强"), (Role::Deployer, "自动化主管 陈曦")]
    {
        let email = format!("{role}@wulan-mine.example");
        let user = account::add_member(app, &mine_id, role, &email, name, PASSWORD).await.map_err(to_anyhow)?;
        let scopes: &[&str] = match role {
            Role::Deployer => &["read", "pull", "deploy", "answer"],
            Role::Member => &["read", "pull", "order", "answer"],
            _ => &["read", "pull", "order"],
        };
        people.add(app, &[&format!("operator-{role}")], &email, &user, &mine_id, scopes).await?;
    }
    Ok(people)
}

/// Makes the hidden test sets, publishes the nine apps with their plans, and buys three of them for the mine.
pub async fn market(app: &App, folder: &Path, people: &People) -> anyhow::Result<()> {
    let moderator = people.get("moderator")?;
    sets::make(app, folder, people.get("administrator")?).await?;
    let mut uploaded = Vec::new();
    for (slug, _, _, _, apps) in VENDORS {
        let vendor = people.get(slug)?;
        for name in apps {
            let files = publish::read_folder(&folder.join(name))?;
            uploaded.push((vendor, *name, publish::upload(app, vendor, &files).await?));
        }
    }
    for (vendor, name, release_id) in uploaded {
        publish::checked(app, &release_id).await?;
        publish::approve(app, vendor, moderator, &release_id, "金标样本全部复现，延迟和内存符合要求。").await?;
        let price = PRICES.iter().find(|(n, _)| *n == name).map_or("9,999.00", |(_, p)| p);
        add_plans(app, vendor, name, price).await?;
        println!("  listed {name}");
    }
    sets::scored(app).await
}

/// Adds three plans: a yearly subscription, a perpetual licence at three times the price, and a trial.
pub async fn add_plans(app: &App, vendor: &Actor, slug: &str, yearly: &str) -> anyhow::Result<()> {
    let fen = crate::catalog::model::parse_yuan(yearly).unwrap_or(0);
    let perpetual = format!("{}.00", fen * 3 / 100);
    let plan =
        |kind: &str, price: &str| PlanForm { kind: kind.into(), price: price.into(), trial_days: "30".into(), trial_nodes: "2".into() };
    for form in [plan("subscription", yearly), plan("perpetual", &perpetual), plan("trial", "")] {
        plans::add(app, vendor, slug.to_owned(), &form).await.map_err(to_anyhow)?;
    }
    Ok(())
}

/// Orders a plan of an app for the mine, pays it, and gives the licence's id.
async fn buy(app: &App, people: &People, vendor: &str, slug: &str, nodes: i64, serial: &str) -> anyhow::Result<String> {
    let (vendor_slug, app_slug) = (vendor.to_owned(), slug.to_owned());
    let plan = app
        .db
        .read(move |conn| {
            let listing = crate::catalog::service::find_listing(conn, &vendor_slug, &app_slug)?;
            let plans = crate::catalog::service::list_plans(conn, &listing.id)?;
            plans
                .into_iter()
                .find(|p| p.kind == crate::catalog::model::PlanKind::Subscription)
                .ok_or_else(|| crate::base::error::Error::not_found("plan"))
        })
        .await
        .map_err(to_anyhow)?;
    let amount = plan.price_fen * nodes;
    let order_id = trade::place(app, people.get("operator-owner")?, PlaceOrder { plan_id: plan.id, nodes }).await.map_err(to_anyhow)?;
    let receipt = trade::ReceiptInput {
        amount: format!("{}.{:02}", amount / 100, amount % 100),
        bank_serial: serial.to_owned(),
        payer: "乌兰煤矿有限责任公司".to_owned(),
        accept_excess: false,
    };
    trade::confirm_payment(app, people.get("finance")?, &order_id, &receipt).await.map_err(to_anyhow)?;
    let license = app
        .db
        .read(move |conn| {
            use crate::base::db::schema::licenses::dsl;
            use diesel::prelude::*;
            Ok(dsl::licenses.filter(dsl::order_id.eq(order_id)).select(dsl::id).first::<String>(conn)?)
        })
        .await
        .map_err(to_anyhow)?;
    Ok(license)
}

/// The demo's nodes: name, and the apps deployed there.
const NODES: [(&str, &[(&str, &str)]); 3] = [
    ("地面机房", &[("heitan-vision", "belt-foreign-object"), ("taihang-ai", "coke-quality")]),
    ("主斜井皮带机头", &[("heitan-vision", "belt-foreign-object"), ("heitan-vision", "smoke-fire")]),
    ("3203 综采面", &[("ordos-signal", "roof-weighting")]),
];

/// Makes the site and its nodes, enrols and starts the agents, buys licences and deploys.
pub async fn fleet(app: &App, people: &People, fleet: &mut Fleet) -> anyhow::Result<()> {
    let owner = people.get("operator-owner")?;
    let site = create_site(app, owner, "乌兰煤矿").await.map_err(to_anyhow)?;
    let mut node_ids = Vec::new();
    for (name, _) in NODES {
        let issued = create_node(app, owner, &site, name).await.map_err(to_anyhow)?;
        fleet.enroll(app, node_ids.len(), &issued.code).await?;
        node_ids.push(issued.node_id);
    }
    fleet.start_all()?;
    // The wizard offers only nodes that fit, so wait until the agents have reported their hardware.
    for _ in 0..100 {
        let ids = node_ids.clone();
        let told: i64 = app
            .db
            .read(move |conn| {
                use crate::base::db::schema::nodes::dsl;
                use diesel::prelude::*;
                Ok(dsl::nodes.filter(dsl::id.eq_any(ids).and(dsl::capabilities.is_not_null())).count().get_result(conn)?)
            })
            .await
            .map_err(to_anyhow)?;
        if usize::try_from(told).unwrap_or(0) == node_ids.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut wanted: Vec<(&str, &str)> = NODES.iter().flat_map(|(_, apps)| apps.iter().copied()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    for (i, (vendor, slug)) in wanted.into_iter().enumerate() {
        let license_id = buy(app, people, vendor, slug, 3, &format!("ICBC2026112300{i:02}")).await?;
        let (vendor_slug, app_slug) = (vendor.to_owned(), slug.to_owned());
        let release_id = app
            .db
            .read(move |conn| {
                crate::catalog::service::find_listing(conn, &vendor_slug, &app_slug)?
                    .release_id
                    .ok_or_else(|| crate::base::error::Error::not_found("release"))
            })
            .await
            .map_err(to_anyhow)?;
        let targets =
            NODES.iter().zip(&node_ids).filter(|((_, apps), _)| apps.contains(&(vendor, slug))).map(|(_, id)| id.clone()).collect();
        let input = DeployInput { release_id, license_id, node_ids: targets, parameters: Map::new() };
        deploy(app, people.get("operator-deployer")?, input).await.map_err(to_anyhow)?;
        println!("  deployed {slug}");
    }
    Ok(())
}
