// /// script
// dependencies = ["bullmq@6.7.0", "ioredis@6.0.0"]
//
// [tool.benchmark]
// title = "BullMQ 6.7"
// pages = ["https://docs.bullmq.io/guide/going-to-production", "https://docs.bullmq.io/guide/workers/concurrency"]
// how = "Node; 200 at once; results in Redis, appended to disk each second, not at each commit"
// needs = ["redis"]
// drained = 20000
// drained_many = 100000
// outcomes = "redis ZCARD bull:bench:completed"
// by_default = false
// ///
// BullMQ: Redis alone.

import { Queue, Worker } from "bullmq";
import { main, ran, redisUrl, slots } from "./_peer.mjs";

const ROWS = 1000;
const { hostname: host, port } = new URL(redisUrl);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };

let queue;
await main({
  setup: () => undefined,
  open: async () => {
    queue = new Queue("bench", { connection });
    await queue.waitUntilReady();
  },
  one: async (number) => (await queue.add("noop", { number })).id,
  many: async (numbers) => {
    for (let first = 0; first < numbers.length; first += ROWS) {
      const some = numbers.slice(first, first + ROWS);
      await queue.addBulk(some.map((number) => ({ name: "noop", data: { number } })));
    }
  },
  close: () => queue.close(),
  work: async () => {
    const worker = new Worker("bench", async (job) => ran(job.data.number), { connection, concurrency: slots });
    await new Promise((resolve) => process.once("SIGTERM", resolve));
    await worker.close();
  },
});
