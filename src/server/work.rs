//! The table of all background work: each kind of [`Job`] and the slice that does it. A kind that is missing here does not compile.

use chrono::TimeDelta;
use futures_util::future::BoxFuture;

use crate::base::app::App;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::Result;
use crate::base::jobs::{Job, Worker};
use crate::{account, catalog, draft, evaluation, fleet, notice, registry, release, stops};

/// Time after which what nodes must hear of is tried anew.
const AGAIN: TimeDelta = TimeDelta::minutes(10);

/// The worker of all lanes.
pub const WORKER: Worker = Worker { run, give_up };

fn run<'a>(app: &'a App, job: &'a Job) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        match job {
            Job::CheckRelease { release_id } => release::jobs::check(app, release_id).await,
            Job::MeasureRelease { release_id } => release::measuring::measure(app, release_id).await,
            Job::ReadDraft { draft_id } => draft::jobs::read(app, draft_id).await,
            Job::AnswerDraft { draft_id } => draft::jobs::answer(app, draft_id).await,
            Job::ScoreRelease { release_id } => evaluation::service::score_release(app, release_id).await,
            Job::EvaluateRelease { release_id, set_id } => evaluation::jobs::evaluate(app, release_id, set_id).await,
            Job::EvaluateScenario { set_id, after } => evaluation::jobs::fan_out(app, set_id, after).await,
            Job::RebuildNode { node_id } => fleet::margo::desired::rebuild(app, node_id).await,
            Job::TellNodes { release_id, after } => fleet::margo::recall::tell(app, release_id, after).await,
            Job::TellPeople { release_id, after } => stops::tell::tell(app, release_id, after).await,
            Job::TellFollowers { scenario } => catalog::follows::tell(app, scenario).await,
            Job::ExpireUploads => registry::jobs::expire_uploads(app).await,
            Job::CollectGarbage => registry::jobs::collect_garbage(app).await,
            Job::PruneHistory => super::upkeep::prune(app).await,
            Job::OfferReset { email, lang } => account::passwords::offer_reset(app, email, *lang).await,
            Job::Notify { notice } => notice::jobs::notify(app, notice).await,
            Job::SendMessage { message_id } => notice::jobs::send(app, message_id).await,
        }
    })
}

fn give_up(conn: &mut Conn, job: &Job, now: Timestamp) -> Result<()> {
    match job {
        Job::CheckRelease { release_id } => release::jobs::give_up(conn, release_id, now),
        Job::MeasureRelease { release_id } => release::measuring::give_up(conn, release_id, now),
        Job::EvaluateRelease { release_id, set_id } => evaluation::jobs::give_up(conn, release_id, set_id, now),
        Job::ReadDraft { draft_id } => draft::jobs::give_up_reading(conn, draft_id, now),
        Job::AnswerDraft { draft_id } => draft::jobs::give_up_answering(conn, draft_id, now),
        Job::Notify { notice } => notice::jobs::give_up_notice(conn, notice, now),
        Job::SendMessage { message_id } => notice::jobs::give_up(conn, message_id),
        // Nodes and people must hear of it, however long it takes; but each cause of it adds a job, and those that fail become one.
        Job::RebuildNode { .. } | Job::TellNodes { .. } | Job::TellPeople { .. } | Job::TellFollowers { .. } => {
            job.enqueue_again(conn, now.plus(AGAIN))
        }
        Job::ScoreRelease { .. }
        | Job::EvaluateScenario { .. }
        | Job::ExpireUploads
        | Job::CollectGarbage
        | Job::PruneHistory
        | Job::OfferReset { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use diesel::prelude::*;

    use super::*;
    use crate::base::db::schema::jobs;
    use crate::testing::each_backend;

    #[tokio::test]
    async fn what_nodes_must_hear_of_is_tried_for_ever_by_one_job() {
        each_backend(|app| async move {
            let now = app.clock.now();
            let rebuild = |node_id: &str| Job::RebuildNode { node_id: node_id.to_owned() };
            let waiting = app
                .db
                .write(move |conn| {
                    for job in [rebuild("nod_1"), rebuild("nod_1"), rebuild("nod_2")] {
                        give_up(conn, &job, now)?;
                    }
                    Ok(jobs::table.order(jobs::payload).select((jobs::payload, jobs::run_at)).load::<(String, Timestamp)>(conn)?)
                })
                .await
                .unwrap();
            let expected = ["nod_1", "nod_2"].map(|id| (serde_json::to_string(&rebuild(id)).unwrap(), now.plus(AGAIN)));
            assert_eq!(waiting, expected);
        })
        .await;
    }
}
