//! The bridge's contracts: what they say, and calls of them.

use super::{
    abi, to_address, to_u256, Address, AnchorState, Anchored, At, Authorities, Call, Client, Game,
    GameStatus, L1Error, OutputProof, ProvenWithdrawal, SubmittedCommitment, B256, L1, U256,
};
use crate::addresses::Addresses;
use ethers::{
    abi::{AbiDecode, Detokenize, Token},
    contract::{ContractCall, EthCall, EthEvent},
    types::{Filter, ValueOrArray},
};
use tributary_primitives::bridge::Withdrawal;

/// Proofs of one withdrawal that are looked at.
const MAX_PROOFS: u64 = 16;
/// Places in one transaction that are read as a call of the anchor.
const MAX_CALLS: usize = 16;

/// Handles on the contracts.
#[derive(Clone)]
pub struct Contracts {
    pub(super) l1: L1,
    pub(super) addresses: Addresses,
    pub(super) anchor: abi::anchor::BeefyAnchor<Client>,
    pub(super) factory: abi::factory::DisputeGameFactory<Client>,
    pub(super) portal: abi::portal::OptimismPortal<Client>,
    pub(super) registry: abi::registry::AnchorStateRegistry<Client>,
    pub(super) bridge: abi::bridge::L1StandardBridge<Client>,
    pub(super) token: abi::token::OpenToken<Client>,
}

pub(super) async fn read<D: Detokenize>(call: ContractCall<Client, D>) -> Result<D, L1Error> {
    Ok(call.call().await?)
}

/// A call as it is sent.
fn prepared<D: Detokenize>(call: ContractCall<Client, D>, value: U256) -> Call {
    Call {
        to: call.tx.to_addr().copied(),
        data: call.calldata().map(|data| data.to_vec()).unwrap_or_default(),
        value,
    }
}

fn withdrawal_transaction(from: &Withdrawal) -> abi::portal::WithdrawalTransaction {
    abi::portal::WithdrawalTransaction {
        nonce: to_u256(from.nonce),
        sender: to_address(from.sender),
        target: to_address(from.target),
        value: to_u256(from.value),
        gas_limit: to_u256(from.gas_limit),
        data: from.data.clone().into(),
    }
}

/// The extra data of a game: the block, ABI-encoded.
fn extra_data(l2_block: u32) -> Vec<u8> {
    ethers::abi::encode(&[Token::Uint(l2_block.into())])
}

impl Contracts {
    /// Handles on the contracts at these addresses, after a look at the chain's id and at whether
    /// they are there.
    pub async fn open(l1: L1, addresses: Addresses) -> Result<Self, L1Error> {
        if l1.chain_id() != addresses.chain_id {
            return Err(L1Error::WrongChain { expected: addresses.chain_id, found: l1.chain_id() });
        }
        for (name, address) in addresses.named() {
            l1.expect_contract(name, address).await?;
        }
        let client = l1.client();
        Ok(Self {
            anchor: abi::anchor::BeefyAnchor::new(addresses.anchor, client.clone()),
            factory: abi::factory::DisputeGameFactory::new(addresses.factory, client.clone()),
            portal: abi::portal::OptimismPortal::new(addresses.portal, client.clone()),
            registry: abi::registry::AnchorStateRegistry::new(addresses.registry, client.clone()),
            bridge: abi::bridge::L1StandardBridge::new(addresses.bridge, client.clone()),
            token: abi::token::OpenToken::new(addresses.token, client),
            l1,
            addresses,
        })
    }

    /// The connection.
    pub fn l1(&self) -> &L1 {
        &self.l1
    }

    /// Where they are.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    // --- the anchor -----------------------------------------------------------------------------

    /// What the anchor says of itself.
    pub async fn anchor_state(&self) -> Result<AnchorState, L1Error> {
        let anchor = &self.anchor;
        let (id, length, root) = read(anchor.current_set()).await?;
        let current = Authorities { id, length, root: root.into() };
        let (id, length, root) = read(anchor.next_set()).await?;
        Ok(AnchorState {
            latest_block: read(anchor.latest_block()).await?,
            current,
            next: Authorities { id, length, root: root.into() },
            frozen: read(anchor.frozen()).await?,
            stale: read(anchor.stale()).await?,
            accepted_at: read(anchor.accepted_at()).await?,
            max_staleness: read(anchor.max_staleness()).await?.low_u64(),
            domain: read(anchor.domain()).await?.into(),
        })
    }

    /// The last block that the anchor accepted.
    pub async fn latest_anchored(&self) -> Result<u32, L1Error> {
        read(self.anchor.latest_block()).await
    }

    /// Whether two quorums contradicted each other.
    pub async fn frozen(&self) -> Result<bool, L1Error> {
        read(self.anchor.frozen()).await
    }

