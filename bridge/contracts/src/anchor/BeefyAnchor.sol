// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LibBit} from "solady/utils/LibBit.sol";
import {BeefyCodec, Commitment, Leaf} from "./BeefyCodec.sol";
import {IBeefyAnchor} from "../interfaces/IBeefyAnchor.sol";
import {ISuperchainConfig} from "../interfaces/ISuperchainConfig.sol";
import {AuthorityTree} from "../libraries/AuthorityTree.sol";
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
    using BeefyCodec for Commitment;

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

    /// @dev One word of storage. The next set's id is `currentId + 1`.
    struct State {
        uint64 currentId;
        uint32 currentLength;
        uint32 nextLength;
        uint32 latestBlock;
        uint40 acceptedAt;
        bool frozen;
    }

    /// @notice A root was accepted.
    event Anchored(uint32 indexed blockNumber, uint64 indexed validatorSetId, bytes32 mmrRoot);
    /// @notice The set that comes next became known.
    event AuthoritiesChanged(uint64 indexed id, uint32 length, bytes32 root);
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

    State private _state;
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
        _state = State({
            currentId: _current.id,
            currentLength: _current.length,
            nextLength: _next.length,
            latestBlock: 0,
            acceptedAt: uint40(block.timestamp),
            frozen: false
        });
        _roots[_current.id & 1] = _current.root;
        _roots[_next.id & 1] = _next.root;
        for (uint256 i; i < REMEMBERED; ++i) {
            _anchors[i] = bytes32(uint256(1));
        }
        emit AuthoritiesChanged(_current.id, _current.length, _current.root);
        emit AuthoritiesChanged(_next.id, _next.length, _next.root);
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
        State memory state = _state;
        if (state.frozen) revert BeefyAnchor_Frozen();
        if (block.timestamp > state.acceptedAt + maxStaleness) revert BeefyAnchor_Stale();
        if (_c.blockNumber <= state.latestBlock) revert BeefyAnchor_OldBlock();
        if (_c.mmrRoot == 0) revert BeefyAnchor_ZeroRoot();

        _checkQuorum(state, _c, _bitmap, _signatures, _validators);

        Leaf memory leaf = BeefyCodec.decode(_leaf, domain, _c.blockNumber - 1);
        if (Mmr.rootOf(keccak256(_leaf), _c.blockNumber - 1, _c.blockNumber, _proof) != _c.mmrRoot) {
            revert BeefyAnchor_WrongRoot();
        }

        // Whoever signs in a session, its leaves name the set of the session after it.
        if (leaf.nextId != _c.validatorSetId + 1) revert BeefyAnchor_WrongHandover();
        if (_c.validatorSetId == state.currentId) {
            if (leaf.nextLength != state.nextLength) revert BeefyAnchor_WrongHandover();
            if (leaf.nextRoot != _roots[leaf.nextId & 1]) revert BeefyAnchor_WrongHandover();
        } else {
            if (leaf.nextLength == 0 || leaf.nextRoot == 0) revert BeefyAnchor_WrongHandover();
            state.currentId = _c.validatorSetId;
            state.currentLength = state.nextLength;
            state.nextLength = leaf.nextLength;
            _roots[leaf.nextId & 1] = leaf.nextRoot;
            emit AuthoritiesChanged(leaf.nextId, leaf.nextLength, leaf.nextRoot);
        }
        state.latestBlock = _c.blockNumber;
        state.acceptedAt = uint40(block.timestamp);
        _state = state;

        bytes32 digest = _digest(_c.blockNumber, _c.mmrRoot);
        _anchors[uint256(digest) % REMEMBERED] = digest;
        emit Anchored(_c.blockNumber, _c.validatorSetId, _c.mmrRoot);
    }

    /// @notice Shows that quorums of known sets signed two roots for one block. The bridge then stands still for ever.
    function reportConflict(Attestation calldata _a, Attestation calldata _b) external {
        State memory state = _state;
        if (state.frozen) revert BeefyAnchor_Frozen();
        if (_a.commitment.blockNumber != _b.commitment.blockNumber) revert BeefyAnchor_NoConflict();
        if (_a.commitment.mmrRoot == _b.commitment.mmrRoot) revert BeefyAnchor_NoConflict();
        _checkQuorum(state, _a.commitment, _a.bitmap, _a.signatures, _a.validators);
        _checkQuorum(state, _b.commitment, _b.bitmap, _b.signatures, _b.validators);
        _state.frozen = true;
        emit Frozen(_b.commitment.hash());
        config.freeze();
    }

    /// @inheritdoc IBeefyAnchor
    function checkLeaf(bytes calldata _leaf, bytes32[] calldata _proof, uint32 _leafIndex, uint32 _anchoredBlock)
        external
        view
        returns (bytes32 leafHash_, Leaf memory leaf_)
    {
        if (_state.frozen) revert BeefyAnchor_Frozen();
        if (stale()) revert BeefyAnchor_Stale();
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
        return _state.latestBlock;
    }

    /// @notice When the newest commitment was accepted.
    function acceptedAt() external view returns (uint64) {
        return _state.acceptedAt;
    }

    /// @inheritdoc IBeefyAnchor
    function frozen() external view returns (bool) {
        return _state.frozen;
    }

    /// @notice Whether nothing was accepted for more than `maxStaleness` seconds.
    function stale() public view returns (bool) {
        return block.timestamp > _state.acceptedAt + maxStaleness;
    }

    /// @notice The set whose session it is, as far as this contract knows.
    function currentSet() external view returns (AuthoritySet memory) {
        State memory state = _state;
        return AuthoritySet(state.currentId, state.currentLength, _roots[state.currentId & 1]);
    }

    /// @notice The set that follows it.
    function nextSet() external view returns (AuthoritySet memory) {
        State memory state = _state;
        return AuthoritySet(state.currentId + 1, state.nextLength, _roots[(state.currentId + 1) & 1]);
    }

    /// @notice How many of `_length` validators must sign: all but the largest number below a third.
    function quorum(uint256 _length) public pure returns (uint256) {
        return _length - (_length - 1) / 3;
    }

    /// @dev Reverts unless a quorum of the current or the next set signed `_c`.
    function _checkQuorum(
        State memory _known,
        Commitment calldata _c,
        uint256[] calldata _bitmap,
        bytes calldata _signatures,
        bytes calldata _validators
    ) private view {
        bool isNext = _c.validatorSetId == uint256(_known.currentId) + 1;
        if (!isNext && _c.validatorSetId != _known.currentId) revert BeefyAnchor_UnknownSet();
        uint256 length = isNext ? _known.nextLength : _known.currentLength;

        if (_validators.length != length * AuthorityTree.ADDRESS_LENGTH) revert BeefyAnchor_WrongValidators();
        if (_bitmap.length != (length + 255) / 256) revert BeefyAnchor_BitmapLength();
        // A shift by a whole number of words is none: a full last word has no padding.
        if (length % 256 != 0 && _bitmap[_bitmap.length - 1] >> (length % 256) != 0) {
            revert BeefyAnchor_BitmapPadding();
        }
        uint256 given;
        for (uint256 i; i < _bitmap.length; ++i) {
            given += LibBit.popCount(_bitmap[i]);
        }
        if (given < quorum(length)) revert BeefyAnchor_NoQuorum(given, quorum(length));
        if (_signatures.length != given * SIGNATURE_LENGTH) revert BeefyAnchor_SignaturesLength();
        if (AuthorityTree.rootOf(_validators) != _roots[_c.validatorSetId & 1]) revert BeefyAnchor_WrongValidators();
        _checkSignatures(_c.hash(), length, _bitmap, _signatures, _validators);
    }

    /// @dev Every bit's signature must be that bit's validator's. Lengths were checked by the caller.
    function _checkSignatures(
        bytes32 _message,
        uint256 _length,
        uint256[] calldata _bitmap,
        bytes calldata _signatures,
        bytes calldata _validators
    ) private view {
        // What is wrong (1 high s, 2 wrong v, 3 not the validator's) and with which validator.
        uint256 fault;
        uint256 validator;
        assembly ("memory-safe") {
            // Behind the free pointer: hash, v, r, s for the precompile.
            let input := mload(0x40)
            mstore(input, _message)
            let signature := _signatures.offset
            let place := _validators.offset
            let word := 0
            for {} lt(validator, _length) { validator := add(validator, 1) } {
                if iszero(and(validator, 0xff)) {
                    word := calldataload(add(_bitmap.offset, shr(3, validator)))
                }
                if and(word, 1) {
                    let v := byte(0, calldataload(add(signature, 0x40)))
                    mstore(add(input, 0x20), v)
                    calldatacopy(add(input, 0x40), signature, 0x40)
                    if gt(mload(add(input, 0x60)), HALF_ORDER) {
                        fault := 1
                        break
                    }
                    if gt(sub(v, 27), 1) {
                        fault := 2
                        break
                    }
                    // The precompile writes nothing if there is no such key: then zero stays.
                    mstore(0x00, 0)
                    pop(staticcall(gas(), 1, input, 0x80, 0x00, 0x20))
                    let signer := mload(0x00)
                    if or(iszero(signer), sub(signer, shr(96, calldataload(place)))) {
                        fault := 3
                        break
                    }
                    signature := add(signature, 65)
                }
                word := shr(1, word)
                place := add(place, 20)
            }
        }
        if (fault == 1) revert BeefyAnchor_HighS(validator);
        if (fault == 2) revert BeefyAnchor_WrongV(validator);
        if (fault == 3) revert BeefyAnchor_BadSignature(validator);
    }

    /// @dev One word that names a root and its block.
    function _digest(uint32 _blockNumber, bytes32 _mmrRoot) private pure returns (bytes32 digest_) {
        assembly ("memory-safe") {
            mstore(0x00, _blockNumber)
            mstore(0x20, _mmrRoot)
            digest_ := keccak256(0x00, 0x40)
        }
    }
}
