//! The two indices of an adapter, and the queries that go with them.

use tributary_attribution::{
    Builder, ContributionId, Index, IndexError, Query, Sketch, SpanBuilder, SpanIndex,
};

use crate::config::ModelConfig;
use crate::engine::IndexSpec;
use crate::error::{EngineError, Result};
use crate::gradients::{projected_gradients, record_gradients, GradientOptions, TwoSided};
use crate::lora::Adapter;
use crate::model::BaseModel;
use crate::record::Sample;

/// Numbers of an adapter up to which whole gradients are sketched: there, the product of a record's
/// factors costs less than the passes, and nothing is lost before the sketch.
pub const WHOLE_MAX: u64 = 1 << 22;
/// Numbers that a gradient matrix keeps along its side of length `rank` in a larger adapter.
pub const RANK_SIDE: i64 = 4;
/// The same, along its other side.
pub const WIDE_SIDE: i64 = 16;

/// What of a gradient an index's sketch is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GradientSpace {
    /// All of its numbers.
    Whole(u64),
    /// Its projection from two sides, matrix by matrix.
    TwoSided(TwoSided),
}

impl GradientSpace {
    /// The space for a new index of an adapter: whole gradients up to [`WHOLE_MAX`] numbers.
    pub fn choose(adapter: &Adapter, model: &ModelConfig, seed: u64) -> Result<Self> {
        match adapter.flat().numel() as u64 {
            numbers if numbers <= WHOLE_MAX => Ok(Self::Whole(numbers)),
            _ => Self::two_sided(adapter, model, seed),
        }
    }

    /// The two-sided space, whatever the adapter's size.
    pub fn two_sided(adapter: &Adapter, model: &ModelConfig, seed: u64) -> Result<Self> {
        let lora = adapter.config();
        Ok(Self::TwoSided(TwoSided::new(lora, model, RANK_SIDE, WIDE_SIDE, seed)?))
    }

    /// The space that an index of this adapter was made in, told by the numbers its sketch takes.
    pub fn of(sketch: &Sketch, adapter: &Adapter, model: &ModelConfig) -> Result<Self> {
        let expected = adapter.flat().numel() as u64;
        if sketch.input == expected {
            return Ok(Self::Whole(expected));
        }
        let space = Self::two_sided(adapter, model, sketch.seed)?;
        match space.numbers() == sketch.input {
            true => Ok(space),
            false => Err(IndexError::Length { expected, found: sketch.input }.into()),
        }
    }

    /// Numbers of a gradient in this space: what the sketch takes.
    pub fn numbers(&self) -> u64 {
        match self {
            Self::Whole(numbers) => *numbers,
            Self::TwoSided(projection) => projection.dims() as u64,
        }
    }

    /// Calls `each(index, gradient)` for every sample, in no given order.
    pub fn gradients(
        &self,
        base: &BaseModel,
        adapter: &Adapter,
        samples: &[Sample],
        each: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let options = GradientOptions::default();
        match self {
            Self::Whole(_) => record_gradients(base, adapter, samples, options, each),
            Self::TwoSided(p) => projected_gradients(base, adapter, samples, options, p, each),
        }
    }
}

/// Records of a job in the order of the index, and whose they are.
#[derive(Debug, Clone, Copy)]
pub struct Corpus<'a> {
    /// Tokens of each record.
    pub samples: &'a [Sample],
    /// Contribution number of each record.
    pub owners: &'a [u32],
    /// Ids of the contributions, in the order of their numbers.
    pub contributions: &'a [ContributionId],
}

/// Builds the influence index of an adapter over the records it was trained on. `on_record` is
/// called with the number of records done.
pub fn build_influence(
    base: &BaseModel,
    adapter: &Adapter,
    corpus: Corpus,
    spec: &IndexSpec,
    space: &GradientSpace,
    on_record: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Index> {
    let sketch = Sketch { seed: spec.seed, input: space.numbers(), dims: spec.dims };
    let ids = corpus.contributions.to_vec();
    let count = corpus.samples.len() as u32;
    let mut builder = Builder::new(sketch, spec.lambda_millionths, ids, count)?;
    let mut done = 0;
    space.gradients(base, adapter, corpus.samples, &mut |row, gradient| {
        let owner = *corpus.owners.get(row).ok_or(IndexError::NoDirection(row as u64))?;
        builder.set(row as u32, owner, gradient)?;
        done += 1;
        on_record(done)
    })?;
    Ok(builder.build()?)
}

/// Queries for several answers of one adapter, in one pass over the model; in the order of
/// `samples`.
pub fn queries(
    base: &BaseModel,
    adapter: &Adapter,
    index: &Index,
    samples: &[Sample],
) -> Result<Vec<Query>> {
    let sketch = index.sketch();
    let space = GradientSpace::of(&sketch, adapter, base.config())?;
    let mut found: Vec<Option<Query>> = vec![None; samples.len()];
    space.gradients(base, adapter, samples, &mut |i, gradient| {
        let query = Query::from_gradient(gradient, &sketch)?;
        if let Some(place) = found.get_mut(i) {
            *place = Some(query);
        }
        Ok(())
    })?;
    found.into_iter().map(|q| q.ok_or_else(|| IndexError::NoQuery.into())).collect()
}

/// Builds the span index over the records' tokens, cut as they were trained on.
pub fn build_spans(corpus: Corpus) -> Result<SpanIndex> {
    let mut builder = SpanBuilder::new(corpus.contributions.to_vec())?;
    for (index, (sample, owner)) in corpus.samples.iter().zip(corpus.owners).enumerate() {
        builder.push(*owner, &span_tokens(&sample.tokens, index)?)?;
    }
    Ok(builder.build()?)
}

/// Token ids as the span index takes them; `index` names the record in errors.
pub fn span_tokens(tokens: &[i64], index: usize) -> Result<Vec<u32>> {
    let narrow = |t: &i64| {
        let reason = format!("{t} is no token id");
        u32::try_from(*t).map_err(|_| EngineError::Record { index, reason })
    };
    tokens.iter().map(narrow).collect()
}
