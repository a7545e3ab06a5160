// What `_peer.py` is for peers in Python, for those that run on Node: see there.

import { appendFileSync } from "node:fs";

export const databaseUrl = process.env.BENCH_DATABASE_URL;
export const redisUrl = process.env.BENCH_REDIS_URL;
export const slots = Number(process.env.BENCH_SLOTS ?? 200);
const journal = process.env.BENCH_JOURNAL;

// Do what every task does: nothing, but for a line in the journal if there is one. Return its number.
export function ran(number) {
  if (journal) appendFileSync(journal, `${number} ${now().toFixed(6)}\n`);
  return number;
}

// Do what the command line asks of a peer: an object with setup, open, one, many, close and work.
export async function main(peer) {
  const [command, range, rate] = process.argv.slice(2);
  if (command === "setup") return await peer.setup();
  if (command === "work") return await peer.work();
  const [first, count] = range.split(":").map(Number);
  const numbers = Array.from({ length: count }, (_, place) => first + place);
  await peer.open();
  console.log(JSON.stringify(await { one, many, paced }[command](peer, numbers, Number(rate))));
  await peer.close();
}

function now() {
  return (performance.timeOrigin + performance.now()) / 1000;
}

async function one(peer, numbers) {
  const began = now();
  for (const number of numbers) await peer.one(number);
  return { seconds: now() - began };
}

async function many(peer, numbers) {
  const began = now();
  await peer.many(numbers);
  return { seconds: now() - began, began };
}

async function paced(peer, numbers, rate) {
  const [called, accepted, ids] = [{}, {}, {}];
  const enqueue = async (number) => {
    called[number] = now();
    ids[number] = String(await peer.one(number));
    accepted[number] = now();
  };
  const began = now();
  const enqueued = [];
  for (const [place, number] of numbers.entries()) {
    await new Promise((resolve) => setTimeout(resolve, 1000 * (began + place / rate - now())));
    enqueued.push(enqueue(number));
  }
  await Promise.all(enqueued);
  return { called, accepted, ids };
}
