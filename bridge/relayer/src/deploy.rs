//! Putting the contracts on Ethereum, and joining the chain to them.
//!
//! One transaction makes everything: a `Deployer` whose constructor creates all contracts with the
//! addresses of the others built in. Nothing can be initialised by somebody else in between, and no
//! key owns anything afterwards; the guardian can pause for a while and take out single games.

use crate::{
    addresses::Addresses,
    error::{RelayerError, Result},
    l1::{
        abi_encode, from_b256, to_b256, Address, At, Call, Contracts, L1Error, Outcome, Sender,
        Settings, Token, B256, U256,
    },
    l2::L2,
};
use codec::Decode;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tributary_client::{calls::settlement::Configure, chain::CallData};
use tributary_primitives::{
    bridge::{domain, L1Config, L1Ref},
    CAP, H256,
};

/// Type of the games that count: "TB".
pub const GAME_TYPE: u32 = 0x5442;

/// What a bridge is made with: the file that `deploy --config` reads.
///
/// Nothing of it can be changed afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeployConfig {
    /// Who may pause the bridge for a while and take out single games. A multi-signature wallet;
    /// not the key that deploys.
    pub guardian: Address,
    /// Who gets the OPEN that is not on the chain: the cap less what the bridge locks.
    pub treasury: Address,
    /// Seconds without an anchored block after which the anchor takes nothing more. Validators who
    /// have left could otherwise sign another history long afterwards; so less than the time for
    /// which stakes stay bonded.
    pub max_staleness_seconds: u64,
    /// Seconds between the proof of a withdrawal and its delivery.
    pub proof_maturity_delay_seconds: u64,
    /// Seconds between a game's decision and its being final: the guardian's time to take it out.
    pub dispute_game_finality_delay_seconds: u64,
    /// Seconds after a proposal in which it must be proven and may be challenged.
    pub challenge_duration_seconds: u64,
    /// Seconds after a challenge in which it must be answered under a later anchor. More than the
    /// longest time between two anchored blocks.
    pub attest_duration_seconds: u64,
    /// What a proposer pays in, in wei: what clearing away a bad proposal is worth.
    #[serde(with = "decimal")]
    pub proposal_bond_wei: U256,
    /// What a challenger pays in, in wei: what answering is worth.
    #[serde(with = "decimal")]
    pub challenge_bond_wei: U256,
    /// Seconds that the guardian's pause lasts; it ends by itself.
    pub pause_duration_seconds: u64,
    /// Seconds after a pause in which there is no other: no less than the pause.
    pub pause_cooldown_seconds: u64,
}

/// Wei as decimal text: JSON's numbers are not exact above 2^53.
mod decimal {
    use super::U256;
    use serde::{de::Error, Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(wei: &U256, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&wei.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<U256, D::Error> {
        let text = String::deserialize(from)?;
        U256::from_dec_str(&text)
            .map_err(|_| D::Error::custom(format!("`{text}` is no amount of wei")))
    }
}

impl DeployConfig {
    /// Reads and checks the file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(RelayerError::io(format!("reading {}", path.display())))?;
        let config: Self = serde_json::from_str(&text)
            .map_err(|error| RelayerError::Config(format!("{}: {error}", path.display())))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let wrong = |reason: &str| Err(RelayerError::Config(reason.into()));
        if self.guardian.is_zero() || self.treasury.is_zero() {
            return wrong("guardian and treasury must be somebody");
        }
        if self.max_staleness_seconds == 0 || self.challenge_duration_seconds == 0 {
            return wrong("maxStalenessSeconds and challengeDurationSeconds must not be 0");
        }
        if self.attest_duration_seconds == 0 {
            return wrong("attestDurationSeconds must not be 0: no challenge could be answered");
        }
        if self.pause_cooldown_seconds < self.pause_duration_seconds {
            return wrong("pauseCooldownSeconds must not be less than pauseDurationSeconds: a pause would never end");
        }
        Ok(())
    }
}

/// A set of validators, as `pallet-beefy-mmr` keeps it.
#[derive(Clone, Copy, Debug, Decode, PartialEq, Eq)]
struct AuthoritySet {
    id: u64,
    length: u32,
    root: H256,
}

/// What the chain gives to a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FromChain {
    genesis: H256,
    locked: u128,
    current: AuthoritySet,
    next: AuthoritySet,
}

