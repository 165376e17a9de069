// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Leaf} from "../anchor/BeefyCodec.sol";

/// @notice What the other contracts ask of the anchor.
interface IBeefyAnchor {
    /// @notice The newest L2 block whose MMR root was accepted.
    function latestBlock() external view returns (uint32);
    /// @notice Whether two quorums contradicted each other. There is no way back.
    function frozen() external view returns (bool);
    /// @notice Checks a leaf under a remembered anchor and takes it apart; reverts if it is not there.
    /// @param leaf 185 bytes.
    /// @param proof Items in the order in which the chain makes them.
    /// @param leafIndex The L2 block that the leaf describes.
    /// @param anchoredBlock The block of the anchor.
    function checkLeaf(bytes calldata leaf, bytes32[] calldata proof, uint32 leafIndex, uint32 anchoredBlock)
        external
        view
        returns (bytes32 leafHash, Leaf memory decoded);
}
