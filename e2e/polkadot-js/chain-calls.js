// One call of each kind of the SDK's pallets that people use: transfers, batches, proxies,
// multisigs, vesting, staking and governance.

import { createKeyMulti, encodeAddress, sortAddresses } from "@polkadot/util-crypto";
import { best, check, event, send } from "./harness.js";

const OPEN = 10n ** 18n;

export async function chainCalls({ api, people }) {
  const { alice, bob, charlie, dave, eve, ferdie } = people;
  const { tx } = api;

  await check("balances.transferKeepAlive", () =>
    send(api, tx.balances.transferKeepAlive(bob.address, OPEN), alice),
  );
  await check("system.remark", () => send(api, tx.system.remarkWithEvent("0x01"), alice));
  await check("utility.batchAll", async () => {
    const transfers = [bob, charlie].map(({ address }) =>
      tx.balances.transferKeepAlive(address, OPEN),
    );
    event(await send(api, tx.utility.batchAll(transfers), alice), "utility", "BatchCompleted");
  });
  await check("proxy.addProxy, proxy.proxy", async () => {
    await send(api, tx.proxy.addProxy(bob.address, "Any", 0), alice);
    const inner = tx.balances.transferKeepAlive(dave.address, OPEN);
    await send(api, tx.proxy.proxy(alice.address, null, inner), bob);
  });
  await check("multisig.asMulti, twice", async () => {
    const call = tx.system.remark("0x02");
    const { weight } = await call.paymentInfo(alice.address);
    const others = (me) =>
      sortAddresses(
        [alice, bob, charlie].filter((p) => p !== me).map((p) => p.address),
        42,
      );
    const events = await send(
      api,
      tx.multisig.asMulti(2, others(alice), null, call, weight),
      alice,
    );
    const account = encodeAddress(
      createKeyMulti(
        [alice, bob, charlie].map((p) => p.address),
        2,
      ),
      42,
    );
    const open = await api.query.multisig.multisigs(account, call.method.hash);
    event(events, "multisig", "NewMultisig");
    const when = open.unwrap().when;
    const second = await send(api, tx.multisig.asMulti(2, others(bob), when, call, weight), bob);
    event(second, "multisig", "MultisigExecuted");
  });
  await check("vesting.vestedTransfer", async () => {
    const schedule = { locked: 1_000n * OPEN, perBlock: OPEN, startingBlock: await best(api) };
    await send(api, tx.vesting.vestedTransfer(ferdie.address, schedule), alice);
    await send(api, tx.vesting.vest(), ferdie);
  });
  await check("staking.bond, staking.nominate", async () => {
    await send(api, tx.staking.bond(1_000n * OPEN, "Staked"), eve);
    const validators = await api.query.session.validators();
    await send(api, tx.staking.nominate([validators[0].toString()]), eve);
  });
  await check("preimage.notePreimage, referenda.submit, convictionVoting.vote", async () => {
    const proposal = tx.system.remark(`0x${Date.now().toString(16).padStart(16, "0")}`);
    await send(api, tx.preimage.notePreimage(proposal.method.toHex()), alice);
    const lookup = { hash: proposal.method.hash, len: proposal.method.encodedLength };
    const origin = { system: "Root" };
    const events = await send(
      api,
      tx.referenda.submit(origin, { Lookup: lookup }, { After: 100 }),
      alice,
    );
    const index = event(events, "referenda", "Submitted")[0].toNumber();
    const vote = { vote: { aye: true, conviction: "Locked1x" }, balance: OPEN };
    await send(api, tx.convictionVoting.vote(index, { Standard: vote }), bob);
  });
  await check("sudo.sudo (development only)", () =>
    send(api, tx.sudo.sudo(tx.system.remark("0x03")), alice),
  );
  await check("session.setKeys refuses keys without proof", async () => {
    const keys = await api.rpc.author.rotateKeys();
    let refused = false;
    await send(api, tx.session.setKeys(keys, "0x"), ferdie).catch(() => {
      refused = true;
    });
    if (!refused) throw new Error("keys of which nobody showed the possession were taken");
  });
}