    /// Whether the anchor remembers this root for this block.
    pub async fn is_anchored(&self, block: u32, root: B256) -> Result<bool, L1Error> {
        read(self.anchor.is_anchored(block, root.0)).await
    }

    /// Offers a signed commitment, with the leaf `block - 1` and its proof.
    pub fn submit(&self, signed: SubmittedCommitment, leaf: &[u8], proof: &[B256]) -> Call {
        let call = self.anchor.submit(
            signed.commitment,
            signed.bitmap,
            signed.signatures.into(),
            signed.validators.into(),
            leaf.to_vec().into(),
            proof.iter().map(|item| item.0).collect(),
        );
        prepared(call, U256::zero())
    }

    /// Reports that two quorums contradict each other.
    pub fn report_conflict(&self, one: SubmittedCommitment, other: SubmittedCommitment) -> Call {
        prepared(self.anchor.report_conflict(one.into(), other.into()), U256::zero())
    }

    /// Blocks that the anchor accepted in these Ethereum blocks.
    pub async fn anchored_between(&self, from: u64, to: u64) -> Result<Vec<Anchored>, L1Error> {
        use ethers::providers::Middleware;
        let filter = Filter::new()
            .address(ValueOrArray::Value(self.addresses.anchor))
            .topic0(abi::anchor::AnchoredFilter::signature())
            .from_block(from)
            .to_block(to);
        let logs = self.l1.client().get_logs(&filter).await?;
        let mut found = Vec::with_capacity(logs.len());
        for log in logs {
            let (Some(transaction), Some(l1_block)) = (log.transaction_hash, log.block_number)
            else {
                continue;
            };
            let raw = ethers::abi::RawLog { topics: log.topics, data: log.data.to_vec() };
            let event = abi::anchor::AnchoredFilter::decode_log(&raw)
                .map_err(|error| L1Error::Answer(error.to_string()))?;
            found.push(Anchored {
                block: event.block_number,
                set: event.validator_set_id,
                root: event.mmr_root.into(),
                transaction,
                l1_block: l1_block.as_u64(),
            });
        }
        Ok(found)
    }

    /// What a transaction offered to the anchor for this block, whether it called the anchor itself
    /// or another contract that passed its words on; `None` if it is not there in that form.
    pub fn read_submission(&self, data: &[u8], event: &Anchored) -> Option<SubmittedCommitment> {
        let selector = abi::anchor::SubmitCall::selector();
        let places = data.windows(selector.len()).enumerate();
        let calls = places.filter(|(_, bytes)| *bytes == selector).take(MAX_CALLS);
        calls
            .filter_map(|(place, _)| abi::anchor::SubmitCall::decode(data.get(place..)?).ok())
            .find(|call| {
                call.c.block_number == event.block
                    && call.c.validator_set_id == event.set
                    && call.c.mmr_root == event.root.0
            })
            .map(|call| SubmittedCommitment {
                commitment: call.c,
                bitmap: call.bitmap,
                signatures: call.signatures.to_vec(),
                validators: call.validators.to_vec(),
            })
    }

    // --- games ----------------------------------------------------------------------------------

    /// Games made so far, of every type.
    pub async fn game_count(&self) -> Result<u64, L1Error> {
        Ok(read(self.factory.game_count()).await?.low_u64())
    }

    /// A game by its number; `None` if it is of a type that is not this bridge's.
    pub async fn game(&self, index: u64) -> Result<Option<Game>, L1Error> {
        let (game_type, _, address) = read(self.factory.game_at_index(index.into())).await?;
        if game_type != self.addresses.game_type {
            return Ok(None);
        }
        let game = abi::game::BeefyOutputGame::new(address, self.l1.client());
        let challenger = read(game.challenger()).await?;
        let l2_block = read(game.l_2_block_number()).await?;
        let l2_block = u32::try_from(l2_block)
            .map_err(|_| L1Error::Answer(format!("game {index} is about block {l2_block}")))?;
        Ok(Some(Game {
            index,
            address,
            game_type,
            l2_block,
            claim: read(game.root_claim()).await?.into(),
            creator: read(game.game_creator()).await?,
            status: status(read(game.status()).await?)?,
            proven: read(game.proven()).await?,
            attested: read(game.attested()).await?,
            challenger: (!challenger.is_zero()).then_some(challenger),
            challenged_at_block: read(game.challenged_at_block()).await?,
            created_at: read(game.created_at()).await?,
            resolved_at: read(game.resolved_at()).await?,
            resolvable_at: read(game.resolvable_at()).await?,
        }))
    }

    /// How a game stands.
    pub async fn game_status(&self, game: Address) -> Result<GameStatus, L1Error> {
        status(read(abi::game::BeefyOutputGame::new(game, self.l1.client()).status()).await?)
    }

