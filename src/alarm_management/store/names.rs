//! Queries of what things are called, where they are, and what a desk can be narrowed to.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::MOST_SUBJECTS;
use crate::alarm_management::model::{source_subject, split_subject};
use crate::base::db::schema::{apps, deployments, licenses, node_sources, nodes, sites};
use crate::base::db::{Conn, Timestamp};
use crate::base::i18n::Names;
use crate::fleet::model::NodeState;

/// Nodes with their names and sites.
pub fn node_names(conn: &mut Conn, ids: &[String]) -> QueryResult<BTreeMap<String, (String, String)>> {
    let rows: Vec<(String, String, String)> = nodes::table
        .inner_join(sites::table.on(sites::id.eq(nodes::site_id)))
        .filter(nodes::id.eq_any(ids))
        .select((nodes::id, nodes::name, sites::name))
        .load(conn)?;
    Ok(rows.into_iter().map(|(id, node, site)| (id, (node, site))).collect())
}

/// What people call the sources of nodes, by the subject of their alarms.
pub fn source_names(conn: &mut Conn, node_ids: &[String]) -> QueryResult<BTreeMap<String, String>> {
    let rows: Vec<(String, String, String)> = node_sources::table
        .filter(node_sources::node_id.eq_any(node_ids))
        .select((node_sources::node_id, node_sources::source_id, node_sources::name))
        .load(conn)?;
    Ok(rows.into_iter().map(|(node, source, name)| (source_subject(&node, &source), name)).collect())
}

/// Deployments: the node, and the titles of their app.
pub fn deployment_names(conn: &mut Conn, ids: &[String]) -> QueryResult<BTreeMap<String, (String, String, String)>> {
    let rows: Vec<(String, String, String, String)> = deployments::table
        .inner_join(apps::table.on(apps::id.eq(deployments::app_id)))
        .filter(deployments::id.eq_any(ids))
        .select((deployments::id, deployments::node_id, apps::title_zh, apps::title_en))
        .load(conn)?;
    Ok(rows.into_iter().map(|(id, node, zh, en)| (id, (node, zh, en))).collect())
}

/// Licences: the titles of their app.
pub fn license_names(conn: &mut Conn, ids: &[String]) -> QueryResult<BTreeMap<String, (String, String)>> {
    let rows: Vec<(String, String, String)> = licenses::table
        .inner_join(apps::table.on(apps::id.eq(licenses::app_id)))
        .filter(licenses::id.eq_any(ids))
        .select((licenses::id, apps::title_zh, apps::title_en))
        .load(conn)?;
    Ok(rows.into_iter().map(|(id, zh, en)| (id, (zh, en))).collect())
}

/// Enrolled nodes of an organisation: id, site, last call.
pub fn nodes_of(conn: &mut Conn, owner: &str) -> QueryResult<Vec<(String, String, Option<Timestamp>)>> {
    nodes::table
        .inner_join(sites::table.on(sites::id.eq(nodes::site_id)))
        .filter(nodes::organization_id.eq(owner).and(nodes::state.eq(NodeState::Enrolled)))
        .order(nodes::id)
        .select((nodes::id, sites::name, nodes::seen_at))
        .limit(MOST_SUBJECTS)
        .load(conn)
}

/// Apps that should run, by deployment: the node, and the specialty that the app is of.
pub fn specialties_of(conn: &mut Conn, owner: &str) -> QueryResult<Vec<(String, String, String)>> {
    deployments::table
        .inner_join(apps::table.on(apps::id.eq(deployments::app_id)))
        .filter(deployments::organization_id.eq(owner).and(deployments::wanted.eq(true)))
        .order(deployments::id)
        .select((deployments::id, deployments::node_id, apps::specialty))
        .limit(MOST_SUBJECTS)
        .load(conn)
}

/// Sites and apps that a desk can be narrowed to: id and names.
pub fn places(conn: &mut Conn, owner: &str) -> QueryResult<Vec<(String, String)>> {
    sites::table.filter(sites::organization_id.eq(owner)).order(sites::name).select((sites::id, sites::name)).load(conn)
}

pub fn apps_of(conn: &mut Conn, owner: &str) -> QueryResult<Vec<(String, String, String)>> {
    deployments::table
        .inner_join(apps::table.on(apps::id.eq(deployments::app_id)))
        .filter(deployments::organization_id.eq(owner))
        .select((apps::id, apps::title_zh, apps::title_en))
        .distinct()
        .order(apps::id)
        .limit(200)
        .load(conn)
}

/// Where subjects are: `site · node`, with the camera where there is one, and the title of an app; of a licence the app alone.
pub fn subject_names(conn: &mut Conn, subjects: &[String]) -> QueryResult<BTreeMap<String, (String, Names)>> {
    let deployments = deployment_names(conn, subjects)?;
    let of_subjects = subjects.iter().map(|subject| split_subject(subject).0.to_owned());
    let node_ids: Vec<String> = of_subjects.chain(deployments.values().map(|(node, ..)| node.clone())).collect();
    let nodes = node_names(conn, &node_ids)?;
    let sources = source_names(conn, &node_ids)?;
    let licenses = license_names(conn, subjects)?;
    let place = |node: &str| nodes.get(node).map(|(name, site)| format!("{site} · {name}")).unwrap_or_default();
    let named = |subject: &String| {
        let found = match (deployments.get(subject), licenses.get(subject)) {
            (Some((node, zh, en)), _) => (place(node), Names { zh: zh.clone(), en: en.clone() }),
            (None, Some((zh, en))) => (String::new(), Names { zh: zh.clone(), en: en.clone() }),
            (None, None) => {
                let (node, source) = split_subject(subject);
                let source = source.map(|id| sources.get(subject).map_or(id, String::as_str));
                let place = source.map_or_else(|| place(node), |source| format!("{} · {source}", place(node)));
                (place, Names { zh: String::new(), en: String::new() })
            }
        };
        (subject.clone(), found)
    };
    Ok(subjects.iter().map(named).collect())
}
