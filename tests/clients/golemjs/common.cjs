// What all drivers share: printing one line of JSON for everything that happens.
"use strict";

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

function follow(glm) {
  glm.payment.events.on("invoiceAccepted", ({ invoice }) => say("invoiceAccepted", { id: invoice.id, amount: invoice.amount }));
  glm.payment.events.on("invoiceRejected", ({ invoice }) => say("invoiceRejected", { id: invoice.id }));
  glm.payment.events.on("invoiceReceived", ({ invoice }) => say("invoiceReceived", { id: invoice.id, agreementId: invoice.agreementId }));
  glm.payment.events.on("errorAcceptingInvoice", ({ error }) => say("invoiceError", { message: String(error) }));
  glm.payment.events.on("debitNoteAccepted", ({ debitNote }) => say("debitNoteAccepted", { id: debitNote.id, amount: debitNote.totalAmountDue }));
  glm.payment.events.on("allocationCreated", ({ allocation }) =>
    say("allocationCreated", { id: allocation.id, platform: allocation.paymentPlatform, total: allocation.totalAmount }));
  glm.payment.events.on("allocationReleased", ({ allocation }) => say("allocationReleased", { id: allocation.id }));
  glm.market.events.on("agreementApproved", ({ agreement }) => say("agreementApproved", { id: agreement.id }));
  glm.market.events.on("agreementTerminated", ({ agreement, terminatedBy, reason }) =>
    say("agreementTerminated", { id: agreement.id, by: terminatedBy, reason }));
  glm.market.events.on("demandSubscriptionStarted", ({ demand }) => say("demandStarted", { id: demand.id }));
  glm.market.events.on("demandSubscriptionRefreshed", ({ demand }) => say("demandRefreshed", { id: demand.id }));
}

// machines is what is ordered: a machine for WASM images, or others.
function machines(order) {
  return {
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
  };
}

// run ends the program as main says, when all that was said is written: 1 when
// something failed, 2 when it crashed.
// disconnect leaves the node and says whether that failed.
async function disconnect(glm) {
  try {
    await glm.disconnect();
    say("disconnected");
    return false;
  } catch (err) {
    say("failed", { message: String(err && err.message) });
    return true;
  }
}

function run(main) {
  const leave = (code) => process.stdout.write("", () => process.exit(code));
  const crashed = (err) => {
    say("crashed", { message: String((err && err.stack) || err) });
    leave(2);
  };
  process.on("unhandledRejection", crashed);
  process.on("uncaughtException", crashed);
  main().then((failed) => leave(failed ? 1 : 0));
}

module.exports = { say, text, result, quiet, follow, machines, disconnect, run };
