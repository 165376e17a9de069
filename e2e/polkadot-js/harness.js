// What every part of the check needs: sending, waiting, and counting what passed.

import { blake2AsU8a } from "@polkadot/util-crypto";
import { compactToU8a, u8aConcat, u8aToHex, u8aToU8a } from "@polkadot/util";

let passed = 0;
const failures = [];

/** Runs one check; a failure is noted and the rest goes on. */
export async function check(name, body) {
  try {
    await body();
    passed += 1;
    console.log(`ok      ${name}`);
  } catch (error) {
    failures.push(name);
    console.log(`FAILED  ${name}: ${error.message ?? error}`);
  }
}

/** Prints the counts and gives the exit status. */
export function summary() {
  console.log(`${passed} passed, ${failures.length} failed`);
  return failures.length === 0 ? 0 : 1;
}

export function assert(condition, message) {
  if (!condition) throw new Error(message);
}

function reason(api, error) {
  if (!error.isModule) return error.toString();
  const { section, name } = api.registry.findMetaError(error.asModule);
  return `${section}.${name}`;
}

// For each signer, the end of the last sending: the next nonce is asked for only once the
// transaction before is in the pool.
const sending = new Map();

async function inTurn(address, body) {
  const before = sending.get(address) ?? Promise.resolve();
  let done;
  sending.set(address, new Promise((resolve) => (done = resolve)));
  await before;
  try {
    return await body();
  } finally {
    done();
  }
}

/**
 * Signs and sends, waits until it is in a block, and gives its events.
 * `expected` names a module error (`pallet.Error`) that the call is to end with.
 */
export async function send(api, tx, signer, expected) {
  let report;
  const included = new Promise((resolve) => (report = resolve));
  const stop = await inTurn(signer.address, async () => {
    const nonce = await api.rpc.system.accountNextIndex(signer.address);
    return tx.signAndSend(signer, { nonce }, whenSettled(report));
  });
  const timeout = new Promise((_, reject) =>
    setTimeout(() => reject(new Error("not in a block in 90 s")), 90_000).unref(),
  );
  const { status, events, dispatchError } = await Promise.race([included, timeout]);
  stop();
  assert(status.isInBlock || status.isFinalized, `the pool says ${status.type}`);
  const sudid = events.find(({ event }) => event.section === "sudo" && event.method === "Sudid");
  const inner = sudid?.event.data[0];
  const error = dispatchError ?? (inner?.isErr ? inner.asErr : undefined);
  const found = error ? reason(api, error) : undefined;
  assert(found === expected, `ended with ${found ?? "success"}, not ${expected ?? "success"}`);
  return events.map(({ event }) => event);
}

/** Hands on the first result that says how it ended. */
function whenSettled(report) {
  return (result) => {
    const { isInBlock, isFinalized, isInvalid, isDropped, isUsurped } = result.status;
    if (isInBlock || isFinalized || isInvalid || isDropped || isUsurped) report(result);
  };
}

/** The data of the first event of this name. */
export function event(events, section, method) {
  const found = events.find((e) => e.section === section && e.method === method);
  assert(
    found,
    `no event ${section}.${method} among ${events.map((e) => `${e.section}.${e.method}`)}`,
  );
  return found.data;
}

/** Waits for a best block of at least this number. */
export async function untilBlock(api, number) {
  await new Promise((resolve, reject) => {
    let stop;
    api.rpc.chain
      .subscribeNewHeads((header) => {
        if (header.number.toNumber() < number) return;
        if (stop) stop();
        resolve();
      })
      .then((unsubscribe) => {
        stop = unsubscribe;
      }, reject);
  });
}

/** Number of the best block. */
export async function best(api) {
  return (await api.rpc.chain.getHeader()).number.toNumber();
}

/**
 * A general transaction (version 5, no signature, no account) around a call that a pallet
 * authorizes by itself: preamble, version of the extensions, every extension with its neutral
 * value, call.
 */
export async function sendGeneral(api, provider, call) {
  // Extensions that put anything into the transaction, by the bytes of their neutral value:
  // an immortal era, nonce 0, tip 0, no metadata hash.
  const neutral = {
    CheckMortality: [0],
    CheckNonce: [0],
    ChargeTransactionPayment: [0],
    CheckMetadataHash: [0],
  };
  const extensions = api.registry.signedExtensions.flatMap((name) => neutral[name] ?? []);
  const body = u8aConcat(
    new Uint8Array([0x45, 0x00]),
    new Uint8Array(extensions),
    call.method.toU8a(),
  );
  // The API's own codec knows general transactions only in part, so the bytes go to the node as
  // they are, and are looked for in the blocks as they are.
  const bytes = u8aToHex(u8aConcat(compactToU8a(body.length), body));
  let number = await best(api);
  await provider.send("author_submitExtrinsic", [bytes]);
  const stopAt = Date.now() + 60_000;
  while (Date.now() < stopAt) {
    await untilBlock(api, number);
    const at = await api.rpc.chain.getBlockHash(number);
    const { block } = await provider.send("chain_getBlock", [at.toHex()]);
    const index = block.extrinsics.indexOf(bytes);
    if (index >= 0) {
      const records = await (await api.at(at)).query.system.events();
      return records
        .filter(({ phase }) => phase.isApplyExtrinsic && phase.asApplyExtrinsic.eq(index))
        .map((record) => record.event);
    }
    number += 1;
  }
  throw new Error("the general transaction is in no block after 60 s");
}

/** SCALE bytes of values in a row. */
export function concat(...parts) {
  return u8aConcat(...parts.map((part) => u8aToU8a(part)));
}

/**
 * The bytes that are signed for a message outside an extrinsic: tag, genesis hash, message; hashed
 * when they are longer than 256 bytes.
 */
export function signingPayload(api, tag, message) {
  const text = new TextEncoder().encode(tag);
  const bytes = concat(compactToU8a(text.length), text, api.genesisHash.toU8a(), message);
  return bytes.length > 256 ? blake2AsU8a(bytes) : bytes;
}
