'use strict'
// The public package: what the native addon gives, as Node expects it (promises, iterators, events, errors with a code).
// It neither retries nor parses nor names a socket: that is the SDK's.

const { EventEmitter } = require('node:events')
const native = require('./native.js')

/** The names and numbers of all errors. */
const ErrorCode = Object.freeze(native.errorCodes())
const NAME_OF = Object.freeze(Object.fromEntries(Object.entries(ErrorCode).map(([name, code]) => [code, name])))
const GAP_CAUSES = ['unspecified', 'trimmed', 'log_replaced', 'damaged', 'purged']
const KINDS = ['record', 'report', 'gap']

/** An error of Copo: `code` is its number in `ErrorCode`, `codeName` its name there. */
class CopoError extends Error {
  constructor (code, message) {
    super(message)
    this.name = 'CopoError'
    this.code = code
    this.codeName = NAME_OF[code] ?? 'UNKNOWN'
  }
}

/** An error of the addon ("9:cannot …") as a CopoError; any other stays as it is. */
function toCopoError (error) {
  const [, code, message] = /^(\d+):([^]*)$/.exec(error?.message ?? '') ?? []
  return code === undefined ? error : new CopoError(Number(code), message)
}


async function awaited (f) {
  try {
    return await f()
  } catch (error) {
    throw toCopoError(error)
  }
}

function bytes (data) {
  if (typeof data === 'string') return Buffer.from(data)
  if (data instanceof Uint8Array) return data
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  throw new CopoError(ErrorCode.INVALID_ARGUMENT, 'cannot send this: data must be a string, a Buffer or a typed array')
}

/** A record of the user-defined data, a report, or a gap; `kind` says which. */
class Item {
  constructor (kind) {
    this.kind = kind
  }
}

/** One connection to the orchestrator. Events: 'stop', once, when the run is asked to stop. */
class Client extends EventEmitter {
  #native
  #line = null
  #isStopWatched = false

  constructor (nativeClient) {
    super()
    this.#native = nativeClient
    this.on('newListener', (event) => {
      if (event === 'stop') this.#watchStop()
    })
  }

  /** Internal name of this process, or "@name" for a person. */
  get internalName () {
    return this.#native.internalName
  }

  /** RunId of this run; undefined for a person. */
  get run () {
    return this.#native.run ?? undefined
  }

  /** Sends one record: undefined when it was accepted, a promise to await when the window is full. Order is kept. */
  uddSend (data, options) {
    const key = options?.key ?? ''
    const view = data instanceof Uint8Array ? data : bytes(data)
    if (this.#line === null && this.#trySend(view, key)) return undefined
    return this.#inLine(() => this.#native.uddSend(view, key))
  }

  #trySend (view, key) {
    try {
      return key === '' ? this.#native.tryUddSendPlain(view) : this.#native.tryUddSend(view, key)
    } catch (error) {
      throw toCopoError(error)
    }
  }