    /// Whether a game may still be decided for its claim: it is proven, and not lost.
    pub async fn game_stands(&self, game: Address) -> Result<bool, L1Error> {
        let lost = self.game_status(game).await? == GameStatus::ChallengerWins;
        Ok(!lost && read(self.game_at(game).proven()).await?)
    }

    /// The game about this claim, if there is one.
    pub async fn game_about(&self, claim: B256, l2_block: u32) -> Result<Option<Address>, L1Error> {
        let game_type = self.addresses.game_type;
        let call = self.factory.games(game_type, claim.0, extra_data(l2_block).into());
        let (proxy, _) = read(call).await?;
        Ok((!proxy.is_zero()).then_some(proxy))
    }

    /// Makes a game, with its bond.
    pub async fn create_game(&self, claim: B256, l2_block: u32) -> Result<Call, L1Error> {
        let game_type = self.addresses.game_type;
        let bond = read(self.factory.init_bonds(game_type)).await?;
        let call = self.factory.create(game_type, claim.0, extra_data(l2_block).into());
        Ok(prepared(call, bond))
    }

    pub(super) fn game_at(&self, game: Address) -> abi::game::BeefyOutputGame<Client> {
        abi::game::BeefyOutputGame::new(game, self.l1.client())
    }

    /// Proves a game's claim under the anchor at `anchored`.
    pub fn prove_game(&self, game: Address, leaf: &[u8], proof: &[B256], anchored: u32) -> Call {
        let items = proof.iter().map(|item| item.0).collect();
        let call = self.game_at(game).prove(leaf.to_vec().into(), items, anchored);
        prepared(call, U256::zero())
    }

    /// Proves a doubted game's claim again, under an anchor later than the doubt.
    pub fn attest_game(&self, game: Address, leaf: &[u8], proof: &[B256], anchored: u32) -> Call {
        let items = proof.iter().map(|item| item.0).collect();
        let call = self.game_at(game).attest(leaf.to_vec().into(), items, anchored);
        prepared(call, U256::zero())
    }

    /// Doubts a game's claim, with a bond.
    pub async fn challenge_game(&self, game: Address) -> Result<Call, L1Error> {
        let game = self.game_at(game);
        let bond = read(game.challenge_bond()).await?;
        Ok(prepared(game.challenge(), bond))
    }

    /// Decides a game.
    pub fn resolve_game(&self, game: Address) -> Call {
        prepared(self.game_at(game).resolve(), U256::zero())
    }

    /// Wei that a game owes somebody.
    pub async fn credit(&self, game: Address, whom: Address) -> Result<U256, L1Error> {
        read(self.game_at(game).credit(whom)).await
    }

    /// Takes what a game owes somebody.
    pub fn claim_credit(&self, game: Address, whom: Address) -> Call {
        prepared(self.game_at(game).claim_credit(whom), U256::zero())
    }

    // --- withdrawals ----------------------------------------------------------------------------

    /// Proves a withdrawal against a game.
    pub fn prove_withdrawal(
        &self,
        withdrawal: &Withdrawal,
        game_index: u64,
        output: &OutputProof,
        proof: &[u8],
    ) -> Call {
        let mut version = [0; 32];
        version[31] = 1;
        let output = abi::portal::OutputRootProof {
            version,
            state_root: output.leaf_hash.0,
            message_passer_storage_root: output.withdrawal_root.0,
            latest_blockhash: output.block_hash.0,
        };
        let call = self.portal.prove_withdrawal_transaction(
            withdrawal_transaction(withdrawal),
            game_index.into(),
            output,
            vec![proof.to_vec().into()],
        );
        prepared(call, U256::zero())
    }

    /// Carries out a withdrawal that `submitter` proved.
    pub fn finalize_withdrawal(&self, withdrawal: &Withdrawal, submitter: Address) -> Call {
        let call = self.portal.finalize_withdrawal_transaction_external_proof(
            withdrawal_transaction(withdrawal),
            submitter,
        );
        prepared(call, U256::zero())
    }

    /// Whether a withdrawal has been carried out.
    pub async fn finalized(&self, withdrawal: B256) -> Result<bool, L1Error> {
        read(self.portal.finalized_withdrawals(withdrawal.0)).await
    }

