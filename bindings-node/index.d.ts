/// <reference types="node" />
import { EventEmitter } from 'node:events'

/** What can be sent: text goes as UTF-8. */
export type Data = string | NodeJS.ArrayBufferView | ArrayBuffer

/** How to connect; what is absent is taken from the environment. */
export interface ConnectOptions {
  /** Path of the Server; default: COPO_SOCKET. */
  socket?: string
  /** Token of the run that speaks; default: COPO_TOKEN. */
  token?: string
  /** Who speaks when there is no token: `sentBy` becomes `@<name>`. Default: "node". */
  name?: string
  /** Most unacknowledged sends; default: what the orchestrator allows. */
  window?: number
  /** Most bytes of unacknowledged sends; default: what the orchestrator allows. */
  windowBytes?: number
}

/** A record of the user-defined data. */
export interface Record {
  readonly kind: 'record'
  /** Its place in the one sequence that records and reports share. */
  readonly seq: number
  /** When the orchestrator took it, microseconds since the Unix epoch. */
  readonly sentTime: number
  /** Internal name of the sender, or "@name" for a person. */
  readonly sentBy: string
  readonly key: string
  /** What the sender gave. */
  readonly uddBuff: Buffer
}

/** What happened, typed; only in the orchestrator's own reports. */
export interface Facts {
  readonly event: string
  readonly process?: string
  readonly internalName?: string
  readonly run?: string
  readonly pid?: number
  readonly exitCode?: number
  readonly signal?: string
  readonly reason?: string
}

/** A report about the application. */
export interface Report {
  readonly kind: 'report'
  readonly seq: number
  /** Microseconds since the Unix epoch. */
  readonly reportTime: number
  readonly sentBy: string
  /** What the sender gave; from the orchestrator a sentence for people. */
  readonly reportBuff: Buffer
  readonly facts?: Facts
}

/** The seqs `first` to `last` were passed over. */
export interface Gap {
  readonly kind: 'gap'
  readonly cause: 'unspecified' | 'trimmed' | 'log_replaced' | 'damaged' | 'purged'
  readonly first: number
  readonly last: number
  readonly logId: Buffer
}

export type Item = Record | Report | Gap

/** What to follow; default: all records from now on. */
export interface SubscribeOptions {
  /** 'first', 'new' (default), a seq (included), or the first at or after a Date. */
  from?: 'first' | 'new' | number | Date
  /** The log that the seq belongs to, as `opened()` gave it. */
  logId?: Uint8Array
  /** A key, or a pattern with `*` (one segment) and `**` (any number). */
  key?: string
  /** Deliver records; default: true unless reports are asked for. */
  records?: boolean
  /** Deliver reports; default: false. */
  reports?: boolean
  /** End after this seq. */
  to?: number
  /** Go on after the newest found when subscribing; default: true. */
  follow?: boolean
}

/** The names and numbers of all errors: copo.v1.ErrorCode. */
export const ErrorCode: { readonly [name: string]: number }

/** Every error of Copo. */
export class CopoError extends Error {
  /** Its number in ErrorCode. */
  readonly code: number
  /** Its name in ErrorCode. */
  readonly codeName: string
}

/** A subscription, to be iterated. Ends when all is delivered, and when this run is asked to stop. */
export class Subscription implements AsyncIterableIterator<Item> {
  [Symbol.asyncIterator](): this
  /** Resolves when the subscription stands. */
  opened(): Promise<{ head: number; logId: Buffer }>
  next(): Promise<IteratorResult<Item, undefined>>
  /** Ends the subscription. */
  return(): Promise<IteratorResult<Item, undefined>>
}

/** One client of the orchestrator. */
export class Client extends EventEmitter {
  /** Internal name of this process, or "@name" for a person. */
  readonly internalName: string
  /** RunId of this run; undefined for a person. */
  readonly run: string | undefined
  /** Sends one record, pipelined: undefined when accepted, a promise to await when the window is full. */
  uddSend(data: Data, options?: { key?: string }): Promise<void> | undefined
  /** Sends one record; gives its seq once stored. With `expectSeq`: only if the key's newest record has that seq (0: none). */
  uddSendAcked(data: Data, options?: { key?: string; expectSeq?: number }): Promise<number>
  /** Waits until all that was sent is acknowledged. */
  flush(): Promise<void>
  /** The newest record, of a key or of all; undefined when there is none. */
  uddGet(key?: string): Promise<Record | undefined>
  /** Follows the log. */
  uddSubscribe(options?: SubscribeOptions): Subscription
  /** Names of the fields of a record. */
  uddHeaders(): Promise<string[]>
  uddSetHeaders(headers: Iterable<string>): Promise<void>
  /** Sends a report. */
  metaReport(data: Data): Promise<void>
  /** Says that this run is ready. */
  ready(): Promise<void>
  /** Waits until all is acknowledged, then closes. */
  close(options?: { timeoutMs?: number }): Promise<void>
  /** The run is asked to stop; a listener gives it half the grace before the signal. */
  on(event: 'stop', listener: () => void): this
  once(event: 'stop', listener: () => void): this
  on(event: 'error', listener: (error: CopoError) => void): this
}

/** Connects: from COPO_SOCKET and COPO_TOKEN, or as told. */
export function connect(options?: ConnectOptions): Promise<Client>

/** The package's version. */
export const version: string

declare const copo: {
  connect: typeof connect
  Client: typeof Client
  Subscription: typeof Subscription
  CopoError: typeof CopoError
  ErrorCode: typeof ErrorCode
  version: typeof version
}
export default copo
