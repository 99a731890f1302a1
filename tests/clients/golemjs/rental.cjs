// Rents one machine exactly as a user of golem-js does, and prints one line of
// JSON for everything that happened. What to do is the JSON in argv[2]:
//
//   { imageUrl, imageHash, engine, network, rentHours, timeoutMs, do: [step…] }
//
// with steps {run: [program, args…]}, {shell: "line"}, {stream: [program, args…]},
// {upload: [local, remote]}, {download: [remote, local]}, {uploadText: [text, remote]},
// {downloadText: remote}, {sleepMs: n}, {state: true}.
//
// CommonJS on purpose: the ESM build of golem-js 3.6 cannot download data under
// plain Node.
"use strict";
const { GolemNetwork } = require("@golem-sdk/golem-js");

const order = JSON.parse(process.argv[2]);
const began = Date.now();

function say(step, more) {
  process.stdout.write(JSON.stringify({ step, ms: Date.now() - began, ...more }) + "\n");
}

function text(v) {
  return v === null || v === undefined ? v : v.toString();
}

function result(r) {
  return { index: r.index, result: r.result, stdout: text(r.stdout), stderr: text(r.stderr), message: r.message, isBatchFinished: r.isBatchFinished };
}

const quiet = {
  child: () => quiet,
  debug: () => {},
  info: (message) => say("log", { level: "info", message }),
  warn: (message, ctx) => say("log", { level: "warn", message, detail: String(ctx && (ctx.error || ctx.err) || "") }),
  error: (message, ctx) => say("log", { level: "error", message, detail: String((ctx && (ctx.error || ctx.err)) || ctx || "") }),
};

async function perform(exe, step) {
  const [verb] = Object.keys(step);
  const args = step[verb];
  switch (verb) {
    case "run":
      return say("run", result(await exe.run(args[0], args.slice(1))));
    case "shell":
      return say("run", result(await exe.run(args)));
    case "stream": {
      const process = await exe.runAndStream(args[0], args.slice(1));
      process.stdout.subscribe((chunk) => say("chunk", { stream: "stdout", text: text(chunk) }));
      process.stderr.subscribe((chunk) => say("chunk", { stream: "stderr", text: text(chunk) }));
      return say("stream", result(await process.waitForExit(order.timeoutMs || 20000)));
    }
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

function follow(glm) {
  glm.payment.events.on("invoiceAccepted", ({ invoice }) => say("invoiceAccepted", { id: invoice.id, amount: invoice.amount }));
  glm.payment.events.on("invoiceRejected", ({ invoice }) => say("invoiceRejected", { id: invoice.id }));
  glm.payment.events.on("errorAcceptingInvoice", ({ error }) => say("invoiceError", { message: String(error) }));
  glm.payment.events.on("debitNoteAccepted", ({ debitNote }) => say("debitNoteAccepted", { id: debitNote.id, amount: debitNote.totalAmountDue }));
  glm.payment.events.on("allocationCreated", ({ allocation }) => say("allocationCreated", { id: allocation.id, platform: allocation.paymentPlatform }));
  glm.payment.events.on("allocationReleased", ({ allocation }) => say("allocationReleased", { id: allocation.id }));
  glm.market.events.on("agreementApproved", ({ agreement }) => say("agreementApproved", { id: agreement.id }));
  glm.market.events.on("agreementTerminated", ({ agreement, terminatedBy, reason }) =>
    say("agreementTerminated", { id: agreement.id, by: terminatedBy, reason }));
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
    const rental = await glm.oneOf({
      order: {
        demand: {
          workload: {
            imageUrl: order.imageUrl,
            imageHash: order.imageHash,
            ...(order.engine ? { engine: order.engine } : {}),
            minMemGib: 0.1,
            minStorageGib: 0.1,
          },
        },
        market: {
          rentHours: order.rentHours || 0.5,
          pricing: { model: "linear", maxStartPrice: 1, maxCpuPerHourPrice: 10, maxEnvPerHourPrice: 10 },
        },
      },
      signalOrTimeout: order.timeoutMs || 60000,
    });
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
  try {
    await glm.disconnect();
    say("disconnected");
  } catch (err) {
    failed = true;
    say("failed", { message: String(err && err.message) });
  }
  process.exit(failed ? 1 : 0);
}

process.on("unhandledRejection", (err) => {
  say("crashed", { message: String((err && err.stack) || err) });
  process.exit(2);
});
process.on("uncaughtException", (err) => {
  say("crashed", { message: String((err && err.stack) || err) });
  process.exit(2);
});

main();
