// A program of its own: appends to a commit log in the directory it is given and prints the number
// of every record that was acknowledged, until it is killed. First number: where to begin.
import { systemClock } from '../../../src/clock.ts'
import { silentLogger } from '../../../src/log.ts'
import { NO_HOST } from '../../../src/model/host.ts'
import { nodeDisk } from '../../../src/store/disk/node-disk.ts'
import { openCommitLog } from '../../../src/store/log/segmented-log.ts'

const [directory = '', first = '0', flush = 'sync'] = process.argv.slice(2)
const IN_FLIGHT = 64
const log = openCommitLog({
  directory,
  disk: nodeDisk,
  clock: systemClock,
  log: silentLogger,
  storeHost: NO_HOST,
  flush: flush === 'async' ? 'async' : 'sync',
  segmentBytes: 1024 * 1024,
  frameBytesMax: 256 * 1024,
  aheadBytes: 256 * 1024,
  fillPieceBytes: 128 * 1024,
})
let next = Number(first)

function append(): void {
  const id = next++
  const body = Buffer.alloc(50 + (id % 400), id & 255)
  body.writeUInt32BE(id, 0)
  const draft = {
    topic: 'T',
    queueId: 0,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1,
    bornHost: NO_HOST,
    reconsumeTimes: 0,
    preparedPosition: 0,
    body,
    properties: Buffer.alloc(0),
  }
  try {
    log.append([draft], [id], (error) => {
      if (error === undefined) {
        process.stdout.write(`${id}\n`)
        append()
      } else {
        process.stdout.write(`${error.code}\n`)
      }
    })
  } catch (error) {
    process.stdout.write(`${String(error)}\n`)
  }
}

for (let i = 0; i < IN_FLIGHT; i++) append()
