//! Attention within each record of a packed batch, forwards and backwards.
//!
//! Linear maps see packed rows; for attention alone the records of a block are set side by side,
//! which needs padding only up to the longest of its block. On the CPU the fused kernel and its
//! backward are called directly. Elsewhere the one call of the tensor library picks its kernel
//! (flash attention on CUDA), and a graph of just this call gives its gradient.

use tch::{Device, Kind, Tensor};

use super::packed::{Block, Packed};
use crate::config::ModelConfig;

/// What the backward of a block needs.
pub(super) enum Kept {
    /// `[records, heads, length, head_dim]` each, and the log-sums `[records, heads, length]`.
    Fused { q: Tensor, k: Tensor, v: Tensor, out: Tensor, logsumexp: Tensor },
    /// The same; `out` hangs on the graph of `q`, `k` and `v`.
    Graph { q: Tensor, k: Tensor, v: Tensor, out: Tensor },
}

/// Mixed values `[tokens, heads * head_dim]` of rotated queries, keys and values side by side,
/// `qkv` `[tokens, (heads + 2 kv_heads) * head_dim]`. With `keep`, also what a backward needs.
pub(super) fn attend(
    config: &ModelConfig,
    packed: &Packed,
    qkv: &Tensor,
    keep: bool,
) -> (Tensor, Vec<Kept>) {
    let width = config.heads * config.head_dim;
    let mut kept = vec![];
    let mut mixed = None;
    for block in &packed.blocks {
        let side = unpack(block, qkv);
        let (q, k, v) = split(config, block, &side);
        let out = if qkv.device() == Device::Cpu && qkv.kind() == Kind::Float {
            let (out, logsumexp) = Tensor::internal_scaled_dot_product_flash_attention_for_cpu::<
                Tensor,
            >(&q, &k, &v, 0.0, true, None, None);
            let rows = out.shallow_clone();
            if keep {
                kept.push(Kept::Fused { q, k, v, out, logsumexp });
            }
            rows
        } else if keep {
            let leaf = |t: Tensor| t.detach().set_requires_grad(true);
            let (q, k, v) = (leaf(q), leaf(k), leaf(v));
            let out = tch::with_grad(|| plain(&q, &k, &v));
            let rows = out.detach();
            kept.push(Kept::Graph { q, k, v, out });
            rows
        } else {
            plain(&q, &k, &v)
        };
        // [records, heads, length, d] -> rows
        let rows = out.transpose(1, 2).reshape([block.records * block.length, width]);
        pack(block, &rows, packed, &mut mixed);
    }
    (mixed.unwrap_or_else(|| qkv.narrow(1, 0, width).zeros_like()), kept)
}

/// Gradient of `qkv`, as [`attend`] took it, from that of the mixed values.
pub(super) fn backward(
    config: &ModelConfig,
    packed: &Packed,
    gradient: &Tensor,
    kept: Vec<Kept>,
) -> Tensor {
    let (heads, kv, d) = (config.heads, config.kv_heads, config.head_dim);
    let all = heads + 2 * kv;
    let mut joined = None;
    for (block, kept) in packed.blocks.iter().zip(kept) {
        let (n, len) = (block.records, block.length);
        let g = unpack(block, gradient).view([n, len, heads, d]).transpose(1, 2);
        let (dq, dk, dv) = match kept {
            Kept::Fused { q, k, v, out, logsumexp } => {
                Tensor::internal_scaled_dot_product_flash_attention_for_cpu_backward::<Tensor>(
                    &g, &q, &k, &v, &out, &logsumexp, 0.0, true, None, None,
                )
            }
            Kept::Graph { q, k, v, out } => tch::with_grad(|| {
                let mut all =
                    Tensor::run_backward(&[(out * &g).sum(None)], &[q, k, v], false, false);
                let (dv, dk) = (all.remove(2), all.remove(1));
                (all.remove(0), dk, dv)
            }),
        };
        // Query heads that share a key head add up.
        let shared = |t: Tensor| match heads == kv {
            true => t,
            false => {
                t.view([n, kv, heads / kv, len, d]).sum_dim_intlist([2i64].as_slice(), false, None)
            }
        };
        let side = Tensor::empty([n, len, all, d], (gradient.kind(), gradient.device()));
        side.narrow(2, 0, heads).copy_(&dq.transpose(1, 2));
        side.narrow(2, heads, kv).copy_(&shared(dk).transpose(1, 2));
        side.narrow(2, heads + kv, kv).copy_(&shared(dv).transpose(1, 2));
        pack(block, &side.view([n * len, all * d]), packed, &mut joined);
    }
    joined.unwrap_or_else(|| {
        Tensor::zeros([gradient.size()[0], all * d], (gradient.kind(), gradient.device()))
    })
}

fn plain(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    Tensor::scaled_dot_product_attention::<Tensor>(q, k, v, None, 0.0, true, None, false)
}

/// The block's rows of `x` `[tokens, width]` side by side, `[records * length, width]`, zeros
/// where a record is shorter.
fn unpack(block: &Block, x: &Tensor) -> Tensor {
    let rows = match &block.rows {
        Some(rows) => x.index_select(0, rows),
        None => x.contiguous(),
    };
    match &block.places {
        None => rows,
        Some(places) => {
            let size = [block.records * block.length, x.size()[1]];
            Tensor::zeros(size, (x.kind(), x.device())).index_copy_(0, places, &rows)
        }
    }
}

/// Puts a block's rows back among the packed ones.
fn pack(block: &Block, side: &Tensor, packed: &Packed, into: &mut Option<Tensor>) {
    let rows = match &block.places {
        Some(places) => side.index_select(0, places),
        None => side.shallow_clone(),
    };
    match &block.rows {
        None => *into = Some(rows),
        Some(at) => {
            let tokens = packed.ids.size()[0];
            let options = (side.kind(), side.device());
            let all = into.get_or_insert_with(|| Tensor::empty([tokens, side.size()[1]], options));
            let _ = all.index_copy_(0, at, &rows);
        }
    }
}

/// Queries, keys and values `[records, heads, length, head_dim]`, keys and values repeated for the
/// query heads that share them.
fn split(config: &ModelConfig, block: &Block, side: &Tensor) -> (Tensor, Tensor, Tensor) {
    let (heads, kv, d) = (config.heads, config.kv_heads, config.head_dim);
    let (n, len) = (block.records, block.length);
    let side = side.view([n, len, heads + 2 * kv, d]);
    let spread = |t: Tensor| match heads == kv {
        true => t,
        false => {
            let group = heads / kv;
            t.unsqueeze(2).expand([n, kv, group, len, d], false).reshape([n, heads, len, d])
        }
    };
    let part = |first: i64, count: i64| side.narrow(2, first, count).transpose(1, 2);
    (part(0, heads), spread(part(heads, kv)), spread(part(heads + kv, kv)))
}
