//! What the contracts say of each other and of their settings, to be compared with what they should
//! say.

use super::{
    abi,
    contracts::{read, Contracts},
    Address, L1Error, B256, L1, U256,
};
use crate::addresses::Addresses;

/// References that contracts hold to each other, read back after deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// A contract's reference, in words.
    pub what: &'static str,
    /// What it holds.
    pub found: Address,
    /// What it should hold.
    pub expected: Address,
}

/// What a deployment was made with. Times in seconds, bonds in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who may pause and take out games.
    pub guardian: Address,
    /// See [`AnchorState::max_staleness`].
    pub max_staleness: u64,
    /// Between proof and delivery of a withdrawal.
    pub proof_maturity: u64,
    /// Between a game's decision and its being final.
    pub game_finality: u64,
    /// In which a claim may be doubted and must be proven.
    pub challenge_duration: u64,
    /// In which a doubt must be answered.
    pub attest_duration: u64,
    /// What a proposer pays in.
    pub proposal_bond: U256,
    /// What who doubts pays in.
    pub challenge_bond: U256,
    /// How long a pause lasts.
    pub pause_duration: u64,
    /// How long after it there is no other.
    pub pause_cooldown: u64,
}

impl Contracts {
    /// Where a deployer put its contracts.
    pub async fn deployed(
        l1: &L1,
        deployer: Address,
        deploy_block: u64,
        l2_genesis: B256,
        game_type: u32,
    ) -> Result<Addresses, L1Error> {
        let deployer = abi::deployer::Deployer::new(deployer, l1.client());
        Ok(Addresses {
            chain_id: l1.chain_id(),
            deploy_block,
            portal: read(deployer.portal()).await?,
            factory: read(deployer.factory()).await?,
            registry: read(deployer.registry()).await?,
            anchor: read(deployer.anchor()).await?,
            messenger: read(deployer.messenger()).await?,
            bridge: read(deployer.bridge()).await?,
            token: read(deployer.token()).await?,
            config: read(deployer.config()).await?,
            game_type,
            l2_genesis,
        })
    }

    /// Every reference that the contracts hold to each other, with what it should be.
    pub async fn wiring(&self) -> Result<Vec<Wiring>, L1Error> {
        let (is, client) = (&self.addresses, self.l1.client());
        let (portal, registry) = (&self.portal, &self.registry);
        let impl_at = read(self.factory.game_impls(is.game_type)).await?;
        self.l1.expect_contract("BeefyOutputGame", impl_at).await?;
        let game = self.game_at(impl_at);
        let messenger = abi::messenger::L1CrossDomainMessenger::new(is.messenger, client.clone());
        let config = abi::config::SuperchainConfig::new(is.config, client);
        let bridge = &self.bridge;
        let mut all = Vec::new();
        let mut add = |what, found, expected| all.push(Wiring { what, found, expected });
        add("the portal's factory", read(portal.dispute_game_factory()).await?, is.factory);
        add("the portal's registry", read(portal.anchor_state_registry()).await?, is.registry);
        add("the portal's config", read(portal.superchain_config()).await?, is.config);
        add("the portal's bridge", read(portal.l_1_standard_bridge()).await?, is.bridge);
        add("the portal's token", read(portal.token()).await?, is.token);
        add("the portal's anchor", read(portal.anchor()).await?, is.anchor);
        add("the registry's factory", read(registry.dispute_game_factory()).await?, is.factory);
        add("the registry's config", read(registry.superchain_config()).await?, is.config);
        add("the game's anchor", read(game.anchor()).await?, is.anchor);
        add("the game's registry", read(game.anchor_state_registry()).await?, is.registry);
        add("the game's factory", read(game.dispute_game_factory()).await?, is.factory);
        add("the messenger's portal", read(messenger.portal()).await?, is.portal);
        add("the bridge's portal", read(bridge.portal()).await?, is.portal);
        add("the bridge's token", read(bridge.token()).await?, is.token);
        add("the bridge's messenger", read(bridge.messenger()).await?, is.messenger);
        add("the anchor's config", read(self.anchor.config()).await?, is.config);
        add("the config's anchor", read(config.anchor()).await?, is.anchor);
        Ok(all)
    }

    /// What a deployment was made with, read back.
    pub async fn settings(&self) -> Result<Settings, L1Error> {
        let client = self.l1.client();
        let impl_at = read(self.factory.game_impls(self.addresses.game_type)).await?;
        let game = self.game_at(impl_at);
        let config = abi::config::SuperchainConfig::new(self.addresses.config, client);
        Ok(Settings {
            guardian: read(config.guardian()).await?,
            max_staleness: read(self.anchor.max_staleness()).await?.low_u64(),
            proof_maturity: self.proof_maturity().await?,
            game_finality: self.game_finality().await?,
            challenge_duration: read(game.challenge_duration()).await?,
            attest_duration: read(game.attest_duration()).await?,
            proposal_bond: read(self.factory.init_bonds(self.addresses.game_type)).await?,
            challenge_bond: read(game.challenge_bond()).await?,
            pause_duration: read(config.pause_duration()).await?.low_u64(),
            pause_cooldown: read(config.pause_cooldown()).await?.low_u64(),
        })
    }
}
