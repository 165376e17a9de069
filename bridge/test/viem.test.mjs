// viem's own actions for the OP Stack against the contracts, on an anvil of its own: deposit, status, prove, finalise.
// Only the withdrawal's proof is built here; everything else is viem as it comes.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import {
  concat,
  createTestClient,
  createWalletClient,
  defineChain,
  encodeAbiParameters,
  encodeFunctionData,
  hexToBigInt,
  http,
  keccak256,
  numberToHex,
  pad,
  parseAbi,
  parseAbiParameters,
  publicActions,
  zeroHash,
} from "viem";
import { privateKeyToAccount, sign } from "viem/accounts";
import { publicActionsL1, walletActionsL1 } from "viem/op-stack";

const bin = new URL("../node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil", import.meta.url)
  .pathname;
const artefact = (name) =>
  JSON.parse(readFileSync(new URL(`../contracts/out/${name}.sol/${name}.json`, import.meta.url)));
const L2_BRIDGE = "0x4200000000000000000000000000000000000010";
const L2_OPEN = "0x4200000000000000000000000000000000000042";
const DELAY = 60n;
// anvil's first well-known key.
const account = privateKeyToAccount(
  "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
);

const node = (l, r) => keccak256(concat([l, r]));
const le = (n, width) =>
  concat(
    Array.from({ length: width }, (_, i) =>
      numberToHex((BigInt(n) >> BigInt(8 * i)) & 255n, { size: 1 }),
    ),
  );
const validators = [1, 2, 3, 4].map((i) => {
  const key = keccak256(numberToHex(i));
  return { key, address: privateKeyToAccount(key).address };
});
const [h0, h1, h2, h3] = validators.map((v) => keccak256(v.address));
const setRoot = node(node(h0, h1), node(h2, h3));

const zeros = [zeroHash];
for (let i = 0; i < 32; i++) zeros.push(node(zeros[i], zeros[i]));

let anvil;
let chain;
let client; // reads, and moves time
let wallet;
const at = {};
const abi = {};

before(async () => {
  const port = 20_000 + (process.pid % 20_000);
  anvil = spawn(bin, ["--port", String(port), "--silent", "--hardfork", "prague"], {
    stdio: "inherit",
  });
  const url = `http://127.0.0.1:${port}`;
  chain = defineChain({
    id: 31_337,
    name: "anvil",
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: [url] } },
  });
  // No Multicall3 here: the calls go together without one.
  const options = {
    account,
    chain,
    transport: http(url),
    batch: { multicall: { deployless: true } },
    pollingInterval: 50,
    cacheTime: 0,
  };
  client = createTestClient({ ...options, mode: "anvil" })
    .extend(publicActions)
    .extend(publicActionsL1());
  wallet = createWalletClient(options).extend(walletActionsL1());
  for (let i = 0; ; i++) {
    try {
      await client.getChainId();
      break;
    } catch (error) {
      if (i > 100) throw error;
      await new Promise((r) => setTimeout(r, 100));
    }
  }

  const deployer = artefact("Deployer");
  const params = {
    l2Genesis: keccak256("0x01"),
    guardian: account.address,
    treasury: account.address,
    locked: 4n * 10n ** 26n,
    currentId: 0n,
    currentLength: 4,
    currentRoot: setRoot,
    nextLength: 4,
    nextRoot: setRoot,
    maxStaleness: 7n * 86_400n,
    proofMaturityDelaySeconds: DELAY,
    disputeGameFinalityDelaySeconds: DELAY,
    challengeDuration: DELAY,
    attestDuration: DELAY,
    proposalBond: 1n,
    challengeBond: 1n,
    pauseDuration: 10n,
    pauseCooldown: 10n,
  };
  const receipt = await mined(
    wallet.deployContract({
      abi: deployer.abi,
      bytecode: deployer.bytecode.object,
      args: [params],
      gas: 16_700_000n,
    }),
  );
  console.log(`deployment: ${receipt.gasUsed} gas`);
  for (const [name, contract] of Object.entries({
    token: "OpenToken",
    anchor: "BeefyAnchor",
    factory: "DisputeGameFactory",
    portal: "OptimismPortal",
    bridge: "L1StandardBridge",
  })) {
    at[name] = await client.readContract({
      address: receipt.contractAddress,
      abi: deployer.abi,
      functionName: name,
    });
    abi[name] = artefact(contract).abi;
  }
  abi.game = artefact("BeefyOutputGame").abi;
  at.l2 = {
    contracts: {
      portal: { 31337: { address: at.portal } },
      disputeGameFactory: { 31337: { address: at.factory } },
    },
  };
});

