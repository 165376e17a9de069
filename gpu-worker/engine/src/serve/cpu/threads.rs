//! A few threads that share the tasks of one operation after another.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Turns of waiting before a thread goes to sleep: some ten microseconds, about what lies
/// between two operations of a pass.
const SPINS: usize = 4000;

type Task = dyn Fn(usize) + Sync;

#[derive(Clone, Copy)]
struct Job {
    /// Lives as long as `run`, which waits for all who took it.
    task: *const Task,
    tasks: usize,
}

// SAFETY: the task is `Sync`, and `run` keeps it alive while anybody holds the job.
unsafe impl Send for Job {}

#[derive(Default)]
struct State {
    job: Option<Job>,
    /// Threads that must be woken for a job.
    asleep: usize,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    /// Counts jobs, so that a waiting thread sees a new one without the lock.
    epoch: AtomicUsize,
    next: AtomicUsize,
    active: AtomicUsize,
    failed: AtomicBool,
}

/// Threads for the tasks of one operation; the calling thread is one of them.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Threads {
    /// `count` threads, the caller among them.
    pub(crate) fn new(count: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let worker = |number: usize| {
            let shared = shared.clone();
            let named = std::thread::Builder::new().name(format!("engine-cpu-{number}"));
            // Where no thread can be had, the others do its work.
            named.spawn(move || work(&shared)).ok()
        };
        let workers = (1..count.max(1)).filter_map(worker).collect();
        Self { shared, workers }
    }

    /// Runs `task(0)` to `task(tasks - 1)`, on several threads when `together` says that it is
    /// worth it, and returns when all are done. Panics when one of them does.
    pub(crate) fn run(&self, tasks: usize, together: bool, task: &(dyn Fn(usize) + Sync)) {
        if tasks < 2 || !together || self.workers.is_empty() {
            (0..tasks).for_each(task);
            return;
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime is forgotten. Below, the job is taken back and all who took
        // it are waited for before this function returns or unwinds.
        let task: &'static Task =
            unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync + '_), &'static Task>(task) };
        shared.next.store(0, Ordering::Relaxed);
        let mut state = lock(shared);
        state.job = Some(Job { task, tasks });
        shared.epoch.fetch_add(1, Ordering::Release);
        if state.asleep > 0 {
            shared.wake.notify_all();
        }
        drop(state);
        share(shared, Job { task, tasks });
        lock(shared).job = None;
        let mut spins = 0;
        while shared.active.load(Ordering::Acquire) > 0 {
            // On a busy machine whoever has the last task may be off its core.
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        if shared.failed.swap(false, Ordering::Relaxed) {
            panic!("a task of an operation failed");
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        lock(&self.shared).ended = true;
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join(); // a worker catches what its tasks throw
        }
    }
}

/// Takes tasks until none is left.
fn share(shared: &Shared, job: Job) {
    // SAFETY: `run` has not returned, see there.
    let task = unsafe { &*job.task };
    let all = catch_unwind(AssertUnwindSafe(|| loop {
        let index = shared.next.fetch_add(1, Ordering::Relaxed);
        if index >= job.tasks {
            break;
        }
        task(index);
    }));
    if all.is_err() {
        shared.next.store(job.tasks, Ordering::Relaxed);
        shared.failed.store(true, Ordering::Relaxed);
    }
}

fn work(shared: &Shared) {
    let mut seen = 0;
    loop {
        let mut spins = 0;
        while shared.epoch.load(Ordering::Acquire) == seen && spins < SPINS {
            std::hint::spin_loop();
            spins += 1;
        }
        let mut state = lock(shared);
        while shared.epoch.load(Ordering::Acquire) == seen && !state.ended {
            state.asleep += 1;
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep -= 1;
        }
        if state.ended {
            return;
        }
        seen = shared.epoch.load(Ordering::Acquire);
        // Counted under the lock: `run` takes the job back under it before it looks.
        let Some(job) = state.job else { continue };
        shared.active.fetch_add(1, Ordering::AcqRel);
        drop(state);
        share(shared, job);
        shared.active.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_and_a_failure_is_told() {
        for count in [1, 2, 5] {
            let threads = Threads::new(count);
            for round in 0..300 {
                let seen: Vec<AtomicUsize> = (0..round % 40).map(|_| AtomicUsize::new(0)).collect();
                threads.run(seen.len(), true, &|i| {
                    seen[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(seen.iter().all(|s| s.load(Ordering::Relaxed) == 1));
            }
            let told = catch_unwind(AssertUnwindSafe(|| {
                threads.run(8, true, &|i| assert!(i != 5, "five"));
            }));
            assert!(told.is_err());
            threads.run(8, true, &|_| {});
        }
    }
}
