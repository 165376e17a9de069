// One call of each kind of the project's own pallets, in the order of a datanet's life.

import { blake2AsU8a, randomAsU8a } from "@polkadot/util-crypto";
import { bnToU8a, u8aToHex } from "@polkadot/util";
import {
  best,
  check,
  concat,
  event,
  send,
  sendGeneral,
  signingPayload,
  untilBlock,
} from "./harness.js";

const OPEN = 10n ** 18n;
const u32 = (n) => bnToU8a(n, { bitLength: 32, isLe: true });
const u64 = (n) => bnToU8a(n, { bitLength: 64, isLe: true });
const u128 = (n) => bnToU8a(n, { bitLength: 128, isLe: true });
const text = (s) => new TextEncoder().encode(s);

/** Root of a tree of one leaf, as `primitives::tree` hashes it. */
function rootOfOne(leaf) {
  const hashed = blake2AsU8a(concat(new Uint8Array([0x00]), leaf));
  return u8aToHex(blake2AsU8a(concat(new Uint8Array([0x02]), u64(1), hashed)));
}

export async function assetCalls({ api, provider, people, keyring }) {
  const { alice, bob, charlie, dave, eve } = people;
  const { datanets, compute, attribution, marketplace, stakes, token, sudo } = api.tx;
  const run = `${Date.now()}`;
  const consent = { train: true, commercial: true, quote: false };
  const fresh = () => keyring.addFromSeed(randomAsU8a(32));

  const offerOf = async (datanet, payout) => ({
    datanet,
    content: u8aToHex(randomAsU8a(32)),
    recordsRoot: u8aToHex(randomAsU8a(32)),
    records: 3,
    bytes: 300,
    payout: payout.address,
    validUntil: (await best(api)) + 50,
  });
  const signOffer = (offer, by) => {
    const message = concat(
      u32(offer.datanet),
      offer.content,
      offer.recordsRoot,
      u32(offer.records),
      u64(offer.bytes),
      by.publicKey,
      u32(offer.validUntil),
    );
    return { Sr25519: by.sign(signingPayload(api, "tributary/contribution:v1", message)) };
  };
  const contributed = (events) => event(events, "datanets", "Contributed")[0].toNumber();

  let net, curated, held, version;
  const shards = {};

  await check("datanets.createDatanet", async () => {
    const open = await send(
      api,
      datanets.createDatanet(`js-${run}`, "Open", "CC-BY-4.0", consent, 0),
      alice,
    );
    net = event(open, "datanets", "DatanetCreated")[0].toNumber();
    const policy = { Curated: { quorum: 1, curators: [bob.address] } };
    const second = await send(
      api,
      datanets.createDatanet(`js-${run}-c`, policy, "CC0-1.0", consent, 0),
      alice,
    );
    curated = event(second, "datanets", "DatanetCreated")[0].toNumber();
  });
  await check("datanets.fundPot", () => send(api, datanets.fundPot(net, 100n * OPEN), alice));
  await check("datanets.setSponsorship", () =>
    send(api, datanets.setSponsorship(net, { enabled: true, maxPerPeriod: 100 }), alice),
  );
  await check("datanets.withdrawPot", () => send(api, datanets.withdrawPot(net, OPEN), alice));
  await check("datanets.contribute", async () => {
    const offer = await offerOf(net, bob);
    shards.own = contributed(await send(api, datanets.contribute(offer), bob));
  });
  await check("datanets.submitFor", async () => {
    const her = fresh();
    const offer = await offerOf(net, her);
    const call = datanets.submitFor(offer, signOffer(offer, her));
    shards.carried = contributed(await send(api, call, charlie));
  });
  const contributor = fresh();
  await check("datanets.contributeSigned, from a key without an account", async () => {
    const offer = await offerOf(net, contributor);
    const call = datanets.contributeSigned(offer, signOffer(offer, contributor));
    shards.sponsored = contributed(await sendGeneral(api, provider, call));
  });
  await check("datanets.vote", async () => {
    const offer = await offerOf(curated, dave);
    held = contributed(await send(api, datanets.contribute(offer), dave));
    event(await send(api, datanets.vote(held, true), bob), "datanets", "Accepted");
  });
  await check("datanets.setPolicy", () => send(api, datanets.setPolicy(curated, "Open"), alice));
  await check("datanets.cutVersion", async () => {
    const due = (await api.query.datanets.contributions(shards.sponsored)).toJSON();
    await untilBlock(api, (due?.state?.pending?.due ?? (await best(api)) + 5) + 1);
    const events = await send(api, datanets.cutVersion(net), alice);
    version = event(events, "datanets", "VersionCut")[0].toJSON();
  });

  let base, model, job;
  await check("attribution.registerBase", async () => {
    const call = attribution.registerBase(`js-base-${run}`, u8aToHex(randomAsU8a(32)), 100_000);
    base = event(await send(api, call, charlie), "attribution", "ModelRegistered")[0].toNumber();
  });
  const info = {
    endpoint: "http://127.0.0.1:1",
    signingKey: bob.address,
    maxRank: 64,
    gpu: false,
    trainPrice: OPEN / 1000n,
  };
  await check("compute.registerWorker", () =>
    send(api, compute.registerWorker(info, 2_000n * OPEN), bob),
  );
  await check("compute.updateWorker", () =>
    send(api, compute.updateWorker({ ...info, maxRank: 32 }), bob),
  );
  const newJob = async (name, blocks) => ({
    name,
    base,
    versions: [version],
    spec: {
      rank: 8,
      alpha: 16,
      targets: { q: true, k: true, v: true, o: true, gate: true, up: true, down: true },
      epochs: 1,
      batch: 8,
      lrNano: 1_000_000,
      warmupPermille: 30,
      seqLen: 128,
      seed: 1,
    },
    maxFee: 10n * OPEN,
    deadline: (await best(api)) + blocks,
  });
  const submitJob = async (name, blocks) =>
    event(
      await send(api, compute.submitJob(await newJob(name, blocks)), dave),
      "compute",
      "JobSubmitted",
    )[0].toNumber();
  let late;
  await check("compute.submitJob", async () => {
    late = await submitJob(`js-late-${run}`, 3);
    job = await submitJob(`js-model-${run}`, 100);
  });
  await check("compute.cancelJob", async () => {
    const other = await submitJob(`js-cancelled-${run}`, 100);
    await send(api, compute.cancelJob(other), dave);
  });
  await check("compute.claimJob", () => send(api, compute.claimJob(job), bob));
  await check("compute.expireLease is refused while the lease holds", () =>
    send(api, compute.expireLease(job), eve, "compute.LeaseRunning"),
  );
  await check("compute.reportProgress", async () => {
    await send(api, compute.reportProgress(job, { step: 1, steps: 3, lossMicro: 2_000_000 }), bob);
    const again = { step: 2, steps: 3, lossMicro: 1_500_000 };
    await send(api, compute.reportProgress(job, again), bob, "compute.TooSoon");
  });
  await check("compute.submitResult", async () => {
    const result = {
      adapter: u8aToHex(randomAsU8a(32)),
      index: u8aToHex(randomAsU8a(32)),
      indexRoot: u8aToHex(randomAsU8a(32)),
      transcript: u8aToHex(randomAsU8a(32)),
      metrics: { lossBeforeMicro: 3_000_000, lossAfterMicro: 1_000_000, steps: 3, tokens: 300 },
    };
    const events = await send(api, compute.submitResult(job, result), bob);
    const finalAt = event(events, "compute", "ResultSubmitted")[3].toNumber();
    await untilBlock(api, finalAt);
  });
  await check("compute.finalizeJob", async () => {
    const events = await send(api, compute.finalizeJob(job), eve);
    model = event(events, "compute", "JobCompleted")[2].toNumber();
  });
  await check("compute.expireJob", () => send(api, compute.expireJob(late), eve));

  await check("marketplace.listModel", () =>
    send(api, marketplace.listModel(model, OPEN / 100n, OPEN / 50n), dave),
  );
  let channel;
  await check("marketplace.openChannel", async () => {
    const events = await send(api, marketplace.openChannel(bob.address, 20n * OPEN), charlie);
    channel = event(events, "marketplace", "ChannelOpened")[0].toNumber();
  });
  await check("marketplace.topUp", () => send(api, marketplace.topUp(channel, OPEN), charlie));
  const voucher = (cumulative) => {
    const message = concat(u64(channel), u128(cumulative));
    const signature = charlie.sign(signingPayload(api, "tributary/voucher:v1", message));
    return [{ channel, cumulative }, { Sr25519: signature }];
  };
  await check("marketplace.redeem", () =>
    send(api, marketplace.redeem(...voucher(10n * OPEN), 8n * OPEN), bob),
  );
  await check("marketplace.redeem refuses a total that was redeemed before", () =>
    send(
      api,
      marketplace.redeem(...voucher(10n * OPEN), 8n * OPEN),
      bob,
      "marketplace.StaleVoucher",
    ),
  );

  // Two batches of one payout each: one is claimed by anybody, one through the sponsor pot.
  const shares = (await api.query.attribution.currentShares()).toJSON();
  const settle = async (sequence, contribution) => {
    const fees = 4n * OPEN;
    const net = fees - (fees * BigInt(shares.platform)) / 1_000_000n;
    const part = (net * BigInt(shares.contributors)) / 1_000_000n;
    const amount = part / 2n;
    const payout = { contribution, amount };
    const root = rootOfOne(concat(text("tributary/payout:v1"), u64(contribution), u128(amount)));
    const events = await send(
      api,
      attribution.submitBatch({
        sequence,
        models: [{ model, requests: 1, tokensIn: 5, tokensOut: 5, fees, attributed: amount }],
        payoutsRoot: root,
        payoutsCount: 1,
        payoutsTotal: amount,
        payoutsBlob: u8aToHex(randomAsU8a(32)),
        unattributedTotal: part - amount,
        receiptsRoot: root,
        receiptsCount: 1,
      }),
      bob,
    );
    const data = event(events, "attribution", "BatchSubmitted");
    return { batch: data[0].toNumber(), finalAt: data[6].toNumber(), payout };
  };
  let first, second;
  await check("attribution.submitBatch", async () => {
    first = await settle(0, shards.carried);
    second = await settle(1, shards.sponsored);
  });
  await check("attribution.finalizeBatch", async () => {
    await untilBlock(api, second.finalAt);
    await send(api, attribution.finalizeBatch(first.batch), eve);
    await send(api, attribution.finalizeBatch(second.batch), eve);
  });
  const proof = { index: 0, siblings: [] };
  await check("attribution.claim", () =>
    send(api, attribution.claim(first.batch, first.payout, proof), eve),
  );
  await check("attribution.claim refuses a second time", () =>
    send(
      api,
      attribution.claim(first.batch, first.payout, proof),
      eve,
      "attribution.AlreadyClaimed",
    ),
  );
  await check("attribution.claimSponsored, to a key without an account", async () => {
    const call = attribution.claimSponsored(second.batch, second.payout, proof);
    event(await sendGeneral(api, provider, call), "attribution", "PayoutClaimed");
    const { data } = await api.query.system.account(contributor.address);
    if (data.free.toBigInt() !== second.payout.amount) throw new Error("not what was to be paid");
  });
  await check("attribution.transferModel", () =>
    send(api, attribution.transferModel(model, eve.address), dave),
  );
  await check("marketplace.delistModel", () => send(api, marketplace.delistModel(model), eve));
  await check("marketplace.closeChannel", async () => {
    const events = await send(api, marketplace.closeChannel(channel), charlie);
    await untilBlock(api, event(events, "marketplace", "ChannelClosing")[1].toNumber());
  });
  await check("marketplace.settleChannel", () =>
    send(api, marketplace.settleChannel(channel), eve),
  );

  const subject = { Contribution: shards.own };
  await check("stakes.bond", () => send(api, stakes.bond(subject, 20n * OPEN), alice));
  await check("stakes.slash", () =>
    send(api, sudo.sudo(stakes.slash(subject, 100_000, eve.address)), alice),
  );
  let until;
  await check("stakes.unbond", async () => {
    const events = await send(api, stakes.unbond(subject, 8n * OPEN), alice);
    until = event(events, "stakes", "Unbonded")[3].toNumber();
  });
  await check("stakes.claimRewards says that there are none", () =>
    send(api, stakes.claimRewards(subject), alice, "stakes.NothingToClaim"),
  );
  await check("datanets.retireContribution", () =>
    send(api, datanets.retireContribution(shards.own), bob),
  );
  await check("datanets.retireSigned", async () => {
    const retirement = { contribution: shards.sponsored, validUntil: (await best(api)) + 50 };
    const message = concat(u64(retirement.contribution), u32(retirement.validUntil));
    const signature = contributor.sign(signingPayload(api, "tributary/retirement:v1", message));
    const call = datanets.retireSigned(retirement, { Sr25519: signature });
    event(await sendGeneral(api, provider, call), "datanets", "Retired");
  });
  await check("datanets.reschedule is refused for what is not under review", () =>
    send(api, datanets.reschedule(held), alice, "datanets.NotWaiting"),
  );
  await check("compute.deregisterWorker", () => send(api, compute.deregisterWorker(), bob));
  await check("token.burn", () => send(api, token.burn(OPEN), alice));
  await check("token.setFeeSplit", async () => {
    const split = (await api.query.token.split()).toJSON();
    await send(api, sudo.sudo(token.setFeeSplit(split)), alice);
  });
  await check("attribution.setShares", () =>
    send(api, sudo.sudo(attribution.setShares(shares)), alice),
  );
  await check("stakes.withdrawUnbonded", async () => {
    await untilBlock(api, until);
    await send(api, stakes.withdrawUnbonded(subject), alice);
  });
}