  /** Sends one record; the promise gives its seq once it is stored. With `expectSeq`: only if that is the key's newest. */
  async uddSendAcked (data, { key = '', expectSeq } = {}) {
    const view = bytes(data)
    if (this.#line !== null) await this.#line.catch(() => {})
    if (expectSeq !== undefined) return awaited(() => this.#native.uddSendIf(view, key, expectSeq))
    return awaited(() => this.#native.uddSendAcked(view, key))
  }

  /** Waits until all that was sent is acknowledged. */
  async flush () {
    if (this.#line !== null) await this.#line
    return awaited(() => this.#native.flush())
  }

  /** The newest record, of a key or of all; undefined when there is none. */
  async uddGet (key) {
    const newest = await awaited(() => this.#native.uddGet(key))
    return newest ? Object.assign(new Item('record'), newest) : undefined
  }

  /** Follows the log: an async iterable of items. It ends when all is delivered, at `return`, and at the run's stop. */
  uddSubscribe (options = {}) {
    return new Subscription(this.#native, options)
  }

  async uddHeaders () {
    return awaited(() => this.#native.uddHeaders())
  }

  async uddSetHeaders (headers) {
    return awaited(() => this.#native.uddSetHeaders([...headers]))
  }

  /** Sends a report. */
  async metaReport (data) {
    const view = bytes(data)
    return this.#inLine(() => this.#native.metaReport(view))
  }

  /** Says that this run is ready. */
  async ready () {
    return awaited(() => this.#native.ready())
  }

  /** Waits until all is acknowledged, then closes. */
  async close ({ timeoutMs } = {}) {
    if (this.#line !== null) await this.#line.catch(() => {})
    return awaited(() => this.#native.close(timeoutMs))
  }

  // What has to wait goes one after the other, so that the order of the calls is the order of the records.
  #inLine (send) {
    const before = this.#line ?? Promise.resolve()
    const sent = before.catch(() => {}).then(() => awaited(send))
    this.#line = sent
    const leave = () => {
      if (this.#line === sent) this.#line = null
    }
    sent.then(leave, leave)
    return sent
  }

  #watchStop () {
    if (this.#isStopWatched) return
    this.#isStopWatched = true
    awaited(() => this.#native.onStop(() => this.emit('stop'))).catch((error) => {
      this.#isStopWatched = false
      if (this.listenerCount('error') > 0) this.emit('error', error)
    })
  }
}

function subscribeOptions ({ from = 'new', key, records, reports = false, to, follow = true, logId } = {}) {
  const asked = { records: records ?? !reports, reports, follow, key, to, logId }
  if (from === 'first') asked.first = true
  else if (typeof from === 'number') asked.seq = from
  else if (from instanceof Date) asked.since = from.getTime() * 1000
  else if (from !== 'new') throw new CopoError(ErrorCode.INVALID_ARGUMENT, `cannot subscribe from ${from}: 'first', 'new', a seq or a Date`)
  return asked
}

/** A subscription: iterate it. */
class Subscription {
  #opening
  #opened
  #batch = null
  #at = 0
  #isOver = false

  constructor (nativeClient, options) {
    const asked = subscribeOptions(options)
    this.#opening = awaited(() => nativeClient.uddSubscribe(asked)).then((opened) => (this.#opened = opened))
    this.#opening.catch(() => {}) // Told by the first `next`.
  }

  [Symbol.asyncIterator] () {
    return this
  }

  /** Resolves when the subscription stands: `{ head, logId }`. */
  async opened () {
    const { head, logId } = await this.#opening
    return { head, logId }
  }

  async next () {
    const item = this.#shelved()
    if (item !== undefined) return { value: item, done: false }
    if (this.#opened === undefined) await this.#opening
    if (this.#isOver) return { value: undefined, done: true }
    this.#batch = this.#opened.take() ?? (await awaited(() => this.#opened.wait()))
    this.#at = 0
    if (this.#batch === null) this.#isOver = true
    return this.next()
  }

  /** Ends the subscription. */
  async return () {
    this.#isOver = true
    this.#batch = null
    await this.#opening.then((opened) => opened.stop(), () => {})
    return { value: undefined, done: true }
  }

  /** The next item of the batch at hand; undefined when there is none. */
  #shelved () {
    const batch = this.#batch
    if (batch === null || this.#at >= batch.kinds.length) return undefined
    const at = this.#at++
    const begin = at === 0 ? 0 : batch.ends[at - 1]
    return itemOf(batch, at, batch.data.subarray(begin, batch.ends[at]))
  }
}

function itemOf (batch, at, data) {
  const item = new Item(KINDS[batch.kinds[at]])
  if (item.kind === 'gap') {
    item.cause = GAP_CAUSES[batch.senders[at]] ?? 'unspecified'
    item.first = batch.seqs[at]
    item.last = batch.times[at]
    item.logId = data
    return item
  }
  item.seq = batch.seqs[at]
  item.sentBy = batch.names[batch.senders[at]]
  if (item.kind === 'record') {
    item.sentTime = batch.times[at]
    item.key = batch.names[batch.keys[at]]
    item.uddBuff = data
  } else {
    item.reportTime = batch.times[at]
    item.reportBuff = data
    const facts = batch.factsOf[at]
    if (facts > 0) item.facts = JSON.parse(batch.facts[facts - 1])
  }
  return item
}

/** Connects: from COPO_SOCKET and COPO_TOKEN, or as told. */
async function connect (options = {}) {
  return new Client(await awaited(() => native.connect(options)))
}

module.exports = { connect, Client, Subscription, CopoError, ErrorCode, version: native.version() }
module.exports.default = module.exports