after(async () => {
  if (!anvil) return;
  anvil.kill();
  await once(anvil, "exit");
});

async function mined(hash) {
  const receipt = await client.waitForTransactionReceipt({ hash: await hash });
  assert.equal(receipt.status, "success");
  return receipt;
}

const call = (name, functionName, args, more = {}) =>
  mined(
    wallet.writeContract({
      address: more.address ?? at[name],
      abi: abi[name],
      functionName,
      args,
      value: more.value,
    }),
  );

async function pass(seconds) {
  await client.increaseTime({ seconds: Number(seconds) });
  await client.mine({ blocks: 1 });
}

test("depositTransaction writes what L2 reads", async () => {
  const receipt = await mined(
    wallet.depositTransaction({
      account,
      request: {
        to: "0x4200000000000000000000000000000000000100",
        gas: 100_000n,
        data: "0xc0ffee",
      },
      targetChain: at.l2,
    }),
  );
  assert.equal(receipt.logs.length, 1);
  const slot = keccak256(new TextEncoder().encode("tributary.portal.deposits"));
  const word = hexToBigInt(await client.getStorageAt({ address: at.portal, slot }));
  assert.equal(word & (2n ** 64n - 1n), 1n);
  const hash = keccak256(
    encodeAbiParameters(parseAbiParameters("address, address, uint256, bytes"), [
      account.address,
      "0x4200000000000000000000000000000000000100",
      0n,
      concat([zeroHash, zeroHash, numberToHex(100_000n, { size: 8 }), "0x00", "0xc0ffee"]),
    ]),
  );
  const next = numberToHex(hexToBigInt(slot) + 1n, { size: 32 });
  assert.equal(await client.getStorageAt({ address: at.portal, slot: next }), node(zeroHash, hash));
});

