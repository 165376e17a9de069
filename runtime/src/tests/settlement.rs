//! The bridge in the whole runtime.

use codec::Encode;
use frame_support::{
    assert_ok, crypto::ecdsa::ECDSAExt, dispatch::GetDispatchInfo, traits::fungible::Mutate,
};
use pallet_settlement::MessageHandler;
use polkadot_sdk::*;
use sp_core::{ecdsa, Pair, H160, H256, U256};
use sp_keyring::Sr25519Keyring;
use sp_runtime::{
    traits::{IdentifyAccount, Verify},
    MultiSignature, MultiSigner,
};
use tributary_primitives::bridge::{
    calls::Transfer, domain, l1_account, tree, L1Config, L1Ref, L2_NOTES, L2_TELLER,
};

use super::{chain::Chain, externalities};
use crate::{
    configs::{mmr::MmrLeaf, settlement::Counter},
    constants::money::OPEN,
    genesis_config_presets::preset_names,
    AccountId, Balances, RuntimeCall, Settlement, System, Token,
};

fn config() -> L1Config {
    L1Config {
        chain_id: 31_337,
        portal: H160::repeat_byte(1),
        bridge: H160::repeat_byte(2),
        messenger: H160::repeat_byte(3),
        token: H160::repeat_byte(4),
        start: L1Ref { number: 7, hash: H256::repeat_byte(7) },
    }
}

#[test]
fn what_is_withdrawn_stands_in_the_next_leaf() {
    // GIVEN a chain that root has joined to a portal
    let mut chain = Chain::new("development");
    let call = RuntimeCall::from(pallet_settlement::Call::configure { config: config() });
    chain.submit(Sr25519Keyring::Alice, pallet_sudo::Call::sudo { call: Box::new(call) });
    let before = chain.state(|| {
        assert_eq!(Settlement::view_state().config, Some(config()));
        Token::view_supply()
    });
    // WHEN somebody withdraws
    let to = H160::repeat_byte(9);
    chain.submit(Sr25519Keyring::Bob, pallet_settlement::Call::withdraw { to, amount: 10 * OPEN });
    // THEN the supply has moved, and the leaf that describes the block names the root
    chain.run(1);
    chain.state(|| {
        let supply = Token::view_supply();
        assert_eq!(supply.bridged_out, 10 * OPEN);
        assert_eq!(supply.outside, before.outside + 10 * OPEN);
        assert!(supply.issuance < before.issuance - 10 * OPEN);
        let leaf: MmrLeaf =
            <crate::BeefyMmrLeaf as sp_mmr_primitives::LeafDataProvider>::leaf_data();
        let state = Settlement::view_state();
        assert_eq!(state.withdrawals, 1);
        let genesis = System::block_hash(0u32);
        assert_eq!(leaf.leaf_extra.domain, domain(31_337, config().portal, genesis));
        assert_eq!(leaf.leaf_extra.withdrawal_root, state.withdrawal_root);
        assert_eq!(leaf.leaf_extra.l1_origin_number, 7);
        assert_eq!(leaf.leaf_extra.l1_origin_hash, H256::repeat_byte(7));
        let withdrawal = Settlement::view_withdrawal(0).expect("it was made");
        let proof = Settlement::view_withdrawal_proof(0, 1).expect("it can be proven");
        assert!(tree::verify(&state.withdrawal_root, &withdrawal.hash(), 0, &proof));
    });
}

#[test]
fn every_preset_leaves_room_for_both_chains() {
    for preset in preset_names() {
        externalities(preset.as_ref()).execute_with(|| {
            let supply = Token::view_supply();
            let all = supply.issuance + Token::budget() + supply.outside;
            assert_eq!(all, supply.cap, "{preset:?}");
            for dispatcher in [L2_NOTES, L2_TELLER] {
                assert!(pallet_settlement::Dispatchers::<crate::Runtime>::contains_key(dispatcher));
            }
        });
    }
}

#[test]
fn the_teller_moves_what_belongs_to_an_address() {
    externalities("development").execute_with(|| {
        System::set_block_number(1);
        let (owner, other) = (H160::repeat_byte(5), H160::repeat_byte(6));
        let to = AccountId::from([8; 32]);
        Balances::mint_into(&l1_account(owner), 10 * OPEN).expect("it can be minted");
        let transfer = |amount: U256| Transfer { to: [8; 32], amount }.encode();
        let ask = |from, data: &[u8]| Counter::handle(from, L2_TELLER, data, 0);
        assert!(ask(other, &transfer(OPEN.into())).is_err());
        assert!(ask(owner, &transfer((11 * OPEN).into())).is_err());
        assert!(ask(owner, &transfer(U256::MAX)).is_err());
        assert!(ask(owner, b"transfer").is_err());
        assert_ok!(ask(owner, &transfer((4 * OPEN).into())));
        assert_eq!(Balances::free_balance(&to), 4 * OPEN);
        assert_eq!(Balances::free_balance(l1_account(owner)), 6 * OPEN);
        // Notes are kept; anybody else has nothing to say.
        assert_ok!(Counter::handle(owner, L2_NOTES, b"hello", 0));
        assert!(System::events().iter().any(|record| matches!(
            &record.event,
            crate::RuntimeEvent::Settlement(pallet_settlement::Event::MessageReceived {
                from, data,
            }) if *from == owner && data.as_slice() == b"hello"
        )));
        assert!(Counter::handle(owner, other, b"hello", 0).is_err());
    });
}

/// The SDK's own account for an Ethereum key is made of the compressed key, not of the address that
/// Ethereum knows. So no signature spends from an address's account here, and the teller is needed.
#[test]
fn no_signature_spends_from_an_address() {
    let pair = ecdsa::KeccakPair::from_seed(&[0x42; 32]);
    let plain = ecdsa::Pair::from_seed(&[0x42; 32]);
    let address = H160(plain.public().to_eth_address().expect("it is a key"));
    let account = MultiSigner::Eth(pair.public()).into_account();
    assert_ne!(account, l1_account(address));
    let signature = MultiSignature::Eth(pair.sign(b"message"));
    assert!(signature.verify(&b"message"[..], &account));
    assert!(!signature.verify(&b"message"[..], &l1_account(address)));
}

#[test]
fn the_largest_inherent_leaves_room_in_a_block() {
    use tributary_primitives::bridge::{origin::*, Advance, Deposit, OriginProof};
    let nodes = vec![vec![0; 532]; MAX_NODES];
    let body = Deposit {
        from: H160::zero(),
        to: H160::zero(),
        version: 0.into(),
        opaque_data: vec![0; MAX_BODY_BYTES / MAX_BODIES],
    };
    let advance = Advance {
        origin: Some(OriginProof {
            header: vec![0; 700],
            account_proof: nodes.clone(),
            count_proof: nodes.clone(),
            hash_proof: nodes,
            deposit_hashes: vec![H256::zero(); MAX_HASHES],
        }),
        bodies: vec![body; MAX_BODIES],
    };
    assert_eq!(advance.check_bounds(), Ok(()));
    let call = RuntimeCall::from(pallet_settlement::Call::advance { advance });
    let length = call.encode().len();
    assert!(length < 300_000, "{length} bytes");
    let weight = call.get_dispatch_info().call_weight;
    let limit = crate::configs::system::RuntimeBlockWeights::get().max_block / 2;
    assert!(weight.all_lte(limit), "{weight:?} of {limit:?}");
}
