// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Shifts a contract's address, so that it cannot pass for an account with the same address on L2.
library AddressAliasHelper {
    uint160 internal constant OFFSET = uint160(0x1111000000000000000000000000000000001111);

    /// @notice The name under which L2 knows the L1 contract `_l1`.
    function applyL1ToL2Alias(address _l1) internal pure returns (address) {
        unchecked {
            return address(uint160(_l1) + OFFSET);
        }
    }
}
