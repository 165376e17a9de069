//! A trained adapter with its history, and what the methods need to know of it.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::batch::Batch;
use crate::error::{EngineError, Result};
use crate::gradients::{record_gradients, GradientOptions};
use crate::lora::Adapter;
use crate::model::BaseModel;
use crate::record::{Record, Sample};
use crate::train::{encode_records, Checkpoints, TrainSpec, Trainer};
use crate::weights::WeightStore;

use super::data::Item;

/// The adapter in the middle of its training.
pub(super) struct Snapshot {
    pub adapter: Adapter,
    /// Learning rate of the step that led to it.
    pub lr: f64,
}

/// One adapter, trained with snapshots.
pub(super) struct Study<'a> {
    pub base: &'a BaseModel,
    pub adapter: Adapter,
    /// At even distances, the final adapter last.
    pub snapshots: Vec<Snapshot>,
    /// Adam's second moment at the last snapshot before the end, corrected for its start.
    pub second_moment: Tensor,
    pub samples: Vec<Sample>,
    pub queries: Vec<Sample>,
}

pub(super) fn encode(base: &BaseModel, items: &[Item], seq_len: usize) -> Result<Vec<Sample>> {
    let records: Vec<Record> = items.iter().map(Item::record).collect();
    encode_records(base, &records, seq_len)
}

impl<'a> Study<'a> {
    /// Trains on `records`; `count` snapshots are taken on the way, kept in `folder` meanwhile.
    pub(super) fn train(
        base: &'a BaseModel,
        records: &[Item],
        queries: &[Item],
        spec: &TrainSpec,
        count: usize,
        folder: &Path,
    ) -> Result<Self> {
        let steps = records.len().div_ceil(spec.batch) * spec.epochs;
        let every = (steps / (count + 1)).max(1);
        let checkpoints = Checkpoints { folder: folder.to_path_buf(), every };
        let as_records: Vec<Record> = records.iter().map(Item::record).collect();
        if folder.exists() {
            std::fs::remove_dir_all(folder).map_err(EngineError::io(folder))?;
        }
        let mut trainer = Trainer::new(base, &as_records, spec, Some(&checkpoints))?;
        let (mut snapshots, mut second_moment, mut lr) = (vec![], None, 0.0);
        while !trainer.is_done() {
            let progress = trainer.step()?;
            lr = progress.lr;
            if progress.step.is_multiple_of(every) && !trainer.is_done() {
                let (flat, v) = read_checkpoint(folder)?;
                let corrected = 1.0 - 0.999f64.powi(progress.step as i32);
                second_moment = Some(v / corrected);
                let config = spec.lora().checked().map_err(EngineError::Spec)?;
                snapshots.push(Snapshot { adapter: Adapter::from_flat(config, flat), lr });
            }
        }
        let adapter = trainer.finish()?.adapter;
        snapshots.push(Snapshot { adapter: adapter.share(), lr });
        let second_moment = second_moment.ok_or_else(|| {
            EngineError::Spec("the training is too short to take a snapshot of".into())
        })?;
        Ok(Self {
            base,
            adapter,
            snapshots,
            second_moment,
            samples: encode(base, records, spec.seq_len)?,
            queries: encode(base, queries, spec.seq_len)?,
        })
    }
}

/// Numbers and Adam's second moment of the checkpoint in `folder`, each `[parameters]`.
fn read_checkpoint(folder: &Path) -> Result<(Tensor, Tensor)> {
    let path = folder.join("checkpoint.safetensors");
    let store = WeightStore::open_file(&path)?;
    let read = |name: &str| {
        let shape = store.shape(name)?.ok_or_else(|| EngineError::Checkpoint {
            path: path.clone(),
            reason: format!("it has no `{name}`"),
        })?;
        store.get(name, &shape, Kind::Float, Device::Cpu)
    };
    Ok((read("flat")?, read("v")?))
}

/// Whole gradients of all samples, `[samples, parameters]`, f32.
pub(super) fn gradient_matrix(
    base: &BaseModel,
    adapter: &Adapter,
    samples: &[Sample],
) -> Result<Tensor> {
    let count = adapter.flat().numel();
    let mut all = vec![0f32; count * samples.len()];
    record_gradients(base, adapter, samples, GradientOptions::default(), &mut |i, g| {
        if let Some(row) = all.get_mut(i * count..(i + 1) * count) {
            row.copy_from_slice(g);
        }
        Ok(())
    })?;
    Ok(Tensor::f_from_slice(&all)?.view([samples.len() as i64, count as i64]))
}

/// Mean loss per learnt token of each sample.
pub(super) fn losses(base: &BaseModel, adapter: &Adapter, samples: &[Sample]) -> Result<Vec<f64>> {
    let net = base.transformer();
    let lora = adapter.tensors(base.config(), net.kind());
    let mut means = Vec::with_capacity(samples.len());
    tch::no_grad(|| {
        for chunk in samples.chunks(32) {
            let rows: Vec<&Sample> = chunk.iter().collect();
            let batch = Batch::weighted(&rows, 0, 0.0, net.device());
            let hidden = net.hidden(&batch.ids, Some(&lora));
            let picked =
                hidden.reshape([-1, net.config().hidden_size]).index_select(0, &batch.positions);
            let loss = net.loss(&picked, &batch.targets, &batch.weights);
            let per_token = Vec::<f32>::try_from(&loss.per_token.to_device(Device::Cpu))?;
            let mut sums = vec![(0.0, 0usize); chunk.len()];
            for (row, value) in batch.rows.iter().zip(per_token) {
                sums[*row].0 += f64::from(value);
                sums[*row].1 += 1;
            }
            means.extend(sums.into_iter().map(|(sum, n)| sum / n.max(1) as f64));
        }
        Ok(means)
    })
}

/// Mean over all tokens of the last hidden states, `[samples, hidden]`, scaled to unit length.
pub(super) fn mean_states(base: &BaseModel, adapter: &Adapter, samples: &[Sample]) -> Tensor {
    let net = base.transformer();
    let lora = adapter.tensors(base.config(), net.kind());
    let rows: Vec<Tensor> = tch::no_grad(|| {
        samples
            .iter()
            .map(|sample| {
                let ids = Tensor::from_slice(&sample.tokens).unsqueeze(0).to_device(net.device());
                let states = net.hidden(&ids, Some(&lora)).to_kind(Kind::Float); // [1, seq, hidden]
                let mean = states.mean_dim(1, false, Kind::Float).squeeze_dim(0);
                &mean / mean.norm()
            })
            .collect()
    });
    Tensor::stack(&rows, 0)
}
