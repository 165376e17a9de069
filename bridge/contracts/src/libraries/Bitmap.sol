// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Who of a set signed, one bit each: member `i` is bit `i % 256` of word `i / 256`.
library Bitmap {
    /// @notice Words that a set of `_length` members takes.
    function wordsFor(uint256 _length) internal pure returns (uint256) {
        // Lengths are 32 bits wide.
        unchecked {
            return (_length + 255) / 256;
        }
    }

    /// @notice Whether a bit beyond the last of `_length` members is set in the last word.
    /// @dev The set is not empty: its last member has a bit there, and above it nothing may be left.
    function hasPadding(uint256 _lastWord, uint256 _length) internal pure returns (bool) {
        unchecked {
            return _lastWord >> ((_length - 1) % 256) > 1;
        }
    }

    /// @notice Word `_i`, which the caller knows to be there.
    function word(uint256[] calldata _bitmap, uint256 _i) internal pure returns (uint256 word_) {
        assembly ("memory-safe") {
            word_ := calldataload(add(_bitmap.offset, shl(5, _i)))
        }
    }
}
