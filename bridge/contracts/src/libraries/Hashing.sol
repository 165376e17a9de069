// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Types} from "./Types.sol";

/// @notice Hashes that both chains compute.
library Hashing {
    /// @notice Leaf of the withdrawal tree.
    function hashWithdrawal(Types.WithdrawalTransaction calldata _tx) internal pure returns (bytes32) {
        return keccak256(abi.encode(_tx.nonce, _tx.sender, _tx.target, _tx.value, _tx.gasLimit, _tx.data));
    }

    /// @notice Output root: four words, hashed as they are.
    function hashOutputRootProof(Types.OutputRootProof memory _proof) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(_proof.version, _proof.stateRoot, _proof.messagePasserStorageRoot, _proof.latestBlockhash)
        );
    }

    /// @notice What stands for one deposit in the rolling hash.
    function hashDeposit(address _from, address _to, uint256 _version, bytes memory _opaqueData)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(_from, _to, _version, _opaqueData));
    }

    /// @notice Ties a leaf to one pair of portal and chain: `keccak(chain id ‖ portal ‖ L2 genesis)`, a word each.
    function domain(uint256 _chainId, address _portal, bytes32 _l2Genesis) internal pure returns (bytes32) {
        return keccak256(abi.encode(_chainId, _portal, _l2Genesis));
    }
}
