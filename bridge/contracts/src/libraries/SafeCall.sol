// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Calls that get the gas they were promised, or do not happen.
library SafeCall {
    /// @notice The caller gave less gas than the message was promised.
    error SafeCall_NotEnoughGas();

    /// @dev Kept back for the opcode itself (cold account) and for what the caller does afterwards.
    uint256 internal constant RESERVED = 45_000;

    /// @notice Calls `_target` with at least `_minGas`, or reverts, so that nobody can make a message fail by giving it
    /// too little. A call gets at most 63/64 of what is left: that is part of the sum.
    /// @dev The return data is not copied: a target cannot make the caller pay for memory.
    function callWithMinGas(address _target, uint256 _minGas, bytes memory _data) internal returns (bool success_) {
        // Checked arithmetic: an absurd `_minGas` reverts here.
        if (gasleft() * 63 < _minGas * 64 + RESERVED * 63) revert SafeCall_NotEnoughGas();
        assembly ("memory-safe") {
            success_ := call(gas(), _target, 0, add(_data, 0x20), mload(_data), 0, 0)
        }
    }
}
