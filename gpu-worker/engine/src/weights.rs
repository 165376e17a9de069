//! Safetensors in and out: one file, or shards with an index.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata};
use safetensors::SafeTensors;
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::error::{EngineError, Result};

/// The tensors of a folder, read on demand.
pub struct WeightStore {
    files: Vec<(PathBuf, Mmap)>,
    /// Tensor name to file.
    index: HashMap<String, usize>,
    /// What to name in errors about the whole.
    origin: PathBuf,
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl WeightStore {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    pub fn open_model(folder: &Path) -> Result<Self> {
        let single = folder.join("model.safetensors");
        if single.is_file() {
            return Self::open_files(single.clone(), vec![single]);
        }
        let index_path = folder.join("model.safetensors.index.json");
        if !index_path.is_file() {
            return Err(EngineError::MissingFile {
                path: single,
                needed_for: "a model folder holds its weights there, or in shards that \
                             model.safetensors.index.json names",
            });
        }
        let text = std::fs::read_to_string(&index_path).map_err(EngineError::io(&index_path))?;
        let index: ShardIndex = serde_json::from_str(&text)
            .map_err(|e| EngineError::Config { path: index_path.clone(), reason: e.to_string() })?;
        let mut names: Vec<&String> = index.weight_map.values().collect();
        names.sort();
        names.dedup();
        let mut paths = Vec::new();
        for name in names {
            // A shard name is a plain file name: an index must not reach outside its folder.
            if Path::new(name).components().count() != 1 || name.contains("..") {
                return Err(EngineError::Config {
                    path: index_path,
                    reason: format!("shard `{name}` is not a plain file name"),
                });
            }
            let path = folder.join(name);
            if !path.is_file() {
                return Err(EngineError::MissingFile {
                    path,
                    needed_for: "model.safetensors.index.json names this shard",
                });
            }
            paths.push(path);
        }
        Self::open_files(index_path, paths)
    }

    /// Opens one safetensors file.
    pub fn open_file(path: &Path) -> Result<Self> {
        Self::open_files(path.to_path_buf(), vec![path.to_path_buf()])
    }

    fn open_files(origin: PathBuf, paths: Vec<PathBuf>) -> Result<Self> {
        let mut files = Vec::with_capacity(paths.len());
        let mut index = HashMap::new();
        for path in paths {
            let file = std::fs::File::open(&path).map_err(EngineError::io(&path))?;
            // SAFETY: model files are written once and renamed into place; nobody shortens them
            // while they are mapped.
            let map = unsafe { Mmap::map(&file) }.map_err(EngineError::io(&path))?;
            let broken = |e: safetensors::SafeTensorError| EngineError::Safetensors {
                path: path.clone(),
                reason: e.to_string(),
            };
            // `deserialize` also checks that the data is as long as the header says.
            let tensors = SafeTensors::deserialize(&map).map_err(broken)?;
            for name in tensors.names() {
                index.insert(name.to_string(), files.len());
            }
            files.push((path, map));
        }
        Ok(Self { files, index, origin })
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// Shape of a tensor, or `None` when there is none of this name.
    pub fn shape(&self, name: &str) -> Result<Option<Vec<i64>>> {
        let Some(&file) = self.index.get(name) else { return Ok(None) };
        Ok(Some(self.view(file, name)?.0))
    }

    /// Reads `name`, which must have `shape`, as `kind` on `device`.
    pub fn get(&self, name: &str, shape: &[i64], kind: Kind, device: Device) -> Result<Tensor> {
        let Some(&file) = self.index.get(name) else {
            return Err(EngineError::MissingTensor {
                name: name.to_string(),
                path: self.origin.clone(),
            });
        };
        let (found, dtype, data) = self.view(file, name)?;
        if found != shape {
            return Err(EngineError::TensorShape {
                name: name.to_string(),
                expected: shape.to_vec(),
                found,
            });
        }
        let stored = match dtype {
            Dtype::F32 => Kind::Float,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::F16 => Kind::Half,
            other => {
                return Err(EngineError::TensorDtype {
                    name: name.to_string(),
                    dtype: format!("{other:?}"),
                })
            }
        };
        let tensor = Tensor::f_from_data_size(data, shape, stored)?;
        Ok(tensor.f_to_device(device)?.f_to_kind(kind)?)
    }

    /// An entry of the first file's metadata.
    pub(crate) fn metadata(&self, key: &str) -> Result<Option<String>> {
        let Some((path, map)) = self.files.first() else { return Ok(None) };
        let (_, metadata) = SafeTensors::read_metadata(map).map_err(|e| broken(path, e))?;
        Ok(metadata.metadata().as_ref().and_then(|m| m.get(key).cloned()))
    }

    fn view(&self, file: usize, name: &str) -> Result<(Vec<i64>, Dtype, &[u8])> {
        let (path, map) = &self.files[file];
        let broken = |e: safetensors::SafeTensorError| EngineError::Safetensors {
            path: path.clone(),
            reason: e.to_string(),
        };
        let (header, metadata): (usize, Metadata) =
            SafeTensors::read_metadata(map).map_err(broken)?;
        let info = metadata.info(name).ok_or_else(|| EngineError::MissingTensor {
            name: name.to_string(),
            path: path.clone(),
        })?;
        let (start, end) = info.data_offsets;
        let data = map.get(header + 8 + start..header + 8 + end).ok_or_else(|| {
            EngineError::Safetensors {
                path: path.clone(),
                reason: format!("the data of `{name}` ends beyond the file"),
            }
        })?;
        Ok((info.shape.iter().map(|&d| d as i64).collect(), info.dtype, data))
    }
}

/// Writes tensors to `path` in the order of their names, as f32 or bf16.
pub(crate) fn write_safetensors(
    path: &Path,
    tensors: &[(String, Tensor)],
    kind: Kind,
) -> Result<()> {
    write_safetensors_with(path, tensors, kind, &[])
}

/// Like [`write_safetensors`], with entries for the header's metadata.
pub(crate) fn write_safetensors_with(
    path: &Path,
    tensors: &[(String, Tensor)],
    kind: Kind,
    extra: &[(&str, String)],
) -> Result<()> {
    let dtype = match kind {
        Kind::BFloat16 => Dtype::BF16,
        _ => Dtype::F32,
    };
    let mut blobs = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let host = tensor.detach().f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
        let mut values = vec![0f32; host.numel()];
        host.f_contiguous()?.f_view([-1])?.f_copy_data(&mut values, host.numel())?;
        let bytes: Vec<u8> = match dtype {
            Dtype::BF16 => {
                values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect()
            }
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        let shape: Vec<usize> = tensor.size().iter().map(|&d| d as usize).collect();
        blobs.push((name.clone(), shape, bytes));
    }
    let mut views = Vec::with_capacity(blobs.len());
    for (name, shape, bytes) in &blobs {
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes);
        views.push((name.clone(), view.map_err(|e| broken(path, e))?));
    }
    let mut metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    metadata.extend(extra.iter().map(|(key, value)| (key.to_string(), value.clone())));
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| broken(path, e))?;
    crate::files::write_atomic(path, &bytes)
}

fn broken(path: &Path, e: safetensors::SafeTensorError) -> EngineError {
    EngineError::Safetensors { path: path.to_path_buf(), reason: e.to_string() }
}
