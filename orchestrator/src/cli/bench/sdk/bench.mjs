// The roles of `copo bench udd --sdk node`: says "ready", waits for a line, works, prints one JSON object.

import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

const { connect } = createRequire(import.meta.url)(process.env.COPO_BENCH_NODE)

const STAMP = 20 // Publisher (4), number (8), time in nanoseconds (8).
const SILENCE = 60_000 // What is missing so long after all should have come will not come.
const LEAST_RATE = 10_000 // Records a second that a subscriber takes in at least.
const AFTERMATH = 100 // For so long a subscriber that has all looks for what comes twice.

const names = ['count', 'size', 'rate', 'id', 'publishers', 'subscribers', 'window']
const options = { socket: { type: 'string' }, keys: { type: 'boolean', default: false } }
for (const name of names) options[name] = { type: 'string', default: '0' }
const { values: work, positionals: [role] } = parseArgs({ options, allowPositionals: true })
for (const name of names) work[name] = Number(work[name])

const now = () => process.hrtime.bigint()
const cpu = () => { const { user, system } = process.cpuUsage(); return (user + system) * 1000 }

// The line that starts the round; then nothing keeps the process.
async function standBy () {
  process.stdout.write('ready\n')
  await new Promise((resolve) => process.stdin.once('data', resolve))
  process.stdin.destroy()
}

async function publish (client, inFlight) {
  const keys = work.keys ? Array.from({ length: 16 }, (_, i) => ({ key: `bench/${i}` })) : null
  const data = Buffer.alloc(Math.max(work.size, STAMP))
  data.writeUInt32LE(work.id, 0)
  await standBy()
  const start = now()
  data.writeBigUInt64LE(start, 12)
  for (let number = 0; number < work.count; number++) {
    if (work.rate > 0) {
      const turn = (number * work.publishers + work.id) * 1000 / work.rate
      const left = Number(start) / 1e6 + turn - Number(now()) / 1e6
      if (left > 0.5) await sleep(left)
      data.writeBigUInt64LE(now(), 12)
    }
    data.writeUInt32LE(number, 4) // Fewer than 2^32 records are sent; the upper half stays zero.
    if (inFlight === 1) await client.uddSendAcked(data)
    else {
      const full = keys ? client.uddSend(data, keys[number % 16]) : client.uddSend(data)
      if (full !== undefined) await full
    }
  }
  await client.flush()
  return { start: Number(start), end: Number(now()), cpu: cpu() }
}

async function follow (client) {
  const records = client.uddSubscribe({ key: work.keys ? 'bench/*' : undefined })
  await records.opened()
  const expected = new Array(work.publishers).fill(0)
  const latencies = []
  let [received, lost, duplicated, reordered, end] = [0, 0, 0, 0, null]
  await standBy()
  let timer = setTimeout(() => records.return(), SILENCE + work.count * 1000 / (work.rate || LEAST_RATE))
  for await (const record of records) {
    if (record.kind === 'gap') {
      lost += record.last - record.first + 1
      continue
    }
    const data = record.uddBuff
    const publisher = data[0] | data[1] << 8 | data[2] << 16 | data[3] << 24
    const number = (data[4] | data[5] << 8 | data[6] << 16 | data[7] << 24) >>> 0
    received++
    if (number === expected[publisher]) expected[publisher] = number + 1
    else if (number > expected[publisher]) {
      lost += number - expected[publisher]
      expected[publisher] = number + 1
    } else if (number + 1 === expected[publisher]) duplicated++
    else reordered++
    if (work.rate > 0) latencies.push(Number(now() - data.readBigUInt64LE(12)))
    if (received === work.count) {
      end = now()
      clearTimeout(timer)
      timer = setTimeout(() => records.return(), AFTERMATH)
    }
  }
  latencies.sort((a, b) => a - b)
  const at = (share) => latencies[Math.max(Math.ceil(latencies.length * share) - 1, 0)] ?? 0
  return {
    end: Number(end ?? now()),
    cpu: cpu(),
    received,
    lost: Math.max(lost, work.count - received, 0),
    duplicated,
    reordered,
    latencies: [at(0.5), at(0.99), at(0.999)]
  }
}

const client = await connect({ socket: work.socket, token: '', name: 'bench' })
const result = role === 'subscriber' ? await follow(client) : await publish(client, work.window)
process.stdout.write(JSON.stringify(result) + '\n')
await client.close()
