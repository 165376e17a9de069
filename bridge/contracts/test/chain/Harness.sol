// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BeefyCodec, Commitment, Leaf} from "../../src/anchor/BeefyCodec.sol";
import {AuthorityTree} from "../../src/libraries/AuthorityTree.sol";
import {Hashing} from "../../src/libraries/Hashing.sol";
import {MerkleTree} from "../../src/libraries/MerkleTree.sol";
import {Mmr} from "../../src/libraries/Mmr.sol";
import {Types} from "../../src/libraries/Types.sol";

/// @notice The libraries behind addresses, so that their arguments are call data.
contract Harness {
    function mmr(bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata proof) external pure returns (bytes32) {
        return Mmr.rootOf(leaf, index, count, proof);
    }

    function newest(bytes32 leaf, uint256 count, bytes32[] calldata proof) external pure returns (bytes32) {
        return Mmr.rootOfLast(leaf, count, proof);
    }

    function withdrawal(bytes32 leaf, uint256 index, bytes calldata proof) external pure returns (bytes32) {
        return MerkleTree.rootOf(leaf, index, proof);
    }

    function authorities(bytes calldata packed) external pure returns (bytes32) {
        return AuthorityTree.rootOf(packed);
    }

    function commitment(Commitment calldata c) external pure returns (bytes32) {
        return BeefyCodec.hash(c.mmrRoot, c.blockNumber, c.validatorSetId);
    }

    function leaf(bytes calldata data, bytes32 domain, uint32 number) external pure returns (Leaf memory) {
        return BeefyCodec.decode(data, domain, number);
    }

    function message(Types.WithdrawalTransaction calldata w) external pure returns (bytes32) {
        return Hashing.hashWithdrawal(w);
    }
}
