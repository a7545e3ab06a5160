-- Load for wrk: `wrk … -s load.lua URL -- post|keyed|batch ROWS`. Prints one line of JSON at the end.

local first, kind, rows = 0, "post", 1

function init(words)
  kind, rows = words[1], tonumber(words[2])
  math.randomseed(os.time())
  first = math.random(1, 2 ^ 31)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  local task = '{"name": "bench", "type": "noop", "payload": {"number": 1}}'
  wrk.body = task
  if kind == "batch" then
    local tasks = {}
    for place = 1, rows do
      tasks[place] = task
    end
    wrk.body = '{"tasks": [' .. table.concat(tasks, ",") .. "]}"
  end
end

local sent = 0

function request()
  if kind == "keyed" then
    sent = sent + 1
    wrk.headers["Idempotency-Key"] = "bench-" .. first .. "-" .. sent
  end
  return wrk.format()
end

function done(summary, latency, requests)
  local errors = summary.errors
  local bad = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "errors": %d, "p50_ms": %f, "p99_ms": %f}\n',
    summary.requests, summary.duration / 1e6, bad, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  ))
end
