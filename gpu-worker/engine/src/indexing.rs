//! The two indices of an adapter, and the queries that go with them.

use std::path::Path;

use tributary_attribution::{
    Builder, ContributionId, DiskBuilder, Index, IndexError, Query, Sketch, SpanBuilder, SpanIndex,
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

/// A matrix whose gradient is this small a part of the whole (squared) is rounding, not direction.
const NEGLIGIBLE: f64 = 1e-12;

/// Where gradients are taken and how their parts are weighed: [`Index::form`] as a number.
///
/// At the end of training little is left to be learnt of a record, and what is left of its gradient
/// says little of what the record taught. So gradients are **faded**: they are taken on the way
/// from the base to the adapter, where the adapter's change of the base, `B A`, is scaled down to
/// [`FADED`] of itself. Nothing but the adapter is needed for that, unlike with copies made during
/// training.
///
/// Matrices of an adapter differ in the size of their gradients by orders of magnitude, so that a
/// plain inner product sees a few of them only; an optimiser like Adam evens that out. A
/// **balanced** gradient has the part of each matrix scaled to unit length, so that the cosine of
/// two balanced gradients is the mean of the cosines matrix by matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// Whether gradients are taken at a faded adapter, not at the adapter as it is.
    pub faded: bool,
    /// Whether the parts of all matrices have the same length.
    pub balanced: bool,
}

impl Default for Form {
    /// What training jobs use: of the four the one whose parts of ρ do best by the measures of
    /// docs/attribution.md together.
    fn default() -> Self {
        Self { faded: true, balanced: true }
    }
}

/// How much of the adapter's change of the base is left where faded gradients are taken, chosen by
/// trial; docs/attribution.md measures it on other records too.
pub const FADED: f64 = 0.35;

impl Form {
    /// As an index names it.
    fn number(self) -> u32 {
        u32::from(self.balanced) | u32::from(self.faded) << 1
    }

    fn from_number(number: u32) -> Option<Self> {
        (number < 4).then_some(Self { balanced: number & 1 != 0, faded: number & 2 != 0 })
    }
}

/// What of a gradient an index's sketch is made of: all of its numbers or its projection from two
/// sides, in one of the forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GradientSpace {
    projection: Option<TwoSided>,
    form: Form,
    /// Numbers of each matrix, in the order of the flat layout.
    blocks: Vec<usize>,
}

impl GradientSpace {
    /// The space that a training job makes its index in: whole up to [`WHOLE_MAX`] numbers.
    pub fn choose(adapter: &Adapter, model: &ModelConfig, seed: u64) -> Result<Self> {
        match adapter.flat().numel() as u64 {
            numbers if numbers <= WHOLE_MAX => Ok(Self::whole(adapter, model)),
            _ => Self::two_sided(adapter, model, seed),
        }
    }

    /// All numbers, whatever the adapter's size.
    pub fn whole(adapter: &Adapter, model: &ModelConfig) -> Self {
        let shapes = adapter.config().shapes(model);
        let blocks = shapes.iter().map(|[m, n]| (m * n) as usize).collect();
        Self { projection: None, form: Form::default(), blocks }
    }

    /// The projection from two sides, whatever the adapter's size.
    pub fn two_sided(adapter: &Adapter, model: &ModelConfig, seed: u64) -> Result<Self> {
        let projection = TwoSided::new(adapter.config(), model, RANK_SIDE, WIDE_SIDE, seed)?;
        let blocks = projection.blocks();
        Ok(Self { projection: Some(projection), form: Form::default(), blocks })
    }