async fn from_chain(l2: &L2) -> Result<FromChain> {
    let chain = l2.chain();
    let head = chain.finalized().await?;
    let set = |entry: &'static str| async move {
        let found: Option<AuthoritySet> =
            chain.storage_at("BeefyMmrLeaf", entry, &[], Some(head.hash)).await?;
        found.ok_or_else(|| RelayerError::unusable(entry, "the chain has no validators for BEEFY"))
    };
    let (current, next) = (set("BeefyAuthorities").await?, set("BeefyNextAuthorities").await?);
    if next.id != current.id.saturating_add(1) {
        return Err(RelayerError::unusable(
            "the next validators",
            "they do not follow the current",
        ));
    }
    let supply = chain.token().supply().await?;
    let locked = supply.cap.checked_sub(supply.outside);
    let locked = locked
        .ok_or_else(|| RelayerError::unusable("the supply", "more is outside than can be"))?;
    Ok(FromChain { genesis: chain.genesis(), locked, current, next })
}

/// The creation code in a compiler's artefact, with its arguments.
fn creation(artefact: &Path, config: &DeployConfig, chain: &FromChain) -> Result<Vec<u8>> {
    let bad = |reason: String| {
        RelayerError::Config(format!(
            "{}: {reason}; `make contracts` builds it",
            artefact.display()
        ))
    };
    let text = std::fs::read_to_string(artefact).map_err(|error| bad(error.to_string()))?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let code = json.pointer("/bytecode/object").and_then(|code| code.as_str());
    let code = code.ok_or_else(|| bad("it has no bytecode".into()))?;
    let code = hex::decode(code.trim_start_matches("0x"))
        .map_err(|error| bad(format!("its bytecode is not complete: {error}")))?;
    let number = |value: u64| Token::Uint(value.into());
    let word = |value: H256| Token::FixedBytes(value.0.to_vec());
    let arguments = abi_encode(&[Token::Tuple(vec![
        word(chain.genesis),
        Token::Address(config.guardian),
        Token::Address(config.treasury),
        Token::Uint(chain.locked.into()),
        number(chain.current.id),
        number(chain.current.length.into()),
        word(chain.current.root),
        number(chain.next.length.into()),
        word(chain.next.root),
        number(config.max_staleness_seconds),
        number(config.proof_maturity_delay_seconds),
        number(config.dispute_game_finality_delay_seconds),
        number(config.challenge_duration_seconds),
        number(config.attest_duration_seconds),
        Token::Uint(config.proposal_bond_wei),
        Token::Uint(config.challenge_bond_wei),
        number(config.pause_duration_seconds),
        number(config.pause_cooldown_seconds),
    ])]);
    Ok([code, arguments].concat())
}

/// A deployment that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Where everything is.
    pub addresses: Addresses,
    /// The transaction.
    pub transaction: B256,
    /// Gas that it took.
    pub gas_used: u64,
    /// OPEN that the bridge holds, in units.
    pub locked: u128,
}

/// Deploys, then reads everything back and compares it.
pub async fn deploy(
    sender: &Sender,
    l2: &L2,
    config: &DeployConfig,
    artefact: &Path,
) -> Result<Deployed> {
    let from_chain = from_chain(l2).await?;
    let data = creation(artefact, config, &from_chain)?;
    let purpose = format!("deploy/{:?}", B256::from(crate::l1::keccak256(&data)));
    let call = Call { to: None, data, value: U256::zero() };
    let mined = match sender.execute(&purpose, &call, || async { Ok(true) }).await? {
        Outcome::Mined(mined) => mined,
        Outcome::Refused(revert) => {
            return Err(RelayerError::Refused { purpose, reason: revert.to_string() })
        }
        Outcome::Otherwise(note) => return Err(RelayerError::Refused { purpose, reason: note }),
    };
    let receipt = sender.l1().receipt(mined.hash).await?;
    let deployer = receipt
        .and_then(|receipt| receipt.created)
        .ok_or_else(|| L1Error::Answer("the deployment's receipt names no contract".into()))?;
    let genesis = to_b256(from_chain.genesis);
    let addresses =
        Contracts::deployed(sender.l1(), deployer, mined.block, genesis, GAME_TYPE).await?;
    let contracts = Contracts::open(sender.l1().clone(), addresses.clone()).await?;
    verify(&contracts).await?;
    verify_config(&contracts, config, &from_chain).await?;
    Ok(Deployed {
        addresses,
        transaction: mined.hash,
        gas_used: mined.gas_used,
        locked: from_chain.locked,
    })
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(RelayerError::Wiring {
        what: what.into(),
        found: format!("{found:?}"),
        expected: format!("{expected:?}"),
    })
}

/// Checks that the contracts know each other, and the chain that they are said to be for.
pub async fn verify(contracts: &Contracts) -> Result<()> {
    for wire in contracts.wiring().await? {
        same(wire.what, wire.found, wire.expected)?;
    }
    let is = contracts.addresses();
    let portal = crate::l1::from_address(is.portal);
    let expected = domain(is.chain_id, portal, from_b256(is.l2_genesis));
    let state = contracts.anchor_state().await?;
    same("the anchor's domain", from_b256(state.domain), expected)?;
    let supply = contracts.open_supply().await?;
    same("the supply of OPEN", supply, U256::from(CAP))
}

