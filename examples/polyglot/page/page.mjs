// Follows the figures, their statistics and the anomalies, and serves them as a live page on loopback.
//
//   GET /         the page
//   GET /events   server-sent events: one JSON object per record
//   GET /newest   the newest value of every key, as JSON
//
// PORT says where (default 8017; 0: any free port). The address is reported, and printed.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import copo from 'copo'

const client = await copo.connect()
// Whoever listens is told of a stop before the signal comes: the iteration below ends, and the program with it.
client.on('stop', () => console.log('stopping'))
const page = readFileSync(new URL('./page.html', import.meta.url))
const newest = new Map()
const listeners = new Set()

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost')
  if (pathname === '/') {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page)
  } else if (pathname === '/newest') {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(Object.fromEntries(newest)))
  } else if (pathname === '/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    for (const [key, value] of newest) response.write(event(key, value))
    listeners.add(response)
    response.on('close', () => listeners.delete(response))
  } else {
    response.writeHead(404).end()
  }
})

const event = (key, value) => `data: ${JSON.stringify({ key, ...value })}\n\n`

// Another program may hold the port: any other serves as well, since the address is reported.
server.on('error', (error) => {
  if (error.code !== 'EADDRINUSE') throw error
  server.listen(0, '127.0.0.1')
})

server.on('listening', async () => {
  const address = `http://127.0.0.1:${server.address().port}/`
  console.log(`the page is at ${address}`)
  await client.metaReport(`page ${address}`)
  await client.ready()
})

server.listen(Number(process.env.PORT ?? 8017), '127.0.0.1')

// The iteration ends when the orchestrator asks this run to stop.
for await (const record of client.uddSubscribe({ from: 'first' })) {
  if (record.kind !== 'record') continue
  const value = { ...JSON.parse(record.uddBuff.toString()), seq: record.seq, sentBy: record.sentBy, sentTime: record.sentTime }
  newest.set(record.key, value)
  const text = event(record.key, value)
  for (const listener of listeners) listener.write(text)
}

for (const listener of listeners) listener.end()
server.close()
await client.close()
