// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAnchorStateRegistry} from "../interfaces/IAnchorStateRegistry.sol";
import {IDisputeGame} from "../interfaces/IDisputeGame.sol";
import {IDisputeGameFactory} from "../interfaces/IDisputeGameFactory.sol";
import {ISuperchainConfig} from "../interfaces/ISuperchainConfig.sol";
import {Claim, Constants, GameStatus, GameType, Hash, Timestamp} from "../libraries/Types.sol";

/// @title AnchorStateRegistry
/// @notice Says which games may be acted upon. The guardian can take a game out; nobody can put one in.
contract AnchorStateRegistry is IAnchorStateRegistry {
    /// @dev One word for each game that was decided or taken out.
    struct Record {
        uint64 resolvedAt;
        GameStatus status;
        bool blacklisted;
    }

    /// @notice The guardian took a game out.
    event DisputeGameBlacklisted(IDisputeGame indexed disputeGame);
    /// @notice A newer output became the one that stands.
    event AnchorUpdated(IDisputeGame indexed game);

    /// @notice Only the guardian may.
    error AnchorStateRegistry_Unauthorized();
    /// @notice Only a decided game of the factory reports, and once.
    error AnchorStateRegistry_NotAGame();
    /// @notice The game's claim does not stand, or is not newer.
    error AnchorStateRegistry_InvalidAnchorGame();

    /// @notice Version of the interface.
    string public constant version = "3.0.0";

    /// @notice The guardian's contract.
    ISuperchainConfig public immutable superchainConfig;
    /// @inheritdoc IAnchorStateRegistry
    IDisputeGameFactory public immutable disputeGameFactory;
    /// @inheritdoc IAnchorStateRegistry
    uint256 public immutable disputeGameFinalityDelaySeconds;
    /// @inheritdoc IAnchorStateRegistry
    uint64 public immutable retirementTimestamp;

    /// @notice The newest game whose output stands, or zero.
    IDisputeGame public anchorGame;
    mapping(IDisputeGame => Record) private _records;

    /// @param _config The guardian's contract.
    /// @param _factory Where games come from.
    /// @param _finalityDelay Seconds between decision and finality: the guardian's time to look.
    constructor(ISuperchainConfig _config, IDisputeGameFactory _factory, uint256 _finalityDelay) {
        superchainConfig = _config;
        disputeGameFactory = _factory;
        disputeGameFinalityDelaySeconds = _finalityDelay;
        retirementTimestamp = uint64(block.timestamp) - 1;
    }

    /// @notice Takes a game out for good. Only the guardian may.
    function blacklistDisputeGame(IDisputeGame _game) external {
        if (msg.sender != superchainConfig.guardian()) revert AnchorStateRegistry_Unauthorized();
        _records[_game].blacklisted = true;
        emit DisputeGameBlacklisted(_game);
    }

    /// @inheritdoc IAnchorStateRegistry
    function recordResolution() external {
        IDisputeGame game = IDisputeGame(msg.sender);
        if (!isGameRegistered(game)) revert AnchorStateRegistry_NotAGame();
        if (_records[game].resolvedAt != 0) revert AnchorStateRegistry_NotAGame();
        _records[game].resolvedAt = uint64(block.timestamp);
        _records[game].status = game.status();
    }

    /// @notice Makes the output of a game whose claim stands the newest one. Anyone may.
    function setAnchorState(IDisputeGame _game) external {
        if (!isGameClaimValid(_game)) revert AnchorStateRegistry_InvalidAnchorGame();
        (, uint256 known) = getAnchorRoot();
        if (_game.l2SequenceNumber() <= known) revert AnchorStateRegistry_InvalidAnchorGame();
        anchorGame = _game;
        emit AnchorUpdated(_game);
    }

    /// @notice The newest output that stands and its L2 block (zeros if there is none yet).
    function getAnchorRoot() public view returns (Hash root_, uint256 l2Block_) {
        if (address(anchorGame) != address(0)) {
            root_ = Hash.wrap(Claim.unwrap(anchorGame.rootClaim()));
            l2Block_ = anchorGame.l2SequenceNumber();
        }
    }

    /// @notice The same under the name that older tools know.
    function anchors(GameType) external view returns (Hash, uint256) {
        return getAnchorRoot();
    }

    /// @inheritdoc IAnchorStateRegistry
    function respectedGameType() public pure returns (GameType) {
        return GameType.wrap(Constants.GAME_TYPE);
    }

    /// @notice Whether value stands still.
    function paused() public view returns (bool) {
        return superchainConfig.paused();
    }

    /// @inheritdoc IAnchorStateRegistry
    function disputeGameBlacklist(IDisputeGame _game) external view returns (bool) {
        return _records[_game].blacklisted;
    }

    /// @notice Made by the factory: the factory knows the address under the game's own data.
    function isGameRegistered(IDisputeGame _game) public view returns (bool) {
        (GameType gameType, Claim claim, bytes memory extraData) = _game.gameData();
        (IDisputeGame known,) = disputeGameFactory.games(gameType, claim, extraData);
        return address(known) == address(_game);
    }

    /// @inheritdoc IAnchorStateRegistry
    function isGameRespected(IDisputeGame _game) public view returns (bool) {
        return GameType.unwrap(_game.gameType()) == Constants.GAME_TYPE;
    }

    /// @notice Taken out by the guardian.
    function isGameBlacklisted(IDisputeGame _game) public view returns (bool) {
        return _records[_game].blacklisted;
    }

    /// @notice Older than this registry.
    function isGameRetired(IDisputeGame _game) external view returns (bool) {
        return Timestamp.unwrap(_game.createdAt()) <= retirementTimestamp;
    }

    /// @inheritdoc IAnchorStateRegistry
    function isGameProper(IDisputeGame _game) external view returns (bool) {
        return isGameRegistered(_game) && !isGameBlacklisted(_game) && !paused();
    }

    /// @notice Decided, by the game's own report.
    function isGameResolved(IDisputeGame _game) external view returns (bool) {
        return _records[_game].resolvedAt != 0;
    }

    /// @inheritdoc IAnchorStateRegistry
    function isGameLost(IDisputeGame _game) external view returns (bool) {
        return _records[_game].status == GameStatus.CHALLENGER_WINS;
    }

    /// @notice Decided, and the guardian's time to look has passed.
    function isGameFinalized(IDisputeGame _game) external view returns (bool) {
        return _isFinal(_records[_game]);
    }

    /// @inheritdoc IAnchorStateRegistry
    /// @dev One word of storage instead of questions to the game: only registered games of the one type have a record
    /// with a decision, because `recordResolution` looks.
    function isGameClaimValid(IDisputeGame _game) public view returns (bool) {
        Record memory record = _records[_game];
        return record.status == GameStatus.DEFENDER_WINS && !record.blacklisted && _isFinal(record) && !paused();
    }

    /// @dev Decided, and the delay has passed.
    function _isFinal(Record memory _record) private view returns (bool) {
        return _record.resolvedAt != 0 && block.timestamp > _record.resolvedAt + disputeGameFinalityDelaySeconds;
    }
}
