// Reads a node's log with one of the published clients and prints a line of
// JSON for everything it saw: node reader.cjs '{"client":…,"url":…,"do":[…]}'.
const order = JSON.parse(process.argv[2]);
const lib = require(order.client);
const Client = lib.EventStoreDBClient ?? lib.KurrentDBClient;
const client = Client.connectionString(order.url);

const say = (step, fields = {}) => console.log(JSON.stringify({ step, ...fields }));

const seen = ({ event }) => ({
  id: event.id,
  type: event.type,
  stream: event.streamId,
  revision: String(event.revision),
  position: event.position ? String(event.position.commit) : "",
  prepare: event.position ? String(event.position.prepare) : "",
  json: event.isJson,
  data: event.isJson ? JSON.stringify(event.data) : Buffer.from(event.data).toString("hex"),
  correlation: event.metadata?.$correlationId ?? "",
  causation: event.metadata?.$causationId ?? "",
  created: new Date(event.created).toISOString(),
});

const list = async (what, events) => {
  const out = [];
  for await (const e of events) out.push(seen(e));
  say(what, { events: out });
};

const filterOf = (o) =>
  o.prefix
    ? (o.on === "stream" ? lib.streamNameFilter : lib.eventTypeFilter)({ prefixes: [o.prefix], checkpointInterval: 1, maxSearchWindow: 4, ...o.more })
    : undefined;

const steps = {
  all: (o) => list("all", client.readAll({ direction: o.backward ? lib.BACKWARDS : lib.FORWARDS, fromPosition: o.backward ? lib.END : lib.START, maxCount: o.max })),
  stream: (o) => list("stream", client.readStream(o.name, { direction: o.backward ? lib.BACKWARDS : lib.FORWARDS, fromRevision: o.backward ? lib.END : lib.START })),
  filtered: (o) => list("filtered", client.readAll({ filter: filterOf(o) })),
  // follow prints what there is, says that it is live, and goes on until it has
  // seen an event of the type "until".
  follow: async (o) => {
    const more = o.prefix
      ? { filter: filterOf({ ...o, more: { checkpointReached: async (_, p) => say("checkpoint", { position: String(p.commit) }) } }) }
      : {};
    const sub = o.name ? client.subscribeToStream(o.name, { fromRevision: lib.START }) : client.subscribeToAll({ fromPosition: lib.START, ...more });
    sub.on("caughtUp", () => say("live"));
    sub.on("confirmation", () => say("confirmed"));
    for await (const e of sub) {
      say("event", seen(e));
      if (e.event.type === o.until) break;
    }
    await sub.unsubscribe();
    say("left");
  },
  refusal: async () => {
    try {
      await client.appendToStream("mine-1", lib.jsonEvent({ type: "mine.v1", data: {} }));
      say("refusal", { error: "" });
    } catch (e) {
      say("refusal", { error: e.constructor.name });
    }
  },
  missing: async () => {
    try {
      for await (const _ of client.readStream("nobody-1"));
      say("missing", { error: "" });
    } catch (e) {
      say("missing", { error: e.constructor.name });
    }
  },
  // share reads for a group: every second event is tried again, all are
  // acknowledged in the end.
  share: async (o) => {
    await client.createPersistentSubscriptionToStream(o.name, "g", lib.persistentSubscriptionToStreamSettingsFromDefaults({ startFrom: lib.START }));
    const sub = client.subscribeToPersistentSubscriptionToStream(o.name, "g", { bufferSize: 4 });
    let acknowledged = 0;
    for await (const e of sub) {
      say("shared", { ...seen(e), retry: e.retryCount ?? 0 });
      if ((e.retryCount ?? 0) === 0 && Number(e.event.revision) % 2 === 1) {
        await sub.nack("retry", "once more", e);
        continue;
      }
      await sub.ack(e);
      if (++acknowledged === o.count) break;
    }
    await sub.unsubscribe();
    say("left");
  },
};

// leave exits when all that was said is written.
const leave = (code) => process.stdout.write("", () => process.exit(code));

// A client that waits in native code does not keep the process alive.
const awake = setInterval(() => {}, 1000);

(async () => {
  for (const [step, o] of order.do) await steps[step](o ?? {});
  say("end");
  clearInterval(awake);
  await client.dispose();
  leave(0);
})().catch((e) => {
  say("failed", { error: e.constructor.name, message: e.message });
  leave(1);
});
