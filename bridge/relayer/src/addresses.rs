//! Where the contracts are: the file that node, relayer and command line read.

use crate::l1::{Address, B256};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Addresses {
    /// Id of the Ethereum chain.
    pub chain_id: u64,
    /// Block of the deployment: nothing of the bridge is older.
    pub deploy_block: u64,
    /// `OptimismPortal`
    pub portal: Address,
    /// `DisputeGameFactory`
    pub factory: Address,
    /// `AnchorStateRegistry`
    pub registry: Address,
    /// `BeefyAnchor`
    pub anchor: Address,
    /// `L1CrossDomainMessenger`
    pub messenger: Address,
    /// `L1StandardBridge`
    pub bridge: Address,
    /// `OpenToken`
    pub token: Address,
    /// `SuperchainConfig`
    pub config: Address,
    /// Type of the games that count.
    pub game_type: u32,
    /// Hash of the chain's first block.
    pub l2_genesis: B256,
}

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum AddressesError {
    /// It is not there, or cannot be written.
    #[error(
        "{}: {source}; `tributary-relayer deploy` writes the file, --addresses names it",
        path.display()
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{} is not a file of addresses: {source}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        #[source]
        source: serde_json::Error,
    },
}

impl Addresses {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self, AddressesError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| AddressesError::Io { path: path.into(), source })?;
        serde_json::from_str(&text)
            .map_err(|source| AddressesError::Form { path: path.into(), source })
    }

    /// Writes the file; who reads it meanwhile sees the old one or the new one.
    pub fn save(&self, path: &Path) -> Result<(), AddressesError> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| AddressesError::Form { path: path.into(), source })?;
        let next = path.with_extension("next");
        std::fs::write(&next, text + "\n")
            .and_then(|()| std::fs::rename(&next, path))
            .map_err(|source| AddressesError::Io { path: path.into(), source })
    }

    /// Every contract, by name.
    pub fn named(&self) -> [(&'static str, Address); 8] {
        [
            ("OptimismPortal", self.portal),
            ("DisputeGameFactory", self.factory),
            ("AnchorStateRegistry", self.registry),
            ("BeefyAnchor", self.anchor),
            ("L1CrossDomainMessenger", self.messenger),
            ("L1StandardBridge", self.bridge),
            ("OpenToken", self.token),
            ("SuperchainConfig", self.config),
        ]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn some() -> Addresses {
        let address = Address::repeat_byte;
        Addresses {
            chain_id: 31_337,
            deploy_block: 1,
            portal: address(1),
            factory: address(2),
            registry: address(3),
            anchor: address(4),
            messenger: address(5),
            bridge: address(6),
            token: address(7),
            config: address(8),
            game_type: 21_570,
            l2_genesis: B256::repeat_byte(9),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l1.json");
        assert!(matches!(Addresses::load(&path), Err(AddressesError::Io { .. })));
        some().save(&path).unwrap();
        assert_eq!(Addresses::load(&path).unwrap(), some());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"gameType\": 21570") && text.contains("\"l2Genesis\": \"0x09"));
        std::fs::write(&path, "{}").unwrap();
        assert!(matches!(Addresses::load(&path), Err(AddressesError::Form { .. })));
    }
}
