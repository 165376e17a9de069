// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAnchorStateRegistry} from "../interfaces/IAnchorStateRegistry.sol";
import {IDisputeGame} from "../interfaces/IDisputeGame.sol";
import {IDisputeGameFactory} from "../interfaces/IDisputeGameFactory.sol";
import {ISuperchainConfig} from "../interfaces/ISuperchainConfig.sol";
import {AddressAliasHelper} from "../libraries/AddressAliasHelper.sol";
import {Hashing} from "../libraries/Hashing.sol";
import {MerkleTree} from "../libraries/MerkleTree.sol";
import {SafeCall} from "../libraries/SafeCall.sol";
import {Claim, Constants, GameType, Timestamp, Types} from "../libraries/Types.sol";

/// @title OptimismPortal
/// @notice The gate between the chains. In: deposits, as a list that L2 can check by two words of storage. Out: messages
/// of L2, proven against an output, delivered once after two delays. It holds neither ether nor tokens.
/// @dev The interface is the OP Stack's (5.x). What differs is inside: a withdrawal proof is one element of 1024 bytes.
contract OptimismPortal {
    using Hashing for Types.WithdrawalTransaction;

    /// @notice A proof that somebody brought for a withdrawal.
    struct ProvenWithdrawal {
        IDisputeGame disputeGameProxy;
        uint64 timestamp;
    }

    /// @dev One word for each withdrawal. It is made when the withdrawal is proven, so that marking the delivery later is
    /// a cheap write.
    struct Record {
        address firstSubmitter;
        uint64 submitters;
        bool finalized;
    }

    /// @notice A deposit for L2.
    event TransactionDeposited(address indexed from, address indexed to, uint256 indexed version, bytes opaqueData);
    /// @notice A withdrawal was proven.
    event WithdrawalProven(bytes32 indexed withdrawalHash, address indexed from, address indexed to);
    /// @notice By whom.
    event WithdrawalProvenExtension1(bytes32 indexed withdrawalHash, address indexed proofSubmitter);
    /// @notice A withdrawal was delivered; `success` says whether the call went through.
    event WithdrawalFinalized(bytes32 indexed withdrawalHash, bool success);

    /// @notice Payments are paused or frozen.
    error OptimismPortal_CallPaused();
    /// @notice A message may not call the bridge's own parts.
    error OptimismPortal_BadTarget();
    /// @notice This bridge carries no ether.
    error OptimismPortal_NoEther();
    /// @notice The withdrawal's nonce is not `1 << 240 | position`.
    error OptimismPortal_BadNonce();
    /// @notice The game is not one to prove against.
    error OptimismPortal_ImproperDisputeGame();
    /// @notice The game is of another type.
    error OptimismPortal_InvalidDisputeGame();
    /// @notice The game's output was refuted, or its time is not up.
    error OptimismPortal_InvalidRootClaim();
    /// @notice The four words do not hash to the game's output.
    error OptimismPortal_InvalidOutputRootProof();
    /// @notice The proof is not one element of 1024 bytes.
    error OptimismPortal_WrongProofLength();
    /// @notice The withdrawal is not in the tree.
    error OptimismPortal_InvalidMerkleProof();
    /// @notice The game was made in this very block.
    error OptimismPortal_InvalidProofTimestamp();
    /// @notice The withdrawal has been delivered.
    error OptimismPortal_AlreadyFinalized();
    /// @notice Nobody, or not this submitter, has proven it.
    error OptimismPortal_Unproven();
    /// @notice The proof is too young.
    error OptimismPortal_ProofNotOldEnough();
    /// @notice A withdrawal is being delivered.
    error OptimismPortal_NoReentrancy();
    /// @notice The bridge could not pay: the withdrawal waits.
    error OptimismPortal_BridgeCallFailed();
    /// @notice A deposit creates nothing.
    error OptimismPortal_NoCreation();
    /// @notice More data than L2 takes.
    error OptimismPortal_CalldataTooLarge();
    /// @notice Too little gas for so much data.
    error OptimismPortal_GasLimitTooLow();
    /// @notice This L1 block has as many deposits as L2 takes at a time.
    error OptimismPortal_TooManyDeposits();

    /// @notice Version of the interface.
    string public constant version = "5.0.0";
    /// @notice Bytes of data in a deposit.
    uint256 public constant MAX_DATA = 4096;
    /// @notice Deposits in one L1 block: L2 takes in whole L1 blocks, and an inherent holds so many.
    uint256 public constant MAX_DEPOSITS_PER_BLOCK = 512;

    /// @dev Two adjacent words that L2 reads by `eth_getProof`. First: deposits so far in the low 64 bits, then the L1
    /// block of the last one (64 bits) and the deposits in that block (32 bits). Second: the rolling hash.
    uint256 private constant DEPOSITS_SLOT = uint256(keccak256("tributary.portal.deposits"));
    /// @dev What `l2Sender` says when nothing is being delivered.
    address private constant DEFAULT_L2_SENDER = 0x000000000000000000000000000000000000dEaD;
    uint256 private constant DEPOSIT_VERSION = 0;
    uint256 private constant NONCE_VERSION = 1 << 240;

    /// @notice Which games may be acted upon.
    IAnchorStateRegistry public immutable anchorStateRegistry;
    /// @notice Where games are made.
    IDisputeGameFactory public immutable disputeGameFactory;
    /// @notice The guardian's contract.
    ISuperchainConfig public immutable superchainConfig;
    /// @notice Seconds between a proof and the delivery.
    uint256 public immutable proofMaturityDelaySeconds;
    /// @notice The bridge that pays OPEN out.
    address public immutable l1StandardBridge;
    /// @notice OPEN.
    address public immutable token;
    /// @notice L2's finality.
    address public immutable anchor;

    /// @notice The proof of a withdrawal by a submitter. Nobody else's proof touches it.
    mapping(bytes32 => mapping(address => ProvenWithdrawal)) public provenWithdrawals;
    mapping(bytes32 => Record) private _records;
    mapping(bytes32 => mapping(uint256 => address)) private _laterSubmitters;
    /// @dev Who sent, on L2, the message being delivered; zero between deliveries, and so also the lock.
    address private transient _l2Sender;

    /// @param _registry Which games may be acted upon.
    /// @param _factory Where games are made.
    /// @param _config The guardian's contract.
    /// @param _maturityDelay Seconds between a proof and the delivery.
    /// @param _bridge The bridge that pays OPEN out.
    /// @param _token OPEN.
    /// @param _anchor L2's finality.
    constructor(
        IAnchorStateRegistry _registry,
        IDisputeGameFactory _factory,
        ISuperchainConfig _config,
        uint256 _maturityDelay,
        address _bridge,
        address _token,
        address _anchor
    ) {
        anchorStateRegistry = _registry;
        disputeGameFactory = _factory;
        superchainConfig = _config;
        proofMaturityDelaySeconds = _maturityDelay;
        l1StandardBridge = _bridge;
        token = _token;
        anchor = _anchor;
    }

    /// @notice Proves that a message was sent on L2. Anyone may, and may again: a proof belongs to its submitter.
    /// @param _tx The message.
    /// @param _disputeGameIndex The game about the output.
    /// @param _outputRootProof What the output is the hash of.
    /// @param _withdrawalProof One element: the 32 siblings in the withdrawal tree, bottom up.
    function proveWithdrawalTransaction(
        Types.WithdrawalTransaction calldata _tx,
        uint256 _disputeGameIndex,
        Types.OutputRootProof calldata _outputRootProof,
        bytes[] calldata _withdrawalProof
    ) external {
        if (paused()) revert OptimismPortal_CallPaused();
        if (_isUnsafeTarget(_tx.target)) revert OptimismPortal_BadTarget();
        if (_tx.value != 0) revert OptimismPortal_NoEther();
        // The position alone decides the sides: no other bits, so that a leaf has one place.
        if (_tx.nonce >> 32 != NONCE_VERSION >> 32) revert OptimismPortal_BadNonce();

        IDisputeGame game = _checkGame(_disputeGameIndex, _outputRootProof);

        bytes32 withdrawalHash = _tx.hashWithdrawal();
        if (_withdrawalProof.length != 1) revert OptimismPortal_WrongProofLength();
        if (_withdrawalProof[0].length != MerkleTree.PROOF_LENGTH) revert OptimismPortal_WrongProofLength();
        bytes32 root = MerkleTree.rootOf(withdrawalHash, uint32(_tx.nonce), _withdrawalProof[0]);
        if (root != _outputRootProof.messagePasserStorageRoot) revert OptimismPortal_InvalidMerkleProof();

        _recordProof(withdrawalHash, game);
        emit WithdrawalProven(withdrawalHash, _tx.sender, _tx.target);
        emit WithdrawalProvenExtension1(withdrawalHash, msg.sender);
    }

    /// @notice Delivers a message that the sender has proven.
    function finalizeWithdrawalTransaction(Types.WithdrawalTransaction calldata _tx) external {
        finalizeWithdrawalTransactionExternalProof(_tx, msg.sender);
    }

    /// @notice Delivers a message by the proof of another. Once: a call that fails is not tried again, except that of the
    /// bridge, which takes the withdrawal back by reverting.
    function finalizeWithdrawalTransactionExternalProof(
        Types.WithdrawalTransaction calldata _tx,
        address _proofSubmitter
    ) public {
        if (paused()) revert OptimismPortal_CallPaused();
        if (_l2Sender != address(0)) revert OptimismPortal_NoReentrancy();
        bytes32 withdrawalHash = _tx.hashWithdrawal();
        checkWithdrawal(withdrawalHash, _proofSubmitter);

        _records[withdrawalHash].finalized = true;
        _l2Sender = _tx.sender;
        bool success = SafeCall.callWithMinGas(_tx.target, _tx.gasLimit, _tx.data);
        _l2Sender = address(0);
        if (!success && _tx.sender == Constants.L2_BRIDGE) revert OptimismPortal_BridgeCallFailed();
        emit WithdrawalFinalized(withdrawalHash, success);
    }

    /// @notice Writes a deposit. L2 executes deposits in this order, each once; one that fails there moves nothing.
    /// @param _to The L2 address (a dispatcher) that takes it.
    /// @param _value Must be 0.
    /// @param _gasLimit What it may use on L2; at least `minimumGasLimit`.
    /// @param _isCreation Must be false.
    /// @param _data Up to 4096 bytes.
    function depositTransaction(address _to, uint256 _value, uint64 _gasLimit, bool _isCreation, bytes calldata _data)
        external
        payable
    {
        if (msg.value != 0 || _value != 0) revert OptimismPortal_NoEther();
        if (_isCreation) revert OptimismPortal_NoCreation();
        if (_data.length > MAX_DATA) revert OptimismPortal_CalldataTooLarge();
        if (_gasLimit < minimumGasLimit(uint64(_data.length))) revert OptimismPortal_GasLimitTooLow();

        address from = msg.sender;
        if (from != tx.origin) from = AddressAliasHelper.applyL1ToL2Alias(from);
        bytes memory opaqueData = abi.encodePacked(uint256(0), uint256(0), _gasLimit, false, _data);
        _append(Hashing.hashDeposit(from, _to, DEPOSIT_VERSION, opaqueData));
        emit TransactionDeposited(from, _to, DEPOSIT_VERSION, opaqueData);
    }

    /// @notice Reverts, with the reason, unless the withdrawal can be delivered now by that submitter's proof.
    function checkWithdrawal(bytes32 _withdrawalHash, address _proofSubmitter) public view {
        ProvenWithdrawal memory proven = provenWithdrawals[_withdrawalHash][_proofSubmitter];
        if (_records[_withdrawalHash].finalized) revert OptimismPortal_AlreadyFinalized();
        if (proven.timestamp == 0) revert OptimismPortal_Unproven();
        if (block.timestamp - proven.timestamp <= proofMaturityDelaySeconds) revert OptimismPortal_ProofNotOldEnough();
        if (!anchorStateRegistry.isGameClaimValid(proven.disputeGameProxy)) revert OptimismPortal_InvalidRootClaim();
    }

    /// @notice Who sent, on L2, the message being delivered right now.
    function l2Sender() external view returns (address) {
        return _l2Sender == address(0) ? DEFAULT_L2_SENDER : _l2Sender;
    }

    /// @notice Whether a withdrawal was delivered.
    function finalizedWithdrawals(bytes32 _withdrawalHash) external view returns (bool) {
        return _records[_withdrawalHash].finalized;
    }

    /// @notice How many have proven a withdrawal.
    function numProofSubmitters(bytes32 _withdrawalHash) external view returns (uint256) {
        return _records[_withdrawalHash].submitters;
    }

    /// @notice Who proved a withdrawal as number `_index`, or zero.
    function proofSubmitters(bytes32 _withdrawalHash, uint256 _index) external view returns (address) {
        return _index == 0 ? _records[_withdrawalHash].firstSubmitter : _laterSubmitters[_withdrawalHash][_index];
    }

    /// @notice Deposits so far.
    function depositCount() external view returns (uint256) {
        return uint64(_load(DEPOSITS_SLOT));
    }

    /// @notice The rolling hash over all deposits: `h' = keccak(h ‖ hash of the deposit)`, from zero.
    function depositsHash() external view returns (bytes32) {
        return bytes32(_load(DEPOSITS_SLOT + 1));
    }

    /// @notice The least gas for a deposit with so much data.
    function minimumGasLimit(uint64 _byteCount) public pure returns (uint64) {
        return _byteCount * 40 + 21_000;
    }

    /// @notice Whether payments stand still.
    function paused() public view returns (bool) {
        return superchainConfig.paused();
    }

    /// @notice Who may pause.
    function guardian() external view returns (address) {
        return superchainConfig.guardian();
    }

    /// @notice The type of game that counts.
    function respectedGameType() external view returns (GameType) {
        return anchorStateRegistry.respectedGameType();
    }

    /// @notice Since when.
    function respectedGameTypeUpdatedAt() external view returns (uint64) {
        return anchorStateRegistry.retirementTimestamp();
    }

    /// @notice Seconds between a game's decision and its being final.
    function disputeGameFinalityDelaySeconds() external view returns (uint256) {
        return anchorStateRegistry.disputeGameFinalityDelaySeconds();
    }

    /// @notice Whether the guardian took a game out.
    function disputeGameBlacklist(IDisputeGame _game) external view returns (bool) {
        return anchorStateRegistry.disputeGameBlacklist(_game);
    }

    /// @dev The game at an index, if it can be proven against and the output is its claim.
    function _checkGame(uint256 _index, Types.OutputRootProof calldata _output)
        private
        view
        returns (IDisputeGame game_)
    {
        Timestamp createdAt;
        (, createdAt, game_) = disputeGameFactory.gameAtIndex(_index);
        if (!anchorStateRegistry.isGameProper(game_)) revert OptimismPortal_ImproperDisputeGame();
        if (!anchorStateRegistry.isGameRespected(game_)) revert OptimismPortal_InvalidDisputeGame();
        if (anchorStateRegistry.isGameLost(game_)) revert OptimismPortal_InvalidRootClaim();
        if (block.timestamp <= Timestamp.unwrap(createdAt)) revert OptimismPortal_InvalidProofTimestamp();
        if (Hashing.hashOutputRootProof(_output) != Claim.unwrap(game_.rootClaim())) {
            revert OptimismPortal_InvalidOutputRootProof();
        }
    }

    /// @dev Notes the sender's proof; a new submitter is put on the list.
    function _recordProof(bytes32 _withdrawalHash, IDisputeGame _game) private {
        Record memory record = _records[_withdrawalHash];
        if (record.finalized) revert OptimismPortal_AlreadyFinalized();
        if (provenWithdrawals[_withdrawalHash][msg.sender].timestamp == 0) {
            if (record.submitters == 0) record.firstSubmitter = msg.sender;
            else _laterSubmitters[_withdrawalHash][record.submitters] = msg.sender;
            ++record.submitters;
            _records[_withdrawalHash] = record;
        }
        provenWithdrawals[_withdrawalHash][msg.sender] = ProvenWithdrawal(_game, uint64(block.timestamp));
    }

    /// @dev Counts a deposit and takes it into the rolling hash.
    function _append(bytes32 _depositHash) private {
        uint256 word = _load(DEPOSITS_SLOT);
        uint256 inBlock = uint64(word >> 64) == block.number ? uint32(word >> 128) : 0;
        if (inBlock >= MAX_DEPOSITS_PER_BLOCK) revert OptimismPortal_TooManyDeposits();
        _store(DEPOSITS_SLOT, uint256(uint64(word)) + 1 | block.number << 64 | (inBlock + 1) << 128);
        bytes32 rolling = keccak256(abi.encode(_load(DEPOSITS_SLOT + 1), _depositHash));
        _store(DEPOSITS_SLOT + 1, uint256(rolling));
    }

    /// @dev Parts of the bridge that must not hear the portal's voice. The bridge of OPEN and the messenger ask who sent.
    function _isUnsafeTarget(address _target) private view returns (bool) {
        return _target == address(this) || _target == token || _target == anchor
            || _target == address(anchorStateRegistry) || _target == address(disputeGameFactory)
            || _target == address(superchainConfig);
    }

    function _load(uint256 _slot) private view returns (uint256 word_) {
        assembly ("memory-safe") {
            word_ := sload(_slot)
        }
    }

    function _store(uint256 _slot, uint256 _word) private {
        assembly ("memory-safe") {
            sstore(_slot, _word)
        }
    }
}
