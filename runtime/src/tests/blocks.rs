//! Blocks and transactions, good and bad.

use polkadot_sdk::*;
use sp_core::H256;
use sp_keyring::Sr25519Keyring;
use sp_runtime::{traits::Header as _, transaction_validity::InvalidTransaction};

use super::chain::Chain;
use crate::{
    constants::{money::OPEN, time::EPOCH_DURATION_IN_SLOTS},
    AccountId, Balances, Executive, Runtime, RuntimeCall, Token,
};

#[test]
fn a_block_that_was_made_executes_to_the_same_state() {
    // GIVEN a block with a transfer in it
    let mut author = Chain::new("development");
    let dest = AccountId::from([7; 32]);
    let call =
        pallet_balances::Call::transfer_keep_alive { dest: dest.clone().into(), value: OPEN };
    let transfer = author.signed(Sr25519Keyring::Bob, call.into());
    let block = author.block(vec![transfer]);
    assert_eq!(block.extrinsics.len(), 2, "the timestamp and the transfer");

    // WHEN somebody else executes it
    let mut importer = Chain::new("development");
    importer.state(|| Executive::execute_block(block.into()));

    // THEN the money has moved (`execute_block` itself compares the roots of the state)
    importer.state(|| assert_eq!(Balances::free_balance(&dest), OPEN));
}

#[test]
#[should_panic(expected = "Storage root must match")]
fn a_block_with_another_state_root_is_refused() {
    let mut block = Chain::new("development").block(vec![]);
    block.header.set_state_root(H256::repeat_byte(1));
    Chain::new("development").state(|| Executive::execute_block(block.into()));
}

#[test]
fn a_fee_is_split_and_what_is_burnt_is_counted() {
    let mut chain = Chain::new("development");
    let payer = Sr25519Keyring::Bob.to_account_id();
    let before = chain.state(|| (Balances::free_balance(&payer), Token::view_supply()));
    chain.submit(
        Sr25519Keyring::Bob,
        frame_system::Call::<Runtime>::remark { remark: vec![1, 2, 3] },
    );
    chain.state(|| {
        let paid = before.0 - Balances::free_balance(&payer);
        assert!(paid > 0 && paid < OPEN, "a remark costs {paid}");
        let supply = Token::view_supply();
        assert!(supply.burnt > 0 && supply.burnt < paid);
        assert_eq!(supply.issuance, supply.genesis - supply.burnt);
    });
}

#[test]
fn a_transaction_for_another_chain_is_refused() {
    let mut other = Chain::new("development");
    // On the other chain the genesis has another hash.
    other.state(|| frame_system::BlockHash::<Runtime>::insert(0, H256::repeat_byte(1)));
    let call = RuntimeCall::System(frame_system::Call::remark { remark: vec![] });
    let foreign = other.signed(Sr25519Keyring::Bob, call);
    assert_eq!(
        Chain::new("development").validate(&foreign),
        Err(InvalidTransaction::BadProof.into())
    );
}

#[test]
fn sessions_pass_and_the_validators_stay() {
    let blocks = 2 * EPOCH_DURATION_IN_SLOTS + 1;
    let mut chain = Chain::new("local_testnet");
    chain.run(blocks);
    chain.state(|| {
        assert_eq!(pallet_session::CurrentIndex::<Runtime>::get(), 2);
        assert_eq!(pallet_session::Validators::<Runtime>::get().len(), 2);
        assert_eq!(pallet_mmr::NumberOfLeaves::<Runtime>::get(), u64::from(blocks));
    });
}
