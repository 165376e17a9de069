//! Who is next: the adapter that has been served least.
//!
//! Each adapter, and the base itself, has a line of its own and a counter of the tokens that it
//! was given. The line with the lowest counter comes first, so that one popular adapter cannot
//! starve the others. A line that was empty starts at the lowest counter of those that are busy:
//! nobody saves up service by staying away. After Sheng et al., "Fairness in Serving Large
//! Language Models" (2024), the virtual token counter.

use std::collections::{HashMap, VecDeque};

/// What a token of an answer counts for against one of a prompt: it takes a pass of its own.
pub(crate) const ANSWER_WEIGHT: u64 = 2;

/// Whose line: an adapter, or the base.
pub(crate) type Key = Option<String>;

struct Line<T> {
    counter: u64,
    waiting: VecDeque<T>,
    /// Sequences of this line that run.
    running: usize,
    /// Times that others were taken while this line was first and could not be served.
    passed_over: usize,
}

/// Lines of waiting requests.
pub(crate) struct Queue<T> {
    lines: HashMap<Key, Line<T>>,
    waiting: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), waiting: 0 }
    }
}

impl<T> Queue<T> {
    /// Requests that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Puts a request at the end of its line.
    pub(crate) fn push(&mut self, key: Key, item: T) {
        let lowest = self.lines.values().map(|l| l.counter).min().unwrap_or(0);
        let line = self.lines.entry(key).or_insert(Line {
            counter: lowest,
            waiting: VecDeque::new(),
            running: 0,
            passed_over: 0,
        });
        line.waiting.push_back(item);
        self.waiting += 1;
    }

    /// Lines with waiting requests, least served first.
    pub(crate) fn order(&self) -> Vec<Key> {
        let busy = self.lines.iter().filter(|(_, l)| !l.waiting.is_empty());
        let mut keys: Vec<(u64, &Key)> = busy.map(|(key, line)| (line.counter, key)).collect();
        keys.sort();
        keys.into_iter().map(|(_, key)| key.clone()).collect()
    }

    /// Whether a line has waiting requests.
    pub(crate) fn waits(&self, key: &Key) -> bool {
        self.lines.get(key).is_some_and(|l| !l.waiting.is_empty())
    }

    /// Takes the first request of a line, to run it.
    pub(crate) fn pop(&mut self, key: &Key) -> Option<T> {
        let line = self.lines.get_mut(key)?;
        let item = line.waiting.pop_front()?;
        line.running += 1;
        line.passed_over = 0;
        self.waiting -= 1;
        Some(item)
    }

    /// Puts back what [`Self::pop`] gave: it cannot run now.
    pub(crate) fn put_back(&mut self, key: &Key, item: T) {
        if let Some(line) = self.lines.get_mut(key) {
            line.waiting.push_front(item);
            line.running = line.running.saturating_sub(1);
            self.waiting += 1;
        }
    }

    /// Notes tokens of service.
    pub(crate) fn charge(&mut self, key: &Key, tokens: u64) {
        if let Some(line) = self.lines.get_mut(key) {
            line.counter = line.counter.saturating_add(tokens);
        }
    }

    /// Notes that a sequence of this line ended.
    pub(crate) fn ended(&mut self, key: &Key) {
        if let Some(line) = self.lines.get_mut(key) {
            line.running = line.running.saturating_sub(1);
            if line.running == 0 && line.waiting.is_empty() {
                self.lines.remove(key);
            }
        }
    }

    /// Notes that others went before this line, and says how often that happened.
    pub(crate) fn pass_over(&mut self, key: &Key) -> usize {
        let Some(line) = self.lines.get_mut(key) else { return 0 };
        line.passed_over += 1;
        line.passed_over
    }

    /// How often others went before this line.
    pub(crate) fn passed_over(&self, key: &Key) -> usize {
        self.lines.get(key).map_or(0, |l| l.passed_over)
    }

    /// Takes out all waiting requests that `gone` picks.
    pub(crate) fn remove(&mut self, mut gone: impl FnMut(&Key, &T) -> bool) -> Vec<T> {
        let mut removed = vec![];
        for (key, line) in &mut self.lines {
            let before = std::mem::take(&mut line.waiting);
            for item in before {
                match gone(key, &item) {
                    true => removed.push(item),
                    false => line.waiting.push_back(item),
                }
            }
        }
        self.waiting -= removed.len();
        self.lines.retain(|_, l| l.running > 0 || !l.waiting.is_empty());
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Some(name.into())
    }

    #[test]
    fn the_least_served_line_is_first_and_newcomers_start_level() {
        let mut queue = Queue::default();
        for n in 0..100 {
            queue.push(key("popular"), n);
        }
        queue.push(key("rare"), 1000);
        assert_eq!(queue.len(), 101);
        // Equal counters: by name. Then the popular one has been served.
        assert_eq!(queue.pop(&key("popular")), Some(0));
        queue.charge(&key("popular"), 50);
        assert_eq!(queue.order(), [key("rare"), key("popular")]);
        assert_eq!(queue.pop(&key("rare")), Some(1000));
        queue.charge(&key("rare"), 80);
        assert_eq!(queue.order(), [key("popular")]);
        // A newcomer starts at the lowest counter, 50, not at 0.
        queue.push(None, 7);
        queue.charge(&None, 20);
        assert_eq!(queue.order(), [key("popular"), None]);
        queue.ended(&key("rare"));
        queue.push(key("rare"), 1001);
        assert_eq!(queue.order()[0], key("popular"), "leaving and coming back earns nothing");
    }

    #[test]
    fn requests_are_put_back_and_removed() {
        let mut queue = Queue::default();
        (0..6).for_each(|n| queue.push(key("a"), n));
        let first = queue.pop(&key("a")).unwrap();
        queue.put_back(&key("a"), first);
        assert_eq!(queue.remove(|_, n| n % 2 == 1), [1, 3, 5]);
        assert_eq!((queue.len(), queue.pop(&key("a"))), (3, Some(0)));
        assert_eq!(queue.remove(|_, _| true), [2, 4]);
        assert!(queue.is_empty() && queue.order().is_empty());
        queue.ended(&key("a"));
        assert!(queue.lines.is_empty());
        assert_eq!(queue.pop(&key("a")), None);
    }
}