test("a withdrawal goes through every status to its end", async () => {
  // L2: one withdrawal of OPEN, in the tree at the end of block 0; block 1 comes after it.
  const to = "0x00000000000000000000000000000000000b0b00";
  await call("token", "transfer", [to, 1n]);
  const data = encodeFunctionData({
    abi: abi.bridge,
    functionName: "finalizeBridgeERC20",
    args: [at.token, L2_OPEN, account.address, to, 5n * 10n ** 18n, keccak256("0x02")],
  });
  const withdrawal = {
    nonce: 1n << 240n,
    sender: L2_BRIDGE,
    target: at.bridge,
    value: 0n,
    gasLimit: 200_000n,
    data,
  };
  const withdrawalHash = keccak256(
    encodeAbiParameters(
      parseAbiParameters("uint256, address, address, uint256, uint256, bytes"),
      Object.values(withdrawal),
    ),
  );
  const root = zeros.slice(0, 32).reduce((acc, zero) => node(acc, zero), withdrawalHash);
  const domain = await client.readContract({
    address: at.anchor,
    abi: abi.anchor,
    functionName: "domain",
  });
  const blockHash = (n) => keccak256(numberToHex(n + 100));
  const leaf = (n, set) =>
    concat([
      "0x00",
      le(n, 4),
      blockHash(n),
      le(set + 1, 8),
      le(4, 4),
      setRoot,
      domain,
      root,
      le(0, 8),
      zeroHash,
    ]);
  const leaves = [leaf(0, 0), leaf(1, 0)];
  const [l0, l1] = leaves.map((l) => keccak256(l));
  const mmrRoot = node(l0, l1);

  const status = () =>
    client.getWithdrawalStatus({
      sender: L2_BRIDGE,
      withdrawalHash,
      l2BlockNumber: -1n,
      targetChain: at.l2,
    });
  assert.equal(await status(), "waiting-to-prove");

  // Anchor, by three of four.
  const commitment = { mmrRoot, blockNumber: 2, validatorSetId: 0n };
  const message = keccak256(concat(["0x046d6880", mmrRoot, le(2, 4), le(0, 8)]));
  const signatures = await Promise.all(
    validators.slice(0, 3).map(async ({ key }) => {
      const { r, s, v } = await sign({ hash: message, privateKey: key });
      return concat([pad(r), pad(s), numberToHex(v, { size: 1 })]);
    }),
  );
  const anchored = await call("anchor", "submit", [
    commitment,
    [7n],
    concat(signatures),
    concat(validators.map((v) => v.address)),
    leaves[1],
    [l0],
  ]);

  // Propose block 0's output and show that it is under the anchor.
  const output = {
    version: numberToHex(1, { size: 32 }),
    stateRoot: l0,
    messagePasserStorageRoot: root,
    latestBlockhash: blockHash(0),
  };
  const claim = keccak256(concat(Object.values(output)));
  const extraData = numberToHex(0, { size: 32 });
  const type = await client.readContract({
    address: at.portal,
    abi: parseAbi(["function respectedGameType() view returns (uint32)"]),
    functionName: "respectedGameType",
  });
  await call("factory", "create", [type, claim, extraData], { value: 1n });
  const [, , game] = await client.readContract({
    address: at.factory,
    abi: abi.factory,
    functionName: "gameAtIndex",
    args: [0n],
  });
  await call("game", "prove", [leaves[0], [l1], 2], { address: game });
  await pass(1);
  assert.equal(await status(), "ready-to-prove");
  const { seconds: toProve } = await client.getTimeToProve({
    receipt: { blockNumber: -1n, logs: [] },
    targetChain: at.l2,
  });
  assert.equal(toProve, 0);

  const found = await client.getGame({ l2BlockNumber: -1n, targetChain: at.l2 });
  assert.equal(found.index, 0n);
  const proven = await mined(
    wallet.proveWithdrawal({
      account,
      l2OutputIndex: found.index,
      outputRootProof: output,
      withdrawalProof: [concat(zeros.slice(0, 32))],
      withdrawal: { ...withdrawal, withdrawalHash },
      targetChain: at.l2,
    }),
  );
  assert.equal(await status(), "waiting-to-finalize");
  const { period, seconds } = await client.getTimeToFinalize({
    withdrawalHash,
    targetChain: at.l2,
  });
  assert.equal(period, Number(DELAY));
  assert.ok(seconds > 0);

  await pass(DELAY + 1n);
  assert.equal(await status(), "waiting-to-finalize", "the game is not decided yet");
  await call("game", "resolve", [], { address: game });
  await pass(DELAY + 1n);
  assert.equal(await status(), "ready-to-finalize");
  const done = await mined(
    wallet.finalizeWithdrawal({
      account,
      withdrawal: { ...withdrawal, withdrawalHash },
      targetChain: at.l2,
    }),
  );
  assert.equal(await status(), "finalized");
  const paid = await client.readContract({
    address: at.token,
    abi: abi.token,
    functionName: "balanceOf",
    args: [to],
  });
  assert.equal(paid, 5n * 10n ** 18n + 1n);

  console.log(`anchor (4 validators, 2 leaves, no handover): ${anchored.gasUsed} gas`);
  console.log(`prove: ${proven.gasUsed} gas, finalise: ${done.gasUsed} gas`);
  assert.ok(proven.gasUsed <= 156_000n && done.gasUsed <= 73_000n);
});

test("a deposit of OPEN costs what it may", async () => {
  await call("token", "approve", [at.bridge, 2n ** 256n - 1n]);
  const args = [at.token, L2_OPEN, 10n ** 18n, 100_000, "0x"];
  await call("bridge", "depositERC20", args);
  const receipt = await call("bridge", "depositERC20", args);
  console.log(`deposit: ${receipt.gasUsed} gas`);
  assert.ok(receipt.gasUsed <= 69_000n);
});
