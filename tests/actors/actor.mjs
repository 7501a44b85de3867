// The actor in Node: see README.md.
import { existsSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import copo from 'copo'

let client
const args = process.argv.slice(2)
const say = (line) => console.log(line)
const next = () => {
  if (args.length === 0) throw new Error('the verb wants an argument')
  return args.shift()
}
const from = (text) => (/^\d+$/.test(text) ? Number(text) : text)

function sayItem (item) {
  if (item.kind === 'record') say(`record ${item.sentBy} ${item.key} ${item.uddBuff}`)
  else if (item.kind === 'report') say(`report ${item.sentBy} ${item.reportBuff}`)
  else say(`gap ${item.first} ${item.last}`)
}

async function show (items, count) {
  if (count === 0) return
  for await (const item of items) {
    sayItem(item)
    if (--count === 0) break
  }
}

async function showToTheEnd (items) {
  for await (const item of items) sayItem(item)
  say('end')
}

async function newest (key) {
  const record = await client.uddGet(key)
  if (record) sayItem(record)
  else say('none')
}

const verbs = {
  async connect () {
    client = await copo.connect({ socket: next(), token: next(), name: 'actor' })
  },
  async send () {
    const key = next()
    await client.uddSend(next(), { key })
  },
  async 'send-many' () {
    const key = next()
    const count = Number(next())
    for (let i = 0; i < count; i++) {
      const full = client.uddSend(String(i), { key })
      if (full) await full
    }
  },
  async 'send-zeros' () {
    const key = next()
    await client.uddSend(new Uint8Array(Number(next())), { key })
  },
  async 'send-sync' () {
    const key = next()
    say(`seq ${await client.uddSendAcked(next(), { key })}`)
  },
  async 'send-if' () {
    const key = next()
    const data = next()
    say(`seq ${await client.uddSendAcked(data, { key, expectSeq: Number(next()) })}`)
  },
  async fill () {
    while (client.uddSend('x', { key: 'fill' }) === undefined);
    say('full')
  },
  async flush () { await client.flush() },
  async ready () { await client.ready() },
  async close () { await client.close() },
  async get () { await newest(next()) },
  async newest () { await newest() },
  async follow () {
    const items = client.uddSubscribe({ from: from(next()), key: next() })
    await show(items, Number(next()))
  },
  async drain () {
    await showToTheEnd(client.uddSubscribe({ from: from(next()), key: next(), follow: false }))
  },
  async 'follow-until-stop' () {
    const items = client.uddSubscribe({ from: 'first', key: next() })
    await items.opened()
    say('following')
    await showToTheEnd(items)
  },
  async reports () {
    await show(client.uddSubscribe({ from: 'first', reports: true }), Number(next()))
  },
  async headers () { say(`headers ${(await client.uddHeaders()).join(',')}`) },
  async 'set-headers' () { await client.uddSetHeaders(next().split(',')) },
  async report () { await client.metaReport(next()) },
  async 'wait-stop' () {
    // A timer keeps the program alive: the listener alone does not.
    const alive = setInterval(() => {}, 1000)
    await new Promise((resolve) => client.once('stop', resolve))
    clearInterval(alive)
    say('stopping')
  },
  async 'wait-file' () {
    const path = next()
    while (!existsSync(path)) await pause(5)
  },
  async touch () { writeFileSync(next(), '') }
}

while (args.length > 0) {
  const verb = next()
  try {
    const isLocal = ['connect', 'wait-file', 'touch'].includes(verb)
    if (client === undefined && !isLocal) client = await copo.connect()
    await verbs[verb]()
  } catch (error) {
    if (!(error instanceof copo.CopoError)) throw error
    say(`error ${error.code}`)
    if (client === undefined) break
  }
}
// No close: a program that sends and ends loses nothing.