async fn verify_config(
    contracts: &Contracts,
    config: &DeployConfig,
    chain: &FromChain,
) -> Result<()> {
    let expected = Settings {
        guardian: config.guardian,
        max_staleness: config.max_staleness_seconds,
        proof_maturity: config.proof_maturity_delay_seconds,
        game_finality: config.dispute_game_finality_delay_seconds,
        challenge_duration: config.challenge_duration_seconds,
        attest_duration: config.attest_duration_seconds,
        proposal_bond: config.proposal_bond_wei,
        challenge_bond: config.challenge_bond_wei,
        pause_duration: config.pause_duration_seconds,
        pause_cooldown: config.pause_cooldown_seconds,
    };
    same("the settings", contracts.settings().await?, expected)?;
    let state = contracts.anchor_state().await?;
    for (what, found, expected) in [
        ("the current validators", state.current, chain.current),
        ("the next validators", state.next, chain.next),
    ] {
        let found =
            AuthoritySet { id: found.id, length: found.length, root: from_b256(found.root) };
        same(what, found, expected)?;
    }
    same("the anchor's freeze", state.frozen, false)?;
    let locked = contracts.open_balance(contracts.addresses().bridge).await?;
    same("the locked OPEN", locked, U256::from(chain.locked))?;
    let rest = U256::from(CAP.saturating_sub(chain.locked));
    let treasury = contracts.open_balance(config.treasury).await?;
    same("the treasury's OPEN", treasury, rest)
}

/// The call that joins the chain to the contracts, for root to make. It names the block of the
/// deployment, so that must be final.
pub async fn configure(l2: &L2, contracts: &Contracts) -> Result<(L1Config, CallData)> {
    verify(contracts).await?;
    let is = contracts.addresses();
    same("the chain of the addresses", from_b256(is.l2_genesis), l2.chain().genesis())?;
    let l1 = contracts.l1();
    while l1.head(At::Finalized).await?.number < is.deploy_block {
        tracing::info!(block = is.deploy_block, "waiting until the deployment is final");
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    let start = l1.head(At::Number(is.deploy_block)).await?;
    let config = L1Config {
        chain_id: is.chain_id,
        portal: crate::l1::from_address(is.portal),
        bridge: crate::l1::from_address(is.bridge),
        messenger: crate::l1::from_address(is.messenger),
        token: crate::l1::from_address(is.token),
        start: L1Ref { number: start.number, hash: from_b256(start.hash) },
    };
    let data = l2.chain().call_data(&Configure { config }).await?;
    Ok((config, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../deploy.dev.json");

    #[test]
    fn the_example_is_good() {
        let config: DeployConfig = serde_json::from_str(EXAMPLE).unwrap();
        config.check().unwrap();
        let again: DeployConfig =
            serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(config, again);
    }

    #[test]
    fn bad_settings_are_refused() {
        let good: DeployConfig = serde_json::from_str(EXAMPLE).unwrap();
        for bad in [
            DeployConfig { guardian: Address::zero(), ..good.clone() },
            DeployConfig { max_staleness_seconds: 0, ..good.clone() },
            DeployConfig { attest_duration_seconds: 0, ..good.clone() },
            DeployConfig { pause_cooldown_seconds: 1, pause_duration_seconds: 2, ..good.clone() },
        ] {
            assert!(matches!(bad.check(), Err(RelayerError::Config(_))), "{bad:?}");
        }
        let number = EXAMPLE.replace("proposalBondWei\": \"", "proposalBondWei\": \"x");
        assert!(serde_json::from_str::<DeployConfig>(&number).is_err());
    }

    #[test]
    fn creation_code_is_followed_by_eighteen_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Deployer.json");
        std::fs::write(&path, r#"{"bytecode":{"object":"0x6001"}}"#).unwrap();
        let config: DeployConfig = serde_json::from_str(EXAMPLE).unwrap();
        let set = |id| AuthoritySet { id, length: 4, root: H256::repeat_byte(2) };
        let chain =
            FromChain { genesis: H256::repeat_byte(1), locked: 5, current: set(7), next: set(8) };
        let data = creation(&path, &config, &chain).unwrap();
        assert_eq!(data.len(), 2 + 18 * 32);
        assert_eq!(data[2..34], [1; 32]);
        // Word 3 is what is locked, word 4 the current set's number.
        assert_eq!((data[2 + 4 * 32 - 1], data[2 + 5 * 32 - 1]), (5, 7));
        std::fs::write(&path, r#"{"bytecode":{"object":"0x60__lib__"}}"#).unwrap();
        assert!(creation(&path, &config, &chain).is_err());
    }
}
