// Shows that Polkadot.js-compatible tools can use the chain: reads every pallet's state, submits
// each kind of extrinsic once, and follows events and finality.
//
//   node check.js ws://127.0.0.1:9944      against a development chain (`tributary-node --dev`)

import { ApiPromise, WsProvider } from "@polkadot/api";
import { Keyring } from "@polkadot/keyring";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import { assert, check, summary } from "./harness.js";
import { chainCalls } from "./chain-calls.js";
import { assetCalls } from "./asset-calls.js";

const url = process.argv[2];
if (!url) {
  console.error("usage: node check.js WS_URL");
  process.exit(2);
}

await cryptoWaitReady();
const provider = new WsProvider(url, 1_000, {}, 30_000);
const api = await ApiPromise.create({ provider, noInitWarn: true });
const keyring = new Keyring({ type: "sr25519", ss58Format: 42 });
const people = Object.fromEntries(
  ["Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie"].map((name) => [
    name.toLowerCase(),
    keyring.addFromUri(`//${name}`),
  ]),
);

// Subscribed from the start, so that nothing has to be waited for at the end.
const seen = { events: 0, GRANDPA: 0, BEEFY: 0 };
const count = (what, by) => {
  seen[what] += by;
};
const subscriptions = await Promise.all([
  api.query.system.events((records) => count("events", records.length)),
  api.rpc.chain.subscribeFinalizedHeads(() => count("GRANDPA", 1)),
  api.rpc.beefy.subscribeJustifications(() => count("BEEFY", 1)),
]);

await check("the chain says what it is", async () => {
  const [chain, name, properties] = await Promise.all([
    api.rpc.system.chain(),
    api.rpc.system.name(),
    api.rpc.system.properties(),
  ]);
  assert(chain.length > 0 && name.length > 0, "no name");
  assert(properties.tokenSymbol.unwrap()[0].eq("OPEN"), "the token is not OPEN");
  assert(properties.tokenDecimals.unwrap()[0].eqn(18), "OPEN has 18 decimals");
});

const methods = (await api.rpc.rpc.methods()).methods.map((method) => method.toString());
for (const group of [
  "system_",
  "state_",
  "chain_",
  "author_",
  "chainHead_v1_",
  "chainSpec_v1_",
  "transaction_v1_",
  "transactionWatch_v1_",
  "babe_",
  "grandpa_",
  "beefy_",
  "mmr_",
  "payment_",
]) {
  await check(`RPC ${group}*`, async () =>
    assert(
      methods.some((method) => method.startsWith(group)),
      "there is none",
    ),
  );
}

// Side by side: most of the time goes by in waiting for blocks.
await Promise.all([
  assetCalls({ api, provider, people, keyring }),
  chainCalls({ api, people, keyring }),
]);

// After the calls, so that there is something to read.
for (const [pallet, entries] of Object.entries(api.query)) {
  if (pallet === "substrate") continue;
  await check(`state of ${pallet}`, async () => {
    for (const entry of Object.values(entries)) {
      if (!entry.creator?.meta) continue;
      if (entry.creator.meta.type.isPlain) await entry();
      else await entry.entriesPaged({ args: [], pageSize: 20 });
    }
  });
}

for (const what of Object.keys(seen)) {
  await check(`by subscription: ${what}`, async () => {
    const until = Date.now() + 90_000;
    while (seen[what] < 2 && Date.now() < until) await new Promise((wake) => setTimeout(wake, 200));
    assert(seen[what] >= 2, `${seen[what]} arrived`);
  });
}
subscriptions.forEach((stop) => stop());

await api.disconnect();
process.exit(summary());