    /// Proofs of a withdrawal that the portal holds: that of `own`, then the newest of others. More
    /// than a few are somebody's joke.
    pub async fn proofs_of(
        &self,
        withdrawal: B256,
        own: Option<Address>,
    ) -> Result<Vec<ProvenWithdrawal>, L1Error> {
        let mut submitters: Vec<Address> = own.into_iter().collect();
        let count = read(self.portal.num_proof_submitters(withdrawal.0)).await?.low_u64();
        for index in (count.saturating_sub(MAX_PROOFS)..count).rev() {
            let submitter = read(self.portal.proof_submitters(withdrawal.0, index.into())).await?;
            if !submitters.contains(&submitter) {
                submitters.push(submitter);
            }
        }
        let mut proofs = Vec::new();
        for submitter in submitters {
            let (game, time) =
                read(self.portal.proven_withdrawals(withdrawal.0, submitter)).await?;
            if time != 0 {
                proofs.push(ProvenWithdrawal { submitter, game, time });
            }
        }
        Ok(proofs)
    }

    /// Whether a withdrawal can be carried out now; the refusal if it cannot.
    pub async fn check_withdrawal(&self, hash: B256, submitter: Address) -> Result<(), L1Error> {
        read(self.portal.check_withdrawal(hash.0, submitter)).await
    }

    /// Seconds that a proof must be old.
    pub async fn proof_maturity(&self) -> Result<u64, L1Error> {
        Ok(read(self.portal.proof_maturity_delay_seconds()).await?.low_u64())
    }

    /// Seconds that a decision must be old.
    pub async fn game_finality(&self) -> Result<u64, L1Error> {
        Ok(read(self.registry.dispute_game_finality_delay_seconds()).await?.low_u64())
    }

    /// Whether the registry would accept a game for new proofs: made by the factory, not taken out.
    pub async fn game_proper(&self, game: Address) -> Result<bool, L1Error> {
        read(self.registry.is_game_proper(game)).await
    }

    // --- OPEN -----------------------------------------------------------------------------------

    /// OPEN of an account, in units.
    pub async fn open_balance(&self, account: Address) -> Result<U256, L1Error> {
        read(self.token.balance_of(account)).await
    }

    /// All OPEN there is on Ethereum, locked or not, in units.
    pub async fn open_supply(&self) -> Result<U256, L1Error> {
        read(self.token.total_supply()).await
    }

    /// What the bridge may take of an account's OPEN, in units.
    pub async fn allowance(&self, owner: Address) -> Result<U256, L1Error> {
        read(self.token.allowance(owner, self.addresses.bridge)).await
    }

    /// Lets the bridge take this much.
    pub fn approve(&self, amount: U256) -> Call {
        prepared(self.token.approve(self.addresses.bridge, amount), U256::zero())
    }

    /// Moves OPEN on Ethereum.
    pub fn transfer(&self, to: Address, amount: U256) -> Call {
        prepared(self.token.transfer(to, amount), U256::zero())
    }

    /// Sends OPEN to the chain: to the account in `extra` (32 bytes), or to the account of the
    /// address `to` if it is empty.
    pub fn deposit(&self, l2_token: Address, to: Address, amount: U256, extra: Vec<u8>) -> Call {
        let call = self.bridge.deposit_erc20_to(
            self.addresses.token,
            l2_token,
            to,
            amount,
            200_000,
            extra.into(),
        );
        prepared(call, U256::zero())
    }

    /// Deposits made so far.
    pub async fn deposits(&self) -> Result<u64, L1Error> {
        Ok(read(self.portal.deposit_count()).await?.low_u64())
    }

    /// The place among all deposits of the one that a transaction made, and the block that it
    /// stands in.
    ///
    /// The portal counts them; the count at the end of the transaction's block, less the deposits
    /// after it in that block, is its number.
    pub async fn deposit_index(&self, transaction: B256) -> Result<Option<(u64, u64)>, L1Error> {
        use ethers::providers::Middleware;
        let Some(receipt) = self.l1.receipt(transaction).await? else { return Ok(None) };
        let filter = Filter::new()
            .address(ValueOrArray::Value(self.addresses.portal))
            .topic0(abi::portal::TransactionDepositedFilter::signature())
            .from_block(receipt.block)
            .to_block(receipt.block);
        let logs = self.l1.client().get_logs(&filter).await?;
        let place = logs.iter().position(|log| log.transaction_hash == Some(transaction));
        let Some(place) = place else { return Ok(None) };
        let call = prepared(self.portal.deposit_count(), U256::zero());
        let at = At::Number(receipt.block);
        let answer = self.l1.simulate(&call, Address::zero(), at).await?;
        let after = U256::from_big_endian(&answer).low_u64();
        let behind = u64::try_from(logs.len().saturating_sub(place)).unwrap_or(u64::MAX);
        Ok(after.checked_sub(behind).map(|index| (index, receipt.block)))
    }
}

fn status(number: u8) -> Result<GameStatus, L1Error> {
    match number {
        0 => Ok(GameStatus::InProgress),
        1 => Ok(GameStatus::ChallengerWins),
        2 => Ok(GameStatus::DefenderWins),
        other => Err(L1Error::Answer(format!("a game has status {other}"))),
    }
}
