//! BM25: attribution by words alone.

use std::collections::BTreeMap;

/// Term saturation and length normalisation, at their usual values (Robertson and Zaragoza, "The
/// Probabilistic Relevance Framework: BM25 and Beyond", 2009).
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// Word counts of a collection.
pub(super) struct Bm25 {
    documents: Vec<BTreeMap<String, usize>>,
    lengths: Vec<f64>,
    mean_length: f64,
    /// In how many documents each word stands.
    spread: BTreeMap<String, usize>,
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase)
}

impl Bm25 {
    pub(super) fn new(texts: &[String]) -> Self {
        let mut documents = Vec::with_capacity(texts.len());
        let mut lengths = Vec::with_capacity(texts.len());
        let mut spread = BTreeMap::new();
        for text in texts {
            let mut counts = BTreeMap::new();
            words(text).for_each(|w| *counts.entry(w).or_insert(0usize) += 1);
            counts.keys().for_each(|w| *spread.entry(w.clone()).or_insert(0) += 1);
            lengths.push(counts.values().sum::<usize>() as f64);
            documents.push(counts);
        }
        let mean_length = super::statistics::mean(&lengths);
        Self { documents, lengths, mean_length, spread }
    }

    /// The score of every document for a query:
    /// `Σ_w ln(1 + (N − n_w + ½)/(n_w + ½)) · f (k₁ + 1) / (f + k₁ (1 − b + b l/l̄))`.
    pub(super) fn scores(&self, query: &str) -> Vec<f64> {
        let mut scores = vec![0.0; self.documents.len()];
        let total = self.documents.len() as f64;
        for word in words(query) {
            let Some(&n) = self.spread.get(&word) else { continue };
            let n = n as f64;
            let weight = (1.0 + (total - n + 0.5) / (n + 0.5)).ln();
            for ((score, counts), length) in
                scores.iter_mut().zip(&self.documents).zip(&self.lengths)
            {
                if let Some(&f) = counts.get(&word) {
                    let f = f as f64;
                    let norm = K1 * (1.0 - B + B * length / self.mean_length);
                    *score += weight * f * (K1 + 1.0) / (f + norm);
                }
            }
        }
        scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_words_and_short_documents_count_more() {
        let texts = ["the cat sat", "the dog sat on the mat for long", "the cat"]
            .map(String::from)
            .to_vec();
        let index = Bm25::new(&texts);
        let scores = index.scores("The CAT!");
        assert!(scores[2] > scores[0] && scores[0] > scores[1], "{scores:?}");
        assert!(scores[1] > 0.0, "it has a common word");
        // ln(1 + 1.5/2.5) · 2.2 / (1 + 1.2 · (0.25 + 0.75 · 2/(13/3)))
        let cat =
            (1.0f64 + 1.5 / 2.5).ln() * 2.2 / (1.0 + 1.2 * (0.25 + 0.75 * 2.0 / (13.0 / 3.0)));
        assert!((index.scores("cat")[2] - cat).abs() < 1e-12);
        assert_eq!(index.scores("horse"), [0.0; 3]);
    }
}
