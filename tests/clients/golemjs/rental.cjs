// Rents one machine exactly as a user of golem-js does, and prints one line of
// JSON for everything that happened. What to do is the JSON in argv[2]:
//
//   { imageUrl, imageHash, engine, network, rentHours, timeoutMs, budget, do: [step…] }
//
// with steps {run: [program, args…]}, {shell: "line"}, {stream: [program, args…]},
// {captured: {run: [program, args…], capture}}, {upload: [local, remote]},
// {download: [remote, local]}, {uploadText: [text, remote]}, {downloadText: remote},
// {sleepMs: n}, {state: true}. With a budget, an allocation of that much is made
// and released before anything else.
//
// CommonJS on purpose: the ESM build of golem-js 3.6 cannot download data under
// plain Node.
"use strict";
const { GolemNetwork } = require("@golem-sdk/golem-js");
const { say, text, result, quiet, follow, machines, disconnect, run } = require("./common.cjs");

const order = JSON.parse(process.argv[2]);

async function stream(exe, args) {
  const process = await exe.runAndStream(args[0], args.slice(1));
  process.stdout.subscribe((chunk) => say("chunk", { stream: "stdout", text: text(chunk) }));
  process.stderr.subscribe((chunk) => say("chunk", { stream: "stderr", text: text(chunk) }));
  return say("stream", result(await process.waitForExit(order.timeoutMs || 20000)));
}

async function perform(exe, step) {
  const [verb] = Object.keys(step);
  const args = step[verb];
  say("doing", { verb, activityId: exe.activity.id });
  switch (verb) {
    case "run":
      return say("run", result(await exe.run(args[0], args.slice(1))));
    case "shell":
      return say("run", result(await exe.run(args)));
    case "captured":
      return say("run", result(await exe.run(args.run[0], args.run.slice(1), { capture: args.capture })));
    case "stream":
      return stream(exe, args);
    case "upload":
      return say("upload", result(await exe.uploadFile(args[0], args[1])));
    case "download":
      return say("download", result(await exe.downloadFile(args[0], args[1])));
    case "uploadText":
      return say("upload", result(await exe.uploadData(new TextEncoder().encode(args[0]), args[1])));
    case "downloadText": {
      const r = await exe.downloadData(args);
      return say("download", { ...result({ ...r, stdout: null }), text: Buffer.from(r.data).toString("utf8") });
    }
    case "sleepMs":
      return new Promise((resolve) => setTimeout(resolve, args));
    case "state":
      return say("state", { state: exe.activity.getState() });
    default:
      throw new Error(`unknown step ${verb}`);
  }
}

async function main() {
  const glm = new GolemNetwork({
    logger: quiet,
    payment: order.network ? { network: order.network } : undefined,
  });
  let failed = false;
  follow(glm);
  try {
    await glm.connect();
    say("connected");
    if (order.budget) {
      await glm.payment.releaseAllocation(await glm.payment.createAllocation({ budget: order.budget, expirationSec: 600 }));
    }
    const rental = await glm.oneOf({ order: machines(order), signalOrTimeout: order.timeoutMs || 60000 });
    say("rented", { agreementId: rental.agreement.id, provider: rental.agreement.provider.id });
    const exe = await rental.getExeUnit();
    say("ready", { activityId: exe.activity.id, state: exe.activity.getState() });
    for (const step of order.do || []) {
      await perform(exe, step);
    }
    await rental.stopAndFinalize(order.timeoutMs || 60000);
    say("finalized");
  } catch (err) {
    failed = true;
    say("failed", { message: String(err && err.message), cause: String(err && err.previous || "") });
  }
  return (await disconnect(glm)) || failed;
}

run(main);
