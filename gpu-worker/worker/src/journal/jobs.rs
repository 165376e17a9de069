//! Jobs that this worker claimed.

use super::{decoded, encoded, from_sql, to_sql, Journal};
use crate::error::{Result, WorkerError};
use rusqlite::{params, Connection, OptionalExtension};
use tributary_primitives::{jobs::JobResult, JobId};

/// How far a job came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobStep {
    /// The lease was asked for; the chain knows whether it was given.
    Claiming,
    /// It is being trained, or was when the worker stopped.
    Training,
    /// Its result is in the object store; it may have been submitted.
    Trained,
    /// The chain has the result and it may be challenged.
    Submitted,
    /// The worker was paid.
    Done,
    /// It was given up; the note says why.
    GivenUp,
}

impl JobStep {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Claiming, "claiming"),
        (Self::Training, "training"),
        (Self::Trained, "trained"),
        (Self::Submitted, "submitted"),
        (Self::Done, "done"),
        (Self::GivenUp, "given_up"),
    ];

    /// Name in the journal and in the API.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(step, _)| *step == self).map_or("", |(_, name)| name)
    }

    fn parse(name: &str) -> Result<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(step, _)| *step)
            .ok_or_else(|| WorkerError::damaged("job", format!("step `{name}`")))
    }

    /// Whether nothing is left to do.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::GivenUp)
    }
}

/// A job in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// The job.
    pub id: JobId,
    /// How far it came.
    pub step: JobStep,
    /// Its result, once it is trained.
    pub result: Option<JobResult>,
    /// Why it was given up, or what failed last.
    pub note: String,
}

impl Journal {
    /// Notes the step that a job reached, and what there is to say about it.
    pub fn set_job(
        &self,
        id: JobId,
        step: JobStep,
        result: Option<&JobResult>,
        note: &str,
    ) -> Result<()> {
        self.write(|tx| {
            tx.execute(
                "INSERT INTO jobs (id, step, result, note) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET
                 step = ?2, result = coalesce(?3, result), note = ?4",
                params![to_sql(id.0), step.name(), result.map(encoded), note],
            )?;
            Ok(())
        })
    }

    /// Forgets a job whose lease was asked for and never given.
    pub fn forget_job(&self, id: JobId) -> Result<()> {
        self.write(|tx| {
            tx.execute("DELETE FROM jobs WHERE id = ?1", [to_sql(id.0)])?;
            Ok(())
        })
    }

    /// One job.
    pub fn job(&self, id: JobId) -> Result<Option<JobRow>> {
        Ok(self.read(|c| jobs(c, "id = ?1", to_sql(id.0)))?.into_iter().next())
    }

    /// Jobs with something left to do, oldest first.
    pub fn unfinished_jobs(&self) -> Result<Vec<JobRow>> {
        self.read(|c| jobs(c, "step NOT IN ('done', 'given_up') AND ?1 = 0", 0))
    }

    /// A number that is remembered by name, such as a scan's position.
    pub fn number(&self, name: &str) -> Result<Option<u64>> {
        self.read(|c| {
            let text: Option<String> = c
                .query_row("SELECT value FROM meta WHERE key = ?1", [name], |row| row.get(0))
                .optional()?;
            text.map(|t| t.parse().map_err(|e| WorkerError::damaged("meta", e))).transpose()
        })
    }

    /// Remembers a number by name.
    pub fn set_number(&self, name: &str, value: u64) -> Result<()> {
        self.write(|tx| {
            tx.execute(
                "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
                params![name, value.to_string()],
            )?;
            Ok(())
        })
    }
}

fn jobs(connection: &Connection, condition: &str, key: i64) -> Result<Vec<JobRow>> {
    type Raw = (i64, String, Option<Vec<u8>>, String);
    let rows: Vec<Raw> = connection
        .prepare_cached(&format!(
            "SELECT id, step, result, note FROM jobs WHERE {condition} ORDER BY id"
        ))?
        .query_map([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<rusqlite::Result<_>>()?;
    rows.into_iter()
        .map(|(id, step, result, note)| {
            Ok(JobRow {
                id: JobId(from_sql(id)),
                step: JobStep::parse(&step)?,
                result: result.map(|bytes| decoded("job", &bytes)).transpose()?,
                note,
            })
        })
        .collect()
}
