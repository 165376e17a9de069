// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice What the bridge and the messenger ask of the portal.
interface IOptimismPortal {
    /// @notice Who sent, on L2, the message being delivered right now (or the default sender).
    function l2Sender() external view returns (address);
    /// @notice Writes a deposit.
    function depositTransaction(address to, uint256 value, uint64 gasLimit, bool isCreation, bytes calldata data)
        external
        payable;
    /// @notice The least gas for a deposit with that much data.
    function minimumGasLimit(uint64 byteCount) external pure returns (uint64);
}