    /// The same space in another form.
    pub fn with(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// The space that an index of this adapter was made in.
    pub fn of(index: &Index, adapter: &Adapter, model: &ModelConfig) -> Result<Self> {
        let sketch = index.sketch();
        let whole = Self::whole(adapter, model);
        let expected = whole.numbers();
        let space = match sketch.input == expected {
            true => whole,
            false => Self::two_sided(adapter, model, sketch.seed)?,
        };
        if space.numbers() != sketch.input {
            return Err(IndexError::Length { expected, found: sketch.input }.into());
        }
        let form = Form::from_number(index.form()).ok_or_else(|| {
            EngineError::Request(format!(
                "the index holds gradients of form {}, which this version does not make; train \
                 the adapter again or update",
                index.form()
            ))
        })?;
        Ok(space.with(form))
    }

    /// Numbers of a gradient in this space: what the sketch takes.
    pub fn numbers(&self) -> u64 {
        self.blocks.iter().map(|b| *b as u64).sum()
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
        let faded = self.form.faded.then(|| adapter.faded(base.config(), FADED)).transpose()?;
        let adapter = faded.as_ref().unwrap_or(adapter);
        let mut balanced = Vec::new();
        let mut each = |index: usize, gradient: &[f32]| {
            if !self.form.balanced {
                return each(index, gradient);
            }
            balanced.clear();
            balanced.extend_from_slice(gradient);
            balance(&mut balanced, &self.blocks);
            each(index, &balanced)
        };
        match &self.projection {
            None => record_gradients(base, adapter, samples, options, &mut each),
            Some(p) => projected_gradients(base, adapter, samples, options, p, &mut each),
        }
    }
}

/// Scales the part of each matrix to unit length; a negligible part to nothing.
fn balance(gradient: &mut [f32], blocks: &[usize]) {
    let square = |part: &[f32]| part.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let least = square(gradient) * NEGLIGIBLE;
    let mut rest = gradient;
    for size in blocks {
        let Some((part, after)) = rest.split_at_mut_checked(*size) else { return };
        let own = square(part);
        let factor = if own > least { 1.0 / own.sqrt() } else { 0.0 };
        part.iter_mut().for_each(|v| *v = (f64::from(*v) * factor) as f32);
        rest = after;
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

/// Builds the influence index of an adapter over the records it was trained on, and writes it to
/// `path`. `on_record` is called with the number of records done. A `space` that projects from two
/// sides must have been made with the seed of `spec`.
pub fn build_influence(
    base: &BaseModel,
    adapter: &Adapter,
    corpus: Corpus,
    spec: &IndexSpec,
    space: &GradientSpace,
    path: &Path,
    on_record: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Index> {
    // A query is projected with the seed that the index names.
    if let Some(seed) = space.projection.as_ref().map(TwoSided::seed).filter(|s| *s != spec.seed) {
        return Err(EngineError::Spec(format!(
            "gradients are projected with seed {seed}, but the index is asked for with {}; give \
             both the same",
            spec.seed
        )));
    }
    let sketch = Sketch { seed: spec.seed, input: space.numbers(), dims: spec.dims };
    let ids = corpus.contributions.to_vec();
    let count = corpus.samples.len() as u32;
    let pass = Pass { base, adapter, corpus, space };
    // The product of all rows with each other is the smaller matrix up to as many rows as
    // dimensions; beyond, memory and time would grow with the square and cube of the rows.
    if count <= spec.dims {
        let mut builder =
            Builder::new(sketch, spec.damping(), ids, count)?.form(space.form.number());
        pass.fill(&mut builder, on_record)?;
        let index = builder.build()?;
        index.save(path)?;
        Ok(index)
    } else {
        let mut builder = DiskBuilder::create(path, sketch, spec.damping(), ids, count)?
            .form(space.form.number());
        pass.fill(&mut builder, on_record)?;
        Ok(builder.finish()?)
    }
}

/// Takes the rows of an index.
trait Rows {
    fn set(&mut self, row: u32, owner: u32, gradient: &[f32]) -> tributary_attribution::Result<()>;
}

impl Rows for Builder {
    fn set(&mut self, row: u32, owner: u32, gradient: &[f32]) -> tributary_attribution::Result<()> {
        Builder::set(self, row, owner, gradient)
    }
}

impl Rows for DiskBuilder {
    fn set(&mut self, row: u32, owner: u32, gradient: &[f32]) -> tributary_attribution::Result<()> {
        DiskBuilder::set(self, row, owner, gradient)
    }
}

/// One pass over a corpus.
struct Pass<'a> {
    base: &'a BaseModel,
    adapter: &'a Adapter,
    corpus: Corpus<'a>,
    space: &'a GradientSpace,
}

impl Pass<'_> {
    fn fill(
        &self,
        rows: &mut dyn Rows,
        on_record: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        let samples = self.corpus.samples;
        self.space.gradients(self.base, self.adapter, samples, &mut |row, gradient| {
            let owner = *self.corpus.owners.get(row).ok_or(IndexError::NoDirection(row as u64))?;
            rows.set(row as u32, owner, gradient)?;
            done += 1;
            on_record(done)
        })
    }
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
    let space = GradientSpace::of(index, adapter, base.config())?;
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
