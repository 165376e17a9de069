// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "./Vm.sol";

/// @notice Assertions and little helpers.
abstract contract Test {
    error AssertionFailed(string what, bytes32 left, bytes32 right);

    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @dev The time after the last `warp`. (The optimiser takes `block.timestamp` for a constant of the transaction.)
    function time() internal view returns (uint256) {
        return vm.getBlockTimestamp();
    }

    /// @dev The block after the last `roll`.
    function height() internal view returns (uint256) {
        return vm.getBlockNumber();
    }

    /// @dev Making a contract of `code` (creation code, arguments behind it) must fail for the reason given. `new` after
    /// `expectRevert` would not do: forge makes a call of its own of it.
    function refuseCreation(bytes memory code, bytes4 reason) internal {
        address made;
        bytes memory why;
        assembly ("memory-safe") {
            made := create(0, add(code, 0x20), mload(code))
            why := mload(0x40)
            mstore(why, returndatasize())
            returndatacopy(add(why, 0x20), 0, returndatasize())
            mstore(0x40, add(add(why, 0x20), and(add(returndatasize(), 31), not(31))))
        }
        assertEq(made, address(0), "must not come to be");
        assertEq(bytes32(bytes4(why)), bytes32(reason), "reason");
    }

    function assertTrue(bool condition, string memory what) internal pure {
        if (!condition) revert AssertionFailed(what, 0, 0);
    }

    function assertFalse(bool condition, string memory what) internal pure {
        assertTrue(!condition, what);
    }

    function assertEq(uint256 left, uint256 right, string memory what) internal pure {
        if (left != right) revert AssertionFailed(what, bytes32(left), bytes32(right));
    }

    function assertEq(bytes32 left, bytes32 right, string memory what) internal pure {
        if (left != right) revert AssertionFailed(what, left, right);
    }

    function assertEq(address left, address right, string memory what) internal pure {
        assertEq(uint256(uint160(left)), uint256(uint160(right)), what);
    }

    function assertEq(bytes memory left, bytes memory right, string memory what) internal pure {
        if (keccak256(left) != keccak256(right)) {
            revert AssertionFailed(what, keccak256(left), keccak256(right));
        }
    }

    function assertLe(uint256 left, uint256 right, string memory what) internal pure {
        if (left > right) revert AssertionFailed(what, bytes32(left), bytes32(right));
    }

    /// @dev Brings a random number into `[low, high]`.
    function bound(uint256 x, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + x % (high - low + 1);
    }

    /// @dev A copy of a list with one item more (or one less, `cut`).
    function resized(bytes32[] memory list, int256 by) internal pure returns (bytes32[] memory out) {
        out = new bytes32[](uint256(int256(list.length) + by));
        for (uint256 i; i < out.length && i < list.length; ++i) {
            out[i] = list[i];
        }
    }

    /// @dev A copy of bytes with another length; what is new is zero.
    function resized(bytes memory data, int256 by) internal pure returns (bytes memory out) {
        out = new bytes(uint256(int256(data.length) + by));
        for (uint256 i; i < out.length && i < data.length; ++i) {
            out[i] = data[i];
        }
    }

    /// @dev A copy of bytes with byte `place` xored.
    function mutated(bytes memory data, uint256 place, uint8 with) internal pure returns (bytes memory out) {
        out = bytes.concat(data);
        out[place] = bytes1(uint8(out[place]) ^ with);
    }

    function unpackWords(bytes memory packed) internal pure returns (bytes32[] memory words) {
        words = new bytes32[](packed.length / 32);
        for (uint256 i; i < words.length; ++i) {
            assembly ("memory-safe") {
                mstore(add(add(words, 0x20), mul(i, 0x20)), mload(add(add(packed, 0x20), mul(i, 0x20))))
            }
        }
    }
}
