// /// script
// dependencies = ["graphile-worker@0.18.0"]
//
// [tool.benchmark]
// title = "Graphile Worker 0.18"
// pages = ["https://worker.graphile.org/docs/performance", "https://worker.graphile.org/docs/config"]
// how = "Node; 24 at once, local queue of 500, NO_LOG_SUCCESS; keeps no result: completed jobs are deleted"
// needs = ["postgres"]
// drained = 20000
// drained_many = 100000
// outcomes = """
//     SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('graphile_worker._private_jobs', 'id')), 0)
//          - (SELECT count(*) FROM graphile_worker._private_jobs)"""
// by_default = false
// ///
// Graphile Worker: PostgreSQL alone, LISTEN and NOTIFY.

import { databaseUrl, main, ran } from "./_peer.mjs";

process.env.NO_LOG_SUCCESS = "1"; // read when it is imported; by default it writes a line a job
const { makeWorkerUtils, run, runMigrations } = await import("graphile-worker");

const ROWS = 1000;
// "Performance": one worker process with a local queue, and completions that are written together.
const preset = {
  worker: {
    connectionString: databaseUrl,
    concurrentJobs: 24,
    maxPoolSize: 25,
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    localQueue: { size: 500 },
  },
};

let utils;
await main({
  setup: () => runMigrations({ connectionString: databaseUrl }),
  open: async () => (utils = await makeWorkerUtils({ connectionString: databaseUrl })),
  one: async (number) => (await utils.addJob("noop", { number })).id,
  many: async (numbers) => {
    for (let first = 0; first < numbers.length; first += ROWS) {
      const some = numbers.slice(first, first + ROWS);
      await utils.addJobs(some.map((number) => ({ identifier: "noop", payload: { number } })));
    }
  },
  close: () => utils.release(),
  work: async () => {
    const runner = await run({ preset, taskList: { noop: async ({ number }) => void ran(number) } });
    await runner.promise; // ends by SIGTERM
  },
});
