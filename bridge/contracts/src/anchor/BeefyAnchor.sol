// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LibBit} from "solady/utils/LibBit.sol";
import {AnchorState, AnchorStates} from "./AnchorState.sol";
import {BeefyCodec, Commitment, Leaf} from "./BeefyCodec.sol";
import {IBeefyAnchor} from "../interfaces/IBeefyAnchor.sol";
import {ISuperchainConfig} from "../interfaces/ISuperchainConfig.sol";
import {AuthorityTree} from "../libraries/AuthorityTree.sol";
import {Bitmap} from "../libraries/Bitmap.sol";
import {Mmr} from "../libraries/Mmr.sol";

/// @title BeefyAnchor
/// @notice L2's finality on Ethereum: MMR roots that a full quorum of L2's validators signed.
/// @dev Terms. *Commitment*: what validators sign about a block. *Set*: the validators of one session, known here by the
/// root of a tree over their addresses. *Handover*: a commitment of the next set, whose leaf names the set after it.
///
/// What holds: (1) every accepted root was signed by `quorum(n)` members of the current or the next set, each counted
/// once; (2) block numbers only grow; (3) sets follow each other one by one; (4) a leaf is proven under each accepted
/// root, and it names this portal and this chain; (5) after two contradicting quorums, or after too long a silence
/// (keys of sets long gone prove nothing), nothing is accepted any more.
contract BeefyAnchor is IBeefyAnchor {
    /// @notice A commitment with the signatures under it.
    /// @param commitment What was signed.
    /// @param bitmap Who signed: validator `i` is bit `i % 256` of word `i / 256`.
    /// @param signatures 65 bytes each, `r ‖ s ‖ v`, in the order of the bits.
    /// @param validators The whole set, 20 bytes each, in its order.
    struct Attestation {
        Commitment commitment;
        uint256[] bitmap;
        bytes signatures;
        bytes validators;
    }

    /// @notice A set of validators.
    /// @param id Its number on L2.
    /// @param length How many they are.
    /// @param root Root of the tree over their addresses.
    struct AuthoritySet {
        uint64 id;
        uint32 length;
        bytes32 root;
    }

    /// @notice A root was accepted. If the set is not that of the event before, it took over (`nextSet` names the one after).
    event Anchored(uint32 indexed blockNumber, uint64 indexed validatorSetId, bytes32 mmrRoot);
    /// @notice Two quorums contradicted each other; `reason` is the hash of the second commitment.
    event Frozen(bytes32 reason);

    /// @notice The bridge is frozen for ever.
    error BeefyAnchor_Frozen();
    /// @notice Nothing was accepted for too long: old keys prove nothing now.
    error BeefyAnchor_Stale();
    /// @notice A root at this height or above is known.
    error BeefyAnchor_OldBlock();
    /// @notice The zero root is not a root.
    error BeefyAnchor_ZeroRoot();
    /// @notice Neither the current nor the next set.
    error BeefyAnchor_UnknownSet();
    /// @notice These addresses are not the set.
    error BeefyAnchor_WrongValidators();
    /// @notice The bitmap has one bit for each validator, in as few words as it takes.
    error BeefyAnchor_BitmapLength();
    /// @notice Bits beyond the last validator must be zero.
    error BeefyAnchor_BitmapPadding();
    /// @notice Too few signatures.
    error BeefyAnchor_NoQuorum(uint256 given, uint256 needed);
    /// @notice 65 bytes for each bit that is set.
    error BeefyAnchor_SignaturesLength();
    /// @notice High s: the other form of a signature.
    error BeefyAnchor_HighS(uint256 validator);
    /// @notice v is 27 or 28.
    error BeefyAnchor_WrongV(uint256 validator);
    /// @notice Not this validator's signature.
    error BeefyAnchor_BadSignature(uint256 validator);
    /// @notice The leaf is not in the range that was signed.
    error BeefyAnchor_WrongRoot();
    /// @notice The leaf's next set is not the one that must follow.
    error BeefyAnchor_WrongHandover();
    /// @notice The proof leads to a root that is not remembered.
    error BeefyAnchor_NotAnchored();
    /// @notice The two commitments do not contradict each other.
    error BeefyAnchor_NoConflict();
    /// @notice Sets and domain must not be empty.
    error BeefyAnchor_BadSetup();

    /// @notice How many roots are remembered.
    uint256 public constant REMEMBERED = 64;

    uint256 private constant SIGNATURE_LENGTH = 65;
    /// @dev Half of the order of secp256k1: s above it is the mirrored form of the same signature.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice Ties this anchor to one portal and one chain: `keccak(chain id ‖ portal ‖ L2 genesis)`.
    bytes32 public immutable domain;
    /// @notice Seconds without an accepted commitment after which none is accepted.
    uint256 public immutable maxStaleness;
    /// @notice Learns of a freeze.
    ISuperchainConfig public immutable config;

    AnchorState private _state;
    /// @dev Roots of the current and the next set, each at the parity of its id.
    bytes32[2] private _roots;
    /// @dev Digests of `(block, root)`, each at the place that its own last bits name. Filled with ones at first, so that
    /// every commitment costs the same.
    bytes32[REMEMBERED] private _anchors;

    /// @param _domain See `domain`.
    /// @param _config Who is told of a freeze.
    /// @param _maxStaleness See `maxStaleness`.
    /// @param _current The set of L2's session at the time.
    /// @param _next The set after it.
    constructor(
        bytes32 _domain,
        ISuperchainConfig _config,
        uint256 _maxStaleness,
        AuthoritySet memory _current,
        AuthoritySet memory _next
    ) {
        if (_domain == 0 || _maxStaleness == 0) revert BeefyAnchor_BadSetup();
        if (_current.root == 0 || _current.length == 0) revert BeefyAnchor_BadSetup();
        if (_next.root == 0 || _next.length == 0 || _next.id != _current.id + 1) revert BeefyAnchor_BadSetup();
        domain = _domain;
        config = _config;
        maxStaleness = _maxStaleness;
        _state = AnchorStates.pack(_current.id, _current.length, _next.length, 0, block.timestamp);
        _roots[_current.id & 1] = _current.root;
        _roots[_next.id & 1] = _next.root;
        for (uint256 i; i < REMEMBERED; ++i) {
            _anchors[i] = bytes32(uint256(1));
        }
    }

    /// @notice Brings a newer root. Anyone may.
    /// @param _c What validators signed.
    /// @param _bitmap Who signed, one bit each.
    /// @param _signatures 65 bytes for each bit that is set, in that order; v is 27 or 28.
    /// @param _validators The whole set that signed, 20 bytes each.
    /// @param _leaf The newest leaf of the range, 185 bytes: it describes the block before the commitment's.
    /// @param _proof That leaf's proof in a range of `_c.blockNumber` leaves.
    function submit(
        Commitment calldata _c,
        uint256[] calldata _bitmap,
        bytes calldata _signatures,
        bytes calldata _validators,
        bytes calldata _leaf,
        bytes32[] calldata _proof
    ) external {
        AnchorState state = _state;
        if (state.frozen()) revert BeefyAnchor_Frozen();
        if (_isStale(state)) revert BeefyAnchor_Stale();
        if (_c.blockNumber <= state.latestBlock()) revert BeefyAnchor_OldBlock();
        if (_c.mmrRoot == 0) revert BeefyAnchor_ZeroRoot();

        bool isHandover = _checkSigned(state, _c, _bitmap, _signatures, _validators);
        _checkNewestLeaf(_c, _leaf, _proof);
        _accept(state, _c, isHandover, _leaf);
    }

    /// @notice Shows that quorums of known sets signed two roots for one block. The bridge then stands still for ever.
    function reportConflict(Attestation calldata _a, Attestation calldata _b) external {
        AnchorState state = _state;
        if (state.frozen()) revert BeefyAnchor_Frozen();
        if (_a.commitment.blockNumber != _b.commitment.blockNumber) revert BeefyAnchor_NoConflict();
        if (_a.commitment.mmrRoot == _b.commitment.mmrRoot) revert BeefyAnchor_NoConflict();
        _checkSigned(state, _a.commitment, _a.bitmap, _a.signatures, _a.validators);
        _checkSigned(state, _b.commitment, _b.bitmap, _b.signatures, _b.validators);
        _state = state.freeze();
        emit Frozen(_hashOf(_b.commitment));
        config.freeze();
    }

    /// @inheritdoc IBeefyAnchor
    function checkLeaf(bytes calldata _leaf, bytes32[] calldata _proof, uint32 _leafIndex, uint32 _anchoredBlock)
        external
        view
        returns (bytes32 leafHash_, Leaf memory leaf_)
    {
        AnchorState state = _state;
        if (state.frozen()) revert BeefyAnchor_Frozen();
        if (_isStale(state)) revert BeefyAnchor_Stale();
        leaf_ = BeefyCodec.decode(_leaf, domain, _leafIndex);
        leafHash_ = keccak256(_leaf);
        bytes32 root = Mmr.rootOf(leafHash_, _leafIndex, _anchoredBlock, _proof);
        if (!isAnchored(_anchoredBlock, root)) revert BeefyAnchor_NotAnchored();
    }

    /// @notice Whether this root of this block was accepted and is still remembered.
    function isAnchored(uint32 _blockNumber, bytes32 _mmrRoot) public view returns (bool) {
        bytes32 digest = _digest(_blockNumber, _mmrRoot);
        return _anchors[uint256(digest) % REMEMBERED] == digest;
    }

    /// @inheritdoc IBeefyAnchor
    function latestBlock() external view returns (uint32) {
        return uint32(_state.latestBlock());
    }

    /// @notice When the newest commitment was accepted.
    function acceptedAt() external view returns (uint64) {
        return uint64(_state.acceptedAt());
    }

    /// @inheritdoc IBeefyAnchor
    function frozen() external view returns (bool) {
        return _state.frozen();
    }

    /// @notice Whether nothing was accepted for more than `maxStaleness` seconds.
    function stale() public view returns (bool) {
        return _isStale(_state);
    }

    /// @notice The set whose session it is, as far as this contract knows.
    function currentSet() external view returns (AuthoritySet memory) {
        AnchorState state = _state;
        uint256 id = state.currentId();
        return AuthoritySet(uint64(id), uint32(state.currentLength()), _roots[id & 1]);
    }

    /// @notice The set that follows it.
    function nextSet() external view returns (AuthoritySet memory) {
        AnchorState state = _state;
        uint256 id = state.currentId() + 1;
        return AuthoritySet(uint64(id), uint32(state.nextLength()), _roots[id & 1]);
    }

    /// @notice How many of `_length` validators must sign: all but the largest number below a third.
    function quorum(uint256 _length) public pure returns (uint256) {
        return _length == 0 ? 0 : _quorum(_length);
    }

    /// @dev The same for a set that is not empty.
    function _quorum(uint256 _length) private pure returns (uint256) {
        unchecked {
            return _length - (_length - 1) / 3;
        }
    }

    /// @dev Reverts unless the leaf is the newest under the root of `_c`, and made for this portal and chain.
    function _checkNewestLeaf(Commitment calldata _c, bytes calldata _leaf, bytes32[] calldata _proof) private view {
        uint256 number = _c.blockNumber;
        // The number is above that of another block, and so at least 1.
        unchecked {
            BeefyCodec.check(_leaf, domain, number - 1);
        }
        if (Mmr.rootOfLast(_hashOf(_leaf), number, _proof) != _c.mmrRoot) revert BeefyAnchor_WrongRoot();
    }

    /// @dev Checks which set the leaf names, and writes down what is new.
    function _accept(AnchorState _known, Commitment calldata _c, bool _isHandover, bytes calldata _leaf) private {
        uint256 id = _c.validatorSetId;
        uint256 length = _known.nextLength();
        // Whoever signs in a session, its leaves name the set of the session after it.
        (uint256 nextId, uint256 nextLength, bytes32 nextRoot) = BeefyCodec.nextSet(_leaf);
        unchecked {
            if (nextId != id + 1) revert BeefyAnchor_WrongHandover();
        }
        if (_isHandover) {
            if (nextLength == 0 || nextRoot == 0) revert BeefyAnchor_WrongHandover();
            _roots[nextId & 1] = nextRoot;
        } else {
            if (nextLength != length) revert BeefyAnchor_WrongHandover();
            if (nextRoot != _roots[nextId & 1]) revert BeefyAnchor_WrongHandover();
            length = _known.currentLength();
        }
        uint256 number = _c.blockNumber;
        _state = AnchorStates.pack(id, length, nextLength, number, block.timestamp);
        bytes32 digest = _digest(number, _c.mmrRoot);
        _anchors[uint256(digest) % REMEMBERED] = digest;
        emit Anchored(uint32(number), uint64(id), _c.mmrRoot);
    }

    /// @dev Whether the last acceptance is more than `maxStaleness` seconds ago.
    function _isStale(AnchorState _known) private view returns (bool) {
        // That time is never in the future.
        unchecked {
            return block.timestamp - _known.acceptedAt() > maxStaleness;
        }
    }

    /// @dev Whether `_id` is the next set; reverts if it is not the current one either.
    function _isNext(AnchorState _known, uint256 _id) private pure returns (bool isNext_) {
        unchecked {
            // 0 or 1 for the two that are known; below zero is far above.
            uint256 ahead = _id - _known.currentId();
            if (ahead > 1) revert BeefyAnchor_UnknownSet();
            isNext_ = ahead == 1;
        }
    }

    /// @dev Reverts unless a quorum of the current or the next set signed `_c`; says whether it was the next.
    function _checkSigned(
        AnchorState _known,
        Commitment calldata _c,
        uint256[] calldata _bitmap,
        bytes calldata _signatures,
        bytes calldata _validators
    ) private view returns (bool isNext_) {
        isNext_ = _isNext(_known, _c.validatorSetId);
        uint256 length = isNext_ ? _known.nextLength() : _known.currentLength();
        _checkQuorum(length, _bitmap, _signatures.length);
        unchecked {
            if (_validators.length != length * AuthorityTree.ADDRESS_LENGTH) revert BeefyAnchor_WrongValidators();
        }
        if (AuthorityTree.rootOf(_validators) != _roots[_c.validatorSetId & 1]) revert BeefyAnchor_WrongValidators();
        _checkSignatures(_hashOf(_c), _bitmap, _signatures, _validators);
    }

    /// @dev Reverts unless the bitmap is one for `_length` validators, with a quorum in it and so many signatures beside it.
    function _checkQuorum(uint256 _length, uint256[] calldata _bitmap, uint256 _signaturesLength) private pure {
        unchecked {
            uint256 words = _bitmap.length;
            if (words != Bitmap.wordsFor(_length)) revert BeefyAnchor_BitmapLength();
            // A set is never empty, so that there is a last word.
            if (Bitmap.hasPadding(Bitmap.word(_bitmap, words - 1), _length)) revert BeefyAnchor_BitmapPadding();
            uint256 given;
            for (uint256 i; i < words; ++i) {
                given += LibBit.popCount(Bitmap.word(_bitmap, i));
            }
            if (given < _quorum(_length)) revert BeefyAnchor_NoQuorum(given, _quorum(_length));
            if (_signaturesLength != given * SIGNATURE_LENGTH) revert BeefyAnchor_SignaturesLength();
        }
    }

    /// @dev Every bit's signature must be that bit's validator's. Lengths and padding were checked by the caller.
    function _checkSignatures(
        bytes32 _message,
        uint256[] calldata _bitmap,
        bytes calldata _signatures,
        bytes calldata _validators
    ) private view {
        // If one is not its validator's: where it begins in the call data, and which validator that is.
        bool fault;
        uint256 signature;
        uint256 validator;
        assembly ("memory-safe") {
            // All of the memory below the free pointer's target is ours for a while: hash, v, r, s for the precompile.
            let free := mload(0x40)
            mstore(0x00, _message)
            signature := _signatures.offset
            let words := _bitmap.offset
            let end := add(words, shl(5, _bitmap.length))
            for { let first := _validators.offset } lt(words, end) { first := add(first, 5120) } {
                let place := first
                // Until no bit is left. Validators after the last who signed need no look.
                for { let word := calldataload(words) } word { word := shr(1, word) } {
                    if and(word, 1) {
                        mstore(0x20, byte(0, calldataload(add(signature, 0x40))))
                        calldatacopy(0x40, signature, 0x40)
                        // The precompile writes nothing if there is no such key, or if v is not 27 or 28: then zero stays.
                        mstore(free, 0)
                        pop(staticcall(gas(), 1, 0x00, 0x80, free, 0x20))
                        let signer := mload(free)
                        if or(
                            gt(mload(0x60), HALF_ORDER),
                            or(iszero(signer), xor(signer, shr(96, calldataload(place))))
                        ) {
                            fault := 1
                            validator := div(sub(place, _validators.offset), 20)
                            break
                        }
                        signature := add(signature, 65)
                    }
                    place := add(place, 20)
                }
                if fault { break }
                words := add(words, 0x20)
            }
            mstore(0x40, free)
            mstore(0x60, 0)
        }
        if (fault) _refuse(signature, validator);
    }

    /// @dev Says what is wrong with the signature of `_validator`, which begins at `_at` in the call data.
    function _refuse(uint256 _at, uint256 _validator) private pure {
        uint256 s;
        uint256 v;
        assembly ("memory-safe") {
            s := calldataload(add(_at, 0x20))
            v := byte(0, calldataload(add(_at, 0x40)))
        }
        if (s > HALF_ORDER) revert BeefyAnchor_HighS(_validator);
        if (v != 27 && v != 28) revert BeefyAnchor_WrongV(_validator);
        revert BeefyAnchor_BadSignature(_validator);
    }

    /// @dev What validators sign.
    function _hashOf(Commitment calldata _c) private pure returns (bytes32) {
        return BeefyCodec.hash(_c.mmrRoot, _c.blockNumber, _c.validatorSetId);
    }

    /// @dev keccak of a leaf of the right length.
    function _hashOf(bytes calldata _leaf) private pure returns (bytes32 hash_) {
        assembly ("memory-safe") {
            // Behind the free pointer, which stays where it is.
            let free := mload(0x40)
            calldatacopy(free, _leaf.offset, 185)
            hash_ := keccak256(free, 185)
        }
    }

    /// @dev One word that names a root and its block.
    function _digest(uint256 _blockNumber, bytes32 _mmrRoot) private pure returns (bytes32 digest_) {
        assembly ("memory-safe") {
            mstore(0x00, _blockNumber)
            mstore(0x20, _mmrRoot)
            digest_ := keccak256(0x00, 0x40)
        }
    }
}
