//! Telling nodes of a recall: the desired state of each node for which the release is wanted is written anew, with the reason in it.

use std::collections::BTreeSet;

use crate::audit;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Result;
use crate::base::jobs::Job;
use crate::fleet::margo::store;

/// Nodes of one run of the job.
const PORTION: i64 = 200;

/// Enqueues the rebuilding of the next nodes for which a release is wanted, and itself for those behind them. A node whose deployment is
/// written meanwhile is rebuilt by that deployment's own job, which reads the recall too.
pub async fn tell(app: &App, release_id: &str, after: &str) -> Result<()> {
    let (release_id, after) = (release_id.to_owned(), after.to_owned());
    audit::change(app, &Actor::System, move |c| {
        let found = store::wanted_after(c, &release_id, &after, PORTION)?;
        // In the order of the nodes, as others take their jobs: of two that write the same ones neither waits for the other in a ring.
        let nodes: BTreeSet<&String> = found.iter().map(|(_, node_id)| node_id).collect();
        // The platform's own: before whatever people have asked for.
        for node_id in nodes {
            c.enqueue(&Job::RebuildNode { node_id: node_id.clone() })?;
        }
        match found.last() {
            Some((last, _)) if i64::try_from(found.len()).unwrap_or(i64::MAX) == PORTION => {
                c.enqueue(&Job::TellNodes { release_id: release_id.clone(), after: last.clone() })
            }
            _ => Ok(()),
        }
    })
    .await
}
