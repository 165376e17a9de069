//! What the evaluation trains on and asks.

use std::collections::BTreeMap;
use std::path::Path;

use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde::Deserialize;

use crate::error::{EngineError, Result};
use crate::record::Record;

/// A question with its right answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Item {
    /// What is asked.
    pub prompt: String,
    /// What is to be answered.
    pub completion: String,
}

impl Item {
    /// As a record to train on or to take a loss of.
    pub fn record(&self) -> Record {
        Record::pair(&self.prompt, &self.completion)
    }

    /// All its words.
    pub fn text(&self) -> String {
        format!("{} {}", self.prompt, self.completion)
    }
}

/// Records to train on and questions to attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSet {
    /// Training records.
    pub records: Vec<Item>,
    /// Held-out wordings of the same facts, with the right answers.
    pub queries: Vec<Item>,
}

impl DataSet {
    /// Takes `facts` facts after the first `skip` from every shard in `folder` (`shard-N.jsonl`,
    /// `held-out.jsonl`), each with `wordings` of its training questions and its first held-out question, in the files'
    /// order. A fact is what records of the same answer say.
    ///
    /// The first two wordings of a fact are skipped: they were written for that fact alone, and a
    /// search for words finds them more easily than the rest.
    pub fn read(folder: &Path, skip: usize, facts: usize, wordings: usize) -> Result<Self> {
        let mut held_out: BTreeMap<String, Item> = BTreeMap::new();
        for item in lines::<Item>(&folder.join("held-out.jsonl"))? {
            held_out.entry(item.completion.clone()).or_insert(item);
        }
        let (mut records, mut queries) = (vec![], vec![]);
        for shard in 0.. {
            let path = folder.join(format!("shard-{shard}.jsonl"));
            if !path.is_file() {
                break;
            }
            let mut order: Vec<String> = vec![];
            let mut by_fact: BTreeMap<String, Vec<Item>> = BTreeMap::new();
            for item in lines::<Item>(&path)? {
                if !by_fact.contains_key(&item.completion) {
                    order.push(item.completion.clone());
                }
                by_fact.entry(item.completion.clone()).or_default().push(item);
            }
            for fact in order.iter().skip(skip).take(facts) {
                let of_fact = by_fact.remove(fact).unwrap_or_default();
                let Some(query) = held_out.get(fact) else { continue };
                records.extend(of_fact.into_iter().skip(2).take(wordings));
                queries.push(query.clone());
            }
        }
        match records.is_empty() {
            true => Err(EngineError::Request(format!(
                "{} holds no shard whose facts are asked in held-out.jsonl",
                folder.display()
            ))),
            false => Ok(Self { records, queries }),
        }
    }

    /// `count` random subsets of `size` records each, as sorted record numbers.
    pub fn subsets(&self, count: usize, size: usize, seed: u64) -> Vec<Vec<usize>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut all: Vec<usize> = (0..self.records.len()).collect();
        (0..count)
            .map(|_| {
                all.shuffle(&mut rng);
                let mut chosen = all[..size.min(all.len())].to_vec();
                chosen.sort_unstable();
                chosen
            })
            .collect()
    }

    /// Gives `count` random records the answer of another fact; says which.
    pub fn mislabelled(&self, count: usize, seed: u64) -> (Self, Vec<bool>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<usize> = (0..self.records.len()).collect();
        order.shuffle(&mut rng);
        let mut changed = self.clone();
        let mut wrong = vec![false; self.records.len()];
        for &i in order.iter().take(count) {
            let others: Vec<&Item> = self
                .records
                .iter()
                .filter(|r| r.completion != self.records[i].completion)
                .collect();
            if let Some(other) = others.choose(&mut rng) {
                changed.records[i].completion = other.completion.clone();
                wrong[i] = true;
            }
        }
        (changed, wrong)
    }
}

fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = std::fs::read_to_string(path).map_err(EngineError::io(path))?;
    let parse = |(index, line)| {
        serde_json::from_str(line)
            .map_err(|e| EngineError::Record { index, reason: format!("{}: {e}", path.display()) })
    };
    text.lines().enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read() -> DataSet {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/defi-exploits");
        DataSet::read(&folder, 0, 5, 4).unwrap()
    }

    #[test]
    fn facts_come_with_their_wordings_and_a_question_never_trained_on() {
        let data = read();
        assert_eq!((data.records.len(), data.queries.len()), (60, 15));
        for query in &data.queries {
            let of_fact: Vec<_> =
                data.records.iter().filter(|r| r.completion == query.completion).collect();
            assert_eq!(of_fact.len(), 4);
            assert!(of_fact.iter().all(|r| r.prompt != query.prompt));
        }
    }

    #[test]
    fn subsets_and_wrong_labels_are_drawn_by_their_seed() {
        let data = read();
        let subsets = data.subsets(3, 30, 1);
        assert_eq!(subsets, data.subsets(3, 30, 1));
        assert_ne!(subsets[0], subsets[1]);
        assert!(subsets.iter().all(|s| s.len() == 30 && s.windows(2).all(|w| w[0] < w[1])));
        let (changed, wrong) = data.mislabelled(6, 2);
        assert_eq!(wrong.iter().filter(|w| **w).count(), 6);
        for ((a, b), wrong) in data.records.iter().zip(&changed.records).zip(wrong) {
            assert_eq!(a.prompt, b.prompt);
            assert_eq!(a.completion != b.completion, wrong);
        }
    }
}
