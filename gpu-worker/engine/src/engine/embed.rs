//! Texts as vectors.

use tch::{Device, Kind, Tensor};

use crate::error::{EngineError, Result};
use crate::lora::LoraTensors;
use crate::model::BaseModel;

/// The mean of the last hidden states of `tokens`, made length 1: `[hidden_size]`.
pub(super) fn embed(
    base: &BaseModel,
    lora: Option<&LoraTensors>,
    tokens: &[i64],
) -> Result<Vec<f32>> {
    let (vocabulary, max) = (base.config().vocab_size, base.config().max_position as usize);
    if tokens.is_empty() {
        return Err(EngineError::Request("the text is empty".into()));
    }
    if tokens.len() > max {
        return Err(EngineError::PromptTooLong { tokens: tokens.len(), max });
    }
    if let Some(bad) = tokens.iter().find(|t| !(0..vocabulary).contains(*t)) {
        return Err(EngineError::Request(format!("token {bad} is not in the vocabulary")));
    }
    let net = base.transformer();
    let mean = tch::no_grad(|| {
        let ids = Tensor::from_slice(tokens).unsqueeze(0).to_device(net.device());
        let hidden = net.hidden(&ids, lora).to_kind(Kind::Float); // [1, seq, hidden]
        let mean = hidden.mean_dim([1i64].as_slice(), false, Kind::Float).squeeze_dim(0);
        let length = mean.norm_scalaropt_dim(2, [0i64].as_slice(), true).clamp_min(1e-12);
        (mean / length).to_device(Device::Cpu)
    });
    Ok(Vec::try_from(mean)?)
}
