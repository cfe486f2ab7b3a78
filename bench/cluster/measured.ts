// The trivet command, which tells its live memory when it is asked: a line of JSON on standard
// error for each SIGUSR2, after full collections. With a directory in HEAP_SNAPSHOTS the heap is
// written there as well.
import { fileURLToPath } from 'node:url'
import { setFlagsFromString, writeHeapSnapshot } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const { HEAP_SNAPSHOTS } = process.env

/** Array buffers that a collection has found are let go of beside what runs, some time later. */
const SWEPT_MS = 500

process.on('SIGUSR2', async () => {
  collect()
  await new Promise((resolve) => setTimeout(resolve, SWEPT_MS))
  collect()
  if (HEAP_SNAPSHOTS !== undefined) {
    writeHeapSnapshot(`${HEAP_SNAPSHOTS}/${process.pid}-${Date.now()}.heapsnapshot`)
  }
  const { heapUsed, external, rss } = process.memoryUsage()
  const memory: LiveMemory = { heapUsed, external, rss }
  process.stderr.write(`${JSON.stringify({ memory })}\n`)
})

/** Bytes; array buffers count as external. */
export interface LiveMemory {
  readonly heapUsed: number
  readonly external: number
  readonly rss: number
}

/** To be run as the command. */
export const MEASURED = fileURLToPath(import.meta.url)

if (process.argv[1] === MEASURED) {
  process.env['UV_THREADPOOL_SIZE'] ??= '12'
  const { main } = await import('../../src/main.ts')
  await main(process.argv.slice(2))
}
