//! Finding a job and taking its lease.

use super::{Contributions, Runner};
use crate::{
    error::{Result, WorkerError},
    journal::{JobRow, JobStep},
};
use std::{
    collections::HashSet,
    sync::{MutexGuard, PoisonError},
};
use tracing::info;
use tributary_primitives::JobId;

impl Runner {
    /// Takes the lease of an open job that this worker can train. Its records come with it, where
    /// they were read for the first time.
    pub(super) async fn claim(&self) -> Result<Option<(JobRow, Option<Contributions>)>> {
        let bases = self.trainer.bases();
        if bases.is_empty() {
            return Ok(None);
        }
        let Some(me) = self.chain.worker(&self.worker).await? else { return Ok(None) };
        let height = self.chain.height().await?;
        let mut unread = None;
        for job in self.chain.open_jobs().await? {
            let fits = bases.contains(&job.base)
                && job.spec.check().is_ok()
                && job.spec.rank <= me.max_rank
                && job.deadline > height;
            // What failed here once is left to others.
            if !fits || self.journal.job(job.id)?.is_some_and(|row| row.step.is_over()) {
                continue;
            }
            // A lease that is not kept costs stake, so records that cannot be read or do not go
            // together are found out before it is taken.
            let read = self.readable().contains(&job.id);
            let records = match read {
                true => None,
                false => match self.fetch(&job).await {
                    Ok(records) => Some(records),
                    // It would be the same with every other job.
                    Err(
                        error
                        @ (WorkerError::NodeUnreachable(_) | WorkerError::StoreUnreachable(_)),
                    ) => return Err(error),
                    Err(error) => {
                        let waits = self.failed(job.id, error).err();
                        unread = unread.or(waits);
                        continue;
                    }
                },
            };
            self.step(job.id, JobStep::Claiming, None, "")?;
            if let Err(error) = self.chain.claim(job.id).await {
                let now = self.chain.job(job.id).await?;
                if now.as_ref().is_none_or(|job| self.holds(job).is_none()) {
                    info!(job = job.id.0, %error, "the lease was not given");
                    self.journal.forget_job(job.id)?;
                    self.readable().insert(job.id);
                    if error.is_passing() {
                        return Err(error);
                    }
                    continue;
                }
            }
            info!(job = job.id.0, name = %job.name, base = job.base.0, "lease taken");
            self.readable().remove(&job.id);
            return Ok(self.journal.job(job.id)?.map(|row| (row, records)));
        }
        unread.map_or(Ok(None), Err)
    }

    fn readable(&self) -> MutexGuard<'_, HashSet<JobId>> {
        self.readable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
