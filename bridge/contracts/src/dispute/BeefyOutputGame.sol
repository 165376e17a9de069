// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LibClone} from "solady/utils/LibClone.sol";
import {Leaf} from "../anchor/BeefyCodec.sol";
import {IAnchorStateRegistry} from "../interfaces/IAnchorStateRegistry.sol";
import {IBeefyAnchor} from "../interfaces/IBeefyAnchor.sol";
import {IDisputeGame} from "../interfaces/IDisputeGame.sol";
import {Hashing} from "../libraries/Hashing.sol";
import {Claim, Constants, GameStatus, GameType, Hash, Timestamp, Types} from "../libraries/Types.sol";

/// @title BeefyOutputGame
/// @notice A bonded claim: "at the end of L2 block N the output root is R". It holds if somebody proves it under an
/// anchor; challenged, it must be proven once more, under an anchor that came after the challenge.
/// @dev Life of a game. Made with the proposer's bond → `prove` by anyone → perhaps one `challenge`, with a bond →
/// `attest` by anyone → `resolve` → `claimCredit`. Each game is a clone with its facts in its code: creator (20 bytes),
/// root claim (32), L1 head (32), extra data (32). What holds: a claim is never upheld without a leaf proven under an
/// anchor; every bond is credited once; the state only moves forward.
contract BeefyOutputGame is IDisputeGame {
    /// @notice The claim was shown to be under an anchor.
    event Proven(address indexed prover, uint32 anchoredBlock);
    /// @notice Someone put a bond against the claim; it must be attested by `deadline`.
    event Challenged(address indexed challenger, uint64 deadline);
    /// @notice The claim was shown to be under an anchor younger than the challenge.
    event Attested(address indexed by, uint32 anchoredBlock);

    /// @notice Only the factory starts a game.
    error BeefyOutputGame_NotFactory();
    /// @notice A game starts once.
    error AlreadyInitialized();
    /// @notice The extra data are one word, which holds an L2 block number of 32 bits.
    error BadExtraData();
    /// @notice The game has been decided.
    error GameNotInProgress();
    /// @notice The leaf says something else than the claim.
    error BeefyOutputGame_ClaimMismatch();
    /// @notice It has been proven.
    error BeefyOutputGame_AlreadyProven();
    /// @notice There is a challenge.
    error BeefyOutputGame_AlreadyChallenged();
    /// @notice There is no challenge to answer.
    error BeefyOutputGame_NotChallenged();
    /// @notice It is too late for that.
    error BeefyOutputGame_TooLate();
    /// @notice The anchor is not younger than the challenge.
    error BeefyOutputGame_AnchorTooOld();
    /// @notice It is too early to decide.
    error ClockNotExpired();
    /// @notice A challenger pays `challengeBond`, to the wei.
    error IncorrectBondAmount();
    /// @notice There is nothing to take out.
    error NoCreditToClaim();
    /// @notice The receiver refused its ether.
    error BondTransferFailed();

    uint256 private constant ROOT_OFFSET = 20;
    uint256 private constant HEAD_OFFSET = 52;
    uint256 private constant EXTRA_OFFSET = 84;
    uint256 private constant ARGS_LENGTH = 116;

    /// @notice Version of the interface.
    string public constant version = "1.0.0";

    /// @notice Where roots come from.
    IBeefyAnchor public immutable anchor;
    /// @notice Where decisions go.
    IAnchorStateRegistry public immutable anchorStateRegistry;
    /// @notice Who makes games.
    address public immutable disputeGameFactory;
    /// @notice Seconds in which a claim may be challenged (and must be proven).
    uint64 public immutable challengeDuration;
    /// @notice Seconds in which a challenge must be answered.
    uint64 public immutable attestDuration;
    /// @notice What a challenger pays in, in wei.
    uint256 public immutable challengeBond;

    uint64 private _createdAt;
    uint64 private _resolvedAt;
    GameStatus private _status;
    /// @notice Whether the claim was shown to be under an anchor.
    bool public proven;
    /// @notice Whether a challenge was answered.
    bool public attested;

    /// @notice Who put a bond against the claim, or zero.
    address public challenger;
    /// @notice When.
    uint64 public challengedAt;
    /// @notice The newest anchor at that time: an answer must be younger.
    uint32 public challengedAtBlock;

    /// @notice The proposer's bond.
    uint256 public bond;
    /// @notice Wei that an address may take out.
    mapping(address => uint256) public credit;

    /// @param _anchor Where roots come from.
    /// @param _registry Where decisions go.
    /// @param _factory Who makes games.
    /// @param _challengeDuration See `challengeDuration`.
    /// @param _attestDuration See `attestDuration`.
    /// @param _challengeBond See `challengeBond`.
    constructor(
        IBeefyAnchor _anchor,
        IAnchorStateRegistry _registry,
        address _factory,
        uint64 _challengeDuration,
        uint64 _attestDuration,
        uint256 _challengeBond
    ) {
        anchor = _anchor;
        anchorStateRegistry = _registry;
        disputeGameFactory = _factory;
        challengeDuration = _challengeDuration;
        attestDuration = _attestDuration;
        challengeBond = _challengeBond;
    }

    /// @inheritdoc IDisputeGame
    function initialize() external payable {
        if (msg.sender != disputeGameFactory) revert BeefyOutputGame_NotFactory();
        if (_createdAt != 0) revert AlreadyInitialized();
        if (LibClone.argsOnClone(address(this)).length != ARGS_LENGTH) revert BadExtraData();
        if (l2SequenceNumber() > type(uint32).max) revert BadExtraData();
        _createdAt = uint64(block.timestamp);
        bond = msg.value;
    }

    /// @notice Shows that the claim is under an anchor. Anyone may, once, while it may be challenged.
    /// @param _leaf The MMR leaf that describes the claim's block, 185 bytes.
    /// @param _proof Its proof in the range at `_anchoredBlock`.
    /// @param _anchoredBlock A block whose root the anchor remembers, above the claim's.
    function prove(bytes calldata _leaf, bytes32[] calldata _proof, uint32 _anchoredBlock) external {
        if (_status != GameStatus.IN_PROGRESS) revert GameNotInProgress();
        if (proven) revert BeefyOutputGame_AlreadyProven();
        if (block.timestamp > _createdAt + challengeDuration) revert BeefyOutputGame_TooLate();
        _checkClaim(_leaf, _proof, _anchoredBlock);
        proven = true;
        emit Proven(msg.sender, _anchoredBlock);
    }

    /// @notice Puts a bond against the claim: it must now be shown to be under an anchor that is yet to come.
    function challenge() external payable {
        if (_status != GameStatus.IN_PROGRESS) revert GameNotInProgress();
        if (challenger != address(0)) revert BeefyOutputGame_AlreadyChallenged();
        if (block.timestamp > _createdAt + challengeDuration) revert BeefyOutputGame_TooLate();
        if (msg.value != challengeBond) revert IncorrectBondAmount();
        challenger = msg.sender;
        challengedAt = uint64(block.timestamp);
        challengedAtBlock = anchor.latestBlock();
        emit Challenged(msg.sender, uint64(block.timestamp) + attestDuration);
    }

    /// @notice Answers the challenge. Anyone may.
    /// @param _leaf The MMR leaf that describes the claim's block, 185 bytes.
    /// @param _proof Its proof in the range at `_anchoredBlock`.
    /// @param _anchoredBlock A block whose root the anchor accepted after the challenge.
    function attest(bytes calldata _leaf, bytes32[] calldata _proof, uint32 _anchoredBlock) external {
        if (_status != GameStatus.IN_PROGRESS) revert GameNotInProgress();
        if (challenger == address(0)) revert BeefyOutputGame_NotChallenged();
        if (attested) revert BeefyOutputGame_AlreadyProven();
        if (block.timestamp > challengedAt + attestDuration) revert BeefyOutputGame_TooLate();
        if (_anchoredBlock <= challengedAtBlock) revert BeefyOutputGame_AnchorTooOld();
        _checkClaim(_leaf, _proof, _anchoredBlock);
        proven = true;
        attested = true;
        emit Attested(msg.sender, _anchoredBlock);
    }

    /// @inheritdoc IDisputeGame
    function resolve() external returns (GameStatus status_) {
        if (_status != GameStatus.IN_PROGRESS) revert GameNotInProgress();
        uint256 challengerBond = challenger == address(0) ? 0 : challengeBond;
        if (anchor.frozen()) {
            // Nothing can be shown any more: nobody wins, and each takes the own bond back.
            status_ = GameStatus.CHALLENGER_WINS;
            credit[gameCreator()] += bond;
            credit[challenger] += challengerBond;
        } else {
            if (block.timestamp <= resolvableAt()) revert ClockNotExpired();
            bool upheld = challenger == address(0) ? proven : attested;
            status_ = upheld ? GameStatus.DEFENDER_WINS : GameStatus.CHALLENGER_WINS;
            address winner = upheld ? gameCreator() : challenger;
            // Never proven and never challenged: whoever clears it away has the bond.
            if (winner == address(0)) winner = msg.sender;
            credit[winner] += bond + challengerBond;
        }
        _status = status_;
        _resolvedAt = uint64(block.timestamp);
        emit Resolved(status_);
        anchorStateRegistry.recordResolution();
    }

    /// @notice Pays out what `_recipient` has here.
    function claimCredit(address _recipient) external {
        uint256 amount = credit[_recipient];
        if (amount == 0) revert NoCreditToClaim();
        credit[_recipient] = 0;
        (bool success,) = _recipient.call{value: amount}("");
        if (!success) revert BondTransferFailed();
    }

    /// @notice The second after which the game can be decided, as things are now.
    function resolvableAt() public view returns (uint64) {
        uint64 end = _createdAt + challengeDuration;
        if (challenger == address(0) || attested) return end;
        uint64 answer = challengedAt + attestDuration;
        return answer > end ? answer : end;
    }

    /// @inheritdoc IDisputeGame
    function createdAt() external view returns (Timestamp) {
        return Timestamp.wrap(_createdAt);
    }

    /// @inheritdoc IDisputeGame
    function resolvedAt() external view returns (Timestamp) {
        return Timestamp.wrap(_resolvedAt);
    }

    /// @inheritdoc IDisputeGame
    function status() external view returns (GameStatus) {
        return _status;
    }

    /// @inheritdoc IDisputeGame
    function gameType() public pure returns (GameType) {
        return GameType.wrap(Constants.GAME_TYPE);
    }

    /// @inheritdoc IDisputeGame
    function gameCreator() public view returns (address) {
        return address(bytes20(_arg(0)));
    }

    /// @inheritdoc IDisputeGame
    function rootClaim() public view returns (Claim) {
        return Claim.wrap(_arg(ROOT_OFFSET));
    }

    /// @inheritdoc IDisputeGame
    function l1Head() external view returns (Hash) {
        return Hash.wrap(_arg(HEAD_OFFSET));
    }

    /// @inheritdoc IDisputeGame
    function l2SequenceNumber() public view returns (uint256) {
        return uint256(_arg(EXTRA_OFFSET));
    }

    /// @notice The L2 block of the output (the name that older tools know).
    function l2BlockNumber() external view returns (uint256) {
        return l2SequenceNumber();
    }

    /// @inheritdoc IDisputeGame
    function extraData() public view returns (bytes memory) {
        return abi.encode(l2SequenceNumber());
    }

    /// @inheritdoc IDisputeGame
    function gameData() external view returns (GameType, Claim, bytes memory) {
        return (gameType(), rootClaim(), extraData());
    }

    /// @dev Reverts unless the leaf is under the anchor and says what the claim says.
    function _checkClaim(bytes calldata _leaf, bytes32[] calldata _proof, uint32 _anchoredBlock) private view {
        (bytes32 leafHash, Leaf memory leaf) =
            anchor.checkLeaf(_leaf, _proof, uint32(l2SequenceNumber()), _anchoredBlock);
        bytes32 output = Hashing.hashOutputRootProof(
            Types.OutputRootProof(Constants.OUTPUT_VERSION, leafHash, leaf.withdrawalRoot, leaf.parentHash)
        );
        if (output != Claim.unwrap(rootClaim())) revert BeefyOutputGame_ClaimMismatch();
    }

    /// @dev One word of the facts in this clone's code.
    function _arg(uint256 _offset) private view returns (bytes32) {
        return bytes32(LibClone.argsOnClone(address(this), _offset, _offset + 32));
    }
}
