// Rents a pool of two machines, uses both at once, takes one again, ends one and
// rents another in its place after the demand was published anew, and ends all.
// The order is the JSON in argv[2], as in rental.cjs, with "say" = what each
// machine is to run.
"use strict";
const { GolemNetwork } = require("@golem-sdk/golem-js");
const { say, result, quiet, follow, machines, disconnect, run } = require("./common.cjs");

const order = JSON.parse(process.argv[2]);
const limit = order.timeoutMs || 60000;

async function use(rental, name) {
  const exe = await rental.getExeUnit();
  say("used", {
    name, agreementId: rental.agreement.id, provider: rental.agreement.provider.id, demandId: rental.agreement.demand.id,
    ...result(await exe.run(order.say[0], [...order.say.slice(1), name])),
  });
}

async function main() {
  const glm = new GolemNetwork({
    logger: quiet,
    payment: order.network ? { network: order.network } : undefined,
    market: { demandRefreshIntervalSec: 3 },
  });
  follow(glm);
  let failed = false;
  try {
    await glm.connect();
    const pool = await glm.manyOf({ poolSize: { min: 0, max: 2 }, order: machines(order) });
    const both = await Promise.all([pool.acquire(limit), pool.acquire(limit)]);
    await Promise.all(both.map((r, i) => use(r, "first" + i)));
    await pool.release(both[0]);
    const again = await pool.acquire(limit);
    await use(again, "again");
    const refreshed = new Promise((resolve) => glm.market.events.once("demandSubscriptionRefreshed", resolve));
    await pool.destroy(again, limit);
    say("destroyed", { agreementId: again.agreement.id });
    await refreshed;
    const third = await pool.acquire(limit);
    await use(third, "third");
    await pool.release(third);
    await pool.release(both[1]);
    await pool.drainAndClear(limit);
    say("drained", { size: pool.getSize() });
  } catch (err) {
    failed = true;
    say("failed", { message: String(err && err.message), cause: String(err && err.previous || "") });
  }
  return (await disconnect(glm)) || failed;
}

run(main);
